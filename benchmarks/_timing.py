"""What the benchmarks share: ways that take turns, drawn people, and files of results."""

import json
import time
from collections.abc import Callable, Mapping
from functools import cache
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from modnet_lib import paths
from modnet_lib.data.manifest import find_items
from modnet_lib.data.pseudo_mattes import MattingSample, read_parts
from modnet_lib.devices import choose_device
from modnet_lib.files import write_json
from modnet_lib.notebook.portraits import draw
from modnet_lib.provenance import recorded

DEVICE = choose_device()
NAME = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"


def seconds(work: Callable[[], object]) -> float:
    """Of one call; a GPU is waited for."""
    start = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Milliseconds of each way in each round; a disturbance hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + rounds):
        for name, work in ways.items():
            taken = 1000 * seconds(work)
            if turn >= warm_up:
                times[name].append(taken)
    return times


def medians(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median milliseconds of ways that take turns."""
    return {name: median(times) for name, times in in_turns(ways, rounds, warm_up).items()}


def show(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """A table with a line for each way, and in brackets how many times the first line's value that is."""
    first = next(iter(rows.values()))
    table = Table("", *first, title=title)
    for name, row in rows.items():
        ratios = {key: f" ({row[key] / first[key]:.2f} x)" if first.get(key) else "" for key in row}
        table.add_row(
            name, *(f"{row[key]:,.{0 if row[key] >= 1000 else 2}f}{ratios[key]}" if key in row else "" for key in first)
        )
    Console(width=120).print(table)


def save(name: str, what: str, content: Any, part: str = "", values: Any = None, precision: str = "float32") -> None:
    """Write ``data/results/NAME.json``, or one part of it, with provenance; numbers have five digits."""
    file = paths.RESULTS / f"{name}.json"
    values, made = values or {}, recorded(what, device=DEVICE, precision=precision, seed=0) | content
    result = {"profile": "laptop", "values": values} | made
    if part:
        old = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        result = old | {"profile": "laptop", "values": old.get("values", {}) | values, part: made}
        parts = (one["provenance"] for one in result.values() if isinstance(one, dict) and "provenance" in one)
        result["provenance"] = "; ".join(parts)
    write_json(file, result, digits=5)
    print(json.dumps(content, indent=1)[:3000], file, sep="\n")


@cache
def people(count: int, size: int, split: str = "validation") -> list[MattingSample]:
    """Drawn people with their exact colours, mattes and backgrounds."""
    folder = draw(f"portraits {count}", paths.RUNS / "drawn" / f"{size}", "--size", size, "--split", split)
    return [read_parts(item) for item in find_items("drawn", folder, split)[:count]]
