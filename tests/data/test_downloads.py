"""Downloads from a server that cuts off, redirects and sends hostile archives: refused, nothing left."""

from __future__ import annotations

import hashlib
import io
import signal
import stat
import threading
import warnings
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modnet_lib.data.downloads import fetch

PICTURE = bytes(range(256)) * 40


def zipped(*entries: tuple[str, bytes] | tuple[str, bytes, int]) -> bytes:
    """A zip of (name, content, mode) in which nothing is checked."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w") as archive:
        for name, content, *mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode[0] if mode else stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


GOOD = zipped(("set-fe34/", b""), ("set-fe34/photos/1.jpg", PICTURE), ("set-fe34/photos/note.txt", b"x"))
LIED = bytearray(zipped(("a.bin", bytes(5 << 20))))
# the size that the headers state, made small
for start in (LIED.index(b"PK\x03\x04") + 22, LIED.index(b"PK\x01\x02") + 24):
    LIED[start : start + 4] = (1000).to_bytes(4, "little")

HOSTILE = {
    "file_as_folder.zip": (zipped(("a", b"x"), ("a/b.txt", b"y")), "was not fetched"),
    "lying_bomb.zip": (bytes(LIED), "was not fetched"),
    "cut.zip": (GOOD[:-40], "not a zip file"),
    "bits.zip": (GOOD.replace(b"PK\x01\x02", b"PK\x09\x09"), "was not fetched"),
    "empty.zip": (zipped(("folder/", b"")), "no files"),
    "page.zip": (b"\n<!DOCTYPE html><html>Log in to download</html>", "with a browser"),
    "text.zip": (b"no archive at all", "not a zip file"),
    "nothing.zip": (b"", "not a zip file"),
}


class Handler(BaseHTTPRequestHandler):
    """Serves files, and misbehaves by path."""

    def do_GET(self) -> None:
        kind, _, name = self.path.lstrip("/").partition("/")
        body = HOSTILE[name][0] if name in HOSTILE else GOOD
        if kind == "redirect":
            self.send_response(302)
            count = int(name)
            self.send_header("Location", f"/redirect/{count - 1}" if count else "/plain/good.zip")
            self.end_headers()
            return
        if kind == "away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            return
        self.send_response(404 if kind == "missing" else 200)
        self.send_header("Content-Length", str(len(body) + {"cut": 100, "short": -40, "stop": 100}.get(kind, 0)))
        self.end_headers()
        self.wfile.write(body)
        if kind == "stop":  # Ctrl+C while the rest is waited for, not while the client still works
            threading.Event().wait(0.3)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            self.rfile.read(1)  # until the client has gone

    def log_message(self, *_arguments) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_address[1]}"
    served.shutdown()
    served.server_close()


def listing(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.fixture
def box(tmp_path) -> Path:
    """A folder inside another, with something in it that must survive."""
    folder = tmp_path / "outer" / "data"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("keep")
    return folder


def refused(box: Path, message: str, url: str, target: str = "set", **options) -> None:
    outer = box.parent
    before = listing(outer)
    with pytest.raises(ValueError, match=message) as error:
        fetch(url, box / target, **options)
    assert url in str(error.value)
    assert listing(outer) == before


def test_an_archive_becomes_a_folder(server, box, capfd) -> None:
    digest = fetch(f"{server}/plain/good.zip", box / "deep" / "set", sha256=hashlib.sha256(GOOD).hexdigest())
    assert digest == hashlib.sha256(GOOD).hexdigest()
    assert "100%" in capfd.readouterr().err
    # the one folder that archives of repositories hold has become the set
    assert listing(box) == {
        "mine.txt": b"keep",
        "deep": None,
        "deep/set": None,
        "deep/set/photos": None,
        "deep/set/photos/1.jpg": PICTURE,
        "deep/set/photos/note.txt": b"x",
    }


def test_only_names_that_are_wanted(server, box) -> None:
    fetch(f"{server}/plain/good.zip", box / "set", keep=["*/photos/*.jpg"])
    assert set(listing(box / "set")) == {"photos", "photos/1.jpg"}
    refused(box, "no files like .*png", f"{server}/plain/good.zip", target="other", keep=["*.png"])


ESCAPES = ("../evil.txt", "a/b/../../../evil.txt", "/tmp/evil.txt", "..\\evil.txt", "C:\\evil.txt")


@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_is_written_outside_of_the_folder(server, box, name) -> None:
    before = listing(box.parent)
    HOSTILE["escape.zip"] = (zipped(("fine.txt", b"x"), (name, b"x"), ("way", b"/etc", stat.S_IFLNK | 0o777)), "")
    fetch(f"{server}/plain/escape.zip", box / "set")
    after = listing(box.parent)
    assert {key: after.pop(key) for key in before} == before
    assert {key for key in after if not key.startswith("data/set")} == set()
    assert not Path("/tmp/evil.txt").exists()
    assert not any(path.is_symlink() for path in (box / "set").rglob("*"))


@pytest.mark.parametrize(("name", "message"), [(n, m) for n, (_, m) in HOSTILE.items()], ids=HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(server, box, name, message) -> None:
    refused(box, message, f"{server}/plain/{name}")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("cut/good.zip", "[Ii]ncomplete"),
        ("short/good.zip", "not a zip file"),
        ("missing/good.zip", "404"),
        ("redirect/40", "redirects"),
        ("away/", "file:///etc/hostname"),
    ],
)
def test_a_server_that_misbehaves(server, box, path, message) -> None:
    refused(box, message, f"{server}/{path}")


def test_checksums_and_redirects(server, box) -> None:
    refused(box, "does not match the known hash", f"{server}/plain/good.zip", sha256="0" * 64)
    assert fetch(f"{server}/redirect/4", box / "set") == hashlib.sha256(GOOD).hexdigest()


def test_addresses(box) -> None:
    refused(box, "No connection adapters", "file:///etc/hostname")
    refused(box, "No connection adapters", "ftp://example.org/a.zip")
    refused(box, "was not fetched", "http://127.0.0.1:9/a.zip")  # nobody listens


def test_what_exists_is_not_touched(server, box) -> None:
    (box / "set").mkdir()
    before = listing(box)
    with pytest.raises(ValueError, match="exists; move it away"):
        fetch(f"{server}/plain/good.zip", box / "set")
    assert listing(box) == before


def test_an_interrupt_leaves_nothing(server, box) -> None:
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server}/stop/good.zip", box / "set")
    assert set(listing(box)) == {"mine.txt"}
