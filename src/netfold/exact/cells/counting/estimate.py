"""How many regions a splitting tree holds, estimated without walking all of it.

Stochastic enumeration (Rubinstein 2013; Vaisman and Kroese 2017): all cells at one depth of the tree would be too many,
so a random few of them stand for all, each with the inverse of its chance to be chosen as weight. They are split a few
units further, again a few are chosen, and so on; the weights of the regions that come out at the end sum to the number
of regions on average, whatever the chances were. Here the chances are proportional to how many regions a cell promises
to hold, which `probe` guesses: that makes the sum vary far less than a single random descent (Knuth 1975) or a choice
with equal chances.

First the tree is counted, as far as a part of the effort goes, and to its end where what is left seems to take no
longer than sampling would. What is left otherwise is items at many depths. The first levels below them are split
completely. Their cells are dealt at random into groups, and so are items that end deeper, which join the cells of
their group at their depth. Every group is estimated on its own, and how far the groups differ gives the standard
error. As dealing is part of that spread, it errs to the safe side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.arrays import Floats
from netfold.exact.cells.counting.probe import CHORDS, richness
from netfold.exact.cells.counting.progress import Shares
from netfold.exact.cells.engine import Engine, Outcome, Prefix, whole
from netfold.exact.numerics.threads import beside, look, side_by_side

FEWEST = 2
"""Cells of a group that are always gone on from."""

RARE, OFTEN = 4, 2
"""Units decided between two choices of cells: where many can be chosen, and where few can."""

MANY = 24
"""Cells of a group, at each choice, that are many."""

STEEPNESS = 1.2
"""Power of the units seen to cut a cell with which its regions are guessed to grow; measured: 0.5 to 1.7."""

REACH = 0.1
"""Decisions that take as long as one unit on the way to a cell."""

TRIED, AS_LONG, AT_MOST = 3, 10, 20
"""Decisions, over the effort, that counting the tree takes first, that take as long as all that is sampled (measured: 4
to 35), and after which a count that always seems to end soon gives up."""

SMALLEST = 256
"""Decisions of an item at least, where the count is shared among threads."""

UNBOUNDED = 1 << 40
"""Decisions that no walk takes."""


@dataclass(frozen=True)
class TreeEstimate:
    """What sampling a splitting tree gave.

    Attributes:
        groups: estimates of the parts of the tree that were dealt to each group; their sum is the estimate.
        exact: whether the whole tree was walked, so that the sum is no estimate.
        met: distinct regions that were reached: at least so many there are.
        work: what it took.
    """

    groups: Floats
    exact: bool
    met: int
    work: EstimateWork

    @property
    def value(self) -> float:
        """The estimate."""
        return float(self.groups.sum())

    @property
    def error(self) -> float:
        """Its standard error."""
        return 0.0 if self.exact else float(np.sqrt(len(self.groups)) * self.groups.std(ddof=1))


@dataclass
class EstimateWork:
    """Decisions taken, and how they were taken (see `Outcome`); ``effort`` has what reaching cells anew took beside."""

    decisions: int = 0
    resolved: int = 0
    uncertain: int = 0
    effort: float = 0.0

    def add(self, item: Prefix, outcome: Outcome) -> None:
        """Add the walk from an item."""
        self.effort += outcome.decisions + len(item) * REACH
        self.decisions += outcome.decisions
        self.resolved += outcome.resolved
        self.uncertain += outcome.uncertain


@dataclass(frozen=True)
class Sample:
    """Cells at one depth that stand for all.

    Attributes:
        states: their prefixes, one a row.
        points: a point inside each.
        weights: how many cells each stands for.
    """

    states: NDArray[np.int16]
    points: Floats
    weights: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: NDArray[np.int64]) -> Sample:
        return Sample(self.states[index], self.points[index], self.weights[index])


@beside
def estimate_tree(engine: Engine, effort: int, groups: int, rng: np.random.Generator) -> TreeEstimate:
    """Estimate the number of leaves of an engine's tree with about ``effort`` decisions."""
    tree = _Tree(engine, rng)
    found, rest = tree.counted(effort)
    tree.work.effort = 0.0
    top = tree.top(rest, effort, groups) if rest else None
    if top is None:
        found += sum(tree.count(item) for item in rest)
        return TreeEstimate(np.full(groups, found / groups), True, found, tree.work)
    left, met, totals = effort - tree.work.effort, found, []
    for number, own in enumerate(_dealt(tree.rich(top), groups, rng)):
        before = tree.work.effort
        total, reached = tree.descend(top[own], rest[number::groups], int(left // (groups - number)))
        totals.append(total + found / groups)
        met += reached
        left -= tree.work.effort - before
    return TreeEstimate(np.array(totals), False, met, tree.work)


@dataclass(frozen=True)
class TreePace:
    """How fast the tree grows where it is walked.

    Attributes:
        growth: cells that one makes a unit.
        cost: decisions a cell and unit; fewer than one where many units are seen not to cut a cell at a glance.
    """

    growth: float = 1.5
    cost: float = 1.0

    @staticmethod
    def of(levels: int, above: int, below: int, decisions: float) -> TreePace:
        """What was seen over some levels."""
        growth = (below / above) ** (1 / levels)
        return TreePace(growth, max(decisions / (above * _series(growth, levels)), 0.05))

    def plan(self, effort: float, units: int) -> tuple[int, int]:
        """Units to decide until the next choice, and cells to choose now, for the effort that is left.

        Frequent choices make the most of few decisions, but reaching a cell anew takes time; so where many cells can
        be chosen, choices are rare.
        """
        levels, number = RARE, self._cells(effort, units, RARE)
        if number < MANY:
            levels, number = OFTEN, self._cells(effort, units, OFTEN)
        return min(levels, units), max(number, FEWEST)

    def _cells(self, effort: float, units: int, levels: int) -> int:
        """How many cells can be chosen at each choice, where one is made every few levels."""
        steps = min(levels, units)
        return int(effort / -(-units // steps) / (self.cost * _series(self.growth, steps)))


def _series(growth: float, levels: int) -> float:
    """Cells at some levels together, for one at the first."""
    return sum(growth**k for k in range(levels))


class _Tree:
    """The tree of one engine, and what was spent on it."""

    def __init__(self, engine: Engine, rng: np.random.Generator) -> None:
        self.engine, self.rng, self.work = engine, rng, EstimateWork()
        self.arrays = engine.network.arrays
        self.units, self.m, self.shares = len(self.arrays.pieces), self.arrays.m, Shares(engine)

    def counted(self, effort: int) -> tuple[int, list[Prefix]]:
        """Regions counted by all threads, and the items that are left, where to count them seems to take too long.

        Every item has its share of what is left, whatever other threads do: so it is the same part of the tree that
        is counted on one machine as on another.
        """
        regions, items, most = 0, [whole()], TRIED * effort
        while items:
            share = (most - self.work.decisions) // len(items)
            if share < min(SMALLEST, most):
                if not self._soon(items, effort):
                    break
                most += AS_LONG * effort
                continue
            outcomes: list[Outcome] = [Outcome(0)] * len(items)

            def count(number: int, share: int = share, items: list[Prefix] = items) -> None:
                look()
                outcomes[number] = self.engine.run(items[number], budget=share)  # noqa: B023  run before the next

            budgeted = [partial(count, number) for number in range(len(items))]
            side_by_side(budgeted, min(torch.get_num_threads(), len(items)))
            for item, outcome in zip(items, outcomes, strict=True):
                self.work.add(item, outcome)
                regions += outcome.regions
            items = [left for outcome in outcomes for left in outcome.leftover]
        return regions, sorted(items, key=len)

    def _soon(self, items: list[Prefix], effort: int) -> bool:
        """Whether a count seems to reach the rest of the tree no later than sampling would end."""
        done, left = self.work.decisions, self.shares.left(items)
        return done < AT_MOST * effort and done * left <= AS_LONG * effort * (1.0 - left)

    def top(self, waiting: list[Prefix], effort: int, groups: int) -> Sample | None:
        """Split items, which are taken off, until there are enough cells; ``None`` where the last unit comes first."""
        enough = max(2 * groups, 0.7 * effort / max(self.units, 1))
        items, depth = list(waiting), len(waiting[0])
        cells = Sample(np.zeros((0, depth), np.int16), np.zeros((0, self.m)), np.zeros(0))
        while len(cells) < enough:
            depth += 1
            if depth >= self.units:
                return None
            cells = self.split(cells, items, depth)
        waiting[:] = items
        return cells

    def descend(self, cells: Sample, waiting: list[Prefix], effort: int) -> tuple[float, int]:
        """The estimated number of regions below some cells and items, and how many of them were reached."""
        spent, pace = self.work.effort, TreePace()
        while True:
            depth = cells.states.shape[1]
            levels, number = pace.plan(effort - self.work.effort + spent, self.units - depth)
            cells = self.choose(cells, number)
            if depth + levels >= self.units:
                break
            before, above = self.work.effort, len(cells) + len(waiting)
            cells = self.split(cells, waiting, depth + levels)
            above -= len(waiting)
            if above and len(cells):
                pace = TreePace.of(levels, above, len(cells), self.work.effort - before)
        counts = np.array([self.count(item) for item in (*cells.states, *waiting)])
        weights = np.append(cells.weights, np.ones(len(waiting)))
        return float(weights @ counts), int(counts.sum())

    def choose(self, cells: Sample, number: int) -> Sample:
        """A random few, each as likely as its weight times its promise, with the weights that balance it."""
        if len(cells) <= number:
            return cells
        rich = self.rich(cells)
        chances = _chances(cells.weights * rich, number)
        order = np.lexsort((self.rng.random(len(cells)), rich))
        marks = np.floor(np.cumsum(chances[order]) + self.rng.random())
        chosen = np.sort(order[np.diff(marks, prepend=0.0) > 0])
        return Sample(cells.states[chosen], cells.points[chosen], cells.weights[chosen] / chances[chosen])

    def rich(self, cells: Sample) -> Floats:
        """What the cells promise."""
        draws = self.rng.standard_normal((CHORDS, self.m + 2))
        draws[:, -1] = self.rng.random(CHORDS)
        # Among cells of one depth the number of regions grows faster than that of the units that cut them.
        return richness(self.arrays, self.engine.network.walls, cells.states, cells.points, draws) ** STEEPNESS

    def split(self, cells: Sample, waiting: list[Prefix], stop: int) -> Sample:
        """The cells at depth ``stop`` below some cells, and below the items that end before it: these are taken off."""
        due = [item for item in waiting if len(item) < stop]
        waiting[:] = [item for item in waiting if len(item) >= stop]
        states, points, weights = [], [], []
        for item, weight in zip((*cells.states, *due), (*cells.weights, *np.ones(len(due))), strict=True):
            for out in self.walk(item, stop, True):
                assert out.cells is not None
                states.append(out.cells.states)
                points.append(out.cells.points)
                weights.append(np.full(len(out.cells), weight))
        if not states:
            return Sample(np.zeros((0, stop), np.int16), np.zeros((0, self.m)), np.zeros(0))
        return Sample(np.concatenate(states), np.concatenate(points), np.concatenate(weights))

    def count(self, item: Prefix) -> int:
        """All regions below an item."""
        return sum(out.regions for out in self.walk(item, self.units, False))

    def walk(self, item: Prefix, stop: int, collect: bool) -> Iterator[Outcome]:
        """Walk all that is below an item down to a depth."""
        items = [item]
        while items:
            look()
            item = items.pop()
            out = self.engine.run(item, stop=stop, budget=UNBOUNDED, collect=collect)
            self.work.add(item, out)
            items += out.leftover
            yield out


def _chances(sizes: Floats, number: int) -> Floats:
    """Chances proportional to sizes that sum to ``number``, none above 1."""
    chances, free = np.zeros(len(sizes)), np.ones(len(sizes), np.bool_)
    while True:
        chances[free] = sizes[free] * ((number - (~free).sum()) / sizes[free].sum())
        over = free & (chances >= 1.0)
        if not over.any():
            return chances
        chances[over], free[over] = 1.0, False
        if not free.any():
            return chances


def _dealt(rich: Floats, groups: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Positions of every group: of each few that promise about the same, every group gets one at random."""
    order = np.lexsort((rng.random(len(rich)), rich))
    hands: list[list[int]] = [[] for _ in range(groups)]
    for begin in range(0, len(order), groups):
        few = order[begin : begin + groups]
        for hand, place in zip(rng.permutation(groups), few, strict=False):
            hands[hand].append(int(place))
    return [np.sort(np.array(hand, np.int64)) for hand in hands]
