"""Where units change their state between the nodes of a panel, compiled.

Values ``h`` and velocities ``d`` (per unit of t) have shape ``(panels, nodes, units)``. Between every second node the
cubic through both ends predicts the node in the middle: how far it is off tells how far to trust the cubics between
neighbouring nodes, and with them whether zeros can hide there (`netfold.sampled.cubic`).

Ends of a panel may be knots. The side of a unit at a panel's ends is its limit from inside the panel, and at an inner
node that hits a knot its limit from the left.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import compiled
from netfold.sampled.cubic import (
    CLEAR,
    CROSSED,
    DOUBTFUL,
    STEP,
    WIDE,
    errors,
    judge,
    positive_until,
    root,
)
from netfold.sampled.rule import NODES

TINY = 64 * np.finfo(np.float64).eps
"""Share of a layer's largest pre-activation below which a pre-activation is rounding."""


@compiled()
def _start_side(a, da, ahead, tiny):
    """Whether a function is above 0 just after a panel's start."""
    if abs(a) > tiny:
        return a > 0.0
    if abs(da) > tiny:
        return da > 0.0
    return ahead > tiny


@compiled()
def levels(begin, end, h, d, width, level, sides, doubtful, closest):
    """Sides of every unit of one level, panels in doubt, and how near to it a unit turns."""
    units = h.shape[2]
    for p in range(begin, end):
        w = width[p]
        scale = np.abs(h[p]).max()
        tiny = TINY * scale
        for u in range(units):
            knot = level[u]
            sides[p, 0, u] = _start_side(h[p, 0, u] - knot, w * d[p, 0, u] * STEP[0], h[p, 1, u] - knot, tiny)
        for i in range(1, len(NODES)):
            for u in range(units):
                a, da = h[p, i, u] - level[u], w * d[p, i, u] * STEP[i - 1]
                if abs(a) > tiny:
                    sides[p, i, u] = a > 0.0
                else:
                    sides[p, i, u] = da < 0.0 if abs(da) > tiny else sides[p, i - 1, u]
        near = np.inf
        for j in range(len(WIDE)):
            i = 2 * j
            for u in range(units):
                knot = level[u]
                a, m, b = h[p, i, u] - knot, h[p, i + 1, u] - knot, h[p, i + 2, u] - knot
                da, dm, db = w * d[p, i, u], w * d[p, i + 1, u], w * d[p, i + 2, u]
                left, right = errors(a, da, m, dm, b, db, j)
                one, two = STEP[i], STEP[i + 1]
                x, y, z = sides[p, i, u], sides[p, i + 1, u], sides[p, i + 2, u]
                first, low = judge(a, one * da, m, one * dm, x, y, left, tiny)
                second, other = judge(m, two * dm, b, two * db, y, z, right, tiny)
                near = min(near, abs(low), abs(other))
                if first == DOUBTFUL or second == DOUBTFUL:
                    doubtful[p] = True
        closest[p] = min(closest[p], near / scale if scale > 0.0 else np.inf)


@compiled()
def _winner(h, d, entries, step, ahead, before, tiny):
    """The largest of a window's entries just after a node (``ahead``) or just before; the first of equal ones."""
    best, fastest = -np.inf, -np.inf
    for c in entries:
        best = max(best, h[c] if c >= 0 else -np.inf)
    for c in entries:
        if c >= 0 and h[c] >= best - tiny:
            fastest = max(fastest, d[c] * step if ahead else -d[c] * step)
    found = -1
    for k in range(len(entries)):
        c = entries[k]
        if c < 0 or h[c] < best - tiny or (d[c] * step if ahead else -d[c] * step) < fastest - tiny:
            continue
        if found < 0 or k == before:
            found = k
    return found


@compiled()
def _equal(h, d, x, y):
    """Whether two entries are the same at every node of a panel."""
    for i in range(len(NODES)):  # noqa: SIM110
        if h[i, x] != h[i, y] or d[i, x] != d[i, y]:
            return False
    return True


@compiled()
def _handover(a, da, b, db, c, dc, e, de, s, error):
    """Whether one lead stays above ``error`` until ``s`` and another one, which takes over there, from then on."""
    return positive_until(a, da, b, db, s, error) and positive_until(e, -de, c, -dc, 1.0 - s, error)


@compiled()
def _contest(h, d, w, i, j, entries, before, after, tiny):
    """Judge a window between nodes ``i`` and ``i + 1``, where the entries numbered ``before`` and ``after`` win."""
    x, y, step = entries[before], entries[after], w * STEP[i]
    k, late = 2 * j, i % 2
    near = np.inf
    swap = 1.0
    if before != after:
        a, b = h[i, y] - h[i, x], h[i + 1, y] - h[i + 1, x]
        da, db = d[i, y] - d[i, x], d[i + 1, y] - d[i + 1, x]
        error = errors(h[k, y] - h[k, x], w * (d[k, y] - d[k, x]), h[k + 1, y] - h[k + 1, x],
                        w * (d[k + 1, y] - d[k + 1, x]), h[k + 2, y] - h[k + 2, x], w * (d[k + 2, y] - d[k + 2, x]),
                        j)[late]  # fmt: skip
        if judge(a, step * da, b, step * db, False, True, error, tiny)[0] != CROSSED:
            return True, near
        swap = root(min(a, 0.0), step * da, max(b, 0.0), step * db)
    for c in entries:
        if c < 0 or c in (x, y) or _equal(h, d, c, x) or _equal(h, d, c, y):
            continue
        a, b, da, db = h[i, x] - h[i, c], h[i + 1, x] - h[i + 1, c], d[i, x] - d[i, c], d[i + 1, x] - d[i + 1, c]
        error = errors(h[k, x] - h[k, c], w * (d[k, x] - d[k, c]), h[k + 1, x] - h[k + 1, c],
                        w * (d[k + 1, x] - d[k + 1, c]), h[k + 2, x] - h[k + 2, c], w * (d[k + 2, x] - d[k + 2, c]),
                        j)[late]  # fmt: skip
        if before == after:
            verdict, low = judge(a, step * da, b, step * db, True, True, error, tiny)
            near = min(near, abs(low))
            if verdict != CLEAR:
                return True, near
        elif not _handover(a, step * da, b, step * db, h[i, y] - h[i, c], step * (d[i, y] - d[i, c]),
                           h[i + 1, y] - h[i + 1, c], step * (d[i + 1, y] - d[i + 1, c]), swap, error):  # fmt: skip
            return True, near
    return False, near


@compiled()
def winners(begin, end, h, d, width, candidates, won, doubtful, closest):
    """Which entry of every window is largest at the nodes, panels in doubt, and how near a lead is lost."""
    for p in range(begin, end):
        w = width[p]
        scale = np.abs(h[p]).max()
        tiny = TINY * scale
        for i in range(len(NODES)):
            step = w * STEP[max(i - 1, 0)]
            for u in range(len(candidates)):
                before = won[p, i - 1, u] if i > 0 else -1
                won[p, i, u] = _winner(h[p, i], d[p, i], candidates[u], step, i == 0, before, tiny)
        near = np.inf
        for i in range(len(STEP)):
            for u in range(len(candidates)):
                doubt, low = _contest(h[p], d[p], w, i, i // 2, candidates[u], won[p, i, u], won[p, i + 1, u], tiny)
                near = min(near, low)
                doubtful[p] = doubtful[p] or doubt
        closest[p] = min(closest[p], near / scale if scale > 0.0 else np.inf)
