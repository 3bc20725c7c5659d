"""Maximum, minimum and max-pooling layers on straight paths, compiled.

On a segment every entry is affine, so a unit follows the upper envelope of a few straight lines; its state is the
entry that wins. Entries that stay equal over a whole piece leave the win to the first of them. ``candidates`` is
``(units, entries)`` with -1 as padding; ``sign`` is -1 where the smallest entry wins. Arguments and results are
those of `netfold.exact.line.elementwise`.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.angles import angle_of_chord
from netfold.exact.numerics.compiled import compiled, order
from netfold.exact.paths.envelope import _last, _leader, _next
from netfold.exact.paths.records import crossings_room, scan_room
from netfold.exact.paths.segments import FLAT2, NORM2, RADIAL, RESOLVED2, SAME, SPEED2, TIE, TURN


@compiled()
def _behind(s, path, before):
    """Whether a row has a vertex before it on its path."""
    return before.shape[0] > 0 if s == 0 else path[s - 1] == path[s]


@compiled()
def rivals(h, found, candidates, close):
    """Mark the changes of winner inside segments at which rounding leaves open if a third entry is ahead.

    Entries that are equal to one of the two along the segment are left out.
    """
    for s in range(len(found.start) - 1):
        for c in range(found.start[s], found.start[s + 1]):
            entries = candidates[found.unit[c]]
            v, w = entries[found.origin[c]], entries[found.target[c]]
            across = abs((h[s + 1, w] - h[s, w]) - (h[s + 1, v] - h[s, v]))
            for k in entries:
                if found.at[c] == 0.0 or k < 0 or k in (v, w) or (h[s, k] == h[s, w] and h[s + 1, k] == h[s + 1, w]):
                    continue
                a, b = h[s, k] - h[s, v], h[s + 1, k] - h[s + 1, v]
                size = max(abs(h[s, v]), abs(h[s + 1, v]), abs(h[s, k]), abs(h[s + 1, k]))
                moved = abs(b - a) / across if across > 0.0 else 0.0
                if (a != 0.0 or b != 0.0) and abs(a + found.at[c] * (b - a)) <= SAME * size * (1.0 + moved):
                    close[c] = True


@compiled()
def image(h, segment, at, candidates, sign, out):
    """The image at refined rows: the winning entry of every unit."""
    for i in range(len(at)):
        s, lam = segment[i], at[i]
        for u in range(len(candidates)):
            best = -np.inf
            for e in range(candidates.shape[1]):
                k = candidates[u, e]
                if k >= 0:
                    z = h[s, k] + lam * (h[s + 1, k] - h[s, k]) if lam > 0.0 else h[s, k]
                    best = max(best, sign * z)
            out[i, u] = sign * best


@compiled()
def _slack(behind, here, ahead, entries, w, comes, joined):
    """How far the nearest other entry is from the winner ``w``; those left out that are equal to it on a segment."""
    smallest = np.inf
    for k in entries:
        if k < 0 or k == w:
            continue
        stays = (comes and behind[k] == behind[w]) or (joined and ahead[k] == ahead[w])
        gap = abs(here[k] - here[w])
        smallest = smallest if gap == 0.0 and stays else min(smallest, gap)
    return smallest


@compiled()
def _by_rounding(level, here, steep, entries, k, w):
    """Whether two entries that are equal from ``level`` to ``here`` may be so by rounding alone.

    So it is where entries move, but so little that these two would not be seen to part as on the way to ``steep``.
    """
    moved, larger = 0.0, 0.0
    for e in entries:
        if e >= 0:
            moved += abs(level[e] - here[e])
            larger += abs(steep[e] - here[e])
    return 0.0 < abs(steep[k] - steep[w]) * moved <= SAME * abs(here[w]) * larger


@compiled()
def scan(h, path, before, candidates, sign, opened):
    """Count the changes of winner a segment and describe its image at its start.

    ``opened`` takes the image at the vertices, where it has room for them.
    """
    rows = h.shape[0]
    found = scan_room(rows, 0)
    for s in range(rows):
        joined = s + 1 < rows and path[s] == path[s + 1]
        ahead = h[s + 1] if joined else h[s]
        behind = joined and _behind(s, path, before)
        previous = (before[0] if s == 0 else h[s - 1]) if behind else h[s]
        count, near, scale, slack, larger = 0, np.inf, 0.0, np.inf, 0.0
        comes = _behind(s, path, before)
        earlier = (before[0] if s == 0 else h[s - 1]) if comes else h[s]
        speed2, radial, norm2, into2 = 0.0, 0.0, 0.0, 0.0
        for u in range(len(candidates)):
            winner, gap = _leader(h[s], ahead, candidates[u], sign)
            w = candidates[u, winner]
            slack = min(slack, _slack(earlier, h[s], ahead, candidates[u], w, comes, joined))
            near = min(near, gap if gap > 0.0 else np.inf)
            x, d = h[s, w], ahead[w] - h[s, w]
            scale += abs(x)
            larger += max(abs(x), abs(ahead[w]))
            speed2 += d * d
            radial += x * d
            norm2 += x * x
            if behind:
                was = _last(previous, h[s], candidates[u], sign)
                v = candidates[u, was]
                into2 += (h[s, v] - previous[v]) ** 2
                if was != winner:
                    count += 1
                    level, steep = (previous, ahead) if previous[v] == previous[w] else (ahead, previous)
                    if level[v] == level[w] and _by_rounding(level, h[s], steep, candidates[u], v, w):
                        slack = 0.0
            if joined:
                following, position = _next(h[s], ahead, candidates[u], sign, winner, 0.0)
                while following >= 0:
                    count += 1
                    following, position = _next(h[s], ahead, candidates[u], sign, following, position)
        found.counts[s] = count
        found.near[s] = slack * len(candidates) <= TIE * larger
        found.closest[s] = near * len(candidates) / scale if scale > 0.0 else np.inf
        turn, flat2 = 0.0, RESOLVED2 * scale * scale
        if behind and into2 > flat2 and speed2 > flat2:
            into, out, gap2 = 1.0 / np.sqrt(into2), 1.0 / np.sqrt(speed2), 0.0
            for u in range(len(candidates)):
                v = candidates[u, _last(previous, h[s], candidates[u], sign)]
                w = candidates[u, _leader(h[s], ahead, candidates[u], sign)[0]]
                gap2 += ((h[s, v] - previous[v]) * into - (ahead[w] - h[s, w]) * out) ** 2
            turn = angle_of_chord(gap2)
        found.sums[s, SPEED2], found.sums[s, RADIAL], found.sums[s, NORM2] = speed2, radial, norm2
        found.sums[s, TURN], found.sums[s, FLAT2] = turn, flat2
    if len(opened) >= rows:
        image(h, np.arange(rows), np.zeros(rows), candidates, sign, opened)
    return found


@compiled()
def crossings(h, path, before, candidates, sign, scan):
    """List each segment's changes of winner in order of their position; a unit's pieces are its candidates."""
    made = crossings_room(scan.counts)
    start, at, unit, origin, target, slope_from, slope_to, value = made
    for s in range(len(h) - 1):
        size = start[s + 1] - start[s]
        if size == 0:
            continue
        found, which = np.empty(size), np.empty(size, np.int64)
        left, right = np.empty(size, np.int64), np.empty(size, np.int64)
        m, c = 0, start[s]
        for u in range(len(candidates)):
            entries = candidates[u]
            winner, _ = _leader(h[s], h[s + 1], entries, sign)
            if _behind(s, path, before):
                was = _last(before[0] if s == 0 else h[s - 1], h[s], entries, sign)
                if was != winner:
                    at[c], unit[c], origin[c], target[c] = 0.0, u, was, winner
                    slope_from[c], slope_to[c], value[c] = 0.0, 0.0, h[s, entries[winner]]
                    c += 1
            following, position = _next(h[s], h[s + 1], entries, sign, winner, 0.0)
            while following >= 0:
                found[m], which[m], left[m], right[m] = position, u, winner, following
                m += 1
                winner = following
                following, position = _next(h[s], h[s + 1], entries, sign, winner, position)
        rank = order(found[:m])
        for i in range(m):
            p = rank[i]
            v, w = candidates[which[p], left[p]], candidates[which[p], right[p]]
            at[c], unit[c], origin[c], target[c] = found[p], which[p], left[p], right[p]
            slope_from[c], slope_to[c] = h[s + 1, v] - h[s, v], h[s + 1, w] - h[s, w]
            value[c] = h[s, w] + found[p] * slope_to[c]
            c += 1
    return made
