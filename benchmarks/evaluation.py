"""The recorded run of notebook 05: the shipped checkpoint on every benchmark at hand. Set ``MODNET_DATA`` first.

.venv/bin/python benchmarks/evaluation.py [--workers 2] [--count 100] [--degrade 40]

SPM-100 always; PPM-100 and Clothing-Co-Parsing's validation photographs if they are there. Writes
``data/results/05_ppm100_evaluation.json`` with its data, device, commit and date.
"""

import json
from typing import Annotated, Any

import typer
from shipped import made_by

from modnet_lib import paths
from modnet_lib.data.readers import benchmark
from modnet_lib.evaluation.robustness import report
from modnet_lib.inference import Matter


def main(
    workers: Annotated[int, typer.Option(help="Threads that compute metrics beside the model.")] = 2,
    count: Annotated[int, typer.Option(help="Pictures of each benchmark.")] = 100,
    degrade: Annotated[int, typer.Option(help="Of these, through worse cameras.")] = 40,
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
    result = {"profile": "laptop", **made_by(what), "values": values, "reports": reports}
    text = json.dumps(_rounded(result))
    (paths.RESULTS / "05_ppm100_evaluation.json").write_text(text + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Five digits of every number."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    typer.run(main)
