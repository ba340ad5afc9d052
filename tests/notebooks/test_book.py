"""`make book`: whole, without warnings, and nothing in it is loaded from outside; a broken link stops it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup

from modnet_lib import paths

build = pytest.importorskip("sphinx.cmd.build", reason="needs the extra 'book'")
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::DeprecationWarning")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
GUIDES = (
    "TEACHING",
    "CONTRIBUTING",
    "notebooks/GLOSSARY",
    "data/README",
    "data/drawn_people/README",
    "data/checkpoints/README",
)
README = "# A\n\n| row |\n|---|\n| [01 §1](notebooks/01_first.ipynb#1-a-question) |\n\n[licence](LICENSE)"
FIRST = r"""# 01 First

## 1. A question

The *quokka* has $\alpha_g \le 1$ and

$$\frac{a}{b}$$

[guide](GLOSSARY.md#two), ![a drawing](figures/fig.svg)"""


def sphinx(root: Path, out: Path) -> int:
    """Build the book of a repository as the Makefile does; 0 if all is well."""
    options = ["--quiet", "--fresh-env", "--fail-on-warning", "--keep-going", "-c", str(root / "notebooks")]
    return build.main([*options, "--doctree-dir", str(out / ".doctrees"), str(root), str(out)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of one notebook."""
    root = tmp_path / "root"
    for guide in GUIDES:
        (root / guide).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{guide}.md").write_text("# One\n\n## Two\n", encoding="utf-8")
    (root / "notebooks" / "figures").mkdir()
    (root / "notebooks" / "figures" / "fig.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    shutil.copy(paths.NOTEBOOKS / "conf.py", root / "notebooks")
    (root / "README.md").write_text(README, encoding="utf-8")
    (root / "LICENSE").write_text("free", encoding="utf-8")
    cell = nbformat.v4.new_code_cell("1", execution_count=1)
    data = {"image/png": PIXEL, "text/plain": "<Figure size 1x1>"}
    metadata = {"image/png": {"alt": "a single pixel"}}
    table = {"text/markdown": "| a | b |\n| --- | ---: |\n| weights | 7 |", "text/plain": "<ResultsTable>"}
    cell.outputs = [
        nbformat.v4.new_output("display_data", data=data, metadata=metadata),
        nbformat.v4.new_output("execute_result", data=table, execution_count=1),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(FIRST), cell])
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, root / "notebooks" / "01_first.ipynb")
    return root


def soup(file: Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


def test_book_of_a_small_repository(root: Path, tmp_path: Path) -> None:
    book = tmp_path / "book"
    assert sphinx(root, book) == 0
    index, page = soup(book / "index.html"), soup(book / "notebooks" / "01_first.html")
    target, _, fragment = index.article.find("a", string="01 §1")["href"].partition("#")
    assert target == "notebooks/01_first.html"
    assert page.find(id=fragment).h2.get_text().startswith("1. A question")
    assert page.find("a", href="GLOSSARY.html#two") and soup(book / "notebooks/GLOSSARY.html").find(id="two")
    assert [image["alt"] for image in page.article.find_all("img")] == ["a drawing", "a single pixel"]
    assert [cell.get_text() for cell in page.article.table.find_all("td")] == ["weights", "7"]
    assert len(page.select("span.math")) == 1 and len(page.select("div.math")) == 1
    assert (book / index.find("a", string="licence")["href"]).read_text() == "free"
    assert index.find("nav", attrs={"class": "bd-links"}).find("a", href="notebooks/01_first.html")
    assert "quokka" in (book / "searchindex.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "fault", ["[x](01_first.ipynb#gone)", "[x](#gone)", "[x](99_gone.ipynb)", "![x](figures/gone.svg)"]
)
def test_a_link_that_leads_nowhere_is_an_error(root: Path, tmp_path: Path, capsys, fault: str) -> None:
    (root / "notebooks" / "GLOSSARY.md").write_text(f"# One\n\n## Two\n\n{fault}\n", encoding="utf-8")
    assert sphinx(root, tmp_path / "book") != 0
    (warning,) = re.findall(r"WARNING.*", capsys.readouterr().err)
    assert "gone" in warning


@pytest.mark.slow
def test_the_series_is_a_book_that_needs_no_network(tmp_path: Path) -> None:
    assert sphinx(paths.REPOSITORY, tmp_path) == 0
    pages = {path: soup(path) for folder in (".", "notebooks") for path in (tmp_path / folder).glob("*.html")}
    assert len(pages) >= len(list(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))) + 3
    places = {path.resolve(): {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    for path, page in pages.items():
        for element in page.find_all(["script", "img", "link", "video", "source", "iframe"]):
            address = element.get("src") or element.get("href") or ""
            assert not re.match(r"https?:|//", address), (path.name, address)
            assert element.name != "img" or element.get("alt"), (path.name, address[:80])
        for link in page.find_all("a", href=re.compile(r"^(?!https?:|mailto:)")):
            target, _, fragment = link["href"].partition("#")
            file = (path.parent / unquote(target)).resolve() if target else path.resolve()
            assert file.is_file(), (path.name, link["href"])
            assert not fragment or unquote(fragment) in places.get(file, {fragment}), (path.name, link["href"])
