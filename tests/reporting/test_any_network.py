"""A report is made of any network: what cannot be shown is named, and what was sampled or estimated says so."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import netfold as nf
from netfold.exact.numerics import compiling
from netfold.measures import many_lines
from netfold.progress import Budget
from netfold.results.plane_sample import PlaneSample
from netfold.results.trace_estimates import TraceEstimates

DATA = np.random.default_rng(0).standard_normal((12, 4))


def test_a_smooth_network_has_a_report(tmp_path: Path) -> None:
    """Lines are sampled, the plane is a grid, and the bound, which it has not, is named as absent."""
    net = nf.random_network(4, 8, 2, outputs=3, activation="tanh", sigma_w=2.0, seed=0)
    found = nf.report(net, DATA, tmp_path / "smooth.html", pairs=3)
    page = (tmp_path / "smooth.html").read_text(encoding="utf-8")
    assert found.trained[0].method == "sampled"
    assert found.slice is not None
    assert isinstance(found.slice.trained, PlaneSample)
    assert found.bound is None
    assert set(found.not_made) == {
        "How does that compare with the most there could be?",
        "Which units never change?",
    }
    assert all(title in page for title in found.not_made)
    assert "no border here is exact" in page
    assert "Positions are exact, not sampled" not in page


def test_a_softmax_changes_little(tmp_path: Path) -> None:
    """What stands before it is exact, the plane and the bound are of that part."""
    net = nn.Sequential(*nf.random_network(4, 8, 2, outputs=3, sigma_b=0.5, seed=0), nn.Softmax(-1)).eval()
    found = nf.report(net, DATA, tmp_path / "soft.html", pairs=3)
    assert found.trained[0].method == "exact, then sampled"
    assert not found.not_made
    assert found.slice is not None
    assert not isinstance(found.slice.trained, PlaneSample)


def test_lines_that_are_too_long_are_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says so, and the estimates can be read again."""
    monkeypatch.setattr(many_lines, "pace_of", lambda *_: 10.0)
    net = nf.random_network(4, 8, 2, outputs=3, sigma_b=0.5, seed=0)
    found = nf.report(net, DATA, tmp_path / "long.html", pairs=5)
    page = (tmp_path / "long.html").read_text(encoding="utf-8")
    assert isinstance(found.trained, TraceEstimates)
    assert (len(found.pairs), found.asked) == (2, 5)
    assert "right on average" in page
    assert "What does one path between two inputs look like?" in found.not_made
    numbers = json.loads((tmp_path / "long_files" / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["estimated"]
    stored = nf.TraceEstimate.load(tmp_path / "long_files" / "measurements.nc", group="trained/1")
    assert stored == found.trained[1]


def test_compiling_is_not_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first run, which waits a hundred seconds for its passes, counts as a second one does."""

    def late(*arguments: object, **options: object) -> object:
        compiling.elsewhere(100.0)
        return nf.estimate_trace(*arguments, **options)

    monkeypatch.setattr(many_lines, "Budget", lambda seconds: Budget(seconds, begin=time.perf_counter() - 100.0))
    monkeypatch.setattr(many_lines, "estimate_trace", late)
    program = nf.capture(nf.random_network(4, 8, 2, outputs=3, sigma_b=0.5, seed=0), shape=(4,))
    lines = [nf.Line(DATA[i], DATA[i + 1]) for i in range(4)]
    found = many_lines.measured(program, lines, "tracing", False, 60.0)
    assert isinstance(found, nf.Traces)
    assert len(found) == 4


def test_estimates_are_those_of_each_line() -> None:
    """One row a line and one column a stage, as traces have them."""
    net = nf.random_network(4, 8, 2, outputs=3, sigma_b=0.5, seed=0)
    lines = [nf.Line(DATA[0], DATA[1]), nf.Line(DATA[2], DATA[3])]
    each = [nf.estimate_trace(net, line, progress=False) for line in lines]
    together, traces = TraceEstimates(each), nf.trace_paths(net, lines)
    for measure in ("length", "growth", "transitions"):
        assert together.values(measure) == pytest.approx(traces.values(measure))
    assert many_lines.regions_of(together).tolist() == many_lines.regions_of(traces).tolist()
    assert len(together[:1]) == 1


def test_smooth_lines_that_are_too_long_are_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no time to sample even two of them, and no word says that the network is linear anywhere."""
    monkeypatch.setattr(many_lines, "FOR_SAMPLED", 10**9)
    net = nf.random_network(4, 10, 2, outputs=3, activation="tanh", seed=0)
    found = nf.report(net, DATA, tmp_path / "report.html", pairs=2, seconds=5.0)
    assert isinstance(found.trained, TraceEstimates)
    assert "linear rule" not in (tmp_path / "report.html").read_text(encoding="utf-8")
