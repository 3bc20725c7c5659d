"""The network as an affine map on each region: what its output would be if no unit ever left its state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from netfold.arrays import Floats
from netfold.capture.activations import Elementwise, Rule
from netfold.capture.program import Program, Values
from netfold.exact.numerics.products import reproducible
from netfold.exact.paths.blocks import advance, tensor
from netfold.exact.plane.layers import States

ROWS = 1024
"""Rows that go through the network at once."""


def affine_values(program: Program, states: Sequence[States], points: torch.Tensor) -> Floats:
    """Outputs of every region's affine map at some points, ``(regions, points, outputs)``.

    Args:
        program: the network.
        states: state numbers, ``(regions, units)`` for every layer.
        points: where to evaluate the maps, ``(points, *input_shape)``; they need not lie in the regions.
    """
    program = reproducible(program)
    regions, count = len(states[0]) if states else 1, len(points)
    outputs = int(np.prod(program.output_shape, dtype=np.int64))
    found = np.empty((regions, count, outputs))
    step = max(1, ROWS // count)
    with torch.no_grad():
        for begin in range(0, regions, step):
            chosen = np.arange(begin, min(begin + step, regions))
            rows = np.repeat(chosen, count)
            x = points[torch.arange(len(rows)) % count]
            y = _follow(program, [layer[rows] for layer in states], x)
            found[chosen] = y.reshape(len(chosen), count, outputs)
    return found


def _follow(program: Program, states: list[States], x: torch.Tensor) -> Floats:
    """Outputs of rows, each with the states of its own region."""
    values: Values = program.start(x)
    for i, stage in enumerate(program.stages):
        h, alive = advance(program, stage, values)
        if stage.layer is None:
            return h
        assert stage.layer.rule is not None
        image = tensor(forced(stage.layer.rule, h, states[i]), stage.layer.shape, program.device)
        values = {**alive, stage.layer.node.index: image}
    raise AssertionError("the last stage of a program has no layer")


def forced(rule: Rule, h: Floats, states: States) -> Floats:
    """A layer's values where every unit stays on the piece, or with the winner, that its state says."""
    if isinstance(rule, Elementwise):
        unit = np.arange(h.shape[1]) if len(rule.slopes) > 1 else np.zeros(h.shape[1], np.int64)
        return rule.slopes[unit, states] * h + rule.offsets[unit, states]
    return np.take_along_axis(h, rule.candidates[np.arange(len(rule.candidates)), states], axis=1)
