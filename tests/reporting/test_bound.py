"""The bound beside the count: never below it, and closed forms where there are any."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import netfold as nf
from netfold.reporting.bound import BoundOfRegions, NoBound, bound_of


@given(st.integers(1, 12), st.integers(1, 3), st.sampled_from(["relu", "hardtanh", "abs"]), st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_no_line_crosses_more_regions_than_the_bound(width: int, depth: int, activation: str, seed: int) -> None:
    """Regions on a line <= U(n, k, 1) <= U(n, k, m)."""
    net = nf.random_network(3, width, depth, activation=activation, sigma_w=3.0, sigma_b=1.0, seed=seed)
    program = nf.capture(net, shape=(3,))
    found = bound_of(program.layers, 3)
    assert isinstance(found, BoundOfRegions)
    assert found.over_all_inputs is not None
    regions = nf.trace_path(program, nf.Line([-3.0, 0.0, 1.0], [3.0, 1.0, -2.0])).regions
    assert math.log10(regions) <= found.on_a_line + 1e-12
    assert found.on_a_line <= found.over_all_inputs + 1e-12
    assert found.units == width * depth


def test_closed_forms() -> None:
    """U(n, k, 1) = (k + 1)^n for ReLU and (2k + 1)^n for hard-tanh; U(n, k, m) = 2^(kn) for m >= k."""
    relu = nf.capture(nf.random_network(9, 5, 3), shape=(9,))
    hard = nf.capture(nf.random_network(9, 5, 3, activation="hardtanh"), shape=(9,))
    found = bound_of(relu.layers, 9)
    assert isinstance(found, BoundOfRegions)
    assert found.on_a_line == pytest.approx(3 * math.log10(6))
    assert found.over_all_inputs == pytest.approx(15 * math.log10(2))
    found = bound_of(hard.layers, 9)
    assert isinstance(found, BoundOfRegions)
    assert found.on_a_line == pytest.approx(3 * math.log10(11))


def test_it_says_where_it_stops() -> None:
    """Max pooling has no knots; a gigantic input space is left out, a line is not."""
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2)).eval()
    found = bound_of(nf.capture(pooled, torch.zeros(1, 8, 8)).layers, 64)
    assert isinstance(found, NoBound)
    assert "max_pool2d" in found.reason
    layers = nf.capture(nf.random_network(9, 5, 3), shape=(9,)).layers
    wide = [layer.__class__(**{**vars(layer), "units": 10**6}) for layer in layers]
    found = bound_of(wide, 10**6)
    assert isinstance(found, BoundOfRegions)
    assert found.over_all_inputs is None
    assert found.on_a_line == pytest.approx(3 * math.log10(10**6 + 1))
