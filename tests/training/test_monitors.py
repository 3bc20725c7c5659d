"""Monitors: what they record, that training does not notice them, and that they go on from checkpoints."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import netfold as nf
from netfold.training.history import History

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (64,), generator=torch.Generator().manual_seed(1))
LINE = nf.Line([-1.0, 0.5, 0.0, 1.0], [1.0, -0.5, 2.0, 0.0])


def network() -> nn.Module:
    """Everything that training changes besides weights: batch statistics and random numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(12, 12), nf.TrajectoryRegularizer(), nn.ReLU(), nn.Linear(12, 3),
        )  # fmt: skip


def everything() -> list[nf.monitors.Watched]:
    return [
        nf.monitors.AlongPaths(LINE, ("length", "growth", "transitions", "regions")),
        nf.monitors.UnitShares(X),
        nf.monitors.EffectiveRank(X),
        nf.monitors.LocalComplexity(X[:5].numpy(), radius=0.5, directions=3),
        nf.monitors.LayerLoss((X, Y), repeats=2),
    ]


def train(model: nn.Module, monitor: nf.monitors.Monitor | None, steps: int = 7) -> list[Tensor]:
    torch.manual_seed(5)
    optimizer = torch.optim.Adam(model.train().parameters(), 0.01)
    for step in range(steps):
        if monitor is not None:
            monitor(model, step)
        rows = torch.randint(0, 64, (16,))
        optimizer.zero_grad()
        out = model(X[rows])
        if monitor is not None and step == 3:
            nf.monitors.measure(model, everything()[0])  # between forward and backward
        (cross_entropy(out, Y[rows]) + nf.TrajectoryRegularizer.penalty(model)).backward()
        optimizer.step()
    return [t.clone() for t in model.state_dict().values()]


def test_training_is_the_same_bit_for_bit() -> None:
    """Weights, batch statistics and the next random number, with and without a monitor."""
    without = train(network(), None)
    expected = torch.rand(3)
    monitor = nf.monitors.Monitor(everything(), every=2, budget=None)
    watched = train(network(), monitor)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(without, watched, strict=True))
    assert monitor.history.steps == [0, 2, 4, 6]
    assert monitor.history.missed == {}


def test_it_records_what_the_measures_say() -> None:
    """The numbers at a step are those of a copy of the network, measured directly."""
    model = network()
    monitor = nf.monitors.Monitor(everything(), every=3, budget=None)
    train(model, monitor, 4)
    monitor.history.steps.pop(), monitor.history.records.pop()
    found = monitor(model, 3)
    assert found is not None
    still = copy.deepcopy(model).eval()
    trace = nf.trace_path(still, LINE)
    assert found["regions"] == trace.regions
    assert found["transitions/0 → 2 relu"] == trace.transitions[0]
    assert found["length/output"] == pytest.approx(trace.lengths[-1] / trace.lengths[0])
    assert found["growth/4 → 6 relu"] == pytest.approx(trace.growth[1])
    loss = nf.layer_sensitivity(still, (X, Y), repeats=2)
    assert found["accuracy"] == loss.clean
    assert [found[f"sensitivity/{la.label}"] for la in loss.layers] == loss.loss[:, 0].tolist()
    assert model.training


def test_local_complexity_counts_units_that_switch() -> None:
    """Against plain forward passes over the vertices: ReLU units whose sign is not the same at all of them."""
    net = nf.random_network(4, 30, 2, 1, sigma_b=0.3, seed=2, dtype=torch.float64)
    watched = nf.monitors.LocalComplexity(X[:6].numpy(), radius=0.4, directions=4, seed=3)
    found = watched.measure(net)
    counts = np.zeros(2)
    for point in X[:6].double():
        corners = watched.vertices(point)
        assert torch.allclose((corners - point).norm(dim=1), torch.full((8,), 0.4, dtype=torch.float64))
        assert torch.allclose(corners.mean(0), point)
        first = net.linear1(corners)
        second = net.linear2(net.act1(first))
        for i, h in enumerate((first, second)):
            signs = (h > 0).sum(0)
            counts[i] += int(((signs > 0) & (signs < 8)).sum())
    assert list(found.values()) == pytest.approx(counts / 6)


def test_a_part_of_the_model_can_be_watched() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nf.random_network(4, 6, 1, 3)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return cross_entropy(self.net(x), y)

    monitor = nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), part=lambda model: model.net)
    assert monitor(Two(), 0) is not None


def test_it_goes_on_from_a_checkpoint() -> None:
    """State survives JSON; steps after the checkpoint are measured again, not twice."""
    model, monitor = network(), nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=2, budget=None)
    train(model, monitor, 5)
    state = json.loads(json.dumps(monitor.state_dict()))
    again = nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=2, budget=None)
    again.load_state_dict(state)
    assert again.history.steps == [0, 2, 4]
    assert again(model, 4) is None
    assert again(model, 6) is not None
    again.history.add(4, {"regions": 1.0})
    assert again.history.steps == [0, 2, 4]


def test_failures_after_the_start_are_missed_steps() -> None:
    """Weights that became NaN do not stop the training; at the first measurement they do."""
    model, monitor = network(), nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=1, budget=None)
    monitor(model, 0)
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    with pytest.warns(RuntimeWarning, match="nothing was measured at step 1"):
        assert monitor(model, 1) is None
    assert "NaN" in monitor.history.missed[1]
    assert model.training
    with pytest.raises(nf.InvalidInputError, match="NaN"):
        nf.monitors.Monitor(nf.monitors.AlongPaths(LINE))(model, 0)


def test_the_budget_is_kept() -> None:
    """Once measuring has taken more than its share, steps are missed and said to be."""
    model = network()
    monitor = nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=1, budget=1e-9)
    for step in range(4):
        monitor(model, step)
    assert monitor.history.steps == [0]
    assert set(monitor.history.missed) == {1, 2, 3}


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Costly(nf.monitors.Watched):
    """A measure that takes a second."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def measure(self, model: nn.Module) -> dict[str, float]:
        self.clock.now += 1.0
        return {"costly": 1.0}


def test_measurements_space_themselves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of half a second, a measurement of one: at 2% every 100 steps, after the first is paid off; also resumed."""
    from netfold.training import monitor as module

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monitor, model = nf.monitors.Monitor(Costly(clock), every=1), network()
    for step in range(1000):
        monitor(model, step)
        clock.now += 0.5
    assert monitor.history.steps == [0, *range(200, 1000, 100)]
    assert set(monitor.history.missed) == set(range(1000)) - set(monitor.history.steps)
    assert (monitor.seconds, monitor.training_seconds) == (9.0, 499.5)
    assert monitor.share <= 0.02
    again = nf.monitors.Monitor(Costly(clock), every=1)
    again.load_state_dict(json.loads(json.dumps(monitor.state_dict())))
    clock.now += 1e6  # between the two nothing is trained
    for step in range(1000, 1300):
        again(model, step)
        clock.now += 0.5
    assert again.history.steps[9:] == [1001, 1101, 1201]
    assert again.share <= 0.02


def test_shares_of_units_are_those_of_units() -> None:
    """Against `nf.units` on the same data, and units that are dead, saturated or neither by construction."""
    x = torch.linspace(-1.0, 1.0, 9).reshape(-1, 1)
    net = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 4), nn.Hardtanh(), nn.Linear(4, 1), nn.Tanh())
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.copy_(torch.tensor([-1.0, 0.0, 1.0, -5.0]))
        net[2].weight.fill_(1.0)
        net[2].bias.copy_(torch.tensor([2.0, -9.0, -1.0, 0.0]))
    found = nf.monitors.UnitShares(x).measure(net)
    assert found == {"dead/0 → 1 relu": 0.5, "dead/2 → 3 hardtanh": 0.0, "saturated/2 → 3 hardtanh": 0.5}
    other = nf.random_network(4, 12, 3, 2, activation="hardtanh", sigma_w=1.0, sigma_b=2.0, seed=1)
    shares, table = nf.monitors.UnitShares(X / 9).measure(other), nf.units(other, X / 9).to_dataframe()
    for (label, state), share in ((tuple(reversed(k.split("/"))), v) for k, v in shares.items()):
        own = table[table.label == label]
        assert share == (own.state == state).mean()
    assert any(share > 0 for share in shares.values())


def test_effective_rank_of_known_images() -> None:
    """k equal singular values give k; layers are those of plain forward passes; a collapsed one has 0."""
    corners = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    flat = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        flat[0].weight.copy_(torch.eye(3))
        flat[2].weight.zero_()
    found = nf.monitors.EffectiveRank(corners).measure(flat)
    image = corners.clamp(min=0).numpy()
    cut = image - image.mean(0)
    p = np.sqrt(np.linalg.eigvalsh(cut.T @ cut))
    p = p / p.sum()
    assert found["effective_rank/0 → 1 relu"] == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert found["effective_rank/output"] == 0.0
    assert nf.monitors.EffectiveRank(corners).measure(nn.Sequential(nn.Identity()))["effective_rank/output"] == (
        pytest.approx(3.0)
    )


def test_names_for_loggers_are_plain_and_stay_different() -> None:
    """Only what MLflow takes: letters, digits, underscores, dashes, periods, spaces, colons and slashes."""
    names = ["length/a.conv, b → c.act[2]", "length/a.conv → c.act", "sensitivity/fc → act (é)"]
    found = nf.monitors.plain_names(dict.fromkeys(names, 1.0))
    assert list(found) == ["length/a.conv b - c.act.2", "length/a.conv - c.act", "sensitivity/fc - act -_"]
    with pytest.raises(nf.InvalidInputError, match="become the same"):
        nf.monitors.plain_names({"a→": 1.0, "a-": 2.0})


def test_other_ranks_do_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    from netfold.training import monitor as module

    monkeypatch.setattr(module, "_rank", lambda: 1)
    assert nf.monitors.Monitor(nf.monitors.AlongPaths(LINE), every=1)(network(), 0) is None


def test_histories_are_saved_tabulated_and_drawn(tmp_path: Path) -> None:
    history = History()
    history.add(0, {"regions": 3.0, "length/a": 1.0, "length/b": 2.0})
    history.add(5, {"regions": 4.0, "length/a": 1.5})
    history.missed[7] = "why"
    history.save(tmp_path / "h.nc")
    again = History.load(tmp_path / "h.nc")
    assert again.steps == [0, 5]
    assert again["length/a"].tolist() == [1.0, 1.5]
    assert math.isnan(again["length/b"][1])
    assert again.missed == {7: "why"}
    assert history.to_xarray()["length"].sel(step=0, length_part="b").item() == 2.0
    assert history.to_dataframe().loc[5, "regions"] == 4.0
    figure = again.plot()
    assert [line.get_ydata()[0] for line in figure.axes[1].lines] == [1.0, 2.0]
    with pytest.raises(nf.InvalidInputError, match="has no 'x'"):
        history["x"]
    with pytest.raises(nf.InvalidInputError, match="empty"):
        History().plot()


def test_bad_arguments_are_refused() -> None:
    for arguments in ({"measures": []}, {"measures": [3]}, {"every": 0}, {"budget": 2.0}):
        with pytest.raises(nf.InvalidInputError):
            nf.monitors.Monitor(**{"measures": nf.monitors.AlongPaths(LINE), **arguments})
    with pytest.raises(nf.InvalidInputError):
        nf.monitors.AlongPaths([])
    for watched in (nf.monitors.UnitShares, nf.monitors.EffectiveRank):
        with pytest.raises(nf.InvalidInputError, match="one input a row"):
            watched(np.zeros((0, 3)))
    with pytest.raises(nf.InvalidInputError):
        nf.monitors.LocalComplexity(np.zeros((2, 3)), directions=4)
    assert len(nf.monitors.LocalComplexity(np.zeros((2, 3))).vertices(torch.zeros(3))) == 6
