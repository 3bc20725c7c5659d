"""The example path in pictures: its images in two dimensions, and the inputs along it."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from netfold.plots.axes import axes_or_new
from netfold.plots.themes import LIGHT, Theme
from netfold.reporting.example import Picture


def picture(shown: Picture, t: NDArray[np.float64], ax: Axes | None = None, theme: Theme = LIGHT) -> Axes:
    """Draw the image of a path in its two principal components, coloured by t from start to end.

    A bar in the corner is as long as the input path, to show how much longer the image is; it is left out
    where the image is less than a fifth of it.

    Args:
        shown: the image, and ``t`` the parameters of its vertices.
        t: of the vertices.
        ax: where to draw; a new figure by default.
        theme: colours.

    Returns:
        The axes, with equal scales and no ticks.
    """
    ax = axes_or_new(ax)
    xy = shown.xy
    shade = np.minimum(t[:-1] * SHADES, SHADES - 1).astype(np.int64)
    ends = np.concatenate([[0], np.flatnonzero(np.diff(shade)) + 1, [len(t) - 1]])
    pieces = [xy[a : b + 1] for a, b in itertools.pairwise(ends)]
    line = LineCollection(pieces, cmap=theme.ramp, array=(shade[ends[:-1]] + 0.5) / SHADES, linewidths=2.4)
    line.set_clim(0, 1)
    line.set_capstyle("round")
    line.set_joinstyle("round")
    ax.add_collection(line)
    ax.plot(*xy[0], "o", color=theme.paper, markeredgecolor=theme.ink, markersize=6.5)
    ax.plot(*xy[-1], "s", color=theme.ink, markersize=5.5)
    low, high = xy.min(0), xy.max(0)
    half = 0.58 * max(high[0] - low[0], (high[1] - low[1]) / PANEL, 1e-12)
    half = max(half, min(shown.path_length / 1.9, 3 * half))
    middle, bottom = (low + high) / 2, (low[1] + high[1]) / 2 - half * PANEL
    ax.set_xlim(middle[0] - half, middle[0] + half)
    ax.set_ylim(bottom, bottom + 2 * half * PANEL)
    ax.set_aspect("equal")
    left = middle[0] - 0.95 * half
    if shown.path_length <= 1.9 * half * (1 + 1e-9):
        ax.plot(
            [left, left + shown.path_length],
            [bottom + 0.09 * half] * 2,
            color=theme.muted,
            linewidth=3,
            solid_capstyle="butt",
        )
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(theme.grid)
    return ax


SHADES = 48
"""Colours along t in a `picture`."""

PANEL = 0.62
"""Height of a `picture` over its width."""


def strip(
    start: NDArray[np.float64], end: NDArray[np.float64], shape: tuple[int, int, int], ax: Axes, height: float
) -> None:
    """Draw inputs at even steps along a line above an axis of t, as pictures on one grey or colour scale.

    Args:
        start: first input, and ``end`` the second, with channels first where there are several.
        end: second input.
        shape: height, width and channels.
        ax: axes whose horizontal axis is t.
        height: of the pictures, as a fraction of the axes' height.
    """
    rows, columns, channels = shape
    low, high = min(start.min(), end.min()), max(start.max(), end.max())
    for t in np.linspace(0, 1, 7):
        point = ((1 - t) * start + t * end).reshape(channels, rows, columns)
        shown = np.moveaxis((point - low) / max(high - low, 1e-12), 0, -1)
        place = (t - 0.07, 1.02, 0.14, height)
        inset = ax.inset_axes(place, transform=ax.get_xaxis_transform())
        inset.imshow(shown[..., 0] if channels == 1 else shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        inset.set_xticks([])
        inset.set_yticks([])
        for spine in inset.spines.values():
            spine.set_visible(False)
