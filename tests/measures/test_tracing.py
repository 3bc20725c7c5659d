"""Choosing a method, many paths at once, and bad input to `trace_path`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.measures import near_ties

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 4))


def network(seed: int = 0) -> nn.Sequential:
    return nf.random_network(4, 9, 3, 2, "hardtanh", sigma_w=2.5, sigma_b=0.3, seed=seed)


def test_paths_of_many_kinds_keep_their_order() -> None:
    """A batch of lines, arcs, circles and polylines gives, in order, what each path gives alone."""
    net = network()
    paths = [nf.Arc(A, B), nf.Line(A, B), nf.Circle(A, B), nf.Polyline([A, B, -A]), nf.Line(B, A), nf.Arc(B, A)]
    for together, path in zip(nf.trace_paths(net, paths), paths, strict=True):
        alone = nf.trace_path(net, path)
        assert together.breakpoints.tolist() == alone.breakpoints.tolist()
        assert together.lengths.tolist() == alone.lengths.tolist()
        assert together.provenance["path"] == type(path).__name__


def test_more_paths_than_a_batch() -> None:
    """Paths beyond one batch are traced like the others."""
    net = network()
    paths = [nf.Line(A, B + 0.001 * i) for i in range(300)]
    traces = nf.trace_paths(net, paths)
    assert len(traces) == 300
    assert traces[299].breakpoints.tolist() == nf.trace_path(net, paths[299]).breakpoints.tolist()


def test_the_model_is_left_alone() -> None:
    """Mode, parameters, gradients, hooks and the random state are as before."""
    net = network().train()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    random = torch.get_rng_state()
    nf.trace_path(net, nf.Line(A, B))
    assert net.training
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_float32_weights_are_taken_as_they_are() -> None:
    """A float32 model and its float64 copy have one trace: the stored weights are what counts."""
    net = network()
    single, double = nf.trace_path(net, nf.Line(A, B)), nf.trace_path(network().double(), nf.Line(A, B))
    assert single.breakpoints.tolist() == double.breakpoints.tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_model_on_a_cuda_device() -> None:
    """The same counts where the products run on a CUDA device."""
    net = network()
    here, there = nf.trace_path(net, nf.Line(A, B)), nf.trace_path(network().cuda(), nf.Line(A, B))
    assert there.transitions.tolist() == here.transitions.tolist()
    np.testing.assert_allclose(there.breakpoints, here.breakpoints, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "path", "method", "error", "message"),
    [
        (network(), nf.Line([0.0, 0.0], [1.0, 1.0]), "auto", nf.InvalidInputError, "cannot be run on points of shape"),
        (network(), "line", "auto", nf.InvalidInputError, "expected nf.Line"),
        (network(), nf.Line(A, B), "grid", nf.InvalidInputError, "method must be 'auto'"),
        (nn.Sequential(nn.Linear(4, 3), nn.GELU()), nf.Line(A, B), "exact", nf.NotPiecewiseLinearError, "gelu"),
        (nn.Sequential(nn.Linear(4, 3), nn.Dropout()), nf.Line(A, B), "auto", nf.CaptureError, "eval"),
        (network(), nf.Curve(lambda t: t * torch.ones(4)), "exact", nf.InvalidInputError, "no closed form"),
    ],
)
def test_bad_input(model: nn.Module, path: nf.Line, method: str, error: type[Exception], message: str) -> None:
    """One clear error that names the thing and the way out."""
    with pytest.raises(error, match=message):
        nf.trace_path(model, path, method)  # type: ignore[arg-type]


def test_no_path() -> None:
    """An empty sequence of paths is refused."""
    with pytest.raises(nf.InvalidInputError, match="no path"):
        nf.trace_paths(network(), [])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nf.Line([0.0, np.nan], [1.0, 1.0]), "must be finite"),
        (lambda: nf.Line([0.0, 1.0], [0.0, 1.0]), "coincide"),
        (lambda: nf.Line([0.0], [0.0, 1.0]), "one shape"),
        (lambda: nf.Line([], []), "empty"),
        (lambda: nf.Polyline([[1.0, 2.0]]), "at least two"),
        (lambda: nf.Circle([0.0, 0.0], [0.0, 0.0]), "both zero"),
        (lambda: nf.Line(["a"], ["b"]), "must be real numbers"),
    ],
)
def test_bad_paths(make, message: str) -> None:
    """Paths that are no paths are refused where they are made."""
    with pytest.raises(nf.InvalidInputError, match=message):
        make()


@pytest.mark.parametrize(
    "path", [nf.Line(A, B), nf.Polyline([A, B, -A], closed=True), nf.Arc(A, B), nf.Circle(A, B, center=B)]
)
def test_points_on_paths(path: nf.Line) -> None:
    """x(t) for many t at once equals x(t) one by one; measured input length agrees with fine chords."""
    t = np.linspace(0, 1, 24001)
    points = path(t)
    assert points.shape == (24001, 4)
    np.testing.assert_array_equal(points[77], path(t[77]))
    chords = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    np.testing.assert_allclose(nf.trace_path(network(), path).input_length, chords, rtol=1e-7)


def test_certificate_where_all_units_switch_in_one_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without biases a ray from the origin stays in one region: a line through it meets two, which float64 misses.

    The default trace goes on where float64 may err, within its budget; without one it says where.
    """
    net = nf.random_network(4, 30, 3, 2, "relu", sigma_w=1.5, seed=1)
    line = nf.Line(-A, 2 * A)
    proven = nf.trace_path(net, line, certify=True)
    assert (proven.regions, proven.patterns, proven.uncertain) == (2, 2, 0)
    assert proven.breakpoints.tolist() == [1 / 3]
    assert proven.transitions[0] == 30
    assert proven.doubtful == proven.resolved == 1
    assert "proven for the stored weights" in proven.counting_rule
    assert nf.trace_path(net, line) == proven
    monkeypatch.setattr(near_ties, "WORK", 0)
    floats = nf.trace_path(net, line)
    assert floats.regions > 2  # the product rounds at a third: this is what the proof is for
    assert floats.doubtful == floats.uncertain > 0 == floats.resolved == floats.margin
    assert floats.status == f"exact but for near ties in {floats.uncertain} places"
    assert floats.status in repr(floats)


def test_certified_traces_save(tmp_path: Path) -> None:
    """What was proven comes back from a file, and what was not asked for stays unknown."""
    traces = nf.trace_paths(network(), [nf.Line(A, B), nf.Polyline([A, B, -A])], certify=True)
    assert [(t.uncertain, t.doubtful) for t in traces] == [(0, 0), (0, 0)]
    traces.save(tmp_path / "traces.nc")
    assert list(nf.Traces.load(tmp_path / "traces.nc")) == list(traces)
    plain = nf.trace_path(network(), nf.Line(A, B))
    plain.save(tmp_path / "trace.nc")
    assert nf.Trace.load(tmp_path / "trace.nc").uncertain is None
    assert plain.breakpoints.tolist() == traces[0].breakpoints.tolist()


def test_free_curves_have_no_certificate() -> None:
    path = nf.Curve(lambda t: torch.from_numpy(A) + t * t * torch.from_numpy(B))
    with pytest.raises(nf.InvalidInputError, match="certificates are for exact lines, polylines, arcs and circles"):
        nf.trace_path(network(), path, certify=True)
