"""Rows of a straight path, compiled: measure the image between them, add up what they hold.

These passes are the same for every kind of layer. A crossing is described by its segment, its position ``at`` in
(0, 1), the unit, the pieces it leaves and enters, and the slopes of the image in that unit before and after.
"""

from __future__ import annotations

import numpy as np
from numba import njit

COMPILED = {"cache": True, "nogil": True, "error_model": "numpy"}
FAST = {**COMPILED, "fastmath": {"reassoc", "contract", "nsz"}}
"""Sums over units may be reordered into vectors; the order is fixed when the code is compiled."""

NONE, NOTHING = np.int64(-1), np.int64(0)
"""No unit, row or rival; no count yet. They have a type of their own: for a bare number in a call, what is called is
compiled once more, which takes seconds."""

# what describes the image x + lam d at the start of a segment: |d|^2, x.d, |x|^2, the turn at its first vertex, and
# the |d|^2 up to which rounding alone may move the image, so that it has no direction
SPEED2, RADIAL, NORM2, TURN, FLAT2, SUMS = range(6)
RESOLVED2 = 1e-26
"""Share of the squared size of a row's values below which a squared difference is rounding."""

# what is measured of a segment's image
LENGTH, ANGLE, BEND, MEASURES = range(4)

STEPS = 16
KNOWN = np.arctan(np.arange(STEPS + 1) / STEPS)
"""Angles whose tangents are multiples of 1 / ``STEPS``."""

SHARE = 2**19
"""Hashes that are compared with each other at a time: their table stays in the processor's cache."""

NO_LAYER = 32767
"""Layer number of a row at which no unit changes its state."""


@njit(**COMPILED)
def put(array, begin, values):
    """Write values from a place on. The assignment of a slice would compile for two seconds: it words an error."""
    for i in range(len(values)):
        array[begin + i] = values[i]


@njit(**COMPILED)
def order(values):
    """Stable order of positions; insertion for the few of a usual segment."""
    m = len(values)
    if m > 24:
        return np.argsort(values, kind="mergesort")
    rank = np.empty(m, np.int64)
    for i in range(m):
        k = i
        while k > 0 and values[rank[k - 1]] > values[i]:
            rank[k] = rank[k - 1]
            k -= 1
        rank[k] = i
    return rank


@njit(**FAST)
def norm2(row):
    """Squared Euclidean length."""
    total = 0.0
    for j in range(len(row)):
        total += row[j] * row[j]
    return total


@njit(**COMPILED)
def angle_of_chord(gap2):
    """Angle between two unit vectors from the squared distance between them; a series where it is small."""
    if gap2 < 1e-3:
        return np.sqrt(gap2) * (1.0 + gap2 * (1 / 24 + gap2 * (3 / 640 + gap2 * 5 / 7168)))
    return 2.0 * np.arcsin(min(1.0, 0.5 * np.sqrt(gap2)))


@njit(**COMPILED)
def angle_beside(across, along):
    """Angle to an axis from the distance to it, at least 0, and the way along it.

    The library's arctangent would be a tenth of a trace's time. This one adds a short series to the nearest of a few
    known angles; it is as accurate for finite numbers, and leaves the others to the library.
    """
    far = abs(along)
    low, high = min(across, far), max(across, far)
    if not (low >= 0.0 and 0.0 < high < np.inf):
        return np.arctan2(across, along)
    r = low / high
    k = int(r * STEPS + 0.5)
    if k > 0:
        r = (low - k * (1.0 / STEPS) * high) / (high + k * (1.0 / STEPS) * low)
    s = r * r
    angle = KNOWN[k] + r * (1.0 - s * (1 / 3 - s * (1 / 5 - s * (1 / 7 - s * (1 / 9)))))
    angle = 0.5 * np.pi - angle if across > far else angle
    return np.pi - angle if along < 0.0 else angle


@njit(**COMPILED)
def measure_segments(path, sums, start, at, slope_from, slope_to, value, measures, weak):
    """Length, angle and turning inside every segment's image, following it from crossing to crossing.

    ``weak`` marks segments in which the squared speed, or the squared distance to the origin, cancels so far that its
    sum no longer holds enough digits.
    """
    for s in range(len(path) - 1):
        if path[s] != path[s + 1]:
            continue
        speed2, radial, norm2 = sums[s, SPEED2], sums[s, RADIAL], sums[s, NORM2]
        peak, here = speed2, 0.0
        length, angle, bend = 0.0, 0.0, 0.0
        c, stop = start[s], start[s + 1]
        while c < stop and at[c] == 0.0:
            c += 1
        while True:
            there = at[c] if c < stop else 1.0
            step = there - here
            length += np.sqrt(max(speed2, 0.0)) * step
            area2 = max(norm2 * speed2 - radial * radial, 0.0)
            following2 = norm2 + step * (2.0 * radial + step * speed2)
            if following2 < 1e-4 * (norm2 + step * step * speed2):
                weak[s] = True
            if norm2 > sums[s, FLAT2] and following2 > sums[s, FLAT2]:
                angle += angle_beside(np.sqrt(area2) * step, norm2 + radial * step)
            norm2 = following2
            radial += speed2 * step
            if c == stop:
                break
            old2, new2, both, gap2 = 0.0, 0.0, 0.0, 0.0
            while c < stop and at[c] == there:
                a, b = slope_from[c], slope_to[c]
                old2 += a * a
                new2 += b * b
                both += a * b
                gap2 += (a - b) * (a - b)
                radial += value[c] * (b - a)
                c += 1
            kept = max(speed2 - old2, 0.0)
            across = kept * gap2 + max(old2 * new2 - both * both, 0.0)
            if kept + old2 > sums[s, FLAT2] and kept + new2 > sums[s, FLAT2]:
                bend += angle_beside(np.sqrt(across), kept + both)
            speed2 = speed2 - old2 + new2
            peak = max(peak, speed2)
            if speed2 < 1e-7 * peak:
                weak[s] = True
            here = there
        measures[s, LENGTH] = length
        measures[s, ANGLE] = angle
        measures[s, BEND] = bend


@njit(**COMPILED)
def count_passages(path, start, unit, origin, target, pieces, first, last, paths, passages):  # fmt: skip
    """Add passages from one end piece to the other.

    ``first`` holds each unit's first saturated piece on path ``paths[0]``, ``last`` its last on path ``paths[1]``.
    """
    for s in range(len(start) - 1):
        if path[s] != paths[1]:
            paths[0] = path[s] if paths[0] < 0 else paths[0]
            paths[1] = path[s]
            last[:] = -1
        for c in range(start[s], start[s + 1]):
            j = unit[c]
            for state in (origin[c], target[c]):
                if state == 0 or state == pieces - 1:
                    passages[path[s]] += last[j] >= 0 and last[j] != state
                    last[j] = state
                    if first[j] < 0 and path[s] == paths[0]:
                        first[j] = state


@njit(**COMPILED)
def add_counts(counts, path, totals):
    """Add counts to their paths' totals.

    Here and below, what belongs to one path is added up before it is written: totals of several threads lie side by
    side in memory, and a write to one makes the others wait.
    """
    total = 0
    for s in range(len(counts)):
        total += counts[s]
        if s + 1 == len(counts) or path[s + 1] != path[s]:
            totals[path[s]] += total
            total = 0


@njit(**COMPILED)
def keep_smallest(values, path, smallest):
    """Keep each path's smallest value."""
    least = np.inf
    for s in range(len(values)):
        least = min(least, values[s])
        if s + 1 == len(values) or path[s + 1] != path[s]:
            smallest[path[s]] = min(smallest[path[s]], least)
            least = np.inf


@njit(**COMPILED)
def sum_exactly(values, path, totals):
    """Add values to their paths' totals without rounding: three limbs of 2^0, 2^-62 and 2^-124.

    The sum is the same in whatever order and grouping the values come.
    """
    limb = 4611686018427387904.0
    whole, middle, low = 0, 0, 0
    for s in range(len(values)):
        rest = values[s]
        high = np.int64(rest)
        rest = (rest - high) * limb
        part = np.int64(rest)
        low += np.int64((rest - part) * limb)
        carry = low >> 62
        low -= carry << 62
        middle += part + carry
        carry = middle >> 62
        middle -= carry << 62
        whole += high + carry
        if s + 1 == len(values) or path[s + 1] != path[s]:
            _add_limbs(whole, middle, low, totals[path[s]])
            whole, middle, low = 0, 0, 0


@njit(**COMPILED)
def _add_limbs(whole, middle, low, total):
    """Add an exact sum to a total."""
    low += total[2]
    middle += total[1] + (low >> 62)
    total[2] = low - ((low >> 62) << 62)
    total[1] = middle - ((middle >> 62) << 62)
    total[0] += whole + (middle >> 62)


@njit(**COMPILED)
def add_exactly(sums, totals):
    """Add exact sums (`sum_exactly`) to others."""
    for p in range(len(totals)):
        _add_limbs(sums[p, 0], sums[p, 1], sums[p, 2], totals[p])


@njit(**COMPILED)
def merge_equal(t, flips, first, met):
    """Join neighbouring breakpoints of one path at one parameter, in place; ``met`` counts those of each path.

    Returns how many are left.
    """
    n = i = 0
    for p in range(len(met)):
        begin = n
        for _ in range(met[p]):
            if n > begin and t[i] == t[n - 1]:
                for k in range(flips.shape[1]):
                    flips[n - 1, k] ^= flips[i, k]
                first[n - 1] = min(first[n - 1], first[i])
            else:
                if n < i:
                    t[n], first[n] = t[i], first[i]
                    for k in range(flips.shape[1]):
                        flips[n, k] = flips[i, k]
                n += 1
            i += 1
        met[p] = n - begin
    return n


@njit(**COMPILED)
def count_distinct(flips, met):
    """Distinct patterns a path, from the keys switched at its breakpoints in order; ``flips`` is used up.

    ``met`` counts the breakpoints of each path.
    """
    counts = np.ones(len(met), np.int64)
    begin = 0
    for p in range(len(met)):
        end = begin + met[p]
        for k in range(begin + 1, end):
            flips[k, 0] ^= flips[k - 1, 0]
            flips[k, 1] ^= flips[k - 1, 1]
        if end > begin:
            counts[p] = _distinct(flips[begin:end])
        begin = end
    return counts


@njit(**COMPILED)
def _distinct(hashes):
    """Distinct 128-bit hashes and zero, by tables with open addressing, one for each share of the hashes."""
    shares = 1
    while shares * SHARE < len(hashes):
        shares *= 2
    sizes = np.zeros(shares, np.int64)
    for i in range(len(hashes)):
        sizes[np.int64(hashes[i, 1] & np.uint64(shares - 1))] += 1
    size = 16
    while 3 * size < 4 * sizes.max():
        size *= 2
    table = np.empty(size, np.int32)
    found = 1
    for share in range(shares):
        table[:] = -1
        for i in range(len(hashes)):
            if np.int64(hashes[i, 1] & np.uint64(shares - 1)) != share or (hashes[i, 0] == 0 and hashes[i, 1] == 0):
                continue
            slot = np.int64(hashes[i, 0] & np.uint64(size - 1))
            while table[slot] >= 0:
                k = table[slot]
                if hashes[k, 0] == hashes[i, 0] and hashes[k, 1] == hashes[i, 1]:
                    break
                slot = (slot + 1) & (size - 1)
            else:
                table[slot] = i
                found += 1
    return found
