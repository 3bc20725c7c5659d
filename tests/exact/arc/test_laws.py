"""Laws of exact traces along arcs and circles, checked by plain forward passes that share no code with the tracer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import netfold as nf
from tests.exact.arc.curved import images
from tests.models import FAMILIES, random_model, record


def random_curve(seed: int, shape: tuple[int, ...]) -> nf.Arc | nf.Circle:
    rng = np.random.default_rng([seed, 2])
    u, v, center = rng.normal(0, 2.0, (3, *shape))
    return nf.Arc(u, v) if rng.integers(2) else nf.Circle(u, v, center)


@pytest.mark.parametrize("family", range(len(FAMILIES)), ids=FAMILIES)
@settings(max_examples=24, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_patterns_and_lengths_by_forward_passes(family: int, seed: int) -> None:
    """Between breakpoints the pattern is constant, across each it changes; fine chords converge to the lengths."""
    model, shape = random_model(seed, family)
    path = random_curve(seed, shape)
    trace = nf.trace_path(model, path)
    edges = np.concatenate([[0.0], trace.breakpoints, [1.0]])
    width = np.diff(edges)
    assert (width > 0).all()
    wide = width > 1e-9
    middle, _, _ = record(model, path((edges[1:] + edges[:-1]) / 2))
    joint = torch.cat(middle, 1)
    assert (joint[1:] != joint[:-1]).any(1)[wide[1:] & wide[:-1]].all()
    for share in (0.02, 0.98):
        other, _, _ = record(model, path(edges[:-1] + share * width))
        assert torch.equal(torch.cat(other, 1)[wide], joint[wide])
    if wide.all():
        assert trace.patterns == len(torch.unique(joint, dim=0))
        flips = np.array([(m[1:] != m[:-1]).sum().item() for m in middle])
        closing = np.array([(m[0] != m[-1]).sum().item() for m in middle]) * isinstance(path, nf.Circle)
        assert trace.transitions.tolist() == (flips + closing).tolist()
    fine = np.unique(np.concatenate([np.linspace(0, 1, 4001), trace.breakpoints]))
    _, images, output = record(model, path(fine))
    chords = [np.linalg.norm(np.diff(i.numpy(), axis=0), axis=1).sum() for i in [*images, output]]
    np.testing.assert_allclose(trace.lengths[1:], chords, rtol=2e-5, atol=1e-9)
    assert (trace.lengths[1:] >= np.array(chords) * (1 - 1e-10)).all()  # 4,000 chords round that far


def test_first_layer_without_bias_on_a_great_circle() -> None:
    """Every ReLU of a first layer without bias switches exactly twice on a circle about the origin."""
    net = nf.random_network(20, 64, 2, 1, sigma_b=0.0, seed=4)
    u, v = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 2)))[0].T
    trace = nf.trace_path(net, nf.Circle(u, v))
    assert trace.transitions[0] == 2 * 64
    assert trace.transitions[1] % 2 == 0
    assert trace.patterns <= 1 + trace.transitions.sum()


def test_half_a_flip_a_unit_on_a_quarter_arc() -> None:
    """In wide zero-bias ReLU networks, half a flip a unit in every layer on an orthonormal quarter arc."""
    u, v = np.linalg.qr(np.random.default_rng(1).normal(size=(50, 2)))[0].T
    counts = [nf.trace_path(nf.random_network(50, 200, 3, 1, seed=s), nf.Arc(u, v)).transitions for s in range(20)]
    mean, error = np.mean(counts, axis=0) / 200, np.std(counts, axis=0, ddof=1) / 200 / 20**0.5
    assert (np.abs(mean - 0.5) < 4 * error + 0.01).all()


def test_angular_length_predicts_the_sign_changes_of_random_readouts() -> None:
    """Crofton: a Gaussian readout changes its sign angular length / pi times on average, at any width."""
    net = nf.random_network(8, 12, 3, 4000, "hardtanh", sigma_w=3.0, seed=2)
    path = nf.Arc(*np.random.default_rng(3).normal(size=(2, 8)))
    trace = nf.trace_path(net, path)
    changes = trace.output.sign_changes
    expected = trace.layers[-1].angular_length / np.pi
    assert abs(changes.mean() - expected) < 4 * changes.std(ddof=1) / len(changes) ** 0.5


@pytest.mark.parametrize("activation", ["relu", "hardtanh", "leaky_relu"])
@pytest.mark.parametrize("kind", [nf.Arc, nf.Circle])
def test_lengths_by_quadrature(activation: str, kind: type) -> None:
    """Image lengths to 1e-10 of Gauss-Legendre quadrature of the speed, which forward-mode derivatives give.

    Many units move in every piece of these networks; an image that turns back on a line has a speed with a kink.
    """
    net = nf.random_network(6, 12, 4, 3, activation, sigma_w=2.0, sigma_b=0.3, seed=2, dtype=torch.float64)
    path = kind(*np.random.default_rng(3).normal(size=(2, 6)))
    trace = nf.trace_path(net, path)
    edges = np.concatenate([[0.0], trace.breakpoints, [1.0]])
    edges = np.append((edges[:-1, None] + np.diff(edges)[:, None] * np.arange(8) / 8).ravel(), 1.0)
    nodes, weights = np.polynomial.legendre.leggauss(30)
    half = np.diff(edges) / 2
    t = (edges[:-1, None] + half[:, None] * (1 + nodes)).ravel()
    for length, (_, velocity) in zip(trace.lengths[1:], images(net, path, t), strict=True):
        speed = np.linalg.norm(velocity, axis=1).reshape(len(half), -1)
        assert length == pytest.approx((speed * weights).sum(1) @ half, rel=1e-10)
