"""The chain of bounds U(1, N, m) < U(2, N/2, m) < ..., how far it rises, and what random networks make of it."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from netfold.measures.counts import count_regions
from netfold.networks import random_network
from netfold.plots.themes import Theme
from netfold.reproduce import drawing
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Cell, measured
from netfold.reproduce.statistics import Mean
from netfold.theory import bounds

UNITS, INPUTS = 48, 2
WIDE = 6
FACTOR, ROUGHLY = 2.0, 4.0

CHAIN = Claim(
    "Of N units, each further layer raises the bound on regions: U(1, N, m) < U(2, N/2, m) < … < U(n, N/n, m).",
    "Raghu et al. 2017, after Theorem 1",
    f"For N = {UNITS} and m = {INPUTS}: every step from n to n + 1 layers, up to N layers of one unit, raises the "
    "leading "
    "form (N/n)^(mn), and every step raises the product of the layers' exact counts of cells. Held if all steps do, "
    "failed if none does.",
)
AVERAGE = Claim(
    "Random networks do not follow it: the number of regions in two dimensions is about N²/2 at every depth.",
    "Hanin and Rolnick 2019 (Deep ReLU networks have surprisingly few activation patterns)",
    f"For every split into layers of at least {WIDE} units, mean regions over N²/2 are within a factor {FACTOR:g} "
    "(held) "
    f"or {ROUGHLY:g} (in part) of 1; failed beyond.",
)


def judge_chain(chain: bounds.DepthChain) -> Finding:
    """Whether both forms rise with every layer."""
    forms = {"leading": chain.leading, "recursive": chain.recursive}
    checks = [bool(b > a) for values in forms.values() for a, b in pairwise(values)]
    text = (
        f"The leading form rises up to {chain.leading_holds_until} layers (its peak is at N/e = "
        f"{chain.leading_peak:.1f}), "
        f"the product of exact counts up to {chain.recursive_holds_until} layers; the last step, to {UNITS} layers of "
        "one "
        f"unit, multiplies them by {float(chain.leading[-1] / chain.leading[-2]):.1g} and "
        f"{int(chain.recursive[-1]) / int(chain.recursive[-2]):.1g}."
    )
    numbers = {
        "leading form rises until": chain.leading_holds_until,
        "product rises until": chain.recursive_holds_until,
    }
    return Finding(CHAIN, Verdict.of(checks), text, {"steps": len(checks), "rising": sum(checks), **numbers})


def judge_average(numbers: pd.DataFrame) -> Finding:
    """Whether random networks have about N^2 / 2 regions at every depth."""
    wide = [row for row in numbers.to_dict("records") if row["width"] >= WIDE]
    off = max(float(np.exp(abs(np.log(row["regions"] / (UNITS**2 / 2))))) for row in wide)
    told = ", ".join(f"{row['regions']:,.0f} in {row['layers']}" for row in wide)
    text = f"Mean regions of the whole plane: {told} layers; N²/2 is {UNITS**2 // 2:,}."
    return Finding(AVERAGE, Verdict.graded(off, held=FACTOR, partly=ROUGHLY), text, {"largest factor": off})


def splits() -> list[int]:
    """Numbers of equal layers."""
    return [n for n in range(1, UNITS + 1) if UNITS % n == 0 and UNITS // n >= 4]


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Count the regions of one network."""
    layers = cell["layers"]
    seed = int(settings.generator("depth-chain", *cell.values()).integers(2**62))
    net = random_network(INPUTS, UNITS // layers, layers, 1, "relu", sigma_b=0.5, seed=seed)
    return xr.Dataset({"regions": int(count_regions(net))})


def draw(figure: Figure, theme: Theme, chain: bounds.DepthChain, numbers: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Both forms of the bound against the number of layers, and what random networks have."""
    ax = figure.subplots()
    layers = np.arange(1, UNITS + 1)
    table = chain.to_dataframe()
    drawing.theory(ax, layers, table["log10_leading"], colour=theme.other, style="--", label="leading form (N/n)^(mn)")
    drawing.theory(ax, layers, table["log10_recursive"], colour=theme.main, label="product of exact counts")
    for until, column, colour in (
        (chain.leading_holds_until, "log10_leading", theme.other),
        (chain.recursive_holds_until, "log10_recursive", theme.main),
    ):
        ax.plot(until, table[column].iloc[until - 1], "o", color=colour, markersize=7)
    one = np.asarray(rows["layers"], np.float64), np.log10(np.asarray(rows["regions"], np.float64))
    ax.plot(*one, ".", color=theme.muted, markersize=4, label="random networks, one each")
    mean = np.log10(np.asarray(numbers["regions"], np.float64))
    drawing.measured(ax, numbers["layers"], mean, None, colour=theme.ink, mark="s", label="random networks, mean")
    ax.set(xlabel=f"layers n, of {UNITS} units in all", ylabel="regions of the plane, power of 10", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=2)


@experiment("Theorem 1 and the chain after it", "The chain of bounds U(n, N/n, m)")
def depth_chain(settings: Settings) -> Made:
    """The bound on regions as N units are spread over more and more layers, beside random networks."""
    networks = 8 if settings.quick else 100
    chain = bounds.depth_chain(UNITS, INPUTS)
    rows = measured(settings, measure, layers=splits(), network=range(networks)).to_dataframe().reset_index()
    found = averages(rows)
    setting = (
        f"The bounds are evaluated in exact integers and fractions for N = {UNITS} ReLU units, m = {INPUTS} inputs. "
        "Random "
        f"networks: N units in n equal layers, weights N(0, 2/fan-in), biases N(0, 0.5²); {networks} of each n, seed "
        f"{settings.seed}."
    )
    caption = (
        "Lines: the bound on activation regions over all inputs, in its leading form (for real widths) and as the "
        "product "
        "of each layer's exact count of cells (for the most even integer widths); a dot marks the last depth up to "
        "which "
        f"it rises with every layer. Squares: activation regions of the whole plane, exact, mean over networks; "
        "points: each network. "
        f"{setting}"
    )
    about = (
        "Both bounds rise up to some depth and then fall or stay; random networks stay near N²/2 and fall when narrow."
    )
    return Made(
        findings=(judge_chain(chain), judge_average(found)),
        figures={"chain": Drawing(partial(draw, chain=chain, numbers=found, rows=rows), caption, about, height=4.1)},
        tables={"chain": bounds_table(chain), "networks": rows},
        setting=setting,
    )


def averages(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean regions by number of layers, with their interval."""
    table = []
    for n, some in rows.groupby("layers"):
        mean = Mean.of(some["regions"])
        layers = int(str(n))
        table.append({"layers": layers, "width": UNITS // layers, "regions": mean.value, "half_interval": mean.half})
    return pd.DataFrame(table)


def bounds_table(chain: bounds.DepthChain) -> pd.DataFrame:
    """The chain without the columns that no file can hold exactly."""
    kept = ["layers", "mean_width", "log10_leading", "leading_rises", "recursive", "log10_recursive", "recursive_rises"]
    return chain.to_dataframe().filter(kept)
