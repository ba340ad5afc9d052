"""The one function that reads values out, and autocast, for devices that have neither."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
import torch
from second_device import stand_in

from modnet_lib import images


@pytest.fixture
def read(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of what was read out of the second device."""
    original, seen = images.read_out, list[tuple[int, ...]]()
    for module in list(sys.modules.values()):
        if getattr(module, "read_out", None) is original:
            monkeypatch.setattr(module, "read_out", stand_in(original, seen))
    return seen


@pytest.fixture
def meta(read, monkeypatch) -> list[tuple[int, ...]]:
    """`meta` has no autocast; shapes of what was read out."""
    monkeypatch.setattr(torch, "autocast", lambda device_type, **_: nullcontext())
    return read
