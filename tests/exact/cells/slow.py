"""A slow engine over the reference tree: what queues, estimates and enumeration are tested with."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from tests.exact.cells.reference import Cell, Layer, Row, Tree


class SlowEngine:
    """The engine protocol on linear programs; units are decided in network order."""

    name = "reference"

    def __init__(self, layers: Sequence[Layer], walls: Sequence[Row] = (), exact: bool = False) -> None:
        self.tree = Tree(layers, walls, exact)
        units = self.tree.units
        arrays = SimpleNamespace(m=self.tree.inputs, pieces=np.array(self.tree.pieces), order=np.arange(units))
        self.network = SimpleNamespace(arrays=arrays, units=units, rational=True)

    def run(self, item, *, stop: int | None = None, budget: int = 1 << 16, collect: bool = False):
        """Breadth-first below a prefix; what is open when the budget is used up is left over."""
        from netfold.exact.cells.engine import Cells, Outcome

        stop = self.tree.units if stop is None else stop
        cells, decisions, finished, left = self._at(item), 0, [], []
        while cells:
            depth = len(cells[0].pattern)
            if depth == stop:
                finished = cells
                break
            if decisions >= budget:
                left = cells
                break
            cells, tried = self.tree.children(cells)
            decisions += tried
        radii = [cell.radius for cell in finished] if stop == self.tree.units else [np.nan]
        return Outcome(
            regions=len(finished),
            leftover=[np.array(cell.pattern, np.int16) for cell in left],
            decisions=decisions,
            resolved=0,
            uncertain=0,
            smallest_inradius=float(np.min(radii, initial=np.inf)),
            cells=Cells(
                np.array([cell.pattern for cell in finished], np.int16).reshape(len(finished), stop),
                np.array([self._point(cell) for cell in finished]).reshape(len(finished), self.tree.inputs),
            )
            if collect
            else None,
        )

    def _at(self, item) -> list[Cell]:
        """The cell of a prefix, or none where it is empty."""
        cells = [self.tree.root]
        for state in np.asarray(item).tolist():
            cells = [cell for cell in self.tree.children(cells)[0] if cell.pattern[-1] == state]
        return cells

    def _point(self, cell: Cell) -> Row:
        return np.zeros(self.tree.inputs) if cell.point is None else cell.point
