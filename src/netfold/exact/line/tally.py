"""What one layer does to every path, added up block by block, and joined where two runs of blocks meet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from netfold.exact.line.layers import LineLayer
from netfold.exact.numerics import compiled
from netfold.exact.numerics.sums import add_exactly, sum_exactly
from netfold.exact.paths import segments
from netfold.exact.paths.blocks import Block
from netfold.exact.paths.records import NOWHERE, Crossings, Totals

Floats = NDArray[np.float64]


@dataclass
class LayerTally:
    """What one layer does to every path, and what it must remember to go on with the next block.

    Lengths, angles and bends are exact sums in three limbs (`sums.sum_exactly`), so block size cannot change them.

    Attributes:
        totals: one entry a path.
        before: what the layer read at the last vertex but one, on path ``before_path``: the next block begins with
            the last.
        head: what it read at the first two vertices, on path ``head_path``.
    """

    totals: Totals
    before: Floats = field(default_factory=lambda: np.empty((0, 0)))
    before_path: int = NOWHERE
    head: Floats | None = None
    head_path: int = NOWHERE

    @staticmethod
    def of(paths: int, units: int) -> LayerTally:
        """An empty tally."""
        return LayerTally(Totals.of(paths, units))

    def vertex_before(self, block: Block) -> Floats:
        """What the layer read at the vertex before a block's first row, or nothing at the start of a path."""
        return self.before if self.before_path == block.path[0] else np.empty((0, block.h.shape[1]))

    def remember(self, block: Block) -> None:
        """Keep the last vertex but one, and of the first block the first two."""
        joined = len(block.path) > 1 and block.path[-2] == block.path[-1]
        self.before_path = int(block.path[-1]) if joined else NOWHERE
        if joined and self.before.shape[1] == block.h.shape[1]:
            self.before[:] = block.h[-2:-1]
        elif joined:
            self.before = block.h[-2:-1].copy()
        if self.head is None:
            self.head = block.h[:2].copy()
            self.head_path = int(block.path[0]) if block.path[0] == block.path[1] else NOWHERE

    def add_measures(self, path: int, measures: Floats) -> None:
        """Add the length, angle and turning of one segment's image."""
        totals = self.totals
        for sums, value in zip((totals.lengths, totals.angles, totals.bends), measures, strict=True):
            sum_exactly(np.array([value]), np.array([path]), sums)

    def join(self, layer: LineLayer, following: LayerTally) -> Crossings | None:
        """Add the tally of the blocks that follow these; returns what changes exactly where the two meet."""
        changes = self._meet(layer, following)
        _join(self.totals, following.totals)
        self.before, self.before_path = following.before, following.before_path
        return changes

    def _meet(self, layer: LineLayer, following: LayerTally) -> Crossings | None:
        """Count what happens at the vertex that two runs of blocks share: neither of them sees both its sides."""
        p = following.head_path
        if p == NOWHERE or p != self.before_path or following.head is None:
            return None
        h, path = following.head, np.full(2, p)
        alone, joined = layer.scan(h, path, np.empty((0, h.shape[1]))), layer.scan(h, path, self.before)
        self.totals.transitions[p] += joined.counts[0] - alone.counts[0]
        self.totals.signs[p] += joined.signs[0] - alone.signs[0]
        sum_exactly(joined.sums[:1, segments.TURN].copy(), path, self.totals.bends)
        if joined.counts[0] == alone.counts[0]:
            return None
        return layer.crossings(h, path, self.before, joined).leading(joined.counts[0] - alone.counts[0])


@njit(**compiled.COMPILED)
def _join(mine, theirs):
    """Add what comes after to what is there."""
    _join_passages(mine, theirs)
    for counts, more in (
        (mine.transitions, theirs.transitions),
        (mine.signs, theirs.signs),
        (mine.passages, theirs.passages),
    ):
        counts += more
    add_exactly(theirs.lengths, mine.lengths)
    add_exactly(theirs.angles, mine.angles)
    add_exactly(theirs.bends, mine.bends)
    mine.closest[:] = np.minimum(mine.closest, theirs.closest)


@njit(**compiled.COMPILED)
def _join_passages(mine, theirs):
    first, last = theirs.saturated_paths
    if first == NOWHERE:
        return
    meets, goes_on = mine.saturated_paths[1] == first, mine.saturated_paths[1] == last
    for j in range(mine.saturated.shape[1]):
        here, there = mine.saturated[1, j], theirs.saturated[0, j]
        mine.passages[first] += meets and here >= 0 and there >= 0 and here != there
        if not goes_on or theirs.saturated[1, j] >= 0:
            mine.saturated[1, j] = theirs.saturated[1, j]
    mine.saturated_paths[1] = last
