"""Regions of dense networks on a square in rational arithmetic: an oracle that shares nothing with netfold.

Corners of polygons are integers (w, w x, w y), and functions those of `rational_segments` with a third coefficient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import gcd

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tests.exact.cells.reference import Layer
from tests.exact.line.rational_segments import Affine, Integers, image, integers, pre_activations

Corner = tuple[int, int, int]
Polygon = list[Corner]


def regions(net: nn.Sequential, origin: np.ndarray, u: np.ndarray, v: np.ndarray, low: int, high: int) -> list[int]:
    """Regions of positive area of the square [low, high]^2 after each hidden layer of a ReLU network."""
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    layers = [Layer(linear.weight.detach().numpy(), linear.bias.detach().numpy()) for linear in linears[:-1]]
    return regions_after(layers, np.stack([origin, u, v]), low, high)


def regions_after(layers: Sequence[Layer], plane: NDArray[np.float64], low: float, high: float) -> list[int]:
    """Regions of positive area after every layer, where ``plane`` holds the origin and two directions."""
    square = [_corner(Fraction(x), Fraction(y)) for x, y in ((low, low), (high, low), (high, high), (low, high))]
    cells = [(square, Affine(*integers(plane.T)))]
    counts = []
    for layer in layers:
        cells = [part for polygon, value in cells for part in _cut(layer, polygon, value)]
        counts.append(len(cells))
    return counts


def _cut(layer: Layer, polygon: Polygon, value: Affine) -> Iterator[tuple[Polygon, Affine]]:
    h = pre_activations(layer, value)
    pieces: list[tuple[Polygon, tuple[int, ...]]] = [(polygon, ())]
    for unit in range(layer.units):
        rows = h.n[unit * layer.pool : (unit + 1) * layer.pool]
        levels = [rows[0] - [int(knot) << h.shift, 0, 0] for knot in layer.knots]
        pieces = [
            (part, (*states, state))
            for piece, states in pieces
            for part, state in (_pooled(piece, rows) if layer.pool > 1 else _bent(piece, levels))
        ]
    for piece, states in pieces:
        yield piece, image(layer, h, states, value)


def _bent(polygon: Polygon, levels: list[Integers]) -> Iterator[tuple[Polygon, int]]:
    """The pieces of a polygon beside a unit's knots, and its state there."""
    pieces = [polygon]
    for level in levels:
        pieces = [part for piece in pieces for part in _halves(piece, level)]
    for piece in pieces:
        yield piece, sum(_above(piece, level) for level in levels)


def _pooled(polygon: Polygon, rows: Integers) -> Iterator[tuple[Polygon, int]]:
    """The piece of a polygon on which each entry wins; of equal entries the first one does."""
    for i, row in enumerate(rows):
        piece = polygon
        for j, other in enumerate(rows):
            lead = row - other
            if i != j and piece and (j < i or lead.any()):
                piece = next((half for half in _halves(piece, lead) if _above(half, lead)), [])
        if piece:
            yield piece, i


def _above(polygon: Polygon, row: Integers) -> bool:
    """Whether a function that has no two signs in a polygon is positive there."""
    return any(_value(corner, row) > 0 for corner in polygon)


def _halves(polygon: Polygon, row: Integers) -> list[Polygon]:
    values = [_value(corner, row) for corner in polygon]
    if min(values) >= 0 or max(values) <= 0:
        return [polygon]
    halves: list[Polygon] = [[], []]
    for i, corner in enumerate(polygon):
        k = (i + 1) % len(polygon)
        a, b = values[i], values[k]
        for half, sign in zip(halves, (1, -1), strict=True):
            if sign * a >= 0:
                half.append(corner)
            if a * b < 0:
                half.append(_reduced([abs(b) * x + abs(a) * y for x, y in zip(corner, polygon[k], strict=True)]))
    return halves


def _value(corner: Corner, row: Integers) -> int:
    return row[0] * corner[0] + row[1] * corner[1] + row[2] * corner[2]


def _corner(x: Fraction, y: Fraction) -> Corner:
    w = x.denominator * y.denominator
    return w, int(x * w), int(y * w)


def _reduced(numbers: list[int]) -> Corner:
    divisor = gcd(*numbers)
    w, x, y = (v // divisor for v in numbers)
    return w, x, y
