"""Figures of training-time results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from netfold.arguments import checked
from netfold.errors import InvalidInputError
from netfold.plots.axes import _plain_log_ticks, axes_or_new, caption, layer_ticks, short
from netfold.plots.themes import LIGHT, Theme
from netfold.results.intervals import half_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from netfold.training.history import History
    from netfold.training.single_layer import SingleLayerTraining

LABELS = {
    "length": "length / that of the path",
    "growth": "growth of length",
    "transitions": "state switches a path",
    "regions": "activation regions a path",
    "local_complexity": "units switching nearby",
    "dead": "share of units dead",
    "saturated": "share of units saturated",
    "effective_rank": "effective rank",
    "sensitivity": "metric lost, layer perturbed",
}


@checked
def single_layer(result: SingleLayerTraining, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw accuracy against the layer that was trained alone; bars are 95% intervals over seeds (Student's t)."""
    ax = axes_or_new(ax)
    at = np.arange(1, len(result.layers) + 1)
    looks = [("train", result.train, 0, theme.other, "s"), ("test", result.test, 1, theme.main, "o")]
    for name, values, part, colour, marker in looks:
        if np.isnan(values).all():
            continue
        shift = -0.06 if part == 0 else 0.06
        mean, half = values.mean(1), np.nan_to_num(half_width(values))
        ends = np.stack([np.minimum(half, mean), np.minimum(half, 1 - mean)])  # an accuracy lies between 0 and 1
        ax.errorbar(at + shift, mean, ends, fmt=marker, color=colour, capsize=3, label=name)
        ax.axhline(result.untrained[part].mean(), color=colour, linewidth=1, linestyle=":", label=f"untrained, {name}")
        if not np.isnan(result.whole[part]).all():
            ax.axhline(
                result.whole[part].mean(),
                color=colour,
                linewidth=1,
                linestyle=(0, (5, 3)),
                label=f"all trained, {name}",
            )
    layer_ticks(ax, at.tolist(), result.layers)
    ax.set_xlim(0.5, len(at) + 0.5)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("the one layer that was trained")
    ax.set_ylabel(f"accuracy, mean of {len(result.seeds)} seeds")
    caption(ax, "all other layers as they started; bars: 95% intervals over seeds", 56)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return ax


@checked
def history(result: History, theme: Theme = LIGHT) -> Figure:
    """Draw every measure against the step, one panel a group, two in a row; one line a layer, dark (input) to light."""
    import matplotlib.pyplot as plt
    from matplotlib import colormaps

    groups = result.groups
    if not groups:
        raise InvalidInputError("the history is empty: nothing was measured yet")
    names = list(groups)
    pairs: list[list[Any]] = [[*names[i : i + 2], names[i]][:2] for i in range(0, len(names), 2)]  # an odd one is wide
    size = (6.4, 3.4) if len(names) == 1 else (8.4, 2.5 * len(pairs) + 0.3)
    figure, axes = plt.subplot_mosaic(pairs, figsize=size, sharex=True, layout="constrained")
    for group, parts in groups.items():
        ax = axes[group]
        colours = colormaps[theme.ramp](np.linspace(0.0, 0.88, len(parts)))
        for part, colour in zip(parts, colours, strict=True):
            values = result[f"{group}/{part}" if part else group]
            ax.plot(
                result.steps, values, "o-", markersize=3, linewidth=1.4, color=colour, label=short(part, 24) or None
            )
        ax.set_ylabel(LABELS.get(group, group.replace("_", " ")))
        if group in ("length", "growth"):
            ax.set_yscale("log")
            _plain_log_ticks(ax)
        else:
            ax.locator_params(axis="y", integer=group in ("regions", "transitions"))
        if parts != [""] and len(parts) <= 14:
            ax.legend(fontsize=7, ncols=-(-len(parts) // 7), handlelength=1.2, borderaxespad=0.3, framealpha=0.7)
    for name in names[-2 - len(names) % 2 :]:
        axes[name].set_xlabel("training step")
        axes[name].tick_params(labelbottom=True)
    return figure
