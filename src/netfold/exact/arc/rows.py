"""Rows of an arc, compiled: the image of a layer at its refined rows, and what follows from it.

Rows alternate between vertices and control points (`netfold.exact.arc.elementwise`). ``z`` holds a layer's image in
the same layout: the vertices, and the control points of the part of every piece that starts there. Inside a piece
the image is harmonic but for the units that change; ``after`` says how such a unit goes on, as three numbers in the
basis of the whole piece, ``change`` how these differ from those before, and ``earlier`` the last of those before. So
a part of the image, or of an affine map of it, is known by three vectors ``x``: those at the start of the piece,
brought up to date at every crossing.

Crossings are `netfold.exact.arc.layers.ArcCrossings`, some refined rows a `Part`: row ``i`` lies in piece
``segment[i]`` at the share ``at[i]``, where the crossings ``cross[i]`` to ``cross[i + 1]`` happen. ``width`` is the
angle of a piece, -1 between paths.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.arc.harmonic import at_control, at_point
from netfold.exact.numerics.compiled import FAST, compiled, put


@compiled(FAST)
def open_image(z, s, found, x):
    """The image's three vectors at the start of a piece."""
    for v in range(3):
        put(x[v], 0, z[2 * s + v])
    for c in range(found.start[s + 1] - 1, found.start[s] - 1, -1):
        if found.at[c] > 0.0:
            x[2, found.unit[c]] = found.earlier[c]


@compiled(FAST)
def update_image(first, last, found, x):
    """Take over the crossings ``first`` to ``last``; those at the first vertex change nothing inside the piece."""
    for c in range(first, last):
        if found.at[c] > 0.0:
            for v in range(3):
                x[v, found.unit[c]] = found.after[c, v]


@compiled(FAST)
def _add(row, factor, column):
    for j in range(len(row)):
        row[j] += factor * column[j]


@compiled(FAST)
def _update_map(first, last, found, columns, x):
    for c in range(first, last):
        for v in range(3):
            if found.change[c, v] != 0.0:
                _add(x[v], found.change[c, v], columns[found.unit[c]])


@compiled(FAST)
def combine(x, p, k, row):
    """x0 + p (x1 - x0) + k (x2 - 2 x1 + x0)."""
    a, m, b = x[0], x[1], x[2]
    for j in range(len(row)):
        step = m[j] - a[j]
        row[j] = a[j] + p * step + k * ((b[j] - m[j]) - step)


@compiled(FAST)
def _write(x, i, segment, at, width, out):
    """Write a refined row inside its piece, and the control point of the part from it to the next row."""
    s, lam = segment[i], at[i]
    if lam > 0.0:
        p, k = at_point(lam, width)
        combine(x, p, k, out[2 * i])
    if i + 1 < len(at):
        p, k = at_control(lam, at[i + 1] if segment[i + 1] == s else 1.0, width)
        combine(x, p, k, out[2 * i + 1])


@compiled(FAST)
def image(z, width, found, part, out):
    """The image at refined rows; units that change there take their ``value`` exactly."""
    x, current, (segment, at, cross) = np.empty((3, z.shape[1])), -1, part
    for i in range(len(at)):
        s = segment[i]
        if at[i] == 0.0:
            put(out[2 * i], 0, z[2 * s])
        if 2 * s + 2 >= len(z):
            continue
        if width[s] < 0.0:
            if i + 1 < len(at):
                put(out[2 * i + 1], 0, z[2 * s])
            continue
        if s != current:
            current = s
            open_image(z, s, found, x)
            update_image(found.start[s], cross[i], found, x)
        update_image(cross[i], cross[i + 1], found, x)
        _write(x, i, segment, at, width[s], out)
        if at[i] > 0.0:
            for c in range(cross[i], cross[i + 1]):
                out[2 * i, found.unit[c]] = found.value[c]


@compiled(FAST)
def spread(y, width, found, columns, part, out):
    """An affine map of the image at refined rows, from its values ``y`` at the rows of ``z``.

    A crossing changes the map by its unit's column alone, so no product is needed inside a piece.
    """
    x, current, (segment, at, cross) = np.empty((3, y.shape[1])), -1, part
    for i in range(len(at)):
        s = segment[i]
        if at[i] == 0.0:
            put(out[2 * i], 0, y[2 * s])
        if 2 * s + 2 >= len(y):
            continue
        if width[s] < 0.0:
            if i + 1 < len(at):
                put(out[2 * i + 1], 0, y[2 * s])
            continue
        if s != current:
            current = s
            for v in range(3):
                put(x[v], 0, y[2 * s + v])
            for c in range(found.start[s], found.start[s + 1]):
                _add(x[2], -found.change[c, 2], columns[found.unit[c]])
            _update_map(found.start[s], cross[i], found, columns, x)
        _update_map(cross[i], cross[i + 1], found, columns, x)
        _write(x, i, segment, at, width[s], out)
