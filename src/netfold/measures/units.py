"""What each unit does over a domain, proved, or on data: its range, and whether it ever changes its piece."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netfold.arguments import NotNegativeInt, Seed, checked
from netfold.arrays import Floats, Ints
from netfold.capture import Model, Program, capture
from netfold.capture.activations import Elementwise
from netfold.capture.data import tensor_of
from netfold.capture.program import Layer
from netfold.domains import Box, Polytope
from netfold.errors import InvalidInputError, NotExplicitError, NotPiecewiseLinearError
from netfold.exact.certificate.rounding import Bounded, Evaluation
from netfold.exact.lp import rational
from netfold.exact.matrices.coefficients import Pieces
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.exact.numerics.threads import beside, look
from netfold.exact.ranges.branching import branched
from netfold.exact.ranges.enumerated import ExactRanges
from netfold.exact.ranges.relaxed import Relaxation
from netfold.measures.channels import twins
from netfold.measures.regions import RegionSource
from netfold.measures.states import rows_together, walk
from netfold.progress import one_thread
from netfold.results.complexity import WatchedLayer
from netfold.results.provenance import provenance
from netfold.results.units import DEAD, FREE, ON, SATURATED, STATES, UnitRanges, Units

FEW_REGIONS = 256
"""Regions up to which ranges are taken from each of them, exactly."""

FEW_INPUTS = 6
"""Inputs up to which regions are looked at, and ``FEW_UNITS`` units."""

FEW_UNITS = 200

LOOKED_AT = 512
"""Inputs drawn from a domain to see what units do."""

PUSHES = 10
"""Steps that push a unit to a knot."""

RULE = (
    "units of elementwise layers with linear pieces; dead: on one piece throughout, which is 0; saturated: on one flat "
    "piece at another value; on: on one piece that has a slope; free: on several. Proved: for every input of the "
    "domain, in real arithmetic for the stored weights, or by two inputs on two pieces; observed: on the inputs that "
    "were looked at"
)


@checked
def units(
    model: Model,
    where: Any,
    *,
    shape: Sequence[int] | None = None,
    steps: NotNegativeInt = 0,
    splits: NotNegativeInt = 0,
    regions: NotNegativeInt = FEW_REGIONS,
    seed: Seed = 0,
) -> Units:
    """Find the range of every unit's pre-activation, and the units that never change their piece.

    A unit that stays on one piece is affine there: *dead* units (ReLU: never on) can be removed, units that are always
    *on* merged into the next layer, and none of them needs a binary variable in an optimisation model. Over a bounded
    domain this is proved: by interval arithmetic, then by linear bounds carried backwards (CROWN), every rounding
    accounted for; and where the domain holds few regions, exactly, region by region in rational arithmetic. What is
    *free* is proved by two inputs on two pieces, looked for at random and by gradients. Units left open have the state
    that was seen, and say so. On data everything is what was seen.

    Args:
        model: a module in evaluation mode, or a captured program; over a domain, a piecewise-linear one.
        where: a bounded `Box` or `Polytope`, or data: inputs ``(points, *input_shape)``, alone or first of a pair.
        shape: the shape of one input, where neither the domain nor the first layer tells it.
        steps: steps of a gradient that narrows linear bounds, each of which takes a few times as long as they did.
        splits: how often the domain is split, by the pieces of earlier units, for one unit that bounds leave open.
            It decides most of them where inputs are few; a unit that comes no closer at first is given up.
        regions: regions of the domain up to which ranges are exact; 0 never looks at regions.
        seed: of the inputs drawn from a domain.

    Returns:
        Ranges and states of all units whose layers have linear pieces, unit by unit; and for each the earlier unit of
        its layer, if there is one, whose pre-activation is by the weights the same up to a factor (compared in
        rational arithmetic, after batch norm is folded in float64), where the network's matrices can be read.

    Raises:
        InvalidInputError: the domain is not bounded, empty, or does not fit the model; data are unusable.
        NotPiecewiseLinearError: over a domain, the network has an operation that is not piecewise linear.
        NotExplicitError: over a domain, an operation has no matrix with known coefficients.
        CaptureError: the model cannot be captured.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> _ = net[0].weight.data.copy_(torch.ones(3, 1)), net[0].bias.data.copy_(torch.tensor([-3.0, 0.0, 3.0]))
        >>> nf.units(net, nf.Box(-1.0, 2.0)).to_dataframe()[["low", "high", "state", "known"]].values.tolist()
        [[-4.0, -1.0, 'dead', 'proved'], [-1.0, 2.0, 'free', 'proved'], [2.0, 5.0, 'on', 'proved']]
    """
    from netfold.measures.counts import program_on

    begin = time.perf_counter()
    if isinstance(where, Box | Polytope):
        program = program_on(model, where, shape)
        program.require_piecewise_linear()
        found = _over(program, where, steps, splits, regions, seed)
    else:
        data = tensor_of(where[0] if isinstance(where, tuple) and len(where) == 2 else where, "data")
        program = capture(model, shape=shape or data.shape[1:])
        found = on_data(program, program.points(data, "data"))
    ranges, told, exact, ranks = found
    ranges = _with_twins(ranges, program)
    kept = [n for n, layer in enumerate(program.layers) if isinstance(layer.rule, Elementwise)]
    return Units(
        ranges,
        tuple(WatchedLayer(la.name, la.op, la.units, la.label) for la in (program.layers[n] for n in kept)),
        tuple(n + 1 for n in kept),
        tuple(layer.name for n, layer in enumerate(program.layers) if n not in kept),
        told,
        exact,
        ranks,
        RULE,
        provenance(program, seed=seed, seconds=time.perf_counter() - begin),
    )


def _with_twins(ranges: UnitRanges, program: Program) -> UnitRanges:
    """With the units that are multiples of others, where the network's matrices can be read."""
    try:
        found = twins(ExplicitProgram.of(program))
    except (NotPiecewiseLinearError, NotExplicitError):
        return ranges
    twin, factor = ranges.twin.copy(), ranges.factor.copy()
    for number, (earlier, factors) in found.items():
        mine = ranges.layer == number + 1
        twin[mine], factor[mine] = earlier, factors
    return replace(ranges, twin=twin, factor=factor)


Found = tuple[UnitRanges, str, bool, tuple[int, ...]]


@dataclass(frozen=True)
class _Met:
    """What a layer's pre-activations are at points.

    Attributes:
        low: the lowest of each unit that is certainly met, ``high`` the highest.
        least: the lowest that may be met, ``most`` the highest.
        active: the share of points where the unit's piece has a slope.
        lowest: the points where the lowest and ``highest`` are met.
    """

    low: Floats
    high: Floats
    least: Floats
    most: Floats
    active: Floats
    lowest: Ints
    highest: Ints

    def joined(self, more: _Met) -> _Met:
        """With further points, at which nobody counts what is active."""
        lows, highs = ((a.low, a.least) for a in (self, more)), ((a.high, a.most) for a in (self, more))
        (low, least), (high, most) = map(np.minimum, *lows), map(np.maximum, *highs)
        return replace(self, low=low, high=high, least=least, most=most)


def _met(explicit: ExplicitProgram, points: Floats) -> dict[int, _Met]:
    """What the layers with linear pieces are met at."""
    found, none = {}, np.zeros_like(points)
    layers = explicit.program.layers
    for number, h in enumerate(Evaluation(explicit, False).layers(Bounded(points, none, none))):
        rule = layers[number].rule
        if isinstance(rule, Elementwise):
            with np.errstate(invalid="ignore", over="ignore"):  # what is too large for float64 is met nowhere
                low, high = h.high - h.error, h.high + h.error
            active = (rule.piece_at(h.high)[0] != 0).mean(0)
            ends = h.high.argmin(0), h.high.argmax(0)
            found[number] = _Met(high.min(0), low.max(0), low.min(0), high.max(0), active, *ends)
    return found


def on_data(program: Program, data: Tensor, ranks: bool = True) -> Found:
    """What units are on data, and the ranks of their layers' images, which cost the most, or none.

    Raises:
        InvalidInputError: there are no data, or the network overflows on them.
    """
    if len(data) == 0:
        raise InvalidInputError("there is no input: data is empty")
    ends: dict[int, list[tuple[Floats, Floats, Floats]]] = {}
    images: dict[int, list[Tensor]] = {}
    with torch.no_grad(), one_thread():
        for part in data.split(rows_together(program)):
            for number, (layer, read, made) in enumerate(walk(program, part)):
                if layer is None or not isinstance(layer.rule, Elementwise):
                    continue
                h = read[0].cpu().numpy()
                if not np.isfinite(h).all():
                    raise InvalidInputError(f"{program.name} gives NaN or infinite numbers on data, at {layer.label}")
                sloped = layer.rule.piece_at(h)[0] != 0
                ends.setdefault(number, []).append((h.min(0), h.max(0), sloped.sum(0)))
                if ranks:
                    images.setdefault(number, []).append(made.cpu())
        # by one thread: beside other work, threads that share a decomposition wait for each other most of the time
        found = [int(torch.linalg.matrix_rank(y - y.mean(0))) for y in map(torch.cat, images.values())]
    rows = []
    for number, parts in ends.items():
        low, high = np.min([p[0] for p in parts], 0), np.max([p[1] for p in parts], 0)
        state, _ = _states(program.layers[number], low, high)
        active = np.sum([p[2] for p in parts], 0) / len(data)
        rows.append((number, low, high, low, high, state, np.zeros(len(low), np.bool_), active))
    return _table(rows), f"{len(data)} inputs", False, tuple(found)


@beside
def _over(program: Program, domain: Box | Polytope, steps: int, splits: int, regions: int, seed: int) -> Found:
    """Over a domain."""
    low, high, inside = _hull(program, domain)
    explicit, exact = ExplicitProgram.of(program), _exactly(program, domain, regions)
    points = _points(program, domain, low, high, inside, seed)
    met, pushed, bounds = _met(explicit, points), [points[:1]], []
    with one_thread():
        relaxation = Relaxation(explicit, torch.from_numpy(low), torch.from_numpy(high))
        for number, read in enumerate(relaxation.follow(steps if exact is None else 0)):
            if exact is None and number in met:
                pushed += _decide(relaxation, number, points, met[number], splits)
            bounds.append((read.low.numpy(), read.high.numpy()))
    corners = [corner.detach().numpy() for corner in relaxation.corners]
    more = _met(explicit, _within(program, domain, np.concatenate([*pushed, *corners])))
    met = {number: one.joined(more[number]) for number, one in met.items()}
    rows = []
    for number, seen in met.items():
        layer = program.layers[number]
        lows, highs = bounds[number]
        if exact is not None:
            ranges = [exact.found[number, unit] for unit in range(layer.units)]
            lows, highs = (np.array([float(r[side]) for r in ranges]) for side in (0, 1))
            state, one = _states(layer, *([r[side] for r in ranges] for side in (0, 1)))
            proved = np.ones(layer.units, np.bool_)
        else:
            state, one = _states(layer, lows, highs)
            moved, stays = _states(layer, seen.low, seen.high)
            state = np.where(one, state, np.where(stays, _states(layer, seen.least, seen.most)[0], moved))
            proved = one | (~stays & np.isfinite(seen.low) & np.isfinite(seen.high))
        rows.append((number, lows, highs, seen.low, seen.high, state, proved, seen.active))
    told = "box" if isinstance(domain, Box) else "polytope"
    return _table(rows), told, exact is not None, ()


def _table(rows: list[tuple[Any, ...]]) -> UnitRanges:
    numbers = [np.full(len(low), n + 1) for n, low, *_ in rows]
    units = [np.arange(len(low)) for _, low, *_ in rows]
    alone = np.full(sum(len(u) for u in units), -1), np.full(sum(len(u) for u in units), np.nan)
    columns = zip(*(row[1:] for row in rows), strict=True) if rows else [[]] * 7
    joined = [np.concatenate(column) if len(column) else np.zeros(0) for column in columns]
    low, high, met_low, met_high, state, proved, active = joined
    none = np.zeros(0, np.int64)
    return UnitRanges(
        np.concatenate(numbers) if rows else none, np.concatenate(units) if rows else none,
        low, high, met_low, met_high, state.astype(np.int64), proved.astype(np.bool_), active, *alone,
    )  # fmt: skip


def _states(layer: Layer, low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    """The states of units with these ranges, and whether they stay on one piece; numbers may be fractions."""
    pieces, none = Pieces.of(layer), len(STATES)
    state, one = np.full(layer.units, none), np.zeros(layer.units, np.bool_)
    for unit, (a, b) in enumerate(zip(low, high, strict=True)):
        at = unit if len(pieces.slopes) > 1 else 0
        if not (_finite(a) and _finite(b)):
            state[unit] = STATES.index(FREE)
            continue
        first, last = sum(a >= k for k in pieces.knots[at]), sum(b > k for k in pieces.knots[at])
        one[unit] = first >= last
        if not one[unit]:
            state[unit] = STATES.index(FREE)
        elif pieces.slopes[at, last] != 0:
            state[unit] = STATES.index(ON)
        else:
            state[unit] = STATES.index(SATURATED if pieces.offsets[at, last] else DEAD)
    return state, one


def _finite(number: Any) -> bool:
    return isinstance(number, Fraction) or math.isfinite(number)


def _hull(program: Program, domain: Box | Polytope) -> tuple[Floats, Floats, Floats]:
    """The smallest box around a domain, rounded outwards, and points strictly inside a polytope: one or none."""
    if isinstance(domain, Box):
        if domain.flat:
            raise InvalidInputError(
                "units have proven ranges over a box with low < high in every entry, not in a slice"
            )
        low, high = domain.limits(program.input_shape)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InvalidInputError("units have proven ranges over a bounded domain, and this box is not: give limits")
        return low, high, np.empty((0, len(low)))
    normals, offsets = domain.half_spaces(program.input_shape)
    m = math.prod(program.input_shape)
    rows = [rational.integer_row([*(-n).tolist(), o]) for n, o in zip(normals, offsets.tolist(), strict=True)]
    inner = rational.interior(rows, m)
    if inner is None:
        raise InvalidInputError("the polytope is empty, or has no inside")
    units = [[int(j == i) * sign for j in range(m)] + [0] for i in range(m) for sign in (1, -1)]
    found = rational.least_of(rows, units, inner)
    if any(end is None for end in found):
        raise InvalidInputError("units have proven ranges over a bounded domain, and this polytope is not bounded")
    low = np.array([np.nextafter(float(end), -np.inf) for end in found[::2] if end is not None])
    high = np.array([np.nextafter(-float(end), np.inf) for end in found[1::2] if end is not None])
    middle = [float(x) for x in inner]
    strictly = all(rational.value_at(row, [Fraction(x) for x in middle]) > 0 for row in rows)
    return low, high, np.array([middle]) if strictly else np.empty((0, m))


def _exactly(program: Program, domain: Box | Polytope, most: int) -> ExactRanges | None:
    """Ranges from all regions, where there are few and the network's numbers are rational."""
    units = sum(layer.units for layer in program.layers)
    if math.prod(program.input_shape) > FEW_INPUTS or units > FEW_UNITS or most == 0:
        return None
    source, regions = RegionSource.of(program, domain), []
    if not source.network.rational or source.network.extreme:
        return None
    for region in source:
        regions.append(region)
        if len(regions) > most:
            return None
    found = ExactRanges([layer.units if isinstance(layer.rule, Elementwise) else 0 for layer in program.layers])
    for region in regions:
        found.meet(region.maps, region.sides, region.interior_point.reshape(-1).tolist())
    return found if regions else None


def _points(program: Program, domain: Box | Polytope, low: Floats, high: Floats, inside: Floats, seed: int) -> Floats:
    """Inputs to look at: some of the domain, and those given."""
    share = np.random.default_rng(seed).random((LOOKED_AT, len(low)))
    drawn = np.clip((1 - share) * low + share * high, low, high)
    return np.ascontiguousarray(np.concatenate([_within(program, domain, drawn), inside]))


def _within(program: Program, domain: Box | Polytope, points: Floats) -> Floats:
    """Those points of the box around a domain that are in the domain."""
    if isinstance(domain, Box):
        return points
    normals, offsets = domain.half_spaces(program.input_shape)
    size = np.abs(points) @ np.abs(normals).T + np.abs(offsets)
    return points[(points @ normals.T <= offsets - 1e-12 * size).all(1)]


def _decide(relaxation: Relaxation, number: int, points: Floats, met: _Met, splits: int) -> list[Floats]:
    """Points at which units of a layer are, or may be, on another piece; the bounds of others are narrowed.

    Args:
        relaxation: bounds up to this layer.
        number: the layer.
        points: those that were looked at, and ``met``: what the layer is there.
        splits: how often the domain is split for a unit.
    """
    rule, read = relaxation.program.layers[number].rule, relaxation.reads[number]
    assert isinstance(rule, Elementwise)
    knots = np.broadcast_to(rule.knots, (len(met.low), rule.knots.shape[1]))
    stays = (knots < met.high[:, None]).sum(1) <= (knots <= met.low[:, None]).sum(1)
    above = np.where(knots >= met.high[:, None], knots, np.inf).min(1, initial=np.inf)
    below = np.where(knots <= met.low[:, None], knots, -np.inf).max(1, initial=-np.inf)
    found = []
    for sign, end, goal, start in ((1.0, read.low, below, met.lowest), (-1.0, read.high, -above, met.highest)):
        units = np.flatnonzero(stays & (sign * end.numpy() < goal))
        if not len(units):
            continue
        ends, most = _pushed(relaxation, number, units, -sign, points[start[units]])
        found.append(ends)
        left = torch.from_numpy(units[-most >= goal[units]])
        if splits and len(left):
            closer = sign * branched(relaxation, number, left, sign, torch.from_numpy(goal)[left], splits)
            end[left] = torch.maximum(end[left], closer) if sign > 0 else torch.minimum(end[left], closer)
    return found


def _pushed(relaxation: Relaxation, number: int, units: Ints, sign: float, starts: Floats) -> tuple[Floats, Floats]:
    """Points of the box at which units of a layer, times a sign, are large, by signs of gradients; and how large."""
    program, low, high = relaxation.program, relaxation.box.low, relaxation.box.high
    found, reached = [], []
    for first in range(0, len(units), rows_together(program)):
        part = slice(first, first + rows_together(program))
        x = kept = torch.from_numpy(starts[part])
        best = torch.full((len(x),), -math.inf, dtype=torch.float64)
        for push in range(PUSHES):
            look()
            with torch.enable_grad():
                at = x.clone().requires_grad_()
                read = next(islice(walk(program, at.reshape(-1, *program.input_shape)), number, None))[1][0]
                h = sign * read[torch.arange(len(x)), torch.from_numpy(units[part])]
                (slope,) = torch.autograd.grad(h.sum(), at)
            kept, best = torch.where((h > best)[:, None], x, kept), torch.maximum(best, h.detach())
            step = (high - low) * (1 - push / PUSHES) * slope.sign()
            x = torch.minimum(torch.maximum(x + step, low), high)
        found.append(kept.numpy())
        reached.append(best.numpy())
    return np.concatenate(found), np.concatenate(reached)
