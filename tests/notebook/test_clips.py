"""The player's film is what it was given."""

from __future__ import annotations

import base64
import io
import re

import av
import numpy as np
import pytest

from modnet_lib.notebook.clips import GAP, ClipPlayer


def mattes(count: int = 6, size: int = 32) -> np.ndarray:
    alphas = np.zeros((count, size, size), np.float32)
    alphas[:, 8:24, 8:24] = 1
    alphas[3, 8:12, 8:12] = 0.5  # flickers
    return alphas


def test_the_page_holds_a_film_of_all_panels():
    pictures = np.full((6, 32, 32, 3), (200, 40, 90), np.uint8)
    player = ClipPlayer({"left <1>": mattes(), "right": pictures}, rate=10, height=64)
    assert repr(player) == "ClipPlayer(6 frames: left <1>, right)"
    page = player._repr_html_()
    assert "left &lt;1&gt;" in page
    film = base64.b64decode(re.search(r"base64,([^']+)'", page)[1])
    with av.open(io.BytesIO(film)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.average_rate == 10
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 6 and frames[0].shape == (64, 2 * 64 + 3 * GAP, 3)
    left, right = frames[0][32, GAP + 32], frames[0][32, 2 * GAP + 64 + 32]
    np.testing.assert_allclose(left, 255, atol=6)
    np.testing.assert_allclose(right, (200, 40, 90), atol=6)


def test_panels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one length and size"):
        ClipPlayer({"a": mattes(5), "b": mattes(6)})
    with pytest.raises(ValueError, match="one length and size"):
        ClipPlayer({})
