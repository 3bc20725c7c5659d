"""Linear programs in rational arithmetic: what float64 leaves open about a cell is decided here, without rounding.

A cell is ``{x: a_i . x + b_i >= 0}`` with integer rows ``[*a_i, b_i]``. The simplex method walks on a *dictionary* (see
`netfold.exact.lp.dictionary`) of integers over one common denominator: exchanges keep them integers (Bareiss), so no
fractions have to be reduced. It starts at a rational point strictly inside, so there is no first phase; Bland's rule
ends every cycle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from netfold.arrays import Floats

Row = list[int]
"""Coefficients and constant of an affine function, scaled to integers by a positive factor."""

Point = list[Fraction]

STILL = 20
"""Exchanges without progress after which the first column is taken instead of the steepest."""


class Lowest(NamedTuple):
    """How low a function gets on a cell, as far as it matters.

    Attributes:
        negative: whether it is negative somewhere inside.
        point: a point strictly inside where it is; ``None`` where it is not.
        blurred: whether something smaller than the blur was taken for zero.
        support: where it is not, independent rows of the cell: with positive multiples of them and a constant that is
            not negative they add up to the function.
    """

    negative: bool
    point: Point | None
    blurred: bool
    support: tuple[int, ...] = ()


def integer_row(numbers: Iterable[Fraction | int | float]) -> Row:
    """A row scaled to integers without a common factor.

    Example:
        >>> integer_row([0.5, -0.25, 1])
        [2, -1, 4]
    """
    ratios = [v.as_integer_ratio() for v in numbers]
    scale = math.lcm(1, *(below for _, below in ratios))
    return primitive([above * (scale // below) for above, below in ratios])


def primitive(row: Row) -> Row:
    """A row of integers without a common factor."""
    common = math.gcd(*row)
    return [v // common for v in row] if common > 1 else row


def value_at(row: Row, point: Sequence[Fraction]) -> Fraction:
    """A row at a point."""
    return sum((a * x for a, x in zip(row, point, strict=False) if a), Fraction(row[-1]))


def lowest(rows: Sequence[Row], target: Row, inner: Sequence[Fraction], blur: Fraction | int = 0) -> Lowest:
    """Whether a function is negative anywhere inside a cell.

    Args:
        rows: the cell; all are positive at ``inner``.
        target: the function.
        inner: a point strictly inside.
        blur: slopes and values of ``target`` below it, for unit steps, count as zero.

    Example:
        >>> square = [[1, 0, 0], [-1, 0, 1], [0, 1, 0], [0, -1, 1]]
        >>> middle = [Fraction(1, 2), Fraction(1, 2)]
        >>> lowest(square, [1, 1, 0], middle).negative, lowest(square, [4, 4, -1], middle).negative
        (False, True)
    """
    if value_at(target, inner) < 0:
        return Lowest(True, list(inner), False)
    program = _Dictionary([*rows, target], inner)
    h = len(rows)
    here, tie = program.value(h), -blur * program.unit
    blurred = False
    still = 0
    while True:
        q, toward, skipped = program.falling(h, blur, still > STILL)
        blurred |= skipped
        if q is None:
            return Lowest(False, None, blurred, program.support(h))
        r, reach = program.blocking(range(h), q, toward)
        fall = -toward * program.slope(h, q)
        value = program.value(h)
        if r is None or value - fall * reach < tie:
            length = reach if r is not None else 2 * value / fall + 1
            end = program.along(q, toward, length)
            low = value - fall * length
            share = (here / (here - low) + 1) / 2
            return Lowest(True, [x + share * (y - x) for x, y in zip(inner, end, strict=True)], blurred)
        blurred |= value - fall * reach < 0
        still = still + 1 if reach == 0 else 0
        program.exchange(q, r)


def interior(rows: Sequence[Row], m: int) -> Point | None:
    """A point at which all functions are positive; ``None`` where there is none.

    Args:
        rows: the functions; a cell is full-dimensional exactly where such a point exists.
        m: number of coordinates.

    Example:
        >>> (x,) = interior([[1, 0], [-1, 1]], 1)
        >>> 0 < x < 1, interior([[1, 0], [-1, 0]], 1) is None
        (True, True)
    """
    low = min((row[-1] for row in rows), default=1)
    # one more coordinate t, with a.x + b >= t at first below all constants: how high can it get, up to 1?
    lifted = [[*row[:-1], -1, row[-1]] for row in rows] + [[0] * m + [-1, 1]]
    height = [0] * m + [-1, 0]
    start = [Fraction(0)] * m + [Fraction(min(low, 1) - 1)]
    found = lowest(lifted, height, start)
    if found.point is None:
        return None
    return found.point[:m]


def least(rows: Sequence[Row], target: Row, inner: Sequence[Fraction]) -> Fraction | None:
    """The least value of a function on a cell; ``None`` where it gets as low as one likes.

    Args:
        rows: the cell, closed; all are positive at ``inner``.
        target: the function, and ``inner``: a point strictly inside.

    Example:
        >>> least([[1, 0, -2], [0, 1, 3]], [1, 1, 0], [Fraction(3), Fraction(0)])
        Fraction(-1, 1)
    """
    return least_of(rows, [target], inner)[0]


def least_of(rows: Sequence[Row], targets: Sequence[Row], inner: Sequence[Fraction]) -> list[Fraction | None]:
    """The least values of several functions on a cell, as `least` finds one: each walk begins where the last ended.

    Example:
        >>> least_of([[1, -2], [-1, 3]], [[1, 0], [-1, 0]], [Fraction(5, 2)])
        [Fraction(2, 1), Fraction(-3, 1)]
    """
    program, found = _Dictionary([*rows, *targets], inner), []
    for h in range(len(rows), len(rows) + len(targets)):
        found.append(_descended(program, len(rows), h))
    return found


def _descended(program: _Dictionary, rows: int, h: int) -> Fraction | None:
    """Walk to where a function is least; ``None`` where it gets as low as one likes."""
    still = 0
    while True:
        q, toward, _ = program.falling(h, 0, still > STILL)
        if q is None:
            return program.value(h) / program.unit
        r, reach = program.blocking(range(rows), q, toward)
        if r is None:
            return None
        still = still + 1 if reach == 0 else 0
        program.exchange(q, r)


def implied(row: Row, others: Sequence[Row]) -> bool:
    """Whether a half-space holds wherever others do, with which it has an inner point in common.

    Example:
        >>> implied([1, 1, 0], [[1, 0, 0], [0, 1, 0]]), implied([1, 0, 0], [[0, 1, 0]])
        (True, False)
    """
    return not lowest(others, row, _inner([row, *others])).negative


def bounded(rows: Sequence[Row], inputs: int) -> bool:
    """Whether a cell of so many coordinates is bounded: all of them are read, and no direction leads inside for ever.

    Where the normals have full rank, along such a direction the sum of all rows rises.
    """
    m = len(rows[0]) - 1
    if m < inputs or null_space([row[:-1] for row in rows], m):
        return False
    return least(rows, [-sum(column) for column in zip(*rows, strict=True)], _inner(rows)) is not None


def inradius(rows: Sequence[Row], gram: Floats | None = None) -> float:
    """Radius of the largest ball in a cell with a point inside; infinite where there are balls of any size.

    Args:
        rows: the cell.
        gram: scalar products of the coordinate functionals in the space of the ball; the identity by default.
    """
    lifted = []
    for row in rows:
        size = max(map(abs, row[:-1]), default=0)
        normal = np.array([v / size for v in row[:-1]]) if size else np.zeros(0)
        length = float(normal @ (normal if gram is None else gram @ normal)) if size else 0.0
        if length > 0.0:
            # a ball of radius r around x: a.x + b >= r |a|
            lifted.append([*row[:-1], -size * Fraction(math.sqrt(length)), row[-1]])
    start = [Fraction(0)] * (len(rows[0]) - 1) + [min((b / -a for *_, a, b in lifted), default=Fraction(0)) - 1]
    value = least([integer_row(row) for row in lifted], [0] * (len(start) - 1) + [-1, 0], start)
    return math.inf if value is None else -float(value)


def _inner(rows: Sequence[Row]) -> Point:
    point = interior(rows, len(rows[0]) - 1)
    if point is None:
        raise ArithmeticError("these half-spaces have no inner point in common")
    return point


def supports(rows: Sequence[Row], target: Row, inner: Sequence[Fraction]) -> bool:
    """Whether ``target`` is a sum of non-negative multiples of the rows and of a non-negative constant.

    Only one choice of multipliers is looked at: that of the rows which are independent of those before them.

    Example:
        >>> supports([[1, 0, 0], [0, 1, 0]], [2, 3, 5], [Fraction(1), Fraction(1)])
        True
        >>> supports([[1, 0, 0], [0, 1, 0]], [2, -3, 5], [Fraction(1), Fraction(1)])
        False
    """
    program = _Dictionary([*rows, target], inner)
    for r in range(len(rows)):
        q = program.free_column(r)
        if q is not None:
            program.exchange(q, r)
    h = len(rows)
    return program.value(h) >= 0 and all(
        program.slope(h, q) >= 0 if program.columns[q] is not None else program.slope(h, q) == 0
        for q in range(len(inner))
    )


def null_space(rows: Sequence[list[int]], size: int) -> list[list[int]]:
    """A basis of the vectors that are 0 on all rows, in integers without a common factor."""
    pivots: list[int] = []
    reduced: list[list[int]] = []
    for row in rows:
        new = list(row)
        for p, known in zip(pivots, reduced, strict=True):
            if new[p]:
                a, b = known[p], new[p]
                new = [a * x - b * y for x, y in zip(new, known, strict=True)]
        if not any(new):
            continue
        new = primitive(new)
        pivot = next(j for j, v in enumerate(new) if v)
        for i, known in enumerate(reduced):
            if known[pivot]:
                a, b = new[pivot], known[pivot]
                reduced[i] = primitive([a * x - b * y for x, y in zip(known, new, strict=True)])
        pivots.append(pivot)
        reduced.append(new)
    basis: list[list[int]] = []
    for free in (j for j in range(size) if j not in pivots):
        common = math.lcm(1, *(row[p] for p, row in zip(pivots, reduced, strict=True)))
        vector = [0] * size
        vector[free] = common
        for p, row in zip(pivots, reduced, strict=True):
            vector[p] = -row[free] * (common // row[p])
        basis.append(primitive(vector))
    return basis


class _Dictionary:
    """Functions in terms of the columns: ``table[i][q] / scale`` and, at the current point, ``table[i][m] / scale``.

    A column is a row's number, or ``None`` for a coordinate that is free. The last ``m`` lines are the coordinates'
    steps from the point where it started, in units of ``1 / unit``.
    """

    def __init__(self, rows: Sequence[Row], inner: Sequence[Fraction]) -> None:
        self.m = m = len(inner)
        self.unit = math.lcm(1, *(x.denominator for x in inner))
        self.start = list(inner)
        whole = [int(x * self.unit) for x in inner]
        self.table = [
            [*row[:m], sum(a * x for a, x in zip(row, whole, strict=False)) + row[m] * self.unit] for row in rows
        ]
        self.table += [[int(j == k) for j in range(m)] + [0] for k in range(m)]
        self.columns: list[int | None] = [None] * m
        self.count = len(rows)
        self.scale = 1

    def slope(self, i: int, q: int) -> Fraction:
        """Change of a function for a unit step of a column (both in their own units)."""
        return Fraction(self.table[i][q], self.scale)

    def value(self, i: int) -> Fraction:
        return Fraction(self.table[i][self.m], self.scale)

    def support(self, h: int) -> tuple[int, ...]:
        """The columns, rows all of them, that a function depends on."""
        return tuple(r for q, r in enumerate(self.columns) if r is not None and self.table[h][q])

    def falling(self, h: int, blur: Fraction | int, first: bool) -> tuple[int | None, int, bool]:
        """A column along which a function falls and its direction; and whether a smaller slope was passed over."""
        best, chosen, toward, skipped = 0, None, 1, False
        floor = blur * self.scale
        line = self.table[h]
        for q in range(self.m):
            fall = -line[q] if self.columns[q] is not None else abs(line[q])
            if fall <= floor:
                skipped |= fall > 0
                continue
            if fall > best and not (first and chosen is not None and self._before(chosen, q)):
                best, chosen = (0 if first else fall), q
                toward = 1 if line[q] < 0 else -1
        return chosen, toward, skipped

    def _before(self, a: int, b: int) -> bool:
        """Bland's order: free coordinates first, then rows by number."""
        x, y = self.columns[a], self.columns[b]
        return (-1 if x is None else x, a) < (-1 if y is None else y, b)

    def blocking(self, rows: range, q: int, toward: int) -> tuple[int | None, Fraction]:
        """The row met first where a column moves, and how far that is; of several the first."""
        found, room, rate = None, 0, 1
        for i in rows:
            falling = -toward * self.table[i][q]
            if falling > 0 and (found is None or self.table[i][self.m] * rate < room * falling):
                found, room, rate = i, self.table[i][self.m], falling
        return found, Fraction(room, rate)

    def along(self, q: int, toward: int, length: Fraction) -> Point:
        """The point at the end of a move."""
        step = toward * length
        return [
            x + (Fraction(line[self.m], self.scale) + step * Fraction(line[q], self.scale)) / self.unit
            for x, line in zip(self.start, self.table[self.count :], strict=True)
        ]

    def free_column(self, r: int) -> int | None:
        """A free coordinate that a row depends on."""
        return next((q for q in range(self.m) if self.columns[q] is None and self.table[r][q]), None)

    def exchange(self, q: int, r: int) -> None:
        """Make row ``r`` the function of column ``q``."""
        pivot = self.table[r]
        p, scale = pivot[q], self.scale
        sign = 1 if p > 0 else -1
        others = [(j, v) for j, v in enumerate(pivot) if j != q]
        for line in self.table:
            if line is pivot:
                continue
            factor = line[q]
            for j, v in others:
                line[j] = sign * ((p * line[j] - factor * v) // scale)
            line[q] = sign * factor
        for j, _ in others:
            pivot[j] = 0
        pivot[q] = sign * p
        self.scale = sign * p
        self.columns[q] = r
