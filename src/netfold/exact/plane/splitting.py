"""Cut convex polygons along the knots of elementwise units, compiled.

A polygon is a loop of vertices, counter-clockwise, with a label for each edge: what made it. A unit cuts a polygon
where vertices lie strictly on both sides of its knot. Units go in one order for all polygons, so that the two
polygons of an edge cut it alike. Where vertices lie on the knot itself the cut goes through them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netfold.arrays import Ints
from netfold.exact.numerics import bits
from netfold.exact.numerics.compiled import NOTHING, compiled, put
from netfold.exact.plane.vertices import IRREGULAR, cross

PER_LAYER = 1 << 32
"""An edge's label is its layer times this, plus the unit that made it; sides of the rectangle are -1 to -4."""


class Loops(NamedTuple):
    """Polygons: polygon ``p`` has the vertices ``loop[start[p] : start[p + 1]]``.

    Attributes:
        start: where each polygon begins, and where the last one ends.
        loop: vertices, counter-clockwise.
        label: what made the edge from a vertex to the next.
        parent: the polygon it was cut from.
    """

    start: Ints
    loop: Ints
    label: Ints
    parent: Ints


@compiled()
def grown(array: Any, size: Any) -> Any:
    """The array with room for more."""
    if size <= len(array):
        return array
    larger = np.empty(max(size, 2 * len(array)), array.dtype)
    put(larger, 0, array)
    return larger


@compiled()
def first_cut(loop, word, above, below):
    """The first line, from a word on, that has vertices of the loop strictly on both sides; -1 if there is none."""
    for w in range(word, above.shape[1]):
        up, down = np.int64(0), np.int64(0)
        for v in loop:
            up |= above[v, w]
            down |= below[v, w]
        if up & down != 0:
            return w * bits.WORD + bits.first(up & down)
    return -1


@compiled()
def run_below(side):
    """Where the run of vertices below begins, and the first vertex after it."""
    m = len(side)
    begin = 0
    while not (side[begin] < 0 and side[begin - 1] >= 0):
        begin += 1
    end = begin
    while side[end % m] < 0:
        end += 1
    return begin, end % m


@compiled()
def cut(loop, label, side, begin, end, low, high, mark, out) -> Any:
    """Part a loop in two: the run of vertices below from ``begin`` to ``end``, and the others.

    ``low`` is the vertex where the cut enters the run and ``high`` where it leaves it; ``mark`` labels the new edge.
    ``out`` takes the loop above, its labels, the loop below and its labels; returns the two lengths.
    """
    m = len(loop)
    out = grown(out, 4 * m + 16)
    n = 0
    if side[end] > 0:
        out[n], out[m + 2 + n] = high, label[end - 1]
        n += 1
    i = end
    while i != begin:
        out[n], out[m + 2 + n] = loop[i], label[i]
        n += 1
        i = (i + 1) % m
    if side[begin - 1] > 0:
        out[n] = low
        n += 1
    out[m + 2 + n - 1] = mark
    base, k = 2 * m + 4, 1
    out[base], out[base + m + 2] = low, label[begin - 1]
    while i != end:
        out[base + k], out[base + m + 2 + k] = loop[i], label[i]
        k += 1
        i = (i + 1) % m
    out[base + k], out[base + m + 2 + k] = high, mark
    return n, k + 1, out


@compiled()
def push(stack, size, loop, label, cursor) -> Any:
    """Put a polygon on the stack: its loop, its labels, a cursor and its length."""
    m = len(loop)
    stack = grown(stack, size + 2 * m + 2)
    put(stack, size, loop)
    put(stack, size + m, label)
    stack[size + 2 * m], stack[size + 2 * m + 1] = cursor, m
    return stack, size + 2 * m + 2


@compiled()
def subdivide(n, polygons, vertices, knots, edges, found, closest):
    """Cut polygons along every knot, depth-first, as far as there is room for new vertices.

    Returns the number of vertices, the pieces in order, and whether all cuts were made.
    """
    words = vertices.above.shape[1] // len(knots.levels)
    start, parent = np.empty(len(polygons.start) + 64, np.int64), np.empty(len(polygons.start) + 64, np.int64)
    loops, labels = np.empty(2 * len(polygons.loop) + 64, np.int64), np.empty(2 * len(polygons.loop) + 64, np.int64)
    stack, out, side = np.empty(256, np.int64), np.empty(64, np.int64), np.empty(64, np.int64)
    pieces, total, finished = 0, 0, True
    start[0] = 0
    for p in range(len(polygons.start) - 1):
        first, last = polygons.start[p], polygons.start[p + 1]
        stack, size = push(stack, NOTHING, polygons.loop[first:last], polygons.label[first:last], NOTHING)
        while size > 0:
            m, word = stack[size - 1], stack[size - 2]
            base = size - 2 - 2 * m
            loop, label = stack[base : base + m], stack[base + m : base + 2 * m]
            line = first_cut(loop, word, vertices.above, vertices.below)
            if line >= 0 and n + 2 > len(vertices.h):
                line, finished = -1, False
            if line < 0:
                loops, labels = grown(loops, total + m), grown(labels, total + m)
                start, parent = grown(start, pieces + 2), grown(parent, pieces + 2)
                put(loops, total, loop)
                put(labels, total, label)
                total += m
                parent[pieces] = p
                pieces += 1
                start[pieces] = total
                size = base
                continue
            word, bit = line // bits.WORD, line % bits.WORD
            side = grown(side, m)
            runs = 0
            for i in range(m):
                v = loop[i]
                side[i] = ((vertices.above[v, word] >> bit) & 1) - ((vertices.below[v, word] >> bit) & 1)
            for i in range(m):
                runs += side[i] < 0 and side[i - 1 if i > 0 else m - 1] >= 0
            found[IRREGULAR] += runs > 1
            begin, end = run_below(side[:m])
            mark = knots.layer * PER_LAYER + word % words * bits.WORD + bit
            low, high = loop[begin - 1], loop[end]
            if side[begin - 1 if begin > 0 else m - 1] > 0:
                low, n = cross(low, loop[begin], line, mark, knots, n, vertices, edges, found, closest)
            if side[end] > 0:
                high, n = cross(loop[end - 1 if end > 0 else m - 1], high, line, mark, knots, n, vertices, edges,
                                found, closest)  # fmt: skip
            above, below, out = cut(loop, label, side[:m], begin, end, low, high, mark, out)
            far = 2 * m + 4
            stack, size = push(stack, base, out[far : far + below], out[far + m + 2 : far + m + 2 + below], word)
            stack, size = push(stack, size, out[:above], out[m + 2 : m + 2 + above], word)
    made = Loops(start[: pieces + 1].copy(), loops[:total].copy(), labels[:total].copy(), parent[:pieces].copy())
    return n, made, finished


@compiled()
def states(polygons, above, out):
    """Which knots each polygon lies above, as bits."""
    for p in range(len(polygons.start) - 1):
        for w in range(above.shape[1]):
            word = np.int64(0)
            for i in range(polygons.start[p], polygons.start[p + 1]):
                word |= above[polygons.loop[i], w]
            out[p, w] = word


@compiled()
def take(first, last, polygons, most, index, used):
    """Consecutive polygons from ``first`` to ``last``, at least one, with at most ``most`` vertices between them.

    ``index`` (-1 everywhere) is used and left as it was; ``used`` takes the vertices. Returns the number of vertices,
    the polygon after the last, and the loops in terms of the vertices taken.
    """
    n, p = 0, first
    loop = np.empty(polygons.start[last] - polygons.start[first], np.int64)
    while p < last:
        fresh = 0
        for i in range(polygons.start[p], polygons.start[p + 1]):
            fresh += index[polygons.loop[i]] < 0
        if p > first and n + fresh > most:
            break
        for i in range(polygons.start[p], polygons.start[p + 1]):
            v = polygons.loop[i]
            if index[v] < 0:
                index[v], used[n] = n, v
                n += 1
            loop[i - polygons.start[first]] = index[v]
        p += 1
    for i in range(n):
        index[used[i]] = -1
    return n, p, loop[: polygons.start[p] - polygons.start[first]].copy()


@compiled()
def activate(rows, h, knots, slopes, offsets, values, out):
    """An elementwise layer's values at some vertices, exact on the knots."""
    units = h.shape[1]
    for i in range(len(rows)):
        here = h[rows[i]]
        for j in range(units):
            out[i, j] = slopes[0, j] * here[j] + offsets[0, j]
        for r in range(len(knots)):
            for j in range(units):
                y = slopes[r + 1, j] * here[j] + offsets[r + 1, j]
                y = y if here[j] > knots[r, j] else out[i, j]
                out[i, j] = values[r, j] if here[j] == knots[r, j] else y
