"""Laws of sampled traces: closed forms, and agreement with exact traces where both apply."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from tests.models import random_model


def test_one_tanh_unit() -> None:
    """A monotone unit's image is as long as the difference of its ends, and crosses 0 once."""
    layer = nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(1.5)
        layer.bias.fill_(0.3)
    trace = nf.trace_path(nn.Sequential(layer, nn.Tanh()), nf.Line([-2.0], [3.0]))
    assert trace.method == "sampled"
    assert trace.status == "converged"
    np.testing.assert_allclose(trace.lengths[1], np.tanh(4.8) - np.tanh(-2.7), rtol=1e-10)
    np.testing.assert_allclose(trace.breakpoints, [(2 - 0.2) / 5], atol=1e-10)


@pytest.mark.parametrize("seed", range(24))
def test_agrees_with_the_exact_trace(seed: int) -> None:
    """On piecewise-linear networks: equal transitions, and lengths within the estimated error."""
    model, shape = random_model(seed)
    path = nf.Line(*np.random.default_rng(seed).normal(0, 2.0, (2, *shape)))
    exact, sampled = nf.trace_path(model, path), nf.trace_path(model, path, "sampled")
    assert sampled.transitions.tolist() == exact.transitions.tolist()
    assert sampled.regions == exact.regions
    assert (np.abs(sampled.lengths - exact.lengths) <= sampled.error + 1e-9 * exact.lengths).all()


def test_a_free_curve_equals_the_same_line() -> None:
    """A line written as a free curve gives the line's exact trace."""
    net = nf.random_network(3, 10, 2, 1, sigma_b=0.3, seed=1)
    a, b = np.random.default_rng(0).normal(size=(2, 3))
    start, end = torch.from_numpy(a), torch.from_numpy(b)
    curve = nf.trace_path(net, nf.Curve(lambda t: (1 - t) * start + t * end))
    line = nf.trace_path(net, nf.Line(a, b))
    assert curve.method == "sampled"
    assert curve.transitions.tolist() == line.transitions.tolist()
    np.testing.assert_allclose(curve.lengths, line.lengths, rtol=1e-8)
    np.testing.assert_allclose(curve.breakpoints, line.breakpoints, atol=1e-9)


def test_tanh_growth_on_the_great_circle() -> None:
    """Wide tanh networks stretch a circle of radius sqrt(q*) by sqrt(chi_1) a layer."""
    theory = nf.theory.mean_field("tanh", sigma_w=2.5, sigma_b=0.3)
    net = nf.random_network(512, 512, 3, 1, "tanh", sigma_w=2.5, sigma_b=0.3, seed=0)
    u, v = np.linalg.qr(np.random.default_rng(0).normal(size=(512, 2)))[0].T
    radius = (512 * (theory.q - 0.3**2)) ** 0.5 / 2.5
    trace = nf.trace_path(net, nf.Arc(radius * u, radius * v))
    np.testing.assert_allclose(trace.growth[1:], theory.chi_1**0.5, rtol=0.04)


def test_a_small_transformer() -> None:
    """An encoder with attention, normalisation and GELU is measured, and the measurement converges."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, dropout=0.0)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten()).eval()
    trace = nf.trace_path(model, nf.Line(*np.random.default_rng(1).normal(size=(2, 4, 8))))
    assert trace.status == "converged"
    assert (trace.lengths > 0).all()
    t = np.linspace(0, 1, 20001)
    with torch.no_grad():
        path = nf.Line(*np.random.default_rng(1).normal(size=(2, 4, 8)))
        output = model.double()(torch.from_numpy(path(t))).numpy()
    chords = np.linalg.norm(np.diff(output, axis=0), axis=1).sum()
    np.testing.assert_allclose(trace.output.length, chords, rtol=1e-6)
