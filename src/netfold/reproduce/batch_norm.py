"""What batch norm does to length and transitions while a network is trained."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
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
from netfold.reproduce.statistics import Mean, geometric
from netfold.reproduce.trained import (
    BATCH,
    Part,
    Recipe,
    Split,
    arc_count,
    checkpoints,
    flat,
    hidden,
    images,
    norm,
    recipe_for,
    seeds_of,
    stack,
    tested,
    units,
    watched,
)
from netfold.results.base import counted
from netfold.theory import length_growth
from netfold.training.loop import accuracy

DEPTH = 6
VARIANTS = ("with", "without")
NORMS = nn.BatchNorm1d, nn.BatchNorm2d
FAR = 1e30
"""No activation comes near: a hard-tanh with these knots changes nothing, and is a layer whose length is measured."""

CUTS = Claim(
    "After a few hundred steps, and from there on, batch norm layers shorten the path's image.",
    "Raghu et al. 2017, Figure 9 (there a convolutional network on CIFAR-10)",
    "Length after a batch norm layer over length before it, at the end of training; geometric means over seeds. "
    "Checked: (a) the mean over layers is below 1 with its whole 95% interval; (b) so is that of every layer. Held "
    "if both hold, in part if one does.",
)
UNSTABLE = Claim(
    "Before the first step batch norm is badly behaved: it divides by a variance close to zero, and length explodes.",
    "Raghu et al. 2017, Figure 9",
    "The largest factor by which one batch norm layer multiplies length at step 0, with the statistics of the first "
    "batch; mean over seeds. Held from 10 on, in part from 3 on.",
)
STEADIES = Claim(
    "Batch norm keeps the trained network from stretching the path as much as the network without it does.",
    "Raghu et al. 2017, Figure 9 beside Figure 8",
    "Length after the last hidden layer at the end of training, with batch norm over without, same start and batches: "
    "held if the 95% interval of the geometric mean over seeds lies below 1, failed if above.",
)


def judge(numbers: xr.Dataset) -> tuple[Finding, ...]:
    """All findings."""
    reached = {variant: float(numbers.accuracy.sel(variant=variant).values[:, -1].mean()) for variant in VARIANTS}
    steadying = tested(judge_steadying(numbers), min(reached.values()))
    return tested(judge_cutting(numbers), reached["with"]), judge_start(numbers), steadying


def judge_cutting(measured: xr.Dataset) -> Finding:
    """Whether batch norm layers shorten."""
    last = np.log(measured.factors.sel(variant="with").values[:, -1])
    whole, layers = Mean.of(last.mean(1)), [Mean.of(column).exp() for column in last.T]
    verdict = Verdict.of([whole.below(0), both(*(layer.below(1) for layer in layers))])
    told = ", ".join(map(str, layers))
    text = f"Factor at step {measured.step.values[-1]:,}: {whole.exp()} over all layers; by layer {told}."
    numbers = {f"factor, layer {i + 1}": layer.value for i, layer in enumerate(layers)}
    return Finding(CUTS, verdict, text, {"factor, all layers": whole.exp().value, **numbers})


def judge_start(numbers: xr.Dataset) -> Finding:
    """Whether the first batch's statistics make length explode."""
    largest = Mean.of(numbers.first.sel(variant="with").values.max(1))
    verdict = largest.graded(held=10, partly=3)
    text = f"Largest factor of a layer at step 0: {largest}."
    return Finding(UNSTABLE, verdict, text, {"largest factor": largest.value})


def judge_steadying(measured: xr.Dataset) -> Finding:
    """Whether there is less growth with batch norm."""
    ends = [np.log(measured.lengths.sel(variant=variant).values[:, -1, -1]) for variant in VARIANTS]
    ratio = Mean.of(ends[0] - ends[1])
    factors = [Mean.of(end).exp() for end in ends]
    text = (
        f"Length after layer {DEPTH} over the path's: {factors[0]} with batch norm, {factors[1]} without; ratio "
        f"{ratio.exp()}."
    )
    numbers = {"with": factors[0].value, "without": factors[1].value, "ratio": ratio.exp().value}
    return Finding(STEADIES, Verdict.of([ratio.below(0)]), text, numbers)


def recipe(settings: Settings) -> Recipe:
    """How both are trained."""
    return recipe_for(settings, 640, 20000, 0.03, momentum=0.9)


def network(settings: Settings, split: Split, variant: str, seed: int) -> nn.Sequential:
    """The network of a seed, with batch norm or without."""
    return stack(split.shape, units(settings), DEPTH, seed, norm(settings) if variant == "with" else None)


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Train one network and look at it."""
    variant, seed = str(cell["variant"]), int(cell["seed"])
    split = images(settings, flat=flat(settings), tested=2000)
    net, paths = network(settings, split, variant, seed), arcs(split, arc_count(settings), seed)
    first = seen(with_statistics(net, split.train), paths)["factors"]
    at = checkpoints(recipe(settings).steps, 6 if settings.quick else 12)
    course = watched(
        net, split.train, recipe(settings), seed, at,
        lambda: seen(net, paths) | {"accuracy": accuracy(net, split.test)},
    )  # fmt: skip
    return course.assign(first=("layer", first))


def arcs(split: Split, count: int, seed: int) -> list[Arc]:
    """Arcs between two test images."""
    pairs = np.random.default_rng([seed, 9]).choice(len(split.test[0]), (count, 2), replace=False)
    return [Arc(*ends) for ends in split.test[0].double().numpy()[pairs]]


def seen(net: nn.Sequential, paths: list[Arc]) -> dict[str, list[float]]:
    """Lengths and transitions after each ReLU, and factors of batch norm layers: NaN without them."""
    probed, names = probes(net)
    traces = trace_paths(probed, paths, progress=False)
    lengths, switches = traces.values("length"), traces.values("transitions")
    relu = [i for i, name in enumerate(names) if name == "relu"]
    before, after = ([i for i, name in enumerate(names) if name == which] for which in ("before", "after"))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(lengths[:, 1:-1] / lengths[:, :1])
        return {
            "lengths": np.exp(logs[:, relu].mean(0)).tolist(),
            "transitions": switches[:, relu].mean(0).tolist(),
            "factors": np.exp((logs[:, after] - logs[:, before]).mean(0)).tolist() or [float("nan")] * len(relu),
        }


def probes(net: nn.Sequential) -> tuple[nn.Sequential, list[str]]:
    """The same function, of the same modules, with a layer to measure at before and after every batch norm.

    Returns:
        The network, and for each of its nonlinearities what it is.
    """
    parts: list[nn.Module] = []
    names: list[str] = []
    for module in net:
        if isinstance(module, NORMS):
            parts += [nn.Hardtanh(-FAR, FAR), module, nn.Hardtanh(-FAR, FAR)]
            names += ["before", "after"]
        else:
            parts.append(module)
            names += ["relu"] if isinstance(module, nn.ReLU) else []
    return nn.Sequential(*parts).eval(), names


def with_statistics(net: nn.Sequential, part: Part) -> nn.Sequential:
    """A copy whose batch norm layers hold the statistics of the first batch."""
    changed = copy.deepcopy(net)
    for module in changed.modules():
        if isinstance(module, NORMS):
            module.momentum = 1.0
    with torch.no_grad():
        changed.train()(part[0][:BATCH])
    return changed.eval()


def expected(settings: Settings) -> Floats | None:
    """Lengths by layer before training, without batch norm; None of convolutional networks."""
    if not flat(settings):
        return None
    return length_growth("relu", 2**0.5, width=units(settings), depth=DEPTH, inputs=settings.data.size).lengths


def draw(figure: Figure, theme: Theme, numbers: xr.Dataset, theory: Floats | None) -> None:
    """Factors against the step, then length and transitions against the layer at the end."""
    axes = figure.subplots(2, 2)
    layers = np.arange(1, DEPTH + 1)
    _draw_factors(axes[0, 0], theme, numbers)
    _draw_start(axes[0, 1], theme, numbers, theory)
    panels = (
        (axes[1, 0], numbers.lengths, "length / that of the arc"),
        (axes[1, 1], numbers.transitions, "transitions an arc"),
    )
    for ax, values, words in panels:
        for variant, colour, mark in zip(VARIANTS, (theme.other, theme.main), ("s", "o"), strict=True):
            mean, bars = geometric(values.sel(variant=variant).values[:, -1])
            drawing.measured(ax, layers, mean, bars, colour=colour, mark=mark, label=f"{variant} batch norm", line=True)
        ax.set(xlabel="hidden layer", ylabel=words, title="after training")
        drawing.whole_axis(ax, layers.tolist())
        drawing.plain_log(ax)
    drawing.legend(figure, axes[1, 0], ncols=2)


def _draw_factors(ax: Axes, theme: Theme, numbers: xr.Dataset) -> None:
    steps, factors = numbers.step.values, numbers.factors.sel(variant="with").values
    for i, colour in enumerate(drawing.ramp(DEPTH, theme)):
        mean, bars = geometric(factors[:, :, i])
        drawing.measured(ax, steps, mean, bars, colour=colour, mark=drawing.MARKS[i], label=f"{i + 1}", line=True)
    ax.axhline(1, color=theme.muted, linewidth=1, linestyle=":")
    drawing.step_axis(ax, steps)
    ax.set(ylabel="length after / before", title="each batch norm layer")
    drawing.plain_log(ax)
    ax.legend(title="layer", fontsize=9, title_fontsize=9, ncols=3, columnspacing=1, handletextpad=0.3)


def _draw_start(ax: Axes, theme: Theme, numbers: xr.Dataset, theory: Floats | None) -> None:
    """Before training batch norm's running statistics are 0 and 1: one line is both."""
    layers = np.arange(1, DEPTH + 1)
    mean, bars = geometric(numbers.lengths.sel(variant="without").values[:, 0])
    drawing.measured(ax, layers, mean, bars, colour=theme.muted, mark="D", label="both", line=True)
    if theory is not None:
        drawing.theory(ax, layers, theory, colour=theme.ink, style="--", label="theory")
    ax.set(xlabel="hidden layer", ylabel="length / that of the arc", title="before training")
    drawing.whole_axis(ax, layers.tolist())
    drawing.plain_log(ax)
    ax.legend()


@experiment("Figure 9", "Batch norm and length during training", uses_data=True, version=2)
def batch_norm(settings: Settings) -> Made:
    """What batch norm layers do to length and transitions while a network is trained."""
    seeds = seeds_of(settings, 4 if flat(settings) else 3, 10)
    found = measured(settings, measure, variant=VARIANTS, seed=seeds)
    setting = (
        f"{settings.data.name}. {DEPTH} {hidden(settings)}, each with batch norm or nothing before its ReLU; σ_w² = 2, "
        f"σ_b = 0; {recipe(settings).words}; same start and batches with and without. {len(seeds)} seeds from "
        f"{seeds[0]} on, each with {counted(arc_count(settings), 'arc')} between two test images."
    )
    caption = (
        "Batch norm during training. Top left: length of the arc's image after a batch norm layer over that before "
        "it, in evaluation mode; at step 0 its running statistics are 0 and 1, so it does nothing. Other panels: "
        f"length and transitions (a ReLU unit switches on or off) after each ReLU. {setting} Points: geometric means "
        "over seeds; bars: 95% intervals (Student's t on the logarithm). Theory (fully connected networks): random "
        "weights without batch norm, exact at this width."
    )
    table = found[["lengths", "transitions", "factors"]].to_dataframe().reset_index()
    ends = ", ".join(f"{found.accuracy.sel(variant=v).values[:, -1].mean():.3f} {v} batch norm" for v in VARIANTS)
    return Made(
        findings=judge(found),
        figures={
            "length": Drawing(
                partial(draw, numbers=found, theory=expected(settings)),
                caption,
                "Factors of length of batch norm layers during training, and length and transitions by layer.",
                height=5.6,
            )
        },
        tables={"course": table},
        setting=setting,
        notes=(
            f"Test accuracy at the end: {ends}.",
            "Running statistics start at mean 0 and variance 1 in PyTorch; those of the paper's framework are not "
            "known. Step 0 is therefore judged with the statistics of the first batch.",
        ),
    )
