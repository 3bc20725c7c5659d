"""Length of the path between two images in random convolutional networks: growth with depth, dips at pooling."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import nn
from torch.nn.utils import skip_init

from netfold.arrays import Floats
from netfold.paths import Arc
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Cell, measured
from netfold.reproduce.statistics import Mean, geometric, straightness
from netfold.reproduce.trained import Split, channels, drawn, flat, seeds_of
from netfold.results.base import counted

VARIANCES = (2.0, 4.0, 8.0)
POINTS = 256
"""Chords along an arc."""

STRAIGHT = 0.9
KERNEL = 3
LAYOUT = "CCPCCCPCC"
"""Convolutions (C), each with its ReLU, and pooling (P): as in the paper, layers 3 and 7 pool."""

GROWS = Claim(
    "In convolutional networks, too, the length of a path between two images grows exponentially with depth.",
    "Raghu et al. 2017, Figure 4",
    "For every σ_w² above 2: the factor of a convolution with its ReLU (geometric mean over convolutions) is above 1 "
    "with its whole 95% interval over networks, and the logarithm of the length, with the factors of pooling taken "
    f"out, is straight over the convolutions, R² ≥ {STRAIGHT}. Held if all checks hold, failed if none does.",
)
DIPS = Claim(
    "Length dips at pooling layers (3 and 7).",
    "Raghu et al. 2017, Figure 4",
    "For every σ_w² and every pooling layer: its factor is below 1 with its whole 95% interval over networks. Held if "
    "so for all, failed if it is above 1 for all.",
)
STRONGER = Claim(
    "Length grows faster from larger weights.",
    "Raghu et al. 2017, Figure 4",
    "Each step to the next larger σ_w² raises the factor of a convolution, networks of equal seed paired: the ratio is "
    "above 1 with its whole 95% interval. Held if so for all steps, failed if it is below 1 for all.",
)


def network(shape: tuple[int, ...], channels: int, variance: float, seed: int) -> nn.Sequential:
    """3x3 convolutions with ReLU, and 2x2 max pooling, as in `LAYOUT`; weights N(0, variance / fan-in), biases 0."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[nn.Module] = []
    fan_in = shape[0]
    for layer in LAYOUT:
        if layer == "P":
            parts.append(nn.MaxPool2d(2))
            continue
        convolution = skip_init(nn.Conv2d, fan_in, channels, KERNEL, padding=KERNEL // 2)
        parts += [drawn(convolution, variance, generator), nn.ReLU()]
        fan_in = channels
    return nn.Sequential(*parts).eval()


def lengths(net: nn.Sequential, arc: Arc) -> Floats:
    """Length of the arc, and of its image after every ReLU and every pooling: by all chords, and by half as many."""
    z = torch.from_numpy(arc(np.linspace(0.0, 1.0, POINTS + 1)))
    images = [z]
    with torch.no_grad():
        for part in net.double():
            z = part(z)
            images += [] if isinstance(part, nn.Conv2d) else [z]
    chords = [[image[::step].flatten(1).diff(dim=0).norm(dim=1).sum() for image in images] for step in (1, 2)]
    return np.array(chords, np.float64)


def arcs(settings: Settings) -> int:
    """Arcs through every network."""
    return 1 if settings.quick else 10


def width(settings: Settings) -> int:
    """Channels: few in quick runs on large images, as nothing is learned here."""
    return 8 if settings.quick and not flat(settings) else channels(settings)


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Lengths by layer in one network, geometric means over its arcs."""
    split = Split.of(settings.data, flat=False, most=1, most_tested=500)
    images = split.test[0].double().numpy()
    net = network(split.shape, width(settings), cell["variance"], cell["seed"])
    pairs = np.random.default_rng([cell["seed"], 4]).choice(len(images), (arcs(settings), 2), replace=False)
    found = np.array([lengths(net, Arc(*images[pair])) for pair in pairs])
    whole, coarse = np.exp(np.log(found / found[:, :, :1]).mean(0))
    return xr.Dataset(
        {"length": ("layer", whole), "change": float(np.abs(coarse / whole - 1).max())}, {"layer": range(len(whole))}
    )


def factors(numbers: xr.Dataset, kind: str) -> Floats:
    """By how much each layer of a kind multiplies length, as logarithms: the last axis is that of these layers."""
    return np.diff(np.log(numbers.length.values), axis=-1)[..., [layer == kind for layer in LAYOUT]]


def judge(numbers: xr.Dataset) -> tuple[Finding, ...]:
    """All findings."""
    return judge_growing(numbers), judge_dips(numbers), judge_stronger(numbers)


def judge_growing(numbers: xr.Dataset) -> Finding:
    """Whether convolutions multiply length, all by about the same."""
    checks, told, values = [], [], {}
    for variance in (v for v in numbers.variance.values if v > 2):
        logs = factors(numbers.sel(variance=variance), "C")
        factor, straight = Mean.of(logs.mean(1)).exp(), straightness(np.cumsum(logs.mean(0)))
        checks += [factor.above(1), straight >= STRAIGHT]
        told.append(f"{factor} at σ_w² = {variance:g} (R² {straight:.3f})")
        values[f"factor, sigma_w^2 = {variance:g}"] = factor.value
    return Finding(GROWS, Verdict.of(checks), f"Factor of a convolution: {', '.join(told)}.", values)


def judge_dips(numbers: xr.Dataset) -> Finding:
    """Whether every pooling layer shortens."""
    each = [Mean.of(column).exp() for rows in factors(numbers, "P") for column in rows.T]
    dips = [one.below(1) for one in each]
    most = max(each, key=lambda one: one.value)
    text = f"{dips.count(True)} of {len(dips)} pooling layers shorten; the largest factor of one is {most}."
    return Finding(DIPS, Verdict.of(dips), text, {"shortening": dips.count(True), "largest factor": most.value})


def judge_stronger(numbers: xr.Dataset) -> Finding:
    """Whether a larger scale of the weights raises the growth."""
    growth = factors(numbers, "C").mean(-1)
    ratios = [Mean.of(after - before).exp() for before, after in pairwise(growth)]
    text = f"From step to step the factor of a convolution is multiplied by {', '.join(map(str, ratios))}."
    values = {f"ratio {i + 1}": ratio.value for i, ratio in enumerate(ratios)}
    return Finding(STRONGER, Verdict.of(ratio.above(1) for ratio in ratios), text, values)


def draw(figure: Figure, theme: Theme, numbers: xr.Dataset) -> None:
    """Length against the layer, one line a sigma_w^2; pooling layers are shaded."""
    ax = figure.subplots()
    for at in (i for i, layer in enumerate(LAYOUT, 1) if layer == "P"):
        ax.axvspan(at - 0.5, at + 0.5, color=theme.muted, alpha=0.18, linewidth=0)
    colours = drawing.ramp(numbers.sizes["variance"], theme)
    for variance, colour, mark in zip(numbers.variance.values, colours, drawing.MARKS, strict=False):
        middle, bars = geometric(numbers.sel(variance=variance).length.values)
        label = rf"$\sigma_w^2$ = {variance:g}"
        drawing.measured(ax, numbers.layer.values, middle, bars, colour=colour, mark=mark, label=label, line=True)
    ax.set(xlabel="layer (0: the image)", ylabel="length / length of the arc")
    drawing.whole_axis(ax, range(1 + len(LAYOUT)))
    drawing.plain_log(ax)
    drawing.legend(figure, ax, drawing.swatch(theme.muted, label="max pooling"), ncols=4)


@experiment("Figure 4", "Length in a convolutional network on images, with dips at pooling", uses_data=True)
def length_convolutional(settings: Settings) -> Made:
    """Length of the arc between two images in random convolutional networks with pooling, layer by layer."""
    seeds = seeds_of(settings, 8, 20)
    found = measured(settings, measure, variance=list(VARIANCES), seed=seeds)
    shape = " × ".join(map(str, settings.data.shape))
    setting = (
        f"{settings.data.name}, images of {shape}. Random ReLU networks: two 3×3 convolutions of {width(settings)} "
        "channels, 2×2 max pooling, three convolutions, pooling, two convolutions; weights N(0, σ_w²/fan-in), no "
        f"biases; {len(seeds)} networks at each σ_w², from seed {seeds[0]} on, each with "
        f"{counted(arcs(settings), 'arc')} cos(πt/2) x₀ + sin(πt/2) x₁ between two test images."
    )
    change = float(found.change.values.max())
    caption = (
        f"Length of the arc's image after every ReLU and every pooling layer (grey). {setting} Points: geometric means "
        "over networks; bars: 95% intervals (Student's t on the logarithm). Lengths are sums of "
        f"{POINTS:,} chords; with half as many, none changes by more than {change:.1%}."
    )
    about = "Length rises from convolution to convolution where weights are large, and falls at every pooling layer."
    return Made(
        findings=judge(found),
        figures={"length": Drawing(partial(draw, numbers=found), caption, about, height=4.1)},
        tables={"lengths": found.length.to_dataframe().reset_index()},
        setting=setting,
        notes=("The paper's network, and the scale of its weights beside the fan-in, are not known.",),
    )
