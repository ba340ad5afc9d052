"""Where files are; the folders may not exist yet."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# an installed wheel has no repository around it and carries the files that it needs inside (setup.py)
IS_INSTALLED = not (PACKAGE.parent / "pyproject.toml").is_file()
REPOSITORY = PACKAGE / "_shipped" if IS_INSTALLED else PACKAGE.parent
DATA = REPOSITORY / "data"
_USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "modnet"
CACHE = _USER_CACHE if IS_INSTALLED else DATA / "cache"  # derived data, e.g. pseudo-mattes; never committed
CHECKPOINTS = DATA / "checkpoints"
MANIFEST = DATA / "manifest.toml"
SAMPLES = DATA / "samples"  # drawn people, scenes, clips and a small benchmark that ship with the library
NOTEBOOKS = REPOSITORY / "notebooks"
PROFILES = NOTEBOOKS / "profiles"
RESULTS = DATA / "results"
RUNS = Path("runs") if IS_INSTALLED else REPOSITORY / "runs"  # what a run leaves behind; never committed

PRETRAINED = CHECKPOINTS / "modnet_paper_mobilenet_v2.safetensors"
SEMANTIC_HEAD = CHECKPOINTS / "semantic_head.safetensors"  # of PRETRAINED, for SOC


def external_data() -> Path | None:
    """The folder ``MODNET_DATA``, or ``None`` if it is not set; raises FileNotFoundError if it is not a folder."""
    value = os.environ.get("MODNET_DATA")
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"MODNET_DATA is {value!r}, which is not a folder; unset it or point it to your data")
    return folder
