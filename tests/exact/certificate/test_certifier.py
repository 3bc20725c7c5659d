"""Laws of certificates: what they prove is what rational arithmetic finds, whatever was claimed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.exact.certificate.certifier import Certificate, Certifier
from netfold.exact.certificate.rational import RationalTrace, RationalTracer
from netfold.exact.matrices.explicit import ExplicitProgram
from tests.exact.cells.networks import module
from tests.exact.degenerate import KINDS, degenerate
from tests.exact.line import rational_segments
from tests.models import random_model
from tests.stress.checks import LINES, network
from tests.stress.networks import points_of


def both(
    model: nn.Module, path: nf.Line | nf.Polyline, **options: float
) -> tuple[nf.Trace, Certificate, RationalTrace]:
    program = nf.capture(model, shape=path.shape)
    trace = nf.trace_path(program, path)
    certificate = Certifier(program, **options).certify(*path.vertices, trace.breakpoints, trace.breakpoint_layers)
    return trace, certificate, RationalTracer(ExplicitProgram.of(program)).run(*path.vertices)


def assert_same(certificate: Certificate, exact: RationalTrace) -> None:
    assert certificate.layers.tolist() == exact.breakpoint_layers
    assert certificate.transitions.tolist() == exact.transitions
    assert certificate.sign_transitions.tolist() == exact.sign_transitions
    assert certificate.patterns == exact.patterns
    off = np.abs(certificate.breakpoints - [float(t) for t in exact.breakpoints])
    assert (off <= certificate.reach + np.spacing(certificate.breakpoints)).all()


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_degenerate_networks(kind: int) -> None:
    """On 5 x 10 networks full of ties a certificate counts as rational arithmetic does on the whole path.

    Dead layers alone leave nothing for it to decide.
    """
    doubtful = 0
    for seed in range(kind, 10 * len(KINDS), len(KINDS)):
        trace, certificate, exact = both(*degenerate(seed))
        assert_same(certificate, exact)
        assert (certificate.status, certificate.uncertain) == ("proven", 0)
        assert certificate.added - certificate.removed == certificate.regions - trace.regions
        doubtful += certificate.doubtful
    assert (doubtful > 0) == (KINDS[kind] != "dead layers")


@pytest.mark.parametrize("family", range(4), ids=["dense", "residual", "branches", "convolutional"])
def test_networks_in_general_position(family: int) -> None:
    """Float64 with its error bounds proves nearly everything, and agrees with the float tracer in every count."""
    doubtful = breakpoints = 0
    for seed in range(12):
        model, shape = random_model(seed, family)
        points = np.random.default_rng([seed, 1]).normal(0, 2, (3, *shape))
        path = nf.Polyline(points) if seed % 2 else nf.Line(*points[:2])
        trace, certificate, exact = both(model, path)
        assert_same(certificate, exact)
        assert certificate.layers.tolist() == trace.breakpoint_layers.tolist()
        assert certificate.transitions.tolist() == trace.transitions.tolist()
        assert certificate.saturation_passages.tolist() == [layer.saturation_passages for layer in trace.layers]
        assert certificate.added == certificate.removed == 0
        doubtful += certificate.doubtful
        breakpoints += len(trace.breakpoints)
    assert doubtful <= 0.05 * breakpoints


@pytest.mark.parametrize("seed", range(20))
def test_false_claims_are_put_right(seed: int) -> None:
    """Breakpoints that are left out, shifted or invented change nothing but how many were added and removed."""
    model, path = degenerate(seed)
    program = nf.capture(model, shape=path.shape)
    certifier = Certifier(program)
    exact = RationalTracer(ExplicitProgram.of(program)).run(*path.vertices)
    true = np.array([float(t) for t in exact.breakpoints])
    rng = np.random.default_rng(seed)
    kept = true[rng.random(len(true)) < 0.7]
    shifted = kept + (rng.random(len(kept)) < 0.3) * rng.normal(0, 1e-3, len(kept))
    claims = np.sort(np.concatenate([shifted, rng.random(3), path.vertices[0][1:-1]]))
    claims = claims[(claims > 0) & (claims < 1)]
    certificate = certifier.certify(*path.vertices, claims, np.zeros(len(claims), np.int64))
    off = np.array([float(t) for t in exact.breakpoints])
    assert certificate.layers.tolist() == exact.breakpoint_layers
    assert certificate.transitions.tolist() == exact.transitions
    assert certificate.sign_transitions.tolist() == exact.sign_transitions
    assert certificate.patterns == exact.patterns
    assert (np.abs(certificate.breakpoints - off) <= certificate.reach + np.spacing(off)).all()


def test_places_traced_in_rational_arithmetic_are_correctly_rounded() -> None:
    """Duplicated, opposite and tripled units: slivers are told apart and every parameter is the nearest float64."""
    model, path = degenerate(3 + 5 * 11)
    program = nf.capture(model, shape=path.shape)
    exact = RationalTracer(ExplicitProgram.of(program)).run(*path.vertices)
    everywhere = Certifier(program).certify(*path.vertices, np.empty(0), np.empty(0, np.int64))
    assert everywhere.breakpoints.tolist() == [float(t) for t in exact.breakpoints]
    assert everywhere.added == len(exact.breakpoints)


def test_slivers_of_a_tripled_unit() -> None:
    """relu(w x + b) beside relu(3 w x + 3 b), as stored: two regions boundaries about 1e-17 apart, both counted."""
    layer = nn.Linear(2, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.1, 0.7], [3 * 0.1, 3 * 0.7]], dtype=torch.float64))
        layer.bias.copy_(torch.tensor([0.3, 3 * 0.3], dtype=torch.float64))
    _, certificate, exact = both(nn.Sequential(layer, nn.ReLU()), nf.Line([-1.0, -1.0], [1.0, 0.5]))
    assert len(exact.breakpoints) == 2
    assert certificate.regions == 3
    assert certificate.rational == 1


def test_double_double_decides_where_float64_cancels() -> None:
    """h - 1e6 keeps few digits in float64: two units 5e-10 apart are told apart by double-double arithmetic."""
    first, second = nn.Linear(1, 1).double(), nn.Linear(1, 2).double()
    with torch.no_grad():
        first.weight.fill_(1.0)
        first.bias.fill_(1e6)
        second.weight.fill_(1.0)
        second.bias.copy_(torch.tensor([-1e6 - 0.3, -1e6 - 0.3000000005], dtype=torch.float64))
    _, certificate, exact = both(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), nf.Line([0.0], [1.0]))
    assert_same(certificate, exact)
    assert (certificate.regions, certificate.precise, certificate.rational) == (3, 1, 0)


def test_dead_layers_need_no_long_integers() -> None:
    """A unit that stands on its knot because all its inputs are off is proven in float64, also where it leaves it."""
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        first.weight.fill_(1.0)
        second.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    program = nf.capture(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), shape=(1,))
    certificate = Certifier(program).certify(*nf.Line([-1.0], [2.0]).vertices, np.array([1 / 3]), np.zeros(1, np.int64))
    assert (certificate.status, certificate.doubtful, certificate.regions) == ("proven", 0, 2)
    assert certificate.transitions.tolist() == [1, 1]


def test_without_budget_the_claims_stand() -> None:
    """What the budget does not reach is said to be uncertain."""
    model, path = degenerate(5)
    trace, certificate, _ = both(model, path, budget=0)
    assert certificate.uncertain == certificate.doubtful - certificate.precise > 0
    assert "proven but for" in certificate.status
    assert "multiplications" in certificate.status
    assert np.isinf(certificate.reach).any()
    assert set(certificate.breakpoints) <= set(trace.breakpoints)


def test_square_roots_leave_ties_uncertain() -> None:
    """Several saturated entries tie in a max pooling after batch normalisation: counted, and said to be uncertain."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Softshrink(0.5), nn.MaxPool2d(2)).eval()
    points = np.random.default_rng(0).normal(0, 2, (2, 1, 6, 6))
    trace, certificate, exact = both(model, nf.Line(*points))
    assert certificate.uncertain > 0
    assert "square root" in certificate.status
    assert certificate.transitions.tolist() == exact.transitions == trace.transitions.tolist()


def test_chaotic_network_is_proven() -> None:
    """Every region of a hard-tanh network (20-[20]x6, sigma_w^2 = 64) is proven, and its breakpoints to 1e-6."""
    net = nf.random_network(20, 20, 6, 1, "hardtanh", sigma_w=8.0, sigma_b=0.1, seed=0)
    rng = np.random.default_rng(0)
    _, certificate, exact = both(net, nf.Line(rng.normal(size=20), rng.normal(size=20)))
    assert certificate.status == "proven"
    assert_same(certificate, exact)
    assert certificate.reach.max() < 1e-6


def test_affine_network() -> None:
    """Without a nonlinearity there is one region, and nothing to prove."""
    _, certificate, exact = both(nn.Linear(2, 3), nf.Line([0.0, 1.0], [1.0, 0.0]))
    assert (certificate.regions, certificate.patterns, certificate.doubtful) == (1, 1, 0)
    assert exact.linear_pieces == 1


@pytest.mark.parametrize(
    ("kind", "seed"), [("many magnitudes", 5035), ("through knots", 5030), ("denormals, 1e300", 5021)]
)
def test_what_passed_for_proven_once(kind: str, seed: int) -> None:
    """Counts and places: two knots passed at once, a claim far from its root, and products that underflow.

    No bound of an ordinary proof says anything of these, so they go to higher precision.
    """
    layers, rng = network("lines", kind, seed)
    for _ in range(LINES):
        path = nf.Line(*points_of(kind, rng, layers, 2))
        _, certificate, _ = both(module(layers), path)
        true = rational_segments.met(layers, path.x0, path.x1)
        np.testing.assert_allclose(certificate.breakpoints, [float(t) for t in true.breakpoints], rtol=0, atol=1e-9)
        assert (certificate.layers.tolist(), certificate.transitions.tolist()) == (true.first, true.transitions)
        assert (certificate.reach <= 1e-7).all()
        assert certificate.status == "proven"
