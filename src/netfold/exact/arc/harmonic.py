"""One harmonic function A cos s + B sin s + C on a piece of an arc, compiled: its values and where it is zero.

On a piece of angle ``width`` such a function is known by three numbers: its values ``a`` and ``b`` at the ends and
``m`` at the control point, where the tangents of the arc at its ends meet. At the share ``lam`` of the angle

    f = a x^2 + 2 w m x y + b y^2,   x = sin((1 - lam) width / 2) / sin(width / 2),
                                     y = sin(lam width / 2) / sin(width / 2),   w = cos(width / 2),

a convex combination (a rational Bezier curve of degree 2): it stays between the smallest and the largest of the
three numbers, the control point of a part of the piece is a convex combination too, and zeros are the positive
roots y / x of a quadratic with the coefficients a, 2 w m, b. All of it keeps its digits however short the piece
is. Pieces are at most a quarter turn.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import compiled

SHORT = 5e-3
"""Angle below which three terms of a series in its square are exact to rounding."""

FIRST, LAST = 1e-300, 1.0 - 2.0**-53
"""The first and the last share inside a piece."""

DECIDED = 8 * float(np.finfo(np.float64).eps)
"""A dip over a knot counts where its discriminant exceeds this times the rounding of its terms."""


WIDE = 16.0
"""How many times its rounding a decision has to be clear by: what is closer is counted as doubtful."""

FAR = 1e-9
"""Angle by which rounding alone may move a zero without a doubt."""


@compiled()
def cosine(width):
    """cos(width / 2), the weight ``w`` of a piece's control point."""
    if width < SHORT:
        square = 0.25 * width * width
        return 1.0 - square * (0.5 - square / 24.0)
    return np.cos(0.5 * width)


@compiled()
def share(lam, width):
    """sin(lam width / 2) / sin(width / 2)."""
    if width < SHORT:
        square, u = 0.25 * width * width, lam * lam
        return lam * (1.0 + square * ((1.0 - u) / 6.0 + square * (7.0 - u * (10.0 - 3.0 * u)) / 360.0))
    return np.sin(0.5 * lam * width) / np.sin(0.5 * width)


@compiled()
def at_point(lam, width):
    """Weights ``p, k`` of the value at ``lam``: a + p (m - a) + k (b - 2 m + a)."""
    x, y = share(1.0 - lam, width), share(lam, width)
    return 2.0 * y * (cosine(width) * x + y), y * y


@compiled()
def at_control(lam, end, width):
    """Weights ``p, k`` of the control point of the part from ``lam`` to ``end``."""
    x, y = share(1.0 - lam, width), share(lam, width)
    u, v = share(1.0 - end, width), share(end, width)
    scale = 1.0 / cosine((end - lam) * width)
    return scale * (cosine(width) * (x * v + y * u) + 2.0 * y * v), scale * y * v


@compiled()
def direction(lam, width):
    """Weights ``p, k`` of the derivative at ``lam`` by the angle, times tan(width / 2)."""
    square = width * width
    if width < SHORT:
        sag, u = square * lam * (1.0 - lam), lam * lam
        k = lam * (1.0 + square * ((1.0 - u) / 6.0 + square * (7.0 - u * (10.0 - 3.0 * u)) / 360.0))
        return 1.0 + sag * (0.5 + (square + sag) / 24.0), k
    return np.cos((0.5 - lam) * width) / np.cos(0.5 * width), np.sin(lam * width) / np.sin(width)


@compiled()
def direction_change(lam, end, width):
    """Weights ``p, k`` of the derivative at ``end`` minus that at ``lam``, times tan(width / 2)."""
    step, rest = end - lam, 1.0 - lam - end
    if width < SHORT:
        square, u, v = width * width, lam * lam, end * end
        sags = square * (lam * (1.0 - lam) + end * (1.0 - end))
        cubic, quintic = u + lam * end + v, u * u + v * v + lam * end * (u + lam * end + v)
        k = 1.0 + square * ((1.0 - cubic) / 6.0 + square * (7.0 - 10.0 * cubic + 3.0 * quintic) / 360.0)
        return square * step * rest * (0.5 + (square + sags) / 24.0), step * k
    half = np.sin(0.5 * step * width)
    p = 2.0 * np.sin(0.5 * rest * width) * half / np.cos(0.5 * width)
    return p, 2.0 * np.cos(0.5 * (lam + end) * width) * half / np.sin(width)


@compiled()
def tangent_share(part, width):
    """tan(part width / 2) / tan(width / 2)."""
    if width < SHORT:
        square, u = 0.25 * width * width, part * part
        return part * (1.0 - square * ((1.0 - u) / 3.0 + square * (1.0 + 5.0 * u - 6.0 * u * u) / 45.0))
    return np.tan(0.5 * part * width) / np.tan(0.5 * width)


@compiled()
def angle_over_tangent(width):
    """width / tan(width / 2)."""
    if width < SHORT:
        square = 0.25 * width * width
        return 2.0 - square * (2.0 / 3.0 + square * 2.0 / 45.0)
    return width / np.tan(0.5 * width)


@compiled()
def above(a, m, b):
    """Whether a function is positive just after the start of its piece; swap ``a`` and ``b`` for its end."""
    return a > 0.0 or (a == 0.0 and (m > 0.0 or (m == 0.0 and b > 0.0)))


@compiled()
def _place(x, y, width):
    """The share ``lam`` at which y / x of the two weights has this ratio, both not negative."""
    if width < SHORT:
        square = 0.25 * width * width
        g = y * (1.0 - square * (1.0 / 6.0 - square / 120.0)) / (x + y * cosine(width))
        turned = square * g * g
        return max(FIRST, min(g * (1.0 - turned * (1.0 / 3.0 - turned / 5.0)), LAST))
    half = 0.5 * width
    return max(FIRST, min(np.arctan2(y * np.sin(half), x + y * np.cos(half)) / half, LAST))


@compiled()
def zeros(a, m, b, size, width):
    """How often a function changes its sign strictly inside its piece, and at which shares: 0, 1 or 2 times.

    ``size`` is the magnitude of the numbers whose differences ``a``, ``m`` and ``b`` are: a dip that is not deeper
    than their rounding is a touch and counts as none. Returns the count, both places (the first twice for one) and
    how close a dip was to not being one, in the unit of the values (infinite without a dip).
    """
    if a < 0.0 or (a == 0.0 and (m < 0.0 or (m == 0.0 and b < 0.0))):
        a, m, b = -a, -m, -b
    if b < 0.0 or (b == 0.0 and m < 0.0):
        lam = _single(a, m, b, width)
        return 1, lam, lam, np.inf
    if not (a > 0.0 and b > 0.0 and m < 0.0):
        return 0, 0.0, 0.0, np.inf
    h = cosine(width) * m
    excess = h * h - a * b
    gap = abs(excess) / (a + b - 2.0 * h)
    if excess <= DECIDED * size * (a + b - 2.0 * h):
        return 0, 0.0, 0.0, gap
    q = np.sqrt(excess) - h
    first = _place(q, a, width)
    return 2, first, max(first, _place(b, q, width)), gap


@compiled()
def steepness(a, m, b, lam, width):
    """How fast a function changes at ``lam``, by the share of its piece."""
    p, k = direction(lam, width)
    step = m - a
    return abs(p * step + k * ((b - m) - step)) * angle_over_tangent(width)


@compiled()
def blur(three, size, scale, lam, width):
    """How far rounding may move a zero at ``lam``; ``size`` as for `zeros`.

    Second, how far the rounding of terms of a size of ``scale`` may.
    """
    slope = steepness(three[0], three[1], three[2], lam, width)
    if slope == 0.0:
        return 0.0, 0.0
    return 0.5 * DECIDED * (1.0 + size / slope), 0.5 * DECIDED * (1.0 + max(size, scale) / slope)


@compiled()
def may_vanish(a, m, b, size, lam, width, reach):
    """Whether rounding, of the function and of a place by ``reach``, leaves open if it is zero at ``lam``."""
    x, y = at_point(lam, width)
    step, slope = m - a, steepness(a, m, b, lam, width)
    return abs(a + x * step + y * ((b - m) - step)) <= WIDE * (reach * slope + 0.5 * DECIDED * (slope + size))


@compiled()
def together(at, blurs, hazes, three, width):
    """Let zeros that rounding cannot tell apart fall on the first of them; ``at`` is sorted.

    ``blurs`` say how far the rounding of a function's own numbers moves its zero, ``hazes`` how far that of the terms
    that make them may; ``three`` holds the numbers, and the knot that they are less. Returns how many zeros of
    different functions were taken for one or nearly so, or for an end of the piece, or are moved too far.
    """
    anchor, doubts = 0, 0
    for i in range(len(at)):
        gap = at[i] - at[anchor]
        doubts += min(at[i], 1.0 - at[i]) <= WIDE * hazes[i] or hazes[i] * width > FAR
        doubts += gap <= WIDE * (hazes[i] + hazes[anchor]) and not _same(three[i], three[anchor])
        if gap <= blurs[i] + blurs[anchor]:
            at[i] = at[anchor]
        else:
            anchor = i
    return doubts


@compiled()
def _same(one, other):
    """Whether two functions are one, up to sign; of two knots the large numbers less them may be equal by rounding."""
    up, down = True, True
    for v in range(4):
        up &= one[v] == other[v]
        down &= one[v] == -other[v]
    return up or down


@compiled()
def _single(a, m, b, width):
    """Where a function that starts positive (or at zero, rising) and ends otherwise is zero."""
    h = cosine(width) * m
    if a == 0.0:
        return _place(-b, 2.0 * h, width)
    if b == 0.0:
        return _place(-2.0 * h, a, width)
    root = np.sqrt(h * h - a * b)
    return _place(-b, h + root, width) if h >= 0.0 else _place(root - h, a, width)
