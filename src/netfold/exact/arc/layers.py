"""How a piecewise-linear layer acts on the pieces of an arc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Rule
from netfold.exact.arc import elementwise, selection
from netfold.exact.line.layers import LineLayer
from netfold.exact.paths.records import Choice, Functions


class ArcPieces(NamedTuple):
    """Consecutive pieces of the paths, as a layer reads them.

    Attributes:
        h: rows of vertices and control points in turn.
        path: the path of each vertex.
        width: the angle of the piece that starts at each vertex, -1 between paths.
        scale: what the rounding of the layer's values is a share of, at each vertex (`netfold.exact.paths.scale`).
    """

    h: Floats
    path: Ints
    width: Floats
    scale: Floats


class ArcScan(NamedTuple):
    """What one pass over a block of pieces finds, one entry a vertex.

    Attributes:
        counts: changes of state in the piece that starts there, with those exactly at a vertex inside the block.
        signs: sign changes of pre-activations, likewise.
        closest: the smallest relative distance to a knot.
        doubts: places where rounding may hide a change of state or the order of two.
    """

    counts: Ints
    signs: Ints
    closest: Floats
    doubts: Ints


class ArcCrossings(NamedTuple):
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
    def room(counts: Ints) -> ArcCrossings:
        """Room for the crossings that a scan counted; the last vertex starts no piece."""
        start = np.concatenate([[0], np.cumsum(counts[:-1])])
        n = int(start[-1])
        unit, origin, target = (np.empty(n, np.int64) for _ in range(3))
        at, value, earlier = (np.empty(n) for _ in range(3))
        return ArcCrossings(start, at, unit, origin, target, value, np.empty((n, 3)), np.empty((n, 3)), earlier)


class Part(NamedTuple):
    """Refined rows of a block, some of them: the piece each lies in and at which share, and the crossings there."""

    segment: Ints
    at: Floats
    cross: Ints


@dataclass(frozen=True)
class ArcLayer:
    """A layer's compiled passes with its parameters bound; the passes fill what is given to them.

    Attributes:
        rule: what the units do; functions have one column a unit.
        units: how many there are.
        saturated_pieces: pieces of a function whose end pieces are constant; 0 for others.
    """

    rule: Functions | Choice
    units: int
    saturated_pieces: int

    @staticmethod
    def of(rule: Rule, units: int) -> ArcLayer:
        """Bind a captured layer's rule."""
        layer = LineLayer.of(rule, units)
        if isinstance(layer.rule, Choice):
            return ArcLayer(layer.rule, layer.units, 0)
        table = layer.rule.pieces.reshape(len(layer.rule.pieces), -1)
        wide = np.array(np.broadcast_to(table, (len(table), units)), order="C")
        return ArcLayer(Functions(wide), units, layer.saturated_pieces)

    @property
    def _passes(self) -> Any:
        return selection if isinstance(self.rule, Choice) else elementwise

    def scan(self, pieces: ArcPieces) -> ArcScan:
        """Count changes of state."""
        n = len(pieces.path)
        scan = ArcScan(np.empty(n, np.int64), np.zeros(n, np.int64), np.empty(n), np.zeros(n, np.int64))
        self._passes.scan(pieces, self.rule, scan)
        return scan

    def crossings(self, pieces: ArcPieces, scan: ArcScan) -> ArcCrossings:
        """List the changes of state that a scan counted, and add to its doubts."""
        crossings = ArcCrossings.room(scan.counts)
        self._passes.crossings(pieces, self.rule, crossings, scan.doubts)
        return crossings

    def opened(self, pieces: ArcPieces) -> Floats:
        """The image at vertices, and at the control points of the parts that start there."""
        out = np.empty((len(pieces.h), self.units))
        self._passes.opened(pieces, self.rule, out)
        return out

    def states(self, three: Floats) -> tuple[Ints, NDArray[np.bool_]]:
        """State and sign of every unit just after the start of a piece, given by its three rows; choices have none."""
        return self._passes.states(three, self.rule)
