"""Count the pieces into which lines cut convex polygons without making them, compiled.

Lines that each cut a convex polygon once make 1 + lines + crossings pieces, where a crossing is a pair of lines that
meet inside: their ends then alternate along the polygon's border. The formula needs every crossing to be a place of
its own. Polygons where ends or crossings come close to each other are named, to be cut in earnest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netfold.exact.numerics import bits
from netfold.exact.numerics.compiled import compiled
from netfold.exact.plane.vertices import STEEP

APART = 1e-9
"""Share of an edge or a line within which two places on it count as close."""

BLURRED = 2.0**-47
"""Share of coordinates by which rounding moves the ends of a line."""


@compiled()
def _ends(loop, line, units, levels, least, vertices, ends):
    """Where a line enters and leaves a polygon: positions along the border, and coordinates.

    False at a vertex, and where the value changes by less than ``least`` along an edge.
    """
    words = vertices.above.shape[1] // len(levels)
    word, bit = line // bits.WORD, line % bits.WORD
    unit, knot = word % words * bits.WORD + bit, 0.0
    knot = levels[word // words, unit]
    m, n = len(loop), 0
    for i in range(m):
        v, w = loop[i], loop[i + 1 if i + 1 < m else 0]
        up = (vertices.above[v, word] >> bit) & 1
        if up == (vertices.below[v, word] >> bit) & 1:
            return False
        if up == (vertices.above[w, word] >> bit) & 1:
            continue
        if n == 2:
            return False
        a, b = vertices.h[v, unit] - knot, vertices.h[w, unit] - knot
        if abs(a - b) < least:
            return False
        t = a / (a - b)
        ends[n, 0] = i + t
        ends[n, 1] = vertices.xy[v, 0] + t * (vertices.xy[w, 0] - vertices.xy[v, 0])
        ends[n, 2] = vertices.xy[v, 1] + t * (vertices.xy[w, 1] - vertices.xy[v, 1])
        n += 1
    return n == 2


@compiled()
def _alternate(a, b):
    """Whether two lines cross inside; the border position of each line's first end comes first."""
    return (a[0, 0] < b[0, 0] < a[1, 0]) != (a[0, 0] < b[1, 0] < a[1, 0])


@compiled()
def _crossing(a, b):
    """Position along one line where another meets it; no number where the lines are so flat that rounding blurs it."""
    px, py = a[1, 1] - a[0, 1], a[1, 2] - a[0, 2]
    qx, qy = b[1, 1] - b[0, 1], b[1, 2] - b[0, 2]
    area, size = px * qy - py * qx, 0.0
    for end in range(2):
        size = max(size, max(abs(a[end, 1]) + abs(a[end, 2]), abs(b[end, 1]) + abs(b[end, 2])))
    if abs(area) * APART <= BLURRED * size * (abs(qx) + abs(qy)):
        return np.nan
    return ((b[0, 1] - a[0, 1]) * qy - (b[0, 2] - a[0, 2]) * qx) / area


@compiled()
def _close(values):
    """Whether two of the values are closer than `APART`."""
    gaps: Any = np.diff(np.sort(values))
    return not np.all(gaps > APART)


@compiled()
def count_cuts(ends):
    """Pieces of a polygon cut by lines with given ends; -1 where two places are too close to tell."""
    count = len(ends)
    if count == 1:
        return 2
    if _close(ends[:, :, 0].copy().ravel()):
        return -1
    crossings, places = 0, np.empty(count)
    for i in range(count):
        for k in range(i):
            crossings += _alternate(ends[i], ends[k])
    if crossings < 3:
        return 1 + count + crossings
    for i in range(count):
        n = 0
        for k in range(count):
            if k != i and _alternate(ends[i], ends[k]):
                places[n] = _crossing(ends[i], ends[k])
                if not -APART < places[n] < 1.0 + APART:
                    return -1
                n += 1
        if n > 1 and _close(places[:n]):
            return -1
    return 1 + count + crossings


@compiled()
def count_pieces(polygons, vertices, knots, counts):
    """Pieces of every polygon; -1 where it has to be cut to know."""
    levels, least = knots.levels, STEEP * knots.tolerance
    ends, room = np.empty((16, 2, 3)), 16
    for p in range(len(counts)):
        loop = polygons.loop[polygons.start[p] : polygons.start[p + 1]]
        lines, clear = 0, True
        for w in range(vertices.above.shape[1]):
            up, down = np.int64(0), np.int64(0)
            for v in loop:
                up |= vertices.above[v, w]
                down |= vertices.below[v, w]
            cuts = up & down
            while cuts != 0 and clear:
                line = w * bits.WORD + bits.first(cuts)
                cuts &= cuts - 1
                if lines == room:
                    larger = np.empty((2 * room, 2, 3))
                    larger[:room] = ends
                    ends, room = larger, 2 * room
                clear = _ends(loop, line, vertices.h.shape[1], levels, least, vertices, ends[lines])
                lines += 1
        counts[p] = 1 if lines == 0 else count_cuts(ends[:lines]) if clear else -1
