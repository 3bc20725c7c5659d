"""Passes over the vertices of a path's image in the output, compiled: lengths, kinks, signs and classes."""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.angles import angle_beside, angle_of_chord, norm2
from netfold.exact.numerics.compiled import FAST, compiled
from netfold.exact.numerics.sums import add_counts, sum_exactly
from netfold.exact.paths.envelope import _last, _leader, _next
from netfold.exact.paths.patterns import NO_LAYER

MERGE = 64 * np.finfo(np.float64).eps
"""Two neighbouring pieces are one linear piece where the vertex between them is off their common chord by less than
this, relative to the size of the output."""

CANCELS = 1e-6
"""Share of its terms below which a difference of squares is found again from differences of vectors."""


@compiled(FAST)
def measure(t, path, first, y):
    """Length and angle of the segment after each row, turn and kink at the row; zero where there is none.

    The last result says in which segments an output's sign may change.

    A breakpoint is a kink unless it lies on the chord of its neighbours to within `MERGE` of their size.
    """
    n = len(t)
    lengths, angles, bends = np.zeros(n), np.zeros(n), np.zeros(n)
    kinks, signs = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    into2, behind2, here2 = 0.0, 0.0, norm2(y[0])
    for s in range(n - 1):
        follows = s > 0 and path[s - 1] == path[s]
        behind, here, ahead = y[s - 1] if follows else y[s], y[s], y[s + 1]
        width = t[s + 1] - t[s - 1] if follows else 0.0
        share = (t[s] - t[s - 1]) / width if width > 0.0 else 0.5
        ahead2 = norm2(ahead)  # a loop of its own, as for the first row: others may be summed in another order
        step2, along, radial, off2, turned = 0.0, 0.0, 0.0, 0.0, 0
        for j in range(len(here)):
            a, b, c = behind[j], here[j], ahead[j]
            step, into = c - b, b - a
            off = (1.0 - share) * into - share * step
            step2 += step * step
            along += step * into
            radial += step * (b + c)
            off2 += off * off
            turned += (b > 0.0) != (c > 0.0)
        signs[s] = turned > 0
        if path[s] == path[s + 1]:
            lengths[s] = np.sqrt(step2)
            if here2 > 0.0 and ahead2 > 0.0:
                near, far = np.sqrt(here2), np.sqrt(ahead2)
                out = radial / (near + far)
                across2 = step2 - out * out
                if across2 > CANCELS * step2:
                    angles[s] = angle_of_chord(across2 / (near * far))
                else:
                    angles[s] = _angle(here, 0.0, ahead, 0.0, 1.0 / near, 1.0 / far)
            if follows and into2 > 0.0 and step2 > 0.0:
                across2 = into2 * step2 - along * along
                if across2 > CANCELS * into2 * step2:
                    bends[s] = angle_beside(np.sqrt(across2), along)
                else:
                    bends[s] = _turn(behind, here, ahead, 1.0 / np.sqrt(into2), 1.0 / np.sqrt(step2))
            if follows and first[s] != NO_LAYER:
                kinks[s] = off2 > MERGE * MERGE * max(behind2, max(here2, ahead2))
        into2, behind2, here2 = step2, here2, ahead2
    return lengths, angles, bends, kinks, signs


@compiled(FAST)
def _angle(a, a0, b, b0, scale_a, scale_b):
    gap2 = 0.0
    for j in range(len(a)):
        gap = (b[j] - b0) * scale_b - (a[j] - a0) * scale_a
        gap2 += gap * gap
    return angle_of_chord(gap2)


@compiled(FAST)
def _turn(a, b, c, into, out):
    gap2 = 0.0
    for j in range(len(a)):
        gap = (c[j] - b[j]) * out - (b[j] - a[j]) * into
        gap2 += gap * gap
    return angle_of_chord(gap2)


@compiled()
def count_signs(path, y, lead, signs, changes):
    """Add each output's sign changes from row ``lead`` on: strict ones, and those exactly at a vertex.

    ``signs`` says in which segments there may be any (`measure`): one at a vertex shows in one of the two there.
    """
    count = np.zeros(y.shape[1], np.int64)
    for s in range(lead, len(path) - 1):
        if path[s] == path[s + 1] and (signs[s] or (s > 0 and signs[s - 1])):
            follows = s > 0 and path[s - 1] == path[s]
            behind, here, ahead = y[s - 1] if follows else y[s], y[s], y[s + 1]
            for j in range(y.shape[1]):
                a, b = here[j], ahead[j]
                strict = ((a < 0.0) & (b > 0.0)) | ((a > 0.0) & (b < 0.0))
                count[j] += strict | (follows & (a == 0.0) & ((behind[j] > 0.0) != (b > 0.0)))
        if s + 2 == len(path) or path[s] != path[s + 1]:
            for j in range(len(count)):
                changes[path[s], j] += count[j]
                count[j] = 0


@compiled()
def class_changes(path, y, entries, lead, starts):
    """Segments, positions in them and new classes where the largest output changes, from row ``lead`` on.

    The largest of straight lines is the same all along a segment if it is at both ends, so only the other segments
    are followed. ``starts`` takes the class with which each path begins.
    """
    room = (len(y) + 1) * y.shape[1]
    segment, at, target = np.empty(room, np.int64), np.empty(room), np.empty(room, np.int64)
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
    return segment[:n].copy(), at[:n].copy(), target[:n].copy()


@compiled()
def _largest(row):
    """The first largest entry, and whether another equals it."""
    best, tied = 0, False
    for j in range(1, len(row)):
        if row[j] > row[best]:
            best, tied = j, False
        elif row[j] == row[best]:
            tied = True
    return best, tied


@compiled()
def see(t, path, first, y, rivals, entries, lead, totals):
    """Add up what paths do on rows, and list breakpoints and changes of class (`class_changes` of the ``rivals``).

    The segments before row ``lead`` were counted with the block before.
    """
    kept = breakpoints(path, first, totals.met)
    lengths, angles, bends, kinks, signs = measure(t, path, first, y)
    sum_exactly(lengths[lead:], path[lead:], totals.lengths)
    sum_exactly(angles[lead:], path[lead:], totals.angles)
    sum_exactly(bends, path, totals.bends)
    add_counts(kinks, path, totals.kinks)
    count_signs(path, y, lead, signs, totals.sign_changes)
    return kept, *class_changes(path, rivals, entries, lead, totals.start_class)


@compiled()
def breakpoints(path, first, met):
    """Rows inside their paths at which a unit switches; ``met`` adds up how many each path has."""
    kept, n, counted = np.empty(len(path), np.int64), 0, 0
    for s in range(1, len(path) - 1):
        if first[s] != NO_LAYER and path[s - 1] == path[s] == path[s + 1]:
            kept[n] = s
            n += 1
        if s + 2 == len(path) or path[s + 1] != path[s]:
            met[path[s]] += n - counted
            counted = n
    return kept[:n].copy()
