"""What one layer does to every path, added up block by block, and joined where two runs of blocks meet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from netfold.arrays import Floats, Ints
from netfold.exact.line.layers import LineLayer
from netfold.exact.line.passes import Met
from netfold.exact.numerics.sums import sum_exactly
from netfold.exact.paths import scale, segments
from netfold.exact.paths.blocks import PathBlock
from netfold.exact.paths.domain import Changes
from netfold.exact.paths.records import NOWHERE, Flags, Totals, join_totals
from netfold.exact.paths.segments import MOST, RESOLVED2, TIE

Doubts = tuple[Ints, Floats]
"""Paths, and parameters on them."""

LOST = 2.0**-45
"""Share of a layer's scale (`netfold.exact.paths.scale`) up to which a value may be rounding alone."""


def _doubts(block: PathBlock, near: Flags, begin: int, end: int) -> Doubts:
    rows = begin + np.flatnonzero(near[begin:end])
    return block.path[rows], block.t[rows]


@dataclass
class LineTally:
    """What one layer does to every path, and what it must remember to go on with the next block.

    Lengths, angles and bends are exact sums in three limbs (`sums.sum_exactly`), so block size cannot change them.

    Attributes:
        layer: what it does.
        totals: one entry a path.
        scales: of what it reads on each path, terms that cancel taken in.
        before: what the layer read at the last vertex but one, on path ``before_path``: the next block begins with
            the last.
        head: what it read at the first two vertices, on path ``head_path``.
        doubts: where rounding may have decided a state, each entry paths and parameters. Of the vertices ``first`` and
            ``last``, at the ends of what these blocks hold, only one side is known yet.
    """

    layer: LineLayer
    totals: Totals
    scales: Floats
    before: Floats = field(default_factory=lambda: np.empty((0, 0)))
    before_path: int = NOWHERE
    head: Floats | None = None
    head_path: int = NOWHERE
    doubts: list[Doubts] = field(default_factory=list)
    first: Doubts | None = None
    last: Doubts | None = None

    @staticmethod
    def of(paths: int, layer: LineLayer, scales: Floats) -> LineTally:
        """An empty tally."""
        return LineTally(layer, Totals.of(paths, layer.units), scales)

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

    def doubt(self, block: PathBlock, met: Met) -> None:
        """Note where a block's states are in doubt; to be called before `remember`."""
        near = met.near | self._drowned(block.h, block.path, self.vertex_before(block), met.flat2)
        begin, end = int(self.first is None), len(near) - 1
        if begin:
            self.first = _doubts(block, near, 0, 1)
        self.last = _doubts(block, near, end, end + 1)
        if near[begin:end].any():
            self.doubts.append(_doubts(block, near, begin, end))
        if met.close.any():
            close = np.flatnonzero(met.close)
            s = np.searchsorted(met.found.start, close, side="right") - 1
            t = block.t[s] + met.found.at[close] * (block.t[s + 1] - block.t[s])
            self.doubts.append((block.path[s], t))

    def _drowned(self, h: Floats, path: Ints, before: Floats, flat2: Floats) -> Flags:
        """Rows whose values are all so small beside the terms that make them that rounding may have decided a state.

        A unit that stands on its knot along a segment is no doubt, as in `Scan`.
        """
        lost, near = LOST * self.scales[path], np.zeros(len(h), np.bool_)
        rows = np.flatnonzero(TIE * np.sqrt(flat2 / RESOLVED2) < lost * self.layer.units)
        if len(rows):
            around = np.concatenate([before, h])
            which = np.concatenate([path[: len(before)], path])
            at = rows + len(before)
            gaps, stands = scale.gaps(self.layer.source, around[at]), np.zeros((len(rows), self.layer.units), np.bool_)
            for beside in (np.maximum(at - 1, 0), np.minimum(at + 1, len(around) - 1)):
                joined = (beside != at) & (which[beside] == which[at])
                stands |= joined[:, None] & (scale.gaps(self.layer.source, around[beside]) == 0.0)
            near[rows] = ((gaps <= lost[rows, None]) & ~(stands & (gaps == 0.0))).any(1)
        return near

    def all_doubts(self) -> list[Doubts]:
        """Where states are in doubt, with both ends."""
        return [*self.doubts, *(ends for ends in (self.first, self.last) if ends is not None)]

    def add_measures(self, path: int, measures: Floats) -> None:
        """Add the length, angle and turning of one segment's image."""
        totals = self.totals
        for sums, value in zip((totals.lengths, totals.angles, totals.bends), measures, strict=True):
            sum_exactly(np.array([value]), np.array([path]), sums)

    def join(self, following: LineTally) -> Changes | None:
        """Add the tally of the blocks that follow these; returns what changes exactly where the two meet."""
        changes = self._meet(following)
        self.doubts += following.doubts
        if self.first is None:
            self.first = following.first
        if self.head is None:
            self.head, self.head_path = following.head, following.head_path
        self.last = following.last if following.last is not None else self.last
        join_totals(self.totals, following.totals)
        self.before, self.before_path = following.before, following.before_path
        return changes

    def _meet(self, following: LineTally) -> Changes | None:
        """Count what happens at the vertex that two runs of blocks share: neither of them sees both its sides."""
        p, layer, totals = following.head_path, self.layer, self.totals
        if p == NOWHERE or p != self.before_path or following.head is None:
            end = self.last if p == NOWHERE else following.first
            if end is not None and self.first is not None and following.head is not None:
                self.doubts.append(end)
            return None
        h, path = following.head, np.full(2, p)
        alone, joined = layer.scan(h, path, np.empty((0, h.shape[1]))), layer.scan(h, path, self.before)
        near = joined.near | self._drowned(h, path, self.before, joined.sums[:, segments.FLAT2])
        if (near[0] or np.abs(h[0]).max() >= MOST) and following.first is not None:
            self.doubts.append(following.first)
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
