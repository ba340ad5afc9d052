"""From clip to clip: mattes frame by frame, the paper's one-frame delay (OFD) against flicker, a new background."""

import json
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from modnet_lib.files import write_atomically, write_folder_atomically, write_json
from modnet_lib.images import cover, read_image, to_bytes
from modnet_lib.inference.edges import clean_foreground, colour, compose, cutout
from modnet_lib.inference.matter import Matter
from modnet_lib.inference.media import Clip, Frame, Source, repeated
from modnet_lib.inference.writers import CODECS, FileWriter, FolderWriter
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.provenance import first_difference

THRESHOLD = 0.1  # ours: the paper gives none; chosen in notebook 08

Matte = TypeVar("Matte", np.ndarray, Tensor)
Item = TypeVar("Item")


def one_frame_delay(alphas: Iterable[Matte], threshold: float = THRESHOLD) -> Iterator[Matte]:
    """Repair pixels that flicker for a single frame (section "Results on Real-World Data").

    A pixel of frame t flickers if its neighbours in time agree, |a(t-1) - a(t+1)| <= `threshold`, and it differs
    from both by more than `threshold`; it becomes their mean. Neighbours are the mattes as they came, so a repair
    never spreads. The first and the last matte pass as they are.

    Parameters
    ----------
    alphas
        Mattes of one shot in order, of one shape; arrays or tensors on any device, in [0, 1].
    threshold
        Ours, as the paper only says "close" and "very different"; >= 0.

    Yields
    ------
    As many mattes, each as soon as the next one is there: one frame late, three in memory.

    Raises
    ------
    ValueError
        If `threshold` is negative or the shape changes.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    before = now = None
    for after in alphas:
        if now is not None:
            if after.shape != now.shape:
                raise ValueError(f"a matte is {tuple(after.shape)} after one of {tuple(now.shape)}")
            yield now if before is None else _repaired(before, now, after, threshold)
        before, now = now, after
    if now is not None:
        yield now


def flickers(before: Matte, now: Matte, after: Matte, threshold: float = THRESHOLD) -> Any:
    """Where the rule of `one_frame_delay` finds flicker; bool, the shape of the mattes."""
    close = abs(before - after) <= threshold
    return close & (abs(now - before) > threshold) & (abs(now - after) > threshold)


def _repaired(before: Matte, now: Matte, after: Matte, threshold: float) -> Matte:
    where, mean = flickers(before, now, after, threshold), (before + after) / 2
    return mean.where(where, now) if isinstance(mean, Tensor) else np.where(where, mean, now)


class Report(NamedTuple):
    """What `matte_video` did: frames, seconds, and the share of pixels that the delay repaired."""

    frames: int
    seconds: float
    repaired: float


@dataclass(frozen=True)
class Settings:
    """How `matte_video` makes a clip.

    Attributes
    ----------
    background
        As for `modnet_lib.inference.edges.compose`, or a clip (which is repeated), ``"matte"`` for the matte itself,
        or ``"transparent"`` (``.webm`` and folders). By default transparent where that can be stored, or else green.
    threshold
        Of `one_frame_delay`, which starts anew at every cut; ``None`` does without it.
    batch_size
        Frames that go through the network together.
    limit
        See `modnet_lib.inference.media.Clip`.
    resume
        Keep finished mattes beside the target, and continue from those of an interrupted run; only for files.
        Mattes then have 256 levels. Mattes of another clip, network or setting are deleted with a warning.
    """

    background: str | Path | None = None
    threshold: float | None = THRESHOLD
    batch_size: int = 1
    limit: int | None = None
    resume: bool = False


def matte_video(
    matter: Matter,
    source: Source,
    target: str | Path,
    *,
    progress: Callable[[int, int | None], object] = lambda done, total: None,
    **settings: Any,
) -> Report:
    """Cut the person out of every frame of a clip.

    Decoding, the model and encoding run beside each other, a few frames apart, so memory does not grow with the
    clip. Sound and the frames' times are kept. The target gets its name when it is complete, never before.

    Parameters
    ----------
    matter
        What cuts out.
    source
        See `modnet_lib.inference.media.Clip`.
    target
        ``.mp4``, ``.mov``, ``.mkv`` (H.264) or ``.webm`` (VP9); without suffix a new folder of PNG files.
    progress
        Called with the number of finished frames and, if it is known, of all.
    settings
        See `Settings`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `Clip`; also if the target cannot hold what is asked for, or `batch_size` is smaller than 1.
    """
    target, chosen, start = Path(target), Settings(**settings), time.perf_counter()
    suffix, shares = target.suffix.lower(), list[float]()
    file = Path(source) if isinstance(source, (str, Path)) and source != "-" else None
    render = _renderer(_check(file, target, chosen))
    clip = Clip(source, limit=chosen.limit, sound=bool(suffix))
    kept = _kept(matter, file, target, chosen) if chosen.resume and file else None

    def write(path: Path) -> None:
        writer = FileWriter(path, suffix, clip.pace) if suffix else FolderWriter(path)
        depth = 2 * chosen.batch_size
        # closed from the last to the first, so that no thread is left that reads the clip
        with closing(_ahead(clip, depth)) as frames:
            mattes = _delayed(_matted(frames, matter, chosen.batch_size, kept), chosen.threshold)
            with closing(_ahead(mattes, depth)) as ready:
                for frame, alpha, share in ready:
                    writer.write(render(frame, alpha), frame.time)
                    writer.write_audio(clip.packets)
                    shares.append(share)
                    progress(len(shares), clip.count)
        writer.write_audio(clip.packets)  # it may outlast the pictures
        writer.close()

    try:
        (write_atomically if suffix else write_folder_atomically)(target, write)
    finally:
        clip.close()
    if kept:
        shutil.rmtree(kept)
    return Report(len(shares), time.perf_counter() - start, sum(shares) / len(shares))


def _check(file: Path | None, target: Path, chosen: Settings) -> str | Path:
    """The background that is meant; a ValueError if the target cannot hold it or exists."""
    suffix = target.suffix.lower()
    transparent = suffix in ("", ".webm")
    if suffix and suffix not in CODECS:
        raise ValueError(
            f"{target} must end in one of {', '.join(CODECS)}, or in nothing for a folder of PNG files"
        )
    if chosen.batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {chosen.batch_size}")
    if not suffix and target.exists():
        raise ValueError(f"{target} exists; name a folder that does not")
    if file and file.exists() and target.exists() and target.samefile(file):
        raise ValueError(f"{target} is the clip itself; write to another file")
    if chosen.background == "transparent" and not transparent:
        raise ValueError(
            f"H.264 has no transparency: write {target.stem}.webm or a folder, or choose a background"
        )
    return chosen.background or ("transparent" if transparent else "green")


def _ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The same items, computed in a thread of their own, at most `depth` ahead."""
    iterator, end, pool = iter(items), object(), ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)


def _matted(
    frames: Iterable[Frame], matter: Matter, batch_size: int, kept: Path | None
) -> Iterator[tuple[Frame, np.ndarray]]:
    """Frames with their mattes; those of a batch are kept as one picture, one below the other."""
    iterator, number = iter(frames), 0
    while batch := list(islice(iterator, batch_size)):
        file, number = kept and kept / f"{number:06d}.png", number + 1
        if file and file.is_file():
            sheet = np.asarray(Image.open(file))
        else:
            alphas = matter.alphas([frame.image for frame in batch], batch_size)
            if not file:
                yield from zip(batch, alphas, strict=True)
                continue
            sheet = to_bytes(np.concatenate(alphas))
            write_atomically(file, partial(Image.fromarray(sheet).save, format="png"))
        yield from zip(batch, np.split(sheet.astype(np.float32) / 255, len(batch)), strict=True)


def _kept(matter: Matter, source: Path, target: Path, chosen: Settings) -> Path:
    """The folder of finished mattes of this run; those of another run are deleted."""
    # not threshold and background, which are applied to the kept mattes
    options = ("short_side", "squash", "backend", "dtype", "refine")
    identity = {
        "clip": {source.name: source.stat().st_size},
        "modified": source.stat().st_mtime_ns,
        "limit": chosen.limit,
        "batch_size": chosen.batch_size,
        "weights": weights_fingerprint(matter.network),
        "network": matter.network.config,
        "device": matter.device.type,
    } | {name: str(getattr(matter, name)) for name in options}
    folder = target.with_name(f".{target.name}.mattes")
    file = folder / "identity.json"
    if folder.is_dir():
        before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if difference := first_difference(before, json.loads(json.dumps(identity))):
            warnings.warn(f"the mattes of an earlier run are deleted: {difference}", stacklevel=3)
            shutil.rmtree(folder)
    write_json(file, identity)
    return folder


def _delayed(
    pairs: Iterable[tuple[Frame, np.ndarray]], threshold: float | None
) -> Iterator[tuple[Frame, np.ndarray, float]]:
    """Each shot through `one_frame_delay`, with the share of pixels that it repaired."""
    if threshold is None:
        yield from ((frame, alpha, 0.0) for frame, alpha in pairs)
        return
    for _, shot in groupby(pairs, key=lambda pair: pair[0].shot):
        waiting: deque[tuple[Frame, np.ndarray]] = deque()  # `itertools.tee` would hold dozens

        def noted(pair: tuple[Frame, np.ndarray], waiting: deque = waiting) -> np.ndarray:
            waiting.append(pair)
            return pair[1]

        for alpha in one_frame_delay(map(noted, shot), threshold):
            frame, before = waiting.popleft()
            yield frame, alpha, float((alpha != before).mean())


def _renderer(background: str | Path) -> Callable[[Frame, np.ndarray], np.ndarray]:
    """How a frame and its matte become what is written; a ValueError if that is no background."""
    if background == "matte":
        return lambda frame, alpha: np.repeat(to_bytes(alpha)[..., None], 3, axis=2)
    if background == "transparent":
        return lambda frame, alpha: cutout(frame.image, alpha)
    behind = _backdrop(background)
    return lambda frame, alpha: compose(
        clean_foreground(frame.image, alpha), alpha, behind(frame), frame.image
    )


def _backdrop(background: str | Path) -> Callable[[Frame], str | np.ndarray]:
    """What `compose` is given for a frame: ``"blur"``, a colour, a picture or a frame of a repeated clip."""
    path = Path(background)
    if background != "blur" and path.is_file():
        try:
            picture = read_image(path)
        except ValueError:  # no picture, so it should be a clip
            moving = repeated(path)
            next(moving)
            return lambda frame: moving.send(frame.time)
        covering = lru_cache(maxsize=1)(partial(cover, picture))
        return lambda frame: covering(*frame.image.shape[:2])
    if background != "blur":
        colour(str(background))  # a ValueError if it is none
    return lambda frame: str(background)
