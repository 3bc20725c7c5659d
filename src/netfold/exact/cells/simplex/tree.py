"""The walk through the splitting tree, compiled: depth first, with the other branches on a stack."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.cells.simplex.rows import CellRows, SplitPlan, enter_layer, rows_of
from netfold.exact.cells.simplex.splitting import ABOVE, BELOW, BOTH, OPEN, ZERO, SplitCell, cell_of, split
from netfold.exact.lp.ball import widest
from netfold.exact.lp.dictionary import add_positions, begin
from netfold.exact.numerics.compiled import FAST, compiled

DONE, SPENT, FULL, EMPTY, DOUBT = range(5)
"""Why the walk stops: the tree is walked; the budget is used up; the buffer is full; the item is an empty cell; a
split that float64 cannot decide."""

HALF_BELOW, HALF_ABOVE, NEITHER = 4, 5, 6
"""Answers given from outside besides those of `split`: it cuts, but only one part has a point that float64 can hold
strictly inside, or none."""

NOW = np.dtype([(name, np.int64) for name in (
    "unit", "step",  # units decided, step within the unit
    "depth",  # frames on the stack
    "entered",  # the last layer entered, -1: none
    "stop", "given",  # units to decide, units that the item decides
    "answer",  # from outside
    "regions", "decisions", "budget", "kept", "collect", "radius",  # what is counted, and what is wanted
    "bare",  # whether the dictionary is to be built anew
)])  # fmt: skip
"""The numbers of a walk."""

NONE = -9
"""No answer from outside."""

SAVED = 1 << 24
"""Numbers that the dictionaries on the stack may hold; deeper ones are built anew from their inner point."""


class Walk(NamedTuple):
    """Where a walk is; all it needs to go on.

    Attributes:
        now: one record `NOW`.
        states: of all units; ``item``: those given, in decision order.
        log: constraints in the order in which they were added, and how many (``logged``).
        frame: ``(depth, 4)``: unit, step, constraints and exchanges of the branches that wait, with their
            ``inner`` points, columns ``basis`` and ``dictionaries``.
        kept_states, kept_points: cells kept.
        least: the smallest inradius so far.
    """

    now: NDArray[Any]
    states: NDArray[np.int16]
    item: NDArray[np.int16]
    log: Ints
    logged: Ints
    frame: Ints
    inner: Floats
    basis: Ints
    dictionaries: Floats
    kept_states: NDArray[np.int16]
    kept_points: Floats
    least: Floats


class Place(NamedTuple):
    """Everything a walk works on, one for each walk."""

    rows: CellRows
    cell: SplitCell
    walk: Walk


def place_of(plan: SplitPlan, depth: int, cells: int) -> Place:
    """Room for a walk whose stack holds up to ``depth`` branches and that keeps up to ``cells`` cells."""
    m, units, width = plan.net.m, len(plan.net.pieces), plan.positions
    saved = max(1, min(depth, SAVED // ((m + 1) * width)))
    walk = Walk(
        np.zeros(1, NOW),
        np.zeros(units, np.int16),
        np.zeros(units, np.int16),
        np.zeros(width + 1, np.int64),
        np.zeros(1, np.int64),
        np.zeros((depth, 4), np.int64),
        np.zeros((depth, m)),
        np.zeros((depth, m), np.int64),
        np.zeros((saved, m + 1, width)),
        np.zeros((cells, units), np.int16),
        np.zeros((cells, m)),
        np.full(1, np.inf),
    )
    return Place(rows_of(plan), cell_of(plan), walk)


@compiled(FAST, lean=True)
def advance(plan, rows, cell, walk):
    """Walk until there is a reason to stop."""
    net = plan.net
    now = walk.now[0]
    while True:
        if now.unit == now.stop:
            if now.collect and now.kept == len(walk.kept_states):
                return FULL
            finish(plan, rows, cell, walk)
            if not back(plan, rows, cell, walk):
                return DONE
            continue
        u = net.order[now.unit]
        fresh = now.step == 0 and now.unit >= now.given
        if fresh and now.answer == NONE and now.decisions >= now.budget:
            return SPENT
        layer = plan.unit_layer[u]
        while now.entered < layer:
            enter(plan, rows, cell, walk)
        if net.selects[layer]:
            reason = choose(plan, rows, cell, walk, u, layer)
        else:
            reason = bend(plan, rows, cell, walk, u, layer)
        if reason == DOUBT:
            return DOUBT
        if reason == EMPTY and (now.unit < now.given or not back(plan, rows, cell, walk)):
            return EMPTY if now.unit < now.given else DONE


@compiled(FAST, lean=True)
def enter(plan, rows, cell, walk):
    """Go on to the next layer: its splits become positions of the dictionary."""
    now, m = walk.now[0], plan.net.m
    layer = now.entered + 1
    start = plan.first + plan.split_begin[layer]
    end = enter_layer(plan, rows, walk.states, layer)
    now.entered = layer
    for i in range(start, end):
        cell.side[i] = 0.0
    if now.bare:
        restart(plan, rows, cell, walk)
    else:
        add_positions(cell.dictionary, m, start, end, rows.columns)


@compiled(FAST, lean=True)
def restart(plan, rows, cell, walk):
    """The dictionary at the inner point, with all coordinates free."""
    now = walk.now[0]
    end = plan.first + plan.split_begin[now.entered + 1]
    begin(cell.dictionary, plan.net.m, end, cell.basis, rows.columns, cell.inner)
    cell.used[0] = 0
    now.bare = 0


@compiled(FAST, lean=True)
def ask(plan, rows, cell, walk, h, layer):
    """The answer about a split: from outside if it was given, or from `split`."""
    now = walk.now[0]
    if now.answer != NONE:
        answer = now.answer
        now.answer = NONE
        now.bare = 1
    else:
        if now.bare:
            restart(plan, rows, cell, walk)
        answer = split(rows, cell, plan.net.m, plan.first + plan.split_begin[layer + 1], h, rows.frame[layer])
    if answer != OPEN and now.unit >= now.given:
        now.decisions += 1
    return answer


@compiled(FAST, lean=True)
def bend(plan, rows, cell, walk, u, layer):
    """One knot of an elementwise unit."""
    now, t = walk.now[0], walk.now[0].unit
    knots = plan.net.pieces[u] - 1
    k = now.step
    if k == knots:
        settle(walk, u, k)
        return DONE
    h = plan.first + plan.unit_split[u] + k
    answer = ask(plan, rows, cell, walk, h, layer)
    if answer == OPEN:
        return DOUBT
    wanted = 0
    if t < now.given:
        wanted = ABOVE if walk.item[t] > k else BELOW
    up = answer in (ABOVE, BOTH, HALF_ABOVE)
    down = answer in (BELOW, ZERO, BOTH, HALF_BELOW)
    if wanted == ABOVE:
        down = False
    if wanted == BELOW:
        up = False
    if not (up or down):
        return EMPTY
    if up and down:
        push(plan, cell, walk, t, k, layer, BELOW_KNOT)
    if answer == BOTH or answer >= HALF_BELOW:
        now.bare = now.bare or (down and not up and deep(walk, t))
        constrain(cell, walk, h, 1.0 if up else -1.0)
        stand(cell, 1 if up else 0)
    if up:
        now.step = k + 1
        if k + 1 == knots:
            settle(walk, u, k + 1)
    else:
        settle(walk, u, k)
    return DONE


@compiled(FAST, lean=True)
def choose(plan, rows, cell, walk, u, layer):
    """One comparison of a selecting unit: candidate ``step // count`` against candidate ``step % count``."""
    now, t = walk.now[0], walk.now[0].unit
    count = plan.net.pieces[u]
    if t < now.given and now.step == 0:
        now.step = walk.item[t] * (count + 1)
        now.bare = now.bare or (now.step > 0 and deep(walk, t))
    i, j = now.step // (count + 1), now.step % (count + 1)
    if j == 0 and now.answer == NONE and t >= now.given and i + 1 < count:
        push(plan, cell, walk, t, (i + 1) * (count + 1), layer, NEXT)
    if j == i:
        j += 1
    if j >= count:
        settle(walk, u, i)
        return DONE
    now.step = i * (count + 1) + j
    a, b = min(i, j), max(i, j)
    h = plan.first + plan.unit_split[u] + a * count - a * (a + 1) // 2 + b - a - 1
    need = 1 if (i < j) == plan.net.largest[layer] else -1
    answer = ask(plan, rows, cell, walk, h, layer)
    if answer == OPEN:
        return DOUBT
    if answer == ZERO:
        if j < i:
            return EMPTY
    elif answer == BOTH:
        constrain(cell, walk, h, float(need))
        stand(cell, 1 if need > 0 else 0)
    elif answer in (HALF_ABOVE, HALF_BELOW):
        if (answer == HALF_ABOVE) != (need > 0):
            return EMPTY
        constrain(cell, walk, h, float(need))
        stand(cell, 1 if need > 0 else 0)
    elif answer != need:
        return EMPTY
    now.step = i * (count + 1) + j + 1
    return DONE


@compiled(FAST, lean=True)
def settle(walk, u, state):
    """A unit's state is known."""
    walk.states[u] = state
    walk.now[0].unit += 1
    walk.now[0].step = 0


@compiled(FAST, lean=True)
def stand(cell, half):
    """Go to one part of a cell that was cut."""
    for j in range(len(cell.inner)):
        cell.inner[j] = cell.halves[half, j]


@compiled(FAST, lean=True)
def constrain(cell, walk, h, side):
    """A split becomes a constraint."""
    cell.side[h] = side
    walk.log[walk.logged[0]] = h
    walk.logged[0] += 1


@compiled(FAST, lean=True)
def deep(walk, t):
    """Whether dictionaries are no longer saved; a matter of the path alone, so that every walk does the same."""
    return t + walk.logged[0] >= len(walk.dictionaries)


BELOW_KNOT, NEXT = np.bool_(False), np.bool_(True)
"""What is left for later: the part below a knot, or the next candidate (typed as `compiled.NONE` is)."""


@compiled(FAST, lean=True)
def push(plan, cell, walk, t, step, layer, selecting):
    """Leave a branch for later: the part below a knot, or the next candidate."""
    now, d, m = walk.now[0], walk.now[0].depth, plan.net.m
    bare = now.bare or deep(walk, t)
    walk.frame[d, 0], walk.frame[d, 1], walk.frame[d, 2] = t, step, walk.logged[0]
    walk.frame[d, 3] = -1 if bare else cell.used[0]
    for j in range(m):
        walk.inner[d, j] = cell.inner[j] if selecting else cell.halves[0, j]
        walk.basis[d, j] = cell.basis[j]
    if not bare:
        end = plan.first + plan.split_begin[layer + 1]
        for q in range(m + 1):
            target, source = walk.dictionaries[d, q], cell.dictionary[q]
            for i in range(end):
                target[i] = source[i]
    now.depth = d + 1


@compiled(FAST, lean=True)
def back(plan, rows, cell, walk):
    """Take up the branch last left; false where none is."""
    now, m = walk.now[0], plan.net.m
    if now.depth == 0:
        return False
    now.depth -= 1
    d = now.depth
    t, step = walk.frame[d, 0], walk.frame[d, 1]
    while walk.logged[0] > walk.frame[d, 2]:
        walk.logged[0] -= 1
        cell.side[walk.log[walk.logged[0]]] = 0.0
    u = plan.net.order[t]
    layer = plan.unit_layer[u]
    now.unit, now.step, now.entered = t, step, layer
    for j in range(m):
        cell.inner[j], cell.basis[j] = walk.inner[d, j], walk.basis[d, j]
    now.bare = walk.frame[d, 3] < 0
    if not now.bare:
        cell.used[0] = walk.frame[d, 3]
        end = plan.first + plan.split_begin[layer + 1]
        for q in range(m + 1):
            target, source = cell.dictionary[q], walk.dictionaries[d, q]
            for i in range(end):
                target[i] = source[i]
    if not plan.net.selects[layer]:
        constrain(cell, walk, plan.first + plan.unit_split[u] + step, -1.0)
        settle(walk, u, step)
    return True


@compiled(FAST, lean=True)
def finish(plan, rows, cell, walk):
    """A cell is finished: count it, keep it, measure it."""
    now = walk.now[0]
    now.regions += 1
    if now.collect:
        at = now.kept
        if now.stop == len(walk.states):
            for k in range(now.stop):
                walk.kept_states[at, k] = walk.states[k]
        else:
            for k in range(now.stop):
                walk.kept_states[at, k] = walk.states[plan.net.order[k]]
        for j in range(len(cell.inner)):
            walk.kept_points[at, j] = cell.inner[j]
        now.kept = at + 1
    if now.radius:
        end = plan.first + plan.split_begin[now.entered + 1]
        walk.least[0] = widest(
            rows.columns, rows.norm, cell.side, plan.net.m, end, cell.inner, walk.least[0], cell.ball
        )
