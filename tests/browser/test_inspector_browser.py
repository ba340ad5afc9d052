"""The inspector in JupyterLab, in a real browser: run all, press a button, move a slider, see another picture."""

import base64
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TOKEN = "inspector"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 480_000  # milliseconds a step; a machine that trains at the same time imports torch slowly

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="no playwright: pip install playwright"
    ),
]

CELLS = (
    "import numpy as np, torch\n"
    "from modnet_lib.inference import Matter\n"
    "from modnet_lib.network import MODNet\n"
    "from modnet_lib.notebook.figures import image_row, use_style\n"
    "from modnet_lib.notebook.widgets import MatteInspector",
    "use_style()\nimage_row([np.eye(32), np.eye(32)], ['left', 'right'])",
    "_ = torch.manual_seed(0)\n"
    "picture = np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)\n"
    "matter = Matter(MODNet(backbone='mobilenetv3_small_050'), short_side=64, device='cpu')\n"
    "MatteInspector(matter, {'noise': picture, 'mirrored': picture[:, ::-1].copy()})",
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """JupyterLab on a folder with one notebook; its address. Only the processes started here are ended."""
    cells = [nbformat.v4.new_code_cell(source, id=f"cell{number}") for number, source in enumerate(CELLS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    folder, settings = tmp_path / "notebooks", tmp_path / "settings"
    folder.mkdir()
    settings.mkdir()
    nbformat.write(notebook, folder / "inspector.ipynb")
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    (settings / "overrides.json").write_text(json.dumps(quiet), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={folder}", f"--LabApp.app_settings_dir={settings}"]
    own = {
        name: str(tmp_path / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    }
    own |= {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "OMP_NUM_THREADS": "1"}
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(
        command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert server.poll() is None, (tmp_path / "lab.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        else:
            pytest.fail("JupyterLab did not answer: " + (tmp_path / "lab.log").read_text())
        yield f"{address}/lab/tree/inspector.ipynb?reset&token={TOKEN}"
    finally:
        server.send_signal(signal.SIGTERM)  # asks the server to end its kernels, too
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        log.close()


def test_inspector_in_jupyterlab(lab: str, tmp_path: Path):
    from playwright.sync_api import Page, TimeoutError, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page: Page = browser.new_page(viewport={"width": 1280, "height": 1400})
            page.set_default_timeout(PATIENCE)
            page.goto(lab)
            idle = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
            page.wait_for_selector(idle)
            view = page.locator(".jp-OutputArea-output img.widget-image")
            for patience in (
                60_000,
                120_000,
                PATIENCE,
            ):  # a click before the kernel is connected goes nowhere
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.get_by_text("Run All Cells", exact=True).click()
                try:
                    view.wait_for(timeout=patience)
                    break
                except TimeoutError:
                    page.keyboard.press("Escape")
            view.wait_for()
            page.wait_for_selector(idle)

            def displayed() -> bytes:
                """The PNG that the browser shows now."""
                script = """async image => {
                    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
                    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''));
                }"""
                return base64.b64decode(view.evaluate(script))

            def changed(before: bytes) -> bytes:
                """What is shown once it is no longer `before`."""
                end = time.monotonic() + PATIENCE / 1000
                while (now := displayed()) == before:
                    assert time.monotonic() < end, "the displayed picture did not change"
                    page.wait_for_timeout(100)
                return now

            assert view.count() == 1, "the live widget is shown once"
            figures = page.locator(".jp-OutputArea-output.jp-RenderedImage img")
            assert figures.count() == 1, "one figure, shown once; no static picture beside the live widget"
            alpha = displayed()
            page.get_by_role("button", name="input", exact=True).click()
            source = changed(alpha)
            page.get_by_role("button", name="cutout", exact=True).click()
            cutout = changed(source)
            handle = page.locator(".widget-slider", has_text="zoom").locator(".noUi-handle")
            handle.press("ArrowRight")
            handle.press("ArrowRight")
            zoomed = changed(cutout)
            page.get_by_label("picture").select_option("mirrored")
            changed(zoomed)
            page.screenshot(path=tmp_path / "inspector.png")
            bad = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture at all"}
            with page.expect_file_chooser() as chooser:
                page.locator(".jupyter-button.widget-upload, .widget-upload button").first.click()
            chooser.value.set_files(bad)
            page.get_by_text("cannot be read").wait_for()
            errors = page.locator(
                "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type*='stderr']"
            )
            assert errors.count() == 0, errors.all_inner_texts()
            page.screenshot(path=tmp_path / "bad_upload.png")
        finally:
            browser.close()
