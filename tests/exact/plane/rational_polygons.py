"""Regions of a dense ReLU network on a square in rational arithmetic: an oracle that shares nothing with netfold."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from torch import nn

Corner = tuple[Fraction, Fraction]
Affine = list[tuple[Fraction, Fraction, Fraction]]


def regions(net: nn.Sequential, origin: np.ndarray, u: np.ndarray, v: np.ndarray, low: int, high: int) -> list[int]:
    """Regions of positive area of the square [low, high]^2 after each hidden layer."""
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    square = [(Fraction(x), Fraction(y)) for x, y in ((low, low), (high, low), (high, high), (low, high))]
    identity = [(Fraction(o), Fraction(a), Fraction(b)) for o, a, b in zip(origin, u, v, strict=True)]
    cells = [(square, _through(linears[0], identity))]
    counts = []
    for following in linears[1:]:
        made = []
        for polygon, rows in cells:
            pieces = [polygon]
            for row in rows:
                pieces = [part for piece in pieces for part in _halves(piece, row)]
            for piece in pieces:
                image = [row if _sign(piece, row) > 0 else (Fraction(0),) * 3 for row in rows]
                made.append((piece, _through(following, image)))
        cells = made
        counts.append(len(cells))
    return counts


def _through(linear: nn.Linear, rows: Affine) -> Affine:
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    found = []
    for w, b in zip(weight, bias, strict=True):
        terms = [(Fraction(float(x)), row) for x, row in zip(w, rows, strict=True)]
        total = [sum((x * row[k] for x, row in terms), Fraction(0)) for k in range(3)]
        found.append((total[0] + Fraction(float(b)), total[1], total[2]))
    return found


def _value(corner: Corner, row: tuple[Fraction, Fraction, Fraction]) -> Fraction:
    return row[0] + row[1] * corner[0] + row[2] * corner[1]


def _sign(polygon: list[Corner], row: tuple[Fraction, Fraction, Fraction]) -> int:
    total = sum(_value(corner, row) for corner in polygon)
    return (total > 0) - (total < 0)


def _halves(polygon: list[Corner], row: tuple[Fraction, Fraction, Fraction]) -> list[list[Corner]]:
    values = [_value(corner, row) for corner in polygon]
    if min(values) >= 0 or max(values) <= 0:
        return [polygon]
    halves: list[list[Corner]] = [[], []]
    for i, corner in enumerate(polygon):
        other, a, b = polygon[(i + 1) % len(polygon)], values[i], values[(i + 1) % len(polygon)]
        for side, sign in enumerate((1, -1)):
            if sign * a >= 0:
                halves[side].append(corner)
            if a * b < 0:
                t = a / (a - b)
                halves[side].append((corner[0] + t * (other[0] - corner[0]), corner[1] + t * (other[1] - corner[1])))
    return halves
