"""The benchmarks by name: labelled pictures that nothing is trained on."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modnet_lib import paths
from modnet_lib.data.compositing import paste
from modnet_lib.data.items import read_item
from modnet_lib.data.manifest import Item, find_items, find_source, held_out_backgrounds, sources
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.data.sets import usable_readers
from modnet_lib.images import read_image

BACKGROUNDS = 10  # for each composited foreground, as in Table 2


class Labelled(NamedTuple):
    """One picture of a benchmark."""

    image: np.ndarray  # (H, W, 3) uint8
    alpha: np.ndarray  # (H, W) uint8, or float32 in [0, 1] if it does not fit into 8 bits
    strata: dict[str, str]  # what the picture shows, for instance ``{"whole_body": "1"}``


Reader = Callable[[], Labelled]


class Benchmark(NamedTuple):
    """A split of a data set, in the folder `root` if it is not the data set's own."""

    title: str
    source: str
    split: str
    root: Path | None = None


BENCHMARKS = {
    "ppm100": Benchmark("PPM-100 (public version)", "ppm100", "test"),
    "amd": Benchmark("AMD portraits x 10 backgrounds", "amd", "test-portraits"),
    "d646": Benchmark("Distinctions-646 portraits x 10 backgrounds", "d646", "test-portraits"),
    "p3m500p": Benchmark("P3M-500-P", "p3m10k", "validation-p"),
    "p3m500np": Benchmark("P3M-500-NP", "p3m10k", "validation-np"),
    "crgnn_r": Benchmark("CRGNN-R", "crgnn_r", "test"),
    "ccp": Benchmark("Clothing-Co-Parsing validation (pseudo-mattes)", "ccp", "validation"),
    "samples": Benchmark("24 drawn pictures (SPM-100 at 512)", "spm100", "test", paths.SAMPLES / "spm"),
    "spm100": Benchmark("SPM-100 (drawn)", "spm100", "test"),
    "spm_shift": Benchmark("SPM-shift (drawn)", "spm_shift", "test"),
}


def find_benchmark(name: str) -> Benchmark:
    """Find a benchmark by its name; raises `ValueError` if there is none.

    The name is a key of `BENCHMARKS`; a data set of the manifest with photographs and mattes, as ``NAME`` or
    ``NAME:SPLIT``; or a folder with photographs in ``image/`` and mattes of the same names in ``alpha/``.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    source, _, split = name.partition(":")
    if source in sources():
        splits = {key: layout.files.keys() for key, layout in sources()[source].splits.items()}
        labelled = [key for key, roles in splits.items() if "image" in roles and roles & {"alpha", "cutout"}]
        split = split or (labelled[0] if len(labelled) == 1 else "")
        if split not in labelled:
            choices = ", ".join(f"{source}:{key}" for key in labelled) or "none"
            raise ValueError(f"{name!r} is not one split with photographs and mattes; {source} has {choices}")
        return Benchmark(f"{sources()[source].title}, {split}", source, split)
    if Path(name).is_dir():
        return Benchmark(Path(name).resolve().name, "pairs", "all", Path(name))
    raise ValueError(
        f"benchmark must be one of {', '.join(BENCHMARKS)}, a data set with mattes (see `modnet data list`), or a "
        f"folder with image/ and alpha/, got {name!r}"
    )


def benchmark(name: str, root: str | Path | None = None, count: int | None = None) -> dict[str, Reader]:
    """The reader of every picture of a benchmark by the picture's name, in order.

    Foregrounds without photographs are composited over `BACKGROUNDS` held-out scenes each. `name` is as for
    `find_benchmark`, `root` as for `find_items`, and `count` is the maximum number of pictures.
    """
    chosen = find_benchmark(name)
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    root = Path(root or chosen.root or find_source(chosen.source).root())
    items, readers = find_items(chosen.source, root, chosen.split), dict[str, Reader]()
    roles = items[0].files.keys()
    if items[0].packed or not roles & {"alpha", "cutout"}:  # masks alone become pseudo-mattes
        ready = usable_readers(items[:count], chosen.source)
        readers = {key: partial(_read_prepared, read) for key, read in ready.items()}
    elif "image" not in roles:
        scenes = held_out_backgrounds()
        for number in range(BACKGROUNDS * len(items)):
            item, scene = items[number // BACKGROUNDS], scenes[number % len(scenes)]
            readers[f"{item.id}_{number % BACKGROUNDS}"] = partial(_composite, item, scene)
    else:
        table = root / "strata.csv"
        rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines() if table.is_file() else [])
        strata = {row["id"]: {key: row[key] for key in row if key not in ("id", "seed")} for row in rows}
        readers = {item.id: partial(_read, item, strata.get(item.id, {})) for item in items}
    return dict(list(readers.items())[:count])


def reader_files(reader: Any) -> list[Path]:
    """The files that a reader of `benchmark` reads; empty for any other reader."""
    if isinstance(reader, Item):
        return [file for file in reader.files.values() if file.is_file()]
    if isinstance(reader, Path):
        return [reader] if reader.is_file() else []
    return [file for given in getattr(reader, "args", ()) for file in reader_files(given)]


def _read(item: Item, strata: dict[str, str]) -> Labelled:
    parts = read_item(item, exact=True)
    return Labelled(parts["image"], parts["alpha"], strata)


def _read_prepared(read: Callable[[], Any]) -> Labelled:
    image, alpha, *_ = read()
    return Labelled(image, alpha, {})


def _composite(item: Item, scene: Path) -> Labelled:
    parts = read_item(item)
    sample = MattingSample(None, parts["alpha"], parts["foreground"], None)
    return Labelled(paste(sample, read_image(scene)), sample.alpha, {"background": scene.stem})
