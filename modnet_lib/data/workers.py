"""Processes that prepare data side by side."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context, parent_process
from threading import Thread


def worker_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """Processes of one thread each, as many as there are cores if `workers` is ``None``.

    They are not forked from here: OpenMP, once used, kills or hangs a forked child. So a script that gets here
    needs ``if __name__ == "__main__":``. They end when their parent is killed.
    """
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    context.set_forkserver_preload(["modnet_lib.data.pseudo_mattes"])  # type: ignore[attr-defined]
    return ProcessPoolExecutor(workers or os.cpu_count(), context, _start)


def _start() -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"  # read when numba, which pymatting computes with, is imported
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if parent := parent_process():
        Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
