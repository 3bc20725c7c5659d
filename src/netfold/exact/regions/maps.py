"""The network on one region: its rows and outputs as affine functions of the input, in float64 and exactly.

States of all units make every pre-activation one affine function of the point. Rows that rounding leaves in doubt -
because what they are made of cancels - are taken in rational arithmetic, so that a row that is constant is seen to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Bools, Floats
from netfold.capture.activations import Elementwise, Selection
from netfold.capture.program import Layer
from netfold.exact.matrices.forced import ForcedRows, IntegerRow
from netfold.exact.matrices.skip import Rows, SkipForm

DOUBT = 2.0**-36
"""Entries smaller than this share of what they were added up from may be nothing but rounding."""


@dataclass(frozen=True)
class Affine:
    """Affine functions of the input: ``weight @ x + bias``.

    Attributes:
        weight: ``(rows, inputs)``, and ``bias``: ``(rows,)``.
        doubtful: which rows may hold nothing but rounding.
    """

    weight: Floats
    bias: Floats
    doubtful: Bools


class RegionMaps:
    """The affine functions of a region of one network.

    Args:
        form: the network in skip form.
        states: states of all its units, in network order; ``states`` then holds those of each layer.
    """

    def __init__(self, form: SkipForm, states: NDArray[np.int16]) -> None:
        self.form = form
        self.forced = ForcedRows(form.layers, [*form.rows, form.output], form.inputs)
        self.flat = states.astype(np.int64)
        self.states = [self.flat[a:b] for a, b in pairwise(self.forced.first)]

    @cached_property
    def _walked(self) -> list[Affine]:
        """What every layer reads, then the output."""
        n = self.form.inputs
        slots = self.form.output.slots
        z, size, found = np.zeros((slots, n + 1)), np.zeros((slots, n + 1)), []
        z[:n, :n] = size[:n, :n] = np.eye(n)
        ends = pairwise(self.forced.first)
        for (a, b), layer, rows, states in zip(ends, self.form.layers, self.form.rows, self.states, strict=True):
            h, sizes = _applied(rows, z, size)
            found.append(_affine(h, sizes))
            units = slice(n + a, n + b)
            z[units], size[units] = _forced(layer, h, sizes, states)
        return [*found, _affine(*_applied(self.form.output, z, size))]

    def layer(self, number: int) -> Affine:
        """The pre-activations of a layer."""
        return self._walked[number]

    @property
    def output(self) -> Affine:
        """The network's output."""
        return self._walked[-1]

    def exact_output(self, r: int) -> IntegerRow:
        """A row of the output exactly, over the input coordinates."""
        return self.forced.row(self.flat, len(self.form.layers), r)


def _applied(rows: Rows, z: Floats, size: Floats) -> tuple[Floats, Floats]:
    h, sizes = rows.matrix @ z, abs(rows.matrix) @ size
    h[:, -1] += rows.constants
    sizes[:, -1] += np.abs(rows.constants)
    return h, sizes


def _forced(layer: Layer, h: Floats, sizes: Floats, states: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Outputs of units that stay on the pieces, or with the winners, that their states say."""
    rule, units = layer.rule, np.arange(layer.units)
    if isinstance(rule, Selection):
        winner = rule.candidates[units, states]
        return h[winner], sizes[winner]
    assert isinstance(rule, Elementwise)
    one = units if len(rule.slopes) > 1 else np.zeros_like(units)
    slope, offset = rule.slopes[one, states], rule.offsets[one, states]
    image, size = slope[:, None] * h, np.abs(slope)[:, None] * sizes
    image[:, -1] += offset
    size[:, -1] += np.abs(offset)
    return image, size


def _affine(h: Floats, sizes: Floats) -> Affine:
    entries, scale = np.abs(h[:, :-1]), sizes[:, :-1]
    doubtful = (entries.max(1, initial=0.0) <= DOUBT * scale.max(1, initial=0.0)) & (scale.max(1, initial=0.0) > 0)
    return Affine(h[:, :-1], h[:, -1], doubtful)
