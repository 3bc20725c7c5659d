"""Every result reads well: a line, a screen, a table in notebooks, and numbers by the same names."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import netfold as nf
from netfold.capture import Data
from netfold.results.base import Saved

NET = nf.random_network(inputs=3, width=8, depth=40, outputs=2, sigma_b=0.3, seed=0)
SMALL = nf.random_network(inputs=2, width=6, depth=2, outputs=2, sigma_b=0.3, seed=0)
X, Y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2


def results() -> dict[str, Saved]:
    line = nf.Line(X[0], X[1])
    return {
        "trace": nf.trace_path(SMALL, line),
        "deep trace": nf.trace_path(NET, nf.Line([0.0, 1.0, 0.0], [1.0, 0.0, 1.0])),
        "traces": nf.trace_paths(SMALL, [line]),
        "estimated trace": nf.estimate_trace(SMALL, line),
        "plane": nf.partition_plane(SMALL, nf.Plane.through(*X[:3])),
        "count": nf.count_regions(SMALL),
        "estimate": nf.estimate_regions(SMALL, effort=1000),
        "patterns": nf.count_patterns(SMALL, X),
        "complexity": nf.local_complexity(SMALL, X, radius=0.1),
        "sensitivity": nf.layer_sensitivity(SMALL, (X, Y), repeats=2),
        "history": nf.monitors.follow([(0, SMALL), (5, SMALL)], [nf.monitors.AlongPaths(line)]),
        "dichotomies": nf.count_dichotomies(SMALL, X[:5]),
    }


def test_results_are_a_line_a_screen_and_a_table():
    """`str` is one line with the class's name, `repr` at most 50 lines that start with it, notebooks get a table."""
    for name, found in results().items():
        line, screen = str(found), repr(found)
        assert screen.splitlines()[0] == line, name
        assert type(found).__name__ in line, name
        assert 10 < len(line) < 300, name
        assert len(screen.splitlines()) <= 50, name
        assert "<table" in found._repr_html_(), name
        assert found.to_dict(), name
        assert len(found.to_dataframe()), name
        assert found.to_xarray().attrs["format"], name


def test_tables_are_written_too(tmp_path):
    """What is no more than a table has the same verbs as every result; exact integers are written as text."""
    tables = {
        "topology": nf.region_topology(SMALL),
        "graph": nf.region_graph(SMALL),
        "score": nf.score(SMALL, X, lines=2),
        "diagnosis": nf.diagnose(SMALL),
        "field": nf.theory.mean_field("tanh", 2.5, 0.3),
        "bounds": nf.bounds.table(100, [1000] * 10),
    }
    for name, found in tables.items():
        assert repr(found).splitlines()[0].endswith(str(found)), name
        assert len(repr(found).splitlines()) <= 50, name
        assert "<table" in found._repr_html_(), name
        assert found.to_dict(), name
        found.save(tmp_path / f"{name}.nc")
        with xr.open_dataset(tmp_path / f"{name}.nc", engine="h5netcdf") as read:
            assert read.attrs["result"] == repr(found), name
            assert set(read.variables) >= {*found.to_dataframe().columns}, name
    exact = {row.name: str(int(row.bound)) for row in tables["bounds"].rows if isinstance(row.bound, int)}
    table = tables["bounds"].to_xarray()
    written = dict(zip(table["bound"].values, table["value"].values, strict=True))
    assert exact
    assert exact.items() <= written.items()


def test_a_program_is_a_screen():
    """However many layers there are."""
    program = nf.capture(NET, shape=(3,))
    assert len(repr(program).splitlines()) < 40
    assert str(program).startswith("Program of Sequential: (3,) -> (2,)")


def test_counts_and_estimates_have_value_and_regions():
    """Whoever changes from one to the other changes nothing else."""
    count, estimate = nf.count_regions(SMALL), nf.estimate_regions(SMALL)
    assert estimate.exact
    assert count.value == count.regions == estimate.value == estimate.regions


@pytest.mark.parametrize("data", [(X, Y), (X, Y.tolist()), Data(X, Y, "a file")], ids=["arrays", "lists", "file"])
def test_labelled_inputs_are_inputs(data):
    """Where inputs are taken, (x, y) is taken too, and gives the same as x."""
    assert nf.count_patterns(SMALL, data) == nf.count_patterns(SMALL, X)
    assert nf.local_complexity(SMALL, data, radius=0.1) == nf.local_complexity(SMALL, X, radius=0.1)
    assert nf.score(SMALL, data, lines=2).regions == nf.score(SMALL, X, lines=2).regions


def test_two_rows_are_no_labels():
    """A tuple of two points is two points."""
    assert nf.count_patterns(SMALL, ([0.0, 1.0], [1.0, 0.0])).samples == 2
    assert nf.count_patterns(SMALL, (X[0], X[1])).samples == 2
