"""Vertices of a plane's polygons, compiled: the side of every knot they lie on, and new ones where edges cross it.

Vertices are shared between the polygons that meet there. A unit crosses an edge only where the edge's ends lie
strictly on different sides, and the new vertex is interpolated from the end below the knot to the end above, so
that both polygons of an edge get the same vertex, bit for bit. Interpolated values are kept between those of the
ends: no other unit can seem to cross twice. A value within the tolerance of a knot is put exactly on it.

Sides are bits (`netfold.exact.numerics.bits`): plane ``r`` of a vertex's words holds knot ``r`` of every unit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.numerics import bits
from netfold.exact.numerics.compiled import FAST, compiled

LAST = 1.0 - 2.0**-53
"""The last position inside an edge."""

IRREGULAR, EQUAL, FOUND = range(3)
"""What is counted on the way: polygons that a unit seemed to cut more than once, and entries of a maximum that came
out equal where nothing made them so."""

STEEP = 2.0**16
"""How many times the tolerance a value has to change along an edge for its crossing to be where it seems to be."""


class Vertices(NamedTuple):
    """Vertices by row, with room for new ones.

    Attributes:
        h: what the layer reads, ``xy`` the coordinates in the plane.
        key: a number that stands for the vertex in every block, ``made`` the layer that made it.
        above: bits of the knots strictly below the values, ``below`` of those strictly above.
        ends: the two vertices a new vertex lies between, ``at`` its position from the first to the second.
        tied: whether the tolerance put a value on a knot there, other than that of the unit that made the vertex, or
            rounding may have.
    """

    h: Floats
    xy: Floats
    key: NDArray[np.uint64]
    made: Ints
    above: Ints
    below: Ints
    ends: Ints
    at: Floats
    tied: NDArray[np.bool_]


class Edges(NamedTuple):
    """Edges that are already cut: a table with open addressing, from pairs of vertices to the vertex between."""

    pair: Ints
    line: Ints
    middle: Ints


class Knots(NamedTuple):
    """A layer's knots: number of the layer, one row a knot and one column a unit, and the tolerance."""

    layer: int
    levels: Floats
    tolerance: float


@compiled(FAST)
def _nearest(values, knots):
    """Smallest distance of a word's values to their knots."""
    near = 1e300
    for j in range(len(values)):
        near = min(near, abs(values[j] - knots[j]))
    return near


@compiled(FAST)
def _word(values, knots, powers):
    """Bits of the values above their knots."""
    word = np.int64(0)
    for j in range(len(values)):
        word |= powers[j] if values[j] > knots[j] else 0
    return word


@compiled()
def full(units, word):
    """The bits of a word that stand for units."""
    last = units - word * bits.WORD
    return np.int64(-1) if last >= bits.WORD else (np.int64(1) << last) - 1


@compiled()
def classify(count, vertices, knots, powers, closest):
    """Set the sides of vertices, with values near a knot put on it.

    ``closest`` takes the smallest distance to a knot among the other values.
    """
    h, levels, tolerance = vertices.h, knots.levels, knots.tolerance
    words = vertices.above.shape[1] // len(levels)
    for v in range(count):
        closest[v], vertices.tied[v] = np.inf, False
        for r in range(len(levels)):
            for w in range(words):
                first, last = w * bits.WORD, min((w + 1) * bits.WORD, h.shape[1])
                values, limits = h[v, first:last], levels[r, first:last]
                near, on = _nearest(values, limits), np.int64(0)
                if near <= tolerance:
                    near = np.inf
                    for j in range(last - first):
                        gap = abs(values[j] - limits[j])
                        if gap <= tolerance:
                            values[j] = limits[j]
                            on |= powers[j]
                            # a vertex that this layer made was looked at then
                            vertices.tied[v] |= vertices.made[v] < knots.layer
                        else:
                            near = min(near, gap)
                closest[v] = min(closest[v], near)
                up = _word(values, limits, powers)
                vertices.above[v, r * words + w] = up
                vertices.below[v, r * words + w] = full(h.shape[1], w) & ~(up | on)


@compiled()
def mix(x):
    """A 64-bit mixing function (splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled(FAST)
def between(row, other, at, out):
    """The row at a position between two rows, kept between them."""
    for j in range(len(row)):
        a, b = row[j], other[j]
        x = a + at * (b - a)
        out[j] = min(max(x, min(a, b)), max(a, b))


@compiled()
def insert(a, b, at, label, knots, n, vertices):
    """Add the vertex at a position between two others; its sides are still open."""
    between(vertices.h[a], vertices.h[b], at, vertices.h[n])
    between(vertices.xy[a], vertices.xy[b], at, vertices.xy[n])
    one = mix(vertices.key[a] + np.uint64(0x9E3779B97F4A7C15))
    two = mix(vertices.key[b] + np.uint64(0x632BE59BD9B4E019))
    vertices.key[n] = mix(one ^ mix(two + np.uint64(label)))
    vertices.made[n] = knots.layer
    vertices.ends[n, 0], vertices.ends[n, 1], vertices.at[n] = a, b, at


@compiled()
def settle(a, b, line, rise, knots, n, vertices, closest):
    """Set the sides of a new vertex: those of its ends where both agree, the others by its own values.

    ``rise`` is how much the value that made it changes along its edge: the less, the farther rounding moves it.
    """
    words = vertices.above.shape[1] // len(knots.levels)
    units = vertices.h.shape[1]
    vertices.tied[n] = rise < STEEP * knots.tolerance
    for w in range(words * len(knots.levels)):
        up, down = vertices.above[a, w] & vertices.above[b, w], vertices.below[a, w] & vertices.below[b, w]
        rest = full(units, w % words) & ~(up | down)
        on = ~(vertices.above[a, w] | vertices.below[a, w] | vertices.above[b, w] | vertices.below[b, w])
        while rest != 0:
            bit = bits.first(rest)
            rest &= rest - 1
            u = (w % words) * bits.WORD + bit
            knot = knots.levels[w // words, u]
            gap = vertices.h[n, u] - knot
            # strictly: along an edge that lies on a knot both sides are 0
            vertices.tied[n] |= abs(gap) * rise < knots.tolerance * abs(vertices.h[b, u] - vertices.h[a, u]) and (
                w * bits.WORD + bit != line
            )
            if abs(gap) <= knots.tolerance:
                # values that stay on a knot along the whole edge were noted at its ends
                vertices.tied[n] |= w * bits.WORD + bit != line and not (on >> bit) & 1
                vertices.h[n, u] = knot
            elif gap > 0.0:
                up |= np.int64(1) << bit
                closest[0] = min(closest[0], gap)
            else:
                down |= np.int64(1) << bit
                closest[0] = min(closest[0], -gap)
        vertices.above[n, w], vertices.below[n, w] = up, down


@compiled()
def find(v, w, edges):
    """The slot of an edge in the table: its own, or the free one where it belongs."""
    pair = (np.int64(min(v, w)) << 32) | np.int64(max(v, w))
    slot = np.int64(mix(np.uint64(pair)) & np.uint64(len(edges.pair) - 1))
    while edges.pair[slot] != pair and edges.pair[slot] >= 0:
        slot = (slot + 1) & (len(edges.pair) - 1)
    return pair, slot


@compiled()
def remember(slot, pair, line, middle, edges):
    """Enter a cut edge in the table."""
    edges.pair[slot], edges.line[slot], edges.middle[slot] = pair, line, middle


@compiled()
def cross(v, w, line, label, knots, n, vertices, edges, found, closest):
    """The vertex where a unit's knot crosses an edge, and how many vertices there are then."""
    pair, slot = find(v, w, edges)
    known = edges.pair[slot] == pair
    if known and edges.line[slot] == label:
        return edges.middle[slot], n
    words = vertices.above.shape[1] // len(knots.levels)
    unit, level = (line // bits.WORD) % words * bits.WORD + line % bits.WORD, line // bits.WORD // words
    a, b = (v, w) if (vertices.below[v, line // bits.WORD] >> (line % bits.WORD)) & 1 else (w, v)
    knot = knots.levels[level, unit]
    low, high = knot - vertices.h[a, unit], vertices.h[b, unit] - knot
    insert(a, b, min(max(low / (low + high), 1.0 - LAST), LAST), label, knots, n, vertices)
    vertices.h[n, unit] = knot
    settle(a, b, line, low + high, knots, n, vertices, closest)
    if known:
        found[IRREGULAR] += 1
    else:
        remember(slot, pair, label, n, edges)
    return n, n + 1


@compiled(FAST)
def extend(first, ends, at, values):
    """Rows of a quantity that is affine on every polygon, at new vertices from ``first`` on."""
    for n in range(first, len(values)):
        between(values[ends[n, 0]], values[ends[n, 1]], at[n], values[n])
