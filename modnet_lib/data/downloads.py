"""Downloads that do no harm: capped, verified, unpacked inside their folder, there whole or not at all."""

import fnmatch
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn, cast
from urllib.parse import urljoin, urlsplit

MAX_BYTES = 8 << 30  # of a download
MAX_FILES = 1_000_000
MAX_RATIO = 100  # unpacked to packed; pictures hardly shrink
REDIRECTS = 5
Progress = Callable[[int, int | None], Any]
# what reading archives raises; the last is for encrypted ones and unknown methods
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


def fetch(
    url: str,
    target: str | Path,
    *,
    sha256: str | None = None,
    max_bytes: int = MAX_BYTES,
    unpack: bool = True,
    keep: Sequence[str] = (),
    progress: Progress | None = None,
) -> str:
    """Download a file, or an archive that becomes a folder; it is there whole or not at all.

    Parameters
    ----------
    url
        https, or http.
    target
        The file or folder to make. If an archive holds one folder alone, that one becomes `target`.
    sha256
        Of the download, to be verified.
    max_bytes
        The most to download; unpacked it may be four times that.
    unpack
        Whether it is a zip or tar archive.
    keep
        Patterns of the names in the archive to unpack, e.g. ``"*.png"``; all if empty.
    progress
        Called after each block with the bytes so far, and those in all if the server says so.

    Returns
    -------
    The SHA-256 of what was downloaded, for pinning.

    Raises
    ------
    ValueError
        If `target` exists, or anything about the address, the transfer or the archive is wrong.
    """
    import pooch

    target = Path(target)
    if os.path.lexists(target):
        raise ValueError(f"{target} exists; move it away to fetch it again")
    target.parent.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")
    download: Any = partial(_download, max_bytes=max_bytes, archive=unpack, progress=progress)
    try:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
            known = f"sha256:{sha256}" if sha256 else None
            file = Path(pooch.retrieve(url, known, "download", folder, downloader=download))
            digest = pooch.file_hash(str(file))
            if unpack:
                file = unpack_archive(file, Path(folder) / "unpacked", 4 * max_bytes, keep=keep)
            os.replace(file, target)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise ValueError(f"{url} was not fetched: {error}. Nothing was kept") from error
    return digest


def _download(
    url: str, file: str, _pooch: Any, *, max_bytes: int, archive: bool, progress: Progress | None
) -> None:
    """A downloader for pooch, which has no cap and follows any redirect."""
    import requests

    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("the address must start with https:// or http://")
    for _ in range(REDIRECTS + 1):
        # without compression, so that the bytes that arrive are those that Content-Length counts
        headers = {"Accept-Encoding": "identity"}
        response = requests.get(url, stream=True, allow_redirects=False, timeout=(20, 60), headers=headers)
        if not response.is_redirect:
            break
        response.close()
        url = _follow(url, response.headers["Location"])
    else:
        raise ValueError(f"more than {REDIRECTS} redirects")
    with response, open(file, "wb") as opened:
        response.raise_for_status()
        if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
            raise ValueError(f"the server compresses ({encoding}) though asked not to")
        length = response.headers.get("Content-Length", "")
        stated = int(length) if length.isdigit() else None
        if stated is not None and stated > max_bytes:
            raise ValueError(f"{stated:,} bytes are more than the {max_bytes:,} allowed")
        received = 0
        for block in response.iter_content(1 << 18):
            if archive and not received and block.lstrip()[:1] == b"<":
                raise ValueError("the server answered with a web page instead of an archive")
            received += len(block)
            if received > max_bytes:
                raise ValueError(f"more than the {max_bytes:,} bytes allowed")
            opened.write(block)
            if progress:
                progress(received, stated)
        if stated not in (None, received):
            raise ValueError(f"{received:,} bytes came, {stated:,} were announced")
        opened.flush()
        os.fsync(opened.fileno())


def _follow(url: str, location: str) -> str:
    target = urljoin(url, location)
    schemes = urlsplit(url).scheme, urlsplit(target).scheme
    if schemes[1] != "https" and schemes != ("http", "http"):
        raise ValueError(f"it redirects to {target}, which is not https")
    return target


def unpack_archive(
    archive: Path,
    folder: Path,
    max_bytes: int = 4 * MAX_BYTES,
    max_files: int = MAX_FILES,
    keep: Sequence[str] = (),
) -> Path:
    """Unpack a zip or tar into a new folder, without links and without leaving it; see `fetch`.

    Returns
    -------
    `folder`, or the one folder in it that holds everything.

    Raises
    ------
    ValueError
        If it is no archive, damaged, too large, or has names or links that lead outside. `folder` is removed.
    """
    left = min(max_bytes, MAX_RATIO * archive.stat().st_size + (1 << 20))
    folder.mkdir()
    try:
        for number, (name, read) in enumerate(_members(archive, folder), 1):
            if number > max_files:
                raise ValueError(f"the archive holds more than {max_files:,} entries")
            parts = PurePosixPath(name.replace("\\", "/")).parts
            if name[:1] in "/\\" or ".." in parts or re.match("[A-Za-z]:", name):
                raise ValueError(f"the archive holds {name!r}, which leads out of its folder")
            if read is None or (keep and not any(fnmatch.fnmatchcase(name, pattern) for pattern in keep)):
                continue
            file = folder.joinpath(*parts)
            file.parent.mkdir(parents=True, exist_ok=True)
            with read() as source, file.open("xb") as opened:
                while block := source.read(1 << 20):
                    left -= len(block)  # counted as they come: headers may lie
                    if left < 0:
                        raise ValueError("the archive unpacks to more than is allowed, or is a bomb")
                    opened.write(block)
        entries = list(folder.iterdir())
        if not entries:
            raise ValueError("the archive holds no files that are wanted")
    except BaseException as error:
        shutil.rmtree(folder)
        if isinstance(error, DAMAGED):
            raise ValueError(f"the archive cannot be unpacked: {error}") from error
        raise
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _members(archive: Path, folder: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]] | None]]:
    """Name and opener of every entry; a folder has no opener."""
    with archive.open("rb") as opened:
        is_zip = opened.read(2) == b"PK"
    if is_zip:
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                is_link = stat.S_ISLNK(entry.external_attr >> 16)
                read = partial(_refuse_link, entry.filename) if is_link else partial(zipped.open, entry)
                yield entry.filename, None if entry.is_dir() else read
    else:
        with tarfile.open(archive) as tarred:
            for member in tarred:
                if member.issym() or member.islnk():
                    yield member.name, partial(_refuse_link, member.name)
                    continue
                tarfile.data_filter(member, str(folder))  # no devices either
                yield member.name, partial(cast(Any, tarred.extractfile), member) if member.isfile() else None


def _refuse_link(name: str) -> NoReturn:
    raise ValueError(f"the archive holds a link, {name!r}")
