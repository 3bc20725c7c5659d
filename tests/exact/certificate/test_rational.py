"""Laws of paths traced in rational arithmetic, and the float tracer judged by it."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.errors import NotExplicitError
from netfold.exact.certificate import rational_layers
from netfold.exact.certificate.rational import OutOfBudgetError, RationalTrace, RationalTracer
from netfold.exact.matrices.explicit import ExplicitProgram
from tests.exact.degenerate import degenerate
from tests.models import random_model


def traced(model: nn.Module, path: nf.Line | nf.Polyline) -> RationalTrace:
    program = nf.capture(model, shape=path.shape)
    return RationalTracer(ExplicitProgram.of(program)).run(*path.vertices)


@pytest.mark.parametrize("family", [0, 1, 2], ids=["dense", "residual", "branches"])
def test_float_tracer_agrees(family: int) -> None:
    """The float tracer counts what rational arithmetic counts, on 3 x 36 random networks in general position."""
    for seed in range(36):
        model, shape = random_model(seed, family)
        rng = np.random.default_rng([seed, 1])
        path = nf.Line(rng.normal(0, 2, shape), rng.normal(0, 2, shape))
        program = nf.capture(model, shape=shape)
        trace = nf.trace_path(program, path)
        exact = RationalTracer(ExplicitProgram.of(program)).run(*path.vertices)
        assert trace.breakpoint_layers.tolist() == exact.breakpoint_layers
        assert trace.transitions.tolist() == exact.transitions
        assert trace.sign_transitions.tolist() == exact.sign_transitions
        assert (trace.patterns, trace.linear_pieces) == (exact.patterns, exact.linear_pieces)
        np.testing.assert_allclose(trace.breakpoints, [float(t) for t in exact.breakpoints], rtol=1e-11, atol=1e-13)


def states(model: nn.Sequential, x: list[Fraction]) -> list[tuple[int, ...]]:
    """States of all units of a dense network at one point, by a forward pass in fractions."""
    found = []
    for module in model:
        if isinstance(module, nn.Linear):
            rows = zip(module.weight.tolist(), module.bias.tolist(), strict=True)
            x = [sum((Fraction(w) * v for w, v in zip(row, x, strict=True)), Fraction(b)) for row, b in rows]
            continue
        low, high = (Fraction(-1), Fraction(1)) if isinstance(module, nn.Hardtanh) else (Fraction(0), None)
        found.append(tuple((v > low) + (high is not None and v > high) for v in x))
        x = [max(low, v) if high is None else min(high, max(low, v)) for v in x]
    return found


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Hardtanh])
@pytest.mark.parametrize("seed", range(12))
def test_patterns_between_breakpoints_by_forward_passes(seed: int, activation: type[nn.Module]) -> None:
    """With integer weights and many ties: one pattern between breakpoints, another beyond, and flips add up."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(2, 4), activation(), nn.Linear(4, 4), activation(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(rng.integers(-2, 3, tuple(parameter.shape)).astype(float)))
    ends = [[Fraction(int(v)) for v in rng.integers(-4, 5, 2)] for _ in range(2)]
    ends[1][0] += ends[0] == ends[1]
    exact = traced(model, nf.Line(*[[float(v) for v in end] for end in ends]))
    edges = [Fraction(0), *exact.breakpoints, Fraction(1)]
    met, flips = [], np.zeros(2, np.int64)
    for a, b in pairwise(edges):
        shares = [Fraction(1, 97), Fraction(1, 2), Fraction(96, 97)]
        places = [a + share * (b - a) for share in shares]
        here = [states(model, [u + t * (v - u) for u, v in zip(*ends, strict=True)]) for t in places]
        assert here[0] == here[1] == here[2]
        if met:
            changes = [sum(u != v for u, v in zip(*pair, strict=True)) for pair in zip(met[-1], here[0], strict=True)]
            assert sum(changes) > 0
            flips += changes
        met.append(here[0])
    assert flips.tolist() == exact.transitions
    assert len({str(m) for m in met}) == len(met) == exact.patterns


def test_tent_map_in_fractions() -> None:
    """Seven tent layers on [0, 1]: breakpoints are exactly the multiples of 2^-7."""
    parts: list[nn.Module] = []
    for i in range(7):
        layer = nn.Linear(1 if i == 0 else 2, 2)
        with torch.no_grad():
            layer.weight.copy_(torch.ones(2, 1) if i == 0 else torch.tensor([[2.0, -4.0], [2.0, -4.0]]))
            layer.bias.copy_(torch.tensor([0.0, -0.5]))
        parts += [layer, nn.ReLU()]
    exact = traced(nn.Sequential(*parts), nf.Line([0.0], [1.0]))
    assert exact.breakpoints == [Fraction(i, 128) for i in range(1, 128)]
    assert exact.transitions == [1, 2, 4, 8, 16, 32, 64]


def test_tripled_unit_leaves_a_sliver() -> None:
    """A row times 3 rounds, so its stored weights cross beside the row itself: two breakpoints about 1e-17 apart."""
    row, bias = np.array([0.1, 0.7]), 0.3
    layer = nn.Linear(2, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.stack([row, 3 * row])))
        layer.bias.copy_(torch.from_numpy(np.array([bias, 3 * bias])))
    exact = traced(nn.Sequential(layer, nn.ReLU()), nf.Line([-1.0, -1.0], [1.0, 0.5]))
    roots = set()
    for weights, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True):
        w, c = [Fraction(v) for v in weights], Fraction(b)
        at_start = c - w[0] - w[1]
        roots.add(-at_start / (2 * w[0] + Fraction(3, 2) * w[1]))
    assert exact.breakpoints == sorted(roots)
    assert 0 < exact.breakpoints[1] - exact.breakpoints[0] < Fraction(1, 10**15)


def test_extended_precision_reference() -> None:
    """Breakpoints of a chaotic hard-tanh network (20-[20]x6, sigma_w^2 = 64) to 1e-9 of 50 digits; the same count."""
    net = nf.random_network(20, 20, 6, 1, "hardtanh", sigma_w=8.0, sigma_b=0.1, seed=0)
    rng = np.random.default_rng(0)
    path = nf.Line(rng.normal(size=20), rng.normal(size=20))
    trace, exact = nf.trace_path(net, path), traced(net, path)
    with mpmath.workdps(50):
        reference, layers = extended(net, path)
        off = [
            abs(mpmath.mpf(t.numerator) / t.denominator - r) for t, r in zip(exact.breakpoints, reference, strict=True)
        ]
    assert trace.regions == len(reference) + 1 == len(exact.breakpoints) + 1 > 500
    assert trace.breakpoint_layers.tolist() == layers == exact.breakpoint_layers
    np.testing.assert_allclose(trace.breakpoints, [float(t) for t in reference], rtol=0, atol=1e-9)
    assert max(off) < 1e-40


def extended(net: nn.Module, path: nf.Line) -> tuple[list[mpmath.mpf], list[int]]:
    """Breakpoints of a hard-tanh network on a line with mpmath: values carried at vertices, layer by layer."""
    t: list[mpmath.mpf] = [mpmath.mpf(0), mpmath.mpf(1)]
    made = [-1, -1]
    x = [[mpmath.mpf(v) for v in end.tolist()] for end in (path.x0, path.x1)]
    linear = [m for m in net.modules() if isinstance(m, nn.Linear)][:-1]
    for index, module in enumerate(linear):
        weight, bias = module.weight.double().tolist(), module.bias.double().tolist()
        h = [[mpmath.fdot(row, point) + b for row, b in zip(weight, bias, strict=True)] for point in x]
        new_t, new_h, new_made = [t[0]], [h[0]], [made[0]]
        for s in range(len(t) - 1):
            ends = list(zip(h[s], h[s + 1], strict=True))
            cuts = [(k - a) / (b - a) for a, b in ends for k in (-1, 1) if (a - k) * (b - k) < 0]
            for share in sorted(cuts):
                new_t.append(t[s] + share * (t[s + 1] - t[s]))
                new_h.append([a + share * (b - a) for a, b in ends])
                new_made.append(index)
            new_t.append(t[s + 1])
            new_h.append(h[s + 1])
            new_made.append(made[s + 1])
        t, made = new_t, new_made
        x = [[min(max(v, mpmath.mpf(-1)), mpmath.mpf(1)) for v in row] for row in new_h]
    return t[1:-1], made[1:-1]


class Averages(nn.Module):
    """Convolution, average pooling over 9 entries, division by 3, sums: coefficients that float64 cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.act = nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.AvgPool2d(3, 1), nn.ReLU()
        self.read = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(1.0 - self.pool(self.conv(x)) / 3)
        return self.act(self.read(y.mean((2, 3))) - 0.01)


def test_means_and_quotients_are_exact_fractions() -> None:
    """A mean of 9 entries has the coefficients 1/9, not their float64, and convolution its stored weights."""
    torch.manual_seed(0)
    model = Averages().eval()
    program = nf.capture(model, shape=(1, 7, 7))
    explicit = ExplicitProgram.of(program)
    found = {step.node.op: step.terms[0].coefficients for steps in explicit.steps for step in steps}
    assert set(found["aten.avg_pool2d.default"].true.tolist()) == {Fraction(1, 9)}
    assert set(found["aten.div.Tensor"].true.tolist()) == {Fraction(1, 3)}
    assert set(found["aten.mean.dim"].true.tolist()) == {Fraction(1, 4)}
    conv = found["aten.conv2d.default"]
    assert conv.true is None
    assert set(np.abs(conv.near.data)) == set(model.conv.weight.abs().double().reshape(-1).tolist())
    integers, d = conv.integers
    assert [Fraction(i, d) for i in integers] == [Fraction(v) for v in conv.near.data.tolist()]
    path = nf.Polyline(np.random.default_rng(0).normal(0, 3, (4, 1, 7, 7)))
    exact, trace = RationalTracer(explicit).run(*path.vertices), nf.trace_path(program, path)
    assert exact.transitions == trace.transitions.tolist()
    np.testing.assert_allclose([float(t) for t in exact.breakpoints], trace.breakpoints, rtol=1e-12)


def test_square_roots_are_named() -> None:
    """Batch normalisation is no rational map; the program says so and takes the root to 400 digits."""
    model, shape = random_model(0, 3)
    explicit = ExplicitProgram.of(nf.capture(model, shape=shape))
    assert not explicit.rational
    assert "batch_norm" in explicit.why
    scale = next(s for steps in explicit.steps for s in steps if "batch_norm" in s.node.op).terms[0].scales
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert scale is not None
    assert norm.running_var is not None
    true = Fraction(norm.weight[0].item()) ** 2 / (Fraction(norm.running_var[0].item()) + Fraction(norm.eps))
    assert abs(scale[0] ** 2 - true) < Fraction(1, 2**390)


def test_operations_without_known_coefficients_are_refused() -> None:
    """Bilinear resampling has weights that float64 rounds: refused by name."""
    model = nn.Sequential(nn.Upsample(scale_factor=3, mode="bilinear"), nn.ReLU()).eval()
    with pytest.raises(NotExplicitError, match="upsample_bilinear2d"):
        ExplicitProgram.of(nf.capture(model, shape=(1, 4, 4)))


def test_budget() -> None:
    """A walk stops when it has done more multiplications than allowed."""
    model, path = degenerate(7)
    program = nf.capture(model, shape=path.shape)
    tracer = RationalTracer(ExplicitProgram.of(program))
    needed = tracer.run(*path.vertices).work
    assert tracer.run(*path.vertices, budget=needed).work == needed
    with pytest.raises(OutOfBudgetError):
        tracer.run(*path.vertices, budget=needed - 1)


def test_flint_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices of python-flint, where it is installed, give the same events."""
    pytest.importorskip("flint")
    model, path = degenerate(8)
    with_flint = traced(model, path).events
    monkeypatch.setattr(rational_layers, "fmpz_mat", None)
    assert traced(model, path).events == with_flint
