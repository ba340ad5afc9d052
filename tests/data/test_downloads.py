"""Downloads from a server that cuts off, lies, redirects and sends hostile archives: refused, nothing left."""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modnet_lib.data.downloads import _follow, fetch, unpack_archive

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


def tarred(*entries: tuple[str, bytes | str, bytes], mode: str = "w:gz") -> bytes:
    """A tar of (name, content or link's target, type)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content, kind in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(content, str):
                info.linkname, content = content, b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


GOOD = zipped(("set-fe34/", b""), ("set-fe34/photos/1.jpg", PICTURE), ("set-fe34/photos/note.txt", b"x"))
LIED = bytearray(zipped(("a.bin", bytes(5 << 20))))
# the size that the headers state, made small
for start in (LIED.index(b"PK\x03\x04") + 22, LIED.index(b"PK\x01\x02") + 24):
    LIED[start : start + 4] = (1000).to_bytes(4, "little")

HOSTILE = {
    "parent.zip": (zipped(("fine.txt", b"x"), ("../evil.txt", b"x")), "leads out"),
    "deep_parent.zip": (zipped(("a/b/../../../evil.txt", b"x")), "leads out"),
    "absolute.zip": (zipped(("/tmp/evil.txt", b"x")), "leads out"),
    "backslash.zip": (zipped(("..\\evil.txt", b"x")), "leads out"),
    "drive.zip": (zipped(("C:\\evil.txt", b"x")), "leads out"),
    "link.zip": (zipped(("way", b"/etc", stat.S_IFLNK | 0o777), ("way/evil.txt", b"x")), "holds a link"),
    "twice.zip": (zipped(("a/b.txt", b"x"), ("a/b.txt", b"y")), "cannot be unpacked"),
    "file_as_folder.zip": (zipped(("a", b"x"), ("a/b.txt", b"y")), "cannot be unpacked"),
    "bomb.zip": (zipped(("zeros.bin", bytes(30 << 20))), "bomb"),
    "lying_bomb.zip": (bytes(LIED), "bomb|cannot be unpacked"),
    "cut.zip": (GOOD[:-40], "cannot be unpacked"),
    "bits.zip": (GOOD.replace(b"PK\x01\x02", b"PK\x09\x09"), "cannot be unpacked"),
    "empty.zip": (zipped(("folder/", b"")), "no files"),
    "parent.tgz": (tarred(("../evil.txt", b"x", tarfile.REGTYPE)), "leads out|outside"),
    "absolute.tgz": (tarred(("/tmp/evil.txt", b"x", tarfile.REGTYPE)), "leads out"),
    "link.tgz": (
        tarred(("way", "/etc", tarfile.SYMTYPE), ("way/evil", b"x", tarfile.REGTYPE)),
        "holds a link",
    ),
    "hard_link.tgz": (tarred(("way", "../../secret", tarfile.LNKTYPE)), "holds a link"),
    "device.tgz": (tarred(("null", b"", tarfile.CHRTYPE)), "cannot be unpacked"),
    "bomb.tgz": (tarred(("zeros.bin", bytes(30 << 20), tarfile.REGTYPE)), "bomb"),
    "cut.tgz": (tarred(("a.bin", PICTURE * 20, tarfile.REGTYPE))[:-50], "cannot be unpacked"),
    "page.zip": (b"\n<!DOCTYPE html><html>Log in to download</html>", "web page"),
    "text.zip": (b"no archive at all", "cannot be unpacked"),
    "nothing.zip": (b"", "cannot be unpacked"),
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
            return self.end_headers()
        if kind == "away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            return self.end_headers()
        self.send_response(404 if kind == "missing" else 200)
        lengths = {"cut": len(body) + 100, "short": len(body) - 40, "huge": 1 << 50, "endless": None}
        if (length := lengths.get(kind, len(body))) is not None:
            self.send_header("Content-Length", str(length))
        # one server compresses whatever is asked of it, another only for those who allow it
        if kind == "squeezed" or (kind == "polite" and "gzip" in self.headers["Accept-Encoding"]):
            self.send_header("Content-Encoding", "gzip")
            body = gzip.compress(body)
        self.end_headers()
        try:
            for _ in range(1000 if kind == "endless" else 1):
                self.wfile.write(body)
        except OSError:  # the client has had enough
            pass

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


def refused(box: Path, message: str, url: str, **options) -> None:
    outer = box.parent
    before = listing(outer)
    with pytest.raises(ValueError, match=message) as error:
        fetch(url, box / "set", **options)
    assert url in str(error.value)
    assert listing(outer) == before


def test_an_archive_becomes_a_folder(server, box) -> None:
    steps = []
    digest = fetch(
        f"{server}/plain/good.zip",
        box / "deep" / "set",
        sha256=hashlib.sha256(GOOD).hexdigest(),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert digest == hashlib.sha256(GOOD).hexdigest()
    assert steps[-1] == (len(GOOD), len(GOOD))
    # the one folder that archives of repositories hold has become the set
    assert listing(box) == {
        "mine.txt": b"keep",
        "deep": None,
        "deep/set": None,
        "deep/set/photos": None,
        "deep/set/photos/1.jpg": PICTURE,
        "deep/set/photos/note.txt": b"x",
    }


def test_tars_names_that_are_wanted_and_single_files(server, box, tmp_path) -> None:
    for mode in ("w", "w:gz", "w:xz"):
        archive = tmp_path / mode.replace(":", "_")
        entries = [(f"{n}.txt", b"x", tarfile.REGTYPE) for n in "abc"]
        archive.write_bytes(tarred(*entries, ("d", b"", tarfile.DIRTYPE), mode=mode))
        assert unpack_archive(archive, tmp_path / f"{archive.name}_out") == tmp_path / f"{archive.name}_out"
        assert set(listing(tmp_path / f"{archive.name}_out")) == {"a.txt", "b.txt", "c.txt"}
    fetch(f"{server}/plain/good.zip", box / "set", keep=["*/photos/*.jpg"])
    assert set(listing(box / "set")) == {"photos", "photos/1.jpg"}
    # links that are not wanted do no harm
    (tmp_path / "link.zip").write_bytes(zipped(("way", b"/etc", stat.S_IFLNK | 0o777), ("a.png", b"x")))
    unpack_archive(tmp_path / "link.zip", tmp_path / "unlinked", keep=["*.png"])
    assert set(listing(tmp_path / "unlinked")) == {"a.png"}
    fetch(f"{server}/plain/good.zip", box / "file.zip", unpack=False)
    assert (box / "file.zip").read_bytes() == GOOD


@pytest.mark.parametrize(("name", "message"), [(n, m) for n, (_, m) in HOSTILE.items()], ids=HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(server, box, name, message) -> None:
    refused(box, message, f"{server}/plain/{name}")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("cut/good.zip", "[Ii]ncomplete|were announced"),
        ("short/good.zip", "cannot be unpacked"),
        ("huge/good.zip", "more than the"),
        ("missing/good.zip", "404"),
        ("squeezed/good.zip", "compresses"),
        ("redirect/5", "more than 5 redirects"),
        ("away/", "not https"),
    ],
)
def test_a_server_that_misbehaves(server, box, path, message) -> None:
    refused(box, message, f"{server}/{path}")


def test_caps_and_hashes(server, box, tmp_path) -> None:
    refused(box, "bytes allowed", f"{server}/endless/good.zip", max_bytes=20 * len(GOOD))
    refused(box, "more than the 100 allowed", f"{server}/plain/good.zip", max_bytes=100)
    refused(box, "does not match the known hash", f"{server}/plain/good.zip", sha256="0" * 64)
    refused(box, "web page", f"{server}/plain/page.zip", sha256="0" * 64)
    (tmp_path / "many.zip").write_bytes(zipped(*((f"{i}.txt", b"x") for i in range(11))))
    for limits, message in (({"max_files": 10}, "more than 10 entries"), ({"max_bytes": 10}, "more than is")):
        with pytest.raises(ValueError, match=message):
            unpack_archive(tmp_path / "many.zip", tmp_path / "out", **limits)
        assert not (tmp_path / "out").exists()
    assert fetch(f"{server}/redirect/4", box / "set")
    assert fetch(f"{server}/polite/good.zip", box / "other")


def test_addresses(box) -> None:
    refused(box, "must start with https", "file:///etc/hostname")
    refused(box, "must start with https", "ftp://example.org/a.zip")
    refused(box, "was not fetched", "http://127.0.0.1:9/a.zip")  # nobody listens
    assert _follow("https://a.org/x/y", "/z") == "https://a.org/z"
    assert _follow("http://a.org", "https://b.org/") == "https://b.org/"
    for location in ("http://a.org/z", "file:///etc/passwd", "ftp://a.org"):
        with pytest.raises(ValueError, match="not https"):
            _follow("https://a.org/x", location)


def test_what_exists_is_not_touched(server, box) -> None:
    (box / "set").mkdir()
    before = listing(box)
    with pytest.raises(ValueError, match="exists; move it away"):
        fetch(f"{server}/plain/good.zip", box / "set")
    assert listing(box) == before


def test_an_interrupt_leaves_nothing(server, box) -> None:
    def stop(_done, _total) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server}/plain/good.zip", box / "set", progress=stop)
    assert set(listing(box)) == {"mine.txt"}
