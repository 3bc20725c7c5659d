"""How a piecewise-linear layer acts on the vertices of a straight path: one class a kind of rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netfold.capture.activations import Elementwise, Rule, Selection
from netfold.exact import bits, elementwise, rows, selection
from netfold.exact.products import padding
from netfold.exact.threads import over_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Scan:
    """What one pass over a block of vertices finds.

    Attributes:
        counts: changes of state, one entry a row: those inside the segment that starts there, and at its vertex.
        signs: sign changes of pre-activations, likewise.
        touches: whether a row holds a pre-activation that equals a knot or zero.
        closest: the smallest relative distance to a knot in a path's rows, written at the last of them.
        sums: what describes the image at the start of each segment (`netfold.exact.rows`).
        above: which pre-activations lie above knots and zero, as bits (`netfold.exact.bits`); empty for selections.
    """

    counts: Ints
    signs: Ints
    touches: NDArray[np.bool_]
    closest: Floats
    sums: Floats
    above: bits.Words

    @staticmethod
    def empty(n: int, units: int) -> Scan:
        """Room for ``n`` rows with bits of some units."""
        signs, touches = np.zeros(n, np.int64), np.zeros(n, np.bool_)
        above = np.empty((n, elementwise.PLANES, bits.words(units)), np.int64)
        return Scan(np.empty(n, np.int64), signs, touches, np.empty(n), np.empty((n, rows.SUMS)), above)


@dataclass(frozen=True)
class Crossings:
    """Changes of state in order of segment and position; segment ``s`` owns ``start[s]`` to ``start[s + 1]``."""

    start: Ints
    at: Floats
    unit: Ints
    origin: Ints
    target: Ints
    slope_from: Floats
    slope_to: Floats
    value: Floats

    @staticmethod
    def empty(scan: Scan) -> Crossings:
        """Room for the crossings that a scan counted; the last row starts no segment."""
        start = np.concatenate([[0], np.cumsum(scan.counts[:-1])])
        n = int(start[-1])
        at, slope_from, slope_to, value = (np.empty(n) for _ in range(4))
        unit, origin, target = (np.empty(n, np.int64) for _ in range(3))
        return Crossings(start, at, unit, origin, target, slope_from, slope_to, value)

    def first(self, count: int) -> Crossings:
        """The first few crossings, as those of one segment."""
        c = slice(count)
        return Crossings(np.array([0, count]), self.at[c], self.unit[c], self.origin[c], self.target[c],
                         self.slope_from[c], self.slope_to[c], self.value[c])  # fmt: skip


class LineLayer(Protocol):
    """A layer's compiled passes with its parameters bound."""

    units: int
    saturated_pieces: int

    def scan(self, h: Floats, path: Ints, before: Floats) -> Scan:
        """Count changes of state and describe the image; ``before`` is the vertex before row 0, or empty."""
        ...

    def crossings(self, h: Floats, path: Ints, before: Floats, scan: Scan) -> Crossings:
        """List the changes of state that a scan counted."""
        ...

    def opened(self, h: Floats) -> Floats:
        """The layer's values at the vertices, with zero rows and columns up to multiples of eight."""
        ...

    def image(self, h: Floats, segment: Ints, at: Floats, cross: Ints, found: Crossings) -> Floats:
        """The layer's values at refined rows: row ``i`` lies in ``segment[i]`` at position ``at[i]``."""
        ...


class ElementwiseLayer:
    """Units that apply one piecewise-linear function each."""

    def __init__(self, rule: Elementwise, units: int) -> None:
        self.units = units
        self.saturated_pieces = rule.slopes.shape[1] if rule.saturates else 0
        self.pieces = _pieces(rule)
        self.kernels = elementwise.SHARED if self.pieces.shape[1] == 1 else elementwise.OWN

    def scan(self, h: Floats, path: Ints, before: Floats) -> Scan:
        """Count changes of state and describe the image; ``before`` is the vertex before row 0, or empty."""
        found = Scan.empty(len(h), self.units)
        over_rows(self.kernels.states, *h.shape, h, path, self.pieces, bits.POWERS, found.above, found.touches,
                  found.closest)  # fmt: skip
        over_rows(self.kernels.scan, *h.shape, h, path, before, self.pieces, found.above, found.touches,
                  found.counts, found.signs, found.sums)  # fmt: skip
        return found

    def crossings(self, h: Floats, path: Ints, before: Floats, scan: Scan) -> Crossings:
        """List the changes of state that a scan counted."""
        found = Crossings.empty(scan)
        over_rows(self.kernels.crossings, len(h) - 1, self.units, h, path, before, self.pieces, scan.above,
                  scan.touches, found.start, found.at, found.unit, found.origin, found.target, found.slope_from,
                  found.slope_to, found.value)  # fmt: skip
        return found

    def opened(self, h: Floats) -> Floats:
        """The layer's values at the vertices, with zero rows and columns up to multiples of eight."""
        out = padding(len(h), self.units)
        over_rows(self.kernels.opened, *h.shape, h, self.pieces, out)
        return out

    def image(self, h: Floats, segment: Ints, at: Floats, cross: Ints, found: Crossings) -> Floats:
        """The layer's values at refined rows: row ``i`` lies in ``segment[i]`` at position ``at[i]``."""
        out = np.empty((len(at), self.units))
        over_rows(self.kernels.image, *out.shape, h, segment, at, self.pieces, cross, found.unit, found.value, out)
        return out


class SelectionLayer:
    """Units that take the largest or smallest of a few entries."""

    saturated_pieces = 0

    def __init__(self, rule: Selection) -> None:
        self.units = len(rule.candidates)
        self.candidates = np.ascontiguousarray(rule.candidates)
        self.sign = 1.0 if rule.largest else -1.0

    def scan(self, h: Floats, path: Ints, before: Floats) -> Scan:
        """Count changes of winner and describe the image; ``before`` is the vertex before row 0, or empty."""
        found = Scan.empty(len(h), 0)
        over_rows(selection.scan, *h.shape, h, path, before, self.candidates, self.sign, found.counts, found.closest,
                  found.sums)  # fmt: skip
        return found

    def crossings(self, h: Floats, path: Ints, before: Floats, scan: Scan) -> Crossings:
        """List the changes of winner that a scan counted."""
        found = Crossings.empty(scan)
        over_rows(selection.crossings, len(h) - 1, h.shape[1], h, path, before, self.candidates, self.sign,
                  found.start, found.at, found.unit, found.origin, found.target, found.slope_from, found.slope_to,
                  found.value)  # fmt: skip
        return found

    def opened(self, h: Floats) -> Floats:
        """The layer's values at the vertices, with zero rows and columns up to multiples of eight."""
        out, n = padding(len(h), self.units), len(h)
        over_rows(selection.image, n, self.units, h, np.arange(n), np.zeros(n), self.candidates, self.sign, out)
        return out

    def image(self, h: Floats, segment: Ints, at: Floats, cross: Ints, found: Crossings) -> Floats:
        """The layer's values at refined rows: row ``i`` lies in ``segment[i]`` at position ``at[i]``."""
        out = np.empty((len(at), self.units))
        over_rows(selection.image, *out.shape, h, segment, at, self.candidates, self.sign, out)
        return out


def line_layer(rule: Rule, units: int) -> LineLayer:
    """The passes for a layer's rule."""
    return ElementwiseLayer(rule, units) if isinstance(rule, Elementwise) else SelectionLayer(rule)


def _pieces(rule: Elementwise) -> Floats:
    """The rule's parameters as the kernels want them: two knots, three slopes, three offsets, two values by row.

    A value at a knot is taken from the flatter piece, so that it equals a flat piece's value to the last bit.
    """
    levels = rule.knots.shape[1]
    if levels > 2:
        raise ValueError(f"the line kernels take at most two knots a unit, got {levels}")
    knots, slopes, offsets = rule.knots, rule.slopes, rule.offsets
    if levels == 1:
        knots = np.hstack([knots, np.full_like(knots, elementwise.FAR)])
        slopes, offsets = slopes[:, [0, 1, 1]], offsets[:, [0, 1, 1]]
    finite = np.where(knots < elementwise.FAR, knots, 0.0)
    below, above = (slopes[:, i : i + 2] * finite + offsets[:, i : i + 2] for i in range(2))
    values = np.where(np.abs(slopes[:, :2]) <= np.abs(slopes[:, 1:]), below, above)
    return np.ascontiguousarray(np.hstack([knots, slopes, offsets, values]).T)
