"""Allocations against every assignment there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from netfold.errors import InvalidInputError
from netfold.sensitivity.allocation import allocate, never_rising, total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limited", ["size", "cost"])
def test_no_assignment_is_better(seed: int, limited: str) -> None:
    """The sum is the least of all assignments within the limit, and the limit is kept to the last bit."""
    rng = np.random.default_rng(seed)
    options = np.array([2, 3, 4, 8])
    sizes = rng.integers(1, 10**6, size=(5, 1)) * options
    costs = never_rising(rng.exponential(size=(5, 1)) * 0.25**options * rng.uniform(0.3, 3.0, size=(5, 4)))
    least, within = (costs, sizes) if limited == "size" else (sizes, costs)
    every = np.array(list(product(range(4), repeat=5)))
    sums, sizes_of_all = (np.take_along_axis(v[None], every[:, :, None], 2).sum((1, 2)) for v in (least, within))
    limit = float(np.quantile(sizes_of_all, rng.uniform(0.05, 0.95)))
    found = allocate(least, within, limit)
    assert found.best
    assert total(within, found.options) <= limit
    assert total(least, found.options) == pytest.approx(sums[sizes_of_all <= limit].min(), rel=1e-9)


def test_limits_at_the_ends() -> None:
    """At the least size all get the fewest bits; below it there is nothing; with room for all nothing is given up."""
    costs, sizes = np.array([[3.0, 1.0], [5.0, 0.0]]), np.array([[2, 4], [20, 40]])
    assert allocate(costs, sizes, 22).options.tolist() == [0, 0]
    assert allocate(costs, sizes, 44).options.tolist() == [1, 1]
    assert allocate(sizes, costs, 0.5 + 0.5).options.tolist() == [1, 1]
    with pytest.raises(InvalidInputError, match="at least 22"):
        allocate(costs, sizes, 21.9)


def test_more_bits_never_count_as_worse() -> None:
    assert never_rising(np.array([[2.0, 0.5, 1.0, -0.1]])).tolist() == [[2.0, 1.0, 1.0, 0.0]]
