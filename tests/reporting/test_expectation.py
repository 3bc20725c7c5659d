"""Theory beside measurement: right on average over draws, and silent where it has nothing to say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.reporting.expectation import Expectation, NoExpectation, expect

LINE = nf.Line([1.0, 0.2, -0.5, 0.7, 0.1], [-0.3, 1.0, 0.8, 0.4, -0.6])


def expected(net: nn.Module, line: nf.Line = LINE) -> Expectation | NoExpectation:
    return expect(nf.capture(net, shape=line.shape), [line])


def test_theory_is_the_mean_over_draws() -> None:
    """Growth and layer-1 transitions agree with the mean over 60 draws, which scatter as stated."""
    draws = [nf.capture(nf.random_network(5, 12, 2, outputs=2, seed=s), shape=(5,)) for s in range(60)]
    traces = [nf.trace_path(program, LINE) for program in draws]
    found = [expect(program, [LINE]) for program in draws]
    assert all(isinstance(f, Expectation) for f in found)
    theory = [f for f in found if isinstance(f, Expectation)]
    growth = np.array([t.growth for t in traces])
    predicted = np.mean([f.growth for f in theory], axis=0)
    error = growth.std(0, ddof=1) / np.sqrt(len(draws))
    assert (np.abs(growth.mean(0) - predicted) < 4 * error).all()
    spread = np.mean([f.growth_spread for f in theory], axis=0)
    assert (growth.std(0, ddof=1) < 1.25 * spread).all()
    switches = np.array([t.transitions[0] for t in traces])
    error = switches.std(ddof=1) / np.sqrt(len(draws))
    assert abs(switches.mean() - theory[0].transitions[0]) < 4 * error


def test_layer_one_transitions_are_the_angle_over_pi() -> None:
    """Without biases a unit of layer 1 changes sign on a line with probability angle(x0, x1) / pi."""
    net = nf.random_network(inputs=5, width=12, depth=2, outputs=2, seed=0)
    found = expected(net)
    assert isinstance(found, Expectation)
    cosine = LINE.x0 @ LINE.x1 / np.linalg.norm(LINE.x0) / np.linalg.norm(LINE.x1)
    assert found.transitions[0] == pytest.approx(12 * np.arccos(cosine) / np.pi)
    assert found.sigma_b == 0


def test_scale_of_the_weights_is_read_off() -> None:
    """Weights twice as large stretch twice as much in theory."""
    one, two = (expected(nf.random_network(inputs=5, width=12, depth=2, sigma_w=s, seed=0)) for s in (1.0, 2.0))
    assert isinstance(one, Expectation)
    assert isinstance(two, Expectation)
    np.testing.assert_allclose(two.growth, 2 * one.growth, rtol=1e-6)
    np.testing.assert_allclose(two.growth_spread, 2 * one.growth_spread, rtol=1e-6)


def uniform() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    net = nf.random_network(inputs=5, width=64, depth=2, outputs=2, seed=0)
    for parameter in net.parameters():
        parameter.data.uniform_(-0.2, 0.2, generator=generator)
    return net


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (uniform(), "independent Gaussian weights"),
        (nf.random_network(inputs=5, width=8, depth=1, activation="leaky_relu"), "all ReLU or all hard-tanh"),
        (nn.Sequential(nn.Linear(5, 8), nn.Hardtanh(-2, 2)).eval(), "all ReLU or all hard-tanh"),
    ],
)
def test_no_theory_is_said_plainly(net: nn.Module, words: str) -> None:
    """Weights that are not Gaussian, and other layers, get a reason and no numbers."""
    found = expected(net)
    assert isinstance(found, NoExpectation)
    assert words in found.reason


def test_wide_hard_tanh_networks_approach_the_theory() -> None:
    """At width 200 hard-tanh networks grow within 4% of the limit and switch within 8% of it."""
    programs = [
        nf.capture(nf.random_network(5, 200, 3, activation="hardtanh", sigma_w=2.0, seed=s), shape=(5,))
        for s in range(8)
    ]
    found = expect(programs[0], [LINE])
    assert isinstance(found, Expectation)
    assert not found.exact
    assert np.isnan(found.growth_spread).all()
    traces = [nf.trace_path(program, LINE) for program in programs]
    np.testing.assert_allclose(np.mean([t.growth for t in traces], axis=0), found.growth, rtol=0.04)
    np.testing.assert_allclose(np.mean([t.transitions for t in traces], axis=0), found.transitions, rtol=0.08)
