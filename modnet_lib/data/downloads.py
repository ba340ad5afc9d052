"""Downloads that are verified, unpacked inside their folder, and there whole or not at all."""

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
    """Download an archive and unpack it into a new folder, with a progress bar on standard error.

    Parameters
    ----------
    url
        Of a zip or tar archive; http or https.
    target
        The folder to make. If the archive holds one folder alone, that one becomes `target`.
    sha256
        Of the archive, to be verified.
    keep
        Patterns of the names in the archive to unpack, e.g. ``"*.png"``; all if empty.

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
    download = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 18, timeout=60)
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
        If it is no archive, damaged, a bomb, empty, or has names or links that lead outside.
    """
    is_zip = zipfile.is_zipfile(archive)
    if not is_zip and not tarfile.is_tarfile(archive):
        raise ValueError(
            "it is no whole zip or tar archive. If it is a web page, get the archive with a browser"
        )
    try:
        opened: Any
        with zipfile.ZipFile(archive) if is_zip else tarfile.open(archive) as opened:
            files = {m.filename: m for m in opened.infolist()} if is_zip else {m.name: m for m in opened}
            for path in map(PureWindowsPath, files):  # knows both slashes, and drives
                if path.anchor or ".." in path.parts:
                    raise ValueError(f"{str(path)!r} leads out of its folder")
            wanted = [
                m for name, m in files.items() if any(fnmatch.fnmatchcase(name, k) for k in keep or "*")
            ]
            size = sum(member.file_size if is_zip else member.size for member in wanted)
            if size > MAX_RATIO * archive.stat().st_size + (1 << 20):
                raise ValueError(f"{size:,} bytes would come out of it: a bomb")
            # a zip's links become text files, and no file of it larger than it says
            opened.extractall(folder, wanted, **({} if is_zip else {"filter": "data"}))
    except Exception as error:  # zlib's, lzma's and others, by the kind of damage
        raise ValueError(f"the archive cannot be unpacked: {error}") from error
    if not any(path.is_file() for path in folder.rglob("*")):
        raise ValueError(f"the archive holds no files like {', '.join(keep or '*')}")
