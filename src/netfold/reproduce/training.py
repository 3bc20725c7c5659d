"""Length and transitions along fixed paths while a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from netfold.measures.tracing import trace_paths
from netfold.paths import Arc
from netfold.reproduce.figure import Claim, Experiment, Finding, Made, Settings, Verdict
from netfold.reproduce.kept import Cell, Numbers, measured
from netfold.reproduce.statistics import Mean, straightness
from netfold.reproduce.trained import Recipe, Split, accuracy, checkpoints, dense, fit, seeds_of
from netfold.reproduce.training_figures import drawings
from netfold.theory import length_growth

Floats = NDArray[np.float64]

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


@dataclass(frozen=True, eq=False)
class Course:
    """Measures during training, from one start; the axes are seed, checkpoint and hidden layer.

    Attributes:
        steps: checkpoints.
        near: lengths of arcs between two images over those of the arcs, ``(seeds, checkpoints, layers)``, geometric
            means over arcs.
        far: the same between random points.
        near_transitions: state switches an arc, means over arcs.
        far_transitions: the same between random points.
        weights: root mean square of each layer's weights.
        accuracy: on the test images, ``(seeds, checkpoints)``.
        theory: expected lengths between two images before training, ``(layers,)``.
    """

    steps: NDArray[np.int64]
    near: Floats
    far: Floats
    near_transitions: Floats
    far_transitions: Floats
    weights: Floats
    accuracy: Floats
    theory: Floats

    @classmethod
    def of(cls, found: list[Numbers]) -> Course:
        """From what was measured of every seed."""
        names = ("near", "far", "near_transitions", "far_transitions", "weights", "accuracy")
        arrays = {name: np.array([f[name] for f in found], np.float64) for name in names}
        theory = np.exp(np.log([f["theory"] for f in found]).mean(0))
        return cls(np.array(found[0]["steps"]), **arrays, theory=theory)

    def change(self, name: str = "near", since: int = 0) -> Floats:
        """Logarithm of a measure at the end over that at a checkpoint: ``(seeds, layers)``."""
        values = getattr(self, name)
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
    "before: held if its 95% interval over seeds lies above 0, in part if only the mean does.",
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


def judge(found: Mapping[str, Course]) -> tuple[Finding, ...]:
    """All findings."""
    large, small, relu = (found[name] for name in STARTS)
    return (
        judge_shrinking(large),
        judge_near(large, small),
        judge_weights(large),
        judge_reversal(large),
        judge_growing(small),
        judge_transitions(large),
        judge_exponential(relu),
    )


def judge_shrinking(large: Course) -> Finding:
    """Whether all layers but the first shrink."""
    ratios = by_layer(large.change())
    checks = [ratios[0].above(1), all(ratio.below(1) for ratio in ratios[1:])]
    return Finding(SHRINKS, Verdict.of(checks), f"End over start by layer: {listed(ratios)}.", numbered(ratios))


def judge_near(large: Course, small: Course) -> Finding:
    """Whether length changes more near the data."""
    gaps = [Mean.of((course.change("near") - course.change("far"))[:, 1:].mean(1)) for course in (large, small)]
    factors = [gap.exp() for gap in gaps]
    text = (
        f"End over start between images, over that between random points: {factors[0]} from σ_w² = 16, {factors[1]} "
        "from σ_w² = 3."
    )
    numbers = {"large: near over far": factors[0].value, "small: near over far": factors[1].value}
    return Finding(NEAR, Verdict.of([gaps[0].below(0), gaps[1].above(0)]), text, numbers)


def judge_weights(large: Course) -> Finding:
    """Whether weights stay while length shrinks."""
    ratio = float((large.weights[:, -1] / large.weights[:, 0]).mean(0)[1:DEPTH].min())
    shrunk = Mean.of(large.change()[:, 1:].mean(1))
    verdict = Verdict.graded(ratio if shrunk.below(0) else float("nan"), held=0.99, partly=0.95)
    text = f"Smallest ratio of weights {ratio:.3f}; length end over start, layers 2 to {DEPTH}: {shrunk.exp()}."
    return Finding(WEIGHTS, verdict, text, {"smallest ratio": ratio, "length, end over start": shrunk.exp().value})


def judge_reversal(large: Course) -> Finding:
    """Whether length grows again at the end."""
    last = Mean.of(large.change(since=-2)[:, 1:].mean(1))
    verdict = Verdict.of([last.above(0), last.value > 0])
    between = f"step {large.steps[-2]:,} to {large.steps[-1]:,}"
    return Finding(
        REVERSES, verdict, f"From {between} length is multiplied by {last.exp()}.", {"factor": last.exp().value}
    )


def judge_growing(small: Course) -> Finding:
    """Whether length grows from the small start."""
    change = small.change()
    ratios, whole = by_layer(change), Mean.of(change.mean(1))
    verdict = Verdict.of([whole.above(0), all(ratio.above(1) for ratio in ratios)])
    text = f"End over start by layer: {listed(ratios)}; all layers {whole.exp()}."
    return Finding(GROWS, verdict, text, {**numbered(ratios), "all layers": whole.exp().value})


def judge_transitions(large: Course) -> Finding:
    """Whether transitions go with length."""
    with np.errstate(divide="ignore", invalid="ignore"):
        length, switches = (
            np.log(values[:, 1:, 1:] / values[:, :1, 1:]).reshape(len(values), -1)
            for values in (large.near, large.near_transitions)
        )
    found = [np.corrcoef(a, b)[0, 1] if np.isfinite([a, b]).all() and np.ptp(b) else np.nan
             for a, b in zip(length, switches, strict=True)]  # fmt: skip
    mean = Mean(*(float("nan"),) * 3) if np.isnan(found).any() else Mean.of(found)
    verdict = Verdict.graded(mean.value, held=0.9, partly=0.6)
    return Finding(SWITCHES, verdict, f"Correlation {mean}.", {"correlation": mean.value})


def judge_exponential(relu: Course) -> Finding:
    """Whether training makes length grow with depth."""
    growth = [Mean.of(np.log(relu.near[:, at, -1] / relu.near[:, at, 0]) / (DEPTH - 1)) for at in (0, -1)]
    straight = straightness(np.log(relu.near[:, -1]).mean(0))
    grows = growth[1].above(0)
    verdict = Verdict.of([grows, grows and not growth[0].above(0), grows and straight >= 0.9])
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


def width(settings: Settings) -> int:
    """Of the hidden layers."""
    return 64 if settings.data.name == "digits" else 100


def recipe(settings: Settings) -> Recipe:
    """How all of them are trained."""
    return Recipe(1000 if settings.quick else 20000, 0.1)


def arcs(split: Split, count: int, seed: int) -> tuple[list[Arc], list[Arc]]:
    """Arcs between two test images, and between random points as far from 0 as those."""
    rng = np.random.default_rng([seed, 8])
    pairs = rng.choice(len(split.test[0]), (count, 2), replace=False)
    images = split.test[0].double().numpy()[pairs]
    points = rng.normal(size=images.shape)
    points *= np.linalg.norm(images, axis=-1, keepdims=True) / np.linalg.norm(points, axis=-1, keepdims=True)
    near, far = ([Arc(*ends) for ends in some] for some in (images, points))
    return near, far


def measure(settings: Settings, cell: Cell) -> Numbers:
    """Train one network and look at it."""
    start, seed = STARTS[str(cell["start"])], int(cell["seed"])
    split = Split.of(settings.data, flat=True, most=4000 if settings.quick else None, most_tested=2000)
    net = dense(split.shape[0], width(settings), DEPTH, start.activation, start.variance)(seed)
    near, far = arcs(split, 4 if settings.quick else 16, seed)
    steps = checkpoints(recipe(settings).steps, 6 if settings.quick else 12)
    records: list[Numbers] = []

    def look(step: int) -> None:
        if step in steps:
            records.append(seen(net, near, far) | {"accuracy": accuracy(net, split.test)})

    fit(net, split.train, recipe(settings), seed, look)
    expected = [
        length_growth(start.activation, start.variance**0.5, width=width(settings), depth=DEPTH, curve=arc).lengths
        for arc in near
    ]
    theory = np.exp(np.log(expected).mean(0))
    return {name: [r[name] for r in records] for name in records[0]} | {"steps": steps, "theory": theory.tolist()}


def seen(net: nn.Module, near: list[Arc], far: list[Arc]) -> Numbers:
    """Lengths and transitions of both kinds of arcs by hidden layer, and the weights' sizes."""
    traces = trace_paths(net, [*near, *far], progress=False)
    length, switches = traces.values("length"), traces.values("transitions")
    with np.errstate(divide="ignore"):  # a network that died has length 0
        hidden = np.log(length[:, 1:-1] / length[:, :1])
    parts = {"near": slice(len(near)), "far": slice(len(near), None)}
    found: Numbers = {name: np.exp(hidden[part].mean(0)).tolist() for name, part in parts.items()}
    found |= {f"{name}_transitions": switches[part].mean(0).tolist() for name, part in parts.items()}
    weights = [float(p.detach().double().square().mean().sqrt()) for p in net.parameters() if p.ndim > 1]
    return found | {"weights": weights}


def run(settings: Settings) -> Made:
    """Train from all starts."""
    seeds = seeds_of(settings, 5, 10)
    cells: list[dict[str, Any]] = [{"start": name, "seed": seed} for name in STARTS for seed in seeds]
    numbers = measured(settings, cells, measure)
    found = {
        name: Course.of([n for n, cell in zip(numbers, cells, strict=True) if cell["start"] == name]) for name in STARTS
    }
    count = 4 if settings.quick else 16
    setting = (
        f"{settings.data.name}. Fully connected, {DEPTH} hidden layers of {width(settings)}, σ_b = 0, trained by "
        f"{recipe(settings).words}; {len(seeds)} seeds from {seeds[0]} on, each with {count} arcs "
        "cos(πt/2) x₀ + sin(πt/2) x₁ between two test images and as many between random points of the same norms."
    )
    reached = ", ".join(f"{found[name].accuracy[:, -1].mean():.2f} ({STARTS[name].words})" for name in STARTS)
    return Made(
        findings=judge(found),
        figures=drawings(found, {name: start.label for name, start in STARTS.items()}, setting),
        tables={"course": table(found)},
        setting=setting,
        notes=(
            f"Test accuracy at the end: {reached}.",
            "Optimiser, learning rate and number of steps are left open by the paper. The output is left out, as in "
            "its figure.",
        ),
    )


def table(found: Mapping[str, Course]) -> Any:
    """One row a start, seed, checkpoint and hidden layer."""
    import pandas as pd

    names = ("near", "far", "near_transitions", "far_transitions")
    rows = [
        {"start": start, "seed": seed, "step": int(step), "layer": layer + 1}
        | {name: float(getattr(course, name)[seed, at, layer]) for name in names}
        for start, course in found.items()
        for seed in range(len(course.near))
        for at, step in enumerate(course.steps)
        for layer in range(course.near.shape[2])
    ]
    return pd.DataFrame(rows)


EXPERIMENTS = (
    Experiment(
        name="training",
        title="Length and transitions during training",
        of_paper="Figure 8",
        run=run,
        about="Length and transitions along arcs between images and between random points while networks are trained.",
        uses_data=True,
    ),
)
