"""The book of a small repository: links, formulas, descriptions, search, and the faults that its check must notice."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from modnet_lib import paths
from modnet_lib.notebook import book, build

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
README = "# A\n\n| row |\n|---|\n| [01 §1](notebooks/01_first.ipynb#1-a-question-) |\n\n[data](data) [a](data/a.txt)"
FIRST = r"""# 01 First

## 1. A question: $x$?

The *quokka* has $\alpha_g \le 1$ and

$$\frac{a}{b}$$

[guide](GUIDE.md#two)"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("notebooks", "data"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    root = tmp_path / "root"
    (root / "README.md").write_text(README, encoding="utf-8")
    (root / "data" / "a.txt").write_text("text", encoding="utf-8")
    (root / "notebooks" / "GUIDE.md").write_text(
        "# One\n\n## Two\n\nback to [start](../README.md)", encoding="utf-8"
    )
    cell = nbformat.v4.new_code_cell("1", execution_count=1)
    data = {"image/png": PIXEL, "text/plain": "<Figure size 1x1>"}
    cell.outputs = [nbformat.v4.new_output("display_data", data=data)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(FIRST), cell])
    nbformat.write(notebook, root / "notebooks" / "01_first.ipynb")
    return root


def soup(file: Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


def test_book_of_a_small_series(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "book"
    assert book.build_book(folder, root=root) == []
    index, page = soup(folder / "index.html"), soup(folder / "notebooks" / "01_first.html")
    assert index.find("a", href="notebooks/01_first.html#1-a-question-") is not None
    assert (folder / "data" / "a.txt").read_text() == "text"
    assert index.find("span", string="data") is not None, "a folder has no page"
    assert page.find("a", href="GUIDE.html#two") is not None and page.find(id="1-a-question-") is not None
    assert soup(folder / "notebooks" / "GUIDE.html").find("a", href="../index.html") is not None
    assert (
        len(page.find_all("math")) == 3 and page.find("mfrac") is not None and "$" not in page.main.get_text()
    )
    assert page.img["alt"] == "figure of the section “1. A question: $x$?”"
    assert book.build_book(folder, root=root) == [], "a second build replaces the first"


def test_the_search_knows_words_and_places(root: Path, tmp_path: Path) -> None:
    book.build_book(tmp_path / "book", root=root)
    script = (tmp_path / "book" / "search.js").read_text(encoding="utf-8")
    index = json.loads(script.removeprefix("const BOOK = ").split(";\nconst field")[0])
    ((section, count),) = index["words"]["quokka"]
    assert count == 1 and index["sections"][section][0] == "notebooks/01_first.html#1-a-question-"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ('<img src="https://example.org/a.png" alt="a">', "loads https"),
        ('<script src="//example.org/a.js"></script>', "loads //"),
        ('<img src="gone.png" alt="gone">', "leads nowhere"),
        ('<a href="index.html#gone">x</a>', "no such place"),
        ('<img src="data:image/png;base64,AA==">', "without a description"),
    ],
)
def test_faults_are_noticed(tmp_path: Path, fault: str, message: str) -> None:
    (tmp_path / "index.html").write_text(
        f"<p id='here'>{fault}<a href='#here'>here</a></p>", encoding="utf-8"
    )
    (found,) = book.problems(tmp_path)
    assert message in found


def test_what_is_no_book_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="no book"):
        book.build_book(tmp_path / "mine", root=root)
    assert (tmp_path / "mine" / "thesis.txt").exists()
    with pytest.raises(FileNotFoundError, match="executed notebooks"):
        book.build_book(tmp_path / "other", root=tmp_path)


def test_every_formula_of_the_series_becomes_mathml() -> None:
    for source in build.sources():
        for cell in build.read_source(source).cells:
            if cell.cell_type == "markdown":
                page = BeautifulSoup(book._markdown(cell.source), "html.parser")
                for formula in page.find_all("math"):
                    assert "\\" not in formula.get_text() and formula.find("merror") is None, formula


def test_the_stated_reading_time_is_right() -> None:
    for source in build.sources():
        notebook = build.read_source(source)
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        stated = re.search(r"Reading takes about (\d+) minutes", text)
        assert stated, source.stem
        assert abs(int(stated[1]) - book.reading_minutes(notebook)) <= 2, source.stem


def test_the_guides_exist() -> None:
    assert (paths.REPOSITORY / "TEACHING.md").is_file() and (paths.NOTEBOOKS / "GLOSSARY.md").is_file()
