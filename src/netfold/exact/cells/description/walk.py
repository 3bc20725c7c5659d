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

from numba import njit

from netfold.exact.cells.description.cutting import split, split_line
from netfold.exact.cells.description.decision import KEEP, classify, pivot, settle
from netfold.exact.cells.description.generators import INLINED, LEAN, U, evaluate, signs, tally
from netfold.exact.cells.description.pullback import KNOT, PAIR, WALL, constant, enter, level, levels, screen
from netfold.exact.cells.description.radius import measure, middle
from netfold.exact.cells.description.restriction import count_regions, note
from netfold.exact.cells.description.state import (  # fmt: skip
    ABOVE,
    ASK,
    BASE,
    BEGIN,
    BELOW,
    BUDGET_SPENT,
    COLLECT,
    COLLECTED,
    CUT,
    DECISIONS,
    DONE,
    END,
    ERROR,
    EXTRA,
    FULL_OUTPUT,
    FULL_STORE,
    FULL_WORDS,
    ITEM,
    LEAD,
    LIMIT,
    LINES,
    MEASURED,
    MOVED,
    OPEN_SIGNS,
    OPENED,
    P_BEGIN,
    P_COUNT,
    P_END,
    P_LINES,
    P_SELECT,
    P_STATE,
    P_T,
    PENDING,
    RADIUS,
    READY,
    REGIONS,
    REST,
    RIVAL,
    SAME,
    SETTLED,
    STOP,
    THIN_CELL,
    WALLS,
    WORDS,
    K,
    T,
)
from netfold.exact.numerics.compiled import NONE, NOTHING


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
def _rest_begins(net, path, rows, flats, layer):
    """The position from which so few hyperplanes are left that `_count_rest` can do them; -1 where it may not."""
    reg = path.reg
    if reg[STOP] < net.unit_begin[layer + 1] or layer + 2 < len(net.unit_begin) or reg[COLLECT] or reg[RADIUS]:
        return -1
    left, t = 0, reg[STOP]
    while t > net.unit_begin[layer] and t > reg[ITEM]:
        u = net.order[t - 1]
        if rows.fixed[u] < 0:
            left += net.pieces[u] - 1
        if left > len(flats.value):
            break
        t -= 1
    return t


@njit(**LEAN)
def _count_rest(net, store, path, rows, flats, layer, size, affine):
    """Count the regions into which all units to come cut the current cell; whether float64 could."""
    reg, n = path.reg, NOTHING
    begin, end, total = reg[BEGIN], reg[END], path.total[0]
    if reg[LINES] or total + size > 64 * reg[WORDS]:
        return False
    for t in range(reg[T], reg[STOP]):
        u = net.order[t]
        for k in range(net.pieces[u] - 1 if rows.fixed[u] < 0 else 0):
            row = rows.level[u, k]
            reg[DECISIONS] += 1
            evaluate(store.vec, begin, end, row, size, store.val)
            positive, negative = signs(begin, end, store.val, store.dev, row[size + LEAD], row[size + BASE], store.sgn)
            if positive + negative < end - begin:
                for j in range(size + EXTRA):
                    rows.now[j] = row[j]
                r = net.row_begin[layer] + u - net.unit_begin[layer]
                if settle(net, store, path, rows, layer, r, NONE, net.knots[u, k], size, affine, KEEP):
                    return False
                positive, negative, _ = tally(begin, end, store.sgn)
            if positive and negative:
                note(flats, n, begin, end, store.val, store.sgn, store.dev, row[size + LEAD], row[size + BASE])
                n += 1
    regions, decisions = count_regions(store, flats, n, reg[WORDS], total, size, begin, end)
    reg[DECISIONS] += decisions
    reg[REGIONS] += max(0, regions)
    return regions > 0


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
    r, rival, knot, u, wanted, counting = NONE, NONE, 0.0, NOTHING, NONE, False
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
    answer = classify(net, store, path, rows, layer, r, rival, knot, size, affine)
    upper = answer == ABOVE or (answer == CUT and wanted != k)
    code, first, last, lines = MOVED, 0, 0, 0
    if answer == CUT and not counting:
        code = _room(path, rows, size)
        if code < 0:
            below, above = knots and (wanted < 0 or not upper), not knots or wanted < 0 or upper
            begin, end, bit, words = reg[BEGIN], reg[END], path.total[0], reg[WORDS]
            lead, base = rows.now[size + LEAD], rows.now[size + BASE]
            line = pivot(store.sgn, store.val, begin, reg[LINES])
            if line >= 0:
                lines = 1
                first, last = split_line(
                    store, words, size, begin, end, reg[LINES], line, lead, base, bit, below, above
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
def walk(net, walls, layer_of, store, path, rows, flats, found, radius, size, affine):
    """Walk on until the item is done, the budget is spent or help is needed; which of these."""
    reg = path.reg
    reg[WALLS] = len(walls)
    while True:
        t = reg[T]
        layer, selects, counted = 0, False, False
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
                        if reg[LINES] == 0:
                            screen(net, rows, store.vec, store.dev, reg[BEGIN], reg[END], layer, size)
                        levels(net, rows, layer, size)
                        reg[REST] = _rest_begins(net, path, rows, flats, layer)
                if t == reg[REST] and not selects:
                    counted = _count_rest(net, store, path, rows, flats, layer, size, affine)
            if counted:
                code = MOVED if _pop(net.order, path.state, reg, path.pending, path.con, path.total) else DONE
            elif selects:
                code = _next_rival(net, path, rows, layer, size, affine)
            else:
                code = _next_knot(net, path, rows, size)
        if code == READY:
            code = _decision(net, store, path, rows, layer, selects, size, affine)
        if code >= 0:
            return code
