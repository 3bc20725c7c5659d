"""Local complexity and sampled patterns against brute-force forward passes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.measures import states
from netfold.measures.patterns import SaturationWarning
from netfold.results.complexity import LocalComplexity
from tests.models import random_model, record


def drawn(seed: int):
    model, shape = random_model(seed)
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    directions = np.linalg.qr(rng.standard_normal((size, min(3, size))))[0].T.reshape(-1, *shape)
    return model, rng.normal(size=(5, *shape)), directions


def brute(model, points, steps) -> np.ndarray:
    vertices = np.concatenate([points[:, None] + steps, points[:, None] - steps], 1)
    seen = record(model, vertices.reshape(-1, *points.shape[1:]))[0]
    rows = [s.reshape(len(points), 2 * len(steps), -1) for s in seen]
    return np.stack([(r != r[:, :1]).any(1).sum(1).numpy() for r in rows], 1)


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_forward_passes(seed):
    model, points, directions = drawn(seed)
    found = nf.local_complexity(model, points, 0.4, directions)
    assert (found.counts == brute(model, points, 0.4 * directions)).all()
    assert (found.total == found.counts.sum(1)).all()


def test_counts_do_not_depend_on_how_many_points_run_together(monkeypatch):
    model, points, directions = drawn(3)
    found = nf.local_complexity(model, points, 0.4, directions)
    monkeypatch.setattr(states, "NUMBERS", 1)
    assert (nf.local_complexity(model, points, 0.4, directions).counts == found.counts).all()


def test_smooth_units_count_by_sign_and_the_rest_is_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh(), nn.Softmax(1)).eval()
    points, steps = np.random.default_rng(0).normal(size=(6, 4)), 0.3 * np.eye(4)
    found = nf.local_complexity(model, points, 0.3, np.eye(4))
    assert ([layer.op for layer in found.layers], found.left_out) == (["gelu", "tanh"], ("2", "5"))
    vertices = np.concatenate([points[:, None] + steps, points[:, None] - steps], 1)
    with torch.no_grad():
        h = model[0](torch.tensor(vertices, dtype=torch.float32))
    assert (found.counts[:, 0] == (h > 0).numpy().any(1).sum(1) - (h > 0).numpy().all(1).sum(1)).all()


def test_signs_of_hardtanh_are_not_their_states():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Hardtanh())
    nn.init.ones_(model[0].weight)
    state, sign = (nf.local_complexity(model, [[0.0], [1.0]], 0.1, count=c).total.tolist() for c in ("state", "sign"))
    assert (state, sign) == ([0, 1], [1, 0])


def test_tables_files_and_figures(tmp_path):
    net = nf.random_network(4, 16, 2, 1, sigma_b=0.3, seed=0)
    found = nf.local_complexity(net, np.random.default_rng(0).normal(size=(10, 4)), 0.2)
    frame = found.to_dataframe()
    assert frame["mean"].tolist() == found.counts.mean(0).tolist()
    found.save(tmp_path / "complexity.nc")
    read = LocalComplexity.load(tmp_path / "complexity.nc")
    assert (read.counts == found.counts).all()
    assert (read.layers, read.left_out, read.counting_rule) == (found.layers, found.left_out, found.counting_rule)
    assert "units" in found.plot().get_ylabel()


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"directions": 5}, {"directions": 0}, {"count": "other"}])
def test_bad_arguments_are_refused(wrong):
    net = nf.random_network(4, 16, 2, 1, seed=0)
    with pytest.raises(nf.InvalidInputError, match=next(iter(wrong))):
        nf.local_complexity(net, np.zeros((2, 4)), **{"radius": 0.1, **wrong})


@pytest.mark.parametrize("seed", range(8))
def test_patterns_are_those_of_forward_passes(seed):
    model, shape = random_model(seed)
    points = np.random.default_rng(seed).normal(size=(400, *shape))
    seen = np.concatenate([s.numpy() for s in record(model, points)[0]], 1)
    expected, met = np.unique(seen, axis=0, return_counts=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        found = nf.count_patterns(model, points)
    assert (int(found), found.once, found.twice) == (len(expected), (met == 1).sum(), (met == 2).sum())


def test_a_count_of_the_samples_is_said_to_be_one():
    net = nf.random_network(50, 100, 3, 1, sigma_b=0.3, seed=0)
    with pytest.warns(SaturationWarning, match="follows the number of points"):
        assert int(nf.count_patterns(net, np.random.default_rng(0).normal(size=(300, 50)))) == 300
