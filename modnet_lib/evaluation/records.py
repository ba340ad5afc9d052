"""What was measured on each picture, what makes a picture hard, and the table of both."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from modnet_lib.evaluation.methods import trimap_of
from modnet_lib.evaluation.metrics import METRICS, unit
from modnet_lib.files import read_whole_lines


@dataclass(frozen=True)
class Record:
    """The errors of one picture, its strata, and the seconds that its matte took."""

    name: str
    errors: dict[str, float]
    strata: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def mean_errors(records: Sequence[Record]) -> dict[str, float]:
    """Mean over pictures of every metric; raises `ValueError` if there are no records."""
    if not records:
        raise ValueError("no pictures were evaluated")
    return {key: float(np.mean([record.errors[key] for record in records])) for key in records[0].errors}


def describe(image: np.ndarray, truth: np.ndarray) -> dict[str, str]:
    """What makes a picture hard, from the picture (H, W, 3) uint8 and its true matte (H, W) uint8 or in [0, 1].

    ``person`` and ``soft``: shares of the picture that the person fills, and that are neither 0 nor 1 (hair);
    ``contrast``: distance of the mean colours on both sides of the border, 0 to 1.
    """
    alpha = unit(truth)
    band, width = (trimap_of(alpha) == 0.5).astype(np.uint8), max(3, round(float(np.sqrt(alpha.size)) / 40))
    near = cv2.dilate(band, np.ones((width, width), np.uint8)) > 0
    inside, outside = (image[near & side] / 255 for side in (alpha > 0.95, alpha < 0.05))
    contrast = np.linalg.norm(inside.mean(axis=0) - outside.mean(axis=0)) if len(inside) and len(outside) else 0.0
    return {
        "person": f"{(alpha > 0.5).mean():.3f}",
        "soft": f"{((alpha > 0.02) & (alpha < 0.98)).mean():.4f}",
        "contrast": f"{contrast / np.sqrt(3):.3f}",
    }


def read_records(file: str | Path) -> list[Record]:
    """The records of a table; a last line that was cut is left out (and removed from the file)."""
    records = []
    for row in csv.DictReader(read_whole_lines(Path(file))):
        errors = {key: float(value) for key, value in row.items() if key in METRICS}
        strata = {k.removeprefix("stratum:"): v for k, v in row.items() if k.startswith("stratum:")}
        records.append(Record(row["name"], errors, strata, float(row["seconds"])))
    return records


def append_record(file: Path, record: Record) -> None:
    """Add a record to a table: a column for each metric (``mad``), and for each stratum (``stratum:person``)."""
    columns = {"name": record.name, "seconds": repr(record.seconds)}
    columns |= {key: repr(value) for key, value in record.errors.items()}
    columns |= {f"stratum:{key}": value for key, value in record.strata.items()}
    with file.open("a", encoding="utf-8", newline="") as lines:
        table = csv.DictWriter(lines, columns, lineterminator="\n")
        if not lines.tell():
            table.writeheader()
        table.writerow(columns)
