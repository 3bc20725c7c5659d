"""The largest of some affine functions on a stretch: which leads, and which comes next."""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import compiled


@compiled()
def _leader(here, ahead, entries, sign):
    """The entry that wins just after ``here`` on the way ``ahead``, and the gap to the next other value."""
    best, top, rise, second = -1, -np.inf, -np.inf, -np.inf
    for e in range(len(entries)):
        if entries[e] < 0:
            continue
        a = sign * here[entries[e]]
        d = sign * ahead[entries[e]] - a
        if a > top or (a == top and d > rise):
            if a > top:
                second = top
            best, top, rise = e, a, d
        elif a < top and a > second:
            second = a
    return best, top - second


@compiled()
def _next(here, ahead, entries, sign, winner, position):
    """The entry that overtakes the winner first after ``position``, and where; -1 if none does."""
    w = entries[winner]
    base, slope = sign * here[w], sign * (ahead[w] - here[w])
    following, nearest, steepest = -1, 1.0, slope
    for e in range(len(entries)):
        if entries[e] < 0:
            continue
        a, d = sign * here[entries[e]], sign * (ahead[entries[e]] - here[entries[e]])
        if d <= slope or sign * ahead[entries[e]] <= sign * ahead[w]:
            continue
        meet = max((base - a) / (d - slope), position)
        if meet < nearest or (meet == nearest and following >= 0 and d > steepest):
            following, nearest, steepest = e, meet, d
    return following, nearest


@compiled()
def _last(here, ahead, entries, sign):
    """The entry that wins at the end of a segment: the leader seen from its far end."""
    return _leader(ahead, here, entries, sign)[0]
