"""Clothing-Co-Parsing in its own layout, its splits, and background folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from modnet_lib.data.pseudo_mattes import prepare_ccp, read_prepared
from modnet_lib.data.sources import (
    HAIR,
    background_files,
    ccp_items,
    manifest,
    read_ccp_label,
    training_sources,
)

SIZE = (72, 48)


def add(root: Path, name: str, label: np.ndarray | None = None, size: tuple[int, int] = SIZE) -> None:
    """A photograph of a bright disc on dark ground, and its label if there is one."""
    for folder in ("photos", "annotations/pixel-level"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[: size[0], : size[1]]
    disc = np.hypot(y - size[0] / 2, x - size[1] / 2)[..., None] < 15
    pixels = np.where(disc, (220, 180, 150), (30, 60, 40)).astype(np.uint8)
    Image.fromarray(pixels).save(root / "photos" / f"{name}.jpg", quality=95)
    if label is not None:
        savemat(root / "annotations" / "pixel-level" / f"{name}.mat", {"groundtruth": label})


def disc_label(size: tuple[int, int] = SIZE) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    label = np.where(np.hypot(y - size[0] / 2, x - size[1] / 2) < 15, 41, 0).astype(np.uint8)
    label[: size[0] // 2 - 8][label[: size[0] // 2 - 8] > 0] = HAIR
    return label


@pytest.fixture
def ccp(tmp_path) -> Path:
    """Two ids of each split, one that is unusable, one without a label."""
    root = tmp_path / "clothing-co-parsing"
    entry = manifest()["ccp"]
    held_out = entry["validation_ids"][:2] + entry["reserved_ids"][:2] + entry["unusable_ids"]
    free = [
        f"{i:04d}"
        for i in range(1, 1005)
        if f"{i:04d}" not in set(entry["validation_ids"] + entry["reserved_ids"])
    ]
    for name in held_out + free[:2]:
        add(root, name, disc_label())
    add(root, "1500")
    (root / "photos" / "readme.txt").write_text("not a photograph")
    return root


def ids(items) -> list[str]:
    return [item.id for item in items]


def test_manifest_holds_out_100_ids_twice() -> None:
    entry = manifest()["ccp"]
    validation, reserved = entry["validation_ids"], entry["reserved_ids"]
    assert len(set(validation)) == len(validation) == len(set(reserved)) == len(reserved) == 100
    assert not set(validation) & set(reserved)
    assert not set(entry["unusable_ids"]) & (set(validation) | set(reserved))
    assert all(1 <= int(name) <= entry["labelled"] and len(name) == 4 for name in validation + reserved)


def test_splits_never_overlap_whatever_is_there(ccp) -> None:
    entry = manifest()["ccp"]

    def check() -> None:
        splits = {s: ids(ccp_items(ccp, s)) for s in ("train", "validation", "reserved", "unlabelled")}
        present = {p.stem for p in (ccp / "photos").glob("*.jpg")}
        assert not set(splits["train"]) & set(
            entry["validation_ids"] + entry["reserved_ids"] + entry["unusable_ids"]
        )
        assert splits["validation"] == sorted(present & set(entry["validation_ids"]))
        assert splits["reserved"] == sorted(present & set(entry["reserved_ids"]))
        assert splits["unlabelled"] == sorted(present & {"1500"})
        everything = [name for split in splits.values() for name in split]
        assert len(everything) == len(set(everything))
        assert set(everything) == present - set(entry["unusable_ids"])

    check()
    assert len(ccp_items(ccp, "train")) == 2
    for photo in sorted((ccp / "photos").glob("*.jpg"))[:-1]:  # any partial copy
        photo.unlink()
        check()


def test_a_photograph_whose_label_is_missing_counts_as_unlabelled(ccp) -> None:
    item = ccp_items(ccp, "train")[0]
    item.label.unlink()
    assert item.id not in ids(ccp_items(ccp, "train"))
    assert item.id in ids(ccp_items(ccp, "unlabelled"))


def test_folders_and_splits_that_do_not_exist_are_refused(ccp, tmp_path) -> None:
    with pytest.raises(ValueError, match="'test'"):
        ccp_items(ccp, "test")
    for folder in (tmp_path / "gone", ccp / "annotations"):
        with pytest.raises(FileNotFoundError, match="no copy of Clothing-Co-Parsing"):
            ccp_items(folder, "train")


def test_labels_are_person_and_hair(ccp) -> None:
    label = read_ccp_label(ccp_items(ccp, "train")[0], SIZE)
    expected = disc_label()
    np.testing.assert_array_equal(label.person, expected > 0)
    np.testing.assert_array_equal(label.hair, expected == HAIR)
    assert label.hair.any()
    assert not (label.hair & ~label.person).any()


def test_labels_that_do_not_fit_are_named(ccp) -> None:
    item = ccp_items(ccp, "train")[0]
    with pytest.raises(ValueError, match=r"\(72, 48\).*\(100, 48\)"):
        read_ccp_label(item, (100, 48))
    savemat(item.label, {"groundtruth": np.zeros(SIZE, np.uint8)})
    with pytest.raises(ValueError, match="empty"):
        read_ccp_label(item, SIZE)
    savemat(item.label, {"something": np.ones(SIZE)})
    with pytest.raises(ValueError, match=rf"{item.id}\.mat is no readable label"):
        read_ccp_label(item)
    item.label.write_bytes(item.label.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"{item.id}\.mat is no readable label"):
        read_ccp_label(item)
    item.label.write_bytes(b"")
    with pytest.raises(ValueError, match="no readable label"):
        read_ccp_label(item)
    (unlabelled,) = ccp_items(ccp, "unlabelled")
    with pytest.raises(ValueError, match="1500 has no pixel-level label"):
        read_ccp_label(unlabelled)


def test_preparing_goes_on_where_it_was_cut_and_says_what_failed(ccp, tmp_path) -> None:
    root, folder = tmp_path / "more", tmp_path / "prepared"
    for name in ("0002", "0004", "0005"):
        add(root, name, disc_label())
    add(root, "0006", disc_label((60, 48)))  # a label of another size
    add(root, "0007", np.zeros(SIZE, np.uint8))
    add(root, "0008", disc_label())
    (root / "photos" / "0008.jpg").write_bytes(b"broken")
    items = ccp_items(root, "train")
    assert ids(items) == ["0002", "0004", "0005", "0006", "0007", "0008"]

    ready, failures = prepare_ccp(items, folder, workers=1)
    assert ready == ["0002", "0004", "0005"]
    assert set(failures) == {"0006", "0007", "0008"}
    assert "(60, 48)" in failures["0006"]
    assert "empty" in failures["0007"]
    assert "0008.jpg" in failures["0008"]
    assert len(list(folder.iterdir())) == 9  # and no temporary files

    def times() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}

    before = times()
    assert prepare_ccp(items[:3], folder, workers=1) == (ready, {})
    assert times() == before
    (folder / "0002_alpha.png").unlink()
    (folder / "0004_background.jpg").unlink()
    assert prepare_ccp(items[:3], folder, workers=1) == (ready, {})
    after = times()
    assert set(after) == set(before)
    assert {name[:4] for name in after if after[name] != before[name]} == {"0002", "0004"}

    sample = read_prepared(items[0], folder)
    assert sample.image.shape == sample.foreground.shape == sample.background.shape == (*SIZE, 3)
    truth = disc_label() > 0
    assert np.abs(sample.alpha / 255 - truth).mean() < 0.02
    with pytest.raises(FileNotFoundError, match=r"0006.*prepare_ccp"):
        read_prepared(items[3], folder)


def test_backgrounds_are_any_folder_of_pictures(tmp_path) -> None:
    (tmp_path / "city" / "old").mkdir(parents=True)
    for name in ("b.JPG", "city/a.png", "city/old/c.webp", "city/notes.txt", "d.mp4"):
        (tmp_path / name).touch()
    assert [str(p.relative_to(tmp_path)) for p in background_files(tmp_path)] == [
        "b.JPG",
        "city/a.png",
        "city/old/c.webp",
    ]
    (tmp_path / "none").mkdir()
    for folder in (tmp_path / "none", tmp_path / "gone"):
        with pytest.raises(FileNotFoundError, match="no pictures below"):
            background_files(folder)


def test_sources_are_what_lies_below_modnet_data(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("MODNET_DATA", raising=False)
    assert training_sources() == {}
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    assert training_sources() == {}
    (tmp_path / "clothing-co-parsing").mkdir()
    assert training_sources() == {"ccp": tmp_path / "clothing-co-parsing"}
    (tmp_path / "backgrounds").mkdir()
    assert set(training_sources()) == {"ccp", "backgrounds"}
    monkeypatch.setenv("MODNET_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="MODNET_DATA"):
        training_sources()


def test_the_real_copy_has_its_splits(real_data) -> None:
    root = real_data / "clothing-co-parsing"
    if not root.is_dir():
        pytest.skip("set MODNET_DATA to a folder with clothing-co-parsing")
    entry = manifest()["ccp"]
    held_out = set(entry["validation_ids"]) | set(entry["reserved_ids"]) | set(entry["unusable_ids"])
    train = ccp_items(root, "train")
    assert train
    assert not set(ids(train)) & held_out
    from modnet_lib.images import read_image

    item = train[0]
    image = read_image(item.photo)
    label = read_ccp_label(item, image.shape[:2])
    assert 0 < label.person.mean() < 1
