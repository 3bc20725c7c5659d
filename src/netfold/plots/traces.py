"""Figures of results. Every function takes results, never models, and returns the axes it drew on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from netfold.arguments import checked
from netfold.plots.axes import _on, _plain_log_ticks, axes_or_new, caption, class_colours, layer_ticks, short
from netfold.plots.themes import LIGHT, Theme
from netfold.results.base import counted
from netfold.results.intervals import estimate
from netfold.results.trace import Trace
from netfold.results.trace_estimate import TraceEstimate
from netfold.results.traces import Traces

LABELS = {
    "length": "length relative to the path",
    "growth": "growth of length in the layer",
    "transitions": "transitions per path (state switches)",
    "regions": "activation regions up to the layer",
}

RULES = {
    "length": "Euclidean length of the path's image after every layer",
    "growth": "Euclidean length of the path's image over that in the layer before",
    "transitions": "changes of a unit's state, over all units of the layer",
    "sign_transitions": "crossings of 0 by a pre-activation, over all units of the layer",
    "regions": "maximal stretches on which all units up to the layer keep their state",
}
"""What was counted, for captions."""

THEORY = "theory, random weights"

AROUND = {
    "Line": "on the line, from x0 to x1",
    "Arc": "on the arc, from x0 to x1",
    "Circle": "around the circle, once",
    "Polyline": "along the polyline",
    "Curve": "along the curve",
}
"""What t runs along, by the kind of path."""

NAMED = 0.045
"""Share of a path from which on a stretch has room for the name of its class."""

MOST_DRAWN = 4000
"""Marks beyond which a figure holds pixels in place of shapes, so that a page stays small."""


@checked
def by_layer(
    groups: Mapping[str, Traces],
    measure: str,
    theory: NDArray[np.float64] | None = None,
    spread: NDArray[np.float64] | None = None,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw a measure layer by layer: paths as faint marks, the mean with its 95% interval, theory as a line.

    Lengths are relative to the input path's, on a logarithmic axis, like growth.

    Args:
        groups: traces by the name they have in the legend; the first is drawn in the main colour.
        measure: ``length``, ``growth``, ``transitions`` or ``regions``.
        theory: expected values, one a layer (for ``length`` with the input, layer 0).
        spread: standard deviation around ``theory``.
        ax: where to draw; a new figure by default.
        theme: colours.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    random = np.random.default_rng(0)
    looks = [(theme.main, "o"), (theme.other, "s"), (theme.classes[2], "D")]
    for number, (name, traces) in enumerate(groups.items()):
        colour, marker = looks[number % len(looks)]
        at, values = _values(traces, measure)
        shift = (number - (len(groups) - 1) / 2) * (0.26 if len(groups) > 1 else 0)
        jitter = random.uniform(-0.07, 0.07, values.shape)
        ax.plot(
            (at + shift + jitter).ravel(),
            values.ravel(),
            marker,
            color=colour,
            markersize=2.5,
            alpha=0.28,
            markeredgewidth=0,
            zorder=1,
            rasterized=values.size > MOST_DRAWN,
        )
        found = [estimate(values[:, i], geometric=measure in ("length", "growth")) for i in range(len(at))]
        mean, low, high = (np.array([f[key] for f in found]) for key in ("mean", "low", "high"))
        bars = np.nan_to_num(np.stack([mean - low, high - mean]))
        ax.errorbar(at + shift, mean, bars, color=colour, marker=marker, label=name or None, **_MEANS, zorder=4)
    if theory is not None:
        at, _ = _values(next(iter(groups.values())), measure)
        _theory(ax, at[: len(theory)], theory, spread, theme)
    if measure in ("length", "growth"):
        ax.set_yscale("log")
        _plain_log_ticks(ax)
    else:
        ax.set_ylim(bottom=0)
    _layer_ticks(ax, next(iter(groups.values()))[0], measure)
    ax.set_ylabel(LABELS[measure])
    ax.grid(axis="y", zorder=0)
    if any(groups) or theory is not None:
        handles, labels = ax.get_legend_handles_labels()
        last = [i for i, label in enumerate(labels) if label != THEORY] + [
            i for i, x in enumerate(labels) if x == THEORY
        ]
        ax.legend(
            [handles[i] for i in last],
            [labels[i] for i in last],
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=3,
            borderaxespad=0.2,
            columnspacing=1.4,
        )
    return ax


@checked
def of_layers(traces: Traces, measure: str = "transitions", ax: Axes | None = None) -> Axes:
    """Draw one measure layer by layer: the mean, its 95% interval, and every path behind it.

    Args:
        traces: the result.
        measure: ``length``, ``growth``, ``transitions`` or ``regions``.
        ax: where to draw; a new figure by default.

    Returns:
        The axes drawn on.
    """
    ax = by_layer({"": traces}, measure, ax=ax)
    how = "" if len(traces) < 2 else ", with its 95% interval; small marks: single paths"
    caption(ax, f"{RULES[measure]}; {'one path' if len(traces) < 2 else f'mean of {len(traces):,} paths'}{how}")
    return ax


_MEANS: dict[str, Any] = {
    "markersize": 6,
    "linewidth": 1.4,
    "elinewidth": 1.6,
    "capsize": 3.5,
    "linestyle": "-",
}


def shown_layers(trace: Trace) -> list[int]:
    """The layers that have a row in `breakpoints`."""
    sampled = trace.method == "sampled"
    return [n for n, layer in enumerate(trace.layers) if layer.transitions or layer.sign_transitions or not sampled]


@checked
def breakpoints(trace: Trace, ax: Axes | None = None, theme: Theme = LIGHT, classes: Sequence[str] = ()) -> Axes:
    """Draw where along t the regions change: one row a layer, a tick a breakpoint, the class in a band below.

    A breakpoint stands in the row of the first layer in which a unit changes its state there. Of a path that was
    sampled only layers in which some unit does have a row: normalisation and attention have no units with states.

    Args:
        trace: the result.
        ax: where to draw; a new figure by default.
        theme: colours.
        classes: names of the classes; their numbers by default.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    shown = shown_layers(trace)
    count = len(shown)
    for number, layer in enumerate(shown):
        at = trace.breakpoints[trace.breakpoint_layers == layer]
        row = count - number
        # One broken line instead of many: a page of ten thousand ticks stays small.
        x = np.repeat(at, 3)
        y = np.tile([row - 0.36, row + 0.36, np.nan], len(at))
        ax.plot(
            x,
            y,
            color=theme.main,
            linewidth=1.3 if len(at) < 300 else 0.5,
            rasterized=len(at) > MOST_DRAWN,
            label=f"_{layer}",
        )
    edges = np.concatenate([[0.0], trace.output.class_changes, [1.0]])
    colours = class_colours(trace.output.classes, theme)
    for left, right, label in zip(edges[:-1], edges[1:], trace.output.classes, strict=True):
        ax.barh(0, right - left, left=left, height=0.72, color=colours[int(label)], edgecolor=theme.paper)
        if right - left > NAMED:
            name = str(classes[int(label)]) if label < len(classes) else str(label)
            ax.text(
                (left + right) / 2,
                0,
                name,
                ha="center",
                va="center",
                fontsize=10,
                color=_on(colours[int(label)]),
            )
    names = [short(trace.layers[layer].label, 26) for layer in shown]
    rows = list(range(0, count, max(-(-count // 24), 1)))
    ax.set_yticks([count - i for i in rows] + [0], [names[i] for i in rows] + ["class"])
    ax.set_ylim(-0.55, count + 0.55)
    ax.set_xlim(-0.005, 1.005)
    ax.spines["bottom"].set_bounds(0, 1)
    for side in ("left", "top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_xlabel(
        f"position t {AROUND.get(trace.provenance.get('path', ''), 'on the path, from its start to its end')}"
    )
    ax.tick_params(axis="y", length=0)
    regions = counted(trace.regions, "activation region")
    tick = (
        "what a unit's nonlinearity reads changes its sign"
        if trace.method == "sampled"
        else "a unit of the layer changes its state"
    )
    caption(ax, f"{regions} ({trace.method}); a tick: {tick}")
    _class_key(ax, edges, trace.output.classes, colours, classes)
    return ax


def _class_key(
    ax: Axes, edges: NDArray[np.float64], labels: NDArray[np.int64], colours: Mapping[int, str], classes: Sequence[str]
) -> None:
    """A legend of the classes whose stretches are all too narrow for their name."""
    widths = np.diff(edges)
    narrow = [label for label in colours if (widths[labels == label] <= NAMED).all()]
    if narrow:
        names = [str(classes[label]) if label < len(classes) else str(label) for label in narrow]
        handles = [Patch(color=colours[label]) for label in narrow]
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
        ax.legend(handles, names, title="class", fontsize="small", **place)


@checked
def estimated(
    result: TraceEstimate,
    measure: Literal["transitions", "sign_transitions", "length"] = "transitions",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw an estimate layer by layer with its intervals, and below what was seen, the certain lower bound.

    Args:
        result: the result.
        measure: ``transitions``, ``sign_transitions`` or ``length``.
        ax: where to draw; a new figure by default.
        theme: colours.

    Returns:
        The axes drawn on.

    Raises:
        InvalidInputError: there is no such measure.
    """
    ax = axes_or_new(ax)
    lengths = measure == "length"
    numbers = result.lengths if lengths else getattr(result, measure)
    value, low, high, least = np.array([(n.value, n.low, n.high, n.at_least) for n in numbers]).reshape(-1, 4).T
    at = np.arange(len(numbers)) + (0 if lengths else 1)
    bars = np.stack([value - low, high - value])
    percent = f"{100 * result.confidence:g}% interval"
    if not result.exact:
        ax.plot(at, least, "_", color=theme.other, markersize=9, label="at least", zorder=3)
    ax.errorbar(at, value, bars, color=theme.main, marker="o", label="exact" if result.exact else percent, **_MEANS)
    ax.set_ylim(0, 1.05 * high.max(initial=1e-9))
    names = ["input", *(layer.label for layer in result.layers), result.output_label]
    layer_ticks(ax, at.tolist(), names if lengths else names[1:-1])
    ax.set_xlabel("layer")
    unit = "length of the image (units of the layer)" if lengths else LABELS["transitions"]
    ax.set_ylabel("sign transitions per path" if measure == "sign_transitions" else unit)
    caption(ax, f"{RULES[measure]}; {result.regions} activation regions")
    ax.grid(axis="y", zorder=0)
    ax.legend()
    return ax


def _values(traces: Traces, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions on the layer axis, and the values of all paths there."""
    values = traces.values(measure)
    if measure == "length":
        return np.arange(values.shape[1]), values / values[:, :1]
    return np.arange(1, values.shape[1] + 1), values


def _theory(
    ax: Axes,
    at: NDArray[np.float64],
    theory: NDArray[np.float64],
    spread: NDArray[np.float64] | None,
    theme: Theme,
) -> None:
    ax.plot(at, theory, linestyle=(0, (5, 3)), color=theme.ink, linewidth=1.6, label=THEORY, zorder=3)
    if spread is not None:
        low, high = np.maximum(theory - spread, theory * 1e-3), theory + spread
        ax.fill_between(at, low, high, color=theme.ink, alpha=0.1, linewidth=0, zorder=0)


def _layer_ticks(ax: Axes, trace: Trace, measure: str) -> None:
    count = len(trace.layers)
    named = count <= 7
    first, last = int(measure != "length"), count + int(measure in ("length", "growth"))
    at = list(range(first, last + 1))
    if named:
        layer_ticks(ax, at, trace.labels[first : last + 1])
    else:
        every = -(-len(at) // 9)
        ax.set_xticks(at[::every], ["input" if i == 0 else "output" if i > count else f"{i}" for i in at[::every]])
    ax.set_xlim(at[0] - 0.5, at[-1] + 0.5)
    ax.set_xlabel("layer")
