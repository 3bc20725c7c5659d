"""Rows of a straight path, compiled: measure the image between them, add up what they hold.

These passes are the same for every kind of layer. A crossing is described by its segment, its position ``at`` in
(0, 1), the unit, the pieces it leaves and enters, and the slopes of the image in that unit before and after.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.angles import angle_beside
from netfold.exact.numerics.compiled import compiled

# what describes the image x + lam d at the start of a segment: |d|^2, x.d, |x|^2, the turn at its first vertex, and
# the |d|^2 up to which rounding alone may move the image, so that it has no direction
SPEED2, RADIAL, NORM2, TURN, FLAT2, SUMS = range(6)
RESOLVED2 = 1e-26
"""Share of the squared size of a row's values below which a squared difference is rounding."""
TIE = 1e-12
"""Distance from a knot, as a share of the mean size of a row's values, from which on rounding may decide."""

SAME = 1e-14
"""Positions in one segment that are nearer to each other than this may be one."""

MOST = 2.0**1000
"""What values that overflowed are taken for, and those that are no numbers: differences of two are finite."""

# what is measured of a segment's image
LENGTH, ANGLE, BEND, MEASURES = range(4)


@compiled()
def tame(h):
    """Make values finite in place; returns the rows in which some overflowed, or nearly so."""
    wild = np.zeros(len(h), np.bool_)
    for s in range(len(h)):
        calm = True
        for j in range(h.shape[1]):
            calm &= abs(h[s, j]) < MOST
        if not calm:
            wild[s] = True
            for j in range(h.shape[1]):
                h[s, j] = min(max(h[s, j], -MOST), MOST) if h[s, j] == h[s, j] else MOST
    return wild


@compiled()
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
            while c < stop and not at[c] > there:
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


@compiled()
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
