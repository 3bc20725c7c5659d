"""Quarter turns in integers: pre-activations, where they change their sign, and how nonlinearities act there.

With w = tan(s / 2), cos s = (1 - w^2) / (1 + w^2) and sin s = 2 w / (1 + w^2): along a quarter turn w runs from 0 to
1, and every value of the network is a quadratic with integer coefficients over ``d (1 + w^2)``, row ``j`` of
`AffineValues` being ``n[j, 0] + n[j, 1] w + n[j, 2] w^2``. Units change where such quadratics are zero, at numbers
``(A + B sqrt(D)) / C``; signs there, and the order of two of them, are signs of integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, total_ordering
from math import atan, isqrt, pi
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.capture.activations import Selection
from netfold.capture.program import Layer
from netfold.exact.certificate.rational_layers import (
    AffineValues,
    Change,
    ElementwiseLaw,
    Integers,
    LayerRule,
    SelectionLaw,
    Signs,
    States,
)
from netfold.exact.matrices.coefficients import objects

ROUND = objects([1, 0, 1])
"""What is 1 all along a quarter turn, as a row of `AffineValues`."""

BITS = 160
"""Binary digits of a place by which most are told apart."""


@total_ordering
@dataclass(frozen=True, eq=False)
class Surd:
    """The number ``(a + b sqrt(d)) / c``, with c > 0, and d > 0 unless b is 0."""

    a: int
    b: int
    c: int
    d: int

    @cached_property
    def near(self) -> int:
        """The number times 2^BITS, to within 3; `_beside` counts on that."""
        more = max(self.b.bit_length() - self.c.bit_length(), 0) + BITS
        root = self.b * isqrt(self.d << 2 * more)
        return ((self.a << more) + root << BITS) // (self.c << more)

    def __lt__(self, other: Surd) -> bool:
        return self.less(other) < 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Surd) and self.less(other) == 0

    def less(self, other: Surd) -> int:
        """The sign of this number less another one."""
        if self is other:
            return 0
        if abs(self.near - other.near) > 8:
            return 1 if self.near > other.near else -1
        e, f, g = other.c * self.a - self.c * other.a, other.c * self.b, -self.c * other.b
        mine, theirs = _sign(e, f, self.d), _sign(0, g, other.d)
        if mine * theirs >= 0:
            return mine or theirs
        return mine * _sign(e * e + f * f * self.d - g * g * other.d, 2 * e * f, self.d)


ZERO, ONE = Surd(0, 0, 1, 0), Surd(1, 0, 1, 0)


class ArcPlace(NamedTuple):
    """A place on an ellipse: quarter turns before it, and its w."""

    quarter: int
    w: Surd

    def __float__(self) -> float:
        return self.quarter + 4 / pi * atan(self.w.near / 2.0**BITS)


def _sign(x: int, y: int, d: int) -> int:
    """The sign of ``x + y sqrt(d)``."""
    one, other = (x > 0) - (x < 0), ((y > 0) - (y < 0)) * (d > 0)
    if one * other >= 0:
        return one or other
    more = x * x - y * y * d
    return one * ((more > 0) - (more < 0))


def _signs(x: Integers, y: Integers, d: int) -> NDArray[np.int64]:
    """The signs of numbers ``x + y sqrt(d)``."""
    one, other = _sign_of(x), _sign_of(y) * (d > 0)
    opposed = one * other < 0
    stronger = np.where(opposed, _sign_of(x * x - y * y * d), 1)
    return np.where(opposed, one * stronger, np.where(one == 0, other, one))


def _sign_of(x: Integers) -> NDArray[np.int64]:
    return (x > 0).astype(np.int64) - (x < 0).astype(np.int64)


def _beside(n: Integers, at: Surd, side: int) -> NDArray[np.int64]:
    """Signs of quadratics just after (``side`` 1) or just before (-1) a place; 0 for those that are zero."""
    one, two, three = n.T
    value = (three * at.near + (two << BITS)) * at.near + (one << 2 * BITS)
    signs = _sign_of(value)
    error = (4 * np.abs(two) + 8 * np.abs(three)) << BITS
    left = np.flatnonzero((np.abs(value) <= error) & (error > 0))
    if len(left):
        signs[left] = _beside_exactly(n[left], at, side)
    return signs


def _beside_exactly(n: Integers, at: Surd, side: int) -> NDArray[np.int64]:
    (one, two, three), (a, b, c, d) = n.T, (at.a, at.b, at.c, at.d)
    here = _signs(one * (c * c) + two * (c * a) + three * (a * a + b * b * d), two * (c * b) + three * (2 * a * b), d)
    slope = _signs(two * c + three * (2 * a), three * (2 * b), d)
    return np.where(here != 0, here, np.where(slope != 0, side * slope, _sign_of(three)))


def _zeros(n: Integers, a: Surd, b: Surd) -> Iterator[tuple[int, Surd, bool]]:
    """Where quadratics change their sign strictly between two places: which, where, and whether upwards."""
    first, last = _beside(n, a, 1), _beside(n, b, -1)
    for j in np.flatnonzero(first * last < 0).tolist():
        yield j, _root(n[j], last[j] > 0), bool(last[j] > 0)
    for j in np.flatnonzero((first == last) & (first * _sign_of(n[:, 2]) > 0)).tolist():
        one, two, three = n[j]
        # between equal signs are two zeros or none: two if the turning point is there, on the other side of zero
        if three and two * two > 4 * one * three and a < _over(-two, 0, 2 * three, 0) < b:
            for rises in (first[j] < 0, first[j] > 0):
                yield j, _root(n[j], rises), bool(rises)


def _root(quadratic: Integers, rises: bool) -> Surd:
    """Where a quadratic is zero and rises, or falls."""
    one, two, three = quadratic
    if three == 0:
        return _over(-one, 0, two, 0)
    square, way = two * two - 4 * one * three, 1 if rises else -1
    root = isqrt(square)
    return _over(-two + way * root, 0, 2 * three, 0) if root * root == square else _over(-two, way, 2 * three, square)


def _over(a: int, b: int, c: int, d: int) -> Surd:
    return Surd(a, b, c, d) if c > 0 else Surd(-a, -b, -c, d)


class CurvedElementwise(ElementwiseLaw):
    """Units that apply one piecewise-linear function each."""

    one = ROUND

    def _less(self, h: AffineValues, level: Integers) -> Integers:
        """Pre-activations less a level, up to a positive factor."""
        return self.knot_d * h.n - np.multiply.outer(level * h.d, ROUND)

    def _sides(self, h: AffineValues, level: Integers, at: Any, side: int) -> Any:
        return _beside(self._less(h, level), at, side)

    def changes(self, h: AffineValues, states: States, a: Any, b: Any) -> list[Change]:
        """Changes of state strictly between ``a`` and ``b``, in order: where, unit, old and new state."""
        found = []
        for r, level in enumerate(self.knots):
            for j, place, rises in _zeros(self._less(h, level), a, b):
                found.append((place, j, r, r + 1) if rises else (place, j, r + 1, r))
        return sorted(found, key=lambda change: change[0])

    def signs(self, h: AffineValues, a: Any, b: Any) -> Signs:
        """Signs of the pre-activations between ``a`` and ``b``."""
        first, last = _beside(h.n, a, 1) > 0, _beside(h.n, b, -1) > 0
        return Signs(first, last, sum(1 for _ in _zeros(h.n, a, b)))


class CurvedSelection(SelectionLaw):
    """Units that take the largest or smallest of a few entries."""

    def start(self, h: AffineValues, at: Any) -> States:
        """The winners just after ``at``: the largest, of equal ones the first."""
        return np.array([self._leader(h, u, at) for u in range(len(self.candidates))], np.int64)

    def _leader(self, h: AffineValues, u: int, at: Surd) -> int:
        n, best = self.sign * h.n[self.candidates[u]], 0
        for e in range(1, len(n)):
            best = e if _beside(n[e : e + 1] - n[best], at, 1)[0] > 0 else best
        return self.places[u][best]

    def _overtakings(self, h: AffineValues, u: int, winner: int, a: Any, b: Any) -> Iterator[tuple[Any, int]]:
        """Who overtakes the winner of a unit, one after the other, between ``a`` and ``b``."""
        while True:
            ahead = self.sign * (h.n[self.candidates[u]] - h.n[self.columns[u, winner]])
            a = min((place for _, place, rises in _zeros(ahead, a, b) if rises), default=b)
            if a == b:
                return
            winner = self._leader(h, u, a)
            yield a, winner


def curved_law(layer: Layer) -> LayerRule:
    """How a layer acts along a quarter turn."""
    return CurvedSelection(layer.rule) if isinstance(layer.rule, Selection) else CurvedElementwise(layer)


def turned(values: AffineValues) -> AffineValues:
    """The same functions of the angle, given along one quarter turn, along the next one."""
    one, two, three = values.n.T
    return AffineValues(np.stack([one + two + three, 2 * (three - one), one - two + three], 1), 2 * values.d)
