"""Dependencies point one way, files and functions stay small, and importing does nothing but import."""

from __future__ import annotations

import ast
import graphlib
import io
import os
import subprocess
import sys
import tokenize
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import modnet_lib

ROOT = Path(modnet_lib.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MODULES = {
    ".".join(("modnet_lib", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in FILES
}
BASE = {"devices", "files", "images", "paths", "profiles", "provenance", "regions"}
MIDDLE = {"network", "baselines", "objectives", "data", "inference", "evaluation", "training"}
TOP = {"notebook", "cli"}
# what each part of the library may know of, besides itself
ALLOWED: dict[str, set[str]] = {
    "paths": set(),
    "devices": set(),
    "files": set(),
    "images": {"files"},
    "regions": set(),
    "provenance": {"paths"},
    "profiles": {"paths"},
    "network": {"files", "images", "paths"},
    "objectives": {"regions"},
    "data": BASE,
    "baselines": {"network"},
    "inference": {"network", "baselines", *BASE},
    "evaluation": {"inference", "network", "baselines", "data", *BASE},
    "training": {*MIDDLE, *BASE} - {"training"},
    "notebook": {*MIDDLE, *BASE},
    "cli": {"notebook", *MIDDLE, *BASE},
}


def part_of(module: str) -> str | None:
    return module.split(".")[1] if "." in module else None


def imported(name: str) -> set[str]:
    """Full names of this library's modules that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(TREES[MODULES[name]]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{name} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one if one in MODULES else node.module for one in names}
    return {one for one in found if one.partition(".")[0] == "modnet_lib"}


def code_lines(text: str) -> int:
    """Lines that hold more than a docstring, a comment or nothing."""
    lines, silent = set(), (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (*silent, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def test_what_counts_as_code() -> None:
    text = '"""Two\nlines."""\n\n# remark\ndef f(\n    a,  # one\n):\n    """Doc."""\n    return """x\ny"""\n'
    assert code_lines(text) == 5, "three lines of the signature, two of the text that is returned"


def test_the_library_is_thin() -> None:
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    # on the way to 8,000 and 5,200
    assert sum(len(text.splitlines()) for text in texts) <= 9_400
    assert sum(map(code_lines, texts)) <= 6_010


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_files_and_functions_are_small(path: Path) -> None:
    length = len(path.read_text(encoding="utf-8").splitlines())
    large = [f"{length} lines"] if length > 300 else []
    for node in ast.walk(TREES[path]):
        # the parameters of a command are its options
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and path.parent != ROOT / "cli":
            given = node.args
            named = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            count = len(set(named) - {"self", "cls"}) + bool(given.vararg) + bool(given.kwarg)
            lines = node.end_lineno - node.lineno + 1
            if lines > 60 or count > 7:
                large.append(f"{node.name}: {lines} lines, {count} parameters")
    assert large == []


def test_every_part_is_known() -> None:
    parts = {part_of(name) for name in MODULES} - {None}
    assert parts == set(ALLOWED), "say in ALLOWED what a new part may import, and only there"


def test_the_rules_have_no_circle() -> None:
    tuple(graphlib.TopologicalSorter(ALLOWED).static_order())
    for part, may in ALLOWED.items():
        assert part in TOP or not may & TOP


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name: str) -> None:
    part = part_of(name)
    used = {part_of(other) for other in imported(name)} - {None, part}
    if part is None:  # for type checkers only, see test_importing_the_package_is_cheap
        assert used <= {"network", "inference", "evaluation"}
    else:
        assert used <= ALLOWED[part], f"{name} imports {used - ALLOWED[part]}"


def test_no_two_modules_import_each_other() -> None:
    # a package's __init__ that lists its modules is no circle: they import modules, not the package; the library's
    # own imports them when they are asked for
    graph = {name: {other for other in imported(name) - {name} if not name.startswith(f"{other}.")} for name in MODULES}
    tuple(graphlib.TopologicalSorter(graph | {"modnet_lib": set()}).static_order())


def run_python(script: str, *arguments: object) -> str:
    """What a script prints that runs in a process of its own, without `MODNET_DATA`."""
    environment = {k: v for k, v in os.environ.items() if k != "MODNET_DATA"}
    result = subprocess.run(
        [sys.executable, "-B", "-c", script, *map(str, arguments)],
        cwd=ROOT.parent,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_package_is_cheap() -> None:
    script = """
import sys
before = set(sys.modules)
import modnet_lib
assert set(modnet_lib.__all__) <= set(dir(modnet_lib))
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(loaded - set(sys.stdlib_module_names)))
"""
    assert run_python(script) == "['modnet_lib']\n"


def test_the_public_names() -> None:
    from modnet_lib import Matter, MODNet, load_checkpoint, metrics, save_checkpoint
    from modnet_lib.inference import matter
    from modnet_lib.network import checkpoints, modnet

    assert (MODNet, Matter) == (modnet.MODNet, matter.Matter)
    assert (load_checkpoint, save_checkpoint) == (checkpoints.load_checkpoint, checkpoints.save_checkpoint)
    assert metrics.mad(np.ones((2, 2)), np.zeros((2, 2))) == 1
    assert set(modnet_lib.__all__) == {"MODNet", "Matter", "load_checkpoint", "metrics", "save_checkpoint"}
    with pytest.raises(AttributeError, match="has no attribute 'Matte'"):
        _ = modnet_lib.Matte


def test_matte_needs_the_core_packages_only(tmp_path) -> None:
    """Packages of the extras cannot be imported here, but for those that a package of the core needs."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [text for extra in project["optional-dependencies"].values() for text in extra]
    extras = {canonicalize_name(Requirement(text).name) for text in texts}
    extras -= {"packaging", canonicalize_name(project["name"])}
    refused = [
        module
        for module, names in packages_distributions().items()
        if {canonicalize_name(name) for name in names} & extras
    ]
    assert {"accelerate", "jupyterlab", "matplotlib", "papermill", "timm"} <= set(refused)
    script = f"""
import sys
from importlib.machinery import PathFinder

class Blind(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in {refused!r}
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Blind
from modnet_lib.cli import app
app(["matte", "--refine", *sys.argv[1:]], standalone_mode=False)
parts = {{name.split(".")[1] for name in sys.modules if name.startswith("modnet_lib.")}}
print(sorted(parts & {{"training", "notebook", "evaluation", "data", "objectives", "profiles"}}))
"""
    picture = np.random.default_rng(0).integers(0, 256, (64, 1200, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "in.png")
    output = run_python(script, "--short-side", 32, tmp_path / "in.png", tmp_path / "out.png")
    assert output == "[]\n"
    assert Image.open(tmp_path / "out.png").mode == "RGBA"


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
for name in {sorted(MODULES)!r}:
    importlib.import_module(name)
import torch
assert not torch.cuda.is_initialized()
print("imported")
"""
    assert run_python(script).endswith("imported\n")
