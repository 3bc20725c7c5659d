"""What a proof of a count is about: a network and a domain in exact numbers, as JSON that others can read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from netfold.capture.activations import Selection
from netfold.capture.program import Layer
from netfold.exact.cells.network import CellNetwork
from netfold.exact.matrices.coefficients import Fractions, Pieces
from netfold.exact.matrices.skip import Rows, SkipForm
from netfold.exact.proofs import check_regions as rules

FORMAT = "netfold-statement 1"

SMALL = 2**53
"""Whole numbers below it are written as such: every reader of JSON takes them for what they are."""

IDENTITY = {"knots": [], "slopes": [1], "offsets": [0]}

Output = tuple[int, int, int]
"""Where the output of a unit stands: a layer of the statement, its place there, and 1, or -1 where that is negated."""


@dataclass(frozen=True)
class CountStatement:
    """A network and a domain, as a proof names them.

    Attributes:
        data: the statement, as it is written to a file; a proof holds its SHA-256.
        folded: whether coefficients that are no rational numbers (batch normalisation divides by square roots) were
            rounded to float64: then that is the network which is counted.
    """

    data: bytes
    folded: bool

    @staticmethod
    def of(network: CellNetwork) -> CountStatement:
        """The statement about a network on its frame: inputs that no row reads are left out, they change no count."""
        walls = [[Fraction(v) for v in wall] for wall in network.walls.tolist()]
        writer = _Writer(network.frame.m, not network.rational)
        return writer.statement(network.layers, network.rows, walls, [(0, j, 1) for j in range(network.frame.m)])

    @staticmethod
    def on(
        form: SkipForm, origin: Fractions, directions: Sequence[Sequence[Fraction]], walls: list[list[Fraction]]
    ) -> CountStatement:
        """The statement about a network on the points ``origin + sum_k x[k] directions[k]``: a line, or a plane.

        Its first layer makes the points of input space; ``walls`` are rows ``(a, b)`` that are positive in the domain.
        """
        writer = _Writer(len(directions), not form.rational)
        read = np.unique(np.concatenate([rows.matrix.indices for rows in form.rows] or [np.zeros(0, np.int64)]))
        inputs = [int(j) for j in read if j < form.inputs]
        points = [({k: d[j] for k, d in enumerate(directions)}, origin[j]) for j in inputs]
        slots: list[Output | None] = [None] * form.inputs
        if inputs:
            layer = writer.add(points, [(0, k, 1) for k in range(len(directions))], IDENTITY)
            for place, j in enumerate(inputs):
                slots[j] = (layer, place, 1)
        return writer.statement(form.layers, form.rows, walls, slots)

    @cached_property
    def parsed(self) -> tuple[int, list[rules.StatedLayer], list[list[int]]]:
        """The number of inputs, the layers and the walls, as the checker reads them."""
        return rules.read_statement(self.data)


class _Writer:
    """Layers of a statement, one after the other.

    Args:
        inputs: number of inputs.
        rounded: whether coefficients are rounded to float64.
    """

    def __init__(self, inputs: int, rounded: bool) -> None:
        self.inputs, self.rounded = max(1, inputs), rounded
        self.widths, self.layers = [self.inputs], []

    def statement(
        self,
        layers: Sequence[Layer],
        rows: Sequence[Rows],
        walls: list[list[Fraction]],
        slots: Sequence[Output | None],
    ) -> CountStatement:
        """The statement about layers that read the slots before them."""
        slots = list(slots)
        for layer, read in zip(layers, rows, strict=False):
            if layer.units:
                slots += self.nonlinear(layer, [read.row(r) for r in range(len(read))], slots)
        if not self.layers:
            self.add([({0: Fraction(1)}, Fraction(0))], [(0, 0, 1)], IDENTITY)
        empty = [Fraction(0)] * (self.inputs + 1 - len(walls[0])) if walls else []
        domain = [[self.number(v) for v in [*wall[:-1], *empty, wall[-1]]] for wall in walls]
        lines = [_pair("format", FORMAT), _pair("inputs", self.inputs), _listed("layers", self.layers)]
        text = "{" + ",\n".join([*lines, _listed("domain", domain)]) + "}\n"
        return CountStatement(text.encode("ascii"), self.rounded)

    def nonlinear(self, layer: Layer, rows: list[Any], slots: Sequence[Output | None]) -> list[Output]:
        """Add a layer, or one for every kind of unit in it; gives where its units stand."""
        rule = layer.rule
        if isinstance(rule, Selection):
            sign = 1 if rule.largest else -1
            signed = [({j: sign * v for j, v in row.items()}, sign * constant) for row, constant in rows]
            groups = [[r for r in unit if r >= 0] for unit in rule.candidates.tolist()]
            own = self.add(signed, slots, {"max": groups})
            return [(own, i, sign) for i in range(layer.units)]
        pieces = Pieces.of(layer)
        kinds: dict[tuple[Any, ...], list[int]] = {}
        for i in range(layer.units):
            at = i if len(pieces.slopes) > 1 else 0
            kind = tuple(tuple(part[at]) for part in (pieces.knots, pieces.slopes, pieces.offsets))
            kinds.setdefault(kind, []).append(i)
        places: dict[int, Output] = {}
        for (knots, slopes, offsets), units in kinds.items():
            told = {"knots": knots, "slopes": slopes, "offsets": offsets}
            own = self.add([rows[i] for i in units], slots, {k: [_number(v) for v in p] for k, p in told.items()})
            places |= {i: (own, place, 1) for place, i in enumerate(units)}
        return [places[i] for i in range(layer.units)]

    def add(self, rows: Sequence[Any], slots: Sequence[Output | None], units: dict[str, Any]) -> int:
        """Add a layer whose rows read slots; gives its number."""
        read = {slot for row, _ in rows for slot in row}
        sources = sorted({place[0] for slot in read if (place := slots[slot]) is not None})
        begin = dict(zip(sources, np.cumsum([0, *(self.widths[s] for s in sources)]).tolist(), strict=False))
        width, weight, bias = sum(self.widths[s] for s in sources), [], []
        for row, constant in rows:
            line = [Fraction(0)] * width
            for slot, value in row.items():
                place = slots[slot]
                assert place is not None
                line[begin[place[0]] + place[1]] = place[2] * value
            weight.append([self.number(v) for v in line])
            bias.append(self.number(constant))
        self.layers.append({"from": sources, "weight": weight, "bias": bias, "units": units})
        self.widths.append(len(units.get("max", rows)))
        return len(self.layers)

    def number(self, value: Fraction) -> int | float | str:
        """A coefficient as it is written."""
        return float(value) if self.rounded else _number(value)


def _number(value: Fraction | int) -> int | float | str:
    """A number as it is written: whole, as the float64 that it is, or as a fraction."""
    if value.denominator == 1 and abs(value) < SMALL:
        return int(value)
    try:
        near = float(value)
        return near if Fraction(near) == value else f"{value.numerator}/{value.denominator}"
    except OverflowError:
        return f"{value.numerator}/{value.denominator}"


def _pair(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value)}"


def _listed(name: str, values: Iterable[Any]) -> str:
    """A list, one entry a line."""
    lines = ",\n".join(json.dumps(value) for value in values)
    return f'"{name}": [\n{lines}]' if lines else f'"{name}": []'
