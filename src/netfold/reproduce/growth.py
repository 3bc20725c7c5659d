"""Growth of a path's length with depth, width and sigma_w: hard-tanh and ReLU, beside theory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from netfold.arrays import Floats
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.ensembles import Key, growth_of, growth_ratios, hidden_lengths, larger, rising, scales
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Ensemble, sweep
from netfold.reproduce.statistics import Mean, means, straightness
from netfold.theory import crossing_rate, length_growth, raghu2017_growth

STRAIGHT = 0.99
CLOSE = 0.03
ROUGHLY = 0.10

RAGHU = "Raghu et al. 2017, Theorem 3"

EXPONENTIAL = Claim(
    "In hard-tanh networks with weights large enough the length of a path grows exponentially with depth.",
    f"{RAGHU} (b); Figure 1 of its ICLR 2017 submission",
    "For every width and every σ_w² (all above 1, the critical value): the growth per layer is above 1 with its whole "
    f"95% interval, and the logarithm of the mean length is straight over the layers, R² ≥ {STRAIGHT}. Held if all "
    "checks hold, failed if none does.",
)
WIDER = Claim(
    "The rate of growth rises with the width k.",
    "ICLR 2017 submission of Raghu et al., Figure 1",
    "At every σ_w², the growth per layer at the largest width is above that at the smallest, their 95% intervals "
    "apart. Held if so for all, failed if for none.",
)
STRONGER = Claim(
    "The rate of growth rises with the scale of the weights σ_w.",
    "ICLR 2017 submission of Raghu et al., Figure 1",
    "At every width, each step to the next larger σ_w² raises the growth per layer, the 95% intervals apart. Held if "
    "so for all steps, failed if for none.",
)
PRINTED = Claim(
    "The base printed in Theorem 3, read without the constant that its O( ) hides, is a lower bound of the growth per "
    "layer.",
    f"a common reading of {RAGHU}",
    "For every width and σ_w², the 95% interval of the growth per layer lies above the printed base. Held if so for "
    "all, failed if it lies below for all.",
    misreading=True,
)
MEAN_FIELD = Claim(
    "In wide networks length grows as mean-field theory says: by a factor near √χ₁ a layer.",
    "Poole et al. 2016, for arcs as `netfold.theory.length_growth` extends it",
    "At the largest width, the largest relative gap, over σ_w², between the measured growth per layer and that of "
    f"infinitely wide networks: held up to {CLOSE:.0%}, in part up to {ROUGHLY:.0%}.",
)
RELU_GROWS = Claim(
    "In ReLU networks the length of a path grows exponentially as soon as σ_w √k / √(k + 1) is above 1.",
    f"{RAGHU} (a), read without its hidden constant",
    "For every width and σ_w² with that number above 1, the growth per layer is above 1 with its whole 95% interval. "
    "Held if so for all, failed if for none.",
    misreading=True,
)
RELU_EXACT = Claim(
    "A ReLU layer of k units multiplies the expected length by σ_w/√k · M(k), whatever the curve; without growth at "
    "σ_w² = 2.",
    "exact at finite width: `netfold.theory.length_growth`; to first order in 1/k Hanin, Jeong and Rolnick 2022",
    "For every width and σ_w², the mean growth per layer is within 4 standard errors of the formula. Held if so for "
    "all, in part if for at least nine in ten, failed otherwise.",
)


@dataclass(frozen=True, eq=False)
class Grown:
    """What was measured, by width and sigma_w^2.

    Attributes:
        growth: per layer, from the first hidden layer to the last.
        lengths: over that of the input path: means over networks after the input and each hidden layer, and half
            their intervals.
        expected: growth that theory expects over the same layers (at this width where it is exact).
        base: the one printed in Theorem 3.
        ratios: one number a network, see `growth_ratios`: for ReLU the expectation of their mean is exact.
    """

    growth: dict[Key, Mean]
    lengths: dict[Key, tuple[Floats, Floats]]
    expected: dict[Key, float]
    base: dict[Key, float]
    ratios: dict[Key, Floats]

    @classmethod
    def of(cls, ensemble: Ensemble, activation: str) -> Grown:
        """From the sweep's table."""
        groups = ensemble.groups("width", "variance")
        lengths = {key: hidden_lengths(rows) for key, rows in groups.items()}
        return cls(
            {
                key: growth_of(rows, mean="arithmetic" if activation == "relu" else "geometric")
                for key, rows in groups.items()
            },
            {key: means(values / values[:, :1]) for key, values in lengths.items()},
            {key: _expected(activation, key[0], key[1], values.shape[1] - 1) for key, values in lengths.items()},
            {(k, v): raghu2017_growth(activation, k, v**0.5) for k, v in groups},
            {key: growth_ratios(values) for key, values in lengths.items()},
        )

    def table(self) -> pd.DataFrame:
        """One row a width and sigma_w^2."""
        return pd.DataFrame(
            [
                {"width": k, "variance": v, "growth": g.value, "low": g.low, "high": g.high,
                 "expected": self.expected[k, v], "printed_base": self.base[k, v]}
                for (k, v), g in self.growth.items()
            ]
        )  # fmt: skip


def theory_lengths(activation: str, width: int, variance: float, depth: int) -> Floats:
    """Expected length after each layer over that of the input arc: exact for ReLU, of infinite width otherwise."""
    wide = None if activation != "relu" else width
    return length_growth(activation, variance**0.5, width=wide, depth=depth, curve="arc", q0=1.0).lengths


def _expected(activation: str, width: int, variance: float, depth: int) -> float:
    lengths = theory_lengths(activation, width, variance, depth)
    return float((lengths[-1] / lengths[0]) ** (1 / (depth - 1)))


def judge_exponential(grown: Grown) -> Finding:
    """Whether every setting grows, and does so exponentially."""
    grows = [growth.above(1) for growth in grown.growth.values()]
    straight = {key: straightness(np.log(mean[1:])) for key, (mean, _) in grown.lengths.items()}
    checks = [*grows, *(r >= STRAIGHT for r in straight.values())]
    rates = [growth.value for growth in grown.growth.values()]
    measured = (
        f"Length grows in {grows.count(True)} of {len(grows)} settings, by factors of {min(rates):.3f} to "
        f"{max(rates):.3f} a layer; the least R² of a straight line through log length is {min(straight.values()):.4f}."
    )
    numbers = {
        "growing": grows.count(True),
        "settings": len(grows),
        "least R squared": min(straight.values()),
    }
    return Finding(EXPONENTIAL, Verdict.of(checks), measured, numbers)


def judge_width(grown: Grown) -> Finding:
    """Whether wide networks grow faster than narrow ones."""
    widths, variances = scales(grown.growth)
    narrow, wide = widths[0], widths[-1]
    pairs = {v: (grown.growth[narrow, v], grown.growth[wide, v]) for v in variances}
    checks = [larger(b, a) for a, b in pairs.values()]
    told = ", ".join(f"{a.value:.3f} and {b.value:.3f} at σ_w² = {v:g}" for v, (a, b) in pairs.items())
    numbers = {f"difference at sigma_w^2 = {v:g}": b.value - a.value for v, (a, b) in pairs.items()}
    return Finding(WIDER, Verdict.of(checks), f"Growth per layer at k = {narrow} and {wide}: {told}.", numbers)


def judge_scale(numbers: Grown) -> Finding:
    """Whether larger weights mean faster growth, step by step."""
    widths, variances = scales(numbers.growth)
    checks = rising(numbers.growth)
    least = min(numbers.growth[k, b].value / numbers.growth[k, a].value for k in widths for a, b in pairwise(variances))
    measured = (
        f"{checks.count(True)} of {len(checks)} steps between values of σ_w² raise the growth with intervals apart; "
        f"the least ratio of neighbouring growths is {least:.3f}."
    )
    return Finding(STRONGER, Verdict.of(checks), measured, {"steps": len(checks), "rising": checks.count(True)})


def judge_printed(numbers: Grown) -> Finding:
    """Whether measurement stays at or above the printed base."""
    below = [key for key, growth in numbers.growth.items() if growth.below(numbers.base[key])]
    worst = min(numbers.growth, key=lambda key: numbers.growth[key].value / numbers.base[key])
    checks = [growth.above(numbers.base[key]) for key, growth in numbers.growth.items()]
    measured = (
        f"The measured growth lies below the printed base in {len(below)} of {len(checks)} settings; lowest against it "
        f"at k = {worst[0]}, σ_w² = {worst[1]:g}: {numbers.growth[worst].words(3)} against {numbers.base[worst]:.3f}."
    )
    return Finding(PRINTED, Verdict.of(checks), measured, {"below": len(below), "settings": len(checks)})


def judge_mean_field(numbers: Grown) -> Finding:
    """Whether the widest networks grow as infinitely wide ones would."""
    widths, variances = scales(numbers.growth)
    wide = widths[-1]
    gaps = {v: numbers.growth[wide, v].value / numbers.expected[wide, v] - 1 for v in variances}
    worst = max(gaps, key=lambda v: abs(gaps[v]))
    measured = (
        f"At k = {wide} the largest gap is {gaps[worst]:+.1%} (σ_w² = {worst:g}: "
        f"{numbers.growth[wide, worst].words(3)} measured, {numbers.expected[wide, worst]:.3f} expected)."
    ).replace("-", "−")
    apart = numbers.growth[wide, worst].over(numbers.expected[wide, worst])
    verdict = Mean(apart.value - 1, apart.low - 1, apart.high - 1).size().graded(held=CLOSE, partly=ROUGHLY)
    return Finding(MEAN_FIELD, verdict, measured, {f"gap at sigma_w^2 = {v:g}": gap for v, gap in gaps.items()})


def judge_relu_grows(numbers: Grown) -> Finding:
    """Whether ReLU networks grow wherever the printed base says so."""
    told = [key for key, base in numbers.base.items() if base > 1]
    grows = [key for key in told if numbers.growth[key].above(1)]
    silent = sorted({v for k, v in told if (k, v) not in grows})
    some = f"; not, at some width or at all, for σ_w² = {', '.join(f'{v:g}' for v in silent)}" if silent else ""
    measured = f"The base is above 1 in {len(told)} settings; length grows in {len(grows)} of them{some}."
    checks = [numbers.growth[key].above(1) for key in told]
    return Finding(RELU_GROWS, Verdict.of(checks), measured, {"base above 1": len(told), "growing": len(grows)})


def judge_relu_exact(numbers: Grown) -> Finding:
    """Whether mean growth agrees with the exact formula."""
    gaps = {}
    for (k, v), ratios in numbers.ratios.items():
        exact = theory_lengths("relu", k, v, 1)[0]
        gaps[k, v] = float((ratios.mean() - exact) / (ratios.std(ddof=1) / len(ratios) ** 0.5))
    within = float(np.mean([abs(gap) <= 4 for gap in gaps.values()]))
    worst = max(gaps, key=lambda key: abs(gaps[key]))
    at_he = {k: r.mean() for (k, v), r in numbers.ratios.items() if v == 2.0}
    told = ", ".join(
        f"{mean:.3f} at k = {k} (formula {theory_lengths('relu', k, 2.0, 1)[0]:.3f})" for k, mean in at_he.items()
    )
    measured = (
        f"The largest gap is {gaps[worst]:+.1f} standard errors (k = {worst[0]}, σ_w² = {worst[1]:g}), over "
        f"{len(gaps)} settings. At σ_w² = 2 the mean growth is {told}."
    ).replace("-", "−")
    return Finding(
        RELU_EXACT, Verdict.graded(within, held=1.0, partly=0.9), measured, {"within 4 standard errors": within}
    )


JUDGES = {
    "hardtanh": (judge_exponential, judge_width, judge_scale, judge_printed, judge_mean_field),
    "relu": (judge_relu_grows, judge_scale, judge_printed, judge_relu_exact),
}


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


def draw(figure: Figure, theme: Theme, numbers: Grown, activation: str) -> None:
    """Left: length after each layer of the widest networks. Right: growth per layer against the width."""
    left, right = figure.subplots(1, 2)
    widths, variances = scales(numbers.growth)
    wide = widths[-1]
    for v, colour, mark in zip(variances, drawing.ramp(len(variances), theme), drawing.MARKS, strict=False):
        mean, half = numbers.lengths[wide, v]
        layers = np.arange(len(mean))
        drawing.measured(left, layers, mean, half, colour=colour, mark=mark, label=rf"$\sigma_w^2$ = {v:g}")
        lines = theory_lengths(activation, wide, v, len(mean) - 1)
        drawing.theory(left, layers, np.concatenate([[1.0], lines]), colour=colour)
        growths = [numbers.growth[k, v] for k in widths]
        drawing.measured(right, widths, [g.value for g in growths], [g.half for g in growths], colour=colour, mark=mark)
        drawing.theory(right, widths, [numbers.expected[k, v] for k in widths], colour=colour)
        drawing.theory(right, widths, [numbers.base[k, v] for k in widths], colour=colour, style=":")
    left.set(yscale="log", xlabel="layer (0: the input)", ylabel="length / length of the input path")
    drawing.plain_ticks(left, y=True)
    drawing.whole_axis(left, range(max(len(mean) for mean, _ in numbers.lengths.values())))
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
        figures={"length": Drawing(partial(draw, numbers=found, activation=activation), caption, about, height=4.3)},
        tables={"growth": found.table(), "lengths": measured.table},
        setting=setting,
        notes=measured.notes,
    )


@experiment("Theorem 3 and Figure 1 of the ICLR submission", "Growth of length with depth, width and σ_w: hard-tanh")
def length_hardtanh(settings: Settings) -> Made:
    """Length of an arc's image through random hard-tanh networks, layer by layer, beside theory."""
    return measure(settings, "hardtanh")


@experiment("Theorem 3", "Growth of length with depth, width and σ_w: ReLU")
def length_relu(settings: Settings) -> Made:
    """Length of an arc's image through random ReLU networks, layer by layer, beside theory."""
    return measure(settings, "relu")
