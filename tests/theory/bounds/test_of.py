"""Bounds of given networks: those of their shape, never below a count, and silent about nothing."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb, prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import netfold as nf
from netfold.errors import InvalidInputError, NotPiecewiseLinearError
from netfold.theory import bounds
from netfold.theory.bounds import NetworkBounds, _of
from netfold.theory.bounds._shape import cells
from tests import cases
from tests.models import Residual, random_model
from tests.theory import oracles
from tests.theory.bounds import constructions
from tests.theory.oracles import random_layers, regions


def value(found: NetworkBounds, name: str) -> int:
    bound = next(row.bound for row in found.rows if row.name == name)
    assert bound is not None, name
    return int(bound)


def note(found: NetworkBounds, name: str) -> str:
    return next(row.note for row in found.rows if row.name == name)


def module(layers: Sequence[oracles.Layer], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A torch network of rational layers, with a readout."""
    parts: list[nn.Module] = []
    for layer in layers:
        rows = torch.tensor([[float(x) for x in row] for row in layer.rows], dtype=torch.float64)
        linear = nn.Linear(rows.shape[1] - 1, len(rows)).double()
        linear.weight.data, linear.bias.data = rows[:, :-1].clone(), rows[:, -1].clone()
        parts += [linear, activation()]
    return nn.Sequential(*parts, nn.Linear(len(layers[-1].rows), 1).double()).eval()


@given(
    st.integers(1, 6),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.sampled_from(["relu", "leaky_relu", "hardtanh", "relu6", "abs"]),
)
@settings(max_examples=25, deadline=None)
def test_a_dense_network_has_the_bounds_of_its_shape(inputs: int, widths: list[int], activation: str) -> None:
    """Every row that `table` has too is the same number of the same kind."""
    net = nf.random_network(inputs, widths, activation=activation, sigma_b=1.0)
    found = bounds.of(net, shape=(inputs,))
    for row in bounds.table(inputs, widths, activation).rows:
        if row.name == "hanin_rolnick2019":
            continue
        own = next(r.bound for r in found.rows if r.name == row.name)
        assert own == row.bound
        assert (own and own.kind) == (row.bound and row.bound.kind)
    generic = [row.name for row in found.rows if row.name.endswith("ranks)")]
    assert len(generic) == 1


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_no_line_crosses_more_regions_than_the_bounds(seed: int) -> None:
    """Dense, residual, branched and pooled networks, traced on a long line: every upper bound holds.

    For one input a line of 10^4 either way is the input space, as far as counting can see.
    """
    net, shape = random_model(seed)
    rng = np.random.default_rng(seed)
    middle, step = rng.normal(size=shape), rng.normal(size=shape)
    regions = nf.trace_path(net, nf.Line(middle - 1e4 * step, middle + 1e4 * step)).regions
    found = bounds.of(net, shape=shape, dimension=1)
    uppers = [row for row in found.rows if row.bound is not None and row.bound.kind.is_upper]
    assert len(uppers) >= 3
    for row in uppers:
        assert regions <= row.bound, row.name  # type: ignore[operator]


@pytest.mark.parametrize("name", ["L1", "L2", "L3", "L4", "L5", "H1", "H2", "H3", "H4"])
def test_known_counts_on_lines_stay_below(name: str) -> None:
    """Dense and convolutional networks with exactly known counts, the first layers alone and all of them."""
    net, line = cases.build(name)
    known = cases.CASES[name].regions
    found = bounds.of(net, shape=line.shape, dimension=1)
    uppers = [row for row in found.rows if row.bound is not None and row.bound.kind.is_upper]
    assert len(uppers) >= 4
    for row in uppers:
        assert known[-1] <= row.bound, row.name  # type: ignore[operator]
    for layers, count in enumerate(known, 1):
        first = bounds.table(1, found.widths[:layers], "hardtanh" if name.startswith("H") else "relu")
        assert count <= first.upper == prod(n * (1 + name.startswith("H")) + 1 for n in found.widths[:layers])


@pytest.mark.parametrize("widths", [[7], [5, 3], [2, 5], [3, 3, 3]])
def test_exact_counts_in_the_plane_stay_below(widths: list[int]) -> None:
    """Counts in rational arithmetic, ReLU and hard-tanh; one generic layer reaches them."""
    for kind, activation in ((oracles.relu, nn.ReLU), (oracles.hardtanh, nn.Hardtanh)):
        if activation is nn.Hardtanh and sum(widths) > 8:
            continue
        layers = random_layers(np.random.default_rng(len(widths)), 2, widths, kind)
        found = bounds.of(module(layers, activation), shape=(2,))
        count = len(regions(layers, 2))
        assert count <= found.upper
        if len(widths) == 1:
            assert count == found.upper


@pytest.mark.parametrize("widths", [[3, 3, 3], [4, 3], [5, 5]])
def test_composed_sawtooths_reach_the_bound_on_a_line(widths: list[int]) -> None:
    """prod (n_l + 1) regions: no more, and the construction of Serra et al. has as many."""
    layers, _ = constructions.sawtooth_composition(widths, constructions.serra2018_fold)
    net = module(layers)
    found = bounds.of(net, shape=(1,))
    assert nf.trace_path(net, nf.Line([-50.0], [50.0])).regions == found.upper == prod(n + 1 for n in widths)
    assert found.lower == found.upper


def test_ranks_of_the_matrices_count() -> None:
    """Serra's bound with ranks 3 and 1 is 75; a factored layer has the rank of its factors."""
    net = nf.random_network(3, [4, 4], sigma_b=1.0)
    with torch.no_grad():
        net[2].weight.copy_(torch.outer(torch.arange(1.0, 5.0), torch.tensor([1.0, -1.0, 2.0, 0.5])))  # type: ignore[operator]
    found = bounds.of(net, shape=(3,))
    assert value(found, "serra2018_upper (ranks)") == 75 == bounds.serra2018_upper(3, [4, 4], ranks=[3, 1])
    assert value(found, "serra2018_upper") == 161
    factored = nn.Sequential(nn.Linear(10, 2, bias=False), nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 1)).eval()
    found = bounds.of(factored, shape=(10,))
    assert value(found, "serra2018_upper (ranks)") == 1 + 9 + comb(9, 2)
    assert "2 weight operations" in note(found, "montufar2014")


class Bypass(nn.Module):
    """One ReLU, then k units that read it and the input: |x| - c for k different c."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.arange(1.0, k + 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(2 * torch.relu(x) - x - self.c).sum(1, keepdim=True)


@pytest.mark.parametrize("k", [1, 4])
def test_a_skip_connection_breaks_the_bounds_of_chains(k: int) -> None:
    """2k + 2 regions where Serra's bound for the widths 1, k is k + 2: the product bound holds, and is met."""
    net = Bypass(k).eval()
    found = bounds.of(net, shape=(1,))
    regions = nf.trace_path(net, nf.Line([-99.0], [98.0])).regions
    assert regions == 2 * k + 2 == found.upper
    assert regions > bounds.serra2018_upper(1, [1, k]) == k + 2
    assert "skip connection" in note(found, "serra2018_upper")
    assert "chains of layers" in note(found, "serra2018_lower")


class Stem(nn.Module):
    """A narrow stem, then residual blocks on it."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Linear(12, 2)
        self.up = nn.ModuleList([nn.Linear(2, 5) for _ in range(blocks)])
        self.down = nn.ModuleList([nn.Linear(5, 2) for _ in range(blocks)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return x


def test_a_residual_network_is_as_thin_as_its_stem() -> None:
    """Everything goes through 2 numbers, so each layer of 5 cuts R^2: (1 + 5 + 10) a layer, not 2^5."""
    found = bounds.of(Stem(3).eval(), shape=(12,))
    assert value(found, "montufar2017") == 16**3
    assert value(found, "raghu2017") == 2**15
    first, second = found.layers[:2]
    assert (first.entering, first.leaving, second.entering) == (2, 7, 2)


def test_a_skip_from_the_layer_before_is_still_a_chain() -> None:
    """x + W x is one affine map: bounds of chains hold, folding constructions do not speak of it."""
    found = bounds.of(Residual(4, nn.ReLU).eval(), shape=(4,))
    assert value(found, "serra2018_upper") == bounds.serra2018_upper(4, [4, 4])
    assert "joins several paths" in note(found, "montufar2014")


def test_convolutions_count_by_their_windows() -> None:
    """One-dimensional windows: R_1 of Xiong et al., then the product bound; a lower bound for chains of them."""
    net = nn.Sequential(nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Conv1d(3, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))
    found = bounds.of(net.eval(), shape=(1, 5))
    layers = [bounds.Conv(3, 2), bounds.Conv(2, 2)]
    assert value(found, "xiong2020_upper") == bounds.xiong2020_upper(5, 1, layers)
    assert value(found, "xiong2020_lower") == bounds.xiong2020_lower(5, 1, layers)
    assert value(found, "raghu2017") == cells(12, 5) * cells(6, 5)
    assert "is a convolution" in note(found, "montufar2014")
    assert "whole input space" in next(
        row.note for row in bounds.of(net, shape=(1, 5), dimension=2).rows if row.name == "xiong2020_upper"
    )
    dense_after = nn.Sequential(nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.ReLU())
    found = bounds.of(dense_after.eval(), shape=(1, 5))
    assert value(found, "xiong2020_upper") == int(bounds.xiong2020(5, 1, 2, 1, 3)) * cells(4, 5)
    assert "does not follow a convolution" in note(found, "xiong2020_lower")


class Maxout(nn.Module):
    """Two layers of rank-3 maxout units."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.read = nn.Linear(2, 9), nn.Linear(3, 12), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).unflatten(1, (3, 3)).amax(2)
        return self.read(self.second(x).unflatten(1, (4, 3)).amax(2))


def test_maxout_and_pooling() -> None:
    """Maxout networks have the rows of their rank; a pooled maximum of k entries cuts like k - 1 knots."""
    found = bounds.of(Maxout().eval(), shape=(2,))
    for row in bounds.table(2, [3, 4], rank=3).rows:
        assert row.bound is None or value(found, row.name) == row.bound
    assert value(found, "raghu2017") == bounds.montufar2022_maxout_upper(2, [3, 4], 3)
    pooled = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.MaxPool1d(3), nn.Linear(2, 1))
    found = bounds.of(pooled.eval(), shape=(1, 2))
    assert value(found, "raghu2017") == cells(6, 2) * 3**2
    assert "maxima by Montúfar" in next(row.bound for row in found.rows if row.name == "raghu2017").source  # type: ignore[union-attr]


def test_random_maxout_networks_stay_below() -> None:
    """Counts in rational arithmetic of maxout layers of rank 3."""
    rng = np.random.default_rng(3)
    weights, biases = rng.integers(-99, 100, (3, 3, 2)).tolist(), rng.integers(-99, 100, (3, 3)).tolist()
    last = [[[Fraction(x) for x in row] for row in unit] for unit in rng.integers(-99, 100, (4, 3, 3)).tolist()]
    layers = [oracles.maxout(weights, biases), oracles.maxout(last, rng.integers(-99, 100, (4, 3)).tolist())]
    assert len(regions(layers, 2)) <= bounds.of(Maxout().eval(), shape=(2,)).upper


def test_biases_and_kinds_of_units_matter_to_lower_bounds() -> None:
    """Without biases the constructions are out of reach; of leaky units the theorems do not speak."""
    bare = nn.Sequential(nn.Linear(2, 9, bias=False), nn.ReLU(), nn.Linear(9, 1)).eval()
    assert "needs biases" in note(bounds.of(bare, shape=(2,)), "montufar2014")
    leaky = bounds.of(nf.random_network(2, 9, 1, activation="leaky_relu"), shape=(2,))
    assert "ReLU units" in note(leaky, "montufar2014")
    assert leaky.lower is not None  # of one layer, whose upper bound is the maximum
    assert bounds.of(bare, shape=(2,)).lower is None


def test_mixed_units_take_the_best_of_both() -> None:
    """Hard-tanh then leaky: 2 knots count in the first layer, which alone loses dimensions."""
    net = nn.Sequential(nn.Linear(1, 1), nn.Hardtanh(), nn.Linear(1, 3), nn.LeakyReLU(), nn.Linear(3, 1)).eval()
    found = bounds.of(net, shape=(1,))
    assert value(found, "raghu2017") == 3 * 4
    assert value(found, "hinz2019 (binomial)") == 4 + 1 + 1  # only the sloped piece is cut again


def test_words_and_forms() -> None:
    """The table names network and reasons; data frame, plot and frozenness."""
    found = bounds.of(nf.random_network(2, [6, 6], sigma_b=1.0), shape=(2,), dimension=1)
    text = repr(found)
    assert "2 inputs (regions on a line), relu widths 6 6" in text
    assert "does not apply: hanin_rolnick2019: it speaks of random weights" in text
    frame = found.to_dataframe()
    assert frame.loc[frame["bound"] == "raghu2017", "value"].item() == 49
    axes = found.plot()
    assert [tick.get_text() for tick in axes.get_yticklabels()][0] == "hinz2019 (naive)"
    with pytest.raises(AttributeError):
        found.inputs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("net", "options", "error", "words"),
    [
        (nn.Sequential(nn.Linear(2, 3), nn.Tanh()), {}, NotPiecewiseLinearError, "tanh"),
        (nn.Linear(2, 3), {}, InvalidInputError, "one affine function"),
        (nn.Sequential(nn.Linear(2, 3), nn.ReLU()), {"dimension": 3}, InvalidInputError, "2 inputs, got 3"),
        (
            nn.Sequential(nn.Linear(2, 3), nn.ReLU()),
            {"dimension": 0},
            InvalidInputError,
            "dimension must be a whole number from 1",
        ),
        (
            nn.Sequential(nn.Linear(2, 3), nn.ReLU()),
            {"only": ["raghu"]},
            InvalidInputError,
            "no bound 'raghu' .* raghu2017",
        ),
    ],
)
def test_bad_input(net: nn.Module, options: dict[str, Any], error: type[Exception], words: str) -> None:
    """Each refusal names what is wrong."""
    with pytest.raises(error, match=words):
        bounds.of(net.eval(), shape=(2,), **options)


def test_single_rows_can_be_asked_for() -> None:
    """Only those are evaluated, and they are the same."""
    net = nf.random_network(3, [5, 4], sigma_b=1.0)
    found = bounds.of(net, only=["montufar2017"])
    assert [row.name for row in found.rows] == ["montufar2017"]
    assert value(found, "montufar2017") == value(bounds.of(net), "montufar2017") == found.upper


def test_what_takes_too_long_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an exact integer is out of reach its row says so, and the bound on a line stays."""
    net = nf.random_network(50, [80, 80])
    monkeypatch.setattr(_of, "LARGEST", 4999)
    monkeypatch.setattr(_of, "LARGEST_TABLE", 4999)
    found = bounds.of(net, shape=(50,))
    assert "takes too long" in note(found, "raghu2017")
    assert "dimension=1" in note(found, "serra2018_upper")
    assert value(found, "hinz2019 (naive)") == 2**160
    assert bounds.of(net, shape=(50,), dimension=1).upper == 81**2
