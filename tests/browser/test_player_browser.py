"""The player in a page without a kernel, as nbconvert exports it, in a real browser."""

from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from modnet_lib.notebook.clips import ClipPlayer

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_exported_player_plays(page: Any, tmp_path: Path) -> None:
    from nbconvert import HTMLExporter

    frames = np.stack([np.full((64, 64, 3), (10 * number, 40, 90), np.uint8) for number in range(24)])
    player = ClipPlayer({"left": frames, "right": frames}, rate=12)
    data = {"text/html": player._repr_html_(), "text/plain": repr(player)}
    cell = nbformat.v4.new_code_cell("player", outputs=[nbformat.v4.new_output("execute_result", data=data)])
    page_text, _ = HTMLExporter(exclude_input=True).from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    (tmp_path / "page.html").write_text(page_text, encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri(), wait_until="domcontentloaded")
    video = "document.querySelector('video')"
    page.wait_for_function(f"() => {video}.readyState > 1 && {video}.currentTime > 0.1")
    assert page.evaluate(f"[{video}.videoWidth, {video}.videoHeight]") == [2 * 192 + 12, 192]
