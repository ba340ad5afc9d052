"""Sphinx settings of `make book`: README, stored notebooks and guides as one site that needs no server or network."""

import json
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = {
    "TEACHING": "Teaching",
    "notebooks/GLOSSARY": "Glossary",
    "CONTRIBUTING": "Contributing",
    "data/README": "Data",
    "data/drawn_people/README": "Drawn people",
    "data/checkpoints/README": "Model card",
}
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))

project = html_title = "MODNet in notebooks"
extensions = ["myst_nb", "sphinx-mathjax-offline"]
root_doc = "README"
include_patterns = ["README.md", "notebooks/*.ipynb", *(f"{guide}.md" for guide in GUIDES)]
exclude_patterns = [".*", "runs", "data/cache"]

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4  # the fragments that GitHub gives
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables
nb_ipywidgets_js = {}  # stored notebooks hold pictures of their widgets, and no script comes from a server
suppress_warnings = ["mystnb.unknown_mime_type"]  # recorded numbers

html_theme = "sphinx_book_theme"
html_theme_options = {"use_download_button": False, "navbar_persistent": [], "footer_content_items": []}
html_context = {"default_mode": "light"}
html_copy_source = False
html_show_search_summary = False  # browsers let no page without a server read another


def complete(app, docname, source):
    """Give the README its table of contents, pictures in outputs their stored descriptions, and links their anchors."""
    if docname == root_doc:
        series = {f"notebooks/{stem}": stem.replace("_", " ") for stem in NOTEBOOKS}
        for caption, pages in (("Notebooks", series), ("Guides", GUIDES)):
            entries = [f"{title} <{page}>" for page, title in pages.items()]
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", *entries, "```", ""])
    elif docname.removeprefix("notebooks/") in NOTEBOOKS:
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":  # Jupyter's anchors within a notebook keep capitals and dots
                cell["source"] = re.sub(r"(?<=\]\()#\d[^)]*", anchor, "".join(cell["source"]))
            for output in cell.get("outputs", []):
                for details in output.get("metadata", {}).values():
                    if "alt" in details:
                        cell["metadata"]["mystnb"] = {"image": {"alt": details["alt"]}}
        source[0] = json.dumps(notebook)


def anchor(link):
    """Turn the anchor that Jupyter gives a heading into the one that GitHub and MyST give it."""
    return "#" + re.sub(r"[^\w-]", "", link[0].lower())


def setup(app):
    """Connect the above, and let the site open at index.html."""
    app.connect("source-read", complete)
    app.connect(
        "build-finished", lambda app, error: error or shutil.copy(app.outdir / "README.html", app.outdir / "index.html")
    )
