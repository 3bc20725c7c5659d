"""Length, angular length and turning of an image over panels, with error estimates, compiled.

Length integrates |v|, angular length the speed of z / |z| and turning the speed of v / |v| (curvature times |v|),
for values z and velocities v at the nodes of every panel. Accelerations are the derivatives of the polynomial through
the velocities of the panel. The error of a Kronrod rule is estimated from its Gauss rule, as in QUADPACK.

Directions jump at cusps, where the image stops and turns back, and no quadrature sees that. But the angles between
neighbouring nodes never add up to more than the whole: where they exceed the integral, that much is error, and in short
panels they stand for it. Likewise an image of one feature has a speed with a kink where it turns back: there its length
is the way up and down of the cubics through its nodes, if that is known better.

An image that jumps has no speed there, but it moves further than the integral of its velocity: that gap is error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netfold.exact.numerics.compiled import FAST, compiled
from netfold.sampled.cubic import extremes, value
from netfold.sampled.rule import COARSE_SLOPES, GAUSS, KRONROD, NODES, SLOPES

LENGTH, ANGLE, TURN, MEASURES = range(4)

EPS = np.finfo(np.float64).eps

SHORT = 2.0**-20
"""In panels shorter than this an angle that exceeds the integral of its speed is a jump."""

JUMP = 1e-10
"""Share of an image's size above which a gap at the boundary of two panels is a jump."""


def rounding(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors of a panel's measures that refinement cannot reduce."""
    floor = 100.0 * EPS * values
    floor[..., 1:] += 1e-13
    return floor


@compiled()
def _quadrature(fine, coarse, width):
    """Integral over a panel and its error from values at the Kronrod and at the Gauss nodes (Piessens et al. 1983)."""
    total = width * (KRONROD * fine).sum()
    gap = abs(total - width * (GAUSS * coarse).sum())
    spread = width * (KRONROD * np.abs(fine - total / width)).sum()
    error = min(spread, spread * (200.0 * gap / spread) ** 1.5) if spread > 0.0 and gap > 0.0 else gap
    return total, max(error, 50.0 * EPS * total)


@compiled(FAST)
def _across(x, y):
    """Length of y perpendicular to x, over the length of x; 0 where x is."""
    xx, xy = 0.0, 0.0
    for u in range(len(x)):
        xx += x[u] * x[u]
        xy += x[u] * y[u]
    if xx == 0.0:
        return 0.0
    share, rest = xy / xx, 0.0
    for u in range(len(x)):
        gap = y[u] - share * x[u]
        rest += gap * gap
    return np.sqrt(rest / xx)


@compiled(FAST)
def angle(x, y):
    """Angle between two vectors; 0 where either is 0."""
    xx, yy = 0.0, 0.0
    for u in range(len(x)):
        xx += x[u] * x[u]
        yy += y[u] * y[u]
    if xx == 0.0 or yy == 0.0:
        return 0.0
    one, two, gap = 1.0 / np.sqrt(xx), 1.0 / np.sqrt(yy), 0.0
    for u in range(len(x)):
        step = one * x[u] - two * y[u]
        gap += step * step
    return 2.0 * np.arcsin(min(1.0, 0.5 * np.sqrt(gap)))


@compiled()
def _walked(x, every):
    """Angles from node to node added up, nodes at which ``x`` is 0 left out."""
    total, last = 0.0, -1
    for i in range(0, len(NODES), every):
        if not x[i].any():
            continue
        if last >= 0:
            total += angle(x[last], x[i])
        last = i
    return total


@compiled()
def _angle(x, fine, coarse, width):
    """An angle by quadrature of its speed; from node to node where directions jump."""
    total, error = _quadrature(fine, coarse, width)
    steps = _walked(x, 1)
    if x.shape[1] == 1 or (width < SHORT and steps > total):
        return steps, max(abs(steps - _walked(x, 2)), 50.0 * EPS * steps)
    return total, max(error, steps - total)


@compiled()
def _variation(z, v, t):
    """Way up and down of the cubics through the nodes, for an image of one feature, and its error.

    Where it does not turn back the way is right; around a turn it is as far off as the cubic.
    """
    total, error = 0.0, 0.0
    for i in range(len(t) - 1):
        step = t[i + 1] - t[i]
        a, da, b, db = z[i, 0], step * v[i, 0], z[i + 1, 0], step * v[i + 1, 0]
        one, two = extremes(a, da, b, db)
        last = a
        for s in (one, two):
            if s > 0.0:
                turn = value(a, da, b, db, s)
                total += abs(turn - last)
                last = turn
        total += abs(b - last)
        if one > 0.0:
            k = i - i % 2
            wide = t[k + 2] - t[k]
            middle = value(z[k, 0], wide * v[k, 0], z[k + 2, 0], wide * v[k + 2, 0], (t[k + 1] - t[k]) / wide)
            error += 2.0 * abs(middle - z[k + 1, 0])
    return total, max(error, 50.0 * EPS * total) + 16.0 * EPS * np.abs(z).max()


@compiled(FAST)
def _unexplained(z, v, width, inside):
    """How far the integral of the velocity misses the way from a panel's start to its end."""
    gap2, size2 = 0.0, 0.0
    for u in range(z.shape[1]):
        way = 0.0
        for i in range(len(KRONROD)):
            way += KRONROD[i] * v[i + 1, u]
        gap = width * way - (z[-1, u] - z[0, u]) - inside * (v[0, u] + v[-1, u])
        gap2 += gap * gap
        size2 += z[0, u] * z[0, u] + z[-1, u] * z[-1, u]
    return max(np.sqrt(gap2) - 16.0 * EPS * np.sqrt(size2), 0.0)


@compiled()
def _length(z, v, t, width, inside, speed):
    """Length of an image over a panel, and its error, which is at least the way that the velocity misses."""
    length, error = _quadrature(speed, speed[1::2], width)
    if z.shape[1] == 1:
        way, doubt = _variation(z, v, t)
        if doubt < error:
            length, error = way + inside * (abs(v[0, 0]) + abs(v[-1, 0])), doubt
    return length, max(error, _unexplained(z, v, width, inside))


@compiled()
def panels(begin, end, z, v, t, width, values, doubts):
    """Measure panels ``begin`` to ``end``: ``z`` and ``v`` are ``(panels, nodes, features)`` at parameters ``t``."""
    inner = len(NODES) - 2
    speed, spin, bend, coarse = np.empty(inner), np.empty(inner), np.empty(inner), np.empty(len(GAUSS))
    for p in range(begin, end):
        w = width[p]
        inside = 0.5 * (w - (t[p, -1] - t[p, 0]))
        acceleration = SLOPES @ v[p, 1:-1]
        for i in range(inner):
            speed[i] = np.sqrt((v[p, i + 1] * v[p, i + 1]).sum())
            spin[i] = _across(z[p, i + 1], v[p, i + 1])
            bend[i] = _across(v[p, i + 1], acceleration[i]) / w
        values[p, LENGTH], doubts[p, LENGTH] = _length(z[p], v[p], t[p], w, inside, speed)
        values[p, ANGLE], doubts[p, ANGLE] = _angle(z[p], spin, spin[1::2], w)
        acceleration = COARSE_SLOPES @ v[p, 2:-1:2].copy()
        for i in range(len(GAUSS)):
            coarse[i] = _across(v[p, 2 * i + 2], acceleration[i]) / w
        values[p, TURN], doubts[p, TURN] = _angle(v[p], bend, coarse, w)


@compiled()
def corners(left_z, left_v, right_z, right_v, apart, angles, turns, jumps):
    """Angles at the boundaries of panels between the limits from both sides, and jumps.

    The limits are taken at parameters ``apart`` from each other; a jump is what their velocities do not bridge.
    """
    for b in range(len(left_z)):
        angles[b] = angle(left_z[b], right_z[b])
        turns[b] = angle(left_v[b], right_v[b])
        gap2, size2 = 0.0, 0.0
        for u in range(left_z.shape[1]):
            bridge = 0.5 * apart[b] * (left_v[b, u] + right_v[b, u])
            gap2 += (right_z[b, u] - left_z[b, u] - bridge) ** 2
            size2 += right_z[b, u] ** 2 + bridge**2
        gap = np.sqrt(gap2)
        jumps[b] = gap if gap > JUMP * np.sqrt(size2) else 0.0
