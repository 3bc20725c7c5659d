"""Ordered work shared among threads: an idle one takes the later half of what another has put off longest.

A *strand* works through a stretch of the whole in order and keeps what it finds. What it gives away comes right after
all that it still does itself, so the strands, in order, hold what one strand alone would have found.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, Self, TypeVar

import torch

from netfold.exact.numerics.threads import alone

PATIENCE = 0.002
"""Seconds after which an idle thread looks again whether there is work to take."""


class Strand(Protocol):
    """A stretch of the work."""

    def step(self) -> bool:
        """Do the next piece; false if there was none."""
        ...

    def spare(self) -> int:
        """How much could be given away now."""
        ...

    def part(self) -> Self:
        """Give away: a strand that does what comes after all that is left here."""
        ...


S = TypeVar("S", bound=Strand)


class Team(Generic[S]):
    """Threads at work on strands.

    Args:
        first: all of the work.
        threads: how many threads may work.
        worth: how much must be there to give before it is worth giving.
    """

    def __init__(self, first: S, threads: int, worth: int) -> None:
        self.first, self.threads, self.worth = first, threads, worth
        self.order: list[S] = [first]
        self.running: list[S] = [first]
        self.lock = threading.RLock()
        self.idle = threading.Condition(self.lock)
        self.failed = False

    def run(self) -> list[S]:
        """Do all of the work; the strands in order."""
        while self.threads == 1 or self.first.spare() < self.worth:
            if not self.first.step():
                return self.order
        with ThreadPoolExecutor(self.threads, thread_name_prefix="netfold") as pool:
            helpers = [pool.submit(alone, self._help) for _ in range(self.threads - 1)]
            try:
                self._finish(self.first)
                self._help()
            finally:
                for helper in helpers:
                    helper.result()
        return self.order

    def _help(self) -> None:
        with torch.no_grad():
            while (strand := self._taken()) is not None:
                self._finish(strand)

    def _finish(self, strand: S) -> None:
        try:
            while not self.failed and strand.step():
                pass
        except BaseException:
            self.failed = True
            raise
        finally:
            with self.lock:
                self.running.remove(strand)
                self.idle.notify_all()

    def _taken(self) -> S | None:
        """A part of another strand's work, once there is some; None when all work is done."""
        with self.lock:
            while self.running and not self.failed:
                victim = max(self.running, key=lambda strand: strand.spare())
                if victim.spare() >= self.worth:
                    strand = victim.part()
                    self.order.insert(self.order.index(victim) + 1, strand)
                    self.running.append(strand)
                    return strand
                self.idle.wait(PATIENCE)
            return None
