"""Quadrature under a Gaussian: exact cases, honest error estimates, kinks found from values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from netfold.theory.gaussian import NODES, differentiate, expectation, find_kinks, hermite_squares


@pytest.mark.parametrize("q", [1e-8, 1.0, 50.0, 1e8])
def test_moments_of_a_gaussian(q):
    """E h^2 = q, E h^4 = 3 q^2, E h^6 = 15 q^3, E h^3 = 0."""
    found, error = expectation(lambda h, _: np.stack([h**2, h**4, h**6, h**3]), np.array([q]))
    np.testing.assert_allclose(found[:3, 0], [q, 3 * q**2, 15 * q**3], rtol=1e-13)
    assert abs(found[3, 0]) < 1e-13 * q**1.5
    assert (error[:3, 0] < 1e-12 * found[:3, 0]).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(steepness=st.floats(0.1, 200), shift=st.floats(-2, 2), log_q=st.floats(-3, 4))
def test_error_estimates_cover_the_error(steepness, shift, log_q):
    """E Phi(a h + b) = Phi(b / sqrt(1 + a^2 q)), however steep: the error is below its estimate."""
    q = np.exp(log_q)
    value, error = expectation(lambda h, _: ndtr(steepness * h + shift)[None], np.array([q]))
    exact = ndtr(shift / np.sqrt(1 + steepness**2 * q))
    assert abs(value[0, 0] - exact) <= 3 * error[0, 0] + 1e-14
    assert error[0, 0] < 1e-10


@pytest.mark.parametrize("kink", [-1.3, 0.0, 0.2, 5.0])
def test_kinks_are_split(kink):
    """E |h - k| has a closed form; split at k it is found to rounding, unsplit with an honest error."""
    q, exact = 2.0, None
    z = kink / np.sqrt(q)
    exact = np.sqrt(q) * (2 * np.exp(-z * z / 2) / np.sqrt(2 * np.pi) + z * (2 * ndtr(z) - 1))
    split, error = expectation(lambda h, _: np.abs(h - kink)[None], np.array([q]), (kink,))
    assert split[0, 0] == pytest.approx(exact, rel=1e-14)
    assert error[0, 0] < 1e-13
    unsplit, error = expectation(lambda h, _: np.abs(h - kink)[None], np.array([q]))
    assert abs(unsplit[0, 0] - exact) <= 10 * error[0, 0]


def test_what_lies_beyond_the_mesh_is_in_the_error():
    """E exp(4 h) at q = 9 lives at 12 standard deviations: the value is wrong, and the error says so."""
    value, error = expectation(lambda h, _: np.exp(4 * h)[None], np.array([9.0]))
    assert abs(value[0, 0] / np.exp(72) - 1) > 0.1
    assert error[0, 0] > 0.1 * value[0, 0]


def test_differentiation_is_exact_for_polynomials():
    """On panels of any width, powers up to 15 have the derivatives they should."""
    width = np.array([[0.5, 2.0, 0.0]])
    h = 0.3 + 0.5 * width[:, :, None] * (NODES + 1)
    for power in (1, 4, 15):
        found = differentiate(h**power, width)
        np.testing.assert_allclose(found[0, :2], power * h[0, :2] ** (power - 1), rtol=1e-9, atol=1e-9)
    assert (differentiate(h, width)[0, 2] == 0).all()


def test_hermite_coefficients():
    """h^3 = q^1.5 (sqrt 6 He_3 + 3 He_1) in normalised polynomials; squares add up to E phi^2 (Parseval)."""
    q = np.array([0.5, 2.0])
    squares = hermite_squares(lambda h: h**3, q, ())
    np.testing.assert_allclose(squares[:, 1], 9 * q**3, rtol=1e-12)
    np.testing.assert_allclose(squares[:, 3], 6 * q**3, rtol=1e-12)
    np.testing.assert_allclose(squares.sum(1), 15 * q**3, rtol=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    places=st.lists(st.floats(-20, 20), min_size=0, max_size=3),
    jumps=st.lists(st.sampled_from([-1.5, -0.05, 0.05, 0.4, 2.0]), min_size=3, max_size=3),
)
def test_kinks_are_found(places, jumps):
    """A smooth function plus ramps has its kinks where the ramps start, and no others."""
    places = [p for i, p in enumerate(places) if all(abs(p - other) > 0.1 for other in places[:i])]

    def function(h):
        return np.tanh(3 * h) + sum(j * np.maximum(h - p, 0) for j, p in zip(jumps, places, strict=False))

    found, torn = find_kinks(function)
    assert found == pytest.approx(sorted(places), abs=1e-7)
    assert not torn


def test_steps_are_told_from_kinks():
    """A step is reported as one; steep but smooth functions have neither."""
    assert find_kinks(np.sign) == ((0.0,), True)
    assert find_kinks(lambda h: np.tanh(1000 * h)) == ((), False)
    assert find_kinks(np.exp) == ((), False)
    assert find_kinks(np.sin) == ((), False)
