"""From clip to clip: mattes frame by frame, the paper's one-frame delay (OFD) against flicker, a new background."""

import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import count, groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from modnet_lib.files import write_atomically
from modnet_lib.images import cover, to_bytes
from modnet_lib.inference.edges import read_background, render
from modnet_lib.inference.encode import FORMATS, writer
from modnet_lib.inference.matter import Matter
from modnet_lib.inference.media import Clip, Frame
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.provenance import fingerprint

THRESHOLD = 0.1  # ours: the paper gives none; chosen in notebook 08


def one_frame_delay(alphas: Iterable[np.ndarray], threshold: float = THRESHOLD) -> Iterator[np.ndarray]:
    """Repair pixels that flicker for a single frame (section "Results on Real-World Data").

    A pixel of frame t flickers if its neighbours in time agree, |a(t-1) - a(t+1)| <= `threshold`, and it differs
    from both by more than `threshold`; it becomes their mean. Neighbours are the mattes as they came, so a repair
    never spreads. The first and the last matte pass as they are.

    Parameters
    ----------
    alphas
        Mattes (H, W) of one shot in order, in [0, 1]; they come out one frame late, with three in memory.
    threshold
        Ours, as the paper only says "close" and "very different"; >= 0. At 1 nothing is repaired.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    before = now = None
    for after in alphas:
        if now is not None and before is not None:
            close = abs(before - after) <= threshold
            flickers = close & (abs(now - before) > threshold) & (abs(now - after) > threshold)
            yield np.where(flickers, (before + after) / 2, now)
        elif now is not None:
            yield now
        before, now = now, after
    if now is not None:
        yield now


@dataclass(frozen=True)
class Settings:
    """How `matte_video` makes a clip."""

    #: As for `modnet_lib.inference.edges.compose`. By default transparent where that can be stored (``.webm`` and
    #: folders), or else green.
    background: str | Path | None = None
    #: Of `one_frame_delay`, which starts anew at every cut.
    threshold: float = THRESHOLD
    #: Frames per forward pass.
    batch_size: int = 1
    #: Of frames.
    limit: int | None = None
    #: Also write the mattes and the person's colours, to ``NAME_matte`` and ``NAME_foreground`` beside the target.
    parts: bool = False
    #: Keep mattes, with 256 levels, beside the target until it is complete; an interrupted run of the same file,
    #: network and options continues from them.
    resume: bool = False
    #: As for `modnet_lib.inference.media.Clip`, and `rate`.
    strict: bool = False
    rate: int = 24


class VideoResult(NamedTuple):
    """What `matte_video` did: for each frame the share of pixels that the delay repaired; what could not be read."""

    repaired: list[float]
    damage: list[str]


def matte_video(
    matter: Matter,
    source: str | Path,
    target: str | Path,
    *,
    track: Callable[[Iterable[Any], int | None], Iterable[Any]] = lambda frames, count: frames,
    **settings: Any,
) -> VideoResult:
    """Cut the person out of every frame of a clip; sound and the frames' times are kept.

    The network and the encoder run in two threads, a few frames apart, so memory does not grow with the clip. The
    target gets its name when it is complete.

    Parameters
    ----------
    matter, source
        What cuts out, and what `modnet_lib.inference.media.Clip` reads.
    target
        ``.mp4``, ``.mov``, ``.mkv`` (H.264) or ``.webm`` (VP9); without suffix a new folder of PNG files.
    track
        Shows progress: given the frames as they are ready and, if it is known, their number, it yields them.
    settings
        See `Settings`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `Clip`; also if the target cannot hold what is asked for.
    """
    source, target, chosen, repaired = Path(source), Path(target), Settings(**settings), list[float]()
    suffix, parts = target.suffix.lower(), ("", "_matte", "_foreground") if chosen.parts else ("",)
    targets = [target.with_name(f"{target.stem}{part}{target.suffix}") for part in parts]
    if suffix not in ("", *FORMATS):
        raise ValueError(f"{target} must end in {', '.join(FORMATS)}, or in nothing for a folder of PNG files")
    if exists := [one for one in targets if not suffix and one.exists()]:
        raise ValueError(f"{exists[0]} exists; name a folder that does not")
    if source.resolve() == target.resolve():
        raise ValueError(f"{target} is the clip itself; write to another file")
    holds_alpha = suffix in ("", ".webm")
    given = str(chosen.background or ("transparent" if holds_alpha else "green"))
    if given == "transparent" and not holds_alpha:
        raise ValueError("H.264 has no transparency: write .webm or a folder, or choose a background")
    background = read_background(given)
    with closing(Clip(source, strict=chosen.strict, rate=chosen.rate)) as clip:
        kept = _kept(matter, source, target, chosen.batch_size) if chosen.resume else None
        frames, length = islice(clip, chosen.limit), min(filter(None, (clip.count, chosen.limit)), default=None)
        mattes = _delayed(_matted(frames, matter, chosen.batch_size, kept), chosen.threshold, repaired)
        with closing(_ahead(mattes, 2 * chosen.batch_size)) as ready, ExitStack() as stack:  # ends its thread
            writers = [stack.enter_context(writer(one, clip, sound=one == target)) for one in targets]
            for frame, alpha in track(ready, length):
                if isinstance(background, np.ndarray) and background.shape[:2] != alpha.shape:
                    background = cover(background, *alpha.shape)  # once, as all frames have one size
                for write, picture in zip(writers, render(frame.image, alpha, background, chosen.parts), strict=True):
                    write(picture, frame.time)
    if kept:
        shutil.rmtree(kept.parent)
    return VideoResult(repaired, clip.damage)


def _ahead(items: Iterable[Any], depth: int) -> Generator[Any, None, None]:
    """The same items, computed in a thread of their own, at most `depth` ahead."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, iterator, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield item


def _matted(
    frames: Iterable[Frame], matter: Matter, batch_size: int, kept: Path | None
) -> Iterator[tuple[Frame, np.ndarray]]:
    iterator, names = iter(frames), (f"{number:06d}.png" for number in count())
    while batch := list(islice(iterator, batch_size)):
        files, alphas = [kept / name for name in islice(names, len(batch))] if kept else [], []
        if not files or not all(file.is_file() for file in files):
            alphas = matter.alphas([frame.image for frame in batch], batch_size)
            for file, alpha in zip(files, alphas, strict=False):  # there are no files if nothing is kept
                write_atomically(file, partial(Image.fromarray(to_bytes(alpha)).save, format="PNG"))
        if files:
            alphas = [np.asarray(Image.open(file), np.float32) / 255 for file in files]
        yield from zip(batch, alphas, strict=True)


def _kept(matter: Matter, source: Path, target: Path, batch_size: int) -> Path:
    """The folder of this run's mattes, named by what they depend on, beside those of other runs to this target."""
    options = ("short_side", "squash", "backend", "dtype", "refine", "specks", "device")
    state, network = source.stat(), matter.network
    identity = [source.name, state.st_size, state.st_mtime_ns, batch_size, weights_fingerprint(network)]
    identity += [network.config, *(str(getattr(matter, name)) for name in options)]
    return target.with_name(f".mattes-{fingerprint(target.name)}") / fingerprint(identity)


def _delayed(
    pairs: Iterable[tuple[Frame, np.ndarray]], threshold: float, repaired: list[float]
) -> Iterator[tuple[Frame, np.ndarray]]:
    """Each shot through `one_frame_delay`; notes the share of pixels that it repairs."""
    waiting = deque[tuple[Frame, np.ndarray]]()  # `itertools.tee` would hold dozens
    for _, shot in groupby(pairs, key=lambda pair: pair[0].shot):
        for alpha in one_frame_delay((waiting.append(pair) or pair[1] for pair in shot), threshold):
            frame, before = waiting.popleft()
            repaired.append(float((alpha != before).mean()))
            yield frame, alpha
