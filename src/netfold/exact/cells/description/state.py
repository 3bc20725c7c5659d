"""What a walk of double description holds: its registers, its stack, generators, rows and constraints.

Compiled code takes tuples of arrays, so a walk's numbers are entries of ``Path.reg`` and have names here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DONE, BUDGET_SPENT, OPEN_SIGNS, FULL_STORE, FULL_WORDS, FULL_OUTPUT, THIN_CELL = range(7)
"""Why a walk stopped; see `netfold.exact.cells.description.walk`."""

# numbers of a walk: position, candidate or knot, rival; the cell; pending cells; what was counted; how it resumes
(T, K, RIVAL, BEGIN, END, LINES, PENDING, REGIONS, DECISIONS, LIMIT, SETTLED, ITEM, STOP, COLLECT, COLLECTED,
 OPENED, WALLS, WORDS, RADIUS, MEASURED, REST, REGISTERS) = range(22)  # fmt: skip

# what is pending: a position, the state or the next candidate there, whether that is a candidate, the cell
P_T, P_STATE, P_SELECT, P_BEGIN, P_END, P_LINES, P_COUNT, P_FIELDS = range(8)

ABOVE, BELOW, CUT, SAME, ASK = range(5)
"""A cell is above a row, below it, cut by it, or the row is 0 on it; or its sign is open."""

MOVED, READY = -1, -2
"""A step needed no decision; or its row is in ``rows.now`` and has to be decided."""

LEAD, BASE, ERROR, EXTRA = range(1, 5)
"""What stands after the scale of the row in ``rows.now``: what bounds take (`pullback.level`)."""


class Store(NamedTuple):
    """Generators: columns, and the work space to cut cells."""

    vec: NDArray[np.float64]
    dev: NDArray[np.float64]
    inc: NDArray[np.uint64]
    ids: NDArray[np.int64]
    val: NDArray[np.float64]
    sgn: NDArray[np.int8]
    words: NDArray[np.uint64]
    scratch: NDArray[np.int64]
    pairs: NDArray[np.int64]
    square: NDArray[np.float64]
    inverse: NDArray[np.float64]
    scratch_square: NDArray[np.float64]
    residual: NDArray[np.float64]


class Rows(NamedTuple):
    """Rows of the units on the current cell."""

    raw: NDArray[np.float64]
    raw_error: NDArray[np.float64]
    unit: NDArray[np.float64]
    unit_error: NDArray[np.float64]
    height: NDArray[np.float64]
    level: NDArray[np.float64]
    fixed: NDArray[np.int64]
    zero: NDArray[np.bool_]
    lanes: NDArray[np.float64]
    shifts: NDArray[np.float64]
    tallies: NDArray[np.int64]
    now: NDArray[np.float64]


class Path(NamedTuple):
    """The constraints of the current cell, and where each knot's is among them."""

    con: NDArray[np.int64]
    planes: NDArray[np.float64]
    total: NDArray[np.int64]
    mark: NDArray[np.int64]
    state: NDArray[np.int16]
    item: NDArray[np.int16]
    pending: NDArray[np.int64]
    reg: NDArray[np.int64]


class Found(NamedTuple):
    """Finished cells."""

    states: NDArray[np.int16]
    points: NDArray[np.float64]
