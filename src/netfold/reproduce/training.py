"""Length and transitions along fixed paths while a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from netfold.arrays import Floats
from netfold.measures.tracing import trace_paths
from netfold.paths import Arc
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, both, experiment
from netfold.reproduce.harness import Cell, measured
from netfold.reproduce.statistics import Mean, geometric, straightness
from netfold.reproduce.trained import (
    Recipe,
    Split,
    arc_count,
    channels,
    checkpoints,
    convolutions,
    dense,
    flat,
    images,
    recipe_for,
    seeds_of,
    stack,
    tested,
    watched,
    width,
)
from netfold.results.base import counted
from netfold.theory import length_growth
from netfold.training.loop import accuracy

DEPTH = 5


@dataclass(frozen=True)
class Start:
    """How a network starts."""

    name: str
    activation: str
    variance: float

    @property
    def label(self) -> str:
        """For titles of figures."""
        return rf"{'ReLU' if self.activation == 'relu' else 'hard-tanh'}, $\sigma_w^2$ = {self.variance:g}"

    @property
    def words(self) -> str:
        """For sentences."""
        return f"{'ReLU' if self.activation == 'relu' else 'hard-tanh'}, σ_w² = {self.variance:g}"


STARTS = {
    start.name: start
    for start in (Start("large", "hardtanh", 16.0), Start("small", "hardtanh", 3.0), Start("relu", "relu", 2.0))
}


def change(course: xr.Dataset, name: str = "near", since: int = 0) -> Floats:
    """Logarithm of a measure at the end over that at a checkpoint: ``(seeds, layers)``."""
    values = course[name].values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values[:, -1] / values[:, since])


SUBMISSION = "ICLR 2017 submission of Raghu et al."

SHRINKS = Claim(
    "From a large start (σ_w² = 16) training shortens the images of a path between two data points in all layers but "
    "the first, in which it grows.",
    f"{SUBMISSION}, Figure 8",
    "Length at the end over length at the start, geometric mean over seeds with its 95% interval. Checked: (a) above 1 "
    "in layer 1; (b) below 1 in every later hidden layer; with the whole interval. Held if both hold, in part if one "
    "does.",
)
NEAR = Claim(
    "Training changes length more along a path between data points than between random points: it shrinks more from "
    "the large start and grows more from the small one.",
    f"{SUBMISSION}, Figures 8 and 9",
    "Mean over the hidden layers from the second on of the logarithm of end over start. Checked: between images less "
    "between random points is (a) below 0 from σ_w² = 16 and (b) above 0 from σ_w² = 3, with the whole 95% interval "
    "over seeds. Held if both hold, in part if one does.",
)
WEIGHTS = Claim(
    "From the large start length shrinks though the weights do not.",
    f"{SUBMISSION}, Figure 8",
    "The smallest ratio, over hidden layers from the second on, of the weights' root mean square at the end to that at "
    "the start (means over seeds): held from 0.99 on, in part from 0.95 on; and it fails where length, averaged over "
    "these layers, does not shrink with its whole 95% interval.",
)
REVERSES = Claim(
    "In the last steps of training from the large start, length grows again.",
    f"{SUBMISSION}, Figure 8",
    "Mean over the hidden layers from the second on of the logarithm of length at the end over that at the checkpoint "
    "before: held if its 95% interval over seeds lies above 0, failed if below.",
)
GROWS = Claim(
    "From a small start (σ_w² = 3) length grows in training.",
    f"{SUBMISSION}, Figure 9",
    "End over start between two images. Checked: (a) the mean of its logarithm over all hidden layers lies above 0 "
    "with its whole 95% interval over seeds; (b) so does that of every hidden layer. Held if both hold, in part if "
    "one does.",
)
SWITCHES = Claim(
    "The number of transitions goes the way of length during training.",
    f"{SUBMISSION}, appendix (transitions during training)",
    "From σ_w² = 16, over hidden layers from the second on and all checkpoints: correlation of the logarithms of "
    "transitions over those at the start and of length over that at the start, mean over seeds. Held from 0.9 on, in "
    "part from 0.6 on.",
)
EXPONENTIAL = Claim(
    "Training makes length grow exponentially with depth even from σ_w² = 2, where it does not grow at the start.",
    "Raghu et al. 2017, Figure 8 (there a convolutional network on CIFAR-10)",
    "Growth a layer: geometric mean over the hidden layers from the second on, ReLU. In part if it is above 1 after "
    "training with its whole 95% interval over seeds; held if besides it is not so before training and the logarithm "
    "of the mean length after training is a straight line over the hidden layers, R² at least 0.9.",
)


def judge(numbers: xr.Dataset) -> tuple[Finding, ...]:
    """All findings."""
    large, small, relu = (numbers.sel(start=name) for name in STARTS)
    learned = [float(course.accuracy.values[:, -1].mean()) for course in (large, small, relu)]
    return (
        tested(judge_shrinking(large), learned[0]),
        tested(judge_near(large, small), min(learned[:2])),
        tested(judge_weights(large), learned[0]),
        tested(judge_reversal(large), learned[0]),
        tested(judge_growing(small), learned[1]),
        tested(judge_transitions(large), learned[0]),
        tested(judge_exponential(relu), learned[2]),
    )


def judge_shrinking(large: xr.Dataset) -> Finding:
    """Whether all layers but the first shrink."""
    ratios = by_layer(change(large))
    checks = [ratios[0].above(1), both(*(ratio.below(1) for ratio in ratios[1:]))]
    return Finding(SHRINKS, Verdict.of(checks), f"End over start by layer: {listed(ratios)}.", numbered(ratios))


def judge_near(large: xr.Dataset, small: xr.Dataset) -> Finding:
    """Whether length changes more near the data."""
    gaps = [Mean.of((change(course, "near") - change(course, "far"))[:, 1:].mean(1)) for course in (large, small)]
    factors = [gap.exp() for gap in gaps]
    text = (
        f"End over start between images, over that between random points: {factors[0]} from σ_w² = 16, {factors[1]} "
        "from σ_w² = 3."
    )
    numbers = {"large: near over far": factors[0].value, "small: near over far": factors[1].value}
    return Finding(NEAR, Verdict.of([gaps[0].below(0), gaps[1].above(0)]), text, numbers)


def judge_weights(large: xr.Dataset) -> Finding:
    """Whether weights stay while length shrinks."""
    ratio = float((large.weights.values[:, -1] / large.weights.values[:, 0]).mean(0)[1:].min())
    shrunk = Mean.of(change(large)[:, 1:].mean(1))
    shrinks = shrunk.below(0)
    verdict = Verdict.graded(ratio if shrinks else float("nan"), held=0.99, partly=0.95)
    if shrinks is None and Verdict.graded(ratio, held=0.99, partly=0.95) is not Verdict.FAILED:
        verdict = Verdict.OPEN
    text = f"Smallest ratio of weights {ratio:.3f}; length end over start, layers 2 to {DEPTH}: {shrunk.exp()}."
    return Finding(WEIGHTS, verdict, text, {"smallest ratio": ratio, "length, end over start": shrunk.exp().value})


def judge_reversal(large: xr.Dataset) -> Finding:
    """Whether length grows again at the end."""
    last = Mean.of(change(large, since=-2)[:, 1:].mean(1))
    verdict = Verdict.of([last.above(0)])
    between = "step {:,} to {:,}".format(*large.step.values[-2:])
    return Finding(
        REVERSES, verdict, f"From {between} length is multiplied by {last.exp()}.", {"factor": last.exp().value}
    )


def judge_growing(small: xr.Dataset) -> Finding:
    """Whether length grows from the small start."""
    logs = change(small)
    ratios, whole = by_layer(logs), Mean.of(logs.mean(1))
    verdict = Verdict.of([whole.above(0), both(*(ratio.above(1) for ratio in ratios))])
    text = f"End over start by layer: {listed(ratios)}; all layers {whole.exp()}."
    return Finding(GROWS, verdict, text, {**numbered(ratios), "all layers": whole.exp().value})


def judge_transitions(large: xr.Dataset) -> Finding:
    """Whether transitions go with length."""
    with np.errstate(divide="ignore", invalid="ignore"):
        length, switches = (
            np.log(values[:, 1:, 1:] / values[:, :1, 1:]).reshape(len(values), -1)
            for values in (large.near.values, large.near_transitions.values)
        )
    found = [np.nan if not np.isfinite([a, b]).all() else np.corrcoef(a, b)[0, 1] if np.ptp(b) else 0.0
             for a, b in zip(length, switches, strict=True)]  # fmt: skip
    mean = Mean(*(float("nan"),) * 3) if np.isnan(found).any() else Mean.of(found)
    verdict = mean.graded(held=0.9, partly=0.6)
    return Finding(SWITCHES, verdict, f"Correlation {mean}.", {"correlation": mean.value})


def judge_exponential(relu: xr.Dataset) -> Finding:
    """Whether training makes length grow with depth."""
    near = relu.near.values
    growth = [Mean.of(np.log(near[:, at, -1] / near[:, at, 0]) / (DEPTH - 1)) for at in (0, -1)]
    straight = straightness(np.log(near[:, -1]).mean(0))
    grows = growth[1].above(0)
    verdict = Verdict.of([grows, both(grows, growth[0].above(0) is not True), both(grows, straight >= 0.9)])
    before, after = (one.exp() for one in growth)
    text = f"Growth a layer {before} before training, {after} after it; R² of the straight line {straight:.3f}."
    numbers = {"growth before": before.value, "growth after": after.value, "R squared": straight}
    return Finding(EXPONENTIAL, verdict, text, numbers)


def by_layer(logarithms: Floats) -> list[Mean]:
    """Geometric means over seeds, one a layer."""
    return [Mean.of(column).exp() for column in logarithms.T]


def listed(ratios: list[Mean]) -> str:
    """In words."""
    return ", ".join(map(str, ratios))


def numbered(ratios: list[Mean]) -> dict[str, float]:
    """By layer, for a file of numbers."""
    return {f"layer {i + 1}, end over start": ratio.value for i, ratio in enumerate(ratios)}


def recipe(settings: Settings) -> Recipe:
    """How all of them are trained."""
    return recipe_for(settings, 1000, 20000, 0.1)


def arcs(split: Split, count: int, seed: int) -> tuple[list[Arc], list[Arc]]:
    """Arcs between two test images, and between random points as far from 0 as those."""
    rng = np.random.default_rng([seed, 8])
    pairs = rng.choice(len(split.test[0]), (count, 2), replace=False)
    ends = split.test[0].double().numpy()[pairs]
    points = rng.normal(size=ends.shape)
    sizes = [np.sqrt(np.square(some).sum(tuple(range(2, some.ndim)), keepdims=True)) for some in (ends, points)]
    points *= sizes[0] / sizes[1]
    near, far = ([Arc(*two) for two in some] for some in (ends, points))
    return near, far


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Train one network and look at it."""
    start, seed = STARTS[cell["start"]], cell["seed"]
    is_flat = flat(settings) or start.activation != "relu"
    split = images(settings, flat=is_flat, tested=2000)
    if is_flat:
        net = dense(split.shape[0], width(settings), DEPTH, start.activation, start.variance)(seed)
    else:
        net = stack(split.shape, channels(settings), DEPTH, seed, variance=start.variance)
    near, far = arcs(split, arc_count(settings), seed)
    at = checkpoints(recipe(settings).steps, 6 if settings.quick else 12)
    course = watched(
        net, split.train, recipe(settings), seed, at,
        lambda: seen(net, near, far) | {"accuracy": accuracy(net, split.test)},
    )  # fmt: skip
    expected = [
        length_growth(start.activation, start.variance**0.5, width=width(settings), depth=DEPTH, curve=arc).lengths
        if is_flat
        else np.full(DEPTH, np.nan)
        for arc in near
    ]
    return course.assign(theory=("layer", np.exp(np.log(expected).mean(0))))


def seen(net: nn.Module, near: list[Arc], far: list[Arc]) -> dict[str, Any]:
    """Lengths and transitions of both kinds of arcs by hidden layer, and its weights' size (root mean square)."""
    traces = trace_paths(net, [*near, *far], progress=False)
    length, switches = traces.values("length"), traces.values("transitions")
    with np.errstate(divide="ignore"):  # a network that died has length 0
        hidden = np.log(length[:, 1:-1] / length[:, :1])
    parts = {"near": slice(len(near)), "far": slice(len(near), None)}
    found: dict[str, Any] = {name: np.exp(hidden[part].mean(0)).tolist() for name, part in parts.items()}
    found |= {f"{name}_transitions": switches[part].mean(0).tolist() for name, part in parts.items()}
    weights = [float(p.detach().double().square().mean().sqrt()) for p in net.parameters() if p.ndim > 1]
    return found | {"weights": weights[:-1]}


BARS = "Points: geometric means over seeds; bars: 95% intervals (Student's t on the logarithm)."


def drawings(numbers: xr.Dataset, setting: str) -> dict[str, Drawing]:
    """All figures by name."""
    return {
        "length": Drawing(
            partial(draw_length, numbers=numbers),
            "Length of an arc's image after each hidden layer over that of the arc, against the training step. "
            f"{setting} {BARS} Dashes at the left: expected for random weights along the same arcs between images, at "
            "infinite width.",
            "Length by layer during training, from a large and a small start, near data and far from it.",
            height=5.4,
        ),
        "transitions": Drawing(
            partial(draw_transitions, numbers=numbers),
            "Transitions of a hidden layer's units (state switches: of hard-tanh at −1 and 1) along an arc between "
            f"two images, means over arcs, against the training step. {setting} {BARS}",
            "Transitions by layer during training, from a large and a small start.",
            height=3.6,
        ),
        "growth": Drawing(
            partial(draw_growth, course=numbers.sel(start="relu")),
            "Length (left) and transitions (right; ReLU: a unit switches on or off) of arcs between two images by "
            f"hidden layer, at steps of the training. {setting} {BARS} "
            "Dashes: expected length for random weights (fully connected), exact at this width.",
            "Length and transitions against the layer for a ReLU network, before, during and after training.",
            height=3.8,
        ),
    }


def theory(course: xr.Dataset) -> Floats:
    """Expected lengths between two images before training, by layer: geometric means over seeds."""
    return np.exp(np.log(course.theory.values).mean(0))


def draw_length(figure: Figure, theme: Theme, numbers: xr.Dataset) -> None:
    """Length against the step: rows are starts, columns near and far."""
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    for row, name in zip(axes, ("large", "small"), strict=True):
        course = numbers.sel(start=name)
        for ax, values, where in ((row[0], course.near, "images"), (row[1], course.far, "random points")):
            _course(ax, theme, values, theory(course) if where == "images" else None)
            ax.set_title(f"{STARTS[name].label}\nbetween {where}")
        row[0].set_ylabel("length / that of the arc")
    for ax in axes[0]:
        ax.set_xlabel("")
    drawing.legend(figure, axes[0, 0], *drawing.key(theme, theory_at_step_0="--"))


def draw_transitions(figure: Figure, theme: Theme, numbers: xr.Dataset) -> None:
    """Transitions against the step, between images."""
    axes = figure.subplots(1, 2)
    for ax, name in zip(axes, ("large", "small"), strict=True):
        _course(ax, theme, numbers.near_transitions.sel(start=name))
        ax.set_title(STARTS[name].label)
    axes[0].set_ylabel("transitions an arc")
    drawing.legend(figure, axes[0])


def _course(ax: Axes, theme: Theme, measured: xr.DataArray, expected: Floats | None = None) -> None:
    """One line a layer against the step, on logarithmic axes that hold step 0."""
    steps, values = measured.step.values, measured.values
    first = int(steps[1])
    for i, colour in enumerate(drawing.ramp(values.shape[2], theme)):
        mean, bars = geometric(values[:, :, i])
        drawing.measured(ax, steps, mean, bars, colour=colour, mark=drawing.MARKS[i], label=f"layer {i + 1}", line=True)
        if expected is not None:
            drawing.theory(ax, [-0.45 * first, 0.3 * first], [expected[i]] * 2, colour=colour, style="--")
    drawing.step_axis(ax, steps)
    drawing.plain_log(ax)


def draw_growth(figure: Figure, theme: Theme, course: xr.Dataset) -> None:
    """Length and transitions against the layer, one line a checkpoint."""
    left, right = figure.subplots(1, 2)
    at, steps = course.layer.values, course.step.values
    chosen = np.unique(np.linspace(0, len(steps) - 1, 4).round().astype(int))
    for i, colour in zip(chosen, drawing.ramp(len(chosen), theme), strict=True):
        step = f"step {steps[i]:,}"
        mark = drawing.MARKS[int(np.flatnonzero(chosen == i)[0])]
        for ax, values in ((left, course.near), (right, course.near_transitions)):
            mean, bars = geometric(values.values[:, i])
            drawing.measured(ax, at, mean, bars, colour=colour, mark=mark, label=step, line=True)
    if np.isfinite(course.theory).all():
        drawing.theory(left, at, theory(course), colour=theme.ink, style="--", label="theory, step 0")
    for ax, words in ((left, "length / that of the arc"), (right, "transitions an arc")):
        drawing.whole_axis(ax, at.tolist())
        ax.set_xlabel("hidden layer")
        ax.set_ylabel(words)
        drawing.plain_log(ax)
    left.set_title(STARTS["relu"].label)
    drawing.legend(figure, left)


@experiment("Figure 8", "Length and transitions during training", uses_data=True, version=2)
def training(settings: Settings) -> Made:
    """Length and transitions along arcs between images and between random points while networks are trained."""
    seeds = seeds_of(settings, 5 if flat(settings) else 3, 10)
    found = measured(settings, measure, start=list(STARTS), seed=seeds)
    there = "" if flat(settings) else f" (with ReLU: {convolutions(settings)})"
    setting = (
        f"{settings.data.name}. Fully connected, {DEPTH} hidden layers of {width(settings)}{there}, σ_b = 0, trained "
        f"by {recipe(settings).words}; {len(seeds)} seeds from {seeds[0]} on, each with "
        f"{counted(arc_count(settings), 'arc')} cos(πt/2) x₀ + sin(πt/2) x₁ between two test images and as many "
        "between random points of the same norms."
    )
    tables = ["near", "far", "near_transitions", "far_transitions"]
    reached = ", ".join(
        f"{found.accuracy.sel(start=name).values[:, -1].mean():.2f} ({start.words})" for name, start in STARTS.items()
    )
    return Made(
        findings=judge(found),
        figures=drawings(found, setting),
        tables={"course": found[tables].to_dataframe().reset_index()},
        setting=setting,
        notes=(
            f"Test accuracy at the end: {reached}.",
            "Optimiser, learning rate and number of steps are left open by the paper. The output is left out, as in "
            "its figure.",
        ),
    )
