"""Figure of local complexities. It takes the result and returns the axes it drew on."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from netfold.arguments import checked
from netfold.plots.axes import axes_or_new, caption, layer_ticks
from netfold.plots.themes import LIGHT, Theme
from netfold.results.base import counted
from netfold.results.complexity import LocalComplexity


@checked
def by_layer(result: LocalComplexity, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the share of every layer's units that change their state near a point, with two standard errors.

    Args:
        result: the result.
        ax: where to draw; a new figure by default.
        theme: colours.

    Returns:
        The axes drawn on.
    """
    ax = axes_or_new(ax)
    at = np.arange(1, len(result.layers) + 1)
    units = np.array([layer.units for layer in result.layers])
    mean, error = 100 * result.mean / units, 200 * np.nan_to_num(result.error) / units
    ax.errorbar(at, mean, error, marker="o", markersize=6, capsize=3, linewidth=1.4, color=theme.main)
    layer_ticks(ax, at.tolist(), [layer.label for layer in result.layers])
    ax.set_xlim(0.5, len(at) + 0.5)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layer")
    ax.set_ylabel("units that change their state (%)")
    where = f"{counted(len(result.counts), 'point')}: radius {result.radius:g}, {2 * result.directions} vertices"
    caption(ax, f"units whose state is not the same at all vertices around {where}; bars: two standard errors")
    ax.grid(axis="y")
    return ax
