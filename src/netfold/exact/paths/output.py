"""What paths do in the network's output: breakpoints, patterns, linear pieces, lengths, class changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints, Keys
from netfold.exact.numerics.columns import Columns
from netfold.exact.numerics.sums import add_exactly
from netfold.exact.paths import readout
from netfold.exact.paths.blocks import PathBlock
from netfold.exact.paths.patterns import count_distinct, merge_equal
from netfold.exact.paths.records import NOWHERE, OutputTotals

DROWNED = 1 / 64
"""Share of the terms below which values are small beside them: what bends there is held against the terms' rounding."""


@dataclass(frozen=True)
class PathOutput:
    """What one path does in the output, read off after the last block.

    Attributes:
        breakpoints: parameters at which a unit changes its state, and ``layers`` the first layer that does.
        patterns: distinct activation patterns met, and ``pieces`` linear pieces.
        length: of the output's image; ``angle`` on the unit sphere; ``bend`` total turning.
        merged: changes of state that float64 holds at the parameter of another one; ``faint`` bends that may be the
            rounding of larger terms.
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
    merged: int
    faint: int = 0


class Seen(NamedTuple):
    """What a block of rows holds besides what is added up.

    Attributes:
        t: the breakpoints' parameters, with ``flips`` the keys that switch there and ``first`` the first layer.
        moment: parameters at which the largest output changes, on path ``changed``, to class ``target``.
        faint: bends of each path that may be rounding.
    """

    t: Floats
    flips: Keys
    first: Ints
    moment: Floats
    changed: Ints
    target: Ints
    faint: Ints


class OutputTally:
    """Collects the output's rows of all paths, block by block.

    Attributes:
        scales: of the output on each path (`netfold.exact.paths.scale`), zeros where they are not known.
        faint: bends of each path that may be the rounding of the terms that make the output.
        rows: where they are kept, the parameters of all vertices and the outputs there; those at which blocks meet come
            twice.
    """

    def __init__(self, paths: int, size: int, keys: int, keep: bool = False, scales: Floats | None = None) -> None:
        self.paths, self.size = paths, size
        self.scales, self.faint = np.zeros(paths) if scales is None else scales, np.zeros(paths, np.int64)
        self.totals = OutputTotals.of(paths, size)
        self.before: tuple[int, Floats, Floats] | None = None
        self.head: PathBlock | None = None
        self.found = Columns((np.float64, ()), (np.uint64, (keys,)), (np.int16, ()))
        self.changes = Columns((np.float64, ()), (np.int32, ()), (np.int32, ()))
        self.rows = Columns((np.float64, ()), (np.float64, (size,))) if keep else None

    def add(self, block: PathBlock) -> None:
        """Add a block; its last row comes again as the first of the next block unless its path ends there."""
        path = block.path
        if self.rows is not None:
            self.rows.append(block.t, block.h)
        seen = self._seen(*self._vertex_before(block), block, self.totals)
        self.found.append(seen.t, seen.flips, seen.first)
        self.changes.append(seen.moment, seen.changed, seen.target)
        self.faint += seen.faint
        ends = len(path) > 1 and path[-2] == path[-1]
        self.before = (int(path[-1]), block.t[-2:-1].copy(), block.h[-2:-1].copy()) if ends else None
        if self.head is None:
            self.head = block.leading(2)

    def join(self, following: OutputTally) -> None:
        """Add what was met on the rows that follow these; both have met the row at which they meet."""
        mine, theirs = self.totals, following.totals
        if following.head is None:
            return
        self._meet(following)
        self.faint += following.faint
        for sums, more in zip(mine[:3], theirs[:3], strict=True):
            add_exactly(more, sums)
        for name in ("sign_changes", "kinks", "met"):
            getattr(mine, name)[:] += getattr(theirs, name)
        mine.start_class[:] = np.where(mine.start_class == NOWHERE, theirs.start_class, mine.start_class)
        self.found.join(following.found)
        self.changes.join(following.changes)
        if self.rows is not None and following.rows is not None:
            self.rows.join(following.rows)
        self.before = following.before
        if self.head is None:
            self.head = following.head

    def _vertex_before(self, block: PathBlock) -> tuple[Floats, Floats]:
        """Parameter and values of the vertex before a block's first row, or nothing at the start of a path."""
        if self.before is None or self.before[0] != block.path[0]:
            return np.empty(0), np.empty((0, block.h.shape[1]))
        return self.before[1:]

    def _seen(self, earlier: Floats, behind: Floats, block: PathBlock, totals: OutputTotals) -> Seen:
        """What is on a block's rows; the segment before them was counted with the block before."""
        t, path, first, y = block.t, block.path, block.first, block.h
        lead = len(earlier)
        if lead:
            t, path, y = np.append(earlier, t), np.append(path[:1], path), np.concatenate([behind, y])
            first = np.append(readout.NO_LAYER, first)
        rivals = y if y.shape[1] > 1 else np.hstack([np.zeros_like(y), y])  # a single output against zero
        entries = np.arange(rivals.shape[1])
        kept, segment, at, target = readout.see(t, path, first, y, rivals, entries, lead, totals)
        moment = t[segment] + at * (t[segment + 1] - t[segment])
        faint = self._faint(t, path, first, y)
        return Seen(t[kept], block.flips[kept - lead], first[kept], moment, path[segment], target, faint)

    def _faint(self, t: Floats, path: Ints, first: Ints, y: Floats) -> Ints:
        """Bends of each path between rows of values that are small beside their terms, by the rounding of these."""
        size, terms = np.sqrt(np.einsum("ij,ij->i", y, y)), self.scales[path] * np.sqrt(self.size)
        found, drowned = np.zeros(self.paths, np.int64), size < DROWNED * terms
        inside = (path[2:] == path[:-2]) & (first[1:-1] != readout.NO_LAYER)
        rows = 1 + np.flatnonzero(inside & drowned[1:-1] & drowned[2:] & drowned[:-2])
        if len(rows):
            share = ((t[rows] - t[rows - 1]) / np.maximum(t[rows + 1] - t[rows - 1], 1e-300))[:, None]
            off = np.linalg.norm((1.0 - share) * (y[rows] - y[rows - 1]) - share * (y[rows + 1] - y[rows]), axis=1)
            largest = np.maximum(size[rows], np.maximum(size[rows - 1], size[rows + 1]))
            np.add.at(found, path[rows], (off > readout.MERGE * largest) & (off <= readout.MERGE * terms[rows]))
        return found

    def _meet(self, following: OutputTally) -> None:
        """Count what happens at the first vertex that follows, of which both have seen one side."""
        head = following.head
        if head is None or head.path[0] != head.path[1]:
            return
        earlier, behind = self._vertex_before(head)
        if len(earlier) == 0:
            return
        alone, joined = OutputTotals.of(self.paths, self.size), OutputTotals.of(self.paths, self.size)
        counted = self._seen(earlier[:0], behind[:0], head, alone)
        seen = self._seen(earlier, behind, head, joined)
        self.found.append(seen.t, seen.flips, seen.first)
        here = len(seen.moment) - len(counted.moment)
        self.changes.append(seen.moment[:here], seen.changed[:here], seen.target[:here])
        add_exactly(joined.bends, self.totals.bends)
        self.totals.sign_changes[:] += joined.sign_changes - alone.sign_changes
        self.totals.kinks[:] += joined.kinks
        self.totals.met[:] += joined.met
        self.faint += seen.faint - counted.faint

    def finish(self) -> list[PathOutput]:
        """Join what the blocks gave: one result a path."""
        t, flips, first = self.found.take()
        met = self.totals.met.copy()
        count = merge_equal(t, flips, first, self.totals.met)
        t, first = t[:count], first[:count]
        # without keys a path is straight, and never comes back to a pattern
        patterns = count_distinct(flips, self.totals.met) if flips.shape[1] else self.totals.met + 1
        del flips  # the largest of them, before others are made
        moment, changed, target = self.changes.take()
        cuts = np.append(0, np.cumsum(self.totals.met))
        turns = np.searchsorted(changed, np.arange(self.paths + 1))
        lengths, angles, bends = (exact_totals(v) for v in self.totals[:3])
        return [
            PathOutput(
                breakpoints=t[cuts[p] : cuts[p + 1]].copy() if self.paths > 1 else t,
                layers=first[cuts[p] : cuts[p + 1]].astype(np.int64),
                patterns=int(patterns[p]),
                pieces=int(self.totals.kinks[p]) + 1,
                length=lengths[p],
                angle=angles[p],
                bend=bends[p],
                class_changes=moment[turns[p] : turns[p + 1]].copy(),
                classes=np.append(self.totals.start_class[p], target[turns[p] : turns[p + 1]]).astype(np.int64),
                sign_changes=self.totals.sign_changes[p],
                merged=int(met[p] - self.totals.met[p]),
                faint=int(self.faint[p]),
            )
            for p in range(self.paths)
        ]


def exact_totals(limbs: NDArray[np.int64]) -> list[float]:
    """Totals of exact sums (`sums.sum_exactly`) as floats, correctly rounded."""
    return [((int(a) << 124) + (int(b) << 62) + int(c)) / 2**124 for a, b, c in limbs]
