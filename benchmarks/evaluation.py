"""The recorded run of notebook 05: the shipped checkpoint on SPM-100, PPM-100 and CCP, those that exist.

.venv/bin/python benchmarks/evaluation.py [--workers 2] [--count 100] [--degrade 40]    # set MODNET_DATA first
"""

from typing import Annotated, Any

import typer
from _timing import save

from modnet_lib.data.readers import benchmark
from modnet_lib.evaluation.robustness import report
from modnet_lib.inference import Matter

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
    first = next(iter(reports.values()))
    values = {f"{key}_paper_protocol": value for key, value in first["protocols"]["paper"].items()}
    values |= {"mad_unknown_region": first["protocols"]["unknown"]["mad"]}
    values |= {"calibration_error": first["calibration"]["error"]}
    what = f"the shipped checkpoint on {count} pictures of {', '.join(reports)} ({next(iter(reports))} in the table), "
    what += f"{degrade} of them through worse cameras, short side 512; benchmarks/evaluation.py"
    save(STEM, what, {"profile": "laptop", "values": values, "reports": reports})


if __name__ == "__main__":
    typer.run(main)
