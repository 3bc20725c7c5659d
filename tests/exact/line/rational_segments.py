"""A straight line through a network in rational arithmetic: an oracle that shares nothing with netfold.

Layers are those of `tests.exact.cells.reference`. Every layer cuts the pieces of the line at the places where its
units can change; the states on a piece are read off at its middle, where no unit that moves stands on a knot.
Affine functions of t are kept as integers over a power of two, since all weights are binary fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.exact.cells.reference import Layer

States = tuple[int, ...]
Integers = NDArray[Any]


@dataclass(frozen=True)
class Affine:
    """Functions ``(n[:, 0] + n[:, 1] t) / 2^shift``."""

    n: Integers
    shift: int

    def to(self, shift: int) -> Integers:
        """The integers at a larger shift."""
        return self.n * (1 << (shift - self.shift))


@dataclass(frozen=True)
class Piece:
    """Part of the line: the states of every layer so far, and the image of the last."""

    begin: Fraction
    end: Fraction
    states: tuple[States, ...]
    image: Affine

    @property
    def middle(self) -> Fraction:
        return (self.begin + self.end) / 2


@dataclass(frozen=True)
class Met:
    """What the line meets.

    Attributes:
        breakpoints: where a unit changes, increasing, and ``first`` the first layer that does there.
        transitions: changes of state, one entry a layer.
        linear_pieces: maximal pieces on which the sum of the last layer's units is one affine function.
    """

    breakpoints: list[Fraction]
    first: list[int]
    transitions: list[int]
    linear_pieces: int


def integers(values: Any) -> tuple[Integers, int]:
    """Floats as integers over one power of two."""
    flat = [Fraction(float(v)) for v in np.ravel(values)]
    shift = max((v.denominator.bit_length() - 1 for v in flat), default=0)
    found = np.empty(len(flat), object)
    found[:] = [v.numerator << (shift - (v.denominator.bit_length() - 1)) for v in flat]
    return found.reshape(np.shape(values)), shift


def met(layers: Sequence[Layer], start: NDArray[np.float64], end: NDArray[np.float64]) -> Met:
    """What the line from ``start`` to ``end`` meets, t from 0 to 1."""
    ends, shift = integers(np.stack([start, end], 1))
    ends[:, 1] -= ends[:, 0]
    pieces = [Piece(Fraction(0), Fraction(1), (), Affine(ends, shift))]
    for layer in layers:
        parts = [part for piece in pieces for part in through(layer, piece)]
        pieces = parts
    changes = list(pairwise(pieces))
    differ = [[sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(p.states, q.states, strict=True)]
              for p, q in changes]  # fmt: skip
    outputs = [Fraction(int(v), 1 << p.image.shift) for p in pieces for v in p.image.n.sum(0)]
    return Met(
        [piece.begin for piece in pieces[1:]],
        [next(i for i, count in enumerate(counts) if count) for counts in differ],
        [sum(column) for column in zip(*differ, strict=True)] or [0] * len(layers),
        len([*groupby(zip(outputs[::2], outputs[1::2], strict=True))]),
    )


def through(layer: Layer, piece: Piece) -> list[Piece]:
    """The pieces that one more layer makes of a piece."""
    h = pre_activations(layer, piece.image)
    cuts = sorted({t for t in _places(layer, h) if piece.begin < t < piece.end})
    found = []
    for begin, end in pairwise([piece.begin, *cuts, piece.end]):
        states = _states(layer, h, (begin + end) / 2)
        if found and found[-1][2] == states:
            found[-1] = (found[-1][0], end, states)
        else:
            found.append((begin, end, states))
    return [
        Piece(begin, end, (*piece.states, states), image(layer, h, states, piece.image)) for begin, end, states in found
    ]


def pre_activations(layer: Layer, x: Affine) -> Affine:
    """What a layer reads; the last column of ``n`` may hold any number of coefficients, the first the constant."""
    weights, shift = integers(layer.weights)
    bias, more = integers(layer.bias)
    total = max(shift + x.shift, more)
    n = weights.dot(x.n) * (1 << (total - shift - x.shift))
    n[:, 0] += bias * (1 << (total - more))
    return Affine(n + x.to(total) if layer.skip == "before" else n, total)


def image(layer: Layer, h: Affine, states: States, x: Affine) -> Affine:
    """What a layer makes where its units have given states."""
    if layer.pool > 1:
        y = Affine(h.n[[u * layer.pool + s for u, s in enumerate(states)]], h.shift)
    else:
        table, shift = integers([layer.slopes, layer.offsets])
        n = table[0][list(states)][:, None] * h.n
        n[:, 0] += table[1][list(states)] * (1 << h.shift)
        y = Affine(n, h.shift + shift)
    if layer.skip != "after":
        return y
    total = max(y.shift, x.shift)
    return Affine(y.to(total) + x.to(total), total)


def _places(layer: Layer, h: Affine) -> Iterator[Fraction]:
    for row in _differences(layer, h):
        if row[1]:
            yield Fraction(-int(row[0]), int(row[1]))


def _differences(layer: Layer, h: Affine) -> Iterator[Integers]:
    """Functions at whose zeros a unit can change."""
    if layer.pool > 1:
        for unit in range(layer.units):
            for p, q in combinations(h.n[unit * layer.pool : (unit + 1) * layer.pool], 2):
                yield p - q
        return
    for knot in layer.knots:
        moved = h.n.copy()
        moved[:, 0] -= int(knot) << h.shift
        yield from moved


def _states(layer: Layer, h: Affine, t: Fraction) -> States:
    values = h.n[:, 0] * t.denominator + h.n[:, 1] * t.numerator
    if layer.pool > 1:
        entries = values.reshape(layer.units, layer.pool).tolist()
        return tuple(row.index(max(row)) for row in entries)
    knots = [(int(knot) << h.shift) * t.denominator for knot in layer.knots]
    return tuple(sum(knot < v for knot in knots) for v in values)
