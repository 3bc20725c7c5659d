"""A correction of later work: at initialisation, regions on a line are proportional to the number of units."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from netfold.arrays import Floats
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Ensemble, sweep
from netfold.reproduce.statistics import Mean
from netfold.theory import bounds, crossing_rate

POWER = 0.05
ALIKE = 0.1

HANIN_REGIONS = "Hanin and Rolnick 2019 (Complexity of linear regions in deep networks)"

LINEAR = Claim(
    "The number of regions that a line crosses is, at initialisation, proportional to the number of units.",
    HANIN_REGIONS,
    f"Over all widths and depths, mean breakpoints are fitted as a power of the number of units: held if the power is "
    f"within {POWER} of 1, in part if within {3 * POWER:.2f}, failed otherwise.",
)
DEPTHLESS = Claim(
    "Depth does not matter beside the number of units: deep and shallow networks of equally many units have equally "
    "many regions on a line, not exponentially more.",
    HANIN_REGIONS,
    "Among networks of equally many units, the largest ratio of mean breakpoints between two depths, to the power of 1 "
    f"over their difference in layers: held up to {1 + ALIKE:g} a layer, in part up to {1 + 3 * ALIKE:g}, failed "
    "beyond (as exponential growth would be).",
)


def breakpoints_of(ensemble: Ensemble) -> pd.DataFrame:
    """Mean breakpoints on a line (regions less 1) by width and depth, with units, and half the 95% interval."""
    rows = []
    groups: Any = ensemble.cells.groupby(["width", "depth"])
    for (width, depth), cells in groups:
        mean = Mean.of(cells["regions"] - 1)
        shape = {"width": int(width), "depth": int(depth), "units": int(width * depth)}
        rows.append({**shape, "breakpoints": mean.value, "half_interval": mean.half})
    return pd.DataFrame(rows)


def judge_linear(table: pd.DataFrame) -> Finding:
    """Whether breakpoints go like the number of units."""
    units, points = (np.asarray(table[name], np.float64) for name in ("units", "breakpoints"))
    power, share = float(np.polyfit(np.log(units), np.log(points), 1)[0]), points / units
    text = (
        f"Over networks of {units.min():,.0f} to {units.max():,.0f} units, breakpoints go like units to "
        f"the power {power:.3f}; a unit makes {share.min():.2f} to {share.max():.2f} of them."
    )
    return Finding(LINEAR, Verdict.graded(abs(power - 1), held=POWER, partly=3 * POWER), text, {"power": power})


def judge_depthless(table: pd.DataFrame) -> Finding:
    """Whether networks of equally many units have equally many, whatever the depth."""
    rows = table.sort_values("depth").to_dict("records")
    pairs = [(a, b) for a, b in combinations(rows, 2) if a["units"] == b["units"] and a["depth"] < b["depth"]]
    factors = [
        float(np.exp(abs(np.log(b["breakpoints"] / a["breakpoints"])) / (b["depth"] - a["depth"]))) for a, b in pairs
    ]
    most = max(factors)
    a, b = pairs[factors.index(most)]
    text = (
        f"The largest change is a factor of {most:.3f} a layer: {a['units']:,} units in {a['depth']} and in "
        f"{b['depth']} layers make {a['breakpoints']:,.0f} and {b['breakpoints']:,.0f} breakpoints."
    )
    verdict = Verdict.graded(most, held=1 + ALIKE, partly=1 + 3 * ALIKE)
    return Finding(DEPTHLESS, verdict, text, {"largest factor a layer": most})


def expected_breakpoints(table: pd.DataFrame, sigma_b: float) -> Floats:
    """What the Kac-Rice formula expects of each row, at infinite width."""
    depth = int(np.max(table["depth"].to_numpy()))
    rates = crossing_rate("relu", 2**0.5, sigma_b, depth=depth, curve="line", q0=1.0).transitions
    return np.array([k * rates[:d].sum() for k, d in zip(table["width"], table["depth"], strict=True)])


def draw(figure: Figure, theme: Theme, table: pd.DataFrame, sigma_b: float) -> None:
    """Breakpoints against units, a colour a depth, and the bound over all weights above them."""
    ax = figure.subplots()
    expected = expected_breakpoints(table, sigma_b)
    depths = sorted(set(table["depth"]))
    for d, colour, mark in zip(depths, drawing.ramp(len(depths), theme), drawing.MARKS, strict=False):
        rows = (table["depth"] == d).to_numpy()
        one = table[rows]
        name = f"{d} layer{'' if d == 1 else 's'}"
        drawing.measured(
            ax, one["units"], one["breakpoints"], one["half_interval"], colour=colour, mark=mark, label=name
        )
        drawing.theory(ax, one["units"], expected[rows], colour=colour)
        most = [float(bounds.raghu2017(1, [k] * d).log10) for k in one["width"]]
        drawing.theory(ax, one["units"], 10.0 ** np.array(most) - 1, colour=colour, style=":")
    ax.set(xscale="log", yscale="log", xlabel="units in all layers", ylabel="breakpoints on a line")
    points = np.asarray(table["breakpoints"], np.float64)
    ax.set_ylim(0.6 * points.min(), 40 * points.max())
    drawing.plain_ticks(ax, x=True, y=True)
    drawing.legend(figure, ax, *drawing.key(theme, **{"theory": "-", "bound over all weights": ":"}))


@experiment("Correction: Hanin and Rolnick 2019", "Regions on a line are linear in the units")
def regions_line(settings: Settings) -> Made:
    """Activation regions on lines through ReLU networks at initialisation, by number of units and depth."""
    quick, sigma_b = settings.quick, 0.1
    units = (32, 64, 128, 256, 512) if quick else (32, 64, 128, 256, 512, 1024, 2048, 4096)
    depths, repeats = ((1, 2, 4, 8), 20) if quick else ((1, 2, 4, 8, 16), 200)
    cells: list[dict[str, Any]] = [{"width": n // d, "depth": d} for n in units for d in depths if n // d >= 8]
    measured = sweep(settings, cells, ["regions"], repeats, inputs=32, activation="relu", sigma_b=sigma_b, path="line")
    table = breakpoints_of(measured)
    table["expected"] = expected_breakpoints(table, sigma_b)
    setting = (
        f"Random ReLU networks of N units in 1 to {max(depths)} equal layers, at least 8 in each, 32 inputs, "
        f"weights N(0, 2/fan-in), biases N(0, {sigma_b:g}²); lines between two random points with |x|² = 32; {repeats} "
        f"networks, each with a line of its own, at each N and depth; seed {settings.seed}."
    )
    caption = (
        "Breakpoints on the line, one less than the activation regions that it crosses; exact, not sampled. "
        f"{setting} Marks: means over networks with 95% intervals. Lines: Kac–Rice expectation at infinite width. "
        "Dotted: the most that any weights could make, U(n, k, 1) − 1, exponential in depth."
    )
    about = "Breakpoints on a line lie on one straight line against the number of units, whatever the depth."
    return Made(
        findings=(judge_linear(table), judge_depthless(table)),
        figures={"regions": Drawing(partial(draw, table=table, sigma_b=sigma_b), caption, about, height=4.4)},
        tables={"regions": table},
        setting=setting,
        notes=measured.notes,
    )
