"""What arcs do in the network's output: breakpoints, patterns, harmonic pieces, lengths, class changes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats
from netfold.exact.arc import measures
from netfold.exact.arc.elementwise import positive
from netfold.exact.arc.harmonic import above, zeros
from netfold.exact.arc.layers import ArcCrossings, ArcPieces, Part
from netfold.exact.arc.selection import leader, walk
from netfold.exact.arc.tally import ArcSeams, Stretch, add_corner, stretches
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.sums import add_counts
from netfold.exact.paths.blocks import PathBlock
from netfold.exact.paths.output import OutputTally, PathOutput
from netfold.exact.paths.patterns import NO_LAYER
from netfold.exact.paths.readout import MERGE, breakpoints
from netfold.exact.paths.records import NOWHERE
from netfold.exact.paths.refinement import KEYS

Flags = NDArray[np.bool_]


class ArcOutputTally(OutputTally):
    """Collects the output's rows of all arcs, block by block: vertices and control points in turn."""

    def __init__(self, paths: int, size: int, closed: Flags) -> None:
        super().__init__(paths, size, KEYS)
        self.seams = ArcSeams(closed, self._turn)
        self.rough = np.zeros(paths, np.int64)

    def add_pieces(self, block: PathBlock, width: Floats) -> None:
        """Add a block; its last vertex comes again as the first of the next block unless its path ends there."""
        y, path, n = block.h, block.path, len(block.path)
        pieces = ArcPieces(y, path, width, np.zeros(n))
        # no unit changes inside an output's piece
        none = ArcCrossings.room(np.zeros(n, np.int64))
        self._lay(stretches(pieces, y, none, self.seams.closed, np.empty((n, 0), np.int64)), block)
        kept = breakpoints(path, block.first, self.totals.met)
        self.found.append(block.t[kept], block.flips[kept], block.first[kept])
        measured, kinks = np.zeros((measures.MEASURES, n)), np.zeros(n, np.bool_)
        part = Part(np.arange(n), np.zeros(n), np.zeros(n + 1, np.int64))
        measures.measure(y, width, none, part, measured, np.zeros(n, np.int8))
        measures.add_measures(measured, part.at, path, self.totals)
        np.add.at(self.rough, path, measured[measures.ROUGH] > 0)
        _kinks(block.first, width, y, MERGE, kinks)
        add_counts(kinks, path, self.totals.kinks)
        _count_signs(path, width, y, self.totals.sign_changes)
        starts = np.full(self.paths, NOWHERE)
        segment, at, target = _class_changes(path, width, _rivals(y), starts)
        self.changes.append(block.t[segment] + at * (block.t[segment + 1] - block.t[segment]), path[segment], target)
        self.totals.start_class[:] = np.where(self.totals.start_class == NOWHERE, starts, self.totals.start_class)
        if self.head is None:
            self.head = block.leading(1)

    def finish(self) -> list[PathOutput]:
        """Join what the blocks gave: one result a path."""
        self.seams.finish()
        return super().finish()

    def _meet(self, following: OutputTally) -> None:
        assert isinstance(following, ArcOutputTally)
        assert following.head is not None
        self.rough += following.rough
        self._lay(following.seams.ends, following.head)

    def _lay(self, following: list[Stretch], block: PathBlock) -> None:
        """Add a block's stretches, and what happens at its first vertex, if its path was met before."""
        turn = self.seams.lay(following)
        if turn is None:
            return
        if block.first[0] != NO_LAYER:
            self.found.append(block.t[:1], block.flips[:1], block.first[:1])
            self.totals.met[block.path[0]] += 1
            self.totals.kinks[block.path[0]] += turn.kink
        if turn.was != turn.now:
            self.changes.append(block.t[:1], block.path[:1], np.array([turn.now]))

    def _turn(self, behind: Stretch, ahead: Stretch) -> Turn:
        """Count the turn and the sign changes where two stretches meet."""
        add_corner(behind, ahead, self.totals)
        self.totals.sign_changes[behind.path] += positive(ahead.first) != positive(behind.last[::-1])
        kinks, first = np.zeros(3, np.bool_), np.array([NO_LAYER, 0, NO_LAYER])
        width = np.array([behind.widths[1], ahead.widths[0], -1.0])
        _kinks(first, width, np.vstack([behind.last[:2], ahead.first]), MERGE, kinks)
        return Turn(bool(kinks[1]), _largest(behind.last[::-1]), _largest(ahead.first))


class Turn(NamedTuple):
    """How an output goes on at a vertex: whether it is another harmonic function, and the largest entry was and is."""

    kink: bool
    was: int
    now: int


def _largest(three: Floats) -> int:
    """The largest output just after the start of a piece."""
    here, control, ahead = _rivals(three)
    return leader(here, control, ahead, np.arange(len(here)), 1.0)[0]


def _rivals(y: Floats) -> Floats:
    """The outputs of which the largest is the class: a single one counts as the second of two."""
    return np.hstack([np.zeros_like(y), y]) if y.shape[1] == 1 else np.ascontiguousarray(y)


@compiled()
def _kinks(first, width, y, merge, kinks):
    """Breakpoints at which the output is not the same harmonic function on both sides.

    One function passes if the vertex lies between the control points around it, where the tangent has them, and the
    second derivatives agree, both to within ``merge`` of the size of the values.
    """
    for i in range(1, len(first) - 1):
        if first[i] == NO_LAYER or width[i] < 0.0 or width[i - 1] < 0.0:
            continue
        before, after = np.tan(0.5 * width[i - 1]), np.tan(0.5 * width[i])
        short = min(before, after)
        ratio = before / (before + after) if before + after > 0.0 else 0.5
        off, size, curved = 0.0, 0.0, 0.0
        for j in range(y.shape[1]):
            a, m, v, n, b = y[2 * i - 2, j], y[2 * i - 1, j], y[2 * i, j], y[2 * i + 1, j], y[2 * i + 2, j]
            size = max(size, abs(a), abs(m), abs(v), abs(n), abs(b))
            off = max(off, abs(m + ratio * (n - m) - v))
            if short > 0.0:
                left = ((v - m) * np.cos(width[i - 1]) - (m - a)) / (before * np.sin(width[i - 1]))
                right = ((b - n) - (n - v) * np.cos(width[i])) / (after * np.sin(width[i]))
                curved = max(curved, abs(right - left) * short * short)
        kinks[i] = off > merge * size or curved > merge * size


@compiled()
def _count_signs(path, width, y, changes):
    """Add each output's sign changes, those exactly at a vertex with the piece it starts."""
    for s in range(len(path) - 1):
        if width[s] < 0.0:
            continue
        for j in range(y.shape[1]):
            a, m, b = y[2 * s, j], y[2 * s + 1, j], y[2 * s + 2, j]
            changes[path[s], j] += zeros(a, m, b, max(abs(a), abs(m), abs(b)), width[s])[0]
            if s > 0 and width[s - 1] >= 0.0:
                changes[path[s], j] += above(a, y[2 * s - 1, j], y[2 * s - 2, j]) != above(a, m, b)


@compiled()
def _class_changes(path, width, y, starts):
    """Pieces, shares and new classes where the largest output changes.

    ``starts`` takes the class with which each path begins.
    """
    entries = np.arange(y.shape[1])
    room = 2 * len(entries) * len(path)
    segment, at, target = np.empty(room, np.int64), np.empty(room), np.empty(room, np.int64)
    found = 0
    winners, places = np.empty(2 * len(entries), np.int64), np.empty(2 * len(entries))
    for s in range(len(path) - 1):
        if width[s] < 0.0:
            continue
        count = walk(y[2 * s], y[2 * s + 1], y[2 * s + 2], entries, 1.0, width[s], winners, places)
        if s == 0 or width[s - 1] < 0.0:
            starts[path[s]] = winners[0]
        elif leader(y[2 * s], y[2 * s - 1], y[2 * s - 2], entries, 1.0)[0] != winners[0]:
            segment[found], at[found], target[found] = s, 0.0, winners[0]
            found += 1
        for n in range(1, count):
            segment[found], at[found], target[found] = s, places[n], winners[n]
            found += 1
    return segment[:found].copy(), at[:found].copy(), target[:found].copy()
