"""Labellings of fixed inputs met while one layer's weights are swept, against the remaining depth."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from netfold.arrays import Floats
from netfold.networks import random_network
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, both, experiment
from netfold.reproduce.harness import Cell, measured
from netfold.reproduce.statistics import Mean, geometric, straightness
from netfold.reproduce.trained import seeds_of
from netfold.sensitivity.dichotomies import count_dichotomies
from netfold.theory import crossing_rate

INPUTS = 15
CEILING = 2**INPUTS
VARIANCE = 8.0

SUBMISSION = "ICLR 2017 submission of Raghu et al."

EXPONENTIAL = Claim(
    "The number of labellings that a sweep of the first layer's weights meets grows exponentially with the depth that "
    "remains behind it.",
    f"{SUBMISSION}, Observation 2 and Figure 4",
    "Geometric means over networks for the widest ones, remaining depths from 1 on. In part if growth a layer, the "
    "slope of the logarithm, is above 1 with its whole 95% interval over networks; held if besides the logarithm of "
    "the mean is a straight line over depth, R² at least 0.95.",
)
WIDTHS = Claim(
    "It grows slowly with the width.",
    f"{SUBMISSION}, Figure 4",
    "From the narrowest to the widest networks, at the same remaining depth from 1 on: the logarithm of the ratio of "
    "counts over that of the widths, mean over depths (networks of equal seed paired). Checked: (a) this exponent is "
    "at most 0.25; (b) its 95% interval lies below 0.5. Held if both hold, in part if one does.",
)
REMAINING = Claim(
    "Which layer is swept matters only through the depth that remains behind it.",
    f"{SUBMISSION}, Figure 5",
    "Counts from sweeping a higher layer of the deepest networks over counts from sweeping the first layer of "
    "networks that are as deep as what remains; geometric mean over remaining depths from 1 on, widest networks. "
    "Checked: (a) it is within 15% of 1; (b) its 95% interval over networks contains 1. Held if both hold, in part "
    "if one does.",
)


def judge(numbers: xr.Dataset) -> tuple[Finding, ...]:
    """All findings."""
    return judge_growth(numbers), judge_widths(numbers), judge_remaining(numbers)


def judge_growth(measured: xr.Dataset) -> Finding:
    """Whether counts grow exponentially."""
    widest = measured.width.values[-1]
    logs = np.log(measured.first_layer.sel(width=widest).values[:, 1:])
    depths = np.arange(1, logs.shape[1] + 1)
    slope = Mean.of(np.polyfit(depths, logs.T, 1)[0])
    straight = straightness(logs.mean(0))
    text = (
        f"Width {widest}: {slope.exp()} times as many with every layer, R² {straight:.3f}; "
        f"{np.exp(logs.mean(0))[-1]:,.0f} labellings at remaining depth {depths[-1]}, of {CEILING:,} that there are."
    )
    numbers = {"growth a layer": slope.exp().value, "R squared": straight}
    return Finding(EXPONENTIAL, Verdict.of([slope.above(0), both(slope.above(0), straight >= 0.95)]), text, numbers)


def judge_widths(numbers: xr.Dataset) -> Finding:
    """Whether width matters little."""
    low, high = numbers.width.values[[0, -1]]
    gain = (np.log(numbers.first_layer.sel(width=high).values) - np.log(numbers.first_layer.sel(width=low).values))[
        :, 1:
    ].mean(1)
    exponent = Mean.of(gain / np.log(high / low))
    text = (
        f"From width {low} to {high} counts are multiplied by {Mean.of(gain).exp()}: they grow as the power "
        f"{exponent} of the width."
    )
    verdict = Verdict.of([exponent.value <= 0.25, exponent.below(0.5)])
    return Finding(WIDTHS, verdict, text, {"exponent": exponent.value})


def judge_remaining(numbers: xr.Dataset) -> Finding:
    """Whether only the remaining depth matters."""
    widest = numbers.isel(width=-1)
    # The deepest network's own first layer would be compared with itself.
    gap = (np.log(widest.each_layer.values) - np.log(widest.first_layer.values))[:, 1:-1]
    ratio = Mean.of(gap.mean(1))
    checks = [abs(ratio.value) <= np.log(1.15), True not in (ratio.above(0), ratio.below(0))]
    text = f"Width {widest.width.values}: a higher layer over the first layer of a shallower network, {ratio.exp()}."
    return Finding(REMAINING, Verdict.of(checks), text, {"ratio": ratio.exp().value})


def sizes(settings: Settings) -> tuple[tuple[int, ...], int]:
    """Widths, and the depth of the deepest networks."""
    return ((32, 128), 5) if settings.quick else ((32, 64, 128, 256), 8)


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Sweep layers of one network: all of the deepest, the first of others."""
    width, depth, seed = (cell[name] for name in ("width", "depth", "seed"))
    net = random_network(width, width, depth, 1, "hardtanh", VARIANCE**0.5, seed=seed)
    most = sizes(settings)[1]
    chosen = None if depth == most else ["linear1" if depth else "readout"]
    found = count_dichotomies(net, inputs(width, seed), chosen, seed=seed)
    layers, changes = np.full((2, most + 1), np.nan)
    layers[found.remaining_depth], changes[found.remaining_depth] = found.counts[:, 0], found.changes[:, 0] / INPUTS
    return xr.Dataset(
        {
            "first_layer": layers[depth],
            "each_layer": ("remaining", layers),
            "changes": ("remaining", changes),
            "narrow": found.narrow.sum(),
        }
    )


def inputs(width: int, seed: int) -> Floats:
    """Random points of mean square 1 a coordinate."""
    x = np.random.default_rng([seed, 15]).normal(size=(INPUTS, width))
    return x * np.sqrt(width) / np.linalg.norm(x, axis=1, keepdims=True)


def expected_changes(depth: int) -> Floats:
    """Label changes an input at remaining depths 0 to ``depth``, at infinite width.

    Along the sweep a layer's output for one input runs round a circle in the space of Gaussian layers, so these are the
    sign changes of a unit along a circle of inputs of mean square 1, one layer later.
    """
    return crossing_rate("hardtanh", VARIANCE**0.5, depth=depth + 1, q0=1.0).sign_transitions


def swept(numbers: xr.Dataset) -> xr.Dataset:
    """Labellings by width, seed and depth that remains.

    ``first_layer``: met in sweeping the first layer of networks of every depth, all of which remains behind it;
    ``each_layer``: every layer of the deepest networks, and ``changes``: label changes an input there.
    """
    deepest = numbers[["each_layer", "changes"]].isel(depth=-1, drop=True)
    first = numbers.first_layer.rename(depth="remaining").transpose("width", "seed", "remaining")
    return deepest.assign(first_layer=first)


def draw(figure: Figure, theme: Theme, numbers: xr.Dataset) -> None:
    """Labellings, and label changes an input with theory, against the remaining depth."""
    left, right = figure.subplots(1, 2)
    depths, widths = numbers.remaining.values, numbers.width.values
    for width, colour, mark in zip(widths, drawing.ramp(len(widths), theme), drawing.MARKS, strict=False):
        one = numbers.sel(width=width)
        mean, bars = geometric(one.first_layer.values)
        label = f"first layer, width {width}"
        drawing.measured(left, depths - 0.06, mean, bars, colour=colour, mark=mark, label=label, line=True)
        if width == widths[-1]:
            mean, bars = geometric(one.each_layer.values)
            left.errorbar(
                depths + 0.06, mean, bars, fmt=mark, color=colour, markerfacecolor="none", markersize=7, capsize=2.5,
                elinewidth=1.2, label=f"each layer, width {width}",
            )  # fmt: skip
        mean, bars = geometric(one.changes.values)
        drawing.measured(right, depths, mean, bars, colour=colour, mark=mark)
    drawing.theory(right, depths, expected_changes(len(depths) - 1), colour=theme.ink, label="theory, infinite width")
    left.axhline(CEILING, color=theme.muted, linestyle=(0, (5, 3)), linewidth=1.2, label=f"all there are, {CEILING:,}")
    left.set_ylabel(f"labellings of {INPUTS} inputs")
    right.set_ylabel("label changes an input")
    for ax in (left, right):
        ax.set_xlabel("remaining depth")
        drawing.whole_axis(ax, depths.tolist())
        drawing.plain_log(ax)
    right.legend()
    drawing.legend(figure, left, ncols=2)


@experiment("ICLR 2017 submission, Figures 4 and 5", "Labellings against remaining depth")
def dichotomies(settings: Settings) -> Made:
    """Labellings of 15 inputs met while one layer's weights are swept."""
    widths, depth = sizes(settings)
    seeds = seeds_of(settings, 4, 10)
    numbers = measured(settings, measure, width=widths, depth=range(depth + 1), seed=seeds)
    found, narrow = swept(numbers), numbers.narrow.values.sum()
    setting = (
        f"Random hard-tanh networks of 0 to {depth} hidden layers, σ_w² = 8, σ_b = 0, one output; {INPUTS} random "
        "inputs of norm √k for width k; one sweep W cos t + W' sin t, t over the whole circle, of each layer; "
        f"{len(seeds)} networks a width and depth, seeds from {seeds[0]} on."
    )
    caption = (
        f"Left: distinct labellings (signs of the output for all {INPUTS} inputs) met in the sweep, counted exactly, "
        "all label changes being roots in closed form; filled: first layer of networks of that depth; open: each "
        "layer of the widest and deepest networks. Right: label changes an input in sweeping each layer of the "
        f"deepest networks. {setting} Points: geometric means; bars: 95% intervals (Student's t on the logarithm). "
        "Theory: the Kac–Rice rate along a circle."
    )
    return Made(
        findings=judge(found),
        figures={
            "labellings": Drawing(
                partial(draw, numbers=found),
                caption,
                "Labellings and label changes against the remaining depth, both growing exponentially.",
                height=4.2,
            )
        },
        tables={"labellings": found.to_dataframe().reset_index()},
        setting=setting,
        notes=(
            f"Stretches of the sweep too narrow for float64 were left out of the counts: {narrow} in all.",
            "At remaining depth 0 every input's output is one sinusoid, so there are exactly 2 changes an input and at "
            f"most {2 * INPUTS} labellings.",
        ),
    )
