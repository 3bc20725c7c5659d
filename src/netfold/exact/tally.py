"""What one layer does to every path, added up block by block, and joined where two runs of blocks meet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netfold.exact import rows
from netfold.exact.blocks import Block
from netfold.exact.layers import Crossings, LineLayer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NOWHERE = -1
"""No path."""


@dataclass
class LayerTally:
    """What one layer does to every path, and what it must remember to go on with the next block.

    Lengths, angles and bends are exact sums in three limbs (`rows.sum_exactly`), so block size cannot change them.

    Attributes:
        transitions: state switches; ``signs`` sign transitions; ``passages`` from one saturated state to the other.
        lengths: of the image; ``angles`` on the unit sphere; ``bends`` its turning.
        closest: smallest relative distance to a knot.
        before: what the layer read at the last vertex but one, on path ``before_path``: the next block begins with
            the last.
        head: what it read at the first two vertices, on path ``head_path``.
        saturated: each unit's first saturated piece on the first path, and its last on the last one (-1: none).
        saturated_paths: these two paths.
    """

    transitions: Ints
    signs: Ints
    passages: Ints
    lengths: NDArray[np.int64]
    angles: NDArray[np.int64]
    bends: NDArray[np.int64]
    closest: Floats
    saturated: Ints
    saturated_paths: Ints
    before: Floats = field(default_factory=lambda: np.empty((0, 0)))
    before_path: int = NOWHERE
    head: Floats | None = None
    head_path: int = NOWHERE

    @staticmethod
    def of(paths: int, units: int) -> LayerTally:
        """An empty tally."""
        transitions, signs, passages = (np.zeros(paths, np.int64) for _ in range(3))
        lengths, angles, bends = (np.zeros((paths, 3), np.int64) for _ in range(3))
        saturated, saturated_paths = np.full((2, units), NOWHERE), np.full(2, NOWHERE)
        closest = np.full(paths, np.inf)
        return LayerTally(transitions, signs, passages, lengths, angles, bends, closest, saturated, saturated_paths)

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

    def count_passages(self, path: Ints, found: Crossings, pieces: int) -> None:
        """Count a block's passages from one end piece of a unit to the other."""
        first, last = self.saturated
        rows.count_passages(path, found.start, found.unit, found.origin, found.target, pieces, first, last,
                            self.saturated_paths, self.passages)  # fmt: skip

    def join(self, layer: LineLayer, following: LayerTally) -> Crossings | None:
        """Add the tally of the blocks that follow these; returns what changes exactly where the two meet."""
        changes = self._meet(layer, following)
        self._join_passages(following)
        for name in ("transitions", "signs", "passages"):
            getattr(self, name)[:] += getattr(following, name)
        for name in ("lengths", "angles", "bends"):
            rows.add_exactly(getattr(following, name), getattr(self, name))
        np.minimum(self.closest, following.closest, out=self.closest)
        self.before, self.before_path = following.before, following.before_path
        return changes

    def _meet(self, layer: LineLayer, following: LayerTally) -> Crossings | None:
        """Count what happens at the vertex that two runs of blocks share: neither of them sees both its sides."""
        p = following.head_path
        if p == NOWHERE or p != self.before_path or following.head is None:
            return None
        h, path = following.head, np.full(2, p)
        alone, joined = layer.scan(h, path, np.empty((0, h.shape[1]))), layer.scan(h, path, self.before)
        self.transitions[p] += joined.counts[0] - alone.counts[0]
        self.signs[p] += joined.signs[0] - alone.signs[0]
        rows.sum_exactly(joined.sums[:1, rows.TURN].copy(), path, self.bends)
        if joined.counts[0] == alone.counts[0]:
            return None
        return layer.crossings(h, path, self.before, joined).first(joined.counts[0] - alone.counts[0])

    def _join_passages(self, following: LayerTally) -> None:
        first, last = following.saturated_paths
        if first == NOWHERE:
            return
        if self.saturated_paths[1] == first:
            here, there = self.saturated[1], following.saturated[0]
            self.passages[first] += ((here >= 0) & (there >= 0) & (here != there)).sum()
        going_on = self.saturated_paths[1] == last
        keep = going_on & (following.saturated[1] < 0)
        self.saturated[1] = np.where(keep, self.saturated[1], following.saturated[1])
        self.saturated_paths[1] = last
