"""How a piecewise-linear layer cuts the polygons of a plane: one class a kind of rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Elementwise, Rule
from netfold.exact.numerics import bits
from netfold.exact.plane import counting, selection, splitting
from netfold.exact.plane.splitting import Loops
from netfold.exact.plane.vertices import EQUAL, FOUND, IRREGULAR, Edges, Knots, Vertices, classify

Words = NDArray[np.int64]
States = NDArray[np.uint8] | NDArray[np.uint16]


class Findings:
    """What a layer meets: vertices with ties, polygons that seemed to be cut twice by a unit, the closest decision."""

    def __init__(self) -> None:
        self.found, self.closest = np.zeros(FOUND, np.int64), np.full(1, np.inf)
        self.ties = np.empty(0, np.uint64)

    @property
    def doubts(self) -> int:
        """Places where the tolerance or rounding may have decided."""
        return len(self.ties) + int(self.found[IRREGULAR])

    @property
    def equal(self) -> bool:
        """Whether entries of a maximum came out equal where nothing made them so."""
        return bool(self.found[EQUAL])

    def note(self, vertices: Vertices, count: int) -> None:
        """Note the vertices with ties; blocks that share a vertex note it once."""
        if vertices.tied[:count].any():
            self.ties = np.union1d(self.ties, vertices.key[:count][vertices.tied[:count]])

    def join(self, other: Findings) -> None:
        """Add what was met elsewhere."""
        self.found += other.found
        self.closest[0] = min(self.closest[0], other.closest[0])
        self.ties = np.union1d(self.ties, other.ties)


class ElementwisePlane:
    """Units that apply one piecewise-linear function each; a state is the number of knots below.

    Attributes:
        units: how many there are.
        planes: how many bits the state of a unit takes.
        sides: words of a vertex's sides.
    """

    def __init__(self, rule: Elementwise, units: int, layer: int, tolerance: float) -> None:
        self.units = units
        spread = [np.array(np.broadcast_to(a.T, (a.shape[1], units)), order="C")
                  for a in (rule.knots, rule.slopes, rule.offsets)]  # fmt: skip
        levels, self.slopes, self.offsets = spread
        self.planes = len(levels)
        self.sides = self.planes * bits.words(units)
        self.knots = Knots(layer, levels, tolerance)
        # a value at a knot comes from the flatter piece, so that it equals a flat piece's to the last bit
        lower, upper = self.slopes[:-1], self.slopes[1:]
        below, above = lower * levels + self.offsets[:-1], upper * levels + self.offsets[1:]
        self.values = np.where(np.abs(lower) <= np.abs(upper), below, above)

    def open(self, vertices: Vertices, count: int, findings: Findings) -> None:
        """Find on which side of every knot the first vertices lie."""
        closest = np.empty(count)
        classify(count, vertices, self.knots, bits.POWERS, closest)
        findings.closest[0] = min(findings.closest[0], closest.min(initial=np.inf))

    def subdivide(
        self, count: int, polygons: Loops, vertices: Vertices, edges: Edges, findings: Findings
    ) -> tuple[int, Loops, bool]:
        """Cut polygons: the number of vertices, the pieces, and whether there was room for all."""
        return splitting.subdivide(count, polygons, vertices, self.knots, edges, findings.found, findings.closest)

    def count(self, polygons: Loops, vertices: Vertices) -> Ints | None:
        """Pieces of every polygon, -1 where only cutting tells; None if there is no way but cutting."""
        counts = np.empty(len(polygons.start) - 1, np.int64)
        counting.count_pieces(polygons, vertices, self.knots, counts)
        return counts

    def states(self, polygons: Loops, vertices: Vertices) -> Words:
        """The states of all units on every polygon, as bits."""
        out = np.empty((len(polygons.start) - 1, self.sides), np.int64)
        splitting.states(polygons, vertices.above, out)
        return out

    def unpack(self, words: Words) -> States:
        """State numbers, ``(polygons, units)``, from their bits."""
        return numbered(unpacked(words, self.planes, self.units), winners=False)

    def image(self, h: Floats, rows: Ints) -> Floats:
        """The layer's values at some vertices."""
        out = np.empty((len(rows), self.units))
        splitting.activate(rows, h, self.knots.levels, self.slopes, self.offsets, self.values, out)
        return out


class SelectionPlane:
    """Units that take the largest or smallest of a few entries; a state is the number of the entry that wins.

    Attributes and methods are those of `ElementwisePlane`.
    """

    sides = 0

    def __init__(self, candidates: Ints, largest: bool, layer: int, tolerance: float) -> None:
        self.candidates = np.ascontiguousarray(candidates)
        self.units = len(self.candidates)
        self.sign = 1.0 if largest else -1.0
        self.planes = max(1, int(self.candidates.shape[1] - 1).bit_length())
        self.knots = Knots(layer, np.empty((0, 0)), tolerance)

    def open(self, vertices: Vertices, count: int, findings: Findings) -> None:
        """Forget the ties of an earlier block: entries are compared with each other when polygons are cut."""
        vertices.tied[:count] = False

    def subdivide(
        self, count: int, polygons: Loops, vertices: Vertices, edges: Edges, findings: Findings
    ) -> tuple[int, Loops, bool]:
        """Cut polygons: the number of vertices, the pieces, and whether there was room for all."""
        return selection.subdivide(count, polygons, vertices, self.knots, self.candidates, self.sign, edges,
                                         findings.found, findings.closest)  # fmt: skip

    def count(self, polygons: Loops, vertices: Vertices) -> Ints | None:
        """None: winners of several entries are found by cutting."""
        return None

    def states(self, polygons: Loops, vertices: Vertices) -> Words:
        """The states of all units on every polygon, as bits."""
        out = np.empty((len(polygons.start) - 1, self.planes * bits.words(self.units)), np.int64)
        selection.states(polygons, self.candidates, self.sign, self.knots.tolerance, vertices.h, out)
        return out

    def unpack(self, words: Words) -> States:
        """State numbers, ``(polygons, units)``, from their bits."""
        return numbered(unpacked(words, self.planes, self.units), winners=True)

    def image(self, h: Floats, rows: Ints) -> Floats:
        """The layer's values at some vertices."""
        out = np.empty((len(rows), self.units))
        selection.select(rows, h, self.candidates, self.sign, out)
        return out


PlaneLayer = ElementwisePlane | SelectionPlane
"""A layer's compiled passes with its parameters bound."""


def plane_layer(rule: Rule, units: int, layer: int, tolerance: float) -> PlaneLayer:
    """The passes for a layer's rule."""
    if isinstance(rule, Elementwise):
        return ElementwisePlane(rule, units, layer, tolerance)
    return SelectionPlane(rule.candidates, rule.largest, layer, tolerance)


def unpacked(words: Words, planes: int, units: int) -> NDArray[np.uint8]:
    """Bits as bytes: ``(polygons, planes, units)``."""
    parts = words.reshape(len(words), planes, -1)
    wide = np.unpackbits(np.ascontiguousarray(parts).view(np.uint8), axis=-1, bitorder="little")
    return wide[:, :, :units]


def numbered(bits_of: NDArray[np.uint8], winners: bool) -> States:
    """State numbers from bits ``(polygons, planes, units)``: how many are set, or the winner that they write out."""
    planes = bits_of.shape[1]
    dtype = np.uint8 if planes <= 8 else np.uint16
    if not winners:
        return bits_of.sum(1, dtype=dtype)
    return (bits_of * (1 << np.arange(planes)).astype(dtype)[:, None]).sum(1, dtype=dtype)
