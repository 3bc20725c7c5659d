"""Whether the network's output bends at a breakpoint: the column of the unit that changes, pushed to the output.

Where one unit changes its state, the slope of the path's image jumps in that unit alone; the layers that follow are
affine around the breakpoint, up to units that leave their knots there, and pass the jump on. The output bends exactly
if what arrives is not zero, which error bounds (`certificate.rounding`) decide, or leave open.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.arrays import Floats
from netfold.capture.activations import Selection
from netfold.capture.program import Layer
from netfold.exact.certificate.proof import Decisions, Stretches
from netfold.exact.certificate.rounding import LOST, SLACK, SMALL, Evaluation, tiniest
from netfold.exact.matrices.coefficients import Pieces, Step, split

Jump = tuple[Floats, Floats]
"""Jumps of slopes and bounds on their errors, one row a cell."""


class Jumps:
    """The jumps of slopes at the breakpoints of some cells, on their way through the layers."""

    def __init__(self, evaluation: Evaluation, cells: Stretches) -> None:
        self.evaluation, self.cells = evaluation, cells
        program, rows = evaluation.program, len(cells.left)
        size = int(np.prod(program.input_shape, dtype=np.int64))
        self.values: dict[int, Jump] = {0: (np.zeros((rows, size)), np.zeros((rows, size)))}

    def pass_layer(self, index: int, d: Decisions) -> None:
        """Pass a layer, and add the jumps that begin there."""
        program, cells = self.evaluation.program, self.cells
        layer, stage = program.layers[index], program.stages[index]
        jump, error = self._read(index)
        a, m, b = cells.left, np.where(cells.middle < 0, cells.left, cells.middle), cells.right
        state = np.where(d.fixed[a], d.state[b], np.where(d.fixed[b], d.state[a], d.state[m]))
        image = _selected(layer.rule, state, jump, error) if isinstance(layer.rule, Selection) else (
            _scaled(layer, state, jump, error)
        )  # fmt: skip
        begin = np.flatnonzero(cells.layer == index)
        bends = _bends(layer, cells.unit[begin], cells.origin[begin], cells.target[begin])
        image[0][begin, cells.unit[begin]] = bends
        self.values = {i: self.values[i] for i in stage.alive} | {layer.node.index: image}

    def kinks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """In which cells the output bends, and of which that is certain."""
        jump, error = self._read(len(self.evaluation.program.stages) - 1)
        kinks = np.asarray((np.abs(jump) > error).any(1))
        return kinks, np.asarray(kinks | ((jump == 0.0) & (error == 0.0)).all(1))

    def _read(self, index: int) -> Jump:
        """What the end of a stage reads."""
        for step in self.evaluation.steps[index]:
            self.values[step.node.index] = self._step(step)
        read = [self.values[i] for i in self.evaluation.program.stages[index].inputs]
        return np.concatenate([jump for jump, _ in read], 1), np.concatenate([error for _, error in read], 1)

    def _step(self, step: Step) -> Jump:
        rows, outputs = len(self.cells.left), len(step.constant)
        total, bound = np.zeros((rows, outputs)), np.zeros((rows, outputs))
        for term in step.terms:
            jump, error = self.values[term.source]
            total += term.linear(torch.from_numpy(jump).reshape(rows, *term.shape)).reshape(rows, -1).numpy()
            reached = torch.from_numpy(error + step.roundings * _EPS * np.abs(jump)).reshape(rows, *term.shape)
            bound += term.magnitude(reached).reshape(rows, -1).numpy()
            if step.tiniest * min(tiniest(jump), tiniest(error)) < SMALL:
                bound += step.roundings * LOST
        return total, bound * SLACK


_EPS = 2.0**-51
"""Twice that of float64: coefficients too may be rounded here."""


def _scaled(layer: Layer, state: NDArray[np.int64], jump: Floats, error: Floats) -> Jump:
    slopes, rest = split(Pieces.of(layer).slopes)
    unit = np.arange(layer.units) if len(slopes) > 1 else np.zeros(layer.units, np.int64)
    slope, missed = slopes[unit, state], rest[unit, state]
    size = np.abs(jump)
    bound = np.abs(slope) * (error + _EPS * size) + np.abs(missed) * (size + error)
    lost = np.where((slope != 0.0) & (size + error > 0.0) & (size + error < SMALL), LOST, 0.0)
    return slope * jump, SLACK * bound + lost


def _selected(rule: Selection, state: NDArray[np.int64], jump: Floats, error: Floats) -> Jump:
    entries = np.asarray(rule.candidates)[np.arange(len(rule.candidates)), state]
    return np.take_along_axis(jump, entries, 1), np.take_along_axis(error, entries, 1)


def _bends(
    layer: Layer, unit: NDArray[np.int64], origin: NDArray[np.int64], target: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether units' images bend where they change: not between pieces of one slope."""
    if isinstance(layer.rule, Selection):
        return np.ones(len(unit), np.bool_)
    slopes = Pieces.of(layer).slopes
    row = unit if len(slopes) > 1 else np.zeros(len(unit), np.int64)
    return np.array(slopes[row, origin] != slopes[row, target], np.bool_)
