"""Pictures for the other benchmarks: made by ``data/drawn_people`` in ``runs/drawn``, and kept there."""

import subprocess
import sys
from pathlib import Path

from modnet_lib import paths
from modnet_lib.data.manifest import find_items
from modnet_lib.data.pseudo_mattes import MattingSample, read_parts


def draw(what: str, name: str, *options: object) -> Path:
    """The folder ``runs/drawn/NAME`` with what a command of the program draws."""
    folder, words = paths.RUNS / "drawn" / name, what.split()
    command = [sys.executable, paths.DATA / "drawn_people", *words, folder, *options]
    subprocess.run([str(word) for word in command], check=True)
    return folder


def people(count: int, size: int, split: str = "validation") -> list[MattingSample]:
    """Drawn people with their exact colours, mattes and backgrounds."""
    folder = draw(f"portraits {count}", f"{size}", "--size", size, "--split", split)
    return [read_parts(item) for item in find_items("drawn", folder, split)[:count]]
