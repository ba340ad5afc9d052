"""Training sets by name: drawn people, custom folders, what is left out, what is refused, and their identity."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from drawn_set import LARGEST, SPLITS, write_portraits, write_scenes
from drawn_spm import COUNT, FIRST_SEED, subjects
from modnet_lib import paths
from modnet_lib.data import manifest, pseudo_mattes
from modnet_lib.data.assemble import assemble, collate
from modnet_lib.data.compositing import composite
from modnet_lib.data.dataset import staged_batches
from modnet_lib.data.pseudo_mattes import fuse
from modnet_lib.data.sets import (
    background_set,
    drawn_people,
    drawn_scenes,
    foreground_set,
    mask_data,
    mask_set,
    training_data,
)
from modnet_lib.data.workers import data_loader
from modnet_lib.profiles import DataConfig
from modnet_lib.provenance import first_difference


def test_the_image_of_drawn_people_follows_from_their_parts(without_data) -> None:
    people = drawn_people(24)
    assert (people.name, people.split, len(people.readers)) == ("drawn", "train", 24)
    assert not set(people.files) & set(drawn_people(8, "validation").files)
    sample = people.readers[3]()
    weight = sample.alpha[..., None] / 255
    composed = weight * sample.foreground + (1 - weight) * sample.background
    assert np.abs(composed - sample.image).max() <= 0.5 + 1e-6
    stored = np.asarray(Image.open(paths.SAMPLES / "drawn" / "train" / "alpha" / "100003.png"))
    np.testing.assert_array_equal(sample.alpha, stored)


def test_more_people_and_scenes_come_from_the_data_folder(without_data, monkeypatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"24 of the 25 .*drawn_people portraits 25 \$MODNET_DATA/drawn"):
        drawn_people(25)
    folder = without_data / "drawn"
    folder.mkdir()
    monkeypatch.setenv("MODNET_DATA", str(without_data))
    with pytest.raises(FileNotFoundError, match=r"0 of the 9 .* portraits 9 \$MODNET_DATA/drawn --split validation"):
        drawn_people(9, "validation")
    with pytest.raises(
        FileNotFoundError, match=r"0 of the 25 .*run python data/drawn_people scenes 25 \$MODNET_DATA/drawn$"
    ):
        drawn_scenes(25)
    write_portraits(folder, 3, 32)
    write_scenes(folder, 25, 32)
    assert "train/alpha/100002.png" in foreground_set("drawn", 3).files
    assert foreground_set("drawn", 3).readers[0]().image.shape == (32, 32, 3), "they need no preparation"
    scenes = drawn_scenes(25)
    assert len(scenes.files) == len(scenes.readers) == 25
    assert scenes.readers[24]().shape == (32, 32, 3)
    assert drawn_scenes(24).readers[0]().shape == (320, 320, 3), "those that ship suffice"


def test_drawn_people_need_nothing_from_outside(without_data) -> None:
    config = DataConfig(portraits=2, scenes=3)
    dataset = training_data(config, seed=4)
    assert len(dataset.foregrounds) == 2
    assert len(dataset.backgrounds) == 3
    batch = assemble(next(iter(data_loader(dataset, staged_batches([(64, 4, 1)]), collate))))
    assert batch.image.shape == (4, 3, 64, 64)
    assert not paths.CACHE.exists()


def test_datasets_go_to_other_processes(without_data) -> None:
    config = DataConfig(portraits=2, scenes=3, memory=1)
    for make in (training_data, mask_data):
        dataset = make(config, 4)
        copied = pickle.loads(pickle.dumps(dataset))
        for mine, theirs in zip(dataset[3, 64], copied[3, 64], strict=True):
            assert np.array_equal(mine, theirs)


def test_a_set_that_is_absent_is_an_error_and_never_drawn_people(monkeypatch, tmp_path, without_data) -> None:
    for config in (DataConfig(real=True, portraits=1, scenes=1), DataConfig(real=True, foregrounds=("people",))):
        with pytest.raises(FileNotFoundError, match="set MODNET_DATA"):
            training_data(config, 0)
    with pytest.raises(FileNotFoundError, match="set MODNET_DATA"):
        mask_data(DataConfig(real=True, masks=("ccp", "drawn")), 0)
    monkeypatch.setenv("MODNET_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="MODNET_DATA"):
        training_data(DataConfig(real=True, portraits=1, scenes=1), 0)
    # a profile that does not want real data does not look
    assert len(training_data(DataConfig(real=False, portraits=1, scenes=1), 0)) == 15


@pytest.fixture
def own_data(make_sample, without_data, monkeypatch):
    """Cut-outs with black under their transparency, pairs, one of them damaged, and a background."""
    monkeypatch.setenv("MODNET_DATA", str(without_data))
    (without_data / "cutouts").mkdir()
    for number in range(2):
        sample = make_sample(number)
        shown = np.where(sample.alpha[..., None] > 0, sample.foreground, 0)
        Image.fromarray(np.dstack((shown, sample.alpha))).save(without_data / "cutouts" / f"{number}.png")
    for part in ("image", "alpha"):
        (without_data / "pairs" / part).mkdir(parents=True)
    sample = make_sample(5)
    Image.fromarray(sample.image).save(without_data / "pairs" / "image" / "good.png")
    Image.fromarray(sample.alpha).save(without_data / "pairs" / "alpha" / "good.png")
    (without_data / "pairs" / "image" / "bad.png").write_bytes(b"no picture")
    Image.fromarray(sample.alpha).save(without_data / "pairs" / "alpha" / "bad.png")
    (without_data / "scenes").mkdir()
    Image.new("RGB", (90, 70), (40, 90, 140)).save(without_data / "scenes" / "sea.png")
    return without_data


def own(folder, *names: str) -> DataConfig:
    """Train on these sets alone, before the scenes in `folder`."""
    return DataConfig(real=True, foregrounds=names, backgrounds=(str(folder / "scenes"),), portraits=0, scenes=0)


def test_custom_cutouts_and_pairs_are_trained_on_and_failures_are_named(own_data, make_sample) -> None:
    dataset = training_data(own(own_data, "cutouts", "pairs"), seed=0)
    cutouts, pairs = dataset.contents["foregrounds"]
    assert (len(cutouts.readers), len(pairs.readers)) == (2, 1)
    assert list(pairs.left_out) == ["bad"]
    assert "bad.png" in pairs.left_out["bad"]
    assert "cutouts:all: 2 pictures, 0 left out" in dataset.describe()
    assert "pairs:all: 1 pictures, 1 left out" in dataset.describe()
    assert f"bad: {pairs.left_out['bad']}" in dataset.describe()
    assert set(cutouts.files) == {"0.png", "1.png"}
    # a cut-out has no photograph: all 15 of its samples are composites
    raw = collate([dataset[number, 64] for number in range(len(dataset))])
    assert int(raw.natural.sum()) == 5
    batch = assemble(raw)
    composed = composite(batch.foreground, batch.background, batch.true_alpha)
    torch.testing.assert_close(batch.image[~raw.natural], composed[~raw.natural], rtol=0, atol=1e-6)
    # the black under the transparency does not reach the edge
    whole, sample = dataset.foreground(0).cutout.numpy(), make_sample(0)
    assert np.array_equal(whole[..., 3], sample.alpha)
    inside = sample.alpha > 0
    assert np.abs(whole[inside][:, :3].astype(int) - sample.foreground[inside]).mean() < 3
    just_outside = (whole[..., 3] == 0) & (np.roll(inside, 2, 0) | np.roll(inside, -2, 0))
    assert whole[just_outside][:, :3].min() > 20


def test_a_changed_file_is_prepared_again(own_data, make_sample) -> None:
    config = own(own_data, "pairs")
    first = training_data(config, 0)
    before = first.foreground(0).cutout
    matte = own_data / "pairs" / "alpha" / "good.png"
    Image.fromarray(255 - make_sample(5).alpha).save(matte)
    second = training_data(config, 0)
    assert not torch.equal(second.foreground(0).cutout, before)
    assert first.identity()["code"] == second.identity()["code"]


def test_what_other_code_prepared_is_not_used(own_data, monkeypatch) -> None:
    folder = pseudo_mattes.prepared_folder("pairs")
    foreground_set("pairs", 10)
    before = set(folder.iterdir())
    foreground_set("pairs", 10)
    assert set(folder.iterdir()) == before
    monkeypatch.setattr(pseudo_mattes, "_code", lambda: {"images.py": "other"})
    item = manifest.training_items("pairs")[2][1]
    with pytest.raises(FileNotFoundError, match="good is not prepared"):
        pseudo_mattes.read_prepared(item, folder)


def test_mattes_of_a_teacher_are_used_if_asked_for(own_data, make_sample) -> None:
    folder, sample = own_data / "clothing-co-parsing", make_sample(5)
    for file in (folder / "photos", folder / "annotations" / "pixel-level", own_data / "teacher" / "ccp"):
        file.mkdir(parents=True)
    Image.fromarray(sample.image).save(folder / "photos" / "0002.jpg", quality=95)
    mask = sample.alpha > 127
    savemat(folder / "annotations" / "pixel-level" / "0002.mat", {"groundtruth": mask.astype(np.uint8)})
    Image.fromarray(sample.alpha).save(own_data / "teacher" / "ccp" / "0002.png")
    config = own(own_data, "ccp")
    plain, taught = (training_data(replace(config, teacher=on), 0) for on in (False, True))
    np.testing.assert_array_equal(taught.foreground(0).cutout[..., 3], fuse(sample.alpha, mask))
    assert not torch.equal(plain.foreground(0).cutout, taught.foreground(0).cutout)
    assert "foregrounds.0 ccp.files.0002.png was missing" in first_difference(
        plain.identity() | {"settings": 0}, taught.identity() | {"settings": 0}
    )


def test_a_file_of_the_same_size_is_another_run(own_data, make_sample) -> None:
    matte = own_data / "pairs" / "alpha" / "good.bmp"
    (own_data / "pairs" / "alpha" / "good.png").unlink()
    config = own(own_data, "pairs")
    sizes, identities = [], []
    for alpha in (make_sample(5).alpha, 255 - make_sample(5).alpha):
        Image.fromarray(alpha).save(matte)
        sizes.append(matte.stat().st_size)
        identities.append(training_data(config, 0).identity())
    assert sizes[0] == sizes[1]
    assert "alpha/good.bmp was" in first_difference(*identities)


def test_a_picture_of_the_same_name_is_said_to_be_left_out(own_data) -> None:
    for folder, name in (("cutouts", "1"), ("pairs/image", "good")):
        Image.open(own_data / folder / f"{name}.png").save(own_data / folder / f"{name}.tif")
    for name, twin in (("cutouts", "1"), ("pairs", "image/good")):
        reason = foreground_set(name, 10).left_out[f"{twin}.tif"]
        assert reason == f"{twin.rpartition('/')[2]}.png has the same name"


def test_folders_of_pictures_that_are_held_out_are_refused(own_data, make_sample, tmp_path) -> None:
    ids = {name: manifest.manifest()[name]["validation_ids"][0] for name in ("people", "backgrounds")}
    copies = ((own_data / "people", own_data / "nested" / "deep"), (own_data / "backgrounds", own_data / "places"))
    for folder in copies[0]:
        for part in ("image", "alpha"):
            (folder / part).mkdir(parents=True)
            Image.fromarray(make_sample(5)._asdict()[part]).save(folder / part / f"{ids['people']}.png")
    for folder in copies[1]:
        file = folder / f"{ids['backgrounds']}.png"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(file)
    (own_data / "link").symlink_to(own_data / "people")
    (own_data / "UGD-12k" / "eval" / "image").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(own_data / "UGD-12k" / "eval" / "image" / "1.jpg")
    for folder in (*copies[0], own_data / "link", own_data / "nested", own_data / "UGD-12k" / "eval"):
        for read in (foreground_set, mask_set):
            with pytest.raises(ValueError, match="holds out"):
                read(str(folder), 10)
    for folder in (*copies[1], own_data / "backgrounds" / "city", own_data):
        with pytest.raises(ValueError, match="holds out"):
            background_set(str(folder))


def test_identity_names_every_file(own_data) -> None:
    config = replace(own(own_data, "cutouts"), portraits=1, scenes=1)
    identity = training_data(config, 3).identity()
    (own_data / "cutouts" / "1.png").unlink()
    difference = first_difference(identity, training_data(config, 3).identity())
    assert difference.startswith("foregrounds.1 cutouts.files.1.png was")
    assert difference.endswith("now it is missing")
    assert "seed was 3, now it is 4" in first_difference(identity, training_data(config, 4).identity())
    changed = training_data(replace(config, camera=0.5), 3).identity()
    assert first_difference(training_data(config, 3).identity(), changed) == "settings.camera was 0.0, now it is 0.5"
    assert set(identity["code"]) >= {"data/dataset.py", "data/assemble.py", "regions.py", "images.py"}


def test_nobody_is_drawn_for_two_purposes() -> None:
    train, validation = (range(first, first + LARGEST) for first in SPLITS.values())
    spm = range(FIRST_SEED, FIRST_SEED + COUNT + 100)
    assert max(spm) < validation.start
    assert not {*train} & {*validation, *spm}
    assert {subject.seed for subject in subjects()} <= {*spm}
