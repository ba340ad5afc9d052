"""Wheel and sdist also carry files that lie outside the package: checkpoint, manifest, samples and profiles."""

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
FILES = [file.relative_to(ROOT) for pattern in SHIPPED for file in ROOT.glob(pattern)]


class BuildWithData(build_py):
    """Copies them to where `modnet_lib.paths` looks for them."""

    def get_source_files(self) -> list[str]:
        """What an sdist holds besides the project's own files."""
        return super().get_source_files() + [file.as_posix() for file in FILES]

    def run(self) -> None:
        super().run()
        for file in () if self.editable_mode else FILES:
            target = Path(self.build_lib) / "modnet_lib" / "_shipped" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, target)


setup(cmdclass={"build_py": BuildWithData})
