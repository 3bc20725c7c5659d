"""Splitting cells by double description: every cell is held as its vertices, rays and lines."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from netfold.exact.cells.description import state as machine
from netfold.exact.cells.description.exact import RationalCells
from netfold.exact.cells.description.pullback import WALL
from netfold.exact.cells.description.radius import Radius
from netfold.exact.cells.description.restriction import Flats
from netfold.exact.cells.description.state import CellConstraints, FinishedCells, GeneratorStore, UnitRows
from netfold.exact.cells.description.walk import walk as run_walk
from netfold.exact.cells.engine import BUDGET, Cells, Outcome, Prefix, within_range
from netfold.exact.cells.network import CellNetwork
from netfold.exact.numerics.threads import beside, look

DESCRIPTION_LIMIT = 6
"""Coordinates up to which double description is the faster engine."""

COLUMNS = 4104
"""Generators that a new store holds; not a power of two, so that its rows do not share cache lines' places."""

ROOM = 1024
"""Finished cells after which a collecting walk hands them over."""


class DoubleDescription:
    """Counts and collects regions from the vertices, rays and lines of cells.

    Unbounded cells are no special case, and no first units need to be independent. A cell is cut exactly where a
    row has both signs on its generators: the two generators are the witnesses of a cut, and that all signs agree
    proves that there is none. Signs that float64 does not decide are decided in rational arithmetic.

    Args:
        network: the network and its domain.
    """

    name = "double description"

    def __init__(self, network: CellNetwork) -> None:
        self.network = network
        arrays = network.arrays
        self.size = arrays.m + (not network.homogeneous)
        self.layer_of = np.repeat(np.arange(len(arrays.selects)), np.diff(arrays.unit_begin))
        self._local = threading.local()
        self._start = self._domain()

    @beside
    @within_range
    def run(
        self,
        item: Prefix,
        *,
        stop: int | None = None,
        budget: int = BUDGET,
        collect: bool = False,
        inradius: bool = False,
    ) -> Outcome:
        """Walk the tree below a work item; see `Engine.run`."""
        walk = self._walk(stop=self.network.units if stop is None else stop, collect=collect)
        if self._start is None:
            return Outcome(0, cells=walk.cells(), smallest_inradius=math.inf if inradius else math.nan)
        walk.begin(self._start, item, budget)
        if inradius and walk.stop == self.network.units:
            walk.measure()
        walk.go()
        return walk.outcome()

    def _walk(self, stop: int, collect: bool) -> _CellWalk:
        space = getattr(self._local, "space", None)
        if space is None or space.busy:
            space = self._local.space = _Space(self)
        return _CellWalk(self, space, stop, collect)

    def _domain(self) -> _Start | None:
        """The domain as a cell; ``None`` where it is empty or flat."""
        walk = _CellWalk(self, _Space(self), 0, False)
        walk.begin(_whole(self), np.zeros(0, np.int16), 1)
        walk.reg.t = -len(self.network.walls)
        walk.go()
        return _Start(walk) if walk.reg.regions else None


class _Space:
    """Arrays in which one thread walks."""

    def __init__(self, engine: DoubleDescription) -> None:
        network, size = engine.network, engine.size
        a = network.arrays
        units, rows, knots = network.units, len(a.const), a.knots.shape[1]
        widest = int(np.diff(a.row_begin).max(initial=0))
        constraints = 1 + len(network.walls) + units * (knots + a.candidates.shape[1])
        self.busy = False
        self.radius = Radius.of(network.frame.gram, constraints)
        self.store = _store(size, 1, COLUMNS)
        self.flats = Flats.of(size, COLUMNS)
        self.rows = UnitRows(
            raw=np.zeros((rows, size)),
            raw_error=np.zeros(rows),
            unit=np.zeros((units, size)),
            unit_error=np.zeros(units),
            height=np.zeros(units),
            level=np.zeros((units, knots, size + machine.EXTRA)),
            fixed=np.zeros(units, np.int64),
            zero=np.zeros(units, np.bool_),
            lanes=np.zeros((size + 3, widest)),
            shifts=np.zeros(widest),
            tallies=np.zeros((2, widest), np.int64),
            now=np.zeros(size + machine.EXTRA),
        )
        self.path = CellConstraints(
            con=np.zeros((constraints, 4), np.int64),
            planes=np.zeros((constraints, size + 1)),
            total=np.zeros(1, np.int64),
            mark=np.zeros((units, knots), np.int64),
            state=np.zeros(units, np.int16),
            item=np.zeros(0, np.int16),
            pending=np.zeros(units * (knots + 1) + 1, machine.PENDING),
            reg=np.zeros(1, machine.REGISTERS),
        )


def _store(size: int, words: int, columns: int) -> GeneratorStore:
    return GeneratorStore(
        vec=np.zeros((size, columns)),
        dev=np.zeros(columns),
        inc=np.zeros((words, columns), np.uint64),
        ids=np.full(columns, -1, np.int64),
        val=np.zeros(columns),
        sgn=np.zeros(columns, np.int8),
        words=np.zeros(columns, np.uint64),
        scratch=np.zeros((2, columns), np.int64),
        pairs=np.zeros((columns, 2), np.int64),
        square=np.zeros((size, size + 1)),
        inverse=np.zeros((size, size)),
        scratch_square=np.zeros((size, size)),
        residual=np.zeros(size),
    )


class _Start:
    """The cell with which every walk begins: its generators and constraints."""

    def __init__(self, walk: _CellWalk) -> None:
        reg, store, path = walk.reg, walk.space.store, walk.path
        cell = slice(reg.begin, reg.end)
        self.lines = int(reg.lines)
        self.vec, self.dev = store.vec[:, cell].copy(), store.dev[cell].copy()
        self.inc = store.inc[:, cell].copy()
        self.con, self.planes = (part[: int(path.total[0])].copy() for part in (path.con, path.planes))


def _whole(engine: DoubleDescription) -> Any:
    """All of the space: a line for every coordinate and, with ``t``, the origin as a ray, which lies on nothing."""
    m, size = engine.network.arrays.m, engine.size
    start = _Start.__new__(_Start)
    start.lines, start.vec, start.dev = m, np.eye(size), np.zeros(size)
    start.inc = np.zeros((1, size), np.uint64)
    start.con, start.planes = np.zeros((0, 4), np.int64), np.zeros((0, size + 1))
    if size > m:
        start.planes = np.append(start.vec[m], 0.0)[None]
        start.inc[0, :m] = 1
        start.con = np.array([[WALL, -1, 0, 1]])
    return start


class _CellWalk:
    """One walk from a work item: runs the compiled machine and does what it asks for."""

    def __init__(self, engine: DoubleDescription, space: _Space, stop: int, collect: bool) -> None:
        self.engine, self.space, self.path = engine, space, space.path
        self.network = engine.network
        self.exact: RationalCells | None = None
        self.parts: list[Cells] = []
        self.collect = collect
        room = ROOM if collect else 0
        self.found = FinishedCells(np.zeros((room, stop), np.int16), np.zeros((room, self.network.arrays.m)))
        self.budget = 1
        self.stop, self.spent, self.measured, self.radius = stop, False, False, space.radius
        self.reg: Any = space.path.reg.view(np.recarray)[0]
        space.path.reg[:] = 0
        self.item = self.path.item

    def begin(self, start: _Start, item: Prefix, budget: int) -> None:
        """Stand before the first decision."""
        reg, count = self.reg, len(start.dev)
        words = len(start.inc)
        while self.space.store.vec.shape[1] < 4 * count:
            self._widen()
        while len(self.space.store.inc) < words:
            self._more_words()
        store = self.space.store
        store.vec[:, :count], store.dev[:count] = start.vec, start.dev
        store.inc[:words, :count] = start.inc
        store.inc[words:, :count] = 0
        store.ids[:count] = -1
        self.path.con[: len(start.con)], self.path.planes[: len(start.con)] = start.con, start.planes
        self.path.total[0] = len(start.con)
        self.item = np.ascontiguousarray(item, np.int16)
        reg.end, reg.lines = count, start.lines
        reg.words = len(store.inc)
        self.budget = max(1, budget)
        reg.limit, reg.given = self.budget, len(item)
        reg.stop, reg.collect = self.stop, self.collect

    def measure(self) -> None:
        """Have the smallest radius found. Cones hold balls of any size."""
        self.radius.best[0] = self.network.frame.ceiling
        self.measured = True
        self.reg.radius = not self.network.homogeneous and self.network.arrays.m > 0

    def go(self) -> None:
        """Walk until the item is done or the budget spent."""
        self.space.busy = True
        try:
            while True:
                look()
                path = self.path._replace(item=self.item)
                code = run_walk(
                    self.network.arrays, self.network.walls, self.engine.layer_of, self.space.store, path,
                    self.space.rows, self.space.flats, self.found, self.radius, self.engine.size,
                    not self.network.homogeneous,
                )  # fmt: skip
                if code in (machine.DONE, machine.BUDGET_SPENT):
                    break
                self._help(code)
        finally:
            self.space.busy = False
        self.spent = code == machine.BUDGET_SPENT

    def _help(self, code: int) -> None:
        if code == machine.OPEN_SIGNS:
            self.exact = self.exact or RationalCells(self.network)
            self.exact.settle(self.space.store, self.path, self.space.rows)
            self.reg.settled = 1
        elif code == machine.THIN_CELL:
            self.exact = self.exact or RationalCells(self.network)
            self.radius.best[0] = min(self.radius.best[0], self.exact.radius(self.path))
            self.reg.measured = 1
        elif code == machine.FULL_STORE:
            self._widen()
        elif code == machine.FULL_WORDS:
            self._more_words()
            self.reg.words = len(self.space.store.inc)
        else:
            self._hand_over()

    def _widen(self) -> None:
        """Twice as many generators."""
        old = self.space.store
        new = _store(len(old.vec), len(old.inc), 2 * old.vec.shape[1])
        for a, b in zip(old[:6], new[:6], strict=True):
            b[..., : a.shape[-1]] = a
        self.space.store = new
        self.space.flats = Flats.of(self.engine.size, new.vec.shape[1])

    def _more_words(self) -> None:
        """Bits for 64 constraints more."""
        old = self.space.store
        self.space.store = old._replace(inc=np.concatenate([old.inc, np.zeros_like(old.inc[:1])]))

    def _hand_over(self) -> None:
        count = int(self.reg.collected)
        self.parts.append(Cells(self.found.states[:count].copy(), self.found.points[:count].copy()))
        self.reg.collected = 0

    def cells(self) -> Cells | None:
        """The finished cells, where they were asked for."""
        if not self.collect:
            return None
        self._hand_over()
        return Cells.joined(self.parts)

    def outcome(self) -> Outcome:
        """What the walk found."""
        reg = self.reg
        smallest = math.nan if not self.measured else math.inf
        if self.measured and reg.regions:
            smallest = float(self.radius.best[0])
        return Outcome(
            regions=int(reg.regions),
            leftover=self._leftover() if self.spent else [],
            decisions=self._decisions(),
            resolved=self.exact.resolved if self.exact else 0,
            uncertain=self.exact.uncertain if self.exact else 0,
            smallest_inradius=smallest,
            cells=self.cells(),
        )

    def _decisions(self) -> int:
        """Decisions below the item; the way to it moved the limit on."""
        reg = self.reg
        return int(reg.decisions - reg.limit) + self.budget if reg.opened else 0

    def _leftover(self) -> list[Prefix]:
        """What is pending, and the cell at which the budget was spent."""
        a, path = self.network.arrays, self.path
        decided = path.state[a.order]
        items = [decided[: int(self.reg.t)].copy()]
        for p in path.pending[: int(self.reg.pending)]:
            t, state = int(p["t"]), int(p["state"])
            states = [state]
            if p["select"]:
                choices = a.candidates[a.order[t]]
                states = [i for i in range(state, len(choices)) if choices[i] >= 0]
            items += [np.append(decided[:t], np.int16(s)).astype(np.int16) for s in states]
        return items
