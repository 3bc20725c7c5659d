"""Laws of work within a budget: a part is the start of the whole, joints change nothing, and Ctrl-C hands back."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

import netfold as nf
from netfold.exact.paths import stretches
from netfold.measures import states
from netfold.paths import Path, stretch
from netfold.progress import Budget
from netfold.sampled.flow import Flow
from netfold.sampled.rule import NODES
from tests.measures.test_trace_estimates import NETWORKS

EXACT = {name: NETWORKS[name] for name in ("pooled", "rough", "circle", "polyline")}
SMOOTH = NETWORKS["smooth"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches of a few rows, so that there are many joints."""
    monkeypatch.setattr(stretches, "VALUES", 1)
    monkeypatch.setattr(stretches, "FEWEST", 5)
    monkeypatch.setattr(stretches, "FIRST", 0.02)


def same_counts(a: nf.Trace, b: nf.Trace) -> None:
    counts = ("transitions", "sign_transitions", "saturation_passages")
    for mine, theirs in zip(a.layers, b.layers, strict=True):
        assert [getattr(mine, name) for name in counts] == [getattr(theirs, name) for name in counts]
    assert (a.regions, a.patterns, a.linear_pieces) == (b.regions, b.patterns, b.linear_pieces)
    assert a.output.classes.tolist() == b.output.classes.tolist()
    assert a.output.sign_changes.tolist() == b.output.sign_changes.tolist()
    for measure in ("length", "angular_length", "turning"):
        of = [[getattr(one, measure) for one in (*trace.layers, trace.output)] for trace in (a, b)]
        assert of[0] == pytest.approx(of[1], rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("short")
def test_joints_change_nothing(name: str) -> None:
    """A path that is followed stretch by stretch has the counts of one that is followed at once."""
    model, path = EXACT[name]
    whole = nf.trace_path(model, path)
    joined = nf.trace_path(model, path, evaluations=10**6)
    same_counts(joined, whole)
    assert joined.breakpoints == pytest.approx(whole.breakpoints, abs=1e-12)
    assert (joined.covered, joined.status.kind) == (1.0, whole.status.kind)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("short")
def test_a_part_is_the_start_of_the_whole(name: str) -> None:
    """Its breakpoints are the first ones, and every other number is that of the path cut off there."""
    model, path = EXACT[name]
    whole = nf.trace_path(model, path)
    part = nf.trace_path(model, path, evaluations=whole.regions // 3)
    assert 0 < part.covered < 1
    assert part.status.kind.name == "PARTIAL"
    assert f"t up to {part.covered:.6g}" in repr(part).splitlines()[0]
    assert part.breakpoints == pytest.approx(whole.breakpoints[whole.breakpoints < part.covered], abs=1e-12)
    cut = nf.trace_path(model, stretch(path, 0.0, part.covered))
    same_counts(part, cut)
    assert part.lengths == pytest.approx(cut.lengths, rel=1e-9)
    assert part == nf.trace_path(model, path, evaluations=whole.regions // 3)


@pytest.mark.usefixtures("short")
def test_paths_share_a_budget() -> None:
    """Each gets its part of what is left, and none is left out."""
    model, path = EXACT["rough"]
    traces = nf.trace_paths(model, [path] * 4, evaluations=200)
    assert len(traces) == 4
    assert all(0 < trace.covered < 1 for trace in traces)
    assert nf.trace_paths(model, [path] * 4, evaluations=10**6)[3].covered == 1.0


def test_a_sampled_trace_keeps_to_its_budget() -> None:
    """Fewer evaluations, or a wider tolerance, take less; what is missing is said."""
    fine = nf.trace_path(*SMOOTH)
    wide = nf.trace_path(*SMOOTH, tolerance=1e-2)
    few = nf.trace_path(*SMOOTH, evaluations=300)
    assert wide.provenance["evaluations"] < fine.provenance["evaluations"]
    assert few.provenance["evaluations"] < 330
    assert fine.status.kind.reached
    assert not few.status.kind.reached
    assert (np.abs(few.lengths - fine.lengths) <= few.error + fine.error).all()
    assert nf.trace_path(*SMOOTH, seconds=1e-9).provenance["evaluations"] < 300


@pytest.mark.parametrize("seconds", [5.0, 50.0, 300.0, 2000.0])
@pytest.mark.parametrize("costly", [False, True])
def test_a_sampled_trace_keeps_to_its_seconds(seconds: float, costly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that moves with evaluations, one a second: no more than a panel is begun that does not fit.

    Whether a path holds many changes of state that are to be found after it is cut, or few.
    """
    clock = [0.0]

    def counted(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(flow: Flow, t: np.ndarray, *rest: Any) -> Any:
            clock[0] += len(t)
            return look(flow, t, *rest)

        return looked

    for name in ("images", "read"):
        monkeypatch.setattr(Flow, name, counted(getattr(Flow, name)))
    monkeypatch.setattr(Budget, "elapsed", property(lambda self: clock[0]))
    net = nf.random_network(8, 60, 4, activation="tanh", sigma_w=3.0 if costly else 0.9, sigma_b=0.1, seed=2)
    found = nf.trace_path(net, nf.Line(-np.ones(8), np.arange(8.0)), seconds=seconds, tolerance=1e-9)
    assert clock[0] <= seconds + len(NODES) + 2
    assert found.status.kind.reached or clock[0] > 0.5 * seconds


@pytest.mark.parametrize("asked", [30, 100, 1000])
def test_exact_traces_and_estimates_keep_to_their_evaluations(asked: int) -> None:
    """Also where regions lie ever closer: a stretch is not begun that would take more than is left."""
    net = nf.random_network(50, 100, 6, activation="hardtanh", sigma_w=4.0, sigma_b=0.1, seed=1)
    start = np.random.default_rng(0).normal(size=50)
    line = nf.Line(-8 * np.ones(50), 8 * start)
    assert nf.trace_path(net, line, evaluations=asked).regions <= 1.1 * asked
    one = nf.Line(0.05 * start, -0.05 * start)
    for seed in range(5):
        found = nf.estimate_trace(net, one, seconds=None, evaluations=asked, whole="auto", seed=seed)
        assert found.evaluations <= max(1.1 * asked, 60)


def test_changes_that_there_is_no_budget_to_find_are_told() -> None:
    """They are counted all the same, and lie where the trace without a budget has them, to within what is said."""
    few, fine = (nf.trace_path(*SMOOTH, evaluations=count) for count in (30, None))
    assert "changes of state are known to within" in few.status
    within = float(few.status.split("known to within ")[1].split()[0])
    apart = np.abs(few.breakpoints[:, None] - fine.breakpoints).min(1)
    assert len(few.breakpoints) > 0
    assert apart.max() <= 1.6 * within  # which is rounded to a digit


def test_local_complexity_hands_back_the_first_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is over, or after Ctrl-C: the counts of those points, and the status says how many."""
    monkeypatch.setattr(states, "NUMBERS", 1)
    model, points = NETWORKS["rough"][0], np.random.default_rng(0).normal(size=(5, *NETWORKS["rough"][1].shape))
    whole = nf.local_complexity(model, points, 0.3)
    part = nf.local_complexity(model, points, 0.3, seconds=1e-9)
    assert (whole.status.kind.name, part.status.kind.name) == ("EXACT", "PARTIAL")
    assert "the first 1 of 5 points" in part.status
    assert (part.counts == whole.counts[:1]).all()
    over = Budget.over.fget
    assert over is not None
    monkeypatch.setattr(Budget, "over", property(lambda self: signal.raise_signal(signal.SIGINT) or over(self)))
    pressed = nf.local_complexity(model, points, 0.3, seconds=1000.0)
    assert "interrupted" in pressed.status
    assert (pressed.counts == part.counts).all()


@pytest.mark.parametrize("name", ["rough", "circle", "smooth"])
@pytest.mark.usefixtures("short")
def test_ctrl_c_hands_back_what_was_met(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a budget; without one it goes on its way."""
    model, path = NETWORKS[name]
    seen: list[object] = []
    at = Budget.left if name == "smooth" else Budget.over.fget
    assert at is not None

    def pressed(self: Budget, *pace: float) -> object:
        seen.append(0)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return at(self, *pace)

    monkeypatch.setattr(
        Budget, "left" if name == "smooth" else "over", pressed if name == "smooth" else property(pressed)
    )
    traces = nf.trace_paths(model, [path, path], seconds=1000.0)
    assert len(traces) == 1
    assert "interrupted" in traces[0].status


def test_a_certificate_takes_the_whole_path() -> None:
    model, path = EXACT["rough"]
    with pytest.raises(nf.InvalidInputError, match="whole path"):
        nf.trace_path(model, path, certify=True, seconds=1.0)


def test_an_estimate_without_time_is_a_lower_bound() -> None:
    """No draw is begun when the time is over: bounds have no upper end then, and the status says so."""
    model, path = NETWORKS["rough"]
    found = nf.estimate_trace(model, path, seconds=1e-9)
    assert "lower bounds alone" in found.status
    assert found.regions.high == np.inf
    assert found.regions.low <= nf.trace_path(model, path).regions
    assert found.evaluations < 20


def test_no_advice_names_an_argument_that_is_not_taken() -> None:
    """What a status or an error tells to raise is an argument of the verb that says it."""
    import inspect

    few = nf.trace_path(*SMOOTH, evaluations=130)
    taken = set(inspect.signature(nf.trace_path).parameters)
    named = {word.rstrip("=,;") for word in str(few.status).split() if word.rstrip(",;").endswith("=")}
    assert named
    assert named <= taken


def large() -> nn.Module:
    return NETWORKS["pooled"][0]


def path_of() -> Path:
    return NETWORKS["pooled"][1]


def test_large_networks_are_followed_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a budget too, with the same numbers, and Ctrl-C is then not taken for an end."""
    from netfold.measures import tracing

    whole = nf.trace_path(large(), path_of())
    monkeypatch.setattr(tracing, "LARGE", 1)
    same_counts(nf.trace_path(large(), path_of()), whole)
    at = stretches.driver.run

    def pressed(*arguments: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(stretches.driver, "run", pressed)
    with pytest.raises(KeyboardInterrupt):
        nf.trace_path(large(), path_of(), seconds=100.0)
    monkeypatch.setattr(stretches.driver, "run", at)


PLANE = nf.Plane(np.zeros(10), np.eye(10)[0], np.eye(10)[1], (-1, 2, -1, 1))


def test_a_plane_within_a_budget_is_that_of_a_rectangle_around_its_middle() -> None:
    """It is the exact partition of the rectangle that it names, and with enough time that of all of it."""
    model = EXACT["rough"][0]
    part = nf.partition_plane(model, PLANE, seconds=1e-9)
    assert part.status.kind.name == "PARTIAL"
    assert part.bounds == pytest.approx((0.3125, 0.6875, -0.125, 0.125))
    assert part.wanted == PLANE.bounds
    same = nf.partition_plane(model, PLANE, part.bounds)
    assert (part.regions, part.areas.tolist()) == (same.regions, same.areas.tolist())
    whole = nf.partition_plane(model, PLANE, seconds=1000.0)
    assert whole.regions == nf.partition_plane(model, PLANE).regions
    assert whole.status.kind.reached


def test_counts_within_a_budget_are_lower_bounds() -> None:
    """Of planes, paths and boxes; with enough time they are the count."""
    small = nf.random_network(2, 12, 3, sigma_b=0.5, seed=1)
    plane = nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], (-2, 2, -2, 2))
    for domain in (plane, nf.Box(-2.0, 2.0), nf.Line([-2.0, -1.0], [2.0, 1.0])):
        part, whole = nf.count_regions(small, domain, seconds=1e-9), nf.count_regions(small, domain)
        assert int(part) <= int(whole)
        if int(part) < int(whole):
            assert part.status.kind.name == "PARTIAL"
            assert "at least" in part.status
        assert int(nf.count_regions(small, domain, seconds=1000.0)) == int(whole)


@pytest.mark.parametrize("seconds", [None, 1e-9])
def test_a_sampled_plane_says_how_fine_it_is(seconds: float | None) -> None:
    """Every class is that of a forward pass in the middle of its square, and the status names the grid."""
    model = nf.random_network(10, 20, 2, outputs=3, activation="tanh", sigma_w=3.0, seed=1)
    found = nf.sample_plane(model, PLANE, resolution=32, seconds=seconds)
    side = 32 if seconds is None else 8
    assert found.classes.shape == (side, side)
    assert f"{side} x {side}" in found.status
    a = -1 + 3 * (np.arange(side) + 0.5) / side
    b = -1 + 2 * (np.arange(side) + 0.5) / side
    program = nf.capture(model, shape=(10,))
    for row in (0, side // 2):
        outputs = program(program.points(PLANE(a, np.full(side, b[row]))))
        assert found.classes[row].tolist() == outputs.argmax(1).tolist()
    assert sum(found.class_shares.values()) == pytest.approx(1.0)
