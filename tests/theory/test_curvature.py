"""Curvature of images of a circle: recursion, fixed point, simulation."""

import math

import numpy as np
import pytest

from netfold.errors import InvalidInputError
from netfold.theory import curvature_growth, mean_field


def test_recursion_and_fixed_point():
    """kappa'^2 = 3 chi_2 / chi_1^2 + kappa^2 / chi_1 from 1 / q*, to 3 chi_2 / (chi_1 (chi_1 - 1))."""
    field = mean_field("tanh", 2.5, 0.3)
    found = curvature_growth("tanh", 2.5, 0.3, depth=60).curvature ** 2
    assert found[0] == pytest.approx(1 / field.q)
    step = 3 * field.chi_2 / field.chi_1**2 + found[:-1] / field.chi_1
    np.testing.assert_allclose(found[1:], step, rtol=1e-9)
    assert found[-1] == pytest.approx(3 * field.chi_2 / (field.chi_1 * (field.chi_1 - 1)), rel=1e-9)
    assert math.sqrt(found[-1]) == pytest.approx(field.curvature, rel=1e-9)


def test_ordered_and_chaotic():
    """Ordered: length dies, the tangent curve stays bounded. Chaotic: both grow exponentially."""
    ordered = curvature_growth("tanh", 1.3, 0.3, depth=200)
    assert ordered.length[-1] < 1e-2
    assert ordered.tangent_length[-1] == pytest.approx(ordered.tangent_length[-2], rel=1e-3)
    chaotic = curvature_growth("tanh", 4.0, 0.3, depth=40)
    field = mean_field("tanh", 4.0, 0.3)
    assert chaotic.length[-1] / chaotic.length[-2] == pytest.approx(field.growth)
    assert chaotic.tangent_length[-1] / chaotic.tangent_length[-2] == pytest.approx(field.growth, rel=1e-6)


def test_kinks_make_corners():
    """After a kinked activation the curvature is infinite (corners); linear layers bend nothing."""
    assert curvature_growth("relu", 1.5, depth=2, q=1.0).curvature.tolist() == [1.0, math.inf]
    straight = curvature_growth("linear", 2.0, depth=3, q=1.0)
    np.testing.assert_allclose(straight.curvature, [1.0, 0.5, 0.25])
    np.testing.assert_allclose(straight.tangent_length, 1.0)


def test_curvature_of_wide_networks():
    """First and second derivatives through tanh networks of width 1000 give the predicted curvature.

    Mean over 6 networks and 8 points, within 4 standard errors plus 0.5% for the width being finite.
    """
    rng, width, depth, sigma_w, sigma_b = np.random.default_rng(2), 1000, 4, 2.5, 0.3
    q, s, runs = mean_field("tanh", sigma_w, sigma_b).q, np.arange(8) * np.pi / 4, []
    for _ in range(6):
        u, v = np.linalg.qr(rng.normal(size=(width, 2)))[0].T[..., None] * math.sqrt(width * q)
        h, dh, ddh = u * np.cos(s) + v * np.sin(s), -u * np.sin(s) + v * np.cos(s), None
        ddh, row = -h, []
        for _ in range(depth):
            g, along, bent = (dh**2).sum(0), (dh * ddh).sum(0), (ddh**2).sum(0)
            row.append(math.sqrt(width) * np.mean(np.sqrt((g * bent - along**2) / g**3)))
            weights = rng.normal(size=(width, width)) * (sigma_w / math.sqrt(width))
            z, slope = np.tanh(h), 1 / np.cosh(h) ** 2
            ddh = weights @ (slope * ddh - 2 * z * slope * dh**2)
            h, dh = weights @ z + sigma_b * rng.normal(size=(width, 1)), weights @ (slope * dh)
        runs.append(row)
    mean, error = np.mean(runs, 0), np.std(runs, 0, ddof=1) / math.sqrt(len(runs))
    predicted = curvature_growth("tanh", sigma_w, sigma_b, depth=depth).curvature
    assert (np.abs(mean - predicted) < 4 * error + 0.005 * predicted).all()
    assert (error < 0.02 * predicted).all()


def test_forms():
    """One row a layer, as a data frame, as text and as a picture."""
    found = curvature_growth("tanh", 2.5, 0.3, depth=3)
    frame = found.to_dataframe()
    np.testing.assert_array_equal(frame["curvature"], found.curvature)
    assert [int(line.split()[0]) for line in repr(found).splitlines()[2:]] == [1, 2, 3]
    np.testing.assert_array_equal(found.plot().lines[1].get_ydata(), found.tangent_length)


def test_bad_arguments():
    """There must be a layer, and a length to start from."""
    with pytest.raises(InvalidInputError, match="depth must be a whole number from 1"):
        curvature_growth("tanh", 2.0, depth=0)
    with pytest.raises(InvalidInputError, match="pass q"):
        curvature_growth("relu", math.sqrt(2), depth=2)
