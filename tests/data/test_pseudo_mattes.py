"""From a mask to a matte and colours, on pictures whose truth is known."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from modnet_lib.data.manifest import Item
from modnet_lib.data.pseudo_mattes import fuse, prepare, pseudo_matte, write_picture


def soft_disc(size: int = 96) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image, alpha, F and B of a disc whose edge is six pixels wide."""
    y, x = np.mgrid[:size, :size]
    radius = np.hypot(y - size / 2, x - size / 2)
    alpha = np.clip((size / 3.5 + 3 - radius) / 6, 0, 1)
    ramp = (x / size)[..., None]
    foreground = np.array([0.85, 0.35, 0.2]) * (0.9 + 0.1 * ramp)
    background = np.array([0.1, 0.35, 0.65]) * (0.8 + 0.2 * (1 - ramp))
    image = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    return (image * 255).round().astype(np.uint8), alpha, foreground, background


def test_a_known_matte_is_recovered() -> None:
    image, alpha, foreground, background = soft_disc()
    sample = pseudo_matte(image, alpha > 0.5)
    assert sample.image is image
    error = np.abs(sample.alpha / 255 - alpha)
    assert error.mean() < 0.01
    assert error.mean() < np.abs((alpha > 0.5) - alpha).mean() / 2  # better than the mask it was made from
    assert error[(alpha == 0) | (alpha == 1)].max() < 0.1
    weight = sample.alpha[..., None] / 255
    composed = weight * sample.foreground + (1 - weight) * sample.background
    assert np.abs(composed - image).mean() < 1
    # F where the person is, B where she is not, and both sensible in the soft edge
    edge = (alpha > 0.2) & (alpha < 0.8)
    assert np.abs(sample.foreground / 255 - foreground)[alpha > 0.5].mean() < 0.02
    assert np.abs(sample.background / 255 - background)[alpha < 0.5].mean() < 0.02
    assert np.abs(sample.foreground / 255 - foreground)[edge].mean() < 0.1


def test_a_given_trimap_is_used() -> None:
    image, alpha, *_ = soft_disc()
    trimap = np.where(alpha >= 1, 1.0, np.where(alpha <= 0, 0.0, 0.5))
    trimap[:10, :10] = 1  # certain, whatever the picture says
    sample = pseudo_matte(image, alpha > 0.5, trimap=trimap)
    assert sample.alpha[:10, :10].min() == 255


def test_masks_without_a_border_and_of_another_size_are_refused() -> None:
    image, alpha, *_ = soft_disc(32)
    for mask in (np.zeros((32, 32), bool), np.ones((32, 32), bool)):
        with pytest.raises(ValueError, match="empty or full"):
            pseudo_matte(image, mask)
    with pytest.raises(ValueError, match=r"\(32, 31\).*\(32, 32\)"):
        pseudo_matte(image, alpha[:, :31] > 0.5)


def test_pictures_are_written_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    write_picture(path, np.zeros((4, 4), np.uint8))
    before = path.read_bytes()

    def fail(self, target, **_options):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_picture(path, np.ones((4, 4), np.uint8))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]  # and nothing beside it


@pytest.fixture
def masked(tmp_path) -> list[Item]:
    """Two photographs with masks, as any source may have them, one of them in a subfolder."""
    image, alpha, *_ = soft_disc(48)
    items = []
    for name in ("one", "sub/two"):
        files = {"image": tmp_path / "data" / f"{name}.png", "mask": tmp_path / "data" / f"{name}_mask.png"}
        write_picture(files["image"], image)
        write_picture(files["mask"], ((alpha > 0.5) * 255).astype(np.uint8))
        items.append(Item(name, files))
    return items


def test_masks_of_any_source_are_prepared(masked, tmp_path) -> None:
    folder = tmp_path / "out"
    lone = Item("lone", {"image": masked[0].files["image"]})
    ready, failures = prepare([*masked, lone], folder, workers=1)
    assert [*ready] == ["one", "sub/two"]
    assert list(failures) == ["lone"] and "neither a matte nor a mask" in failures["lone"]
    assert len([p for p in folder.rglob("*") if p.is_file()]) == 6
    _, alpha, *_ = soft_disc(48)
    assert np.abs(ready["sub/two"]().alpha / 255 - alpha).mean() < 0.02


def test_a_teacher_decides_near_the_outline_of_a_mask_that_agrees() -> None:
    mask = np.zeros((200, 100), bool)
    mask[40:160, 30:70] = True
    teacher = np.zeros((200, 100), np.uint8)
    teacher[40:160, 30:70] = 255
    teacher[40:160, 68:73] = 100  # hair beyond the mask
    teacher[100:104, 48:52] = 0  # a hole inside the person
    teacher[5:9, 5:9] = 200  # a poster on the wall
    fused = fuse(teacher, mask)
    np.testing.assert_array_equal(fused[45:155, 68:73], 100)
    assert (fused[100:104, 48:52] == 255).all()
    assert not fused[5:9, 5:9].any()
    assert fuse(np.roll(teacher, 10, axis=1), mask) is None


def test_a_teachers_matte_is_used_with_without_and_against_a_mask(masked, tmp_path) -> None:
    image, alpha, *_ = soft_disc(48)
    files = {name: tmp_path / f"{name}.png" for name in ("image", "teacher", "wrong")}
    mask = masked[1].files["mask"]
    Image.fromarray(image).save(files["image"])
    matte = (alpha * 255).round().astype(np.uint8)
    Image.fromarray(matte).save(files["teacher"])
    Image.fromarray(np.roll(matte, 20, axis=0)).save(files["wrong"])
    both = Item("both", {"image": files["image"], "mask": mask, "teacher": files["teacher"]})
    alone = Item("alone", {"image": files["image"], "teacher": files["teacher"]})
    against = Item("against", {"image": files["image"], "mask": mask, "teacher": files["wrong"]})
    without = Item("without", {"image": files["image"], "mask": mask})
    items = [both, alone, against, without]
    ready, failures = prepare(items, tmp_path / "out", workers=1)
    assert (len(ready), failures) == (4, {})
    mattes = {key: read().alpha for key, read in ready.items()}
    np.testing.assert_array_equal(mattes["alone"], matte)
    np.testing.assert_array_equal(mattes["both"], fuse(matte, alpha > 0.5))
    soft = (matte > 100) & (matte < 155)  # at the outline
    assert soft.any()
    np.testing.assert_array_equal(mattes["both"][soft], matte[soft])
    np.testing.assert_array_equal(mattes["against"], mattes["without"])


class Deadly:
    """What ends the process that unpickles it, as the kernel does for want of memory."""

    def is_file(self):
        return False

    def __reduce__(self):
        return os._exit, (9,)


def test_a_script_without_its_guard_is_told(masked, tmp_path) -> None:
    script = tmp_path / "script.py"
    files = {role: str(file) for role, file in masked[0].files.items()}
    item = f"Item('one', {{role: Path(file) for role, file in {files}.items()}})"
    script.write_text(
        "from pathlib import Path\nfrom modnet_lib.data.manifest import Item\n"
        "from modnet_lib.data.pseudo_mattes import prepare\n"
        f"print(prepare([{item}], Path({str(tmp_path / 'out')!r}), workers=1))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert "lacks `if __name__ == '__main__':`" in done.stdout.replace("\\'", "'"), done.stderr[-500:]


def test_a_worker_that_dies_is_reported_and_a_second_run_goes_on(masked, tmp_path) -> None:
    folder = tmp_path / "out"
    pseudo_matte(soft_disc(32)[0], soft_disc(32)[1] > 0.5)  # threads of this process must not hurt the workers
    ready, failures = prepare([masked[0]], folder, workers=1)
    assert ([*ready], failures) == (["one"], {})
    (one,) = folder.glob("one_*_alpha.png")
    before = one.stat().st_mtime_ns
    deadly = Item("sub/two", {"image": Deadly()})
    ready, failures = prepare([masked[0], deadly], folder, workers=1)
    assert [*ready] == ["one"] and "worker process died" in failures["sub/two"]
    (folder / "sub").mkdir()
    (folder / "sub" / "two_alpha.png").write_bytes(b"of a run that was cut between two files")
    ready, failures = prepare(masked, folder, workers=1)
    assert ([*ready], failures) == (["one", "sub/two"], {})
    assert one.stat().st_mtime_ns == before
    assert ready["sub/two"]().alpha.shape == (48, 48)
