"""Bounds of pre-activations that get closer where the domain is split by the pieces of earlier units.

A unit whose range holds a knot is below it or above it. On either part of the domain its line is closer, and what the
part is known by, ``h <= knot`` or ``h >= knot``, is added to the function that is bounded, times a number that is not
negative: a lower bound stays one, whatever the number, so the gradient that looks for slopes looks for it, too (Wang et
al., "Beta-CROWN", NeurIPS 2021). The domain's bound is the lowest of its parts'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netfold.exact.numerics.threads import look
from netfold.exact.ranges.intervals import Interval
from netfold.exact.ranges.relaxed import ENTRIES, Bent, Lines, Relaxation

STEPS = 10
"""Steps of the gradient for each part."""

TRIED = 4
"""Parts that tell how many more are needed."""


@dataclass(frozen=True)
class DomainPart:
    """A part of the domain.

    Attributes:
        target: for which unit it was split off.
        ranges: of pre-activations there: stage, unit, lower and upper limit.
        bound: of what is bounded.
        choice: the stage, unit and knot that split it best; none where no unit has one in its range.
    """

    target: int
    ranges: tuple[tuple[int, int, float, float], ...]
    bound: float
    choice: tuple[int, int, float] | None


def branched(relaxation: Relaxation, index: int, units: Tensor, sign: float, goals: Tensor, splits: int) -> Tensor:
    """Lower bounds of some pre-activations of a layer, times a sign, from parts of the domain.

    Args:
        relaxation: bounds of the layers before, and of this one.
        index: the layer's stage.
        units: the units, ``sign`` 1 or -1.
        goals: bounds that are enough.
        splits: how often the domain is split for a unit, at most.
    """
    roots = [DomainPart(target, (), -math.inf, None) for target in range(len(units))]
    parts = {part.target: [part] for part in _bounded(relaxation, index, units, sign, roots)}
    first = {target: part.bound for target, (part,) in parts.items()}
    left = dict.fromkeys(parts, splits)
    while True:
        chosen: list[DomainPart] = []
        for target, mine in parts.items():
            open_ = sorted((p for p in mine if p.bound < goals[target]), key=lambda part: part.bound)
            if open_ and (
                any(part.choice is None for part in open_)
                or _parts_needed(first[target], open_[0].bound, float(goals[target]), len(mine)) > splits
            ):
                left[target] = 0
            chosen += open_[: left[target]]
        if not chosen:
            return torch.tensor([min(p.bound for p in parts[t]) for t in range(len(units))], dtype=torch.float64)
        for part in chosen:
            left[part.target] -= 1
            parts[part.target].remove(part)
        halves = [half for part in chosen for half in _halves(relaxation, part)]
        for part in _bounded(relaxation, index, units, sign, halves):
            parts[part.target].append(part)


def _parts_needed(first: float, bound: float, goal: float, parts: int) -> float:
    """How many parts reach a goal, if every halving of all of them gets as much closer as those until now."""
    if parts < TRIED:
        return parts
    gained = (bound - first) / (goal - first)
    return parts ** (1 / gained) if gained > 0.05 else math.inf  # where nothing is known, it is no number


def _halves(relaxation: Relaxation, part: DomainPart) -> list[DomainPart]:
    """Both sides of a unit's knot."""
    assert part.choice is not None
    at, unit, knot = part.choice
    read = relaxation.reads[at]
    low, high = float(read.low[unit]), float(read.high[unit])
    for stage, number, a, b in part.ranges:
        if (stage, number) == (at, unit):
            low, high = a, b
    others = tuple(r for r in part.ranges if r[:2] != (at, unit))
    ranges = ((*others, (at, unit, low, knot)), (*others, (at, unit, knot, high)))
    return [DomainPart(part.target, mine, part.bound, None) for mine in ranges]


def _bounded(
    relaxation: Relaxation, index: int, units: Tensor, sign: float, parts: Sequence[DomainPart]
) -> list[DomainPart]:
    """The parts with their bounds, not below those they had, and what splits them best."""
    numbers = sum(2 * bent.ends.numel() for bent in relaxation.bent.values())
    together = max(1, ENTRIES // max(numbers, 1))
    found: list[DomainPart] = []
    for first in range(0, len(parts), together):
        look()
        mine = parts[first : first + together]
        target = torch.tensor([part.target for part in mine])
        lines = _lines(relaxation, mine)
        bounds = relaxation.best(index, units[target], sign, lines, STEPS)
        choices = _choices(relaxation, lines, len(mine))
        for part, bound, choice in zip(mine, bounds.tolist(), choices, strict=True):
            found.append(DomainPart(part.target, part.ranges, max(part.bound, bound), choice))
    return found


def _lines(relaxation: Relaxation, parts: Sequence[DomainPart]) -> Lines:
    """Lines for the ranges of each part."""
    rows = len(parts)
    bent, limits, pulls = dict(relaxation.bent), dict[int, Interval](), dict[int, tuple[Tensor, Tensor]]()
    for row, part in enumerate(parts):
        for at, unit, low, high in part.ranges:
            if at not in limits:
                read = relaxation.reads[at]
                limits[at] = Interval(read.low.repeat(rows, 1), read.high.repeat(rows, 1))
            limits[at].low[row, unit], limits[at].high[row, unit] = low, high
    for at, limit in limits.items():
        layer = relaxation.stages[at].layer
        assert layer is not None
        bent[at] = Bent.of(layer, limit)
        pulls[at] = torch.zeros_like(limit.low), torch.zeros_like(limit.high)
    return Lines(bent, Lines.usual(bent, rows).slopes, limits, pulls)


@torch.no_grad()
def _choices(relaxation: Relaxation, lines: Lines, rows: int) -> list[tuple[int, int, float] | None]:
    """For each row the unit whose lines are furthest from its function, times their coefficients, and a knot of it."""
    best, chosen = np.zeros(rows), list[tuple[int, int, float] | None]([None] * rows)
    for at, c in lines.met.items():
        ends, (low, high) = lines.bent[at].ends, lines.slopes[at]
        lost = c.clamp(min=0.0) * lines.bent[at].spread(low) - c.clamp(max=0.0) * lines.bent[at].spread(high)
        knots = ends[..., 1:-1, :]
        inside = ((knots > ends[..., :1, :]) & (knots < ends[..., -1:, :])).expand(rows, -1, -1)
        lost = torch.where(inside.any(1), lost, -1.0).nan_to_num(nan=-1.0, posinf=-1.0)
        most, unit = lost.max(1)
        for row in np.flatnonzero(most.numpy() > best):
            best[row], u = float(most[row]), int(unit[row])
            places = knots.expand(rows, -1, -1)[row, :, u][inside[row, :, u]]
            chosen[row] = at, u, float(places[len(places) // 2])
    return chosen
