"""The recorded run of notebook 05: the shipped checkpoint on SPM-100, PPM-100 and CCP, those that exist.

.venv/bin/python benchmarks/evaluation.py [--workers 2] [--count 100] [--degrade 40]    # set MODNET_DATA first

Also draws SPM-100's ten worst.
"""

from typing import Annotated, Any

import cv2
import numpy as np
import typer
from _timing import save
from PIL import Image

from modnet_lib import paths
from modnet_lib.data.readers import Reader, benchmark
from modnet_lib.evaluation.robustness import report
from modnet_lib.images import to_bytes
from modnet_lib.inference import Matter
from modnet_lib.notebook.figures import error_map

STEM = "05_ppm100_evaluation"


def main(
    workers: int = 2,
    count: int = 100,
    degrade: Annotated[int, typer.Option(help="Pictures through worse cameras.")] = 40,
) -> None:
    """Write the file."""
    matter, reports = Matter.from_pretrained(), dict[str, Any]()
    for name in ("ppm100", "spm100", "ccp"):
        try:
            readers = benchmark(name, count=count)
        except FileNotFoundError as missing:
            print(missing)
            continue
        reports[name] = report(matter, readers, few=degrade, workers=workers)
        if name == "spm100":
            rows = sorted(reports[name]["records"], key=lambda row: -row["errors"]["mad"])[:10]
            draw_worst(matter, [readers[row["name"]] for row in rows])
    first = next(iter(reports.values()))
    values = {f"{key}_paper_protocol": value for key, value in first["protocols"]["paper"].items()}
    values |= {"mad_unknown_region": first["protocols"]["unknown"]["mad"]}
    values |= {"calibration_error": first["calibration"]["error"]}
    what = f"the shipped checkpoint on {count} pictures of {', '.join(reports)} ({next(iter(reports))} in the table), "
    what += f"{degrade} of them through worse cameras, short side 512; benchmarks/evaluation.py"
    save(STEM, what, {"profile": "laptop", "values": values, "reports": reports})


def draw_worst(matter: Matter, worst: list[Reader], side: int = 256) -> None:
    """Ten pictures, five a row, and where each is wrong."""
    tiles = []
    for read in worst:
        image, alpha, _ = read()
        parts = (image, to_bytes(error_map(matter.alpha(image), alpha / 255)))
        tiles.append([cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA) for part in parts])
    rows = [np.hstack([tile[part] for tile in half]) for half in (tiles[:5], tiles[5:]) if half for part in (0, 1)]
    Image.fromarray(np.vstack(rows)).save(paths.RESULTS / f"{STEM}.jpg", quality=85)


if __name__ == "__main__":
    typer.run(main)
