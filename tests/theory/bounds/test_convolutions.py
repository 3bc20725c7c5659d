"""Convolutional layers unrolled into hyperplanes and counted exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from netfold.errors import InvalidInputError
from netfold.theory import bounds
from netfold.theory.bounds import Conv, Kind
from tests.theory import oracles
from tests.theory.oracles import count_cells, regions


def unrolled(draw, size, channels, conv, shared=True):
    """Rows (weights..., bias) of a random convolution, filter by filter; with free weights if not shared."""
    axes = len(size)
    kernel, stride, padding = (
        (value,) * axes if isinstance(value, int) else value for value in (conv.kernel, conv.stride, conv.padding)
    )
    spans = [range((n + 2 * p - f) // s + 1) for n, f, s, p in zip(size, kernel, stride, padding, strict=True)]
    rows = []
    for _ in range(conv.filters):
        weight, bias = None, None
        for position in itertools.product(*spans):
            if weight is None or not shared:
                weight, bias = draw.integers(-(10**9), 10**9, (channels, *kernel)), int(draw.integers(10**9))
            row = np.zeros((channels, *size), dtype=int)
            for offset in itertools.product(*map(range, kernel)):
                at = [i * s - p + o for i, s, p, o in zip(position, stride, padding, offset, strict=True)]
                if all(0 <= a < n for a, n in zip(at, size, strict=True)):
                    row[(slice(None), *at)] = weight[(slice(None), *offset)]
            rows.append([*row.ravel().tolist(), bias])
    return rows


ONE_AXIS = [
    ((4,), 1, Conv(2, 2)),
    ((4,), 1, Conv(3, 3)),
    ((5,), 1, Conv(3, 2, stride=2)),
    ((3,), 2, Conv(3, 2)),
    ((6,), 1, Conv(2, 3)),
    ((7,), 1, Conv(3, 4, stride=3)),
    ((4,), 3, Conv(2, 3)),
    ((4,), 1, Conv(2, 3, padding=1)),
    ((3,), 2, Conv(2, 3, stride=2, padding=1)),
    ((2, 3), 1, Conv(3, (1, 2))),
    ((4, 2), 1, Conv(3, 2, stride=2)),
    ((2, 4), 1, Conv(2, 2)),
]


@pytest.mark.parametrize(("size", "channels", "conv"), ONE_AXIS)
def test_windows_that_overlap_along_one_axis(size, channels, conv):
    """Random filters reach the sum of Theorem 2, shared by all positions or not."""
    bound = bounds.xiong2020(size, channels, conv.kernel, conv.stride, conv.filters, conv.padding)
    draw = np.random.default_rng(len(size) + channels)
    assert count_cells(unrolled(draw, size, channels, conv)) == bound
    assert count_cells(unrolled(draw, size, channels, conv, shared=False)) == bound
    assert bound.kind is Kind.EXACT_MAXIMUM


@pytest.mark.parametrize(
    ("size", "filters", "shared", "free"),
    [((3, 3), 2, 255, 256), ((3, 3), 3, 3998, 4013), ((3, 4), 2, 4061, 4096)],
)
def test_shared_filters_on_images_fall_short(size, filters, shared, free):
    """Filters p, q on two axes: p * q - q * p = 0 binds hyperplanes that the sum takes for independent.

    Free weights in the same windows reach the sum; shared ones do not, so it is an upper bound there.
    """
    bound = bounds.xiong2020(size, 1, 2, 1, filters)
    draw = np.random.default_rng(0)
    assert count_cells(unrolled(draw, size, 1, Conv(filters, 2), shared=False)) == free == bound
    assert {count_cells(unrolled(draw, size, 1, Conv(filters, 2))) for _ in range(3)} == {shared}
    assert bound.kind is Kind.GIVEN_NETWORK


@pytest.mark.parametrize(
    "layers", [[Conv(2, 1), Conv(2, 2)], [Conv(3, 2), Conv(2, 1)], [Conv(2, 1), Conv(1, 1), Conv(2, 2)]]
)
def test_random_networks_stay_below(layers):
    """Two inputs, one channel, random convolutions."""
    bound = bounds.xiong2020_upper(2, 1, layers)
    for seed in range(4):
        draw, size, channels, dense = np.random.default_rng(seed), 2, 1, []
        for conv in layers:
            rows = unrolled(draw, (size,), channels, conv)
            dense.append(oracles.relu([row[:-1] for row in rows], [row[-1] for row in rows]))
            size, channels = size - conv.kernel + 1, conv.filters
        assert len(regions(dense, 2)) <= bound


def test_folding_with_convolutions():
    """Theorem 5, built: filters (2, -4 on the second) fold each pixel once, a window of two cuts the square.

    Three inputs, kernel 2, two filters a layer: the first layer reads the first pixel of each window, so the
    third input is idle and the count is taken in the plane.
    """
    first = oracles.relu([[2, 0], [0, 2], [4, 0], [0, 4]], [0, 0, -2, -2])  # channel by channel
    second = oracles.relu([[1, 2, -1, -2], [2, -1, -2, 1]], [-1, "-1/2"])
    layers = [Conv(2, 2), Conv(2, 2)]
    found = regions([first, second], 2, oracles.UNIT_SQUARE)
    assert len(found) == bounds.xiong2020_lower(3, 1, layers) == 16
    assert bounds.xiong2020_lower(3, 1, layers) <= bounds.xiong2020_upper(3, 1, layers)


def test_lower_bound_on_images_uses_filters_that_reach_it():
    """Where windows overlap along two axes, the last layer counts with filters thinned to lines."""
    thin = bounds.xiong2020_lower((3, 3), 1, [Conv(2, 2)])
    along_rows = bounds.xiong2020((2, 3), 1, (1, 2), 1, 2)
    assert thin == along_rows < 255


def test_out_of_reach_sums_have_a_bound():
    """Images of many windows: the exact sum is refused with the way out, the upper bound answers."""
    with pytest.raises(InvalidInputError, match="xiong2020_upper"):
        bounds.xiong2020((28, 28), 1, 5, 1, 8)
    coarse = bounds.xiong2020_upper((28, 28), 1, [Conv(8, 5)])
    assert coarse <= 2 ** (24 * 24 * 8)
    assert coarse <= bounds.zaslavsky(24 * 24 * 8, 28 * 28)


def test_long_sequences_are_exact():
    """One axis costs little: 128 steps of 3 channels, kernel 9, stride 2, 64 filters."""
    value = bounds.xiong2020(128, 3, 9, 2, 64)
    assert value.kind is Kind.EXACT_MAXIMUM
    assert value < bounds.zaslavsky(60 * 64, 128 * 3)
