"""Smaller networks: the same outputs on the domain, and nothing left that is proved not to be needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.cli import main
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
        again, first = nf.units(small, box, shape=(3,)), nf.units(net, box, shape=(3,))
        assert (
            small.units[1] == len(again.units.unit) == again.count("free")
        )  # every unit that stays on a piece is gone
        assert len(small.removed) >= sum(first.count(state, "proved") for state in ("dead", "on", "saturated"))
        assert small.counts[1] <= small.counts[0]


def test_every_reason() -> None:
    """Dead, saturated, the same, always on: each unit that goes says why, and a layer that is left empty goes."""
    net = nn.Sequential(nn.Linear(1, 5), nn.Hardtanh(0.0, 1.0), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [0.5], [1.0], [0.5], [1.0]]))
        net[0].bias.copy_(torch.tensor([-9.0, 0.25, 9.0, 0.25, 0.0]))
        net[2].weight.abs_(), net[2].bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    small = nf.simplify(net, nf.Box(-0.25, 0.25))
    rows = small.removed.set_index(["layer", "unit"])
    why = rows["reason"].to_dict()
    assert why[1, 0] == "dead"
    assert why[1, 2] == "saturated"
    assert why[1, 3] == "the same as unit 1"
    assert {why[2, unit] for unit in range(3)} == {"on"}
    assert rows["low"][1, 0] <= rows["high"][1, 0] <= 0.0  # what proves that it is dead
    assert small.counts[1] == 1 + 1 + 1 + 1  # a unit; the matrices of that and of the input, and the output's bias
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


class Drawn(nn.Module):
    """Convolutions, norms, skips, joins, pools and dense layers, drawn at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.rng, self.kind = rng, str(rng.choice(["ordinary", "integer", "repeated", "sparse"]))
        self.shape = c, h, _ = int(rng.integers(1, 3)), int(size := rng.integers(4, 7)), int(size)
        self.blocks, self.kinds = nn.ModuleList(), []
        for _ in range(rng.integers(2, 6)):
            kind = str(rng.choice(["conv", "conv", "skip", "less", "join", "branch", "depth", "pool", "norm", "pre"]))
            block, c, h = self._block(kind, c, h)
            self.blocks.append(block), self.kinds.append(kind)
        self.ends = str(rng.choice(["flat", "mean", "pool", "largest"]))
        count = c * h * h if self.ends == "flat" else c
        self.head = nn.Sequential(
            self._filled(nn.Linear(count, 6)), self._bent(6), self._filled(nn.Linear(6, 5)), nn.BatchNorm1d(5),
            self._bent(5), self._filled(nn.Linear(5, 2)),
        )  # fmt: skip

    def _filled(self, module: nn.Module) -> nn.Module:
        weight, bias = module.weight, module.bias
        values = self.rng.normal(size=weight.shape) / np.sqrt(weight[0].numel())
        if self.kind == "integer":
            values = self.rng.integers(-1, 2, weight.shape)
        elif self.kind == "sparse":
            values *= self.rng.random(weight.shape) < 0.4
        elif self.kind == "repeated":
            values[1:] = values[:1] * self.rng.choice([2.0, 1.0, -1.0], (len(values) - 1, *(1,) * (values.ndim - 1)))
        with torch.no_grad():
            weight.copy_(torch.from_numpy(values.astype(float)))
            if bias is not None:
                size = {"repeated": 0.0, "integer": 1.0}.get(self.kind, 2.0)
                bias.copy_(torch.from_numpy(np.round(size * self.rng.normal(size=bias.shape), 0 if size == 1 else 9)))
        return module

    def _bent(self, count: int) -> nn.Module:
        pieces = [nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.LeakyReLU(0.1), nn.PReLU(count), nn.ReLU6(), nn.Hardtanh()]
        chosen = [*pieces, nn.Hardsigmoid(), nn.Softshrink()][self.rng.integers(len(pieces) + 2)]
        if isinstance(chosen, nn.PReLU):
            chosen.weight.data.uniform_(0.0, 0.5)
        return chosen

    def _norm(self, count: int) -> nn.BatchNorm2d:
        norm = nn.BatchNorm2d(count)
        if self.kind != "repeated":
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2.0)
            norm.weight.data.normal_(), norm.bias.data.normal_(std=2.0)
        return norm

    def _block(self, kind: str, c: int, h: int) -> tuple[nn.Module, int, int]:
        out, size, bias = int(self.rng.integers(2, 5)), int(self.rng.choice([1, 3])), bool(self.rng.random() < 0.6)
        norms = [self._norm(out)] if self.rng.random() < 0.5 else []
        if kind == "conv":
            stride, padding = (int(self.rng.choice([1, 2])), int(self.rng.integers(2))) if h > 3 else (1, size // 2)
            convolution = self._filled(nn.Conv2d(c, out, size, stride, padding, bias=bias))
            return nn.Sequential(convolution, *norms, self._bent(out)), out, (h + 2 * padding - size) // stride + 1
        if kind in ("skip", "less"):
            first, last = nn.Conv2d(c, out, size, padding="same", bias=bias), nn.Conv2d(out, c, 1)
            return nn.Sequential(self._filled(first), *norms, self._bent(out), self._filled(last)), c, h
        if kind in ("join", "branch"):
            out = c if kind == "branch" else out
            convolution = self._filled(nn.Conv2d(c, out, 3, padding=1))
            return nn.Sequential(convolution, self._bent(out)), out + (c if kind == "join" else 0), h
        if kind == "depth":
            groups = int(self.rng.choice([n for n in range(1, c + 1) if c % n == 0]))
            out, norms = c * int(self.rng.integers(1, 3)), norms and [self._norm(c)]
            first = [self._filled(nn.Conv2d(c, c, 3, padding=1, groups=groups, bias=bias)), *norms, self._bent(c)]
            last = [self._filled(nn.Conv2d(c, out, 1, groups=c)), self._bent(out)]
            return nn.Sequential(*first, *last), out, h
        if kind == "pool":
            return nn.MaxPool2d(2) if bias and h > 3 else nn.AvgPool2d(2 if h > 3 else 1), c, h // 2 if h > 3 else h
        if kind == "norm":
            return self._norm(c), c, h
        return nn.Sequential(self._norm(c), self._bent(c), self._filled(nn.Conv2d(c, c, 3, padding=1))), c, h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The network."""
        for kind, block in zip(self.kinds, self.blocks, strict=True):
            made = block(x)
            if kind == "skip":
                made = torch.relu(x + made)
            elif kind == "less":
                made = made - x
            elif kind == "join":
                made = torch.cat([x, made], 1)
            elif kind == "branch":
                made = 0.5 * made + x + 1.0
            elif kind == "pre":
                made = x + made
            x = made
        ends = {"flat": lambda: x.flatten(1), "mean": lambda: x.mean((2, 3)), "largest": lambda: x.amax((2, 3))}
        ends["pool"] = lambda: nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.head(ends[self.ends]())


@pytest.mark.parametrize("first", range(0, 24, 8))
def test_convolutions_skips_and_norms(first: int) -> None:
    """Random networks of all kinds: outputs equal on random points and corners of the box, units and weights fewer."""
    units, counts = np.zeros(2), np.zeros(2)
    for seed in range(first, first + 8):
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        net = Drawn(rng).double().eval().requires_grad_(False)
        low, width = torch.from_numpy(rng.normal(size=net.shape)), float(rng.choice([0.01, 0.1, 0.5]))
        before = {name: value.clone() for name, value in net.state_dict().items()}
        small = nf.simplify(net, nf.Box(low, low + width), regions=0)
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        share = torch.rand(1000, *net.shape, dtype=torch.float64)
        share[500:] = share[500:].round()
        expected, found = net(low + width * share), small(low + width * share)
        assert torch.allclose(expected, found, rtol=1e-12, atol=1e-12 * float(expected.abs().max() + 1)), seed
        assert small.units[0] - small.units[1] == len(small.removed)
        units, counts = units + small.units, counts + small.counts
    assert units[1] < 0.6 * units[0]
    assert counts[1] < 0.6 * counts[0]


class Block(nn.Module):
    """A residual block with batch norm, and what can be known of its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.second, self.last = nn.Conv2d(4, 3, 3, padding=1), nn.Linear(12, 2)
        with torch.no_grad():
            self.norm.bias.copy_(
                torch.tensor([-99.0, 99.0, 0.0, 0.0])
            )  # dead, always on, and two of which one is twice
            self.first.weight[3] = self.first.weight[2]
            self.norm.weight.copy_(torch.tensor([1.0, 1.0, 1.0, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The network."""
        y = x + self.second(torch.relu(self.norm(self.first(x))))
        return self.last(nn.functional.max_pool2d(torch.relu(y), 2).flatten(1))


def test_whole_maps_of_a_residual_block(tmp_path: Path) -> None:
    """Each map goes for its reason, the norm becomes part of the convolution; what is saved computes the same."""
    torch.manual_seed(1)
    net = Block().eval()
    box = nf.Box(torch.full((3, 4, 4), -1.0), torch.ones(3, 4, 4))
    small = nf.simplify(net, box)
    why = small.removed.groupby("unit")["reason"].first()
    first = small.removed[small.removed["layer"] == 1]
    assert first["reason"].value_counts().to_dict() == {
        "dead": 16, "on": 16, **{f"2 times unit {unit}": 1 for unit in range(32, 48)},
    }  # fmt: skip
    assert why[0] == "dead"
    assert [tuple(p.shape) for p in small.parameters()][:2] == [(2,), (2, 3, 3, 3)]
    small.save(tmp_path / "small.pt2")
    x = 2 * torch.rand(50, 3, 4, 4) - 1
    again = nf.capture(nf.load_model(tmp_path / "small.pt2"))
    assert torch.allclose(net(x), small(x), atol=1e-5)
    assert torch.allclose(again(x.double()).float(), small(x), atol=1e-5)
    with pytest.raises(nf.InvalidInputError, match=r"written as a \.pt2 file"):
        small.save(tmp_path / "small.pt")


def test_groups_go_as_a_whole() -> None:
    """A channel of a convolution by channel goes with what it reads; of a group of two, one alone stays."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 4, 1, groups=4), nn.ReLU(), nn.Conv2d(4, 2, 1),
    ).double().eval()  # fmt: skip
    with torch.no_grad():
        net[1].bias[:2], net[4].bias[2:4] = torch.tensor([-50.0, 50.0]), -50.0
        net[4].bias[4], net[6].bias[3], net[6].weight[2] = -50.0, -50.0, 1.0
    small = nf.simplify(net, nf.Box(torch.full((3, 4, 4), -1.0), torch.ones(3, 4, 4)))
    x = 2 * torch.rand(100, 3, 4, 4, dtype=torch.float64) - 1
    assert torch.allclose(net(x), small(x), rtol=1e-12)
    shapes = [tuple(p.shape) for name, p in small.named_parameters() if name.endswith("weight")]
    # Channels 4 to 7 feed maps 2 and 3, of which the last is dead, and 4 is dead in the middle: 5 alone is computed.
    assert shapes == [(1, 3, 1, 1), (1, 1, 3, 3), (1, 2, 1, 1), (2, 1, 1, 1)]


def test_layers_that_mix_channels_keep_them() -> None:
    """A layer that selects, tokens, a grouped convolution: what goes in is whole, and the output the same."""
    torch.manual_seed(0)

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.groups, self.tokens = nn.Conv1d(2, 4, 1), nn.Conv1d(4, 4, 1, groups=2), nn.Linear(5, 3)
            with torch.no_grad():
                self.first.bias.copy_(torch.tensor([-50.0, 0.0, 0.0, 0.0]))
                self.first.weight[1:, 0], self.first.weight[1:, 1] = 0.5, -0.5

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.tokens(self.groups(torch.relu(self.first(x))))
            return torch.maximum(*y.flip(1).chunk(2, 1)).amax(1)

    net, x = Mixed().double().eval(), torch.rand(100, 2, 5, dtype=torch.float64)
    small = nf.simplify(net, nf.Box(0.0, 1.0), shape=(2, 5))
    assert torch.allclose(net(x), small(x), rtol=1e-12)
    assert small.removed.query("layer == 1").groupby("reason").size().to_dict() == {
        "dead": 5, **{f"the same as unit {unit}": 2 for unit in range(5, 10)},
    }  # fmt: skip


def made() -> nn.Module:
    """What the command line simplifies."""
    return nf.random_network(2, 9, 2, 3, sigma_b=1.0, seed=1)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The smaller model, what went and the bounds of what is left; a bad call ends in one line."""
    inputs = np.full((1, 2), 0.1, np.float32)
    files = {name: tmp_path / name for name in ("inputs.npy", "small.pt2", "went.csv", "left.csv")}
    np.save(files["inputs.npy"], inputs)
    call = ["simplify", f"{__name__}:made", "-o", str(files["small.pt2"]), "--data", str(files["inputs.npy"])]
    tables = ["--removed", str(files["went.csv"]), "--table", str(files["left.csv"])]
    assert main([*call, "--around", "0.05", *tables, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    small = nf.simplify(made(), nf.Box(inputs[0] - 0.05, inputs[0] + 0.05))
    assert told == json.loads(json.dumps(small.to_dict()))
    assert len(files["went.csv"].read_text().splitlines()) == 1 + len(small.removed)
    assert len(files["left.csv"].read_text().splitlines()) == 1 + small.units[1]
    again, x = nf.capture(nf.load_model(files["small.pt2"])), torch.from_numpy(inputs).double()
    assert torch.allclose(again(x), made().double()(x), atol=1e-5)
    assert main(call) == 2
    assert "simplified in a box" in capsys.readouterr().err
