"""Exact ranges of pre-activations over a box: at the corners of all cells, in rational arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from tests.exact.cells.reference import Cell, Layer, Row, Tree

Range = tuple[Fraction, Fraction]


def ranges(layers: Sequence[Layer], walls: Sequence[Row]) -> list[list[Range]]:
    """The lowest and the highest value of every row of every layer, over the closure of a bounded domain."""
    tree = Tree(layers, walls, exact=True)
    found: list[list[Range]] = []
    cells = [tree.root]
    for _, unit in tree.places:
        if unit == 0:
            met = [(cell, list(corners(cell))) for cell in cells]
            values = zip(*([[_at(row, x) for x in points] for row in cell.h] for cell, points in met), strict=True)
            found.append([(min(map(min, row)), max(map(max, row))) for row in values])
        cells = tree.children(cells)[0]
    return found


def corners(cell: Cell) -> Iterator[list[Fraction]]:
    """Where as many of a cell's conditions as there are inputs are 0, and none is negative."""
    rows = [list(row) for row in cell.conditions]
    for chosen in combinations(rows, len(rows[0]) - 1):
        x = _solution([row[:] for row in chosen])
        if x is not None and all(_at(row, x) >= 0 for row in rows):
            yield x


def _at(row: Sequence[Fraction], x: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(row, x, strict=False)), row[-1])


def _solution(rows: list[list[Fraction]]) -> list[Fraction] | None:
    """Gauss and Jordan; ``None`` where there is not one solution."""
    for k in range(len(rows)):
        at = next((i for i in range(k, len(rows)) if rows[i][k] != 0), None)
        if at is None:
            return None
        rows[k], rows[at] = rows[at], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        for i in range(len(rows)):
            if i != k and rows[i][k] != 0:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [-row[-1] for row in rows]
