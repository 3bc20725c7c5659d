"""Numbers as unevaluated sums of two float64: about 106 binary digits, from float64 operations alone.

The functions work on arrays, and compiled on numbers. A product or a sum of two such numbers is off by less than
2^-102 of its size (Joldes, Muller and Popescu 2017); infinities and numbers above 2^990 are left out.
"""

from __future__ import annotations

from typing import Any

from netfold.exact.numerics.compiled import compiled


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The rounded sum and what rounding left out."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """The rounded product and what rounding left out (Dekker 1971)."""
    p = a * b
    u, v = 134217729.0 * a, 134217729.0 * b
    a1, b1 = u - (u - a), v - (v - b)
    a2, b2 = a - a1, b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def add(a: Any, a_low: Any, b: Any, b_low: Any) -> tuple[Any, Any]:
    """The sum of two numbers."""
    s, e = two_sum(a, b)
    f, g = two_sum(a_low, b_low)
    s, e = two_sum(s, e + f)
    return two_sum(s, e + g)


def multiply(a: Any, a_low: Any, b: Any, b_low: Any) -> tuple[Any, Any]:
    """The product of two numbers."""
    p, e = two_product(a, b)
    return two_sum(p, e + (a * b_low + a_low * b))


_two_sum = compiled(inline=True)(two_sum)
_two_product = compiled(inline=True)(two_product)


@compiled()
def compiled_add(a, a_low, b, b_low):
    """`add`, compiled."""
    s, e = _two_sum(a, b)
    f, g = _two_sum(a_low, b_low)
    s, e = _two_sum(s, e + f)
    return _two_sum(s, e + g)


@compiled()
def compiled_multiply(a, a_low, b, b_low):
    """`multiply`, compiled."""
    p, e = _two_product(a, b)
    return _two_sum(p, e + (a * b_low + a_low * b))


@compiled()
def matrix_product(begin, entry, near, rest, high, low, out_high, out_low):
    """Add a sparse matrix (its rows begin at ``begin``) times every row of values to what ``out`` holds.

    Summands are added with their errors as in `add`; ``rest`` may be empty.
    """
    for r in range(len(high)):
        for i in range(len(begin) - 1):
            s, e = out_high[r, i], out_low[r, i]
            for k in range(begin[i], begin[i + 1]):
                x, x_low = high[r, entry[k]], low[r, entry[k]]
                p, p_low = _two_product(near[k], x)
                p_low += near[k] * x_low
                if len(rest) > 0:
                    p_low += rest[k] * x
                s, f = _two_sum(s, p)
                e, g = _two_sum(e, p_low)
                s, f = _two_sum(s, f + e)
                s, e = _two_sum(s, f + g)
            out_high[r, i], out_low[r, i] = s, e
