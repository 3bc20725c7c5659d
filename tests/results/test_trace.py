"""`Trace` as a value: equality, tables, datasets and files."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

import netfold as nf
from netfold.errors import CorruptFileError, InvalidInputError, UntrustedFileError
from netfold.results.base import same
from netfold.results.trace import Trace

from .random_traces import traces


@pytest.fixture(scope="module")
def trace() -> Trace:
    net = nf.random_network(inputs=3, width=12, depth=3, outputs=4, activation="relu", sigma_b=0.3, seed=1)
    return nf.trace_path(net, nf.Line([-2.0, 1.0, 0.5], [2.0, 1.5, -1.0]))


@given(traces())
@settings(max_examples=8, deadline=None)
def test_saving_and_loading_changes_nothing(original: Trace) -> None:
    """load(save(x)) = x, provenance included, whatever values a trace holds."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "trace.nc"
        original.save(file)
        loaded = Trace.load(file)
    assert loaded == original
    assert same_json(loaded.provenance, original.provenance)


def same_json(a: object, b: object) -> bool:
    """Equality of JSON values with NaN equal to NaN."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_json(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_json, a, b))
    return same(a, b)


def test_a_measured_trace_survives_the_file(trace: Trace, tmp_path: Path) -> None:
    """The same for a real measurement, bit for bit."""
    trace.save(tmp_path / "t.nc")
    loaded = Trace.load(tmp_path / "t.nc")
    assert loaded == trace
    assert loaded.breakpoints.tobytes() == trace.breakpoints.tobytes()
    assert loaded.provenance == trace.provenance


def test_equality_sees_every_value(trace: Trace) -> None:
    """Two traces are equal iff every measured value is; provenance is not compared."""
    assert trace == replace(trace, provenance={"time": "another"})
    assert trace != replace(trace, patterns=trace.patterns + 1)
    assert trace != replace(trace, breakpoints=np.nextafter(trace.breakpoints, 1))
    assert trace != replace(trace, output=replace(trace.output, length=trace.output.length + 1))
    assert trace != replace(trace, layers=(replace(trace.layers[0], turning=-1.0), *trace.layers[1:]))
    assert trace != "a trace"
    assert len({trace, replace(trace)}) == 1


def test_table_has_a_row_for_input_layers_and_output(trace: Trace) -> None:
    """One row a stage in order; growth is the ratio of successive lengths; the input has no counts."""
    table = trace.to_dataframe()
    assert table["name"].tolist() == ["input", *(layer.name for layer in trace.layers), "output"]
    assert table["layer"].tolist() == list(range(len(trace.layers) + 2))
    np.testing.assert_array_equal(table["length"], trace.lengths)
    np.testing.assert_allclose(table["growth"][1:], table["length"][1:].values / table["length"][:-1].values)
    np.testing.assert_allclose(table["growth"][1:-1].astype(float), trace.growth)
    assert table["transitions"][1:-1].tolist() == trace.transitions.tolist()
    assert table.loc[0, ["units", "transitions", "regions"]].isna().all()
    assert table["regions"].dtype == pd.Int64Dtype()
    assert table["regions"].iloc[-2] == trace.regions


def test_regions_by_layer_are_those_of_the_network_cut_off(trace: Trace) -> None:
    """The network that ends after layer d has regions_by_layer[d] regions on the same line."""
    net = nf.random_network(inputs=3, width=12, depth=3, outputs=4, activation="relu", sigma_b=0.3, seed=1)
    for depth in (1, 2, 3):
        cut = nf.trace_path(net[: 2 * depth], nf.Line([-2.0, 1.0, 0.5], [2.0, 1.5, -1.0]))
        assert cut.regions == trace.regions_by_layer[depth - 1]


def test_dataset_is_labelled(trace: Trace) -> None:
    """Dimensions, units and the counting rule travel with the numbers."""
    found = trace.to_xarray()
    assert found.sizes["layer"] == len(trace.layers)
    assert found.sizes["breakpoint"] == len(trace.breakpoints)
    assert found["length"].dims == ("layer",)
    assert found.attrs["counting_rule"] == trace.counting_rule
    assert all("units" in found[name].attrs and "long_name" in found[name].attrs for name in found.data_vars)
    assert int(found["regions"]) == trace.regions


def test_text_and_html_say_what_was_counted(trace: Trace) -> None:
    """Both forms name the regions, every layer and the counting rule; HTML is escaped."""
    tricky = replace(trace, counting_rule="a < b & c", provenance={"model": "<script>"})
    for text in (repr(trace), trace._repr_html_()):
        assert f"{trace.regions} regions" in text
        assert all(layer.name in text for layer in trace.layers)
        assert trace.counting_rule in text
    assert "<script>" not in tricky._repr_html_()
    assert "a &lt; b &amp; c" in tricky._repr_html_()


def test_a_long_network_is_shortened_in_text(trace: Trace) -> None:
    """A hundred layers do not fill the screen, and the text says how many are left out."""
    deep = replace(trace, layers=trace.layers[:1] * 100)
    assert len(repr(deep).splitlines()) < 30
    assert "80 more layers" in repr(deep)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", CorruptFileError, "is empty"),
        (b"not a file of ours", CorruptFileError, "HDF5"),
        (pickle.dumps({"a": 1}), UntrustedFileError, "pickle"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 64, CorruptFileError, "damaged"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes, error: type[Exception], words: str) -> None:
    """One clear error a reason; nothing in the file is executed."""
    file = tmp_path / "odd.nc"
    file.write_bytes(content)
    with pytest.raises(error, match=words):
        Trace.load(file)


def test_a_truncated_file_is_corrupt(trace: Trace, tmp_path: Path) -> None:
    """Half of a saved file gives CorruptFileError that names it."""
    trace.save(tmp_path / "whole.nc")
    content = (tmp_path / "whole.nc").read_bytes()
    (tmp_path / "half.nc").write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptFileError, match=r"half\.nc"):
        Trace.load(tmp_path / "half.nc")


def test_other_netcdf_files_are_refused(trace: Trace, tmp_path: Path) -> None:
    """A netCDF file of something else, or of many traces, is not taken for a trace."""
    trace.to_xarray().assign_attrs(format="weather").to_netcdf(tmp_path / "weather.nc", engine="h5netcdf")
    with pytest.raises(CorruptFileError, match="weather"):
        Trace.load(tmp_path / "weather.nc")
    nf.Traces([trace, trace]).save(tmp_path / "many.nc")
    with pytest.raises(CorruptFileError, match=r"Traces\.load"):
        Trace.load(tmp_path / "many.nc")
    trace.save(tmp_path / "one.nc")
    with pytest.raises(CorruptFileError, match=r"Trace\.load"):
        nf.Traces.load(tmp_path / "one.nc")


def test_missing_files_and_folders(trace: Trace, tmp_path: Path) -> None:
    """A file that is not there is FileNotFoundError; a folder that is not there is named."""
    with pytest.raises(FileNotFoundError):
        Trace.load(tmp_path / "nothing.nc")
    with pytest.raises(InvalidInputError, match="does not exist"):
        trace.save(tmp_path / "nowhere" / "t.nc")
