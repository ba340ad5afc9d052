"""Worker processes that prepare and read data, with one thread each.

They are not forked: a process that was forked after its parent used OpenMP may crash or hang. A script that uses them
therefore needs ``if __name__ == "__main__":``. They exit when their parent does.
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
    """A pool of `workers` processes; one per core if ``None``."""
    return ProcessPoolExecutor(workers or os.cpu_count(), _context(), _start)


def data_loader(
    dataset: Any, batches: Iterable[Any], collate: Callable[[list[Any]], Any], *, workers: int = 0, pin: bool = False
) -> DataLoader:
    """A loader of batches of keys; without `workers`, this process reads. `pin` speeds up copies to a GPU."""
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
    os.environ["NUMBA_NUM_THREADS"] = "1"  # pymatting uses numba, which reads this when it is imported
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if parent := parent_process():
        Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
