"""The live widgets of the series, in one place: ipywidgets only, each with a static form for stored notebooks."""

from modnet_lib.notebook.explorers import OFDTimeline, ReceptiveFieldExplorer, TrimapSlider
from modnet_lib.notebook.inspector import STAGES, MatteInspector, crop
from modnet_lib.notebook.live import LivePicture

__all__ = [
    "STAGES",
    "LivePicture",
    "MatteInspector",
    "OFDTimeline",
    "ReceptiveFieldExplorer",
    "TrimapSlider",
    "crop",
]
