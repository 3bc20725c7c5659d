"""How a piecewise-linear layer acts on the pieces of an arc: one class a kind of rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netfold.capture.activations import Rule
from netfold.exact.arc import elementwise, selection
from netfold.exact.line.layers import LineLayer
from netfold.exact.numerics.threads import over_rows
from netfold.exact.paths.records import Choice, Functions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ArcScan:
    """What one pass over a block of pieces finds, one entry a vertex.

    Attributes:
        counts: changes of state in the piece that starts there, with those exactly at the vertex.
        signs: sign changes of pre-activations, likewise.
        closest: the smallest relative distance to a knot.
    """

    counts: Ints
    signs: Ints
    closest: Floats


@dataclass(frozen=True)
class ArcCrossings:
    """Changes of state in order of piece and share; piece ``s`` owns ``start[s]`` to ``start[s + 1]``.

    ``after`` and ``change`` are ``(crossings, 3)``; what they mean stands in `netfold.exact.arc.rows`.
    """

    start: Ints
    at: Floats
    unit: Ints
    origin: Ints
    target: Ints
    value: Floats
    after: Floats
    change: Floats
    earlier: Floats

    @staticmethod
    def empty(counts: Ints) -> ArcCrossings:
        """Room for the crossings that a scan counted; the last vertex starts no piece."""
        start = np.concatenate([[0], np.cumsum(counts[:-1])])
        n = int(start[-1])
        unit, origin, target = (np.empty(n, np.int64) for _ in range(3))
        at, value, earlier = (np.empty(n) for _ in range(3))
        return ArcCrossings(start, at, unit, origin, target, value, np.empty((n, 3)), np.empty((n, 3)), earlier)


@dataclass(frozen=True)
class Pieces:
    """Consecutive pieces of the paths, as a layer reads them.

    Attributes:
        h: rows of vertices and control points in turn.
        path: the path of each vertex.
        width: the angle of the piece that starts at each vertex, -1 between paths.
        before: the vertex and the control point before the first row, or nothing at the start of a path.
    """

    h: Floats
    path: Ints
    width: Floats
    before: Floats


class ArcLayer(Protocol):
    """A layer's compiled passes with its parameters bound."""

    units: int
    saturated_pieces: int

    def scan(self, p: Pieces) -> ArcScan:
        """Count changes of state."""
        ...

    def crossings(self, p: Pieces, scan: ArcScan) -> ArcCrossings:
        """List the changes of state that a scan counted."""
        ...

    def opened(self, p: Pieces) -> Floats:
        """The image at vertices, and at the control points of the parts that start there."""
        ...

    def states(self, three: Floats) -> tuple[Ints, NDArray[np.bool_]]:
        """State and sign of every unit just after the start of a piece, given by its three rows."""
        ...


class ArcElementwise:
    """Units that apply one piecewise-linear function each."""

    def __init__(self, layer: LineLayer, rule: Functions) -> None:
        self.units, self.saturated_pieces = layer.units, layer.saturated_pieces
        table = rule.pieces.reshape(len(rule.pieces), -1)
        self.pieces = np.array(np.broadcast_to(table, (len(table), layer.units)), order="C")

    def scan(self, p: Pieces) -> ArcScan:
        """Count changes of state."""
        n = len(p.path)
        found = ArcScan(np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n))
        over_rows(elementwise.scan, n, 2 * self.units, p.h, p.path, p.before, self.pieces, p.width,
                  found.counts, found.signs, found.closest)  # fmt: skip
        return found

    def crossings(self, p: Pieces, scan: ArcScan) -> ArcCrossings:
        """List the changes of state that a scan counted."""
        found = ArcCrossings.empty(scan.counts)
        over_rows(elementwise.crossings, len(p.path) - 1, 2 * self.units, p.h, p.path, p.before, self.pieces,
                  p.width, found.start, found.at, found.unit, found.origin, found.target, found.value,
                  found.after, found.change, found.earlier)  # fmt: skip
        return found

    def opened(self, p: Pieces) -> Floats:
        """The image at vertices, and at the control points of the parts that start there."""
        out = np.empty((len(p.h), self.units))
        over_rows(elementwise.opened, len(p.path), 2 * self.units, p.h, p.path, self.pieces, out)
        return out

    def states(self, three: Floats) -> tuple[Ints, NDArray[np.bool_]]:
        """State and sign of every unit just after the start of a piece, given by its three rows."""
        state = sum(_above(three - knots).astype(np.int64) for knots in self.pieces[:2])
        return np.asarray(state), _above(three)


class ArcSelection:
    """Units that take the largest or smallest of a few entries."""

    saturated_pieces = 0

    def __init__(self, layer: LineLayer, rule: Choice) -> None:
        self.units, self.candidates, self.sign = layer.units, rule.candidates, rule.sign

    def scan(self, p: Pieces) -> ArcScan:
        """Count changes of winner."""
        n = len(p.path)
        found = ArcScan(np.empty(n, np.int64), np.zeros(n, np.int64), np.empty(n))
        over_rows(selection.scan, n, 2 * p.h.shape[1], p.h, p.path, p.before, self.candidates, self.sign,
                  p.width, found.counts, found.closest)  # fmt: skip
        return found

    def crossings(self, p: Pieces, scan: ArcScan) -> ArcCrossings:
        """List the changes of winner that a scan counted."""
        found = ArcCrossings.empty(scan.counts)
        over_rows(selection.crossings, len(p.path) - 1, 2 * p.h.shape[1], p.h, p.path, p.before,
                  self.candidates, self.sign, p.width, found.start, found.at, found.unit, found.origin,
                  found.target, found.value, found.after, found.change, found.earlier)  # fmt: skip
        return found

    def opened(self, p: Pieces) -> Floats:
        """The image at vertices, and at the control points of the parts that start there."""
        out = np.empty((len(p.h), self.units))
        over_rows(selection.opened, len(p.path), 2 * p.h.shape[1], p.h, p.path, self.candidates, self.sign, out)
        return out

    def states(self, three: Floats) -> tuple[Ints, NDArray[np.bool_]]:
        """Winner of every unit just after the start of a piece, given by its three rows; no signs."""
        return selection.leaders(three, self.candidates, self.sign), np.zeros(0, np.bool_)


def arc_layer(rule: Rule, units: int) -> ArcLayer:
    """The passes for a layer's rule."""
    layer = LineLayer.of(rule, units)
    return ArcElementwise(layer, layer.rule) if isinstance(layer.rule, Functions) else ArcSelection(layer, layer.rule)


def _above(three: Floats) -> NDArray[np.bool_]:
    """Whether functions are positive just after the start of a piece."""
    a, m, b = three
    return (a > 0) | ((a == 0) & ((m > 0) | ((m == 0) & (b > 0))))
