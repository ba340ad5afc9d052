"""Wheel and sdist work outside of the repository: with what they carry, and with the packages of the core alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from modnet_lib import paths
from modnet_lib.evaluation.records import read_records
from modnet_lib.inference import Matter

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
BUILD = ("--no-deps", "--no-build-isolation", "--wheel-dir")


def call(folder: Path, *command: object, fails: bool = False) -> str:
    """What a command prints that runs outside of the repository, without data sets."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MODNET_DATA")}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache")}
    words = list(map(str, command))
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """A wheel built from the tree, and one built from an sdist of it."""
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("build")
    tree, skip = folder / "tree", shutil.ignore_patterns("__pycache__", "*.ipynb", "cache", "results")
    for name in ("modnet_lib", "data", "notebooks"):
        shutil.copytree(paths.REPOSITORY / name, tree / name, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(paths.REPOSITORY / name, tree)
    call(tree, sys.executable, "-c", "from setuptools.build_meta import build_sdist; build_sdist('..')")
    (sdist,) = folder.glob("*.tar.gz")
    assert sdist.stat().st_size < 12e6
    with tarfile.open(sdist) as archive:  # pip would build in place, beside what the tree has built
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    found = {}
    for name, source in {"tree": tree, "sdist": unpacked}.items():
        call(folder, *PIP, "wheel", *BUILD, folder / name, source)
        (found[name],) = (folder / name).glob("*.whl")
        assert found[name].stat().st_size < 12e6
    return found


def core() -> dict[str, Distribution]:
    """Distributions that an installation without extras brings, as far as this environment has them."""
    project = tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    todo, found = [*project["dependencies"]], {}
    while todo:
        requirement = Requirement(todo.pop())
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            found[requirement.name] = distribution(requirement.name)
        except PackageNotFoundError:  # a build of torch for the CPU lacks what PyPI's requires
            continue
        todo += found[requirement.name].requires or []
    return found


@pytest.fixture(params=["tree", "sdist"])
def programs(request, wheels, tmp_path) -> Path:
    """Folder of the programs of a new environment with a wheel and, as links, the core's packages."""
    venv.create(tmp_path / "clean", symlinks=os.name != "nt", with_pip=False)
    programs = tmp_path / "clean" / ("Scripts" if os.name == "nt" else "bin")
    site = Path(call(tmp_path, programs / "python", "-c", "import site; print(site.getsitepackages()[0])").strip())
    for package in core().values():
        for name in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(package.locate_file(name))
    call(tmp_path, *PIP, "--python", programs / "python", "install", "--no-deps", wheels[request.param])
    return programs


@pytest.mark.slow
def test_wheel_and_sdist_carry_the_same(wheels) -> None:
    contents = [set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels.values()]
    assert contents[0] == contents[1]
    carried = {name.removeprefix("modnet_lib/_shipped/") for name in contents[0] if "_shipped/" in name}
    needed = [paths.PRETRAINED, paths.SEMANTIC_HEAD, paths.MANIFEST, *paths.PROFILES.rglob("*.yaml")]
    needed += [file for kind in ("spm", "drawn", "clips") for file in (paths.SAMPLES / kind).rglob("*.*")]
    assert {file.relative_to(paths.REPOSITORY).as_posix() for file in needed} <= carried


@pytest.mark.slow
def test_a_clean_environment_cuts_people_out_and_measures(programs, tmp_path) -> None:
    modnet, picture = programs / "modnet", paths.SAMPLES / "spm" / "image" / "spm_001.jpg"
    where = call(tmp_path, programs / "python", "-c", "import modnet_lib as m; print(m.__file__)")
    assert str(tmp_path) in where
    call(tmp_path, modnet, "matte", "--alpha", picture, "m.png")
    expected = np.round(Matter.from_pretrained().alpha(picture) * 255)
    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / "m.png")), expected, atol=1)
    call(tmp_path, modnet, "evaluate", "--count", "2", "--output", "errors.csv")
    assert [record.name for record in read_records(tmp_path / "errors.csv")] == ["spm_000", "spm_001"]
    assert "ppm100" in call(tmp_path, modnet, "data", "list")
    people = "from modnet_lib.data.sets import drawn_people as d; print(len(d(24).readers))"
    assert call(tmp_path, programs / "python", "-c", people).strip() == "24"
    refused = call(tmp_path, modnet, "train", "smoke", "--folder", "run", fails=True)
    assert "accelerate" in refused
    assert "install the extras train, export or notebooks of modnet-in-notebooks" in refused
