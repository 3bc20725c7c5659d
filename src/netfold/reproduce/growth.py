"""Growth of a path's length with depth, width and sigma_w: hard-tanh and ReLU, beside theory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.ensembles import scales
from netfold.reproduce.figure import Drawing, Made, Settings, experiment
from netfold.reproduce.growth_claims import JUDGES, Grown, theory_lengths
from netfold.reproduce.harness import sweep
from netfold.theory import crossing_rate


@dataclass(frozen=True)
class Family:
    """Networks to measure: widths, values of sigma_w^2, the most hidden layers, and networks of each."""

    activation: str
    widths: tuple[int, ...]
    variances: tuple[float, ...]
    depth: int
    repeats: int
    breakpoints: float

    def cells(self) -> list[dict[str, Any]]:
        """Settings of the networks, as many inputs as units."""
        return [
            {"inputs": k, "width": k, "depth": self.depth_of(k, v), "sigma_w": v**0.5}
            for k in self.widths
            for v in self.variances
        ]

    def depth_of(self, width: int, variance: float) -> int:
        """Layers that stay within the number of breakpoints expected of one path; at least 3."""
        rates = crossing_rate(self.activation, variance**0.5, depth=self.depth, curve="arc", q0=1.0).transitions
        fit = int((width * np.cumsum(rates) <= self.breakpoints).sum())
        return max(3, fit)


def family(activation: str, quick: bool) -> Family:
    """The networks of either scale."""
    if activation == "relu":
        return (
            Family("relu", (8, 32, 128), (1.5, 2.0, 3.0, 4.0), 8, 40, 20_000)
            if quick
            else Family("relu", (4, 8, 16, 32, 64, 128, 256), (1.0, 1.5, 2.0, 3.0, 4.0, 8.0), 12, 100, 200_000)
        )
    return (
        Family("hardtanh", (16, 64, 256), (2.0, 4.0, 8.0, 16.0), 6, 20, 20_000)
        if quick
        else Family("hardtanh", (8, 16, 32, 64, 128, 256, 512), (2.0, 3.0, 4.0, 8.0, 16.0, 64.0), 10, 50, 200_000)
    )


NAMES = {"hardtanh": "hard-tanh", "relu": "ReLU"}


def draw(figure: Figure, theme: Theme, found: Grown, activation: str) -> None:
    """Left: length after each layer of the widest networks. Right: growth per layer against the width."""
    left, right = figure.subplots(1, 2)
    widths, variances = scales(found.growth)
    wide = widths[-1]
    for v, colour, mark in zip(variances, drawing.ramp(len(variances), theme), drawing.MARKS, strict=False):
        mean, half = found.lengths[wide, v]
        layers = np.arange(len(mean))
        drawing.measured(left, layers, mean, half, colour=colour, mark=mark, label=rf"$\sigma_w^2$ = {v:g}")
        lines = theory_lengths(activation, wide, v, len(mean) - 1)
        drawing.theory(left, layers, np.concatenate([[1.0], lines]), colour=colour)
        growths = [found.growth[k, v] for k in widths]
        drawing.measured(right, widths, [g.value for g in growths], [g.half for g in growths], colour=colour, mark=mark)
        drawing.theory(right, widths, [found.expected[k, v] for k in widths], colour=colour)
        drawing.theory(right, widths, [found.base[k, v] for k in widths], colour=colour, style=":")
    left.set(yscale="log", xlabel="layer (0: the input)", ylabel="length / length of the input path")
    drawing.plain_ticks(left, y=True)
    drawing.whole_axis(left, range(max(len(mean) for mean, _ in found.lengths.values())))
    left.set_title(f"length, k = {wide}")
    right.set(xscale="log", xlabel="width k", ylabel="growth of length per layer")
    right.set_xticks(widths, [str(k) for k in widths])
    right.minorticks_off()
    right.axhline(1, color=theme.muted, linewidth=0.8, zorder=0)
    right.set_title("growth per layer")
    drawing.legend(figure, left, *drawing.key(theme, theory="-", printed_base=":"))


def measure(settings: Settings, activation: str) -> Made:
    """Measure networks of one activation."""
    chosen = family(activation, settings.quick)
    measured = sweep(settings, chosen.cells(), ["lengths"], chosen.repeats, activation=activation, path="arc")
    found = Grown.of(measured, activation)
    depths = sorted({cell["depth"] for cell in chosen.cells()})
    layers = f"{depths[-1]}" if len(depths) == 1 else f"{depths[0]} (where length explodes) to {depths[-1]}"
    setting = (
        f"Random {NAMES[activation]} networks of {layers} hidden layers, "
        f"k units in each and k inputs, weights N(0, σ_w²/k), no biases; arcs between two random points with |x|² = k; "
        f"{chosen.repeats} networks, each with an arc of its own, at each k and σ_w²; seed {settings.seed}."
    )
    what = "exact at every width" if activation == "relu" else "of infinitely wide networks"
    over = "arithmetic over all layers" if activation == "relu" else "geometric over layers 2 to the last"
    caption = (
        f"Euclidean length of the arc's image, exact on every piece. {setting} Marks: means with 95% intervals over "
        f"networks; on the right means of the ratio of one layer's length to the last one's, {over}. Lines: theory, "
        f"{what}. Dotted: the base printed in Theorem 3 of Raghu et al., which hides a constant per layer."
    )
    about = "Length after each layer on a logarithmic axis, and growth per layer against width, beside theory."
    return Made(
        findings=tuple(judge(found) for judge in JUDGES[activation]),
        figures={"length": Drawing(partial(draw, found=found, activation=activation), caption, about, height=4.3)},
        tables={"growth": found.table(), "lengths": measured.table},
        setting=setting,
        notes=measured.notes,
    )


@experiment("Theorem 3 and Figure 1 of the ICLR submission", "Growth of length with depth, width and σ_w: hard-tanh")
def length_hardtanh(settings: Settings) -> Made:
    """Length of an arc's image through random hard-tanh networks, layer by layer, beside theory."""
    return measure(settings, "hardtanh")


@experiment("Theorem 3 and Figure 4", "Growth of length with depth, width and σ_w: ReLU")
def length_relu(settings: Settings) -> Made:
    """Length of an arc's image through random ReLU networks, layer by layer, beside theory."""
    return measure(settings, "relu")
