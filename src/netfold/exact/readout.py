"""Passes over the vertices of a path's image in the output, compiled: lengths, kinks, signs and classes."""

from __future__ import annotations

import numpy as np
from numba import njit

from netfold.exact.rows import COMPILED, FAST, NO_LAYER, angle_beside, angle_of_chord
from netfold.exact.selection import _last, _leader, _next

CANCELS = 1e-6
"""Share of its terms below which a difference of squares is found again from differences of vectors."""


@njit(**FAST)
def measure(begin, end, t, path, first, y, merge, lengths, angles, bends, kinks):
    """Length and angle of the segment after each row, turn and kink at the row; zero where there is none.

    A breakpoint is a kink unless it lies on the chord of its neighbours to within ``merge`` of their size.
    """
    for s in range(begin, end):
        lengths[s], angles[s], bends[s], kinks[s] = 0.0, 0.0, 0.0, False
        if s + 1 == len(t) or path[s] != path[s + 1]:
            continue
        follows = s > 0 and path[s - 1] == path[s]
        behind, here, ahead = y[s - 1] if follows else y[s], y[s], y[s + 1]
        width = t[s + 1] - t[s - 1] if follows else 0.0
        share = (t[s] - t[s - 1]) / width if width > 0.0 else 0.5
        step2, into2, along, radial, here2, ahead2, behind2, off2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(len(here)):
            a, b, c = behind[j], here[j], ahead[j]
            step, into = c - b, b - a
            off = (1.0 - share) * into - share * step
            step2 += step * step
            into2 += into * into
            along += step * into
            radial += step * (b + c)
            here2 += b * b
            ahead2 += c * c
            behind2 += a * a
            off2 += off * off
        lengths[s] = np.sqrt(step2)
        if here2 > 0.0 and ahead2 > 0.0:
            near, far = np.sqrt(here2), np.sqrt(ahead2)
            out = radial / (near + far)
            across2 = step2 - out * out
            if across2 > CANCELS * step2:
                angles[s] = angle_of_chord(across2 / (near * far))
            else:
                angles[s] = _angle(here, 0.0, ahead, 0.0, 1.0 / near, 1.0 / far)
        if not follows:
            continue
        if into2 > 0.0 and step2 > 0.0:
            across2 = into2 * step2 - along * along
            if across2 > CANCELS * into2 * step2:
                bends[s] = angle_beside(np.sqrt(across2), along)
            else:
                bends[s] = _turn(behind, here, ahead, 1.0 / np.sqrt(into2), 1.0 / np.sqrt(step2))
        if first[s] != NO_LAYER:
            kinks[s] = off2 > merge * merge * max(behind2, max(here2, ahead2))


@njit(**FAST)
def _angle(a, a0, b, b0, scale_a, scale_b):
    gap2 = 0.0
    for j in range(len(a)):
        gap = (b[j] - b0) * scale_b - (a[j] - a0) * scale_a
        gap2 += gap * gap
    return angle_of_chord(gap2)


@njit(**FAST)
def _turn(a, b, c, into, out):
    gap2 = 0.0
    for j in range(len(a)):
        gap = (c[j] - b[j]) * out - (b[j] - a[j]) * into
        gap2 += gap * gap
    return angle_of_chord(gap2)


@njit(**COMPILED)
def count_signs(path, y, lead, changes):
    """Add each output's sign changes from row ``lead`` on: strict ones, and those exactly at a vertex."""
    for s in range(lead, len(path) - 1):
        if path[s] != path[s + 1]:
            continue
        follows = s > 0 and path[s - 1] == path[s]
        for j in range(y.shape[1]):
            a, b = y[s, j], y[s + 1, j]
            if (
                (a < 0.0 and b > 0.0)
                or (a > 0.0 and b < 0.0)
                or (a == 0.0 and follows and (y[s - 1, j] > 0.0) != (b > 0.0))
            ):
                changes[path[s], j] += 1


@njit(**COMPILED)
def class_changes(path, y, lead, entries, segment, at, target, starts):
    """List where the largest output changes, from row ``lead`` on; returns how many.

    The largest of straight lines is the same all along a segment if it is at both ends, so only the other segments
    are followed. ``starts`` takes the class with which each path begins.
    """
    n = 0
    old, old_tied = _largest(y[lead])
    for s in range(lead, len(path) - 1):
        new, new_tied = _largest(y[s + 1])
        follows = s > 0 and path[s - 1] == path[s]
        if path[s] == path[s + 1] and (not follows or old != new or old_tied or new_tied):
            winner = _leader(y[s], y[s + 1], entries, 1.0)[0]
            if not follows:
                starts[path[s]] = winner
            elif old_tied and _last(y[s - 1], y[s], entries, 1.0) != winner:
                segment[n], at[n], target[n] = s, 0.0, winner
                n += 1
            winner, position = _next(y[s], y[s + 1], entries, 1.0, winner, 0.0)
            while winner >= 0:
                segment[n], at[n], target[n] = s, position, winner
                n += 1
                winner, position = _next(y[s], y[s + 1], entries, 1.0, winner, position)
        old, old_tied = new, new_tied
    return n


@njit(**COMPILED)
def _largest(row):
    """The first largest entry, and whether another equals it."""
    best, tied = 0, False
    for j in range(1, len(row)):
        if row[j] > row[best]:
            best, tied = j, False
        elif row[j] == row[best]:
            tied = True
    return best, tied
