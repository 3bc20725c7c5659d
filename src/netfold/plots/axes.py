"""Axes to draw on, short names, ticks and the colours of classes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from netfold.plots.themes import Theme

ARROW = " → "
"""Between the weights and the nonlinearity in the label of a layer."""


def class_colours(classes: NDArray[np.int64], theme: Theme) -> dict[int, str]:
    """A colour for every class on a path, in order of appearance; they repeat after the sixth."""
    seen = list(dict.fromkeys(int(label) for label in classes))
    return {label: theme.classes[i % len(theme.classes)] for i, label in enumerate(seen)}


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6.4, 4.0), layout="constrained")[1]


def caption(ax: Axes, text: str, letters: int = 84) -> None:
    """What was counted, in small lines of so many letters above the picture."""
    ax.set_title("\n".join(textwrap.wrap(text, letters)), fontsize="small")


def short(name: str, most: int = 12) -> str:
    """The end of a module path, or the ends of both sides of a label, short enough for a tick.

    Example:
        >>> short("encoder.layer.3.relu"), short("encoder.layer.3.dense → encoder.layer.3.relu", 27)
        ('…ayer.3.relu', '…yer.3.dense → …ayer.3.relu')
    """
    if len(name) <= most:
        return name
    weights, arrow, layer = name.partition(ARROW)
    if not arrow:
        return "…" + name[-(most - 1) :]
    left = min(len(weights), max(most // 2 - 1, most - len(ARROW) - len(layer)))
    return f"{short(weights, left)}{ARROW}{short(layer, max(most - len(ARROW) - left, 4))}"


def layer_ticks(ax: Axes, at: Sequence[float], labels: Sequence[str], most: int = 24) -> None:
    """Labels of layers along the horizontal axis: every one or every few, tilted where they need room."""
    every = -(-len(at) // most)
    shown = [short(label, 24) for label in labels[::every]]
    tilted = sum(map(len, shown)) > 45
    ax.set_xticks(at[::every], shown, rotation=40 if tilted else 0, ha="right" if tilted else "center",
                  rotation_mode="anchor" if tilted else "default")  # fmt: skip


def _plain_log_ticks(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = ax.get_ylim()
    if high / low < 1000:
        fine = LogLocator(subs=(1.0, 2.0, 5.0)) if high / low > 8 else MaxNLocator(5, steps=[1, 2, 5, 10])
        ax.yaxis.set_major_locator(fine)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def _on(colour: str) -> str:
    """Black or white, whichever has the higher contrast with a colour (WCAG 2)."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"
