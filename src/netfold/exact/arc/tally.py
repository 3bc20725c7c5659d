"""What one layer does to every arc, added up block by block: inside blocks by compiled passes, here where they meet.

Three things are one: a block that follows another, a run of blocks that follows another, and a closed path that begins
again where it ends. Each time two pieces of a path meet at one vertex, and what changes there is told by both. A closed
path is cut at t = 0, which is no breakpoint in (0, 1), but a unit whose states differ there changes there, so that it
comes back to its state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.arc import measures
from netfold.exact.arc.layers import ArcCrossings, ArcLayer, ArcPieces, ArcScan
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.sums import add_counts, keep_smallest, sum_exactly
from netfold.exact.paths.domain import Changes
from netfold.exact.paths.records import OutputTotals, Totals, join_totals

Flags = NDArray[np.bool_]


@dataclass
class Stretch:
    """A stretch of one path as a layer, or the output, sees it: its first and its last piece.

    Attributes:
        path: its number.
        first: the rows of its first piece, and ``last`` those of its last: vertex, control point, vertex.
        widths: their angles.
        leaving: the direction of the image at its start, ``arriving`` that at its end.
        image: the image where it starts.
        saturated: each unit's first and last saturated piece (-1: none).
    """

    path: int
    first: Floats
    last: Floats
    widths: tuple[float, float]
    leaving: Floats
    arriving: Floats
    image: Floats
    saturated: Ints


def stretches(pieces: ArcPieces, z: Floats, crossings: ArcCrossings, closed: Flags, saturated: Ints) -> list[Stretch]:
    """Those stretches of a block that may meet others: at its ends, and those of closed paths.

    ``z`` is the image; ``saturated`` holds what `saturate` finds, one entry a path in the block.
    """
    h, path, width, _ = pieces
    edges = [0, *(np.flatnonzero(path[1:] != path[:-1]) + 1).tolist(), len(path)]
    return [
        Stretch(int(path[a]), h[2 * a : 2 * a + 3].copy(), h[2 * b - 4 : 2 * b - 1].copy(), (width[a], width[b - 2]),
                measures.start_direction(z, a, crossings), measures.end_direction(z, b - 2, crossings), z[2 * a].copy(),
                saturated[i])
        for i, (a, b) in enumerate(pairwise(edges))
        if b - a > 1 and (a == 0 or b == len(path) or closed[path[a]])
    ]  # fmt: skip


C = TypeVar("C")


class ArcSeams(Generic[C]):
    """Lays stretches end to end, in order.

    The first and the last of them are kept, since others may come before and after them; what lies between is complete.

    Args:
        closed: which paths are closed.
        meet: counts what changes where one stretch meets the next, or a closed path itself.
    """

    def __init__(self, closed: Flags, meet: Callable[[Stretch, Stretch], C]) -> None:
        self.closed, self.meet = closed, meet
        self.ends: list[Stretch] = []

    def lay(self, following: list[Stretch]) -> C | None:
        """Add stretches; returns what changes at the vertex where the first of them goes on with a path, if it does."""
        changes = None
        for stretch in following:
            last = self.ends[-1] if self.ends else None
            if last is not None and last.path == stretch.path:
                changes = self.meet(last, stretch)
                last.last, last.arriving = stretch.last, stretch.arriving
                last.widths = last.widths[0], stretch.widths[1]
                continue
            self.ends.append(stretch)
            if len(self.ends) > 2:
                self._close(self.ends.pop(1))
        return changes

    def finish(self) -> None:
        """Close what is left."""
        while self.ends:
            self._close(self.ends.pop())

    def _close(self, stretch: Stretch) -> None:
        if self.closed[stretch.path]:
            self.meet(stretch, stretch)


class ArcTally:
    """What one layer does to every path, and the pieces at which blocks before and after meet it.

    Attributes:
        totals: one entry a path.
        doubts: places on each path that rounding may have decided; ``rough`` those whose angle did not converge.
    """

    def __init__(self, layer: ArcLayer, closed: Flags) -> None:
        self.layer, self.totals = layer, Totals.of(len(closed), layer.units)
        self.seams = ArcSeams(closed, self._meet)
        self.doubts, self.rough = (np.zeros(len(closed), np.int64) for _ in range(2))

    def add(self, pieces: ArcPieces, scan: ArcScan, crossings: ArcCrossings, z: Floats) -> Changes | None:
        """Add a block's changes; returns those at its first vertex, which take the block before."""
        path, totals = pieces.path, self.totals
        add_counts(scan.counts[:-1], path, totals.transitions)
        add_counts(scan.signs[:-1], path, totals.signs)
        keep_smallest(scan.closest, path, totals.closest)
        add_counts(scan.doubts[:-1], path, self.doubts)
        ends = self.layer.saturated_pieces
        paths = 1 + np.count_nonzero(path[1:] != path[:-1])
        saturated = np.full((paths, 2, self.layer.units if ends else 0), -1)
        if ends:
            saturate(path, crossings, ends, saturated, totals.passages)
        return self.seams.lay(stretches(pieces, z, crossings, self.seams.closed, saturated))

    def join(self, following: ArcTally) -> Changes | None:
        """Add the tally of the blocks that follow these; returns what changes exactly where the two meet."""
        join_totals(self.totals, following.totals)
        self.doubts += following.doubts
        self.rough += following.rough
        return self.seams.lay(following.seams.ends)

    def _meet(self, behind: Stretch, ahead: Stretch) -> Changes:
        p, totals = behind.path, self.totals
        (now, sign), (was, sign_before) = self.layer.states(ahead.first), self.layer.states(behind.last[::-1])
        unit = np.flatnonzero(now != was)
        totals.transitions[p] += len(unit)
        totals.signs[p] += np.count_nonzero(sign != sign_before)
        add_corner(behind, ahead, totals)
        if behind is ahead:
            totals.passages[p] += np.count_nonzero(behind.saturated[0] != behind.saturated[1])
        elif self.layer.saturated_pieces:
            for states in (was, now):
                ends = (now != was) & ((states == 0) | (states == self.layer.saturated_pieces - 1))
                totals.passages[p] += _chain(behind.saturated, np.where(ends, states, -1)[None].repeat(2, 0))
            totals.passages[p] += _chain(behind.saturated, ahead.saturated)
        return Changes(unit, was[unit], now[unit])


def add_corner(behind: Stretch, ahead: Stretch, totals: Totals | OutputTotals) -> None:
    """Add the turn of an image where two stretches meet, and its angle there on the unit sphere."""
    number = np.array([behind.path])
    for value, sums in zip(measures.corner(behind.arriving, ahead.leaving, ahead.image), (totals.bends, totals.angles),
                           strict=True):  # fmt: skip
        sum_exactly(np.array([value]), number, sums)


def _chain(saturated: Ints, following: Ints) -> int:
    """Passages between what units saturate at last and what they saturate at next; takes over what follows."""
    (first, last), (next_first, next_last) = saturated, following
    passages = int(np.count_nonzero((last >= 0) & (next_first >= 0) & (last != next_first)))
    saturated[:] = np.where(first < 0, next_first, first), np.where(next_last < 0, last, next_last)
    return passages


@compiled()
def saturate(path, found, pieces, saturated, passages):
    """Add passages from one end piece to the other; ``saturated`` takes each unit's first and last, path by path."""
    run = 0
    for s in range(len(path) - 1):
        first, last = saturated[run]
        for c in range(found.start[s], found.start[s + 1]):
            j = found.unit[c]
            for state in (found.origin[c], found.target[c]):
                if state == 0 or state == pieces - 1:
                    passages[path[s]] += last[j] >= 0 and last[j] != state
                    first[j] = state if first[j] < 0 else first[j]
                    last[j] = state
        run += path[s + 1] != path[s]
