"""Train exactly one layer of a random network, the rest frozen."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Cell, measured
from netfold.reproduce.statistics import Mean, means, rank_correlation
from netfold.reproduce.trained import Split, dense, images, seeds_of
from netfold.training import train_single_layer

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


def judge(claim: Claim, measured: xr.Dataset) -> Finding:
    """Whether lower layers learn more alone."""
    alone = measured.alone.values
    compared, every = alone[:, 1:-1], alone.mean(0)
    mean = compared.mean(0)
    ends, ranks = Mean.of(compared[:, 0] - compared[:, -1]), rank_correlation(mean)
    told = ", ".join(f"{x:.3f}" for x in mean)
    text = (
        f"Layers 2 to {len(mean) + 1}: {told}; lowest less highest {ends.words(3)}, rank correlation {ranks:.2f}. "
        f"Layer 1 {every[0]:.3f}, readout {every[-1]:.3f}, all layers {measured.whole.values.mean():.3f}, "
        f"none {measured.untrained.values.mean():.3f}."
    ).replace("-", "−")
    numbers: dict[str, float | int | str | None] = {f"layer {i + 1}": float(x) for i, x in enumerate(every)}
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
    return images(settings, flat=True, tested=2000 if settings.quick else None)


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Train every layer alone, and all together, from one seed."""
    split, (width, variance) = split_of(settings), shape(settings)
    make = dense(split.shape[0], width, DEPTH, "hardtanh", variance)
    found = train_single_layer(
        make, split.train, split.test, seeds=[cell["seed"]], epochs=epochs(settings, split), progress=False
    )
    return xr.Dataset(
        {
            "alone": (("part", "layer"), [found.train[:, 0], found.test[:, 0]]),
            "untrained": ("part", found.untrained[:, 0]),
            "whole": ("part", found.whole[:, 0]),
            "recipe": found.recipe,
        },
        {"part": list(CLAIMS), "layer": np.arange(1, 1 + len(found.layers))},
    )


def draw(figure: Figure, theme: Theme, numbers: xr.Dataset) -> None:
    """Accuracy against the layer that was trained; one panel a part of the data."""
    axes = figure.subplots(1, 2, sharey=True)
    titles = {"train": "images trained on", "test": "images kept aside"}
    for ax, (part, title) in zip(axes, titles.items(), strict=True):
        _panel(ax, theme, numbers.sel(part=part))
        ax.set_title(title)
    best = max(numbers.whole.values.mean(0).max(), numbers.alone.values.mean(0).max())
    axes[0].set_ylim(0, min(1.03, 1.15 * best))
    axes[0].set_ylabel("accuracy")
    drawing.legend(figure, axes[0], ncols=2)


def _panel(ax: Axes, theme: Theme, numbers: xr.Dataset) -> None:
    mean, half = means(numbers.alone.values)
    at = np.arange(1, len(mean) + 1)
    for value, style, label in (
        (numbers.whole.values.mean(), (0, (5, 3)), "all layers trained"),
        (numbers.untrained.values.mean(), (0, (1, 2)), "none trained"),
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


@experiment("Figure 7", "Training a single layer", uses_data=True, version=2)
def single_layer(settings: Settings) -> Made:
    """Accuracy of networks of which one layer alone is trained."""
    seeds = seeds_of(settings, 5, 10)
    found, (width, variance) = measured(settings, measure, seed=seeds), shape(settings)
    split = split_of(settings)
    setting = (
        f"{settings.data.name}, {len(split.train[0]):,} images to train on and {len(split.test[0]):,} to test on. "
        f"Fully connected, {DEPTH} hidden layers of {width}, hard-tanh, σ_w² = {variance:g}, σ_b = 0. "
        f"{found.recipe.values[0]}. {len(seeds)} seeds from {seeds[0]} on."
    )
    caption = (
        f"Accuracy on {settings.data.name} with one layer trained, all others at their random start. {setting} "
        "Points: means over seeds; bars: 95% intervals (Student's t). The first layer, which reads the pixels, and "
        "the readout do not count for the verdict. No theory is known for trained networks; the lines bound what a "
        "layer can add."
    )
    return Made(
        findings=tuple(judge(claim, found.sel(part=part)) for part, claim in CLAIMS.items()),
        figures={
            "accuracy": Drawing(
                partial(draw, numbers=found),
                caption,
                "Accuracy against the layer that was trained alone, on the images trained on and on others.",
            )
        },
        tables={"accuracy": table(found)},
        setting=setting,
        notes=("Depth, optimiser and number of steps are left open by the paper and chosen here.",),
    )


def table(numbers: xr.Dataset) -> pd.DataFrame:
    """One row a part of the data, layer and seed, with those of no layer and of all."""
    names = ["none", *map(str, numbers.layer.values), "all"]
    parts = [
        numbers.untrained.expand_dims(layer=1, axis=-1),
        numbers.alone,
        numbers.whole.expand_dims(layer=1, axis=-1),
    ]
    every = np.concatenate([part.transpose("part", "layer", "seed").values for part in parts], axis=1)
    coordinates = {"part": numbers.part.values, "layer": names, "seed": numbers.seed.values}
    return xr.DataArray(every, coordinates, list(coordinates), "accuracy").to_dataframe().reset_index()
