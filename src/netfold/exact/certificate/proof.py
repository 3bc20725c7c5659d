"""Proofs that a straight path crosses one knot, or none, between two parameters.

Take parameters between the breakpoints that an engine claims, and call the stretch from one to the next a cell.
Values and error bounds (`certificate.rounding`) at the ends of a cell and at the breakpoint in it prove what
happens there, whatever the engine did:

1. All units have certain and equal states at both ends: a pattern's region is convex, so nothing happens.
2. One unit, of layer l, has another state, for the piece beside its own. All layers before l are affine on the cell,
   so in layer l that unit changes once, at some s, and no other does. What layer l makes has one kink, at s, and so
   have all later pre-activations as long as their units keep their states; these do if at s they are still on the
   side on which both ends are. At the claimed breakpoint b the distance to the knot is known; from b to s a
   pre-activation moves by no more than its slope, known from b and the ends, times |b - s|, known from the changing
   unit.
3. As 2, and a unit of a later layer stands exactly on its knot, without any error, at one end (its inputs are all
   saturated there, as under max pooling after ReLU). It then stands there up to s, and from s to the other end on
   the side on which that end is; if its state is not the same, it changes at s together with the unit of layer l.

Everything else is left undecided.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Elementwise, Selection
from netfold.capture.program import Layer
from netfold.exact.certificate.rounding import Bounded, largest_of, ranked, spread
from netfold.exact.matrices.coefficients import Pieces
from netfold.exact.numerics.compiled import compiled

REACH = 1e-7
"""How far from the true breakpoint a claimed one may be shown to be and stand; most are far closer than the bound."""


@dataclass
class Stretches:
    """Stretches of a path, and what is proven of them.

    Attributes:
        left: the row of each cell's left end, ``middle`` of the breakpoint in it (-1 for none), ``right``.
        layer: the layer in which a unit changes, -1 for none; ``unit``, ``origin`` and ``target`` say how.
        reach: how far the true breakpoint can be from the claimed one.
        open: whether something stands in the way of a proof.
        signs: sign transitions, ``(cells, layers)``, each layer's in one piece.
        kink: whether the output bends at the breakpoint.
        along: what changes together with ``unit``: cells, layers, units, old and new states.
    """

    left: Ints
    middle: Ints
    right: Ints
    layer: Ints
    unit: Ints
    origin: Ints
    target: Ints
    reach: Floats
    open: NDArray[np.bool_]
    signs: Ints
    kink: NDArray[np.bool_]
    along: list[tuple[Ints, ...]] = field(default_factory=list)

    @staticmethod
    def of(left: Ints, middle: Ints, right: Ints, layers: int) -> Stretches:
        """Cells of which nothing is known yet."""
        n = len(left)
        layer, unit, origin, target = (np.full(n, -1) for _ in range(4))
        return Stretches(left, middle, right, layer, unit, origin, target, np.zeros(n), np.zeros(n, np.bool_),
                     np.zeros((n, layers), np.int64, order="F"), np.zeros(n, np.bool_))  # fmt: skip

    def put(self, chosen: Ints, judged: Stretches) -> None:
        """Take over what is known of some cells."""
        for name in ("layer", "unit", "origin", "target", "reach", "open", "signs", "kink"):
            getattr(self, name)[chosen] = getattr(judged, name)
        for cell, *rest in judged.along:
            closed = ~judged.open[cell]
            self.along.append((chosen[cell[closed]], *(v[closed] for v in rest)))


@dataclass(frozen=True)
class Decisions:
    """A layer's states at rows, and how safe they are.

    Attributes:
        state: of every unit; ``other`` is the state on the far side of the nearest knot.
        margin: distance to the nearest knot, or of the winner to the runner-up.
        rest: distance of the winner to the third, infinite where nothing else can change.
        error: bound on the errors of ``margin`` and ``rest``.
        moved: bound on how much they change from each row to the next.
        fixed: whether a unit certainly stands on its knot, or all its entries are equal, all around a row.
    """

    state: Ints
    other: Ints
    margin: Floats
    rest: Floats
    error: Floats
    moved: Floats
    fixed: NDArray[np.bool_]


def decide(layer: Layer, h: Bounded) -> Decisions:
    """The states of a layer that reads ``h``."""
    with np.errstate(invalid="ignore"):  # what overflowed has no certain sign
        moved = np.abs((h.high[1:] - h.high[:-1]) + (h.low[1:] - h.low[:-1])) + h.error[1:] + h.error[:-1]
    if isinstance(layer.rule, Selection):
        (state, _), (other, margin), (_, rest) = ranked(layer.rule, h, 3)
        error = 2 * largest_of(layer.rule, h.error)
        fixed = (spread(layer.rule, h) == 0.0) & (error == 0.0)
        return Decisions(state, other, margin, rest, error, 2 * largest_of(layer.rule, moved), fixed)
    state, other = np.empty(h.high.shape, np.int64), np.empty(h.high.shape, np.int64)
    margin = np.empty(h.high.shape)
    _beside_knots(h.high, h.low, Pieces.of(layer).knots.astype(np.float64), state, other, margin)
    fixed = (margin == 0.0) & (h.error == 0.0)
    return Decisions(state, other, margin, np.full_like(margin, np.inf), h.error, moved, fixed)


@compiled()
def _beside_knots(high, low, knots, state, other, margin):
    """States, the states beyond the nearest knots, and the distances to these."""
    for i in range(high.shape[0]):
        for j in range(high.shape[1]):
            u = j if len(knots) > 1 else 0
            piece, beyond, nearest = 0, 0, np.inf
            for r in range(knots.shape[1]):
                gap = (high[i, j] - knots[u, r]) + low[i, j]
                piece += gap > 0.0
                if abs(gap) < nearest:
                    nearest, beyond = abs(gap), r if gap > 0.0 else r + 1
            state[i, j], other[i, j], margin[i, j] = piece, beyond, nearest


def judge(cells: Stretches, index: int, layer: Layer, h: Bounded, t: Floats) -> Decisions:
    """Take one more layer into account; returns its states."""
    d = decide(layer, h)
    _note_along(cells, index, d)
    places = cells.left, cells.middle, cells.right, t
    _judge_states(
        *places, d.state, d.other, d.margin, d.rest, d.error, d.moved, d.fixed, isinstance(layer.rule, Elementwise),
        index, cells.layer, cells.unit, cells.origin, cells.target, cells.reach, cells.open,
    )  # fmt: skip
    if isinstance(layer.rule, Elementwise):
        _judge_signs(
            *places, h.less(0.0), h.error, d.moved, _zero_knots(layer), d.state, cells.layer, cells.reach, cells.open,
            cells.signs[:, index], index,
        )  # fmt: skip
    return d


def _note_along(cells: Stretches, index: int, d: Decisions) -> None:
    """Note the units that leave or reach their knot where a unit of an earlier layer changes."""
    known = np.flatnonzero(cells.layer >= 0)
    a, b = cells.left[known], cells.right[known]
    cell, unit = np.nonzero((d.state[a] != d.state[b]) & (d.fixed[a] | d.fixed[b]))
    if len(cell):
        origin, target = d.state[a[cell], unit], d.state[b[cell], unit]
        cells.along.append((known[cell], np.full(len(cell), index), unit, origin, target))


def _zero_knots(layer: Layer) -> Ints:
    """Which knot of every unit is 0; -1 for none."""
    zero = np.broadcast_to(Pieces.of(layer).knots == 0, (layer.units, Pieces.of(layer).knots.shape[1]))
    return np.where(zero.any(1), zero.argmax(1), -1)


@compiled()
def _safe(margin, error):
    """Whether a value is certainly off the knot, or certainly stays on it: without any error nothing moves."""
    return margin > error or (margin == 0.0 and error == 0.0)


@compiled()
def _drift(t, left, middle, right, moved, j):
    """Bound on the slope of a value beside the breakpoint in a cell."""
    before = moved[left, j] / (t[middle] - t[left])
    return max(before, moved[middle, j] / (t[right] - t[middle]))


@compiled()
def _judge_states(
    left, middle, right, t, state, other, margin, rest, error, moved, fixed, ordered, index,
    layer, unit, origin, target, reach, is_open,
):  # fmt: skip
    for c in range(len(left)):
        a, m, b = left[c], middle[c], right[c]
        known = layer[c] >= 0
        for j in range(state.shape[1]):
            if not (_safe(margin[a, j], error[a, j]) and _safe(margin[b, j], error[b, j])):
                is_open[c] = True
            if known and (fixed[a, j] or fixed[b, j]):
                rise = state[b, j] - state[a, j] if fixed[a, j] else state[a, j] - state[b, j]
                if ordered and not 0 <= rise <= 1:
                    is_open[c] = True
            elif state[a, j] != state[b, j]:
                if known or layer[c] >= 0 or m < 0:
                    is_open[c] = True
                    continue
                if ordered and abs(state[b, j] - state[a, j]) != 1:
                    is_open[c] = True
                layer[c], unit[c], origin[c], target[c] = index, j, state[a, j], state[b, j]
                swapped = state[m, j] == target[c] and other[m, j] == origin[c]
                if not (swapped or (state[m, j] == origin[c] and other[m, j] == target[c])):
                    is_open[c] = True
                speed = (margin[a, j] + margin[b, j] - error[a, j] - error[b, j]) / (t[b] - t[a])
                reach[c] = 1.01 * (margin[m, j] + error[m, j]) / speed if speed > 0.0 else np.inf
                alone = rest[m, j] > error[m, j] + 1.01 * reach[c] * _drift(t, a, m, b, moved, j)
                if not (alone and reach[c] <= REACH):
                    is_open[c] = True
            elif known:
                drift = 1.01 * reach[c] * _drift(t, a, m, b, moved, j)
                if state[m, j] != state[a, j] or not _safe(margin[m, j], error[m, j] + drift):
                    is_open[c] = True


@compiled()
def _judge_signs(
    left, middle, right, t, h, error, moved, zero_knot, state, layer, reach, is_open, signs, index
):  # fmt: skip
    for c in range(len(left)):
        a, m, b = left[c], middle[c], right[c]
        for j in range(h.shape[1]):
            if zero_knot[j] >= 0:
                signs[c] += (state[a, j] > zero_knot[j]) != (state[b, j] > zero_knot[j])
                continue
            if not (_safe(abs(h[a, j]), error[a, j]) and _safe(abs(h[b, j]), error[b, j])):
                is_open[c] = True
            if (h[a, j] > 0.0) != (h[b, j] > 0.0):
                signs[c] += 1
            elif m >= 0 and 0 <= layer[c] < index and h[a, j] != 0.0 and h[b, j] != 0.0:
                drift = 1.01 * reach[c] * _drift(t, a, m, b, moved, j)
                if not _safe(abs(h[m, j]), error[m, j] + drift):
                    is_open[c] = True
                signs[c] += 2 * ((h[m, j] > 0.0) != (h[a, j] > 0.0))
