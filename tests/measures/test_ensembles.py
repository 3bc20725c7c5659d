"""Ensembles: every trace is that of the network by itself, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.exact.line.ensemble import EnsembleTracer, stackable
from netfold.measures.ensembles import SMALL, trace_each
from netfold.measures.tracing import trace_straight

RNG = np.random.default_rng(0)


def networks(count: int, **settings: Any) -> list[nn.Module]:
    """Random networks of one architecture; sizes that are no multiples of eight."""
    settings = {"inputs": 5, "width": [11, 8, 13], "outputs": 3, "sigma_w": 2.0, "sigma_b": 0.3, **settings}
    return [nf.random_network(**settings, seed=seed) for seed in range(count)]


def lines(count: int, inputs: int = 5) -> list[nf.Line]:
    return [nf.Line(*RNG.standard_normal((2, inputs))) for _ in range(count)]


@pytest.mark.parametrize("activation", ["relu", "hardtanh", "abs"])
def test_lines(activation: str) -> None:
    """Together along lines, and one by one."""
    nets, paths = networks(6, activation=activation), lines(6)
    traces = nf.trace_ensemble(nets, paths)
    assert list(traces) == [nf.trace_path(net, path) for net, path in zip(nets, paths, strict=True)]
    assert traces[0].provenance["paths_together"] == 6


def test_blocks_and_threads_change_nothing() -> None:
    """However the rows are cut, and whoever follows them."""
    nets, paths = networks(7, sigma_w=6.0), lines(6)
    paths.append(nf.Polyline(RNG.standard_normal((40, 5))))
    programs = [nf.capture(net, shape=(5,)) for net in nets]
    wanted = [nf.trace_path(program, path) for program, path in zip(programs, paths, strict=True)]
    assert sum(trace.regions for trace in wanted) > 500
    before = torch.get_num_threads()
    try:
        for threads, size, fork in ((1, 2**12, 2**16), (1, 2**22, 2**16), (2, 2**14, 500)):
            torch.set_num_threads(threads)
            tracer = EnsembleTracer(programs, block_bytes=size, fork=fork)
            assert trace_straight(programs[0], paths, tracer) == wanted
    finally:
        torch.set_num_threads(before)


def test_images_that_stand_still() -> None:
    """Saturated stretches, on which values must come out equal to the last bit."""
    nets = networks(4, activation="hardtanh", sigma_w=30.0, sigma_b=30.0)
    for net in nets:
        net[0].weight.data[1:] = 0.0
    paths = lines(4)
    found = nf.trace_ensemble(nets, paths)
    assert list(found) == [nf.trace_path(net, path) for net, path in zip(nets, paths, strict=True)]


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda seed: nf.random_network(2, 5, 2, activation="tanh", seed=seed), nf.Line([0.0, 1.0], [1.0, 0.5])),
        (lambda seed: nf.random_network(2, 5, 2, seed=seed), nf.Circle([1.0, 0.0], [0.0, 1.0])),
        (lambda seed: nf.random_network(2, 5, 2, seed=seed), nf.Curve(lambda t: torch.stack([t, t**2], -1))),
        (lambda seed: nf.random_network(2, 5, 0, seed=seed), nf.Line([0.0, 1.0], [1.0, 0.5])),
        (lambda seed: pooled(seed), nf.Line(np.zeros((1, 4, 4)), np.ones((1, 4, 4)))),
    ],
    ids=["smooth", "circle", "curve", "linear", "pooled"],
)
def test_other_networks_and_paths(make: Any, path: Any) -> None:
    """What cannot be followed together gives the same traces too; one path serves all networks."""
    nets = [make(seed) for seed in range(3)]
    found = nf.trace_ensemble(nets, path)
    assert list(found) == [nf.trace_path(net, path) for net in nets]


def pooled(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2)).eval()


def test_which_networks_go_together() -> None:
    """Dense ones do; a skip connection is followed by itself."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.second(torch.relu(self.first(x))))

    assert stackable(nf.capture(networks(1)[0], shape=(5,)))
    skips = [Skip().eval() for _ in range(2)]
    assert not stackable(nf.capture(skips[0], shape=(5,)))
    paths = lines(2)
    assert list(nf.trace_ensemble(skips, paths)) == [nf.trace_path(*pair) for pair in zip(skips, paths, strict=True)]
    wide = networks(2, width=[200, 200])
    assert sum(p.numel() for p in wide[0].parameters()) > SMALL
    assert nf.trace_ensemble(wide, lines(2))[0].provenance["paths_together"] == 1


def test_networks_are_drawn_as_they_are_needed() -> None:
    """A generator of large networks never has more than a few of them out."""
    out, most = [], 0

    def large() -> Iterator[nn.Module]:
        for seed in range(6):
            out.append(seed)
            yield nf.random_network(inputs=5, width=1000, depth=2, seed=seed)

    for found in trace_each((net, nf.Line(np.zeros(5), np.full(5, 1e-6))) for net in large()):
        most = max(most, len(out))
        out.pop(0)
        assert isinstance(found.outcome, nf.Trace)
    assert most <= 3


def test_one_failure_stops_no_other() -> None:
    """Each network has its own outcome, errors with those that caused them."""
    nets, paths = networks(5), lines(5)
    nets[1][0].weight.data[0, 0] = float("nan")
    nets[3].train()
    nets[3].add_module("drop", nn.Dropout())
    paths[4] = nf.Line(np.zeros(4), np.ones(4))
    found = list(trace_each(zip(nets, paths, strict=True)))
    kinds = [type(f.outcome) for f in found]
    assert kinds == [nf.Trace, nf.InvalidInputError, nf.Trace, nf.CaptureError, nf.InvalidInputError]
    assert found[2].outcome == nf.trace_path(nets[2], paths[2])
    assert all(f.seconds > 0 for f in found)


def test_errors() -> None:
    """One clear error, which says which network is meant."""
    path = nf.Line(np.zeros(5), np.ones(5))
    with pytest.raises(nf.InvalidInputError, match="there is no network"):
        nf.trace_ensemble([], path)
    with pytest.raises(nf.InvalidInputError, match="one path for each network"):
        nf.trace_ensemble(networks(2), [path])
    with pytest.raises(nf.InvalidInputError, match="network 1 has other layers than network 0"):
        nf.trace_ensemble([*networks(1), *networks(1, width=[3])], path)
    bad = networks(2)
    bad[1][2].bias.data[0] = float("nan")
    with pytest.raises(nf.InvalidInputError, match=r"network 1: .* holds 1 values that are NaN"):
        nf.trace_ensemble(bad, path)
    with pytest.raises(nf.NotPiecewiseLinearError, match="network 0"):
        nf.trace_ensemble(networks(1, activation="tanh"), path, "exact")
    with pytest.raises(nf.InvalidInputError, match="method must be 'auto'"):
        nf.trace_ensemble(networks(1), path, "quick")  # pyright: ignore[reportArgumentType]
