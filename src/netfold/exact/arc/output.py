"""What arcs do in the network's output: breakpoints, patterns, harmonic pieces, lengths, class changes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from netfold.exact.arc import measures
from netfold.exact.arc.closing import Closing, Ends
from netfold.exact.arc.harmonic import above, zeros
from netfold.exact.arc.selection import leader, walk
from netfold.exact.numerics import sums
from netfold.exact.numerics.compiled import COMPILED
from netfold.exact.numerics.threads import over_rows
from netfold.exact.paths import patterns
from netfold.exact.paths.output import OutputTally, PathOutput
from netfold.exact.paths.readout import MERGE, breakpoints
from netfold.exact.paths.refinement import KEYS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]


class ArcOutputTally(OutputTally):
    """Collects the output's rows of all arcs, block by block: vertices and control points in turn."""

    def __init__(self, paths: int, size: int, closed: NDArray[np.bool_]) -> None:
        super().__init__(paths, size, KEYS)
        self.closing = Closing(closed, self._close)
        self.memory: tuple[int, float, Floats, float] | None = None

    def add_pieces(self, t: Floats, path: Ints, flips: Keys, first: Ints, width: Floats, y: Floats) -> None:
        """Add a block; its last vertex comes again as the first of the next block unless its path ends there."""
        ends = len(path) > 1 and path[-2] == path[-1]
        remembered = (int(path[-1]), float(t[-2]), y[-3:-1].copy(), width[-2]) if ends else None
        lead = 0
        if self.memory is not None and self.memory[0] == path[0]:
            _, earlier, values, angle = self.memory
            t, path, width = np.append(earlier, t), np.append(path[0], path), np.append(angle, width)
            flips, first = np.vstack([flips[:1], flips]), np.append(patterns.NO_LAYER, first)
            y, lead = np.vstack([values, y]), 1
        self.memory = remembered
        kept = breakpoints(path, first, self.totals.met)
        self.found.append(t[kept], flips[kept], first[kept])
        self._measure_pieces(path, first, width, y, lead)
        _count_signs(path, width, y, lead, self.totals.sign_changes)
        self._collect_winners(t, path, width, y, lead)

    def _measure_pieces(self, path: Ints, first: Ints, width: Floats, y: Floats, lead: int) -> None:
        n = len(path)
        lengths, angles, bends = (np.empty(n) for _ in range(3))
        flat, kinks = np.empty(n, np.int8), np.zeros(n, np.bool_)
        # no unit changes inside an output's piece
        start, none, three, empty = np.zeros(n + 1, np.int64), np.empty(0, np.int64), np.empty((0, 3)), np.empty(0)
        over_rows(measures.measure, n, 2 * self.size, y, width, start, none, three, empty, empty,
                  np.arange(n), np.zeros(n), start, empty, lengths, angles, bends, flat)  # fmt: skip
        over_rows(_kinks, n, 2 * self.size, first, width, y, MERGE, kinks)
        for values, totals in (
            (lengths, self.totals.lengths),
            (angles, self.totals.angles),
            (bends, self.totals.bends),
        ):
            sums.sum_exactly(values[lead:], path[lead:], totals)
        sums.add_counts(kinks, path, self.totals.kinks)
        if self.closing.closed.any():
            self.closing.follow(
                path, y, y,
                lambda s: measures.start_direction(y, s, start, none, empty),
                lambda s: measures.end_direction(y, s, start, none, three, empty),
            )  # fmt: skip

    def _close(self, ends: Ends) -> None:
        bend, angle = measures.corner(ends.arriving, ends.leaving, ends.vertex)
        number = np.array([ends.path])
        sums.sum_exactly(np.array([bend]), number, self.totals.bends)
        sums.sum_exactly(np.array([angle]), number, self.totals.angles)
        for j in range(self.size):
            now, was = above(*ends.first[:, j]), above(*ends.last[::-1, j])
            self.totals.sign_changes[ends.path, j] += now != was

    def _collect_winners(self, t: Floats, path: Ints, width: Floats, y: Floats, lead: int) -> None:
        entries = np.arange(max(self.size, 2))
        values = np.hstack([np.zeros_like(y), y]) if self.size == 1 else y
        segment, at, target = _class_changes(path, width, values, lead, entries, self.totals.start_class)
        moment = t[segment] + at * (t[segment + 1] - t[segment])
        self.changes.append(moment, path[segment], target)

    def finish(self) -> list[PathOutput]:
        """Join what the blocks gave: one result a path."""
        self.closing.finish()
        return super().finish()


@njit(**COMPILED)
def _kinks(begin, end, first, width, y, merge, kinks):
    """Breakpoints at which the output is not the same harmonic function on both sides.

    One function passes if the vertex lies between the control points around it, where the tangent has them, and the
    second derivatives agree, both to within ``merge`` of the size of the values.
    """
    for i in range(begin, end):
        if i == 0 or i + 1 >= len(first) or first[i] == patterns.NO_LAYER or width[i] < 0.0 or width[i - 1] < 0.0:
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


@njit(**COMPILED)
def _count_signs(path, width, y, lead, changes):
    """Add each output's sign changes from piece ``lead`` on, those exactly at a vertex with the piece it starts."""
    for s in range(lead, len(path) - 1):
        if width[s] < 0.0:
            continue
        for j in range(y.shape[1]):
            a, m, b = y[2 * s, j], y[2 * s + 1, j], y[2 * s + 2, j]
            changes[path[s], j] += zeros(a, m, b, max(abs(a), abs(m), abs(b)), width[s])[0]
            if s > 0 and width[s - 1] >= 0.0:
                changes[path[s], j] += above(a, y[2 * s - 1, j], y[2 * s - 2, j]) != above(a, m, b)


@njit(**COMPILED)
def _class_changes(path, width, y, lead, entries, starts):
    """Pieces, shares and new classes where the largest output changes, from piece ``lead`` on.

    ``starts`` takes the class with which each path begins.
    """
    room = 2 * len(entries) * max(len(path) - lead, 1)
    segment, at, target = np.empty(room, np.int64), np.empty(room), np.empty(room, np.int64)
    found = 0
    winners, places = np.empty(2 * len(entries), np.int64), np.empty(2 * len(entries))
    for s in range(lead, len(path) - 1):
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
