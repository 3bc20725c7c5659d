"""How diagnoses and comparisons are drawn: theory as lines, measurement as points with error bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netfold.theory.fixed_points import Phase
from netfold.theory.gaussian import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from netfold.comparison.compare import Comparison
    from netfold.theory.diagnosis import Diagnosis

# Okabe and Ito's palette: told apart in every common colour blindness.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PHASES = {Phase.ORDERED: (BLUE, "v"), Phase.CRITICAL: (GREEN, "o"), Phase.CHAOTIC: (VERMILION, "^")}

LABELS = {
    "growth": "growth of the path's length in the layer",
    "transitions": "transitions in the layer, over all units",
    "sign_transitions": "sign transitions in the layer, over all units",
    "sign_transitions_from_angle": "sign transitions in the layer, over all units",
}


def draw_diagnosis(found: Diagnosis, ax: Axes | None) -> Axes:
    """chi_1 layer by layer beside the critical line."""
    ax = _axes(ax)
    layers = [(i, layer) for i, layer in enumerate(found.layers, 1) if layer.phase is not None]
    ax.axhline(1.0, color="black", lw=1)
    for phase, (colour, marker) in PHASES.items():
        chosen = [(i, layer) for i, layer in layers if layer.phase is phase]
        if chosen:
            ax.errorbar(
                [i for i, _ in chosen],
                [layer.chi_1 for _, layer in chosen],
                yerr=[3 * layer.chi_1_error for _, layer in chosen],
                fmt=marker,
                color=colour,
                capsize=3,
                label=str(phase),
            )
    ax.set_xticks([i for i, _ in layers][:: max(1, len(layers) // 12)])
    ax.set_xlabel("layer with weights")
    ax.set_ylabel("chi_1, squared growth of a small displacement")
    ax.set_title(
        f"{found.name}: {found.phase or 'no phase'}\nbars: three standard errors; line: critical", fontsize="small"
    )
    if layers:
        ax.legend(fontsize="small", frameon=False)
    return ax


def draw_layers(columns: dict[str, Array], label: str, ax: Axes | None) -> Axes:
    """Numbers layer by layer, one line a column, on a logarithmic axis."""
    from matplotlib.ticker import MaxNLocator

    ax = _axes(ax)
    for (name, values), color in zip(columns.items(), (BLUE, VERMILION), strict=False):
        if np.isfinite(values).any():
            ax.plot(np.arange(1, len(values) + 1), values, "o-", color=color, label=name)
    ax.set(xlabel="layer", ylabel=label, yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize="small", frameon=False)
    return ax


def draw_comparison(found: Comparison, measure: str, ax: Axes | None) -> Axes:
    """Measured points on the line that theory predicts."""
    ax, rows = _axes(ax), found[measure]
    at = [row.layer for row in rows]
    ax.plot(at, [row.predicted for row in rows], "-", color=VERMILION, label="expected of random weights")
    errors = np.nan_to_num([row.error for row in rows])
    ax.errorbar(at, [row.measured for row in rows], yerr=errors, fmt="o", color=BLUE, capsize=3, label="measured")
    ax.set_xticks(at[:: max(1, len(at) // 12)])
    ax.set_xlabel("layer")
    ax.set_ylabel(LABELS[measure])
    known = dict.fromkeys(row.error_of for row in rows if np.isfinite(row.error))
    bars = f"bars: {' or '.join(known)}" if known else "error unknown"
    notes = "\n".join(dict.fromkeys(row.note[:80] for row in rows if row.note))
    ax.set_title("\n".join([bars, notes]).strip(), fontsize="small")
    ax.legend(fontsize="small", frameon=False)
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]
