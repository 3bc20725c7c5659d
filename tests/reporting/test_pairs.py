"""Pairs of inputs: different, disjoint where possible, a function of the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netfold.errors import InvalidInputError
from netfold.reporting.pairs import choose_pairs


@given(st.integers(2, 60), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_pairs_are_different_and_disjoint_where_there_are_enough(inputs: int, count: int, seed: int) -> None:
    """No pair twice, no input with itself; disjoint where possible; as many as asked or as exist."""
    points = np.arange(inputs, dtype=float)[:, None]
    pairs = choose_pairs(points, count, seed)
    assert len({tuple(row) for row in pairs.rows}) == len(pairs)
    assert (pairs.rows[:, 0] != pairs.rows[:, 1]).all()
    assert len(pairs) == min(count, inputs * (inputs - 1) // 2)
    if 2 * count <= inputs:
        assert pairs.disjoint
        assert len(np.unique(pairs.rows)) == 2 * count
    else:
        assert pairs.disjoint == (len(np.unique(pairs.rows)) == 2 * len(pairs))
    np.testing.assert_array_equal(pairs.rows, choose_pairs(points, count, seed).rows)


def test_equal_inputs_are_never_paired() -> None:
    """Of two values repeated many times, every pair joins one with the other."""
    points = np.repeat([[0.0], [1.0]], 30, axis=0)
    pairs = choose_pairs(points, 20, seed=3)
    assert len(pairs) == 20
    assert (points[pairs.rows[:, 0]] != points[pairs.rows[:, 1]]).all()


def test_large_data_is_not_enumerated() -> None:
    """A hundred thousand rows give disjoint pairs at once, and many pairs of few thousand rows are found."""
    assert choose_pairs(np.arange(1e5)[:, None], 40, 0).disjoint
    assert len(choose_pairs(np.arange(1500.0)[:, None], 1000, 0)) == 1000


@pytest.mark.parametrize(
    ("points", "count", "words"),
    [
        (np.zeros((0, 3)), 5, "two inputs"),
        (np.zeros((1, 3)), 5, "two inputs"),
        (np.ones((9, 3)), 5, "all inputs in the data are equal"),
        (np.eye(3), 0, "at least 1"),
    ],
)
def test_unusable_data(points: np.ndarray, count: int, words: str) -> None:
    """One clear error each."""
    with pytest.raises(InvalidInputError, match=words):
        choose_pairs(points, count, 0)
