"""The benchmarks: labelled pictures that nothing is trained on, each under one name."""

import csv
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modnet_lib import paths
from modnet_lib.data.compositing import paste
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.data.sets import prepared_readers
from modnet_lib.data.sources import Item, find_items, find_source, held_out_backgrounds, read_item, sources
from modnet_lib.images import read_image

BACKGROUNDS = 10  # for each composited foreground, as in Table 2


class Labelled(NamedTuple):
    """One picture of a benchmark.

    Attributes
    ----------
    image
        (H, W, 3) uint8.
    alpha
        (H, W) uint8, or float32 in [0, 1] if the matte does not fit into 8 bits.
    strata
        What is known of it, name to value, for instance ``whole_body`` to ``"1"``.
    """

    image: np.ndarray
    alpha: np.ndarray
    strata: dict[str, str]


Reader = Callable[[], Labelled]


class Benchmark(NamedTuple):
    """Where a benchmark comes from.

    Attributes
    ----------
    title
        For tables.
    source, split
        In ``data/manifest.toml``.
    composited
        Foregrounds that are composited over `BACKGROUNDS` held-out pictures of the source ``backgrounds`` each.
    root
        A custom folder; the source's own if ``None``.
    """

    title: str
    source: str
    split: str
    composited: bool = False
    root: Path | None = None


BENCHMARKS = {
    "ppm100": Benchmark("PPM-100 (public version)", "ppm100", "test"),
    "amd": Benchmark("AMD portraits x 10 backgrounds", "amd", "test-portraits", composited=True),
    "d646": Benchmark(
        "Distinctions-646 portraits x 10 backgrounds", "d646", "test-portraits", composited=True
    ),
    "p3m500p": Benchmark("P3M-500-P", "p3m10k", "validation-p"),
    "p3m500np": Benchmark("P3M-500-NP", "p3m10k", "validation-np"),
    "crgnn_r": Benchmark("CRGNN-R", "crgnn_r", "test"),
    "ccp": Benchmark("Clothing-Co-Parsing validation (pseudo-mattes)", "ccp", "validation"),
    "samples": Benchmark("24 drawn pictures (SPM-100 at 512)", "spm100", "test", root=paths.SAMPLES / "spm"),
    "spm100": Benchmark("SPM-100 (drawn)", "spm100", "test"),
    "spm_shift": Benchmark("SPM-shift (drawn)", "spm_shift", "test"),
}


def find_benchmark(name: str) -> Benchmark:
    """Find a benchmark by its name.

    Parameters
    ----------
    name
        A key of `BENCHMARKS`; a data set of the manifest with photographs and mattes, as ``NAME`` or ``NAME:SPLIT``; or
        a folder with photographs in ``image/`` and mattes of the same names in ``alpha/``.

    Raises
    ------
    ValueError
        If the name is unknown, the split has no mattes, or a set with several such splits is named without one.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    source, _, split = name.partition(":")
    if source in sources():
        splits = find_source(source).splits
        labelled = [key for key, layout in splits.items() if _has_mattes(layout.files)]
        if not labelled:
            roles = sorted({role for layout in splits.values() for role in layout.files})
            raise ValueError(f"{source} has no photographs with mattes, only {', '.join(roles)}")
        split = split or (labelled[0] if len(labelled) == 1 else "")
        if split not in labelled:
            choices = ", ".join(f"{source}:{key}" for key in labelled)
            raise ValueError(f"{name!r} is not one split with mattes: choose one of {choices}")
        return Benchmark(f"{find_source(source).title}, {split}", source, split)
    if Path(name).is_dir():
        return Benchmark(Path(name).resolve().name, "pairs", "all", root=Path(name))
    raise ValueError(
        f"benchmark must be one of {', '.join(BENCHMARKS)}, a data set with mattes (see `modnet data list`), or a "
        f"folder with image/ and alpha/, got {name!r}"
    )


def _has_mattes(roles: Collection[str]) -> bool:
    return "image" in roles and ("alpha" in roles or "cutout" in roles)


def benchmark(name: str, root: str | Path | None = None, count: int | None = None) -> dict[str, Reader]:
    """Name and reader of every picture of a benchmark, in order.

    Parameters
    ----------
    name
        See `find_benchmark`.
    root
        The data set's folder; the one below ``MODNET_DATA`` if ``None``.
    count
        Maximum number of pictures.

    Raises
    ------
    ValueError
        For another name, or a count below 1.
    FileNotFoundError
        If the data is missing; the message says how to get it.
    """
    chosen = find_benchmark(name)
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    root = root or chosen.root
    if name == "ccp":
        ready, failures = prepared_readers(find_items("ccp", root, "validation")[:count], "ccp")
        if failures:
            raise ValueError(f"pictures of {name} cannot be prepared: {failures}")
        return {key: partial(_read_sample, read) for key, read in ready.items()}
    root = Path(root) if root else find_source(chosen.source).root()
    items, readers = find_items(chosen.source, root, chosen.split), dict[str, Reader]()
    if not chosen.composited:
        strata = _strata(root / "strata.csv")
        readers = {item.id: partial(_read, item, strata.get(item.id, {})) for item in items}
    else:
        scenes = held_out_backgrounds()
        for number, item in enumerate(items):
            for k in range(BACKGROUNDS):
                scene = scenes[(number * BACKGROUNDS + k) % len(scenes)]
                readers[f"{item.id}_{k}"] = partial(_composite, item, scene)
    return dict(list(readers.items())[:count])


def _strata(file: Path) -> dict[str, dict[str, str]]:
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {row.pop("id"): {k: v for k, v in row.items() if k != "seed"} for row in rows}


def reader_files(reader: Any) -> list[Path]:
    """The files that a reader of `benchmark` reads; empty for any other reader."""
    files = []
    for given in getattr(reader, "args", ()):
        if isinstance(given, Item):
            files += given.files.values()
        else:
            files += [given] if isinstance(given, Path) else reader_files(given)
    return [file for file in files if file.is_file()]


def _read(item: Item, strata: dict[str, str]) -> Labelled:
    parts = read_item(item, exact=True)
    return Labelled(parts["image"], parts["alpha"], strata)


def _read_sample(read: Callable[[], Any]) -> Labelled:
    sample = read()
    return Labelled(sample.image, sample.alpha, {})


def _composite(item: Item, scene: Path) -> Labelled:
    parts = read_item(item)
    sample = MattingSample(parts["foreground"], parts["alpha"], parts["foreground"], parts["foreground"])
    return Labelled(paste(sample, read_image(scene)), sample.alpha, {"background": scene.stem})
