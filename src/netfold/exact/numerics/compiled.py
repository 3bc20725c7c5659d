"""How passes are compiled, and what all of them use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netfold.exact.numerics.dispatch import dispatcher

FAST = frozenset({"reassoc", "contract", "nsz"})
"""Sums over units may be reordered into vectors; the order is fixed when the code is compiled."""

ROUNDING: Any = {"error_model": "numpy", "fastmath": False}
"""Said for every pass: one that said nothing would get what the pass has that is the first to call it."""


def compiled(
    rounding: frozenset[str] | bool = False, *, lean: bool = False, inline: bool = False
) -> Callable[[Callable[..., Any]], Any]:
    """Compile a pass when it is first called, and keep its code.

    Args:
        rounding: what may be done to its sums: nothing, `FAST`, or all that LLVM knows.
        lean: it allocates nothing: its arrays need no reference counts, which cost more than the arithmetic.
        inline: a step that many arrays pass through: handing them over costs as much as the step.
    """
    options = {"nopython": True, "nogil": True, **ROUNDING}
    if rounding:
        options["fastmath"] = True if rounding is True else set(rounding)
    if lean:
        options["_nrt"] = False
    if inline:
        options["inline"] = "always"
    return dispatcher(options)


NONE, NOTHING = np.int64(-1), np.int64(0)
"""No unit, row or rival; no count yet. They have a type of their own: for a bare number in a call, what is called is
compiled once more, which takes seconds."""


@compiled()
def put(array, begin, values):
    """Write values from a place on. The assignment of a slice would compile for two seconds: it words an error."""
    for i in range(len(values)):
        array[begin + i] = values[i]


@compiled()
def order(values):
    """Stable order of positions: insertion in runs of a usual segment's length, which are then merged."""
    m, width = len(values), 24
    rank = np.empty(m, np.int64)
    for i in range(m):
        k = i
        while k % width and values[rank[k - 1]] > values[i]:
            rank[k] = rank[k - 1]
            k -= 1
        rank[k] = i
    other = np.empty(m if m > width else 0, np.int64)
    while width < m:
        for begin in range(0, m, 2 * width):
            middle, end = min(begin + width, m), min(begin + 2 * width, m)
            a, b = begin, middle
            for k in range(begin, end):
                if b == end or (a < middle and not values[rank[b]] < values[rank[a]]):
                    other[k] = rank[a]
                    a += 1
                else:
                    other[k] = rank[b]
                    b += 1
        rank, other = other, rank
        width *= 2
    return rank
