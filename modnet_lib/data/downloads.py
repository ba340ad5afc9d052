"""Download and unpack archives, safely and atomically."""

import fnmatch
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

MAX_RATIO = 100  # unpacked to packed; pictures hardly shrink


def fetch(url: str, target: str | Path, *, sha256: str | None = None, keep: Sequence[str] = ()) -> str:
    """Download an archive and unpack it into a new folder, with a progress bar.

    Parameters
    ----------
    url
        Address of a zip or tar archive, http or https.
    target
        Folder to create. If the archive holds a single folder, its contents become `target`.
    sha256
        Expected checksum of the archive.
    keep
        Patterns of the names to unpack, for instance ``"*.png"``; all if empty.

    Returns
    -------
    The SHA-256 of the archive, for pinning.

    Raises
    ------
    ValueError
        If `target` exists, or anything about the address, the transfer or the archive is wrong. Nothing is kept.
    """
    import pooch

    target = Path(target)
    if os.path.lexists(target):
        raise ValueError(f"{target} exists; move it away to fetch it again")
    target.parent.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")
    download: Any = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 18, timeout=60)
    try:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
            archive = Path(pooch.retrieve(url, sha256, "download", folder, downloader=download))
            digest = pooch.file_hash(str(archive))
            unpack_archive(archive, unpacked := Path(folder) / "unpacked", keep)
            entries = list(unpacked.iterdir())
            os.replace(entries[0] if len(entries) == 1 and entries[0].is_dir() else unpacked, target)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise ValueError(f"{url} was not fetched: {error}. Nothing was kept") from error
    return digest


def unpack_archive(archive: Path, folder: Path, keep: Sequence[str] = ()) -> None:
    """Unpack a zip or tar archive into `folder`; see `fetch`.

    Raises
    ------
    ValueError
        If it is not an archive, is damaged, a bomb or empty, or holds names or links that lead out of `folder`.
    """
    is_zip = zipfile.is_zipfile(archive)
    if not is_zip and not tarfile.is_tarfile(archive):
        raise ValueError("not a complete zip or tar archive. If it is a web page, download it with a browser")
    try:
        opened: Any
        with zipfile.ZipFile(archive) if is_zip else tarfile.open(archive) as opened:
            files = {m.filename: m for m in opened.infolist()} if is_zip else {m.name: m for m in opened}
            for path in map(PureWindowsPath, files):  # knows both slashes, and drives
                if path.anchor or ".." in path.parts:
                    raise ValueError(f"{str(path)!r} leads out of its folder")
            wanted = [m for n, m in files.items() if any(fnmatch.fnmatchcase(n, k) for k in keep or "*")]
            size = sum(member.file_size if is_zip else member.size for member in wanted)
            if size > MAX_RATIO * archive.stat().st_size + (1 << 20):
                raise ValueError(f"it would unpack to {size:,} bytes, which looks like a bomb")
            # zipfile writes links as text, and at most the stated size
            opened.extractall(folder, wanted, **({} if is_zip else {"filter": "data"}))
    except Exception as error:  # zlib's, lzma's and others, by the kind of damage
        raise ValueError(f"the archive cannot be unpacked: {error}") from error
    if not any(path.is_file() for path in folder.rglob("*")):
        raise ValueError(f"the archive holds no files like {', '.join(keep or '*')}")
