"""How passes are compiled, and what all of them use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netfold.exact.numerics import caches

caches.install()

ROUNDING: dict[str, Any] = {"error_model": "numpy", "fastmath": False}
"""Said for every pass: one that said nothing would get what the pass has that is the first to call it."""

COMPILED: dict[str, Any] = {"cache": True, "nogil": True, **ROUNDING}

FAST: dict[str, Any] = {**COMPILED, "fastmath": {"reassoc", "contract", "nsz"}}
"""Sums over units may be reordered into vectors; the order is fixed when the code is compiled."""


LEAN: dict[str, Any]
LEAN_FAST: dict[str, Any]
LEAN, LEAN_FAST = ({**options, "_nrt": False} for options in (COMPILED, FAST))
"""For passes that allocate nothing: their arrays need no reference counts, which cost more than the arithmetic."""

INLINED: dict[str, Any] = {**LEAN, "inline": "always"}
"""For steps that many arrays pass through: handing them over costs as much as a step."""


NONE, NOTHING = np.int64(-1), np.int64(0)
"""No unit, row or rival; no count yet. They have a type of their own: for a bare number in a call, what is called is
compiled once more, which takes seconds."""


@njit(**COMPILED)
def put(array, begin, values):
    """Write values from a place on. The assignment of a slice would compile for two seconds: it words an error."""
    for i in range(len(values)):
        array[begin + i] = values[i]


@njit(**COMPILED)
def order(values):
    """Stable order of positions; insertion for the few of a usual segment."""
    m = len(values)
    if m > 24:
        return np.argsort(values, kind="mergesort")
    rank = np.empty(m, np.int64)
    for i in range(m):
        k = i
        while k > 0 and values[rank[k - 1]] > values[i]:
            rank[k] = rank[k - 1]
            k -= 1
        rank[k] = i
    return rank
