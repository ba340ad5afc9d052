"""A set of drawn people and scenes to train and validate on: ``drawn`` in ``data/manifest.toml``."""

from functools import partial
from pathlib import Path

from drawn_files import make_all, write_matte, write_picture
from drawn_portraits import render_composite
from drawn_scenes import render_background

# the first seed of each split; SPM's are from 8,000,000 on, so nobody appears in two of them
SPLITS = {"train": 100_000, "validation": 9_000_000}
LARGEST = 1_000_000


def write_portraits(folder: Path, count: int, size: int = 512, split: str = "train") -> None:
    """Write drawn people before their own scenes; those that are there are kept.

    Parameters
    ----------
    folder
        Gets ``SPLIT/foreground/SEED.jpg``, ``SPLIT/alpha/SEED.png`` and ``SPLIT/background/SEED.jpg``.
    count
        How many, 1 to 1,000,000.
    size
        Side of the pictures, pixels.
    split
        A key of `SPLITS`.

    Raises
    ------
    ValueError
        For another split, count or size.
    """
    make_all(partial(_write_portrait, folder / split, size=size), _seeds(count, size, split), split)


def _write_portrait(folder: Path, seed: int, size: int) -> None:
    matte = folder / "alpha" / f"{seed}.png"
    if matte.is_file():
        return
    _, alpha, portrait, background = render_composite(seed, size)
    write_picture(folder / "foreground" / f"{seed}.jpg", portrait.foreground)
    write_picture(folder / "background" / f"{seed}.jpg", background)
    write_matte(matte, alpha)  # last: it says that the person is complete


def write_scenes(folder: Path, count: int, size: int = 512) -> None:
    """Write scenes without people to ``scenes/SEED.jpg``; those that are there are kept. See `write_portraits`."""
    make_all(partial(_write_scene, folder / "scenes", size=size), _seeds(count, size, "train"), "scenes")


def _write_scene(folder: Path, seed: int, size: int) -> None:
    file = folder / f"{seed}.jpg"
    if not file.is_file():
        write_picture(file, render_background(seed, size))


def _seeds(count: int, size: int, split: str) -> range:
    if split not in SPLITS or not 1 <= count <= LARGEST or size < 16:
        raise ValueError(
            f"expected one of {', '.join(SPLITS)}, 1 to {LARGEST:,} pictures and a size of at least 16, "
            f"got {split!r}, {count}, {size}"
        )
    return range(SPLITS[split], SPLITS[split] + count)
