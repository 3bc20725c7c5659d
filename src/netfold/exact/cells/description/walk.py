"""The depth-first walk of double description, compiled: a state machine that stops where Python has to help.

A *decision* is the sign of one row on one cell: is the cell above it, below it, or cut. Elementwise units take one
decision a knot, from the lowest, until the cell is below one. Selecting units try every candidate in turn: the cell
is clipped by the candidate's row minus every other's. Half-spaces of the domain are clips that come before all units.

`walk` returns a code that says why it stopped. `OPEN_SIGNS`: signs in ``store.sgn`` are open; who has filled them in
sets ``reg.settled`` and calls again. `THIN_CELL`: float64 cannot tell the radius of the current cell; likewise with
``reg.measured``. `FULL_STORE`, `FULL_WORDS`, `FULL_OUTPUT`: make room and call again. Positions
count walls (negative) and then units in decision order.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.cells.description.cutting import split, split_line
from netfold.exact.cells.description.generators import OPEN, U, evaluate, signs, tally, tight
from netfold.exact.cells.description.pullback import (
    KNOT,
    PAIR,
    WALL,
    constant,
    enter,
    level,
    levels,
    screen,
    structurally_zero,
)
from netfold.exact.cells.description.radius import measure, middle
from netfold.exact.cells.description.restriction import count_regions, note
from netfold.exact.cells.description.state import (
    ABOVE,
    ASK,
    BASE,
    BELOW,
    BUDGET_SPENT,
    CUT,
    DONE,
    ERROR,
    EXTRA,
    FULL_OUTPUT,
    FULL_STORE,
    FULL_WORDS,
    LEAD,
    MOVED,
    OPEN_SIGNS,
    READY,
    SAME,
    THIN_CELL,
)
from netfold.exact.cells.description.verification import verify
from netfold.exact.numerics.compiled import NONE, NOTHING, compiled

KEEP, RENEW = np.bool_(False), np.bool_(True)
"""Whether generators may be found again from their constraints (typed as `compiled.NONE` is)."""


@compiled(lean=True)
def _settle(net, store, path, rows, layer, r, rival, knot, size, affine, renew):
    """Decide open signs as far as float64 goes; how many stay open.

    With `RENEW`, generators may be found again from their constraints. They are then other multiples of the true
    ones, which values taken before do not fit.
    """
    reg = path.reg[0]
    lead, error = rows.now[size + LEAD], rows.now[size + ERROR]
    left = 0
    for k in range(reg.begin, reg.end):
        if store.sgn[k] != OPEN:
            continue
        if renew and reg.lines == 0:
            verify(store, path.planes, reg.words, size, k)
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


@compiled(lean=True)
def _line_decides(sgn, begin, lines):
    """Whether the row is certainly not 0 on a line of the cell."""
    decided = False
    for k in range(begin, begin + lines):
        decided = decided or sgn[k] == 1 or sgn[k] == -1
    return decided


@compiled(lean=True, inline=True)
def _classify(net, store, path, rows, layer, r, rival, knot, size, affine):
    """Whether the current cell is above, below or cut by the current row, or the same as it."""
    reg, val, sgn = path.reg[0], store.val, store.sgn
    begin, end, lines = reg.begin, reg.end, reg.lines
    count = end - begin
    answer = -1
    if reg.settled:
        reg.settled = 0
    else:
        reg.decisions += 1
        evaluate(store.vec, begin, end, rows.now, size, val)
        positive, negative = signs(begin, end, val, store.dev, rows.now[size + LEAD], rows.now[size + BASE], sgn)
        if lines == 0 and positive == count:
            answer = ABOVE
        elif lines == 0 and negative == count:
            answer = BELOW
        elif positive + negative < count:
            left = _settle(net, store, path, rows, layer, r, rival, knot, size, affine, RENEW)
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


@compiled(lean=True)
def _pivot(sgn, val, begin, lines):
    """The line of the cell on which the row is largest; -1 where it is 0 on all."""
    pivot, largest = -1, 0.0
    for k in range(begin, begin + lines):
        if (sgn[k] == 1 or sgn[k] == -1) and abs(val[k]) > largest:
            pivot, largest = k, abs(val[k])
    return pivot


@compiled(lean=True)
def _room(path, rows, size):
    """Prepare to cut by the current row; -1, or the code of what is missing."""
    c = path.total[0]
    if c >= 64 * path.reg[0].words:
        path.reg[0].settled = 1
        return FULL_WORDS
    for j in range(size):
        path.planes[c, j] = rows.now[j]
    path.planes[c, size] = rows.now[size + ERROR]
    return -1


@compiled(lean=True, inline=True)
def _record(con, count, kind, first, second, side):
    """Note what the current row is, as a constraint of the current cell."""
    c = count[0]
    con[c, 0], con[c, 1], con[c, 2], con[c, 3] = kind, first, second, side
    count[0] = c + 1


@compiled(lean=True, inline=True)
def _push(pending, reg, t, state, select, begin, end, lines, count):
    """Note a cell for later."""
    p = reg.pending
    cell = pending[p]
    cell.t, cell.state, cell.select = t, state, select
    cell.begin, cell.end, cell.lines, cell.count = begin, end, lines, count
    reg.pending = p + 1


@compiled(lean=True, inline=True)
def _decide(order, states, reg, state):
    """Give the current unit its state and go to the next."""
    t = reg.t
    states[order[t]] = state
    reg.t = t + 1
    reg.k = 0
    reg.rival = 0


@compiled(lean=True)
def _pop(order, states, reg, pending, con, count):
    """Go on with the latest pending cell; whether there was one."""
    if reg.pending == 0:
        return False
    reg.pending -= 1
    cell = pending[reg.pending]
    reg.t, reg.begin, reg.end = cell.t, cell.begin, cell.end
    reg.lines = cell.lines
    count[0] = cell.count
    reg.rival = 0
    if cell.select:
        reg.k = cell.state
    else:
        con[count[0] - 1, 3] = -1
        _decide(order, states, reg, cell.state)
    return True


@compiled(lean=True)
def _finish(net, store, path, found, affine):
    """Note the states of a finished cell and a point inside; whether there was room."""
    reg = path.reg[0]
    i, stop = reg.collected, reg.stop
    if i == len(found.states):
        return False
    full = stop == len(path.state)
    for t in range(stop):
        found.states[i, t] = path.state[t] if full else path.state[net.order[t]]
    middle(store.vec, reg.begin + reg.lines, reg.end, net.m, affine, found.points[i])
    reg.collected += 1
    return True


@compiled(lean=True)
def _rest_begins(net, path, rows, flats, layer):
    """The position from which so few hyperplanes are left that `_count_rest` can do them; -1 where it may not."""
    reg = path.reg[0]
    if reg.stop < net.unit_begin[layer + 1] or layer + 2 < len(net.unit_begin) or reg.collect or reg.radius:
        return -1
    left, t = 0, reg.stop
    while t > net.unit_begin[layer] and t > reg.given:
        u = net.order[t - 1]
        if rows.fixed[u] < 0:
            left += net.pieces[u] - 1
        if left > len(flats.value):
            break
        t -= 1
    return t


@compiled(lean=True)
def _count_rest(net, store, path, rows, flats, layer, size, affine):
    """Count the regions into which all units to come cut the current cell; whether float64 could."""
    reg, n = path.reg[0], NOTHING
    begin, end, total = reg.begin, reg.end, path.total[0]
    if reg.lines or total + size > 64 * reg.words:
        return False
    for t in range(reg.t, reg.stop):
        u = net.order[t]
        for k in range(net.pieces[u] - 1 if rows.fixed[u] < 0 else 0):
            row = rows.level[u, k]
            reg.decisions += 1
            evaluate(store.vec, begin, end, row, size, store.val)
            positive, negative = signs(begin, end, store.val, store.dev, row[size + LEAD], row[size + BASE], store.sgn)
            if positive + negative < end - begin:
                for j in range(size + EXTRA):
                    rows.now[j] = row[j]
                r = net.row_begin[layer] + u - net.unit_begin[layer]
                if _settle(net, store, path, rows, layer, r, NONE, net.knots[u, k], size, affine, KEEP):
                    return False
                positive, negative, _ = tally(begin, end, store.sgn)
            if positive and negative:
                note(flats, n, begin, end, store.val, store.sgn, store.dev, row[size + LEAD], row[size + BASE])
                n += 1
    regions, decisions = count_regions(store, flats, n, reg.words, total, size, begin, end)
    reg.decisions += decisions
    reg.regions += max(0, regions)
    return regions > 0


@compiled(lean=True)
def _next_wall(walls, reg, rows, size, affine):
    """Prepare the next half-space of the domain."""
    wall = walls[len(walls) + reg.t]
    level(wall, 0.0, size, 0.0, rows.now)
    if not constant(wall, 0.0, size, affine):
        return READY
    if wall[size - 1] < 0.0:
        return DONE
    reg.t += 1
    return MOVED


@compiled(lean=True, inline=True)
def _next_knot(net, path, rows, size):
    """Prepare the next knot of the current unit."""
    reg = path.reg[0]
    t = reg.t
    u = net.order[t]
    fixed = rows.fixed[u]
    step = READY
    if fixed < 0:
        k = reg.k
        for j in range(size + EXTRA):
            rows.now[j] = rows.level[u, k, j]
    elif t < reg.given and path.item[t] != fixed:
        step = DONE
    else:
        _decide(net.order, path.state, reg, fixed)
        step = MOVED
    return step


@compiled(lean=True)
def _next_candidate(net, u, i):
    """The first candidate of a unit from a place on."""
    while i < net.candidates.shape[1] and net.candidates[u, i] < 0:
        i += 1
    return i


@compiled(lean=True)
def _next_rival(net, path, rows, layer, size, affine):
    """Prepare the difference between the current candidate and its next rival."""
    reg = path.reg[0]
    t, i, rival = reg.t, reg.k, reg.rival
    u = net.order[t]
    replay = t < reg.given
    if rival == 0 and not reg.settled:
        i = path.item[t] if replay else _next_candidate(net, u, i)
        reg.k = i
        following = _next_candidate(net, u, i + 1)
        if not replay and following < net.candidates.shape[1]:
            _push(path.pending, reg, t, following, 1, reg.begin, reg.end, reg.lines, path.total[0])
    while rival < net.candidates.shape[1] and (rival == i or net.candidates[u, rival] < 0):
        rival += 1
    reg.rival = rival
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


@compiled(lean=True)
def _beaten(net, path, answer):
    """Go on after a candidate was compared to a rival: to the next rival, or to what is pending."""
    reg = path.reg[0]
    if answer == BELOW or (answer == SAME and reg.rival < reg.k):
        if reg.t < reg.given:
            return DONE
        return MOVED if _pop(net.order, path.state, reg, path.pending, path.con, path.total) else DONE
    reg.rival += 1
    return MOVED


@compiled(lean=True)
def _passed(net, path, answer, upper, counting, first, last, lines):
    """Go on after a unit's knot: to its next knot, or to the next unit."""
    reg = path.reg[0]
    t, k = reg.t, reg.k
    u = net.order[t]
    replay = t < reg.given
    if answer == CUT and counting:
        reg.regions += 1
    elif answer == CUT:
        path.mark[u, k] = path.total[0]
        _record(path.con, path.total, KNOT, u, k, 1 if upper else -1)
        if replay:
            reg.begin, reg.end = (first, last) if upper else (reg.end, first)
        else:
            _push(path.pending, reg, t, k, 0, reg.end, first, reg.lines - lines, path.total[0])
            reg.begin, reg.end = first, last
        reg.lines -= lines
    state = k
    if upper:
        reg.k = k + 1
        state = net.pieces[u] - 1
        if k + 1 < state:
            return MOVED
    if replay and path.item[t] != state:
        return DONE
    _decide(net.order, path.state, reg, state)
    return MOVED


@compiled(lean=True, inline=True)
def _decision(net, store, path, rows, layer, selects, size, affine):
    """Decide the current row, cut the current cell where it has to be, and go on."""
    reg = path.reg[0]
    t, k = reg.t, reg.k
    r, rival, knot, u, wanted, counting = NONE, NONE, 0.0, NOTHING, NONE, False
    knots = t >= 0 and not selects
    if knots:
        u = net.order[t]
        r, knot = net.row_begin[layer] + u - net.unit_begin[layer], net.knots[u, k]
        if t < reg.given:
            wanted = path.item[t]
        else:
            counting = t + 1 == reg.stop and not (reg.collect or reg.radius)
    elif t >= 0:
        u = net.order[t]
        r, rival = net.candidates[u, k], net.candidates[u, reg.rival]
    answer = _classify(net, store, path, rows, layer, r, rival, knot, size, affine)
    upper = answer == ABOVE or (answer == CUT and wanted != k)
    code, first, last, lines = MOVED, 0, 0, 0
    if answer == CUT and not counting:
        code = _room(path, rows, size)
        if code < 0:
            below, above = knots and (wanted < 0 or not upper), not knots or wanted < 0 or upper
            begin, end, bit, words = reg.begin, reg.end, path.total[0], reg.words
            lead, base = rows.now[size + LEAD], rows.now[size + BASE]
            line = _pivot(store.sgn, store.val, begin, reg.lines)
            if line >= 0:
                lines = 1
                first, last = split_line(store, words, size, begin, end, reg.lines, line, lead, base, bit, below, above)
            else:
                first, last = split(
                    store, path.planes, words, size, begin, end, reg.lines, lead, base, bit, below, above
                )
            if first < 0:
                reg.settled = 1
                code = FULL_STORE
    if answer == ASK:
        code = OPEN_SIGNS
    elif code < 0 and knots:
        code = _passed(net, path, answer, upper, counting, first, last, lines)
    elif code < 0:
        if answer == CUT:
            if t < 0:
                _record(path.con, path.total, WALL, reg.walls + t, 0, 1)
            else:
                _record(path.con, path.total, PAIR, r, rival, 1 if net.largest[layer] else -1)
            reg.begin, reg.end = first, last
            reg.lines -= lines
        if t >= 0:
            code = _beaten(net, path, answer)
        elif answer in (ABOVE, CUT):
            reg.t += 1
        else:
            code = DONE
    return code


@compiled(lean=True)
def walk(net, walls, layer_of, store, path, rows, flats, found, radius, size, affine):
    """Walk on until the item is done, the budget is spent or help is needed; which of these."""
    reg = path.reg[0]
    reg.walls = len(walls)
    while True:
        t = reg.t
        layer, selects, counted = 0, False, False
        if t < 0:
            code = _next_wall(walls, reg, rows, size, affine)
        elif t == reg.stop:
            if reg.radius and not reg.measured:
                middle(store.vec, reg.begin + reg.lines, reg.end, net.m, affine, radius.inner)
                if not measure(radius, path.planes, path.con, path.total[0], net.m):
                    return THIN_CELL
                reg.measured = 1
            if reg.collect and not _finish(net, store, path, found, affine):
                return FULL_OUTPUT
            reg.regions += 1
            reg.measured = 0
            code = MOVED if _pop(net.order, path.state, reg, path.pending, path.con, path.total) else DONE
        else:
            layer = layer_of[t]
            selects = net.selects[layer]
            if reg.k == 0 and reg.rival == 0 and not reg.settled:
                if t >= reg.given and not reg.opened:
                    reg.opened = 1
                    reg.limit += reg.decisions
                if reg.opened and reg.decisions >= reg.limit:
                    return BUDGET_SPENT
                if t == net.unit_begin[layer]:
                    enter(net, rows, path.state, layer, size, affine)
                    if not selects:
                        if reg.lines == 0:
                            screen(net, rows, store.vec, store.dev, reg.begin, reg.end, layer, size)
                        levels(net, rows, layer, size)
                        reg.rest = _rest_begins(net, path, rows, flats, layer)
                if t == reg.rest and not selects:
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
