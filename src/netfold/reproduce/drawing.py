"""How the figures are drawn: theory as lines, measurement as marks with 95% intervals, one colour and mark a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from netfold.plots.themes import RAMP, Theme

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Marks of series, so that colour is not all that tells them apart."""


def colours(count: int, theme: Theme) -> list[str]:
    """One colour a series for series without an order: Okabe and Ito's, as the theme has them."""
    known = [theme.main, theme.other, *(c for c in theme.classes if c not in (theme.main, theme.other))]
    return [known[i % len(known)] for i in range(count)]


def ramp(count: int, theme: Theme) -> list[str]:
    """One colour a series for series in an order (widths, strengths): dark to light, light to dark on a dark page."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    first, last = (0.0, 0.8) if theme.name == "light" else (1.0, 0.25)
    return [to_hex(colour) for colour in colormaps[RAMP](np.linspace(first, last, max(count, 1)))]


def measured(
    ax: Axes,
    x: ArrayLike,
    mean: ArrayLike,
    half: ArrayLike | None = None,
    *,
    colour: str,
    mark: str = "o",
    label: str | None = None,
    line: bool = False,
    size: float = 4.5,
) -> None:
    """Marks, with a 95% interval of ``mean`` plus and minus ``half`` where it is given.

    Args:
        ax: where to draw.
        x: where each mark stands.
        mean: the marks' heights, and ``half`` half their intervals.
        half: of the same shape.
        colour: of marks and intervals.
        mark: one of `MARKS`.
        label: of the series, for a legend.
        line: join the marks, for series without a theory to draw.
        size: of the marks.
    """
    ax.errorbar(
        x, mean, yerr=half, fmt=mark, color=colour, label=label, markersize=size, capsize=2.5, elinewidth=1.2,
        linestyle="-" if line else "none", linewidth=1.2,
    )  # fmt: skip


def theory(ax: Axes, x: ArrayLike, y: ArrayLike, *, colour: str, style: str = "-", label: str | None = None) -> None:
    """A line."""
    ax.plot(x, y, style, color=colour, linewidth=1.4, label=label, zorder=1)


def key(theme: Theme, **lines: Any) -> list[Any]:
    """Legend handles for styles of lines: ``key(theme, theory="-", bound="--")``; underscores become spaces."""
    return [Line2D([], [], linestyle=style, color=theme.ink, linewidth=1.4, label=name.replace("_", " "))
            for name, style in lines.items()]  # fmt: skip


def whole_axis(ax: Axes, values: Sequence[int], most: int = 12) -> None:
    """Ticks of the x axis at whole numbers."""
    ax.set_xticks(list(values)[:: max(1, -(-len(values) // most))])


def plain_ticks(ax: Axes, *, x: bool = False, y: bool = False) -> None:
    """Ticks of logarithmic axes at 1, 2 and 5 times powers of ten, written out; at powers alone over 3 decades."""
    for wanted, axis, (low, high) in ((x, ax.xaxis, ax.get_xlim()), (y, ax.yaxis, ax.get_ylim())):
        if wanted:
            axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def plain_log(ax: Axes) -> None:
    """A logarithmic y axis, its ticks written out: at 1, 2 and 5 times powers of ten, or fewer or more as fits.

    Call it when everything is drawn.
    """
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    wide = LogLocator(10, subs=(1.0, 2.0, 5.0) if high < 1000 * low else (1.0,))
    ax.yaxis.set_major_locator(wide if high > 8 * low else MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def step_axis(ax: Axes, steps: NDArray[np.int64], every: int = 2) -> None:
    """A logarithmic axis of training steps that holds step 0, with ticks there and at every so many checkpoints."""
    first = int(steps[1])
    ax.set_xscale("symlog", linthresh=first)
    shown = [0, *(int(s) for s in steps[:0:-every][::-1])]
    ax.set_xticks(shown, [f"{s:,}" for s in shown])
    ax.minorticks_off()
    ax.set_xlabel("training step")


def legend(figure: Figure, ax: Axes, *more: Any, ncols: int = 3) -> None:
    """A legend of the series of some axes, and of more handles, below the figure."""
    handles = [*ax.get_legend_handles_labels()[0], *more]
    figure.legend(handles, [str(one.get_label()) for one in handles], loc="outside lower center", ncols=ncols)


def swatch(colour: str, mark: str = "", label: str = "") -> Line2D:
    """A legend handle: a patch of colour, or a mark."""
    style: dict[str, Any] = {"linestyle": "none", "markersize": 5 if mark else 8, "marker": mark or "s"}
    return Line2D([], [], color=colour, label=label, markeredgewidth=0 if not mark else 1, **style)
