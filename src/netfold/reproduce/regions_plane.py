"""Regions in the plane: nested convex cells, counted beside the bound of Theorem 1."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from matplotlib.figure import Figure

from netfold.measures.counts import count_regions
from netfold.measures.partitioning import partition_plane
from netfold.networks import random_network
from netfold.paths import Plane
from netfold.plots.partitions import plot
from netfold.plots.themes import Theme
from netfold.reproduce.figure import Claim, Drawing, Finding, Made, Settings, Verdict, experiment
from netfold.reproduce.harness import Cell, measured
from netfold.results.partition import Partition
from netfold.theory import bounds

SHAPE = (4, 4, 4)
SIGMA_W, SIGMA_B = 2.0, 0.5
SIDE = 2.0
TINY = 1e-9
NAMES = {"relu": "ReLU", "hardtanh": "hard-tanh"}

CONVEX = Claim(
    "A network cuts its input space into convex polytopes, on each of which it is one affine function.",
    "Raghu et al. 2017, Theorem 2 and Figure 1",
    "For every network: all cells are convex; the network at the mean of a cell's corners is the mean of its values "
    f"at the corners, to {TINY:g} of their scale; and the cells fill the square, to {TINY:g} of its area. Held if so "
    "for "
    "all networks, failed if for none.",
)
NESTED = Claim(
    "Later layers subdivide the cells of earlier ones.",
    "Raghu et al. 2017, Figure 1",
    "For every network and layer: the cells of the first d + 1 layers that lie in a cell of the first d layers fill "
    f"it, to {TINY:g} of the square's area. Held if so for all, failed if for none.",
)
BOUND = Claim(
    "A network has at most U(n, k, m) activation regions over all inputs, whatever its weights: at most r(k, m)ⁿ, "
    "with r the most cells that k units can cut R^m into.",
    "Raghu et al. 2017, Theorem 1",
    "The regions of every network over the whole plane are at most the bound for its kind, which multiplies the most "
    "cells of each layer. Held if so for all networks, failed if for none.",
)


def judge_convex(numbers: pd.DataFrame) -> Finding:
    """Whether cells are convex, the network affine on them, and the square filled."""
    rows = numbers.to_dict("records")
    fine = [row["convex"] and row["affine"] <= TINY and row["filled"] <= TINY for row in rows]
    bend, gap = (max(row[name] for row in rows) for name in ("affine", "filled"))
    text = (
        f"So in {sum(fine)} of {len(rows)} networks with {sum(row['cells'] for row in rows):,} cells; the largest gap "
        "of "
        f"an affine value is {bend:.1e}, of the area {gap:.1e}."
    )
    return Finding(CONVEX, Verdict.of(fine), text, {"networks": len(rows), "so": sum(fine)})


def judge_nested(numbers: pd.DataFrame) -> Finding:
    """Whether cells of more layers fill those of fewer."""
    gaps = [row["nested"] for row in numbers.to_dict("records")]
    text = f"The largest gap is {max(gaps):.1e} of the square's area, over {len(gaps)} networks."
    return Finding(NESTED, Verdict.of(gap <= TINY for gap in gaps), text, {"largest gap": max(gaps)})


def judge_bound(numbers: pd.DataFrame) -> Finding:
    """Whether counts stay within the bound."""
    checks: list[bool] = []
    told: list[str] = []
    for kind, (counts, most) in _counts(numbers).items():
        checks += [count <= most for count in counts]
        mean = sum(counts) / len(counts)
        told.append(f"{NAMES[kind]}: {min(counts):,} to {max(counts):,} regions, mean {mean:,.0f}, bound {most:,}")
    text = "; ".join(told) + "."
    return Finding(BOUND, Verdict.of(checks), text, {"networks": len(checks), "within": sum(checks)})


def _counts(numbers: pd.DataFrame) -> dict[str, tuple[list[int], int]]:
    """Regions of the whole plane, and their bound, by activation."""
    groups = numbers.groupby("activation", sort=False)
    return {str(kind): (rows["regions"].tolist(), int(rows["bound"].iloc[0])) for kind, rows in groups}


def network(settings: Settings, cell: Cell) -> torch.nn.Sequential:
    """A random network of two inputs, in float64 so that affine maps can be checked to many digits."""
    seed = int(settings.generator("regions-plane", cell["activation"], cell["network"]).integers(2**62))
    return random_network(
        2, list(SHAPE), outputs=1, activation=cell["activation"], sigma_w=SIGMA_W, sigma_b=SIGMA_B, seed=seed,
        dtype=torch.float64,
    )  # fmt: skip


def partition(net: torch.nn.Sequential) -> Partition:
    """The cells of a square about the origin."""
    return partition_plane(net, Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), (-SIDE, SIDE, -SIDE, SIDE))


def measure(settings: Settings, cell: Cell) -> xr.Dataset:
    """Check one network's cells, and count its regions over the whole plane."""
    net = network(settings, cell)
    part = partition(net)
    area = (2 * SIDE) ** 2
    nested = 0.0
    for layer in range(1, len(SHAPE)):
        outer, inner = part.polygons_after(layer - 1), part.polygons_after(layer)
        parents = _parents(part, layer)
        sums = np.bincount(parents, [_area(p) for p in inner], len(outer))
        nested = max(nested, float(np.abs(sums - [_area(p) for p in outer]).max()) / area)
    polygons = list(part.polygons)
    return xr.Dataset(
        {
            "cells": len(polygons),
            "convex": all(_convex(p) for p in polygons),
            "affine": max(_bend(net, p) for p in polygons),
            "filled": abs(sum(_area(p) for p in polygons) / area - 1),
            "nested": nested,
            "regions": int(count_regions(net)),
            "bound": int(bounds.raghu2017(2, SHAPE, cell["activation"])),
        }
    )


def _parents(part: Partition, layer: int) -> Any:
    """For each cell of the first layers, in which cell of one layer less it lies."""
    fewer, more = part.ancestors(layer - 1), part.ancestors(layer)
    parents = np.zeros(int(more.max()) + 1, np.int64)
    parents[more] = fewer
    return parents


def _area(corners: Any) -> float:
    x, y = corners.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def _convex(corners: Any) -> bool:
    """Whether a polygon turns left at every corner, up to rounding."""
    steps = np.roll(corners, -1, axis=0) - corners
    after = np.roll(steps, -1, axis=0)
    turns = steps[:, 0] * after[:, 1] - steps[:, 1] * after[:, 0]
    return bool((turns >= -TINY * np.linalg.norm(steps, axis=1) * np.linalg.norm(after, axis=1) - 1e-15).all())


def _bend(net: torch.nn.Sequential, corners: Any) -> float:
    """How far the network at the mean of the corners is from the mean of its values there, over their scale."""
    with torch.no_grad():
        values = net(torch.from_numpy(np.vstack([corners, corners.mean(0)]))).numpy()[:, 0]
    return float(abs(values[-1] - values[:-1].mean()) / max(1.0, np.abs(values).max()))


def draw(figure: Figure, theme: Theme, part: Partition, numbers: pd.DataFrame) -> None:
    """Top: borders of layer 1, layers 1 to 2 and 1 to 3. Bottom: regions of all networks beside the bound."""
    parts: Any = figure.subfigures(2, 1, height_ratios=(2.2, 1.35))
    above, below = parts
    axes: Any = above.subplots(1, 3)
    for layers, ax in enumerate(axes, 1):
        plot(part, "layer", ax, layers=layers, theme=theme, legend=False)
        ax.set(
            title=f"layer{'s 1–' if layers > 1 else ' '}{layers}: {part.layers[layers - 1].regions} cells", xlabel=""
        )
        ax.set(ylabel="", xticks=[], yticks=[])
    ax = below.subplots()
    shades = {"relu": theme.main, "hardtanh": theme.other}
    for height, (kind, (regions, most)) in enumerate(_counts(numbers).items()):
        spread = height + np.linspace(-0.22, 0.22, len(regions))
        ax.plot(regions, spread, "o", color=shades[kind], markersize=3.5, alpha=0.7)
        ax.plot(most, height, "|", color=theme.ink, markersize=22, markeredgewidth=2)
        ax.annotate(f"bound {most:,}", (most, height), (-6, 0), ha="right", va="center", textcoords="offset points")
    ax.set(xscale="log", xlabel="activation regions of the whole plane", ylim=(-0.6, 1.6))
    ax.set_yticks(range(len(NAMES)), list(NAMES.values()))


@experiment("Figure 1", "Regions in the plane")
def regions_plane(settings: Settings) -> Made:
    """The cells into which small random networks cut the plane, and their number beside Theorem 1."""
    networks = 12 if settings.quick else 200
    found = measured(settings, measure, activation=list(NAMES), network=range(networks)).to_dataframe().reset_index()
    setting = (
        f"Random networks of {len(SHAPE)} layers of {SHAPE[0]} units on 2 inputs, ReLU and hard-tanh, weights N(0, "
        f"{SIGMA_W**2:g}/fan-in), biases N(0, {SIGMA_B:g}²); {networks} of each, seed {settings.seed}. Cells are "
        "checked in "
        f"the square [−{SIDE:g}, {SIDE:g}]², regions counted in the whole plane."
    )
    caption = (
        f"Top: borders of the first layers' cells in the square [−{SIDE:g}, {SIDE:g}]², for the first ReLU network; "
        "colours "
        "tell the layer whose unit makes a border. Bottom: activation regions of the whole plane, a mark a network, "
        f"exact, beside the bound of Theorem 1 with the sharp count of cells for each layer. {setting}"
    )
    about = "Lines of the first layer are straight, those of later ones bend at them; counts lie far below the bound."
    part = partition(network(settings, {"activation": "relu", "network": 0}))
    return Made(
        findings=(judge_convex(found), judge_nested(found), judge_bound(found)),
        figures={"cells": Drawing(partial(draw, part=part, numbers=found), caption, about, height=4.4)},
        tables={"networks": found},
        setting=setting,
    )
