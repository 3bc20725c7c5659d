"""Figures of length and transitions during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.reproduce import drawing
from netfold.reproduce.axes import plain_log, step_axis
from netfold.reproduce.figure import Drawing
from netfold.reproduce.statistics import geometric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from netfold.plots.themes import Theme
    from netfold.reproduce.training import Course

Floats = NDArray[np.float64]

BARS = "Points: geometric means over seeds; bars: 95% intervals (Student's t on the logarithm)."


def drawings(found: Mapping[str, Course], labels: Mapping[str, str], setting: str) -> dict[str, Drawing]:
    """All figures by name."""
    return {
        "length": Drawing(
            lambda figure, theme: draw_length(figure, theme, found, labels),
            "Length of an arc's image after each hidden layer over that of the arc, against the training step. "
            f"{setting} {BARS} Dashes at the left: expected for random weights along the same arcs between images, at "
            "infinite width.",
            "Length by layer during training, from a large and a small start, near data and far from it.",
            height=5.4,
        ),
        "transitions": Drawing(
            lambda figure, theme: draw_transitions(figure, theme, found, labels),
            "Transitions of a hidden layer's units (state switches: of hard-tanh at −1 and 1) along an arc between "
            f"two images, means over arcs, against the training step. {setting} {BARS}",
            "Transitions by layer during training, from a large and a small start.",
            height=3.6,
        ),
        "growth": Drawing(
            lambda figure, theme: draw_growth(figure, theme, found["relu"], labels["relu"]),
            "Length (left) and transitions (right; ReLU: a unit switches on or off) of arcs between two images by "
            f"hidden layer, at steps of the training. {setting} {BARS} Dashes: expected length for random weights, "
            "exact at this width.",
            "Length and transitions against the layer for a ReLU network, before, during and after training.",
            height=3.8,
        ),
    }


def draw_length(figure: Figure, theme: Theme, found: Mapping[str, Course], labels: Mapping[str, str]) -> None:
    """Length against the step: rows are starts, columns near and far."""
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    for row, name in zip(axes, ("large", "small"), strict=True):
        course = found[name]
        for ax, values, where in ((row[0], course.near, "images"), (row[1], course.far, "random points")):
            _course(ax, theme, course.steps, values, course.theory if values is course.near else None)
            ax.set_title(f"{labels[name]}\nbetween {where}")
        row[0].set_ylabel("length / that of the arc")
    for ax in axes[0]:
        ax.set_xlabel("")
    _legend(figure, axes[0, 0], *drawing.key(theme, theory_at_step_0="--"))


def draw_transitions(figure: Figure, theme: Theme, found: Mapping[str, Course], labels: Mapping[str, str]) -> None:
    """Transitions against the step, between images."""
    axes = figure.subplots(1, 2)
    for ax, name in zip(axes, ("large", "small"), strict=True):
        _course(ax, theme, found[name].steps, found[name].near_transitions)
        ax.set_title(labels[name])
    axes[0].set_ylabel("transitions an arc")
    _legend(figure, axes[0])


def _legend(figure: Figure, ax: Axes, *more: Any) -> None:
    handles, names = ax.get_legend_handles_labels()
    figure.legend(
        [*handles, *more], [*names, *(line.get_label() for line in more)], loc="outside lower center", ncols=3
    )


def _course(ax: Axes, theme: Theme, steps: NDArray[np.int64], values: Floats, theory: Floats | None = None) -> None:
    """One line a layer against the step, on logarithmic axes that hold step 0."""
    first = int(steps[1])
    layers = values.shape[2]
    for i, colour in enumerate(drawing.ramp(layers, theme)):
        mean, bars = geometric(values[:, :, i])
        drawing.measured(ax, steps, mean, bars, colour=colour, mark=drawing.MARKS[i], label=f"layer {i + 1}", line=True)
        if theory is not None:
            drawing.theory(ax, [-0.45 * first, 0.3 * first], [theory[i]] * 2, colour=colour, style="--")
    step_axis(ax, steps)
    plain_log(ax)


def draw_growth(figure: Figure, theme: Theme, course: Course, label: str) -> None:
    """Length and transitions against the layer, one line a checkpoint."""
    left, right = figure.subplots(1, 2)
    at = np.arange(1, course.near.shape[2] + 1)
    chosen = np.unique(np.linspace(0, len(course.steps) - 1, 4).round().astype(int))
    for i, colour in zip(chosen, drawing.ramp(len(chosen), theme), strict=True):
        step = f"step {course.steps[i]:,}"
        mark = drawing.MARKS[int(np.flatnonzero(chosen == i)[0])]
        for ax, values in ((left, course.near), (right, course.near_transitions)):
            mean, bars = geometric(values[:, i])
            drawing.measured(ax, at, mean, bars, colour=colour, mark=mark, label=step, line=True)
    drawing.theory(left, at, course.theory, colour=theme.ink, style="--", label="theory, step 0")
    for ax, words in ((left, "length / that of the arc"), (right, "transitions an arc")):
        drawing.whole_axis(ax, at.tolist())
        ax.set_xlabel("hidden layer")
        ax.set_ylabel(words)
        plain_log(ax)
    left.set_title(label)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
