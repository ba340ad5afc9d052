"""Where things are. Nothing here touches the disk; the folders may not exist yet."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = REPOSITORY / "data"
CACHE = DATA / "cache"  # derived data, e.g. pseudo-mattes; never committed
CHECKPOINTS = DATA / "checkpoints"
MANIFEST = DATA / "manifest.toml"
NOTEBOOKS = REPOSITORY / "notebooks"
PROFILES = NOTEBOOKS / "profiles"
RESULTS = DATA / "results"
RUNS = REPOSITORY / "runs"  # what a run leaves behind; never committed

PRETRAINED = CHECKPOINTS / "modnet_paper_mobilenet_v2.safetensors"
SEMANTIC_HEAD = CHECKPOINTS / "semantic_head.safetensors"  # of PRETRAINED, for SOC


def external_data() -> Path | None:
    """The folder named by the environment variable ``MODNET_DATA``, or ``None`` if it is not set.

    Raises
    ------
    FileNotFoundError
        If the variable is set to something that is no folder.
    """
    value = os.environ.get("MODNET_DATA")
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"MODNET_DATA is {value!r}, which is no folder; unset it or point it to your data"
        )
    return folder
