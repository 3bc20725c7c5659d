"""Transitions with depth, width and sigma_w, on arcs between two images and in the limit of very large weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from netfold.arrays import Floats
from netfold.measures.tracing import trace_paths
from netfold.networks import random_network
from netfold.paths import Arc
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.ensembles import Key, by_layer, linearised, rising, scales
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Cell, Ensemble, measured, sweep
from netfold.reproduce.statistics import Mean, means, straightness
from netfold.theory import crossing_rate

STRAIGHT = 0.99
POWER = 0.5
ROOT = 0.05
LARGE = 1000.0
"""sigma_w of the limit in which all but a few units are saturated: large beside every width."""
ARCS = 4
"""Arcs that each network is measured on."""

FIGURE = "Raghu et al. 2017, Figure 2"

EXPONENTIAL = Claim(
    "The number of transitions grows exponentially with depth.",
    f"{FIGURE}; Theorem 4",
    "For every width and σ_w²: growth per layer (geometric mean, first layer to last) above 1 with its whole 95% "
    f"interval, and log of the mean count straight over the layers, R² ≥ {STRAIGHT}. Held if all checks hold, failed "
    "if none does.",
)
WIDTH = Claim(
    "Width matters far less: the number of transitions does not grow exponentially with it.",
    FIGURE,
    "At every σ_w² the count of the deepest layer grows from the smallest to the largest width at most like a power "
    f"of the width: held if the power is at most {POWER}, in part if at most 1, failed otherwise (for the largest).",
)
SCALE = Claim(
    "The number of transitions depends strongly on the scale of the weights.",
    FIGURE,
    "At every width, each step to the next larger σ_w² raises the growth per layer, the 95% intervals apart. Held if "
    "so for all steps, failed if for none.",
)
LIMIT = Claim(
    "With very large hard-tanh weights and no biases, each layer multiplies the number of sign transitions by a "
    "number of the order of √k.",
    "Raghu et al. 2017, Theorem 4; Theorem 2 of its ICLR 2017 submission",
    f"At σ_w = {LARGE:g}, the growth per layer is fitted as a power of k over all widths: held if the power is within "
    f"{ROOT} of ½, in part if within {3 * ROOT:.2f}, failed otherwise.",
)


@dataclass(frozen=True, eq=False)
class Counted:
    """Sign transitions a unit, layer by layer, by width and sigma_w^2.

    Attributes:
        counts: ``(networks, layers)``, means over the arcs of each network.
        expected: of infinitely wide networks on the same arcs, by sigma_w^2.
    """

    counts: dict[Key, Floats]
    expected: dict[float, Floats]

    @property
    def growth(self) -> dict[Key, Mean]:
        """Per layer, from the first to the last."""
        return {
            key: Mean.of(np.log(counts[:, -1] / counts[:, 0]) / (counts.shape[1] - 1)).exp()
            for key, counts in self.counts.items()
        }

    def table(self) -> pd.DataFrame:
        """One row a width, sigma_w^2 and layer."""
        rows = [
            {"width": k, "variance": v, "layer": layer, "sign_transitions_per_unit": mean, "half_interval": half,
             "expected": expected}
            for (k, v), counts in self.counts.items()
            for layer, (mean, half, expected) in enumerate(zip(*means(counts), self.expected[v], strict=True), 1)
        ]  # fmt: skip
        return pd.DataFrame(rows)


def judge_exponential(numbers: Counted) -> Finding:
    """Whether counts grow, and exponentially."""
    grows = [growth.above(1) for growth in numbers.growth.values()]
    straight = {key: straightness(np.log(counts.mean(0))) for key, counts in numbers.counts.items()}
    rates = [growth.value for growth in numbers.growth.values()]
    told = (
        f"Counts grow in {grows.count(True)} of {len(grows)} settings, by factors of {min(rates):.2f} to "
        f"{max(rates):.2f} a layer; the least R² of a straight line through the logarithms is "
        f"{min(straight.values()):.4f}."
    )
    checks = [*grows, *(r >= STRAIGHT for r in straight.values())]
    return Finding(EXPONENTIAL, Verdict.of(checks), told, {"growing": grows.count(True), "settings": len(grows)})


def judge_width(numbers: Counted) -> Finding:
    """Whether counts grow at most like the square root of the width."""
    widths, variances = scales(numbers.counts)
    narrow, wide = widths[0], widths[-1]
    powers = {
        v: float(
            np.log(numbers.counts[wide, v][:, -1].mean() / numbers.counts[narrow, v][:, -1].mean())
            / np.log(wide / narrow)
        )
        for v in variances
    }
    told = ", ".join(f"{power:.2f} at σ_w² = {v:g}" for v, power in powers.items()).replace("-", "−")
    depth = next(iter(numbers.counts.values())).shape[1]
    text = f"In layer {depth}, from k = {narrow} to {wide}, transitions per unit go like k to the power {told}."
    verdict = Verdict.graded(max(powers.values()), held=POWER, partly=1.0)
    return Finding(WIDTH, verdict, text, {f"power at sigma_w^2 = {v:g}": power for v, power in powers.items()})


def judge_scale(numbers: Counted) -> Finding:
    """Whether larger weights mean faster growth."""
    growth, (widths, variances) = numbers.growth, scales(numbers.counts)
    checks, wide = rising(growth), widths[-1]
    told = ", ".join(f"{growth[wide, v].value:.2f} at σ_w² = {v:g}" for v in variances)
    text = (
        f"{checks.count(True)} of {len(checks)} steps raise it with intervals apart. Growth per layer at k = {wide}: "
        f"{told}."
    )
    return Finding(SCALE, Verdict.of(checks), text, {"steps": len(checks), "rising": checks.count(True)})


def judge_limit(rates: dict[int, Mean]) -> Finding:
    """Whether growth in the limit goes like the square root of the width."""
    widths = np.array(list(rates), float)
    values = np.array([rate.value for rate in rates.values()])
    power, offset = np.polyfit(np.log(widths), np.log(values), 1)
    constant = float(np.mean(values / np.sqrt(widths)))
    text = (
        f"Growth per layer goes like k to the power {power:.3f} for k = {min(rates)} to {max(rates)}; over √k it is "
        f"{constant:.3f} in the mean, where all-saturated units give 2/π = {2 / np.pi:.3f}."
    )
    verdict = Verdict.graded(abs(power - 0.5), held=ROOT, partly=3 * ROOT)
    return Finding(
        LIMIT, verdict, text, {"power": float(power), "growth over sqrt(k)": constant, "fit": float(np.exp(offset))}
    )


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Sign transitions a unit, layer by layer, of one network on its arcs."""
    width, (images, ends) = cell["width"], _ends(settings, cell["network"])
    seed = int(settings.generator("transitions-depth", *cell.values()).integers(2**62))
    net = random_network(
        images.shape[1], width, cell["depth"], 1, "hardtanh", sigma_w=cell["variance"] ** 0.5, seed=seed
    )
    traces = trace_paths(net, [Arc(images[a], images[b]) for a, b in ends], progress=False)
    means_over_arcs = np.mean([trace.sign_transitions / width for trace in traces], axis=0)
    return xr.Dataset({"sign_transitions": ("layer", means_over_arcs)})


def _ends(settings: Settings, number: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Standardised test images, one a row, and pairs of them of different classes: the same for every architecture."""
    data = settings.data.standardised()
    order = settings.generator("arcs", number).permutation(len(data.test))
    labels = data.test_labels[order]
    later = [next((i for i in range(ARCS + j, len(order)) if labels[i] != labels[j]), ARCS + j) for j in range(ARCS)]
    return data.test.reshape(len(data.test), -1), np.stack([order[:ARCS], order[later]], axis=1)


def draw(figure: Figure, theme: Theme, numbers: Counted, rates: dict[int, Mean]) -> None:
    """Left: transitions per unit, layer by layer. Right: growth per layer in the limit, against width."""
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    narrow_to_wide, variances = scales(numbers.counts)
    shades = dict(zip(variances, drawing.ramp(len(variances), theme), strict=True))
    marks = dict(zip(narrow_to_wide, drawing.MARKS, strict=False))
    for (k, v), counts in numbers.counts.items():
        mean, half = means(counts)
        drawing.measured(left, np.arange(1, len(mean) + 1), mean, half, colour=shades[v], mark=marks[k])
    for v, expected in numbers.expected.items():
        drawing.theory(left, np.arange(1, len(expected) + 1), expected, colour=shades[v])
    left.set(yscale="log", xlabel="layer", ylabel="sign transitions per unit")
    drawing.plain_ticks(left, y=True)
    left.set_title("arcs between two images")
    widths = list(rates)
    drawing.measured(
        right, widths, [r.value for r in rates.values()], [r.half for r in rates.values()], colour=theme.main
    )
    drawing.theory(right, widths, 2 / np.pi * np.sqrt(widths), colour=theme.main)
    drawing.theory(right, widths, np.sqrt(widths), colour=theme.main, style=":")
    right.set(xscale="log", yscale="log", xlabel="width k", ylabel="growth per layer")
    right.set_xticks(widths, [str(k) for k in widths])
    ticks = [t for t in (1, 2, 3, 4, 6, 8, 12, 16, 24) if 1 <= t <= max(widths) ** 0.5 * 1.1]
    right.set_yticks(ticks, [str(t) for t in ticks])
    right.minorticks_off()
    right.set_title(rf"$\sigma_w$ = {LARGE:g}")
    handles = [*(drawing.swatch(shades[v], label=rf"$\sigma_w^2$ = {v:g}") for v in variances),
               *(drawing.swatch(theme.ink, marks[k], f"k = {k}") for k in narrow_to_wide),
               *drawing.key(theme, theory="-", **{"√k": ":"})]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4)


def _expected(settings: Settings, variance: float, depth: int, networks: int) -> Floats:
    rates = [
        crossing_rate("hardtanh", variance**0.5, depth=depth, curve=Arc(images[a], images[b])).sign_transitions
        for images, ends in (_ends(settings, i) for i in range(networks))
        for a, b in ends
    ]
    return np.mean(rates, axis=0)


def limit_rates(ensemble: Ensemble) -> dict[int, Mean]:
    """Growth of sign transitions per layer by width, from the first layer to the last: counts of all networks together.

    A network's own ratio would be undefined where no unit of the first layer changes its sign.
    """
    rates = {}
    for k, rows in ensemble.groups("width").items():
        counts = by_layer(rows, "sign_transitions")
        growth = linearised(counts[:, -1], counts[:, 0])
        # log(x) to first order around the mean, so that the interval is that of the logarithm
        logs = np.log(growth.mean()) + (growth / growth.mean() - 1)
        rates[int(k)] = Mean.of(logs / (counts.shape[1] - 1)).exp()
    return rates


def _made(settings: Settings, numbers: Counted, limit: Ensemble, depth: int, networks: int, many: int) -> Made:
    rates, data = limit_rates(limit), settings.data
    setting = (
        f"Random hard-tanh networks of {depth} hidden layers, weights N(0, σ_w²/fan-in), no biases, {data.size} "
        f"inputs; {networks} networks at each width k and σ_w², each on {ARCS} arcs between two standardised test "
        f"images of different classes ({data.name}), the same arcs for every k and σ_w²; seed {settings.seed}. The "
        f"limit: {many} networks of 3 hidden layers, k inputs, σ_w = {LARGE:g}, each on a random arc with |x|² = k."
    )
    caption = (
        "Sign transitions (a pre-activation crosses 0; exact), a unit. A unit of layer d + 1 is a random readout of "
        "layer d, so this is the paper's count for an output behind d layers. Marks: means over networks with 95% "
        f"intervals. Lines: Kac–Rice rates of infinitely wide networks (left), (2/π)√k (right). Dotted: √k. {setting}"
    )
    about = "Transitions per unit rise exponentially with the layer, the faster the larger the weights."
    return Made(
        findings=(judge_exponential(numbers), judge_width(numbers), judge_scale(numbers), judge_limit(rates)),
        figures={"transitions": Drawing(partial(draw, numbers=numbers, rates=rates), caption, about, height=4.4)},
        tables={"layers": numbers.table(), "limit": limit.table},
        setting=setting,
        notes=(
            *limit.notes,
            "(2/π)√k is derived here: where all units are saturated, a unit that changes its sign moves each of the k "
            "pre-activations behind it by 2w, and one of them changes sign with probability (2/π)/√k.",
        ),
    )


@experiment("Figure 2", "Transitions with depth", uses_data=True)
def transitions_depth(settings: Settings) -> Made:
    """Sign transitions on arcs between two images, by depth, width and σ_w, in random hard-tanh networks."""
    quick = settings.quick
    widths, variances = ((32, 128), (4.0, 9.0, 16.0)) if quick else ((50, 100, 200, 400), (2.0, 4.0, 9.0, 16.0))
    depth, networks = (5, 8) if quick else (7, 25)
    axes = {"width": widths, "variance": variances, "depth": (depth,), "network": range(networks)}
    numbers = measured(settings, measure, **axes).sign_transitions.squeeze("depth")
    counts = {(k, v): numbers.sel(width=k, variance=v).values for k in widths for v in variances}
    found = Counted(counts, {v: _expected(settings, v, depth, networks) for v in variances})
    limits = (16, 32, 64) if quick else (8, 16, 32, 64, 128)
    many = 60 if quick else 300
    limit = sweep(
        settings, [{"inputs": k, "width": k} for k in limits], ["sign_transitions"], many, "limit",
        depth=3, sigma_w=LARGE, activation="hardtanh", path="arc",
    )  # fmt: skip
    return _made(settings, found, limit, depth, networks, many)
