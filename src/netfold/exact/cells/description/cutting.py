"""Cutting a cell in two by a row whose signs on its generators are known, compiled.

Generators beyond the row fall away, those on it belong to both parts, and new rays stand where it meets edges: the
pairs of rays that span one are found by their incidence bits.
"""

from __future__ import annotations

from netfold.exact.cells.description.generators import LOOSE, bits, combine, set_bit
from netfold.exact.cells.description.verification import verify
from netfold.exact.numerics.compiled import compiled


@compiled(lean=True)
def copy(vec, dev, inc, ids, words, size, source, to):
    """Copy a generator with all that belongs to it."""
    for j in range(size):
        vec[j, to] = vec[j, source]
    for w in range(words):
        inc[w, to] = inc[w, source]
    dev[to] = dev[source]
    ids[to] = ids[source]


@compiled(lean=True)
def _keep(vec, dev, inc, ids, sgn, columns, words, size, begin, end, side, bit, to):
    """Copy the generators that are not beyond a row: lines, rays on ``side`` and rays on it, which get its bit."""
    count = 0
    for k in range(begin, end):
        columns[count] = k
        count += sgn[k] != -side
    for j in range(size):
        for i in range(count):
            vec[j, to + i] = vec[j, columns[i]]
    for w in range(words):
        for i in range(count):
            inc[w, to + i] = inc[w, columns[i]]
    for i in range(count):
        dev[to + i] = dev[columns[i]]
        ids[to + i] = ids[columns[i]]
        if sgn[columns[i]] == 0:
            set_bit(inc, to + i, bit)
    return to + count


@compiled(lean=True)
def _copy_block(vec, dev, inc, words, size, source, count, to):
    """Copy new generators next to each other."""
    for j in range(size):
        for i in range(count):
            vec[j, to + i] = vec[j, source + i]
    for w in range(words):
        for i in range(count):
            inc[w, to + i] = inc[w, source + i]
    for i in range(count):
        dev[to + i] = dev[source + i]


@compiled(lean=True)
def edges(inc, sgn, scratch, first_words, pairs, words, begin, end, needed):
    """The pairs of a positive and a negative ray that span an edge, as columns; their number, or -1 if too many.

    Rays of a simple cone lie on ``needed + 1`` independent constraints; a ray with just as many shares an edge with
    every ray with which it shares ``needed`` of them. Other pairs are told by the third rays on what they share.
    """
    count, below = 0, 0
    for k in range(begin, end):
        if sgn[k] == -1:
            scratch[0, below] = k
            below += 1
    for i in range(below):
        first_words[i] = inc[0, scratch[0, i]]
    for a in range(begin, end):
        if sgn[a] != 1:
            continue
        word = inc[0, a]
        for i in range(below):
            scratch[1, i] = bits(word & first_words[i])
        for i in range(below):
            shared = scratch[1, i]
            b = scratch[0, i]
            for w in range(1, words):
                shared += bits(inc[w, a] & inc[w, b])
            if shared < needed:
                continue
            simple = _crowd(inc, words, a) == needed + 1 or _crowd(inc, words, b) == needed + 1
            if not simple and _third(inc, words, begin, end, a, b):
                continue
            if count == len(pairs):
                return -1
            pairs[count, 0], pairs[count, 1] = a, b
            count += 1
    return count


@compiled(lean=True)
def _crowd(inc, words, column):
    """How many constraints a generator lies on."""
    crowd = 0
    for w in range(words):
        crowd += bits(inc[w, column])
    return crowd


@compiled(lean=True)
def _third(inc, words, begin, end, a, b):
    """Whether a third ray lies on all the constraints that two rays share."""
    for k in range(begin, end):
        if k in (a, b):
            continue
        held = True
        for w in range(words):
            shared = inc[w, a] & inc[w, b]
            if shared & inc[w, k] != shared:
                held = False
                break
        if held:
            return True
    return False


@compiled(lean=True)
def _on_edges(vec, dev, inc, ids, val, pairs, words, size, lead, base, bit, count, to):
    """The rays in which a row meets edges; the largest bound of their distances from the true ones."""
    worst = 0.0
    for i in range(count):
        a, b = pairs[i]
        combine(vec, dev, size, a, -val[b], b, val[a], lead, base, to)
        worst = max(worst, dev[to])
        for w in range(words):
            inc[w, to] = inc[w, a] & inc[w, b]
        set_bit(inc, to, bit)
        ids[to] = -1
        to += 1
    return worst


@compiled(lean=True, inline=True)
def split(store, planes, words, size, begin, end, lines, lead, base, bit, below, above):
    """Cut a cell by a row whose signs on all generators are known, 0 on lines.

    The wanted parts are stored after the cell, the one below the row first. Returns where each ends, or -1 where the
    store is too small.
    """
    vec, dev, inc, ids, val, sgn = store.vec, store.dev, store.inc, store.ids, store.val, store.sgn
    columns = store.scratch[0]
    first, to = -1, -1
    count = edges(inc, sgn, store.scratch, store.words, store.pairs, words, begin + lines, end, size - 2 - lines)
    if count >= 0 and end + 2 * (end - begin + count) <= vec.shape[1]:
        to = end
        side = -1 if below else 1
        to = _keep(vec, dev, inc, ids, sgn, columns, words, size, begin, end, side, bit, to)
        made = to
        worst = _on_edges(vec, dev, inc, ids, val, store.pairs, words, size, lead, base, bit, count, to)
        if worst > LOOSE and lines == 0:
            for k in range(to, to + count):
                if dev[k] > LOOSE:
                    verify(store, planes, words, size, k)
        to += count
        first = to if below else end
        if below and above:
            to = _keep(vec, dev, inc, ids, sgn, columns, words, size, begin, end, -side, bit, to)
            _copy_block(vec, dev, inc, words, size, made, count, to)
            for i in range(count):
                ids[to + i] = -1
            to += count
    return first, to


@compiled(lean=True)
def split_line(store, words, size, begin, end, lines, pivot, lead, base, bit, below, above):
    """Cut a cell by a row that is not 0 on the line ``pivot``, so that both parts have one line less.

    All other generators move along the line onto the row; the line becomes a ray of each part. The sign of the row
    has to be known on the pivot alone.
    """
    if end + 2 * (end - begin) > store.vec.shape[1]:
        return -1, -1
    rise = store.val[pivot]
    direction = 1.0 if rise > 0 else -1.0
    to = end
    first = end
    for side in range(2):
        if not (above if side else below):
            continue
        outward = direction if side else -direction
        for k in range(begin, end):
            if k == pivot:
                continue
            copy(store.vec, store.dev, store.inc, store.ids, words, size, k, to)
            if store.sgn[k] != 0:
                combine(store.vec, store.dev, size, k, abs(rise), pivot, -direction * store.val[k], lead, base, to)
                store.ids[to] = -1
            set_bit(store.inc, to, bit)
            to += 1
        copy(store.vec, store.dev, store.inc, store.ids, words, size, pivot, to)
        store.ids[to] = -1
        for j in range(size):
            store.vec[j, to] *= outward
        to += 1
        if side == 0:
            first = to
    return first, to
