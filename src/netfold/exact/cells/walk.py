"""The depth-first walk of double description, compiled: a state machine that stops where Python has to help.

A *decision* is the sign of one row on one cell: is the cell above it, below it, or cut. Elementwise units take one
decision a knot, from the lowest, until the cell is below one. Selecting units try every candidate in turn: the cell
is clipped by the candidate's row minus every other's. Half-spaces of the domain are clips that come before all units.

`walk` returns a code that says why it stopped. `OPEN_SIGNS`: signs in ``store.sgn`` are open; who has filled them in
sets ``reg[SETTLED]`` and calls again. `THIN_CELL`: float64 cannot tell the radius of the current cell; likewise with
``reg[MEASURED]``. `FULL_STORE`, `FULL_WORDS`, `FULL_OUTPUT`: make room and call again. Positions
count walls (negative) and then units in decision order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from netfold.exact.cells.generators import (
    INLINED,
    LEAN,
    OPEN,
    U,
    evaluate,
    signs,
    split,
    split_line,
    tally,
    tight,
    verify,
)
from netfold.exact.cells.pullback import KNOT, PAIR, WALL, constant, enter, level, structurally_zero
from netfold.exact.cells.radius import measure, middle

DONE, BUDGET_SPENT, OPEN_SIGNS, FULL_STORE, FULL_WORDS, FULL_OUTPUT, THIN_CELL = range(7)

# numbers of a walk: position, candidate or knot, rival; the cell; pending cells; what was counted; how it resumes
(T, K, RIVAL, BEGIN, END, LINES, PENDING, REGIONS, DECISIONS, LIMIT, SETTLED, ASKED, ITEM, STOP, COLLECT, COLLECTED,
 OPENED, WALLS, WORDS, RADIUS, MEASURED, REGISTERS) = range(22)  # fmt: skip

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


@njit(**LEAN)
def _settle(net, store, path, rows, layer, r, rival, knot, size, affine):
    """Decide open signs as far as float64 goes; how many stay open."""
    reg = path.reg
    lead, error = rows.now[size + LEAD], rows.now[size + ERROR]
    left = 0
    for k in range(reg[BEGIN], reg[END]):
        if store.sgn[k] != OPEN:
            continue
        if reg[LINES] == 0:
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
def _classify(net, store, path, rows, layer, r, rival, knot, size, affine):
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
            left = _settle(net, store, path, rows, layer, r, rival, knot, size, affine)
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
def _pivot(sgn, val, begin, lines):
    """The line of the cell on which the row is largest; -1 where it is 0 on all."""
    pivot, largest = -1, 0.0
    for k in range(begin, begin + lines):
        if (sgn[k] == 1 or sgn[k] == -1) and abs(val[k]) > largest:
            pivot, largest = k, abs(val[k])
    return pivot


@njit(**LEAN)
def _room(path, rows, size):
    """Prepare to cut by the current row; -1, or the code of what is missing."""
    c = path.total[0]
    if c >= 64 * path.reg[WORDS]:
        path.reg[SETTLED] = 1
        return FULL_WORDS
    for j in range(size):
        path.planes[c, j] = rows.now[j]
    path.planes[c, size] = rows.now[size + ERROR]
    return -1


@njit(**INLINED)
def _record(con, count, kind, first, second, side):
    """Note what the current row is, as a constraint of the current cell."""
    c = count[0]
    con[c, 0], con[c, 1], con[c, 2], con[c, 3] = kind, first, second, side
    count[0] = c + 1


@njit(**INLINED)
def _push(pending, reg, t, state, select, begin, end, lines, count):
    """Note a cell for later."""
    p = reg[PENDING]
    pending[p, P_T], pending[p, P_STATE], pending[p, P_SELECT] = t, state, select
    pending[p, P_BEGIN], pending[p, P_END], pending[p, P_LINES], pending[p, P_COUNT] = begin, end, lines, count
    reg[PENDING] = p + 1


@njit(**INLINED)
def _decide(order, states, reg, state):
    """Give the current unit its state and go to the next."""
    t = reg[T]
    states[order[t]] = state
    reg[T] = t + 1
    reg[K] = 0
    reg[RIVAL] = 0


@njit(**LEAN)
def _pop(order, states, reg, pending, con, count):
    """Go on with the latest pending cell; whether there was one."""
    if reg[PENDING] == 0:
        return False
    reg[PENDING] -= 1
    p = reg[PENDING]
    reg[T], reg[BEGIN], reg[END] = pending[p, P_T], pending[p, P_BEGIN], pending[p, P_END]
    reg[LINES] = pending[p, P_LINES]
    count[0] = pending[p, P_COUNT]
    reg[RIVAL] = 0
    if pending[p, P_SELECT]:
        reg[K] = pending[p, P_STATE]
    else:
        con[count[0] - 1, 3] = -1
        _decide(order, states, reg, pending[p, P_STATE])
    return True


@njit(**LEAN)
def _finish(net, store, path, found, affine):
    """Note the states of a finished cell and a point inside; whether there was room."""
    reg = path.reg
    i, stop = reg[COLLECTED], reg[STOP]
    if i == len(found.states):
        return False
    full = stop == len(path.state)
    for t in range(stop):
        found.states[i, t] = path.state[t] if full else path.state[net.order[t]]
    middle(store.vec, reg[BEGIN] + reg[LINES], reg[END], net.m, affine, found.points[i])
    reg[COLLECTED] += 1
    return True


@njit(**LEAN)
def _screen(net, store, path, rows, layer, size):
    """Note the states of units that are certainly the same on the whole current cell, for all that is below it."""
    reg = path.reg
    begin, end = reg[BEGIN], reg[END]
    if reg[LINES]:
        return
    for u in range(net.unit_begin[layer], net.unit_begin[layer + 1]):
        if rows.fixed[u] >= 0:
            continue
        for k in range(net.pieces[u] - 1):
            evaluate(store.vec, begin, end, rows.level[u, k], size, store.val)
            lead, base = rows.level[u, k, size + LEAD], rows.level[u, k, size + BASE]
            positive, negative = signs(begin, end, store.val, store.dev, lead, base, store.sgn)
            if negative == end - begin:
                rows.fixed[u] = k
                break
            if positive < end - begin:
                break
            if k + 1 == net.pieces[u] - 1:
                rows.fixed[u] = k + 1


@njit(**LEAN)
def _next_wall(walls, reg, rows, size, affine):
    """Prepare the next half-space of the domain."""
    wall = walls[len(walls) + reg[T]]
    level(wall, 0.0, size, 0.0, rows.now)
    if not constant(wall, 0.0, size, affine):
        return READY
    if wall[size - 1] < 0.0:
        return DONE
    reg[T] += 1
    return MOVED


@njit(**INLINED)
def _next_knot(net, path, rows, size):
    """Prepare the next knot of the current unit."""
    reg = path.reg
    t = reg[T]
    u = net.order[t]
    fixed = rows.fixed[u]
    step = READY
    if fixed < 0:
        k = reg[K]
        for j in range(size + EXTRA):
            rows.now[j] = rows.level[u, k, j]
    elif t < reg[ITEM] and path.item[t] != fixed:
        step = DONE
    else:
        _decide(net.order, path.state, reg, fixed)
        step = MOVED
    return step


@njit(**LEAN)
def _next_candidate(net, u, i):
    """The first candidate of a unit from a place on."""
    while i < net.candidates.shape[1] and net.candidates[u, i] < 0:
        i += 1
    return i


@njit(**LEAN)
def _next_rival(net, path, rows, layer, size, affine):
    """Prepare the difference between the current candidate and its next rival."""
    reg = path.reg
    t, i, rival = reg[T], reg[K], reg[RIVAL]
    u = net.order[t]
    replay = t < reg[ITEM]
    if rival == 0 and not reg[SETTLED]:
        i = path.item[t] if replay else _next_candidate(net, u, i)
        reg[K] = i
        following = _next_candidate(net, u, i + 1)
        if not replay and following < net.candidates.shape[1]:
            _push(path.pending, reg, t, following, 1, reg[BEGIN], reg[END], reg[LINES], path.total[0])
    while rival < net.candidates.shape[1] and (rival == i or net.candidates[u, rival] < 0):
        rival += 1
    reg[RIVAL] = rival
    if rival == net.candidates.shape[1]:
        _decide(net.order, path.state, reg, i)
        return MOVED
    a, b = net.candidates[u, i], net.candidates[u, rival]
    sign = 1.0 if net.largest[layer] else -1.0
    largest = 0.0
    for j in range(size):
        rows.now[j] = sign * (rows.raw[a, j] - rows.raw[b, j]) if a != b else 0.0
        largest = max(largest, abs(rows.now[j]))
    error = rows.raw_error[a] + rows.raw_error[b] + U * largest if a != b else 0.0
    if not constant(rows.now, error, size, affine):
        level(rows.now, error, size, 0.0, rows.now)
        return READY
    value = rows.now[size - 1] if affine else 0.0
    return _beaten(net, path, ABOVE if value > 0.0 else (BELOW if value < 0.0 else SAME))


@njit(**LEAN)
def _beaten(net, path, answer):
    """Go on after a candidate was compared to a rival: to the next rival, or to what is pending."""
    reg = path.reg
    if answer == BELOW or (answer == SAME and reg[RIVAL] < reg[K]):
        if reg[T] < reg[ITEM]:
            return DONE
        return MOVED if _pop(net.order, path.state, reg, path.pending, path.con, path.total) else DONE
    reg[RIVAL] += 1
    return MOVED


@njit(**LEAN)
def _passed(net, path, answer, upper, counting, first, last, lines):
    """Go on after a unit's knot: to its next knot, or to the next unit."""
    reg = path.reg
    t, k = reg[T], reg[K]
    u = net.order[t]
    replay = t < reg[ITEM]
    if answer == CUT and counting:
        reg[REGIONS] += 1
    elif answer == CUT:
        path.mark[u, k] = path.total[0]
        _record(path.con, path.total, KNOT, u, k, 1 if upper else -1)
        if replay:
            reg[BEGIN], reg[END] = (first, last) if upper else (reg[END], first)
        else:
            _push(path.pending, reg, t, k, 0, reg[END], first, reg[LINES] - lines, path.total[0])
            reg[BEGIN], reg[END] = first, last
        reg[LINES] -= lines
    state = k
    if upper:
        reg[K] = k + 1
        state = net.pieces[u] - 1
        if k + 1 < state:
            return MOVED
    if replay and path.item[t] != state:
        return DONE
    _decide(net.order, path.state, reg, state)
    return MOVED


@njit(**INLINED)
def _decision(net, store, path, rows, layer, selects, size, affine):
    """Decide the current row, cut the current cell where it has to be, and go on."""
    reg = path.reg
    t, k = reg[T], reg[K]
    r, rival, knot, u, wanted, counting = -1, -1, 0.0, 0, -1, False
    knots = t >= 0 and not selects
    if knots:
        u = net.order[t]
        r, knot = net.row_begin[layer] + u - net.unit_begin[layer], net.knots[u, k]
        if t < reg[ITEM]:
            wanted = path.item[t]
        else:
            counting = t + 1 == reg[STOP] and not (reg[COLLECT] or reg[RADIUS])
    elif t >= 0:
        u = net.order[t]
        r, rival = net.candidates[u, k], net.candidates[u, reg[RIVAL]]
    answer = _classify(net, store, path, rows, layer, r, rival, knot, size, affine)
    upper = answer == ABOVE or (answer == CUT and wanted != k)
    code, first, last, lines = MOVED, 0, 0, 0
    if answer == CUT and not counting:
        code = _room(path, rows, size)
        if code < 0:
            below, above = knots and (wanted < 0 or not upper), not knots or wanted < 0 or upper
            begin, end, bit, words = reg[BEGIN], reg[END], path.total[0], reg[WORDS]
            lead, base = rows.now[size + LEAD], rows.now[size + BASE]
            pivot = _pivot(store.sgn, store.val, begin, reg[LINES])
            if pivot >= 0:
                lines = 1
                first, last = split_line(
                    store, words, size, begin, end, reg[LINES], pivot, lead, base, bit, below, above
                )
            else:
                first, last = split(
                    store, path.planes, words, size, begin, end, reg[LINES], lead, base, bit, below, above
                )
            if first < 0:
                reg[SETTLED] = 1
                code = FULL_STORE
    if answer == ASK:
        code = OPEN_SIGNS
    elif code < 0 and knots:
        code = _passed(net, path, answer, upper, counting, first, last, lines)
    elif code < 0:
        if answer == CUT:
            if t < 0:
                _record(path.con, path.total, WALL, reg[WALLS] + t, 0, 1)
            else:
                _record(path.con, path.total, PAIR, r, rival, 1 if net.largest[layer] else -1)
            reg[BEGIN], reg[END] = first, last
            reg[LINES] -= lines
        if t >= 0:
            code = _beaten(net, path, answer)
        elif answer in (ABOVE, CUT):
            reg[T] += 1
        else:
            code = DONE
    return code


@njit(**LEAN)
def walk(net, walls, layer_of, store, path, rows, found, radius, size, affine):
    """Walk on until the item is done, the budget is spent or help is needed; which of these."""
    reg = path.reg
    reg[WALLS] = len(walls)
    while True:
        t = reg[T]
        layer, selects = 0, False
        if t < 0:
            code = _next_wall(walls, reg, rows, size, affine)
        elif t == reg[STOP]:
            if reg[RADIUS] and not reg[MEASURED]:
                middle(store.vec, reg[BEGIN] + reg[LINES], reg[END], net.m, affine, radius.inner)
                if not measure(radius, path.planes, path.con, path.total[0], net.m):
                    return THIN_CELL
                reg[MEASURED] = 1
            if reg[COLLECT] and not _finish(net, store, path, found, affine):
                return FULL_OUTPUT
            reg[REGIONS] += 1
            reg[MEASURED] = 0
            code = MOVED if _pop(net.order, path.state, reg, path.pending, path.con, path.total) else DONE
        else:
            layer = layer_of[t]
            selects = net.selects[layer]
            if reg[K] == 0 and reg[RIVAL] == 0 and not reg[SETTLED]:
                if t >= reg[ITEM] and not reg[OPENED]:
                    reg[OPENED] = 1
                    reg[LIMIT] += reg[DECISIONS]
                if reg[OPENED] and reg[DECISIONS] >= reg[LIMIT]:
                    return BUDGET_SPENT
                if t == net.unit_begin[layer]:
                    enter(net, rows, path.state, layer, size, affine)
                    if not selects:
                        _screen(net, store, path, rows, layer, size)
            if selects:
                code = _next_rival(net, path, rows, layer, size, affine)
            else:
                code = _next_knot(net, path, rows, size)
        if code == READY:
            code = _decision(net, store, path, rows, layer, selects, size, affine)
        if code >= 0:
            return code
