"""Figures of sensitivities. Every function takes a result and returns the axes it drew on."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from netfold.arguments import checked
from netfold.plots.axes import _plain_log_ticks, axes_or_new, caption, layer_ticks, short
from netfold.plots.themes import LIGHT, Theme
from netfold.sensitivity.dichotomies import Dichotomies
from netfold.sensitivity.planned import BitPlan
from netfold.sensitivity.result import Effect, Sensitivity

MARKERS = "osD^vPX<>h"
BARS = "bars: 95% intervals"


@checked
def plot(result: Sensitivity, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the metric against the strength, one line a layer (as figure 6 of the paper); or against the layer.

    Args:
        result: the result.
        ax: where to draw; a new figure by default.
        theme: colours.

    Returns:
        The axes drawn on.
    """
    return curves(result, ax, theme) if len(result.strengths) > 1 else by_layer(result, ax, theme)


def curves(result: Sensitivity, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """The metric against the strength, one line a layer from the input (dark) to the output (light); bars are 95%."""
    ax = axes_or_new(ax)
    colours = colormaps[theme.ramp](np.linspace(0.0, 0.88, len(result.layers)))
    order = np.argsort(result.strengths)
    # side by side, so that bars do not cover each other
    apart = 0.02 * np.ptp(result.strengths) / max(len(result.layers) - 1, 1)
    for i, layer in enumerate(result.layers):
        measured = (result.effect[i] == Effect.MEASURED).any()
        ax.errorbar(
            result.strengths[order] + (i - (len(result.layers) - 1) / 2) * apart,
            result.mean[i, order],
            yerr=np.nan_to_num(result.interval[i, order]),
            color=colours[i] if measured else theme.muted,
            marker=MARKERS[i % len(MARKERS)],
            linestyle="-" if measured else ":",
            markersize=4.5,
            linewidth=1.5,
            capsize=2,
            label=short(layer.label, 30) + ("" if measured else " (no effect)"),
        )
    _clean_line(ax, result, theme)
    ax.set_xlabel("\n".join(textwrap.wrap(result.perturbation, 52)))
    caption(ax, f"{BARS}; all other layers as they are", 52)
    ax.set_ylabel(f"{result.metric}, one layer perturbed")
    if len(result.layers) <= 14:
        ax.legend(title="layer", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    else:
        _depth_bar(ax, len(result.layers), theme)
    return ax


def by_layer(result: Sensitivity, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """The metric against the layer, at one strength; bars are 95%, hollow marks are layers without effect."""
    ax = axes_or_new(ax)
    at = np.arange(1, len(result.layers) + 1)
    measured = result.effect[:, 0] == Effect.MEASURED
    style: dict[str, Any] = {"linestyle": "none", "capsize": 3, "markersize": 6}
    mean, half = result.mean[:, 0], np.nan_to_num(result.interval[:, 0])
    ax.errorbar(at[measured], mean[measured], half[measured], marker="o", color=theme.main, **style)
    if not measured.all():
        ax.plot(
            at[~measured],
            mean[~measured],
            "o",
            markerfacecolor="none",
            color=theme.muted,
            label="no effect, so not known",
        )
    _clean_line(ax, result, theme)
    layer_ticks(ax, at.tolist(), [layer.label for layer in result.layers])
    ax.set_xlim(0.5, len(at) + 0.5)
    strength = "" if np.isnan(result.strengths[0]) else f" at {result.strengths[0]:g}"
    caption(ax, f"{result.perturbation}{strength}; {BARS}; all other layers as they are")
    ax.set_ylabel(f"{result.metric}, one layer perturbed")
    ax.set_xlabel("layer perturbed")
    ax.legend()
    return ax


@checked
def bit_plan(result: BitPlan, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the bits of every layer, with the plan's mean and the uniform plan as lines."""
    ax = axes_or_new(ax)
    at = np.arange(1, len(result.layers) + 1)
    direct = np.array([layer.direct for layer in result.layers])
    bits = np.array([layer.bits for layer in result.layers])
    ax.bar(at[direct], bits[direct], color=theme.main, label="loss measured")
    if not direct.all():
        ax.bar(at[~direct], bits[~direct], color=theme.muted, label="loss by score")
    ax.axhline(
        result.mean_bits, color=theme.ink, linestyle=(0, (5, 3)), label=f"mean over weights, {result.mean_bits:.3g}"
    )
    layer_ticks(ax, at.tolist(), [layer.label for layer in result.layers])
    ax.set_xlim(0.4, len(at) + 0.6)
    ax.set_ylabel("bits a weight")
    ax.set_xlabel("layer")
    caption(ax, str(result).removeprefix("BitPlan: "))
    ax.legend()
    return ax


@checked
def dichotomies(result: Dichotomies, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the number of labellings against the remaining depth, one mark a sweep, with the ceiling."""
    ax = axes_or_new(ax)
    depth, style = np.repeat(result.remaining_depth, result.counts.shape[1]), {"color": theme.main}
    ax.semilogy(depth, result.counts.ravel(), "o", alpha=0.45, markersize=5, label="one sweep", **style)
    order = np.argsort(result.remaining_depth)
    mean = np.exp(np.log(result.counts).mean(1))
    ax.semilogy(result.remaining_depth[order], mean[order], "-", label="geometric mean", **style)
    highest = int(result.counts.max())
    if result.ceiling <= 10 * highest:
        ax.axhline(result.ceiling, color=theme.ink, linestyle=(0, (5, 3)), label=f"ceiling, {result.ceiling:,}")
    else:  # a line that far above would leave the counts no room
        ax.plot([], [], " ", label=f"ceiling, {result.ceiling:,}: far above")
    ax.set_xticks(np.unique(result.remaining_depth))
    _plain_log_ticks(ax)
    ax.set_xlabel("remaining depth (nonlinearities behind the swept layer)")
    ax.set_ylabel(f"labellings of {result.inputs} inputs")
    caption(ax, "distinct vectors of classes while the weights of one layer are swept, all others fixed")
    ax.legend()
    return ax


def _clean_line(ax: Axes, result: Sensitivity, theme: Theme) -> None:
    ax.axhline(
        result.clean, color=theme.ink, linestyle=(0, (5, 3)), linewidth=1.3, label=f"as it is, {result.clean:.3g}"
    )


def _depth_bar(ax: Axes, count: int, theme: Theme) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    ramp = ListedColormap(colormaps[theme.ramp](np.linspace(0.0, 0.88, 256)))
    layers = ScalarMappable(Normalize(1, count), ramp)
    ax.figure.colorbar(layers, ax=ax, label="layer, from the input", ticks=MaxNLocator(8, integer=True))
