"""Plans of bits against a naive loop, in which every network is copied, rounded and run."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.sensitivity.planning import _spread, calibrated
from tests.sensitivity.models import make, naive

OPTIONS = (2, 3, 5)


def rounded(value: Tensor, bits: int) -> Tensor:
    """Integers times one scale an output channel (the first axis), by numpy."""
    old = value.detach().numpy()
    largest = np.abs(old).reshape(len(old), -1).max(1).reshape(-1, *[1] * (old.ndim - 1))
    top = 2 ** (bits - 1) - 1
    return torch.from_numpy(np.rint(old / largest * top) * largest / top)


def loss(outputs: Tensor, labels: Tensor) -> float:
    return float(nn.functional.cross_entropy(outputs, labels))


@pytest.mark.parametrize("family", ["dense", "residual", "branching"])
def test_losses_are_those_of_rounded_copies(family: str) -> None:
    """Each layer alone, all together and the uniform plan; the size is within the limit."""
    model, x, y = make(family)
    plan = nf.bit_plan(model, (x, y), 3.4, bits=OPTIONS)
    clean = loss(naive(model, x, {}), y)
    assert plan.clean == pytest.approx(clean, rel=1e-9)
    for i, layer in enumerate(plan.layers):
        for j, bits in enumerate(OPTIONS):
            new = {name: rounded(model.get_parameter(name), bits) for name in layer.parameters}
            assert plan.losses[i, j] == pytest.approx(loss(naive(model, x, new), y) - clean, abs=1e-9)
    weights = {name: rounded(model.get_parameter(name), la.bits) for la in plan.layers for name in la.parameters}
    assert plan.loss == pytest.approx(loss(naive(model, x, weights), y) - clean, abs=1e-9)
    uniform = {name: rounded(model.get_parameter(name), plan.uniform_bits) for name in weights}
    assert plan.uniform_loss == pytest.approx(loss(naive(model, x, uniform), y) - clean, abs=1e-9)
    assert plan.mean_bits <= 3.4
    assert plan.mean_bits <= plan.uniform_bits < plan.mean_bits + 1
    assert plan.interaction == plan.loss - plan.predicted
    for name, value in plan.weights(model).items():
        assert torch.allclose(value, weights[name], rtol=1e-12)


def test_what_the_plan_goes_by() -> None:
    """Losses beyond their interval as measured; never rising with bits; their sum is what is predicted."""
    model, x, y = make("dense")
    plan = nf.bit_plan(model, (x, y), 3.4, bits=OPTIONS)
    direct = nf.layer_sensitivity(model, (x, y), "loss", nf.Quantise(2, per_channel=True), strengths=OPTIONS)
    sure = (direct.loss > direct.interval)[:, 0]
    assert sure.any()
    assert (plan.expected[sure, 0] >= direct.loss[sure, 0]).all()
    assert (np.diff(plan.expected, axis=1) <= 0).all()
    at = [OPTIONS.index(bits) for bits in plan.bits.values()]
    assert plan.predicted == pytest.approx(plan.expected[np.arange(len(at)), at].sum())


def test_the_least_size_at_a_loss() -> None:
    """The prediction is within the loss asked for; a larger loss never takes more bits."""
    model, x, y = make("dense")
    plans = [nf.bit_plan(model, (x, y), loss=allowed, bits=OPTIONS) for allowed in (0.02, 0.2, 1e9)]
    assert all(plan.predicted <= plan.asked_loss for plan in plans)
    sizes = [plan.size for plan in plans]
    assert sizes == sorted(sizes, reverse=True)
    assert set(plans[-1].bits.values()) == {2}


def test_few_measured_layers_tell_the_others() -> None:
    """With direct=4 four layers are measured, those at the ends of the score's ranks among them."""
    model, x, y = make("dense")
    plan = nf.bit_plan(model, (x, y), 3.4, bits=OPTIONS, direct=4)
    direct = np.array([layer.direct for layer in plan.layers])
    assert direct.sum() == 4
    assert np.isnan(plan.losses[~direct]).all()
    assert np.isfinite(plan.expected).all()
    assert direct[[plan.scores[:, 0].argmin(), plan.scores[:, 0].argmax()]].all()
    assert "4 layers measured; rank correlation" in repr(plan)
    hurried = nf.bit_plan(model, (x, y), 3.4, bits=OPTIONS, seconds=1e-6)
    assert sum(layer.direct for layer in hurried.layers) == 4


def test_labels_of_any_kind_and_loaders_give_the_same_plan() -> None:
    """Class numbers, one-hot rows of integers or reals, and a loader of batches."""
    model, x, y = make("dense")
    whole = nf.bit_plan(model, (x, y), 3.4, bits=OPTIONS, batch_size=16)
    hot = nn.functional.one_hot(y, 3)
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    for data in ((x, hot), (x, hot.double()), loader, iter(list(loader))):
        assert nf.bit_plan(model, data, 3.4, bits=OPTIONS, batch_size=16) == whole


def test_one_hot_labels_are_classes_and_stay_so() -> None:
    """Accuracy by default; a first batch that is one-hot and a later one that is not are refused."""
    model, x, y = make("dense")
    hot = nn.functional.one_hot(y, 3).double()
    found, wanted = (nf.layer_sensitivity(model, (x, labels), repeats=2) for labels in (hot, y))
    assert found == wanted
    hot[-1] = 0.3
    with pytest.raises(InvalidInputError, match="one-hot in the first batch"):
        nf.layer_sensitivity(model, (x, hot), "loss", repeats=2, batch_size=16)


def test_limits_that_nothing_keeps() -> None:
    """One error that names the limit, and the least that it can be."""
    model, x, _ = make("dense")
    with pytest.raises(InvalidInputError, match="mean_bits must be at least 3"):
        nf.bit_plan(model, x, 2.0, bits=(3, 4))
    with pytest.raises(InvalidInputError, match=r"loss must be at least .* at 2 bits, got 0"):
        nf.bit_plan(model, x, loss=0.0, bits=(2,))


def test_the_model_is_as_before() -> None:
    """Weights, gradients, mode, hooks and random states, after a plan and after an error."""
    model, x, y = make("convolutional")
    model.train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    nf.bit_plan(model, (x, y), 3.4, bits=OPTIONS)
    with pytest.raises(InvalidInputError, match="at least"):
        nf.bit_plan(model, (x, y), 2.0, bits=(3, 4))
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_files_hold_the_plan(tmp_path: Path) -> None:
    """JSON by the model's own names, netCDF without loss, and a picture."""
    model, x, y = make("dense")
    plan = nf.bit_plan(model, (x, y), 3.4, bits=OPTIONS)
    plan.save_json(tmp_path / "plan.json")
    told = json.loads((tmp_path / "plan.json").read_text())
    assert set(told["parameters"]) <= set(model.state_dict())
    assert told["bits"] == plan.bits
    assert {model.get_submodule(path) for path in told["bits"]}
    plan.save(tmp_path / "plan.nc")
    assert nf.BitPlan.load(tmp_path / "plan.nc") == plan
    assert [text.get_text() for text in plan.plot().get_xticklabels()] == [layer.label for layer in plan.layers]
    with pytest.raises(InvalidInputError, match="is not a list of modules"):
        plan.weights(nn.Sequential(nn.Linear(2, 2)))


def test_bad_arguments_are_refused() -> None:
    model, x, y = make("dense")
    for more in ({}, {"mean_bits": 4, "loss": 0.1}):
        with pytest.raises(InvalidInputError, match="give one limit"):
            nf.bit_plan(model, (x, y), **more)
    with pytest.raises(InvalidInputError, match="direct"):
        nf.bit_plan(model, (x, y), 4, direct=2)
    with pytest.raises(InvalidInputError, match="bits"):
        nf.bit_plan(model, (x, y), 4, bits=[1, 4])


def test_the_curve_from_scores_to_losses() -> None:
    """Rising through the measured losses, from 0 on, and in proportion beyond them."""
    score = np.array([[4.0, 1.0], [2.0, 0.5], [8.0, 3.0]])
    losses = np.array([[2.0, 0.3], [0.1, 0.5], [np.nan, np.nan]])
    found = calibrated(score, losses, np.array([True, True, False]))
    # 0.5, 0.3 and 0.1 at 0.5, 1 and 2 are pooled to their mean
    assert found == pytest.approx(np.array([[2.0, 0.3], [0.3, 0.3], [4.0, 0.3 + 1.7 / 2]]))


def test_layers_that_lose_nothing_go_by_their_scores() -> None:
    """Where no rounding changes a class, the bits are those with the least sum of scores."""
    model, x, _ = make("dense")
    plan = nf.bit_plan(model, x[:1], 4.0, bits=(3, 4, 8), metric="disagreement")
    assert plan.predicted == 0.0
    at = [(3, 4, 8).index(bits) for bits in plan.bits.values()]
    counts = np.array([layer.weights for layer in plan.layers])
    every = np.array(list(product(range(3), repeat=len(at))))
    within = (np.array([3, 4, 8])[every] * counts).sum(1) <= 4 * counts.sum()
    sums = plan.scores[np.arange(len(at)), every].sum(1)[within]
    assert plan.scores[np.arange(len(at)), at].sum() == pytest.approx(sums.min(), rel=1e-6)


def test_every_beginning_is_spread_over_the_ranks() -> None:
    score = np.random.default_rng(0).permutation(17).astype(float)
    order = _spread(score)
    assert sorted(order) == list(range(17))
    assert score[order[:5]].tolist() == [0.0, 16.0, 8.0, 4.0, 12.0]
