"""How many regions a cell may hold, guessed from a few chords through it, compiled.

A chord runs from a point inside the cell to its boundary on both sides. Units that are not decided yet and differ in
their state between the ends of chords certainly cut the cell; how many of them are seen is a good guess at how many
regions the cell falls into. Chords are drawn on the sphere of homogeneous directions, so unbounded cells are no special
case; every chord starts at a random place of the one before.
"""

from __future__ import annotations

import math

import numpy as np

from netfold.exact.numerics.compiled import FAST, compiled

CHORDS = 8
"""Chords through a cell. With 6, 12 or 32 the estimates of R3 and R4 spread alike, within the error of 60 seeds."""

INSIDE = 1e-3
"""How far from its ends, as a share of a chord, units are looked at."""


@compiled(FAST)
def _rows(net, layer, z, tau, h):
    """Pre-activations of a layer at homogeneous coordinates: constants count ``tau`` times."""
    for r in range(net.row_begin[layer], net.row_begin[layer + 1]):
        value = net.const[r] * tau
        if net.full[layer] >= 0:
            first, begin = net.m + net.unit_begin[layer - 1], net.ptr[r]
            for i in range(net.ptr[r + 1] - begin):
                value += net.val[begin + i] * z[first + i]
            h[r] = value
            continue
        for e in range(net.ptr[r], net.ptr[r + 1]):
            value += net.val[e] * z[net.col[e]]
        h[r] = value


@compiled()
def _units(net, layer, state, tau, h, z):
    """Outputs of a layer's units in given states."""
    shift = net.row_begin[layer] - net.unit_begin[layer]
    for u in range(net.unit_begin[layer], net.unit_begin[layer + 1]):
        s = state[u]
        if net.selects[layer]:
            z[net.m + u] = h[net.candidates[u, s]]
        else:
            z[net.m + u] = net.slopes[u, s] * h[u + shift] + net.offsets[u, s] * tau


@compiled()
def _see(net, layer, known, state, tau, h):
    """Fill in the states of a layer's undecided units."""
    shift = net.row_begin[layer] - net.unit_begin[layer]
    for u in range(net.unit_begin[layer], net.unit_begin[layer + 1]):
        if known[u]:
            continue
        s = 0
        if net.selects[layer]:
            sign = 1.0 if net.largest[layer] else -1.0
            best = -np.inf
            for i in range(net.candidates.shape[1]):
                r = net.candidates[u, i]
                if r >= 0 and sign * h[r] > best:
                    best, s = sign * h[r], i
        else:
            for k in range(net.pieces[u] - 1):
                s += net.knots[u, k] * tau < h[u + shift]
        state[u] = s


@compiled()
def _narrow(a, b, ends):
    """Keep the part of the circle ``v cos + d sin`` on which a function with values a at v and b at d is positive."""
    if a <= 0.0:
        a = 0.0
        if b == 0.0:
            return
    angle = math.atan2(b, a)
    ends[0] = max(ends[0], angle - 0.5 * math.pi)
    ends[1] = min(ends[1], angle + 0.5 * math.pi)


@compiled()
def _bounded_by(net, layer, known, state, h, slope, tau, rise, ends):
    """Shorten a chord to where a layer's decided units keep their states."""
    shift = net.row_begin[layer] - net.unit_begin[layer]
    for u in range(net.unit_begin[layer], net.unit_begin[layer + 1]):
        if not known[u]:
            continue
        s = state[u]
        if net.selects[layer]:
            sign = 1.0 if net.largest[layer] else -1.0
            w = net.candidates[u, s]
            for i in range(net.candidates.shape[1]):
                r = net.candidates[u, i]
                if r >= 0 and i != s:
                    _narrow(sign * (h[w] - h[r]), sign * (slope[w] - slope[r]), ends)
            continue
        r = u + shift
        if s > 0:
            k = net.knots[u, s - 1]
            _narrow(h[r] - k * tau, slope[r] - k * rise, ends)
        if s < net.pieces[u] - 1:
            k = net.knots[u, s]
            _narrow(k * tau - h[r], k * rise - slope[r], ends)


@compiled()
def _chord(net, walls, depth, known, state, v, d, z, h, dz, dh, ends):
    """The ends of a chord, as angles from ``v`` towards ``d``."""
    m = net.m
    ends[0], ends[1] = -np.pi, np.pi
    z[:m], dz[:m] = v[:m], d[:m]
    _narrow(v[m], d[m], ends)
    for w in range(len(walls)):
        a, b = 0.0, 0.0
        for j in range(m + 1):
            a += walls[w, j] * v[j]
            b += walls[w, j] * d[j]
        _narrow(a, b, ends)
    for layer in range(len(net.selects)):
        if net.unit_begin[layer] >= depth:
            return
        _rows(net, layer, z, v[m], h)
        _rows(net, layer, dz, d[m], dh)
        _bounded_by(net, layer, known, state, h, dh, v[m], d[m], ends)
        if net.unit_begin[layer + 1] <= depth:
            _units(net, layer, state, v[m], h, z)
            _units(net, layer, state, d[m], dh, dz)


@compiled()
def _normalise(v):
    total = 0.0
    for x in v:
        total += x * x
    if total > 0.0:
        v /= math.sqrt(total)


@compiled()
def _across(v, draw, d):
    """A unit direction at right angles to ``v``."""
    along = 0.0
    for j in range(len(v)):
        along += v[j] * draw[j]
    for j in range(len(v)):
        d[j] = draw[j] - along * v[j]
    _normalise(d)


@compiled()
def richness(net, walls, prefixes, points, draws):
    """One more than the number of undecided units seen to cut each cell.

    Args:
        net: the network's arrays, and ``walls`` the half-spaces of the domain.
        prefixes: states of the first units in decision order, one row a cell.
        points: a point inside each.
        draws: ``(chords, m + 2)``: normal numbers for directions, and a uniform one for where the next chord begins.
    """
    units, m, depth = len(net.pieces), net.m, prefixes.shape[1]
    found = np.ones(len(prefixes))
    known, state = np.zeros(units, np.bool_), np.zeros(units, np.int64)
    first, differs = np.zeros(units, np.int64), np.zeros(units, np.bool_)
    z, dz = np.zeros(m + units), np.zeros(m + units)
    h, dh = np.zeros(len(net.const)), np.zeros(len(net.const))
    v, d, w, ends = np.zeros(m + 1), np.zeros(m + 1), np.zeros(m + 1), np.zeros(2)
    for i in range(depth):
        known[net.order[i]] = True
    for c in range(len(prefixes)):
        for i in range(depth):
            state[net.order[i]] = prefixes[c, i]
        differs[:] = False
        v[:m], v[m] = points[c], 1.0
        _normalise(v)
        for p in range(len(draws)):
            _across(v, draws[p], d)
            _chord(net, walls, depth, known, state, v, d, z, h, dz, dh, ends)
            for side in range(2):
                angle = ends[side] + (1 - 2 * side) * INSIDE * (ends[1] - ends[0])
                for j in range(m + 1):
                    w[j] = math.cos(angle) * v[j] + math.sin(angle) * d[j]
                z[:m] = w[:m]
                for layer in range(len(net.selects)):
                    _rows(net, layer, z, w[m], h)
                    _see(net, layer, known, state, w[m], h)
                    _units(net, layer, state, w[m], h, z)
                for u in range(units):
                    if p == 0 and side == 0:
                        first[u] = state[u]
                    elif not known[u] and state[u] != first[u]:
                        differs[u] = True
            angle = ends[0] + draws[p, m + 1] * (ends[1] - ends[0])
            for j in range(m + 1):
                v[j] = math.cos(angle) * v[j] + math.sin(angle) * d[j]
            _normalise(v)
        for u in range(units):
            found[c] += differs[u]
    return found
