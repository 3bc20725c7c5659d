"""The rows of one layer as functions on a cell, compiled, with bounds on their errors.

On a cell the units of earlier layers have given states, so every pre-activation is one affine function of the frame's
coordinates: a homogeneous row of ``size`` numbers, the last of which belongs to ``t`` unless the network is
homogeneous. Rows are put together from the rows of earlier units; a row's error is one number for all its entries.
"""

from __future__ import annotations

import math

from netfold.exact.cells.description.generators import SAFE, TINY, U, has_bit
from netfold.exact.numerics.compiled import FAST, NONE, compiled

WALL, KNOT, PAIR = range(3)
"""Kinds of constraint: a half-space of the domain (-1: t >= 0), a unit's knot, one candidate above another."""

UNKNOWN, SPLIT = -1, -2
"""What stands for a unit's state on a cell before the unit is looked at, and where it may have several."""

KIND, FIRST, SECOND, SIGN = range(4)
"""Columns of a constraint: kind, then wall / unit and knot / two rows, and the side of the row that the cell is on."""


@compiled(FAST, lean=True)
def _sum(net, rows, r, size, affine):
    """One row from the outputs of earlier units; its error."""
    m = net.m
    for j in range(size):
        rows.raw[r, j] = 0.0
    sizes, terms, error, largest, ones = 0.0, 0, 0.0, 0.0, True
    if affine:
        rows.raw[r, size - 1] = net.const[r]
        largest = abs(net.const[r])
    for e in range(net.ptr[r], net.ptr[r + 1]):
        c, w = net.col[e], net.val[e]
        if c < m:
            rows.raw[r, c] += w
            largest = max(largest, abs(w))
            continue
        u = c - m
        if rows.height[u] == 0.0:
            continue
        for j in range(size):
            rows.raw[r, j] += w * rows.unit[u, j]
        sizes += abs(w) * rows.height[u]
        error += abs(w) * rows.unit_error[u]
        terms += 1
        ones = ones and abs(w) == 1.0
    if terms > 1 or (terms == 1 and (largest > 0.0 or not ones)):
        error += U * (terms + 2) * (sizes + largest) + TINY
    return (error + net.slack[r] * (sizes + largest)) * SAFE


@compiled(FAST, lean=True)
def _sum_full(net, rows, layer, size, affine):
    """All rows of a layer of which every row takes every unit of the layer before, and nothing else: a matrix product.

    The same as `_sum`, for rows with more than one active unit; whether they have.
    """
    first, count, begin = net.row_begin[layer], net.row_begin[layer + 1] - net.row_begin[layer], net.full[layer]
    lanes, terms = rows.lanes, 0
    for j in range(size + 2):
        for r in range(count):
            lanes[j, r] = 0.0
    for u in range(net.unit_begin[layer - 1], net.unit_begin[layer]):
        height, error = rows.height[u], rows.unit_error[u]
        if height != 0.0:
            terms += 1
            for j in range(size):
                factor = rows.unit[u, j]
                for r in range(count):
                    lanes[j, r] += factor * net.full_values[begin + r]
            for r in range(count):
                weight = abs(net.full_values[begin + r])
                lanes[size, r] += weight * height
                lanes[size + 1, r] += weight * error
        begin += count
    if terms < 2:
        return False
    for r in range(count):
        const = net.const[first + r] if affine else 0.0
        for j in range(size):
            rows.raw[first + r, j] = lanes[j, r]
        rows.raw[first + r, size - 1] += const
        total = lanes[size, r] + abs(const)
        error = lanes[size + 1, r] + U * (terms + 2) * total + TINY
        rows.raw_error[first + r] = (error + net.slack[first + r] * total) * SAFE
    return True


@compiled(lean=True)
def units_of(net, rows, state, layer, size, affine):
    """The outputs of a layer's units as rows, from its pre-activations and their states."""
    first_row = net.row_begin[layer]
    for u in range(net.unit_begin[layer], net.unit_begin[layer + 1]):
        s = state[u]
        if net.selects[layer]:
            r, slope, offset = net.candidates[u, s], 1.0, 0.0
        else:
            r, slope, offset = first_row + u - net.unit_begin[layer], net.slopes[u, s], net.offsets[u, s]
        largest = 0.0
        for j in range(size):
            x = slope * rows.raw[r, j] if slope != 0.0 else 0.0
            if affine and j == size - 1:
                x += offset
            rows.unit[u, j] = x
            largest = max(largest, abs(x))
        error = abs(slope) * rows.raw_error[r]
        if not ((slope == 0.0 or slope == 1.0 or slope == -1.0) and offset == 0.0):
            error += 4 * U * (largest + abs(offset)) + TINY
        rows.height[u] = largest + error
        rows.unit_error[u] = error * SAFE


@compiled(lean=True)
def level(source, error, size, knot, target):
    """A row minus a knot, scaled by a power of two.

    Behind its entries the target gets the scale and what bounds of its values take: the factor of a generator's own
    error, the bound that is always there, and the error of one entry.
    """
    largest = 0.0
    for j in range(size):
        target[j] = source[j]
    if knot != 0.0:
        target[size - 1] -= knot
        error += U * abs(target[size - 1])
    for j in range(size):
        largest = max(largest, abs(target[j]))
    target[size] = 1.0
    spread = math.sqrt(size) * error
    if largest == 0.0:
        target[size + 1], target[size + 2], target[size + 3] = spread, spread, error
        return
    scale = math.ldexp(1.0, -math.frexp(largest)[1])
    target[size] = scale
    total = 0.0
    for j in range(size):
        target[j] *= scale
        total += target[j] * target[j]
    length = math.sqrt(total)
    spread *= scale
    target[size + 1] = (length + spread) * SAFE
    target[size + 2] = ((size + 2) * U * length + spread + TINY) * SAFE
    target[size + 3] = error * scale


@compiled(lean=True)
def constant(row, error, size, affine):
    """Whether a row is certainly constant in x: its own entries there are 0 without any error."""
    zeros = error == 0.0
    for j in range(size - 1 if affine else size):
        zeros = zeros and row[j] == 0.0
    return zeros


@compiled(lean=True)
def enter(net, rows, state, layer, size, affine):
    """Make the rows of a layer on the current cell, and the states of units whose row is constant."""
    if layer > 0:
        units_of(net, rows, state, layer - 1, size, affine)
    if net.full[layer] < 0 or not _sum_full(net, rows, layer, size, affine):
        for r in range(net.row_begin[layer], net.row_begin[layer + 1]):
            rows.raw_error[r] = _sum(net, rows, r, size, affine)
    if net.selects[layer]:
        return
    shift = net.row_begin[layer] - net.unit_begin[layer]
    for u in range(net.unit_begin[layer], net.unit_begin[layer + 1]):
        r = u + shift
        rows.fixed[u] = UNKNOWN
        if constant(rows.raw[r], rows.raw_error[r], size, affine):
            value = rows.raw[r, size - 1] if affine else 0.0
            below = 0
            for k in range(net.pieces[u] - 1):
                below += net.knots[u, k] < value
            rows.fixed[u] = below


@compiled(lean=True)
def screen(net, rows, vec, dev, begin, end, layer, size):
    """Find units that are certainly in one state on a whole cell without lines, all of a layer side by side."""
    shift = net.row_begin[layer] - net.unit_begin[layer]
    first, count = net.row_begin[layer], net.row_begin[layer + 1] - net.row_begin[layer]
    for r in range(count):
        for j in range(size):
            rows.lanes[j, r] = rows.raw[first + r, j]
    for k in range(net.knots.shape[1]):
        for r in range(count):
            u = first + r - shift
            rows.shifts[r] = net.knots[u, k] if k < net.pieces[u] - 1 else 0.0
        _tally_lanes(rows.lanes, rows.raw_error[first:], rows.shifts, rows.tallies, vec, dev, begin, end, size, count)
        for r in range(count):
            u = first + r - shift
            if rows.fixed[u] != UNKNOWN or k >= net.pieces[u] - 1:
                continue
            if rows.tallies[1, r] == end - begin:
                rows.fixed[u] = k
            elif rows.tallies[0, r] < end - begin:
                rows.fixed[u] = SPLIT
            elif k + 1 == net.pieces[u] - 1:
                rows.fixed[u] = k + 1


@compiled(FAST, lean=True)
def _tally_lanes(lanes, errors, shifts, tallies, vec, dev, begin, end, size, count):
    """How many generators are certainly above and below each row less its knot.

    Rows are not scaled here, so sums of sizes take the place of lengths, which could underflow.
    """
    for r in range(count):
        total = abs(shifts[r])
        for j in range(size):
            total += abs(lanes[j, r])
        lanes[size, r] = total * SAFE
        lanes[size + 1, r] = ((size + 3) * U * total + size * errors[r] + TINY) * SAFE
        tallies[0, r] = 0
        tallies[1, r] = 0
    for k in range(begin, end):
        for r in range(count):
            lanes[size + 2, r] = -shifts[r] * vec[size - 1, k]
        for j in range(size):
            factor = vec[j, k]
            for r in range(count):
                lanes[size + 2, r] += factor * lanes[j, r]
        own = dev[k]
        for r in range(count):
            bound = lanes[size, r] * own + lanes[size + 1, r]
            tallies[0, r] += lanes[size + 2, r] > bound
            tallies[1, r] += lanes[size + 2, r] < -bound


@compiled(lean=True)
def levels(net, rows, layer, size):
    """Make the rows of all knots of the units of a layer that may have several states."""
    shift = net.row_begin[layer] - net.unit_begin[layer]
    for u in range(net.unit_begin[layer], net.unit_begin[layer + 1]):
        for k in range(net.pieces[u] - 1 if rows.fixed[u] < 0 else 0):
            r = u + shift
            level(rows.raw[r], rows.raw_error[r], size, net.knots[u, k], rows.level[u, k])


@compiled(lean=True)
def _at_zero(net, path, rows, inc, column, u, r, affine, flat):
    """Whether a row is certainly 0 at a generator: all its terms are, or the generator lies on its unit's knots."""
    if flat or not affine or net.const[r] == 0.0:
        zero = True
        for e in range(net.ptr[r], net.ptr[r + 1]):
            c = net.col[e]
            if c < net.m or not rows.zero[c - net.m]:
                zero = False
                break
        if zero:
            return True
    if u < 0:
        return False
    for k in range(net.pieces[u] - 1):
        if net.knots[u, k] != 0.0 and not flat:
            continue
        c = path.mark[u, k]
        if c >= path.total[0] or not has_bit(inc, column, c):
            continue
        if path.con[c, KIND] == KNOT and path.con[c, FIRST] == u and path.con[c, SECOND] == k:
            return True
    return False


@compiled(lean=True)
def _on_pair(path, inc, column, a, b):
    """Whether a generator lies on the constraint that two candidates are equal."""
    for c in range(path.total[0]):
        if path.con[c, KIND] == PAIR and has_bit(inc, column, c):
            first, second = path.con[c, FIRST], path.con[c, SECOND]
            if (first == a and second == b) or (first == b and second == a):
                return True
    return False


@compiled(lean=True)
def structurally_zero(net, path, rows, state, inc, column, layer, r, rival, affine, knot):
    """Whether a row minus a knot, or minus a rival's row, is exactly 0 at a generator: all it is made of is.

    So it is at directions towards infinity along which none of the active units of a layer changes, which many cells
    have where fewer units are active than there are coordinates.
    """
    flat = (not affine) or has_bit(inc, column, 0)
    if r < 0 or (knot != 0.0 and not flat):
        return False
    if rival >= 0 and _on_pair(path, inc, column, r, rival):
        return True
    for d in range(layer):
        shift = net.row_begin[d] - net.unit_begin[d]
        for u in range(net.unit_begin[d], net.unit_begin[d + 1]):
            s = state[u]
            if net.selects[d]:
                rows.zero[u] = _at_zero(net, path, rows, inc, column, NONE, net.candidates[u, s], affine, flat)
                continue
            slope, offset = net.slopes[u, s], net.offsets[u, s]
            if not flat and affine and offset != 0.0:
                rows.zero[u] = False
                continue
            rows.zero[u] = slope == 0.0 or _at_zero(net, path, rows, inc, column, u, u + shift, affine, flat)
    shift = net.unit_begin[layer] - net.row_begin[layer]
    own = NONE if net.selects[layer] else r + shift
    zero = _at_zero(net, path, rows, inc, column, own, r, affine, flat)
    return zero and (rival < 0 or _at_zero(net, path, rows, inc, column, NONE, rival, affine, flat))
