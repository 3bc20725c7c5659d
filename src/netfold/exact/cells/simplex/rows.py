"""Rows of a cell for the simplex engine, compiled: where units split, as affine functions with their error bounds.

A *split* is an affine function of the point whose sign decides about a unit's state: pre-activation minus knot, or the
difference of two candidates of a selection. Splits and the walls of the domain are numbered as *positions* (see
`simplex`): coordinates, walls, splits layer by layer.

Every function stands in several *frames*. Frame 0 are the coordinates of the point. Where fewer values than the
frame has coordinates reach the layers that follow (most units of a narrow layer are off, say), these values become
the coordinates of a new frame: functions of later layers then hold nothing but stored weights, and dependences among
them that the frames before know only up to rounding are plain to see.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Bools, Floats, Ints
from netfold.exact.cells.network import Arrays
from netfold.exact.numerics.compiled import FAST, NOTHING, compiled

ROUNDING = 2.0**-52
"""Twice the relative error of one operation: room for the terms of second order."""

NORMAL, CONSTANT, DOUBTFUL = 0, 1, 2
"""Kinds of a function: it varies; it is the same everywhere; float64 cannot tell."""


class SplitPlan(NamedTuple):
    """What is known of a network before any point: its rows, and which splits and values the layers need.

    Attributes:
        net: the network in skip form.
        first: position of the first split, after coordinates and walls; ``positions`` of all, padded for vectors.
        split_begin: first split of every layer, ``unit_split`` of every unit.
        above, below, knot: a split is row ``above`` minus row ``below`` (-1: none) minus ``knot``.
        unit_layer: layer of every unit.
        live_begin, live: the values that rows of a layer or of later ones read, by layer, from earlier layers.
        walls: rows of the domain.
        gram: scalar products of the coordinate functionals in input space.
    """

    net: Arrays
    first: int
    positions: int
    split_begin: Ints
    unit_split: Ints
    above: Ints
    below: Ints
    knot: Floats
    unit_layer: Ints
    live_begin: Ints
    live: Ints
    walls: Floats
    gram: Floats


class CellRows(NamedTuple):
    """The functions of one cell: those of the layers entered are valid.

    Arrays over frames, functions and coefficients (the constant is the last coefficient):

    Attributes:
        values: outputs of slots, ``rows`` pre-activations, ``splits`` by position; each with bounds on the errors of
            a coefficient and of the constant, ``*_error[..., 0]`` and ``[..., 1]``, and ``*_support``: which
            coefficients are not structurally zero. ``known``: whether the frame can express the split at all.
        columns: the splits in frame 0, by coefficient, ``(m + 1, positions)``.
        loose: error of a split's value at a point x: at most ``loose[0] * sum |x| + loose[1]``.
        kind: of every split.
        norm: length of every split's gradient in input space.
        frame: the frame of every layer, and ``size``: coordinates of every frame.
    """

    values: Floats
    value_error: Floats
    value_support: Bools
    rows: Floats
    row_error: Floats
    row_support: Bools
    splits: Floats
    split_error: Floats
    split_support: Bools
    known: Bools
    columns: Floats
    loose: Floats
    kind: NDArray[np.int8]
    norm: Floats
    frame: Ints
    size: Ints


def plan_of(net: Arrays, walls: Floats, gram: Floats) -> SplitPlan:
    """Number the splits of a network and find what its layers read."""
    layers, units = len(net.selects), len(net.pieces)
    above: list[int] = []
    below: list[int] = []
    knot: list[float] = []
    split_begin, unit_split = [0], np.zeros(units, np.int64)
    unit_layer = np.zeros(units, np.int64)
    for layer in range(layers):
        begin, end = int(net.unit_begin[layer]), int(net.unit_begin[layer + 1])
        for u in range(begin, end):
            unit_layer[u], unit_split[u] = layer, len(above)
            if net.selects[layer]:
                rows = net.candidates[u][: net.pieces[u]].tolist()
                pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
                above += [a for a, _ in pairs]
                below += [b for _, b in pairs]
                knot += [0.0] * len(pairs)
            else:
                count = int(net.pieces[u]) - 1
                above += [int(net.row_begin[layer]) + u - begin] * count
                below += [-1] * count
                knot += net.knots[u, :count].tolist()
        split_begin.append(len(above))
    live_begin, live = _live(net)
    first = net.m + len(walls)
    return SplitPlan(
        net=net,
        first=first,
        positions=-(-(first + len(above)) // 8) * 8,
        split_begin=np.array(split_begin, np.int64),
        unit_split=unit_split,
        above=np.array(above, np.int64),
        below=np.array(below, np.int64),
        knot=np.array(knot, np.float64),
        unit_layer=unit_layer,
        live_begin=live_begin,
        live=live,
        walls=np.ascontiguousarray(walls, np.float64).reshape(-1, net.m + 1),
        gram=np.ascontiguousarray(gram, np.float64),
    )


def _live(net: Arrays) -> tuple[Ints, Ints]:
    """Slots from before a layer that rows of this layer or of later ones read, by layer."""
    layers = len(net.selects)
    read: set[int] = set()
    lists: list[list[int]] = []
    for layer in reversed(range(layers)):
        read |= set(net.col[net.ptr[net.row_begin[layer]] : net.ptr[net.row_begin[layer + 1]]].tolist())
        lists.append(sorted(s for s in read if s < net.m + net.unit_begin[layer]))
    lists.reverse()
    return (
        np.cumsum([0, *map(len, lists)]).astype(np.int64),
        np.array([s for slots in lists for s in slots], np.int64),
    )


def rows_of(plan: SplitPlan) -> CellRows:
    """Room for the functions of a cell, with the coordinates and the walls written in."""
    net, m = plan.net, plan.net.m
    frames, width = len(net.selects) + 1, plan.positions
    slots, rows = m + len(net.pieces), len(net.const)

    def kept(count: int) -> tuple[Floats, Floats, Bools]:
        return np.zeros((frames, count, m + 1)), np.zeros((frames, count, 2)), np.zeros((frames, count, m), np.bool_)

    values, value_error, value_support = kept(slots)
    values[0, :m, :m] = np.eye(m)
    value_support[0, :m] = np.eye(m, dtype=bool)
    splits, split_error, split_support = kept(width)
    made = CellRows(
        values,
        value_error,
        value_support,
        *kept(rows),
        splits,
        split_error,
        split_support,
        known=np.zeros((frames, width), np.bool_),
        columns=np.zeros((m + 1, width)),
        loose=np.zeros((2, width)),
        kind=np.zeros(width, np.int8),
        norm=np.ones(width),
        frame=np.zeros(len(net.selects), np.int64),
        size=np.full(frames, m, np.int64),
    )
    made.known[0] = True
    for i in range(m, plan.first):
        made.splits[0, i] = plan.walls[i - m]
        made.split_support[0, i] = plan.walls[i - m, :m] != 0.0
        finish_split(plan, made, i, 0)
    return made


@compiled(FAST, lean=True)
def enter_layer(plan, rows, states, layer):
    """Write the functions of a layer, given the states of all units before it; returns the end of its positions."""
    net = plan.net
    frame = rows.frame[layer - 1] if layer > 0 else 0
    if layer > 0:
        for u in range(net.unit_begin[layer - 1], net.unit_begin[layer]):
            for f in range(frame + 1):
                set_value(plan, rows, states, u, f)
        frame = narrow(plan, rows, states, layer, frame)
    rows.frame[layer] = frame
    for r in range(net.row_begin[layer], net.row_begin[layer + 1]):
        for f in range(frame + 1):
            compose(net, rows, r, f)
    for s in range(plan.split_begin[layer], plan.split_begin[layer + 1]):
        i = plan.first + s
        for f in range(len(rows.size)):
            rows.known[f, i] = f <= frame
        for f in range(frame + 1):
            set_split(plan, rows, s, f)
        finish_split(plan, rows, i, frame)
    return plan.first + plan.split_begin[layer + 1]


@compiled(FAST, lean=True)
def set_value(plan, rows, states, u, f):
    """The output of a unit on the piece it is on."""
    net, m = plan.net, plan.net.m
    layer, state, slot = plan.unit_layer[u], states[u], plan.net.m + u
    if net.selects[layer]:
        r, slope, offset = net.candidates[u, state], 1.0, 0.0
    else:
        r = net.row_begin[layer] + u - net.unit_begin[layer]
        slope, offset = net.slopes[u, state], net.offsets[u, state]
    exact = slope == 0.0 or abs(slope) == 1.0
    largest = 0.0
    for j in range(m):
        v = slope * rows.rows[f, r, j]
        rows.values[f, slot, j] = v
        rows.value_support[f, slot, j] = slope != 0.0 and rows.row_support[f, r, j]
        largest = max(largest, abs(v))
    moved = slope * rows.rows[f, r, m]
    rows.values[f, slot, m] = moved + offset
    size = abs(slope)
    error, constant = size * rows.row_error[f, r, 0], size * rows.row_error[f, r, 1]
    if not exact:
        error += ROUNDING * largest
        constant += ROUNDING * abs(moved)
    if offset != 0.0 and slope != 0.0:
        constant += ROUNDING * (abs(moved) + abs(offset))
    rows.value_error[f, slot, 0], rows.value_error[f, slot, 1] = error, constant


@compiled(FAST, lean=True)
def varies(rows, f, slot, m):
    """Whether a value is more than a constant, as far as the structure of the network tells."""
    found = False
    for j in range(m):
        found |= rows.value_support[f, slot, j]
    return found


@compiled(FAST, lean=True)
def narrow(plan, rows, states, layer, frame):
    """Start a new frame where fewer values than coordinates reach a layer and those after it."""
    m = plan.net.m
    begin, end = plan.live_begin[layer], plan.live_begin[layer + 1]
    varying = 0
    for k in range(begin, end):
        varying += varies(rows, frame, plan.live[k], m)
    if varying == 0 or varying >= rows.size[frame]:
        return frame
    f = frame + 1
    rows.size[f] = varying
    for i in range(plan.first + plan.split_begin[layer]):
        rows.known[f, i] = False
    j = NOTHING
    for k in range(begin, end):
        slot = plan.live[k]
        for c in range(m):
            rows.values[f, slot, c] = 0.0
            rows.value_support[f, slot, c] = False
        rows.values[f, slot, m] = 0.0
        rows.value_error[f, slot, 0], rows.value_error[f, slot, 1] = 0.0, 0.0
        if not varies(rows, frame, slot, m):
            rows.values[f, slot, m] = rows.values[frame, slot, m]
            rows.value_error[f, slot, 1] = rows.value_error[frame, slot, 1]
            continue
        rows.values[f, slot, j] = 1.0
        rows.value_support[f, slot, j] = True
        express_knots(plan, rows, states, slot, j, f)
        j += 1
    return f


@compiled(FAST, lean=True)
def express_knots(plan, rows, states, slot, j, f):
    """Splits of a unit whose output is coordinate ``j`` of a frame, up to a positive factor."""
    net, m = plan.net, plan.net.m
    if slot < m or net.selects[plan.unit_layer[slot - m]]:
        return
    u = slot - m
    slope, offset = net.slopes[u, states[u]], net.offsets[u, states[u]]
    sign = 1.0 if slope > 0.0 else -1.0
    for k in range(net.pieces[u] - 1):
        i = plan.first + plan.unit_split[u] + k
        at = slope * net.knots[u, k]
        for c in range(m):
            rows.splits[f, i, c] = 0.0
            rows.split_support[f, i, c] = False
        rows.splits[f, i, j] = sign
        rows.split_support[f, i, j] = True
        rows.splits[f, i, m] = -sign * (at + offset)
        rows.split_error[f, i, 0] = 0.0
        rows.split_error[f, i, 1] = 2.0 * ROUNDING * (abs(at) + abs(offset))
        rows.known[f, i] = True


@compiled(FAST, lean=True)
def compose(net, rows, r, f):
    """A pre-activation from the values it reads."""
    m = net.m
    made, support = rows.rows[f, r], rows.row_support[f, r]
    for j in range(m):
        made[j], support[j] = 0.0, False
    constant, terms, plain = net.const[r], 0, True
    size, size_constant, error, error_constant = 0.0, 0.0, 0.0, 0.0
    for e in range(net.ptr[r], net.ptr[r + 1]):
        slot, w = net.col[e], net.val[e]
        if w == 0.0:
            continue
        value = rows.values[f, slot]
        touched, largest, single = 0, 0.0, True
        for j in range(m):
            if rows.value_support[f, slot, j]:
                touched += 1
                largest = max(largest, abs(value[j]))
                single = single and value[j] == 1.0 and not support[j]
                support[j] = True
                made[j] += w * value[j]
        plain = plain and (touched == 0 or (touched == 1 and single and rows.value_error[f, slot, 0] == 0.0))
        terms += 1
        part = w * value[m]
        constant += part
        size += abs(w) * largest
        size_constant += abs(part)
        error += abs(w) * rows.value_error[f, slot, 0]
        error_constant += abs(w) * rows.value_error[f, slot, 1]
    made[m] = constant
    count = (terms + 3) * ROUNDING
    rows.row_error[f, r, 0] = (0.0 if plain else count * size + 1.01 * error) + 1.01 * net.slack[r] * (size + error)
    if size_constant != 0.0 or error_constant != 0.0:
        error_constant = 1.01 * error_constant + count * (abs(net.const[r]) + size_constant)
    relative = abs(net.const[r]) + size_constant + error_constant
    rows.row_error[f, r, 1] = error_constant + 1.01 * net.slack[r] * relative


@compiled(FAST, lean=True)
def set_split(plan, rows, s, f):
    """A split from the pre-activations it compares."""
    m, i = plan.net.m, plan.first + s
    a, b, knot = plan.above[s], plan.below[s], plan.knot[s]
    error, constant = rows.row_error[f, a, 0], rows.row_error[f, a, 1]
    if b < 0:
        for j in range(m):
            rows.splits[f, i, j] = rows.rows[f, a, j]
            rows.split_support[f, i, j] = rows.row_support[f, a, j]
        rows.splits[f, i, m] = rows.rows[f, a, m]
        if knot != 0.0:
            rows.splits[f, i, m] -= knot
            constant += ROUNDING * (abs(knot) + abs(rows.rows[f, a, m]))
    else:
        largest = 0.0
        for j in range(m + 1):
            x, y = rows.rows[f, a, j], rows.rows[f, b, j]
            rows.splits[f, i, j] = x - y
            if j < m:
                rows.split_support[f, i, j] = rows.row_support[f, a, j] or rows.row_support[f, b, j]
                if x != 0.0 and y != 0.0:
                    largest = max(largest, abs(x) + abs(y))
            elif x != 0.0 and y != 0.0:
                constant += ROUNDING * (abs(x) + abs(y))
        error += rows.row_error[f, b, 0] + ROUNDING * largest
        constant += rows.row_error[f, b, 1]
    rows.split_error[f, i, 0], rows.split_error[f, i, 1] = error, constant


@compiled(FAST, lean=True)
def finish_split(plan, rows, i, last):
    """Scale a split by a power of two so that its coefficients are below one, and note its kind and its bounds."""
    m = plan.net.m
    row, error = rows.splits[0, i], rows.split_error[0, i]
    largest, any_support = 0.0, False
    for j in range(m):
        largest = max(largest, abs(row[j]))
        any_support = any_support or rows.split_support[0, i, j]
    if not any_support:
        rows.kind[i] = CONSTANT if abs(row[m]) > error[1] or error[1] == 0.0 else DOUBTFUL
    else:
        rows.kind[i] = NORMAL if largest > 4.0 * error[0] else DOUBTFUL
    if largest > 0.0:
        scale = 2.0 ** -np.floor(np.log2(largest) + 1.0)
        for f in range(last + 1):
            if rows.known[f, i]:
                for j in range(m + 1):
                    rows.splits[f, i, j] *= scale
                rows.split_error[f, i, 0] *= scale
                rows.split_error[f, i, 1] *= scale
    for j in range(m + 1):
        rows.columns[j, i] = row[j]
    count = (m + 3) * ROUNDING
    rows.loose[0, i] = count + 1.01 * error[0]
    rows.loose[1, i] = count * abs(row[m]) + 1.01 * error[1]
    square = 0.0
    for j in range(m):
        for k in range(m):
            square += row[j] * plan.gram[j, k] * row[k]
    rows.norm[i] = np.sqrt(max(square, 0.0))
