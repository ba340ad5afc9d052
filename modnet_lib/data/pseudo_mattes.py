"""From a segmentation to a matte: trimap, closed-form alpha, foreground and background colours.

The result is *pseudo* ground truth: good along bodies, softer than real hair, wrong where the label is wrong.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from modnet_lib import paths
from modnet_lib.data.items import read_item
from modnet_lib.data.manifest import Item
from modnet_lib.data.trimaps import trimap_from_mask
from modnet_lib.data.workers import worker_pool
from modnet_lib.files import write_atomically
from modnet_lib.images import keep_threads, read_image, to_bytes
from modnet_lib.provenance import checksum, code_version, fingerprint


class MattingSample(NamedTuple):
    """One labelled portrait: I, F and B (H, W, 3), alpha (H, W), uint8, such that Eq. 1 holds.

    A cut-out has no image and no background (``None``): it can only be composited.
    """

    image: Any
    alpha: np.ndarray
    foreground: Any
    background: Any


def pseudo_matte(
    image: np.ndarray, mask: np.ndarray, hair: np.ndarray | None = None, *, trimap: np.ndarray | None = None
) -> MattingSample:
    """Matte and colours of a photograph (H, W, 3) uint8 from its segmentation (closed-form matting, Levin et al. 2008).

    `mask` is the person and `hair` the hair, which widens the unknown band, (H, W) bool. `trimap`, (H, W) of
    {0, 0.5, 1}, replaces the one made from them. Raises `ValueError` if sizes differ, or the mask is empty or full.
    """
    keep_threads()
    from pymatting import estimate_alpha_cf  # slow to import, as it compiles

    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask is {mask.shape}, the image {image.shape[:2]}")
    if mask.all() or not mask.any():
        raise ValueError("the mask is empty or full: there is no border to matte")
    if trimap is None:
        scale = max(image.shape[:2]) / 832  # the radii suit Clothing-Co-Parsing's photographs
        band, hair_band = max(2, round(5 * scale)), max(4, round(14 * scale))
        trimap = trimap_from_mask(mask, hair, band=band, hair_band=hair_band)
    alpha = estimate_alpha_cf(image / 255.0, trimap)
    # the solver leaves a haze of a few per cent on either side
    return with_colours(image, to_bytes(np.clip((alpha - 0.04) / 0.92, 0, 1)))


def with_colours(image: np.ndarray, alpha: np.ndarray) -> MattingSample:
    """A photograph (H, W, 3) with its matte (H, W), uint8, and estimated F and B (Germer et al. 2020)."""
    keep_threads()
    from pymatting import estimate_foreground_ml

    foreground, background = estimate_foreground_ml(image / 255.0, alpha / 255.0, return_background=True)
    return MattingSample(image, alpha, *(to_bytes(part.clip(0, 1)) for part in (foreground, background)))


def fuse(teacher: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """A teacher's matte near the outline of a hand-made mask, and the mask elsewhere; (H, W) uint8.

    ``None`` if the matte, (H, W) uint8, and the mask, (H, W) bool, overlap by an IoU of less than 0.9: then one of them
    is wrong about the person.
    """
    person = teacher > 127
    if (person & mask).sum() < 0.9 * (person | mask).sum():
        return None
    band = max(2, round(0.022 * max(mask.shape)))
    unsure = trimap_from_mask(mask, band=band) == 0.5
    return np.where(unsure, teacher, 255 * mask.astype(np.uint8))


def prepare(
    items: Sequence[Item], folder: Path, workers: int | None = None
) -> tuple[dict[str, Callable[[], MattingSample]], dict[str, str]]:
    """Compute what training needs of every item: F, B, and a pseudo-matte where there is only a mask.

    Existing results of the same files and the same code are kept, so an interrupted call continues.

    Parameters
    ----------
    items
        Photographs with a matte, a mask or a label; cut-outs; items with F, alpha and B, which need no preparation.
    folder
        Gets ``<id>_<version>_alpha.png``, ``…_foreground.jpg`` and ``…_background.jpg``. The version is a hash of the
        contents of the item's files, and of the code.
    workers
        Processes of one thread each; one per core if ``None``.

    Returns
    -------
    A reader for every id that is ready, and the reason for every one that is not.
    """
    needed = [item for item in items if not has_all_parts(item)]
    todo = [item for item in needed if not all(file.is_file() for file in _files(item, folder))]
    failures: dict[str, str] = {}
    with worker_pool(workers) as pool:
        jobs = {pool.submit(_prepare_one, item, folder): item.id for item in todo}
        for job in tqdm(as_completed(jobs), "pseudo-mattes", len(jobs)) if jobs else ():
            died = "a worker process died: out of memory, or the script lacks `if __name__ == '__main__':`"
            if error := died if job.exception() else job.result():
                failures[jobs[job]] = error
    complete = {item.id: functools.partial(read_parts, item) for item in items if has_all_parts(item)}
    readers = {item.id: complete.get(item.id, functools.partial(read_prepared, item, folder)) for item in items}
    return {key: read for key, read in readers.items() if key not in failures}, failures


def prepared_folder(name: str) -> Path:
    """The folder for what `prepare` computes from a data set or custom folder."""
    return paths.CACHE / "prepared" / Path(name).expanduser().resolve().name


def _files(item: Item, folder: Path) -> list[Path]:
    contents = {role: checksum(file) for role, file in item.files.items() if file.is_file()}
    version = fingerprint([_code(), contents])[:8]
    parts = ["alpha.png", "foreground.jpg", *(["background.jpg"] if "image" in item.files else [])]
    return [folder / f"{item.id}_{version}_{part}" for part in parts]


@functools.cache
def _code() -> dict[str, str]:
    """The code that decides the results."""
    names = ("pseudo_mattes", "items", "trimaps")
    return code_version(*(paths.PACKAGE / f"data/{name}.py" for name in names), paths.PACKAGE / "images.py")


def _prepare_one(item: Item, folder: Path) -> str:
    try:
        for file, array in zip(_files(item, folder), _parts(item), strict=True):
            write_picture(file, array)
    except Exception as error:  # one picture must not end a run over thousands
        return str(error) or type(error).__name__
    return ""


def _parts(item: Item) -> tuple[np.ndarray, ...]:
    """Alpha, F and, of a photograph, B."""
    parts = read_item(item)
    image, mask, teacher = (parts.get(role) for role in ("image", "mask", "teacher"))
    if image is None and parts.keys() >= {"foreground", "alpha"}:
        # files hold any colour where alpha is 0, and resizing would mix it into the edge: continue F there
        foreground, alpha = parts["foreground"], parts["alpha"]
        weight = alpha[..., None] / 255.0
        grey = (weight * foreground + (1 - weight) * 127).round().astype(np.uint8)
        return alpha, np.where(weight > 0, foreground, with_colours(grey, alpha).foreground)
    if teacher is not None and mask is not None:
        teacher = fuse(teacher, mask)
    matte = parts.get("alpha", teacher)
    if image is not None and matte is not None:
        sample = with_colours(image, matte)
    elif image is not None and mask is not None:
        sample = pseudo_matte(image, mask, parts.get("hair"))
    else:
        raise ValueError(f"{item.id} has neither a matte nor a mask: {', '.join(parts)}")
    return sample.alpha, sample.foreground, sample.background


def has_all_parts(item: Item) -> bool:
    """Whether an item comes with F, alpha and B, so that nothing has to be estimated; a packed cut-out has no B."""
    return item.packed or item.files.keys() >= {"foreground", "alpha", "background"}


def read_parts(item: Item) -> MattingSample:
    """Read an item that `has_all_parts`; with B, the image follows from Eq. 1."""
    parts = read_item(item)
    foreground, alpha, background, image = parts["foreground"], parts["alpha"], parts.get("background"), None
    if background is not None:
        weight = alpha[..., None] / 255.0
        image = (foreground * weight + background * (1 - weight)).round().astype(np.uint8)
    return MattingSample(image, alpha, foreground, background)


def write_picture(path: Path, array: np.ndarray) -> None:
    """Write an 8-bit picture atomically."""
    file_format = Image.registered_extensions()[path.suffix.lower()]  # the temporary name has no suffix
    write_atomically(path, lambda temporary: Image.fromarray(array).save(temporary, format=file_format, quality=95))


def read_prepared(item: Item, folder: Path) -> MattingSample:
    """Read what `prepare` wrote; raises FileNotFoundError if it has not, or the item's files have changed since."""
    files = _files(item, folder)
    if not all(file.is_file() for file in files):
        raise FileNotFoundError(f"{item.id} is not prepared in {folder}; run prepare first")
    alpha, foreground, *background = map(read_image, files)
    image = read_image(item.files["image"]) if background else None
    return MattingSample(image, alpha[..., 0], foreground, background[0] if background else None)
