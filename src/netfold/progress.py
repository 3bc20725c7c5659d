"""While long work runs: whether bars are shown, and one thread where sums must have one order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: sums then have one order, and small products are not slowed by sharing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hidden(progress: bool) -> bool:
    """Whether to hide progress bars: unless asked for, and always where stderr is not a terminal."""
    return not (progress and sys.stderr.isatty())
