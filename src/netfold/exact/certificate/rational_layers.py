"""Affine operations on one piece of a path, and nonlinearities on one of a straight path, in integers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from netfold.capture.activations import Selection
from netfold.capture.program import Layer
from netfold.exact.matrices.coefficients import Coefficients, Pieces, Step, objects

try:
    from flint import fmpz_mat  # pyright: ignore[reportMissingImports]
except ImportError:
    fmpz_mat = None

Integers = NDArray[np.object_]
States = NDArray[np.int64]
Change = tuple[Any, int, int, int]
"""Where a unit changes its state, which, and from which state to which."""

STRAIGHT = objects([1, 0])
"""What is 1 all along a straight piece, as a row of `AffineValues`."""


@dataclass(frozen=True)
class AffineValues:
    """Values that are affine in lambda: row ``j`` is ``(n[j, 0] + n[j, 1] lambda) / d``.

    On arcs rows have three entries (`netfold.exact.certificate.rational_arcs`).
    """

    n: Integers
    d: int


class IntegerStep:
    """A step in integers."""

    def __init__(self, step: Step) -> None:
        self.index = step.node.index
        self.sources = [(term.source, _matrix(term.coefficients)) for term in step.terms]
        self.d = math.lcm(1, *(c.denominator for c in step.constant))
        self.constant = objects([int(c * self.d) for c in step.constant])
        self.work = 2 * sum(matrix.size for _, matrix in self.sources)

    def apply(self, values: dict[int, AffineValues], one: Integers = STRAIGHT) -> AffineValues:
        """The step's value on a piece, on which the row ``one`` is 1."""
        made = [matrix.apply(values[source]) for source, matrix in self.sources]
        d = math.lcm(self.d, *(m.d for m in made))
        total = np.multiply.outer(self.constant * (d // self.d), one)
        for m in made:
            total += m.n if m.d == d else m.n * (d // m.d)
        return AffineValues(total, d)


@dataclass(frozen=True)
class Copy:
    """A matrix that copies, reorders or leaves out entries: row ``j`` takes entry ``entry[j]``, or 0 where -1."""

    entry: NDArray[np.int64]
    size: int = 0

    def apply(self, x: AffineValues) -> AffineValues:
        """Apply the matrix."""
        n = x.n[self.entry]
        n[self.entry < 0] = 0
        return AffineValues(n, x.d)


class IntegerMatrix:
    """A full matrix of integers over one denominator."""

    def __init__(self, integers: Integers, d: int) -> None:
        self.integers, self.d, self.size = integers, d, integers.size
        self.flint = fmpz_mat(integers.tolist()) if fmpz_mat is not None else None

    def apply(self, x: AffineValues) -> AffineValues:
        """Apply the matrix."""
        if self.flint is None:
            return AffineValues(self.integers.dot(x.n), self.d * x.d)
        made = self.flint * fmpz_mat(x.n.tolist())  # type: ignore[misc]
        n = np.array([int(v) for v in made.entries()], object)
        return AffineValues(n.reshape(len(self.integers), -1), self.d * x.d)


class Sparse:
    """A sparse matrix of integers over one denominator, by rows."""

    def __init__(self, integers: Integers, coefficients: Coefficients, d: int) -> None:
        self.integers, self.d, self.size = integers, d, len(integers)
        self.entry = coefficients.near.indices
        self.rows = np.flatnonzero(np.diff(coefficients.near.indptr))
        self.begin = coefficients.near.indptr[self.rows]
        self.outputs = coefficients.shape[0]

    def apply(self, x: AffineValues) -> AffineValues:
        """Apply the matrix."""
        n = np.zeros((self.outputs, x.n.shape[1]), object)
        if self.size:
            n[self.rows] = np.add.reduceat(self.integers[:, None] * x.n[self.entry], self.begin, axis=0)
        return AffineValues(n, self.d * x.d)


def _matrix(coefficients: Coefficients) -> Copy | IntegerMatrix | Sparse:
    near, (outputs, inputs) = coefficients.near, coefficients.shape
    entries = np.diff(near.indptr)
    if coefficients.true is None and (entries <= 1).all() and (near.data == 1.0).all():
        entry = np.full(outputs, -1)
        entry[entries == 1] = near.indices
        return Copy(entry)
    integers, d = coefficients.integers
    if len(integers) < 0.3 * outputs * inputs:
        return Sparse(integers, coefficients, d)
    full = np.zeros((outputs, inputs), object)
    full[np.repeat(np.arange(outputs), entries), near.indices] = integers
    return IntegerMatrix(full, d)


def joined(values: Sequence[AffineValues]) -> AffineValues:
    """Values over one denominator, one after the other."""
    if len(values) == 1:
        return values[0]
    d = math.lcm(*(v.d for v in values))
    return AffineValues(np.concatenate([v.n * (d // v.d) for v in values]), d)


class Signs(NamedTuple):
    """Which units are above zero just after a place and just before another one, and how often that changes between."""

    first: NDArray[np.bool_]
    last: NDArray[np.bool_]
    changes: int


class LayerRule(Protocol):
    """How a layer acts on pre-activations along a piece; places are fractions, on arcs roots of quadratics."""

    def start(self, h: AffineValues, at: Any) -> States:
        """States just after ``at``."""
        ...

    def changes(self, h: AffineValues, states: States, a: Any, b: Any) -> list[Change]:
        """Changes of state strictly between ``a`` and ``b``, in order: where, unit, old and new state."""
        ...

    def image(self, h: AffineValues, states: States) -> AffineValues:
        """The layer's values while its units are in these states."""
        ...

    def signs(self, h: AffineValues, a: Any, b: Any) -> Signs:
        """Signs of the pre-activations between ``a`` and ``b``."""
        ...


def _side(value: Integers, slope: Integers, side: int) -> NDArray[np.int8]:
    """Sign of ``value + slope e`` for a small ``e`` of the sign ``side``."""
    here = (value > 0).astype(np.int8) - (value < 0).astype(np.int8)
    leaning = side * ((slope > 0).astype(np.int8) - (slope < 0).astype(np.int8))
    return np.where(here == 0, leaning, here)


class ElementwiseLaw:
    """Units that apply one piecewise-linear function each."""

    one = STRAIGHT

    def __init__(self, layer: Layer) -> None:
        pieces = Pieces.of(layer)
        self.knot_d = math.lcm(1, *(k.denominator for k in pieces.knots.flat))  # type: ignore[attr-defined]
        self.knots = np.broadcast_to(_integers(pieces.knots, self.knot_d), (layer.units, pieces.knots.shape[1])).T
        self.d = math.lcm(1, *(v.denominator for v in np.concatenate([pieces.slopes, pieces.offsets], 1).flat))  # type: ignore[attr-defined]
        shape = (layer.units, pieces.slopes.shape[1])
        self.slopes = np.broadcast_to(_integers(pieces.slopes, self.d), shape)
        self.offsets = np.broadcast_to(_integers(pieces.offsets, self.d), shape)
        self.units = np.arange(layer.units)

    def _sides(self, h: AffineValues, level: Integers, at: Any, side: int) -> NDArray[np.int8]:
        """On which side of a level the units are just beside ``at``."""
        p, q = at.numerator, at.denominator
        over = self.knot_d * (h.n[:, 0] * q + h.n[:, 1] * p) - level * (h.d * q)
        return _side(over, h.n[:, 1], side)

    def start(self, h: AffineValues, at: Any) -> States:
        """States just after ``at``."""
        states = np.zeros(len(h.n), np.int64)
        for level in self.knots:
            states += self._sides(h, level, at, 1) > 0
        return states

    def changes(self, h: AffineValues, states: States, a: Any, b: Any) -> list[Change]:
        """Changes of state strictly between ``a`` and ``b``, in order: where, unit, old and new state."""
        found = []
        for r, level in enumerate(self.knots):
            ends = self._sides(h, level, a, 1) * self._sides(h, level, b, -1)
            for j in np.flatnonzero(ends < 0).tolist():
                rise = h.n[j, 1]
                place = Fraction(int(level[j] * h.d - self.knot_d * h.n[j, 0]), int(self.knot_d * rise))
                found.append((place, j, r, r + 1) if rise > 0 else (place, j, r + 1, r))
        return sorted(found)

    def image(self, h: AffineValues, states: States) -> AffineValues:
        """The layer's values while its units are in these states."""
        n = self.slopes[self.units, states][:, None] * h.n
        n += np.multiply.outer(self.offsets[self.units, states] * h.d, self.one)
        return AffineValues(n, h.d * self.d)

    def signs(self, h: AffineValues, a: Any, b: Any) -> Signs:
        """Signs of the pre-activations between ``a`` and ``b``."""
        zero = np.zeros(len(h.n), object)
        first, last = self._sides(h, zero, a, 1) > 0, self._sides(h, zero, b, -1) > 0
        return Signs(first, last, int((first != last).sum()))


class SelectionLaw:
    """Units that take the largest or smallest of a few entries."""

    def __init__(self, rule: Selection) -> None:
        self.candidates = [[e for e in row if e >= 0] for row in rule.candidates.tolist()]
        self.places = [np.flatnonzero(row >= 0).tolist() for row in rule.candidates]
        self.columns = rule.candidates
        self.sign = 1 if rule.largest else -1

    def start(self, h: AffineValues, at: Any) -> States:
        """The winners just after ``at``: the largest, then the steepest, then the first."""
        p, q = at.numerator, at.denominator
        value, slope = self.sign * (h.n[:, 0] * q + h.n[:, 1] * p), self.sign * h.n[:, 1]
        winners = [
            max(zip(entries, places, strict=True), key=lambda e: (value[e[0]], slope[e[0]], -e[1]))[1]
            for entries, places in zip(self.candidates, self.places, strict=True)
        ]
        return np.array(winners, np.int64)

    def changes(self, h: AffineValues, states: States, a: Any, b: Any) -> list[Change]:
        """Changes of winner strictly between ``a`` and ``b``, in order: where, unit, old and new winner."""
        found = []
        for u, winner in enumerate(states.tolist()):
            for place, new in self._overtakings(h, u, winner, a, b):
                found.append((place, u, winner, new))
                winner = new
        return sorted(found, key=lambda change: change[0])

    def _overtakings(self, h: AffineValues, u: int, winner: int, a: Any, b: Any) -> Iterator[tuple[Any, int]]:
        """Who overtakes the winner of a unit, one after the other, between ``a`` and ``b``."""
        while True:
            base = h.n[self.columns[u, winner]] * self.sign
            meetings = []
            for e, place in zip(self.candidates[u], self.places[u], strict=True):
                value, slope = self.sign * h.n[e, 0], self.sign * h.n[e, 1]
                if slope > base[1]:
                    meetings.append((Fraction(base[0] - value, slope - base[1]), -slope, place))
            at, _, following = min(meetings, default=(b, 0, 0))
            if at >= b:
                return
            yield at, following
            winner = following

    def image(self, h: AffineValues, states: States) -> AffineValues:
        """The winning entries."""
        return AffineValues(h.n[self.columns[np.arange(len(states)), states]], h.d)

    def signs(self, h: AffineValues, a: Any, b: Any) -> Signs:
        """Of no unit: a maximum has no pre-activation."""
        none = np.zeros(len(self.candidates), np.bool_)
        return Signs(none, none, 0)


def _integers(values: Integers, d: int) -> Integers:
    return objects([int(v * d) for v in values.flat]).reshape(values.shape)  # type: ignore[operator]


def law_of(layer: Layer) -> LayerRule:
    """How a layer acts."""
    return SelectionLaw(layer.rule) if isinstance(layer.rule, Selection) else ElementwiseLaw(layer)
