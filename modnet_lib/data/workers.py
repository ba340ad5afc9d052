"""Processes that prepare and read data side by side.

They are not forked from here: OpenMP, once used, kills or hangs a forked child. So a script that gets here needs
``if __name__ == "__main__":``. They have one thread each, and end when their parent is killed.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext
from threading import Thread
from typing import Any

import torch
from torch.utils.data import DataLoader


def worker_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """As many processes as there are cores if `workers` is ``None``."""
    return ProcessPoolExecutor(workers or os.cpu_count(), _context(), _start)


def data_loader(
    dataset: Any, batches: Iterable[Any], collate: Callable[[list[Any]], Any], *, workers: int, pin: bool
) -> DataLoader:
    """`collate` of the samples of each batch of keys; without `workers` they are read here. `pin` is for a GPU."""
    return DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context=_context() if workers else None,
        worker_init_fn=_start,
        pin_memory=pin,
        # a loader draws a seed when it starts; from the global generator, a resumed run would draw one more
        generator=torch.Generator(),
    )


def _context() -> BaseContext:
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    context.set_forkserver_preload(["modnet_lib.data.sets"])  # type: ignore[attr-defined]
    return context


def _start(_number: int = 0) -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"  # read when numba, which pymatting computes with, is imported
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if parent := parent_process():
        Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
