"""Figure of units' states. It takes the result and returns the axes it drew on."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from netfold.arguments import checked
from netfold.plots.axes import axes_or_new, caption, short
from netfold.plots.themes import COLOURS, LIGHT, Theme
from netfold.results.units import STATES, Units


@checked
def states(result: Units, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the share of every layer's units in each state; what was seen, but not proved, is hatched.

    Args:
        result: the result.
        ax: where to draw; a new figure by default.
        theme: colours.

    Returns:
        The axes drawn on.
    """
    ax = axes_or_new(ax)
    at = np.arange(len(result.layers))
    colours = dict(zip(STATES, (COLOURS[1], COLOURS[2], COLOURS[5], theme.grid), strict=True))
    left = np.zeros(len(at))
    for number, state in enumerate(STATES):
        for proved in (True, False):
            chosen = (result.units.state == number) & (result.units.proved == proved)
            share = np.array([100 * chosen[result.units.layer == n].mean() for n in result.numbers] if len(at) else [])
            if not share.any():
                continue
            ax.barh(
                at, share, left=left, color=colours[state], edgecolor=theme.muted, linewidth=0.6,
                hatch="" if proved else "///", label=state if proved else f"{state}, seen",
            )  # fmt: skip
            left += share
    ax.set_yticks(at, [short(layer.label, 26) for layer in result.layers])
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("units of the layer (%)")
    where = f"on {result.where}" if result.ranks else f"over a {result.where}"
    caption(
        ax, f"{where}: dead, on and saturated units keep one linear piece, free ones do not; hatched: seen, not proved"
    )
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=4, frameon=False)
    return ax
