"""Numbers that passes over rows compute themselves, against a library that shares no code."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netfold.exact.numerics.angles import angle_beside, angle_of_chord

POSITIVE = st.floats(1e-150, 1e150)


@settings(max_examples=1000, deadline=None)
@given(POSITIVE, POSITIVE, st.sampled_from([1.0, -1.0]))
def test_angle_beside_an_axis(across: float, along: float, sign: float) -> None:
    """The arctangent of both arguments, to three units of the last digit."""
    with mpmath.workprec(200):
        expected = mpmath.atan2(mpmath.mpf(across), mpmath.mpf(sign * along))
        assert abs(angle_beside(across, sign * along) - expected) <= 3 * 2.0**-53 * expected


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-9, 1e3))
def test_angle_near_known_ones(slope: float) -> None:
    """Also for slopes of the same size, where the series begins anew at every known angle."""
    with mpmath.workprec(200):
        expected = mpmath.atan(mpmath.mpf(slope))
        assert abs(angle_beside(slope, 1.0) - expected) <= 3 * 2.0**-53 * expected


@pytest.mark.parametrize(
    ("across", "along"), [(0.0, 1.0), (0.0, -1.0), (0.0, 0.0), (1.0, 0.0), (math.inf, 1.0), (1.0, math.inf), (1.0, 1.0)]
)
def test_angles_at_the_edges(across: float, along: float) -> None:
    """On the axes, at the origin and at infinity it is the library's."""
    assert angle_beside(across, along) == np.arctan2(across, along)


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-8, math.pi))
def test_angle_of_a_chord(angle: float) -> None:
    """An angle comes back from the square of its chord, as far as that holds it."""
    with mpmath.workprec(200):
        gap2 = float(4 * mpmath.sin(mpmath.mpf(angle) / 2) ** 2)
    steep = math.tan(angle / 2) / angle  # how a change of the chord, relative to it, changes the angle
    assert angle_of_chord(gap2) == pytest.approx(angle, rel=4 * 2.0**-53 * (1 + 2 * steep), abs=4e-8 * (angle > 3.1))
