"""Dependencies point one way, and importing does nothing but import."""

from __future__ import annotations

import ast
import graphlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import modnet_lib

ROOT = Path(modnet_lib.__file__).parent
BASE = {"files", "images", "images16", "mattes", "paths", "profiles", "provenance", "regions"}
TOP = {"notebook", "reproduce", "cli"}
# what each part of the library may know of, besides itself
ALLOWED: dict[str, set[str]] = {
    "paths": set(),
    "files": set(),
    "images": set(),
    "images16": {"images"},
    "mattes": {"images", "images16"},
    "regions": set(),
    "provenance": {"paths"},
    "profiles": {"paths"},
    "network": {"files", "paths"},
    "objectives": {"regions"},
    "data": BASE,
    "baselines": {"network"},
    "inference": {"network", "baselines", *BASE},
    "evaluation": {"inference", "network", "baselines", "data", *BASE},
    "training": {"network", "baselines", "objectives", "data", "inference", "evaluation", *BASE},
    "notebook": {"network", "baselines", "objectives", "data", "inference", "evaluation", "training", *BASE},
    "reproduce": {
        "network", "baselines", "objectives", "data", "inference", "evaluation", "training", "notebook", *BASE,
    },
    "cli": {
        "network", "baselines", "objectives", "data", "inference", "evaluation", "training", "notebook",
        "reproduce", *BASE,
    },
}  # fmt: skip


def modules() -> dict[str, Path]:
    """Every module's full name and file."""
    result = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ["modnet_lib", *path.relative_to(ROOT).with_suffix("").parts]
        result[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return result


def part_of(module: str) -> str | None:
    return module.split(".")[1] if "." in module else None


def imported(name: str, path: Path) -> set[str]:
    """Full names of this library's modules that a file imports, anywhere in it."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                for _ in range(node.level - 1):
                    package = package.rpartition(".")[0]
                base = f"{package}.{base}".rstrip(".")
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {n if n in known else base for n in names}
    return {n for n in found if n == "modnet_lib" or n.startswith("modnet_lib.")}


def test_every_part_is_known() -> None:
    parts = {part_of(name) for name in modules()} - {None}
    assert parts <= set(ALLOWED), "say in ALLOWED what a new part may import"


def test_the_rules_have_no_circle() -> None:
    tuple(graphlib.TopologicalSorter(ALLOWED).static_order())
    for part, may in ALLOWED.items():
        assert part in TOP or not may & TOP


@pytest.mark.parametrize(("name", "path"), modules().items(), ids=modules())
def test_imports_point_downwards(name: str, path: Path) -> None:
    part = part_of(name)
    used = {part_of(other) for other in imported(name, path)} - {None, part}
    if part is None:  # the package itself imports nothing, so that importing a part stays cheap
        assert not used
    else:
        assert used <= ALLOWED[part], f"{name} imports {used - ALLOWED[part]}"


def test_no_two_modules_import_each_other() -> None:
    known = modules()
    graph = {name: imported(name, path) - {name} for name, path in known.items()}
    # a package's __init__ that lists its modules is no circle: they import modules, not the package
    graph = {
        name: {other for other in others if not name.startswith(f"{other}.")}
        for name, others in graph.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_importing_touches_no_device_no_network_and_no_file() -> None:
    script = f"""
import builtins, importlib, socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("the network was used while importing")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
repository = {str(ROOT.parent)!r}

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(repository):
        mode = arguments[1] or "r"
        if set(mode) & set("wax+"):
            raise AssertionError(f"{{arguments[0]}} was written while importing")

sys.addaudithook(watch)
for name in {sorted(set(modules()) - {"modnet_lib.__main__"})!r}:
    importlib.import_module(name)
import torch
assert not torch.cuda.is_initialized()
print("imported")
"""
    environment = {k: v for k, v in os.environ.items() if k != "MODNET_DATA"}
    result = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=ROOT.parent,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("imported\n")
