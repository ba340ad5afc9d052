"""Files that are whole or as they were, however a write ends."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new place on the same disk; a short name, as `path.name` may have the longest length allowed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp.") as folder:
        yield Path(folder, ".tmp.new")  # `torch.save` stores the part before the last dot


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, then rename it to `path`."""
    with _beside(Path(path)) as new:
        write(new)
        with open(new, "r+b") as file:  # Windows flushes only what can be written
            os.fsync(file.fileno())
        os.replace(new, path)


def write_folder_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary folder beside `path`, then rename it to `path`, which must not exist."""
    with _beside(Path(path)) as new:
        new.mkdir()
        write(new)
        new.rename(path)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: str | Path, value: Any, indent: int | None = 1) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def read_whole_lines(path: Path) -> list[str]:
    """The lines of a file that grows line by line; an incomplete last line is removed, also from the file."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        write_text(path, "".join(lines))
    return lines
