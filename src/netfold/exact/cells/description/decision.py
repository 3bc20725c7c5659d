"""Whether a row cuts the current cell, compiled: signs on its generators, as certain as float64 makes them."""

from __future__ import annotations

import numpy as np
from numba import njit

from netfold.exact.cells.description.generators import INLINED, LEAN, OPEN, evaluate, signs, tally, tight
from netfold.exact.cells.description.pullback import structurally_zero
from netfold.exact.cells.description.state import (
    ABOVE,
    ASK,
    BASE,
    BEGIN,
    BELOW,
    CUT,
    DECISIONS,
    END,
    ERROR,
    LEAD,
    LINES,
    SAME,
    SETTLED,
    WORDS,
)
from netfold.exact.cells.description.verification import verify

KEEP, RENEW = np.bool_(False), np.bool_(True)
"""Whether generators may be found again from their constraints (typed as `netfold.exact.numerics.compiled.NONE` is)."""


@njit(**LEAN)
def settle(net, store, path, rows, layer, r, rival, knot, size, affine, renew):
    """Decide open signs as far as float64 goes; how many stay open.

    With `RENEW`, generators may be found again from their constraints. They are then other multiples of the true
    ones, which values taken before do not fit.
    """
    reg = path.reg
    lead, error = rows.now[size + LEAD], rows.now[size + ERROR]
    left = 0
    for k in range(reg[BEGIN], reg[END]):
        if store.sgn[k] != OPEN:
            continue
        if renew and reg[LINES] == 0:
            verify(store, path.planes, reg[WORDS], size, k)
        value, bound = tight(store.vec, store.dev, k, rows.now, size, lead, error)
        if abs(value) > bound:
            store.sgn[k], store.val[k] = (1 if value > 0 else -1), value
        elif bound == 0.0 or structurally_zero(
            net, path, rows, path.state, store.inc, k, layer, r, rival, affine, knot
        ):
            store.sgn[k], store.val[k] = 0, 0.0
        else:
            left += 1
    return left


@njit(**LEAN)
def _line_decides(sgn, begin, lines):
    """Whether the row is certainly not 0 on a line of the cell."""
    decided = False
    for k in range(begin, begin + lines):
        decided = decided or sgn[k] == 1 or sgn[k] == -1
    return decided


@njit(**INLINED)
def classify(net, store, path, rows, layer, r, rival, knot, size, affine):
    """Whether the current cell is above, below or cut by the current row, or the same as it."""
    reg, val, sgn = path.reg, store.val, store.sgn
    begin, end, lines = reg[BEGIN], reg[END], reg[LINES]
    count = end - begin
    answer = -1
    if reg[SETTLED]:
        reg[SETTLED] = 0
    else:
        reg[DECISIONS] += 1
        evaluate(store.vec, begin, end, rows.now, size, val)
        positive, negative = signs(begin, end, val, store.dev, rows.now[size + LEAD], rows.now[size + BASE], sgn)
        if lines == 0 and positive == count:
            answer = ABOVE
        elif lines == 0 and negative == count:
            answer = BELOW
        elif positive + negative < count:
            left = settle(net, store, path, rows, layer, r, rival, knot, size, affine, RENEW)
            if left and not _line_decides(sgn, begin, lines):
                answer = ASK
        elif lines == 0:
            answer = CUT
    if answer < 0:
        if lines and _line_decides(sgn, begin, lines):
            answer = CUT
        else:
            positive, negative, _ = tally(begin, end, sgn)
            if positive:
                answer = CUT if negative else ABOVE
            else:
                answer = BELOW if negative else SAME
    return answer


@njit(**LEAN)
def pivot(sgn, val, begin, lines):
    """The line of the cell on which the row is largest; -1 where it is 0 on all."""
    pivot, largest = -1, 0.0
    for k in range(begin, begin + lines):
        if (sgn[k] == 1 or sgn[k] == -1) and abs(val[k]) > largest:
            pivot, largest = k, abs(val[k])
    return pivot
