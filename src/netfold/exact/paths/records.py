"""What compiled passes over the vertices of straight paths hand on: named groups of arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints, Keys
from netfold.exact.numerics import bits
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.sums import add_exactly
from netfold.exact.paths.patterns import NO_LAYER
from netfold.exact.paths.segments import SUMS

Flags = NDArray[np.bool_]

NOWHERE = -1
"""No path, no piece, no class."""

LOW, HIGH, ZERO, PLANES = range(4)
"""Planes of a row's bits: which units lie above their two knots, and above zero."""


class Functions(NamedTuple):
    """The rule of a layer whose units apply one function each (`netfold.exact.line.pieces`)."""

    pieces: Floats


class Choice(NamedTuple):
    """The rule of a layer whose units take the largest of their candidates, or with sign -1 the smallest."""

    candidates: Ints
    sign: float


class Scan(NamedTuple):
    """What one pass over a block of vertices finds.

    Attributes:
        counts: changes of state, one entry a row: those inside the segment that starts there, and at its vertex.
        signs: sign changes of pre-activations, likewise.
        touches: whether a row holds a pre-activation that equals a knot or zero.
        closest: the smallest distance of a row to a knot that it does not equal, over the row's mean size.
        sums: what describes the image at the start of each segment (`paths.segments`).
        above: which pre-activations lie above knots and zero, as bits (`numerics.bits`); empty for choices.
        near: whether at a row a pre-activation is so near to a knot or zero, or a winner to another entry, that
            rounding may have decided; what is equal at two neighbouring rows is equal between them, and no doubt.
    """

    counts: Ints
    signs: Ints
    touches: Flags
    closest: Floats
    sums: Floats
    above: bits.Words
    near: Flags


class Crossings(NamedTuple):
    """Changes of state in order of segment and position; segment ``s`` owns ``start[s]`` to ``start[s + 1]``.

    Attributes:
        start: where each segment's changes begin; the last row starts no segment.
        at: positions in the segment; changes exactly at its first vertex stand at 0.
        unit: which unit changes, from piece ``origin`` to piece ``target``.
        slope_from: the image's slope in the unit before, and ``slope_to`` after.
        value: the unit's image there.
    """

    start: Ints
    at: Floats
    unit: Ints
    origin: Ints
    target: Ints
    slope_from: Floats
    slope_to: Floats
    value: Floats


class PathVertices(NamedTuple):
    """Vertices of paths, without values: as in `Refined`."""

    t: Floats
    path: Ints
    flips: Keys
    first: Ints

    @staticmethod
    def plain(t: Floats, path: Ints, keys: int) -> PathVertices:
        """Vertices at which nothing switches; keys have some words."""
        return PathVertices(t, path, np.zeros((len(t), keys), np.uint64), np.full(len(t), NO_LAYER))

    def part(self, p: slice) -> PathVertices:
        """Some of them."""
        return PathVertices(self.t[p], self.path[p], self.flips[p], self.first[p])


class Refined(NamedTuple):
    """The vertices of a block with those at its crossings: where they lie, and what changes there.

    Attributes:
        segment: the block's segment in which a row lies, and ``at`` its position there.
        cross: row ``i`` stands at the crossings ``cross[i]`` to ``cross[i + 1]``.
        t: the row's parameter, and ``path`` its path.
        flips: keys of the states that switch there, and ``first`` the first layer in which one does.
    """

    segment: Ints
    at: Floats
    cross: Ints
    t: Floats
    path: Ints
    flips: Keys
    first: Ints

    def vertices(self, p: slice) -> PathVertices:
        """Some of the rows, without values."""
        return PathVertices(self.t[p], self.path[p], self.flips[p], self.first[p])


class Totals(NamedTuple):
    """What one layer does to every path; lengths, angles and bends are exact sums (`sums.sum_exactly`).

    Attributes:
        transitions: state switches; ``signs`` sign transitions; ``passages`` from one saturated state to the other.
        lengths: of the image; ``angles`` on the unit sphere; ``bends`` its turning.
        closest: smallest relative distance to a knot.
        saturated: each unit's first saturated piece on the first path, and its last on the last one (-1: none).
        saturated_paths: these two paths.
    """

    transitions: Ints
    signs: Ints
    passages: Ints
    lengths: Ints
    angles: Ints
    bends: Ints
    closest: Floats
    saturated: Ints
    saturated_paths: Ints

    @staticmethod
    def of(paths: int, units: int) -> Totals:
        """Nothing met yet."""
        transitions, signs, passages = (np.zeros(paths, np.int64) for _ in range(3))
        lengths, angles, bends = (np.zeros((paths, 3), np.int64) for _ in range(3))
        saturated, saturated_paths = np.full((2, units), NOWHERE), np.full(2, NOWHERE)
        closest = np.full(paths, np.inf)
        return Totals(transitions, signs, passages, lengths, angles, bends, closest, saturated, saturated_paths)


class OutputTotals(NamedTuple):
    """What every path does in the output.

    Attributes:
        lengths: of the image; ``angles`` on the unit sphere; ``bends`` its turning; exact sums.
        sign_changes: one column an output.
        kinks: vertices between two linear pieces.
        start_class: the class with which the path begins, -1 before it does.
        met: breakpoints.
    """

    lengths: Ints
    angles: Ints
    bends: Ints
    sign_changes: Ints
    kinks: Ints
    start_class: Ints
    met: Ints

    @staticmethod
    def of(paths: int, size: int) -> OutputTotals:
        """Nothing met yet."""
        lengths, angles, bends = (np.zeros((paths, 3), np.int64) for _ in range(3))
        kinks, met = np.zeros(paths, np.int64), np.zeros(paths, np.int64)
        changes, classes = np.zeros((paths, size), np.int64), np.full(paths, NOWHERE)
        return OutputTotals(lengths, angles, bends, changes, kinks, classes, met)


@compiled()
def scan_room(n, units):
    """Room for a scan of ``n`` rows with bits of some units."""
    above = np.empty((n, PLANES, -(-units // bits.WORD)), np.int64)
    return Scan(
        np.empty(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.bool_),
        np.empty(n),
        np.empty((n, SUMS)),
        above,
        np.zeros(n, np.bool_),
    )


@compiled()
def crossings_room(counts):
    """Room for the crossings that a scan counted; the last row starts no segment."""
    start = np.zeros(len(counts), np.int64)
    for s in range(len(counts) - 1):
        start[s + 1] = start[s] + counts[s]
    n = start[-1]
    return Crossings(
        start, np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n),
        np.empty(n), np.empty(n),
    )  # fmt: skip


@compiled()
def join_totals(mine, theirs):
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


@compiled()
def _join_passages(mine, theirs):
    first, last = theirs.saturated_paths
    if first == NOWHERE:
        return
    meets, goes_on = mine.saturated_paths[1] == first, mine.saturated_paths[1] == last
    if mine.saturated_paths[0] == NOWHERE:
        mine.saturated_paths[0] = first
    begins = mine.saturated_paths[0] == first
    for j in range(mine.saturated.shape[1]):
        here, there = mine.saturated[1, j], theirs.saturated[0, j]
        if begins and mine.saturated[0, j] < 0:
            mine.saturated[0, j] = there
        mine.passages[first] += meets and here >= 0 and there >= 0 and here != there
        if not goes_on or theirs.saturated[1, j] >= 0:
            mine.saturated[1, j] = theirs.saturated[1, j]
    mine.saturated_paths[1] = last
