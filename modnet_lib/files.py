"""Files that are whole or as they were, however a write ends."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


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


def write_folder_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary folder beside `path`, then rename it to `path`, which must not exist."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp.") as folder:
        (partial := Path(folder) / path.name).mkdir()
        write(partial)
        partial.rename(path)
