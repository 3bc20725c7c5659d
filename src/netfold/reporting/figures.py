"""The figures of a report, drawn in both themes and described in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from netfold.plots import bound, traces
from netfold.plots.axes import short
from netfold.plots.pages import Drawn, drawn
from netfold.plots.themes import Theme
from netfold.reporting import pictures, planes, sensitivity
from netfold.reporting.example import Picture
from netfold.reporting.gather import ReportData

WIDTH = 6.4
"""Inches; at 600 pixels of page width, 11-point type is then 13 pixels high."""


Draw = Callable[[ReportData, Theme], Figure]


def draw_all(data: ReportData) -> dict[str, Drawn]:
    """Every figure that the data allow, by name."""
    draws: dict[str, Draw] = {
        "length": _length,
        "transitions": _transitions,
    }
    if data.bound is not None:
        draws["bound"] = _bound
    if data.example is not None:
        draws |= {"path": _path, "pictures": _pictures}
    if data.slice is not None:
        draws["slice"] = _slice
    if data.sensitivity is not None:
        draws["sensitivity"] = _sensitivity
    return {name: drawn(partial(draw, data)) for name, draw in draws.items()}


def _length(data: ReportData, theme: Theme) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.9))
    theory, spread = data.theory.lengths or (None, None)
    traces.by_layer(_groups(data), "length", theory, spread, figure.subplots(), theme)
    return figure


def _transitions(data: ReportData, theme: Theme) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.9))
    traces.by_layer(_groups(data), "transitions", data.theory.transitions, None, figure.subplots(), theme)
    return figure


def _slice(data: ReportData, theme: Theme) -> Figure:
    assert data.slice is not None
    return planes.draw(data.slice, WIDTH, theme, data.story.classes)


def _sensitivity(data: ReportData, theme: Theme) -> Figure:
    assert data.sensitivity is not None
    return sensitivity.draw(data.sensitivity, WIDTH, theme)


def _groups(data: ReportData) -> dict[str, Any]:
    if data.initial is None:
        return {"": data.trained}
    return {"after training": data.trained, "before training": data.initial}


def _path(data: ReportData, theme: Theme) -> Figure:
    shown = data.example
    assert shown is not None
    rows = 0.34 * (min(len(traces.shown_layers(shown.trace)), 40) + 1)
    above = 0.95 if shown.image is not None else 0.0
    figure = Figure(figsize=(WIDTH, rows + above + 0.6))
    ax = figure.subplots()
    traces.breakpoints(shown.trace, ax, theme, data.story.classes)
    if shown.image is not None:
        ax.set_title("", loc="left")  # the pictures stand there, and the page has the rule below
        pictures.strip(shown.start, shown.end, shown.image, ax, above / rows)
        ax.set_xlim(-0.075, 1.075)
    return figure


def _pictures(data: ReportData, theme: Theme) -> Figure:
    shown = data.example
    assert shown is not None
    chosen = _spread_out(len(shown.pictures))
    sets = [("after training", shown.pictures, shown.t)]
    if shown.initial_pictures:
        sets.append(("before training", shown.initial_pictures, shown.initial_t))
    columns = min(len(chosen), 3 if len(sets) == 1 else 5)
    bands = math.ceil(len(chosen) / columns)
    height = bands * (pictures.PANEL * WIDTH / columns + 0.5) + 0.3
    figure = Figure(figsize=(WIDTH, len(sets) * height))
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(sets), 1), object))
    for part, (title, images, t) in zip(parts, sets, strict=True):
        if len(sets) > 1:
            part.suptitle(title, x=0.01, ha="left", fontsize=11, color=theme.muted)
        axes = np.atleast_1d(part.subplots(bands, columns)).ravel()
        for ax, which in zip(axes, chosen, strict=False):
            pictures.picture(images[which], t, ax, theme)
            ax.set_title(_title(images[which]), fontsize=10, loc="center")
        for ax in axes[len(chosen) :]:
            ax.set_axis_off()
    return figure


def _title(shown: Picture) -> str:
    return f"{short(shown.name, 20)}\nlength ×{shown.length:.3g}"


def _spread_out(count: int, most: int = 5) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})


def _bound(data: ReportData, theme: Theme) -> Figure:
    assert data.bound is not None
    figure = Figure(figsize=(WIDTH, 2.9))
    bound.bound(data.trained, data.bound, figure.subplots(), theme, "this network, one line: found (mean)")
    return figure
