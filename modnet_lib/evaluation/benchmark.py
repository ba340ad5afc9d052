"""The protocol: short side to 512, matte back to the picture's own size, errors over the whole picture."""

import csv
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from tqdm.auto import tqdm

from modnet_lib.data.benchmarks import Labelled, Reader, benchmark, find_benchmark, reader_files
from modnet_lib.data.sources import PICTURES
from modnet_lib.data.trimaps import band_size, trimap_from_alpha
from modnet_lib.data.workers import worker_pool
from modnet_lib.evaluation.metrics import METRICS, errors_by_region
from modnet_lib.files import read_whole_lines, write_json
from modnet_lib.images import read_matte, refuse_cutout
from modnet_lib.inference import Matter
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.provenance import checksum, file_contents, fingerprint, provenance, read_json, require_same

STILL = ("mse", "mad", "sad", "grad", "conn")
QUICK = ("mse", "mad", "iou")
Model = Matter | Callable[[np.ndarray], np.ndarray] | Path


@dataclass(frozen=True)
class Record:
    """One picture's errors; with what is known of the picture, and the seconds that its matte took."""

    name: str
    errors: dict[str, float]
    strata: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Protocol:
    """How pictures are measured.

    Attributes
    ----------
    resize
        ``"short_side"``: the shorter side becomes `side`, proportions stay (the paper). ``"squash"``: `side` x `side`,
        as many repositories do.
    side
        Pixels, of the network's input.
    region
        ``"whole"``: every pixel of the original size (the paper). ``"unknown"``: the band of the truth's trimap.
    metrics
        Keys of `modnet_lib.evaluation.metrics.METRICS`.
    """

    resize: Literal["short_side", "squash"] = "short_side"
    side: int = 512
    region: Literal["whole", "unknown"] = "whole"
    metrics: tuple[str, ...] = STILL


PROTOCOLS = {
    "paper": Protocol(),
    "squash": Protocol(resize="squash"),
    "unknown": Protocol(region="unknown"),
}


def evaluate(
    alpha: Callable[..., np.ndarray],
    pictures: Iterable[tuple[str, np.ndarray, np.ndarray]],
    *,
    metrics: Sequence[str] = QUICK,
    with_trimap: bool = False,
    regions: bool = False,
) -> list[Record]:
    """Measure a matting function on labelled pictures in memory.

    Parameters
    ----------
    alpha
        A picture to its matte at the picture's size, for instance ``matter.alpha``.
    pictures
        Name, image (H, W, 3) uint8, and true alpha (H, W), uint8 or float in [0, 1].
    metrics
        Keys of `modnet_lib.evaluation.metrics.METRICS`.
    with_trimap
        `alpha` also takes the trimap of the truth: dilated and eroded by 30 pixels for a person of 512.
    regions
        Also give the mean absolute error inside the person, in the trimap's band, and outside.

    Returns
    -------
    A record for each picture, in order.

    Raises
    ------
    ValueError
        Naming the picture, if a matte has another size, or values that are not finite or outside of [0, 1].
    """
    protocol, records = Protocol(metrics=tuple(metrics)), []
    for name, image, truth in pictures:
        given = (trimap_of(unit(truth)),) if with_trimap else ()
        errors = _errors(name, alpha(image, *given), truth, protocol, regions)
        records.append(Record(name, errors))
    return records


def _errors(
    name: str, matte: np.ndarray, truth: np.ndarray, protocol: Protocol, regions: bool = False
) -> dict[str, float]:
    truth = unit(truth)
    trimap = trimap_of(truth) if regions or protocol.region == "unknown" else None
    region = trimap == 0.5 if trimap is not None and protocol.region == "unknown" else None
    try:
        errors = {key: METRICS[key](matte, truth, region) for key in protocol.metrics}
        if regions and trimap is not None:
            errors |= errors_by_region(matte, truth, trimap)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return errors


def unit(matte: np.ndarray) -> np.ndarray:
    """Scale a uint8 matte to [0, 1]; return any other unchanged."""
    return matte / 255.0 if matte.dtype == np.uint8 else matte


def trimap_of(truth: np.ndarray) -> np.ndarray:
    """The trimap that trimap-based methods are given: (H, W) of {0, 0.5, 1} from a matte in [0, 1]."""
    alpha = torch.from_numpy(truth).float()[None, None]
    return trimap_from_alpha(alpha, band_size(alpha))[0, 0].numpy()


def mean_errors(records: Sequence[Record]) -> dict[str, float]:
    """Mean over pictures of every metric; raises `ValueError` if there are no records."""
    if not records:
        raise ValueError("no pictures were evaluated")
    return {key: float(np.mean([record.errors[key] for record in records])) for key in records[0].errors}


def worst_first(records: Iterable[Record], metric: str = "mad") -> list[Record]:
    """The records, the largest error first."""
    return sorted(records, key=lambda record: -record.errors[metric])


def by_stratum(records: Sequence[Record], parts: int = 3) -> dict[str, dict[str, list[Record]]]:
    """Records by what is known of their pictures: stratum, value, records.

    Numbers with many values, such as the share of the picture that the person fills, are cut into `parts` of equal
    size; a part is named by its ends.
    """
    values: dict[str, list[tuple[str, Record]]] = defaultdict(list)
    for record in records:
        for key, value in record.strata.items():
            values[key].append((value, record))
    result = {}
    for key, pairs in values.items():
        if len({value for value, _ in pairs}) > 8:
            try:
                pairs.sort(key=lambda pair: float(pair[0]))
            except ValueError:
                continue  # a name for each picture is no stratum
            cut = [pairs[len(pairs) * k // parts : len(pairs) * (k + 1) // parts] for k in range(parts)]
            groups = {f"{part[0][0]} to {part[-1][0]}": [r for _, r in part] for part in cut if part}
        else:
            names = sorted({value for value, _ in pairs})
            groups = {name: [r for value, r in pairs if value == name] for name in names}
        result[key] = groups
    return result


def describe(image: np.ndarray, truth: np.ndarray) -> dict[str, str]:
    """What makes a picture hard, from the picture and its true matte.

    Parameters
    ----------
    image, truth
        (H, W, 3) uint8, and (H, W) uint8 or float in [0, 1].

    Returns
    -------
    ``person`` and ``soft``: shares of the picture that the person fills, and that are neither 0 nor 1 (hair);
    ``contrast``: distance of the mean colours on both sides of the border, 0 to 1.
    """
    alpha = unit(truth)
    band = (trimap_of(alpha) == 0.5).astype(np.uint8)
    width = max(3, round(float(np.sqrt(alpha.size)) / 40))
    near = cv2.dilate(band, np.ones((width, width), np.uint8)) > 0
    sides = [image[near & side] / 255 for side in (alpha > 0.95, alpha < 0.05)]
    found = all(len(side) for side in sides)
    contrast = float(np.linalg.norm(np.subtract(*(side.mean(axis=0) for side in sides)))) if found else 0.0
    return {
        "person": f"{(alpha > 0.5).mean():.3f}",
        "soft": f"{((alpha > 0.02) & (alpha < 0.98)).mean():.4f}",
        "contrast": f"{contrast / np.sqrt(3):.3f}",
    }


def run_benchmark(
    model: Model,
    name: str | dict[str, Reader],
    *,
    label: str = "",
    protocol: Protocol | None = None,
    root: str | Path | None = None,
    count: int | None = None,
    output: str | Path | None = None,
    processes: int = 1,
    batch_size: int = 1,
    show_progress: bool = True,
) -> list[Record]:
    """Measure a model on a benchmark.

    Parameters
    ----------
    model
        A `Matter` (brought to the protocol's size; given the truth's trimap if its network takes one), any function
        from a picture (H, W, 3) uint8 to its matte (H, W) in [0, 1], or a folder of mattes named like the pictures.
    name, root, count
        See `modnet_lib.data.benchmarks.benchmark`; or readers by name instead of all three.
    label
        Names the model in the identity of the run. By default a fingerprint of a `Matter`'s weights and settings, the
        files of a folder, or the qualified name of a function.
    protocol
        The paper's if ``None``.
    output
        A CSV file: a line for each picture, written as soon as it is measured, with a column for each metric.
        Pictures that it has already are not measured again. The ``.json`` beside it holds the identity of the run
        (model, protocol, pictures and the checksums of their files) and its provenance.
    processes
        That compute metrics beside the model; 1 computes them in between.
    batch_size
        Pictures that a `Matter` sees at once, if they have the same size; the numbers stay the same.
    show_progress
        Whether to show a bar.

    Returns
    -------
    A record for each picture, in the order of the benchmark.

    Raises
    ------
    ValueError, FileNotFoundError
        For unknown names, missing data, a folder whose mattes do not fit (all of them are named), a matte that is no
        matte, or an `output` of another run; the message names the first difference.
    """
    protocol, title = protocol or Protocol(), "pictures"
    readers = name if isinstance(name, dict) else benchmark(name, root, count)
    if isinstance(name, str):
        title = find_benchmark(name).title
    done = {}
    if output:
        identity = {
            "benchmark": title,
            "model": label or _model_identity(model),
            "protocol": asdict(protocol),
            "pictures": {
                key: [checksum(file) for file in reader_files(read)] for key, read in readers.items()
            },
        }
        is_matter = isinstance(model, Matter)
        origin = provenance(
            device=model.device if is_matter else "cpu",
            precision=str(model.dtype).removeprefix("torch.") if is_matter else "float32",
            seed=None,
        )
        done = _continue(Path(output), identity, origin)
    predict = _predictor(model, protocol, readers)
    todo = [key for key in readers if key not in done]
    started = len(readers) - len(todo)
    with tqdm(desc=title, total=len(readers), initial=started, disable=not show_progress) as bar:
        for record in _measure(predict, {key: readers[key] for key in todo}, protocol, processes, batch_size):
            done[record.name] = record
            if output:
                _append(Path(output), record)
            bar.update()
    return [done[key] for key in readers]


Predict = Callable[[Sequence[str], Sequence[Labelled]], list[np.ndarray]]


def _predictor(model: Model, protocol: Protocol, readers: dict[str, Reader]) -> Predict:
    if isinstance(model, Path):
        return _from_folder(model, readers)
    if not isinstance(model, Matter):
        return lambda _names, pictures: [model(picture.image) for picture in pictures]
    matter = model.resized(protocol.side, squash=protocol.resize == "squash")
    if not matter.network.config["trimap_input"]:
        return lambda _names, pictures: matter.alphas([p.image for p in pictures], len(pictures))
    return lambda _names, pictures: [
        matter.alpha(picture.image, trimap_of(unit(picture.alpha))) for picture in pictures
    ]


def _from_folder(folder: Path, readers: dict[str, Reader]) -> Predict:
    """Mattes of another tool, all checked before the first is measured."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = {
        file.relative_to(folder).with_suffix("").as_posix(): file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in PICTURES
    }
    problems = [f"missing: {key}" for key in readers if key not in found]
    problems += [f"not in the benchmark: {file.name}" for key, file in found.items() if key not in readers]
    for key in readers.keys() & found.keys():
        try:
            matte, picture = read_matte(found[key]), readers[key]()
            if matte.shape == picture.alpha.shape:
                refuse_cutout(matte, picture.image, found[key])
        except ValueError as error:
            problems.append(str(error))
            continue
        if matte.shape != picture.alpha.shape:
            problems.append(f"{found[key].name} is {matte.shape}, the picture {picture.alpha.shape}")
    if problems:
        raise ValueError(f"{len(problems)} problems in {folder}:\n" + "\n".join(sorted(problems)))
    return lambda names, _pictures: [read_matte(found[name]) for name in names]


def _measure(
    predict: Predict, readers: dict[str, Reader], protocol: Protocol, processes: int, batch_size: int
) -> Iterator[Record]:
    """Records in order; metrics of earlier pictures are computed while the model is at the next."""
    waiting: list[Future[Record]] = []
    with worker_pool(processes) if processes > 1 else _Here() as pool:
        for start in range(0, len(readers), batch_size):
            names = list(readers)[start : start + batch_size]
            pictures = [readers[name]() for name in names]
            begin = time.perf_counter()
            mattes = predict(names, pictures)
            seconds = (time.perf_counter() - begin) / len(names)
            for name, picture, matte in zip(names, pictures, mattes, strict=True):
                waiting.append(pool.submit(_record, name, picture, matte, protocol, seconds))
            while waiting and (waiting[0].done() or len(waiting) > 4 * processes):
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


class _Here(Executor):
    """Runs what is submitted at once."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _record(name: str, picture: Labelled, matte: np.ndarray, protocol: Protocol, seconds: float) -> Record:
    errors = _errors(name, matte, picture.alpha, protocol)
    return Record(name, errors, picture.strata | describe(picture.image, picture.alpha), seconds)


def _model_identity(model: Model) -> Any:
    """What determines a model's output; a function is identified by its name only."""
    if isinstance(model, Path):
        return file_contents(sorted(model.rglob("*")), model)
    if not isinstance(model, Matter):
        named = model if hasattr(model, "__qualname__") else type(model)
        return f"{named.__module__}.{named.__qualname__}"
    network = fingerprint(
        [type(model.network).__name__, model.network.config, weights_fingerprint(model.network)]
    )
    return {"network": network, "dtype": str(model.dtype), "refine": model.refine, "bucket": model.bucket}


def _continue(output: Path, identity: dict[str, Any], origin: dict[str, Any]) -> dict[str, Record]:
    """The records of a file; a ValueError if it belongs to another run."""
    beside, begun = output.with_suffix(".json"), dict[str, Any]()
    if output.is_file():
        begun = read_json(beside) if beside.is_file() else {}
        origin = begun.pop("provenance", origin)
        before, now = begun.get("pictures", {}), identity["pictures"]
        compared = dict(identity)
        if (
            before.keys() <= now.keys() or now.keys() <= before.keys()
        ):  # the same set with fewer or more pictures
            shared = before.keys() & now.keys()
            begun["pictures"] = {key: before[key] for key in before if key in shared}
            compared["pictures"] = {key: now[key] for key in now if key in shared}
        require_same(begun, compared, output)
        identity["pictures"] = before | now
    write_json(beside, identity | {"provenance": origin})
    return {record.name: record for record in read_records(output)} if begun else {}


def read_records(file: str | Path) -> list[Record]:
    """The records that `run_benchmark` wrote; a last line that was cut is left out (and out of the file)."""
    records = []
    for row in csv.DictReader(read_whole_lines(Path(file))):
        errors = {key: float(value) for key, value in row.items() if key in METRICS}
        strata = {k.removeprefix("stratum:"): v for k, v in row.items() if k.startswith("stratum:")}
        records.append(Record(row["name"], errors, strata, float(row["seconds"])))
    return records


def _append(file: Path, record: Record) -> None:
    columns = {"name": record.name, "seconds": repr(record.seconds)}
    columns |= {key: repr(value) for key, value in record.errors.items()}
    columns |= {f"stratum:{key}": value for key, value in record.strata.items()}
    new = not file.is_file() or not file.stat().st_size
    with file.open("a", encoding="utf-8", newline="") as lines:
        table = csv.DictWriter(lines, columns, lineterminator="\n")
        if new:
            table.writeheader()
        table.writerow(columns)
