"""`estimate_trace`: what a path meets in a network, within a budget: followed where that fits in it, else estimated."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from netfold.arguments import Positive, PositiveInt, Seed, Share, checked
from netfold.capture import Model, Program, capture
from netfold.capture.splitting import split_of
from netfold.exact.arc.tracer import ellipse_length
from netfold.exact.paths.stretches import LARGE, values_of
from netfold.measures.assemble import COUNTING_RULE
from netfold.measures.descents import PathSample
from netfold.measures.tracing import require_path, trace_paths, trace_within
from netfold.paths import Arc, Circle, Curve, Ellipse, Line, Path, Polyline
from netfold.progress import Budget, progress_bar
from netfold.renamed import renamed
from netfold.results.complexity import WatchedLayer
from netfold.results.provenance import provenance
from netfold.results.status import Certainty, Standing
from netfold.results.trace import Trace
from netfold.results.trace_estimate import Estimated, TraceEstimate
from netfold.sampled.trace import COUNTING_RULE as SAMPLED_RULE

Whole = Literal["auto", "never"]

FIRST_CELLS = 8
"""Parts into which a path is cut first."""

ROUNDS = 2
"""Rounds that a variance takes."""

FINER = 16
"""Times as many cells as before, at most."""

UNSURE = 1.4
"""Times as many evaluations as expected that draws may take: stretches that they follow hold more or fewer regions."""

SHARE = 0.5
"""Part of what is left of a budget that following the whole path may take."""

SMOOTH_LEAST, SMOOTH_TIMES, SMOOTH_MOST = 5000.0, 3, 1_000_000
"""Evaluations that must be left to follow a whole path of a smooth network, how much longer each takes for its
derivative, and how many there are at most."""

SAID = "; estimated from points along the path and from short stretches that are followed from end to end"


BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


@renamed(budget="seconds")
@checked
def estimate_trace(
    model: Model,
    path: Path,
    *,
    seconds: Positive | None = 60.0,
    evaluations: PositiveInt | None = None,
    tolerance: Share = 0.05,
    confidence: Share = 0.95,
    whole: Whole = "auto",
    seed: Seed = 0,
    progress: bool | None = None,
) -> TraceEstimate:
    """Measure what a path meets in a network within a budget: exactly where that fits in it, otherwise with intervals.

    A path through a large network crosses hundreds of thousands of regions, and `trace_path` takes a forward pass for
    each. Two points on the path tell much more for two: every unit that is on other pieces at both has changed its
    state in between, and the image is no shorter than its chord. What points miss (units that switch and switch back,
    the way an image bends) is estimated without bias: cells between points are halved down to a short stretch, at
    random, and the stretch is traced from end to end. With N what the ends of a cell show, the estimate is ::

        sum over cells of N(cell)  +  sum over drawn cells of  w sum_l (2/p)^l (N(left_l) + N(right_l) - N(cell_l))

    where ``w`` is the number of cells that one stands for, cell_(l+1) is one half of cell_l, p = 0.7 the chance to go
    on, and the last term has what was traced in the place of the two halves (multilevel Monte Carlo: Giles 2008; with
    random depth: Rhee and Glynn 2015). Intervals are Student's t over repeated draws within every group of
    neighbouring cells, widened by one unit seen to switch and switch back. Cells are made smaller until the intervals
    are narrow enough or the budget is spent.

    The stretches are exact for piecewise-linear networks on lines, polylines, arcs and circles, and sampled adaptively
    otherwise.

    Args:
        model: a module in evaluation mode, or a captured program.
        path: where to go; points have the model's input shape, without a batch axis.
        seconds: how long it may take, capturing included; ``None`` for no such limit. Where there is no time for a
            second look there are lower bounds alone, and intervals have no upper end.
        evaluations: points at which the network may be evaluated; a stretch that is followed counts as its regions and
            one more. The first look takes 20 to 60. Later ones are planned with 1.4 times what those before took, and
            ended once begun: more is spent only where a stretch holds far more regions than it seemed to. With
            ``seconds=None`` the same seed then gives the same numbers on every machine.
        tolerance: half width of intervals, over their values, at which to stop: of lengths, and of regions and
            transitions but for what intervals of few have beyond what draws tell.
        confidence: of the intervals.
        whole: ``never`` estimates also where the budget would allow to trace the whole path.
        seed: of the draws.
        progress: show a bar; by default only in a terminal.

    Returns:
        The estimate; after Ctrl-C that of what was drawn so far, which its status says.

    Raises:
        InvalidInputError: an argument is out of range, or path and model do not fit.
        CaptureError: the model cannot be captured.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=20, width=100, depth=4, sigma_w=2.0, sigma_b=0.5, seed=1)
        >>> path = nf.Line(-np.ones(20), np.ones(20))
        >>> found = nf.estimate_trace(net, path, seconds=None, evaluations=500, whole="never")
        >>> true = nf.trace_path(net, path)
        >>> found.regions.at_least <= found.regions.low <= true.regions <= found.regions.high
        True
    """
    spending = Budget(seconds, evaluations)
    program = capture(model, shape=require_path(path, 0).shape)
    with progress_bar(seconds, "estimating", "s", progress, bar_format=BAR) as bar:
        search = _Search(program, path, np.random.default_rng(seed), spending, tolerance, confidence, bar)
        search.run(whole == "auto")
    words = {"path": type(path).__name__, "seed": seed, "seconds": spending.elapsed, "tolerance": tolerance}
    return search.result(provenance(program, **words))


class _Search:
    """Samples of one path, finer and finer, until intervals are narrow enough or the budget is spent."""

    def __init__(
        self,
        program: Program,
        path: Path,
        rng: np.random.Generator,
        spending: Budget,
        tolerance: float,
        confidence: float,
        bar: tqdm,
    ) -> None:
        self.program, self.path, self.rng, self.spending = program, path, rng, spending
        self.tolerance, self.confidence, self.bar = tolerance, confidence, bar
        self.trace: Trace | None = None
        self.whole = True
        self.sample = PathSample(program, path, FIRST_CELLS, rng, self._tick)

    def run(self, whole: bool) -> None:
        """Go on to the end; Ctrl-C ends it sooner."""
        self.whole = whole
        try:
            self._draw(self.sample, 1.0)
            while not self._followed() and self._over > 1.0:
                if self.spending.stopped or not self._improved():
                    return
        except KeyboardInterrupt:
            self.spending.stopped = True

    def _draw(self, sample: PathSample, crowding: float) -> None:
        for _ in range(ROUNDS):
            if self.spending.seconds is None or self.spending.elapsed < self.spending.seconds:
                sample.draw(crowding)
        self.spending.spent += sample.evaluations

    def _tick(self) -> None:
        self.bar.update(min(self.spending.elapsed, self.bar.total or np.inf) - self.bar.n)

    @property
    def _over(self) -> float:
        """The widest interval, over the one that is wanted; of counts as far as draws tell of them.

        A layer that shows few switches has a wide interval however many draws met no more of them.
        """
        tally, counts = self.sample.tally, self.sample.columns.counts
        variance = tally.variance.copy()
        variance[counts] = tally.sampled[counts]
        widths = tally.half_widths(variance, self.confidence)
        return float(np.divide(widths, self.tolerance * tally.value, out=np.zeros_like(widths), where=widths > 0).max())

    def _improved(self) -> bool:
        """Take smaller cells, or, where those are too dear, another round; whether anything fitted in the budget."""
        sample = self.sample
        left = self.spending.left(sample.pace) / UNSURE
        # What the ends of cells miss falls with their number, or faster; so does the part of it that is left to chance.
        finer = int(min(np.clip(1.2 * self._over ** (2 / 3), 2, FINER), left / sample.evaluations))
        if finer >= 2:
            finest = PathSample(self.program, self.path, finer * sample.cells, self.rng, self._tick)
            self._draw(finest, self._crowding)
            self.sample = finest if len(finest.rounds) > 1 else sample
            return len(finest.rounds) > 1
        before = sample.evaluations
        if left < before / max(len(sample.rounds), 1):
            return False
        sample.draw(self._crowding)
        self.spending.spent += sample.evaluations - before
        return True

    @property
    def _crowding(self) -> float:
        """Breakpoints there are, for one that the ends of cells show."""
        met = self.sample.columns.breakpoints
        return float(self.sample.tally.value[met] / max(self.sample.shown[:, met].sum(), 1.0))

    def _followed(self) -> bool:
        """Follow the whole path if that fits in the budget; whether it did."""
        spending = self.spending
        left = SHARE * spending.left(self.sample.pace)
        seconds = None if spending.seconds is None else spending.seconds - spending.elapsed
        if not self.whole or left <= 0.0:
            return False
        if not self._exactly:
            self.whole = False
            if left < SMOOTH_LEAST:
                return False
            budget = Budget(seconds, int(min(left / SMOOTH_TIMES, SMOOTH_MOST)))
            trace = trace_within(self.program, self.path, budget, min(self.tolerance / 10, 1e-4))
        elif self.sample.tally.value[self.sample.columns.breakpoints] > left:
            return False
        elif values_of(self.program) < LARGE and spending.evaluations is None:
            self.trace = trace_paths(self.program, [self.path], progress=False)[0]
            return True
        else:
            budget = Budget(seconds, None if spending.evaluations is None else int(left))
            trace = trace_within(self.program, self.path, budget)
            # what took longer than it seemed to take would do so again
            self.whole = False
        self.trace = trace if trace.status.kind.reached else None
        spending.spent += 0 if self.trace and self._exactly else budget.spent
        spending.stopped = budget.stopped
        return self.trace is not None

    def result(self, where: dict[str, Any]) -> TraceEstimate:
        """What came of it."""
        trace, sample = self.trace, self.sample
        if trace is not None:
            row = sample.columns.of_trace(trace)
            value = low = high = least = row
        else:
            tally = sample.tally
            value, least, widths = tally.value, tally.least, tally.half_widths(tally.variance, self.confidence)
            low, high = np.maximum(value - widths, least), value + widths
        table = np.stack([value, low, high, least], 1)
        table[sample.columns.breakpoints] += 1.0  # regions
        return TraceEstimate(
            estimates=tuple(Estimated(*row) for row in table.tolist()),
            layers=tuple(WatchedLayer(layer.name, layer.op, layer.units, layer.label) for layer in self.program.layers),
            input_length=_length(self.path) if trace is None else trace.input_length,
            confidence=self.confidence,
            exact=trace is not None,
            cells=sample.cells if trace is None else 0,
            rounds=len(sample.rounds) if trace is None else 0,
            evaluations=self.spending.spent + (trace.regions + 1 if trace and trace.method != "sampled" else 0),
            method=trace.method if trace else f"points and stretches, {'exact' if self._exactly else 'sampled'}",
            status=trace.status if trace else self._status,
            counting_rule=(trace.counting_rule if trace else (COUNTING_RULE if self._exactly else SAMPLED_RULE) + SAID),
            output_label=self.program.output_label,
            provenance=where,
            trace=trace,
        )

    @property
    def _exactly(self) -> bool:
        if self.program.piecewise_linear:
            return not isinstance(self.path, Curve)
        return isinstance(self.path, Line | Polyline) and split_of(self.program) is not None

    @property
    def _status(self) -> Standing:
        over = self._over
        details = "; interrupted" if self.spending.stopped else ""
        if np.isinf(over):
            return Certainty.SHORT_OF_EFFORT.text(f": lower bounds alone{details}")
        if over <= 1.0:
            return Certainty.ESTIMATED.text(details)
        return Certainty.SHORT_OF_EFFORT.text(f": half widths up to {over * self.tolerance:.2g} of the value{details}")


def _length(path: Path) -> float:
    """Of the path itself."""
    if isinstance(path, Line | Polyline):
        return path.length
    if isinstance(path, Arc | Circle | Ellipse):
        return ellipse_length(path.ellipse)
    steps = np.diff(path(np.linspace(0.0, 1.0, 4097)), axis=0)
    return float(np.linalg.norm(steps.reshape(len(steps), -1), axis=1).sum())
