"""The numbers of the shipped checkpoint that its card and notebook 01 show, made again. Set ``MODNET_DATA`` first.

.venv/bin/python benchmarks/shipped.py validation   # card: CCP's validation photographs
.venv/bin/python benchmarks/shipped.py backgrounds  # notebook 01, section 7: natural, composited, blurred
.venv/bin/python benchmarks/shipped.py spm         # card: SPM-100 and SPM-shift
.venv/bin/python benchmarks/shipped.py compare OLD.safetensors NEW.safetensors  # card: which one ships

Each writes a file in ``data/results`` with its data, seed, commit and date.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from modnet_lib import paths
from modnet_lib.data.compositing import background_versions
from modnet_lib.data.manifest import held_out_backgrounds
from modnet_lib.data.readers import Reader, benchmark
from modnet_lib.evaluation.protocol import QUICK, Protocol, evaluate, run_benchmark
from modnet_lib.evaluation.records import Record, by_stratum, mean_errors
from modnet_lib.evaluation.robustness import degraded
from modnet_lib.evaluation.statistics import paired_difference
from modnet_lib.images import read_image
from modnet_lib.inference import Matter
from modnet_lib.profiles import DataConfig
from modnet_lib.provenance import recorded
from modnet_lib.training.validation import validation_data

app = typer.Typer(help=__doc__)
SEED = 0  # of resampling
WORSE_CAMERAS = (("noise", 25), ("blur", 8), ("jpeg", 10))
FACTORS = ("whole_body", "blurred_background", "held_object")


def photographs(count: int) -> list:
    """Clothing-Co-Parsing's validation photographs."""
    return validation_data(DataConfig(real=True), count)


def write(name: str, content: dict[str, Any]) -> None:
    """Write a file of results and show it."""
    text = json.dumps(content, indent=1)
    (paths.RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text[:3000])


def made_by(what: str, precision: str = "float32") -> dict[str, Any]:
    """Data, protocol and provenance, for a file of results."""
    return recorded(
        what, device="cuda" if torch.cuda.is_available() else "cpu", precision=precision, seed=SEED
    )


@app.command()
def validation(count: int = 100) -> None:
    """Errors on the validation photographs at short sides of 384 and 512."""
    result: dict[str, Any] = {}
    for side in (384, 512):
        records = measured("ccp", side, count)
        errors = {record.name: record.errors for record in records}
        result[str(side)] = {"mean": mean_errors(records), "per_picture": errors}
    what = f"{count} validation photographs of Clothing-Co-Parsing (pseudo-mattes); benchmarks/shipped.py validation"
    write("validation_shipped", made_by(what) | result)


def measured(name: str, side: int, count: int | None = None) -> list[Record]:
    """The shipped checkpoint on a benchmark at a short side."""
    protocol = Protocol(side=side, metrics=QUICK)
    return run_benchmark(Matter.from_pretrained(), benchmark(name, count=count), protocol=protocol, workers=2)


@app.command()
def backgrounds(count: int = 100) -> None:
    """Errors of the same people before five kinds of background, and the changes with 95 % intervals."""
    samples = photographs(count)
    scenes = [read_image(file) for file in held_out_backgrounds()]
    matter, errors = Matter.from_pretrained(), dict[str, list[dict[str, float]]]()
    for number, (name, sample) in enumerate(samples):
        others = [scenes[(2 * number + k) % len(scenes)] for k in (0, 1)]
        for way, images in background_versions(sample, others).items():
            records = evaluate(matter.alpha, [(name, image, sample.alpha) for image in images])
            errors.setdefault(way, []).append(mean_errors(records))
    values = {
        f"{way.replace(' ', '_')}_{metric}": float(np.mean([one[metric] for one in each]))
        for way, each in errors.items()
        for metric in each[0]
    }
    squared = {way: np.array([one["mse"] for one in each]) for way, each in errors.items()}
    changes = []
    for before, after in (
        ("natural", "own scene"),
        ("own scene", "other scenes"),
        ("own scene", "own scene blurred"),
        ("other scenes", "other scenes blurred"),
    ):
        change = paired_difference(squared[before][None], squared[after][None], seed=SEED)
        worse = int((squared[after] > squared[before]).sum())
        entry = {"from": before, "to": after} | change._asdict()
        changes.append(entry | {"photographs_with_more_error": worse})
    what = f"section 7: {len(samples)} validation photographs of Clothing-Co-Parsing (pseudo-mattes), "
    what += (
        f"{len(scenes)} people-free photographs as other scenes, the shipped checkpoint at its short side of "
    )
    what += f"{matter.short_side}, resampling seed {SEED}; benchmarks/shipped.py backgrounds"
    result = {"profile": "laptop", **made_by(what), "values": values}
    write("01_dataset_compositing", result | {"squared_error_changes": changes})


@app.command()
def spm() -> None:
    """Errors on SPM-100, by stratum, and on SPM-shift."""
    side, result = Matter.from_pretrained().short_side, dict[str, Any]()
    for name in ("spm100", "spm_shift"):
        records = measured(name, side)
        strata = by_stratum(records)
        result[name] = {"mean": mean_errors(records)}
        for factor in FACTORS:
            for value, answer in (("1", "yes"), ("0", "no")):
                result[name][f"{factor}: {answer}"] = mean_errors(strata[factor][value])
    what = f"short side {side}; benchmarks/shipped.py spm"
    write("spm_shipped", made_by(what) | result)


@app.command()
def compare(old: Path, new: Path, count: int = 100, worse: int = 40) -> None:
    """Two checkpoints on the same pictures: sizes, benchmarks, and worse cameras, with 95 % intervals."""
    matters, rows = [Matter.from_pretrained(path) for path in (old, new)], dict[str, Any]()

    def row(title: str, readers: dict[str, Reader], side: int) -> None:
        protocol = Protocol(side=side, metrics=QUICK)
        pair = [run_benchmark(matter, readers, protocol=protocol, workers=2) for matter in matters]
        rows[title] = {}
        for metric in QUICK:
            errors = [np.array([[record.errors[metric] for record in records]]) for records in pair]
            change = paired_difference(errors[0], errors[1], seed=SEED)._asdict()
            rows[title][metric] = {"old": float(errors[0].mean()), "new": float(errors[1].mean())} | change
        print(
            title, {key: [round(v, 4) for v in one.values()] for key, one in rows[title].items()}, flush=True
        )

    for name in ("ccp", "spm100", "spm_shift"):
        readers = benchmark(name, count=count)
        for side in (384, 512):
            row(f"{name} at {side}", readers, side)
        few = dict(list(readers.items())[:worse])
        for kind, level in WORSE_CAMERAS if name != "spm_shift" else ():
            row(f"{name} at 384, {kind} {level}", degraded(few, kind, level), 384)
    what = f"{old.name} against {new.name}, {count} pictures, {worse} with worse cameras, seed {SEED}; "
    write("checkpoints_compared", made_by(what + "benchmarks/shipped.py compare") | rows)


if __name__ == "__main__":
    app()
