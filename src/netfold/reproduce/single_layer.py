"""Train exactly one layer of a random network, the rest frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Experiment, Finding, Made, Settings, Verdict
from netfold.reproduce.kept import Cell, Numbers, measured
from netfold.reproduce.statistics import Mean, means, rank_correlation
from netfold.reproduce.trained import Split, dense, seeds_of
from netfold.training import train_single_layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from netfold.plots.themes import Theme

Floats = NDArray[np.float64]

DEPTH = 5
STEEP = -0.8

RULE = (
    "Compared are the hidden layers from the second on, which have equally many weights, as in the paper. Checked: (a) "
    "the lowest of them beats the highest, with the 95% interval of the difference over seeds above 0; (b) the rank "
    "correlation of the mean accuracy with the layer is −0.8 or below. Held if both hold, in part if one does."
)

CLAIMS = {
    part: Claim(
        f"With one layer trained and all others left random, {words} is the higher, the lower that layer.",
        "Raghu et al. 2017, Figure 7; ICLR 2017 submission, Figures 6 and 7",
        RULE,
    )
    for part, words in (("train", "accuracy on the training images"), ("test", "accuracy on images kept aside"))
}


@dataclass(frozen=True, eq=False)
class Alone:
    """Accuracies with one layer trained.

    Attributes:
        one: by the layer that was trained, ``(seeds, layers)``; the last is the readout.
        untrained: with none, one number a seed.
        whole: with all.
    """

    one: Floats
    untrained: Floats
    whole: Floats

    @property
    def compared(self) -> Floats:
        """The hidden layers from the second on."""
        return self.one[:, 1:-1]


def judge(claim: Claim, found: Alone) -> Finding:
    """Whether lower layers learn more alone."""
    mean = found.compared.mean(0)
    ends, ranks = Mean.of(found.compared[:, 0] - found.compared[:, -1]), rank_correlation(mean)
    told = ", ".join(f"{x:.3f}" for x in mean)
    text = (
        f"Layers 2 to {len(mean) + 1}: {told}; lowest less highest {ends.words(3)}, rank correlation {ranks:.2f}. "
        f"Layer 1 {found.one[:, 0].mean():.3f}, readout {found.one[:, -1].mean():.3f}, all layers "
        f"{found.whole.mean():.3f}, none {found.untrained.mean():.3f}."
    ).replace("-", "−")
    numbers: dict[str, float | int | str | None] = {f"layer {i + 1}": float(x) for i, x in enumerate(found.one.mean(0))}
    numbers |= {"lowest less highest": ends.value, "its lower end": ends.low, "rank correlation": ranks}
    return Finding(claim, Verdict.of([ends.above(0), ranks <= STEEP]), text, numbers)


def shape(settings: Settings) -> tuple[int, float]:
    """Width and variance of the weights: those of the paper for MNIST and CIFAR-10."""
    colour = settings.data.shape[0] == 3
    width = 200 if colour else 64 if settings.data.name == "digits" else 100
    return width, 1.0 if colour else 2.0


def epochs(settings: Settings, split: Split) -> int:
    """Passes over the data, at about the same number of steps for all data."""
    return max((420 if settings.quick else 9000) // split.epoch, 1)


def split_of(settings: Settings) -> Split:
    """The images, flat."""
    quick = settings.quick
    return Split.of(settings.data, flat=True, most=4000 if quick else None, most_tested=2000 if quick else None)


def measure(settings: Settings, cell: Cell) -> Numbers:
    """Train every layer alone, and all together, from one seed."""
    split, (width, variance) = split_of(settings), shape(settings)
    make = dense(split.shape[0], width, DEPTH, "hardtanh", variance)
    found = train_single_layer(
        make, split.train, split.test, seeds=[int(cell["seed"])], epochs=epochs(settings, split), progress=False
    )
    return {
        "train": found.train[:, 0].tolist(),
        "test": found.test[:, 0].tolist(),
        "untrained": found.untrained[:, 0].tolist(),
        "whole": found.whole[:, 0].tolist(),
        "recipe": found.recipe,
    }


def gathered(numbers: list[Numbers]) -> dict[str, Alone]:
    """Accuracies of all seeds on both parts."""
    none, whole = (np.array([n[name] for n in numbers]) for name in ("untrained", "whole"))
    return {
        part: Alone(np.array([n[part] for n in numbers]), none[:, i], whole[:, i])
        for i, part in enumerate(("train", "test"))
    }


def draw(figure: Figure, theme: Theme, found: dict[str, Alone]) -> None:
    """Accuracy against the layer that was trained; one panel a part of the data."""
    axes = figure.subplots(1, 2, sharey=True)
    titles = {"train": "images trained on", "test": "images kept aside"}
    for ax, (part, one) in zip(axes, found.items(), strict=True):
        _panel(ax, theme, one)
        ax.set_title(titles[part])
    best = max(float(max(one.whole.mean(), one.one.mean(0).max())) for one in found.values())
    axes[0].set_ylim(0, min(1.03, 1.15 * best))
    axes[0].set_ylabel("accuracy")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)


def _panel(ax: Axes, theme: Theme, found: Alone) -> None:
    mean, half = means(found.one)
    at = np.arange(1, len(mean) + 1)
    for value, style, label in (
        (found.whole.mean(), (0, (5, 3)), "all layers trained"),
        (found.untrained.mean(), (0, (1, 2)), "none trained"),
    ):
        ax.axhline(float(value), color=theme.muted, linestyle=style, linewidth=1.2, label=label)
    chosen = slice(1, len(mean) - 1)
    drawing.measured(
        ax, at[chosen], mean[chosen], half[chosen], colour=theme.main, line=True, label="compared: equally many weights"
    )
    others = [0, len(mean) - 1]
    drawing.measured(
        ax, at[others], mean[others], half[others], colour=theme.other, mark="s", label="first layer, readout"
    )
    ax.set_xticks(at, [*map(str, at[:-1]), "out"])
    ax.set_xlabel("the one layer that is trained")


def run(settings: Settings) -> Made:
    """Train one layer of every network."""
    seeds = seeds_of(settings, 5, 10)
    numbers = measured(settings, [{"seed": seed} for seed in seeds], measure)
    found, (width, variance) = gathered(numbers), shape(settings)
    split = split_of(settings)
    setting = (
        f"{settings.data.name}, {len(split.train[0]):,} images to train on and {len(split.test[0]):,} to test on. "
        f"Fully connected, {DEPTH} hidden layers of {width}, hard-tanh, σ_w² = {variance:g}, σ_b = 0. "
        f"{numbers[0]['recipe']}. {len(seeds)} seeds from {seeds[0]} on."
    )
    caption = (
        f"Accuracy on {settings.data.name} with one layer trained, all others at their random start. {setting} "
        "Points: means over seeds; bars: 95% intervals (Student's t). The first layer, which reads the pixels, and "
        "the readout do not count for the verdict. No theory is known for trained networks; the lines bound what a "
        "layer can add."
    )
    return Made(
        findings=tuple(judge(CLAIMS[part], one) for part, one in found.items()),
        figures={
            "accuracy": Drawing(
                lambda figure, theme: draw(figure, theme, found),
                caption,
                "Accuracy against the layer that was trained alone, on the images trained on and on others.",
            )
        },
        tables={"accuracy": table(found, seeds)},
        setting=setting,
        notes=("Depth, optimiser and number of steps are left open by the paper and chosen here.",),
    )


def table(found: dict[str, Alone], seeds: list[int]) -> Any:
    """One row a part of the data, layer and seed."""
    import pandas as pd

    rows = [
        {"part": part, "layer": name, "seed": seed, "accuracy": float(values[i])}
        for part, one in found.items()
        for i, seed in enumerate(seeds)
        for name, values in (
            ("none", one.untrained),
            *((str(layer + 1), one.one[:, layer]) for layer in range(one.one.shape[1])),
            ("all", one.whole),
        )
    ]
    return pd.DataFrame(rows)


EXPERIMENTS = (
    Experiment(
        name="single-layer",
        title="Training a single layer",
        of_paper="Figure 7",
        run=run,
        about="Accuracy of networks of which one layer alone is trained.",
        uses_data=True,
    ),
)
