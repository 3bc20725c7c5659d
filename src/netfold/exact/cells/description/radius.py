"""The smallest inradius over the cells of a walk, compiled: one linear program for cells that may be the smallest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.exact.cells.description.generators import U
from netfold.exact.cells.description.pullback import KIND, PAIR, SIGN
from netfold.exact.lp.ball import BallProgram, room_for, widest
from netfold.exact.numerics.compiled import compiled

RELATIVE = 1e-9
"""Relative error of a radius up to which float64 will do."""


class Radius(NamedTuple):
    """The smallest radius so far, and work space.

    Attributes:
        best: the radius, one number.
        gram: scalar products of the frame's coordinate functionals in input space.
        columns: the constraints of a cell as columns; ``norm`` their lengths in input space, ``side`` their signs.
        inner: a point inside.
        room: for the linear program.
    """

    best: NDArray[np.float64]
    gram: NDArray[np.float64]
    columns: NDArray[np.float64]
    norm: NDArray[np.float64]
    side: NDArray[np.float64]
    inner: NDArray[np.float64]
    room: BallProgram

    @staticmethod
    def of(gram: NDArray[np.float64], constraints: int) -> Radius:
        """Room for cells of up to so many constraints."""
        m = len(gram)
        end = m + constraints
        numbers = np.zeros((m + 1, end)), np.zeros(end), np.zeros(end), np.zeros(m)
        return Radius(np.full(1, np.inf), gram, *numbers, room_for(constraints, m))


@compiled(lean=True)
def middle(vec, first, end, m, affine, point):
    """A point strictly inside a cell, between all its rays."""
    total = 1.0
    if affine:
        total = 0.0
        for k in range(first, end):
            total += vec[m, k]
    for j in range(m):
        x = 0.0
        for k in range(first, end):
            x += vec[j, k]
        point[j] = x / total


@compiled(lean=True)
def measure(radius, planes, con, count, m):
    """Note the radius of a cell where it is the smallest; whether float64 was good enough for that."""
    x = radius.inner
    reach = 1.0
    for j in range(m):
        reach += abs(x[j])
    least = np.inf
    for c in range(count):
        norm, value, sizes = 0.0, planes[c, m], abs(planes[c, m])
        for j in range(m):
            a = planes[c, j]
            for i in range(m):
                norm += a * radius.gram[j, i] * planes[c, i]
            value += a * x[j]
            sizes += abs(a * x[j])
            radius.columns[j, m + c] = a
        radius.columns[m, m + c] = planes[c, m]
        norm = np.sqrt(max(norm, 0.0))
        side = 1.0 if con[c, KIND] == PAIR or con[c, SIGN] > 0 else -1.0
        radius.norm[m + c], radius.side[m + c] = norm, side
        if norm == 0.0:
            continue
        slack = side * value / norm
        error = (planes[c, m + 1] * reach + (m + 2) * U * sizes) / norm
        if slack < error / RELATIVE and slack - error < radius.best[0]:
            return False
        least = min(least, slack)
    if least < radius.best[0]:
        end = m + count
        radius.best[0] = widest(radius.columns, radius.norm, radius.side, m, end, x, radius.best[0], radius.room)
    return True
