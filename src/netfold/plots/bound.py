"""The bound on regions beside what a path met."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from netfold.formats import power
from netfold.plots.axes import axes_or_new
from netfold.plots.themes import LIGHT, Theme
from netfold.results.trace_estimates import TraceEstimates
from netfold.results.traces import Traces


@dataclass(frozen=True)
class BoundOfRegions:
    """The bound of Raghu et al. 2017, Theorem 1, for one network, as base-10 logarithms.

    Attributes:
        inputs: input dimension m.
        units: units in all layers together.
        on_a_line: activation regions that any weights could make on a line, U(n, k, 1).
        over_all_inputs: the same over all inputs, U(n, k, m); ``None`` where that is too large to evaluate.
    """

    inputs: int
    units: int
    on_a_line: float
    over_all_inputs: float | None


def bound(
    traces: Traces | TraceEstimates,
    limit: BoundOfRegions,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
    name: str = "found",
) -> Axes:
    """Draw the regions found on lines beside the bound, as powers of ten.

    Args:
        traces: the result.
        limit: the bound.
        ax: where to draw; a new figure by default.
        theme: colours.
        name: what the first row says of where the regions were found.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    regions = np.array([getattr(trace.regions, "value", trace.regions) for trace in traces], np.float64)
    rows = [
        (name, float(np.log10(regions.mean())), theme.main, "o"),
        ("any weights, one line: U(n, k, 1)", limit.on_a_line, theme.other, "s"),
    ]
    if limit.over_all_inputs is not None:
        rows.append((f"any weights, all inputs: U(n, k, {limit.inputs:,})", limit.over_all_inputs, theme.other, "D"))
    end = max(value for _, value, _, _ in rows)
    for row, (label, value, colour, marker) in enumerate(rows):
        at = len(rows) - row
        ax.plot([0, value], [at, at], color=colour, linewidth=2.5, alpha=0.45)
        ax.plot(value, at, marker, color=colour, markersize=8, clip_on=False)
        ax.text(0, at + 0.22, label, ha="left", va="bottom")
        ax.annotate(power(value), (value, at), (9, 0), textcoords="offset points", va="center", color=theme.ink)
    ax.set_xlim(0, end * 1.22)
    ax.set_ylim(0.5, len(rows) + 0.75)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("activation regions, as a power of ten (log$_{10}$)")
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    return ax
