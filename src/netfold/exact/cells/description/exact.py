"""Signs of rows at the generators of a cell, in integers: what decides where float64 cannot.

A ray of a cell is the null vector of the constraints that it lies on, turned to the side on which the others are
positive; the lines of a cell are the null space of all its constraints. Rows on a cell follow from the stored weights
and the states of earlier units without rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.exact.cells.description.generators import OPEN, U
from netfold.exact.cells.description.pullback import FIRST, KIND, KNOT, SECOND, SIGN, WALL
from netfold.exact.cells.description.state import BEGIN, END, LINES, RIVAL, WORDS, K, Path, Rows, Store, T
from netfold.exact.cells.network import CellNetwork
from netfold.exact.lp.implied import minimum
from netfold.exact.matrices.coefficients import Floats, Pieces

Integers = list[int]


class Row(NamedTuple):
    """The row ``numbers / scale``."""

    numbers: Integers
    scale: int


class Weights(NamedTuple):
    """A pre-activation row over slots: integer weights and constant over one denominator."""

    terms: list[tuple[int, int]]
    constant: int
    scale: int


class RationalCells:
    """Decides signs for one walk; keeps the rows and generators it made.

    Args:
        network: the network. Where its coefficients are not rational, ties closer than they are known stay open.
    """

    def __init__(self, network: CellNetwork) -> None:
        self.network = network
        self.size = network.arrays.m + (not network.homogeneous)
        self.resolved = 0
        self.uncertain = 0
        self.vectors: list[Integers] = []
        self._weights: dict[int, Weights] = {}
        self._layers: dict[int, tuple[bytes, dict[int, Row]]] = {}

    def settle(self, store: Store, path: Path, rows: Rows) -> None:
        """Fill in the open signs of the current decision, and refresh the generators that it needed."""
        begin, end, lines = (int(path.reg[i]) for i in (BEGIN, END, LINES))
        row, constraints = self._current(path), self._constraints(path)
        scale = Fraction(float(rows.now[self.size])) / row.scale
        self.resolved += 1
        open_before = self.uncertain
        if lines:
            for k, v in enumerate(null_space([c for c, _ in constraints], self.size)):
                self._store(store, begin + k, v)
        for k in range(begin, end):
            if store.sgn[k] != OPEN and not lines:
                continue
            if k >= begin + lines and store.ids[k] < 0:
                self._store(store, k, self._ray(store, path, constraints, k))
            vector = self.vectors[store.ids[k]]
            value = _product(row.numbers, vector) * scale / _largest(vector)
            value = float(value) / float(np.linalg.norm(_entries(vector)))
            if not self.network.rational and abs(value) < 2.0**-200:
                value, self.uncertain = 0.0, open_before + 1
            store.val[k], store.sgn[k] = value, (value > 0) - (value < 0)

    def radius(self, path: Path) -> float:
        """The inradius of the current cell in input space, from its constraints as they stand.

        By duality it is the least of ``sum(w_j b_j)`` over ``w >= 0`` with ``sum(w_j a_j) = 0`` and
        ``sum(w_j |a_j|) = 1``.
        """
        gram, columns = self.network.frame.gram, []
        for numbers, side in self._constraints(path):
            scale = _largest(numbers) * side
            row = [Fraction(v, scale) for v in numbers]
            normal = np.array([float(v) for v in row[:-1]])
            length = math.sqrt(float(normal @ gram @ normal))
            if length > 0.0:
                columns.append([*row[:-1], Fraction(length), row[-1]])
        *matrix, constants = ([column[i] for column in columns] for i in range(self.size + 1))
        least = minimum(matrix, [Fraction(0)] * (self.size - 1) + [Fraction(1)], constants)
        return math.inf if least is None else float(least)

    def _store(self, store: Store, column: int, vector: Integers) -> None:
        store.vec[:, column] = _unit(vector)
        store.dev[column] = 3 * U
        store.ids[column] = len(self.vectors)
        self.vectors.append(vector)

    def _ray(self, store: Store, path: Path, constraints: list[tuple[Integers, int]], column: int) -> Integers:
        words = [int(store.inc[w, column]) for w in range(int(path.reg[WORDS]))]
        met = [c for i, (c, _) in enumerate(constraints) if words[i >> 6] >> (i & 63) & 1]
        for vector in null_space(met, self.size):
            for numbers, side in constraints:
                value = _product(numbers, vector)
                if value:
                    return vector if (value > 0) == (side > 0) else [-v for v in vector]
        raise ArithmeticError("a ray of a cell lies on all of its constraints")

    def _constraints(self, path: Path) -> list[tuple[Integers, int]]:
        """The constraints of the current cell, with the side of each that the cell is on."""
        made: list[tuple[Integers, int]] = []
        for c in path.con[: int(path.total[0])].tolist():
            if c[KIND] == WALL:
                row = self._wall(c[FIRST])
            elif c[KIND] == KNOT:
                row = self._level(path, c[FIRST], c[SECOND])
            else:
                row = self._difference(path, c[FIRST], c[SECOND])
            made.append((row.numbers, c[SIGN]))
        return made

    def _current(self, path: Path) -> Row:
        """The row of the current decision."""
        t, k, rival = int(path.reg[T]), int(path.reg[K]), int(path.reg[RIVAL])
        arrays = self.network.arrays
        if t < 0:
            return self._wall(len(self.network.walls) + t)
        u = int(arrays.order[t])
        layer = int(np.searchsorted(arrays.unit_begin, u, side="right")) - 1
        if not arrays.selects[layer]:
            return self._level(path, u, k)
        row = self._difference(path, int(arrays.candidates[u, k]), int(arrays.candidates[u, rival]))
        return row if arrays.largest[layer] else Row([-v for v in row.numbers], row.scale)

    def _wall(self, w: int) -> Row:
        """A half-space of the domain; -1 is ``t >= 0``."""
        if w < 0:
            return Row([0] * (self.size - 1) + [1], 1)
        numbers = [Fraction(v) for v in self.network.walls[w].tolist()]
        scale = math.lcm(*(v.denominator for v in numbers))
        return Row([int(v * scale) for v in numbers], scale)

    def _level(self, path: Path, u: int, k: int) -> Row:
        """A unit's row minus one of its knots."""
        arrays = self.network.arrays
        layer = int(np.searchsorted(arrays.unit_begin, u, side="right")) - 1
        r = int(arrays.row_begin[layer]) + u - int(arrays.unit_begin[layer])
        row, knot = self._row(path.state, layer, r), Fraction(float(arrays.knots[u, k]))
        return _sum(self.size, [(1, row), (-1, self._constant(knot))])

    def _difference(self, path: Path, a: int, b: int) -> Row:
        layer = int(np.searchsorted(self.network.arrays.row_begin, a, side="right")) - 1
        return _sum(self.size, [(1, self._row(path.state, layer, a)), (-1, self._row(path.state, layer, b))])

    def _constant(self, value: Fraction) -> Row:
        numbers = [0] * self.size
        if value:
            numbers[-1] = value.numerator
        return Row(numbers, value.denominator)

    def _row(self, state: NDArray[np.int16], layer: int, r: int) -> Row:
        """A pre-activation row on the current cell."""
        key = state[: self.network.arrays.unit_begin[layer]].tobytes()
        if layer not in self._layers or self._layers[layer][0] != key:
            self._layers[layer] = key, {}
        known = self._layers[layer][1]
        if r not in known:
            weights = self._integer_weights(r)
            terms = [(w, self._slot(state, slot)) for slot, w in weights.terms]
            row = _sum(self.size, [*terms, (weights.constant, self._constant(Fraction(1)))])
            known[r] = _reduced(Row(row.numbers, row.scale * weights.scale))
        return known[r]

    def _integer_weights(self, r: int) -> Weights:
        if r not in self._weights:
            terms, constant = self.network.exact_row(r)
            scale = math.lcm(constant.denominator, *(w.denominator for w in terms.values()))
            whole = [(slot, int(w * scale)) for slot, w in terms.items()]
            self._weights[r] = Weights(whole, int(constant * scale), scale)
        return self._weights[r]

    def _slot(self, state: NDArray[np.int16], slot: int) -> Row:
        """A coordinate or the output of an earlier unit, as a row."""
        arrays = self.network.arrays
        if slot < arrays.m:
            return Row([int(j == slot) for j in range(self.size)], 1)
        u = slot - arrays.m
        layer = int(np.searchsorted(arrays.unit_begin, u, side="right")) - 1
        s = int(state[u])
        if arrays.selects[layer]:
            return self._row(state, layer, int(arrays.candidates[u, s]))
        pieces = self.network.exact_pieces[layer]
        assert pieces is not None
        own = u - int(arrays.unit_begin[layer])
        slope, offset = _piece(pieces, own, s)
        if slope == 0:
            return self._constant(offset)
        row = self._row(state, layer, int(arrays.row_begin[layer]) + own)
        if slope == 1 and offset == 0:
            return row
        scaled = Row([v * slope.numerator for v in row.numbers], row.scale * slope.denominator)
        return _sum(self.size, [(1, scaled), (1, self._constant(offset))])


def _piece(pieces: Pieces, unit: int, state: int) -> tuple[Fraction, Fraction]:
    own = unit if len(pieces.slopes) > 1 else 0
    return pieces.slopes[own, state], pieces.offsets[own, state]


def _largest(vector: Integers) -> int:
    return max(map(abs, vector))


def _entries(vector: Integers) -> list[float]:
    """A vector scaled so that its largest entry is 1."""
    largest = _largest(vector)
    return [v / largest for v in vector]


def _unit(vector: Integers) -> Floats:
    """A vector scaled to length 1."""
    entries = np.array(_entries(vector))
    return entries / np.linalg.norm(entries)


def _product(a: Integers, b: Integers) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _sum(size: int, terms: Sequence[tuple[int, Row]]) -> Row:
    """A combination of rows with integer factors."""
    terms = [(w, row) for w, row in terms if w and any(row.numbers)]
    scale = math.lcm(1, *(row.scale for _, row in terms))
    total = [0] * size
    for w, row in terms:
        factor = w * (scale // row.scale)
        for j, v in enumerate(row.numbers):
            total[j] += factor * v
    return Row(total, scale)


def _reduced(row: Row) -> Row:
    common = math.gcd(row.scale, *row.numbers)
    return Row([v // common for v in row.numbers], row.scale // common)


def null_space(rows: Sequence[Integers], size: int) -> list[Integers]:
    """A basis of the vectors that are 0 on all rows, in integers without a common factor."""
    pivots: list[int] = []
    reduced: list[Integers] = []
    for row in rows:
        new = list(row)
        for p, known in zip(pivots, reduced, strict=True):
            if new[p]:
                a, b = known[p], new[p]
                new = [a * x - b * y for x, y in zip(new, known, strict=True)]
        if not any(new):
            continue
        new = _primitive(new)
        pivot = next(j for j, v in enumerate(new) if v)
        for i, known in enumerate(reduced):
            if known[pivot]:
                a, b = new[pivot], known[pivot]
                reduced[i] = _primitive([a * x - b * y for x, y in zip(known, new, strict=True)])
        pivots.append(pivot)
        reduced.append(new)
    basis: list[Integers] = []
    for free in (j for j in range(size) if j not in pivots):
        common = math.lcm(1, *(row[p] for p, row in zip(pivots, reduced, strict=True)))
        vector = [0] * size
        vector[free] = common
        for p, row in zip(pivots, reduced, strict=True):
            vector[p] = -row[free] * (common // row[p])
        basis.append(_primitive(vector))
    return basis


def _primitive(vector: Integers) -> Integers:
    common = math.gcd(*vector)
    return [v // common for v in vector]
