"""The image of a circle, layer after layer: a tangle in the chaotic phase."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from netfold.arrays import Floats
from netfold.measures.tracing import trace_path
from netfold.networks import random_network
from netfold.paths import Circle
from netfold.plots.themes import Theme
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Cell, measured
from netfold.theory import mean_field

WIDTH, DEPTH, BIAS = 100, 10, 0.3
MEASURED = 5
"""Layers that are measured; those behind them are only drawn: quadrature would take minutes."""
DRAWN = (0, 2, 4, 6, 8, 10)
POINTS = 6000
SCALES = (1.3, 2.5, 4.0)
CLOSE, ROUGHLY = 0.1, 0.25

TANGLE = Claim(
    "A circle's image becomes longer and more tangled with every layer.",
    "Raghu et al. 2017, Figure 3",
    "For every σ_w in the chaotic phase (χ₁ > 1): from each layer to the next, the mean length and the mean total "
    "turning angle of the image rise. Held if so in all layers, failed if in none.",
)
FACTOR = Claim(
    "The circle's length is multiplied by √χ₁ a layer: it shrinks in the ordered phase and explodes in the chaotic "
    "one.",
    "Poole et al. 2016",
    "The largest relative gap, over σ_w, between the measured growth per layer (geometric mean) and √χ₁: held up to "
    f"{CLOSE:.0%}, in part up to {ROUGHLY:.0%}.",
)


def growth(numbers: xr.Dataset, sigma_w: float) -> float:
    """Of length, a layer: geometric mean over layers and networks."""
    lengths = numbers.length.sel(sigma_w=sigma_w).values
    return float(np.exp(np.log(lengths[:, -1] / lengths[:, 0]).mean() / (lengths.shape[1] - 1)))


def judge_tangle(numbers: xr.Dataset, rates: dict[float, float]) -> Finding:
    """Whether images grow and turn more and more in the chaotic phase."""
    chaotic = [s for s, rate in rates.items() if rate > 1]
    checks: list[bool] = []
    told = []
    for s in chaotic:
        length, turns = numbers.length.sel(sigma_w=s).values.mean(0), numbers.turns.sel(sigma_w=s).values.mean(0)[1:]
        checks += [*(np.diff(length) > 0).tolist(), *(np.diff(turns) > 0).tolist()]
        told.append(
            f"σ_w = {s:g}: length × {length[-1] / length[0]:.1f} after {len(turns)} layers, {turns[0]:.1f} full turns "
            f"after the first and {turns[-1]:.1f} after the last"
        )
    return Finding(TANGLE, Verdict.of(checks), f"{'; '.join(told)}.", {"checks": len(checks), "rising": sum(checks)})


def judge_factor(numbers: xr.Dataset, rates: dict[float, float]) -> Finding:
    """Whether growth is the square root of chi_1."""
    factors = {s: growth(numbers, s) for s in rates}
    gap = max(abs(factors[s] / rate - 1) for s, rate in rates.items())
    told = ", ".join(f"{factors[s]:.3f} at σ_w = {s:g} (√χ₁ = {rate:.3f})" for s, rate in rates.items())
    verdict = Verdict.graded(gap, held=CLOSE, partly=ROUGHLY)
    return Finding(FACTOR, verdict, f"Growth per layer: {told}.", {"largest relative gap": gap})


def circle_of(settings: Settings, cell: Cell) -> tuple[torch.nn.Sequential, Circle]:
    """A random tanh network, and a circle whose first pre-activations have the variance of the fixed point."""
    scale, generator = cell["sigma_w"], settings.generator("circle", cell["network"])
    seed = int(generator.integers(2**62))
    net = random_network(WIDTH, WIDTH, DEPTH, 1, "tanh", sigma_w=scale, sigma_b=BIAS, seed=seed)
    across, _ = np.linalg.qr(generator.normal(size=(WIDTH, 2)))
    radius = ((mean_field("tanh", sigma_w=scale, sigma_b=BIAS).q - BIAS**2) * WIDTH) ** 0.5 / scale
    return net, Circle(radius * across[:, 0], radius * across[:, 1])


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Lengths and turning angles (in full turns, from the first layer on), layer by layer from the input."""
    net, circle = circle_of(settings, cell)
    # a module for the weights and one for the activation in every layer
    trace = trace_path(net[: 2 * MEASURED], circle)
    turns = [np.nan, *(layer.turning / (2 * np.pi) for layer in trace.layers)]
    return xr.Dataset(
        {"length": ("layer", trace.lengths[: 1 + MEASURED]), "turns": ("layer", turns), "status": trace.status},
        {"layer": range(1 + MEASURED)},
    )


def images_of(settings: Settings, cell: Cell) -> list[Floats]:
    """The circle and its images in their two leading principal components."""
    net, circle = circle_of(settings, cell)
    z = torch.from_numpy(circle(np.linspace(0, 1, POINTS))).double()
    images = [z]
    with torch.no_grad():
        for part in list(net.double())[:-1]:
            z = part(z)
            images += [z] if not isinstance(part, torch.nn.Linear) else []
    return [_projected(images[layer].numpy()) for layer in DRAWN]


def _projected(image: Floats) -> Floats:
    centred = image - image.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T / np.sqrt(image.shape[1])


def draw(figure: Figure, theme: Theme, pictures: dict[float, list[Floats]], rates: dict[float, float]) -> None:
    """One row a sigma_w, one column a layer; colour runs once round the hue circle along the path."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    hues = [theme.main, theme.classes[3], theme.other, theme.classes[2], theme.main]
    round_trip = LinearSegmentedColormap.from_list("round trip", hues)
    axes: Any = figure.subplots(len(pictures), len(DRAWN))
    for i, (row, (scale, images)) in enumerate(zip(axes, pictures.items(), strict=True)):
        for layer, ax, xy in zip(DRAWN, row, images, strict=True):
            pieces = np.stack([xy[:-1], xy[1:]], axis=1)
            lines = LineCollection(list(pieces), cmap=round_trip, linewidths=0.8, rasterized=True)
            lines.set_array(np.linspace(0, 1, len(pieces)))
            ax.add_collection(lines)
            reach = 1.08 * np.abs(xy).max()
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
            for side in ax.spines.values():
                side.set_visible(False)
            if i == 0:
                ax.set_title("input" if layer == 0 else f"layer {layer}", loc="center")
        row[0].set_ylabel(
            rf"$\sigma_w$ = {scale:g}" + "\n" + rf"$\sqrt{{\chi_1}}$ = {rates[scale]:.2f}", color=theme.ink
        )


@experiment("Figure 3", "A circle’s image through the layers")
def circle(settings: Settings) -> Made:
    """Images of a circle in random tanh networks, with their lengths and turning angles beside √χ₁."""
    networks = 1 if settings.quick else 10
    found = measured(settings, measure, sigma_w=SCALES, network=range(networks))
    pictures = {s: images_of(settings, {"sigma_w": s, "network": 0}) for s in SCALES}
    rates = {s: mean_field("tanh", sigma_w=s, sigma_b=BIAS).chi_1 ** 0.5 for s in SCALES}
    statuses = found.status.values.ravel()
    open_ = statuses[statuses != "converged"]
    table = found[["length", "turns"]].isel(layer=slice(1, None))
    many = "One random tanh network" if networks == 1 else f"{networks} random tanh networks"
    setting = (
        f"{many} of {DEPTH} hidden layers of {WIDTH} units and {WIDTH} inputs at each σ_w, weights N(0, σ_w²/{WIDTH}), "
        f"biases N(0, {BIAS:g}²); a circle about the origin in a random plane, its radius such that pre-activations "
        "have "
        f"the variance of the fixed point; the same random numbers at each σ_w; seed {settings.seed}."
    )
    caption = (
        f"The circle's image, in its two leading principal components, {POINTS:,} points; every panel "
        "has its own scale, colour runs along the circle. Lengths and turning angles in the text are of the images "
        f"themselves after the first {MEASURED} layers, by adaptive quadrature. {setting}"
    )
    about = "A circle stays smooth in the ordered phase and becomes a tangle within a few layers in the chaotic one."
    return Made(
        findings=(judge_tangle(found, rates), judge_factor(found, rates)),
        figures={"images": Drawing(partial(draw, pictures=pictures, rates=rates), caption, about, height=3.9)},
        tables={"layers": table.to_dataframe().reset_index()},
        setting=setting,
        notes=(
            "The paper's σ_w is not known; these are the settings of Poole et al. 2016.",
            *(f"{len(open_)} of {len(statuses)} traces: {status}" for status in open_[:1]),
        ),
    )
