"""Length of a piece of an elliptic arc, compiled: an incomplete elliptic integral of the second kind.

The image of a piece moves with the velocity f' = (p sin((1 - lam) width) + q sin(lam width)) / (tan(width / 2)
sin(width)), where ``p`` and ``q`` lead from its start to its control point and from there to its end. Its speed is
the square root of a quadratic form in sine and cosine, known by |p|^2, p.g and |g|^2 with g = q - p.

Where the speed is analytic far around the piece, Gauss-Legendre with a proven number of nodes is exact to rounding;
elsewhere the integral is taken from the angle of smallest speed, where all terms of its closed form in Carlson's
symmetric integrals are positive, so that nothing cancels.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.arc.harmonic import angle_over_tangent, direction
from netfold.exact.numerics.compiled import compiled

ORDERS = np.array([2, 3, 4, 6, 8, 12, 16, 24])
"""Numbers of nodes of the Gauss-Legendre rules."""

REACH = np.array([1.8e4, 690.0, 134.0, 26.2, 11.6, 5.13, 3.41, 2.27])
"""For each rule the Bernstein ellipse in which an integrand must be analytic: reach^(-2 nodes) is below 1e-17."""


def _legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1], one row a rule."""
    nodes, weights = np.zeros((len(ORDERS), ORDERS[-1])), np.zeros((len(ORDERS), ORDERS[-1]))
    for i, n in enumerate(ORDERS):
        x, w = np.polynomial.legendre.leggauss(n)
        nodes[i, :n], weights[i, :n] = (x + 1) / 2, w / 2
    return nodes, weights


NODES, WEIGHTS = _legendre()


@compiled()
def rule(reach):
    """The smallest Gauss-Legendre rule for integrands analytic this far around the piece; -1 if none will do."""
    for i in range(len(REACH)):
        if reach >= REACH[i]:
            return i
    return -1


@compiled()
def carlson_f(x, y, z):
    """Carlson's R_F(x, y, z): half the integral of ((t + x)(t + y)(t + z))^(-1/2) over t > 0 (Carlson 1995)."""
    mean = (x + y + z) / 3.0
    scale = max(abs(mean - x), abs(mean - y), abs(mean - z)) / 2e-3
    a, u, v = mean, x, y
    while scale > abs(a):
        shift = np.sqrt(u * v) + np.sqrt(v * z) + np.sqrt(z * u)
        a, u, v, z = 0.25 * (a + shift), 0.25 * (u + shift), 0.25 * (v + shift), 0.25 * (z + shift)
        scale *= 0.25
    dx, dy = 1.0 - u / a, 1.0 - v / a
    dz = -dx - dy
    e2, e3 = dx * dy - dz * dz, dx * dy * dz
    series = 1.0 - e2 / 10.0 + e3 / 14.0 + e2 * e2 / 24.0 - 3.0 * e2 * e3 / 44.0
    return series / np.sqrt(a)


@compiled()
def carlson_d(x, y, z):
    """Carlson's R_D(x, y, z): 3/2 times the integral of ((t + x)(t + y)(t + z)^3)^(-1/2) over t > 0."""
    mean = (x + y + 3.0 * z) / 5.0
    scale = max(abs(mean - x), abs(mean - y), abs(mean - z)) / 2e-3
    a, u, v, power, tail = mean, x, y, 1.0, 0.0
    while scale > abs(a):
        root = np.sqrt(z)
        shift = np.sqrt(u * v) + root * (np.sqrt(u) + np.sqrt(v))
        tail += power / (root * (z + shift))
        a, u, v, z = 0.25 * (a + shift), 0.25 * (u + shift), 0.25 * (v + shift), 0.25 * (z + shift)
        power *= 0.25
        scale *= 0.25
    dx, dy = 1.0 - u / a, 1.0 - v / a
    dz = -(dx + dy) / 3.0
    xy, zz = dx * dy, dz * dz
    e2, e3 = xy - 6.0 * zz, (3.0 * xy - 8.0 * zz) * dz
    e4, e5 = 3.0 * (xy - zz) * zz, xy * zz * dz
    series = 1.0 - 3.0 * e2 / 14.0 + e3 / 6.0 + 9.0 * e2 * e2 / 88.0 - 3.0 * e4 / 22.0
    series += -9.0 * e2 * e3 / 52.0 + 3.0 * e5 / 26.0
    return 3.0 * tail + power * series / (a * np.sqrt(a))


@compiled()
def from_slowest(y, k):
    """Integral of sqrt(sin^2 + k^2 cos^2) from 0 to ``y`` in [0, pi], for 0 <= k <= 1.

    It is k E(y, m) with the negative parameter m = 1 - 1 / k^2.
    """
    if y > 0.5 * np.pi:
        return 2.0 * from_slowest(0.5 * np.pi, k) - from_slowest(np.pi - y, k)
    s, c = np.sin(y), np.cos(y)
    square = k * k
    if square < 1e-120:
        return 2.0 * np.sin(0.5 * y) ** 2
    speed2 = square * c * c + s * s
    first = carlson_f(square * c * c, speed2, square)
    second = carlson_d(square * c * c, speed2, square)
    return square * s * (first + (1.0 - square) / 3.0 * s * s * second)


@compiled()
def length_rule(pp, pg, gg, width):
    """The Gauss-Legendre rule for the length of a piece; -1 if its speed is nearly zero too close.

    The complex zero of the speed has the modulus ``zero``, in halves of the piece from its middle, by the tangent of
    half an angle; |angle| >= arctan|tangent| >= |tangent| / (1 + |tangent|) bounds it as an angle.
    """
    qq = max(pp + 2.0 * pg + gg, 0.0)
    zero = np.sqrt(max(2.0 * (pp + qq) / gg - 1.0, 0.0)) if gg > 0.0 else np.inf
    half = 0.5 * width
    clear = 1.0 / (1.0 / zero + half * (1.0 + half * half))
    return rule(clear + np.sqrt(clear * clear - 1.0)) if clear > 1.0 else -1


@compiled()
def piece_length(pp, pg, gg, width):
    """Length of a piece of angle ``width`` (at most a quarter turn), from |p|^2, p.g and |g|^2."""
    if pp == 0.0 and gg == 0.0:
        return 0.0
    i = length_rule(pp, pg, gg, width)
    if i < 0:
        return _closed_form(pp, pg, gg, width)
    total = 0.0
    for n in range(ORDERS[i]):
        p, g = direction(NODES[i, n], width)
        total += WEIGHTS[i, n] * np.sqrt(max(p * p * pp + 2.0 * p * g * pg + g * g * gg, 0.0))
    return total * angle_over_tangent(width)


@compiled()
def _closed_form(pp, pg, gg, width):
    """The length by the distance of the piece from the angle of smallest speed.

    Around the middle of the piece the velocity is u cos y + v sin y; its speed is largest (``most``) at one y and
    smallest (``k`` times as large) a quarter turn away.
    """
    s, c = np.sin(0.5 * width), np.cos(0.5 * width)
    uu = max(pp + pg + 0.25 * gg, 0.0) / (c * c)
    uv = (pg + 0.5 * gg) / (2.0 * s * c)
    vv = 0.25 * gg / (s * s)
    half = 0.5 * (uu - vv)
    most2 = 0.5 * (uu + vv) + np.sqrt(half * half + uv * uv)
    k = min(np.sqrt(max(uu * vv - uv * uv, 0.0)) / most2, 1.0)
    middle = abs(0.5 * np.arctan2(-uv, -half))
    low, high = middle - 0.5 * width, middle + 0.5 * width
    before = from_slowest(low, k) if low >= 0.0 else -from_slowest(-low, k)
    return np.sqrt(most2) * (from_slowest(high, k) - before) * c / s
