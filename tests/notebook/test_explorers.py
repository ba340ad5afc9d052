"""The small widgets against closed forms and slow versions."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.inference.video import one_frame_delay
from modnet_lib.network.layers import EfficientASPP
from modnet_lib.notebook.figures import describe
from modnet_lib.notebook.widgets import OFDTimeline, ReceptiveFieldExplorer, TrimapSlider


def decode(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_live_taps_are_where_gradients_arrive():
    """The cells that the explorer colours are those that the module's output depends on."""
    explorer = ReceptiveFieldExplorer((1, 3, 7))
    explorer.side.value, explorer.row.value, explorer.column.value = 12, 2, 9
    module = EfficientASPP(16, dilations=(1, 3, 7)).eval()
    for weight in module.parameters():
        weight.data.abs_()  # so that no ReLU hides a path
    x = torch.rand(1, 16, 12, 12, requires_grad=True)
    module(x)[0, :, 2, 9].sum().backward()
    assert x.grad is not None
    reached = {tuple(place) for place in (x.grad[0].abs().sum(0) > 0).nonzero().tolist()}
    assert {place for places in explorer.taps().values() for place in places} == reached


def test_rate_8_is_dead_on_a_map_of_8():
    explorer = ReceptiveFieldExplorer((8,))
    explorer.side.value = 8
    for cell in range(8):
        explorer.row.value = explorer.column.value = cell
        assert explorer.taps() == {8: [(cell, cell)]}
    assert "rate 8: 1 of 9" in explorer.caption.value


def test_the_cell_stays_on_a_smaller_map():
    explorer = ReceptiveFieldExplorer()
    explorer.side.value = 32
    explorer.row.value = 31
    explorer.side.value = 4
    assert explorer.row.value == 3 and "of 16 cells" in describe(explorer.static_figure())


@pytest.mark.parametrize("text", ["", "0", "1 2 3 4 5 6", "two", "1.5"])
def test_wrong_rates_are_refused_in_words(text):
    explorer = ReceptiveFieldExplorer()
    before = explorer.view.value
    explorer.rates.value = text
    assert "rates" in explorer.caption.value.lower() and explorer.view.value == before
    explorer.rates.value = "1, 2"
    assert explorer.view.value != before and "rate 2: 9 of 9" in explorer.caption.value
    with pytest.raises(ValueError, match="rates"):
        ReceptiveFieldExplorer(())


def test_a_wider_trimap_is_more_unknown(make_sample):
    sample = make_sample(0)
    slider = TrimapSlider(sample.image, sample.alpha)
    shares, seen = [], set()
    for width in (1, 20, 60, 120):
        slider.width.value = width
        shares.append((slider.trimap(width) == 0.5).mean())
        assert f"{100 * shares[-1]:.1f} % unknown" in slider.caption.value
        seen.add(slider.view.value)
    assert shares == sorted(shares) and len(seen) > 2
    assert f"{100 * shares[-1]:.1f} % unknown" in describe(slider.static_figure())
    with pytest.raises(ValueError, match="sizes must agree"):
        TrimapSlider(sample.image, sample.alpha[1:])


def test_timeline_repairs_a_blink_and_nothing_else():
    alphas = np.full((6, 8, 10), 0.8, np.float32)
    alphas[3, 2:4, 5:7] = 0.1  # a hole for one frame
    alphas[4:, 6, :] = 0.2  # an edge that has moved on: no flicker
    timeline = OFDTimeline(alphas)
    assert timeline.time.value == 3, "starts at the frame with most flicker"
    blink = np.zeros((8, 10), bool)
    blink[2:4, 5:7] = True
    delayed = list(one_frame_delay(alphas))
    for time in range(1, 5):
        np.testing.assert_array_equal(timeline.flicker(time), blink & (time == 3))
        before, now, after, found, repaired = (panel[..., 0] for panel in timeline.panels(time))
        for panel, matte in ((before, alphas[time - 1]), (now, alphas[time]), (after, alphas[time + 1])):
            np.testing.assert_array_equal(panel, np.round(matte * 255))
        np.testing.assert_array_equal(repaired, np.round(delayed[time] * 255))
        np.testing.assert_array_equal(found != now, blink & (time == 3))
    np.testing.assert_allclose(timeline.shares(), [0, 0, 0.05, 0])
    orange = (decode(timeline.view.value) == (230, 159, 0)).all(axis=2)
    assert orange.sum() == 4 and "5.00 % of its pixels" in timeline.caption.value
    assert timeline.view.tooltip == timeline.caption.value
    assert not timeline.flicker(3, 0.75).any() and timeline.flicker(3).sum() == 4
    _, metadata = timeline._repr_mimebundle_()
    assert "Frames 2, 3 and 4" in metadata["image/jpeg"]["alt"]


def test_threshold_has_immediate_effect():
    rng = np.random.default_rng(0)
    timeline = OFDTimeline(rng.integers(0, 256, (5, 6, 7), dtype=np.uint8), threshold=0.3)
    before = timeline.timeline.value
    for limit in (0.1, 0.5):
        timeline.threshold.value = limit
        a = timeline._alphas
        for t in range(1, 4):
            for i, j in np.ndindex(6, 7):
                near, far = (
                    abs(a[t - 1, i, j] - a[t + 1, i, j]),
                    min(abs(a[t, i, j] - a[t - 1, i, j]), abs(a[t, i, j] - a[t + 1, i, j])),
                )
                assert timeline.flicker(t)[i, j] == (near <= limit and far > limit)
    assert timeline.timeline.value != before
    with pytest.raises(ValueError, match="three frames"):
        OFDTimeline(np.zeros((2, 4, 4)))
