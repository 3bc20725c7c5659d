"""Measured growth against exact and mean-field theory, on random networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import netfold as nf


@pytest.mark.parametrize(
    ("width", "depth", "networks"), [(2, 1, 150), (5, 2, 60), (10, 4, 30), (50, 8, 12), (100, 8, 10), (256, 8, 6)]
)
def test_relu_length_at_finite_width(width: int, depth: int, networks: int) -> None:
    """Each layer multiplies the expected length by sigma_w / sqrt(k) M(k), whatever the layers before did.

    M(k) = sum_j C(k, j) 2^-k sqrt(2) Gamma((j + 1) / 2) / Gamma(j / 2): the mean norm of a Gaussian vector of which
    every entry is kept with probability 1/2. Ratios of successive layers are independent of the path before them; a
    layer that died has none.
    """
    rng, ratios = np.random.default_rng(width), []
    for seed in range(networks):
        net = nf.random_network(width, width, depth, 1, "relu", sigma_w=math.sqrt(2), seed=seed, dtype=torch.float64)
        trace = nf.trace_path(net, nf.Circle(*rng.normal(size=(2, width))))
        ratios += [b / a for a, b in zip(trace.lengths[:-2], trace.lengths[1:-1], strict=True) if a > 0]
    kept = range(1, width + 1)
    norms = [math.sqrt(2) * math.exp(math.lgamma((j + 1) / 2) - math.lgamma(j / 2)) for j in kept]
    factor = math.sqrt(2 / width) * sum(math.comb(width, j) / 2**width * m for j, m in zip(kept, norms, strict=True))
    assert factor == pytest.approx(math.exp(-5 / (8 * width)), rel=2 / width**2)
    error = np.std(ratios) / math.sqrt(len(ratios))
    assert np.mean(ratios) == pytest.approx(factor, abs=4 * error)
    assert error < 0.06


@pytest.mark.parametrize(("activation", "depth"), [("hardtanh", 4), ("tanh", 3)])
def test_growth_of_wide_networks(activation: str, depth: int) -> None:
    """A circle at the fixed point grows by sqrt(chi_1) a layer where the width is large: 512 units, to 2%."""
    width, sigma_w = 512, math.sqrt(8.0)
    field = nf.theory.mean_field(activation, sigma_w=sigma_w, sigma_b=0.0)
    rng = np.random.default_rng(0)
    u, v = np.linalg.qr(rng.normal(size=(width, 2)))[0].T * math.sqrt(width * field.q) / sigma_w
    net = nf.random_network(width, width, depth, 1, activation, sigma_w=sigma_w, seed=1, dtype=torch.float64)
    path = nf.Circle(u, v) if activation == "hardtanh" else nf.Arc(u, v)
    trace = nf.trace_path(net, path)
    assert trace.method == ("exact" if activation == "hardtanh" else "sampled")
    assert trace.growth[1:] == pytest.approx(np.full(depth - 1, math.sqrt(field.chi_1)), rel=0.02)
