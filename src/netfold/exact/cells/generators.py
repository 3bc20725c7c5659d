"""Cells as cones given by their lines and rays, compiled: signs of a row on them, and the parts a row cuts them into.

The cell ``{x : a.x + b >= 0, ...}`` is the slice ``t = 1`` of the cone ``{(x, t) : a.x + b t >= 0, ..., t >= 0}``, so
vertices and directions towards infinity are both rays of one cone, and a cell that holds whole lines has lines beside
rays. A row cuts the cone where it takes both signs on these generators (double description method: Motzkin et al.
1953; Fukuda and Prodon 1996). Two rays span an edge of the cone where no other ray lies on all the constraints that
both lie on, which their incidence bits tell.

Every generator ``v`` (of length 1 but for rounding) carries a bound on its distance from the true one, some positive
multiple of the exact generator, and every row a bound on the error of its coefficients. A sign that exceeds the bound
these leave is certain. Bounds that have grown over many cuts are replaced by what the generator's own constraints
prove (`verify`). Generators of a cell are the columns ``begin`` to ``end`` of the store: lines first, then rays.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from netfold.exact.rows import COMPILED, FAST

LEAN, LEAN_FAST = ({**options, "_nrt": False} for options in (COMPILED, FAST))
"""These kernels allocate nothing, so their arrays need no reference counts, which cost more than the arithmetic."""

INLINED = {**LEAN, "inline": "always"}
"""For steps that many arrays pass through: handing them over costs as much as a step."""

U = 2.0**-53
SAFE = 1.0 + 1e-10
"""Covers the rounding of the bounds themselves."""

TINY = 1e-280
"""Covers products that underflow."""

LOOSE = 1e-5
"""Bound of a new ray above which its constraints are asked for a better one."""

OPEN = 2
"""Mark of a sign that float64 does not decide."""


@intrinsic
def _bits(typing_context, word):  # pyright: ignore[reportUnusedParameter]
    """Number of bits set."""

    def build(context, builder, signature, args):  # pyright: ignore[reportUnusedParameter]
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)]), args)

    return types.uint64(types.uint64), build


@njit(**LEAN)
def bits(word):
    """Number of bits set in a 64-bit word."""
    return _bits(word)  # pyright: ignore[reportCallIssue]


@njit(**LEAN)
def set_bit(inc, column, bit):
    """Note that a generator lies on a constraint."""
    inc[bit >> 6, column] |= np.uint64(1) << np.uint64(bit & 63)


@njit(**LEAN)
def has_bit(inc, column, bit):
    """Whether a generator lies on a constraint."""
    return (inc[bit >> 6, column] >> np.uint64(bit & 63)) & np.uint64(1) != 0


@njit(**LEAN_FAST)
def evaluate(vec, begin, end, row, size, val):
    """Values of a row at generators."""
    first = row[0]
    for k in range(begin, end):
        val[k] = first * vec[0, k]
    for j in range(1, size):
        factor = row[j]
        for k in range(begin, end):
            val[k] += factor * vec[j, k]


@njit(**LEAN_FAST)
def signs(begin, end, val, dev, lead, base, sgn):
    """Signs of values, `OPEN` where they are within their bound; how many are positive and negative."""
    positive, negative = 0, 0
    for k in range(begin, end):
        bound = lead * dev[k] + base
        above, below = val[k] > bound, val[k] < -bound
        positive += above
        negative += below
        sgn[k] = OPEN if not (above or below) else (1 if above else -1)
    return positive, negative


@njit(**LEAN)
def tally(begin, end, sgn):
    """How many signs are positive, negative and open."""
    positive, negative, unknown = 0, 0, 0
    for k in range(begin, end):
        positive += sgn[k] == 1
        negative += sgn[k] == -1
        unknown += sgn[k] == OPEN
    return positive, negative, unknown


@njit(**LEAN)
def tight(vec, dev, column, row, size, lead, error):
    """A row's value at one generator, with the bound that the actual entries give."""
    value, sizes = 0.0, 0.0
    for j in range(size):
        product = row[j] * vec[j, column]
        value += product
        sizes += abs(product)
    return value, (lead * dev[column] + size * error + (size + 1) * U * sizes) * SAFE


@njit(**LEAN_FAST)
def combine(vec, dev, size, a, factor_a, b, factor_b, lead, base, to):
    """Store ``x = factor_a a + factor_b b``, the place where a row is 0 between two generators.

    The factors are the row's values at the other generator, up to sign. An error ``e`` of ``a`` moves ``x`` by
    ``(h.e) b - (h.b) e``. What moves it along itself does not matter, as generators are known up to a factor; across
    it, ``b`` reaches no farther than ``|factor_a| |a - b| / |x|``. So bounds do not grow as cells get small.
    """
    length, gap = 0.0, 0.0
    for j in range(size):
        p, q = vec[j, a], vec[j, b]
        x = factor_a * p + factor_b * q
        vec[j, to] = x
        length += x * x
        gap += (p - q) * (p - q)
    length = np.sqrt(length)
    if not length > 1e-140:
        dev[to] = np.inf
        return
    scale = 1.0 / length
    for j in range(size):
        vec[j, to] *= scale
    size_a, size_b = abs(factor_a), abs(factor_b)
    own = size_a * dev[a] + size_b * dev[b]
    rest = own + 2 * lead * dev[a] * dev[b] + 3 * U * (size_a + size_b)
    across = (np.sqrt(gap) + 8 * U) * scale * (lead * own + 2 * base * (size_a + size_b)) + rest
    along = lead * (dev[a] + dev[b]) + 4 * base + rest
    error = across / (length - along) if along < 0.5 * length else along * scale
    dev[to] = (error + 3 * U) * SAFE


@njit(**LEAN)
def copy(vec, dev, inc, ids, words, size, source, to):
    """Copy a generator with all that belongs to it."""
    for j in range(size):
        vec[j, to] = vec[j, source]
    for w in range(words):
        inc[w, to] = inc[w, source]
    dev[to] = dev[source]
    ids[to] = ids[source]


@njit(**LEAN)
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


@njit(**LEAN)
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


@njit(**LEAN)
def _edges(inc, sgn, scratch, first_words, pairs, words, begin, end, needed):
    """The pairs of a positive and a negative ray that span an edge, as columns; their number, or -1 if too many.

    Rays of a simple cone lie on ``needed + 1`` independent constraints; a ray with just as many shares an edge with
    every ray with which it shares ``needed`` of them. Other pairs are told by the third rays on what they share.
    """
    count, below = 0, 0
    for k in range(begin, end):
        if sgn[k] == -1:
            scratch[0, below] = k
            below += 1
        crowd = 0
        for w in range(words):
            crowd += bits(inc[w, k])
        scratch[1, k - begin] = crowd
    for i in range(below):
        first_words[i] = inc[0, scratch[0, i]]
    for a in range(begin, end):
        if sgn[a] != 1:
            continue
        word = inc[0, a]
        simple = scratch[1, a - begin] == needed + 1
        for i in range(below):
            scratch[2, i] = bits(word & first_words[i])
        for i in range(below):
            shared = scratch[2, i]
            b = scratch[0, i]
            for w in range(1, words):
                shared += bits(inc[w, a] & inc[w, b])
            if shared < needed:
                continue
            if not simple and scratch[1, b - begin] != needed + 1 and _third(inc, words, begin, end, a, b):
                continue
            if count == len(pairs):
                return -1
            pairs[count, 0], pairs[count, 1] = a, b
            count += 1
    return count


@njit(**LEAN)
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


@njit(**LEAN)
def verify(store, planes, words, size, column):
    """Find a ray again from the constraints that it lies on, with a bound that these prove.

    Of the rows of its constraints and the ray itself, as a normalisation, an approximate inverse R is taken: where
    ``|I - R B| < 1``, the solution of ``B v = (0, ..., 0, 1)`` is within ``|R| |residual| / (1 - |I - R B|)`` (Rump,
    Acta Numerica 2010). Nothing changes where that is no better than the bound the ray has.
    """
    if not store.dev[column] < 0.5:
        return
    b, r = store.square, store.inverse
    count = 0
    for w in range(words):
        word = store.inc[w, column]
        while word != 0:
            low = word & (~word + np.uint64(1))
            c = 64 * w + np.int64(bits(low - np.uint64(1)))
            word ^= low
            if count == size - 1:
                return
            for j in range(size + 1):
                b[count, j] = planes[c, j]
            count += 1
    if count < size - 1:
        return
    for j in range(size):
        b[count, j] = store.vec[j, column]
    b[count, size] = 0.0
    if not _inverted(b, r, store.scratch_square, size):
        return
    defect, largest = 0.0, 0.0
    for i in range(size):
        off, total, sizes, rows = 0.0, 0.0, 0.0, 0.0
        for k in range(size):
            x, y = 0.0, 0.0
            for j in range(size):
                x += r[i, j] * b[j, k]
                y += abs(r[i, j] * b[j, k])
            off += abs(x - (1.0 if i == k else 0.0))
            sizes += y
        for j in range(size):
            rows += abs(r[i, j]) * b[j, size]
        total = off + (size + 2) * U * sizes + size * rows
        defect = max(defect, total)
    if not defect < 0.5:
        return
    last = size - 1
    for j in range(size):
        residual, sizes, length = 0.0, 0.0, 0.0
        for k in range(size):
            x = b[j, k] * r[k, last]
            residual += x
            sizes += abs(x)
            length += abs(r[k, last])
        if j == last:
            residual -= 1.0
        store.residual[j] = abs(residual) + (size + 3) * U * (sizes + 1.0) + b[j, size] * length
    error2 = 0.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += abs(r[i, j]) * store.residual[j]
        largest = max(largest, total)
    largest /= 1.0 - defect
    error2 = largest * np.sqrt(float(size))
    length = 0.0
    for j in range(size):
        length += r[j, last] * r[j, last]
    scale = 1.0 / np.sqrt(length)
    bound = (error2 * scale + 3 * U) * SAFE
    if bound < store.dev[column]:
        store.dev[column] = bound
        for j in range(size):
            store.vec[j, column] = r[j, last] * scale


@njit(**LEAN)
def _inverted(b, r, a, size):
    """Approximate inverse by Gauss-Jordan elimination with row pivots; whether there is one."""
    for i in range(size):
        for j in range(size):
            a[i, j] = b[i, j]
            r[i, j] = 1.0 if i == j else 0.0
    for c in range(size):
        p = c
        for i in range(c + 1, size):
            if abs(a[i, c]) > abs(a[p, c]):
                p = i
        if not abs(a[p, c]) > 0.0:
            return False
        if p != c:
            for j in range(size):
                a[c, j], a[p, j] = a[p, j], a[c, j]
                r[c, j], r[p, j] = r[p, j], r[c, j]
        scale = 1.0 / a[c, c]
        for j in range(size):
            a[c, j] *= scale
            r[c, j] *= scale
        for i in range(size):
            factor = a[i, c]
            if i != c and factor != 0.0:
                for j in range(size):
                    a[i, j] -= factor * a[c, j]
                    r[i, j] -= factor * r[c, j]
    return True


@njit(**LEAN)
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


@njit(**INLINED)
def split(store, planes, words, size, begin, end, lines, lead, base, bit, below, above):
    """Cut a cell by a row whose signs on all generators are known, 0 on lines.

    The wanted parts are stored after the cell, the one below the row first. Returns where each ends, or -1 where the
    store is too small.
    """
    vec, dev, inc, ids, val, sgn = store.vec, store.dev, store.inc, store.ids, store.val, store.sgn
    columns = store.scratch[0]
    first, to = -1, -1
    count = _edges(inc, sgn, store.scratch, store.words, store.pairs, words, begin + lines, end, size - 2 - lines)
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
            to = _keep(vec, dev, inc, ids, sgn, columns, words, size, begin, end, 1, bit, to)
            _copy_block(vec, dev, inc, words, size, made, count, to)
            for i in range(count):
                ids[to + i] = -1
            to += count
    return first, to


@njit(**LEAN)
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
