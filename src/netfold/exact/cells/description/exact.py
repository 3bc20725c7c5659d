"""Signs of rows at the generators of a cell, in integers: what decides where float64 cannot.

A ray of a cell is the null vector of the constraints that it lies on, turned to the side on which the others are
positive; the lines of a cell are the null space of all its constraints. Rows on a cell follow from the stored weights
and the states of earlier units without rounding.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from netfold.arrays import Floats
from netfold.exact.cells.description.generators import OPEN, U
from netfold.exact.cells.description.pullback import FIRST, KIND, KNOT, SECOND, SIGN, WALL
from netfold.exact.cells.description.state import CellConstraints, GeneratorStore, UnitRows
from netfold.exact.cells.network import CellNetwork
from netfold.exact.lp.rational import Row, inradius, integer_row, null_space
from netfold.exact.matrices.forced import CONSTANT, IntegerRow, combined


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
        self.vectors: list[Row] = []
        self.forced = network.forced_rows()

    def settle(self, store: GeneratorStore, path: CellConstraints, rows: UnitRows) -> None:
        """Fill in the open signs of the current decision, and refresh the generators that it needed."""
        begin, end, lines = (int(path.reg[name][0]) for name in ("begin", "end", "lines"))
        row = self._current(path)
        numbers, scale = self._dense(row), Fraction(float(rows.now[self.size])) / row.scale
        self.resolved += 1
        open_before = self.uncertain
        if lines:
            for k, v in enumerate(null_space([c for c, _ in self._constraints(path)], self.size)):
                self._store(store, begin + k, v)
        for k in range(begin, end):
            if store.sgn[k] != OPEN and not lines:
                continue
            if k >= begin + lines and store.ids[k] < 0:
                self._store(store, k, self._ray(store, path, k))
            vector = self.vectors[store.ids[k]]
            value = _product(numbers, vector) * scale / _largest(vector)
            value = float(value) / float(np.linalg.norm(_entries(vector)))
            if not self.network.rational and abs(value) < 2.0**-200:
                value, self.uncertain = 0.0, open_before + 1
            store.val[k], store.sgn[k] = value, (value > 0) - (value < 0)

    def radius(self, path: CellConstraints) -> float:
        """The inradius of the current cell in input space, from its constraints as they stand."""
        rows = [[side * v for v in numbers] for numbers, side in self._constraints(path)]
        return inradius(rows, self.network.frame.gram)

    def _store(self, store: GeneratorStore, column: int, vector: Row) -> None:
        store.vec[:, column] = _unit(vector)
        store.dev[column] = 3 * U
        store.ids[column] = len(self.vectors)
        self.vectors.append(vector)

    def _ray(self, store: GeneratorStore, path: CellConstraints, column: int) -> Row:
        words = [int(store.inc[w, column]) for w in range(int(path.reg["words"][0]))]
        count = int(path.total[0])
        met = [i for i in range(count) if words[i >> 6] >> (i & 63) & 1]
        others = [i for i in range(count) if not words[i >> 6] >> (i & 63) & 1]
        for vector in null_space([self._constraint(path, i)[0] for i in met], self.size):
            for i in others:
                numbers, side = self._constraint(path, i)
                value = _product(numbers, vector)
                if value:
                    return vector if (value > 0) == (side > 0) else [-v for v in vector]
        raise ArithmeticError("a ray of a cell lies on all of its constraints")

    def _constraints(self, path: CellConstraints) -> list[tuple[Row, int]]:
        """The constraints of the current cell, with the side of each that the cell is on."""
        return [self._constraint(path, i) for i in range(int(path.total[0]))]

    def _constraint(self, path: CellConstraints, i: int) -> tuple[Row, int]:
        c = path.con[i].tolist()
        if c[KIND] == WALL:
            return self._wall(c[FIRST]), c[SIGN]
        if c[KIND] == KNOT:
            return self._dense(self.forced.level(path.state, c[FIRST], c[SECOND])), c[SIGN]
        return self._dense(self._pair(path, c[FIRST], c[SECOND])), c[SIGN]

    def _current(self, path: CellConstraints) -> IntegerRow:
        """The row of the current decision."""
        t, k, rival = (int(path.reg[name][0]) for name in ("t", "k", "rival"))
        arrays = self.network.arrays
        if t < 0:
            *entries, constant = self.network.walls[len(self.network.walls) + t].tolist()
            numbers = {**dict(enumerate(entries)), CONSTANT: constant}
            return IntegerRow.of({j: Fraction(v) for j, v in numbers.items()})
        u = int(arrays.order[t])
        layer = self.forced.layer_of(u)
        if not arrays.selects[layer]:
            return self.forced.level(path.state, u, k)
        return self.forced.difference(path.state, u, *((k, rival) if arrays.largest[layer] else (rival, k)))

    def _wall(self, w: int) -> Row:
        """A half-space of the domain; -1 is ``t >= 0``."""
        return [0] * (self.size - 1) + [1] if w < 0 else integer_row(self.network.walls[w].tolist())

    def _pair(self, path: CellConstraints, a: int, b: int) -> IntegerRow:
        """The difference of two candidates, by the numbers of their rows in the network."""
        begin = self.network.arrays.row_begin
        layer = int(np.searchsorted(begin, a, side="right")) - 1
        one, other = (self.forced.row(path.state, layer, int(r - begin[layer])) for r in (a, b))
        return combined([(1, one), (-1, other)])

    def _dense(self, row: IntegerRow) -> Row:
        return row.dense(range(self.network.arrays.m))[: self.size]


def _largest(vector: Row) -> int:
    return max(map(abs, vector))


def _entries(vector: Row) -> list[float]:
    """A vector scaled so that its largest entry is 1."""
    largest = _largest(vector)
    return [v / largest for v in vector]


def _unit(vector: Row) -> Floats:
    """A vector scaled to length 1."""
    entries = np.array(_entries(vector))
    return entries / np.linalg.norm(entries)


def _product(a: Row, b: Row) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))
