"""Laws of arcs traced in rational arithmetic: another rational oracle, the float tracer, and how places are ordered."""

from __future__ import annotations

from itertools import pairwise

import mpmath
import numpy as np
import pytest

import netfold as nf
from netfold.errors import CaptureError, InvalidInputError
from netfold.exact.certificate.certifier import Certifier
from netfold.exact.certificate.rational import RationalTracer
from netfold.exact.certificate.rational_arcs import Surd
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.paths import Ellipse
from tests.exact.arc import rational_circles
from tests.exact.cells.networks import module
from tests.models import random_model
from tests.stress.checks import network
from tests.stress.networks import KINDS, points_of


@pytest.mark.parametrize("kind", KINDS)
def test_as_on_the_unit_circle(kind: str) -> None:
    """Lines that meet the unit circle, an oracle without any code in common, give the same on degenerate networks."""
    for seed in range(40, 45):
        layers, rng = network("arcs", kind, seed)
        try:
            program = nf.capture(module(layers), shape=layers[0].weights.shape[1:])
        except CaptureError:
            continue
        u, v, center = points_of(kind, rng, layers, 3)
        for path, c, quarters in ((nf.Arc(u, v), 0 * u, 1), (nf.Circle(u, v, center), center, 4)):
            true = rational_circles.met(layers, c, u, v, quarters)
            found = RationalTracer(ExplicitProgram.of(program)).run_arc(path.ellipse, quarters)
            assert found.transitions == true.transitions
            assert found.breakpoint_layers == true.first
            t = [float(place) / quarters for place in found.breakpoints]
            np.testing.assert_allclose(t, true.breakpoints, rtol=0, atol=2e-15)


@pytest.mark.parametrize("family", range(4), ids=["dense", "residual", "branches", "convolutional"])
def test_float_tracer_agrees(family: int) -> None:
    """Counts of every kind that the float tracer finds on random networks in general position."""
    for seed in range(6 if family < 3 else 2):
        model, shape = random_model(seed, family)
        u, v = np.random.default_rng([seed, 1]).normal(0, 2, (2, *shape))
        program = nf.capture(model, shape=shape)
        for path in (nf.Arc(u, v), nf.Circle(u, v), Ellipse(0 * u, u, v, 4 * np.pi) if seed == 0 else nf.Arc(v, u)):
            trace = nf.trace_path(program, path)
            found = Certifier(program).certify_arc(path.ellipse, trace.breakpoints, 0)
            assert found is not None
            assert trace.breakpoint_layers.tolist() == found.layers.tolist()
            assert trace.transitions.tolist() == found.transitions.tolist()
            assert trace.sign_transitions.tolist() == found.sign_transitions.tolist()
            assert [layer.saturation_passages for layer in trace.layers] == found.saturation_passages.tolist()
            assert (trace.patterns, trace.linear_pieces) == (found.patterns, found.linear_pieces)
            np.testing.assert_allclose(trace.breakpoints, found.breakpoints, rtol=0, atol=1e-11)


def test_places_are_ordered() -> None:
    """Numbers with square roots compare as 60 digits do, and equal ones in other terms are equal."""
    rng = np.random.default_rng(0)
    some = [Surd(*(int(n) for n in (rng.integers(-9, 9), rng.integers(-3, 4), rng.integers(1, 9), rng.integers(1, 30))))
            for _ in range(300)]  # fmt: skip
    with mpmath.workdps(60):
        values = [(s.a + s.b * mpmath.sqrt(s.d)) / s.c for s in some]
        for (one, x), (other, y) in pairwise(zip(some, values, strict=True)):
            assert (one < other) == (x < y and abs(x - y) > 1e-50)
            assert (one == other) == (abs(x - y) < 1e-50)
            assert abs(one.near - x * mpmath.mpf(2) ** 160) < 3
    assert Surd(1, 2, 3, 5) == Surd(2, 2, 6, 20) != Surd(1, 2, 3, 6)
    assert Surd(0, 1, 1, 2) < Surd(0, 10**40, 10**40 - 1, 2)  # nearer than the digits that are looked at first


def test_certificates_of_arcs() -> None:
    """A certificate that is asked for, of what no certificate reaches, and of too much work."""
    net = nf.random_network(inputs=3, width=8, depth=2, sigma_b=0.5, seed=1)
    circle = nf.Circle([1.0, 0.0, 0.5], [0.0, 1.0, 0.0])
    line = nf.Line([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    plain, proved = nf.trace_path(net, circle), nf.trace_paths(net, [circle, line], certify=True)
    assert proved[0].status == proved[1].status == "exact; proven"
    assert proved[0].regions == plain.regions
    np.testing.assert_allclose(proved[0].breakpoints, plain.breakpoints, rtol=0, atol=1e-12)
    with pytest.raises(InvalidInputError, match="whole quarter turns"):
        nf.trace_path(net, Ellipse(np.zeros(3), np.ones(3), np.eye(3)[0], 2.0), certify=True)
    assert (
        Certifier(nf.capture(net, shape=(3,)), budget=100.0).certify_arc(circle.ellipse, plain.breakpoints, 0) is None
    )
