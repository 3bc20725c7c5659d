"""What the cubic through two neighbouring nodes says about zeros between them, compiled.

A cubic is given by its value ``a`` and derivative ``da`` at 0 and ``b``, ``db`` at 1 (Hermite's form).
"""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import compiled
from netfold.sampled.rule import NODES

CLEAR, CROSSED, DOUBTFUL = 0, 1, 2
"""No zero between the nodes; exactly one; or the nodes are too far apart to tell."""

STEP = np.diff(NODES)
WIDE = NODES[2::2] - NODES[:-2:2]
MIDDLE = STEP[::2] / WIDE
LEFT_TRUST = 4 * (STEP[::2] / STEP[1::2]) ** 2 / 16
RIGHT_TRUST = 4 * (STEP[1::2] / STEP[::2]) ** 2 / 16
"""A cubic's error is c s^2 (1 - s)^2 of its interval's fourth power: found at the middle node, it gives the largest
error on either half, here four times that."""


@compiled()
def value(a, da, b, db, s):
    """The cubic at ``s``."""
    r = 1.0 - s
    return r * r * ((1.0 + 2.0 * s) * a + s * da) + s * s * ((1.0 + 2.0 * r) * b - r * db)


@compiled()
def extremes(a, da, b, db):
    """Where the cubic turns inside (0, 1), in order; -1 stands for none."""
    second, first = 3.0 * (da + db - 2.0 * (b - a)), 6.0 * (b - a) - 4.0 * da - 2.0 * db
    if first * first < 4.0 * second * da:
        return -1.0, -1.0
    root = np.sqrt(first * first - 4.0 * second * da)
    half = -0.5 * (first + (root if first >= 0.0 else -root))
    one = da / half if half != 0.0 else -1.0
    two = half / second if second != 0.0 else -1.0
    low, high = min(one, two), max(one, two)
    low = low if 0.0 < low < 1.0 else -1.0
    high = high if 0.0 < high < 1.0 and high != low else -1.0
    return (low, high) if low > 0.0 else (high, -1.0)


@compiled()
def _same_side(a, da, b, db, error, tiny):
    """Both ends are positive: is the function positive between them? With its lowest turning point."""
    one, two = extremes(a, da, b, db)
    low = np.inf
    if one > 0.0:
        low = value(a, da, b, db, one)
    if two > 0.0:
        low = min(low, value(a, da, b, db, two))
    ends = (a > error or da > 16.0 * error) and (b > error or -db > 16.0 * error)
    if (ends and low > error) or (error <= tiny and low >= -tiny):
        return CLEAR, low
    return DOUBTFUL, low


@compiled()
def _opposite_sides(a, da, b, db, error, tiny):
    """From negative to positive: is there exactly one zero between?"""
    if error <= tiny:
        return CROSSED
    if (-a <= error and da <= 3.0 * error) or (b <= error and db <= 3.0 * error):
        return DOUBTFUL
    one, two = extremes(a, da, b, db)
    if one < 0.0:
        bend = 6.0 * (da + db - 2.0 * (b - a))
        flat = -(6.0 * (b - a) - 4.0 * da - 2.0 * db) / bend if bend != 0.0 else 0.5
        flat = min(max(flat, 0.0), 1.0)
        return CROSSED if abs(value(a, da, b, db, flat)) > 2.0 * error else DOUBTFUL
    first = value(a, da, b, db, one)
    second = value(a, da, b, db, two) if two > 0.0 else first
    same = (first > error and second > error) or (first < -error and second < -error)
    return CROSSED if same else DOUBTFUL


@compiled()
def judge(a, da, b, db, above_a, above_b, error, tiny):
    """Zeros between two nodes of a function that is on the given sides there, and how near to 0 it turns.

    The function stays within ``error`` of its cubic; values up to ``tiny`` are rounding. A function that turns
    within rounding of 0 touches it: that is no zero. Near an end the cubic's error falls with the square of the
    distance to it, so a slope above 16 errors (16 s^2 (1 - s)^2 is its shape) keeps the function off 0 there.
    """
    if above_a == above_b:
        if not above_a:
            a, da, b, db = -a, -da, -b, -db
        if a > error and b > error and a + da / 3.0 > error and b - db / 3.0 > error and (da > 0.0 or db < 0.0):
            return CLEAR, np.inf
        return _same_side(a, da, b, db, error, tiny)
    if above_a:
        a, da, b, db = -a, -da, -b, -db
    if da > 3.0 * error and db > 3.0 * error and (b - a) - (da + db) / 3.0 > error:
        return CROSSED, np.inf
    return _opposite_sides(a, da, b, db, error, tiny), np.inf


@compiled()
def root(a, da, b, db):
    """A zero of the cubic between ends of opposite signs: Newton's steps kept inside a shrinking bracket."""
    low, high = 0.0, 1.0
    s = a / (a - b) if a != b else 0.5
    for _ in range(60):
        here = value(a, da, b, db, s)
        if here == 0.0:
            break
        if (here > 0.0) == (b > a):
            high = s
        else:
            low = s
        slope = da + s * (6.0 * (b - a) - 4.0 * da - 2.0 * db + 3.0 * s * (da + db - 2.0 * (b - a)))
        step = s - here / slope if slope != 0.0 else -1.0
        last = s
        s = step if low < step < high else 0.5 * (low + high)
        if abs(s - last) < 1e-17:
            break
    return s


@compiled()
def positive_until(a, da, b, db, s, error):
    """Whether the cubic's Bernstein coefficients on [0, s] all exceed ``error`` (de Casteljau)."""
    c1, c2 = a + da / 3.0, b - db / 3.0
    d1, d2, d3 = a + s * (c1 - a), c1 + s * (c2 - c1), c2 + s * (b - c2)
    e1, e2 = d1 + s * (d2 - d1), d2 + s * (d3 - d2)
    return a > error and d1 > error and e1 > error and e1 + s * (e2 - e1) > error


@compiled()
def errors(a, da, m, dm, b, db, j):
    """Error of the cubics on both halves of every second interval, from values at its ends and middle.

    Derivatives are per panel; ``j`` numbers these intervals. The derivative's error at the middle stands
    for odd terms, which vanish in the value.
    """
    wide, s = WIDE[j], MIDDLE[j]
    r = 1.0 - s
    da, db = wide * da, wide * db
    gap = abs(r * r * ((1.0 + 2.0 * s) * a + s * da) + s * s * ((1.0 + 2.0 * r) * b - r * db) - m)
    slope = da + s * (6.0 * (b - a) - 4.0 * da - 2.0 * db + 3.0 * s * (da + db - 2.0 * (b - a)))
    bend = abs(slope / wide - dm) / 8.0
    return LEFT_TRUST[j] * gap + STEP[2 * j] * bend, RIGHT_TRUST[j] * gap + STEP[2 * j + 1] * bend
