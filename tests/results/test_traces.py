"""`Traces`: a sequence of traces, its statistics and files."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.results.intervals import estimate
from netfold.results.trace import Trace
from netfold.results.traces import Traces

from .random_traces import architectures, traces


def network(seed: int = 0, depth: int = 2):
    return nf.random_network(inputs=3, width=10, depth=depth, outputs=2, activation="relu", sigma_b=0.2, seed=seed)


@pytest.fixture(scope="module")
def measured() -> Traces:
    ends = np.random.default_rng(0).normal(size=(8, 2, 3))
    return nf.trace_paths(network(), [nf.Line(a, b) for a, b in ends])


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_saving_and_loading_changes_nothing(data: st.DataObject) -> None:
    """load(save(x)) = x for any traces of one network, with ragged breakpoints and class changes."""
    architecture = data.draw(architectures())
    original = Traces(data.draw(st.lists(traces(architecture), min_size=1, max_size=4)))
    with TemporaryDirectory() as folder:
        original.save(Path(folder) / "traces.nc")
        assert Traces.load(Path(folder) / "traces.nc") == original


def test_it_is_a_sequence(measured: Traces) -> None:
    """Length, items, slices and iteration agree."""
    assert len(measured) == 8
    assert list(measured)[2] == measured[2]
    assert isinstance(measured[1:3], Traces)
    assert measured[1:3][0] == measured[1]
    assert isinstance(measured[-1], Trace)
    assert measured != measured[:7]


def test_empty_and_mixed_are_refused(measured: Traces) -> None:
    """No traces, or traces of two networks, are one clear error each."""
    with pytest.raises(InvalidInputError, match="at least one"):
        Traces([])
    other = nf.trace_path(network(depth=3), nf.Line([0.0, 1.0, 0.0], [1.0, 0.0, 0.0]))
    with pytest.raises(InvalidInputError, match="2 different networks"):
        Traces([measured[0], other])


def test_the_order_of_paths_does_not_matter_to_the_summary(measured: Traces) -> None:
    """A summary is a function of the set of paths."""
    turned = Traces(reversed(list(measured)))
    a, b = measured.summary(), turned.summary()
    numbers = ["mean", "standard_error", "low", "high"]
    np.testing.assert_allclose(a[numbers].astype(float), b[numbers].astype(float), rtol=1e-12)


def test_summary_against_closed_forms() -> None:
    """Mean, standard error and t interval of 1..5; the geometric mean of 1, 2, 4 is 2."""
    found = estimate(np.arange(1.0, 6.0))
    assert found["mean"] == 3
    assert found["standard_error"] == pytest.approx(np.sqrt(2.5 / 5))
    assert found["high"] - 3 == pytest.approx(2.7764451 * np.sqrt(0.5), rel=1e-7)  # t table, 4 degrees of freedom
    growth = estimate(np.array([1.0, 2.0, 4.0]), geometric=True)
    assert growth["mean"] == pytest.approx(2)
    assert growth["low"] * growth["high"] == pytest.approx(4)
    assert growth["high"] / 2 == pytest.approx(np.exp(4.3026527 * np.log(2) / np.sqrt(3)), rel=1e-7)
    assert growth["standard_error"] == pytest.approx(2 * np.log(2) / np.sqrt(3))


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """Of 2,000 samples of 5 normal values about 95% have an interval that covers the true mean."""
    samples = np.random.default_rng(0).normal(3.0, 2.0, (2000, 5))
    covered = [found["low"] <= 3.0 <= found["high"] for found in map(estimate, samples)]
    assert abs(np.mean(covered) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 2000)


def test_values_that_cannot_be_averaged_are_said_to_be() -> None:
    """No values, one value, and a growth of 0 give NaN where there is nothing to say."""
    nothing, one = estimate(np.array([np.nan])), estimate(np.array([2.0]))
    assert nothing["paths"] == 0
    assert np.isnan(nothing["mean"])
    assert one["mean"] == 2
    assert np.isnan(one["low"])
    dead = estimate(np.array([0.0, 1.0, 2.0]), geometric=True)
    assert dead["mean"] == 0
    assert np.isnan(dead["high"])


def test_summary_is_the_mean_of_the_traces(measured: Traces) -> None:
    """Row by row: arithmetic means of lengths, transitions and regions, geometric means of growth."""
    summary = measured.summary().set_index(["measure", "layer"])["mean"]
    layers = len(measured[0].layers)
    for layer, trace_name in itertools.product(range(1, layers + 1), ["transitions", "regions_by_layer"]):
        name = "regions" if trace_name == "regions_by_layer" else trace_name
        expected = np.mean([getattr(trace, trace_name)[layer - 1] for trace in measured])
        assert summary["transitions" if name == "transitions" else "regions", layer] == pytest.approx(expected)
    for stage in range(layers + 2):
        assert summary["length", stage] == pytest.approx(np.mean([t.lengths[stage] for t in measured]))
    for stage in range(1, layers + 2):
        ratios = [t.lengths[stage] / t.lengths[stage - 1] for t in measured]
        assert summary["growth", stage] == pytest.approx(np.exp(np.mean(np.log(ratios))))
    assert ("growth", 0) not in summary
    assert summary["regions", layers] == pytest.approx(np.mean([t.regions for t in measured]))


def test_table_and_dataset_hold_every_path(measured: Traces) -> None:
    """One row a path and stage; breakpoints of path p are those marked p."""
    table = measured.to_dataframe()
    assert len(table) == 8 * (len(measured[0].layers) + 2)
    assert table.columns[0] == "path"
    found = measured.to_xarray()
    for p in (0, 7):
        own = found["breakpoints"].values[found["breakpoint_path"].values == p]
        np.testing.assert_array_equal(own, measured[p].breakpoints)


def test_text_names_the_spread(measured: Traces) -> None:
    """The text gives the number of paths and the range of regions."""
    regions = [trace.regions for trace in measured]
    assert "8 paths" in repr(measured)
    assert f"{min(regions):,} to {max(regions):,}" in repr(measured)
    assert "growth" in measured._repr_html_()


def test_unknown_measure(measured: Traces) -> None:
    """The error lists the measures there are."""
    with pytest.raises(InvalidInputError, match="length, growth, transitions, regions"):
        measured.values("volume")
