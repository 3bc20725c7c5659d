"""Trajectory regularisation against batch norm and against neither."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import nn

from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Cell, measured
from netfold.reproduce.statistics import Mean, means
from netfold.reproduce.trained import (
    Part,
    Recipe,
    checkpoints,
    flat,
    hidden,
    images,
    norm,
    recipe_for,
    seeds_of,
    stack,
    tested,
    units,
    watched,
)
from netfold.training import TrajectoryRegularizer, mean_step
from netfold.training.loop import accuracy

DEPTH = 5
NONE, NORM, TRAJECTORY = "neither", "batch norm", "trajectory regularisation"
VARIANTS = (NONE, NORM, TRAJECTORY)
KEPT_ASIDE = 5
"""Every fifth image of those to train on chooses the learning rate."""

SOURCE = "Raghu et al. 2017, Figure 10"

EQUAL = Claim(
    "Trajectory regularisation reaches about the test accuracy of batch norm.",
    SOURCE,
    "Test accuracy at the end, each at its own best learning rate, regularisation less batch norm: held if all of the "
    "95% interval over seeds is −0.01 or above, in part if all of it is from −0.03 to −0.01, failed if all is below.",
)
ABOVE = Claim(
    "It is well above a network with neither.",
    SOURCE,
    "Test accuracy at the end, each at its own best learning rate, regularisation less neither: held if all of the "
    "95% interval over seeds is 0.01 or above, in part if all of it is above 0 and below 0.01, failed if all is below.",
)
SHORTER = Claim(
    "It keeps the path through the data shorter than batch norm and neither do.",
    "Raghu et al. 2017, the aim of trajectory regularisation",
    "Mean step between consecutive test images over that of the images, averaged over hidden layers as the penalty "
    "adds them up; geometric means over seeds, each at its own best learning rate. Checked: with regularisation it "
    "is shorter (a) than with neither, (b) than with batch norm, the 95% interval of the ratio below 1. Held if both "
    "hold, in part if one does.",
)


def at_best(numbers: xr.Dataset, variant: str) -> xr.Dataset:
    """A variant at the learning rate of the best mean accuracy on the images kept aside; the first of equals."""
    one = numbers.sel(variant=variant)
    return one.isel(rate=int(np.argmax(one.chosen.values.mean(1))))


def judge(numbers: xr.Dataset) -> tuple[Finding, ...]:
    """All findings."""
    best = {name: at_best(numbers, name) for name in VARIANTS}
    ends = {name: one.accuracy.values[:, -1] for name, one in best.items()}
    told = "; ".join(f"{name} {Mean.of(ends[name]).words(3)} at rate {one.rate:g}" for name, one in best.items())
    versus = Mean.of(ends[TRAJECTORY] - ends[NORM]), Mean.of(ends[TRAJECTORY] - ends[NONE])
    levels: dict[str, float | int | str | None] = {f"accuracy, {name}": float(v.mean()) for name, v in ends.items()}
    found = (
        Finding(
            EQUAL,
            versus[0].graded(held=-0.01, partly=-0.03),
            f"Less batch norm: {versus[0].words(3)}. {told}.",
            {**levels, "less batch norm": versus[0].value, "its lower end": versus[0].low},
        ),
        Finding(
            ABOVE,
            versus[1].graded(held=0.01, partly=float(np.nextafter(0, 1))),
            f"Less neither: {versus[1].words(3)}.",
            {"less neither": versus[1].value, "its lower end": versus[1].low},
        ),
        judge_length(numbers),
    )
    return tuple(tested(one, max(float(end.mean()) for end in ends.values())) for one in found)


def judge_length(measured: xr.Dataset) -> Finding:
    """Whether the path through the data is shorter."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = {name: np.log(at_best(measured, name).length.values.mean(1)) for name in VARIANTS}
        ratios = [Mean.of(logs[TRAJECTORY] - logs[other]) for other in (NONE, NORM)]
    told = ", ".join(f"{Mean.of(log).exp()} with {name}" for name, log in logs.items())
    text = f"Length over that of the images, mean of {DEPTH} layers: {told}."
    numbers = {f"length, {name}": Mean.of(log).exp().value for name, log in logs.items()}
    return Finding(SHORTER, Verdict.of(ratio.below(0) for ratio in ratios), text, numbers)


def rates(settings: Settings) -> tuple[float, ...]:
    """Learning rates that are tried."""
    return (0.01, 0.05) if settings.quick and not flat(settings) else (0.01, 0.03, 0.1)


def recipe(settings: Settings) -> Recipe:
    """How all are trained, but for the learning rate."""
    return recipe_for(settings, 420, 6000, 0.01, momentum=0.9)


def before_relu(variant: str, settings: Settings) -> Any:
    """Makes what stands between an affine map and its ReLU."""
    if variant == NORM:
        return norm(settings)
    return (lambda _: TrajectoryRegularizer(0.01)) if variant == TRAJECTORY else None


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Train one network."""
    variant, rate, seed = cell["variant"], cell["rate"], cell["seed"]
    split = images(settings, flat=flat(settings), tested=2000 if settings.quick else None)
    x, y = split.train
    aside = torch.arange(len(x)) % KEPT_ASIDE == 0
    net = stack(split.shape, units(settings), DEPTH, seed, before_relu(variant, settings))
    how = replace(recipe(settings), rate=rate)
    at = checkpoints(how.steps, 8 if settings.quick else 16)
    course = watched(net, (x[~aside], y[~aside]), how, seed, at, lambda: {"accuracy": accuracy(net, split.test)})
    return course.assign(chosen=accuracy(net, (x[aside], y[aside])), length=("layer", lengths(net, split.test)))


def lengths(net: nn.Module, part: Part) -> list[float]:
    """Mean step of the path through the inputs after each ReLU, over that of the inputs."""
    x = part[0][:1000]
    at_start, found = mean_step(x), []
    with torch.no_grad():
        for module in net.children():
            x = module(x)
            if isinstance(module, nn.ReLU):
                found.append(float(mean_step(x) / at_start))
    return found


def draw(figure: Figure, theme: Theme, numbers: xr.Dataset) -> None:
    """Accuracy over steps and against the learning rate; length by layer."""
    panels = figure.subplot_mosaic([["steps", "steps"], ["rates", "layers"]])
    axes = [panels[name] for name in ("steps", "rates", "layers")]
    looks = zip(VARIANTS, (theme.ink, theme.other, theme.main), ("D", "s", "o"), strict=True)
    ends = 1 - numbers.accuracy.isel(step=-1)
    for name, colour, mark in looks:
        one = at_best(numbers, name)
        for ax, x, values in (
            (axes[0], numbers.step.values, 1 - one.accuracy.values),
            (axes[1], numbers.rate.values, ends.sel(variant=name).values.T),
            (axes[2], np.arange(1, DEPTH + 1), one.length.values),
        ):
            mean, half = means(values)
            drawing.measured(ax, x, mean, half, colour=colour, mark=mark, label=name, line=True, size=4)
    least = float(ends.values.mean(2).min())
    for ax in axes[:2]:
        ax.set_ylim(0.8 * least, 1.05)
        drawing.plain_log(ax)
    drawing.step_axis(axes[0], numbers.step.values, every=2)
    axes[0].margins(x=0.03)
    axes[0].set(ylabel="test error", title="at the best rate")
    axes[1].set(xlabel="learning rate", ylabel="test error", xscale="log", title="at the end, by rate")
    axes[1].set_xticks(numbers.rate.values, [f"{rate:g}" for rate in numbers.rate.values])
    axes[1].minorticks_off()
    axes[2].set(xlabel="hidden layer", ylim=(0, None), ylabel="length / that of the images", title="length by layer")
    drawing.whole_axis(axes[2], list(range(1, DEPTH + 1)))
    drawing.legend(figure, axes[0])


@experiment("Figure 10", "Trajectory regularisation against batch norm", uses_data=True, version=2)
def trajectory_regularization(settings: Settings) -> Made:
    """Accuracy with trajectory regularisation, with batch norm and with neither."""
    seeds = seeds_of(settings, 4 if flat(settings) else 3, 5)
    found = measured(settings, measure, variant=VARIANTS, rate=rates(settings), seed=seeds)
    words = recipe(settings).words.replace("learning rate 0.01", "each at its best learning rate of those drawn")
    setting = (
        f"{settings.data.name}. ReLU, {DEPTH} {hidden(settings)}, σ_w² = 2, σ_b = 0; "
        "between each affine map and its ReLU nothing, batch norm, or a layer that multiplies by a learned λ and "
        f"adds 0.01 λ (length / length in the first batch) to the loss. {words}; the rate is chosen by accuracy on a "
        f"fifth of the training images, which is left out of training. {len(seeds)} seeds from {seeds[0]} on, same "
        "start and batches for all three."
    )
    caption = (
        f"Top: test error (1 − accuracy) on {settings.data.name} over steps. Bottom left: at the end, by rate. "
        "Right: mean step of the polyline through consecutive test images after each ReLU, over that of the images. "
        f"{setting} Points: means over seeds; bars: 95% intervals (Student's t)."
    )
    return Made(
        findings=judge(found),
        figures={
            "accuracy": Drawing(
                partial(draw, numbers=found),
                caption,
                "Test accuracy with neither, batch norm and trajectory regularisation, and length by layer.",
                height=5.6,
            )
        },
        tables={"accuracy": found.accuracy.to_dataframe().reset_index()},
        setting=setting,
        notes=(
            "Left open by the paper and chosen here: λ = exp(θ), learned from 1 on; the original length is that of the "
            "layer's first batch.",
        ),
    )
