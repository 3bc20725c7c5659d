"""Axes of figures about training."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray


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
