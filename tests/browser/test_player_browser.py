"""The player in a page without a kernel, as nbconvert exports it, in a real browser."""

import importlib.util
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest

from modnet_lib.notebook.clips import ClipPlayer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-sync", "--autoplay-policy=no-user-gesture-required"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="no playwright: pip install playwright"
    ),
]


def test_the_exported_player_plays(tmp_path: Path):
    from nbconvert import HTMLExporter
    from playwright.sync_api import sync_playwright

    frames = np.stack([np.full((64, 64, 3), (10 * number, 40, 90), np.uint8) for number in range(24)])
    player = ClipPlayer({"left": frames, "right": frames}, rate=12)
    data = {"text/html": player._repr_html_(), "text/plain": repr(player)}
    cell = nbformat.v4.new_code_cell("player", outputs=[nbformat.v4.new_output("execute_result", data=data)])
    page_text, _ = HTMLExporter(exclude_input=True).from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    (tmp_path / "page.html").write_text(page_text, encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.goto((tmp_path / "page.html").as_uri(), wait_until="domcontentloaded")
            ask = (
                "() => { const v = document.querySelector('video');"
                " return v.readyState > 1 && v.currentTime > 0.1; }"
            )
            page.wait_for_function(ask)
            size = page.evaluate(
                "() => { const v = document.querySelector('video'); return [v.videoWidth, v.videoHeight]; }"
            )
            assert size == [2 * 192 + 12, 192]
            page.screenshot(path=tmp_path / "player.png")
        finally:
            browser.close()
