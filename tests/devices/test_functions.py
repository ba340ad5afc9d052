"""Functions of tensors compute where their arguments are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from second_device import batch, check, fake, second_device

from modnet_lib import images, regions
from modnet_lib.baselines import indexnet, lfm, shm
from modnet_lib.data import compositing, trimaps
from modnet_lib.inference import matter
from modnet_lib.network import MattingOutput, layers
from modnet_lib.notebook import figures
from modnet_lib.objectives import consistency, supervised
from modnet_lib.training import frames


def output(size: int = 64) -> MattingOutput:
    return MattingOutput(fake(2, 1, size // 16, size // 16), fake(2, 1, size, size), fake(2, 1, size, size))


def picture(*shape: int) -> torch.Tensor:
    return fake(*shape, dtype=torch.uint8)


def alpha() -> torch.Tensor:
    return fake(2, 1, 64, 64)


def colour() -> torch.Tensor:
    return fake(2, 3, 64, 64)


CASES: dict[Callable, Callable[[], Any]] = {
    supervised.paper_objective: lambda: supervised.paper_objective(output(), batch()),
    supervised.segmentation_objective: lambda: supervised.segmentation_objective(output(), batch()),
    supervised.semantic_target: lambda: supervised.semantic_target(alpha()),
    supervised.semantic_loss: lambda: supervised.semantic_loss(fake(2, 1, 4, 4), alpha()),
    supervised.detail_loss: lambda: supervised.detail_loss(alpha(), alpha(), alpha()),
    supervised.matte_loss: lambda: supervised.matte_loss(alpha(), batch()),
    consistency.paper_consistency: lambda: consistency.paper_consistency(output(), output()),
    consistency.released_consistency: lambda: consistency.released_consistency(output(), output()),
    consistency.disagreement: lambda: consistency.disagreement(fake(2, 1, 4, 4), alpha()),
    regions.dilate: lambda: [regions.dilate(mask, 5) for mask in (alpha(), alpha() > 0)],
    regions.grow: lambda: [regions.grow(alpha(), size) for size in (3, (3, 5))],
    regions.transition_region: lambda: regions.transition_region(alpha(), maybe=0.1),
    trimaps.trimap_from_alpha: lambda: [trimaps.trimap_from_alpha(alpha(), size) for size in (3, (3, 5))],
    compositing.composite: lambda: compositing.composite(colour(), colour(), alpha()),
    compositing.harmony: lambda: compositing.harmony(colour(), colour(), alpha(), fake(2)),
    compositing.apply_colour: lambda: compositing.apply_colour(colour(), fake(2, 3, 4)),
    compositing.chain: lambda: compositing.chain(fake(2, 3, 4), fake(2, 3, 4)),
    layers.upsample: lambda: layers.upsample(alpha(), 2),
    layers.concat: lambda: layers.concat(alpha(), colour()),
    indexnet.index_pool: lambda: indexnet.index_pool(alpha(), alpha()),
    indexnet.index_unpool: lambda: indexnet.index_unpool(alpha(), fake(2, 1, 128, 128)),
    shm.fuse: lambda: shm.fuse(fake(2, 3, 8, 8), fake(2, 1, 8, 8)),
    lfm.fuse: lambda: lfm.fuse(alpha(), alpha(), alpha()),
    matter.resize: lambda: matter.resize(colour(), 50, 90),
    frames.by_size: lambda: frames.by_size([colour(), colour(), fake(1, 3, 32, 32)]),
}


@pytest.mark.parametrize("function", CASES, ids=lambda function: f"{function.__module__}.{function.__name__}")
def test_functions(function) -> None:
    with second_device():
        check(CASES[function]())


def test_figures_show_tensors_of_any_device(read) -> None:
    image, matte = fake(3, 20, 10), fake(1, 1, 20, 10)
    with second_device():
        figure = figures.image_row([image, matte, picture(3, 20, 10)], ["I", "alpha", "bytes"])
        made = (
            figures.checkerboard(image, matte),
            figures.error_map(matte, matte),
            figures.over_colour(image, matte, "green"),
            figures.tint_trimap(image, matte),
            images.to_array(image),
        )
        window = figures.finest(matte, 8)
    plt.close(figure)
    assert read
    assert all(one.shape == (20, 10, 3) for one in made)
    assert [one.stop - one.start for one in window] == [8, 8]
