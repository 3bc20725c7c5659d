"""Gaussian moments and correlated products of activations, against independent integrals."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import erf, expit, ndtr
from scipy.stats import norm

from netfold.errors import InvalidInputError
from netfold.theory import Custom, PiecewiseLinear, as_activation, hard_tanh, leaky_relu

# name: (phi, phi', phi'' or None where the slope jumps, kinks)
WRITTEN_OUT = {
    "relu": (lambda h: max(h, 0.0), lambda h: float(h > 0), None, (0.0,)),
    "leaky_relu": (lambda h: max(h, 0.01 * h), lambda h: 1.0 if h > 0 else 0.01, None, (0.0,)),
    "hardtanh": (lambda h: min(max(h, -1.0), 1.0), lambda h: float(abs(h) < 1), None, (-1.0, 1.0)),
    "linear": (lambda h: h, lambda h: 1.0, lambda h: 0.0, ()),
    "tanh": (
        np.tanh,
        lambda h: 1 - np.tanh(h) ** 2,
        lambda h: -2 * np.tanh(h) * (1 - np.tanh(h) ** 2),
        (),
    ),
    "erf": (
        erf,
        lambda h: 2 / np.sqrt(np.pi) * np.exp(-h * h),
        lambda h: -4 * h / np.sqrt(np.pi) * np.exp(-h * h),
        (),
    ),
    "gelu": (
        lambda h: h * ndtr(h),
        lambda h: ndtr(h) + h * norm.pdf(h),
        lambda h: (2 - h * h) * norm.pdf(h),
        (),
    ),
    "silu": (
        lambda h: h * expit(h),
        lambda h: expit(h) + h * expit(h) * (1 - expit(h)),
        lambda h: expit(h) * (1 - expit(h)) * (2 + h * (1 - 2 * expit(h))),
        (),
    ),
}


def gaussian_mean(function, q, kinks):
    """E f(h), h ~ N(0, q), by adaptive quadrature between the kinks."""
    scale = np.sqrt(q)
    edges = sorted({-9.0, 0.0, 9.0, *(k / scale for k in kinks if abs(k / scale) < 9)})
    pieces = (
        quad(lambda z: function(scale * z) * norm._pdf(z), a, b, epsabs=1e-13, epsrel=1e-11, limit=200)[0]
        for a, b in pairwise(edges)
    )
    return sum(pieces)


@pytest.mark.parametrize("q", [0.02, 0.7, 12.6])
@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_moments_equal_their_integrals(name, q):
    """E phi^2, E phi'^2, E phi'^2 h^2 / q, E phi''^2 and d(E phi^2)/dq are what their definitions say."""
    phi, first, second, kinks = WRITTEN_OUT[name]
    m = as_activation(name).moments(np.array([q]))
    assert m.square[0] == pytest.approx(gaussian_mean(lambda h: phi(h) ** 2, q, kinks), rel=1e-9)
    assert m.slope[0] == pytest.approx(gaussian_mean(lambda h: first(h) ** 2, q, kinks), rel=1e-9)
    assert m.radial[0] == pytest.approx(gaussian_mean(lambda h: first(h) ** 2 * h * h, q, kinks) / q, rel=1e-9)
    along = gaussian_mean(lambda h: phi(h) * first(h) * h, q, kinks) / q
    assert m.square_slope[0] == pytest.approx(along, rel=1e-9)
    if second is None:
        assert m.bend[0] == np.inf
    else:
        assert m.bend[0] == pytest.approx(gaussian_mean(lambda h: second(h) ** 2, q, kinks), rel=1e-9)


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_square_slope_is_the_derivative_of_the_square(name):
    """d(E phi^2)/dq agrees with a difference quotient, also where the slope of phi jumps."""
    phi, q, step = as_activation(name), 1.3, 1e-5
    above, below = phi.square(np.array([q + step, q - step]))
    assert phi.moments(np.array([q])).square_slope[0] == pytest.approx((above - below) / (2 * step), rel=1e-8)


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_callable_gives_the_numbers_of_the_name(name):
    """Taken by values alone, within its own error estimate, a function has the moments of its closed form."""
    named = as_activation(name)
    custom = Custom(lambda h: named(h))
    q = np.array([1e-4, 0.5, 4.0, 100.0])
    known, found = named.moments(q), custom.moments(q)
    assert custom.kinks == pytest.approx(named.kinks, abs=1e-8)
    for field in ("square", "square_slope", "slope", "radial"):
        np.testing.assert_allclose(getattr(found, field), getattr(known, field), rtol=1e-8)
    if not named.kinks:
        np.testing.assert_allclose(found.bend, known.bend, rtol=1e-6, atol=1e-15)
    assert (found.error < 1e-6).all()


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_correlated_products_equal_double_integrals(name):
    """E phi(h_1) phi(h_2) = E phi(h_1) E[phi(h_2) | h_1]; at c = 1 it is E phi^2, at c = 0 (E phi)^2."""
    phi, first, _, kinks = WRITTEN_OUT[name]
    q, activation = 2.0, as_activation(name)
    value, slope, error = activation.correlation(np.full(3, q))(np.array([0.6, 1.0, 0.0]))

    def product(f, c):
        def inner(h):
            edges = [(k - c * h) for k in kinks]
            return gaussian_mean(lambda r: f(c * h + r), q * (1 - c * c), edges)

        node, weight = np.polynomial.legendre.leggauss(40)
        cuts = np.unique([-8.0, -4.0, 0.0, 4.0, 8.0, *np.array(kinks) / np.sqrt(q)])
        total = 0.0
        for a, b in pairwise(cuts):
            z = (a + b) / 2 + (b - a) / 2 * node
            held = np.array([f(np.sqrt(q) * x) * inner(np.sqrt(q) * x) for x in z])
            total += (b - a) / 2 * (weight * norm.pdf(z) * held).sum()
        return total

    assert value[0] == pytest.approx(product(phi, 0.6), rel=1e-7, abs=1e-10)
    assert slope[0] == pytest.approx(product(first, 0.6), rel=1e-7)
    assert value[1] == pytest.approx(activation.square(np.array([q]))[0], rel=1e-10)
    assert slope[1] == pytest.approx(activation.moments(np.array([q])).slope[0], rel=1e-10)
    assert value[2] == pytest.approx(gaussian_mean(phi, q, kinks) ** 2, abs=1e-10)
    assert (error < 1e-7).all()


@pytest.mark.parametrize("name", ["relu", "hardtanh", "erf", "gelu"])
def test_closed_correlations_equal_the_hermite_series(name):
    """Price's theorem and Mehler's series, which share no code, give the same products."""
    named, c = as_activation(name), np.array([-0.7, -0.2, 0.1, 0.5, 0.9])
    closed = named.correlation(np.full(5, 3.0))(c)
    series = Custom(lambda h: named(h)).correlation(np.full(5, 3.0))(c)
    np.testing.assert_allclose(closed[0], series[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(closed[1], series[1], rtol=1e-9)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    knots=st.lists(st.integers(-8, 8), min_size=1, max_size=3, unique=True),
    slopes=st.lists(st.integers(-4, 4), min_size=4, max_size=4),
    anchor=st.integers(-3, 3),
    log_q=st.floats(-2, 3),
)
def test_random_piecewise_linear_functions(knots, slopes, anchor, log_q):
    """Closed forms of any piecewise-linear function agree with quadrature on its values alone."""
    ordered = tuple(sorted(k / 4 for k in knots))
    closed = PiecewiseLinear("test", ordered, tuple(s / 2 for s in slopes[: len(ordered) + 1]), float(anchor))
    custom, q = Custom(lambda h: closed(h)), np.array([np.exp(log_q)])
    assert custom.kinks == pytest.approx(closed.kinks, abs=1e-7)
    known, found = closed.moments(q), custom.moments(q)
    for field in ("square", "square_slope", "slope", "radial"):
        np.testing.assert_allclose(getattr(found, field), getattr(known, field), rtol=1e-6, atol=1e-8)


def test_torch_modules_and_functions_are_taken_as_they_are():
    """A module, a torch function and a numpy function agree; parameters stay without grad."""
    module = torch.nn.PReLU(init=0.25).double()
    q = np.array([1.7])
    assert Custom(module).moments(q).slope[0] == pytest.approx(leaky_relu(0.25).moments(q).slope[0], rel=1e-9)
    assert all(p.grad is None for p in module.parameters())
    for given_function in (torch.tanh, torch.nn.Tanh(), np.tanh):
        found = as_activation(given_function).moments(q).slope[0]
        assert found == pytest.approx(as_activation("tanh").moments(q).slope[0], rel=1e-10)


def test_end_slopes_are_found():
    """A callable's slopes far out are those of its name; a function without asymptotes has none."""
    for name in ("relu", "hardtanh", "tanh", "gelu", "silu"):
        assert Custom(as_activation(name)).end_slopes == as_activation(name).end_slopes
    assert Custom(np.sin).end_slopes is None
    assert Custom(lambda h: h**2).end_slopes is None


def test_names_are_forgiving_and_objects_pass_through():
    """Case, hyphens and underscores do not matter; an Activation is itself."""
    assert as_activation("Hard-Tanh") == as_activation("hardtanh") == hard_tanh()
    assert as_activation("LeakyReLU") == leaky_relu()
    assert as_activation(leaky_relu(0.2)) == leaky_relu(0.2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("softmax", "there is no 'softmax'"),
        (3, "got int"),
        (np.sign, "jumps near"),
        (lambda h: 1 / h, "finite values"),
        (lambda h: h[:2], "same shape"),
        (lambda h: "text", "takes neither"),
    ],
)
def test_unusable_activations_are_refused(wrong, words):
    """A name, type or function that theory cannot use is named in the error."""
    with pytest.raises(InvalidInputError, match=words):
        as_activation(wrong)


def test_piecewise_linear_refuses_contradictory_pieces():
    """Knots increase, and there is one more slope than knots."""
    with pytest.raises(InvalidInputError, match="one more slope"):
        PiecewiseLinear("bad", (1.0, 0.0), (0.0, 1.0, 0.0))
    with pytest.raises(InvalidInputError, match="one more slope"):
        PiecewiseLinear("bad", (0.0,), (1.0,))
