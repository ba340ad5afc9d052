"""Training samples: a pure function of seed and number, in the paper's proportions, consistent with Eq. 1."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from dataclasses import replace
from functools import partial
from multiprocessing import parent_process

import cv2
import numpy as np
import pytest
import torch

from modnet_lib.baselines.blocks import matte_losses
from modnet_lib.data.assemble import assemble, collate
from modnet_lib.data.compositing import apply_colour, composite, harmony
from modnet_lib.data.dataset import CompositionDataset, Contents, staged_batches
from modnet_lib.data.workers import data_loader
from modnet_lib.network import MattingOutput
from modnet_lib.objectives import paper_objective
from modnet_lib.objectives.supervised import semantic_target
from modnet_lib.profiles import DataConfig

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


def make(source: Counting, seed: int, config: DataConfig = AUGMENTED) -> CompositionDataset:
    return CompositionDataset(source.foregrounds, source.backgrounds, seed, config)


@pytest.fixture
def dataset(source) -> CompositionDataset:
    return make(source, 5)


def equal(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_sample_depends_on_seed_and_number_only(dataset, source) -> None:
    forward = [dataset[i, 64] for i in range(50)]  # more than an epoch
    for i in (49, 3, 44, 17, 45, 0):
        assert equal(dataset[i, 64], forward[i])
    fresh = make(source, 5, replace(AUGMENTED, memory=1))
    assert equal(fresh[33, 64], forward[33])
    other = make(source, 6)
    assert not any(equal(other[i, 64], forward[i]) for i in range(10))
    assert not any(equal(forward[i], forward[i + 45]) for i in range(5))  # epochs differ


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_has_5_natural_crops_and_10_composites_of_every_foreground(source, epoch) -> None:
    natural, total = Counter(), Counter()
    dataset = make(source, 1)
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
    dataset = make(source, 0, DataConfig(natural=1, composites=3))
    assert len(dataset) == 12
    assert sum(dataset[i, 64][3] for i in range(12)) == 3


def test_some_composites_are_empty(source) -> None:
    dataset = make(source, 0, replace(AUGMENTED, empty=0.5))
    empty = {True: [], False: []}
    for i in range(90):
        sample = dataset[i, 64]
        empty[sample[3]].append(not sample[1][..., 3].any())
    assert not any(empty[True])
    assert 15 <= sum(empty[False]) <= 45  # of 60; nine standard deviations would be outside


def test_pictures_that_are_kept_are_read_once(source) -> None:
    dataset = make(source, 0, DataConfig(memory=1))
    for i in range(45):
        dataset[i, 64]
    assert set(source.read.values()) == {1}
    assert len(source.read) == 5


def test_no_more_is_kept_than_allowed(source) -> None:
    one = sum(part.nbytes for part in source.samples[0])
    dataset = make(source, 0, DataConfig(memory=2.5 * one / 2**30))
    for i in range(45):
        dataset[i, 64]
    kept = sum(part.nbytes for value in dataset.kept.values() for part in value if torch.is_tensor(part))
    assert 0 < dataset.kept_bytes <= 2.5 * one
    assert kept == dataset.kept_bytes
    assert max(source.read.values()) > 1  # the rest is read again
    again = make(source, 0, DataConfig())
    assert equal(dataset[7, 64], again[7, 64])
    assert not again.kept


def test_nothing_to_compose_is_refused(source) -> None:
    with pytest.raises(ValueError, match="0 foregrounds and 2 backgrounds"):
        CompositionDataset([], source.backgrounds, 0)
    with pytest.raises(ValueError, match="3 foregrounds and 0 backgrounds"):
        CompositionDataset(source.foregrounds, [], 0)


def test_sampler_continues_where_it_is_told() -> None:
    stages = [(64, 3, 4), (96, 2, 3)]
    whole = list(staged_batches(stages))
    assert [n for batch in whole for n, _ in batch] == list(range(3 * 4 + 2 * 3))
    assert [(len(batch), batch[0][1]) for batch in whole] == [(3, 64)] * 4 + [(2, 96)] * 3
    for start in range(8):
        assert list(staged_batches(stages, start)) == whole[start:]


def test_batches_do_not_depend_on_the_number_of_workers(source) -> None:
    stages, dataset = [(64, 3, 3), (96, 2, 2)], make(source, 5, replace(AUGMENTED, memory=1, camera=0.5))
    alone = list(data_loader(dataset, staged_batches(stages), collate))
    two = list(data_loader(dataset, staged_batches(stages, 1), collate, workers=2))
    assert len(alone) == 5
    assert len(two) == 4
    for first, second in zip(alone[1:], two, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Telling:
    """What a process says of itself."""

    def __getitem__(self, key: int) -> tuple[int, int, bool]:
        return torch.get_num_threads(), cv2.getNumThreads(), parent_process() is not None


def test_processes_that_read_have_one_thread_and_are_not_forked(monkeypatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("OpenMP does not survive this"))
    found = list(data_loader(Telling(), [[0], [1]], list, workers=2, pin=False))
    assert found == [[(1, 1, True)]] * 2


def test_a_workers_copy_begins_without_pictures(source) -> None:
    dataset = make(source, 0, DataConfig(memory=1))
    expected = [dataset[i, 64] for i in range(45)]
    assert len(dataset.kept) == 5
    copied = pickle.loads(pickle.dumps(dataset))
    assert (copied.kept, copied.kept_bytes) == ({}, 0)
    assert equal(copied[7, 64], expected[7])


def test_assembled_batches_are_in_range_and_consistent(dataset) -> None:
    for raw in data_loader(dataset, staged_batches([(64, 15, 3)]), collate):
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
    both = make(source, 3, replace(AUGMENTED, harmonise=0.5)), make(source, 3)
    raw, without = (collate([data[i, 64] for i in range(45)]) for data in both)
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


@pytest.mark.parametrize("way", ["flip", "turned"])
def test_flips_and_turns_move_all_parts_together(make_sample, way) -> None:
    # a picture whose left half is the person, and whose colours say so
    from modnet_lib.data.pseudo_mattes import MattingSample

    alpha = np.zeros((96, 96), np.uint8)
    alpha[:, :48] = 255
    red, blue = np.full((96, 96, 3), (255, 0, 0), np.uint8), np.full((96, 96, 3), (0, 0, 255), np.uint8)
    image = np.where(alpha[..., None] > 0, red, blue)
    dataset = CompositionDataset(
        [lambda: MattingSample(image, alpha, red, blue)], [lambda: blue], 0, DataConfig(composites=0, **{way: 0.5})
    )
    sides = set()
    for i in range(40):
        (crop_image,), cutout = dataset[i, 64][:2]
        crop_alpha = cutout[..., 3].numpy()
        agreement = (crop_image[..., 0].numpy() > 127) == (crop_alpha > 127)
        assert agreement.mean() > 0.98
        if crop_alpha[:, 0].all() != crop_alpha[:, -1].all():
            sides.add(bool(crop_alpha[:, 0].all()))
    assert sides == {True, False}


def test_shares_decide_how_often_each_set_is_sampled(make_sample) -> None:
    read = Counter()

    def reader(name):
        return lambda: read.update([name]) or make_sample(0)

    sets = [
        Contents(name, "", [reader(name)] * count, {}, {}) for name, count in (("few", 1), ("many", 8), ("none", 2))
    ]
    config = DataConfig(natural=1, composites=0, shares={"few": 0.6, "many": 0.4, "none": 0.0})
    dataset = CompositionDataset(sets, [], 0, config)
    numbers = range(10 * len(dataset))
    for number in numbers:
        dataset[number, 64]
    assert read["few"] / len(numbers) == pytest.approx(0.6, abs=0.06)
    assert read["many"] / len(numbers) == pytest.approx(0.4, abs=0.06)
    assert not read["none"]
    for named, known in ((sets, "few, many, none"), ([sets[0], sets[0]], "few, few")):
        with pytest.raises(ValueError, match=f"shares names few; the sets are {known}"):
            CompositionDataset(named, [], 0, replace(config, shares={"few": 1.0}))


def test_the_compositional_loss_is_zero_at_the_truth_under_every_augmentation(source) -> None:
    hard = {"distractors": 1.0, "changes": 1.0, "graded": 0.5, "turned": 0.5}
    every = replace(AUGMENTED, camera=1.0, harmonise=1.0, defocus=1.0, empty=0.2, **hard)
    single = dict.fromkeys(("camera", "harmonise", "defocus", "colour", "flip", "empty"), 1.0) | hard
    alone = (DataConfig(**{name: share}) for name, share in single.items())
    for config in (DataConfig(), AUGMENTED, every, *alone):
        dataset = make(source, 2, config)
        batch = assemble(collate([dataset[number, 64] for number in range(30)]))
        output = MattingOutput(semantic_target(batch.true_alpha), batch.true_alpha, batch.true_alpha)
        losses = paper_objective(output, batch)
        assert float(losses.matte) < 1e-6, config
        assert float(matte_losses(batch.true_alpha, batch)["composition"]) < 1e-6
