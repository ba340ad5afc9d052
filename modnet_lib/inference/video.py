"""From clip to clip: mattes frame by frame, the paper's one-frame delay against flicker, a new background."""

import json
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from functools import lru_cache, partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

from modnet_lib.files import write_atomically, write_folder_atomically, write_json
from modnet_lib.images import read_image
from modnet_lib.inference.edges import clean_foreground
from modnet_lib.inference.matter import Matter
from modnet_lib.inference.media import CODECS, Clip, FileWriter, FolderWriter, Frame, Source
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.provenance import file_sizes, first_difference

THRESHOLD = 0.1  # ours: the paper gives none; chosen in notebook 08
GREEN = "#00B140"

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


def matte_video(
    matter: Matter,
    source: Source,
    target: str | Path,
    *,
    background: str | Path | None = None,
    threshold: float | None = THRESHOLD,
    batch_size: int = 1,
    limit: int | None = None,
    resume: bool = False,
    progress: Callable[[int, int | None], object] = lambda done, total: None,
) -> Report:
    """Cut the person out of every frame of a clip.

    Decoding, the model and encoding run beside each other, a few frames apart, so memory does not grow with the
    clip. Sound and the frames' times are kept. The target gets its name when it is complete, never before.

    Parameters
    ----------
    matter
        What cuts out.
    source, limit
        As in `modnet_lib.inference.media.Clip`.
    target
        ``.mp4``, ``.mov``, ``.mkv`` (H.264) or ``.webm`` (VP9); without suffix a folder of PNG files, which must
        not exist.
    background
        A colour that Pillow knows (``"green"`` is a studio's), a picture or a clip (which is repeated), ``"blur"``,
        ``"matte"`` for the matte itself, or ``"transparent"`` (``.webm`` and folders). By default transparent
        where that can be stored, or else green.
    threshold
        Of `one_frame_delay`, which starts anew at every cut; ``None`` does without it.
    batch_size
        Frames that go through the network together.
    resume
        Keep finished mattes beside the target, and continue from those of an interrupted run; only for files.
        Mattes then have 256 levels. Mattes of another clip, network or setting are deleted with a warning.
    progress
        Called with the number of finished frames and, if it is known, of all.

    Raises
    ------
    FileNotFoundError, ValueError
        As `Clip`; also if the target cannot hold what is asked for, or `batch_size` is smaller than 1.
    """
    target = Path(target)
    suffix = target.suffix.lower()
    if suffix and suffix not in CODECS:
        raise ValueError(
            f"{target} must end in one of {', '.join(CODECS)}, or in nothing for a folder of PNG files"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not suffix and target.exists():
        raise ValueError(f"{target} exists; name a folder that does not")
    file = Path(source) if isinstance(source, (str, Path)) and source != "-" else None
    if file and file.exists() and target.exists() and target.samefile(file):
        raise ValueError(f"{target} is the clip itself; write to another file")
    if background is None:
        background = "transparent" if suffix in ("", ".webm") else "green"
    if background == "transparent" and suffix not in ("", ".webm"):
        raise ValueError(
            f"H.264 has no transparency: write {target.stem}.webm or a folder, or choose a background"
        )
    compose = _composer(background)
    clip = Clip(source, limit=limit, sound=bool(suffix))
    kept = _kept(matter, file, target, batch_size, limit) if resume and file else None
    done, repaired, start = 0, 0.0, time.perf_counter()

    def copy_sound(writer: FileWriter | FolderWriter) -> None:
        while clip.packets:
            writer.write_audio(clip.packets.popleft())

    def run(path: Path) -> None:
        nonlocal done, repaired
        writer = FileWriter(path, suffix, clip.pace) if suffix else FolderWriter(path)
        # closed from the last to the first, so that no thread is left that reads the clip
        with (
            closing(_ahead(clip, 2 * batch_size)) as frames,
            closing(
                _ahead(_delayed(_matted(frames, matter, batch_size, kept), threshold), 2 * batch_size)
            ) as ready,
        ):
            for frame, alpha, share in ready:
                writer.write(compose(frame, alpha), frame.time)
                copy_sound(writer)
                done, repaired = done + 1, repaired + share
                progress(done, clip.count)
        copy_sound(writer)  # it may outlast the pictures
        writer.close()

    try:
        if suffix:
            write_atomically(target, run)
        else:
            write_folder_atomically(target, run)
    finally:
        clip.close()
    if kept:
        shutil.rmtree(kept)
    return Report(done, time.perf_counter() - start, repaired / done)


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
            sheet = np.round(np.concatenate(alphas) * 255).astype(np.uint8)
            write_atomically(file, partial(Image.fromarray(sheet).save, format="png"))
        yield from zip(batch, np.split(sheet.astype(np.float32) / 255, len(batch)), strict=True)


def _kept(matter: Matter, source: Path, target: Path, batch_size: int, limit: int | None) -> Path:
    """The folder of finished mattes of this run; those of another run are deleted."""
    # not threshold and background, which are applied to the kept mattes
    options = ("short_side", "squash", "bucket", "backend", "dtype", "refine")
    identity = {
        "clip": file_sizes([source], source.parent),
        "modified": source.stat().st_mtime_ns,
        "limit": limit,
        "batch_size": batch_size,
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
        waiting: deque[tuple[Frame, np.ndarray]] = deque()

        def noted(pair: tuple[Frame, np.ndarray], waiting: deque = waiting) -> np.ndarray:
            waiting.append(pair)
            return pair[1]

        for alpha in one_frame_delay(map(noted, shot), threshold):
            frame, before = waiting.popleft()
            yield frame, alpha, float((alpha != before).mean())


def _composer(background: str | Path) -> Callable[[Frame, np.ndarray], np.ndarray]:
    """How a frame and its matte become what is written; refuses what is no background."""
    if background == "matte":
        return lambda frame, alpha: np.repeat(np.round(alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    if background == "transparent":
        return lambda frame, alpha: np.dstack(
            (clean_foreground(frame.image, alpha), np.round(alpha * 255).astype(np.uint8))
        )
    behind = blurred if background == "blur" else _backdrop(background)

    def compose(frame: Frame, alpha: np.ndarray) -> np.ndarray:
        person, weight = clean_foreground(frame.image, alpha), alpha[..., None]
        return np.round(weight * person + (1 - weight) * behind(frame, alpha)).astype(np.uint8)

    return compose


def blurred(frame: Frame, alpha: np.ndarray) -> np.ndarray:
    """The frame out of focus, of the background's pixels only, so that the person leaves no halo; uint8."""
    height, width = alpha.shape
    size = (max(1, width // 4), max(1, height // 4))
    weight = 1 - alpha
    both = [
        cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        for part in (weight[..., None] * frame.image, weight)
    ]
    sigma = 0.008 * (height + width) / 2
    colours, total = (cv2.GaussianBlur(part, (0, 0), sigma) for part in both)
    small = colours / np.maximum(total, 1e-3)[..., None]
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), 0, 255).astype(
        np.uint8
    )


def _backdrop(background: str | Path) -> Callable[[Frame, np.ndarray], np.ndarray]:
    """A colour, a picture or a repeated clip, cut to cover the frame."""
    path = Path(background)
    if not path.is_file():
        try:
            colour = ImageColor.getrgb(GREEN if background == "green" else str(background))[:3]
        except ValueError:
            raise ValueError(
                f"background {str(background)!r} is no colour, no file, and not blur, matte or transparent"
            ) from None
        return lambda frame, alpha: np.array(colour, np.uint8)
    try:
        picture = read_image(path)
    except ValueError:  # no picture, so it should be a clip
        moving = _repeated(path)
        next(moving)
        return lambda frame, alpha: _cover(moving.send(frame.time), *alpha.shape)
    covering = lru_cache(maxsize=1)(partial(_cover, picture))
    return lambda frame, alpha: covering(*alpha.shape)


def _repeated(path: Path) -> Generator[np.ndarray, Fraction, None]:
    """Takes times that never go back; gives what a clip, repeated for ever, shows then."""
    image, begins, last, moment = None, Fraction(0), Fraction(0), (yield np.empty(0))
    while True:
        clip = Clip(path)
        for frame in clip:
            while image is not None and moment < begins + frame.time:
                moment = yield image
            image, last = frame.image, frame.time
        begins += last + 1 / clip.pace.rate
        clip.close()


def _cover(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale a picture until it covers height x width, and cut out its middle."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]
