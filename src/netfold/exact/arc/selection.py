"""Maximum, minimum and max-pooling layers on arcs, compiled.

On a piece every entry is a harmonic function, so a unit follows the upper envelope of a few of them; two of them
cross at most twice in a piece. Its state is the entry that wins; among entries that stay equal over a whole piece the
first one wins. ``candidates`` is ``(units, entries)`` with -1 as padding; ``sign`` is -1 where the smallest entry
wins. Arguments and results are those of `netfold.exact.arc.elementwise`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.arc.harmonic import DECIDED, WIDE, above, at_point, blur, may_vanish, together, zeros
from netfold.exact.numerics.compiled import compiled, order
from netfold.exact.paths.records import Choice


@compiled()
def leader(here, control, ahead, entries, sign):
    """The entry that wins just after ``here``, and the gap to the next other value there."""
    best, second = -1, -np.inf
    a, m, b = -np.inf, 0.0, 0.0
    for e in range(len(entries)):
        k = entries[e]
        if k < 0:
            continue
        x, y, z = sign * here[k], sign * control[k], sign * ahead[k]
        if best < 0 or x > a or (x == a and (y > m or (y == m and z > b))):
            second = a if x > a else second
            best, a, m, b = e, x, y, z
        elif second < x < a:
            second = x
    return best, a - second


@compiled()
def _overtaken(a, m, b, size, position, width):
    """Where the difference of winner and rival first sinks below zero from ``position`` on; 1 if it does not.

    Where the rival is ahead at the end it overtakes at the latest possible place, whatever rounding says: so a
    walk along the envelope ends with the entry that wins at the end of the piece.
    """
    count, first, second, _ = zeros(a, m, b, size, width)
    starts, ends = above(a, m, b), above(b, m, a)
    if ends:
        return max(first, position) if count == 2 and starts and position < second else 1.0
    if not above(-b, -m, -a):
        return 1.0
    return max(position, second if count > 0 else position)


@compiled()
def following(here, control, ahead, entries, sign, winner, position, width):
    """The entry that overtakes the winner first from ``position`` on, and where; -1 if none does."""
    w = entries[winner]
    x, y, z = here[w], control[w], ahead[w]
    found, nearest = -1, 1.0
    for e in range(len(entries)):
        k = entries[e]
        if k < 0 or k == w:
            continue
        a, m, b = sign * (x - here[k]), sign * (y - control[k]), sign * (z - ahead[k])
        if a >= 0.0 and m >= 0.0 and b >= 0.0:
            continue
        size = max(abs(x), abs(y), abs(z), abs(here[k]))
        place = _overtaken(a, m, b, size, position, width)
        tied = place == nearest and found >= 0
        if place < nearest or (tied and _later(here, control, ahead, k, entries[found], sign)):
            found, nearest = e, place
    return found, nearest


@compiled()
def _later(here, control, ahead, k, other, sign):
    """Whether entry ``k`` is ahead of the other at the end of the piece."""
    return above(sign * (ahead[k] - ahead[other]), sign * (control[k] - control[other]), sign * (here[k] - here[other]))


@compiled()
def walk(here, control, ahead, entries, sign, width, winners, places):
    """Follow the envelope from its leader: winners in order and where each takes over; returns how many.

    Two harmonic functions cross at most twice, so there are at most ``2 entries - 1`` stretches.
    """
    winners[0], places[0] = leader(here, control, ahead, entries, sign)[0], 0.0
    n = 1
    while n < len(winners):
        rival, place = following(here, control, ahead, entries, sign, winners[n - 1], places[n - 1], width)
        if rival < 0:
            break
        winners[n], places[n] = rival, place
        n += 1
    last = leader(ahead, control, here, entries, sign)[0]
    if n == len(winners) and winners[n - 1] != last:
        n -= 1
    if winners[n - 1] != last:
        winners[n], places[n] = last, places[n - 1]
        n += 1
    return n


@compiled()
def _doubts(here, control, ahead, entries, sign, width, scale, winners):
    """How often an entry only just overtakes a winner, or only just does not, or is equal to the first one by chance.

    Zeros that are equal are exact behind a ReLU; entries that are equal along the whole piece are one function.
    """
    doubts, first = 0, entries[winners[0]]
    for k in entries:
        if k < 0:
            continue
        gap, same = abs(here[k] - here[first]), control[k] == control[first] and ahead[k] == ahead[first]
        if gap <= WIDE * DECIDED * scale and not (gap == 0.0 and (here[k] == 0.0 or same)):
            doubts += 1
        for winner in winners:
            w = entries[winner]
            a, m, b = sign * (here[w] - here[k]), sign * (control[w] - control[k]), sign * (ahead[w] - ahead[k])
            if a > 0.0 and b > 0.0 and m < 0.0:
                size = max(abs(here[w]), abs(control[w]), abs(ahead[w]), abs(here[k]))
                near = WIDE * DECIDED * max(size, scale)
                doubts += zeros(a, m, b, size, width)[3] <= near
    return doubts


@compiled()
def _rivals(here, control, ahead, entries, v, w, place, width, scale, reach):
    """How many other entries may be ahead where ``w`` overtakes ``v``; those that are one of the two are left out."""
    doubts = 0
    for k in entries:
        if k < 0 or k in (v, w):
            continue
        a, m, b = here[k] - here[v], control[k] - control[v], ahead[k] - ahead[v]
        if not (a or m or b) or (here[k] == here[w] and control[k] == control[w] and ahead[k] == ahead[w]):
            continue
        size = max(abs(here[v]), abs(control[v]), abs(ahead[v]), abs(here[k]), scale)
        doubts += may_vanish(a, m, b, size, place, width, reach)
    return doubts


@compiled()
def scan(block, rule, found):
    """Count the changes of winner a piece, those exactly at its first vertex with it."""
    (h, path, width, scale), (candidates, sign), (counts, _, closest, doubts) = block, rule, found
    winners, places = np.empty(2 * candidates.shape[1], np.int64), np.empty(2 * candidates.shape[1])
    for s in range(len(path)):
        here = h[2 * s]
        joined = s + 1 < len(path) and path[s] == path[s + 1]
        control, ahead = h[2 * s + 1] if joined else here, h[2 * s + 2] if joined else here
        follows = joined and s > 0 and path[s - 1] == path[s]
        behind = h[2 * s - 2 : 2 * s] if follows else h[2 * s : 2 * s + 1]
        near, largest = np.inf, 0.0
        counts[s], doubts[s] = 0, 0
        for u in range(len(candidates)):
            first, gap = leader(here, control, ahead, candidates[u], sign)
            near = min(near, gap if gap > 0.0 else np.inf)
            largest = max(largest, abs(here[candidates[u, first]]))
            if joined:
                stretches = walk(here, control, ahead, candidates[u], sign, width[s], winners, places)
                counts[s] += stretches - 1
                taken = winners[:stretches]
                doubts[s] += _doubts(here, control, ahead, candidates[u], sign, width[s], scale[s], taken)
            if follows:
                counts[s] += leader(here, behind[1], behind[0], candidates[u], sign)[0] != first
        closest[s] = near / largest if largest > 0.0 else np.inf


@compiled()
def crossings(block, rule, found, doubts):
    """List each piece's changes of winner from ``start[s]`` on, in order of their share ``at``; adds to ``doubts``."""
    (h, path, width, scale), (candidates, sign) = block, rule
    start, at, unit, origin, target, value, after, change, earlier = found
    winners, places = np.empty(2 * candidates.shape[1], np.int64), np.empty(2 * candidates.shape[1])
    for s in range(len(path) - 1):
        size = start[s + 1] - start[s]
        if size == 0:
            continue
        here, control, ahead = h[2 * s], h[2 * s + 1], h[2 * s + 2]
        follows = s > 0 and path[s - 1] == path[s]
        behind = h[2 * s - 2 : 2 * s] if follows else h[2 * s : 2 * s + 1]
        place, which = np.empty(size), np.empty(size, np.int64)
        left, right = np.empty(size, np.int64), np.empty(size, np.int64)
        blurs, hazes, three = np.zeros(size), np.zeros(size), np.zeros((size, 4))
        m = 0
        for u in range(len(candidates)):
            count = walk(here, control, ahead, candidates[u], sign, width[s], winners, places)
            if follows:
                was = leader(here, behind[1], behind[0], candidates[u], sign)[0]
                if was != winners[0]:
                    place[m], which[m], left[m], right[m] = 0.0, u, was, winners[0]
                    m += 1
            for n in range(1, count):
                place[m], which[m], left[m], right[m] = places[n], u, winners[n - 1], winners[n]
                v, w = candidates[u, winners[n - 1]], candidates[u, winners[n]]
                largest = max(abs(here[v]), abs(control[v]), abs(ahead[v]))
                a, c, b = here[w] - here[v], control[w] - control[v], ahead[w] - ahead[v]
                three[m] = a, c, b, 0.0
                blurs[m], hazes[m] = blur(three[m], largest, scale[s], places[n], width[s])
                doubts[s] += _rivals(here, control, ahead, candidates[u], v, w, places[n], width[s], scale[s], hazes[m])
                m += 1
        rank = order(place)
        place, blurs, hazes, three = place[rank], blurs[rank], hazes[rank], three[rank]
        first = np.searchsorted(place, 0.0, side="right")
        doubts[s] += together(place[first:], blurs[first:], hazes[first:], three[first:], width[s])
        for n in range(size):
            i, u = start[s] + n, which[rank[n]]
            at[i], unit[i] = place[n], u
            origin[i], target[i] = left[rank[n]], right[rank[n]]
            old, new = candidates[u, origin[i]], candidates[u, target[i]]
            for v in range(3):
                after[i, v] = h[2 * s + v, new]
                earlier[i] = h[2 * s + v, old] if at[i] > 0.0 else after[i, v]
                change[i, v] = after[i, v] - earlier[i]
            p, k = at_point(at[i], width[s])
            step = after[i, 1] - after[i, 0]
            value[i] = after[i, 0] + p * step + k * (after[i, 2] - after[i, 1] - step)


@compiled()
def opened(block, rule, out):
    """The image at every vertex, and the control point of its part that starts there."""
    h, path, (candidates, sign) = block.h, block.path, rule
    for s in range(len(path)):
        joined = s + 1 < len(path) and path[s] == path[s + 1]
        here = h[2 * s]
        control, ahead = h[2 * s + 1] if joined else here, h[2 * s + 2] if joined else here
        for u in range(len(candidates)):
            k = candidates[u, leader(here, control, ahead, candidates[u], sign)[0]]
            out[2 * s, u] = here[k]
            if s + 1 < len(path):
                out[2 * s + 1, u] = control[k]


@compiled()
def leaders(three, candidates, sign):
    """The winner of every unit just after the start of a piece."""
    winners = np.empty(len(candidates), np.int64)
    for u in range(len(candidates)):
        winners[u] = leader(three[0], three[1], three[2], candidates[u], sign)[0]
    return winners


def states(three: Floats, rule: Choice) -> tuple[Ints, NDArray[np.bool_]]:
    """The winner of every unit just after the start of a piece, given by its three rows; no signs."""
    return leaders(np.ascontiguousarray(three), rule.candidates, rule.sign), np.zeros(0, np.bool_)
