"""The protocol: short side to 512, matte back to the picture's own size, errors over the whole picture."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm.auto import tqdm

from modnet_lib.data.items import read_matte, refuse_cutout
from modnet_lib.data.readers import Labelled, Reader, reader_files
from modnet_lib.evaluation.methods import Method, trimap_of
from modnet_lib.evaluation.metrics import METRICS, errors_by_region, unit
from modnet_lib.evaluation.records import Record, append_record, describe, read_records
from modnet_lib.files import write_json
from modnet_lib.images import is_picture
from modnet_lib.inference import Matter
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.provenance import checksum, file_contents, fingerprint, read_json, recorded, require_same

STILL = ("mse", "mad", "sad", "grad", "conn")
Model = Matter | Method | Callable[[np.ndarray], np.ndarray] | Path
Predict = Callable[[Sequence[str], Sequence[Labelled]], list[np.ndarray]]


@dataclass(frozen=True)
class Protocol:
    """How pictures are measured.

    ``"short_side"``: the network sees the shorter side at `side` pixels, proportions stay (the paper). ``"squash"``:
    `side` x `side`, as many repositories do. ``"whole"``: every pixel of the original size counts (the paper).
    ``"unknown"``: the band of the truth's trimap. `metrics` are keys of `modnet_lib.evaluation.metrics.METRICS`.
    """

    resize: Literal["short_side", "squash"] = "short_side"
    side: int = 512
    region: Literal["whole", "unknown"] = "whole"
    metrics: tuple[str, ...] = STILL


QUICK = Protocol(metrics=("mse", "mad", "iou"))
PROTOCOLS = {"paper": Protocol(), "squash": Protocol(resize="squash"), "unknown": Protocol(region="unknown")}


def matte_errors(
    name: str, matte: np.ndarray, truth: np.ndarray, protocol: Protocol = QUICK, *, regions: bool = False
) -> dict[str, float]:
    """Errors of a matte (H, W) in [0, 1] by metric; the truth is uint8 or in [0, 1].

    With `regions` also `errors_by_region`. A ValueError names the picture if the matte has another size, or values that
    are not finite or outside of [0, 1].
    """
    truth, unknown = unit(truth), protocol.region == "unknown"
    trimap = trimap_of(truth) if regions or unknown else np.empty(0)
    try:
        errors = {key: METRICS[key](matte, truth, trimap == 0.5 if unknown else None) for key in protocol.metrics}
        return errors | (errors_by_region(matte, truth, trimap) if regions else {})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def run_benchmark(
    model: Model,
    readers: dict[str, Reader],
    *,
    protocol: Protocol = PROTOCOLS["paper"],
    output: str | Path | None = None,
    workers: int = 0,
    batch_size: int = 1,
    show_progress: bool = True,
) -> list[Record]:
    """Measure a model on a benchmark.

    Parameters
    ----------
    model
        A `Matter` (brought to the protocol's size); a `Method`, which is given the truth's trimap if it needs one; any
        function from a picture (H, W, 3) uint8 to its matte (H, W) in [0, 1]; or a folder of mattes named like the
        pictures.
    readers
        Of each picture by its name; see `modnet_lib.data.readers.benchmark`.
    output
        A CSV file: a line for each picture, written as soon as it is measured, with a column for each metric.
        Pictures that it has already are not measured again. The ``.json`` beside it holds the identity of the run
        (model, protocol, checksums of the pictures' files) and its provenance.
    workers, batch_size
        Threads that compute metrics beside the model; pictures of one size that a `Matter` sees at once.

    Returns
    -------
    A record for each picture, in the order of the benchmark.

    Raises
    ------
    ValueError, FileNotFoundError
        For a folder that is missing or whose mattes do not fit (all of them are named), or an `output` of another run.
    """
    done = _begin(Path(output), model, protocol, readers) if output else {}
    predict = _predictor(model, protocol, readers)
    todo = {name: read for name, read in readers.items() if name not in done}
    records = _measure(predict, todo, protocol, workers, batch_size)
    for record in tqdm(records, "pictures", len(readers), initial=len(readers) - len(todo), disable=not show_progress):
        done[record.name] = record
        if output:
            append_record(Path(output), record)
    return [done[name] for name in readers]


def _predictor(model: Model, protocol: Protocol, readers: dict[str, Reader]) -> Predict:
    squash = protocol.resize == "squash"
    if isinstance(model, Path):
        return _from_folder(model, readers)
    if isinstance(model, Matter):
        matter = model.resized(protocol.side, squash=squash)
        return lambda _names, pictures: matter.alphas([p.image for p in pictures], len(pictures))
    if isinstance(model, Method):
        method = model._replace(short_side=protocol.side, squash=squash)
        return lambda _names, pictures: [method.labelled(p.image, p.alpha) for p in pictures]
    return lambda _names, pictures: [model(picture.image) for picture in pictures]


def _from_folder(folder: Path, readers: dict[str, Reader]) -> Predict:
    """Mattes of another tool, all checked before the first is measured."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    files = [file for file in sorted(folder.rglob("*")) if is_picture(file)]
    found = {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
    problems = [f"missing: {key}" for key in readers if key not in found]
    problems += [f"not in the benchmark: {file.name}" for key, file in found.items() if key not in readers]
    for key in readers.keys() & found.keys():
        try:
            matte, picture = read_matte(found[key]), readers[key]()
            if matte.shape != picture.alpha.shape:
                raise ValueError(f"{found[key].name} is {matte.shape}, the picture {picture.alpha.shape}")
            refuse_cutout(matte, picture.image, found[key])
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(f"{len(problems)} problems in {folder}:\n" + "\n".join(sorted(problems)))
    return lambda names, _pictures: [read_matte(found[name]) for name in names]


def _measure(
    predict: Predict, readers: dict[str, Reader], protocol: Protocol, workers: int, batch_size: int
) -> Iterator[Record]:
    """Records in order; metrics of earlier pictures are computed while the model is at the next."""

    def record(name: str, picture: Labelled, matte: np.ndarray, seconds: float) -> Record:
        strata = picture.strata | describe(picture.image, picture.alpha)
        return Record(name, matte_errors(name, matte, picture.alpha, protocol), strata, seconds)

    waiting: deque[Future[Record]] = deque()
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        for start in range(0, len(readers), batch_size):
            names = list(readers)[start : start + batch_size]
            pictures = [readers[name]() for name in names]
            begin = time.perf_counter()
            mattes = predict(names, pictures)
            seconds = (time.perf_counter() - begin) / len(names)
            for name, picture, matte in zip(names, pictures, mattes, strict=True):
                waiting.append(pool.submit(record, name, picture, matte, seconds))
            while waiting and (len(waiting) > 4 * workers or waiting[0].done()):
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def _model_identity(model: Model) -> Any:
    """What determines a model's output; a function is identified by its name only."""
    if isinstance(model, Path):
        return file_contents(sorted(model.rglob("*")), model)
    if not isinstance(model, Matter | Method):
        named: Any = model if hasattr(model, "__qualname__") else type(model)
        return f"{named.__module__}.{named.__qualname__}"
    network = model.network
    identity = fingerprint([type(network).__name__, network.config, weights_fingerprint(network)])
    options = {"dtype": str(model.dtype), "refine": model.refine} if isinstance(model, Matter) else {}
    return {"network": identity} | options


def _begin(output: Path, model: Model, protocol: Protocol, readers: dict[str, Reader]) -> dict[str, Record]:
    """Write the identity of a run beside its table, unless it is that of another run; the table's records."""
    beside, done = output.with_suffix(".json"), dict[str, Record]()
    files = {key: [checksum(file) for file in reader_files(read)] for key, read in readers.items()}
    identity: dict[str, Any] = {"model": _model_identity(model), "protocol": asdict(protocol)}
    ours = isinstance(model, Matter | Method)
    device = next(model.network.parameters()).device if ours else torch.device("cpu")
    dtype = model.dtype if isinstance(model, Matter) else "float32"
    origin = recorded("errors", device=device, precision=str(dtype).removeprefix("torch."))["origin"]
    known: dict[str, Any] = {}
    if output.is_file():
        begun = read_json(beside) if beside.is_file() else {}
        origin, known = begun.pop("provenance", origin), begun.pop("pictures", {})
        same = known.keys() & files.keys()
        if same not in (known.keys(), files.keys()):  # not the same set, of another count
            same = known.keys() | files.keys()
        before, now = ({key: each[key] for key in each if key in same} for each in (known, files))
        require_same(begun | {"pictures": before}, identity | {"pictures": now}, output)
        done = {record.name: record for record in read_records(output)}
    write_json(beside, identity | {"pictures": known | files, "provenance": origin})
    return done
