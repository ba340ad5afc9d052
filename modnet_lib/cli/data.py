"""Commands for data sets: ``data list``, ``check``, ``fetch`` and ``prepare``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from typer import Argument, Option

from modnet_lib import paths
from modnet_lib.cli.common import console, say

Name = Annotated[str, Argument(help="Name of a data set, see `modnet data list`.")]
Root = Annotated[Path | None, Option(help="Folder of the data set; by default its place in $MODNET_DATA.")]


def list_sets() -> None:
    """List all data sets: title, access, number of pictures, and whether they are present."""
    from modnet_lib.data.manifest import sources

    root = paths.external_data()
    table = Table("name", "what", "access", "present", "published")
    for source in sources().values():
        counts = [f"{split} {layout.count:,}" for split, layout in source.splits.items() if layout.count]
        present = root is not None and (root / source.folder).is_dir()
        table.add_row(source.name, source.title, source.access, "yes" if present else "no", ", ".join(counts))
    console.print(table)
    say(f"MODNET_DATA is {root or 'not set'}")


def check(name: Name, root: Root = None) -> None:
    """Decode every file of a data set, and list files that are missing, damaged or inconsistent."""
    from modnet_lib.data import items

    report = items.check(name, root)
    for problem in report.problems:
        say(problem, "red")
    if report.absent:
        say(f"not there: {', '.join(report.absent)}")
    say(f"{name}: {report.fine:,} fine, {len(report.problems):,} wrong")
    if report.problems:
        raise typer.Exit(1)


def fetch(name: Name, root: Root = None) -> None:
    """Download and check an open data set; for any other, say where to get it."""
    from modnet_lib.data import downloads
    from modnet_lib.data.manifest import find_source

    source = find_source(name)
    folder = root or source.root()
    if not source.archives and not folder.is_dir():
        say(f"{source.title} cannot be fetched ({source.access}): {source.get}. {source.url}")
        say(f"Licence: {source.licence}. Put it into {folder}, then run: modnet data check {name}")
        say(f"Note: {source.note}" if source.note else "")
        raise typer.Exit(1)
    for archive in source.archives:
        target = folder / archive.get("into", "")
        if target.exists():
            continue
        options = {key: archive[key] for key in ("sha256", "keep") if key in archive}
        digest = downloads.fetch(archive["url"], target, **options)
        say(f"{target} was fetched, SHA-256 {digest}")
        if "sha256" not in archive:
            say(f"The manifest has no checksum to compare with. To pin it, add it to {paths.MANIFEST}")
    check(name, root)


def prepare(
    name: Name,
    root: Root = None,
    workers: Annotated[int | None, Option(help="Number of processes; by default one per core.")] = None,
) -> None:
    """Turn the masks of the first split into pseudo-mattes in data/cache/prepared. Run it again to resume."""
    from modnet_lib.data import pseudo_mattes
    from modnet_lib.data.manifest import find_items, find_source

    splits = find_source(name).splits
    masked = [key for key, layout in splits.items() if {"mask", "label"} & layout.files.keys()]
    if not masked:
        raise ValueError(f"{name} has no masks to prepare: its mattes are used as they are")
    items = find_items(name, root, masked[0])
    ready, failures = pseudo_mattes.prepare(items, pseudo_mattes.prepared_folder(name), workers)
    for key, reason in sorted(failures.items()):
        say(f"{key}: {reason}", "red")
    say(f"{name}: {len(ready):,} ready, {len(failures):,} failed")
    if failures:
        raise typer.Exit(1)
