"""Counting with many hands: prefixes wait in a queue, and what a budget does not reach goes back to it.

A work item is a prefix of states: small, without state of its own, restartable, and its number of regions adds to
those of the others. So it does not matter who counts which item, in which order, or how often one is begun again:
`Work` books an item's regions and its leftovers in one step, and nothing else changes the sums.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from netfold.exact.cells.engine import Prefix, whole
from netfold.exact.numerics.threads import GRACE

if TYPE_CHECKING:
    from netfold.exact.cells.engine import Engine, Outcome

LONG, SHORT = 0.5, 0.02
"""Seconds after which an item hands back what is left: while others wait, and while hands are idle."""

SMALLEST, LARGEST = 32, 1 << 22
"""Limits of a budget, in decisions. The first one is the smallest: with hundreds of inputs one may take a second."""


@dataclass(frozen=True)
class Sums:
    """What finished items add up to.

    Attributes:
        regions: full-dimensional regions.
        decisions: how many signs were decided, ``resolved`` of them in rational arithmetic; ``uncertain`` stay open.
        smallest_inradius: of all regions, in input space; NaN where it was not asked for.
        seconds: time that all hands together took.
    """

    regions: int = 0
    decisions: int = 0
    resolved: int = 0
    uncertain: int = 0
    smallest_inradius: float = np.inf
    seconds: float = 0.0

    def plus(self, outcome: Outcome, seconds: float) -> Sums:
        """With one more outcome."""
        return Sums(
            self.regions + outcome.regions,
            self.decisions + outcome.decisions,
            self.resolved + outcome.resolved,
            self.uncertain + outcome.uncertain,
            float(np.minimum(self.smallest_inradius, outcome.smallest_inradius)),
            self.seconds + seconds,
        )


@dataclass
class Pace:
    """How much is asked for at a time, learnt from how long it took before."""

    rate: float = SMALLEST / LONG

    def budget(self, seconds: float) -> int:
        """Decisions that take about so long."""
        return int(min(max(self.rate * seconds, SMALLEST), LARGEST))

    def learn(self, decisions: int, seconds: float) -> None:
        """Take in how long an item took; the first one, which may wait for a compiler, counts like any other."""
        if decisions >= SMALLEST:
            self.rate += 0.5 * (decisions / max(seconds, 1e-6) - self.rate)


@dataclass
class Work:
    """Items that wait, items under way, and the sums of those that are done; any thread may call anything.

    The item last added is taken first, so that the queue holds at most a few items for each level of the tree.
    """

    waiting: list[Prefix] = field(default_factory=lambda: [whole()])
    sums: Sums = field(default_factory=Sums)
    under_way: dict[int, Prefix] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)
    taken: int = 0

    def take(self, hands: int) -> tuple[int, Prefix, int] | None:
        """A ticket, the item it is for, and a budget; ``None`` where nothing waits.

        Args:
            hands: how many work; budgets are small while fewer items than that wait.
        """
        with self.changed:
            if not self.waiting:
                return None
            item = self.waiting.pop()
            self.taken += 1
            self.under_way[self.taken] = item
            idle = hands > 1 and len(self.waiting) < hands
            return self.taken, item, self.pace.budget(SHORT if idle else LONG)

    def finish(self, ticket: int, outcome: Outcome, seconds: float) -> None:
        """Book an item: its sums, and its leftovers, which wait in its place."""
        with self.changed:
            del self.under_way[ticket]
            self.sums = self.sums.plus(outcome, seconds)
            self.waiting += sorted(outcome.leftover, key=len)
            self.pace.learn(outcome.decisions, seconds)
            self.changed.notify_all()

    def put_back(self, ticket: int) -> None:
        """An item was not counted after all: it waits again."""
        with self.changed:
            if (item := self.under_way.pop(ticket, None)) is not None:
                self.waiting.append(item)
            self.changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether every item is counted."""
        with self.changed:
            return not (self.waiting or self.under_way)

    def snapshot(self) -> tuple[Sums, list[Prefix]]:
        """The sums, and all that is not in them: what is under way counts as not begun."""
        with self.changed:
            return self.sums, [*self.waiting, *self.under_way.values()]


def on_threads(engine: Engine, work: Work, threads: int, tick: Callable[[], None], *, inradius: bool = False) -> None:
    """Count all items of ``work`` on threads of this process.

    Args:
        engine: counts an item; its kernels release the interpreter lock.
        work: what is to be counted; after an error or Ctrl-C it holds what is left.
        threads: how many.
        tick: called by this thread a few times a second.
        inradius: whether to find the smallest inradius.
    """
    hands = _Hands(engine, work, threads, inradius)
    started = [threading.Thread(target=hands.serve, name=f"netfold-{i}", daemon=True) for i in range(threads)]
    try:
        for thread in started:
            thread.start()
        while not (work.finished or hands.failures):
            with work.changed:
                work.changed.wait(0.1)
            tick()
    finally:
        hands.stop()
        _join(started)
    if hands.failures:
        raise hands.failures[0]


class _Hands:
    """What the threads of one count share."""

    def __init__(self, engine: Engine, work: Work, threads: int, inradius: bool) -> None:
        self.engine, self.work, self.threads, self.inradius = engine, work, threads, inradius
        self.stopped = False
        self.failures: list[BaseException] = []

    def serve(self) -> None:
        """Take items until all are counted or somebody says stop."""
        while not self.stopped:
            taken = self.work.take(self.threads)
            if taken is not None:
                self._count(*taken)
            elif self.work.finished:
                return
            else:
                with self.work.changed:
                    self.work.changed.wait(0.05)

    def stop(self) -> None:
        self.stopped = True
        with self.work.changed:
            self.work.changed.notify_all()

    def _count(self, ticket: int, item: Prefix, budget: int) -> None:
        begin = time.perf_counter()
        try:
            outcome = self.engine.run(item, budget=budget, inradius=self.inradius)
        except BaseException as error:
            self.failures.append(error)
            self.work.put_back(ticket)
            self.stop()
            return
        self.work.finish(ticket, outcome, time.perf_counter() - begin)


def _join(threads: Iterable[threading.Thread]) -> None:
    """Wait for threads, but not for ever: what they are at is still booked as not begun."""
    until = time.monotonic() + GRACE
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, until - time.monotonic()))
