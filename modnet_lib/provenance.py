"""The identity of runs, and the provenance of numbers.

A run's *identity* is a nested mapping of everything that determines its result: data and their files, seed, network,
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
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from modnet_lib import paths

ABSENT = object()


def fingerprint(*values: Any) -> str:
    """16 hexadecimal digits of SHA-256 of JSON-like values, in any order of keys, and arrays; ``None`` is skipped."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            digest.update(repr(value.shape).encode() + value.tobytes())
        elif value is not None:
            digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def first_difference(before: Any, now: Any, where: str = "") -> str:
    """Describe the first place where two JSON-like values differ; empty if they are equal.

    Examples
    --------
    >>> first_difference({"data": {"seed": 1}}, {"data": {"seed": 2}})
    'data.seed was 1, now it is 2'
    """
    if before == now:
        return ""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        key = next(key for key in [*before, *now] if before.get(key, ABSENT) != now.get(key, ABSENT))
        return first_difference(before.get(key, ABSENT), now.get(key, ABSENT), f"{where}.{key}" if where else key)
    old, new = ("missing" if value is ABSENT else json.dumps(value, default=str) for value in (before, now))
    return f"{where or 'it'} was {old:.120}, now it is {new:.120}"


def require_same(before: Any, now: Any, path: str | Path) -> None:
    """Raise `ValueError` with the first difference if the identity of what is at `path` is not that of this run."""
    if difference := first_difference(*json.loads(json.dumps([before, now], default=str))):
        raise ValueError(
            f"{path} belongs to another run: {difference}. Choose another location, or delete it to start again"
        )


def read_json(file: Path) -> Any:
    """Read a JSON file; raises `ValueError` with its name if it is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); delete it to start again") from error


def file_contents(files: Iterable[Path], root: Path) -> dict[str, str]:
    """The `checksum` of each file that exists, by its path below `root`, or by its name if it is elsewhere."""
    return {
        f.relative_to(root).as_posix() if f.is_relative_to(root) else f.name: checksum(f) for f in files if f.is_file()
    }


def checksum(file: Path) -> str:
    """Size and CRC-32 of a file, which is read again only if it has changed."""
    stat = file.stat()
    return _checksum(file, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _checksum(file: Path, _size: int, _modified: int) -> str:
    content = file.read_bytes()
    return f"{len(content)} bytes, CRC-32 {zlib.crc32(content):08x}"


def code_version(*folders: Path) -> dict[str, str]:
    """The hash of each Python file in the given folders, or of single files, by its path in the package."""
    files = [file for folder in folders for file in (sorted(folder.glob("*.py")) or [folder])]
    return {f.relative_to(paths.PACKAGE).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()[:16] for f in files}


def recorded(what: str, *, device: Any, precision: str, seed: int | None = None) -> dict[str, Any]:
    """Where a number comes from: the entries ``provenance`` and ``origin`` of a file of results.

    The first is a sentence that begins with `what`: data and protocol. The second has ``commit`` (with ``-dirty`` if
    tracked files have changed), ``date``, ``command``, ``device`` (for a `torch.device` its name), ``threads``,
    ``precision``, ``seed`` and ``versions``.
    """
    import torch
    import torchvision

    if isinstance(device, torch.device):
        on_gpu = device.type == "cuda"
        device = torch.cuda.get_device_name(device) if on_gpu else f"{device.type}, {platform.machine()}"
    program, *arguments = sys.argv or ["python"]
    # absolute paths depend on the machine
    words = [Path(program).name, *(Path(a).name if Path(a).is_absolute() else a for a in arguments)]
    origin = {
        "commit": _commit(),
        "date": str(date.today()),
        "command": "notebook" if "ipykernel" in program else " ".join(words),
        "device": device,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "seed": seed,
        "versions": {"python": platform.python_version()}
        | {package.__name__: package.__version__ for package in (torch, torchvision)},
    }
    told = f"{device}, {precision}, torch {torch.__version__}, commit {origin['commit']}, {origin['date']}"
    return {"provenance": f"{what}; {told}", "origin": origin}


def _commit() -> str:
    command = ["git", "-C", str(paths.REPOSITORY), "describe", "--always", "--dirty", "--exclude", "*"]
    with suppress(OSError):  # no git
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    return "unknown"
