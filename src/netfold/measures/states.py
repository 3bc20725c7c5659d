"""States of all units at points, layer by layer, for any captured network; nothing is kept longer than it is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from netfold.capture.activations import Selection
from netfold.capture.program import Layer, Program, cut
from netfold.capture.smooth import alone, knots, of_zero

NUMBERS = 2**24
"""Numbers that one layer's values at a batch of points may take."""


def states_at(program: Program, points: Tensor, signs: bool = False) -> Iterator[tuple[int, Tensor]]:
    """The states of every watchable layer's units, in order: its number, and ``(points, units)``.

    Args:
        program: any captured network, smooth ones too.
        points: ``(points, *input_shape)``.
        signs: whether the state of every unit is the sign of its pre-activation (1: positive), also where it is
            piecewise linear. The state of a unit that selects one of several entries is always which one wins.
    """
    for number, (layer, read, _) in enumerate(walk(program, points)):
        if layer is not None and has_states(layer, read):
            yield number, states_of(layer, read, signs)


def walk(program: Program, points: Tensor) -> Iterator[tuple[Layer | None, list[Tensor], Tensor]]:
    """Every layer with what it reads and what it makes, flattened; then the output, which stands for both."""
    values = program.start(points)
    for stage in cut(program):
        values = program.advance(stage, values)
        read = [values[i].flatten(1) for i in stage.inputs]
        if stage.layer is None:
            yield None, read, read[0]
            return
        made = program.activate(stage.layer, values)
        yield stage.layer, read, made.flatten(1)
        values = {**{i: values[i] for i in stage.alive}, stage.layer.node.index: made}


def has_states(layer: Layer, read: Sequence[Tensor]) -> bool:
    """Whether the units of a layer that reads this have states of their own."""
    return layer.rule is not None or alone(layer, sum(r.shape[1] for r in read))


def states_of(layer: Layer, read: Sequence[Tensor], signs: bool = False) -> Tensor:
    """The state of every unit of a layer that reads this, ``(points, units)``; see `states_at`."""
    rule = layer.rule
    if isinstance(rule, Selection):
        return _winners(rule, torch.cat(list(read), 1) if len(read) > 1 else read[0])
    h = read[0]
    if signs or of_zero(layer):
        return (h > 0).to(torch.int16)
    levels = torch.from_numpy(knots(layer)).to(h.device)
    found = torch.zeros(h.shape, dtype=torch.int16, device=h.device)
    for k in range(levels.shape[1]):
        found += h > levels[:, k]
    return found


def _winners(rule: Selection, h: Tensor) -> Tensor:
    """Which entry wins, the first among equals."""
    candidates = torch.from_numpy(rule.candidates).to(h.device)
    sign = 1.0 if rule.largest else -1.0
    best = torch.full((len(h), len(candidates)), -math.inf, dtype=h.dtype, device=h.device)
    found = torch.zeros(best.shape, dtype=torch.int16, device=h.device)
    for place in range(candidates.shape[1]):
        column = candidates[:, place]
        value = torch.where(column >= 0, sign * h[:, column.clamp(min=0)], -math.inf)
        ahead = value > best
        best, found = torch.where(ahead, value, best), torch.where(ahead, place, found)
    return found


def rows_together(program: Program) -> int:
    """How many points to run through a network at once."""
    widest = max([math.prod(program.input_shape), *(layer.units for layer in program.layers)])
    return max(1, NUMBERS // widest)
