"""Pre-activations where the units before them have given states: affine functions of the point, without rounding.

Numbers are integers over one denominator a row, which Python adds and multiplies several times faster than fractions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.capture.activations import Selection
from netfold.capture.program import Layer
from netfold.exact.matrices.coefficients import Pieces
from netfold.exact.matrices.skip import Rows

CONSTANT = -1
"""The place of a row's constant among its numbers."""


class IntegerRow(NamedTuple):
    """The affine function ``sum(numbers[j] * x[j]) / scale``, with a 1 at `CONSTANT`; no number is 0."""

    numbers: dict[int, int]
    scale: int

    @staticmethod
    def of(numbers: dict[int, Fraction]) -> IntegerRow:
        """A row of fractions."""
        scale = math.lcm(1, *(v.denominator for v in numbers.values()))
        return IntegerRow({j: int(v * scale) for j, v in numbers.items() if v}, scale)

    def dense(self, columns: Sequence[int]) -> list[int]:
        """The numbers at some coordinates, and the constant."""
        return [*(self.numbers.get(j, 0) for j in columns), self.numbers.get(CONSTANT, 0)]

    def reduced(self) -> IntegerRow:
        """The same function by the smallest integers."""
        common = math.gcd(self.scale, *self.numbers.values())
        return IntegerRow({j: v // common for j, v in self.numbers.items()}, self.scale // common)

    def multiple(self, of: IntegerRow) -> Fraction | None:
        """The factor that makes this row of another one, which is not 0; ``None`` where there is none."""
        first, value = next(iter(of.numbers.items()))
        here = self.numbers.get(first, 0)
        if any(self.numbers.get(j, 0) * value != of.numbers.get(j, 0) * here for j in {*self.numbers, *of.numbers}):
            return None
        return Fraction(here * of.scale, value * self.scale)


def combined(terms: Iterable[tuple[int, IntegerRow]]) -> IntegerRow:
    """A sum of integer multiples of rows.

    Example:
        >>> combined([(2, IntegerRow({0: 1, CONSTANT: 3}, 4)), (-1, IntegerRow({0: 1}, 2))])
        IntegerRow(numbers={-1: 6}, scale=4)
    """
    terms = [(factor, row) for factor, row in terms if factor and row.numbers]
    scale = math.lcm(1, *(row.scale for _, row in terms))
    total: dict[int, int] = {}
    for factor, row in terms:
        whole = factor * (scale // row.scale)
        for j, v in row.numbers.items():
            total[j] = total.get(j, 0) + whole * v
    return IntegerRow({j: v for j, v in total.items() if v}, scale)


def dense_rows(rows: Sequence[IntegerRow]) -> list[list[int]]:
    """Positive multiples of rows, as lists of all coordinates that one of them reads and the constant."""
    columns = sorted({j for row in rows for j in row.numbers} - {CONSTANT})
    return [row.dense(columns) for row in rows]


class ForcedRows:
    """The pre-activations of a network whose units have given states.

    Args:
        layers: its nonlinearities.
        rows: what each of them reads, and after these any other rows, over slots: coordinates, then all units.
        inputs: number of coordinates.
    """

    def __init__(self, layers: Sequence[Layer], rows: Sequence[Rows], inputs: int) -> None:
        self.layers, self.rows, self.inputs = layers, rows, inputs
        self.first: list[int] = np.cumsum([0, *(layer.units for layer in layers)]).tolist()
        self._layer_of = np.repeat(np.arange(len(layers)), [layer.units for layer in layers]).tolist()
        self._pieces: dict[int, Pieces] = {}
        self._weights: dict[tuple[int, int], IntegerRow] = {}
        self._known: dict[int, tuple[bytes, dict[int, IntegerRow]]] = {}

    def layer_of(self, u: int) -> int:
        """The layer of a unit."""
        return self._layer_of[u]

    def dense(self, row: IntegerRow) -> list[int]:
        """The numbers of a row at all coordinates, and its constant."""
        return row.dense(range(self.inputs))

    def level(self, states: NDArray[Any], u: int, k: int) -> IntegerRow:
        """The pre-activation of a unit minus one of its knots."""
        layer, own, pieces, at = self._elementwise(u)
        row, knot = self.row(states, layer, own), pieces.knots[at, k]
        return combined([(1, row), (-1, _constant(knot))]) if knot else row

    def difference(self, states: NDArray[Any], u: int, i: int, j: int) -> IntegerRow:
        """A candidate of a selecting unit minus another one."""
        return combined([(1, self._candidate(states, u, i)), (-1, self._candidate(states, u, j))])

    def between(self, states: NDArray[Any], u: int, rival: int) -> IntegerRow:
        """What is positive on the side of the unit's own state, and negative on that of a rival."""
        own, rule = int(states[u]), self.layers[self.layer_of(u)].rule
        if isinstance(rule, Selection):
            return self.difference(states, u, *((own, rival) if rule.largest else (rival, own)))
        return combined([(1 if rival < own else -1, self.level(states, u, min(own, rival)))])

    def row(self, states: NDArray[Any], layer: int, r: int) -> IntegerRow:
        """A row of a layer; kept until units before the layer have other states."""
        key = states[: self.first[layer]].tobytes()
        if layer not in self._known or self._known[layer][0] != key:
            self._known[layer] = key, {}
        known = self._known[layer][1]
        if r not in known:
            weights = self._integers(layer, r)
            total = combined([(weight, self._slot(states, slot)) for slot, weight in weights.numbers.items()])
            known[r] = IntegerRow(total.numbers, total.scale * weights.scale).reduced()
        return known[r]

    def _integers(self, layer: int, r: int) -> IntegerRow:
        if (layer, r) not in self._weights:
            entries, constant = self.rows[layer].row(r)
            self._weights[layer, r] = IntegerRow.of({**entries, CONSTANT: constant})
        return self._weights[layer, r]

    def _elementwise(self, u: int) -> tuple[int, int, Pieces, int]:
        """The layer of a unit, its number there, the layer's pieces and the unit's place among them."""
        layer = self.layer_of(u)
        if layer not in self._pieces:
            self._pieces[layer] = Pieces.of(self.layers[layer])
        own, pieces = u - self.first[layer], self._pieces[layer]
        return layer, own, pieces, own if len(pieces.slopes) > 1 else 0

    def _candidate(self, states: NDArray[Any], u: int, i: int) -> IntegerRow:
        layer = self.layer_of(u)
        rule = self.layers[layer].rule
        assert isinstance(rule, Selection)
        return self.row(states, layer, int(rule.candidates[u - self.first[layer], i]))

    def _slot(self, states: NDArray[Any], slot: int) -> IntegerRow:
        """A coordinate, the constant or the output of a unit."""
        if slot < self.inputs:
            return IntegerRow({slot: 1}, 1)
        u = slot - self.inputs
        state = int(states[u])
        if isinstance(self.layers[self.layer_of(u)].rule, Selection):
            return self._candidate(states, u, state)
        layer, own, pieces, at = self._elementwise(u)
        slope, offset = pieces.slopes[at, state], pieces.offsets[at, state]
        if not slope:
            return _constant(offset)
        row = self.row(states, layer, own)
        if slope == 1 and not offset:
            return row
        scaled = IntegerRow(row.numbers, row.scale * slope.denominator)
        return combined([(slope.numerator, scaled), (1, _constant(offset))])


def _constant(value: Fraction) -> IntegerRow:
    return IntegerRow({CONSTANT: value.numerator} if value else {}, value.denominator)
