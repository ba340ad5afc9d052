"""A wheel also carries files that lie outside the package: the checkpoint, the manifest, samples, the profiles."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = (
    "data/checkpoints/modnet*.safetensors",
    "data/checkpoints/semantic_head.safetensors",
    "data/manifest.toml",
    "data/samples/*/**/*.*",
    "notebooks/exercises.toml",
    "notebooks/profiles/**/*.yaml",
)


class BuildWithData(build_py):
    """Copies them to where `modnet_lib.paths` looks for them."""

    def run(self) -> None:
        super().run()
        for file in () if self.editable_mode else (f for pattern in SHIPPED for f in ROOT.glob(pattern)):
            target = Path(self.build_lib) / "modnet_lib" / "_shipped" / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


setup(cmdclass={"build_py": BuildWithData})
