"""Elementwise layers on straight paths, compiled: which units change state, where, and how the image bends.

A row holds the pre-activations at one vertex; segment ``s`` joins rows ``s`` and ``s + 1`` of one path, and inside
it every pre-activation is affine. A unit crosses a knot inside a segment where its ends lie strictly on different
sides; where a pre-activation equals the knot at a vertex, the two segments that meet there decide whether the
state changes or the knot is only touched.

A function has two knots here (one alone is followed by an infinite one), so that loops over units have no loop
inside and compile to vector instructions. ``pieces`` holds its parameters by row: two knots, three slopes, three
offsets, the values at the knots; by column: the units, or a single column where all units share them. Each kernel is
compiled for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from netfold.exact import bits
from netfold.exact.bits import WORD
from netfold.exact.rows import (
    COMPILED,
    FAST,
    FLAT2,
    NORM2,
    RADIAL,
    RESOLVED2,
    SPEED2,
    TURN,
    angle_beside,
    angle_of_chord,
    order,
)

KNOT, SLOPE, OFFSET, VALUE = 0, 2, 5, 8
"""First rows of the knots, slopes, offsets and values at knots in ``pieces``."""

LAST = 1.0 - 2.0**-53
"""The last position inside a segment."""

FAR = 1e300
"""A knot that no pre-activation reaches, for functions with one knot alone."""

FINITE = {**COMPILED, "fastmath": True}
"""For loops that meet no infinite value: smallest values too are then found with vector instructions."""

LOW, HIGH, ZERO, PLANES = range(4)
"""Planes of a row's bits: which units lie above their two knots, and above zero."""

FEW = 24
"""Crossings up to which a segment's list is sorted by insertion."""

UNRANKED = np.empty(0, np.int64)


@dataclass(frozen=True)
class Kernels:
    """The compiled passes for one layout of ``pieces``."""

    states: Callable[..., Any]
    scan: Callable[..., Any]
    crossings: Callable[..., Any]
    opened: Callable[..., Any]
    image: Callable[..., Any]


def _compile(column: Callable[..., Any], unpack: Callable[..., Any], of: Callable[..., Any]) -> Kernels:
    """Compile every pass for one layout of the parameters.

    ``column(j)`` says where the parameters of unit ``j`` stand. ``of(unpack(pieces)[row], j)`` is the same entry in a
    form that a loop over units keeps in registers: without it the loop does not compile to vector instructions.
    """

    @njit(**FAST)
    def piece(a, b, pieces, j):
        """The piece on which a unit leaves ``a`` on the way to ``b``."""
        c = column(j)
        low, high = pieces[KNOT, c], pieces[KNOT + 1, c]
        return ((a > low) | ((a == low) & (b > low))) + 0 + ((a > high) | ((a == high) & (b > high)))

    @njit(**FAST)
    def turn(behind, here, ahead, pieces, into2, out2):
        """Angle between the image's directions before and after a vertex, accurate where it is small."""
        into, out, gap2 = 1.0 / np.sqrt(into2), 1.0 / np.sqrt(out2), 0.0
        for j in range(len(here)):
            c = column(j)
            left = pieces[SLOPE + piece(here[j], behind[j], pieces, j), c]
            right = pieces[SLOPE + piece(here[j], ahead[j], pieces, j), c]
            gap = left * (here[j] - behind[j]) * into - right * (ahead[j] - here[j]) * out
            gap2 += gap * gap
        return angle_of_chord(gap2)

    @njit(**FAST)
    def speed2_before(behind, here, pieces):
        """Squared length of the image's last direction before a vertex."""
        total = 0.0
        for j in range(len(here)):
            slope = pieces[SLOPE + piece(here[j], behind[j], pieces, j), column(j)]
            total += (slope * (here[j] - behind[j])) ** 2
        return total

    @njit(**FINITE)
    def states(begin, end, h, path, pieces, powers, above, touches, closest):
        """Write which pre-activations of a row lie above the knots and above zero, as bits.

        They go to ``above[row, plane, word]``. ``touches`` says whether a row holds a pre-activation that equals a knot
        or zero. ``closest`` is the smallest other distance to a knot, relative to the mean size of a row's entries, in
        a path's rows up to this one; it is written at the last of them.
        """
        table, units = unpack(pieces), h.shape[1]
        nearest = np.full(units, FAR)  # minima are taken unit by unit, since one minimum is no vector instruction
        for s in range(begin, end):
            here, hits, scale = h[s], 0.0, 0.0
            for w in range(above.shape[2]):
                low, high, zero, offset = 0, 0, 0, w * WORD
                for i in range(min(WORD, units - offset)):
                    a, bit = here[offset + i], powers[i]
                    low |= bit if a > of(table[KNOT], offset + i) else 0
                    high |= bit if a > of(table[KNOT + 1], offset + i) else 0
                    zero |= bit if a > 0.0 else 0
                above[s, LOW, w], above[s, HIGH, w], above[s, ZERO, w] = low, high, zero
            for j in range(units):
                a = here[j]
                hits += 1.0 if (a == of(table[KNOT], j)) | (a == of(table[KNOT + 1], j)) | (a == 0.0) else 0.0
                scale += abs(a)
            touches[s], closest[s] = hits > 0.0, FAR
            share = units / scale if scale > 0.0 else 0.0
            for j in range(units):
                gap = min(abs(here[j] - of(table[KNOT], j)), abs(here[j] - of(table[KNOT + 1], j))) * share
                nearest[j] = min(nearest[j], gap if gap > 0.0 else FAR)
            if s + 1 == end or path[s + 1] != path[s]:
                for j in range(units):
                    closest[s] = min(closest[s], nearest[j])
                    nearest[j] = FAR

    @njit(**FAST)
    def crossed(a, b, pieces, j):
        """How many knots lie strictly between two pre-activations of a unit, and whether zero does."""
        low, high = pieces[KNOT, column(j)], pieces[KNOT + 1, column(j)]
        knots = (((a < low) & (b > low)) | ((a > low) & (b < low))) + 0
        return knots + (((a < high) & (b > high)) | ((a > high) & (b < high))), (a < 0.0 < b) | (a > 0.0 > b)

    @njit(**FAST)
    def scan(begin, end, h, path, before, pieces, above, touches, counts, signs, sums):
        """Count the changes of state a segment and describe its image at its start.

        ``before`` is the vertex before row 0, or empty. Changes exactly at a vertex count for the segment that
        starts there.
        """
        table = unpack(pieces)
        rows, units = h.shape
        for s in range(begin, end):
            joined = s + 1 < rows and path[s] == path[s + 1]
            follows = joined and (before.shape[0] > 0 if s == 0 else path[s - 1] == path[s])
            here, ahead = h[s], h[s + 1] if joined else h[s]
            behind = (before[0] if s == 0 else h[s - 1]) if follows else here
            count, zero = 0, 0
            if joined and (touches[s] or touches[s + 1]):
                for j in range(units):
                    knots, sign = crossed(here[j], ahead[j], pieces, j)
                    count += knots
                    zero += sign
            elif joined:
                for w in range(above.shape[2]):
                    count += bits.count(above[s, LOW, w] ^ above[s + 1, LOW, w])
                    count += bits.count(above[s, HIGH, w] ^ above[s + 1, HIGH, w])
                    zero += bits.count(above[s, ZERO, w] ^ above[s + 1, ZERO, w])
            speed2, radial, norm2, into2, along, scale = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for j in range(units):
                a, b = here[j], ahead[j]
                low, high = of(table[KNOT], j), of(table[KNOT + 1], j)
                scale += abs(a)
                slope, offset = of(table[SLOPE], j), of(table[OFFSET], j)
                on = (a > low) | ((a == low) & (b > low))
                slope = of(table[SLOPE + 1], j) if on else slope
                offset = of(table[OFFSET + 1], j) if on else offset
                over = (a > high) | ((a == high) & (b > high))
                slope = of(table[SLOPE + 2], j) if over else slope
                offset = of(table[OFFSET + 2], j) if over else offset
                x, d, e = slope * a + offset, slope * (b - a), slope * (a - behind[j])
                speed2 += d * d
                radial += x * d
                norm2 += x * x
                into2 += e * e
                along += e * d
            counts[s], signs[s] = count, zero
            flat2 = RESOLVED2 * scale * scale
            sums[s, SPEED2], sums[s, RADIAL], sums[s, NORM2] = speed2, radial, norm2
            sums[s, TURN], sums[s, FLAT2] = 0.0, flat2
            if not follows:
                continue
            if touches[s]:
                into2 = speed2_before(behind, here, pieces)
                for j in range(units):
                    counts[s] += piece(here[j], behind[j], pieces, j) != piece(here[j], ahead[j], pieces, j)
                    was = (here[j] > 0.0) | ((here[j] == 0.0) & (behind[j] > 0.0))
                    now = (here[j] > 0.0) | ((here[j] == 0.0) & (ahead[j] > 0.0))
                    signs[s] += was != now
            if into2 > flat2 and speed2 > flat2:
                across2 = into2 * speed2 - along * along
                if touches[s] or across2 < 1e-6 * into2 * speed2:
                    sums[s, TURN] = turn(behind, here, ahead, pieces, into2, speed2)
                else:
                    sums[s, TURN] = angle_beside(np.sqrt(across2), along)

    @njit(**FAST)
    def crossings(
        begin, end, h, path, before, pieces, above, touches, start, at, unit, origin, target, slope_from, slope_to,
        value,
    ):  # fmt: skip
        """List each segment's changes of state from ``start[s]`` on, in order of their position ``at``.

        ``origin`` and ``target`` are the unit's pieces, ``slope_from`` and ``slope_to`` the image's slopes in the
        unit before and after, ``value`` its image there. Changes exactly at the first vertex stand at position 0.
        """
        units, everyone = h.shape[1], ~0
        room = 1
        for s in range(begin, end):
            room = max(room, start[s + 1] - start[s])
        found, which, level = np.empty(room), np.empty(room, np.int64), np.empty(room, np.int64)
        for s in range(begin, end):
            if start[s + 1] == start[s]:
                continue
            m, i = 0, start[s]
            few = start[s + 1] - start[s] <= FEW
            here, ahead = h[s], h[s + 1]
            if touches[s] and (before.shape[0] > 0 if s == 0 else path[s - 1] == path[s]):
                behind = before[0] if s == 0 else h[s - 1]
                for j in range(units):
                    was, now = piece(here[j], behind[j], pieces, j), piece(here[j], ahead[j], pieces, j)
                    if was != now:
                        c = column(j)
                        at[i], unit[i], origin[i], target[i] = 0.0, j, was, now
                        slope_from[i], slope_to[i] = 0.0, 0.0
                        value[i] = pieces[VALUE if here[j] == pieces[KNOT, c] else VALUE + 1, c]
                        i += 1
            tied = touches[s] or touches[s + 1]
            for w in range(above.shape[2]):
                low, high = above[s, LOW, w] ^ above[s + 1, LOW, w], above[s, HIGH, w] ^ above[s + 1, HIGH, w]
                left = everyone if tied else low | high
                while left != 0:
                    j = w * WORD + bits.first(left)
                    left &= left - 1
                    if j >= units:
                        break
                    a, b = here[j], ahead[j]
                    for r in range(2):
                        k = pieces[KNOT + r, column(j)]
                        if ((a < k) & (b > k)) | ((a > k) & (b < k)):
                            root, p = min((k - a) / (b - a), LAST), m
                            while few and p > 0 and found[p - 1] > root:
                                found[p], which[p], level[p] = found[p - 1], which[p - 1], level[p - 1]
                                p -= 1
                            found[p], which[p], level[p] = root, j, r
                            m += 1
            rank = UNRANKED if few else order(found[:m])
            for n in range(m):
                p = n if few else rank[n]
                j, r = which[p], level[p]
                c = column(j)
                d = ahead[j] - here[j]
                rises = d > 0.0
                at[i], unit[i] = found[p], j
                origin[i], target[i] = r if rises else r + 1, r + 1 if rises else r
                slope_from[i] = pieces[SLOPE + origin[i], c] * d
                slope_to[i] = pieces[SLOPE + target[i], c] * d
                value[i] = pieces[VALUE + r, c]
                i += 1

    @njit(**FAST)
    def opened(begin, end, h, pieces, out):
        """The image at the vertices themselves; columns of ``out`` beyond the units stay as they are."""
        table = unpack(pieces)
        for i in range(begin, end):
            here, row = h[i], out[i]
            for j in range(len(here)):
                z = here[j]
                slope, offset = of(table[SLOPE], j), of(table[OFFSET], j)
                slope = of(table[SLOPE + 1], j) if z > of(table[KNOT], j) else slope
                offset = of(table[OFFSET + 1], j) if z > of(table[KNOT], j) else offset
                slope = of(table[SLOPE + 2], j) if z > of(table[KNOT + 1], j) else slope
                offset = of(table[OFFSET + 2], j) if z > of(table[KNOT + 1], j) else offset
                y = slope * z + offset
                y = of(table[VALUE], j) if z == of(table[KNOT], j) else y
                row[j] = of(table[VALUE + 1], j) if z == of(table[KNOT + 1], j) else y

    @njit(**FAST)
    def image(begin, end, h, segment, at, pieces, cross, unit, value, out):
        """The image at refined rows: row ``i`` lies in segment ``segment[i]`` at position ``at[i]``.

        The units that change there (entries ``cross[i]`` to ``cross[i + 1]``) take their value exactly.
        """
        table = unpack(pieces)
        for i in range(begin, end):
            s, lam = segment[i], at[i]
            here, ahead = h[s], h[s + 1] if lam > 0.0 else h[s]
            for j in range(h.shape[1]):
                z = here[j] + lam * (ahead[j] - here[j])
                slope, offset = of(table[SLOPE], j), of(table[OFFSET], j)
                slope = of(table[SLOPE + 1], j) if z > of(table[KNOT], j) else slope
                offset = of(table[OFFSET + 1], j) if z > of(table[KNOT], j) else offset
                slope = of(table[SLOPE + 2], j) if z > of(table[KNOT + 1], j) else slope
                offset = of(table[OFFSET + 2], j) if z > of(table[KNOT + 1], j) else offset
                y = slope * z + offset
                y = of(table[VALUE], j) if z == of(table[KNOT], j) else y
                out[i, j] = of(table[VALUE + 1], j) if z == of(table[KNOT + 1], j) else y
            for k in range(cross[i], cross[i + 1]):
                out[i, unit[k]] = value[k]

    return Kernels(states, scan, crossings, opened, image)


@njit(**COMPILED, inline="always")
def _shared_column(j):
    return 0


@njit(**COMPILED, inline="always")
def _shared_table(pieces):
    a = pieces[:, 0]
    return a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]


@njit(**COMPILED, inline="always")
def _shared_entry(value, j):
    return value


@njit(**COMPILED, inline="always")
def _own_column(j):
    return j


@njit(**COMPILED, inline="always")
def _own_table(pieces):
    a = pieces
    return a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]


@njit(**COMPILED, inline="always")
def _own_entry(values, j):
    return values[j]


SHARED = _compile(_shared_column, _shared_table, _shared_entry)
OWN = _compile(_own_column, _own_table, _own_entry)
"""Passes for functions that all units share, and for those with parameters a unit."""
