"""A correction of later work: at He's initialisation the length of a path does not grow with depth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from netfold.arrays import Floats
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.ensembles import growth_of, hidden_lengths
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Ensemble, sweep
from netfold.reproduce.statistics import Mean, means
from netfold.theory import hanin2022, length_growth

NEAR = 0.01
ROUGHLY = 0.03

HANIN_LENGTH = "Hanin, Jeong and Rolnick 2022 (Deep ReLU networks preserve expected length)"

NO_GROWTH = Claim(
    "At the usual initialisation (weight variance 2/fan-in) the expected length of a curve's image does not grow with "
    "the depth of a ReLU network.",
    HANIN_LENGTH,
    "At every width the 95% interval of the mean growth per layer does not lie above 1. Held if so for all widths, "
    "failed if for none.",
)
SHRINKS = Claim(
    "It shrinks slightly: by exp(−5/(8k)) a layer of k units, to first order in 1/k.",
    HANIN_LENGTH,
    "The largest gap, over widths of at least 16, between the mean growth per layer and exp(−5/(8k)), less what its "
    f"95% interval allows: held up to {NEAR:.0%}, in part up to {ROUGHLY:.0%}; and at the smallest width the growth "
    "is below 1 with its whole interval, or the verdict is at best 'in part'.",
)


@dataclass(frozen=True, eq=False)
class Preserved:
    """Length at He's initialisation, by width.

    Attributes:
        growth: mean growth per layer.
        lengths: after each layer over that of the input path: means over networks, and half their intervals.
        exact: expected length after each layer, and ``first_order`` exp(-5/8 sum of 1/width).
        first_order: the same to first order.
    """

    growth: dict[int, Mean]
    lengths: dict[int, tuple[Floats, Floats]]
    exact: dict[int, Floats]
    first_order: dict[int, Floats]

    @classmethod
    def of(cls, ensemble: Ensemble) -> Preserved:
        """From the sweep's table."""
        groups = {int(k): rows for k, rows in ensemble.groups("width").items()}
        lengths = {k: hidden_lengths(rows) for k, rows in groups.items()}
        depth = {k: values.shape[1] - 1 for k, values in lengths.items()}
        return cls(
            {k: growth_of(rows, "arithmetic") for k, rows in groups.items()},
            {k: means(values / values[:, :1]) for k, values in lengths.items()},
            {k: length_growth("relu", 2**0.5, width=k, depth=depth[k]).lengths for k in groups},
            {k: np.array([hanin2022([k] * d, k) for d in range(1, depth[k] + 1)]) for k in groups},
        )

    def table(self) -> pd.DataFrame:
        """One row a width and layer."""
        return pd.DataFrame(
            [
                {"width": k, "layer": layer, "length": mean[layer], "half_interval": half[layer],
                 "exact": self.exact[k][layer - 1], "first_order": self.first_order[k][layer - 1]}
                for k, (mean, half) in self.lengths.items()
                for layer in range(1, len(mean))
            ]
        )  # fmt: skip


def judge_no_growth(numbers: Preserved) -> Finding:
    """Whether length does not grow at any width."""
    grows = [k for k, growth in numbers.growth.items() if growth.above(1)]
    told = ", ".join(f"{growth.value:.3f} at k = {k}" for k, growth in numbers.growth.items())
    ends = ", ".join(f"{mean[-1]:.2f}" for mean, _ in numbers.lengths.values())
    depth = len(next(iter(numbers.lengths.values()))[0]) - 1
    text = (
        f"Mean growth per layer: {told}. After {depth} layers the length is, in the same order, {ends} times that "
        "of the input."
    )
    return Finding(NO_GROWTH, Verdict.of(k not in grows for k in numbers.growth), text, {"growing widths": len(grows)})


def judge_shrinks(numbers: Preserved) -> Finding:
    """Whether it shrinks by the first-order factor."""
    factors = {k: lengths[0] for k, lengths in numbers.first_order.items()}
    gaps = {k: max(0.0, abs(g.value - factors[k]) - g.half) for k, g in numbers.growth.items() if k >= 16}
    least = min(numbers.growth)
    shrinks = numbers.growth[least].below(1)
    verdict = Verdict.graded(max(gaps.values()), held=NEAR, partly=ROUGHLY)
    if verdict is Verdict.HELD and not shrinks:
        verdict = Verdict.OPEN if shrinks is None else Verdict.PARTLY
    told = ", ".join(f"k = {k}: {numbers.growth[k].words(3)}, formula {factors[k]:.3f}" for k in numbers.growth)
    return Finding(
        SHRINKS, verdict, f"{told}.", {f"gap beyond the interval at k = {k}": gap for k, gap in gaps.items()}
    )


def draw(figure: Figure, theme: Theme, numbers: Preserved) -> None:
    """Length over layers, a colour a width."""
    ax = figure.subplots()
    for (k, (mean, half)), colour, mark in zip(
        numbers.lengths.items(), drawing.ramp(len(numbers.lengths), theme), drawing.MARKS, strict=False
    ):
        layers = np.arange(len(mean))
        drawing.measured(ax, layers, mean, half, colour=colour, mark=mark, label=f"k = {k}")
        for lines, style in ((numbers.exact[k], "-"), (numbers.first_order[k], ":")):
            drawing.theory(ax, layers, np.concatenate([[1.0], lines]), colour=colour, style=style)
    ax.set(xlabel="layer (0: the input)", ylabel="length / length of the input path", ylim=(0, None))
    ax.axhline(1, color=theme.muted, linewidth=0.8, zorder=0)
    drawing.whole_axis(ax, range(1 + len(next(iter(numbers.exact.values())))))
    drawing.legend(figure, ax, *drawing.key(theme, **{"exact theory": "-", "first order in 1/k": ":"}))


@experiment("Correction: Hanin, Jeong and Rolnick 2022", "Length does not grow at He’s initialisation")
def length_he(settings: Settings) -> Made:
    """Length of an arc's image through ReLU networks with weight variance 2/fan-in, beside theory."""
    quick = settings.quick
    widths = (4, 16, 64, 256) if quick else (4, 8, 16, 32, 64, 128, 256, 512)
    depth, repeats = (12, 60) if quick else (30, 400)
    cells = [{"inputs": k, "width": k} for k in widths]
    measured = sweep(settings, cells, ["lengths"], repeats, depth=depth, activation="relu", path="arc")
    found = Preserved.of(measured)
    setting = (
        f"Random ReLU networks of {depth} hidden layers, k units in each and k inputs, weights N(0, 2/k), no biases; "
        f"arcs between two random points with |x|² = k; {repeats} networks, each with an arc of its own, at each k; "
        f"seed {settings.seed}."
    )
    caption = (
        f"Euclidean length of the arc's image, exact on every piece, over that of the arc. {setting} Marks: arithmetic "
        "means over networks with 95% intervals, since the statement is about the expectation. Lines: the exact "
        "expectation at each width; dotted: exp(−5/8 Σ 1/width)."
    )
    about = "Length stays level over layers in wide networks and shrinks in narrow ones, as theory says."
    return Made(
        findings=(judge_no_growth(found), judge_shrinks(found)),
        figures={"length": Drawing(partial(draw, numbers=found), caption, about, height=4.2)},
        tables={"lengths": found.table()},
        setting=setting,
        notes=measured.notes,
    )
