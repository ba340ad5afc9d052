"""Atomic writes: however a write ends, a file is either complete or unchanged."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary place on the same disk, with a short name: `path.name` may already have the maximum length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp.") as folder:
        yield Path(folder, ".tmp.new")  # `torch.save` stores the part before the last dot


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file, which is flushed to disk and becomes `path` if the block ends without an error."""
    with _beside(Path(path)) as new:
        yield new
        with open(new, "r+b") as file:  # Windows flushes only what can be written
            os.fsync(file.fileno())
        os.replace(new, path)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Like `atomic`, with a folder; `path` must not exist."""
    with _beside(Path(path)) as new:
        new.mkdir()
        yield new
        new.rename(path)


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary file that then becomes `path`; see `atomic`."""
    with atomic(path) as new:
        write(new)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: str | Path, value: Any, indent: int | None = 1, digits: int | None = None) -> None:
    """Write a JSON file atomically; with `digits`, floating-point numbers keep that many significant ones."""
    if digits:
        value = json.loads(json.dumps(value, default=float), parse_float=lambda x: float(f"{float(x):.{digits}g}"))
    write_text(path, json.dumps(value, indent=indent) + "\n")


def read_whole_lines(path: Path) -> list[str]:
    """The lines of a file that grows line by line; an incomplete last line is removed from the file."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        write_text(path, "".join(lines))
    return lines


SIGNATURES = {
    rb"version https://git-lfs": "a Git LFS pointer, not the file itself (run git lfs pull)",
    rb"<!doctype html|<html": "a web page",
    rb"<svg": "SVG",
    rb"%pdf": "PDF",
    rb"\xff\x0a|\0\0\0\x0cjxl ": "JPEG XL",
    rb"\x1aE\xdf\xa3": "a Matroska or WebM clip",
    rb"....ftyp(is|mp|qt|m4)": "a clip",
    rb"\x08[\x03-\x1f][\x12\x1a\x22\x3a\x42]": "ONNX",  # its version, then the length of another field
}


def kind_of(path: Path) -> str:
    """The kind of a file by its first bytes, for error messages; empty if unknown."""
    with path.open("rb") as file:
        head = file.read(64)
    kinds = (kind for start, kind in SIGNATURES.items() if re.match(start, head, re.IGNORECASE | re.DOTALL))
    return next(kinds, "")
