"""Files that are whole or as they were, however a write ends."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, then rename it to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # short, as `path.name` may have the longest length allowed; `torch.save` stores the part before the last dot
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp.")
    os.close(handle)
    try:
        write(Path(name))
        with open(name, "r+b") as file:  # Windows flushes only what can be written
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


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


def write_folder_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary folder beside `path`, then rename it to `path`, which must not exist."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp.") as folder:
        (partial := Path(folder) / path.name).mkdir()
        write(partial)
        partial.rename(path)
