"""Length, angle on the unit sphere and turning of a layer's image along an arc, compiled.

Arguments are those of `netfold.exact.arc.rows`.
"""

from __future__ import annotations

import numpy as np

from netfold.arrays import Floats, Ints
from netfold.exact.arc.harmonic import at_control, at_point, direction, direction_change, tangent_share, zeros
from netfold.exact.arc.rows import combine, open_image, update_image
from netfold.exact.arc.sphere import (
    G_OFF_P2,
    G_OFF_Z2,
    GG,
    GRAM,
    P_OFF_Z2,
    PG,
    PG_OFF_Z,
    PP,
    PQ,
    QQ,
    STILL,
    ZG,
    ZP,
    ZZ,
    from_origin,
    measure_piece,
    piece_turn,
    radial,
    reverse,
)
from netfold.exact.numerics.angles import norm2
from netfold.exact.numerics.compiled import FAST, compiled, put
from netfold.exact.numerics.sums import sum_exactly
from netfold.exact.paths.records import OutputTotals, Totals

ORIGIN = 1e-26
"""Squared distance from the origin, beside the size of the piece, below which only exact values can tell."""

LENGTH, ANGLE, BEND, PASSING, TURN, ROUGH, MEASURES = range(7)
"""What is measured between rows; then, at a vertex, the angle where it is the origin, and the turn; and 1 where the
angle between rows did not converge."""

MOVING, AT_ORIGIN, STANDING = range(3)
"""How a part of an image starts: on the move, on the move from the origin, or not at all."""

NEARLY_PARALLEL = 1e-4
"""Share of a squared vector below which its part off a direction is not taken as a difference of products."""


@compiled(FAST)
def _describe(x, lam, end, width, gram):
    """Gram numbers of the part of an image from ``lam`` to ``end``."""
    p1, k1 = at_point(lam, width)
    p2, k2 = direction(lam, width)
    p3, k3 = direction_change(lam, end, width)
    a, m, b = x[0], x[1], x[2]
    zz, zp, zg, pp, pg, gg = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(len(a)):
        p = m[j] - a[j]
        k = (b[j] - m[j]) - p
        z, d, g = a[j] + p1 * p + k1 * k, p2 * p + k2 * k, p3 * p + k3 * k
        zz += z * z
        zp += z * d
        zg += z * g
        pp += d * d
        pg += d * g
        gg += g * g
    off_p2 = pp - zp * zp / zz if zz > 0.0 else pp
    off_g2 = gg - zg * zg / zz if zz > 0.0 else gg
    off_pg = pg - zp * zg / zz if zz > 0.0 else pg
    g_off_p2 = gg - pg * pg / pp if pp > 0.0 else gg
    pq, qq = pp + pg, pp + 2.0 * pg + gg
    parallel = off_p2 < NEARLY_PARALLEL * pp or off_g2 < NEARLY_PARALLEL * gg or g_off_p2 < NEARLY_PARALLEL * gg
    if parallel or qq < NEARLY_PARALLEL * pp:
        along_p, along_g = (zp / zz, zg / zz) if zz > 0.0 else (0.0, 0.0)
        both = pg / pp if pp > 0.0 else 0.0
        off_p2, off_g2, off_pg, g_off_p2, pq, qq = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(len(a)):
            p = m[j] - a[j]
            k = (b[j] - m[j]) - p
            z, d, g = a[j] + p1 * p + k1 * k, p2 * p + k2 * k, p3 * p + k3 * k
            u, v, w, q = d - along_p * z, g - along_g * z, g - both * d, d + g
            off_p2 += u * u
            off_g2 += v * v
            off_pg += u * v
            g_off_p2 += w * w
            pq += d * q
            qq += q * q
    scale = tangent_share(end - lam, width)
    square = scale * scale
    gram[ZZ], gram[ZP], gram[ZG] = zz, scale * zp, scale * zg
    gram[PP], gram[PG], gram[GG] = square * pp, square * pg, square * gg
    gram[P_OFF_Z2], gram[PG_OFF_Z], gram[G_OFF_Z2] = square * off_p2, square * off_pg, square * off_g2
    gram[G_OFF_P2], gram[QQ], gram[PQ] = square * g_off_p2, square * qq, square * pq


@compiled(FAST)
def first_direction(x, row):
    """The direction of an image at its start into ``row``: towards its control point, or past it if it is there."""
    _step(x[0], x[1], x[0], x[2], row)


@compiled(FAST)
def last_direction(x, row):
    """The direction of an image at its end."""
    _step(x[1], x[2], x[0], x[2], row)


@compiled(FAST)
def _step(a, b, c, d, row):
    """The step from ``a`` to ``b``, or from ``c`` to ``d`` where the first is rounding."""
    step2, size2 = 0.0, 0.0
    for j in range(len(row)):
        row[j] = b[j] - a[j]
        step2 += row[j] * row[j]
        size2 += a[j] * a[j]
    if step2 <= STILL * size2:
        for j in range(len(row)):
            row[j] = d[j] - c[j]


@compiled(FAST)
def turn(into, out, size2):
    """Angle between two directions, accurate where they are nearly parallel or opposite.

    Where one of them is rounding beside ``size2``, -1.
    """
    into2, out2, along = 0.0, 0.0, 0.0
    for j in range(len(into)):
        into2 += into[j] * into[j]
        out2 += out[j] * out[j]
        along += into[j] * out[j]
    if into2 <= STILL * size2 or out2 <= STILL * size2:
        return -1.0
    across2 = into2 * out2 - along * along
    if across2 > NEARLY_PARALLEL * into2 * out2:
        return np.arctan2(np.sqrt(across2), along)
    scale_into, scale_out, gap2 = 1.0 / np.sqrt(into2), 1.0 / np.sqrt(out2), 0.0
    scale_out = scale_out if along > 0.0 else -scale_out
    for j in range(len(into)):
        gap = into[j] * scale_into - out[j] * scale_out
        gap2 += gap * gap
    small = 2.0 * np.arcsin(min(1.0, 0.5 * np.sqrt(gap2)))
    return small if along > 0.0 else np.pi - small


@compiled()
def corner(into, out, vertex):
    """Turn of an image at a vertex, and its angle there on the unit sphere: not 0 where the vertex is the origin."""
    size2 = norm2(vertex)
    angle = turn(into, out, size2)
    if angle < 0.0:
        return 0.0, 0.0
    return angle, np.pi - angle if size2 == 0.0 else 0.0


@compiled(FAST)
def _squared_direction(x, lam, width):
    """Squared derivative of an image at ``lam`` by the angle, times tan^2(width / 2)."""
    p, k = direction(lam, width)
    a, m, b = x[0], x[1], x[2]
    total = 0.0
    for j in range(len(a)):
        step = m[j] - a[j]
        d = p * step + k * ((b[j] - m[j]) - step)
        total += d * d
    return total


@compiled()
def _cross(x, lam, width, first, last, found, floor):
    """Take over the crossings at ``lam``; returns the turn there, -1 where a direction is rounding.

    The directions differ in the units that change alone: ``kept`` is the square of all others, and the area between
    two vectors a sum of squares.
    """
    p, k = direction(lam, width)
    unit, after = found.unit, found.after
    old, new = np.empty(last - first), np.empty(last - first)
    old2, new2, both, gap2, across2 = 0.0, 0.0, 0.0, 0.0, 0.0
    for c in range(first, last):
        i, j = c - first, unit[c]
        step = x[1, j] - x[0, j]
        old[i] = p * step + k * ((x[2, j] - x[1, j]) - step)
        step = after[c, 1] - after[c, 0]
        new[i] = p * step + k * ((after[c, 2] - after[c, 1]) - step)
        old2 += old[i] * old[i]
        new2 += new[i] * new[i]
        both += old[i] * new[i]
        gap2 += (old[i] - new[i]) * (old[i] - new[i])
        for e in range(i):
            across2 += (old[i] * new[e] - new[i] * old[e]) ** 2
        x[0, j], x[1, j], x[2, j] = 0.0, 0.0, 0.0
    kept = _squared_direction(x, lam, width)
    update_image(first, last, found, x)
    if kept + old2 <= floor or kept + new2 <= floor:
        return -1.0
    return np.arctan2(np.sqrt(across2 + kept * gap2), kept + both)


@compiled(FAST)
def _exactly(x, i, z, part, width, found, row):
    """The image at a refined row to the last digit: units that change there take their value. ``x`` may be of the
    piece before the row."""
    if part.at[i] == 0.0:
        put(row, 0, z[2 * part.segment[i]])
        return
    p, k = at_point(part.at[i], width)
    combine(x, p, k, row)
    for c in range(part.cross[i], part.cross[i + 1]):
        row[found.unit[c]] = found.value[c]


@compiled(FAST)
def _dot(a, b):
    total = 0.0
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@compiled()
def _passages(x, lam, stop, width, here, ahead):
    """How often a part on a straight line through the origin passes it strictly inside; ``here`` and ``ahead`` are
    its ends."""
    control, along = np.empty(len(here)), np.empty(len(here))
    p, k = at_control(lam, stop, width)
    combine(x, p, k, control)
    _step(here, control, here, ahead, along)
    a, m, b = _dot(here, along), _dot(control, along), _dot(ahead, along)
    return zeros(a, m, b, max(abs(a), abs(m), abs(b)), (stop - lam) * width)[0]


@compiled()
def measure(z, width, found, part, measures, flat):
    """Length, angle on the unit sphere and turning of the image from each refined row to the next.

    They go to the rows of ``measures``, which are zero. What happens at a crossing counts with the part that starts
    there; what happens at a vertex stands in rows of its own, and is left out at row 0, where it takes the piece
    before. ``flat`` is `STANDING` where the image does not move at all, `AT_ORIGIN` where the row is exactly the
    origin, and 0 elsewhere.
    """
    units, (segment, at, cross) = z.shape[1], part
    x, gram = np.empty((3, units)), np.empty(GRAM)
    left, right, here, ahead = np.empty(units), np.empty(units), np.empty(units), np.empty(units)
    current, size2 = -1, 0.0
    for i in range(len(at) - 1):
        s, lam, turned, follows = segment[i], at[i], -1.0, False
        if width[s] < 0.0:
            continue
        if lam == 0.0:
            follows = s > 0 and width[s - 1] >= 0.0
            if follows:
                if current != s - 1:
                    open_image(z, s - 1, found, x)
                    update_image(found.start[s - 1], found.start[s], found, x)
                last_direction(x, left)
        if s != current:
            current = s
            open_image(z, s, found, x)
            size2 = norm2(x[0]) + norm2(x[1]) + norm2(x[2])
            update_image(found.start[s], cross[i], found, x)
        if follows:
            first_direction(x, right)
            measures[TURN, i], measures[PASSING, i] = corner(left, right, x[0])
        elif lam > 0.0:
            turned = _cross(x, lam, width[s], cross[i], cross[i + 1], found, STILL * size2)
            measures[BEND, i] = max(turned, 0.0)
        stop = at[i + 1] if segment[i + 1] == s else 1.0
        _describe(x, lam, stop, width[s], gram)
        measures[BEND, i] += piece_turn(gram)
        end2 = gram[ZZ] + 2.0 * (2.0 * gram[ZP] + gram[ZG]) + 4.0 * (gram[PP] + gram[PG]) + gram[GG]
        special = radial(gram)
        if gram[PP] == 0.0 and gram[GG] == 0.0:
            flat[i] = STANDING
            continue
        if special or gram[ZZ] <= ORIGIN * size2 or end2 <= ORIGIN * size2:
            _exactly(x, i, z, part, width[s], found, here)
            _exactly(x, i + 1, z, part, width[s], found, ahead)
            if norm2(here) == 0.0:
                from_origin(gram)
                flat[i] = AT_ORIGIN
                measures[ANGLE, i] += np.pi - turned if lam > 0.0 and turned >= 0.0 else 0.0
            elif norm2(ahead) == 0.0:
                reverse(gram)
            if special:
                measures[ANGLE, i] += np.pi * _passages(x, lam, stop, width[s], here, ahead)
        measures[LENGTH, i], angle, settled = measure_piece(gram, (stop - lam) * width[s])
        measures[ANGLE, i] += angle
        measures[ROUGH, i] = not settled


@compiled()
def start_direction(z, s, found):
    """The image's direction at the start of a piece."""
    x, row = np.empty((3, z.shape[1])), np.empty(z.shape[1])
    open_image(z, s, found, x)
    first_direction(x, row)
    return row


@compiled()
def end_direction(z, s, found):
    """The image's direction at the end of a piece."""
    x, row = np.empty((3, z.shape[1])), np.empty(z.shape[1])
    open_image(z, s, found, x)
    update_image(found.start[s], found.start[s + 1], found, x)
    last_direction(x, row)
    return row


def add_measures(measures: Floats, at: Floats, path: Ints, totals: Totals | OutputTotals) -> None:
    """Add what was measured at refined rows, those with ``at`` 0 being vertices, to their paths' totals."""
    for values, sums in zip(measures[:PASSING], (totals.lengths, totals.angles, totals.bends), strict=True):
        sum_exactly(values, path, sums)
    vertices = np.flatnonzero(at == 0.0)
    for values, sums in zip(measures[PASSING:ROUGH], (totals.angles, totals.bends), strict=True):
        sum_exactly(values[vertices], path[vertices], sums)
