"""One place declares dependencies; conda's file and the lock file agree with it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from modnet_lib import paths

CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
TOOLS = {"python", "pip", "setuptools"}


def pyproject() -> dict:
    return tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def by_name(requirements: list[str]) -> dict[str, Requirement]:
    result = {}
    for text in requirements:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert name not in result, f"{name} is declared twice"
        result[name] = requirement
    return result


def declared(*extras: str) -> dict[str, Requirement]:
    """What the core and these extras require, with the extras that they build on."""
    project, done, texts = pyproject(), set(), []
    todo = list(extras)
    while todo:
        if (extra := todo.pop()) in done:
            continue
        done.add(extra)
        for text in project["optional-dependencies"][extra]:
            if (requirement := Requirement(text)).name == project["name"]:
                todo += requirement.extras
            else:
                texts.append(text)
    return by_name(project["dependencies"] + texts)


def everything() -> dict[str, Requirement]:
    return declared(*pyproject()["optional-dependencies"])


@pytest.fixture(scope="module")
def conda() -> dict[str, Requirement]:
    """environment.yml in PyPI's names."""
    entries = yaml.safe_load((paths.REPOSITORY / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = [text for entry in entries if isinstance(entry, dict) for text in entry["pip"]]
    specs = []
    for entry in entries:
        if isinstance(entry, str):
            name, bound = re.fullmatch(r"([A-Za-z0-9_.-]+?)\s*([<>=!~].*)?", entry).groups()
            bound = re.sub(r"^=(?!=)", "==", bound or "")
            specs.append(CONDA_NAMES.get(name, name) + bound)
    assert "pip" in {Requirement(s).name for s in specs} or not pip
    pip = [text for text in pip if not text.startswith("-")]  # "-e ." installs the project itself
    return by_name(specs + pip)


def test_environment_declares_what_pyproject_declares(conda) -> None:
    expected = declared("test")
    assert set(conda) - TOOLS == set(expected)
    for name, requirement in expected.items():
        assert conda[name].specifier == requirement.specifier, name


def test_environment_has_the_same_python(conda) -> None:
    assert "python" in conda
    assert conda["python"].specifier
    supported = Requirement(f"python{pyproject()['requires-python']}").specifier
    versions = [f"3.{minor}" for minor in range(8, 20)]
    for version in versions:
        if version in conda["python"].specifier:
            assert version in supported


def modules_in(tree: ast.AST) -> set[str]:
    """Full names of what a piece of code imports, also inside of functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def distributions(modules: set[str]) -> set[str]:
    """Distributions that these modules come from, without the project and the standard library."""
    known, own = packages_distributions(), canonicalize_name(pyproject()["name"])
    tops = {module.partition(".")[0] for module in modules}
    names = {canonicalize_name(name) for top in tops for name in known.get(top, ())[:1]}
    return names - {own, "setuptools"}


def imported(*places: str) -> set[str]:
    """Distributions that the Python files in these folders import."""
    files = [file for place in places for file in sorted((paths.REPOSITORY / place).rglob("*.py"))]
    assert files
    return distributions(set().union(*(modules_in(parsed(file)) for file in files)))


def reached(commands: set[str]) -> set[str]:
    """Distributions that these commands import, at once or on the way: what any function of a module imports counts."""
    files = {
        ".".join(file.relative_to(paths.REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): file
        for file in paths.PACKAGE.rglob("*.py")
    }
    modules, done = set(), set()
    for module in [name for name in files if name.startswith("modnet_lib.cli")]:
        tree = parsed(files.pop(module))
        if module != "modnet_lib.cli.common":  # of the commands only those that are asked for
            functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
            tree.body = [node for node in tree.body if node not in functions.values() or node.name in commands]
            commands = commands - functions.keys()
        modules |= modules_in(tree)
    assert not commands
    while todo := (modules & files.keys()) - done:
        done |= todo
        modules = modules.union(*(modules_in(parsed(files[name])) for name in todo))
    return distributions(modules)


def test_the_core_is_what_matte_video_and_evaluate_import() -> None:
    # other backbones than MobileNetV2, and another backend
    optional = {"timm", "onnxruntime"}
    assert reached({"matte", "video", "evaluate"}) - optional == set(declared())


@pytest.mark.parametrize(
    ("places", "extras"),
    [
        (["modnet_lib/network", "modnet_lib/baselines", "modnet_lib/objectives", "modnet_lib/evaluation"], ["train"]),
        (["modnet_lib/training"], ["train"]),
        (["modnet_lib/inference"], ["export"]),
        (["modnet_lib/data"], ["train"]),
        (["data/teacher"], ["train", "export"]),  # a teacher is an ONNX network
        (["modnet_lib", "notebooks"], ["notebooks"]),
        (["benchmarks", "tests", "examples", "data"], ["test"]),
        (["data/drawn_people"], []),
        (["data/pack"], ["train"]),
    ],
)
def test_what_is_imported_is_declared_where_it_is_needed(places, extras) -> None:
    assert imported(*places) <= set(declared(*extras))


def test_every_package_that_is_declared_is_used() -> None:
    commands = {"jupyterlab", "nbval", "pytest-xdist", "codespell", "pre-commit", "pyright", "ruff"}
    imported_by_others = {"ipykernel", "onnxscript"}  # by Jupyter and by torch.onnx
    book = {"myst-nb", "sphinx", "sphinx-book-theme", "sphinx-mathjax-offline"}  # notebooks/conf.py names them
    used = imported("modnet_lib", "notebooks", "benchmarks", "tests", "examples", "data")
    assert set(everything()) - used == commands | imported_by_others | book


@pytest.mark.skipif(not (paths.REPOSITORY / ".git").exists(), reason="needs a clone")
def test_tracked_files_stay_small() -> None:
    """They travel to a machine with a GPU."""
    command = ["git", "-C", str(paths.REPOSITORY), "ls-files", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    files = [file for file in map(paths.REPOSITORY.joinpath, names) if file.is_file()]
    assert files
    assert sum(file.stat().st_size for file in files) <= 32 * 2**20


def lock() -> list[str]:
    lines = (paths.REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def test_lock_pins_every_direct_dependency_within_its_bounds() -> None:
    pins: dict[str, list[Requirement]] = {}
    for line in lock():
        requirement = Requirement(line)
        pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    for name, requirement in everything().items():
        assert name in pins, f"{name} is not locked"
        for pin in pins[name]:
            (specifier,) = pin.specifier
            assert specifier.operator == "==", str(pin)
            assert requirement.specifier.contains(specifier.version), str(pin)


def test_lock_holds_pins_only() -> None:
    for line in lock():
        assert not re.search(r"://|@|^-", line), line
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        assert not specifier.version.endswith(".*"), line
        Version(specifier.version)


def test_there_is_one_opencv_and_it_needs_no_display() -> None:
    names = [canonicalize_name(Requirement(line).name) for line in lock()]
    assert [name for name in names if "opencv" in name] == ["opencv-python-headless"]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_clean_leaves_runs_and_prepared_data(tmp_path) -> None:
    shutil.copy(paths.REPOSITORY / "Makefile", tmp_path)
    caches = [".venv/.ready", ".pytest_cache/a", ".ruff_cache/a"]
    work = ["runs/full/state.pt", "data/cache/ccp/a_alpha.png", "data/checkpoints/a.safetensors"]
    for name in (*caches, *work):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"Makefile", *work}
