"""Certificates of the simplex engine, compiled: bounds that hold whatever float64 rounded.

A split *cuts* a cell where points strictly inside lie on both of its sides; `inside` and `sided` prove that of a
point. It *does not cut* where ``sign * h = sum of positive multiples of the cell's constraints + something not
negative`` (Farkas). The simplex method proposes the constraints; `proves` encloses the true multipliers.

The enclosure: with ``R`` the approximate inverse of the constraints' true coefficients ``A`` and ``R A = I - E``,
``|E| <= alpha < 1`` (row sums), multipliers ``l`` with residual ``r = a_h - A^T l`` are off by ``A^-T r``, of which
component ``q`` is at most ``max_j |R[j, q]| * sum |r| / (1 - alpha)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netfold.arrays import Bools, Floats, Ints
from netfold.exact.cells.description.verification import inverted
from netfold.exact.cells.simplex.rows import ROUNDING
from netfold.exact.lp.dictionary import FLAT
from netfold.exact.numerics.compiled import FAST, NOTHING, compiled

FLATTEST = 1e-12
"""Pivot below which the constraints of a proof are not taken to be independent."""


class Basis(NamedTuple):
    """Room for the constraints of a proof, gathered.

    Attributes:
        rows: coefficients by constraint and coordinate, and the ``inverse`` by coordinate and constraint.
        constants: of the constraints, with ``errors``: of their coefficients and of their constants.
        target: coefficients of the split, ``multipliers``: what the simplex method or the inverse says.
        sides: on which side of the constraints the cell lies; ``used``: their positions.
        support: which coordinates occur; ``work``: room to compute.
    """

    rows: Floats
    inverse: Floats
    constants: Floats
    errors: Floats
    target: Floats
    multipliers: Floats
    sides: Floats
    used: Ints
    support: Bools
    work: Floats


def basis_of(m: int) -> Basis:
    """Room for proofs with up to ``m`` constraints."""
    one = [np.zeros(m + 1) for _ in range(4)]
    return Basis(
        np.zeros((m + 1, m + 1)),
        np.zeros((m + 1, m + 1)),
        one[0],
        np.zeros((m + 1, 2)),
        one[1],
        one[2],
        one[3],
        np.zeros(m + 1, np.int64),
        np.zeros(m + 1, np.bool_),
        np.zeros((m + 1, m + 1)),
    )


@compiled(FAST, lean=True)
def inside(rows, side, m, end, x, scratch):
    """How far a point is inside all constraints, less what rounding can do; their values are left in ``scratch``."""
    spread = 0.0
    for i in range(m, end):
        scratch[i] = rows.columns[m, i]
    for j in range(m):
        step, column = x[j], rows.columns[j]
        spread += abs(step)
        for i in range(m, end):
            scratch[i] += step * column[i]
    least = np.inf
    for i in range(m, end):
        if side[i] != 0.0:
            least = min(least, side[i] * scratch[i] - rows.loose[0, i] * spread - rows.loose[1, i])
    return least


@compiled(FAST, lean=True)
def value_at(rows, m, i, x):
    """A split at a point, and its sign: 0 where rounding may have made it."""
    value, spread, row = rows.splits[0, i, m], 0.0, rows.splits[0, i]
    for j in range(m):
        value += row[j] * x[j]
        spread += abs(x[j])
    bound = rows.loose[0, i] * spread + rows.loose[1, i]
    return value, (1 if value > bound else (-1 if value < -bound else 0))


@compiled(FAST, lean=True)
def proves(D, m, basis, side, rows, frame, h, sign, room):
    """Whether the dictionary's tight constraints prove ``sign * h >= 0`` on the cell, and ``h`` not the zero function.

    Constraints whose multiplier looks like zero are left out. Then the others have to span the split by themselves,
    which is seen in a frame in which they occupy just as many coordinates as they are.
    """
    count = NOTHING
    for q in range(m):
        b = basis[q]
        if b < m:
            if abs(D[q, h]) > FLAT:
                return False
            continue
        strength = sign * side[b] * D[q, h]
        if strength < -FLAT:
            return False
        if strength > FLAT:
            room.used[count], room.sides[count], room.multipliers[count] = b, side[b], D[q, h]
            for j in range(m):
                room.inverse[j, count] = D[q, j]
            count += 1
    if count == m:
        gather(rows, NOTHING, h, m, m, room)
        return encloses(rows.splits[0, h, m], rows.split_error[0, h], m, sign, room)
    for f in range(frame, -1, -1):
        if count > 0 and spans(rows, f, h, m, count, room):
            gather(rows, f, h, m, count, room)
            if invert(count, room) and encloses(rows.splits[f, h, m], rows.split_error[f, h], count, sign, room):
                return True
    return False


@compiled(FAST, lean=True)
def spans(rows, f, h, m, count, room):
    """Whether a frame knows all functions and they occupy ``count`` of its coordinates; marks these."""
    if not rows.known[f, h]:
        return False
    for j in range(m):
        room.support[j] = rows.split_support[f, h, j]
    for a in range(count):
        b = room.used[a]
        if not rows.known[f, b]:
            return False
        for j in range(m):
            room.support[j] |= rows.split_support[f, b, j]
    occupied = 0
    for j in range(m):
        occupied += room.support[j]
    return occupied == count


@compiled(FAST, lean=True)
def gather(rows, f, h, m, count, room):
    """Copy the functions of a proof: all coordinates, or those marked."""
    k = 0
    for j in range(m):
        if count == m or room.support[j]:
            room.target[k] = rows.splits[f, h, j]
            for a in range(count):
                room.rows[a, k] = rows.splits[f, room.used[a], j]
            k += 1
    for a in range(count):
        b = room.used[a]
        room.constants[a] = rows.splits[f, b, m]
        room.errors[a, 0], room.errors[a, 1] = rows.split_error[f, b, 0], rows.split_error[f, b, 1]


@compiled(FAST, lean=True)
def invert(n, room):
    """The inverse of the gathered rows by elimination, and the multipliers it gives; false where it breaks down."""
    # rows are eliminated as equations rows @ x = constraints, the inverse being x by constraint
    if not inverted(room.rows, room.inverse, room.work, n, FLATTEST):
        return False
    for a in range(n):
        total = 0.0
        for j in range(n):
            total += room.target[j] * room.inverse[j, a]
        room.multipliers[a] = total
    return True


@compiled(FAST, lean=True)
def encloses(constant, errors, n, sign, room):
    """Whether the true multipliers are positive and what they leave over is not negative."""
    A, R, multipliers = room.rows, room.inverse, room.multipliers
    alpha, unit = 0.0, (n + 3) * ROUNDING
    line, doubts = room.work[0], room.work[1]
    for a in range(n):
        length = 1.0
        for k in range(n):
            length += abs(A[a, k])
        doubts[a] = unit * length + n * room.errors[a, 0]
    for j in range(n):
        for k in range(n):
            line[k] = 0.0
        line[j] = -1.0
        total = unit
        for a in range(n):
            factor = R[j, a]
            total += abs(factor) * doubts[a]
            for k in range(n):
                line[k] += factor * A[a, k]
        for k in range(n):
            total += abs(line[k])
        if not total < 0.5:
            return False
        alpha = max(alpha, total)
    sizes, weight = doubts, 0.0
    for k in range(n):
        line[k] = room.target[k]
        sizes[k] = abs(room.target[k])
    for a in range(n):
        factor = multipliers[a]
        weight += abs(factor) * room.errors[a, 0]
        for k in range(n):
            part = factor * A[a, k]
            line[k] -= part
            sizes[k] += abs(part)
    residual = 0.0
    for k in range(n):
        residual += abs(line[k]) + unit * sizes[k]
    residual = 1.01 * (residual + n * (errors[0] + weight)) / (1.0 - alpha)
    left, doubt, size = constant, errors[1], abs(constant)
    for a in range(n):
        largest = 0.0
        for j in range(n):
            largest = max(largest, abs(R[j, a]))
        off = largest * residual
        if not sign * room.sides[a] * multipliers[a] > off:
            return False
        part = multipliers[a] * room.constants[a]
        left -= part
        size += abs(part)
        doubt += abs(multipliers[a]) * room.errors[a, 1] + off * (abs(room.constants[a]) + room.errors[a, 1])
    return sign * left >= 1.01 * (doubt + unit * size)
