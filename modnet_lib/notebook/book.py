"""The stored notebooks and the guides as one static site that needs no server, no network and no kernel.

``python -m modnet_lib.notebook.book`` (what ``make book`` calls) leaves ``runs/book/index.html``: the README with the
map of the paper, every notebook, every guide that is linked, and a search over all of them.
"""

import html
import json
import posixpath
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import pass_context
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from modnet_lib import paths
from modnet_lib.files import write_text

INDEX = "README.md"
EXTERNAL = re.compile(r"(https?|mailto):|//")
LOADED = {"img": "src", "script": "src", "link": "href", "video": "src", "source": "src", "iframe": "src"}
WORD = re.compile(r"\w{2,}")
WORDS_A_MINUTE = 180  # of prose with formulas; a line of code counts as eight words
STYLE = """
:root{color-scheme:light}body{font:16px/1.6 system-ui,sans-serif;margin:0;color:#222}
nav{background:#f4f6f8;border-bottom:1px solid #ccd;padding:.5rem 1rem;display:flex;flex-wrap:wrap;gap:.3rem 1rem}
nav a[aria-current]{font-weight:bold;color:#222;text-decoration:none}
main{max-width:62rem;margin:1rem auto;padding:0 1rem}
a{color:#0067a5}img,video{max-width:100%;height:auto}table{border-collapse:collapse;display:block;overflow-x:auto}
td,th{border:1px solid #ccd;padding:.2rem .6rem;text-align:left}pre{overflow-x:auto;line-height:1.4;margin:.3rem 0}
.input_area{background:#f7f7f7;border:1px solid #ddd;border-radius:4px;padding:.2rem .7rem;font-size:14px}
.output_area{margin:.3rem 0 .3rem 1rem;font-size:14px}.prompt,.anchor-link{display:none}
blockquote{border-left:4px solid #0072b2;margin:1rem 0;padding:.1rem 1rem;background:#f4f8fb}
math{font-family:"STIX Two Math","Latin Modern Math","Cambria Math",serif}
math[display=block]{margin:.7rem 0;overflow-x:auto}details{background:#f7f7f2;padding:.3rem 1rem;margin:.5rem 0}
code{background:#f2f2f2;border-radius:3px}pre code{background:none}footer{margin:2rem 0;display:flex;gap:2rem}
.found{border-left:4px solid #e69f00;padding:0 1rem;margin:1rem 0}:focus-visible{outline:3px solid #e69f00}
"""
SEARCH = """
const field = document.querySelector("#query"), list = document.querySelector("#found");
const words = Object.keys(BOOK.words);
function search() {
  const scores = new Map(), asked = field.value.toLowerCase().match(/[\\p{L}\\p{N}_]{2,}/gu) || [];
  asked.forEach((word, number) => {
    const here = new Map();
    for (const known of words) if (known.startsWith(word))
      for (const [section, count] of BOOK.words[known])
        here.set(section, (here.get(section) || 0) + count * (known === word ? 2 : 1));
    if (number === 0) here.forEach((score, section) => scores.set(section, score));
    else for (const section of [...scores.keys()])
      here.has(section) ? scores.set(section, scores.get(section) + here.get(section)) : scores.delete(section);
  });
  const best = [...scores].sort((a, b) => b[1] - a[1]).slice(0, 30);
  list.replaceChildren(...best.map(([section]) => {
    const [address, title, start] = BOOK.sections[section], item = document.createElement("div");
    const link = document.createElement("a"), text = document.createElement("p");
    item.className = "found"; link.href = address; link.textContent = title; text.textContent = start;
    item.append(link, text);
    return item;
  }));
  if (asked.length && !best.length) list.textContent = "Nothing found.";
}
field.addEventListener("input", search);
field.value = new URLSearchParams(location.search).get("q") || "";
search();
"""


def slug(heading: str) -> str:
    """The fragment that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


class _Renderer(IPythonRenderer):
    """Markdown with formulas as MathML, which browsers draw themselves, and with GitHub's fragments."""

    def block_math(self, body: str) -> str:
        return _mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return _mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        plain = html.unescape(re.sub(r"<math.*?</math>|<[^>]+>", "", text))
        jupyters = html.escape(plain.replace(" ", "-"), quote=True)
        return f'<h{level} id="{slug(plain)}"><a id="{jupyters}"></a>{text}</h{level}>\n'


class _Exporter(HTMLExporter):
    """The bare cells of a notebook; the page around them is ours."""

    def __init__(self, **kwargs: Any):
        super().__init__(template_name="basic", **kwargs)

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        return _markdown(source)


def _markdown(source: str) -> str:
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(source)


def _mathml(body: str, display: str) -> str:
    from latex2mathml.converter import convert

    # sizes before a double bar are beyond the converter
    body = re.sub(r"\\[bB]igg?[lr]?(?=\\\|)", "", html.unescape(body).strip())
    return convert(body, display=display)


def reading_minutes(notebook: nbformat.NotebookNode) -> int:
    """Minutes to read a notebook: prose at 180 words a minute, eight words for a line of code."""
    words = sum(
        len(cell.source.split()) if cell.cell_type == "markdown" else 8 * len(cell.source.splitlines())
        for cell in notebook.cells
    )
    return round(words / WORDS_A_MINUTE)


def build_book(folder: Path | None = None, *, root: Path | None = None) -> list[str]:
    """Write the site.

    Parameters
    ----------
    folder
        Where to; ``runs/book`` by default. What an earlier build left there is removed.
    root
        The repository: ``README.md`` and ``notebooks/NN_*.ipynb``, executed.

    Returns
    -------
    What is wrong with it, a line each (see `problems`); empty if nothing is.

    Raises
    ------
    FileNotFoundError
        If there is no README or no notebook.
    ValueError
        If the folder holds something that is no book.
    """
    folder, root = folder or paths.RUNS / "book", root or paths.REPOSITORY
    notebooks = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not (root / INDEX).is_file() or not notebooks:
        raise FileNotFoundError(f"{root} needs {INDEX} and executed notebooks; run `make notebooks`")
    if folder.exists() and any(folder.iterdir()) and not (folder / "style.css").is_file():
        raise ValueError(f"{folder} is not empty and no book; name another folder")
    shutil.rmtree(folder, ignore_errors=True)
    write_text(folder / "style.css", STYLE + HtmlFormatter().get_style_defs(".highlight"))
    titles = {INDEX: "Contents"}
    for notebook in notebooks:
        titles[f"notebooks/{notebook.name}"] = notebook.stem.replace("_", " ")
    for guide in ("TEACHING.md", "notebooks/GLOSSARY.md"):
        if (root / guide).is_file():
            titles[guide] = Path(guide).stem.capitalize()
    todo, done = list(titles), dict[str, BeautifulSoup]()
    while todo:
        source = todo.pop(0)
        soup = BeautifulSoup(_body(root / source), "html.parser")
        done[source] = soup
        todo += _follow(soup, source, root, folder, [*done, *todo])
    index: dict[str, Any] = {"sections": [], "words": {}}
    for source, soup in done.items():
        write_text(folder / _address(source), _page(source, titles, soup))
        _add_to_index(index, source, titles.get(source, source), soup)
    form = '<h1>Search</h1><p><label>Words: <input id="query" type="search" autofocus></label></p>'
    form += '<div id="found" aria-live="polite"></div><script src="search.js"></script>'
    write_text(folder / "search.html", _page("search.html", titles, BeautifulSoup(form, "html.parser")))
    write_text(folder / "search.js", f"const BOOK = {json.dumps(index, ensure_ascii=False)};{SEARCH}")
    return problems(folder)


def _body(source: Path) -> str:
    """A notebook or Markdown file as HTML without a frame."""
    if source.suffix == ".md":
        return _markdown(source.read_text(encoding="utf-8"))
    notebook = nbformat.read(source, as_version=4)
    section = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            section = [section, *re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)][-1]
            continue
        for output in cell.outputs:
            _describe(output, section)
    page, _ = _Exporter().from_notebook_node(notebook)
    note = f"<p><small>About {reading_minutes(notebook)} minutes to read.</small></p>"
    return page.replace("</h1>", f"</h1>{note}", 1)


def _describe(output: Any, section: str) -> None:
    """Give a picture that says nothing an alternative text: a widget's name, or the section it stands in."""
    plain = "".join(output.get("data", {}).get("text/plain", ""))
    for kind in ("image/png", "image/jpeg"):
        if kind in output.get("data", {}):
            text = plain if plain and not plain.startswith("<") else f"figure of the section “{section}”"
            output.metadata.setdefault(kind, nbformat.NotebookNode()).setdefault("alt", text)


def _address(source: str) -> str:
    """Where the page of a source lies in the book, or the file itself."""
    if source == INDEX:
        return "index.html"
    return re.sub(r"\.(ipynb|md)$", ".html", source)


def _relative(target: str, source: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(_address(source)) or ".")


def _follow(soup: BeautifulSoup, source: str, root: Path, folder: Path, known: list[str]) -> list[str]:
    """Point the links of a page into the book; copy the files they need, return the pages they need."""
    more = []
    for element in soup.find_all(["a", *LOADED]):
        attribute = LOADED.get(element.name, "href")
        link = str(element.get(attribute) or "")
        if not link or link.startswith(("#", "data:")) or EXTERNAL.match(link):
            continue
        target, _, fragment = link.partition("#")
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(target)))
        file = root / inside
        if file.is_dir():  # a folder has no page
            element.name = "span"
            del element[attribute]
            continue
        if file.suffix in (".md", ".ipynb") and file.is_file():
            if inside not in known and inside not in more:
                more.append(inside)
        elif file.is_file() and not inside.startswith(".."):
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / inside)
        element[attribute] = _relative(_address(inside), source) + (f"#{fragment}" if fragment else "")
    return more


def _page(source: str, titles: dict[str, str], soup: BeautifulSoup) -> str:
    here = [(name, title) for name, title in titles.items() if name == source]
    links = "".join(
        f'<a href="{_relative(_address(name), source)}"{" aria-current=page" if name == source else ""}>{title}</a>'
        for name, title in titles.items()
    )
    form = f'<form action="{_relative("search.html", source)}">'
    form += '<input name="q" type="search" placeholder="search" aria-label="search"></form>'
    title = here[0][1] if here else (soup.h1.get_text() if soup.h1 else source)
    css = _relative("style.css", source)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{css}"></head><body><nav aria-label="pages">{links}{form}</nav>'
        f"<main>{soup}</main></body></html>\n"
    )


def _add_to_index(index: dict[str, Any], source: str, title: str, soup: BeautifulSoup) -> None:
    """Add the sections of a page: address, title and beginning; and which words occur in them how often."""
    address, heading, texts = _address(source), title, list[str]()

    def close() -> None:
        text = " ".join(" ".join(texts).split())
        if not text:
            return
        number = len(index["sections"])
        index["sections"].append([address, heading, text[:160]])
        counts = Counter(WORD.findall(text.lower()))
        counts.update(dict.fromkeys(WORD.findall(heading.lower()), 5))
        for word, count in counts.items():
            index["words"].setdefault(word, []).append([number, count])

    for node in soup.descendants:
        if isinstance(node, Tag) and re.fullmatch("h[1-4]", node.name):
            close()
            address, texts = f"{_address(source)}#{node.get('id', '')}", []
            heading = f"{title}: {' '.join(node.get_text().split())}"
        elif not isinstance(node, Tag) and not node.find_parent(["style", "script", "h1", "h2", "h3", "h4"]):
            texts.append(str(node))
    close()


def problems(folder: Path) -> list[str]:
    """Links that lead nowhere, pictures without a description, and anything loaded from outside; a line each."""
    pages = {
        file: BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        for file in folder.rglob("*.html")
    }
    names = {
        file.resolve(): {str(tag[key]) for key in ("id", "name") for tag in soup.find_all(attrs={key: True})}
        for file, soup in pages.items()
    }
    found = []
    for file, soup in sorted(pages.items()):
        where = file.relative_to(folder)
        for element in soup.find_all(["a", *LOADED]):
            link = str(element.get(LOADED.get(element.name, "href")) or "")
            if not link or link.startswith("data:"):
                continue
            if EXTERNAL.match(link):
                if element.name != "a":
                    found.append(f"{where} loads {link}")
                continue
            parts = urlsplit(link)
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file.resolve()
            if not target.is_file():
                found.append(f"{where}: {link} leads nowhere")
            elif parts.fragment and unquote(parts.fragment) not in names.get(target, set()):
                found.append(f"{where}: {link} has no such place")
        found += [
            f"{where}: a picture without a description"
            for image in soup.find_all("img")
            if not image.get("alt")
        ]
    return found


def main() -> int:
    """``python -m modnet_lib.notebook.book``: build ``runs/book``; 1 if something is wrong with it."""
    found = build_book()
    print("\n".join(found) or f"open {paths.RUNS / 'book' / 'index.html'}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
