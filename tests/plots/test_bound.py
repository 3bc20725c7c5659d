"""The bound beside the count: never below it, and closed forms where there are any."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import netfold as nf
from netfold.reporting.gather import bound_of
from netfold.theory.bounds import _of


@given(st.integers(1, 12), st.integers(1, 3), st.sampled_from(["relu", "hardtanh", "abs"]), st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_no_line_crosses_more_regions_than_the_bound(width: int, depth: int, activation: str, seed: int) -> None:
    """Regions on a line <= U(n, k, 1) <= U(n, k, m)."""
    net = nf.random_network(3, width, depth, activation=activation, sigma_w=3.0, sigma_b=1.0, seed=seed)
    program = nf.capture(net, shape=(3,))
    found = bound_of(program)
    assert found.over_all_inputs is not None
    regions = nf.trace_path(program, nf.Line([-3.0, 0.0, 1.0], [3.0, 1.0, -2.0])).regions
    assert math.log10(regions) <= found.on_a_line + 1e-12
    assert found.on_a_line <= found.over_all_inputs + 1e-12
    assert found.units == width * depth


def test_closed_forms() -> None:
    """U(n, k, 1) = (k + 1)^n for ReLU and (2k + 1)^n for hard-tanh; U(n, k, m) = 2^(kn) for m >= k."""
    found = bound_of(nf.capture(nf.random_network(9, 5, 3), shape=(9,)))
    assert found.on_a_line == pytest.approx(3 * math.log10(6))
    assert found.over_all_inputs == pytest.approx(15 * math.log10(2))
    found = bound_of(nf.capture(nf.random_network(9, 5, 3, activation="hardtanh"), shape=(9,)))
    assert found.on_a_line == pytest.approx(3 * math.log10(11))


def test_pooling_counts_like_knots() -> None:
    """A maximum of k entries cuts a line at most k - 1 times: (72 + 1)(18 * 3 + 1) for 72 ReLUs pooled by fours."""
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2)).eval()
    found = bound_of(nf.capture(pooled, torch.zeros(1, 8, 8)))
    assert found.on_a_line == pytest.approx(math.log10((72 + 1) * (18 * 3 + 1)))
    assert found.units == 72 + 18


def test_what_is_too_large_to_evaluate_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gigantic input space is left out, a line is not."""
    program = nf.capture(nf.random_network(50, [80, 80]), shape=(50,))
    monkeypatch.setattr(_of, "LARGEST", 4999)
    found = bound_of(program)
    assert found.over_all_inputs is None
    assert found.on_a_line == pytest.approx(2 * math.log10(81))
