"""The README's map of the paper: every section, function and test it names exists. Its picture is today's model's."""

import importlib
import re

import numpy as np
import pytest
from PIL import Image

from modnet_lib import paths
from modnet_lib.inference import Matter
from modnet_lib.notebook.portraits import portraits
from modnet_lib.profiles import DataConfig

ROW = re.compile(
    r"^\| (?P<part>[^|]+) \| \[(?P<label>[^\]]+)\]\((?P<link>[^)]+)\) \| `(?P<thing>[^`]+)` \| `(?P<test>[^`]+)` \|$"
)
ROWS = [
    match
    for line in (paths.REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    if (match := ROW.match(line))
]


def slug(heading: str) -> str:
    """The anchor that GitHub and Jupyter give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip()).lower().replace(" ", "-")


@pytest.mark.parametrize("row", ROWS, ids=[row["part"] for row in ROWS])
def test_notebook_function_and_test_exist(row):
    notebook, _, anchor = row["link"].partition("#")
    source = paths.NOTEBOOKS / "src" / (paths.REPOSITORY / notebook).with_suffix(".py").name
    headings = re.findall(r"^# #+ (.+)$", source.read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {slug(heading) for heading in headings}
    assert (paths.REPOSITORY / notebook).is_file()
    module, _, name = row["thing"].rpartition(".")
    if "/" in row["thing"]:  # a drawing
        assert (paths.REPOSITORY / row["thing"]).is_file()
    else:
        program = module.startswith("drawn_")  # data/drawn_people
        assert hasattr(importlib.import_module(module if program else f"modnet_lib.{module}"), name)
    file, _, function = row["test"].partition("::")
    assert re.search(rf"^def {function}\(", (paths.REPOSITORY / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_equation_built_so_far_has_a_row():
    parts = {row["part"] for row in ROWS}
    assert {f"Eq. {n}" for n in range(1, 17)} <= parts
    assert {"Fig. 1", "Fig. 2", "Fig. 3"} <= parts


def test_the_picture_shows_the_model_that_ships():
    """`python benchmarks/model_card.py picture` makes it again."""
    stored = np.asarray(Image.open(paths.NOTEBOOKS / "figures" / "astronaut.jpg"), dtype=float)
    alpha = Matter.from_pretrained(device="cpu").alpha(portraits(DataConfig())["astronaut"][:360, :360])
    difference = np.abs(stored[:, 360:720] - 255 * alpha[..., None])  # less than two levels by JPEG
    assert difference.mean() < 4


def test_what_comes_before_the_map_is_short():
    text = (paths.REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(text[: text.index("## The paper, and where")].splitlines()) <= 120
