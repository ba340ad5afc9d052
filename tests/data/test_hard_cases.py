"""Distractors enter the background only; what a person holds enters F and alpha together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modnet_lib.data import hard_cases
from modnet_lib.data.compositing import Foreground
from modnet_lib.data.dataset import CompositionDataset
from modnet_lib.data.hard_cases import CHANGES, DISTRACTORS, add_distractors, change_person
from modnet_lib.profiles import DataConfig

SIZE = 128
RED, GREEN, BLUE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


@pytest.fixture
def someone(make_sample) -> Foreground:
    """Somebody whose F is red throughout."""
    sample = make_sample(0)
    return Foreground.of(sample._replace(foreground=np.full_like(sample.foreground, RED)))


@pytest.fixture
def scene() -> torch.Tensor:
    return torch.tensor(BLUE, dtype=torch.uint8).expand(SIZE, SIZE, 3).clone()


@pytest.fixture
def cutout() -> torch.Tensor:
    """A green disc."""
    rows, columns = torch.meshgrid(*[torch.arange(SIZE) - SIZE / 2] * 2, indexing="ij")
    alpha = (torch.hypot(rows, columns) < SIZE / 3).byte()[..., None] * 255
    return torch.cat([torch.tensor(GREEN, dtype=torch.uint8).expand(SIZE, SIZE, 3), alpha], 2)


def only(kinds: dict[str, float], kind: str) -> dict[str, float]:
    return {name: float(name == kind) for name in kinds}


@pytest.mark.parametrize("kind", DISTRACTORS)
def test_every_distractor_covers_a_part_of_the_scene_and_repeats(kind, scene, someone, monkeypatch) -> None:
    monkeypatch.setattr(hard_cases, "DISTRACTORS", only(DISTRACTORS, kind))
    covered = []
    for seed in range(20):
        first, again = (add_distractors(scene, lambda: someone, np.random.default_rng(seed)) for _ in range(2))
        assert torch.equal(first, again)
        covered.append(float((first != scene).any(2).float().mean()))
    assert 0.01 < np.mean(covered) < 0.5
    assert torch.equal(scene[0, 0], torch.tensor(BLUE, dtype=torch.uint8)), "the scene itself stays as it is"


def test_small_people_are_only_distractors_beside_a_portrait(scene, someone, monkeypatch) -> None:
    monkeypatch.setattr(hard_cases, "DISTRACTORS", only(DISTRACTORS, "person"))

    def is_red(picture) -> bool:
        return bool(((picture[..., 0] > 250) & (picture[..., 1] < 5) & (picture[..., 2] < 5)).any())

    def is_framed(picture) -> bool:  # posters have a surface of one colour, neither red nor blue
        return bool(((picture[..., 1] > 5) & (picture != scene).any(2)).any())

    for seed in range(10):
        beside = add_distractors(scene, lambda: someone, np.random.default_rng(seed))
        alone = add_distractors(scene, lambda: someone, np.random.default_rng(seed), empty=True)
        assert is_red(beside)
        assert not is_framed(beside)
        assert is_framed(alone)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_person_stays_where_they_are(kind, cutout, monkeypatch) -> None:
    monkeypatch.setattr(hard_cases, "CHANGES", only(CHANGES, kind))
    texture = torch.tensor(RED, dtype=torch.uint8).expand(SIZE, SIZE, 3)
    noisy = cutout.clone()
    noisy[..., :3] = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8))
    grown = []
    for seed in range(40):
        changed = change_person(noisy, texture, np.random.default_rng(seed))
        assert bool((changed[..., 3] >= cutout[..., 3]).all()), "nothing of the person is lost"
        more = changed[..., 3] > cutout[..., 3]
        grown.append(bool(more.any()))
        where = (changed[..., :3] != noisy[..., :3]).any(2)
        if kind == "object":
            assert bool(where[more].float().mean() > 0.9) if more.any() else True, "F follows alpha"
        assert where.float().mean() < 0.7
    assert any(grown) == (kind == "object")


def test_what_is_held_touches_the_person(cutout, monkeypatch) -> None:
    from scipy.ndimage import label

    monkeypatch.setattr(hard_cases, "CHANGES", only(CHANGES, "object"))
    for seed in range(60):
        changed = change_person(cutout, cutout[..., :3], np.random.default_rng(seed))
        assert label(changed[..., 3].numpy() > 127)[1] == 1


@pytest.fixture
def composites(make_sample):
    """Samples of a dataset of composites."""

    def make(number: int, **shares: float) -> list[tuple]:
        config = DataConfig(natural=0, composites=1, **shares)
        scene = np.full((80, 100, 3), 90, np.uint8)
        dataset = CompositionDataset([lambda: make_sample(0)], [lambda: scene], 5, config)
        return [dataset[each, 64] for each in range(number)]

    return make


def test_distractors_and_changes_are_asked_for_by_share(composites) -> None:
    plain = composites(120)
    for name, part, share in (("distractors", 2, 0.3), ("changes", 1, 0.4)):
        pairs = zip(plain, composites(120, **{name: share}), strict=True)
        changed = np.mean([not torch.equal(a[part], b[part]) for a, b in pairs])
        assert share - 0.15 < changed < share + 0.1, "a few changes lie outside of the frame"


def test_graded_pictures_are_grey_or_keep_one_map_for_both(composites) -> None:
    colours = [sample[4] for sample in composites(60, graded=1.0)]
    grey = [np.allclose(maps[0, 0], maps[0, 1]) and np.allclose(maps[0, 1], maps[0, 2]) for maps in colours]
    assert 0.4 < np.mean(grey) < 0.8  # half by intention, and some of the strong grades have no saturation
    for maps in colours:
        np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)
