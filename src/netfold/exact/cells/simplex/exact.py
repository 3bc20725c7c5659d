"""What float64 leaves open in the simplex engine, decided in rational arithmetic.

`Judge` decides whether a split cuts a cell; `Thin` makes the splits from the stored weights without rounding, and walks
cells that are so thin that float64 has no point inside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from netfold.arrays import Floats
from netfold.exact.cells.engine import Prefix
from netfold.exact.cells.network import CellNetwork, States
from netfold.exact.lp import rational
from netfold.exact.lp.ball import largest_ball
from netfold.exact.lp.rational import Point, Row, lowest, primitive, supports, value_at

BLUR = Fraction(1, 2**200)
"""Values below it are ties where coefficients are not rational: these are known to 2^-400."""


class SplitVerdict(NamedTuple):
    """Where a split is negative and where positive, inside a cell: a point for each side that there is.

    Where both are ``None`` the split is zero on the whole cell.
    """

    below: Point | None
    above: Point | None


class Judge:
    """Decides splits exactly; counts its decisions, and those that are ties up to what is known of the coefficients."""

    def __init__(self, rational: bool) -> None:
        self.blur = Fraction(0) if rational else BLUR
        self.resolved = 0
        self.uncertain = 0

    def decide(self, rows: list[Row], target: Row, inner: Point, proposal: list[Row] | None = None) -> SplitVerdict:
        """Whether ``target`` cuts the cell of ``rows``, of which ``inner`` is a point strictly inside.

        Args:
            rows: the cell.
            target: the split.
            inner: a point strictly inside.
            proposal: constraints that may prove that it does not cut.
        """
        self.resolved += 1
        largest = max(map(abs, target))
        if max(map(abs, target[:-1]), default=0) <= self.blur * largest:
            self.uncertain += any(target[:-1])
            return SplitVerdict(inner if target[-1] < 0 else None, inner if target[-1] > 0 else None)
        here = value_at(target, inner)
        opposite = [-v for v in target]
        below = inner if here < 0 else None
        above = inner if here > 0 else None
        if below is None and not (proposal and supports(proposal, target, inner)):
            below = self._search(rows, target, inner, largest)
        if above is None and not (proposal and supports(proposal, opposite, inner)):
            above = self._search(rows, opposite, inner, largest)
        return SplitVerdict(below, above)

    def _search(self, rows: list[Row], target: Row, inner: Point, largest: int) -> Point | None:
        found = lowest(rows, target, inner, self.blur * largest)
        self.uncertain += found.blurred
        return found.point


def held(rows: list[Row], point: Point) -> Floats | None:
    """A point of float64 strictly inside a cell, from a rational one; ``None`` where none is found."""
    for candidate in (point, centred(rows, point)):
        rounded = np.array([float(x) for x in candidate])
        exact = [Fraction(x) for x in rounded.tolist()]
        if all(value_at(row, exact) > 0 for row in rows):
            return rounded
    return None


def centred(rows: list[Row], point: Point) -> Point:
    """The centre of the cell's largest ball, about; ``point`` where the cell holds balls of any size."""
    normals, room = [], []
    for row in rows:
        size = max(map(abs, row[:-1]), default=0)
        if size:
            normals.append([v / size for v in row[:-1]])
            room.append(float(value_at(row, point) / size))
    if not all(v > 0.0 for v in room):
        return point
    ball = largest_ball(np.reshape(normals, (-1, len(point))), room, np.zeros(len(point)))
    if not np.isfinite([ball.radius, *ball.centre]).all():
        return point
    moved = [x + Fraction(y) for x, y in zip(point, ball.centre.tolist(), strict=True)]
    return moved if all(value_at(row, moved) > 0 for row in rows) else point


class RationalNode(NamedTuple):
    """A cell on the way: states of the first units in decision order, its rows, a point inside."""

    states: Prefix
    rows: list[Row]
    point: Point


@dataclass
class WalkFindings:
    """What a walk in rational arithmetic found; see `Outcome`."""

    regions: int = 0
    decisions: int = 0
    leftover: list[Prefix] = field(default_factory=list)
    least: float = np.inf
    states: list[States] = field(default_factory=list)
    points: list[Floats] = field(default_factory=list)


class Thin:
    """Walks the splitting tree below a cell in rational arithmetic.

    Args:
        network: the network.
        judge: decides and counts.
    """

    def __init__(self, network: CellNetwork, judge: Judge) -> None:
        self.network, self.judge, self.arrays = network, judge, network.arrays
        self.forced = network.forced_rows()
        self.decisions = 0

    def selects(self, u: int) -> bool:
        """Whether a unit selects one of several rows."""
        return bool(self.arrays.selects[self.forced.layer_of(u)])

    def largest(self, u: int) -> bool:
        """Whether a selecting unit takes the largest."""
        return bool(self.arrays.largest[self.forced.layer_of(u)])

    def knot(self, states: States, u: int, k: int) -> Row:
        """A unit's pre-activation minus one of its knots, up to a positive factor."""
        return primitive(self.forced.dense(self.forced.level(states, u, k)))

    def lead(self, states: States, u: int, i: int, j: int) -> Row:
        """A candidate of a selecting unit minus another one, up to a positive factor."""
        return primitive(self.forced.dense(self.forced.difference(states, u, i, j)))

    def walk(self, start: list[RationalNode], item: Prefix, stop: int, budget: int, inradius: bool) -> WalkFindings:
        """Finish the cells below some nodes, as far as the item and the budget go."""
        found, stack = WalkFindings(), list(start)
        while stack:
            node = stack.pop()
            t = len(node.states)
            if t == stop:
                self._finish(found, node, inradius)
            elif t < len(item):
                stack += [c for c in self._again(node) if c.states[-1] == item[t]]
            elif found.decisions >= budget:
                found.leftover.append(node.states)
            else:
                before = self.decisions
                stack += self.children(node)
                found.decisions += self.decisions - before
        return found

    def _again(self, node: RationalNode) -> list[RationalNode]:
        """The children of a node above the item: what is decided there was counted before."""
        resolved, uncertain = self.judge.resolved, self.judge.uncertain
        children = list(self.children(node))
        self.judge.resolved, self.judge.uncertain = resolved, uncertain
        return children

    def _finish(self, findings: WalkFindings, node: RationalNode, inradius: bool) -> None:
        findings.regions += 1
        findings.states.append(node.states)
        findings.points.append(np.array([float(x) for x in node.point]))
        if inradius:
            findings.least = min(findings.least, rational.inradius(node.rows, self.network.frame.gram))

    def children(self, node: RationalNode, first: int = 0, rival: int | None = None) -> Iterator[RationalNode]:
        """The cells into which the next unit splits one.

        Args:
            node: the cell.
            first: knots that were decided before; or, with ``rival``, the candidate that is being compared.
            rival: the first candidate with which it has not been compared; no other candidate is tried.
        """
        u = int(self.arrays.order[len(node.states)])
        states = self._by_unit(node.states)
        if not self.selects(u):
            yield from self._knots(node, states, u, first)
            return
        count = int(self.arrays.pieces[u])
        for i in range(count) if rival is None else (first,):
            winner = self._winner(node, states, u, i, rival or 0)
            if winner is not None:
                yield winner

    def _by_unit(self, prefix: Prefix) -> States:
        states = np.zeros(len(self.arrays.pieces), np.int16)
        states[self.arrays.order[: len(prefix)]] = prefix
        return states

    def _knots(self, node: RationalNode, states: States, u: int, first: int) -> Iterator[RationalNode]:
        knots = int(self.arrays.pieces[u]) - 1
        rows, point = node.rows, node.point
        for k in range(first, knots):
            split = self.knot(states, u, k)
            self.decisions += 1
            below, above = self.judge.decide(rows, split, point)
            cut = below is not None and above is not None
            if below is not None or above is None:
                yield self._child(node, k, [*rows, [-v for v in split]] if cut else rows, below or point)
            if above is None:
                return
            rows, point = [*rows, split] if cut else rows, above
        yield self._child(node, knots, rows, point)

    def _winner(self, node: RationalNode, states: States, u: int, i: int, rival: int) -> RationalNode | None:
        """The part of a cell on which a candidate wins."""
        largest = self.largest(u)
        rows, point = node.rows, node.point
        for j in range(rival, int(self.arrays.pieces[u])):
            if j == i:
                continue
            lead = self.lead(states, u, *((i, j) if largest else (j, i)))
            self.decisions += 1
            below, above = self.judge.decide(rows, lead, point)
            if above is None and (below is not None or j < i):
                return None
            if above is not None and below is not None:
                rows = [*rows, lead]
            point = above or point
        return self._child(node, i, rows, point)

    def _child(self, node: RationalNode, state: int, rows: list[Row], point: Point) -> RationalNode:
        return RationalNode(np.append(node.states, np.int16(state)).astype(np.int16), rows, point)
