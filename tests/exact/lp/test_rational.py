"""Rational linear programs against HiGHS, and against what is known in closed form."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from netfold.exact.lp.rational import (
    Row,
    bounded,
    implied,
    inradius,
    integer_row,
    interior,
    least,
    lowest,
    null_space,
    supports,
    value_at,
)


def row(m: int) -> st.SearchStrategy[Row]:
    return st.lists(st.integers(-3, 3), min_size=m + 1, max_size=m + 1)


systems = st.integers(1, 4).flatmap(lambda m: st.tuples(st.just(m), st.lists(row(m), min_size=1, max_size=9)))


def height(rows: list[Row], m: int) -> float:
    """The largest t up to 1 with all rows at least t somewhere, by HiGHS."""
    a = np.array(rows, float)
    cost = np.append(np.zeros(m), -1.0)
    limits = [(None, None)] * m + [(None, 1.0)]
    solved = linprog(cost, A_ub=np.c_[-a[:, :m], np.ones(len(a))], b_ub=a[:, m], bounds=limits, method="highs")
    return -solved.fun


@settings(deadline=None, max_examples=150)
@given(systems)
def test_a_point_is_found_exactly_where_the_cell_is_full_dimensional(system: tuple[int, list[Row]]) -> None:
    """The point satisfies every row strictly; where there is none, HiGHS finds none either."""
    m, rows = system
    point = interior(rows, m)
    if point is None:
        assert height(rows, m) < 1e-7
    else:
        assert all(sum(a * x for a, x in zip(r, [*point, 1], strict=True)) > 0 for r in rows)


@settings(deadline=None, max_examples=150)
@given(systems, st.data())
def test_the_lowest_value_is_negative_where_highs_says_so(system: tuple[int, list[Row]], data: st.DataObject) -> None:
    """A negative value has a witness strictly inside; without one, HiGHS finds no value below zero."""
    m, rows = system
    target = data.draw(row(m))
    inner = interior(rows, m)
    if inner is None:
        return
    found = lowest(rows, target, inner)
    assert not found.blurred
    if found.point is not None:
        assert found.negative
        assert value_at(target, found.point) < 0
        assert all(value_at(r, found.point) > 0 for r in rows)
        return
    assert not found.negative
    a = np.array(rows, float)
    limits = [(None, None)] * m
    solved = linprog(target[:m], A_ub=-a[:, :m], b_ub=a[:, m], bounds=limits, method="highs")
    assert solved.status == 0
    assert solved.fun + target[m] > -1e-7


def test_thin_cells_are_not_empty() -> None:
    """A strip of width 2^-1000 is full-dimensional, one of width 0 is not."""
    width = Fraction(1, 2**1000)
    strip = [integer_row([3, 1, 0]), integer_row([-3, -1, width])]
    point = interior(strip, 2)
    assert point is not None
    assert 0 < 3 * point[0] + point[1] < width
    assert interior([integer_row([3, 1, 0]), integer_row([-3, -1, 0])], 2) is None


def test_a_degenerate_corner_ends() -> None:
    """Many planes through one point: the method does not cycle, and the minimum is there."""
    rng = np.random.default_rng(0)
    cone = [[int(v) for v in rng.integers(-9, 10, 3)] + [30, 0] for _ in range(40)]
    cone.append([0, 0, 0, -1, 1])
    inner = interior(cone, 4)
    assert inner is not None
    assert not lowest(cone, [0, 0, 0, 1, 0], inner).negative
    assert lowest(cone, [0, 0, 0, 4, -1], inner).negative


def test_values_below_the_blur_are_ties() -> None:
    """With a blur, a value that is negative by less is no cut, and the result says so."""
    segment = [[1, 0], [-1, 1]]
    inner = [Fraction(1, 2)]
    near = [Fraction(1), -Fraction(1, 2**300)]
    target = integer_row(near)
    assert lowest(segment, target, inner).negative
    blurred = lowest(segment, target, inner, blur=Fraction(1, 2**200) * max(map(abs, target)))
    assert (blurred.negative, blurred.blurred) == (False, True)


@pytest.mark.parametrize(("target", "follows"), [([2, 3, 0], True), ([2, 3, -1], False), ([-1, 3, 9], False)])
def test_multipliers_prove_a_row(target: Row, follows: bool) -> None:
    """A row follows from others exactly where its multipliers and what is left over are not negative."""
    assert supports([[1, 0, 0], [0, 1, 0]], target, [Fraction(1), Fraction(1)]) is follows


def test_rows_that_leave_a_direction_free_prove_nothing_across_it() -> None:
    assert not supports([[1, 0, 0]], [1, 1, 5], [Fraction(1), Fraction(1)])
    assert supports([[1, 0, 0]], [2, 0, 5], [Fraction(1), Fraction(1)])


@settings(deadline=None, max_examples=150)
@given(systems)
def test_least_values_implications_and_balls_are_those_of_highs(system: tuple[int, list[Row]]) -> None:
    """On a full-dimensional cell: the last row's least value on the others, whether it is implied, the largest ball."""
    m, (*rows, target) = system
    inner = interior([*rows, target], m)
    if inner is None or not rows:
        return
    a = np.array(rows, float)
    solved = linprog(target[:m], A_ub=-a[:, :m], b_ub=a[:, m], bounds=(None, None), method="highs")
    value = least(rows, target, inner)
    assert (value is None) == (solved.status in (3, 4))
    if value is not None:
        assert float(value) == pytest.approx(solved.fun + target[m], abs=1e-7)
    assert implied(target, rows) == (value is not None and value >= 0)
    cost, length = np.append(np.zeros(m), -1.0), np.linalg.norm(a[:, :m], axis=1)
    ball = linprog(cost, A_ub=np.c_[-a[:, :m], length], b_ub=a[:, m], bounds=(None, None), method="highs")
    assert inradius(rows) == (pytest.approx(-ball.fun, abs=1e-7) if ball.status == 0 else np.inf)


@settings(deadline=None, max_examples=150)
@given(systems)
def test_bounded_cells_end_along_every_axis(system: tuple[int, list[Row]]) -> None:
    """A cell is bounded where every coordinate has a least and a largest value on it, by HiGHS."""
    m, rows = system
    if interior(rows, m) is None:
        return
    a, axes = np.array(rows, float), [sign * axis for axis in np.eye(m) for sign in (1.0, -1.0)]
    ends = [linprog(c, A_ub=-a[:, :m], b_ub=a[:, m], bounds=(None, None), method="highs").status for c in axes]
    assert bounded(rows, m) == (set(ends) == {0})
    assert not bounded(rows, m + 1)


def test_null_space():
    """Integer null vectors: x.rows = 0, as many as the rank leaves."""
    rows = [[2, 4, -2, 0], [1, 2, 1, 3], [3, 6, -1, 3]]
    basis = null_space(rows, 4)
    assert len(basis) == 2
    assert not (np.array(rows) @ np.array(basis).T).any()
    assert np.linalg.matrix_rank(np.array(basis)) == 2
    assert null_space([], 2) == [[1, 0], [0, 1]]
    assert null_space([[10**40, 1]], 2) in ([[-1, 10**40]], [[1, -(10**40)]])
