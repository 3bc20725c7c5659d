"""Cells of R^m by means that share nothing with netfold: linear programs, and rational arithmetic.

A network is a list of plain numpy layers. Its cells are found breadth-first, unit by unit: every state that a unit can
be in is tried on every cell, by a linear program (HiGHS: the largest ball in the cell; no shortcut by witnesses) or by
Fourier-Motzkin elimination on integers, which decides strict inequalities without any tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import gcd, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import block_diag

Pattern = tuple[int, ...]
Row = NDArray[Any]
"""An affine function of x, as (weights..., constant); floats, or fractions in an array of objects."""

THICK = 1e-8
"""Cells that hold a ball of this radius are counted by the programs; those near it are refused, not guessed."""

TOGETHER = 64
"""Programs solved as one, block by block: a call costs more than a small program."""


@dataclass(frozen=True)
class Layer:
    """Units on a dense layer.

    Attributes:
        weights: ``(rows, inputs)``, and ``bias``, ``(rows,)``.
        knots: where a unit passes from one piece to the next; its state is how many lie below its pre-activation.
        slopes: of the pieces, one more than knots; the function is continuous and ``at_knot`` at the first knot.
        pool: above 1, a unit is the largest of so many rows in turn, and its state which of them wins.
        skip: "before": the layer's input is added to the rows, "after": to the units.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    knots: tuple[float, ...] = (0.0,)
    slopes: tuple[float, ...] = (0.0, 1.0)
    at_knot: float = 0.0
    pool: int = 1
    skip: str = ""

    @property
    def units(self) -> int:
        return len(self.bias) // self.pool

    @property
    def offsets(self) -> tuple[float, ...]:
        """Of the pieces, so that the function is continuous."""
        offsets = [Fraction(self.at_knot) - Fraction(self.slopes[0]) * Fraction(self.knots[0])]
        for knot, left, right in zip(self.knots, self.slopes, self.slopes[1:], strict=False):
            offsets.append(offsets[-1] + (Fraction(left) - Fraction(right)) * Fraction(knot))
        return tuple(float(v) for v in offsets)


LEAKY = {"slopes": (0.25, 1.0)}
HARDTANH = {"knots": (-1.0, 1.0), "slopes": (0.0, 1.0, 0.0), "at_knot": -1.0}
ABSOLUTE = {"slopes": (-1.0, 1.0)}
SOFTSHRINK = {"knots": (-0.5, 0.5), "slopes": (1.0, 0.0, 1.0)}


@dataclass(frozen=True)
class Cell:
    """The points on which the first units have given states.

    Attributes:
        pattern: the states, in network order.
        conditions: functions that are positive inside.
        image: the input of the current layer, one row an entry; ``h`` its pre-activations.
        radius: of the largest ball inside, at most 1; ``point``: its centre (by programs only).
    """

    pattern: Pattern
    conditions: tuple[Row, ...]
    image: NDArray[Any]
    h: NDArray[Any]
    radius: float = float("nan")
    point: Row | None = None


Decide = Callable[[list[tuple[Row, ...]]], list[tuple[bool, float, Row | None]]]
"""Which systems of conditions hold somewhere: with the radius of a ball where they do, and its centre."""


class Tree:
    """The tree of cells of a network.

    Args:
        layers: the network's hidden layers.
        walls: functions that are positive inside the domain; none for all of R^m.
        exact: whether to decide in rational arithmetic.
    """

    def __init__(self, layers: Sequence[Layer], walls: Sequence[Row] = (), exact: bool = False) -> None:
        self.layers, self.exact = list(layers), exact
        self.inputs = layers[0].weights.shape[1] if layers else 0
        self.decide: Decide = by_elimination if exact else by_programs
        self.walls = tuple(self._numbers(wall) for wall in walls)
        self.places = [(layer, u) for layer in range(len(self.layers)) for u in range(self.layers[layer].units)]

    @property
    def units(self) -> int:
        return len(self.places)

    @cached_property
    def pieces(self) -> list[int]:
        """How many states each unit can be in."""
        return [self._states_of(self.layers[layer]) for layer, _ in self.places]

    @cached_property
    def _maps(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        return [(self._numbers(layer.weights), self._numbers(layer.bias)) for layer in self.layers]

    @property
    def root(self) -> Cell:
        image = self._numbers(np.eye(self.inputs, self.inputs + 1))
        return self._enter(Cell((), self.walls, image, image), 0)

    def children(self, cells: Sequence[Cell]) -> tuple[list[Cell], int]:
        """The cells that one more unit makes of cells at one depth, and how many systems that took to decide."""
        tried = [(cell, state, found) for cell in cells for state, found in self._options(cell)]
        answers = self.decide([(*cell.conditions, *found) for cell, _, found in tried])
        return [
            self._step(cell, state, found, radius, point)
            for (cell, state, found), (holds, radius, point) in zip(tried, answers, strict=True)
            if holds
        ], len(tried)

    def leaves(self) -> list[Cell]:
        cells = [self.root]
        for _ in self.places:
            cells, _ = self.children(cells)
        return cells

    def _states_of(self, layer: Layer) -> int:
        return layer.pool if layer.pool > 1 else len(layer.knots) + 1

    def _options(self, cell: Cell) -> Iterator[tuple[int, tuple[Row, ...]]]:
        """The states that are not ruled out by constants, with what is positive where a unit is in them."""
        number, unit = self.places[len(cell.pattern)]
        layer = self.layers[number]
        if layer.pool > 1:
            yield from self._winners(cell.h[unit * layer.pool : (unit + 1) * layer.pool])
            return
        h, knots = cell.h[unit], self._numbers(np.array(layer.knots))
        if self._is_constant(h):
            yield sum(bool(knot < h[-1]) for knot in knots), ()
            return
        above = [_raised(h, -knot) for knot in knots]
        for state in range(len(knots) + 1):
            yield state, (*above[max(state - 1, 0) : state], *(-row for row in above[state : state + 1]))

    def _winners(self, entries: NDArray[Any]) -> Iterator[tuple[int, tuple[Row, ...]]]:
        """Among entries that are equal everywhere the first one wins."""
        for i, entry in enumerate(entries):
            ahead = {j: entry - other for j, other in enumerate(entries) if j != i}
            fixed = {j: row[-1] for j, row in ahead.items() if self._is_constant(row)}
            if all(lead > 0 or (self._is_zero(lead) and i < j) for j, lead in fixed.items()):
                yield i, tuple(row for j, row in ahead.items() if j not in fixed)

    def _step(self, cell: Cell, state: int, found: tuple[Row, ...], radius: float, point: Row | None) -> Cell:
        cell = replace(
            cell, pattern=(*cell.pattern, state), conditions=(*cell.conditions, *found), radius=radius, point=point
        )
        number, unit = self.places[len(cell.pattern) - 1]
        layer = self.layers[number]
        if unit + 1 < layer.units:
            return cell
        states = np.array(cell.pattern[-layer.units :])
        if layer.pool > 1:
            image = cell.h[np.arange(layer.units) * layer.pool + states]
        else:
            image = self._numbers(np.array(layer.slopes))[states][:, None] * cell.h
            image[:, -1] += self._numbers(np.array(layer.offsets))[states]
        return self._enter(replace(cell, image=image + cell.image if layer.skip == "after" else image), number + 1)

    def _enter(self, cell: Cell, number: int) -> Cell:
        if number == len(self.layers):
            return cell
        weights, bias = self._maps[number]
        h = weights @ cell.image
        h[:, -1] += bias
        return replace(cell, h=h + cell.image if self.layers[number].skip == "before" else h)

    def _numbers(self, values: Any) -> NDArray[Any]:
        array = np.asarray(values)
        if not self.exact:
            return array.astype(np.float64)
        exact = np.empty(array.shape, object)
        exact[...] = np.vectorize(Fraction, otypes=[object])(array) if array.size else array
        return exact

    def _is_zero(self, value: Any) -> bool:
        return bool(value == 0 if self.exact else abs(value) < 1e-12)

    def _is_constant(self, row: Row) -> bool:
        return all(self._is_zero(a) for a in row[:-1])


def patterns(layers: Sequence[Layer], walls: Sequence[Row] = (), exact: bool = False) -> set[Pattern]:
    """The activation patterns of the full-dimensional cells, in network order."""
    return {cell.pattern for cell in Tree(layers, walls, exact).leaves()}


def box(low: Sequence[float], high: Sequence[float]) -> list[Row]:
    """The walls of a box."""
    identity = np.eye(len(low))
    return [
        *(np.append(e, -v) for e, v in zip(identity, low, strict=True)),
        *(np.append(-e, v) for e, v in zip(identity, high, strict=True)),
    ]


def by_programs(systems: list[tuple[Row, ...]]) -> list[tuple[bool, float, Row | None]]:
    """Maximise r <= 1 subject to ``a.x + b >= r |a|`` for every condition; the answer is no where r is not above 0.

    Raises:
        AssertionError: a cell is so thin that floats cannot tell, which no test network should make.
    """
    found = []
    for begin in range(0, len(systems), TOGETHER):
        found += _solved(systems[begin : begin + TOGETHER])
    return found


def _solved(systems: list[tuple[Row, ...]]) -> list[tuple[bool, float, Row | None]]:
    filled = [i for i, system in enumerate(systems) if system]
    answers: list[tuple[bool, float, Row | None]] = [(True, 1.0, None)] * len(systems)
    if not filled:
        return answers
    m = len(systems[filled[0]][0]) - 1
    rows = [np.stack(systems[i]) / np.linalg.norm(np.stack(systems[i])[:, :-1], axis=1)[:, None] for i in filled]
    found = linprog(
        np.tile(np.append(np.zeros(m), -1.0), len(filled)),
        A_ub=block_diag([np.column_stack([-r[:, :-1], np.ones(len(r))]) for r in rows], format="csr"),
        b_ub=np.concatenate([r[:, -1] for r in rows]),
        bounds=[*([(None, None)] * m), (None, 1.0)] * len(filled),
        method="highs-ds",
        options={"presolve": False, "primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert found.status == 0, found.message
    for i, x in zip(filled, found.x.reshape(len(filled), m + 1), strict=True):
        assert not 1e-9 < abs(x[-1]) < THICK, f"a cell of inradius {x[-1]}: decide it in rational arithmetic"
        answers[i] = bool(x[-1] > THICK), float(x[-1]), x[:-1]
    return answers


def by_elimination(systems: list[tuple[Row, ...]]) -> list[tuple[bool, float, Row | None]]:
    """Fourier-Motzkin: strict inequalities have a solution where those with one variable less have one."""
    return [(_holds({_integers(row) for row in system}), float("nan"), None) for system in systems]


def _holds(rows: set[tuple[int, ...]]) -> bool:
    while rows and len(next(iter(rows))) > 1:
        if any(row[-1] <= 0 for row in rows if not any(row[:-1])):
            return False
        rows = _strictest(rows)
        if not rows:
            return True
        signs = [
            (sum(row[k] > 0 for row in rows), sum(row[k] < 0 for row in rows)) for k in range(len(next(iter(rows))) - 1)
        ]
        k = min(range(len(signs)), key=lambda k: signs[k][0] * signs[k][1])
        below = [row for row in rows if row[k] > 0]
        over = [row for row in rows if row[k] < 0]
        met = {_reduced([a * -q[k] + b * p[k] for a, b in zip(p, q, strict=True)]) for p, q in product(below, over)}
        rows = {row[:k] + row[k + 1 :] for row in met | {row for row in rows if row[k] == 0}}
    return all(row[0] > 0 for row in rows)


def _strictest(rows: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    """Of rows with one direction, the one from which the others follow."""
    least: dict[tuple[int, ...], tuple[Fraction, tuple[int, ...]]] = {}
    for row in rows:
        scale = gcd(*row[:-1])
        if scale:
            direction, offset = tuple(v // scale for v in row[:-1]), Fraction(row[-1], scale)
            if direction not in least or offset < least[direction][0]:
                least[direction] = offset, row
    return {row for _, row in least.values()}


def _integers(row: Row) -> tuple[int, ...]:
    scale = lcm(*(v.denominator for v in row))
    return _reduced([int(v * scale) for v in row])


def _reduced(row: list[int]) -> tuple[int, ...]:
    divisor = gcd(*row)
    return tuple(v // divisor for v in row) if divisor > 1 else tuple(row)


def _raised(row: Row, by: Any) -> Row:
    raised = row.copy()
    raised[-1] = raised[-1] + by
    return raised
