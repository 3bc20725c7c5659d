"""Does a split cut a cell? Compiled: one linear program a question, with a certificate for either answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netfold.arrays import Floats, Ints
from netfold.exact.cells.simplex.proof import Basis, basis_of, inside, proves, value_at
from netfold.exact.cells.simplex.rows import CONSTANT, DOUBTFUL, SplitPlan
from netfold.exact.lp.ball import BallProgram, ball, room_for
from netfold.exact.lp.dictionary import CROSSES, FLAT, OPTIMAL, begin_at, descend, exchange
from netfold.exact.numerics.compiled import FAST, compiled

BELOW, ZERO, ABOVE, BOTH, OPEN = -1, 0, 1, 2, 3
"""Answers: the split is negative on the cell, zero, positive, of both signs, or float64 cannot tell."""

TIRED = 40
"""Exchanges after which a dictionary is built anew at its point, so that rounding errors do not grow."""

SLIM, ROOMY = 1e-7, 1e-3
"""Points nearer to the border of their cell than ``SLIM``, relative to where they are, are moved inwards: up to
``ROOMY`` if the cell is as wide as that."""


class SplitCell(NamedTuple):
    """The cell that a walk is at.

    Attributes:
        dictionary: see `simplex`; ``basis``: its columns, ``left``: those still to be found when it is built
            anew; ``side``: the constraints.
        inner: a point strictly inside; after a cut ``halves[0]`` and ``halves[1]`` are inside its two parts,
            by ``margin`` relative to their coordinates.
        used: exchanges since the dictionary was built.
        scratch: values of all positions; ``points``: a few points; ``room``: for proofs;
            ``ball``: to move points inwards.
    """

    dictionary: Floats
    basis: Ints
    left: Ints
    side: Floats
    inner: Floats
    halves: Floats
    margin: Floats
    used: Ints
    scratch: Floats
    slack: Floats
    points: Floats
    room: Basis
    ball: BallProgram


def cell_of(plan: SplitPlan) -> SplitCell:
    """Room for a cell."""
    m, width = plan.net.m, plan.positions
    return SplitCell(
        np.zeros((m + 1, width)),
        np.zeros(m, np.int64),
        np.zeros(m, np.int64),
        np.zeros(width),
        np.zeros(m),
        np.zeros((2, m)),
        np.zeros(2),
        np.zeros(1, np.int64),
        np.zeros(width),
        np.zeros(width),
        np.zeros((4, m)),
        basis_of(m),
        room_for(width, m),
    )


@compiled(FAST, lean=True)
def split(rows, cell, m, end, h, frame):
    """Whether position ``h`` cuts the cell; after `BOTH`, ``halves`` are set and ``h`` is tight in the dictionary."""
    kind = rows.kind[h]
    if kind == DOUBTFUL:
        return OPEN
    if kind == CONSTANT:
        constant = rows.splits[0, h, m]
        return ABOVE if constant > 0.0 else (BELOW if constant < 0.0 else ZERO)
    if cell.used[0] > TIRED:
        anew(rows, cell, m, end)
    answer = attempt(rows, cell, m, end, h, frame)
    if answer == OPEN:
        widen(rows, cell, m, end, cell.inner)
        anew(rows, cell, m, end)
        answer = attempt(rows, cell, m, end, h, frame)
    return answer


@compiled(FAST, lean=True)
def anew(rows, cell, m, end):
    """Build the dictionary from its rows."""
    for q in range(m):
        cell.left[q] = cell.basis[q]
    begin_at(cell.dictionary, m, end, cell.basis, rows.columns, cell.inner, cell.left)
    cell.used[0] = 0


@compiled(FAST, lean=True)
def attempt(rows, cell, m, end, h, frame):
    """Answer from the dictionary as it is; `OPEN` where it does not lead to a certificate."""
    D, basis, side = cell.dictionary, cell.basis, cell.side
    here, certain = value_at(rows, m, h, cell.inner)
    start = D[m, h]
    if abs(start) > FLAT:
        sign = 1.0 if start > 0.0 else -1.0
    else:
        sign = -1.0 if certain < 0 else 1.0
    how, q, toward, reach, stop, count = descend(D, m, end, basis, side, h, sign)
    cell.used[0] += count
    if how == OPTIMAL:
        if certain * sign < 0 or not proves(D, m, basis, side, rows, frame, h, sign, cell.room):
            return OPEN
        return ABOVE if sign > 0 else BELOW
    if how != CROSSES:
        return OPEN
    found = witnesses(rows, cell, m, end, h, sign, here, certain, q, toward, reach, stop)
    if not found:
        return OPEN
    exchange(D, m, end, q, h)
    basis[q] = h
    cell.used[0] += 1
    for half in range(2):
        if cell.margin[half] < SLIM:
            side[h] = 1.0 if half == 1 else -1.0
            widen(rows, cell, m, end, cell.halves[half])
    side[h] = 0.0
    return BOTH


@compiled(FAST, lean=True)
def widen(rows, cell, m, end, x):
    """Move a point strictly inside a cell away from its border."""
    margin = inside(rows, cell.side, m, end, x, cell.scratch)
    spread = 1.0
    for j in range(m):
        spread = max(spread, abs(x[j]))
    room, made, count = cell.ball, cell.points[2], 0
    for i in range(m, end):
        if cell.side[i] != 0.0:
            room.slack[count] = cell.side[i] * cell.scratch[i]
            for j in range(m):
                room.rows[count, j] = cell.side[i] * rows.columns[j, i]
            count += 1
    ball(count, m, ROOMY * spread, room)
    size = 0.0
    for j in range(m):
        made[j] = x[j] + room.zero[j]
        size += abs(made[j])
    # where float64 sees the point on a wall, what the program finds may be anything, also NaN
    if size < np.inf and inside(rows, cell.side, m, end, made, cell.scratch) > max(margin, 0.0):
        for j in range(m):
            x[j] = made[j]


@compiled(FAST, lean=True)
def witnesses(rows, cell, m, end, h, sign, here, certain, q, toward, reach, stop):
    """Points strictly inside both parts of a cell that the edge along column ``q`` shows to be cut."""
    D, points = cell.dictionary, cell.points
    fall = abs(D[q, h])
    start = sign * D[m, h]
    length = reach if stop >= 0 else 2.0 * max(start, 0.0) / fall + 1.0
    for j in range(m):
        points[0, j] = D[m, j]
        points[1, j] = D[m, j] + toward * length * D[q, j]
    before, after = start, start - length * fall
    upper = 1 if sign > 0 else 0
    # points[0] lies on the side `sign` (or on the split), points[1] beyond it
    if certain * sign > 0:
        return halve(rows, cell, m, end, h, points[1], sign * here, after, upper)
    if certain * sign < 0:
        return halve(rows, cell, m, end, h, points[0], -sign * here, -before, 1 - upper)
    other = 1 - upper
    return reaches(rows, cell, m, end, h, points[0], 0.5, upper) and reaches(
        rows, cell, m, end, h, points[1], 0.5, other
    )


@compiled(FAST, lean=True)
def halve(rows, cell, m, end, h, target, here, there, near):
    """Points in the middle of both parts of the chord from the inner point to a target on the other side."""
    if not (here > 0.0 and there < 0.0):
        return False
    crossing = here / (here - there)
    back = chord(rows, cell, m, end, target)
    far = 0.5 * (1.0 + crossing)
    if not reaches(rows, cell, m, end, h, target, far, 1 - near):
        return False
    if back < 0.0 and reaches(rows, cell, m, end, h, target, 0.5 * (back + crossing), near):
        return True
    for j in range(m):
        cell.halves[near, j] = cell.inner[j]
    cell.margin[near] = 0.0
    return True


@compiled(FAST, lean=True)
def chord(rows, cell, m, end, target):
    """How far the cell reaches back from the inner point, in steps to a target; at most three."""
    rates, room, side, x = cell.scratch, cell.slack, cell.side, cell.inner
    for i in range(m, end):
        rates[i], room[i] = 0.0, rows.columns[m, i]
    for j in range(m):
        here, step, column = x[j], target[j] - x[j], rows.columns[j]
        for i in range(m, end):
            rates[i] += step * column[i]
            room[i] += here * column[i]
    back = -3.0
    for i in range(m, end):
        rate = side[i] * rates[i]
        if rate > 1e-14 and side[i] * room[i] < -back * rate:
            back = -max(side[i] * room[i], 0.0) / rate
    return back


@compiled(FAST, lean=True)
def reaches(rows, cell, m, end, h, target, share, half):
    """Whether the point at a share of the way to a target is strictly inside one part of the cell; written there."""
    x, made = cell.inner, cell.halves[half]
    spread = 1.0
    for j in range(m):
        made[j] = x[j] + share * (target[j] - x[j])
        spread = max(spread, abs(made[j]))
    room = inside(rows, cell.side, m, end, made, cell.scratch)
    if not room > 0.0:
        return False
    value, sign = value_at(rows, m, h, made)
    cell.margin[half] = min(room, abs(value)) / spread
    return sign == (1 if half == 1 else -1)
