"""What a walk of double description holds: its registers, its stack, generators, rows and constraints.

Compiled code takes tuples of arrays, so a walk's numbers are the one record in ``CellConstraints.reg``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Bools, Floats, Ints

DONE, BUDGET_SPENT, OPEN_SIGNS, FULL_STORE, FULL_WORDS, FULL_OUTPUT, THIN_CELL = range(7)
"""Why a walk stopped; see `netfold.exact.cells.description.walk`."""

REGISTERS = np.dtype([(name, np.int64) for name in (
    "t", "k", "rival",  # the position; the candidate or knot there, and its rival
    "begin", "end", "lines",  # the cell
    "pending", "regions", "decisions", "limit",  # how many there are, and when to stop
    "settled", "measured",  # whether what was asked for has been answered
    "given", "stop", "collect", "collected", "opened", "walls", "words", "radius", "rest",
)])  # fmt: skip
"""The numbers of a walk."""

PENDING = np.dtype([(name, np.int64) for name in ("t", "state", "select", "begin", "end", "lines", "count")])
"""A cell for later: its position, the state or the next candidate there, whether that is a candidate; the cell."""

ABOVE, BELOW, CUT, SAME, ASK = range(5)
"""A cell is above a row, below it, cut by it, or the row is 0 on it; or its sign is open."""

MOVED, READY = -1, -2
"""A step needed no decision; or its row is in ``rows.now`` and has to be decided."""

LEAD, BASE, ERROR, EXTRA = range(1, 5)
"""What stands after the scale of the row in ``rows.now``: what bounds take (`pullback.level`)."""


class GeneratorStore(NamedTuple):
    """Generators: columns, and the work space to cut cells."""

    vec: Floats
    dev: Floats
    inc: NDArray[np.uint64]
    ids: Ints
    val: Floats
    sgn: NDArray[np.int8]
    words: NDArray[np.uint64]
    scratch: Ints
    pairs: Ints
    square: Floats
    inverse: Floats
    scratch_square: Floats
    residual: Floats


class UnitRows(NamedTuple):
    """Rows of the units on the current cell."""

    raw: Floats
    raw_error: Floats
    unit: Floats
    unit_error: Floats
    height: Floats
    level: Floats
    fixed: Ints
    zero: Bools
    lanes: Floats
    shifts: Floats
    tallies: Ints
    now: Floats


class CellConstraints(NamedTuple):
    """The constraints of the current cell, and where each knot's is among them."""

    con: Ints
    planes: Floats
    total: Ints
    mark: Ints
    state: NDArray[np.int16]
    item: NDArray[np.int16]
    pending: NDArray[Any]
    reg: NDArray[Any]


class FinishedCells(NamedTuple):
    """Finished cells."""

    states: NDArray[np.int16]
    points: Floats
