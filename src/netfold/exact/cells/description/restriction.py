"""Counting the regions into which the last hyperplanes cut a cell, without making them, compiled.

For hyperplanes ``H_1, ..., H_n`` that cut a convex cell ``C``, none the same as another on it, deleting ``H_1`` and
restricting to it (Zaslavsky 1975) gives ``regions(C; H_1..H_n) = regions(C; H_2..H_n) + regions(C & H_1; H_2..H_n)``.
Unrolled, a cell has one region for itself and one for each of its *flats*: the non-empty intersections of the cell
with the hyperplanes, found in order, as in "1 + lines + crossings" in the plane. A flat has fewer dimensions and
fewer generators than a region, and of these only what the remaining hyperplanes are worth on them is needed.

Every sign that is used is certain, and so is that no two hyperplanes are the same on a flat; where float64 cannot
tell, the count is given up and the caller cuts the cell in two.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.exact.cells.description.cutting import edges
from netfold.exact.cells.description.generators import SAFE, TINY, U, set_bit
from netfold.exact.numerics.compiled import FAST, NOTHING, compiled

FLATS = 10_000
"""Flats that one count may have, as nothing can stop it half way: about a millisecond."""

GIVEN_UP = -1


class Flats(NamedTuple):
    """The hyperplanes that cut a cell, and the flats from the cell down to the current one.

    Attributes:
        value: of every hyperplane at generators, by column; ``error`` bounds its error, ``side`` is its sign.
        cutting: hyperplanes that cut each flat and are still to come, and how ``many``; ``place`` is the next one's.
        span: the generators of each flat, from column to column.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    side: NDArray[np.int8]
    cutting: NDArray[np.int64]
    many: NDArray[np.int64]
    place: NDArray[np.int64]
    span: NDArray[np.int64]

    @staticmethod
    def of(size: int, columns: int) -> Flats:
        """Room for cells with so many homogeneous coordinates, in a store of so many columns."""
        limit, levels = most_hyperplanes(size), size + 1
        return Flats(
            value=np.zeros((limit, columns)),
            error=np.zeros((limit, columns)),
            side=np.zeros((limit, columns), np.int8),
            cutting=np.zeros((levels, limit), np.int64),
            many=np.zeros(levels, np.int64),
            place=np.zeros(levels, np.int64),
            span=np.zeros((levels, 2), np.int64),
        )


def most_hyperplanes(size: int) -> int:
    """The most hyperplanes that make no more than `FLATS` flats in a cell with so many homogeneous coordinates."""
    limit = 1
    while limit < 64 and sum(math.comb(limit + 1, i) for i in range(size)) <= FLATS:
        limit += 1
    return limit


@compiled(lean=True)
def note(flats, h, begin, end, val, sgn, dev, lead, base):
    """Note a hyperplane that certainly cuts the cell, with its values and signs on the cell's generators."""
    flats.cutting[0, h] = h
    value, error, side = flats.value[h], flats.error[h], flats.side[h]
    for k in range(begin, end):
        value[k], side[k] = val[k], sgn[k]
        error[k] = lead * dev[k] + base if sgn[k] != 0 else 0.0


@compiled(FAST, lean=True)
def _worth(value, error, side, own, own_error, pairs, fresh, count):
    """The values of a hyperplane where another one, ``own``, meets edges; whether their signs are certain.

    The two generators ``a, b`` of an edge meet it in ``own[a] b - own[b] a``, up to a factor.
    """
    certain = True
    for i in range(count):
        a, b, k = pairs[i, 0], pairs[i, 1], fresh + i
        left, right = -own[b], own[a]
        scale = 1.0 / (left + right)
        one, two = left * value[a], right * value[b]
        x = (one + two) * scale
        bound = left * error[a] + right * error[b] + 8 * U * (abs(one) + abs(two))
        bound += own_error[b] * (abs(value[a]) + error[a]) + own_error[a] * (abs(value[b]) + error[b])
        bound = (bound * scale + TINY) * SAFE
        p, q = side[a], side[b]
        sign = p if p == q or q == 0 else (q if p == 0 else (1 if x > 0.0 else -1))
        if p * q < 0 and not abs(x) > bound:
            certain = False
        # the sign may be known where the value is all rounding: a value on its right side is no farther off
        value[k] = max(x, 0.0) if sign > 0 else (min(x, 0.0) if sign < 0 else 0.0)
        error[k], side[k] = bound if sign != 0 else 0.0, sign
    return certain


@compiled(lean=True)
def _restrict(store, flats, words, total, size, depth, place):
    """Make the flat in which a hyperplane meets the current one; whether all signs on it are certain.

    Those of the following hyperplanes that cut the new flat are listed there.
    """
    begin, end = flats.span[depth]
    inc, h, bit, many = store.inc, flats.cutting[depth, place], total + depth, flats.many[depth]
    own = flats.side[h]
    made = edges(inc, own, store.scratch, store.words, store.pairs, words, begin, end, size - 2)
    if made < 0 or 2 * end - begin + made > inc.shape[1]:
        return False
    to = end
    for k in range(begin, end):
        if own[k] == 0:
            for w in range(words):
                inc[w, to] = inc[w, k]
            set_bit(inc, to, bit)
            for i in range(place + 1, many):
                other = flats.cutting[depth, i]
                flats.value[other, to], flats.error[other, to] = flats.value[other, k], flats.error[other, k]
                flats.side[other, to] = flats.side[other, k]
            to += 1
    for i in range(made):
        a, b = store.pairs[i]
        for w in range(words):
            inc[w, to + i] = inc[w, a] & inc[w, b]
        set_bit(inc, to + i, bit)
    flats.span[depth + 1, 0], flats.span[depth + 1, 1] = end, to + made
    count = 0
    for i in range(place + 1, many):
        other = flats.cutting[depth, i]
        side = flats.side[other]
        if not _worth(flats.value[other], flats.error[other], side, flats.value[h], flats.error[h], store.pairs,
                      to, made):  # fmt: skip
            return False
        above, below = False, False
        for k in range(end, to + made):
            above, below = above or side[k] > 0, below or side[k] < 0
        if above and below:
            flats.cutting[depth + 1, count] = other
            count += 1
        elif not (above or below):
            return False
    flats.many[depth + 1] = count
    return True


@compiled(lean=True)
def count_regions(store, flats, hyperplanes, words, total, size, begin, end):
    """Regions into which the noted hyperplanes cut the cell from column to column, or `GIVEN_UP`; and decisions.

    ``total`` is the number of constraints that have bits.
    """
    regions, decisions, depth = 1, 0, NOTHING
    flats.many[0], flats.place[0] = hyperplanes, 0
    flats.span[0, 0], flats.span[0, 1] = begin, end
    while depth >= 0:
        i = flats.place[depth]
        if i == flats.many[depth]:
            depth -= 1
            continue
        flats.place[depth] = i + 1
        regions += 1
        later = flats.many[depth] - i - 1
        if later == 0:
            continue
        decisions += later
        if not _restrict(store, flats, words, total, size, depth, i):
            return GIVEN_UP, decisions
        if flats.many[depth + 1]:
            depth += 1
            flats.place[depth] = 0
    return regions, decisions
