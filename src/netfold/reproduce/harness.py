"""What experiments measure, in the store of a sweep: cell by cell, in any process, and going on after a stop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from netfold.errors import NetfoldError
from netfold.progress import one_thread
from netfold.reproduce.figure import Settings
from netfold.sweep import Plan, Sweep
from netfold.sweep.cells import CellOutcome
from netfold.sweep.plan import Cell as Planned
from netfold.sweep.run import WorkSpread, run_plan
from netfold.sweep.store import Store, StoredCell

Cell = Mapping[str, Any]
Measure = Callable[[Settings, Cell], xr.Dataset]


def measured(settings: Settings, measure: Measure, **axes: Sequence[float | str]) -> xr.Dataset:
    """What was measured of every combination of some values, with a dimension for each of them before its own.

    Every cell is added to the store ``cells.sweep`` in the settings' folder as soon as it is done; a stopped run that
    is started again measures those that are not there. Numbers depend on settings and cell alone, so they do not depend
    on the number of workers or on interruptions.

    Args:
        settings: with the folder, and how many processes to use.
        measure: a function at the top of its module; gives numbers of one shape for all cells, NaN where there is none.
        **axes: the values, by name.

    Raises:
        NetfoldError: a cell's process was killed.
        CorruptFileError: the store is damaged.
    """
    shape = tuple(map(len, axes.values()))
    cells = _Cells(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    plan = Plan(cells, 1, (f"{measure.__module__}:{measure.__name__}",), settings.seed)
    with Store.create(settings.folder / "cells.sweep", plan) as store:
        stored = _done(store)
        if any(cell.key not in stored for cell in plan):
            work = partial(_outcomes, settings=settings, measure=measure)
            run_plan(plan, store, WorkSpread(settings.workers), measure=work, retry=True, progress=_progress(settings))
            stored = _done(store)
    lost = [cell.settings for cell in plan if cell.key not in stored]
    if lost:
        raise NetfoldError(
            f"{len(lost)} of {plan.size} cells ended with their process, the first is {lost[0]}; run again"
        )
    found = [xr.Dataset.from_dict(stored[cell.key].values) for cell in plan]
    stacked = {
        name: ((*axes, *one.dims), np.reshape([row[name].values for row in found], (*shape, *one.shape)))
        for name, one in found[0].items()
    }
    return xr.Dataset(stacked, {**found[0].coords, **{name: list(values) for name, values in axes.items()}})


class _Cells(list[dict[str, Any]]):
    """The cells of an experiment as the source of a plan."""

    @property
    def size(self) -> int:
        return len(self)

    def to_dict(self) -> dict[str, Any]:
        return {"cells": list(self)}


def _done(store: Store) -> dict[str, StoredCell]:
    rows = list(store.rows())
    return {row.key: row for row in rows if row.status == "done"}


def _outcomes(cells: Sequence[Planned], settings: Settings, measure: Measure) -> list[CellOutcome]:
    """Measure some cells; an error in one of them ends the run."""
    found = []
    for cell in cells:
        begin = time.perf_counter()
        with one_thread():
            values = measure(settings, cell.settings).to_dict()
        found.append(CellOutcome(cell, "done", values, "", "", time.perf_counter() - begin))
    return found


def _progress(settings: Settings) -> bool | None:
    """Bars in a terminal alone, and only if they are asked for."""
    return None if settings.progress else False


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

    @property
    def table(self) -> pd.DataFrame:
        """``layers`` as a table to write."""
        return self.layers.drop(columns=["draw"], errors="ignore")


def sweep(
    settings: Settings,
    cells: Sequence[Cell],
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
    status = found.run(workers=settings.workers, progress=_progress(settings))
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
