"""JupyterLab as a student meets it: notebook 00 from restart to end, and every control of the inspector by keys."""

import shutil
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
from modnet_lib.notebook.inspector import MatteInspector
matter = Matter.from_pretrained(short_side=192)
folder = {str(SAMPLES)!r}
names = ["spm_000", "spm_004"]
truths = {{name: np.asarray(Image.open(f"{{folder}}/matte/{{name}}.png").convert("L")) for name in names[:1]}}
MatteInspector(
    {{"192 pixels": matter, "96 pixels": matter.resized(96)}},
    {{name: f"{{folder}}/image/{{name}}.jpg" for name in names}}, truths=truths, width=420,
)"""


PLAYER = """\
import numpy as np
from IPython.display import Video
from modnet_lib.inference.encode import write_clip
frames = np.zeros((24, 64, 128, 3), np.uint8)
frames[...] = np.arange(24)[:, None, None, None] * 10
write_clip("film.mp4", frames, 12)
Video("film.mp4", embed=True, html_attributes="controls loop muted autoplay")"""

EXPLORER = """\
import numpy as np
from ipywidgets import interact
from modnet_lib.notebook.figures import image_row, use_style
use_style()

@interact(side=(1, 20))
def board(side=5):
    return image_row([np.indices((40, 40)).sum(0) // side % 2], [f"squares of {side}"])"""


def write_notebook(path: Path, *sources: str) -> None:
    """A notebook with these cells, not run."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source, id=f"cell{n}") for n, source in enumerate(sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


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
    ready.wait_for()
    page.wait_for_selector(IDLE)


def upload(page: Any, file: Any, press: Callable[[], object]) -> None:
    """Press the upload button until the browser asks for a file: while a view is redrawn, a press goes nowhere."""
    from playwright.sync_api import TimeoutError

    for _ in range(6):
        try:
            with page.expect_file_chooser(timeout=20_000) as chooser:
                press()
        except TimeoutError:
            continue
        chooser.value.set_files(file)
        return
    pytest.fail("no file chooser opens")


SHOWN = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''));
}"""  # the PNG that the browser shows


def change(page: Any, view: Any, action: Callable[[], object]) -> None:
    """Do something and wait until the picture is another one."""
    before = view.evaluate(SHOWN)
    action()
    differs = f"async ([image, before]) => await ({SHOWN})(image).catch(() => before) !== before"
    page.wait_for_function(differs, arg=[view.element_handle(), before], timeout=60_000)


FOCUS = """() => {
    const at = document.activeElement;
    if (!at.closest('.jp-OutputArea')) return null;
    if (at.role === 'tab') return 'tab';
    if (at.classList.contains('widget-readout')) return 'number';
    if (at.tagName === 'BUTTON') return at.textContent.replace(/ .[0-9]+.$/, '');
    let box = at;
    while (!box.querySelector('label, .widget-label')) box = box.parentElement;
    return box.querySelector('label, .widget-label').textContent;
}"""
STAGES = ["input", "semantic", "detail", "alpha", "cutout", "error"]
ABOVE = ["picture", "your own picture", "model", *STAGES, "tab"]
TABS = {
    "look": ["zoom", "beside it", "background", "centre x", "centre y"],
    "disturb": ["disturb by", "strength", "every strength"],
}


class Keys:
    """The inspector without a mouse: Tab and Shift+Tab to a control, then its own keys."""

    def __init__(self, page: Any):
        self.page, self.tab_shown = page, "look"
        page.get_by_label("picture", exact=True).focus()

    def reach(self, name: str) -> None:
        order = ABOVE + TABS[self.tab_shown]
        back = order.index(name) < order.index(self.page.evaluate(FOCUS))
        for _ in range(30):
            if self.page.evaluate(FOCUS) == name:
                return
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
        pytest.fail(f"{name} cannot be reached by Tab")

    def press(self, name: str, *keys: str) -> None:
        self.reach(name)
        for key in keys:
            self.page.keyboard.press(key)

    def button(self, name: str) -> None:
        self.press(name, "Enter")

    def tab(self, name: str) -> None:
        steps = list(TABS).index(name) - list(TABS).index(self.tab_shown)
        self.press("tab", *["ArrowRight" if steps > 0 else "ArrowLeft"] * abs(steps), "Enter")
        self.tab_shown = name
        self.page.get_by_role("tab", name=name, exact=True, selected=True).wait_for()

    def choose(self, name: str, option: str) -> None:
        listed = self.page.get_by_label(name, exact=True).evaluate(
            "list => [list.selectedIndex, [...list.options].map(one => one.text.replace(/\\s/g, ' '))]"
        )
        steps = listed[1].index(option) - listed[0]
        self.press(name, "Space", *["ArrowDown" if steps > 0 else "ArrowUp"] * abs(steps), "Enter")

    def slide(self, name: str, key: str = "ArrowRight", times: int = 3) -> None:
        self.press(name, *[key] * times)

    def upload(self, name: str, file: Any) -> None:
        upload(self.page, file, lambda: self.press(name, "Space"))

    def order(self) -> list[str]:
        """The controls as Tab meets them, without the numbers beside sliders."""
        self.reach("picture")
        met = []
        while (name := self.page.evaluate(FOCUS)) is not None:
            met += [name] if name != "number" else []
            self.page.keyboard.press("Tab")
        self.page.get_by_label("picture", exact=True).focus()
        return met


def test_every_control_of_the_inspector_by_keys(lab: tuple[str, Path], page: Any, tmp_path: Path) -> None:
    address, folder = lab
    write_notebook(folder / "inspector.ipynb", CELL)
    view = page.locator("img.inspector-view")
    run_all(page, address.format("inspector.ipynb"), "Run All Cells", view)
    assert view.count() == 1
    assert page.locator(".jp-RenderedImage img").count() == 0, "no static picture beside the live widget"

    keys = Keys(page)
    button, tab, slide, choose = keys.button, keys.tab, keys.slide, keys.choose
    assert keys.order() == [name for name in ABOVE + TABS["look"] if name != "background"], "it is disabled"
    for stage in ("input", "semantic", "detail", "error", "cutout"):
        change(page, view, lambda stage=stage: button(stage))
    page.get_by_text("Mean absolute difference").wait_for()
    page.get_by_role("img", name="cutout of spm_000", exact=True).wait_for()  # what a screen reader says

    assert keys.order() == ABOVE + TABS["look"]
    for background in ("white", "black", "green"):
        change(page, view, lambda background=background: choose("background", background))
    page.locator(".widget-vbox", has=view).last.screenshot(path=tmp_path / "1_background.png")
    change(page, view, lambda: slide("zoom"))
    for label in ("centre x", "centre y"):
        change(page, view, lambda label=label: slide(label, times=10))
    second = page.locator("img.inspector-second")
    choose("beside it", "input")
    second.wait_for()
    change(page, second, lambda: slide("centre x", "ArrowLeft", 5))
    button("alpha")
    page.get_by_role("img", name="alpha of spm_000, enlarged").wait_for()
    page.locator(".widget-vbox", has=view).last.screenshot(path=tmp_path / "2_zoom.png")
    change(page, view, lambda: slide("zoom", "ArrowLeft"))
    change(page, second, lambda: choose("beside it", "96 pixels"))
    page.locator(".widget-vbox", has=view).last.screenshot(path=tmp_path / "3_compare.png")
    choose("beside it", "off")
    second.wait_for(state="hidden")
    change(page, view, lambda: choose("model", "96 pixels"))

    tab("disturb")
    for kind in ("blur", "noise", "jpeg", "brightness", "resolution"):
        change(page, view, lambda kind=kind: choose("disturb by", kind))
    assert keys.order() == ABOVE + TABS["disturb"]
    change(page, view, lambda: slide("strength", times=1))
    button("every strength")
    scores = page.locator(".inspector-scores")
    page.wait_for_function("document.querySelectorAll('.inspector-scores tr').length == 6")
    assert "break" in scores.inner_text() or "broken" in scores.inner_text()
    page.locator(".widget-vbox", has=view).last.screenshot(path=tmp_path / "4_disturb.png")
    choose("disturb by", "none")
    change(page, view, lambda: choose("picture", "spm_004"))
    change(page, view, lambda: keys.upload("your own picture", SAMPLES / "image" / "spm_002.jpg"))
    page.get_by_role("img", name="alpha of spm_002.jpg").wait_for()
    assert page.get_by_label("picture", exact=True).input_value() == "spm_002.jpg"
    before = view.evaluate(SHOWN)
    bad = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    keys.upload("your own picture", bad)
    page.get_by_text("cannot be read").wait_for()
    assert view.evaluate(SHOWN) == before
    assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).all_inner_texts()


def test_the_player_plays_in_jupyterlab(lab: tuple[str, Path], page: Any, tmp_path: Path) -> None:
    address, folder = lab
    write_notebook(folder / "player.ipynb", PLAYER)
    film = page.locator(".jp-OutputArea video")
    run_all(page, address.format("player.ipynb"), "Run All Cells", film)
    assert film.count() == 1
    stop = """video => new Promise(done => {
        video.autoplay = false; video.pause(); video.onseeked = () => done(video.paused && video.currentTime);
        video.currentTime = 0 })"""
    assert film.evaluate(stop) == 0
    film.focus()
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('.jp-OutputArea video').currentTime > 0.3")
    page.keyboard.press("Space")
    assert film.evaluate("video => video.paused")

    # what the browser shows now: both panels, at the frame that belongs to the time, and the same one
    shown = """video => new Promise(done => video.requestVideoFrameCallback((now, frame) => {
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        const pen = canvas.getContext('2d');
        pen.drawImage(video, 0, 0);
        const grey = x => pen.getImageData(x, canvas.height / 2, 1, 1).data[0];
        done([frame.mediaTime, grey(canvas.width / 4), grey(3 * canvas.width / 4)]);
    }) && (video.currentTime = %s))"""
    greys = []
    for seconds in (0.3, 1.05, 1.8):
        moment, left, right = film.evaluate(shown % seconds)
        assert moment == pytest.approx(int(seconds * 12) / 12, abs=0.01)
        assert left == pytest.approx(10 * int(seconds * 12), abs=4)
        assert right == pytest.approx(left, abs=1), "in step"
        greys.append(left)
    assert len(set(greys)) == 3
    page.locator(".jp-OutputArea").first.screenshot(path=tmp_path / "player.png")
    assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).all_inner_texts()


def test_an_explorer_draws_its_figure_anew(lab: tuple[str, Path], page: Any) -> None:
    address, folder = lab
    write_notebook(folder / "explorer.ipynb", EXPLORER)
    shown = page.locator(".jp-OutputArea img")
    run_all(page, address.format("explorer.ipynb"), "Run All Cells", shown)
    handle = page.locator(".widget-slider", has_text="side").locator(".noUi-handle")
    change(page, shown, lambda: handle.press("ArrowRight"))
    assert shown.count() == 1
    assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).all_inner_texts()


def test_notebook_00_from_restart_to_end(lab: tuple[str, Path], page: Any, tmp_path: Path) -> None:
    address, folder = lab
    path = folder / "00_start_here.ipynb"
    shutil.copy(paths.NOTEBOOKS / path.name, path)
    shutil.copytree(paths.NOTEBOOKS / "figures", folder / "figures")
    view = page.locator("img.inspector-view")
    run_all(page, address.format(path.name), "Restart Kernel and Run All Cells…", view)
    assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).all_inner_texts()
    shown = "[...document.querySelectorAll('.jp-Notebook img')].filter(image => image.offsetParent)"
    broken = f"{shown}.filter(image => image.complete && !image.naturalWidth).length"
    assert page.evaluate(broken) == 0
    drawing = page.get_by_role("img", name="Fig. 1. (a)")
    drawing.scroll_into_view_if_needed()
    drawing.screenshot(path=tmp_path / "fig1.png")
    assert drawing.evaluate("image => image.naturalWidth") >= 600
    view.scroll_into_view_if_needed()
    change(page, view, lambda: page.get_by_role("button", name="cutout", exact=True).click())
    change(page, view, lambda: page.get_by_label("picture", exact=True).select_option("astronaut"))
    zoom = page.locator(".widget-slider", has_text="zoom").locator(".noUi-handle")
    change(page, view, lambda: zoom.press("ArrowRight"))
    assert not page.get_by_label("model", exact=True).is_visible(), "there is one model, so nothing to choose"
    own = page.get_by_role("button", name="your own picture").first
    change(page, view, lambda: upload(page, SAMPLES / "image" / "spm_002.jpg", own.click))
    upload(page, {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff"}, own.click)
    page.get_by_text("cannot be read").wait_for()
    page.screenshot(path=tmp_path / "notebook_00.png")
    page.keyboard.press("Control+s")
    page.locator(".jp-mod-dirty").first.wait_for(state="detached")
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
