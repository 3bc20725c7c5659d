"""What half-spaces imply, in rational arithmetic: small linear programs over non-negative multipliers.

By Farkas' lemma ``a.x + b >= 0`` holds wherever ``a_j.x + b_j >= 0`` do (a set that is not empty) if and only if there
are multipliers ``w_j >= 0`` with ``sum(w_j a_j) = a`` and ``sum(w_j b_j) <= b``. Radius and boundedness are programs of
the same form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from netfold.exact.matrices.skip import ExactRow

Vector = list[Fraction]


def implied(row: ExactRow, others: Sequence[ExactRow]) -> bool:
    """Whether a half-space holds wherever others do, which have a point in common.

    Example:
        >>> one = Fraction(1)
        >>> right, above = ({0: one}, Fraction(0)), ({1: one}, Fraction(0))
        >>> implied(({0: one, 1: one}, Fraction(0)), [right, above]), implied(right, [above])
        (True, False)
    """
    matrix = _columns([row, *others])
    least = minimum([r[1:] for r in matrix], [r[0] for r in matrix], [b for _, b in others])
    return least is not None and least <= row[1]


def inradius(rows: Sequence[ExactRow]) -> float:
    """Radius of the largest ball in half-spaces that have a point in common; infinite where there is none."""
    lengths = [Fraction(math.sqrt(float(sum(v * v for v in entries.values())))) for entries, _ in rows]
    matrix = _columns(rows)
    least = minimum([*matrix, lengths], [*[Fraction(0)] * len(matrix), Fraction(1)], [b for _, b in rows])
    return math.inf if least is None else float(least)


def bounded(rows: Sequence[ExactRow], inputs: int) -> bool:
    """Whether half-spaces that have a point in common have a bounded intersection (Stiemke's lemma)."""
    matrix = _columns(rows)
    if len(matrix) < inputs or _rank(matrix) < inputs:
        return False
    # multipliers are 1 + w: all of them positive
    return minimum(matrix, [-sum(r, Fraction(0)) for r in matrix], [Fraction(0)] * len(rows)) is not None


def _columns(rows: Sequence[ExactRow]) -> list[Vector]:
    """Half-spaces as the columns of a matrix, with a row for every coordinate that one of them reads."""
    read = sorted({c for entries, _ in rows for c in entries})
    return [[entries.get(c, Fraction(0)) for entries, _ in rows] for c in read]


def minimum(matrix: Sequence[Vector], target: Vector, cost: Vector) -> Fraction | None:
    """The least ``cost . w`` of all ``w >= 0`` with ``matrix @ w = target``; ``None`` where there is no such ``w``.

    The simplex method in two phases, with the rule of Bland, which cannot cycle. The program must be bounded below.

    Example:
        >>> minimum([[Fraction(1), Fraction(2)]], [Fraction(4)], [Fraction(1), Fraction(1)])
        Fraction(2, 1)
    """
    count, m = len(cost), len(matrix)
    table = np.empty((m + 1, count + m + 1), object)
    table[:] = Fraction(0)
    for i, (row, value) in enumerate(zip(matrix, target, strict=True)):
        sign = -1 if value < 0 else 1
        table[i, :count] = [sign * v for v in row]
        table[i, count + i] = Fraction(1)
        table[i, -1] = sign * value
    basis = list(range(count, count + m))
    table[m, :count] = [-sum(table[:m, j], Fraction(0)) for j in range(count)]
    table[m, -1] = -sum(table[:m, -1], Fraction(0))
    _descend(table, basis, count)
    if table[m, -1] != 0:
        return None
    for i in range(m):
        # an artificial variable that is still there is zero: any column takes its place, or its row says nothing
        if basis[i] >= count and (j := next((j for j in range(count) if table[i, j]), None)) is not None:
            _pivot(table, basis, i, j)
    table[m] = Fraction(0)
    table[m, :count] = cost
    for i, j in enumerate(basis):
        if j < count and table[m, j]:
            table[m] -= table[m, j] * table[i]
    _descend(table, basis, count)
    return -table[m, -1]


def _descend(table: np.ndarray, basis: list[int], count: int) -> None:
    """Lower the last row's value as far as it goes."""
    while True:
        entering = next((j for j in range(count) if table[-1, j] < 0), None)
        if entering is None:
            return
        ratios = [(table[i, -1] / table[i, entering], basis[i], i) for i in range(len(basis)) if table[i, entering] > 0]
        if not ratios:
            raise ArithmeticError("a linear program has no least value: its half-spaces have no point in common")
        _pivot(table, basis, min(ratios)[2], entering)


def _pivot(table: np.ndarray, basis: list[int], i: int, j: int) -> None:
    table[i] = table[i] / table[i, j]
    for k in range(len(table)):
        if k != i and table[k, j]:
            table[k] -= table[k, j] * table[i]
    basis[i] = j


def _rank(matrix: Sequence[Vector]) -> int:
    rows, rank = [list(row) for row in matrix], 0
    for j in range(len(rows[0])):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][j]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            if factor := rows[i][j] / rows[rank][j]:
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
        if rank == len(rows):
            break
    return rank
