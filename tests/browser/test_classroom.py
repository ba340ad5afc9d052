"""JupyterLab as a student meets it: notebook 00 from restart to end, and every control of the inspector."""

import base64
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from modnet_lib import paths

pytestmark = [pytest.mark.browser, pytest.mark.slow]

IDLE = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
ERRORS = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type*='stderr']"
SAMPLES = paths.REPOSITORY / "data" / "samples" / "spm"
CELL = f"""\
from PIL import Image
import numpy as np
from modnet_lib.inference import Matter
from modnet_lib.notebook.widgets import MatteInspector
matter = Matter.from_pretrained(short_side=192)
folder = {str(SAMPLES)!r}
names = ["spm_000", "spm_004"]
truths = {{name: np.asarray(Image.open(f"{{folder}}/matte/{{name}}.png").convert("L")) for name in names[:1]}}
MatteInspector(
    {{"192 pixels": matter, "96 pixels": matter.resized(96)}},
    {{name: f"{{folder}}/image/{{name}}.jpg" for name in names}}, truths=truths, width=420,
)"""


def run_all(page: Any, address: str, entry: str, ready: Any) -> None:
    """Open a notebook and choose an entry of the Run or Kernel menu until `ready` shows; early clicks go nowhere."""
    from playwright.sync_api import TimeoutError

    page.goto(address)
    page.wait_for_selector(IDLE)
    menu = "Kernel" if entry.startswith("Restart") else "Run"
    for patience in (60_000, 90_000):
        page.get_by_role("menuitem", name=menu, exact=True).click()
        page.get_by_text(entry, exact=True).click()
        if menu == "Kernel":
            page.locator(".jp-Dialog .jp-mod-accept").click(timeout=20_000)
        try:
            ready.wait_for(timeout=patience)
            break
        except TimeoutError:
            assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).all_inner_texts()
            page.keyboard.press("Escape")
    ready.wait_for(timeout=1000)
    page.wait_for_selector(IDLE)


def upload(page: Any, label: str, file: Any) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=label).first.click()
    chooser.value.set_files(file)


def picture(view: Any) -> bytes:
    """The PNG that the browser shows."""
    script = """async image => {
        const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
        return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''));
    }"""
    return base64.b64decode(view.evaluate(script))


def change(page: Any, view: Any, action: Callable[[], object]) -> None:
    """Do something and wait until the picture is another one."""
    before, end = picture(view), time.monotonic() + 60
    action()
    while picture(view) == before:
        assert time.monotonic() < end, "the displayed picture did not change"
        page.wait_for_timeout(50)


def test_every_control_of_the_inspector(lab: tuple[str, Path], page: Any, tmp_path: Path) -> None:
    address, folder = lab
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(CELL, id="only")]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "inspector.ipynb"
    )
    view = page.locator("img.inspector-view")
    run_all(page, address.format("inspector.ipynb"), "Run All Cells", view)
    assert view.count() == 1
    assert page.locator(".jp-RenderedImage img").count() == 0, "no static picture beside the live widget"

    def button(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    def tab(name: str) -> None:
        page.get_by_role("tab", name=name, exact=True).click()

    def slide(label: str, keys: str = "ArrowRight", times: int = 3) -> None:
        handle = page.locator(".widget-slider", has_text=label).locator(".noUi-handle")
        for _ in range(times):
            handle.press(keys)

    def choose(label: str, option: str) -> None:
        page.get_by_label(label, exact=True).select_option(option)

    for stage in ("input", "semantic", "detail", "region", "error", "cutout"):
        change(page, view, lambda stage=stage: button(stage))
    page.get_by_text("Mean absolute difference").wait_for(state="hidden")

    tab("background")
    for background in ("white", "black", "green", "colour"):
        change(page, view, lambda background=background: choose("background", background))
    colour = page.locator(".widget-colorpicker input[type=text]")
    change(page, view, lambda: (colour.fill("#d55e00"), colour.press("Tab")))
    change(page, view, lambda: upload(page, "background picture", SAMPLES / "image" / "spm_003.jpg"))
    page.locator(".widget-vbox", has=view).last.screenshot(path=tmp_path / "1_background.png")

    tab("look")
    change(page, view, lambda: slide("zoom"))
    for label in ("centre x", "centre y"):
        change(page, view, lambda label=label: slide(label, times=10))
    loupe = page.locator("img.inspector-loupe_view")
    choose("loupe shows", "input")
    loupe.wait_for()
    change(page, loupe, lambda: slide("centre x", "ArrowLeft", 5))
    assert page.locator("img.inspector-overview").is_visible()
    button("alpha")
    page.wait_for_timeout(300)
    page.locator(".widget-vbox", has=view).last.screenshot(path=tmp_path / "2_loupe.png")
    choose("loupe shows", "off")
    loupe.wait_for(state="hidden")
    change(page, view, lambda: slide("zoom", "ArrowLeft"))

    tab("compare")
    change(page, view, lambda: choose("compare with", "96 pixels"))
    change(page, view, lambda: slide("wipe"))
    choose("compare with", "off")
    change(page, view, lambda: choose("model", "96 pixels"))

    tab("disturb")
    for kind in ("blur", "noise", "jpeg", "brightness", "resolution"):
        change(page, view, lambda kind=kind: choose("disturb by", kind))
    change(page, view, lambda: slide("strength", times=1))
    button("every strength")
    scores = page.locator(".inspector-scores")
    page.wait_for_function("document.querySelectorAll('.inspector-scores tr').length == 6")
    assert "break" in scores.inner_text() or "broken" in scores.inner_text()
    page.locator(".widget-vbox", has=view).last.screenshot(path=tmp_path / "3_disturb.png")
    choose("disturb by", "none")

    tab("thresholds")
    button("region")
    page.get_by_text("transition region of the answer").wait_for()
    change(page, view, lambda: slide("trimap width", times=10))
    change(page, view, lambda: slide("SOC band", times=20))

    change(page, view, lambda: choose("picture", "spm_004"))
    change(page, view, lambda: upload(page, "your own picture", SAMPLES / "image" / "spm_002.jpg"))
    assert page.get_by_label("picture", exact=True).input_value() == "spm_002.jpg"
    before = picture(view)
    bad = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    upload(page, "your own picture", bad)
    page.get_by_text("cannot be read").wait_for()
    assert picture(view) == before
    assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).all_inner_texts()


def test_notebook_00_from_restart_to_end(lab: tuple[str, Path], page: Any, tmp_path: Path) -> None:
    address, folder = lab
    path = folder / "00_start_here.ipynb"
    shutil.copy(paths.NOTEBOOKS / path.name, path)
    view = page.locator("img.inspector-view")
    run_all(page, address.format(path.name), "Restart Kernel and Run All Cells…", view)
    assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).all_inner_texts()
    shown = "[...document.querySelectorAll('.jp-Notebook img')].filter(image => image.offsetParent)"
    broken = f"{shown}.filter(image => image.complete && !image.naturalWidth).length"
    assert page.evaluate(broken) == 0
    view.scroll_into_view_if_needed()
    change(page, view, lambda: page.get_by_role("button", name="cutout", exact=True).click())
    change(page, view, lambda: page.get_by_label("picture", exact=True).select_option("astronaut"))
    zoom = page.locator(".widget-slider", has_text="zoom").locator(".noUi-handle")
    change(page, view, lambda: zoom.press("ArrowRight"))
    assert not page.get_by_label("model", exact=True).is_visible(), "there is one model, so nothing to choose"
    change(page, view, lambda: upload(page, "your own picture", SAMPLES / "image" / "spm_002.jpg"))
    upload(page, "your own picture", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff"})
    page.get_by_text("cannot be read").wait_for()
    page.screenshot(path=tmp_path / "notebook_00.png")
    page.keyboard.press("Control+s")
    code: list[Any] = []
    for _ in range(100):
        code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        if all(cell.execution_count for cell in code):
            break
        page.wait_for_timeout(100)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
