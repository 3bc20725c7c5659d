"""How far a count has come: the share of the splitting tree that still waits, level by level."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

from netfold.exact.cells.counting.queue import Work
from netfold.exact.cells.engine import Prefix
from netfold.progress import progress_bar

if TYPE_CHECKING:
    from netfold.exact.cells.engine import Engine

NEGLIGIBLE = 1e-4
"""Items with less than this share of the tree are not looked at more closely."""

DELAY = 1.0
"""Seconds before a bar appears, so that quick counts show none."""

EVERY = 0.5
"""Seconds between two drawings."""

LOOK = 0.05
"""Seconds that one look at the tree may take; what it does not reach is taken for whole until the next."""


@dataclass
class Shares:
    """Shares of the splitting tree: 1 / (states found), multiplied over the units on the way to an item.

    That is the chance of a random walk down the tree to come by, so shares of disjoint items add up to at most 1.
    Not every branch holds as many regions as its neighbour: the share that is done tells about how much is left.
    """

    engine: Engine
    branches: dict[bytes, int] = field(default_factory=dict)

    def left(self, items: list[Prefix], seconds: float = math.inf) -> float:
        """The share of some items together.

        Args:
            items: disjoint items.
            seconds: after which units not looked at before are taken not to branch.
        """
        until = time.monotonic() + seconds
        known, self.branches = self.branches, {}
        return min(1.0, sum(self._share(item, known, until) for item in items))

    def _share(self, item: Prefix, known: dict[bytes, int], until: float) -> float:
        share = 1.0
        for depth in range(len(item)):
            node = item[:depth].tobytes()
            found = known.get(node) or self.branches.get(node)
            if found is None:
                if time.monotonic() > until:
                    break
                found = max(1, self.engine.run(item[:depth], stop=depth + 1).regions)
            # Only nodes on the way to what still waits are kept.
            self.branches[node] = found
            share /= found
            if share < NEGLIGIBLE:
                break
        return share


class Bar:
    """A progress bar on stderr: regions so far, the share of the tree that is done, and the time left.

    Args:
        engine: tells how the tree branches.
        work: what is counted, before it begins.
        progress: whether to show it; by default only in a terminal, and only of what is slow.
    """

    def __init__(self, engine: Engine, work: Work, progress: bool | None) -> None:
        self.shares, self.progress = Shares(engine), progress
        self.began, self.first = time.time(), work.snapshot()[1]
        self.next = self.began + (0.0 if progress else DELAY)
        self.bar: tqdm | None = None

    def show(self, work: Work) -> None:
        """Draw where the count stands."""
        if self.progress is False or time.time() < self.next:
            return
        if self.bar is None:
            self.bar = self._appear()
        self.next = math.inf if self.bar.disable else time.time() + EVERY
        if not self.bar.disable:
            sums, items = work.snapshot()
            self.bar.set_description_str(f"{sums.regions:,} regions", refresh=False)
            self.bar.n = max(self.bar.n, 1.0 - self.shares.left(items, LOOK))
            self.bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()

    def _appear(self) -> tqdm:
        """The bar; the time left is judged by what was done since the count began, or began again."""
        form = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
        done = 1.0 - self.shares.left(self.first, LOOK)
        bar = progress_bar(
            1.0, "count", "region", self.progress, initial=done, bar_format=form, smoothing=0, leave=True
        )
        bar.start_t = self.began
        return bar
