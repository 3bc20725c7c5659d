"""Stored cells as tables, labelled arrays and files."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from netfold.errors import InvalidInputError
from netfold.files import write_atomically
from netfold.sweep.arguments import ARGUMENTS
from netfold.sweep.measures import first_layer, meaning
from netfold.sweep.store import StoredCell

SETTINGS = (*ARGUMENTS, "draw")
FORMAT = "netfold sweep table 1"


def table(rows: Iterable[StoredCell], measures: Sequence[str], layers: bool) -> pd.DataFrame:
    """Cells as a table: one row a cell with single numbers, or one row a cell and layer with those by layer."""
    rows = list(rows)
    by_layer = _by_layer(rows, measures)
    chosen = [name for name in measures if (name in by_layer) == layers]
    records = [_settings(row) | values for row in rows for values in _records(row, chosen, layers)]
    columns = [*ARGUMENTS, *(["draw"] if any("draw" in r.settings for r in rows) else []), "replicate"]
    tail = [*(["layer"] if layers else []), *chosen, *(["note"] if not layers else [])]
    frame = pd.DataFrame(records, columns=[*columns, *tail])
    if any(isinstance(width, str) for width in frame["width"]):
        frame["width"] = frame["width"].astype(str)
    for name in chosen:
        if layers and all(isinstance(record[name], int) for record in records if name in record):
            frame[name] = frame[name].astype("Int64")
    order = [*columns, "layer"] if layers else columns
    return frame.sort_values(order, kind="stable", ignore_index=True)


def failures(rows: Iterable[StoredCell]) -> pd.DataFrame:
    """Cells that failed: settings and message."""
    records = [{**_settings(row), "error": row.error, "seconds": row.seconds} for row in rows if row.status == "failed"]
    columns = [name for name in (*SETTINGS, "replicate", "error", "seconds") if name != "draw" or _drawn(records)]
    return pd.DataFrame(records, columns=columns)


def dataset(rows: Iterable[StoredCell], measures: Sequence[str], attributes: dict[str, Any], grid: bool) -> xr.Dataset:
    """Cells as a dataset; where they form a grid, every setting that varies is a dimension beside the replicate.

    Raises:
        InvalidInputError: no cell is done.
    """
    rows = [row for row in rows if row.status == "done"]
    if not rows:
        raise InvalidInputError("no cell is done yet, so there is nothing to make an array of: run the sweep first")
    frame = table(rows, measures, layers=False)
    coordinates = [name for name in (*SETTINGS, "replicate") if name in frame]
    found = xr.Dataset.from_dataframe(frame.rename_axis("cell")).set_coords(coordinates)
    by_layer = sorted(_by_layer(rows, measures), key=measures.index)
    if by_layer:
        found = xr.merge([found, _layered(rows, by_layer, frame, coordinates)])
    for name in measures:
        if name in found:
            found[name].attrs["long_name"] = meaning(name)
    words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
    return (_unfolded(found, coordinates) if grid else found).assign_attrs(format=FORMAT, **words)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or Parquet, whole or not at all.

    Raises:
        InvalidInputError: Parquet without pyarrow, or another ending.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InvalidInputError(f"export writes .nc, .csv or .parquet, not {path.name}")
    if kind == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InvalidInputError("Parquet needs pyarrow: pip install pyarrow, or export to .csv or .nc")
    with write_atomically(path) as temporary:
        if kind == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)


def _settings(row: StoredCell) -> dict[str, Any]:
    width = row.settings["width"]
    shown = "-".join(map(str, width)) if isinstance(width, list) else width
    return {**row.settings, "width": shown, "replicate": row.replicate}


def _records(row: StoredCell, chosen: Sequence[str], layers: bool) -> list[dict[str, Any]]:
    if row.status != "done":
        return []
    if not layers:
        return [{**{name: row.values[name] for name in chosen}, "note": row.note}]
    records: dict[int, dict[str, Any]] = {}
    for name in chosen:
        value = row.values[name]
        for layer, number in enumerate(value if isinstance(value, list) else [value], first_layer(name)):
            records.setdefault(layer, {"layer": layer})[name] = number
    return list(records.values())


def _by_layer(rows: Sequence[StoredCell], measures: Sequence[str]) -> set[str]:
    return {name for name in measures if any(isinstance(row.values.get(name), list) for row in rows)}


def _drawn(records: Sequence[dict[str, Any]]) -> bool:
    return any("draw" in record for record in records)


def _layered(
    rows: Sequence[StoredCell], by_layer: list[str], frame: pd.DataFrame, coordinates: list[str]
) -> xr.Dataset:
    """Measures by layer, padded with NaN where a network has fewer layers."""
    long = table(rows, by_layer, layers=True)
    cells = pd.MultiIndex.from_arrays([frame[name] for name in coordinates])
    numbers = long["layer"].to_numpy(np.int64)
    layers = np.arange(int(numbers.min()), int(numbers.max()) + 1)
    at = cells.get_indexer(pd.MultiIndex.from_arrays([long[name] for name in coordinates])), numbers - layers[0]
    data = {}
    for name in by_layer:
        values = np.full((len(cells), len(layers)), np.nan)
        values[at] = long[name].to_numpy(float, na_value=np.nan)
        data[name] = (("cell", "layer"), values)
    return xr.Dataset(data, coords={"cell": np.arange(len(cells)), "layer": layers})


def _unfolded(dataset: xr.Dataset, coordinates: list[str]) -> xr.Dataset:
    """One dimension for each setting that varies; the others become single coordinates."""
    varied = [name for name in coordinates if name == "replicate" or len(np.unique(dataset[name].values)) > 1]
    single = {name: dataset[name].values[0] for name in coordinates if name not in varied}
    kept = dataset.drop_vars([*single, "cell"])
    if len(varied) == 1:  # one index is none that could be unstacked
        unfolded = kept.swap_dims(cell=varied[0])
    else:
        unfolded = kept.set_index(cell=varied).unstack("cell")
    return unfolded.assign_coords(single).transpose(..., "layer", missing_dims="ignore")
