"""Elementwise layers on arcs, compiled: which units change state, where, and how their image goes on.

Rows of ``h`` alternate: row ``2 s`` holds the pre-activations at vertex ``s``, row ``2 s + 1`` those at the control
point of the piece between vertices ``s`` and ``s + 1`` of one path (`netfold.exact.arc.harmonic`). A unit cannot reach
a knot that lies outside the range of its three numbers, so most units are dismissed by comparisons alone. Where a
pre-activation equals the knot at a vertex, the two pieces that meet there decide whether the state changes or the
knot is only touched. A block is `netfold.exact.arc.layers.Pieces`; the rule's ``pieces`` hold the parameters of
`netfold.exact.line.elementwise`, one column a unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.arc.harmonic import DECIDED, WIDE, above, blur, together, zeros
from netfold.exact.line.pieces import KNOT, OFFSET, SLOPE, VALUE
from netfold.exact.numerics.compiled import FAST, compiled, order, put
from netfold.exact.paths.records import Functions

EVENTS = 4
"""Most changes of one unit's state in a piece: two a knot."""


@compiled(FAST)
def _mark(here, control, ahead, pieces, near, marks):
    """Mark the units whose three numbers, ``near`` more or less, enclose a knot or zero."""
    for j in range(len(here)):
        low = min(here[j], min(control[j], ahead[j])) - near
        high = max(here[j], max(control[j], ahead[j])) + near
        first, second = pieces[KNOT, j], pieces[KNOT + 1, j]
        reached = ((low <= first) & (high >= first)) | ((low <= second) & (high >= second))
        marks[j] = reached | ((low <= 0.0) & (high >= 0.0))


@compiled(FAST | {"nnan"})
def _closest(here, pieces):
    """The smallest distance of a pre-activation to a knot that it does not equal, and the largest pre-activation."""
    low, high = pieces[KNOT], pieces[KNOT + 1]
    near, scale = np.inf, 0.0
    for j in range(len(here)):
        first, second = abs(here[j] - low[j]), abs(here[j] - high[j])
        first = first if first > 0.0 else np.inf
        second = second if second > 0.0 else np.inf
        near = min(near, min(first, second))
        scale = max(scale, abs(here[j]))
    return near, scale


@compiled()
def _piece(a, m, b, pieces, j):
    """The piece of its function that a unit is on just after the start; swap ``a`` and ``b`` for the end."""
    first, second = pieces[KNOT, j], pieces[KNOT + 1, j]
    return int(above(a - first, m - first, b - first)) + int(above(a - second, m - second, b - second))


@compiled()
def _level(a, m, b, knot, width, scale):
    """Passages of one knot: how many, where, how close a dip was, whether the unit starts above, and is in doubt."""
    if knot == np.inf:
        return 0, 0.0, 0.0, np.inf, False, False
    size = max(abs(knot), abs(a), abs(m), abs(b))
    count, first, second, gap = zeros(a - knot, m - knot, b - knot, size, width)
    return count, first, second, gap, above(a - knot, m - knot, b - knot), gap <= WIDE * DECIDED * max(size, scale)


@compiled()
def _events(a, m, b, pieces, j, width, scale, at, origin, target):
    """A unit's changes of state inside a piece in order, how close a dip was to not being one, and whether in doubt.

    A harmonic function has at most one extremum on a piece, so all passages one way come before those back.
    """
    low = _level(a, m, b, pieces[KNOT, j], width, scale)
    high = _level(a, m, b, pieces[KNOT + 1, j], width, scale)
    down_first = (low[0] == 2 and low[4]) or (high[0] == 2 and high[4])
    n, last = 0, 0.0
    for phase in range(2):
        rises = (phase == 0) != down_first
        for i in range(2):
            r = i if rises else 1 - i
            count, first, second, _, starts_above, _ = low if r == 0 else high
            if count == 0 or (count == 1 and starts_above == rises):
                continue
            last = max(last, second if starts_above == rises else first)
            at[n], origin[n], target[n] = last, r if rises else r + 1, r + 1 if rises else r
            n += 1
    return n, min(low[3], high[3]), low[5] or high[5]


@compiled()
def _meets(a, m, b, d, c, knot, near):
    """Whether a unit comes to a knot at a vertex, by rounding or not; one that rests on it beside does not."""
    rests = (m == a and b == a) or (d == a and c == a)
    return abs(a - knot) <= near and not (a == knot and rests)


@compiled()
def scan(block, rule, found):
    """Count the changes of state and of sign a piece, those exactly at its first vertex with it.

    What changes at row 0 is left out: it takes the piece before. ``closest`` is the smallest distance to a knot at a
    vertex or in a dip, relative to the vertex's largest pre-activation.
    """
    (h, path, width, scale), pieces, (counts, signs, closest, doubts) = block, rule.pieces, found
    units = h.shape[1]
    marks = np.zeros(-(-units // 8) * 8, np.uint8)
    words = marks.view(np.uint64)
    at, origin, target = np.empty(EVENTS), np.empty(EVENTS, np.int64), np.empty(EVENTS, np.int64)
    for s in range(len(path)):
        here = h[2 * s]
        near, largest = _closest(here, pieces)
        close = WIDE * DECIDED * scale[s]
        counts[s], signs[s], doubts[s] = 0, 0, 0
        if s + 1 < len(path) and path[s] == path[s + 1]:
            control, ahead = h[2 * s + 1], h[2 * s + 2]
            follows = s > 0 and path[s - 1] == path[s]
            behind = h[2 * s - 2 : 2 * s] if follows else h[2 * s : 2 * s + 2]
            _mark(here, control, ahead, pieces, close, marks)
            for w in range(len(words)):
                if words[w] == 0:
                    continue
                for j in range(8 * w, min(8 * w + 8, units)):
                    if marks[j] == 0:
                        continue
                    a, m, b = here[j], control[j], ahead[j]
                    n, gap, doubtful = _events(a, m, b, pieces, j, width[s], scale[s], at, origin, target)
                    near = min(near, gap)
                    doubts[s] += doubtful
                    for r in range(2):
                        knot = pieces[KNOT + r, j]
                        past, before = (behind[0, j], behind[1, j]) if follows else (np.nan, np.nan)
                        doubts[s] += _meets(a, m, b, past, before, knot, close)
                        if s + 2 == len(path) or path[s + 2] != path[s]:
                            doubts[s] += _meets(b, m, a, np.nan, np.nan, knot, close)
                    counts[s] += n
                    signs[s] += zeros(a, m, b, max(abs(a), abs(m), abs(b)), width[s])[0]
                    if follows:
                        c, d = behind[1, j], behind[0, j]
                        counts[s] += _piece(a, c, d, pieces, j) != _piece(a, m, b, pieces, j)
                        signs[s] += above(a, c, d) != above(a, m, b)
        closest[s] = near / largest if largest > 0.0 else np.inf


@compiled()
def crossings(block, rule, found, doubts):
    """List each piece's changes of state from ``start[s]`` on, in order of their share ``at``.

    ``value`` is the unit's image there; ``after`` the three numbers of its image from there on, in the basis of the
    whole piece, ``change`` how they differ from those before, and ``earlier`` the last of those before. Changes
    exactly at the first vertex stand at 0 and change nothing inside the piece. ``doubts`` of each piece are added to.
    """
    (h, path, width, scale), pieces = block, rule.pieces
    start, at, unit, origin, target, value, after, change, earlier = found
    units = h.shape[1]
    marks = np.zeros(-(-units // 8) * 8, np.uint8)
    words = marks.view(np.uint64)
    one_at, one_from, one_to = np.empty(EVENTS), np.empty(EVENTS, np.int64), np.empty(EVENTS, np.int64)
    for s in range(len(path) - 1):
        size = start[s + 1] - start[s]
        if size == 0:
            continue
        here, control, ahead = h[2 * s], h[2 * s + 1], h[2 * s + 2]
        follows = s > 0 and path[s - 1] == path[s]
        behind = h[2 * s - 2 : 2 * s] if follows else h[2 * s : 2 * s + 2]
        place, which = np.empty(size), np.empty(size, np.int64)
        left, right = np.empty(size, np.int64), np.empty(size, np.int64)
        blurs, hazes, three = np.zeros(size), np.zeros(size), np.zeros((size, 4))
        m = 0
        _mark(here, control, ahead, pieces, 0.0, marks)
        for w in range(len(words)):
            if words[w] == 0:
                continue
            for j in range(8 * w, min(8 * w + 8, units)):
                if marks[j] == 0:
                    continue
                now = _piece(here[j], control[j], ahead[j], pieces, j)
                was = _piece(here[j], behind[1, j], behind[0, j], pieces, j) if follows else now
                if was != now:
                    place[m], which[m], left[m], right[m] = 0.0, j, was, now
                    m += 1
                n, _, _ = _events(here[j], control[j], ahead[j], pieces, j, width[s], 0.0, one_at, one_from, one_to)
                for e in range(n):
                    place[m], which[m], left[m], right[m] = one_at[e], j, one_from[e], one_to[e]
                    knot = pieces[KNOT + min(one_from[e], one_to[e]), j]
                    a, c, b = here[j], control[j], ahead[j]
                    largest = max(abs(knot), abs(a), abs(c), abs(b))
                    three[m] = a - knot, c - knot, b - knot, knot
                    blurs[m], hazes[m] = blur(three[m], largest, scale[s], one_at[e], width[s])
                    m += 1
        rank = order(place)
        place, blurs, hazes, three = place[rank], blurs[rank], hazes[rank], three[rank]
        first = np.searchsorted(place, 0.0, side="right")
        doubts[s] += together(place[first:], blurs[first:], hazes[first:], three[first:], width[s])
        for n in range(size):
            i, j = start[s] + n, which[rank[n]]
            at[i], unit[i] = place[n], j
            origin[i], target[i] = left[rank[n]], right[rank[n]]
            old, new = SLOPE + origin[i], SLOPE + target[i]
            shift = OFFSET - SLOPE
            value[i] = pieces[VALUE + min(origin[i], target[i]), j]
            for v in range(3):
                z = h[2 * s + v, j]
                after[i, v] = pieces[new, j] * z + pieces[new + shift, j]
                earlier[i] = pieces[old, j] * z + pieces[old + shift, j] if at[i] > 0.0 else after[i, v]
                change[i, v] = after[i, v] - earlier[i]


@compiled(FAST)
def _at_vertex(here, pieces, row):
    """The image at a vertex; at a knot its value there."""
    for j in range(len(row)):
        a, low, high = here[j], pieces[KNOT, j], pieces[KNOT + 1, j]
        under, between, over = pieces[SLOPE, j], pieces[SLOPE + 1, j], pieces[SLOPE + 2, j]
        under, between, over = (
            under * a + pieces[OFFSET, j],
            between * a + pieces[OFFSET + 1, j],
            over * a + pieces[OFFSET + 2, j],
        )
        at_low, at_high = pieces[VALUE, j], pieces[VALUE + 1, j]
        x = over if a > high else (between if a > low else under)
        x = at_low if a == low else x
        row[j] = at_high if a == high else x


@compiled(FAST)
def _at_control(here, control, ahead, pieces, row):
    """The control point of the image's part that starts at a vertex."""
    for j in range(len(row)):
        a, m, b = here[j], control[j], ahead[j]
        low, high = pieces[KNOT, j], pieces[KNOT + 1, j]
        under, between, over = pieces[SLOPE, j], pieces[SLOPE + 1, j], pieces[SLOPE + 2, j]
        under, between, over = (
            under * m + pieces[OFFSET, j],
            between * m + pieces[OFFSET + 1, j],
            over * m + pieces[OFFSET + 2, j],
        )
        x = between if (a > low) | ((a == low) & ((m > low) | ((m == low) & (b > low)))) else under
        row[j] = over if (a > high) | ((a == high) & ((m > high) | ((m == high) & (b > high)))) else x


@compiled(FAST)
def opened(block, rule, out):
    """The image at every vertex, and the control point of its part that starts there; between paths the vertex."""
    h, path, pieces = block.h, block.path, rule.pieces
    for s in range(len(path)):
        _at_vertex(h[2 * s], pieces, out[2 * s])
        if s + 1 == len(path):
            continue
        if path[s] == path[s + 1]:
            _at_control(h[2 * s], h[2 * s + 1], h[2 * s + 2], pieces, out[2 * s + 1])
        else:
            put(out[2 * s + 1], 0, out[2 * s])


def states(three: Floats, rule: Functions) -> tuple[Ints, NDArray[np.bool_]]:
    """State and sign of every unit just after the start of a piece, given by its three rows."""
    first, second = (positive(three - rule.pieces[KNOT + level]) for level in range(2))
    return first.astype(np.int64) + second, positive(three)


def positive(three: Floats) -> NDArray[np.bool_]:
    """Whether functions are positive just after the start of a piece, given by its three rows: `harmonic.above`."""
    a, m, b = three
    return (a > 0) | ((a == 0) & ((m > 0) | ((m == 0) & (b > 0))))
