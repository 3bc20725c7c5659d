"""Laws of estimated traces: whole where that fits, right on average, intervals that hold, bounds that are never above."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.measures.descents import Descent, PathSample
from netfold.measures.steps import StepColumns, steps
from netfold.paths import Path, stretch


def pooled() -> nn.Sequential:
    """A small convolutional network in which windows of a maximum share breakpoints with each other and with ReLUs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3), nn.ReLU()]
        return nn.Sequential(*parts, nn.Flatten(), nn.Linear(16, 3)).eval()


def between(shape: tuple[int, ...]) -> nf.Line:
    return nf.Line(*np.random.default_rng(5).standard_normal((2, *shape)))


NETWORKS: dict[str, tuple[nn.Module, Path]] = {
    "pooled": (pooled(), between((1, 8, 8))),
    "rough": (nf.random_network(10, 30, 3, activation="hardtanh", sigma_w=4.0, seed=1), between((10,))),
    "circle": (nf.random_network(2, 20, 2, sigma_b=0.5, seed=1), nf.Circle([2.0, 0.0], [0.0, 2.0])),
    "polyline": (nf.random_network(2, 20, 2, sigma_b=0.5, seed=1), nf.Polyline([[2.0, 0], [0, 1], [-2, -2.0]])),
    "smooth": (nf.random_network(2, 10, 2, activation="tanh", sigma_w=3.0, seed=1), nf.Line([-2.0, 0], [2, 1.0])),
}


@pytest.mark.parametrize("name", ["pooled", "rough", "circle", "polyline"])
def test_an_estimate_is_right_on_average_and_never_below_what_was_seen(name: str) -> None:
    """Over many seeds every count and length has its true mean, and the lower bounds hold each time."""
    model, path = NETWORKS[name]
    program = nf.capture(model, shape=path.shape)
    true = StepColumns(len(program.layers)).of_trace(nf.trace_path(program, path))
    values = []
    for seed in range(30):
        sample = PathSample(program, path, 4, np.random.default_rng(seed), lambda: None)
        sample.draw(1.0)
        assert (sample.least.sum(0) <= true + 1e-9 * true.max()).all()
        values.append(sample.shown.sum(0) + sample.rounds[0].sum(0))
    error = np.std(values, 0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(np.mean(values, 0) - true) <= 4.5 * error + 1e-9 * true.max()).all()


@pytest.mark.parametrize("name", ["pooled", "rough", "smooth"])
def test_intervals_hold_the_exact_numbers(name: str) -> None:
    model, path = NETWORKS[name]
    program = nf.capture(model, shape=path.shape)
    true = nf.trace_path(program, path)
    options: dict[str, Any] = {"seconds": None, "evaluations": 300, "whole": "never", "tolerance": 1e-3}
    found = [nf.estimate_trace(program, path, seed=seed, **options) for seed in range(12)]
    for number, exact in ((lambda f: f.regions, true.regions), (lambda f: f.lengths[-1], true.output.length)):
        assert sum(number(f).low <= exact <= number(f).high for f in found) >= 10
    assert found[0] == nf.estimate_trace(program, path, seed=0, **options)
    assert not found[0].exact
    assert found[0].regions.at_least <= true.regions


def test_what_fits_in_the_budget_is_followed_whole() -> None:
    """The numbers are then those of the trace, without intervals, and the trace itself is at hand."""
    model, path = NETWORKS["rough"]
    found = nf.estimate_trace(model, path)
    assert found.exact
    assert found.trace == nf.trace_path(model, path)
    assert [n.value for n in found.transitions] == found.trace.transitions.tolist()
    assert found.regions.low == found.regions.high == found.trace.regions
    assert found.status == found.trace.status


def test_a_descent_telescopes() -> None:
    """With every halving weighted by one, what was seen of the finest parts sums to the cell's own and all that is more."""
    descent = Descent(0, 0.25, 0.5, (True, False, True), True)
    begin, end = descent.pairs
    seen = np.abs(descent.points[end] - descent.points[begin])[:, None] ** 2
    more = descent.more(seen, np.array([10.0]))
    low, high = descent.parts[-1]
    others = [0.125**2, 0.03125**2, 0.0625**2]
    assert (low, high) == (0.40625, 0.4375)
    assert seen[0, 0] + more.sum() == pytest.approx(sum(others) + 10.0)


def test_steps_are_bounds_that_grow() -> None:
    """What two points show is at most what lies between them, and a third point in between shows no less."""
    model, path = NETWORKS["rough"]
    program = nf.capture(model, shape=path.shape)
    true = StepColumns(3).of_trace(nf.trace_path(program, path))
    shown = [
        steps(program, program.points(path(np.linspace(0, 1, n + 1))), np.arange(n), np.arange(1, n + 1)).sum(0)
        for n in (1, 2, 4, 8, 64)
    ]
    assert (np.diff(shown, axis=0) >= -1e-12).all()
    assert (shown[-1] <= true * (1 + 1e-12)).all()


def test_stretches_make_up_the_path() -> None:
    """Counts and lengths of a path are those of its stretches, added up."""
    for model, path in NETWORKS.values():
        program = nf.capture(model, shape=path.shape)
        columns = StepColumns(len(program.layers))
        parts = [stretch(path, a, b) for a, b in ((0.0, 0.3), (0.3, 0.8), (0.8, 1.0))]
        whole = sum(columns.of_trace(trace) for trace in nf.trace_paths(program, parts))
        assert whole == pytest.approx(columns.of_trace(nf.trace_path(program, path)), rel=1e-5)


def test_ctrl_c_hands_back_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = NETWORKS["pooled"]
    draw, calls = PathSample.draw, []

    def interrupted(self: PathSample, crowding: float) -> None:
        calls.append(0)
        if len(calls) > 4:
            raise KeyboardInterrupt
        draw(self, crowding)

    monkeypatch.setattr(PathSample, "draw", interrupted)
    found = nf.estimate_trace(model, path, seconds=None, evaluations=10**6, whole="never", tolerance=1e-9)
    assert "interrupted" in found.status
    assert found.regions.low <= nf.trace_path(model, path).regions <= found.regions.high


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0.0}, {"evaluations": 0}, {"tolerance": 1.0}, {"confidence": 0.0}, {"whole": "always"}]
)
def test_bad_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(nf.InvalidInputError, match=next(iter(wrong))):
        nf.estimate_trace(*NETWORKS["smooth"], **wrong)


def test_layers_with_few_transitions_are_covered() -> None:
    """A saturated layer whose image moves in short stretches alone: few draws may all miss them, and agree."""
    torch.manual_seed(3)
    net = nn.Sequential(
        *(nn.Linear(20, 60), nn.ReLU(), nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 60), nn.Hardtanh()),
        nn.Linear(60, 2),
    ).double()
    with torch.no_grad():
        for i, scale in ((0, 3), (2, 3), (4, 6)):
            net[i].weight.mul_(scale)
        net[2].bias.add_(40 * torch.sign(torch.randn(60)))
    a, b = np.random.default_rng(1).normal(size=(2, 20))
    path = nf.Polyline(np.array([3 * a, 3 * b, -3 * a, -3 * b, 2 * a + 2 * b]))
    true = nf.trace_path(net, path)
    assert 5 < true.transitions[2] < 20
    covered = np.zeros(len(true.transitions) + 1 + len(true.lengths))
    for seed in range(20):
        found = nf.estimate_trace(net, path, seconds=None, evaluations=150, whole="never", seed=seed)
        numbers = [*zip((*found.transitions, found.regions), (*true.transitions, true.regions), strict=True)]
        numbers += zip(found.lengths, true.lengths, strict=True)
        covered += [one.low <= wanted * (1 + 1e-9) and wanted <= one.high * (1 + 1e-9) for one, wanted in numbers]
    assert covered.min() >= 17


def test_an_estimate_that_is_done_has_intervals_within_its_tolerance() -> None:
    """Of lengths: also where draws of a smooth image agree with each other by chance."""
    net = nf.random_network(10, 50, 3, activation="tanh", sigma_w=1.2, seed=1)
    path = nf.Line(-np.ones(10), np.arange(10) - 3.0)
    for seed in range(5):
        found = nf.estimate_trace(net, path, seconds=None, evaluations=10**5, whole="never", seed=seed)
        assert found.status.kind.reached
        assert max(one.relative_error for one in found.lengths) <= 0.05
