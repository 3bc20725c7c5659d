"""Share the rows of a compiled pass, or whole runs of blocks, among threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

SMALL = 2**16
"""Entries below which a pass is over sooner than threads are woken."""

_here = threading.local()
"""``alone`` is true in a thread that shares its work with no other."""


def over_rows(kernel: Callable[..., Any], rows: int, width: int, *arguments: Any) -> None:
    """Run ``kernel(begin, end, *arguments)`` over all rows, on as many threads as torch uses.

    Kernels release the interpreter lock and write only to their own rows.
    """
    shared = rows * width >= SMALL and not getattr(_here, "alone", False)
    threads = min(torch.get_num_threads(), rows) if shared else 1
    if threads <= 1:
        kernel(0, rows, *arguments)
        return
    edges = [rows * i // threads for i in range(threads + 1)]
    others = [_pool(threads).submit(kernel, a, b, *arguments) for a, b in pairwise(edges[1:])]
    kernel(edges[0], edges[1], *arguments)
    for other in others:
        other.result()


def side_by_side(tasks: Sequence[Callable[[], None]], threads: int) -> None:
    """Run tasks on a few threads, each of which shares its work with no other; raises the first error.

    While they run, torch multiplies matrices on one thread each: its own threads would fight them for the cores.
    """
    with single_threaded(), ThreadPoolExecutor(threads, thread_name_prefix="netfold") as pool:
        running = [pool.submit(alone, task) for task in tasks]
        try:
            for task in running:
                task.result()
        finally:
            for task in running:
                task.cancel()


def alone(task: Callable[[], None]) -> None:
    """Run a task on this thread and no other."""
    _here.alone = True
    torch.set_num_threads(1)  # of this thread: each has a team of its own
    with torch.no_grad():
        task()


_lock = threading.Lock()
_guests: list[int] = []
"""Numbers of threads that torch had when somebody asked for single-threaded products."""


@contextmanager
def single_threaded() -> Iterator[None]:
    """Products of matrices and compiled passes run on the calling thread alone."""
    before, _here.alone = getattr(_here, "alone", False), True
    with _lock:
        _guests.append(torch.get_num_threads() if not _guests else _guests[0])
        torch.set_num_threads(1)
    try:
        yield
    finally:
        _here.alone = before
        with _lock:
            threads = _guests.pop()
            if not _guests:
                torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="netfold")
