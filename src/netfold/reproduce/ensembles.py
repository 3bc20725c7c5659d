"""What tables of random networks say: lengths by layer, growth, and how it depends on width and scale."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from netfold.arrays import Floats
from netfold.reproduce.figure import Check
from netfold.reproduce.statistics import Mean

Key = tuple[int, float]
"""Width and sigma_w^2."""


def scales(keys: Iterable[Key]) -> tuple[list[int], list[float]]:
    """All widths and all values of sigma_w^2, in order."""
    widths, variances = zip(*keys, strict=True)
    return sorted(set(widths)), sorted(set(variances))


def rising(growth: dict[Key, Mean]) -> list[Check]:
    """For every width and step to the next larger sigma_w^2: whether growth rises; open where intervals overlap."""
    widths, variances = scales(growth)
    return [larger(growth[k, after], growth[k, before]) for k in widths for before, after in pairwise(variances)]


def larger(one: Mean, other: Mean) -> Check:
    """Whether one mean is the larger; open where the intervals overlap."""
    return True if one.low > other.high else False if one.high <= other.low else None


def by_layer(rows: pd.DataFrame, measure: str) -> Floats:
    """A measure as an array ``(networks, layers)``, of the layers that have it, for networks of one depth."""
    wide = rows.pivot(index="replicate", columns="layer", values=measure)
    return wide.dropna(axis=1, how="all").to_numpy(np.float64)


def growth_of(rows: pd.DataFrame, mean: Literal["arithmetic", "geometric"] = "geometric") -> Mean:
    """Growth of length per layer: the mean over layers of each network, then over networks.

    Args:
        rows: of networks of one depth.
        mean: over layers. ``geometric`` starts from the first hidden layer's image, whose length depends on the scale
            of the input; ``arithmetic`` takes all ratios, which have one expectation in ReLU networks of equal layers.
    """
    lengths = hidden_lengths(rows)
    if mean == "arithmetic":
        return Mean.of(growth_ratios(lengths))
    return Mean.of(np.log(lengths[:, -1] / lengths[:, 1]) / (lengths.shape[1] - 2)).exp()


def growth_ratios(lengths: Floats) -> Floats:
    """One number a network, whose mean is the mean of all ratios of a layer's length to the one before.

    Where a narrow network maps the whole path to one point, the layers after it have no ratio.
    """
    before = lengths[:, :-1]
    alive = before > 0
    ratios = np.where(alive, lengths[:, 1:] / np.where(alive, before, 1.0), 0.0)
    return linearised(ratios.sum(1), alive.sum(1))


def linearised(above: Floats, below: Floats) -> Floats:
    """One number a network: their mean is sum(above) / sum(below), their spread that of this ratio, to first order."""
    ratio = above.sum() / below.sum()
    return ratio + (above - ratio * below) / below.mean()


def hidden_lengths(rows: pd.DataFrame) -> Floats:
    """Lengths ``(networks, 1 + hidden layers)``: of the input path, then of its image after each hidden layer."""
    return by_layer(rows, "lengths")[:, :-1]
