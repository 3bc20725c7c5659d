"""The image of a circle, layer after layer: a tangle in the chaotic phase."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from netfold.measures.tracing import trace_path
from netfold.networks import random_network
from netfold.paths import Circle
from netfold.reproduce.ensembles import Floats
from netfold.reproduce.figure import Claim, Drawing, Experiment, Finding, Made, Settings, Verdict
from netfold.reproduce.kept import Cell, Numbers, measured
from netfold.theory import mean_field

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from netfold.plots.themes import Theme

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


@dataclass(frozen=True, eq=False)
class Images:
    """Lengths and turning angles of the circle's images, by sigma_w, and one network's images to draw.

    Attributes:
        lengths: after the input and each layer, ``(networks, 1 + layers)``.
        turning: after each layer, in full turns.
        pictures: the images of one network in their two leading principal components, by layer.
    """

    lengths: dict[float, Floats]
    turning: dict[float, Floats]
    pictures: dict[float, list[Floats]]

    def growth(self, sigma_w: float) -> float:
        """Of length, a layer: geometric mean over layers and networks."""
        lengths = self.lengths[sigma_w]
        return float(np.exp(np.log(lengths[:, -1] / lengths[:, 0]).mean() / (lengths.shape[1] - 1)))

    def table(self) -> pd.DataFrame:
        """One row a sigma_w, network and layer."""
        rows = [
            {"sigma_w": s, "network": i, "layer": layer, "length": lengths[layer], "turns": turns[layer - 1]}
            for s in self.lengths
            for i, (lengths, turns) in enumerate(zip(self.lengths[s], self.turning[s], strict=True))
            for layer in range(1, len(lengths))
        ]
        return pd.DataFrame(rows)


def judge_tangle(found: Images, rates: dict[float, float]) -> Finding:
    """Whether images grow and turn more and more in the chaotic phase."""
    chaotic = [s for s, rate in rates.items() if rate > 1]
    checks: list[bool] = []
    told = []
    for s in chaotic:
        length, turns = found.lengths[s].mean(0), found.turning[s].mean(0)
        checks += [*(np.diff(length) > 0).tolist(), *(np.diff(turns) > 0).tolist()]
        told.append(
            f"σ_w = {s:g}: length × {length[-1] / length[0]:.1f} after {len(turns)} layers, {turns[0]:.1f} full turns "
            f"after the first and {turns[-1]:.1f} after the last"
        )
    return Finding(TANGLE, Verdict.of(checks), f"{'; '.join(told)}.", {"checks": len(checks), "rising": sum(checks)})


def judge_factor(found: Images, rates: dict[float, float]) -> Finding:
    """Whether growth is the square root of chi_1."""
    growth = {s: found.growth(s) for s in rates}
    gap = max(abs(growth[s] / rate - 1) for s, rate in rates.items())
    told = ", ".join(f"{growth[s]:.3f} at σ_w = {s:g} (√χ₁ = {rate:.3f})" for s, rate in rates.items())
    verdict = Verdict.graded(gap, held=CLOSE, partly=ROUGHLY)
    return Finding(FACTOR, verdict, f"Growth per layer: {told}.", {"largest relative gap": gap})


def circle_of(settings: Settings, cell: Cell) -> tuple[torch.nn.Sequential, Circle]:
    """A random tanh network, and a circle whose first pre-activations have the variance of the fixed point."""
    scale, generator = float(cell["sigma_w"]), settings.generator("circle", cell["network"])
    seed = int(generator.integers(2**62))
    net = random_network(WIDTH, WIDTH, DEPTH, 1, "tanh", sigma_w=scale, sigma_b=BIAS, seed=seed)
    across, _ = np.linalg.qr(generator.normal(size=(WIDTH, 2)))
    radius = ((mean_field("tanh", sigma_w=scale, sigma_b=BIAS).q - BIAS**2) * WIDTH) ** 0.5 / scale
    return net, Circle(radius * across[:, 0], radius * across[:, 1])


def measure(settings: Settings, cell: Cell) -> Numbers:
    """Lengths and turning angles, layer by layer."""
    net, circle = circle_of(settings, cell)
    # a module for the weights and one for the activation in every layer
    trace = trace_path(net[: 2 * MEASURED], circle)
    return {
        "lengths": trace.lengths[: 1 + MEASURED].tolist(),
        "turns": [layer.turning / (2 * np.pi) for layer in trace.layers],
        "status": trace.status,
    }


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


def draw(figure: Figure, theme: Theme, found: Images, rates: dict[float, float]) -> None:
    """One row a sigma_w, one column a layer; colour runs once round the hue circle along the path."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    hues = [theme.main, theme.classes[3], theme.other, theme.classes[2], theme.main]
    round_trip = LinearSegmentedColormap.from_list("round trip", hues)
    axes: Any = figure.subplots(len(found.pictures), len(DRAWN))
    for i, (row, (scale, pictures)) in enumerate(zip(axes, found.pictures.items(), strict=True)):
        for layer, ax, xy in zip(DRAWN, row, pictures, strict=True):
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


def run(settings: Settings) -> Made:
    """Trace circles through random tanh networks."""
    networks = 1 if settings.quick else 10
    cells: list[dict[str, Any]] = [{"sigma_w": s, "network": i} for s in SCALES for i in range(networks)]
    numbers = measured(settings, cells, measure)
    told = [(cell["sigma_w"], n) for cell, n in zip(cells, numbers, strict=True)]
    found = Images(
        {s: np.array([n["lengths"] for at, n in told if at == s]) for s in SCALES},
        {s: np.array([n["turns"] for at, n in told if at == s]) for s in SCALES},
        {s: images_of(settings, {"sigma_w": s, "network": 0}) for s in SCALES},
    )
    rates = {s: mean_field("tanh", sigma_w=s, sigma_b=BIAS).chi_1 ** 0.5 for s in SCALES}
    open_ = [n["status"] for n in numbers if n["status"] != "converged"]
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
        figures={"images": Drawing(partial(draw, found=found, rates=rates), caption, about, height=3.9)},
        tables={"layers": found.table()},
        setting=setting,
        notes=(
            "The paper's σ_w is not known; these are the settings of Poole et al. 2016.",
            *((f"{len(open_)} of {len(numbers)} traces: {open_[0]}",) if open_ else ()),
        ),
    )


EXPERIMENTS = (
    Experiment(
        name="circle",
        title="A circle’s image through the layers",
        of_paper="Figure 3",
        run=run,
        about="Images of a circle in random tanh networks, with their lengths and turning angles beside √χ₁.",
    ),
)
