"""Training one layer: what moves, what stays, and that it is repeatable."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf

X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def make(seed: int) -> nn.Module:
    return nf.random_network(4, 24, 3, 2, sigma_b=0.2, seed=seed)


@pytest.fixture(scope="module")
def found() -> nf.SingleLayerTraining:
    return nf.train_single_layer(make, (X[:200], Y[:200]), (X[200:], Y[200:]), seeds=[0, 1], epochs=15, batch=20)


def test_only_the_layer_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each training every other parameter is bit for bit where it started; the layer is not."""
    from netfold.training import single_layer

    ends: list[dict[str, torch.Tensor]] = []
    trained = single_layer._train

    def spy(net: nn.Module, *rest: object) -> None:
        trained(net, *rest)  # type: ignore[arg-type]
        ends.append({name: p.detach().clone() for name, p in net.named_parameters()})

    monkeypatch.setattr(single_layer, "_train", spy)
    nf.train_single_layer(make, (X, Y), seeds=[3], epochs=1, whole=False)
    start = dict(make(3).named_parameters())
    for layer, end in zip(("linear1", "linear2", "linear3", "readout"), ends, strict=True):
        for name, value in end.items():
            assert torch.equal(value, start[name]) == (not name.startswith(f"{layer}."))


def test_it_learns_and_compares(found: nf.SingleLayerTraining) -> None:
    """Any one layer beats the untrained network on average; all layers beat every one on the training data."""
    assert (found.train.mean(1) > found.untrained[0].mean()).all()
    assert found.whole[0].mean() >= found.train.mean(1).max() - 0.02
    expected = float((make(0)(torch.from_numpy(X[200:])).argmax(1).numpy() == Y[200:]).mean())
    assert found.untrained[1, 0] == pytest.approx(expected)


def test_a_plain_loop_gives_the_same(found: nf.SingleLayerTraining) -> None:
    """The experiment written out by hand, for one layer and seed."""
    net = make(1)
    x, y = torch.from_numpy(X[:200]), torch.from_numpy(Y[:200])
    optimizer = torch.optim.Adam(net.linear2.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(1)
    for _ in range(15):
        for rows in torch.randperm(200, generator=order).split(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    test = float((net(torch.from_numpy(X[200:])).argmax(1).numpy() == Y[200:]).mean())
    assert found.test[1, 1] == pytest.approx(test, abs=1e-12)


def test_the_global_random_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    drop = lambda seed: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))  # noqa: E731
    first = nf.train_single_layer(drop, (X, Y), seeds=[0, 1], epochs=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    again = nf.train_single_layer(drop, (X, Y), seeds=[0, 1], epochs=1)
    assert (first.train == again.train).all()


def test_saved_loaded_drawn(found: nf.SingleLayerTraining, tmp_path: Path) -> None:
    found.save(tmp_path / "s.nc")
    again = nf.SingleLayerTraining.load(tmp_path / "s.nc")
    assert (again.test == found.test).all()
    assert (again.layers, again.seeds, again.recipe) == (found.layers, found.seeds, found.recipe)
    table = found.to_dataframe()
    assert len(table) == 2 * 6
    assert table[(table.layer == "linear1") & (table.seed == 1)].test.item() == found.test[0, 1]
    ax = found.plot()
    assert len(ax.containers) == 2
    assert "linear2" in repr(found)


def test_bad_input_is_refused() -> None:
    for arguments, message in (
        ({"train": (X, Y.astype(float))}, "class number"),
        ({"train": (X, Y[:5])}, "class number"),
        ({"train": X}, "inputs, labels"),
        ({"train": (X, Y), "epochs": 0}, "epochs must be a whole number from 1"),
        ({"train": (X, Y), "seeds": []}, "it is empty"),
        ({"train": (X, Y), "layers": ["nine"]}, "nine"),
    ):
        with pytest.raises(nf.InvalidInputError, match=message):
            nf.train_single_layer(make, **arguments)  # type: ignore[arg-type]
    with pytest.raises(nf.InvalidInputError, match="make"):
        nf.train_single_layer(lambda seed: 3, (X, Y))  # type: ignore[arg-type,return-value]
