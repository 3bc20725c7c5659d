"""Gathering: the numbers are those of the library's own calls, and unusable input is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.errors import CaptureError, InvalidInputError
from netfold.reporting.gather import ReportData, gather

POINTS = np.random.default_rng(0).normal(size=(12, 4))


def net(seed: int = 0, depth: int = 2, **more: Any) -> nn.Module:
    return nf.random_network(inputs=4, width=7, depth=depth, outputs=3, seed=seed, **more)


def test_traces_are_those_of_the_pairs() -> None:
    """Path i runs from row pairs[i, 0] to row pairs[i, 1], through both networks."""
    found = gather(net(), POINTS, initial=net(1), pairs=5)
    lines = [nf.Line(POINTS[a], POINTS[b]) for a, b in found.pairs.rows]
    assert found.trained == nf.trace_paths(net(), lines)
    assert found.initial == nf.trace_paths(net(1), lines)
    a, b = found.example.rows
    np.testing.assert_array_equal(found.example.start, POINTS[a])
    np.testing.assert_array_equal(found.example.end, POINTS[b])


def test_accuracy_is_the_share_of_right_answers() -> None:
    """As counted by the module itself; none without labels."""
    labels = np.arange(12) % 3
    found = gather(net(), torch.from_numpy(POINTS).float(), labels=labels, pairs=2)
    with torch.no_grad():
        answers = net()(torch.from_numpy(POINTS).float()).argmax(1).numpy()
    assert found.accuracy == pytest.approx((answers == labels).mean())
    assert gather(net(), POINTS, pairs=2).accuracy is None


def test_theory_is_the_librarys_own_comparison() -> None:
    """`Traces.compare` of the network before training; of the network itself where that is not given."""
    found = gather(net(), POINTS, initial=net(1), pairs=5)
    lines = [nf.Line(POINTS[a], POINTS[b]) for a, b in found.pairs.rows]
    assert found.initial is not None
    assert str(found.theory.comparison) == str(found.initial.compare(lines, net(1)))
    assert found.theory.initial
    alone = gather(net(), POINTS, pairs=5)
    assert str(alone.theory.comparison) == str(alone.trained.compare(lines, net()))
    assert not alone.theory.initial
    assert alone.theory.diagnosis is not None
    assert alone.theory.diagnosis.q0 == pytest.approx((POINTS**2).mean())


def test_the_model_is_left_alone() -> None:
    """Mode, hooks, parameters, gradients and the global random state are as before."""
    model = net()
    state, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    gather(model, POINTS, pairs=2)
    assert not model.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((0, 4)), "two inputs"),
        (np.zeros(4), "at least two axes"),
        (np.full((5, 4), np.nan), "NaN"),
        ("text", "array of numbers"),
        (np.eye(3), "shape"),
    ],
)
def test_unusable_data(data: Any, words: str) -> None:
    """Empty, flat, not finite, not numbers, of another shape: one clear error each."""
    with pytest.raises((InvalidInputError, CaptureError), match=words):
        gather(net(), data)


def test_unusable_models_and_labels() -> None:
    """Another architecture as initial, a network without nonlinearity, labels of another length."""
    with pytest.raises(InvalidInputError, match="same architecture"):
        gather(net(), POINTS, initial=net(depth=3))
    with pytest.raises(InvalidInputError, match="no nonlinearity"):
        gather(nn.Linear(4, 2).eval(), POINTS)
    with pytest.raises(InvalidInputError, match="one class a row"):
        gather(net(), POINTS, labels=np.zeros(3))


def test_same_seed_same_numbers(small: ReportData) -> None:
    """Everything but time is a function of network, data and seed."""
    again = gather(net(), POINTS, pairs=4, seed=7)
    once_more = gather(net(), POINTS, pairs=4, seed=7)
    assert again.trained == once_more.trained
    assert again.example.rows == once_more.example.rows
    assert again.trained != small.trained
