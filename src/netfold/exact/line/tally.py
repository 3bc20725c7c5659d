"""What one layer does to every path, added up block by block, and joined where two runs of blocks meet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from netfold.arrays import Floats
from netfold.exact.line.layers import LineLayer
from netfold.exact.numerics.sums import sum_exactly
from netfold.exact.paths import segments
from netfold.exact.paths.blocks import PathBlock
from netfold.exact.paths.domain import Changes
from netfold.exact.paths.records import NOWHERE, Totals, join_totals


@dataclass
class LineTally:
    """What one layer does to every path, and what it must remember to go on with the next block.

    Lengths, angles and bends are exact sums in three limbs (`sums.sum_exactly`), so block size cannot change them.

    Attributes:
        layer: what it does.
        totals: one entry a path.
        before: what the layer read at the last vertex but one, on path ``before_path``: the next block begins with
            the last.
        head: what it read at the first two vertices, on path ``head_path``.
    """

    layer: LineLayer
    totals: Totals
    before: Floats = field(default_factory=lambda: np.empty((0, 0)))
    before_path: int = NOWHERE
    head: Floats | None = None
    head_path: int = NOWHERE

    @staticmethod
    def of(paths: int, layer: LineLayer) -> LineTally:
        """An empty tally."""
        return LineTally(layer, Totals.of(paths, layer.units))

    def vertex_before(self, block: PathBlock) -> Floats:
        """What the layer read at the vertex before a block's first row, or nothing at the start of a path."""
        return self.before if self.before_path == block.path[0] else np.empty((0, block.h.shape[1]))

    def remember(self, block: PathBlock) -> None:
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

    def join(self, following: LineTally) -> Changes | None:
        """Add the tally of the blocks that follow these; returns what changes exactly where the two meet."""
        changes = self._meet(following)
        join_totals(self.totals, following.totals)
        self.before, self.before_path = following.before, following.before_path
        return changes

    def _meet(self, following: LineTally) -> Changes | None:
        """Count what happens at the vertex that two runs of blocks share: neither of them sees both its sides."""
        p, layer, totals = following.head_path, self.layer, self.totals
        if p == NOWHERE or p != self.before_path or following.head is None:
            return None
        h, path = following.head, np.full(2, p)
        alone, joined = layer.scan(h, path, np.empty((0, h.shape[1]))), layer.scan(h, path, self.before)
        totals.transitions[p] += joined.counts[0] - alone.counts[0]
        totals.signs[p] += joined.signs[0] - alone.signs[0]
        sum_exactly(joined.sums[:1, segments.TURN].copy(), path, totals.bends)
        count = joined.counts[0] - alone.counts[0]
        if count == 0:
            return None
        met = layer.crossings(h, path, self.before, joined)
        changes = Changes(met.unit[:count], met.origin[:count], met.target[:count])
        if layer.saturated_pieces:
            segments.count_passages(path[:1], np.array([0, count]), *changes, layer.saturated_pieces,
                                    totals.saturated[0], totals.saturated[1], totals.saturated_paths,
                                    totals.passages)  # fmt: skip
        return changes
