"""One call for what most tests of training do."""

from __future__ import annotations

from typing import Any

from modnet_lib.training.loop import Trainer


def train(*what: Any, stop_after: int | None = None, show_progress: bool = False, **options: Any) -> list[dict]:
    """Train a network on a dataset by a configuration in a folder; the metrics."""
    return Trainer(*what, **options).run(stop_after, show_progress)
