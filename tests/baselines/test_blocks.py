"""Decoders at odd sizes, and parts of losses against loops."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from modnet_lib.baselines.blocks import PyramidDecoder, UNet, charbonnier, keep_known, matte_losses
from modnet_lib.network.backbones import REDUCTIONS


def test_decoder_and_unet_keep_sizes_that_do_not_halve_evenly() -> None:
    channels = [4, 6, 8, 10, 12]
    maps = [torch.rand(1, c, -(-80 // r), -(-48 // r)) for c, r in zip(channels, REDUCTIONS, strict=True)]
    decoder = PyramidDecoder(channels, (8, 8, 8, 8, 8, 5))
    assert decoder(maps, torch.rand(1, 3, 80, 48)).shape == (1, 5, 80, 48)
    assert UNet(4, (4, 8, 8))(torch.rand(2, 4, 50, 70)).shape == (2, 1, 50, 70)


def test_matte_losses_are_means_over_a_region() -> None:
    alpha, truth, region = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4), torch.randint(0, 2, (2, 1, 4, 4)).float()
    colours = {name: torch.rand(2, 3, 4, 4) for name in ("foreground", "background")}
    batch = SimpleNamespace(true_alpha=truth, **colours)
    losses = matte_losses(alpha, batch, region=region)
    places = [(n, i, j) for n in range(2) for i in range(4) for j in range(4) if region[n, 0, i, j]]
    expected = [float(abs(alpha[n, 0, i, j] - truth[n, 0, i, j])) for n, i, j in places]
    assert losses["alpha"].item() == pytest.approx(0.5 * sum(expected) / len(places), abs=1e-6)
    apart = colours["foreground"] - colours["background"]
    expected = [
        float(abs((alpha[n, 0, i, j] - truth[n, 0, i, j]) * apart[n, c, i, j])) for n, i, j in places for c in range(3)
    ]
    assert losses["composition"].item() == pytest.approx(0.5 * sum(expected) / len(expected), abs=1e-6)
    assert not any(matte_losses(alpha, batch, region=torch.zeros_like(region)).values())
    assert charbonnier(torch.tensor(3.0), 4.0).item() == pytest.approx(5)


def test_what_the_trimap_is_sure_of_is_kept() -> None:
    alpha, trimap = torch.full((1, 1, 1, 3), 0.3), torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
    assert keep_known(alpha, trimap).flatten().tolist() == pytest.approx([0, 0.3, 1])
