"""Figures of sensitivities. Every function takes a result and returns the axes it drew on."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from netfold.plots.axes import axes_or_new, short
from netfold.plots.themes import LIGHT, Theme
from netfold.sensitivity.dichotomies import Dichotomies
from netfold.sensitivity.result import Effect, Sensitivity

MARKERS = "osD^vPX<>h"


def plot(found: Sensitivity, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the metric against the strength, one line a layer (as figure 6 of the paper); or against the layer.

    Args:
        found: the result.
        ax: where to draw; a new figure by default.
        theme: colours.

    Returns:
        The axes drawn on.
    """
    return curves(found, ax, theme) if len(found.strengths) > 1 else by_layer(found, ax, theme)


def curves(found: Sensitivity, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """The metric against the strength, one line a layer from the input (dark) to the output (light); bars are 95%."""
    ax = axes_or_new(ax)
    colours = colormaps[theme.ramp](np.linspace(0.0, 0.88, len(found.layers)))
    order = np.argsort(found.strengths)
    # side by side, so that bars do not cover each other
    apart = 0.02 * np.ptp(found.strengths) / max(len(found.layers) - 1, 1)
    for i, layer in enumerate(found.layers):
        measured = (found.effect[i] == Effect.MEASURED).any()
        ax.errorbar(
            found.strengths[order] + (i - (len(found.layers) - 1) / 2) * apart,
            found.mean[i, order],
            yerr=np.nan_to_num(found.interval[i, order]),
            color=colours[i] if measured else theme.muted,
            marker=MARKERS[i % len(MARKERS)],
            linestyle="-" if measured else ":",
            markersize=4.5,
            linewidth=1.5,
            capsize=2,
            label=f"{i + 1}  {short(layer.name, 22)}" + ("" if measured else "  (no effect)"),
        )
    _clean_line(ax, found, theme)
    ax.set_xlabel("\n".join(textwrap.wrap(found.perturbation, 52)))
    ax.set_ylabel(f"{found.metric}, one layer perturbed")
    if len(found.layers) <= 14:
        ax.legend(title="layer", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    else:
        _depth_bar(ax, len(found.layers), theme)
    return ax


def by_layer(found: Sensitivity, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """The metric against the layer, at one strength; bars are 95%, hollow marks are layers without effect."""
    ax = axes_or_new(ax)
    at = np.arange(1, len(found.layers) + 1)
    measured = found.effect[:, 0] == Effect.MEASURED
    style: dict[str, Any] = {"linestyle": "none", "capsize": 3, "markersize": 6}
    mean, half = found.mean[:, 0], np.nan_to_num(found.interval[:, 0])
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
    _clean_line(ax, found, theme)
    names = [short(layer.name, 16) for layer in found.layers]
    every = -(-len(at) // 24)
    tilted = len(at) > 5
    ax.set_xticks(at[::every], names[::every], rotation=45 if tilted else 0, ha="right" if tilted else "center")
    ax.set_xlim(0.5, len(at) + 0.5)
    strength = "" if np.isnan(found.strengths[0]) else f" at {found.strengths[0]:g}"
    ax.set_title("\n".join(textwrap.wrap(f"{found.perturbation}{strength}", 64)))
    ax.set_ylabel(f"{found.metric}, one layer perturbed")
    ax.set_xlabel("layer perturbed")
    ax.legend()
    return ax


def dichotomies(found: Dichotomies, ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the number of labellings against the remaining depth, one mark a sweep, with the ceiling."""
    ax = axes_or_new(ax)
    depth, style = np.repeat(found.remaining_depth, found.counts.shape[1]), {"color": theme.main}
    ax.semilogy(depth, found.counts.ravel(), "o", alpha=0.45, markersize=5, label="one sweep", **style)
    order = np.argsort(found.remaining_depth)
    mean = np.exp(np.log(found.counts).mean(1))
    ax.semilogy(found.remaining_depth[order], mean[order], "-", label="geometric mean", **style)
    ax.axhline(found.ceiling, color=theme.ink, linestyle=(0, (5, 3)), label=f"ceiling, {found.ceiling:,}")
    ax.set_xticks(np.unique(found.remaining_depth))
    ax.set_xlabel("remaining depth (nonlinearities behind the swept layer)")
    ax.set_ylabel(f"labellings of {found.inputs} inputs")
    ax.legend()
    return ax


def _clean_line(ax: Axes, found: Sensitivity, theme: Theme) -> None:
    ax.axhline(found.clean, color=theme.ink, linestyle=(0, (5, 3)), linewidth=1.3, label=f"as it is, {found.clean:.3g}")


def _depth_bar(ax: Axes, count: int, theme: Theme) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    ramp = ListedColormap(colormaps[theme.ramp](np.linspace(0.0, 0.88, 256)))
    ax.figure.colorbar(ScalarMappable(Normalize(1, count), ramp), ax=ax, label="layer, from the input")
