"""MODNet (AAAI 2022), trimap-free portrait matting: the library behind the notebooks.

The names below are imported when they are first used, so that importing the package alone costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modnet_lib.evaluation import metrics
    from modnet_lib.inference import Matter
    from modnet_lib.network import MODNet, load_checkpoint, save_checkpoint

__version__ = "0.1.0"
__all__ = ["MODNet", "Matter", "load_checkpoint", "metrics", "save_checkpoint"]

_HOMES = {
    "MODNet": "modnet_lib.network",
    "Matter": "modnet_lib.inference",
    "load_checkpoint": "modnet_lib.network",
    "metrics": "modnet_lib.evaluation.metrics",
    "save_checkpoint": "modnet_lib.network",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    return getattr(home, name, home)  # `metrics` is a module itself


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
