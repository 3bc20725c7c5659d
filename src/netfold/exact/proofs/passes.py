"""The search for a line of a proof in float64, compiled: it proposes stars and lemmas, which exact rules then judge.

Functions, walls first and then cuts, are columns of dictionaries (`netfold.exact.lp.dictionary`). A star is a vertex of
the arrangement of walls and cuts, on as many cuts as can be. The states of the units are walked in order, depth first.
For states that no star shows and no lemma excludes, one linear program starts at a star that shows the states before:
it ends where the missing literal begins to hold, which is a new star, or with multipliers, a new lemma.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netfold.arrays import Floats, Ints
from netfold.exact.lp.dictionary import FLAT, NEAR, THIN, begin, blocking, exchange
from netfold.exact.numerics.compiled import FAST, NONE, NOTHING, compiled

CLOSE = 1e-10
"""Values below it, for points of size 1, may be zero: what has them is left to rational arithmetic."""

STEEP = 1e-5
"""Slope that an edge has on what it ends at, at least, lest a star lies where float64 knows nothing any more."""

MADE, EXCLUDED, DOUBT, FULL = range(4)
"""What comes of looking for states: a star, a lemma, neither, or no room."""


class Task(NamedTuple):
    """One layer on one cell.

    Attributes:
        columns: coefficients of all functions, ``(m + 1, m + functions)``; the first ``m`` places are coordinates.
        walls: how many of the functions are walls, as the shape ``(walls, 0)``.
        states: where the states of every open unit begin, ``(units + 1,)``.
        begin: where the literals of every state begin, ``(states + 1,)``; ``cut`` and ``sign`` are their parts.
        unit: the open unit of every cut.
    """

    columns: Floats
    walls: Ints
    states: Ints
    begin: Ints
    cut: Ints
    sign: Floats
    unit: Ints


class SearchRoom(NamedTuple):
    """Where a search works.

    Attributes:
        D: a dictionary, with ``basis``: the positions of its columns.
        side: the side of every position that is a constraint; ``every``: also of those that a move may not cross.
        active: stars that show the states before every unit, with ``counts``; ``now``: the state at hand of each.
    """

    D: Floats
    basis: Ints
    side: Floats
    every: Floats
    active: Ints
    counts: Ints
    now: Ints


class Proposals(NamedTuple):
    """What was found.

    Attributes:
        basis: positions on which stars lie, ``(stars, m)``, and their ``points``.
        possible: the signs that every cut has around a star: 1 positive, 2 negative, 3 both.
        rows: positions that make a lemma, ``(lemmas, m + 1)``, padded with -1; ``signs`` of the literals among them.
        next: the next lemma whose last unit is the same, and ``head``: the first of every unit.
        number: of stars, of lemmas, and of states that were left open.
    """

    basis: Ints
    points: Floats
    possible: Ints
    rows: Ints
    signs: Floats
    next: Ints
    head: Ints
    number: Ints


@compiled(FAST, lean=True)
def place(D, m, end, basis, columns, x, rows):
    """The dictionary at a point, with the given rows tight where they are independent."""
    begin(D, m, end, basis, columns, x)
    for k in range(len(rows)):
        r = rows[k]
        if r >= m:
            column, largest = NONE, THIN
            for q in range(m):
                if basis[q] < m and abs(D[q, r]) > largest:
                    column, largest = q, abs(D[q, r])
            if column >= 0:
                exchange(D, m, end, column, r)
                basis[column] = r


@compiled(FAST, lean=True)
def steepest(D, m, basis, side, h, sign, first):
    """A column along which ``sign * g_h`` falls, its direction and how fast; cuts without a side are free columns."""
    chosen, toward, speed = NONE, 0.0, FLAT
    for q in range(m):
        slope, b = sign * D[q, h], basis[q]
        if b < m or side[b] == 0.0:
            fall, way = abs(slope), (-1.0 if slope > 0 else 1.0)
        else:
            fall, way = -slope * side[b], side[b]
        better = chosen < 0 or b < basis[chosen] if first else fall > speed
        if fall > FLAT and better:
            chosen, toward, speed = np.int64(q), way, fall
    return chosen, toward, speed


@compiled(FAST, lean=True)
def reach(D, m, end, basis, side, h, sign):
    """Lower ``sign * g_h`` until it is zero, with ``h`` then tight (`MADE`), or least (`EXCLUDED`)."""
    limit, patience, still = 60 + 20 * m, 10 + 2 * m, NOTHING
    for _ in range(limit):
        q, toward, speed = steepest(D, m, basis, side, h, sign, still > patience)
        if q < 0:
            return EXCLUDED
        r, length = blocking(D, m, end, side, q, toward)
        crossing = max(sign * D[m, h], 0.0) / speed
        if r < 0 or crossing < length * (1.0 - NEAR):
            exchange(D, m, end, q, h)
            basis[q] = h
            return MADE
        still = still + 1 if length <= 0.0 else NOTHING
        exchange(D, m, end, q, r)
        basis[q] = r
    return DOUBT


@compiled(FAST, lean=True)
def onto_cuts(D, m, end, basis, side, every, first_cut):
    """Go from a vertex along edges that leave walls, and along free coordinates, for vertices on more cuts."""
    for _ in range(2 * m):
        moved = False
        for q in range(m):
            b = basis[q]
            if b >= first_cut:
                continue
            for i in range(m, end):
                every[i] = side[i] if side[i] != 0.0 else (1.0 if D[m, i] > 0.0 else -1.0)
            r = blocking(D, m, end, every, q, 1.0)[0]
            if b < m:
                other = blocking(D, m, end, every, q, -1.0)[0]
                if r < first_cut and other >= 0 and (r < 0 or other >= first_cut):
                    r = other
            if (r >= first_cut or (b < m and r >= 0)) and abs(D[q, r]) > STEEP:
                exchange(D, m, end, q, r)
                basis[q] = r
                moved = True
        if not moved:
            break


@compiled(FAST, lean=True)
def keep_star(task, room, found, m, end, first_cut):
    """Keep the vertex of the dictionary as a star, unless another function may vanish there."""
    k, D = found.number[0], room.D
    if k == len(found.basis):
        return FULL
    size = 1.0
    for j in range(m):
        size = max(size, abs(D[m, j]))
    for i in range(m, end):
        room.every[i] = 0.0
    for q in range(m):
        room.every[room.basis[q]] = 1.0
    for i in range(m, end):
        value = D[m, i]
        tight = room.every[i] != 0.0
        if not tight and (abs(value) <= CLOSE * size or (i < first_cut and value < 0.0)):
            return DOUBT
        if i >= first_cut:
            found.possible[k, i - first_cut] = 3 if tight else (1 if value > 0.0 else 2)
    for q in range(m):
        found.basis[k, q] = room.basis[q]
        found.points[k, q] = D[m, q]
    found.number[0] = k + 1
    return MADE


@compiled(FAST, lean=True)
def keep_lemma(task, room, found, m, first_cut, h, want):
    """Keep the tight rows that a function depends on, and it, as a lemma."""
    n = found.number[1]
    if n == len(found.rows):
        return FULL
    size, last = NOTHING, task.unit[h - first_cut]
    for q in range(m):
        if abs(room.D[q, h]) > FLAT:
            b = room.basis[q]
            if b < m:
                return DOUBT
            found.rows[n, size], found.signs[n, size] = b, room.side[b]
            size += 1
            if b >= first_cut:
                last = max(last, task.unit[b - first_cut])
    found.rows[n, size], found.signs[n, size] = h, want
    for k in range(size + 1, m + 1):
        found.rows[n, k] = -1
    found.next[n] = found.head[last]
    found.head[last] = n
    found.number[1] = n + 1
    return EXCLUDED


@compiled(FAST, lean=True)
def shows(task, found, k, a):
    """Whether a star shows a state."""
    for e in range(task.begin[a], task.begin[a + 1]):
        if not found.possible[k, task.cut[e]] & (1 if task.sign[e] > 0.0 else 2):
            return False
    return True


@compiled(FAST, lean=True)
def take(task, room, a, first_cut, value):
    """Make the literals of a state constraints, or with 0 none any more."""
    for e in range(task.begin[a], task.begin[a + 1]):
        room.side[first_cut + task.cut[e]] = value * task.sign[e]


@compiled(FAST, lean=True)
def ruled_out(found, room, u, first_cut):
    """Whether a lemma whose last unit is this one excludes the literals that are constraints."""
    n = found.head[u]
    while n >= 0:
        holds = True
        for k in range(found.rows.shape[1]):
            r = found.rows[n, k]
            if r < 0:
                break
            if r >= first_cut and room.side[r] != found.signs[n, k]:
                holds = False
                break
        if holds:
            return True
        n = found.next[n]
    return False


@compiled(FAST, lean=True)
def best_star(task, found, stars, count, m, h, want):
    """The star among some at which a function is highest."""
    best, highest = stars[0], -np.inf
    for i in range(count):
        k, value = stars[i], task.columns[m, h]
        for j in range(m):
            value += task.columns[j, h] * found.points[k, j]
        if want * value > highest:
            best, highest = k, want * value
    return best


@compiled(FAST, lean=True)
def decide(task, room, found, u, a, m, end, first_cut):
    """Look for a star that shows a state behind those that are constraints, or a lemma that excludes it."""
    e = task.begin[a]
    k = best_star(task, found, room.active[u], room.counts[u], m, first_cut + task.cut[e], task.sign[e])
    D, basis, side = room.D, room.basis, room.side
    place(D, m, end, basis, task.columns, found.points[k], found.basis[k])
    size = 1.0
    for j in range(m):
        size = max(size, abs(D[m, j]))
    for e in range(task.begin[a], task.begin[a + 1]):
        h, want = first_cut + task.cut[e], task.sign[e]
        tight = False
        for q in range(m):
            tight |= basis[q] == h
        if not tight and want * D[m, h] < CLOSE * size:
            if want * D[m, h] > -CLOSE * size:
                return DOUBT
            how = reach(D, m, end, basis, side, h, -want)
            if how == EXCLUDED:
                return keep_lemma(task, room, found, m, first_cut, h, want)
            if how != MADE:
                return how
        side[h] = want
    onto_cuts(D, m, end, basis, side, room.every, first_cut)
    how = keep_star(task, room, found, m, end, first_cut)
    if how == MADE:
        k = found.number[0] - 1
        for i in range(first_cut, end):
            if side[i] != 0.0 and not found.possible[k, i - first_cut] & (1 if side[i] > 0.0 else 2):
                found.number[0] = k
                return DOUBT
    return how


@compiled(FAST, lean=True)
def answered(task, room, found, u, a, m, end, first_cut):
    """Whether a state is shown behind those that are constraints, after a search where that is not known."""
    for i in range(room.counts[u]):
        if shows(task, found, room.active[u, i], a):
            return MADE
    take(task, room, a, first_cut, 1.0)
    out = ruled_out(found, room, u, first_cut)
    take(task, room, a, first_cut, 0.0)
    if out:
        return EXCLUDED
    how = decide(task, room, found, u, a, m, end, first_cut)
    take(task, room, a, first_cut, 0.0)
    if how == MADE:
        for d in range(u + 1):
            room.active[d, room.counts[d]] = found.number[0] - 1
            room.counts[d] += 1
    elif how == DOUBT:
        found.number[2] += 1
    return how


@compiled(FAST, lean=True)
def propose(task, room, found, x, rows):
    """Search, from a point on some functions, given as positions; `FULL` where what is found has no room."""
    m, end = len(room.basis), task.columns.shape[1]
    first_cut, units = m + len(task.walls), len(task.states) - 1
    for i in range(m, end):
        room.side[i] = 1.0 if i < first_cut else 0.0
    found.number[:] = 0
    found.head[:] = -1
    place(room.D, m, end, room.basis, task.columns, x, rows)
    onto_cuts(room.D, m, end, room.basis, room.side, room.every, first_cut)
    how = keep_star(task, room, found, m, end, first_cut)
    if how != MADE:
        return how
    room.active[0, 0], room.counts[0] = 0, 1
    for u in range(units):
        for a in range(task.states[u], task.states[u + 1]):
            if alone(task, room, found, u, a, m, end, first_cut) == FULL:
                return FULL
    return walk(task, room, found, m, end, first_cut, units)


@compiled(FAST, lean=True)
def alone(task, room, found, u, a, m, end, first_cut):
    """A state, whatever the other units do: what excludes it needs walls only."""
    for k in range(found.number[0]):
        if shows(task, found, k, a):
            return MADE
    how = decide(task, room, found, NOTHING, a, m, end, first_cut)
    take(task, room, a, first_cut, 0.0)
    if how == MADE:
        room.active[0, room.counts[0]] = found.number[0] - 1
        room.counts[0] += 1
    return how


@compiled(FAST, lean=True)
def walk(task, room, found, m, end, first_cut, units):
    """Answer for the states of all units in order, depth first."""
    u = NOTHING
    room.now[0] = task.states[0]
    while True:
        a = room.now[u]
        if a == task.states[u + 1]:
            u -= 1
            if u < 0:
                return MADE
            take(task, room, room.now[u], first_cut, 0.0)
            room.now[u] += 1
            continue
        how = answered(task, room, found, u, a, m, end, first_cut)
        if how == FULL:
            return FULL
        if how != MADE or u == units - 1:
            room.now[u] += 1
            continue
        take(task, room, a, first_cut, 1.0)
        below = NOTHING
        for i in range(room.counts[u]):
            k = room.active[u, i]
            if shows(task, found, k, a):
                room.active[u + 1, below] = k
                below += 1
        room.counts[u + 1] = below
        u += 1
        room.now[u] = task.states[u]
