"""What a path does to a network's units and images between two of its points, as the two points alone show it.

A unit that is on other pieces at both ends has changed its state at least once in between, and an image is at least as
long as the chord between its ends. So these numbers never exceed the true ones, they grow when a point is put in
between, and they tend to the true ones as points move together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Selection
from netfold.capture.program import Program
from netfold.capture.smooth import of_zero
from netfold.measures.states import has_states, states_of, walk
from netfold.results.trace import Trace

TOGETHER = 2**20
"""Numbers of one layer that are compared at once."""


@dataclass(frozen=True)
class StepColumns:
    """Where the numbers of a network stand in one row of numbers.

    Attributes:
        layers: how many nonlinearities there are.
    """

    layers: int

    @property
    def transitions(self) -> slice:
        """State switches, one a layer."""
        return slice(0, self.layers)

    @property
    def signs(self) -> slice:
        """Sign transitions, one a layer."""
        return slice(self.layers, 2 * self.layers)

    @property
    def lengths(self) -> slice:
        """Lengths of the image after every layer, and in the output."""
        return slice(2 * self.layers, 3 * self.layers + 1)

    @property
    def breakpoints(self) -> int:
        """Places where a unit switches."""
        return 3 * self.layers + 1

    @property
    def total(self) -> int:
        """State switches of all layers."""
        return 3 * self.layers + 2

    @property
    def counts(self) -> Ints:
        """All columns that count something."""
        return np.delete(np.arange(self.total + 1), self.lengths)

    def of_trace(self, trace: Trace) -> Floats:
        """The row of a path that was followed."""
        lengths, met = trace.lengths[1:], trace.regions - 1
        counts = [trace.transitions, trace.sign_transitions, lengths, [met, trace.transitions.sum()]]
        return np.concatenate(counts).astype(np.float64)


def steps(program: Program, points: Tensor, begin: Ints, end: Ints) -> Floats:
    """One row (`StepColumns`) a step from point ``begin`` to point ``end``."""
    columns = StepColumns(len(program.layers))
    found = np.zeros((len(begin), columns.total + 1))
    a, b = (torch.from_numpy(i).to(points.device) for i in (begin, end))
    with torch.no_grad():
        for number, (layer, read, made) in enumerate(walk(program, points)):
            found[:, columns.lengths.start + number] = _chords(made, a, b)
            if layer is None or not has_states(layer, read):
                continue
            states = states_of(layer, read)
            switched = signs = _apart(states, a, b, isinstance(layer.rule, Selection))
            found[:, number] = switched
            if isinstance(layer.rule, Selection):
                signs, switched = np.zeros(len(a)), _places(layer.rule, read, made, states, a, b)
            elif not of_zero(layer):
                signs = _apart(states_of(layer, read, True), a, b, False)
            found[:, columns.signs.start + number] = signs
            found[:, columns.breakpoints] += switched
    found[:, columns.total] = found[:, columns.transitions].sum(1)
    return found


def _chords(image: Tensor, a: Tensor, b: Tensor) -> Floats:
    parts = _parts(image, a, b)
    return torch.cat([torch.linalg.vector_norm(image[j] - image[i], dim=1) for i, j in parts]).double().cpu().numpy()


def _apart(states: Tensor, a: Tensor, b: Tensor, winners: bool) -> Floats:
    """Knots that units have on different sides at both ends; of ``winners``: units with another one."""
    gaps = (states[i] - states[j] for i, j in _parts(states, a, b))
    found = [(gap != 0).sum(1) if winners else gap.abs().sum(1, dtype=torch.int64) for gap in gaps]
    return torch.cat(found).double().cpu().numpy()


def _parts(values: Tensor, a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The steps, few enough at once that their values take little memory."""
    few = max(1, TOGETHER // max(values.shape[1], 1))
    return zip(a.split(few), b.split(few), strict=True)


def _places(rule: Selection, read: Sequence[Tensor], made: Tensor, states: Tensor, a: Tensor, b: Tensor) -> Floats:
    """Breakpoints that new winners make: windows that change between the same two entries change at one place.

    Where several entries are equal at one end (all are 0 after a ReLU), an earlier layer has made the breakpoint.
    """
    h = torch.cat(list(read), 1) if len(read) > 1 else read[0]
    candidates = torch.from_numpy(rule.candidates).to(h.device)
    return np.array([_pairs(h, made, states, candidates, int(i), int(j)) for i, j in zip(a, b, strict=True)])


def _pairs(h: Tensor, made: Tensor, states: Tensor, candidates: Tensor, i: int, j: int) -> float:
    units = torch.nonzero(states[i] != states[j])[:, 0]
    entries = candidates[units]
    for end in (i, j):
        equal = (h[end][entries.clamp(min=0)] == made[end][units][:, None]) & (entries >= 0)
        alone = equal.sum(1) == 1
        units, entries = units[alone], entries[alone]
    winners = torch.stack([entries.gather(1, states[end][units][:, None].long())[:, 0] for end in (i, j)])
    low, high = winners.amin(0), winners.amax(0)
    return float(len(torch.unique(low * h.shape[1] + high)))
