"""How long passes were compiled, or waited for, while something ran."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_open: list[list[float]] = []
_here = threading.local()


@contextmanager
def timed() -> Iterator[None]:
    """Add what the block takes to all open clocks; blocks inside another are part of it."""
    if getattr(_here, "inside", False):
        yield
        return
    _here.inside, begin = True, time.perf_counter()
    try:
        yield
    finally:
        _here.inside = False
        took = time.perf_counter() - begin
        elsewhere(took)


def elsewhere(took: float) -> None:
    """Add seconds to all open clocks: what workers took, or what was timed here."""
    for spent in _open:
        spent.append(took)


@contextmanager
def compile_time() -> Iterator[list[float]]:
    """Seconds of every compilation that this process made or waited for while the block runs, in a list that grows.

    Example:
        >>> with compile_time() as spent:
        ...     pass
        >>> sum(spent)
        0
    """
    spent: list[float] = []
    _open.append(spent)
    try:
        yield spent
    finally:
        _open[:] = [other for other in _open if other is not spent]
