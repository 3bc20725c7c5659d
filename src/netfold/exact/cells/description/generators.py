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
from numba import types
from numba.extending import intrinsic

from netfold.exact.numerics.compiled import FAST, compiled

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


@compiled(lean=True)
def bits(word):
    """Number of bits set in a 64-bit word."""
    return _bits(word)  # pyright: ignore[reportCallIssue]


@compiled(lean=True)
def set_bit(inc, column, bit):
    """Note that a generator lies on a constraint."""
    inc[bit >> 6, column] |= np.uint64(1) << np.uint64(bit & 63)


@compiled(lean=True)
def has_bit(inc, column, bit):
    """Whether a generator lies on a constraint."""
    return (inc[bit >> 6, column] >> np.uint64(bit & 63)) & np.uint64(1) != 0


@compiled(FAST, lean=True)
def evaluate(vec, begin, end, row, size, val):
    """Values of a row at generators."""
    first = row[0]
    for k in range(begin, end):
        val[k] = first * vec[0, k]
    for j in range(1, size):
        factor = row[j]
        for k in range(begin, end):
            val[k] += factor * vec[j, k]


@compiled(FAST, lean=True)
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


@compiled(lean=True)
def tally(begin, end, sgn):
    """How many signs are positive, negative and open."""
    positive, negative, unknown = 0, 0, 0
    for k in range(begin, end):
        positive += sgn[k] == 1
        negative += sgn[k] == -1
        unknown += sgn[k] == OPEN
    return positive, negative, unknown


@compiled(lean=True)
def tight(vec, dev, column, row, size, lead, error):
    """A row's value at one generator, with the bound that the actual entries give."""
    value, sizes = 0.0, 0.0
    for j in range(size):
        product = row[j] * vec[j, column]
        value += product
        sizes += abs(product)
    return value, (lead * dev[column] + size * error + (size + 1) * U * sizes) * SAFE


@compiled(FAST, lean=True)
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
