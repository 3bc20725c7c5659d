"""A piece of an elliptic arc seen from the origin, compiled: its angle on the unit sphere, and how far it turns.

A piece starts at ``z`` and is led by ``p`` to its control point and by p + g from there to its end. It is known by
its Gram numbers, by row of ``gram``: the products of z, p and g, and what is left of p and g perpendicular to z,
and of g perpendicular to p (kept apart, because a difference of products has no digits where vectors are nearly
parallel, nor a sum where they nearly cancel).
"""

from __future__ import annotations

import numpy as np

from netfold.exact.arc.elliptic import NODES, ORDERS, WEIGHTS, length_rule, piece_length, rule
from netfold.exact.arc.harmonic import angle_over_tangent, at_point, direction
from netfold.exact.numerics.compiled import compiled

ZZ, ZP, ZG, PP, PG, GG, P_OFF_Z2, PG_OFF_Z, G_OFF_Z2, G_OFF_P2, QQ, PQ, GRAM = range(13)
"""Gram numbers: products of z, p and g; then |p|^2, p.g and |g|^2 off z's direction and |g|^2 off p's; then |q|^2 and
p.q with q = p + g."""

STILL = (64.0 * float(np.finfo(np.float64).eps)) ** 2
"""A vector whose square is below this share of |z|^2 is rounding: the image stands still there."""

STRAIGHT = 1e-24
"""Share of a squared vector below which its part off a direction is rounding."""

PARTS = 4096
"""Most parts in which an adaptive rule looks at one piece: where rounding is all there is, no number of them helps."""

SIMPLE = 4
"""The largest rule (by number) that the angle takes without an error estimate."""


def _kronrod() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 7-point Gauss and 15-point Kronrod rule on [0, 1] (Kronrod 1965; QUADPACK's qk15)."""
    half = [0.991455371120812639206854697526329, 0.949107912342758524526189684047851,
            0.864864423359769072789712788640926, 0.741531185599394439863864773280788,
            0.586087235467691130294144691693013, 0.405845151377397166906606412076961,
            0.207784955007898467600689403773245]  # fmt: skip
    kronrod = [0.022935322010529224963732008058970, 0.063092092629978553290700663189204,
               0.104790010322250183839876322541518, 0.140653259715525918745189590510238,
               0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
               0.204432940075298892414161999234649, 0.209482141084727828012999174891714]  # fmt: skip
    gauss = [0.0, 0.129484966168869693270611432679082, 0.0, 0.279705391489276667901467771423780, 0.0,
             0.381830050505118944950369775488975, 0.0, 0.417959183673469387755102040816327]  # fmt: skip
    nodes = np.array([-x for x in half] + [0.0] + half[::-1])
    weights, coarse = (np.array(w[:-1] + w[::-1]) for w in (kronrod, gauss))
    return (nodes + 1) / 2, weights / 2, coarse / 2


FINE_NODES, FINE, COARSE = _kronrod()


@compiled()
def piece_turn(gram):
    """How far the direction turns along a piece: the angle between ``p`` and ``p + g``; 0 where one vanishes."""
    moves = gram[PP] > STILL * (gram[ZZ] + gram[QQ]) and gram[QQ] > STILL * (gram[ZZ] + gram[PP])
    return np.arctan2(np.sqrt(gram[PP] * gram[G_OFF_P2]), gram[PQ]) if moves else 0.0


@compiled()
def _planes(gram):
    """Products of the areas z^p, z^g and p^g: 11, 12, 22, 13, 23, 33."""
    z2 = gram[ZZ]
    if z2 == 0.0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, gram[PP] * gram[G_OFF_P2]
    b11, b12, b22 = z2 * gram[P_OFF_Z2], z2 * gram[PG_OFF_Z], z2 * gram[G_OFF_Z2]
    p, g = gram[ZP] / z2, gram[ZG] / z2
    b13, b23 = p * b12 - g * b11, p * b22 - g * b12
    return b11, b12, b22, b13, b23, gram[PP] * gram[G_OFF_P2]


@compiled()
def _rates(lam, width, gram, planes):
    """Squared speed at ``lam``, and speed on the unit sphere: area swept over squared distance.

    Both are by the angle, times tan(width / 2).
    """
    b11, b12, b22, b13, b23, b33 = planes
    e1, e2 = at_point(lam, width)
    c, q = direction(lam, width)
    m = e1 * q - e2 * c
    norm2 = gram[ZZ] + 2.0 * (e1 * gram[ZP] + e2 * gram[ZG])
    norm2 += e1 * e1 * gram[PP] + 2.0 * e1 * e2 * gram[PG] + e2 * e2 * gram[GG]
    area2 = c * c * b11 + 2.0 * c * q * b12 + q * q * b22 + 2.0 * m * (c * b13 + q * b23) + m * m * b33
    speed2 = c * c * gram[PP] + 2.0 * c * q * gram[PG] + q * q * gram[GG]
    return max(speed2, 0.0), np.sqrt(max(area2, 0.0)) / norm2 if norm2 > 0.0 else 0.0


@compiled()
def _angle_rule(width, gram, planes):
    """The rule for the angle of a piece short beside its distance from the origin and from moving radially, or -1.

    ``first`` and ``second`` bound the terms linear and quadratic in the position; with both below 0.2 neither the
    distance nor the area can vanish, and positions up to ``clear`` pieces away keep them there.
    """
    z2, b11 = gram[ZZ], planes[0]
    if z2 == 0.0 or b11 == 0.0:
        return -1
    first = max(2.0 * np.sqrt(gram[PP] / z2), np.sqrt(planes[2] / b11))
    second = max(np.sqrt(gram[GG] / z2), np.sqrt(planes[5] / b11))
    clear = min(0.2 / first if first > 0.0 else np.inf, np.sqrt(0.2 / second) if second > 0.0 else np.inf)
    clear = 2.0 / (1.0 / clear + width) - 1.0
    i = rule(clear + np.sqrt(clear * clear - 1.0)) if clear > 1.0 else -1
    return i if i <= SIMPLE else -1


@compiled()
def measure_piece(gram, width):
    """Length of a piece and of its projection on the unit sphere, and whether the latter has digits to 1e-9.

    A piece on a straight line through the origin has no length on the sphere (`passages` counts where it changes
    sides). Both integrals of other pieces share their nodes where Gauss-Legendre is exact to rounding for both;
    else the length has its closed form and the angle an adaptive Gauss-Kronrod rule.
    """
    pp, pg, gg = gram[PP], gram[PG], gram[GG]
    if radial(gram):
        return piece_length(pp, pg, gg, width), 0.0, True
    planes = _planes(gram)
    i, k = length_rule(pp, pg, gg, width), _angle_rule(width, gram, planes)
    if i < 0 or k < 0:
        angle, settled = _adaptive(width, gram, planes)
        return piece_length(pp, pg, gg, width), angle * angle_over_tangent(width), settled
    length, angle = 0.0, 0.0
    i = max(i, k)
    for n in range(ORDERS[i]):
        speed2, rate = _rates(NODES[i, n], width, gram, planes)
        length += WEIGHTS[i, n] * np.sqrt(speed2)
        angle += WEIGHTS[i, n] * rate
    scale = angle_over_tangent(width)
    return length * scale, angle * scale, True


@compiled()
def radial(gram):
    """Whether a piece stands still or lies on a straight line through the origin."""
    floor = STILL * gram[ZZ]
    if gram[PP] <= floor and gram[GG] <= floor:
        return True
    if gram[ZZ] == 0.0:
        return gram[G_OFF_P2] <= STRAIGHT * gram[GG]
    return gram[P_OFF_Z2] <= STRAIGHT * gram[PP] and gram[G_OFF_Z2] <= STRAIGHT * gram[GG]


@compiled()
def from_origin(gram):
    """Describe a piece that starts at the origin, to the last digit."""
    gram[ZZ], gram[ZP], gram[ZG] = 0.0, 0.0, 0.0
    gram[P_OFF_Z2], gram[PG_OFF_Z], gram[G_OFF_Z2] = gram[PP], gram[PG], gram[GG]


@compiled()
def reverse(gram):
    """Describe a piece that ends at the origin from there."""
    area2 = gram[PP] * gram[G_OFF_P2]
    gram[PP], gram[QQ], gram[PG] = gram[QQ], gram[PP], -gram[PG] - gram[GG]
    gram[G_OFF_P2] = area2 / gram[PP] if gram[PP] > 0.0 else gram[GG]
    from_origin(gram)


@compiled()
def _adaptive(width, gram, planes):
    """Adaptive Gauss-Kronrod: parts are halved until both rules agree to 1e-9, when the finer has far more digits.

    Returns the sum, and whether they came to agree within `PARTS`.
    """
    low, high = np.empty(64), np.empty(64)
    low[0], high[0] = 0.0, 1.0
    waiting, total, parts, settled = 1, 0.0, 0, True
    while waiting > 0:
        waiting -= 1
        parts += 1
        a, b = low[waiting], high[waiting]
        fine, coarse = 0.0, 0.0
        for n in range(len(FINE_NODES)):
            rate = _rates(a + (b - a) * FINE_NODES[n], width, gram, planes)[1]
            fine += FINE[n] * rate
            coarse += COARSE[n] * rate
        agree = abs(fine - coarse) * (b - a) <= 1e-9 * fine * (b - a) + 1e-14
        if agree or parts >= PARTS or b - a < 1e-15 or waiting > 61:
            settled &= agree or parts < PARTS
            total += fine * (b - a)
            continue
        middle = 0.5 * (a + b)
        low[waiting], high[waiting] = middle, b
        low[waiting + 1], high[waiting + 1] = a, middle
        waiting += 2
    return total, settled
