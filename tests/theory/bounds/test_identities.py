"""The bounds against their definitions, and against each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netfold.theory import bounds
from netfold.theory.bounds import HISTOGRAMS

inputs = st.integers(1, 6)
widths = st.lists(st.integers(1, 7), min_size=1, max_size=4)
activations = st.sampled_from(["relu", "hardtanh"])
KNOTS = {"relu": 1, "hardtanh": 2}


def serra_sum(n0, shape, ranks=None):
    """The sum over J, term by term."""
    total = 0
    for js in itertools.product(*(range(n + 1) for n in shape)):
        limits = list(itertools.accumulate([n0, *(n - j for n, j in zip(shape, js, strict=True))], min))
        caps = ranks or shape
        if all(j <= min(limit, cap) for j, limit, cap in zip(js, limits, caps, strict=False)):
            total += math.prod(math.comb(n, j) for n, j in zip(shape, js, strict=True))
    return total


@given(inputs, widths)
@settings(deadline=None)
def test_serra_is_its_sum(n0, shape):
    """The recursion over image dimensions equals the sum over J."""
    assert bounds.serra2018_upper(n0, shape) == serra_sum(n0, shape)


@given(inputs, st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=3))
@settings(deadline=None)
def test_serra_with_ranks_is_its_sum(n0, layers):
    """Ranks cap the index of their own layer."""
    shape, ranks = zip(*layers, strict=True)
    assert bounds.serra2018_upper(n0, shape, ranks) == serra_sum(n0, shape, ranks)


@given(inputs, widths)
@settings(deadline=None)
def test_full_ranks_change_nothing(n0, shape):
    """rank W_l = n_l is the bound without ranks; lower ranks never raise it."""
    free = bounds.serra2018_upper(n0, shape)
    assert bounds.serra2018_upper(n0, shape, shape) == free
    assert bounds.serra2018_upper(n0, shape, [max(0, n - 1) for n in shape]) <= free


@given(inputs, widths)
@settings(deadline=None)
def test_hinz_contains_the_others(n0, shape):
    """Binomial histograms give Serra, Zaslavsky's give Montufar 2017, naive ones 2^N."""
    assert bounds.hinz2019(n0, shape, "binomial") == bounds.serra2018_upper(n0, shape)
    assert bounds.hinz2019(n0, shape, "zaslavsky") == bounds.montufar2017(n0, shape)
    assert bounds.hinz2019(n0, shape, "naive") == 2 ** sum(shape)


@given(inputs, widths, activations, st.sampled_from(sorted(HISTOGRAMS)))
@settings(deadline=None)
def test_hinz_is_a_product_of_matrices(n0, shape, activation, name):
    """|| B_{n_L} M ... B_{n_1} M e ||_1 with columns cl_j(gamma_{j, n}); M merges dimensions above n."""
    gamma = HISTOGRAMS[name]
    vector = np.array([0] * n0 + [1], dtype=object)
    for n in shape:
        connect = np.zeros((n + 1, len(vector)), dtype=object)
        for j in range(len(vector)):
            connect[min(j, n), j] = 1
        layer = np.zeros((n + 1, n + 1), dtype=object)
        for j in range(n + 1):
            for i, count in enumerate(gamma(j, n, KNOTS[activation])):
                layer[min(i, j), j] += count
        vector = layer @ connect @ vector
    assert bounds.hinz2019(n0, shape, name, activation) == vector.sum()


@given(inputs, widths, activations)
@settings(deadline=None)
def test_order_of_the_upper_bounds(n0, shape, activation):
    """Binomial <= Zaslavsky = Montufar 2017 <= Raghu <= every pattern."""
    values = [
        bounds.hinz2019(n0, shape, "binomial", activation),
        bounds.montufar2017(n0, shape, activation),
        bounds.raghu2017(n0, shape, activation),
        bounds.hinz2019(n0, shape, "naive", activation),
    ]
    assert values == sorted(values)
    assert values[-1] == (1 + KNOTS[activation]) ** sum(shape)


@given(st.integers(1, 3), st.lists(st.integers(3, 8), min_size=1, max_size=3))
@settings(deadline=None)
def test_lower_bounds_stay_below_the_upper_bound(n0, factors):
    """Whatever some network reaches, no bound on every network may fall below."""
    shape = [n0 * factor for factor in factors]
    upper = bounds.serra2018_upper(n0, shape)
    lower = [bound(n0, shape) for bound in (bounds.pascanu2013, bounds.montufar2014, bounds.serra2018_lower)]
    assert lower == sorted(lower)
    assert max(*lower, bounds.arora2018(n0, shape)) <= upper


@given(inputs, widths, st.integers(2, 5))
@settings(deadline=None)
def test_maxout_bounds_in_order(n0, shape, rank):
    """Lower <= sharp upper <= hyperplane upper; rank 2 counts as one knot a unit."""
    upper = bounds.montufar2022_maxout_upper(n0, shape, rank)
    assert upper <= bounds.serra2018_maxout(n0, shape, rank)
    assert bounds.montufar2022_maxout_upper(n0, shape, 2) == bounds.montufar2017(n0, shape)
    if min(shape) >= n0:
        assert bounds.montufar2022_maxout_lower(n0, shape, rank) <= upper
        assert bounds.montufar2014_maxout(n0, shape, rank) <= upper


@given(st.integers(0, 12), st.integers(0, 6))
def test_zaslavsky_recursion(n, d):
    """Adding a hyperplane adds the cells of the others on it; bounded + unbounded = all; half central."""
    assert bounds.zaslavsky(n + 1, d + 1) == bounds.zaslavsky(n, d + 1) + bounds.zaslavsky(n, d)
    # On one side of one hyperplane through the origin, the others cut as n hyperplanes of R^d do.
    assert bounds.zaslavsky(n + 1, d + 1, "central") == 2 * bounds.zaslavsky(n, d)
    unbounded = bounds.zaslavsky(n + 1, d + 1) - bounds.zaslavsky(n + 1, d + 1, "bounded")
    assert unbounded == bounds.zaslavsky(n + 1, d + 1, "central")


def xiong_sum(windows, weight, filters):
    """The sum over K, every constraint on every set of positions."""
    positions = range(len(windows))
    sets = [J for size in range(1, len(windows) + 1) for J in itertools.combinations(positions, size)]
    room = {J: weight * len(frozenset().union(*(windows[i] for i in J))) for J in sets}
    return sum(
        math.prod(math.comb(filters, k) for k in t)
        for t in itertools.product(range(filters + 1), repeat=len(windows))
        if all(sum(t[i] for i in J) <= room[J] for J in sets)
    )


@given(
    st.lists(st.frozensets(st.integers(0, 5), max_size=4), min_size=1, max_size=5),
    st.integers(1, 2),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=60)
def test_independent_choices_is_the_sum_over_K(windows, weight, filters):
    """Window by window, for windows of any shape."""
    from netfold.theory.bounds._transversal import independent_choices

    assert independent_choices(windows, weight, filters) == xiong_sum(windows, weight, filters)


@pytest.mark.parametrize(
    ("size", "channels", "kernel", "stride", "filters"),
    [(9, 1, 3, 2, 3), ((3, 3), 1, 2, 1, 2), ((3, 2), 2, 2, 1, 3)],
)
def test_xiong_is_its_sum(size, channels, kernel, stride, filters):
    """Windows as Theorem 2 writes them, built here from positions and offsets."""
    axes = (size,) if isinstance(size, int) else size
    corners = itertools.product(*(range(0, n - kernel + 1, stride) for n in axes))
    offsets = list(itertools.product(range(kernel), repeat=len(axes)))
    windows = [
        frozenset(tuple(c + o for c, o in zip(corner, offset, strict=True)) for offset in offsets) for corner in corners
    ]
    assert bounds.xiong2020(size, channels, kernel, stride, filters) == xiong_sum(windows, channels, filters)


@given(st.integers(1, 40), st.integers(1, 6), activations)
@settings(deadline=None, max_examples=40)
def test_depth_chain(neurons, m, activation):
    """The leading form peaks next to p N / e; the product rises to N / m layers, rounded up, and stays."""
    chain = bounds.depth_chain(neurons, m, activation)
    peak = KNOTS[activation] * neurons / math.e
    assert chain.leading_peak == min(peak, neurons)
    assert abs(chain.leading_holds_until - chain.leading_peak) <= 1
    assert list(chain.recursive) == sorted(chain.recursive)
    full = (1 + KNOTS[activation]) ** neurons
    assert chain.recursive_holds_until == -(-neurons // m)
    assert set(chain.recursive[chain.recursive_holds_until - 1 :]) == {full}
    for layers, split in enumerate(chain.widths, 1):
        assert len(split) == layers
        assert sum(split) == neurons
        assert max(split) - min(split) <= 1
        if neurons % layers == 0:
            leading = bounds.raghu2017(m, split, activation, form="leading")
            assert chain.leading[layers - 1] == leading
