"""A wheel of the project works outside of the repository, with the checkpoint and the samples that it carries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from modnet_lib import paths
from modnet_lib.evaluation.records import read_records
from modnet_lib.inference import Matter


@pytest.mark.slow
def test_the_wheel_cuts_people_out(tmp_path) -> None:
    pytest.importorskip("pip")
    tree = tmp_path / "tree"
    skip = shutil.ignore_patterns("__pycache__", "*.ipynb", "cache", "results")
    for name in ("modnet_lib", "data", "notebooks"):
        shutil.copytree(paths.REPOSITORY / name, tree / name, ignore=skip)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(paths.REPOSITORY / name, tree)

    def call(*command: object, **environment: str) -> str:
        outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MODNET_DATA")}
        done = subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env=outside | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path / "wheels", tree)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    assert wheel.stat().st_size < 12e6
    site = tmp_path / "site"
    call(*pip, "install", "--no-deps", "--target", site, wheel)

    picture = paths.DATA / "samples" / "spm" / "image" / "spm_001.jpg"
    where = call(sys.executable, "-c", "import modnet_lib as m; print(m.__file__)", PYTHONPATH=str(site))
    assert str(site) in where
    call(site / "bin" / "modnet", "matte", "--alpha", picture, tmp_path / "m.png", PYTHONPATH=str(site))
    expected = np.round(Matter.from_pretrained().alpha(picture) * 255)
    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / "m.png")), expected, atol=1)
    call(site / "bin" / "modnet", "data", "list", PYTHONPATH=str(site))
    # the benchmark and the drawn people that ship
    evaluate = (site / "bin" / "modnet", "evaluate", "--count", "2", "--output", tmp_path / "errors.csv")
    call(*evaluate, PYTHONPATH=str(site))
    assert [record.name for record in read_records(tmp_path / "errors.csv")] == ["spm_000", "spm_001"]
    people = "from modnet_lib.data.sets import drawn_people as d; print(len(d(24).readers))"
    assert call(sys.executable, "-c", people, PYTHONPATH=str(site)).strip() == "24"
