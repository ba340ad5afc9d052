"""Every notebook has the same parts in the same order, stays readable, and its links lead somewhere."""

from __future__ import annotations

import ast
import re
import statistics
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

import build
from modnet_lib import paths

SERIES = [source.stem for source in build.sources()]
HTML_ID = re.compile(r"""(?:id|name)=["']([^"']+)["']""")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def read(stem: str) -> nbformat.NotebookNode:
    return build.read_source(build.SOURCES / f"{stem}.py")


@pytest.fixture(params=SERIES)
def stem(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def cells(stem: str) -> list[nbformat.NotebookNode]:
    return read(stem).cells


def code_of(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    return [cell for cell in cells if cell.cell_type == "code"]


def first(cells: list[nbformat.NotebookNode], kind: str, pattern: str) -> tuple[int, int]:
    """Where a pattern first occurs in a cell of a kind: (cell, character); fails with its name if nowhere."""
    for index, cell in enumerate(cells):
        found = re.search(pattern, cell.source, re.MULTILINE | re.IGNORECASE)
        if cell.cell_type == kind and found:
            return index, found.start()
    pytest.fail(f"no {kind} cell matches {pattern!r}")


def anchors(text: str) -> set[str]:
    """The fragments that Jupyter and GitHub make of the headings of a Markdown text, and explicit ids."""
    ids = set(HTML_ID.findall(text))
    for heading in re.findall(r"^#+\s+(.+?)\s*$", text, re.MULTILINE):
        plain = re.sub(r"[*`]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))
        ids.add(plain.replace(" ", "-"))
        ids.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return ids


def test_the_series_has_no_gaps() -> None:
    assert [stem[:2] for stem in SERIES] == [f"{number:02d}" for number in range(len(SERIES))]


def test_parts_come_in_order(cells: list[nbformat.NotebookNode]) -> None:
    parts = [
        first(cells, "markdown", r"\A# \d\d "),
        first(cells, "markdown", r"^## You will be able to"),
        first(cells, "markdown", r"^## Contents"),
        first(cells, "markdown", r"^## Needs"),
        first(cells, "markdown", r"^.*smoke profile takes about \d+ seconds"),
        first(cells, "code", r"^PROFILE = "),
        first(cells, "code", r"^(from|import) "),
        first(cells, "markdown", r"^## 1\b"),
        first(cells, "code", r"ResultsTable\("),
        first(cells, "markdown", r"^## What to believe, and what to use"),
        first(cells, "markdown", r"^## Exercises"),
        first(cells, "markdown", r"^## References"),
        first(cells, "markdown", r"^\*\*Next"),
    ]
    assert parts == sorted(parts)
    assert parts[0][0] == 0, "the title is the first cell"
    assert parts[-1][0] == len(cells) - 1, "the link to the next notebook is in the last cell"


def test_the_first_cell_asks_a_question(stem: str, cells: list[nbformat.NotebookNode]) -> None:
    assert cells[0].source.startswith(f"# {stem[:2]} ")
    assert "?" in cells[0].source.splitlines()[0]


def test_objectives_are_three_to_five(cells: list[nbformat.NotebookNode]) -> None:
    index, start = first(cells, "markdown", r"^## You will be able to")
    listed = cells[index].source[start:].split("\n\n")[1]
    assert 3 <= len(re.findall(r"^- ", listed, re.MULTILINE)) <= 5


def test_parameters_are_scalars_and_come_first(cells: list[nbformat.NotebookNode]) -> None:
    code = code_of(cells)
    assert [cell for cell in code if "parameters" in cell.metadata.get("tags", [])] == code[:1]
    for line in filter(None, code[0].source.splitlines()):
        assert re.fullmatch(r"""[A-Z_]+ = ("[^"=#]*"|-?[\d.e+-]+|True|False|None)\s*(#.*)?""", line), line
    assert 'PROFILE = "smoke"' in code[0].source


def test_imports_are_in_one_cell(cells: list[nbformat.NotebookNode]) -> None:
    importing = [
        index
        for index, cell in enumerate(code_of(cells))
        if re.search(r"^(from \S+ import|import) ", cell.source, re.MULTILINE)
    ]
    assert importing == [1]


def test_the_import_cell_is_short(cells: list[nbformat.NotebookNode]) -> None:
    assert len(code_of(cells)[1].source.splitlines()) <= 12


def test_the_contents_are_the_sections(cells: list[nbformat.NotebookNode]) -> None:
    index, start = first(cells, "markdown", r"^## Contents")
    listed = re.findall(r"^\d+\. \[(.+)\]\(#(\d+)\.-(.+)\)$", cells[index].source[start:], re.MULTILINE)
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## (\d+)\. (.+?)\s*$", text, re.MULTILINE)
    assert [(number, title) for title, number, _ in listed] == headings
    assert [f"{number}.-{rest}" for _, number, rest in listed] == [
        f"{number}.-{title}".replace(" ", "-") for number, title in headings
    ]


def test_sections_are_numbered_without_gaps(cells: list[nbformat.NotebookNode]) -> None:
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    numbers = [int(number) for number in re.findall(r"^## (\d+)\b", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 3


def test_the_paper_is_quoted_with_its_place(cells: list[nbformat.NotebookNode]) -> None:
    quotes = [c for c in cells if c.cell_type == "markdown" and re.search(r"^> ", c.source, re.MULTILINE)]
    assert len(quotes) >= 3


def test_an_inspector_follows_a_figure_of_the_same_content(cells: list[nbformat.NotebookNode]) -> None:
    code = code_of(cells)
    for before, cell in pairwise(code):
        if re.search(r"^MatteInspector\(", cell.source, re.MULTILINE):
            assert re.search("image_row", before.source)


def test_exercises_have_hidden_answers(stem: str, cells: list[nbformat.NotebookNode]) -> None:
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    parts = re.split(r"^\*\*(\d+)\.\*\* ", text[text.index("## Exercises") : text.index("## References")], flags=re.M)
    numbers, bodies = parts[1::2], parts[2::2]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)] and len(numbers) >= 3
    for body in bodies:
        assert body.count("<details><summary>Answer</summary>") == body.count("</details>") == 1
    if stem[:2] not in ("00", "09"):
        assert sum(re.search(r"^(def|class) ", body, re.M) is not None for body in bodies) >= 2, "two ask for code"


def test_definitions_are_short_and_not_copied(stem: str, cells: list[nbformat.NotebookNode]) -> None:
    here = definitions(cells)
    assert [name for name, text in here.items() if len(text.splitlines()) > 20] == []
    for other in SERIES[: SERIES.index(stem)]:
        assert here.keys() & definitions(read(other).cells).keys() == set(), other


def definitions(cells: list[nbformat.NotebookNode]) -> dict[str, str]:
    """Name and source of every function and class that the cells define at their top level, without decorators' own."""
    found = {}
    for cell in code_of(cells):
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = ast.get_source_segment(cell.source, node)
    return found


def test_the_stated_reading_time_is_right(cells: list[nbformat.NotebookNode]) -> None:
    words = sum(  # with formulas 180 words a minute; a line of code takes as long as eight words
        len(cell.source.split()) if cell.cell_type == "markdown" else 8 * len(cell.source.splitlines())
        for cell in cells
    )
    index, start = first(cells, "markdown", r"Reading takes about (\d+) minutes")
    (stated,) = re.findall(r"about (\d+) minutes", cells[index].source[start:])[:1]
    assert abs(int(stated) - round(words / 180)) <= 2


def test_length(cells: list[nbformat.NotebookNode]) -> None:
    assert 25 <= len(cells) <= 60, len(cells)
    lines = [len(cell.source.splitlines()) for cell in code_of(cells)]
    assert statistics.median(lines) <= 8
    assert max(lines) <= 25


def test_at_least_five_outputs_are_compared(cells: list[nbformat.NotebookNode]) -> None:
    assert sum("nbval-check-output" in cell.metadata.get("tags", []) for cell in cells) >= 5


def test_relative_links_and_anchors_exist(stem: str, cells: list[nbformat.NotebookNode]) -> None:
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    broken = [link for link in LINK.findall(text) if problem_with(link, stem)]
    assert broken == []


def problem_with(link: str, stem: str) -> str | None:
    if re.match(r"(https?|mailto):", link):
        return None
    target, _, fragment = link.partition("#")
    path = (paths.NOTEBOOKS / target).resolve() if target else paths.NOTEBOOKS / f"{stem}.ipynb"
    if path.suffix == ".ipynb" and path.parent == paths.NOTEBOOKS:
        if path.stem not in SERIES:
            return "no such notebook"
        text = "\n\n".join(cell.source for cell in read(path.stem).cells if cell.cell_type == "markdown")
    elif not path.exists():
        return "no such file"
    else:
        text = path.read_text(encoding="utf-8") if path.suffix == ".md" else ""
    return "no such heading" if fragment and fragment not in anchors(text) else None


def test_every_word_of_the_glossary_is_linked_from_a_notebook() -> None:
    words = re.findall(r"^## (.+)$", (paths.NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert words == sorted(words, key=lambda word: re.sub(r"\W", " ", word.lower()))
    linked = {link for stem in SERIES for cell in read(stem).cells for link in LINK.findall(cell.source)}
    used = {link.partition("#")[2] for link in linked if link.startswith("GLOSSARY.md#")}
    assert [word for word in words if not anchors(f"## {word}") & used] == []


def test_a_broken_link_is_noticed() -> None:
    here = SERIES[0]
    assert problem_with(f"{here}.ipynb", here) is None
    assert problem_with("https://example.org/nothing", here) is None
    assert problem_with("99_nowhere.ipynb", here)
    assert problem_with("../no-such-file.md", here)
    assert problem_with("#no-such-heading", here)
    heading = next(iter(re.findall(r"^## .+$", "\n".join(c.source for c in read(here).cells), re.MULTILINE)))
    assert problem_with("#" + heading.removeprefix("## ").replace(" ", "-"), here) is None


@pytest.mark.parametrize(("here", "following"), list(pairwise(SERIES)))
def test_each_notebook_leads_to_the_next(here: str, following: str) -> None:
    last = read(here).cells[-1].source
    assert f"({following}.ipynb)" in last[last.rindex("**Next") :]


def test_no_notebook_source_mentions_a_place_of_its_author() -> None:
    for source in build.sources():
        assert not re.search(r"/home/|/tmp/|/Users/|/root/", Path(source).read_text(encoding="utf-8")), source


@pytest.mark.parametrize("number", ["04", "06"])
def test_a_grid_of_hours_is_not_deleted(number: str) -> None:
    [source] = [one for one in build.sources() if one.stem.startswith(number)]
    tree = ast.parse(source.read_text(encoding="utf-8"))
    calls = {node: ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    deletes = {node for node, text in calls.items() if text.startswith("shutil.rmtree(RUN")}
    guarded = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("few", "PROFILE == 'smoke'")
        for inner in ast.walk(node)
    }
    assert deletes and deletes <= guarded
    assert any(text.startswith("grid.run_grid(") for text in calls.values())
