"""Transitions against length: proportional, and exactly so for the length on the sphere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from netfold.arrays import Floats
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.ensembles import Key, by_layer, scales
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Ensemble, sweep
from netfold.reproduce.statistics import means

SLOPE = 0.1
STRAIGHT = 0.99

PROPORTIONAL = Claim(
    "The number of sign transitions of the output along a path is proportional to the length of its image, also far "
    "from the limit that the theorem needs.",
    "Raghu et al. 2017, Figure 5; Observation 1 of its ICLR 2017 submission",
    "For every width and σ_w², over the layers: the slope of log transitions on log length is within "
    f"{SLOPE} of 1, and R² of the line is at least {STRAIGHT}. Held if all checks hold, failed if none does.",
)
ANGULAR = Claim(
    "Exactly proportional is the angular length: a Gaussian readout changes its sign (1/π) × length of z/‖z‖ times in "
    "the mean, at every width and scale.",
    "Crofton's formula; `netfold.theory.expected_sign_transitions`",
    "For every width and σ_w², the mean over networks of transitions less angular length / π, summed over layers, is "
    "within 4 standard errors of 0. Held if so for all, in part if for at least nine in ten, failed otherwise.",
)


@dataclass(frozen=True, eq=False)
class Paired:
    """Layer by layer, by width and sigma_w^2: what a unit of the next layer does, and the image that it reads.

    Attributes:
        transitions: sign transitions of the next layer a unit, ``(networks, layers)``.
        lengths: Euclidean length of the image, over the square root of the units.
        angles: angular length of the image over pi.
    """

    transitions: dict[Key, Floats]
    lengths: dict[Key, Floats]
    angles: dict[Key, Floats]

    @classmethod
    def of(cls, ensemble: Ensemble) -> Paired:
        """From the sweep's table."""
        groups: dict[Key, pd.DataFrame] = ensemble.groups("width", "variance")
        return cls(
            {(k, v): by_layer(rows, "sign_transitions")[:, 1:] / k for (k, v), rows in groups.items()},
            {(k, v): by_layer(rows, "lengths")[:, 1:-2] / k**0.5 for (k, v), rows in groups.items()},
            {key: by_layer(rows, "angular_lengths")[:, :-1] / np.pi for key, rows in groups.items()},
        )


def judge_proportional(paired: Paired) -> Finding:
    """Whether log transitions are a line of slope 1 over log length."""
    slopes, fits = {}, {}
    for key, transitions in paired.transitions.items():
        x, y = np.log(paired.lengths[key].mean(0)), np.log(transitions.mean(0))
        slopes[key], fits[key] = float(np.polyfit(x, y, 1)[0]), float(np.corrcoef(x, y)[0, 1] ** 2)
    checks = [*(abs(s - 1) <= SLOPE for s in slopes.values()), *(r >= STRAIGHT for r in fits.values())]
    worst = max(slopes, key=lambda key: abs(slopes[key] - 1))
    measured = (
        f"Slopes are {min(slopes.values()):.2f} to {max(slopes.values()):.2f} over {len(slopes)} settings (furthest "
        f"from 1 at k = {worst[0]}, σ_w² = {worst[1]:g}); the least R² is {min(fits.values()):.4f}."
    )
    numbers = {"least slope": min(slopes.values()), "largest slope": max(slopes.values())}
    return Finding(PROPORTIONAL, Verdict.of(checks), measured, {**numbers, "least R squared": min(fits.values())})


def judge_angular(paired: Paired) -> Finding:
    """Whether transitions agree with the angular length in the mean."""
    gaps, ratios = {}, {}
    for key, transitions in paired.transitions.items():
        excess = (transitions - paired.angles[key]).sum(1)
        gaps[key] = float(excess.mean() / (excess.std(ddof=1) / len(excess) ** 0.5))
        ratios[key] = float(transitions.sum() / paired.angles[key].sum())
    within = float(np.mean([abs(gap) <= 4 for gap in gaps.values()]))
    worst = max(gaps, key=lambda key: abs(gaps[key]))
    measured = (
        f"Transitions over angular length / π: {min(ratios.values()):.3f} to {max(ratios.values()):.3f}; the largest "
        f"gap is {gaps[worst]:+.1f} standard errors, over {len(gaps)} settings."
    ).replace("-", "−")
    numbers = {
        "within 4 standard errors": within,
        "least ratio": min(ratios.values()),
        "largest ratio": max(ratios.values()),
    }
    return Finding(ANGULAR, Verdict.graded(within, held=1.0, partly=0.9), measured, numbers)


def draw(figure: Figure, theme: Theme, numbers: Paired) -> None:
    """Transitions against Euclidean and against angular length, a mark a layer."""
    left, right = figure.subplots(1, 2, sharey=True)
    widths, variances = scales(numbers.lengths)
    shades = dict(zip(variances, drawing.ramp(len(variances), theme), strict=True))
    marks = dict(zip(widths, drawing.MARKS, strict=False))
    for (k, v), transitions in numbers.transitions.items():
        y, half = means(transitions)
        for ax, x in ((left, numbers.lengths[k, v]), (right, numbers.angles[k, v])):
            drawing.measured(ax, x.mean(0), y, half, colour=shades[v], mark=marks[k], line=ax is left)
    every = np.concatenate([angles.mean(0) for angles in numbers.angles.values()])
    ends = [every.min(), every.max()]
    drawing.theory(right, ends, ends, colour=theme.ink)
    for ax in (left, right):
        ax.set(xscale="log", yscale="log")
        drawing.plain_ticks(ax, x=True, y=True)
    left.set(xlabel="length / √k", ylabel="sign transitions per unit of the next layer")
    right.set(xlabel="angular length / π")
    left.set_title("Euclidean length")
    right.set_title("angular length: exact in the mean")
    handles = [*(drawing.swatch(shades[v], label=rf"$\sigma_w^2$ = {v:g}") for v in variances),
               *(drawing.swatch(theme.ink, marks[k], label=f"k = {k}") for k in widths),
               *drawing.key(theme, theory="-")]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4)


@experiment("Figure 5", "Transitions against length")
def transitions_length(settings: Settings) -> Made:
    """Sign transitions against Euclidean and angular length in random hard-tanh networks, a point a layer."""
    quick = settings.quick
    widths = (32, 128) if quick else (16, 32, 64, 128, 256)
    variances = (4.0, 16.0, 64.0) if quick else (2.0, 4.0, 8.0, 16.0, 64.0, 256.0)
    repeats, depth = (40, 5) if quick else (50, 6)
    cells: list[dict[str, Any]] = [{"inputs": k, "width": k, "sigma_w": v**0.5} for k in widths for v in variances]
    measures = ["lengths", "sign_transitions", "angular_lengths"]
    measured = sweep(settings, cells, measures, repeats, depth=depth, activation="hardtanh", path="arc")
    found = Paired.of(measured)
    setting = (
        f"Random hard-tanh networks of {depth} hidden layers, k units in each and k inputs, weights N(0, σ_w²/k), no "
        f"biases; arcs between two random points with |x|² = k; {repeats} networks, each with an arc of its own, at "
        f"each k and σ_w²; seed {settings.seed}."
    )
    caption = (
        f"Each mark is a layer: sign transitions of the next layer's pre-activations (crossings of 0, exact), a unit, "
        "against the length of the image that they read; means over networks, with 95% intervals of the transitions. "
        f"{setting} A unit of the next layer is a readout of this one, so the left picture is the paper's. Line: "
        "transitions = angular length / π, exact in expectation at any width and scale."
    )
    about = "Transitions rise in proportion to length over layers; against angular length all points lie on one line."
    return Made(
        findings=(judge_proportional(found), judge_angular(found)),
        figures={"transitions": Drawing(partial(draw, numbers=found), caption, about, height=4.4)},
        tables={"layers": measured.table},
        setting=setting,
        notes=measured.notes,
    )
