"""What a run is, and where a number comes from.

A run's *identity* is a nested mapping of everything that decides its result: data sets with their files, seed, network,
schedule, precision, and the code that draws samples. `fingerprint` hashes it; `require_same` refuses a different one.
"""

import functools
import hashlib
import json
import platform
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from modnet_lib import paths


def fingerprint(identity: Any) -> str:
    """16 hexadecimal digits of SHA-256 of a JSON-like value; the order of keys does not matter."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pixels_fingerprint(*arrays: np.ndarray | None) -> str:
    """16 hexadecimal digits of SHA-256 of pictures, with their shapes; ``None`` is skipped."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(repr(array.shape).encode() + array.tobytes())
    return digest.hexdigest()[:16]


def first_difference(before: Any, now: Any, where: str = "") -> str:
    """The first place where two JSON-like values differ, in words; empty if they are equal.

    Examples
    --------
    >>> first_difference({"data": {"seed": 1}}, {"data": {"seed": 2}})
    'data.seed was 1, now it is 2'
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            place = f"{where}.{key}" if where else str(key)
            if key not in now:
                return f"{place} was {_shorten(before[key])}, now it is missing"
            if key not in before:
                return f"{place} is new: {_shorten(now[key])}"
            if difference := first_difference(before[key], now[key], place):
                return difference
        return ""
    before, now = (list(value) if isinstance(value, tuple) else value for value in (before, now))
    return "" if before == now else f"{where or 'it'} was {_shorten(before)}, now it is {_shorten(now)}"


def _shorten(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."


def require_same(before: Any, now: Any, path: str | Path) -> None:
    """Refuse to continue what belongs to another run.

    Parameters
    ----------
    before, now
        The identity that was stored, and that of this run; JSON-like values.
    path
        What was about to be continued, for the message.

    Raises
    ------
    ValueError
        If they differ; the message names the first difference.
    """
    now = json.loads(json.dumps(now, default=str))
    if difference := first_difference(before, now):
        raise ValueError(
            f"{path} belongs to another run: {difference}. Choose another location, or delete it to start again"
        )


def read_json(file: Path) -> Any:
    """What a JSON file holds; a ValueError that names it if it is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); delete it to start again") from error


def file_sizes(files: Iterable[Path], root: Path) -> dict[str, int]:
    """Name below `root` and size in bytes of each file; files elsewhere appear with their bare name."""
    return {name: file.stat().st_size for name, file in _named(files, root)}


def file_contents(files: Iterable[Path], root: Path) -> dict[str, str]:
    """Name below `root` and `checksum` of each file, as in `file_sizes`."""
    return {name: checksum(file) for name, file in _named(files, root)}


def _named(files: Iterable[Path], root: Path) -> list[tuple[str, Path]]:
    named = ((f.relative_to(root).as_posix() if f.is_relative_to(root) else f.name, f) for f in files)
    return [(name, file) for name, file in named if file.is_file()]


def checksum(file: Path) -> str:
    """Size and CRC-32: pictures of one size need not be the same. A file is read again only when it has changed."""
    stat = file.stat()
    return _checksum(file, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _checksum(file: Path, _size: int, _modified: int) -> str:
    content = file.read_bytes()
    return f"{len(content)} bytes, CRC-32 {zlib.crc32(content):08x}"


def code_version(*folders: Path) -> dict[str, str]:
    """Hash of each Python file in the given folders (or of single files), by its name below the package."""
    files = [file for folder in folders for file in (sorted(folder.glob("*.py")) or [folder])]
    return {
        file.relative_to(paths.PACKAGE).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in files
    }


def current_commit() -> str:
    """The repository's commit, with ``-dirty`` if tracked files have changed; ``"unknown"`` outside a checkout."""
    command = ["git", "-C", str(paths.REPOSITORY), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return "unknown"
    return result.stdout.strip() or "unknown"


def recorded(what: str, *, device: Any, precision: str, seed: int | None = None) -> dict[str, Any]:
    """The provenance entries of a file of results.

    Parameters
    ----------
    what
        Data and protocol, in words.
    device, precision, seed
        See `provenance`.

    Returns
    -------
    ``provenance``, a sentence, and ``origin``, the details that `provenance` returns.
    """
    origin = provenance(device=device, precision=precision, seed=seed)
    names = (
        origin["device"],
        precision,
        f"torch {origin['versions']['torch']}",
        f"commit {origin['commit']}",
    )
    return {"provenance": f"{what}; {', '.join(names)}, {origin['date']}", "origin": origin}


def provenance(*, device: Any, precision: str, seed: int | None) -> dict[str, Any]:
    """Where a recorded number comes from.

    Parameters
    ----------
    device
        What computed it, a `torch.device` or its name.
    precision
        For instance ``"float32"`` or ``"bf16"``.
    seed
        The run's seed; ``None`` if nothing random was involved.

    Returns
    -------
    ``commit``, ``date``, ``command``, ``device``, ``precision``, ``seed`` and ``versions``.
    """
    import torch
    import torchvision

    device = torch.device(device)
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type}, {platform.machine()}"
    )
    program, *arguments = sys.argv or ["python"]
    # absolute paths depend on the machine
    words = [Path(program).name, *(Path(a).name if Path(a).is_absolute() else a for a in arguments)]
    return {
        "commit": current_commit(),
        "date": str(date.today()),
        "command": "notebook" if "ipykernel" in program else " ".join(words),
        "device": name,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "seed": seed,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
    }
