"""MODNet (AAAI 2022), trimap-free portrait matting: the library behind the notebooks.

The names below are imported when they are first used, so that importing the package alone costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modnet_lib.evaluation import metrics
    from modnet_lib.inference import Matter
    from modnet_lib.network import MODNet, load_checkpoint, save_checkpoint

__version__ = "0.1.0"
__all__ = ["MODNet", "Matter", "load_checkpoint", "metrics", "save_checkpoint"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = {"Matter": "inference", "metrics": "evaluation.metrics"}.get(name, "network")
    module = import_module(f"{__name__}.{home}")
    return module if name == "metrics" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
