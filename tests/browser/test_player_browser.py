"""A film in a page without a kernel, as nbconvert exports it, in a real browser."""

from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from IPython.display import Video

from modnet_lib.inference.encode import write_clip

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_exported_player_plays(page: Any, tmp_path: Path) -> None:
    from nbconvert import HTMLExporter

    frames = np.stack([np.full((64, 64, 3), (10 * number, 40, 90), np.uint8) for number in range(24)])
    write_clip(tmp_path / "film.mp4", frames, 12)
    player = Video(str(tmp_path / "film.mp4"), embed=True, html_attributes="controls loop muted autoplay")
    data = {"text/html": player._repr_html_(), "text/plain": repr(player)}
    cell = nbformat.v4.new_code_cell("player", outputs=[nbformat.v4.new_output("execute_result", data=data)])
    page_text, _ = HTMLExporter(exclude_input=True).from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    (tmp_path / "page.html").write_text(page_text, encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri(), wait_until="domcontentloaded")
    video = "document.querySelector('video')"
    page.wait_for_function(f"() => {video}.readyState > 1 && {video}.currentTime > 0.1")
    assert page.evaluate(f"[{video}.videoWidth, {video}.videoHeight]") == [64, 64]
