"""How large the network sees a picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.devices import resize
from modnet_lib.images import to_tensor
from modnet_lib.inference import matter
from modnet_lib.inference.matter import MAX_PIXELS, network_size, shrink


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ((512, 512), (512, 512)),
        ((1080, 1920), (512, 896)),  # 910 is floored
        ((1920, 1080), (896, 512)),
        ((300, 300), (512, 512)),  # small pictures are enlarged
        ((256, 384), (512, 768)),
        ((2160, 3840), (512, 896)),
        ((600, 450), (672, 512)),  # 682.67
        ((1, 1), (512, 512)),
    ],
)
def test_network_size_is_the_authors_rule(picture, expected) -> None:
    assert network_size(*picture) == expected


def test_network_size_always_fits_the_network() -> None:
    rng = np.random.default_rng(0)
    cases = [(1, 12_000), (40, 12_000), (12_000, 40), (1, 100_000), (7, 3000), (32, 65_000), (2, 2)]
    cases += [tuple(int(x) for x in np.exp(rng.uniform(0, np.log(20_000), 2)).astype(int)) for _ in range(500)]
    for height, width in cases:
        for short_side in (32, 192, 512, 1024):
            h, w = network_size(height, width, short_side)
            assert h % 32 == w % 32 == 0
            assert min(h, w) >= 32
            assert h * w <= MAX_PIXELS
            assert network_size(width, height, short_side) == (w, h)
            scale = short_side / min(height, width)
            if height * width * scale**2 <= MAX_PIXELS:
                assert min(h, w) == short_side
                assert 0 <= max(height, width) * scale - max(h, w) < 32
            elif min(height, width) * math.sqrt(MAX_PIXELS / (height * width)) >= 32:
                # capped: as large as the proportion allows, each side floored
                scale = math.sqrt(MAX_PIXELS / (height * width))
                assert 0 <= height * scale - h < 32
                assert 0 <= width * scale - w < 32


def test_squashed_pictures_are_squares() -> None:
    assert network_size(300, 1200, 100, squash=True) == (96, 96)
    assert network_size(300, 1200, 10, squash=True) == (32, 32)


def test_resize_keeps_constants_and_equals_pillow() -> None:
    x = torch.rand(1, 1, 40, 60)
    assert torch.equal(resize(x, 40, 60), x)
    expected = Image.fromarray(x[0, 0].numpy()).resize((15, 10), Image.Resampling.BILINEAR)
    torch.testing.assert_close(resize(x, 10, 15)[0, 0], torch.from_numpy(np.array(expected)), rtol=0, atol=1e-5)
    torch.testing.assert_close(resize(torch.full((1, 1, 3, 5), 0.3), 64, 32), torch.full((1, 1, 64, 32), 0.3))


def test_large_pictures_shrink_block_by_block_to_the_same(monkeypatch) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (301, 203, 3), dtype=np.uint8)
    whole = resize(to_tensor(picture), 64, 96)
    monkeypatch.setattr(matter, "BLOCK", 203 * 40)
    largest = []
    monkeypatch.setattr(matter, "to_tensor", lambda x: (largest.append(x.size), to_tensor(x))[1])
    torch.testing.assert_close(shrink(picture, 64, 96), whole, rtol=0, atol=1e-6)
    assert max(largest) == 203 * 40 * 3
