"""Share the rows of a compiled pass among threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

SMALL = 2**16
"""Entries below which a pass is over sooner than threads are woken."""


def over_rows(kernel: Callable[..., Any], rows: int, width: int, *arguments: Any) -> None:
    """Run ``kernel(begin, end, *arguments)`` over all rows, on as many threads as torch uses.

    Kernels release the interpreter lock and write only to their own rows.
    """
    threads = min(torch.get_num_threads(), rows) if rows * width >= SMALL else 1
    if threads <= 1:
        kernel(0, rows, *arguments)
        return
    edges = [rows * i // threads for i in range(threads + 1)]
    others = [_pool(threads).submit(kernel, a, b, *arguments) for a, b in pairwise(edges[1:])]
    kernel(edges[0], edges[1], *arguments)
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="netfold")
