"""Everything that notebook 05 shows of a model on a benchmark, as numbers that fit into one JSON file."""

from typing import Any

import numpy as np

from modnet_lib.data.benchmarks import Reader
from modnet_lib.evaluation.benchmark import PROTOCOLS, Protocol, mean_errors, run_benchmark, unit
from modnet_lib.evaluation.robustness import LEVELS, calibration, degraded
from modnet_lib.inference import Matter

SENSITIVITY = ("mse", "mad")


def report(
    matter: Matter,
    readers: dict[str, Reader],
    *,
    side: int = 512,
    degrade: int = 40,
    processes: int = 1,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Measure a model under every protocol, and its sensitivity and calibration under the paper's.

    Parameters
    ----------
    matter
        The model.
    readers
        Of a benchmark; see `modnet_lib.data.benchmarks.benchmark`.
    side
        Of the network's input, in the place of the paper's 512.
    degrade
        Pictures on which sensitivity is measured: the first so many.
    processes
        See `run_benchmark`.
    show_progress
        Whether to show bars.

    Returns
    -------
    ``protocols``: name to mean errors; ``records``: a dictionary of each picture (``name``, ``errors``,
    ``strata``); ``degraded``: kind to level to mean errors, the untouched pictures as ``none``; ``calibration``:
    ``predicted``, ``true``, ``share`` of ten bins and ``error``; ``milliseconds`` of the model for a picture.
    """
    common = {"processes": processes, "show_progress": show_progress}
    protocols, records = {}, []
    for name, chosen in PROTOCOLS.items():
        protocol = Protocol(chosen.resize, side, chosen.region, chosen.metrics)
        found = run_benchmark(matter, readers, protocol=protocol, **common)
        protocols[name] = mean_errors(found)
        records = found if name == "paper" else records
    few = dict(list(readers.items())[:degrade])
    protocol = Protocol(side=side, metrics=SENSITIVITY)
    worse: dict[str, Any] = {"none": {"0": mean_errors(records[: len(few)])}}
    for kind, levels in LEVELS.items():
        worse[kind] = {
            str(level): mean_errors(
                run_benchmark(matter, degraded(few, kind, level), protocol=protocol, **common)
            )
            for level in levels
        }
    sized = matter.resized(side)
    pictures = (read() for read in few.values())
    honest = calibration((sized.alpha(picture.image), unit(picture.alpha)) for picture in pictures)
    shown = {key: np.nan_to_num(values).tolist() for key, values in honest._asdict().items()}
    return {
        "protocols": protocols,
        "records": [{"name": r.name, "errors": r.errors, "strata": r.strata} for r in records],
        "degraded": worse,
        "calibration": shown | {"error": honest.error},
        "milliseconds": 1000 * float(np.median([record.seconds for record in records])),
    }
