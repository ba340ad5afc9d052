"""A pack: the pictures of a profile as one file, which trains elsewhere like the data sets it was made from."""

from __future__ import annotations

import json
import runpy
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from modnet_lib import paths
from modnet_lib.data.dataset import CompositionDataset
from modnet_lib.data.items import check
from modnet_lib.data.manifest import find_source
from modnet_lib.data.pseudo_mattes import write_picture
from modnet_lib.data.readers import benchmark
from modnet_lib.data.sets import drawn_people, foreground_set, mask_data, training_data
from modnet_lib.profiles import Profile
from modnet_lib.training.run import run, supervised
from modnet_lib.training.validation import measured_sets
from pack_pictures import SIDE, pack

SETS = {"foregrounds": ["people", "cutouts"], "masks": ["people", "drawn"], "portraits": 1, "scenes": 0}
TRAINING = {"stages": [{"image_size": 64, "batch_size": 2, "steps": 2}], "validate_every": 2}


WEIGHTS = "weights/mobilenet_v2_imagenet_features_fp16.safetensors"


@pytest.fixture(scope="module")
def profile() -> Profile:
    changes = {"data": {"real": True} | SETS, "training": TRAINING, "backbone": "mobilenetv3_small_050"}
    return Profile.load("smoke").changed(changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[Path]:
    """Drawn people as photographs with mattes, one of them large, and as a cut-out; drawn scenes; a file of weights."""
    root, held_out = tmp_path_factory.mktemp("made"), [key for _, key in find_source("people").held_out][:2]
    people = [read() for read in drawn_people(6).readers]
    for key, sample in zip(["a1", "a2", "b1", *held_out], people, strict=False):
        image, alpha = (cv2.resize(part, (900, 600)) if key == "b1" else part for part in sample[:2])
        write_picture(root / "data" / "people" / "image" / f"{key}.jpg", image)
        write_picture(root / "data" / "people" / "alpha" / f"{key}.png", alpha)
    write_picture(root / "data" / "cutouts" / "folder" / "c.png", np.dstack([people[5].foreground, people[5].alpha]))
    for number, sample in enumerate(people[:3]):
        key = next(iter(find_source("backgrounds").held_out))[1] if number == 2 else f"{number}.x"
        write_picture(root / "data" / "backgrounds" / "city" / f"{key}.png", sample.background)
    (root / "data" / "weights").mkdir()
    (root / "data" / WEIGHTS).write_bytes(bytes(1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", root / "cache")
        yield root


@pytest.fixture
def data(made, monkeypatch) -> Path:
    monkeypatch.setenv("MODNET_DATA", str(made / "data"))
    return made / "data"


@pytest.fixture
def originals(data, profile) -> CompositionDataset:
    return training_data(profile.data, 0)


@pytest.fixture
def elsewhere(originals, profile, tmp_path, monkeypatch) -> None:
    """Another machine: its data is what the pack holds, and its cache is empty."""
    pack(profile, tmp_path / "pack.zip", 1)
    with zipfile.ZipFile(tmp_path / "pack.zip") as archive:
        archive.extractall(tmp_path / "elsewhere")
    monkeypatch.setenv("MODNET_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(paths, "CACHE", tmp_path / "no cache")


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    height, width = one.shape[:2]
    original = other if other.shape == one.shape else cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA)
    return -10 * np.log10(np.mean((one / 255 - original / 255) ** 2) + 1e-12)


def test_every_picture_comes_back_at_its_place_and_hardly_changed(originals, elsewhere, profile) -> None:
    packed = training_data(profile.data, 0)
    assert packed.counts == originals.counts
    pairs = zip(packed.foregrounds, originals.foregrounds, strict=True)
    people = [(one(), other()) for one, other in pairs]
    assert [one.image is None for one, _ in people] == [False, False, False, False, True]
    for one, other in people[1:]:  # the first is drawn
        assert max(one.alpha.shape) <= SIDE
        pairs = {role: (getattr(one, role), getattr(other, role)) for role in one._fields}
        quality = {role: psnr(*pair) for role, pair in pairs.items() if pair[1] is not None}
        assert quality.pop("alpha") > 42
        assert min(quality.values()) > 30, quality
    for one, other in zip(packed.backgrounds, originals.backgrounds, strict=True):
        assert psnr(one(), other()) > 30
    assert mask_data(profile.data, 0).foregrounds[0]().alpha.max() == 255
    assert not paths.CACHE.exists()


def test_a_run_trains_and_validates_on_a_pack(elsewhere, profile, tmp_path) -> None:
    run(supervised(profile), tmp_path / "run", show_progress=False)
    *_, last = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    assert last["step"] == 2
    assert 0 < last["validation_mad"] < 1
    held_out = [key for _, key in find_source("people").held_out][:2]
    sets = measured_sets(profile, ["natural", "composed"])
    assert [*sets["natural"]] == [*sets["composed"]] == sorted(held_out)
    assert [*benchmark("people:validation")] == sorted(held_out)
    assert check("people").problems == []
    assert not paths.CACHE.exists()


def test_what_a_pack_holds_and_where_it_comes_from(data, profile, tmp_path, monkeypatch, capsys) -> None:
    copy = shutil.copytree(data, tmp_path / "data")
    monkeypatch.setenv("MODNET_DATA", str(copy))
    (copy / "people" / "alpha" / "b1.png").write_bytes(b"damaged")
    (tmp_path / "profile.yaml").write_text(profile.to_yaml(), encoding="utf-8")
    program = runpy.run_path(str(paths.REPOSITORY / "data" / "pack" / "__main__.py"))
    program["main"]([str(tmp_path / "profile.yaml"), str(tmp_path / "a.zip")])
    assert "b1.png is damaged" in capsys.readouterr().out
    archive = zipfile.ZipFile(tmp_path / "a.zip")
    index = json.loads(archive.read("index.json"))
    counts = {name: len(part["ids"]) for name, part in index["sets"].items()}
    expected = {"people:train": 2, "people:validation": 2, "cutouts:all": 1}
    assert counts == expected | {"backgrounds:train": 2, "backgrounds:validation": 1}
    assert index["sets"]["people:train"]["ids"] == ["a1", "a2"]
    assert [*index["sets"]["people:train"]["left out"]] == ["b1"]
    assert index["origin"]["versions"]["torch"]
    assert archive.read(WEIGHTS) == bytes(1000)
    scene = copy / "backgrounds" / "city" / "0.x.png"
    Image.open(scene).rotate(90).save(scene)
    changed = pack(profile, tmp_path / "b.zip")["sets"]
    assert [name for name, part in index["sets"].items() if part != changed[name]] == ["backgrounds:train"]


def test_the_size_is_held_or_nothing_is_written(data, profile, tmp_path) -> None:
    file, qualities = tmp_path / "pack.zip", []
    for size in (1, 0.06):
        qualities.append(pack(profile, file, size)["quality"])
        assert file.stat().st_size <= size * 2**20
    assert qualities[0] == 95 > qualities[1]
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"9 pictures do not fit into 0\.01 MiB"):
        pack(profile, file, 0.01)
    assert file.read_bytes() == before
    assert [*tmp_path.iterdir()] == [file]


def test_drawn_people_alone_custom_folders_and_scenes_as_people_are_refused(data, profile, tmp_path) -> None:
    with pytest.raises(ValueError, match="'smoke' trains on drawn people only"):
        pack(Profile.load("smoke"), tmp_path / "pack.zip")
    folder = str(paths.SAMPLES / "drawn" / "scenes")
    with pytest.raises(ValueError, match="there is no source"):
        pack(profile.changed({"data": {"backgrounds": [folder]}}), tmp_path / "pack.zip")
    with pytest.raises(ValueError, match="nothing of backgrounds can be used"):
        foreground_set("backgrounds", 9)
    assert not [*tmp_path.iterdir()]
