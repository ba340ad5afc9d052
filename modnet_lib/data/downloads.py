"""Download and unpack archives, safely and atomically."""

import fnmatch
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MAX_RATIO = 100  # unpacked to packed; pictures hardly shrink


def fetch(url: str, target: str | Path, *, sha256: str | None = None, keep: Sequence[str] = ("*",)) -> str:
    """Download a zip archive and unpack it into a new folder, with a progress bar; its SHA-256, for pinning.

    Parameters
    ----------
    url, sha256
        Address, http or https, and expected checksum of the archive. Raises `ValueError` if anything about the address,
        the transfer or the archive is wrong; nothing is kept then.
    target
        Folder to create. If the archive holds a single folder, its contents become `target`.
    keep
        Patterns of the names to unpack, for instance ``"*.png"``.
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
            unpacked = Path(folder) / "unpacked"
            with zipfile.ZipFile(archive) as opened:
                files = [member for member in opened.infolist() if not member.is_dir()]
                wanted = [m for m in files if any(fnmatch.fnmatchcase(m.filename, k) for k in keep)]
                size = sum(member.file_size for member in wanted)  # no more than that is written
                if size > MAX_RATIO * archive.stat().st_size + (1 << 20):
                    raise ValueError(f"it would unpack to {size:,} bytes, which looks like a bomb")
                if not wanted:
                    raise ValueError(f"it holds no files like {', '.join(keep)}")
                opened.extractall(unpacked, wanted)  # drops what leads out of the folder, writes links as text
            entries = list(unpacked.iterdir())
            os.replace(entries[0] if len(entries) == 1 and entries[0].is_dir() else unpacked, target)
    except Exception as error:  # of the network, zipfile, zlib and others, by the kind of damage
        raise ValueError(
            f"{url} was not fetched: {error}. Nothing was kept. If it is a web page, get the archive with a browser"
        ) from error
    return digest
