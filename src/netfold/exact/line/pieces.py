"""The parameters of a layer's piecewise-linear functions, as compiled passes over rows read them.

A function has two knots (one alone is followed by one that nothing reaches), so that loops over units have no loop
inside and compile to vector instructions. Its parameters stand in ten rows: two knots, three slopes, three offsets,
the values at the two knots. The table is one-dimensional where all units share one function, and has one column a
unit where they do not: passes are compiled for both from one source, as these accessors follow the type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

from netfold.arrays import Floats
from netfold.capture.activations import Elementwise
from netfold.exact.numerics.compiled import ROUNDING

KNOT, SLOPE, OFFSET, VALUE = 0, 2, 5, 8
"""First rows of the knots, slopes, offsets and values at knots."""

FAR = 1e300
"""A knot that no pre-activation reaches."""


def pieces_of(rule: Elementwise) -> Floats:
    """A rule's table.

    A value at a knot is taken from the flatter piece, so that it equals a flat piece's value to the last bit.
    """
    levels = rule.knots.shape[1]
    if levels > 2:
        raise ValueError(f"the line kernels take at most two knots a unit, got {levels}")
    knots, slopes, offsets = rule.knots, rule.slopes, rule.offsets
    if levels == 1:
        knots = np.hstack([knots, np.full_like(knots, FAR)])
        slopes, offsets = slopes[:, [0, 1, 1]], offsets[:, [0, 1, 1]]
    finite = np.where(knots < FAR, knots, 0.0)
    below, above = (slopes[:, i : i + 2] * finite + offsets[:, i : i + 2] for i in range(2))
    values = np.where(np.abs(slopes[:, :2]) <= np.abs(slopes[:, 1:]), below, above)
    table = np.ascontiguousarray(np.hstack([knots, slopes, offsets, values]).T)
    return table[:, 0].copy() if table.shape[1] == 1 else table


def entry(pieces: Any, row: Any, j: Any) -> Any:
    """One parameter of unit ``j``."""
    return pieces[row] if pieces.ndim == 1 else pieces[row, j]


def columns(pieces: Any) -> Any:
    """The ten rows of a table one by one, for `of`."""
    return tuple(pieces)


def of(row: Any, j: Any) -> Any:
    """A row's entry for unit ``j``: of `columns`, so that a loop over units keeps what they share in registers."""
    return row[j] if np.ndim(row) else row


@overload(entry, jit_options=ROUNDING, inline="always")
def _entry(pieces, row, j):
    if pieces.ndim == 1:
        return lambda pieces, row, j: pieces[row]
    return lambda pieces, row, j: pieces[row, j]


@overload(columns, jit_options=ROUNDING, inline="always")
def _columns(pieces):
    def rows(pieces):
        a = pieces
        return a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]

    return rows


@overload(of, jit_options=ROUNDING, inline="always")
def _of(row, j):
    if hasattr(row, "ndim"):
        return lambda row, j: row[j]
    return lambda row, j: row
