"""How long numba compiled while something ran."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event


class _Clock(event.Listener):
    """Adds up outermost compilations; numba's lock lets one thread compile at a time."""

    def __init__(self, spent: list[float]) -> None:
        self.spent, self.depth, self.begin = spent, 0, 0.0

    def on_start(self, event: Any) -> None:
        """A pass begins to be compiled."""
        if self.depth == 0:
            self.begin = time.perf_counter()
        self.depth += 1

    def on_end(self, event: Any) -> None:
        """It is compiled, or failed to."""
        self.depth -= 1
        if self.depth == 0:
            self.spent.append(time.perf_counter() - self.begin)


@contextmanager
def compile_time() -> Iterator[list[float]]:
    """Seconds of every compilation of this process while the block runs, in a list that grows.

    Example:
        >>> with compile_time() as spent:
        ...     pass
        >>> sum(spent)
        0
    """
    spent: list[float] = []
    with event.install_listener("numba:compile", _Clock(spent)):
        yield spent
