"""Figures of rank correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from netfold.arguments import checked
from netfold.errors import InvalidInputError
from netfold.plots.axes import axes_or_new
from netfold.plots.themes import LIGHT, Theme

if TYPE_CHECKING:
    from netfold.ranking.correlation import RankCorrelations

LABELS = {"spearman": "Spearman's rho", "kendall": "Kendall's tau-b"}


@checked
def correlations(
    result: RankCorrelations, coefficient: str = "spearman", ax: Axes | None = None, theme: Theme = LIGHT
) -> Axes:
    """Draw each score's rank correlation with the outcome; bars are bootstrap intervals over models.

    Args:
        result: the result.
        coefficient: ``spearman`` or ``kendall``.
        ax: where to draw; a new figure by default.
        theme: colours.

    Returns:
        The axes drawn on.

    Raises:
        InvalidInputError: there is no such coefficient.
    """
    if coefficient not in LABELS:
        raise InvalidInputError(f"coefficient must be one of {', '.join(LABELS)}, got {coefficient!r}")
    ax = axes_or_new(ax)
    names = [str(name) for name in result.table.index]
    values, low, high = (result.table[coefficient + part].to_numpy() for part in ("", "_low", "_high"))
    at = np.arange(len(names))[::-1]
    ax.hlines(at, low, high, color=theme.main, linewidth=2)
    ax.plot(values, at, "o", color=theme.main)
    ax.axvline(0.0, color=theme.muted, linewidth=1)
    ax.set_yticks(at, names)
    ax.set_xlim(min(0.0, np.nanmin([*low, *values, 0.0])) - 0.05, 1.05)
    ax.set_xlabel(f"{LABELS[coefficient]} over {result.models} models, {result.confidence:.0%} interval")
    return ax
