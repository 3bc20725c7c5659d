"""Breakpoints against plain refinement in 80-bit arithmetic, which shares no code with netfold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import netfold as nf
from tests.cases import build

Extended = NDArray[np.longdouble]


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no 80-bit floats on this machine")
@pytest.mark.parametrize("name", ["L1", "L3", "H1"])
def test_breakpoints_in_extended_precision(name: str) -> None:
    """Every breakpoint to 1e-9, and the layer that makes it."""
    net, path = build(name)
    trace = nf.trace_path(net, path)
    t, layers = breakpoints(net, path.x0.astype(np.longdouble), path.x1.astype(np.longdouble))
    np.testing.assert_allclose(trace.breakpoints, t.astype(np.float64), rtol=0, atol=1e-9)
    assert trace.breakpoint_layers.tolist() == layers.tolist()


def breakpoints(net: nn.Sequential, x0: Extended, x1: Extended) -> tuple[Extended, NDArray[np.int64]]:
    """Where units change their state, by forward passes from the input at every breakpoint found so far."""
    weights = [(wide(m.weight), wide(m.bias)) for m in net if isinstance(m, nn.Linear)]
    low, high = (0, np.inf) if isinstance(net[1], nn.ReLU) else (-1, 1)
    t, made = np.array([0, 1], np.longdouble), np.array([-1, -1])
    for depth in range(len(weights) - 1):
        h = x0 + t[:, None] * (x1 - x0)
        for weight, bias in weights[:depth]:
            h = np.clip(h @ weight.T + bias, low, high)
        h = h @ weights[depth][0].T + weights[depth][1]
        for knot in (low, high):
            side = h > knot
            s, unit = np.nonzero(side[1:] != side[:-1])
            a, b = h[s, unit], h[s + 1, unit]
            t = np.append(t, t[s] + (knot - a) / (b - a) * (t[s + 1] - t[s]))
            made = np.append(made, np.full(len(s), depth))
        order = np.argsort(t, kind="stable")
        t, made = t[order], made[order]
    return t[1:-1], made[1:-1]


def wide(values: torch.Tensor) -> Extended:
    return values.detach().numpy().astype(np.longdouble)
