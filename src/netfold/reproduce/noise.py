"""Noise on the weights of one layer of a trained network, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Experiment, Finding, Made, Settings, Verdict
from netfold.reproduce.kept import Cell, Numbers, measured
from netfold.reproduce.statistics import Mean, means, rank_correlation
from netfold.reproduce.trained import Recipe, Split, accuracy, channels, convolutions, dense, fit, seeds_of, stack
from netfold.sensitivity import GaussianNoise, layer_sensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from netfold.plots.themes import Theme

Floats = NDArray[np.float64]

LAWS: dict[str, tuple[str, tuple[float, ...]]] = {
    "relative": ("noise / RMS of the layer's weights", (0.25, 0.5, 1.0, 2.0)),
    "absolute": ("noise, absolute", (0.05, 0.1, 0.25, 0.5)),
}
"""Laws of noise with their axis and strengths; which one the paper used is not known."""

NETWORKS = {"convolutional": "convolutional network, ReLU", "dense": "fully connected network, hard-tanh"}

STEEP = -0.8

RULE = (
    "Accuracy lost is averaged over the strengths of the noise. Checked, for noise relative to the layer's weights and "
    "for absolute noise: (a) the first layer loses more than the last, with the 95% interval of the difference over "
    "seeds above 0; (b) no layer loses more than the first, in the mean; (c) the rank correlation of the mean loss "
    "with the layer is −0.8 or below. Held if all six checks hold, failed if none does, held in part otherwise."
)

CLAIMS = {
    "convolutional": Claim(
        "Noise on the weights of one layer of a trained convolutional network costs the more accuracy, the earlier "
        "the layer.",
        "Raghu et al. 2017, Figure 6",
        RULE,
    ),
    "dense": Claim(
        "So does noise on one layer of a trained fully connected network: initial layers matter more.",
        "Raghu et al. 2017, its finding that initial layers matter more",
        RULE,
    ),
}


@dataclass(frozen=True, eq=False)
class Disturbed:
    """Accuracies of one architecture.

    Attributes:
        clean: as trained, one number a seed.
        disturbed: with one layer disturbed, by law of noise, ``(seeds, layers, strengths)``.
    """

    clean: Floats
    disturbed: Mapping[str, Floats]

    @classmethod
    def of(cls, found: list[Numbers]) -> Disturbed:
        """From what was measured of every seed."""
        return cls(np.array([f["clean"] for f in found]), {law: np.array([f[law] for f in found]) for law in LAWS})

    def lost(self, law: str) -> Floats:
        """Accuracy lost, averaged over strengths: ``(seeds, layers)``."""
        return (self.clean[:, None, None] - self.disturbed[law]).mean(2)


def judge(claim: Claim, found: Disturbed) -> Finding:
    """Whether earlier layers lose more."""
    checks: list[bool] = []
    parts: list[str] = []
    numbers: dict[str, float | int | str | None] = {"accuracy as trained": float(found.clean.mean())}
    for law in found.disturbed:
        lost = found.lost(law)
        ends, mean = Mean.of(lost[:, 0] - lost[:, -1]), lost.mean(0)
        ranks = rank_correlation(mean)
        checks += [ends.above(0), bool(mean[0] == mean.max()), ranks <= STEEP]
        numbers |= {f"{law}: lost, layer {i + 1}": float(x) for i, x in enumerate(mean)}
        numbers |= {f"{law}: first less last": ends.value, f"{law}: rank correlation": ranks}
        most = int(np.argmax(mean)) + 1
        parts.append(
            f"{law} noise: layer 1 loses {mean[0]:.3f}, the last {mean[-1]:.3f} (difference {ends.words(3)}), "
            f"most is lost by layer {most}, rank correlation {ranks:.2f}".replace("-", "−")
        )
    told = "; ".join(parts)
    return Finding(claim, Verdict.of(checks), f"{told[0].upper()}{told[1:]}.", numbers)


def measure(settings: Settings, cell: Cell) -> Numbers:
    """Train one network and disturb its layers."""
    kind, seed = str(cell["network"]), int(cell["seed"])
    quick = settings.quick
    split = Split.of(
        settings.data, flat=kind == "dense", most=4000 if quick else None, most_tested=500 if quick else 5000
    )
    net = fit(network(kind, settings, split, seed), split.train, recipe(settings), seed)
    found: Numbers = {"clean": accuracy(net, split.test)}
    for law, (_, strengths) in LAWS.items():
        noise = GaussianNoise(strengths[0], relative_to="layer" if law == "relative" else None)
        result = layer_sensitivity(
            net, split.test, "accuracy", noise, 4 if quick else 10, seed, strengths=strengths, progress=False
        )
        found[law] = result.mean.tolist()
    return found


def network(kind: str, settings: Settings, split: Split, seed: int) -> nn.Module:
    """The network of a seed before training."""
    if kind == "convolutional":
        return stack(split.shape, channels(settings), 5, seed)
    return dense(split.shape[0], width(settings), 5, "hardtanh", 2.0)(seed)


def width(settings: Settings) -> int:
    """Of the hidden layers of fully connected networks."""
    return 64 if settings.quick else 100


def recipe(settings: Settings) -> Recipe:
    """How they are trained."""
    return Recipe(600 if settings.quick else 6000, 1e-3, adam=True)


def draw(figure: Figure, theme: Theme, found: Mapping[str, Disturbed]) -> None:
    """Accuracy against noise, one line a layer; one row an architecture, one column a law of noise."""
    axes = figure.subplots(len(found), len(LAWS), sharey="row", squeeze=False)
    for row, (kind, one) in zip(axes, found.items(), strict=True):
        for ax, law in zip(row, LAWS, strict=True):
            _panel(ax, theme, one, law)
        row[0].set_ylabel("test accuracy")
        row[0].set_title(NETWORKS[kind])
    for ax, (label, _) in zip(axes[-1], LAWS.values(), strict=True):
        ax.set_xlabel(label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)


def _panel(ax: Axes, theme: Theme, found: Disturbed, law: str) -> None:
    strengths = LAWS[law][1]
    mean, half = means(found.disturbed[law])
    for i, colour in enumerate(drawing.ramp(len(mean), theme)):
        name, mark = "readout" if i == len(mean) - 1 else f"layer {i + 1}", drawing.MARKS[i % len(drawing.MARKS)]
        drawing.measured(ax, strengths, mean[i], half[i], colour=colour, mark=mark, label=name, line=True)
    ax.axhline(float(found.clean.mean()), color=theme.ink, linestyle=(0, (5, 3)), linewidth=1, label="as trained")
    ax.axhline(0.1, color=theme.muted, linestyle=":", linewidth=1, label="chance")
    ax.set_xscale("log")
    ax.set_xticks(strengths, [f"{s:g}" for s in strengths])
    ax.minorticks_off()
    ax.set_ylim(0, min(1.03, 1.15 * float(found.clean.mean())))


def run(settings: Settings) -> Made:
    """Train and disturb networks of both kinds."""
    seeds = seeds_of(settings, 5, 10)
    cells: list[dict[str, Any]] = [{"network": kind, "seed": seed} for kind in NETWORKS for seed in seeds]
    numbers = measured(settings, cells, measure)
    found = {
        kind: Disturbed.of([n for n, cell in zip(numbers, cells, strict=True) if cell["network"] == kind])
        for kind in NETWORKS
    }
    setting = (
        f"{settings.data.name}. Convolutional: five {convolutions(settings)} and a "
        f"readout, ReLU, no batch norm. Fully connected: 5 hidden layers of {width(settings)}, hard-tanh. Both from "
        f"σ_w² = 2, σ_b = 0, trained by {recipe(settings).words}; {len(seeds)} seeds from {seeds[0]} on."
    )
    draws = 4 if settings.quick else 10
    caption = (
        f"Test accuracy on {settings.data.name} with Gaussian noise on the weights of one layer (its standard "
        f"deviation on the axis), {draws} draws for every network; {setting} Points: means over seeds; bars: 95% "
        "intervals over seeds (Student's t). Theory has nothing to say of trained weights; chance is 0.1."
    )
    return Made(
        findings=tuple(judge(CLAIMS[kind], one) for kind, one in found.items()),
        figures={
            "accuracy": Drawing(
                lambda figure, theme: draw(figure, theme, found),
                caption,
                "Accuracy falls with the noise on one layer's weights, one line a layer.",
                height=5.6,
            )
        },
        tables={"accuracy": table(found)},
        setting=setting,
        notes=(
            "The law of the noise in the paper's figure is not known: absolute and relative noise are both here.",
            "The paper states a loss of about 0.7 for layer 1 and 0.02 for layer 5 at noise 0.25 (recalled, not "
            "checked in the text).",
        ),
    )


def table(found: Mapping[str, Disturbed]) -> Any:
    """One row a network, law, layer, strength and seed."""
    import pandas as pd

    rows = [
        {"network": kind, "noise": law, "layer": i + 1, "strength": s, "seed": number, "accuracy": float(x)}
        for kind, one in found.items()
        for law, values in one.disturbed.items()
        for number, by_seed in enumerate(values)
        for i, by_layer in enumerate(by_seed)
        for s, x in zip(LAWS[law][1], by_layer, strict=True)
    ]
    return pd.DataFrame(rows)


EXPERIMENTS = (
    Experiment(
        name="noise",
        title="Noise on one layer of a trained network",
        of_paper="Figure 6",
        run=run,
        about="Test accuracy with noise on the weights of one layer at a time.",
        uses_data=True,
    ),
)
