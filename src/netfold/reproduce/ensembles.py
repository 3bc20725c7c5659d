"""Random networks by the hundred: sweeps in an experiment's folder, and what their tables say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from netfold.errors import NetfoldError
from netfold.reproduce.figure import Settings
from netfold.reproduce.statistics import Mean
from netfold.sweep import Sweep

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Measured random networks.

    Attributes:
        layers: one row a network and layer: settings, ``variance`` (sigma_w^2), ``replicate``, ``layer`` (0 is the
            input) and the measures that have a number for each.
        cells: one row a network, with the other measures.
        notes: what could not be measured.
    """

    layers: pd.DataFrame
    cells: pd.DataFrame
    notes: tuple[str, ...]

    def groups(self, *names: str) -> dict[Any, pd.DataFrame]:
        """The rows of ``layers`` by the values of these columns, in their order."""
        by: Any = names[0] if len(names) == 1 else list(names)
        return dict(iter(self.layers.groupby(by, sort=True)))


def sweep(
    settings: Settings,
    cells: Sequence[Mapping[str, Any]],
    measures: Sequence[str],
    repeats: int,
    name: str = "networks",
    **fixed: Any,
) -> Ensemble:
    """Measure random networks through `netfold.Sweep`; stopped, it goes on where it was.

    Args:
        settings: folder, seed, workers and progress.
        cells: settings of the networks, and ``fixed`` those that all share.
        measures: what to measure.
        repeats: networks and paths of each.
        name: of the file with the results.
        **fixed: settings that all share.

    Raises:
        NetfoldError: no network could be measured.
    """
    plan = {
        "seed": settings.seed,
        "repeats": repeats,
        "measures": list(measures),
        "fixed": fixed,
        "cells": [dict(cell) for cell in cells],
    }
    found = Sweep(plan, settings.folder / f"{name}.sweep")
    status = found.run(workers=settings.workers, progress=None if settings.progress else False)
    messages = found.failures()["error"].tolist() if status.failed else []
    if not status.done:
        raise NetfoldError(f"none of {status.cells:,} networks could be measured: {messages[0]}")
    notes = tuple(
        f"{len(messages):,} of {status.cells:,} networks could not be measured and are left out ({one})."
        for one in messages[:1]
    )
    layers, single = found.to_dataframe(layers=True), found.to_dataframe()
    for table in (layers, single):
        table["variance"] = (table["sigma_w"] ** 2).round(9)
    return Ensemble(layers, single, notes)


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
