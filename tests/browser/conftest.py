"""A browser for all tests, and JupyterLab as a student starts it."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modnet_lib import paths

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TOKEN = "classroom"
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
PATIENCE = 240_000  # milliseconds a step; a machine that trains at the same time imports torch slowly


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("no playwright: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1440, "height": 1400})
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """JupyterLab's address up to a notebook's name, and its folder. Only what is started here is ended."""
    place = tmp_path_factory.mktemp("lab")
    folder, settings = place / "notebooks", place / "settings"
    folder.mkdir()
    settings.mkdir()
    quiet = {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # every cell is on the page
    }
    (settings / "overrides.json").write_text(json.dumps(quiet), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={folder}", f"--LabApp.app_settings_dir={settings}"]
    own = {name: str(place / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    own |= {"JUPYTER_RUNTIME_DIR": str(place / "runtime"), "OMP_NUM_THREADS": "1"}
    known = [str(paths.REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    own["PYTHONPATH"] = os.pathsep.join(known)
    said, pipe = list[str](), subprocess.PIPE
    server = subprocess.Popen(
        command, env=os.environ | own, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        for line in server.stdout:
            said.append(line)
            if "is running at" in line:
                break
        else:
            pytest.fail("JupyterLab did not start: " + "".join(said))
        threading.Thread(target=said.extend, args=(server.stdout,), daemon=True).start()  # never a full pipe
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?reset&token={TOKEN}", folder
    finally:
        server.send_signal(signal.SIGTERM)  # asks the server to end its kernels, too
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
