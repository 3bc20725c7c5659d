"""The simplex engine: splits cells of any dimension, one small linear program a decision."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from netfold.arrays import Floats
from netfold.domains import Box
from netfold.exact.cells.engine import BUDGET, Cells, Outcome, Prefix, within_range
from netfold.exact.cells.network import CellNetwork
from netfold.exact.cells.simplex import tree
from netfold.exact.cells.simplex.exact import Judge, RationalNode, Thin, WalkFindings, held
from netfold.exact.cells.simplex.rows import plan_of
from netfold.exact.cells.simplex.splitting import ABOVE, BELOW, BOTH, ZERO
from netfold.exact.lp.rational import Point, Row, integer_row, interior, value_at
from netfold.exact.numerics.threads import beside, look

ROOM = 1024
"""Finished cells after which a collecting walk hands them over."""


class Simplex:
    """Counts and collects regions from points inside cells.

    A split cuts a cell where two points strictly inside, beyond what rounding can do, lie on its two sides; that it
    does not is proved by multipliers of the cell's constraints (see `simplex_proof`). What float64 leaves open is
    decided in rational arithmetic.

    Args:
        network: the network and its domain.
    """

    name = "simplex"

    def __init__(self, network: CellNetwork) -> None:
        self.network = network
        self.plan = plan_of(network.arrays, network.walls, network.frame.gram)
        self.walls = [integer_row(w) for w in network.walls.tolist()]
        self.start: Point | None = _inside(network, self.walls)
        self._local = threading.local()

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
        end = self.network.units if stop is None else stop
        whole = inradius and end == self.network.units
        run = _Run(self, np.ascontiguousarray(item, np.int16)[:end], end, max(1, budget), collect, whole)
        if self.start is not None:
            run.walk(self.start)
        return run.outcome()

    def place(self) -> tree.Place:
        """This thread's room for a walk."""
        place = getattr(self._local, "place", None)
        if place is None:
            depth = self.plan.positions + self.network.units + 1
            place = self._local.place = tree.place_of(self.plan, depth, ROOM)
        return place


def _inside(network: CellNetwork, walls: list[Row]) -> Point | None:
    """A point strictly inside the domain that lies on no hyperplane by accident; ``None`` where there is none."""
    m, rng = network.arrays.m, np.random.default_rng(0)
    if not walls:
        return [Fraction(x) for x in rng.normal(scale=1e-3, size=m).tolist()]
    if isinstance(network.domain, Box):  # a linear program would take minutes in hundreds of coordinates
        low, high = (limit[network.frame.coordinates] for limit in network.domain.limits(network.frame.shape))
        low = np.where(np.isfinite(low), low, np.minimum(high, 1.0) - 2.0)
        high = np.where(np.isfinite(high), high, low + 2.0)
        share = rng.uniform(0.375, 0.625, m)
        middle = [Fraction(x) for x in ((1.0 - share) * low + share * high).tolist()]
        if all(value_at(row, middle) > 0 for row in walls):
            return middle
    point = interior(walls, m)
    near = held(walls, point) if point is not None else None
    return [Fraction(x) for x in near.tolist()] if near is not None else point


@dataclass
class _Run:
    """One walk: runs the compiled tree and decides what it leaves open."""

    engine: Simplex
    item: Prefix
    stop: int
    budget: int
    collect: bool
    inradius: bool
    found: list[WalkFindings] = field(default_factory=list)
    parts: list[Cells] = field(default_factory=list)
    leftover: list[Prefix] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network, self.arrays = self.engine.network, self.engine.network.arrays
        self.judge = Judge(self.network.rational)
        self.place = self.engine.place()
        self.now: Any = self.place.walk.now.view(np.recarray)[0]
        self.thin = Thin(self.network, self.judge)
        self.walls = self.engine.walls

    def walk(self, start: Point) -> None:
        """Walk until the item is done or the budget spent."""
        near = np.array([float(x) for x in start])
        self._reset(near)
        if [Fraction(x) for x in near.tolist()] != start:
            self._thin([RationalNode(np.zeros(0, np.int16), self.walls, start)])
            return
        while True:
            look()
            reason = tree.advance(self.engine.plan, *self.place)
            if reason == tree.FULL:
                self._hand_over()
            elif reason != tree.DOUBT or not self._decide():
                break
        if reason == tree.SPENT:
            self._leave()

    def _reset(self, near: Floats) -> None:
        _, cell, walk = self.place
        now, plan = self.now, self.engine.plan
        walk.now[:] = 0
        now.entered, now.answer, now.bare = -1, tree.NONE, 1
        now.stop, now.given, now.budget = self.stop, len(self.item), self.budget
        now.collect, now.radius = self.collect, self.inradius
        walk.item[: len(self.item)] = self.item
        walk.logged[0], walk.least[0] = 0, np.inf
        cell.side[:] = 0.0
        cell.side[plan.net.m : plan.first] = 1.0
        cell.inner[:] = near

    def _decide(self) -> bool:
        """Answer an open split; false where the walk ends with that."""
        _, cell, walk = self.place
        now = self.now
        t, step = int(now.unit), int(now.step)
        u = int(self.arrays.order[t])
        given = t < len(self.item)
        rows = self._constraints()
        if self.thin.selects(u):
            count = int(self.arrays.pieces[u]) + 1
            i, j = divmod(step, count)
            split = self.thin.lead(walk.states, u, min(i, j), max(i, j))
            wanted = ABOVE if (i < j) == self.thin.largest(u) else BELOW
            first, rival = i, j
        else:
            split = self.thin.knot(walk.states, u, step)
            wanted = (ABOVE if self.item[t] > step else BELOW) if given else ZERO
            first, rival = step, None
        inner = [Fraction(x) for x in cell.inner.tolist()]
        before = self.judge.resolved, self.judge.uncertain
        below, above = self.judge.decide(rows, split, inner, self._tight(rows))
        if given:
            self.judge.resolved, self.judge.uncertain = before
        if below is None or above is None:
            now.answer = ABOVE if above is not None else (BELOW if below is not None else ZERO)
            return True
        return self._cut(rows, split, (below, above), wanted, first, rival)

    def _cut(
        self, rows: list[Row], split: Row, points: tuple[Point, Point], wanted: int, first: int, rival: int | None
    ) -> bool:
        """Hand a cut to the compiled walk; a part that float64 has no point in is walked here."""
        cell, now = self.place.cell, self.now
        thin: dict[int, RationalNode] = {}
        prefix = self.place.walk.states[self.arrays.order[: now.unit]].copy()
        for half, (side, point) in enumerate(zip((BELOW, ABOVE), points, strict=True)):
            part = [*rows, [side * v for v in split]]
            near = held(part, point)
            if near is not None:
                cell.halves[half] = near
            else:
                thin[side] = RationalNode(prefix, part, point)
        now.answer = {
            (): BOTH,
            (BELOW,): tree.HALF_ABOVE,
            (ABOVE,): tree.HALF_BELOW,
            (BELOW, ABOVE): tree.NEITHER,
        }[tuple(thin)]
        for side, node in thin.items():
            if wanted in (side, ZERO):
                self._thin(self._after(node, side, first, rival))
        return wanted == ZERO or wanted not in thin or (rival is not None and now.unit >= len(self.item))

    def _after(self, node: RationalNode, side: int, first: int, rival: int | None) -> list[RationalNode]:
        """The cells into which the unit at hand splits a part, after the split at hand."""
        if rival is not None:
            return list(self.thin.children(node, first, rival + 1))
        if side == BELOW:
            return [node._replace(states=np.append(node.states, np.int16(first)).astype(np.int16))]
        return list(self.thin.children(node, first + 1))

    def _thin(self, nodes: list[RationalNode]) -> None:
        nodes = [n for n in nodes if all(a == b for a, b in zip(n.states, self.item, strict=False))]
        left = max(1, self.budget - int(self.now.decisions))
        self.found.append(self.thin.walk(nodes, self.item, self.stop, left, self.inradius))

    def _constraints(self) -> list[Row]:
        """The constraints of the current cell, exactly."""
        walk = self.place.walk
        return [*self.walls, *(self._constraint(h) for h in walk.log[: walk.logged[0]].tolist())]

    def _constraint(self, h: int) -> Row:
        plan, states = self.engine.plan, self.place.walk.states
        s = h - plan.first
        u = int(np.searchsorted(plan.unit_split, s, side="right")) - 1
        k = s - int(plan.unit_split[u])
        if self.thin.selects(u):
            count = int(self.arrays.pieces[u])
            i, j = [(i, j) for i in range(count) for j in range(i + 1, count)][k]
            row = self.thin.lead(states, u, i, j)
        else:
            row = self.thin.knot(states, u, k)
        return row if self.place.cell.side[h] > 0 else [-v for v in row]

    def _tight(self, rows: list[Row]) -> list[Row]:
        """The constraints that are tight in the dictionary: they may prove that there is no cut."""
        plan, walk = self.engine.plan, self.place.walk
        place = {h: i + len(self.walls) for i, h in enumerate(walk.log[: walk.logged[0]].tolist())}
        place |= {plan.net.m + i: i for i in range(len(self.walls))}
        return [rows[place[b]] for b in self.place.cell.basis.tolist() if b in place]

    def _leave(self) -> None:
        """What is pending, and the cell at which the budget was spent."""
        walk, order = self.place.walk, self.arrays.order
        decided = walk.states[order]
        self.leftover.append(decided[: int(self.now.unit)].copy())
        for t, step, *_ in walk.frame[: self.now.depth].tolist():
            u = int(order[t])
            states = [step]
            if self.thin.selects(u):
                count = int(self.arrays.pieces[u])
                states = list(range(step // (count + 1), count))
            self.leftover += [np.append(decided[:t], np.int16(s)).astype(np.int16) for s in states]

    def _hand_over(self) -> None:
        walk = self.place.walk
        count = int(self.now.kept)
        self.parts.append(Cells(walk.kept_states[:count, : self.stop].copy(), walk.kept_points[:count].copy()))
        self.now.kept = 0

    def outcome(self) -> Outcome:
        """What the walk found."""
        now, least = self.now, float(self.place.walk.least[0])
        started = self.engine.start is not None
        radius = min([least, self.network.frame.ceiling, *(f.least for f in self.found)]) if started else np.inf
        return Outcome(
            regions=int(now.regions) * started + sum(f.regions for f in self.found),
            leftover=[*self.leftover, *(p for f in self.found for p in f.leftover)],
            decisions=int(now.decisions) * started + sum(f.decisions for f in self.found),
            resolved=self.judge.resolved,
            uncertain=self.judge.uncertain,
            smallest_inradius=radius if self.inradius else float("nan"),
            cells=self._cells() if self.collect else None,
        )

    def _cells(self) -> Cells:
        if self.engine.start is not None:
            self._hand_over()
        m, order = self.arrays.m, self.arrays.order
        empty = Cells(np.zeros((0, self.stop), np.int16), np.zeros((0, m)))
        for f in self.found:
            if f.states:
                states = np.array(f.states, np.int16)
                if self.stop == self.network.units:
                    states[:, order] = states.copy()
                self.parts.append(Cells(states, np.array(f.points)))
        return Cells.joined([empty, *self.parts])
