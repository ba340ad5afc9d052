"""Training samples: a pure function of seed and number, in the paper's proportions, consistent with Eq. 1."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from drawn_set import LARGEST, SPLITS, write_portraits, write_scenes
from drawn_spm import COUNT, FIRST_SEED, subjects
from modnet_lib import paths
from modnet_lib.baselines.blocks import composition_error
from modnet_lib.data import loaders, pseudo_mattes, sources
from modnet_lib.data.compositing import apply_colour, composite, harmony
from modnet_lib.data.loaders import (
    CompositionDataset,
    Contents,
    StagedSampler,
    assemble,
    collate,
    drawn_people,
    drawn_scenes,
    foreground_set,
    mask_data,
    training_data,
    training_loader,
)
from modnet_lib.data.pseudo_mattes import fuse
from modnet_lib.objectives.supervised import matte_loss
from modnet_lib.profiles import DataConfig
from modnet_lib.provenance import first_difference

AUGMENTED = DataConfig(framing="person", flip=0.5, colour=1.0, empty=0.02, defocus=0.35)


class Counting:
    """Foregrounds and backgrounds that know how often they were read."""

    def __init__(self, make_sample, foregrounds: int = 3, backgrounds: int = 2):
        self.read: Counter = Counter()
        self.samples = [make_sample(i) for i in range(foregrounds)]
        self.foregrounds = [partial(self.foreground, i) for i in range(foregrounds)]
        self.backgrounds = [partial(self.background, i) for i in range(backgrounds)]

    def foreground(self, i: int):
        self.read["foreground", i] += 1
        return self.samples[i]

    def background(self, i: int):
        self.read["background", i] += 1
        return np.full((80, 100, 3), 60 + 100 * i, np.uint8)


@pytest.fixture
def source(make_sample) -> Counting:
    return Counting(make_sample)


@pytest.fixture
def dataset(source) -> CompositionDataset:
    return CompositionDataset(source.foregrounds, source.backgrounds, 5, AUGMENTED)


def equal(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_sample_depends_on_seed_and_number_only(dataset, source) -> None:
    forward = [dataset[i, 64] for i in range(50)]  # more than an epoch
    for i in (49, 3, 44, 17, 45, 0):
        assert equal(dataset[i, 64], forward[i])
    fresh = CompositionDataset(source.foregrounds, source.backgrounds, 5, replace(AUGMENTED, memory=1))
    assert equal(fresh[33, 64], forward[33])
    other = CompositionDataset(source.foregrounds, source.backgrounds, 6, AUGMENTED)
    assert not any(equal(other[i, 64], forward[i]) for i in range(10))
    assert not any(equal(forward[i], forward[i + 45]) for i in range(5))  # epochs differ


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_has_5_natural_crops_and_10_composites_of_every_foreground(source, epoch) -> None:
    natural, total = Counter(), Counter()
    dataset = CompositionDataset(source.foregrounds, source.backgrounds, 1, AUGMENTED)
    assert len(dataset) == 45
    for number in range(45 * epoch, 45 * (epoch + 1)):
        source.read.clear()
        is_natural = dataset[number, 64][3]
        ((_, which),) = [key for key in source.read if key[0] == "foreground"]
        total[which] += 1
        natural[which] += is_natural
        assert any(key[0] == "background" for key in source.read) != is_natural
    assert total == {0: 15, 1: 15, 2: 15}
    assert natural == {0: 5, 1: 5, 2: 5}


def test_other_proportions_can_be_asked_for(source) -> None:
    dataset = CompositionDataset(
        source.foregrounds, source.backgrounds, 0, DataConfig(natural=1, composites=3)
    )
    assert len(dataset) == 12
    assert sum(dataset[i, 64][3] for i in range(12)) == 3


def test_some_composites_are_empty(source) -> None:
    dataset = CompositionDataset(source.foregrounds, source.backgrounds, 0, replace(AUGMENTED, empty=0.5))
    empty = {True: [], False: []}
    for i in range(90):
        sample = dataset[i, 64]
        empty[sample[3]].append(not sample[1][..., 3].any())
    assert not any(empty[True])
    assert 15 <= sum(empty[False]) <= 45  # of 60; nine standard deviations would be outside


def test_pictures_that_are_kept_are_read_once(source) -> None:
    dataset = CompositionDataset(source.foregrounds, source.backgrounds, 0, DataConfig(memory=1))
    for i in range(45):
        dataset[i, 64]
    assert set(source.read.values()) == {1}
    assert len(source.read) == 5


def test_no_more_is_kept_than_allowed(source) -> None:
    one = sum(part.nbytes for part in source.samples[0])
    dataset = CompositionDataset(
        source.foregrounds, source.backgrounds, 0, DataConfig(memory=2.5 * one / 2**30)
    )
    for i in range(45):
        dataset[i, 64]
    kept = sum(part.nbytes for value in dataset.kept.values() for part in value if torch.is_tensor(part))
    assert 0 < dataset.kept_bytes <= 2.5 * one
    assert kept == dataset.kept_bytes
    assert max(source.read.values()) > 1  # the rest is read again
    again = CompositionDataset(source.foregrounds, source.backgrounds, 0)
    assert equal(dataset[7, 64], again[7, 64])
    assert not again.kept


def test_nothing_to_compose_is_refused(source) -> None:
    with pytest.raises(ValueError, match="0 foregrounds and 2 backgrounds"):
        CompositionDataset([], source.backgrounds, 0)
    with pytest.raises(ValueError, match="3 foregrounds and 0 backgrounds"):
        CompositionDataset(source.foregrounds, [], 0)


def test_sampler_continues_where_it_is_told() -> None:
    stages = [(64, 3, 4), (96, 2, 3)]
    whole = list(StagedSampler(stages))
    assert [n for batch in whole for n, _ in batch] == list(range(3 * 4 + 2 * 3))
    assert [(len(batch), batch[0][1]) for batch in whole] == [(3, 64)] * 4 + [(2, 96)] * 3
    for start in range(8):
        sampler = StagedSampler(stages, start)
        assert list(sampler) == whole[start:]
        assert len(sampler) == len(whole) - start


def test_batches_do_not_depend_on_the_number_of_workers(dataset) -> None:
    stages = [(64, 3, 3), (96, 2, 2)]
    alone = list(training_loader(dataset, stages))
    two = list(training_loader(dataset, stages, start=1, workers=2))
    assert len(alone) == 5
    assert len(two) == 4
    for first, second in zip(alone[1:], two, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_assembled_batches_are_in_range_and_consistent(dataset) -> None:
    for raw in training_loader(dataset, [(64, 15, 3)]):
        batch = assemble(raw)
        assert batch.image.shape == batch.foreground.shape == batch.background.shape == (15, 3, 64, 64)
        assert batch.true_alpha.shape == batch.trimap.shape == (15, 1, 64, 64)
        for part in batch:
            assert part.dtype == torch.float32
            assert part.min() >= 0
            assert part.max() <= 1
        assert set(batch.trimap.unique().tolist()) == {0, 0.5, 1}
        soft = (batch.true_alpha > 0) & (batch.true_alpha < 0.9)
        assert (batch.trimap[soft] == 0.5).all()
        torch.testing.assert_close(batch.true_alpha[:, 0], raw.cutout[..., 3].float() / 255)
        assert raw.natural.any()
        assert not raw.natural.all()


def test_composites_obey_eq_1_and_natural_crops_are_the_photograph(dataset) -> None:
    raw = collate([dataset[i, 64] for i in range(45)])
    batch = assemble(raw)
    composed = composite(batch.foreground, batch.background, batch.true_alpha)
    made = ~raw.natural
    torch.testing.assert_close(batch.image[made], composed[made], rtol=0, atol=1e-6)
    photographs = apply_colour(raw.image.permute(0, 3, 1, 2) / 255, raw.colours[raw.natural, 0])
    torch.testing.assert_close(batch.image[raw.natural], photographs, rtol=0, atol=1e-5)
    # F and B of natural crops change as I does, else Eq. 1 would not give the photograph back
    assert torch.equal(raw.colours[raw.natural, 0], raw.colours[raw.natural, 1])
    assert (composed[raw.natural] - batch.image[raw.natural]).abs().mean() < 0.02
    assert not torch.allclose(raw.colours[made, 0], raw.colours[made, 1], atol=1e-2)
    assert len(raw.image) == 15


def test_only_some_composites_are_harmonised_and_eq_1_still_holds(source) -> None:
    dataset = CompositionDataset(source.foregrounds, source.backgrounds, 3, replace(AUGMENTED, harmonise=0.5))
    plain = CompositionDataset(source.foregrounds, source.backgrounds, 3, AUGMENTED)
    raw, without = (collate([data[i, 64] for i in range(45)]) for data in (dataset, plain))
    moved = raw.harmony > 0
    assert not without.harmony.any()
    assert not (moved & raw.natural).any()
    assert 8 <= int(moved.sum()) <= 24  # of 30
    batch, reference = assemble(raw), assemble(without)
    composed = composite(batch.foreground, batch.background, batch.true_alpha)
    torch.testing.assert_close(batch.image[~raw.natural], composed[~raw.natural], rtol=0, atol=1e-6)
    same = ~moved & (raw.colours == without.colours).flatten(1).all(1)
    assert same.sum() > 5
    torch.testing.assert_close(batch.image[same], reference.image[same])
    first = int(moved.nonzero()[0])
    foreground, background, alpha = (
        part[first : first + 1].permute(0, 3, 1, 2) / 255
        for part in (raw.cutout[..., :3], raw.background, raw.cutout[..., 3:])
    )
    maps = harmony(foreground, background, alpha, raw.harmony[first : first + 1])
    # the jitter comes after: it is the camera that sees both
    expected = apply_colour(foreground, maps)
    if expected.min() > 0 and expected.max() < 1:
        expected = apply_colour(expected, raw.colours[first : first + 1, 0])
        torch.testing.assert_close(batch.foreground[first : first + 1], expected, rtol=0, atol=1e-4)


def test_each_picture_gets_a_trimap_of_its_own_width(dataset) -> None:
    from modnet_lib.data.trimaps import trimap_from_alpha

    raw = collate([dataset[i, 64] for i in range(8)])
    raw = raw._replace(band=torch.tensor([3, 4, 3, 9, 4, 11, 3, 5]))
    batch = assemble(raw)
    for i in range(8):
        expected = trimap_from_alpha(batch.true_alpha[i : i + 1], int(raw.band[i]))
        assert torch.equal(batch.trimap[i : i + 1], expected)


@pytest.mark.parametrize("way", ["flip", "turned"])
def test_flips_and_turns_move_all_parts_together(make_sample, way) -> None:
    # a picture whose left half is the person, and whose colours say so
    from modnet_lib.data.pseudo_mattes import MattingSample

    alpha = np.zeros((96, 96), np.uint8)
    alpha[:, :48] = 255
    red, blue = np.full((96, 96, 3), (255, 0, 0), np.uint8), np.full((96, 96, 3), (0, 0, 255), np.uint8)
    image = np.where(alpha[..., None] > 0, red, blue)
    dataset = CompositionDataset(
        [lambda: MattingSample(image, alpha, red, blue)],
        [lambda: blue],
        0,
        DataConfig(composites=0, **{way: 0.5}),
    )
    sides = set()
    for i in range(40):
        crop_image, cutout = dataset[i, 64][:2]
        crop_alpha = cutout[..., 3].numpy()
        agreement = (crop_image[..., 0].numpy() > 127) == (crop_alpha > 127)
        assert agreement.mean() > 0.98
        if crop_alpha[:, 0].all() != crop_alpha[:, -1].all():
            sides.add(bool(crop_alpha[:, 0].all()))
    assert sides == {True, False}


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
    with pytest.raises(
        FileNotFoundError, match=r"24 of the 25 .*drawn_people portraits 25 \$MODNET_DATA/drawn"
    ):
        drawn_people(25)
    folder = without_data / "drawn"
    folder.mkdir()
    monkeypatch.setenv("MODNET_DATA", str(without_data))
    with pytest.raises(FileNotFoundError, match=f"0 of the 9 .* portraits 9 {folder} --split validation"):
        drawn_people(9, "validation")
    with pytest.raises(
        FileNotFoundError, match=f"0 of the 25 .*run python data/drawn_people scenes 25 {folder}$"
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
    batch = assemble(next(iter(training_loader(dataset, [(64, 4, 1)]))))
    assert batch.image.shape == (4, 3, 64, 64)
    assert not paths.CACHE.exists()


def test_a_set_that_is_absent_is_an_error_and_never_drawn_people(monkeypatch, tmp_path, without_data) -> None:
    for config in (
        DataConfig(real=True, portraits=1, scenes=1),
        DataConfig(real=True, foregrounds=("people",)),
    ):
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


def test_custom_cutouts_and_pairs_are_trained_on_and_failures_are_named(own_data, make_sample) -> None:
    config = DataConfig(
        real=True,
        foregrounds=("cutouts", "pairs"),
        backgrounds=(str(own_data / "scenes"),),
        portraits=0,
        scenes=0,
    )
    dataset = training_data(config, seed=0)
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
    config = DataConfig(
        real=True, foregrounds=("pairs",), backgrounds=(str(own_data / "scenes"),), portraits=0, scenes=0
    )
    first = training_data(config, 0)
    before = first.foreground(0).cutout
    matte = own_data / "pairs" / "alpha" / "good.png"
    Image.fromarray(255 - make_sample(5).alpha).save(matte)
    second = training_data(config, 0)
    assert not torch.equal(second.foreground(0).cutout, before)
    assert first.identity()["code"] == second.identity()["code"]


def test_what_other_code_prepared_is_not_used(own_data, monkeypatch) -> None:
    folder = pseudo_mattes.prepared_folder("pairs")
    loaders.foreground_set("pairs", 10)
    before = set(folder.iterdir())
    loaders.foreground_set("pairs", 10)
    assert set(folder.iterdir()) == before
    monkeypatch.setattr(pseudo_mattes, "_code", lambda: {"images.py": "other"})
    item = sources.training_items("pairs")[2][1]
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
    config = DataConfig(real=True, foregrounds=("ccp",), backgrounds=(str(own_data / "scenes"),), portraits=0)
    plain, taught = (training_data(replace(config, teacher=on, scenes=0), 0) for on in (False, True))
    np.testing.assert_array_equal(taught.foreground(0).cutout[..., 3], fuse(sample.alpha, mask))
    assert not torch.equal(plain.foreground(0).cutout, taught.foreground(0).cutout)
    assert "foregrounds.0 ccp.files.0002.png is new" in first_difference(
        plain.identity() | {"settings": 0}, taught.identity() | {"settings": 0}
    )


def test_a_file_of_the_same_size_is_another_run(own_data, make_sample) -> None:
    matte = own_data / "pairs" / "alpha" / "good.bmp"
    (own_data / "pairs" / "alpha" / "good.png").unlink()
    config = DataConfig(
        real=True, foregrounds=("pairs",), backgrounds=(str(own_data / "scenes"),), portraits=0, scenes=0
    )
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
        reason = loaders.foreground_set(name, 10).left_out[f"{twin}.tif"]
        assert reason == f"{twin.rpartition('/')[2]}.png has the same name"


def test_folders_of_pictures_that_are_held_out_are_refused(own_data, make_sample, tmp_path) -> None:
    ids = {name: sources.manifest()[name]["validation_ids"][0] for name in ("people", "backgrounds")}
    copies = (
        (own_data / "people", own_data / "nested" / "deep"),
        (own_data / "backgrounds", own_data / "places"),
    )
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
        for read in (loaders.foreground_set, loaders.mask_set):
            with pytest.raises(ValueError, match="holds out"):
                read(str(folder), 10)
    for folder in (*copies[1], own_data / "backgrounds" / "city", own_data):
        with pytest.raises(ValueError, match="holds out"):
            loaders.background_set(str(folder))


def test_a_set_that_is_named_twice_has_no_share(source) -> None:
    part = Contents("one", "all", source.foregrounds, {}, {})
    with pytest.raises(ValueError, match="the sets are one, one"):
        CompositionDataset([part, part], source.backgrounds, 0, DataConfig(shares={"one": 1.0}))


def test_identity_names_every_file(own_data) -> None:
    config = DataConfig(
        real=True, foregrounds=("cutouts",), portraits=1, scenes=1, backgrounds=("pairs_scenes",)
    )
    config = replace(config, backgrounds=(str(own_data / "scenes"),))
    identity = training_data(config, 3).identity()
    (own_data / "cutouts" / "1.png").unlink()
    difference = first_difference(identity, training_data(config, 3).identity())
    assert difference.startswith("foregrounds.1 cutouts.files.1.png was")
    assert difference.endswith("now it is missing")
    assert "seed was 3, now it is 4" in first_difference(identity, training_data(config, 4).identity())
    changed = training_data(replace(config, camera=0.5), 3).identity()
    assert (
        first_difference(training_data(config, 3).identity(), changed)
        == "settings.camera was 0.0, now it is 0.5"
    )
    assert set(identity["code"]) >= {"data/loaders.py", "data/compositing.py", "data/cameras.py", "images.py"}


def test_shares_decide_how_often_each_set_is_sampled(make_sample) -> None:
    read = Counter()

    def reader(name):
        return lambda: read.update([name]) or make_sample(0)

    sets = [
        Contents(name, "", [reader(name)] * count, {}, {})
        for name, count in (("few", 1), ("many", 8), ("none", 2))
    ]
    config = DataConfig(natural=1, composites=0, shares={"few": 0.6, "many": 0.4, "none": 0.0})
    dataset = CompositionDataset(sets, [], 0, config)
    numbers = range(10 * len(dataset))
    for number in numbers:
        dataset[number, 64]
    assert read["few"] / len(numbers) == pytest.approx(0.6, abs=0.06)
    assert read["many"] / len(numbers) == pytest.approx(0.4, abs=0.06)
    assert not read["none"]
    with pytest.raises(ValueError, match="shares names few"):
        CompositionDataset(sets, [], 0, replace(config, shares={"few": 1.0}))


def test_the_compositional_loss_is_zero_at_the_truth_under_every_augmentation(source) -> None:
    hard = {"distractors": 1.0, "changes": 1.0, "graded": 0.5, "turned": 0.5}
    every = replace(AUGMENTED, camera=1.0, harmonise=1.0, defocus=1.0, empty=0.2, **hard)
    single = (
        {"camera": 1.0},
        {"harmonise": 1.0},
        {"defocus": 1.0},
        {"colour": 1.0},
        {"flip": 1.0},
        {"empty": 1.0},
        *({name: share} for name, share in hard.items()),
    )
    for config in (DataConfig(), AUGMENTED, every, *(DataConfig(**one) for one in single)):
        dataset = CompositionDataset(source.foregrounds, source.backgrounds, 2, config)
        batch = assemble(collate([dataset[number, 64] for number in range(30)]))
        assert float(matte_loss(batch.true_alpha, batch)) < 1e-6, config
        assert float(composition_error(batch.true_alpha, batch).abs().max()) < 1e-6


def test_nobody_is_drawn_for_two_purposes() -> None:
    train, validation = (range(first, first + LARGEST) for first in SPLITS.values())
    spm = range(FIRST_SEED, FIRST_SEED + COUNT + 100)
    assert max(spm) < validation.start
    assert not {*train} & {*validation, *spm}
    assert {subject.seed for subject in subjects()} <= {*spm}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_samples(source) -> None:
    both = [
        CompositionDataset(
            source.foregrounds, source.backgrounds, 5, replace(AUGMENTED, harmonise=0.5, memory=1), device
        )
        for device in ("cpu", "cuda")
    ]
    for raw, on_gpu in zip(*(training_loader(d, [(64, 15, 3)], workers=2) for d in both), strict=True):
        assert on_gpu.cutout.is_cuda
        for mine, theirs in zip(assemble(raw), assemble(on_gpu, "cuda"), strict=True):
            assert (mine - theirs.cpu()).abs().mean() < 1 / 255
            assert (mine - theirs.cpu()).abs().median() < 1e-3
