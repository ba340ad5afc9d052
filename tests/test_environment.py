"""One place declares dependencies; conda's file and the lock file agree with it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import packages_distributions

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


def imported() -> set[str]:
    """Distributions that a Python file of the project imports."""
    folders = ("modnet_lib", "notebooks/src", "benchmarks", "tests", "examples", "data")
    files = [file for folder in folders for file in (paths.REPOSITORY / folder).rglob("*.py")]
    modules = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    known, own = packages_distributions(), canonicalize_name(pyproject()["name"])
    names = {canonicalize_name(name) for module in modules for name in known.get(module, ())[:1]}
    return names - {own, "setuptools"}


def test_every_package_that_is_imported_is_declared() -> None:
    assert imported() <= set(everything())


def test_every_package_that_is_declared_is_used() -> None:
    commands = {"jupyterlab", "nbval", "pytest-xdist", "codespell", "pre-commit", "pyright", "ruff"}
    imported_by_others = {"ipykernel", "onnxscript"}  # by Jupyter and by torch.onnx
    book = {"myst-nb", "sphinx", "sphinx-book-theme", "sphinx-mathjax-offline"}  # notebooks/conf.py names them
    assert set(everything()) - imported() == commands | imported_by_others | book


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
