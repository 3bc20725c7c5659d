"""Results as tables, arrays and files: each holds the numbers of the store, under the right labels."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import netfold as nf
from netfold.sweep import Cell, Plan
from netfold.sweep.cells import CellOutcome
from netfold.sweep.store import Store

MEASURES = ["regions", "transitions", "lengths"]


def values(cell: Cell) -> dict[str, Any]:
    """Numbers that say which cell and layer they belong to."""
    s = cell.settings
    code = 1000 * s["depth"] + 100 * cell.replicate + 10 * int(s["sigma_w"])
    return {
        "regions": code,
        "transitions": [code + layer for layer in range(1, s["depth"] + 1)],
        "lengths": [code + layer + 0.5 for layer in range(s["depth"] + 2)],
    }


def filled(path: Path, **source: Any) -> nf.Sweep:
    """A sweep whose cells hold `values`; the last one failed."""
    plan = Plan.read({"measures": MEASURES, "repeats": 2, **source})
    with Store.create(path, plan) as store:
        run, cells = store.begin(plan), list(plan)
        for cell in cells[:-1]:
            store.add(CellOutcome(cell, "done", values(cell), "exact", "", 0.1), run)
        store.add(CellOutcome(cells[-1], "failed", {}, "", "ValueError: no", 0.1), run)
    return nf.Sweep(plan, path)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> nf.Sweep:
    """Depths 1 and 3, three scales, two replicates; (depth 3, sigma_w 3, replicate 1) failed."""
    settings = {"inputs": 2, "width": 4, "depth": [3, 1], "sigma_w": [1, 2, 3]}
    return filled(tmp_path_factory.mktemp("tables") / "g.sweep", grid=settings)


def test_one_row_a_cell(grid: nf.Sweep) -> None:
    """Rows in the order of settings, single numbers as columns, without the failed cell."""
    table = grid.to_dataframe()
    assert list(table.columns[:3]) == ["inputs", "width", "depth"]
    assert list(table.columns[-3:]) == ["replicate", "regions", "note"]
    expected = [1000 * d + 100 * r + 10 * w for d in (1, 3) for w in (1, 2, 3) for r in (0, 1)]
    gone = 1000 * 1 + 100 * 1 + 10 * 3
    assert table["regions"].tolist() == [code for code in expected if code != gone]


def test_one_row_a_layer(grid: nf.Sweep) -> None:
    """Layer 0 is the input, transitions start at layer 1, counts stay whole."""
    table = grid.to_dataframe(layers=True)
    assert str(table["transitions"].dtype) == "Int64"
    one = table[(table["depth"] == 3) & (table["sigma_w"] == 2) & (table["replicate"] == 1)]
    assert one["layer"].tolist() == [0, 1, 2, 3, 4]
    assert one["transitions"].tolist() == [pd.NA, 3121, 3122, 3123, pd.NA]
    assert one["lengths"].tolist() == [3120.5, 3121.5, 3122.5, 3123.5, 3124.5]


def test_array_of_a_grid(grid: nf.Sweep, tmp_path: Path) -> None:
    """Settings that vary are dimensions; what is missing is NaN; the netCDF file holds the same."""
    found = grid.to_xarray()
    assert dict(found.sizes) == {"depth": 2, "sigma_w": 3, "replicate": 2, "layer": 5}
    assert float(found.regions.sel(depth=3, sigma_w=2, replicate=1)) == 3120
    assert np.isnan(found.regions.sel(depth=1, sigma_w=3, replicate=1))
    assert found.lengths.dims == ("depth", "sigma_w", "replicate", "layer")
    assert float(found.lengths.sel(depth=1, sigma_w=3, replicate=0, layer=2)) == 1032.5
    assert np.isnan(found.lengths.sel(depth=1, sigma_w=3, replicate=0, layer=3))
    assert int(found.width) == 4
    assert json.loads(found.attrs["plan"]) == grid.plan.to_dict()
    grid.export(tmp_path / "g.nc")
    with xr.open_dataset(tmp_path / "g.nc", engine="h5netcdf") as loaded:
        assert loaded.load().drop_vars("note").equals(found.drop_vars("note"))


def test_array_of_a_list(tmp_path: Path) -> None:
    """Cells that form no grid lie along one dimension."""
    cells = [{"width": [4, 2]}, {"width": 3, "depth": 1}]
    sweep = filled(tmp_path / "l.sweep", fixed={"inputs": 2, "sigma_w": 2}, cells=cells)
    found = sweep.to_xarray()
    assert found.sizes["cell"] == 3
    assert set(found.width.values.tolist()) == {"4-2", "3"}
    assert sorted(found.regions.values.tolist()) == [1020, 2020, 2120]
    sweep.export(tmp_path / "l.nc")
    with xr.open_dataset(tmp_path / "l.nc", engine="h5netcdf") as loaded:
        assert loaded.load().equals(found)


def test_csv(grid: nf.Sweep, tmp_path: Path) -> None:
    """Both tables, read back."""
    for layers in (False, True):
        grid.export(tmp_path / "t.csv", layers=layers)
        read = pd.read_csv(tmp_path / "t.csv")
        wanted = grid.to_dataframe(layers=layers)
        assert list(read.columns) == list(wanted.columns)
        column = "lengths" if layers else "regions"
        assert read[column].tolist() == wanted[column].tolist()


def test_parquet(grid: nf.Sweep, tmp_path: Path) -> None:
    """Both tables come back as they were: values, missing ones, column types."""
    pytest.importorskip("pyarrow")
    for layers in (False, True):
        grid.export(tmp_path / "t.parquet", layers=layers)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), grid.to_dataframe(layers=layers))


def test_parquet_without_pyarrow(grid: nf.Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with the way out; nothing is written."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(nf.InvalidInputError, match="pip install pyarrow"):
        grid.export(tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def test_bad_exports(grid: nf.Sweep, tmp_path: Path) -> None:
    """Another ending; a sweep in which nothing is done."""
    with pytest.raises(nf.InvalidInputError, match=r"\.nc, \.csv or \.parquet"):
        grid.export(tmp_path / "t.xlsx")
    plan = Plan.read({"measures": MEASURES, "grid": {"inputs": 2, "width": 4, "depth": 1}})
    Store.create(tmp_path / "e.sweep", plan).close()
    empty = nf.Sweep(plan, tmp_path / "e.sweep")
    with pytest.raises(nf.InvalidInputError, match="no cell is done"):
        empty.to_xarray()
    assert len(empty.to_dataframe()) == len(empty.failures()) == 0
