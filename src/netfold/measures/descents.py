"""What a long path does in a network, estimated from points along it and from short stretches that are followed.

The path is cut into cells. What the ends of a cell show (`steps`) misses something: units that switch and switch back,
the way an image bends. What is missed is estimated without bias by descents into random cells. A descent halves its
cell, takes note of what the new point shows more, goes on with one half at random, and so on; its last cell is followed
from end to end. Notes are weighted with the inverse of the chance of getting there, so that they sum, on average, to
what the whole cell holds beyond what its ends show: a telescoping sum with a random end (Giles 2008, "Multilevel Monte
Carlo path simulation"; Rhee and Glynn 2015, "Unbiased estimation with square root convergence for SDE models").

Cells are the units of a stratified sample: of every few neighbours one is drawn each round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.special import stdtrit

from netfold.arrays import Floats, Ints
from netfold.capture.program import Program
from netfold.exact.numerics.threads import beside, look, side_by_side
from netfold.exact.paths.blocks import widest
from netfold.measures.steps import StepColumns, steps
from netfold.measures.tracing import choose
from netfold.paths import Path, Polyline, stretch

ONWARD = 0.7
"""Chance that a descent goes on."""

FEW = 6.0
"""Breakpoints that a stretch holds, about, which is followed from end to end."""

SMOOTH_HALVINGS = 4
"""Halvings at least before a stretch of a smooth network is followed, which takes many evaluations."""

DEEPEST = 30
"""Halvings at most: shorter stretches are lost in rounding."""

NEIGHBOURS = 4
"""Cells of which one is drawn each round."""

ROUND = 8
"""Points of a batch are a multiple of this, so that what is computed at one does not depend on the others."""

ROW_BYTES, MOST_ROWS = 2**26, 512
"""Memory that the widest layer's values at a batch of points may take, and points of a batch at most."""


@dataclass(frozen=True)
class Descent:
    """Into one cell.

    Attributes:
        cell: its number.
        begin: where it begins, and ``end`` where it ends.
        right: for every halving, whether the descent goes on to the right.
        follow: whether the last part is followed from end to end.
    """

    cell: int
    begin: float
    end: float
    right: tuple[bool, ...]
    follow: bool

    @property
    def parts(self) -> list[tuple[float, float]]:
        """The cell, the half that was taken, the half of that, and so on."""
        found = [(self.begin, self.end)]
        for right in self.right:
            low, high = found[-1]
            middle = 0.5 * (low + high)
            found.append((middle, high) if right else (low, middle))
        return found

    @property
    def points(self) -> Floats:
        """The ends of the cell, and the middles."""
        return np.array([self.begin, self.end, *(0.5 * (a + b) for a, b in self.parts[: len(self.right)])])

    @property
    def pairs(self) -> tuple[Ints, Ints]:
        """Steps between the points: over the cell; then over the left and the right half of every halving."""
        begin, end = [0], [1]
        low, high = 0, 1
        for number, right in enumerate(self.right, 2):
            begin += [low, number]
            end += [number, high]
            low, high = (number, high) if right else (low, number)
        return np.array(begin), np.array(end)

    def more(self, seen: Floats, followed: Floats | None) -> Floats:
        """What every halving shows more, then what following does; ``seen`` has one row for each of `pairs`."""
        whole, found = seen[0], []
        for number, right in enumerate(self.right):
            halves = seen[1 + 2 * number : 3 + 2 * number]
            found.append(halves.sum(0) - whole)
            whole = halves[int(right)]
        return np.array([*found, followed - whole] if followed is not None else found).reshape(-1, seen.shape[1])


def drawn(cell: int, begin: float, end: float, depth: int, rng: np.random.Generator) -> Descent:
    """A descent into a cell, of ``depth`` halvings before the last part is followed; most end sooner."""
    onward = 1
    while onward <= depth and rng.random() < ONWARD:
        onward += 1
    right = tuple(bool(side) for side in rng.integers(2, size=min(onward, depth)))
    return Descent(cell, begin, end, right, onward > depth)


@dataclass(frozen=True)
class PathEstimates:
    """What a sample says of the whole path, one entry a column.

    Attributes:
        value: the estimate.
        sampled: its variance as far as the sample tells, and ``variance`` what the interval rests on.
        freedom: degrees of freedom of the variance (Satterthwaite).
        least: what was seen: not more than there is.
    """

    value: Floats
    sampled: Floats
    variance: Floats
    freedom: Floats
    least: Floats

    def half_widths(self, variance: Floats, confidence: float) -> Floats:
        """How far the estimates can be off, by Student's t."""
        return stdtrit(self.freedom, 0.5 + confidence / 2) * np.sqrt(variance)


class PathSample:
    """A path cut into cells, with what was seen of them so far.

    Attributes:
        cells: how many there are.
        shown: what the ends of each cell show, one row (`StepColumns`) a cell.
        evaluations: points at which the network was evaluated; following counts as its breakpoints.
        pace: seconds that an evaluation takes.
        finer: what two neighbours show together beyond what the ends of both do, one row for every second cell.
        chance: variance of all switches that were missed, were each pair of them on its own.
        weight: of a pair in a cell that is drawn, on average: half of the pairs are seen at each halving.
        tick: called now and then.
    """

    def __init__(
        self, program: Program, path: Path, cells: int, rng: np.random.Generator, tick: Callable[[], object]
    ) -> None:
        self.program, self.path, self.rng, self.tick = program, path, rng, tick
        self.columns, self.rows = StepColumns(len(program.layers)), _rows(program)
        legs = len(path.vertices[0]) - 1 if isinstance(path, Polyline) else 1
        self.cells = legs * -(-cells // legs) if legs <= cells else cells
        self.edges = np.linspace(0.0, 1.0, self.cells + 1)
        self.strata = np.array_split(np.arange(self.cells), -(-self.cells // NEIGHBOURS))
        self.turns: list[list[int]] = [[] for _ in self.strata]
        self.rounds: list[Floats] = []
        self.chance, self.weight = 0.0, 1.0
        shapes = (*(layer.shape for layer in program.layers), program.output_shape)
        self.features = np.array([int(np.prod(shape, dtype=np.int64)) for shape in shapes])
        self.evaluations, begin = 0, time.perf_counter()
        self.shown, self.finer = self._shown()
        self.pace = (time.perf_counter() - begin) / self.evaluations
        self.least = self.shown.copy()
        self.least[:, self.columns.breakpoints] = self.shown[:, self.columns.total] > 0

    @beside
    def _shown(self) -> tuple[Floats, Floats]:
        """What the ends of each cell show, and how much more those of two neighbours do than the ends of both."""
        few = self.rows - 1
        cuts = [(a, min(a + few, self.cells)) for a in range(0, self.cells, few)]
        runs, first = [], 2 * np.arange(few // 2)
        for a, b in cuts:
            pairs = first[first + 2 <= b - a]
            begin = np.append(np.arange(b - a), pairs)
            runs.append((self.edges[a : b + 1], begin, np.append(np.arange(1, b - a + 1), pairs + 2)))
        found, more = [], []
        for rows, (a, b) in zip(self._seen(runs), cuts, strict=True):
            narrow, wide = rows[: b - a], rows[b - a :]
            found.append(narrow)
            more.append(narrow[: 2 * len(wide)].reshape(len(wide), 2, -1).sum(1) - wide)
        return np.concatenate(found), np.concatenate(more)

    def _seen(self, runs: Sequence[tuple[Floats, Ints, Ints]]) -> list[Floats]:
        """For parameters and steps between them: what the steps show; runs go to threads."""
        found: list[Floats] = [np.empty(0)] * len(runs)

        def see(number: int) -> None:
            look()
            t, begin, end = runs[number]
            padded = np.append(t, np.full(-len(t) % ROUND, t[-1]))
            points = self.program.points(self.path(padded), "the path")
            found[number] = steps(self.program, points, begin, end)
            self.tick()

        threads = torch.get_num_threads() if self.program.device.type == "cpu" else 1
        side_by_side([partial(see, i) for i in range(len(runs))], threads)
        self.evaluations += sum(len(t) for t, _, _ in runs)
        return found

    @beside
    def draw(self, crowding: float) -> None:
        """One more round; each cell is taken to hold ``crowding`` times the breakpoints that its ends show."""
        shown = np.maximum(self.shown[:, self.columns.breakpoints], self.shown[:, self.columns.breakpoints].mean())
        fewest = 0 if self.program.piecewise_linear else SMOOTH_HALVINGS
        depth = np.clip(np.ceil(np.log2(np.maximum(shown * crowding, 1.0) / FEW)), fewest, DEEPEST).astype(int)
        cells = [self._next(stratum) for stratum in range(len(self.strata))]
        halvings = ONWARD ** -np.arange(depth[cells].mean())
        self.weight = float(0.5 * halvings.sum() + halvings[-1:].sum() / ONWARD)
        descents = [drawn(i, self.edges[i], self.edges[i + 1], depth[i], self.rng) for i in cells]
        seen = self._seen_in(descents)
        followed = dict(zip([d.cell for d in descents if d.follow], self._followed(descents), strict=True))
        missed = []
        for descent, rows, stratum in zip(descents, seen, self.strata, strict=True):
            more = descent.more(rows, followed.get(descent.cell))
            self._note(descent, rows, more, followed.get(descent.cell))
            weights = len(stratum) * (2 / ONWARD) ** np.arange(len(more))
            missed.append(weights @ more)
            self.chance += 2.0 * float(weights**2 @ more[:, self.columns.total])
        self.rounds.append(np.array(missed))

    def _next(self, stratum: int) -> int:
        """One of the cells that were not drawn yet; of all of them when each was.

        Two rounds that drew one cell twice would look more alike than they are.
        """
        if not self.turns[stratum]:
            self.turns[stratum] = self.rng.permutation(self.strata[stratum]).tolist()
        return self.turns[stratum].pop()

    def _seen_in(self, descents: Sequence[Descent]) -> list[Floats]:
        """What the steps of every descent show; descents share batches."""
        runs, batch = [], []
        for descent in descents:
            if batch and sum(len(d.points) for d in (*batch, descent)) > self.rows:
                runs.append(batch)
                batch = []
            batch.append(descent)
        runs.append(batch)
        found: list[Floats] = []
        for batch, rows in zip(runs, self._seen([_joined(batch) for batch in runs]), strict=True):
            found += np.split(rows, np.cumsum([len(d.pairs[0]) for d in batch])[:-1])
        return found

    def _followed(self, descents: Sequence[Descent]) -> list[Floats]:
        """What is met on the last parts that are followed from end to end."""
        parts = [stretch(self.path, *d.parts[-1]) for d in descents if d.follow]
        if not parts:
            return []
        follow = choose(self.program, parts[0], "auto")
        found = [self.columns.of_trace(trace) for trace in follow(self.program, parts)]
        self.evaluations += int(sum(row[self.columns.breakpoints] + 2 for row in found))
        return found

    def _note(self, descent: Descent, rows: Floats, more: Floats, followed: Floats | None) -> None:
        """Keep what was seen in a cell where it is more than what was seen there before."""
        seen, met = rows[0] + more.sum(0), self.columns.breakpoints
        switched = rows[:, self.columns.total] > 0
        aside = sum(bool(switched[2 + 2 * n - right]) for n, right in enumerate(descent.right))
        seen[met] = aside + (bool(switched[-2 + descent.right[-1]]) if descent.right else bool(switched[0]))
        if followed is not None:
            seen[met] = aside + followed[met]
        self.least[descent.cell] = np.maximum(self.least[descent.cell], seen)

    @property
    def tally(self) -> PathEstimates:
        """What there is, estimated; before a second round lower bounds alone."""
        if len(self.rounds) < 2:
            least = self.least.sum(0)
            unknown = np.full(len(least), np.inf)
            return PathEstimates(np.maximum(self.shown.sum(0), least), unknown, unknown, unknown, least)
        rounds = np.array(self.rounds)
        count, least = len(rounds), self.least.sum(0)
        parts = rounds.var(0, ddof=1) / count
        sampled, squares = parts.sum(0), (parts**2).sum(0) / (count - 1)
        # A layer that shows few switches may show none that a descent could miss, few descents may meet none at all:
        # then the variance is what chance makes of as many as the layer has by its part of all switches, two at a time
        # and each with its weight. Cells of half the width have shown about as many as they hide themselves.
        shown, draws = self.shown.sum(0), len(self.strata) * count
        of_all = shown / max(shown[self.columns.total], 1.0)
        of_all[self.columns.lengths], of_all[self.columns.breakpoints] = 0.0, 1.0
        hidden = 0.5 * self.cells * self.finer[:, self.columns.total].mean()
        chance = max(self.chance / count**2, 2.0 * hidden * self.weight * self.cells / draws)
        variance = np.maximum(sampled, of_all * chance)
        # as if one more cell had been drawn that misses the most seen in any; at least a unit that switches back, and
        # an image that turns back in one feature, halfway through the longest chord: of features no more are moving
        # than units of the layer are seen to switch in a cell, or else a saturated layer would seem to move in all
        most = (self.least - self.shown).max(0)
        most[self.columns.counts] = 2.0
        switched = shown[self.columns.transitions] / self.cells
        moving = np.clip(np.append(switched, switched[-1:] if len(switched) else 1.0), 1.0, self.features)
        chords = self.shown[:, self.columns.lengths].max(0) / (4.0 * moving)
        most[self.columns.lengths] = np.maximum(most[self.columns.lengths], chords)
        variance += (most * self.cells / len(self.strata) / count) ** 2
        # Few draws may all miss where an image bends, and then agree with each other. Cells of half the width have
        # shown about as much as they miss themselves, and how unevenly it lies; a draw tells no more than of its cell.
        bent = 0.5 * self.cells * np.sqrt((self.finer**2).mean(0))
        bent = np.maximum(rounds.mean(0).sum(0), bent)[self.columns.lengths]
        variance[self.columns.lengths] = np.maximum(variance[self.columns.lengths], bent**2 / draws)
        freedom = np.full(len(variance), np.inf)
        np.divide(variance**2, squares, out=freedom, where=squares > 0)
        freedom = np.minimum(freedom, draws - 1)
        value = np.maximum(self.shown.sum(0) + rounds.mean(0).sum(0), least)
        return PathEstimates(value, sampled, variance, freedom, least)


def _joined(descents: Sequence[Descent]) -> tuple[Floats, Ints, Ints]:
    """Points and steps of several descents, one after the other."""
    first = np.cumsum([0, *(len(d.points) for d in descents)])
    pairs = [(begin + at, end + at) for at, (begin, end) in zip(first, (d.pairs for d in descents), strict=False)]
    begin, end = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return np.concatenate([d.points for d in descents]), begin, end


def _rows(program: Program) -> int:
    """Points of a batch."""
    return int(np.clip(ROW_BYTES // (8 * widest(program)), ROUND, MOST_ROWS)) // ROUND * ROUND
