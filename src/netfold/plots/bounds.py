"""How tables of bounds and depth chains are drawn: theory, so lines."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from netfold.arguments import checked
from netfold.plots.axes import axes_or_new
from netfold.plots.themes import COLOURS
from netfold.theory.bounds._bound import Bound, Expectation, Kind

if TYPE_CHECKING:
    from netfold.theory.bounds._depth_chain import DepthChain
    from netfold.theory.bounds._of import NetworkBounds
    from netfold.theory.bounds._table import BoundsTable

# Okabe and Ito's palette, without its yellow: told apart in every common colour blindness.
MARKERS = "osD^vPX<>"


@checked
def table(result: BoundsTable, ax: Axes | None = None) -> Axes:
    """Draw every bound against the number of layers kept: the first one, the first two, ...

    Upper bounds are solid, lower bounds on the maximum dashed, expectations dotted.
    """
    ax = _axes(ax)
    depths = range(1, len(result.widths) + 1)
    by_depth = [result.first(layers).rows for layers in depths]
    styles = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS))
    for i, ((colour, marker), row) in enumerate(zip(styles, result.rows, strict=False)):
        heights = [_height(rows[i].bound) for rows in by_depth]
        if any(height == height for height in heights):
            style = _style([rows[i].bound for rows in by_depth])
            # Open markers that shrink from row to row keep bounds that coincide visible.
            ax.plot(depths, heights, style, color=colour, marker=marker, mfc="none", ms=10 - i, label=row.name)
    ax.set_xlabel("hidden layers kept")
    ax.set_ylabel("log10 of the number of activation regions")
    widths = " ".join(map(str, result.widths)) if len(result.widths) <= 8 else f"of {len(result.widths)} layers"
    title = f"{result.inputs} inputs, {result.units} units, widths {widths}"
    title += "\nsolid: no network has more; dashed: some network has as many"
    if any(isinstance(row.bound, Expectation) for row in result.rows):
        title += "\ndotted: bound on the mean at initialisation, in a unit cube"
    ax.set_title(title, fontsize="small")
    ax.legend(fontsize="small", frameon=False)
    return ax


@checked
def network(result: NetworkBounds, ax: Axes | None = None) -> Axes:
    """Draw the bounds that apply, one below the other, as points on a logarithmic axis."""
    ax = axes_or_new(ax)
    bounds = [(row.name, row.bound) for row in result.rows if row.bound is not None]
    kinds = {
        True: ("no network of this shape has more", "<", COLOURS[0]),
        False: ("some network of this shape has as many", "o", COLOURS[1]),
    }
    for is_upper, (label, marker, colour) in kinds.items():
        chosen = [(name, bound) for name, bound in bounds if bound.kind.is_upper == is_upper]
        if chosen:
            names, heights = [name for name, _ in chosen], [bound.log10 for _, bound in chosen]
            ax.plot(heights, names, marker, color=colour, label=label)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.05 * max(bound.log10 for _, bound in bounds))
    ax.grid(axis="y", color="0.9")
    ax.set_xlabel("log10 of the number of activation regions")
    ax.set_title(result.title, fontsize="small")
    ax.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    return ax


@checked
def chain(result: DepthChain, ax: Axes | None = None) -> Axes:
    """Draw both forms against the number of layers, with the depth where each stops rising."""
    ax = _axes(ax)
    frame = result.to_dataframe()
    forms = {
        "leading": (f"leading form: rises to {result.leading_holds_until} layers", "--", COLOURS[1]),
        "recursive": (f"recursive product: rises to {result.recursive_holds_until} layers", "-", COLOURS[0]),
    }
    for form, (label, style, colour) in forms.items():
        ax.plot(frame["layers"], frame[f"log10_{form}"], style, color=colour, label=label)
        until = getattr(result, f"{form}_holds_until")
        ax.plot(until, frame[f"log10_{form}"][until - 1], "o", color=colour)
    knots = "" if result.unit.knots == 1 else f"{result.unit.knots} "
    ax.axvline(result.leading_peak, color="0.6", lw=1, ls=":", label=f"{knots}N / e = {result.leading_peak:.2f}")
    ax.set_xlabel(f"hidden layers n, with N / n units each (N = {result.neurons})")
    ax.set_ylabel("log10 of the bound on activation patterns")
    ax.set_title(
        f"U(n, N/n, m): patterns of N = {result.neurons} {result.unit.name} units, m = {result.inputs} inputs",
        fontsize="medium",
    )
    ax.legend(fontsize="small", frameon=False)
    return ax


def _axes(ax: Axes | None) -> Axes:
    """The axes given, or new ones; numbers of layers are integers."""
    ax = axes_or_new(ax)
    ax.locator_params(axis="x", integer=True)
    return ax


def _height(bound: Bound | Expectation | None) -> float:
    return float("nan") if bound is None else bound.log10


def _style(bounds: list[Bound | Expectation | None]) -> str:
    kinds = {bound.kind for bound in bounds if bound is not None}
    if Kind.EXPECTATION in kinds:
        return ":"
    return "-" if any(kind.is_upper for kind in kinds) else "--"
