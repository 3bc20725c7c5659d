"""Where a closed path ends, it begins again: what changes exactly there.

The last piece of a closed path and its first meet at one vertex. A unit whose states differ on them changes there,
so that on a closed path every unit comes back to its state; the point is t = 0, which is no breakpoint in (0, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from netfold.exact.numerics.compiled import COMPILED

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Ends:
    """The first and the last piece of a closed path as a layer reads them, and its image's directions there.

    Attributes:
        path: its number.
        first: the rows of its first piece, and ``last`` those of its last: vertex, control point, vertex.
        leaving: the direction of the image at the start, ``arriving`` that at the end.
        vertex: the image where it starts.
    """

    path: int
    first: Floats
    last: Floats
    leaving: Floats
    arriving: Floats
    vertex: Floats


class Closing:
    """Follows the closed paths among many, block by block, and reports the ends of each when it is through."""

    def __init__(self, closed: NDArray[np.bool_], report: Callable[[Ends], None]) -> None:
        self.closed, self.report = closed, report
        self.ends: Ends | None = None

    def follow(
        self, path: Ints, h: Floats, z: Floats, start: Callable[[int], Floats], end: Callable[[int], Floats]
    ) -> None:
        """Take in a block; ``start`` and ``end`` give the image's direction at the start or end of a piece."""
        if not self.closed[path].any():
            return
        for first, last in _runs(path):
            p = int(path[first])
            if self.ends is None or self.ends.path != p:
                self.finish()
                begin = h[2 * first : 2 * first + 3].copy()
                leaving = start(first)
                self.ends = Ends(p, begin, begin, leaving, leaving, z[2 * first].copy())
            self.ends.last = h[2 * last - 2 : 2 * last + 1].copy()
            self.ends.arriving = end(last - 1)

    def finish(self) -> None:
        """Report the path that was followed last."""
        if self.ends is not None and self.closed[self.ends.path]:
            self.report(self.ends)
        self.ends = None


def _runs(path: Ints) -> Iterator[tuple[int, int]]:
    """First and last vertex of every path in a block that has a piece there."""
    edges = [0, *(np.flatnonzero(path[1:] != path[:-1]) + 1).tolist(), len(path)]
    for a, b in pairwise(edges):
        if b - a > 1:
            yield a, b - 1


@njit(**COMPILED)
def count_passages(path, start, unit, origin, target, pieces, closed, first, last, current, passages):  # fmt: skip
    """Add passages from one end piece to the other; on a closed path also the one past its start.

    ``first`` and ``last`` hold the first and the last saturated piece of each unit on path ``current[0]``.
    """
    for s in range(len(start) - 1):
        if path[s] != current[0]:
            close_passages(closed, first, last, current, passages)
            current[0] = path[s]
        for c in range(start[s], start[s + 1]):
            j = unit[c]
            for state in (origin[c], target[c]):
                if state == 0 or state == pieces - 1:
                    passages[path[s]] += last[j] >= 0 and last[j] != state
                    first[j] = state if first[j] < 0 else first[j]
                    last[j] = state


@njit(**COMPILED)
def close_passages(closed, first, last, current, passages):
    """Finish the path that was followed last."""
    if current[0] >= 0 and closed[current[0]]:
        for j in range(len(first)):
            passages[current[0]] += first[j] != last[j]
    first[:] = -1
    last[:] = -1
