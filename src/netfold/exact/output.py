"""What paths do in the network's output: breakpoints, patterns, linear pieces, lengths, class changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netfold.exact import readout, rows
from netfold.exact.columns import Columns
from netfold.exact.threads import over_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

MERGE = 64 * np.finfo(np.float64).eps
"""Two neighbouring pieces are one linear piece where the vertex between them is off their common chord by less than
this, relative to the size of the output."""


@dataclass(frozen=True)
class PathOutput:
    """What one path does in the output, read off after the last block.

    Attributes:
        breakpoints: parameters at which a unit changes its state, and ``layers`` the first layer that does.
        patterns: distinct activation patterns met, and ``pieces`` linear pieces.
        length: of the output's image; ``angle`` on the unit sphere; ``bend`` total turning.
        class_changes: parameters at which the largest output changes, and ``classes`` those in between.
        sign_changes: one entry an output.
    """

    breakpoints: Floats
    layers: Ints
    patterns: int
    pieces: int
    length: float
    angle: float
    bend: float
    class_changes: Floats
    classes: Ints
    sign_changes: Ints


@dataclass(frozen=True)
class Vertices:
    """Consecutive rows at the output; ``lead`` is 1 where row 0 was already counted with the block before."""

    t: Floats
    path: Ints
    flips: Keys
    first: Ints
    y: Floats
    lead: int


class OutputTally:
    """Collects the output's rows of all paths, block by block."""

    def __init__(self, paths: int, size: int) -> None:
        self.paths, self.size = paths, size
        self.lengths, self.angles, self.bends = (np.zeros((paths, 3), np.int64) for _ in range(3))
        self.sign_changes = np.zeros((paths, size), np.int64)
        self.kinks = np.zeros(paths, np.int64)
        self.start_class = np.full(paths, -1)
        self.before: tuple[int, float, Floats] | None = None
        self.head: Vertices | None = None
        self.met = np.zeros(paths, np.int64)
        self.found = Columns((np.float64, ()), (np.uint64, (2,)), (np.int16, ()))
        self.changes = Columns((np.float64, ()), (np.int32, ()), (np.int32, ()))

    def add(self, t: Floats, path: Ints, flips: Keys, first: Ints, y: Floats) -> None:
        """Add a block's rows; its last row comes again as the first of the next block unless its path ends there."""
        block = self._with_vertex_before(t, path, flips, first, y)
        self._collect_breakpoints(block)
        self._measure(block)
        readout.count_signs(block.path, block.y, block.lead, self.sign_changes)
        self._collect_classes(block)
        ends = len(path) > 1 and path[-2] == path[-1]
        self.before = (int(path[-1]), float(t[-2]), y[-2].copy()) if ends else None
        if self.head is None:
            self.head = Vertices(t[:2].copy(), path[:2].copy(), flips[:2].copy(), first[:2].copy(), y[:2].copy(), 0)

    def join(self, following: OutputTally) -> None:
        """Add what was met on the rows that follow these; both have met the row at which they meet."""
        head, begun = following.head, self.start_class >= 0
        if head is None:
            return
        if head.path[0] == head.path[1]:
            joined = self._with_vertex_before(head.t, head.path, head.flips, head.first, head.y)
            if joined.lead:
                self._meet(joined, head)
        for mine, theirs in zip(self._sums(), following._sums(), strict=True):
            rows.add_exactly(theirs, mine)
        self.sign_changes += following.sign_changes
        self.kinks += following.kinks
        self.start_class = np.where(begun, self.start_class, following.start_class)
        self.met += following.met
        self.found.join(following.found)
        self.changes.join(following.changes)
        self.before = following.before

    def _sums(self) -> tuple[NDArray[np.int64], ...]:
        return self.lengths, self.angles, self.bends

    def _meet(self, joined: Vertices, alone: Vertices) -> None:
        """Add what happens at the middle one of three vertices, of which the last two are already counted."""
        p = int(joined.path[0])
        self._collect_breakpoints(joined)
        _, _, bends, kinks = _measured(joined)
        rows.sum_exactly(bends[1:2], joined.path, self.bends)
        self.kinks[p] += kinks[1]
        before = np.zeros_like(self.sign_changes)
        readout.count_signs(alone.path, alone.y, 0, before)
        self.sign_changes -= before
        readout.count_signs(joined.path, joined.y, 1, self.sign_changes)
        segment, at, target = self._class_changes(joined)
        here = at == 0.0
        self.changes.append(joined.t[segment[here]], joined.path[segment[here]], target[here])

    def _with_vertex_before(self, t: Floats, path: Ints, flips: Keys, first: Ints, y: Floats) -> Vertices:
        if self.before is None or self.before[0] != path[0]:
            return Vertices(t, path, flips, first, y, 0)
        _, earlier, value = self.before
        return Vertices(
            np.append(earlier, t),
            np.append(path[0], path),
            np.vstack([flips[:1], flips]),
            np.append(rows.NO_LAYER, first),
            np.vstack([value, y]),
            1,
        )

    def _collect_breakpoints(self, b: Vertices) -> None:
        joined = b.path[1:] == b.path[:-1]
        keep = np.flatnonzero(joined[1:] & joined[:-1] & (b.first[1:-1] != rows.NO_LAYER)) + 1
        self._keep(keep, b.t, b.path, b.flips, b.first)

    def _keep(self, kept: Ints, t: Floats, path: Ints, flips: Keys, first: Ints) -> None:
        """Note some rows as breakpoints; they come in the order of their paths."""
        np.add.at(self.met, path[kept], 1)
        self.found.append(t[kept], flips[kept], first[kept])

    def _measure(self, b: Vertices) -> None:
        lengths, angles, bends, kinks = _measured(b)
        rows.sum_exactly(lengths[b.lead :], b.path[b.lead :], self.lengths)
        rows.sum_exactly(angles[b.lead :], b.path[b.lead :], self.angles)
        rows.sum_exactly(bends, b.path, self.bends)
        rows.add_counts(kinks, b.path, self.kinks)

    def _collect_classes(self, b: Vertices) -> None:
        segment, at, target = self._class_changes(b)
        moment = b.t[segment] + at * (b.t[segment + 1] - b.t[segment])
        self.changes.append(moment, b.path[segment], target)

    def _class_changes(self, b: Vertices) -> tuple[Ints, Floats, Ints]:
        """Where the largest output changes: segments, positions in them, and the new classes."""
        y = np.hstack([np.zeros_like(b.y), b.y]) if self.size == 1 else b.y
        room = (len(y) + 1) * y.shape[1]
        segment, at, target = np.empty(room, np.int64), np.empty(room), np.empty(room, np.int64)
        entries = np.arange(y.shape[1])
        n = readout.class_changes(b.path, y, b.lead, entries, segment, at, target, self.start_class)
        return segment[:n].copy(), at[:n].copy(), target[:n].copy()

    def finish(self) -> list[PathOutput]:
        """Join what the blocks gave: one result a path."""
        t, flips, first = self.found.take()
        count = rows.merge_equal(t, flips, first, self.met)
        t, first = t[:count], first[:count]
        patterns = rows.count_distinct(flips, self.met)
        del flips  # the largest of them, before others are made
        moment, changed, target = self.changes.take()
        cuts = np.append(0, np.cumsum(self.met))
        turns = np.searchsorted(changed, np.arange(self.paths + 1))
        lengths, angles, bends = (exact_totals(v) for v in (self.lengths, self.angles, self.bends))
        return [
            PathOutput(
                breakpoints=t[cuts[p] : cuts[p + 1]].copy() if self.paths > 1 else t,
                layers=first[cuts[p] : cuts[p + 1]].astype(np.int64),
                patterns=int(patterns[p]),
                pieces=int(self.kinks[p]) + 1,
                length=lengths[p],
                angle=angles[p],
                bend=bends[p],
                class_changes=moment[turns[p] : turns[p + 1]].copy(),
                classes=np.append(self.start_class[p], target[turns[p] : turns[p + 1]]).astype(np.int64),
                sign_changes=self.sign_changes[p],
            )
            for p in range(self.paths)
        ]


def _measured(b: Vertices) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Length and angle of the segment after each row, turn and kink at the row."""
    n = len(b.t)
    lengths, angles, bends = (np.empty(n) for _ in range(3))
    kinks = np.empty(n, np.bool_)
    over_rows(readout.measure, *b.y.shape, b.t, b.path, b.first, b.y, MERGE, lengths, angles, bends, kinks)
    return lengths, angles, bends, kinks


def exact_totals(limbs: NDArray[np.int64]) -> list[float]:
    """Totals of exact sums (`rows.sum_exactly`) as floats, correctly rounded."""
    return [((int(a) << 124) + (int(b) << 62) + int(c)) / 2**124 for a, b, c in limbs]
