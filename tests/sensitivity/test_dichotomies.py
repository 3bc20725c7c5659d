"""Labellings along a weight sweep, against plain forward passes with the weights in place."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.sensitivity import weight_layers
from netfold.sensitivity.dichotomies import NARROW, sauer_shelah
from netfold.sensitivity.sweeping import LayerSweep, WeightTape
from tests.models import Residual


def net(
    seed: int = 0, depth: int = 2, width: int = 12, outputs: int = 1, activation: str = "hardtanh"
) -> nn.Sequential:
    return nf.random_network(
        4, width, depth, outputs, activation, sigma_w=8**0.5, sigma_b=0.2, seed=seed, dtype=torch.float64
    )


def points(count: int = 5, seed: int = 0, shape: tuple[int, ...] = (4,)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *shape))


def sweep_by_hand(
    model: nn.Module, direction: nn.Module, layer: str, x: np.ndarray, times: np.ndarray
) -> list[tuple[int, ...]]:
    """Classes of the inputs at moments in [0, 1], by forward passes of a copy with the weights of each moment."""
    changed = copy.deepcopy(model)
    target = changed.get_parameter(f"{layer}.weight")
    first, second = (m.get_parameter(f"{layer}.weight").detach() for m in (model, direction))
    inputs, found = torch.from_numpy(x), []
    with torch.no_grad():
        for t in 2 * math.pi * times:
            target.copy_(math.cos(t) * first + math.sin(t) * second)
            out = changed(inputs).flatten(1)
            classes = (out[:, 0] > 0).long() if out.shape[1] == 1 else out.argmax(1)
            found.append(tuple(classes.tolist()))
    return found


@pytest.mark.parametrize(("outputs", "activation"), [(1, "hardtanh"), (1, "relu"), (3, "relu")])
@pytest.mark.parametrize("seed", range(2))
def test_counts_equal_a_fine_sweep(outputs: int, activation: str, seed: int) -> None:
    """Forward passes at 600 moments see no labelling beyond the count, and nearly as many."""
    model, direction = net(seed, outputs=outputs, activation=activation), net(seed + 100, outputs=outputs)
    x = points(seed=seed)
    found = nf.count_dichotomies(model, x, other=direction)
    times = (np.arange(600) + 0.5) / 600
    for i, name in enumerate(found.layers):
        seen = sweep_by_hand(model, direction, name, x, times)
        assert len(set(seen)) <= found.counts[i, 0] <= len(set(seen)) + 2  # narrow stretches lie between the moments
        flips = sum(a != b for one, two in pairwise(seen) for a, b in zip(one, two, strict=True))
        assert flips <= found.changes[i, 0]


@pytest.mark.parametrize("seed", range(3))
def test_every_stretch_is_a_labelling_of_the_network(seed: int) -> None:
    """A forward pass in the middle of each stretch between changes gives the labellings that were counted."""
    from netfold.exact.arc.tracer import trace_ellipses

    model, direction = net(seed, depth=3), net(seed + 50, depth=3)
    x = points(4, seed)
    tape = WeightTape.of(model, (4,))
    for layer in weight_layers(model):
        sweep = LayerSweep.of(tape, layer)
        other = direction.get_parameter(layer.weights[0].name).detach()
        results = trace_ellipses(sweep.program, sweep.ellipses(torch.from_numpy(x), other, 2 * math.pi)).results
        times = np.unique(np.concatenate([[0.0, 1.0], *(r.class_changes for r in results)]))
        wide = np.flatnonzero(np.diff(times) > 1e-9)
        seen = set(sweep_by_hand(model, direction, layer.name, x, (times[wide] + times[wide + 1]) / 2))
        count = nf.count_dichotomies(model, x, [layer.name], other=direction)
        assert count.counts[0, 0] == len(seen)


class Skip(nn.Module):
    """A residual network with a readout: what follows the first layer also needs the layer's own input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.body, self.read = nn.Linear(4, 4), Residual(4, nn.ReLU), nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(self.body(torch.relu(self.first(x)) + x))


@pytest.mark.parametrize("family", ["residual", "convolutional"])
def test_residual_and_convolutional_layers_are_swept(family: str) -> None:
    """Values that bypass the swept layer are held fixed."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if family == "residual":
            model, direction, shape = Skip().double(), Skip().double(), (4,)
        else:
            build = lambda: nn.Sequential(  # noqa: E731
                nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 2), nn.Flatten(), nn.Linear(2, 1)
            ).double()
            model, direction, shape = build(), build(), (1, 6, 6)
    x = points(6, 1, shape)
    found = nf.count_dichotomies(model.eval(), x, other=direction)
    for i, name in enumerate(found.layers):
        seen = set(sweep_by_hand(model, direction, name, x, (np.arange(2000) + 0.5) / 2000))
        assert len(seen) <= found.counts[i, 0] <= len(seen) + 1


def test_a_linear_readout_labels_each_input_twice() -> None:
    """Sweeping a readout without bias: every input's output is a sinusoid, two changes each, 2s labellings."""
    model = nf.random_network(4, 12, 1, 1, "hardtanh", sigma_w=3.0, seed=0, dtype=torch.float64)
    found = nf.count_dichotomies(model, points(7), ["readout"], sweeps=5)
    assert found.changes.tolist() == [[14] * 5]
    assert found.counts.tolist() == [[14] * 5]
    assert found.remaining_depth.tolist() == [0]


def test_counts_grow_with_the_remaining_depth() -> None:
    """At sigma_w^2 = 8, s = 15 (the paper's figure 5): more depth behind the swept layer, more labellings."""
    model = nf.random_network(15, 40, 4, 1, "hardtanh", sigma_w=8**0.5, seed=1)
    found = nf.count_dichotomies(model, points(15, 2, (15,)), sweeps=3)
    mean = found.counts.mean(1)
    assert found.remaining_depth.tolist() == [4, 3, 2, 1, 0]
    assert (mean[:-1] > 1.2 * mean[1:]).all()
    assert found.ceiling == 32768
    assert (found.counts <= found.ceiling).all()
    assert (found.counts <= np.maximum(found.changes, 1)).all()


def test_draws_belong_to_their_layer_and_sweep() -> None:
    model, x = net(), points()
    whole = nf.count_dichotomies(model, x, sweeps=3)
    assert nf.count_dichotomies(model, x, ["linear2"], sweeps=2).counts[0].tolist() == whole.counts[1, :2].tolist()
    assert nf.count_dichotomies(model, x, sweeps=3, seed=1).changes.tolist() != whole.changes.tolist()


def test_an_input_that_does_not_move_the_layer_keeps_its_label() -> None:
    """Zero input, first layer: nothing changes."""
    found = nf.count_dichotomies(net(), np.zeros((1, 4)), ["linear1"])
    assert found.counts.tolist() == [[1]]
    assert found.changes.tolist() == [[0]]


def test_the_sauer_shelah_sum() -> None:
    assert [sauer_shelah(4, d) for d in range(6)] == [1, 5, 11, 15, 16, 16]
    assert 0 < NARROW < 1e-9


def test_tables_and_pictures() -> None:
    found = nf.count_dichotomies(net(), points(), sweeps=2)
    assert found.to_dataframe()["count"].tolist() == found.counts.ravel().tolist()
    assert found.to_xarray()["counts"].sel(layer="linear2").values.tolist() == found.counts[1].tolist()
    ax = found.plot()
    assert ax.lines[0].get_ydata().tolist() == found.counts.ravel().tolist()
    assert "labellings of 5 inputs" in repr(found)


def test_bad_input_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.relu(self.a(torch.relu(self.a(x)))))

    with pytest.raises(nf.InvalidInputError, match="'a' is used 2 times"):
        nf.count_dichotomies(Twice().eval(), points())
    with pytest.raises(nf.NotPiecewiseLinearError):
        nf.count_dichotomies(nf.random_network(4, 5, 2, 1, "tanh"), points())
    with pytest.raises(nf.InvalidInputError, match="finite"):
        nf.count_dichotomies(net(), np.full((2, 4), np.nan))
    with pytest.raises(nf.InvalidInputError, match="sweeps"):
        nf.count_dichotomies(net(), points(), sweeps=0)
