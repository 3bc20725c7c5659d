"""How far a count has come: the share of the splitting tree that still waits, level by level."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

from netfold.exact.cells.engine import Prefix
from netfold.exact.cells.queue import Work

if TYPE_CHECKING:
    from netfold.exact.cells.engine import Engine

NEGLIGIBLE = 1e-4
"""Items with less than this share of the tree are not looked at more closely."""

DELAY = 1.0
"""Seconds before a bar appears, so that quick counts show none."""

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
    """A progress bar on stderr: what is done of the tree, regions so far, and the time left.

    Args:
        engine: tells how the tree branches.
        progress: whether to show it; by default only in a terminal, and only of what is slow.
    """

    def __init__(self, engine: Engine, progress: bool | None) -> None:
        self.shares, self.began = Shares(engine), time.monotonic()
        self.next = self.began + (0.0 if progress else DELAY)
        form = "{desc}: {percentage:3.0f}%|{bar}|{postfix} [{elapsed}<{remaining}]"
        hidden = None if progress is None else not progress
        delay = 0.0 if progress else DELAY
        self.bar = tqdm(total=1.0, desc="count", bar_format=form, disable=hidden, delay=delay, smoothing=0)

    def show(self, work: Work) -> None:
        """Draw where the count stands."""
        now = time.monotonic()
        if self.bar.disable or now < self.next:
            return
        self.next = now + 0.5
        sums, items = work.snapshot()
        done = 1.0 - self.shares.left(items, LOOK)
        self.bar.set_postfix_str(f"{sums.regions:,} regions, {len(items):,} parts wait", refresh=False)
        self.bar.n = max(self.bar.n, done)
        self.bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()
