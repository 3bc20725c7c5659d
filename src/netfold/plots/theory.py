"""How diagnoses and comparisons are drawn: theory as lines, measurement as points with error bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from netfold.arguments import checked
from netfold.plots.axes import _plain_log_ticks, axes_or_new, layer_ticks
from netfold.plots.themes import ABOUT_ONE, BLUE, GREEN, VERMILION
from netfold.theory.fixed_points import Phase
from netfold.theory.gaussian import Array

if TYPE_CHECKING:
    from netfold.comparison.compare import Comparison
    from netfold.theory.crossings import CrossingRate
    from netfold.theory.curvature import CurvatureGrowth
    from netfold.theory.diagnosis import Diagnosis
    from netfold.theory.growth import LengthGrowth
    from netfold.theory.phase_diagram import PhaseDiagram

# Okabe and Ito's palette: told apart in every common colour blindness.
PHASES = {Phase.ORDERED: (BLUE, "v"), Phase.CRITICAL: (GREEN, "o"), Phase.CHAOTIC: (VERMILION, "^")}

LABELS = {
    "growth": "growth of the path's length in the layer",
    "transitions": "transitions in the layer, over all units",
    "sign_transitions": "sign transitions in the layer, over all units",
    "sign_transitions_from_angle": "sign transitions in the layer, over all units",
}


@checked
def diagnosis(result: Diagnosis, ax: Axes | None = None) -> Axes:
    """Draw chi_1 of every hidden layer with three standard errors, and the line between order and chaos."""
    ax = axes_or_new(ax)
    layers = [(i, layer) for i, layer in enumerate(result.layers, 1) if layer.phase is not None]
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
    layer_ticks(ax, [i for i, _ in layers], [layer.label for _, layer in layers])
    ax.set_xlabel("layer with weights")
    ax.set_ylabel("chi_1, squared growth of a small displacement")
    ax.set_title(
        f"{result.name}: {result.phase or 'no phase'}\nbars: three standard errors; line: critical", fontsize="small"
    )
    if layers:
        ax.legend(fontsize="small", frameon=False)
    return ax


@checked
def growth(result: LengthGrowth, ax: Axes | None = None) -> Axes:
    """Draw the length after every layer over that of the input curve, on a logarithmic axis."""
    return _layers({result.activation: result.lengths}, f"length over that of the input, {result.method}", ax)


@checked
def crossings(result: CrossingRate, ax: Axes | None = None) -> Axes:
    """Draw transitions and sign transitions per unit, layer by layer, on a logarithmic axis."""
    columns = {"transitions": result.transitions, "sign transitions": result.sign_transitions}
    return _layers(columns, f"expected per unit of {result.activation}", ax)


@checked
def curvature(result: CurvatureGrowth, ax: Axes | None = None) -> Axes:
    """Draw length and tangent length layer by layer, on a logarithmic axis."""
    columns = {"length": result.length, "length of the tangents": result.tangent_length}
    return _layers(columns, "over that in layer 1, infinite width", ax)


def _layers(columns: dict[str, Array], label: str, ax: Axes | None) -> Axes:
    from matplotlib.ticker import MaxNLocator

    ax = axes_or_new(ax)
    for (name, values), color in zip(columns.items(), (BLUE, VERMILION), strict=False):
        if np.isfinite(values).any():
            ax.plot(np.arange(1, len(values) + 1), values, "o-", color=color, label=name)
    ax.set(xlabel="layer", ylabel=label, yscale="log")
    _plain_log_ticks(ax)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize="small", frameon=False)
    return ax


@checked
def phases(result: PhaseDiagram, ax: Axes | None = None) -> Axes:
    """Draw growth per layer, sqrt(chi_1), over the gains, with the critical line chi_1 = 1.

    Purple is ordered, orange chaotic; hatching marks where the signal grows without bound.

    Args:
        result: the result.
        ax: axes to draw on; new ones by default.
    """
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ax = axes_or_new(ax)
    growth = np.sqrt(result.numbers["chi_1"])
    finite = np.append(growth[np.isfinite(growth)], [1 - 1e-3, 1 + 1e-3])
    norm = TwoSlopeNorm(1.0, finite.min(), finite.max())
    picture = ax.pcolormesh(result.sigma_w, result.sigma_b, growth, cmap=ABOUT_ONE, norm=norm, shading="nearest")
    marks: list[Line2D | Patch] = []
    if min(growth.shape) > 1 and growth.min() < 1 < growth.max():
        ax.contour(result.sigma_w, result.sigma_b, growth, levels=[1.0], colors="black", linewidths=2)
        marks.append(Line2D([], [], color="black", linewidth=2, label="chi_1 passes 1"))
    endless = np.isinf(result.numbers["q"]).astype(float)
    if min(growth.shape) > 1 and endless.any():
        ax.contourf(result.sigma_w, result.sigma_b, endless, levels=[0.5, 1.5], colors="none", hatches=["//"])
        marks.append(Patch(facecolor="none", hatch="//", edgecolor="black", label="signal grows without bound"))
    if marks:
        ax.legend(handles=marks, loc="upper left", fontsize=9)
    ax.figure.colorbar(picture, ax=ax, label="growth of a circle per layer, sqrt(chi_1)")
    ax.set(xlabel="weight gain sigma_w", ylabel="bias standard deviation sigma_b")
    ax.set_title(f"{result.activation}: ordered (purple), chaotic (orange); infinite width", fontsize=10)
    return ax


@checked
def comparison(result: Comparison, measure: str = "growth", ax: Axes | None = None) -> Axes:
    """Draw measured points with their errors on the line that theory predicts, layer by layer.

    Args:
        result: the result.
        measure: one of `netfold.comparison.columns.MEASURES`.
        ax: axes to draw on; new ones by default.
    """
    ax, rows = axes_or_new(ax), result[measure]
    at = [row.layer for row in rows]
    ax.plot(at, [row.predicted for row in rows], "-", color=VERMILION, label="expected of random weights")
    errors = np.nan_to_num([row.error for row in rows])
    ax.errorbar(at, [row.measured for row in rows], yerr=errors, fmt="o", color=BLUE, capsize=3, label="measured")
    layer_ticks(ax, at, [row.label for row in rows])
    ax.set_xlabel("layer")
    ax.set_ylabel(LABELS[measure])
    known = dict.fromkeys(row.error_of for row in rows if np.isfinite(row.error))
    bars = f"bars: {' or '.join(known)}" if known else "error unknown"
    notes = "\n".join(dict.fromkeys(row.note[:80] for row in rows if row.note))
    ax.set_title("\n".join([bars, notes]).strip(), fontsize="small")
    ax.legend(fontsize="small", frameon=False)
    return ax
