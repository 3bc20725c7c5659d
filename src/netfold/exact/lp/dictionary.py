"""A small dense simplex method on dictionaries, compiled: what linear programs on a cell need, and no more.

A *dictionary* writes affine functions of a point in terms of ``m`` of them, its columns::

    g_i(x) = D[m, i] + sum(D[q, i] * tau_q for q in range(m))

``i`` is a *position*. Positions ``0..m-1`` are the coordinates of the point; those from ``m`` on are rows. A column
is a row that is tight (``tau_q`` is its value) or a coordinate that is free (``tau_q`` is how far it moved). ``side``
holds, for every position, the side on which the point has to stay: ``+1`` or ``-1`` for constraints, 0 for the rest.
So ``D[m]`` holds the values of all functions at the dictionary's point, where all tight rows are zero.

Rows that are no constraints come along: a row on which a cell has not been split yet is the objective of the linear
program that decides whether it cuts the cell, and a constraint afterwards, without any change to the dictionary.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import FAST, compiled

OPTIMAL, CROSSES, STUCK = range(3)
"""How a descent ends: no column descends further; the next edge reaches zero; too many exchanges."""

FLAT = 1e-9
"""A slope below this is taken for zero. What is concluded from it is verified elsewhere."""

THIN = 1e-11
"""Rates of this size do not stop a move: pivots on them would be noise."""

NEAR = 1e-10
"""Share of an edge within which zero counts as reached at its end, not before."""


@compiled(FAST, lean=True)
def exchange(D, m, end, q, r):
    """Make position ``r`` the function of column ``q``, for the positions before ``end``."""
    column = D[q]
    scale = 1.0 / column[r]
    for i in range(end):
        column[i] *= scale
    column[r] = 1.0
    for j in range(m + 1):
        if j != q:
            other = D[j]
            factor = other[r]
            if factor != 0.0:
                for i in range(end):
                    other[i] -= factor * column[i]
                other[r] = 0.0


@compiled(FAST, lean=True)
def blocking(D, m, end, side, q, toward):
    """The constraint met first where column ``q`` moves ``toward``, and how far that is; -1 and infinity if none."""
    column, value = D[q], D[m]
    first, reach, steepest = -1, np.inf, 0.0
    for i in range(m, end):
        rate = -toward * side[i] * column[i]
        if rate > THIN:
            room = max(side[i] * value[i], 0.0)
            bound = reach * rate
            if room < bound or (room == bound and rate > steepest):
                first, reach, steepest = i, room / rate, rate
    return first, reach


@compiled(FAST, lean=True)
def descending(D, m, basis, side, h, sign, flat, careful):
    """A column along which ``sign * g_h`` falls, its direction, and how fast; -1 where there is none.

    The steepest, or with ``careful`` the one whose function comes first, which cannot cycle.
    """
    chosen, toward, speed = -1, 0.0, flat
    for q in range(m):
        slope = sign * D[q, h]
        b = basis[q]
        if b < m:
            fall, way = abs(slope), (-1.0 if slope > 0 else 1.0)
        else:
            fall, way = -slope * side[b], side[b]
        better = chosen < 0 or b < basis[chosen] if careful else fall > speed
        if fall > flat and better:
            chosen, toward, speed = q, way, fall
    return chosen, toward, speed


@compiled(FAST, lean=True)
def descend(D, m, end, basis, side, h, sign):
    """Lower ``sign * g_h``, which is not negative at the start, until it is least or the next edge crosses zero.

    Returns:
        How it ends, the column, direction and reach of the edge that crosses and the constraint that ends the edge
        (-1: none), and the number of exchanges.
    """
    limit, patience = 60 + 20 * m, 10 + 2 * m
    still = 0
    for count in range(limit):
        q, toward, speed = descending(D, m, basis, side, h, sign, FLAT, still > patience)
        if q < 0:
            return OPTIMAL, -1, 0.0, 0.0, -1, count
        r, reach = blocking(D, m, end, side, q, toward)
        crossing = max(sign * D[m, h], 0.0) / speed
        if r < 0 or crossing < reach * (1.0 - NEAR):
            return CROSSES, q, toward, reach, r, count
        still = still + 1 if reach <= 0.0 else 0
        exchange(D, m, end, q, r)
        basis[q] = r
    return STUCK, -1, 0.0, 0.0, -1, limit


@compiled(FAST, lean=True)
def begin(D, m, end, basis, columns, x):
    """The dictionary at a point, all coordinates free; ``columns[j, i]`` is the coefficient j of position i."""
    for q in range(m):
        row, source = D[q], columns[q]
        for i in range(m):
            row[i] = 0.0
        row[q] = 1.0
        for i in range(m, end):
            row[i] = source[i]
        basis[q] = q
    value, source = D[m], columns[m]
    for i in range(m, end):
        value[i] = source[i]
    for j in range(m):
        value[j] = x[j]
        source, step = columns[j], x[j]
        for i in range(m, end):
            value[i] += step * source[i]


@compiled(FAST, lean=True)
def begin_at(D, m, end, basis, columns, x, left):
    """The dictionary with the given rows tight, built anew; at the point ``x`` if some column is to be free.

    ``left`` holds the rows and is used up.
    """
    begin(D, m, end, basis, columns, x)
    for k in range(m):
        if left[k] < m:
            return
    for _ in range(m):
        chosen, column, largest = -1, -1, THIN
        for k in range(m):
            if left[k] >= 0:
                for q in range(m):
                    if basis[q] < m and abs(D[q, left[k]]) > largest:
                        chosen, column, largest = k, q, abs(D[q, left[k]])
                if chosen >= 0:
                    break
        if chosen < 0:
            break
        exchange(D, m, end, column, left[chosen])
        basis[column] = left[chosen]
        left[chosen] = -1


@compiled(FAST, lean=True)
def add_positions(D, m, start, end, columns):
    """Write the positions from ``start`` to ``end`` in terms of the dictionary's columns."""
    for q in range(m + 1):
        row, source = D[q], columns[m]
        for i in range(start, end):
            row[i] = source[i] if q == m else 0.0
        for j in range(m):
            factor, source = row[j], columns[j]
            if factor != 0.0:
                for i in range(start, end):
                    row[i] += factor * source[i]
