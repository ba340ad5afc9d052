"""Download and unpack archives, safely and atomically."""

import fnmatch
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def fetch(url: str, target: str | Path, *, sha256: str | None = None, keep: Sequence[str] = ("*",)) -> str:
    """Download a zip archive, with a progress bar, unpack it into the new folder `target`, and return its SHA-256.

    If the archive holds a single folder, its contents become `target`. `keep` has patterns of the names to unpack, for
    instance ``"*.png"``. Raises `ValueError` if the address, the transfer, the checksum or the archive is wrong, and
    keeps nothing.
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
                if not wanted:
                    raise ValueError(f"it holds no files like {', '.join(keep)}")
                opened.extractall(unpacked, wanted)  # never writes outside the folder; links become text
            entries = list(unpacked.iterdir())
            os.replace(entries[0] if len(entries) == 1 and entries[0].is_dir() else unpacked, target)
    except Exception as error:  # of the network, zipfile, zlib and others
        raise ValueError(
            f"{url} was not fetched: {error}. Nothing was kept. If it is a web page, get the archive with a browser"
        ) from error
    return digest
