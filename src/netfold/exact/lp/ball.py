"""Chebyshev centre and inradius of a cell, compiled: the largest ball inside, by one linear program.

The ball of radius ``r`` around ``x`` lies in ``a_i . x + b_i >= 0`` for all ``i`` if and only if
``a_i . x + b_i >= r |a_i|``, with ``|a_i|`` the length of the gradient in the space in which balls are measured.
Starting from a point strictly inside, the simplex method only ever raises ``r``, so a search for the smallest radius
of many cells leaves a cell as soon as its radius passes the best so far.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netfold.errors import InvalidInputError
from netfold.exact.lp.dictionary import begin, blocking, descending, exchange
from netfold.exact.numerics.compiled import FAST, NOTHING, compiled
from netfold.exact.numerics.threads import aside

SHARE = 1e-13
"""Multipliers below this share do not count: they would change the radius by less than rounding does."""


class Ball(NamedTuple):
    """The largest ball in a cell.

    Attributes:
        radius: infinite where there are balls of any size.
        centre: ``(m,)``; where the radius is infinite, a point inside.
    """

    radius: float
    centre: NDArray[np.float64]


class BallProgram(NamedTuple):
    """Room for the linear program of a cell: its ``rows`` of unit length, their values ``slack`` at the point where it
    starts, and what `simplex` needs."""

    rows: NDArray[np.float64]
    slack: NDArray[np.float64]
    columns: NDArray[np.float64]
    side: NDArray[np.float64]
    dictionary: NDArray[np.float64]
    basis: NDArray[np.int64]
    zero: NDArray[np.float64]


def room_for(rows: int, m: int) -> BallProgram:
    """Room for cells of up to ``rows`` rows in ``m`` coordinates."""
    end = m + 1 + rows
    tables = [np.zeros((m + 2, end)) for _ in range(2)]
    side = np.concatenate([np.zeros(m + 1), np.ones(rows)])
    basis, zero = np.zeros(m + 1, np.int64), np.zeros(m + 1)
    return BallProgram(np.zeros((rows, m)), np.zeros(rows), tables[0], side, tables[1], basis, zero)


@compiled(FAST, lean=True)
def widest(columns, norm, side, m, end, inner, limit, room):
    """The radius of the cell, or ``limit`` where it is at least that.

    Args:
        columns: ``(m + 1, positions)``: coefficients and constant of the functions, from position ``m`` on.
        norm: length of every gradient; ``side``: which positions are constraints, and their signs.
        m: number of coordinates, and ``end``: of positions.
        inner: a point strictly inside.
        limit: nothing above it matters.
        room: for at least as many rows as there are constraints.
    """
    count, least = NOTHING, np.inf
    for i in range(m, end):
        if side[i] == 0.0 or norm[i] == 0.0:
            continue
        value = columns[m, i]
        for j in range(m):
            value += columns[j, i] * inner[j]
        room.slack[count] = side[i] * value / norm[i]
        least = min(least, room.slack[count])
        count += 1
    if least >= limit:
        return limit
    k = 0
    for i in range(m, end):
        if side[i] != 0.0 and norm[i] != 0.0:
            for j in range(m):
                room.rows[k, j] = side[i] * columns[j, i] / norm[i]
            k += 1
    return min(limit, ball(count, m, limit, room))


@compiled(FAST, lean=True)
def ball(count, m, limit, room):
    """Radius of ``rows @ y + slack >= r`` for ``count`` rows with ``slack > 0``; the centre is in ``zero``.

    Stops where the radius passes ``limit``; then it is a lower bound.
    """
    size = m + 1
    end = size + count
    # lengths in units of the smallest slack, so that thin cells are like others
    unit = np.inf
    for i in range(count):
        unit = min(unit, room.slack[i])
    if count == 0:
        unit = 1.0
    for i in range(count):
        for j in range(m):
            room.columns[j, size + i] = room.rows[i, j]
        room.columns[m, size + i] = -1.0
        room.columns[size, size + i] = room.slack[i] / unit
    for j in range(size):
        room.zero[j] = 0.0
    D, basis, side = room.dictionary, room.basis, room.side
    begin(D, size, end, basis, room.columns, room.zero)
    still, bounded = 0, True
    for _ in range(200 + 50 * size):
        q, toward, _ = descending(D, size, basis, side, m, -1.0, SHARE, still > 10 + 2 * size)
        if q < 0:
            break
        r, reach = blocking(D, size, end, side, q, toward)
        bounded = r >= 0
        if not bounded:
            break
        still = still + 1 if reach <= 0.0 else 0
        exchange(D, size, end, q, r)
        basis[q] = r
        if D[size, m] * unit >= limit:
            break
    for j in range(m):
        room.zero[j] = D[size, j] * unit
    return D[size, m] * unit if bounded else np.inf


def largest_ball(normals: ArrayLike, constants: ArrayLike, inner: ArrayLike, gram: ArrayLike | None = None) -> Ball:
    """The largest ball in ``{x: normals @ x + constants >= 0}``.

    Args:
        normals: ``(rows, m)``.
        constants: ``(rows,)``.
        inner: ``(m,)``, a point strictly inside.
        gram: ``(m, m)``, scalar products of the coordinate functionals in the space in which balls are measured; the
            identity by default.

    Raises:
        InvalidInputError: the point is not strictly inside.

    Example:
        >>> ball = largest_ball([[1, 0], [0, 1], [-3, -4]], [0, 0, 12], [0.5, 0.5])
        >>> round(ball.radius, 12), ball.centre.round(12).tolist()
        (1.0, [1.0, 1.0])
    """
    a = np.atleast_2d(np.asarray(normals, np.float64))
    x = np.asarray(inner, np.float64)
    norm = np.sqrt(np.sum((a @ np.asarray(gram, np.float64) if gram is not None else a) * a, axis=1))
    slack = a @ x + np.asarray(constants, np.float64)
    if not np.all(slack > 0.0):
        worst = int(slack.argmin())
        raise InvalidInputError(f"the point has to be strictly inside all rows; row {worst} is {slack[worst]}")
    keep = norm > 0.0
    space = room_for(int(keep.sum()), len(x))
    space.rows[:], space.slack[:] = a[keep] / norm[keep, None], slack[keep] / norm[keep]
    radius = aside(ball, len(space.slack), len(x), np.inf, space)
    return Ball(float(radius), x + space.zero[:-1])
