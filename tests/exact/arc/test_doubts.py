"""Where rounding may decide what an arc meets, rational arithmetic does, or the trace says so; all of it ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.measures import near_ties
from tests.stress.checks import arcs


def _rows(weights: list[list[float]], biases: list[float]) -> nn.Module:
    net = nn.Sequential(nn.Linear(2, len(biases)), nn.ReLU()).double()
    net[0].weight.data, net[0].bias.data = (torch.tensor(v, dtype=torch.float64) for v in (weights, biases))
    return net


@pytest.mark.parametrize(
    ("kind", "seed"), [("duplicated", 102), ("denormals, 1e300", 100), ("sparse", 113), ("through knots", 104),
     ("duplicated", 9920009), ("many magnitudes", 9960012), ("many magnitudes", 12000080),
     ("denormals, 1e300", 1000000361), ("integer", 2000000017)],
)  # fmt: skip
def test_decided(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breakpoints that rounding merges, parts, moves or loses are doubts, which rational arithmetic decides."""
    verdicts = arcs(kind, seed)
    assert not any(verdict.wrong or verdict.odd for verdict in verdicts)
    monkeypatch.setattr(near_ties, "WORK", 0.0)
    verdicts = arcs(kind, seed)
    assert any(verdict.wrong for verdict in verdicts)
    assert not any(verdict.silent for verdict in verdicts)


@pytest.mark.parametrize(("kind", "seed"), [("float32 multiples", 102), ("denormals, 1e300", 104)])
def test_ends(kind: str, seed: int) -> None:
    """Images that are nearly radial up to rounding are measured in a bounded number of parts."""
    for verdict in arcs(kind, seed):
        assert not verdict.silent


def test_of_close_zeros() -> None:
    """Rows that are multiples of each other but for rounding leave a doubt; equal rows, opposite ones and others none."""
    circle = nf.Circle([1.0, 0.0], [0.0, 1.0])
    row, bias = [0.3, -0.7], 0.1
    tenth = _rows([row, [0.1 * w for w in row]], [bias, 0.1 * bias])
    trace = nf.trace_path(tenth, circle)
    assert (trace.doubtful, trace.resolved, trace.uncertain, trace.status) == (2, 2, 0, "exact; proven")
    third = nf.trace_path(tenth, replace(circle.ellipse, angle=2.0))
    assert third.uncertain == third.doubtful == 1
    assert third.status == "exact but for near ties in 1 place"
    for second, offset in ((row, bias), ([-w for w in row], -bias), ([0.4, 0.2], bias)):
        clear = nf.trace_path(_rows([row, second], [bias, offset]), circle)
        assert (clear.status, clear.uncertain) == ("exact", None)


def test_of_dips() -> None:
    """A unit that only just reaches its knot, or only just does not, is in doubt; one that clearly does is not."""
    for depth, doubtful in ((0.0, True), (1e-15, True), (-1e-15, True), (1e-9, False), (-1e-9, False)):
        at = np.array([0.6, 0.8])
        trace = nf.trace_path(_rows([(-at).tolist()], [1 - depth]), nf.Circle([1.0, 0.0], [0.0, 1.0]))
        assert bool(trace.doubtful) == doubtful
        assert depth == 0.0 or trace.regions == (3 if depth > 0 else 1)
