"""Smaller networks: the same outputs on the domain, and nothing left that is proved not to be needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from tests.measures.test_units import dense


@pytest.mark.parametrize("kind", ["ordinary", "integer", "repeated", "sparse", "no bias"])
def test_outputs_are_the_same_on_the_domain(kind: str) -> None:
    """On points of the box and its corners, to rounding; no proved dead or saturated unit is left."""
    rng = np.random.default_rng(7)
    for width in (0.05, 0.5):
        net, box = dense([3, 8, 7, 6, 2], kind, rng), nf.Box(-width, 0.5 * width)
        before = [p.clone() for p in net.parameters()]
        small = nf.simplify(net, box, shape=(3,))
        assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
        x = torch.from_numpy(rng.uniform(-width, 0.5 * width, (500, 3)))
        x[250:] = torch.where(x[250:] > -0.25 * width, 0.5 * width, -width)
        expected, found = net(x), small(x)
        assert torch.allclose(expected, found, rtol=1e-11, atol=1e-11 * float(expected.detach().abs().max() + 1))
        again = nf.units(small, box, shape=(3,))
        assert again.count("dead", "proved") == again.count("saturated", "proved") == 0
        assert small.units[1] == len(again.units.unit)
        assert small.counts[1] <= small.counts[0]


def test_every_reason() -> None:
    """Dead, saturated, the same, always on: each unit that goes says why, and a layer that is left empty goes."""
    net = nn.Sequential(nn.Linear(1, 5), nn.Hardtanh(0.0, 1.0), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [0.5], [1.0], [0.5], [1.0]]))
        net[0].bias.copy_(torch.tensor([-9.0, 0.25, 9.0, 0.25, 0.0]))
        net[2].weight.abs_(), net[2].bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    small = nf.simplify(net, nf.Box(-0.25, 0.25))
    why = {(layer, unit): reason for layer, _, unit, reason in small.removed.itertuples(index=False)}
    assert why[1, 0] == "dead"
    assert why[1, 2] == "saturated"
    assert why[1, 3] == "the same as unit 1"
    assert {why[2, unit] for unit in range(3)} == {"on"}
    assert [type(m).__name__ for m in small] in (["Linear", "Hardtanh", "Linear"], ["Beside", "Linear"])
    assert str(small).startswith(f"{small.units[1]} of 8 units")
    x = torch.linspace(-0.25, 0.25, 50, dtype=torch.float64)[:, None]
    assert torch.allclose(net(x), small(x), rtol=1e-14)


def test_a_network_that_is_constant() -> None:
    """Where all units are dead the output is its bias."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].bias.fill_(-100.0)
    small = nf.simplify(net, nf.Box(-1.0, 1.0))
    assert torch.equal(small(torch.randn(4, 2)), net[2].bias.expand(4, 2))


def test_shapes_norms_and_number_types() -> None:
    """Images in, batch norm folded, float32 out; the simplified network is captured like any other."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.BatchNorm1d(9), nn.LeakyReLU(0.1), nn.Linear(9, 4))
    net[2].running_mean.normal_(), net[2].running_var.uniform_(0.5, 2.0)
    net.eval()
    small = nf.simplify(net, nf.Box(-0.1, 0.1), shape=(3, 4))
    x = torch.rand(20, 3, 4) * 0.2 - 0.1
    assert small(x).dtype == torch.float32
    assert torch.allclose(net(x), small(x), atol=1e-6)
    assert nf.count_regions(small, nf.Plane(torch.zeros(3, 4), 0.1 * torch.rand(3, 4), 0.1 * torch.rand(3, 4))).regions


class Skip(nn.Module):
    """A residual network."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The network."""
        return x + torch.relu(self.linear(x))


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Skip(), "as skips do"),
        (nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 4)), nn.MaxPool1d(2), nn.Flatten()), "selects"),
        (nn.Sequential(nn.Linear(2, 4), nn.Softshrink(), nn.Linear(4, 1)), "none of ReLU"),
    ],
)
def test_what_is_no_chain(net: nn.Module, words: str) -> None:
    """One clear error."""
    with pytest.raises(nf.InvalidInputError, match=words):
        nf.simplify(net, nf.Box(-1.0, 1.0), shape=(2,))
