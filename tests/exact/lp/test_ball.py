"""Inradius and centre against closed forms and HiGHS."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from netfold.errors import InvalidInputError
from netfold.exact.lp.ball import largest_ball, room_for, widest


def test_simplex_corner() -> None:
    """The corner simplex x >= 0, sum x <= 1 in m dimensions has inradius 1 / (m + sqrt(m))."""
    for m in (1, 2, 5, 9):
        normals = np.r_[np.eye(m), -np.ones((1, m))]
        ball = largest_ball(normals, np.r_[np.zeros(m), 1.0], np.full(m, 0.5 / m))
        assert ball.radius == pytest.approx(1 / (m + np.sqrt(m)), rel=1e-12)
        np.testing.assert_allclose(ball.centre, ball.radius, rtol=1e-9)


def test_scale_does_not_matter() -> None:
    """A box 2e-12 wide far from the origin of lengths, rows scaled at will."""
    normals = np.array([[7.0, 0], [-1e-3, 0], [0, 1e5], [0, -2.0]])
    constants = np.array([7e-12, 1e-15, 1e5, 2.0])
    assert largest_ball(normals, constants, np.zeros(2)).radius == pytest.approx(1e-12, rel=1e-9)


@pytest.mark.parametrize(("normals", "constants"), [([[1.0, 0.0]], [1.0]), ([[1.0, 0], [0, 1], [1, 1]], [1.0, 1, 1])])
def test_open_cells_hold_balls_of_any_size(normals: list[list[float]], constants: list[float]) -> None:
    assert largest_ball(normals, constants, np.zeros(2)).radius == np.inf


def test_a_strip_is_unbounded_but_its_balls_are_not() -> None:
    assert largest_ball([[1.0, 1.0], [-1.0, -1.0]], [1.0, 1.0], np.zeros(2)).radius == pytest.approx(np.sqrt(0.5))


def test_lengths_of_another_space() -> None:
    """A coordinate that is half as long as it looks: its normals are twice as long there."""
    square = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert largest_ball(square, np.ones(4), np.zeros(2), np.diag([4.0, 1.0])).radius == pytest.approx(0.5)


def test_points_outside_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="row 1 is -1"):
        largest_ball([[1.0], [-1.0]], [1.0, 1.0], [2.0])


def drawn(seed: int, m: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, x = rng.normal(size=(rows, m)), rng.normal(size=m)
    return a, rng.exponential(size=rows) * 10.0 ** rng.uniform(-4, 0) - a @ x, x


def by_highs(a: np.ndarray, b: np.ndarray, norm: np.ndarray) -> float:
    m = a.shape[1]
    limits = [(None, None)] * m + [(0, None)]
    solved = linprog(np.append(np.zeros(m), -1.0), A_ub=np.c_[-a, norm], b_ub=b, bounds=limits, method="highs")
    return np.inf if solved.status == 3 else -solved.fun


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 16))
def test_random_cells(seed: int, m: int, rows: int) -> None:
    """The radius is that of HiGHS; the ball around the centre touches no row from beyond."""
    a, b, x = drawn(seed, m, rows)
    norm = np.linalg.norm(a, axis=1)
    ball = largest_ball(a, b, x)
    assert ball.radius == pytest.approx(by_highs(a, b, norm), rel=1e-6, abs=1e-9)
    if np.isfinite(ball.radius):
        assert ((a @ ball.centre + b) / norm).min() == pytest.approx(ball.radius, rel=1e-9, abs=1e-13)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(2, 14), st.floats(0.01, 100))
def test_a_limit_cuts_the_search_short(seed: int, m: int, rows: int, share: float) -> None:
    """With a limit the answer is the smaller of radius and limit; rows without a side do not count."""
    a, b, x = drawn(seed, m, rows)
    exact = largest_ball(a, b, x).radius
    limit = share * min(exact, 10.0)
    columns = np.zeros((m + 1, m + rows + 1))
    columns[:, m : m + rows] = np.r_[a.T, b[None]]
    columns[:, -1] = -1.0
    side = np.r_[np.zeros(m), np.ones(rows), 0.0]
    norm = np.r_[np.ones(m), np.linalg.norm(a, axis=1), 1.0]
    found = widest(columns, norm, side, m, m + rows + 1, x, limit, room_for(rows + 1, m))
    assert found == pytest.approx(min(exact, limit), rel=1e-9)
