"""Every source in its publisher's layout: what is found, read and checked; held-out splits; background folders."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat

from modnet_lib import paths
from modnet_lib.data.items import HAIR, check, read_item, read_label
from modnet_lib.data.manifest import (
    Item,
    background_files,
    find_items,
    held_out_backgrounds,
    manifest,
    sources,
    training_items,
)
from modnet_lib.data.pseudo_mattes import prepare, read_prepared
from modnet_lib.data.sets import background_set

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
        f"{i:04d}" for i in range(1, 1005) if f"{i:04d}" not in set(entry["validation_ids"] + entry["reserved_ids"])
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

    def found(split: str) -> list[str]:
        try:
            return ids(find_items("ccp", ccp, split))
        except FileNotFoundError:
            return []

    def check() -> None:
        splits = {split: found(split) for split in ("train", "validation", "reserved", "unlabelled")}
        present = {p.stem for p in (ccp / "photos").glob("*.jpg")}
        assert not set(splits["train"]) & set(entry["validation_ids"] + entry["reserved_ids"] + entry["unusable_ids"])
        assert splits["validation"] == sorted(present & set(entry["validation_ids"]))
        assert splits["reserved"] == sorted(present & set(entry["reserved_ids"]))
        assert splits["unlabelled"] == sorted(present & {"1500"})
        everything = [name for split in splits.values() for name in split]
        assert len(everything) == len(set(everything))
        assert set(everything) == present - set(entry["unusable_ids"])

    check()
    assert len(find_items("ccp", ccp, "train")) == 2
    for photo in sorted((ccp / "photos").glob("*.jpg"))[:-1]:  # any partial copy
        photo.unlink()
        check()


def test_a_photograph_whose_label_is_missing_counts_as_unlabelled(ccp) -> None:
    item = find_items("ccp", ccp, "train")[0]
    item.files["label"].unlink()
    assert item.id not in ids(find_items("ccp", ccp, "train"))
    assert item.id in ids(find_items("ccp", ccp, "unlabelled"))


def test_folders_and_splits_that_do_not_exist_are_refused(ccp, tmp_path) -> None:
    with pytest.raises(ValueError, match="'test'"):
        find_items("ccp", ccp, "test")
    for folder in (tmp_path / "gone", ccp / "annotations"):
        with pytest.raises(FileNotFoundError, match="no copy of Clothing-Co-Parsing"):
            find_items("ccp", folder, "train")


def test_labels_are_person_and_hair(ccp) -> None:
    label = read_label(find_items("ccp", ccp, "train")[0].files["label"])
    expected = disc_label()
    np.testing.assert_array_equal(label["mask"], expected > 0)
    np.testing.assert_array_equal(label["hair"], expected == HAIR)
    assert label["hair"].any()
    assert not (label["hair"] & ~label["mask"]).any()


def test_labels_that_do_not_fit_are_named(ccp) -> None:
    file = find_items("ccp", ccp, "train")[0].files["label"]
    savemat(file, {"groundtruth": np.zeros(SIZE, np.uint8)})
    with pytest.raises(ValueError, match="empty"):
        read_label(file)
    savemat(file, {"something": np.ones(SIZE)})
    with pytest.raises(ValueError, match=rf"{file.name} is no readable label"):
        read_label(file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"{file.name} is no readable label"):
        read_label(file)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="no readable label"):
        read_label(file)


def test_preparing_goes_on_where_it_was_cut_and_says_what_failed(ccp, tmp_path) -> None:
    root, folder = tmp_path / "more", tmp_path / "prepared"
    for name in ("0002", "0004", "0005"):
        add(root, name, disc_label())
    add(root, "0006", disc_label((60, 48)))  # a label of another size
    add(root, "0007", np.zeros(SIZE, np.uint8))
    add(root, "0008", disc_label())
    (root / "photos" / "0008.jpg").write_bytes(b"broken")
    items = find_items("ccp", root, "train")
    assert ids(items) == ["0002", "0004", "0005", "0006", "0007", "0008"]

    ready, failures = prepare(items, folder, workers=1)
    assert [*ready] == ["0002", "0004", "0005"]
    assert set(failures) == {"0006", "0007", "0008"}
    assert "(60, 48)" in failures["0006"]
    assert "empty" in failures["0007"]
    assert "0008.jpg" in failures["0008"]
    assert len(list(folder.iterdir())) == 9  # and no temporary files
    files = {"_".join((p.name[:4], p.name.rpartition("_")[2])): p for p in folder.iterdir()}

    def times() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}

    before = times()
    assert prepare(items[:3], folder, workers=1)[1] == {}
    assert times() == before
    files["0002_alpha.png"].unlink()
    files["0004_background.jpg"].unlink()
    assert prepare(items[:3], folder, workers=1)[1] == {}
    after = times()
    assert set(after) == set(before)
    assert {name[:4] for name in after if after[name] != before[name]} == {"0002", "0004"}

    sample = ready["0002"]()
    assert sample.image.shape == sample.foreground.shape == sample.background.shape == (*SIZE, 3)
    truth = disc_label() > 0
    assert np.abs(sample.alpha / 255 - truth).mean() < 0.02
    with pytest.raises(FileNotFoundError, match=r"0006.*prepare"):
        read_prepared(items[3], folder)


def test_backgrounds_are_any_folder_of_pictures(tmp_path) -> None:
    (tmp_path / "city" / "old").mkdir(parents=True)
    (tmp_path / ".fetch-1").mkdir()
    for name in ("b.JPG", "city/a.png", "city/old/c.webp", "city/notes.txt", "d.mp4", ".fetch-1/e.jpg", "._b.jpg"):
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


def write_pair(root: Path, name: str) -> None:
    for part, shade in (("image", 90), ("alpha", 255)):
        (root / part).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), shade).convert("RGB" if part == "image" else "L").save(root / part / f"{name}.png")


def test_held_out_ids_stay_out_of_training_in_every_copy(ccp, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    entry = manifest()
    held_out = set(entry["ccp"]["validation_ids"] + entry["ccp"]["reserved_ids"] + entry["ccp"]["unusable_ids"])
    split, root, items = training_items("ccp")
    assert (split, root) == ("train", ccp)
    assert items
    assert not set(ids(items)) & held_out
    # a partial copy of our own set of portraits, and a nested one of the backgrounds
    for name in (entry["people"]["validation_ids"][0], "someone"):
        write_pair(tmp_path / "people", name)
    assert ids(training_items("people")[2]) == ["someone"]
    assert ids(find_items("people", split="validation")) == [entry["people"]["validation_ids"][0]]
    kind, _, name = entry["backgrounds"]["validation_ids"][0].partition("/")
    for file in (tmp_path / "backgrounds" / kind / "archive" / f"{name}.png", tmp_path / "backgrounds" / "other.jpg"):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
    assert ids(training_items("backgrounds")[2]) == ["other"]
    assert ids(find_items("backgrounds", split="validation")) == [f"{kind}/archive/{name}"]


def test_splits_for_tests_are_refused_for_training(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    for name in ("ppm100", "p3m10k:validation-p", "ccp:reserved", "spm100", "amd:test-portraits"):
        with pytest.raises(ValueError, match="held out for tests"):
            training_items(name)


def test_a_custom_folder_is_read_by_its_contents(tmp_path) -> None:
    write_pair(tmp_path / "mine", "anna")
    assert [sorted(item.files) for item in training_items(str(tmp_path / "mine"))[2]] == [["alpha", "image"]]
    (tmp_path / "cut").mkdir()
    Image.new("RGBA", (8, 8)).save(tmp_path / "cut" / "bea.png")
    assert [sorted(item.files) for item in training_items(str(tmp_path / "cut"))[2]] == [["cutout"]]


def test_the_path_of_a_set_does_not_let_held_out_pictures_into_training(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    write_pair(tmp_path / "people", manifest()["people"]["validation_ids"][0])
    (tmp_path / "backgrounds" / "city").mkdir(parents=True)
    for folder in ("people", "backgrounds", "backgrounds/city", "."):
        with pytest.raises(ValueError, match="holds out pictures; give its name instead"):
            training_items(str(tmp_path / folder))
        with pytest.raises(ValueError, match="holds out pictures; give its name instead"):
            background_set(str(tmp_path / folder))
    write_pair(tmp_path / "mine", "anna")
    assert ids(training_items(str(tmp_path / "mine"))[2]) == ["anna"]


def test_composited_tests_need_held_out_backgrounds(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    (tmp_path / "backgrounds").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "backgrounds" / "a.jpg")
    assert ids(find_items("backgrounds", split="train")) == ["a"]
    with pytest.raises(FileNotFoundError, match="no pictures of the split validation"):
        held_out_backgrounds()


def test_a_set_that_is_absent_is_an_error(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("MODNET_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="set MODNET_DATA"):
        training_items("ccp")
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no copy of Clothing-Co-Parsing"):
        training_items("ccp")
    with pytest.raises(FileNotFoundError, match="neither a data set"):
        training_items("no such thing")
    monkeypatch.setenv("MODNET_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="MODNET_DATA"):
        training_items("ccp")


def test_the_real_copy_has_its_splits(real_data) -> None:
    root = real_data / "clothing-co-parsing"
    if not root.is_dir():
        pytest.skip("set MODNET_DATA to a folder with clothing-co-parsing")
    entry = manifest()["ccp"]
    held_out = set(entry["validation_ids"]) | set(entry["reserved_ids"]) | set(entry["unusable_ids"])
    train = find_items("ccp", root, "train")
    assert train
    assert not set(ids(train)) & held_out
    from modnet_lib.images import read_image

    item = train[0]
    image = read_image(item.files["image"])
    label = read_label(item.files["label"])
    assert label["hair"].shape == image.shape[:2]
    assert 0 < label["mask"].mean() < 1


# --- every layout -----------------------------------------------------------------------------------

H, W = 24, 20
ALPHA = np.tile(np.linspace(0, 255, W).round().astype(np.uint8), (H, 1))
COLOUR = np.stack([np.full((H, W), value, np.uint8) for value in (200, 120, 40)], axis=2)
MASK = np.zeros((H, W), bool)
MASK[4:20, 5:15] = True


def supervisely(*objects: dict, size: tuple[int, int] = (H, W)) -> dict:
    return {"size": {"height": size[0], "width": size[1]}, "tags": [], "objects": list(objects)}


def bitmap(mask: np.ndarray, origin: tuple[int, int], title: str = "person_bmp", data: str = "") -> dict:
    """As Supervisely's own code packs a mask: a PNG with a palette of which colour 0 is transparent."""
    picture, buffer = Image.fromarray(mask.astype(np.uint8), "P"), io.BytesIO()
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(buffer, format="PNG", transparency=0)
    data = data or base64.b64encode(zlib.compress(buffer.getvalue())).decode()
    points = {"exterior": [], "interior": []}
    return {"classTitle": title, "bitmap": {"origin": list(origin), "data": data}, "points": points}


def polygon(exterior: list, *holes: list, title: str = "person_poly") -> dict:
    return {"classTitle": title, "bitmap": None, "points": {"exterior": exterior, "interior": list(holes)}}


PERSON = supervisely(bitmap(MASK[4:20, 5:15], (5, 4)))


def write(file: Path, kind: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == "rgb":
        Image.fromarray(COLOUR).save(file, quality=95)
    elif kind == "grey":
        Image.fromarray(ALPHA).save(file)
    elif kind == "grey3":  # a matte as a colour JPEG
        Image.fromarray(np.repeat(ALPHA[..., None], 3, axis=2)).save(file, quality=95)
    elif kind == "grey16":
        Image.fromarray(ALPHA.astype(np.uint16) * 257).save(file)
    elif kind == "rgba":
        Image.fromarray(np.dstack([COLOUR, ALPHA])).save(file)
    elif kind == "json":
        file.write_text(json.dumps(PERSON))
    elif kind == "mat":
        savemat(file, {"groundtruth": np.where(MASK, 41, 0).astype(np.uint8)})
    else:
        file.write_text(kind)


# source, split; then each item: id, and by role the published path and what is in the file.
# The paths are written out from the publishers' descriptions, not made from the manifest's patterns.
LAYOUTS = [
    ("ppm100", "test", {
        "14429083354_23c8fddff5_o": {
            "image": ("image/14429083354_23c8fddff5_o.jpg", "rgb"),
            "alpha": ("matte/14429083354_23c8fddff5_o.jpg", "grey3"),
        },
    }),
    ("ppm100", "test", {  # as PaddleSeg repacked it
        "1_o": {"image": ("val/fg/1_o.jpg", "rgb"), "alpha": ("val/alpha/1_o.jpg", "grey3")},
    }),
    ("p3m10k", "train", {
        "p_0a1b": {"image": ("train/blurred_image/p_0a1b.jpg", "rgb"), "alpha": ("train/mask/p_0a1b.png", "grey")},
    }),
    ("p3m10k", "validation-p", {
        "p_00c1": {
            "image": ("validation/P3M-500-P/blurred_image/p_00c1.jpg", "rgb"),
            "alpha": ("validation/P3M-500-P/mask/p_00c1.png", "grey"),
        },
    }),
    ("p3m10k", "validation-np", {
        "p_00d2": {
            "image": ("validation/P3M-500-NP/original_image/p_00d2.jpg", "rgb"),
            "alpha": ("validation/P3M-500-NP/mask/p_00d2.png", "grey"),
        },
    }),
    ("amd", "train", {
        "Adobe-licensed images/GT07": {
            "foreground": ("Training_set/Adobe-licensed images/fg/GT07.jpg", "rgb"),
            "alpha": ("Training_set/Adobe-licensed images/alpha/GT07.jpg", "grey3"),
        },
        "Other/woman1": {
            "foreground": ("Training_set/Other/fg/woman1.jpg", "rgb"),
            "alpha": ("Training_set/Other/alpha/woman1.jpg", "grey"),
        },
    }),
    ("amd", "test", {
        "Adobe-licensed images/woman-952506_1920 (1)": {
            "foreground": ("Test_set/Adobe-licensed images/fg/woman-952506_1920 (1).png", "rgb"),
            "alpha": ("Test_set/Adobe-licensed images/alpha/woman-952506_1920 (1).png", "grey"),
        },
    }),
    ("amd", "composition-1k", {
        f"boy-1518482_1920/{n}": {
            "image": (f"Test_set/merged/boy-1518482_1920_{n}.png", "rgb"),
            "alpha": ("Test_set/Adobe-licensed images/alpha/boy-1518482_1920.png", "grey"),
        }
        for n in (0, 19)
    }),
    ("d646", "train", {
        "h_110": {"foreground": ("Train/FG/h_110.jpg", "rgb"), "alpha": ("Train/GT/h_110.png", "grey")},
    }),
    ("d646", "test", {
        "test_4": {"foreground": ("Test/FG/test_4.png", "rgb"), "alpha": ("Test/GT/test_4.png", "grey16")},
    }),
    ("crgnn_r", "test", {
        "clip3/00010": {
            "alpha": ("alpha/clip3/00010.png", "grey"),
            "image": ("image/clip3/00010.jpg", "rgb"),
        },
    }),
    ("crgnn_r", "frames", {f"clip3/0000{n}": {"image": (f"image/clip3/0000{n}.jpg", "rgb")} for n in range(3)}),
    ("sps", "train", {
        "ds1/pexels-photo-1": {
            "image": ("ds1/img/pexels-photo-1.png", "rgb"), "label": ("ds1/ann/pexels-photo-1.png.json", "json"),
        },
        "ds13/people-2": {"image": ("ds13/img/people-2.jpg", "rgb"), "label": ("ds13/ann/people-2.json", "json")},
    }),
    ("openimages", "all", {"train/000002b66c9c498e": {"background": ("train/000002b66c9c498e.jpg", "rgb")}}),
    ("bg20k", "train", {"h_00a1": {"background": ("train/h_00a1.jpg", "rgb")}}),
    ("bg20k", "testval", {"h_00b2": {"background": ("testval/h_00b2.jpg", "rgb")}}),
    ("videomatte240k", "train", {
        f"0{clip}/0000{n}": {
            "foreground": (f"train/fgr/0{clip}/0000{n}.jpg", "rgb"),
            "alpha": (f"train/pha/0{clip}/0000{n}.jpg", "grey3"),
        }
        for clip in ("000", "475") for n in range(2)
    }),
    ("videomatte240k", "test", {
        "0000/00012": {
            "foreground": ("test/fgr/0000/00012.jpg", "rgb"), "alpha": ("test/pha/0000/00012.jpg", "grey3"),
        },
    }),
    ("aisegment", "train", {
        "1803151818/00000000/1803151818-00000003": {
            "image": ("clip_img/1803151818/clip_00000000/1803151818-00000003.jpg", "rgb"),
            "cutout": ("matting/1803151818/matting_00000000/1803151818-00000003.png", "rgba"),
        },
    }),
    ("ugd12k", "train", {
        "800036118": {
            "image": ("train/image/800036118.jpg", "rgb"), "alpha": ("train/alpha/800036118.png", "grey"),
        },
    }),
    ("ugd12k", "eval", {
        "1000114288": {
            "image": ("eval/image/1000114288.jpg", "rgb"), "alpha": ("eval/alpha/1000114288.png", "grey"),
        },
    }),
    ("ccp", "train", {
        "0002": {"image": ("photos/0002.jpg", "rgb"), "label": ("annotations/pixel-level/0002.mat", "mat")},
    }),
    ("backgrounds", "train", {"city/old/x": {"background": ("city/old/x.webp", "rgb")}}),
    ("backgrounds", "validation", {
        "city/img_001_SRF_8_HR": {"background": ("city/img_001_SRF_8_HR.jpg", "rgb")},
    }),
    ("people", "train", {
        "someone": {"image": ("image/someone.jpg", "rgb"), "alpha": ("alpha/someone.png", "grey")},
    }),
    ("people", "validation", {
        "apm_00010": {"image": ("image/apm_00010.jpg", "rgb"), "alpha": ("alpha/apm_00010.png", "grey")},
    }),
    ("drawn", "train", {
        "100000": {
            "foreground": ("train/foreground/100000.jpg", "rgb"), "alpha": ("train/alpha/100000.png", "grey"),
            "background": ("train/background/100000.jpg", "rgb"),
        },
    }),
    ("drawn", "validation", {
        "9000000": {
            "foreground": ("validation/foreground/9000000.jpg", "rgb"),
            "alpha": ("validation/alpha/9000000.png", "grey"),
            "background": ("validation/background/9000000.jpg", "rgb"),
        },
    }),
    ("drawn", "train-scenes", {"100000": {"background": ("scenes/100000.jpg", "rgb")}}),
    ("spm100", "test", {
        "spm_000": {"image": ("image/spm_000.jpg", "rgb"), "alpha": ("matte/spm_000.png", "grey")},
    }),
    ("spm_shift", "test", {
        "spm_000": {"image": ("image/spm_000.jpg", "rgb"), "alpha": ("matte/spm_000.png", "grey")},
    }),
    ("spm_video", "test", {
        "00_head_turn/0000": {
            "image": ("image/00_head_turn/0000.jpg", "rgb"), "alpha": ("matte/00_head_turn/0000.png", "grey"),
        },
    }),
    ("cutouts", "all", {
        "me": {"cutout": ("me.png", "rgba")}, "family/you": {"cutout": ("family/you.WEBP", "rgba")},
    }),
    ("pairs", "all", {
        "a": {"image": ("image/a.JPG", "rgb"), "alpha": ("alpha/a.png", "grey16")},
        "b/c": {"image": ("image/b/c.tif", "rgb"), "alpha": ("alpha/b/c.jpg", "grey3")},
    }),
]  # fmt: skip


def build(root: Path, items: dict) -> None:
    for files in items.values():
        for path, kind in files.values():
            write(root / path, kind)
    # what copies also hold
    write(root / "readme.txt", "not a picture")
    for folder in [p for p in root.rglob("*") if p.is_dir()]:
        write(folder / "._leftover.jpg", "of a Macintosh")


@pytest.mark.parametrize(("name", "split", "items"), LAYOUTS, ids=[f"{n}-{s}" for n, s, _ in LAYOUTS])
def test_layouts_are_found_read_and_fine(tmp_path, name, split, items) -> None:
    build(tmp_path, items)
    found = find_items(name, tmp_path, split)
    expected = {key: {role: tmp_path / path for role, (path, _) in f.items()} for key, f in items.items()}
    assert {item.id: item.files for item in found} == expected
    assert [item.id for item in found] == sorted(items)
    for item in found:
        parts = read_item(item)
        for role in ("image", "foreground", "background"):
            if role in item.files:
                assert np.abs(parts[role].astype(int) - COLOUR).max() < 12
        if "cutout" in item.files and "image" not in item.files:
            np.testing.assert_array_equal(parts["alpha"], ALPHA)
            assert parts["foreground"].shape == (H, W, 3)
        if {"alpha", "cutout"} & item.files.keys():
            assert parts["alpha"].shape == (H, W) and parts["alpha"].dtype == np.uint8
            assert np.abs(parts["alpha"].astype(int) - ALPHA).max() < 6
        if "label" in item.files:
            np.testing.assert_array_equal(parts["mask"], MASK)
        # the colours of a matte file that has a photograph are not a foreground
        assert not {"image", "foreground"} <= parts.keys()
    if split == "composition-1k":  # the mattes' foregrounds are there as well
        write(tmp_path / "Test_set/Adobe-licensed images/fg/boy-1518482_1920.png", "rgb")
    report = check(name, tmp_path)
    assert report.fine >= len(found)
    assert [problem for problem in report.problems if "are published" not in problem] == []
    assert split not in report.absent


def test_every_source_has_a_layout_here_and_a_row_in_the_readme() -> None:
    assert {name for name, _, _ in LAYOUTS} == set(sources())
    readme = (paths.DATA / "README.md").read_text(encoding="utf-8")
    for name, source in sources().items():
        assert f"`{name}`" in readme and f"`{source.folder}/`" in readme
        assert source.title and manifest()[name]["use"] and source.licence and source.get
        assert (source.access == "open") == bool(source.archives)
        assert source.access in ("own", "made") or name == "backgrounds" or source.url.startswith("https://")
        for archive in source.archives:
            assert archive["url"].startswith("https://github.com/") and archive["url"].endswith(".zip")


def test_lists_cut_a_split_down(tmp_path) -> None:
    build(tmp_path, LAYOUTS[5][2])
    with pytest.raises(FileNotFoundError, match=r"train_data_list\.txt.*senguptaumd"):
        find_items("amd", tmp_path, "train-portraits")
    assert "train-portraits" in check("amd", tmp_path).absent
    (tmp_path / "train_data_list.txt").write_text("woman1.jpg\nGT99.jpg\n\n")
    assert ids(find_items("amd", tmp_path, "train-portraits")) == ["Other/woman1"]
    report = check("amd", tmp_path)
    assert report.fine == 2  # an item of two splits counts once
    assert "train-portraits" not in report.absent


def test_check_names_what_is_missing_damaged_or_does_not_fit(tmp_path) -> None:
    for name in "abcdefg":
        write(tmp_path / "image" / f"{name}.jpg", "rgb")
        write(tmp_path / "alpha" / f"{name}.png", "grey")
    (tmp_path / "alpha" / "b.png").unlink()
    (tmp_path / "image" / "c.jpg").unlink()
    whole = (tmp_path / "alpha" / "d.png").read_bytes()
    (tmp_path / "alpha" / "d.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(ALPHA[:-1]).save(tmp_path / "alpha" / "e.png")
    write(tmp_path / "alpha" / "f.png", "rgb")  # a photograph in the matte's place
    report = check("pairs", tmp_path)
    assert report.fine == 2
    assert len(report.problems) == 5
    for problem, words in zip(
        report.problems,
        (("no picture", "alpha/b."), ("no picture", "image/c."), ("alpha/d.png", "damaged"),
         ("alpha/e.png (23, 20)", "image/e.jpg (24, 20)"), ("alpha/f.png", "coloured")),
        strict=True,
    ):  # fmt: skip
        for word in words:
            assert word in problem
    items = {item.id: item for item in find_items("pairs", tmp_path)}
    assert read_item(items["a"])["alpha"].shape == (H, W)
    with pytest.raises(FileNotFoundError, match=r"alpha/b\."):
        read_item(items["b"])
    with pytest.raises(ValueError, match="e differ in size"):
        read_item(items["e"])


def test_check_and_training_read_mattes_in_any_format(tmp_path) -> None:
    inside = ALPHA > 127
    kinds = {
        "label": inside.astype(np.uint8),
        "black": np.dstack([ALPHA * 0] * 3 + [ALPHA]),
        "cutout": np.dstack([COLOUR, ALPHA]),
        "grey_cutout": np.where(inside, np.asarray(Image.fromarray(COLOUR).convert("L")), 0).astype(np.uint8),
        "colour_cutout": np.where(inside[..., None], COLOUR, 0).astype(np.uint8),
    }
    for name, channels in kinds.items():
        write(tmp_path / "image" / f"{name}.Png", "rgb")  # suffixes of mixed case
        (tmp_path / "alpha").mkdir(exist_ok=True)
        Image.fromarray(channels).save(tmp_path / "alpha" / f"{name}.tif")
        (tmp_path / "alpha" / f"{name}.tif").rename(tmp_path / "alpha" / f"{name}.Tif")
    tifffile.imwrite(tmp_path / "alpha" / "float.tif", (ALPHA / 255).astype(np.float64))
    write(tmp_path / "image" / "float.JPG", "rgb")
    items = {item.id: item for item in find_items("pairs", tmp_path)}
    for name in ("black", "cutout", "float"):
        np.testing.assert_array_equal(read_item(items[name])["alpha"], ALPHA)
    np.testing.assert_array_equal(read_item(items["label"])["alpha"], inside * np.uint8(255))
    report = check("pairs", tmp_path)
    assert report.fine == 4
    assert [problem.split("/alpha/")[1].split(", not a matte")[0].split(":")[0] for problem in report.problems] == [
        "colour_cutout.Tif is coloured",
        "grey_cutout.Tif looks like a grey cut-out of its photograph",
    ]
    for name in ("grey_cutout", "colour_cutout"):
        with pytest.raises(ValueError, match=r"cut-out.*not a matte; save its transparency"):
            read_item(items[name])


def test_a_matte_can_be_read_exactly(tmp_path) -> None:
    file, item = tmp_path / "m.png", Item("m", {"alpha": tmp_path / "m.png"})
    deep = np.linspace(0, 65535, H * W).round().astype(np.uint16).reshape(H, W)
    Image.fromarray(deep).save(file)
    np.testing.assert_array_equal(read_item(item, exact=True)["alpha"], (deep / 65535).astype(np.float32))
    np.testing.assert_array_equal(read_item(item)["alpha"], np.round(deep / 257).astype(np.uint8))
    Image.fromarray(ALPHA.astype(np.uint16) * 257).save(file)
    np.testing.assert_array_equal(read_item(item, exact=True)["alpha"], ALPHA)  # 8 bits hold it


def test_check_compares_with_the_published_count(tmp_path) -> None:
    build(tmp_path, LAYOUTS[0][2])
    assert check("ppm100", tmp_path).problems == ["test: 1 items, 100 are published"]
    with pytest.raises(FileNotFoundError, match=r"no copy of PPM-100: no image/\{id\}\.jpg"):
        check("ppm100", tmp_path / "gone")


def test_sources_and_splits_that_do_not_exist(tmp_path, monkeypatch) -> None:
    with pytest.raises(ValueError, match=r"'imagenet'.*ppm100"):
        find_items("imagenet", tmp_path)
    with pytest.raises(ValueError, match=r"train, validation-p, validation-np.*None"):
        find_items("p3m10k", tmp_path)
    monkeypatch.delenv("MODNET_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"set MODNET_DATA.*PPM-100"):
        find_items("ppm100")
    build(tmp_path / "PPM-100", LAYOUTS[0][2])
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    assert len(find_items("ppm100")) == 1


def test_cutouts_need_transparency_and_masks_may_be_0_and_1(tmp_path) -> None:
    write(tmp_path / "a.png", "rgb")
    with pytest.raises(ValueError, match=r"a\.png has no transparency"):
        read_item(Item("a", {"cutout": tmp_path / "a.png"}))
    for top in (1, 255):
        Image.fromarray(MASK.astype(np.uint8) * top).save(tmp_path / "m.png")
        np.testing.assert_array_equal(read_item(Item("m", {"mask": tmp_path / "m.png"}))["mask"], MASK)


def test_supervisely_bitmaps_and_polygons(tmp_path) -> None:
    def read(*objects: dict) -> np.ndarray:
        (tmp_path / "a.json").write_text(json.dumps(supervisely(*objects)))
        return read_label(tmp_path / "a.json")["mask"]

    square, hole = [[2, 3], [12, 3], [12, 13], [2, 13]], [[5, 6], [8, 6], [8, 9], [5, 9]]
    expected = np.zeros((H, W), bool)
    expected[3:14, 2:13] = True  # outlines belong to the polygon
    expected[6:10, 5:9] = False
    np.testing.assert_array_equal(read(polygon(square, hole)), expected)
    # a person in another's hole stays, what is no person does not count
    small = bitmap(np.ones((2, 2), bool), (6, 7))
    expected[7:9, 6:8] = True
    np.testing.assert_array_equal(read(small, polygon(square, hole), polygon(square, title="neutral")), expected)
    # bitmaps that reach over the edge are cut
    expected = np.zeros((H, W), bool)
    expected[22:, 18:] = True
    np.testing.assert_array_equal(read(bitmap(np.ones((5, 5), bool), (18, 22))), expected)

    for objects, message in (
        ([], "empty"),
        ([polygon(square, title="neutral")], "empty"),
        ([bitmap(MASK, (W, 0))], "outside"),
        ([bitmap(MASK, (0, 0), data="AAAA")], "no readable label"),
        ([bitmap(MASK, (0, 0), data=base64.b64encode(zlib.compress(b"x" * 99)).decode())], "no readable"),
        ([{"classTitle": "person_bmp"}], "no readable label"),
    ):
        with pytest.raises(ValueError, match=rf"a\.json.*{message}"):
            read(*objects)
    (tmp_path / "a.json").write_text('{"size": {"height": 24')
    with pytest.raises(ValueError, match=r"a\.json is no readable label"):
        read_label(tmp_path / "a.json")
