"""Cut convex polygons where another entry of a maximum, a minimum or a pooling window wins, compiled.

On a polygon every entry is affine, so the places where one entry wins are convex. A polygon's edges are cut first,
by what their own ends hold, so that both polygons of an edge cut it alike. Then entries come in one by one: each
takes from every piece the part where it beats the piece's winner. Parts with one winner are joined again.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import NOTHING, compiled, put
from netfold.exact.plane.splitting import PER_LAYER, Loops, cut, grown, push, run_below
from netfold.exact.plane.vertices import EQUAL, IRREGULAR, LAST, STEEP, find, insert, mix, remember


@compiled()
def leader(loop, entries, sign, tolerance, h):
    """The first entry that wins at every vertex of a polygon; -1 if none does."""
    for e in range(len(entries)):
        if entries[e] < 0:
            continue
        wins = True
        for v in loop:
            mine = sign * h[v, entries[e]] + tolerance
            for other in entries:
                if other >= 0 and sign * h[v, other] > mine:
                    wins = False
                    break
            if not wins:
                break
        if wins:
            return e
    return -1


@compiled()
def doubt(loop, entries, sign, knots, vertices, found):
    """Mark the vertices of a polygon where rounding may hide which entry wins.

    Entries that come out equal may differ by less than rounding: such ties are counted, but for zeros, which are exact
    behind a ReLU, and for vertices where the layer has made them equal.
    """
    h = vertices.h
    for v in loop:
        best = entries[_winner(v, entries, sign, h)]
        for k in entries:
            gap = sign * (h[v, best] - h[v, k]) if k >= 0 and k != best else np.inf
            if gap <= knots.tolerance:
                vertices.tied[v] |= gap > 0.0
                found[EQUAL] += gap == 0.0 and h[v, best] != 0.0 and vertices.made[v] < knots.layer


@compiled()
def _winner(v, entries, sign, h):
    """The first entry that is largest at a vertex."""
    best = -1
    for e in range(len(entries)):
        if entries[e] >= 0 and (best < 0 or sign * h[v, entries[e]] > sign * h[v, entries[best]]):
            best = e
    return best


@compiled()
def _contenders(loop, entries, sign, tolerance, h):
    """The entries that may win somewhere in a polygon: not beaten everywhere by one that wins at a vertex."""
    kept = np.empty(len(entries), np.int64)
    m = 0
    for e in range(len(entries)):
        beaten = entries[e] < 0
        for v in loop:
            if beaten:
                break
            w = _winner(v, entries, sign, h)
            if w == e:
                continue
            beaten = True
            for x in loop:
                if sign * (h[x, entries[e]] - h[x, entries[w]]) > -tolerance:
                    beaten = False
                    break
        if not beaten:
            kept[m] = entries[e]
            m += 1
    return kept[:m]


@compiled()
def _ahead(a, b, entries, sign, tolerance, h, at, winner):
    """The entry that overtakes the winner first after a position from ``a`` to ``b``, and where; -1 if none does."""
    base, end = sign * h[a, winner], sign * h[b, winner]
    following, nearest, steepest = -1, 2.0, -np.inf
    for k in entries:
        if k < 0 or k == winner or sign * h[b, k] - end <= tolerance:
            continue
        low, high = base - sign * h[a, k], sign * h[b, k] - end
        if low <= tolerance and at == 0.0:
            meet = 0.0
        else:
            meet = max(low / (low + high), at)
        if meet < nearest or (meet == nearest and high + low > steepest):
            following, nearest, steepest = k, meet, high + low
    return following, nearest


@compiled()
def _first_winner(a, b, entries, sign, tolerance, h):
    """The entry that wins just after ``a`` on the way to ``b``."""
    top = -np.inf
    for k in entries:
        if k >= 0:
            top = max(top, sign * h[a, k])
    best = -1
    for k in entries:
        leads = k >= 0 and sign * h[a, k] >= top - tolerance
        if leads and (best < 0 or sign * (h[b, k] - h[b, best]) > tolerance):
            best = k
    return best


@compiled()
def _cut_edge(a, b, entries, sign, knots, mark, n, vertices, edges):
    """Cut an edge where its winner changes; the new vertices follow each other in the table from ``a`` to ``b``."""
    h = vertices.h
    winner, at, here = _first_winner(a, b, entries, sign, knots.tolerance, h), 0.0, a
    while True:
        following, meet = _ahead(a, b, entries, sign, knots.tolerance, h, at, winner)
        if following < 0:
            return n
        if meet > at and 1.0 - LAST < meet < LAST:
            pair, slot = find(here, b, edges)
            insert(a, b, meet, mark, knots, n, vertices)
            if at > 0.0:
                # more than one on this edge: the keys must differ
                vertices.key[n] = mix(vertices.key[n] + vertices.key[here])
            rise = abs(h[b, following] - h[b, winner]) + abs(h[a, following] - h[a, winner])
            h[n, following], vertices.tied[n] = h[n, winner], rise < STEEP * knots.tolerance
            if edges.pair[slot] != pair:
                remember(slot, pair, mark, n, edges)
            here = n
            n += 1
        winner, at = following, meet


@compiled()
def _refined(loop, label, entries, sign, knots, mark, n, vertices, edges):
    """The loop with the vertices where the winner changes along its edges."""
    m, size = len(loop), 0
    out, tags = np.empty(2 * m + 16, np.int64), np.empty(2 * m + 16, np.int64)
    for i in range(m):
        v, w = loop[i], loop[i + 1 if i + 1 < m else 0]
        a, b = (v, w) if vertices.key[v] < vertices.key[w] else (w, v)
        pair, slot = find(a, b, edges)
        if edges.pair[slot] != pair:
            n = _cut_edge(a, b, entries, sign, knots, mark, n, vertices, edges)
        out, tags = grown(out, size + 2), grown(tags, size + 2)
        out[size], tags[size] = v, label[i]
        size += 1
        begin, here = size, a
        while True:
            pair, slot = find(here, b, edges)
            if edges.pair[slot] != pair or edges.line[slot] != mark:
                break
            here = edges.middle[slot]
            out, tags = grown(out, size + 2), grown(tags, size + 2)
            out[size], tags[size] = here, label[i]
            size += 1
        if a != v:
            put(out, begin, out[begin:size][::-1].copy())
    return n, out[:size].copy(), tags[:size].copy()


@compiled()
def _meet(v, w, e, f, sign, knots, mark, n, vertices, known, count):
    """The vertex inside a polygon where entry ``e`` overtakes ``f`` on an edge from a place below to one above."""
    for i in range(count):
        if known[i, 0] == min(v, w) and known[i, 1] == max(v, w):
            return known[i, 2], n, count
    h = vertices.h
    a, b = (v, w) if sign * (h[v, e] - h[v, f]) < 0.0 else (w, v)
    low, high = abs(h[a, f] - h[a, e]), abs(h[b, e] - h[b, f])
    insert(a, b, min(max(low / (low + high), 1.0 - LAST), LAST), mark + e, knots, n, vertices)
    h[n, e], vertices.tied[n] = h[n, f], low + high < STEEP * knots.tolerance
    if count < len(known):
        known[count, 0], known[count, 1], known[count, 2] = min(v, w), max(v, w), n
        count += 1
    return n, n + 1, count


@compiled()
def _sides(loop, e, f, sign, tolerance, vertices, side, closest):
    """On which side of the line where ``e`` and ``f`` are equal the vertices lie; how many above and below."""
    up, down = 0, 0
    for i in range(len(loop)):
        gap = sign * (vertices.h[loop[i], e] - vertices.h[loop[i], f])
        side[i] = 0
        if abs(gap) <= tolerance:
            # equal values are no accident: zeros of a ReLU, a vertex made where they are equal
            vertices.tied[loop[i]] |= gap != 0.0
        elif gap > 0.0:
            side[i] = 1
            up += 1
        else:
            side[i] = -1
            down += 1
        if side[i] != 0:
            closest[0] = min(closest[0], abs(gap))
    return up, down


@compiled()
def envelope(loop, label, entries, sign, knots, mark, n, vertices, closest):
    """Part a polygon among the entries that win; returns the vertices, the parts, their labels and their winners."""
    loops, labels, winners = [loop], [label], [entries[0]]
    known, count = np.empty((16 * len(entries) * len(entries), 3), np.int64), NOTHING
    out = np.empty(64, np.int64)
    for e in entries[1:]:
        for i in range(len(loops)):
            here, tags, f = loops[i], labels[i], winners[i]
            m = len(here)
            side = np.empty(m, np.int64)
            up, down = _sides(here, e, f, sign, knots.tolerance, vertices, side, closest)
            if up == 0:
                continue
            if down == 0:
                winners[i] = e
                continue
            begin, end = run_below(side)
            low, high = here[begin - 1], here[end]
            if side[begin - 1] > 0:
                low, n, count = _meet(low, here[begin], e, f, sign, knots, mark, n, vertices, known, count)
            if side[end] > 0:
                high, n, count = _meet(here[end - 1], high, e, f, sign, knots, mark, n, vertices, known, count)
            above, below, out = cut(here, tags, side, begin, end, low, high, mark, out)
            far = 2 * m + 4
            loops[i], labels[i] = out[far : far + below].copy(), out[far + m + 2 : far + m + 2 + below].copy()
            loops.append(out[:above].copy())
            labels.append(out[m + 2 : m + 2 + above].copy())
            winners.append(e)
    return n, loops, labels, winners


@compiled()
def joined(loops, labels, winners, which):
    """One loop around all parts with a winner: edges that two of them share are gone."""
    total = 0
    for i in range(len(loops)):
        total += len(loops[i]) if winners[i] == which else 0
    tail, head, tag = np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total, np.int64)
    n = 0
    for i in range(len(loops)):
        if winners[i] != which:
            continue
        m = len(loops[i])
        for k in range(m):
            tail[n], head[n], tag[n] = loops[i][k], loops[i][k + 1 if k + 1 < m else 0], labels[i][k]
            n += 1
    for i in range(n):
        for k in range(i):
            if tail[i] >= 0 and tail[i] == head[k] and head[i] == tail[k]:
                tail[i], head[i], tail[k], head[k] = -1, -1, -1, -1
    loop, label = np.empty(total, np.int64), np.empty(total, np.int64)
    first = 0
    while tail[first] < 0:
        first += 1
    size, at = 0, first
    while size < total:
        loop[size], label[size] = tail[at], tag[at]
        size += 1
        following = -1
        for k in range(n):
            if tail[k] >= 0 and tail[k] == head[at]:
                following = k
                break
        if following < 0 or following == first:
            break
        at = following
    return loop[:size].copy(), label[:size].copy()


@compiled()
def parts(loop, label, entries, sign, knots, mark, n, vertices, edges, closest):
    """A polygon's parts, one a winner, without the vertices that only helped to find them."""
    n, loop, label = _refined(loop, label, entries, sign, knots, mark, n, vertices, edges)
    helpers = n
    kept = _contenders(loop, entries, sign, knots.tolerance, vertices.h)
    n, loops, labels, winners = envelope(loop, label, kept, sign, knots, mark, n, vertices, closest)
    merged_loops, merged_labels = [loops[0]], [labels[0]]
    merged_loops.clear()
    merged_labels.clear()
    uses = np.zeros(n - helpers + 1, np.int64)
    for e in kept:
        some = 0
        for w in winners:
            some += w == e
        if some == 0:
            continue
        around, tags = joined(loops, labels, winners, e)
        merged_loops.append(around)
        merged_labels.append(tags)
        for v in around:
            uses[max(v - helpers, -1)] += v >= helpers
    for i in range(len(merged_loops)):
        keep = np.ones(len(merged_loops[i]), np.bool_)
        for k in range(len(keep)):
            v = merged_loops[i][k]
            keep[k] = v < helpers or uses[v - helpers] > 1
        merged_loops[i], merged_labels[i] = merged_loops[i][keep], merged_labels[i][keep]
    return n, merged_loops, merged_labels


@compiled()
def subdivide(n, polygons, vertices, knots, candidates, sign, edges, found, closest):
    """Cut polygons among the winners of every unit, as far as there is room for new vertices.

    Returns the number of vertices, the pieces in order, and whether all cuts were made.
    """
    start, parent = np.empty(len(polygons.start) + 64, np.int64), np.empty(len(polygons.start) + 64, np.int64)
    loops, labels = np.empty(2 * len(polygons.loop) + 64, np.int64), np.empty(2 * len(polygons.loop) + 64, np.int64)
    stack = np.empty(256, np.int64)
    pieces, total, finished = 0, 0, True
    start[0] = 0
    for p in range(len(polygons.start) - 1):
        first, last = polygons.start[p], polygons.start[p + 1]
        stack, size = push(stack, NOTHING, polygons.loop[first:last], polygons.label[first:last], NOTHING)
        while size > 0:
            m, unit = stack[size - 1], stack[size - 2]
            base = size - 2 - 2 * m
            loop, label = stack[base : base + m].copy(), stack[base + m : base + 2 * m].copy()
            while unit < len(candidates):
                doubt(loop, candidates[unit], sign, knots, vertices, found)
                if leader(loop, candidates[unit], sign, knots.tolerance, vertices.h) < 0:
                    break
                unit += 1
            if unit < len(candidates):
                few = len(_contenders(loop, candidates[unit], sign, knots.tolerance, vertices.h)) + 1
                if n + 2 * few * few + m * few > len(vertices.h):
                    unit, finished = len(candidates), False
            size = base
            if unit == len(candidates):
                loops, labels = grown(loops, total + m), grown(labels, total + m)
                start, parent = grown(start, pieces + 2), grown(parent, pieces + 2)
                loops[total : total + m], labels[total : total + m] = loop, label
                total += m
                parent[pieces] = p
                pieces += 1
                start[pieces] = total
                continue
            mark = knots.layer * PER_LAYER + unit
            n, rings, tags = parts(loop, label, candidates[unit], sign, knots, mark, n, vertices, edges, closest)
            found[IRREGULAR] += len(rings) < 2
            for i in range(len(rings) - 1, -1, -1):
                stack, size = push(stack, size, rings[i], tags[i], unit + 1)
    made = Loops(start[: pieces + 1].copy(), loops[:total].copy(), labels[:total].copy(), parent[:pieces].copy())
    return n, made, finished


@compiled()
def states(polygons, candidates, sign, tolerance, h, out):
    """The winner of every unit in each polygon: bit ``b`` of the winner's number stands in plane ``b``."""
    words = -(-len(candidates) // 64)
    for p in range(len(polygons.start) - 1):
        out[p] = 0
        loop = polygons.loop[polygons.start[p] : polygons.start[p + 1]]
        for u in range(len(candidates)):
            e = leader(loop, candidates[u], sign, tolerance, h)
            if e < 0:
                e = central(loop, candidates[u], sign, h)
            plane = 0
            while e > 0:
                if e & 1:
                    out[p, plane * words + u // 64] |= np.int64(1) << (u % 64)
                e >>= 1
                plane += 1


@compiled()
def central(loop, entries, sign, h):
    """The entry that wins at the middle of a polygon's vertices."""
    best, top = 0, -np.inf
    for e in range(len(entries)):
        if entries[e] >= 0:
            mean = 0.0
            for v in loop:
                mean += sign * h[v, entries[e]]
            if mean > top:
                best, top = e, mean
    return best


@compiled()
def select(rows, h, candidates, sign, out):
    """The winning entry of every unit at some vertices."""
    for i in range(len(rows)):
        here = h[rows[i]]
        for u in range(len(candidates)):
            best = -np.inf
            for k in candidates[u]:
                if k >= 0:
                    best = max(best, sign * here[k])
            out[i, u] = sign * best
