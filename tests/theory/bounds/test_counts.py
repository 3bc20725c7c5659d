"""Exact counts of small networks: never above the upper bounds, and on those that are tight."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from netfold.theory import bounds
from tests.theory import oracles
from tests.theory.bounds import constructions as build
from tests.theory.oracles import UNIT_SQUARE, count_cells, pieces_on_line, random_layers, regions

LEAKY = {"knots": (0,), "pieces": ((1, 0), (2, 0))}


def rng(*seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dimension", range(1, 6))
@pytest.mark.parametrize("hyperplanes", [0, 1, 3, 6, 8])
def test_random_hyperplanes_reach_zaslavsky(hyperplanes, dimension):
    """General position is generic: deletion and restriction counts exactly the formula."""
    rows = rng(hyperplanes, dimension).integers(-(10**6), 10**6, (hyperplanes, dimension + 1)).tolist()
    assert count_cells(rows) == bounds.zaslavsky(hyperplanes, dimension)
    central = [[*row[:-1], 0] for row in rows]
    assert count_cells(central) == bounds.zaslavsky(hyperplanes, dimension, "central")


@pytest.mark.parametrize(("units", "inputs"), [(4, 2), (6, 3), (5, 4)])
def test_random_hardtanh_layers_reach_their_bound(units, inputs):
    """Pairs of parallel hyperplanes, otherwise in general position."""
    rows = rng(units, inputs).integers(-(10**6), 10**6, (units, inputs + 1)).tolist()
    pairs = [[*row[:-1], row[-1] + sign * 10**5] for row in rows for sign in (1, -1)]
    assert count_cells(pairs) == bounds.raghu2017(inputs, [units], "hardtanh")


@pytest.mark.parametrize("widths", [[7], [4, 4], [5, 3], [2, 5], [3, 3, 3], [6, 2, 5]])
@pytest.mark.parametrize("inputs", [1, 2])
def test_random_relu_networks_stay_below(inputs, widths):
    """Every upper bound holds; a single layer reaches them all."""
    for seed in range(5):
        count = len(regions(random_layers(rng(seed, inputs, *widths), inputs, widths), inputs))
        assert count <= bounds.serra2018_upper(inputs, widths) <= bounds.montufar2017(inputs, widths)
        if len(widths) == 1:
            assert count == bounds.serra2018_upper(inputs, widths)


@pytest.mark.parametrize("widths", [[4], [3, 3], [1, 4], [2, 2, 2], [4, 3]])
@pytest.mark.parametrize("inputs", [1, 2])
def test_random_hardtanh_networks_stay_below(inputs, widths):
    """The extension of the histogram bound to saturating units holds; a single layer reaches it."""
    for seed in range(5):
        layers = random_layers(rng(seed, inputs, *widths), inputs, widths, oracles.hardtanh)
        count = len(regions(layers, inputs))
        assert count <= bounds.hinz2019(inputs, widths, activation="hardtanh")
        if len(widths) == 1:
            assert count == bounds.raghu2017(inputs, widths, "hardtanh")


def test_bottleneck_bound_of_hardtanh_is_reached():
    """A line through one hard-tanh unit: 3 pieces, only the sloped one cut again, 2 + (2 * 3 + 1) in all.

    Here the histogram bound is exact where the product bound 3 * 7 is not.
    """
    first = oracles.hardtanh([[1]], [0])
    second = oracles.hardtanh([[9], [10], [11]], [0, 0, 0])
    count = len(regions([first, second], 1))
    assert count == bounds.hinz2019(1, [1, 3], activation="hardtanh") == 9
    assert bounds.montufar2017(1, [1, 3], "hardtanh") == 21


def test_units_that_keep_their_slope():
    """Leaky layers stay below the product bound, and may exceed the bound for units that go flat."""
    first = oracles.Layer(oracles.relu([[1], [1]], [0, -1]).rows, **LEAKY)
    second = oracles.Layer(oracles.relu([[1, 1], [1, 0]], [5, 7]).rows, **LEAKY)
    for seed in range(5):
        layers = [oracles.Layer(layer.rows, **LEAKY) for layer in random_layers(rng(seed), 2, [3, 4, 2])]
        assert len(regions(layers, 2)) <= bounds.montufar2017(2, [3, 4, 2], "leaky_relu")
    count = len(regions([first, second], 1))
    assert bounds.montufar2017(1, [2, 2], "leaky_relu") >= count == 5


@pytest.mark.parametrize("ranks", [[2, 1], [1, 1], [2, 0]])
def test_ranks_of_a_given_network(ranks):
    """Networks with weight matrices of low rank stay below the bound for those ranks."""
    for seed in range(5):
        draw = rng(seed, *ranks)
        factors = [
            (draw.integers(-99, 99, (4, r)), draw.integers(-99, 99, (r, f))) for r, f in zip(ranks, (2, 4), strict=True)
        ]
        layers = [oracles.relu((a @ b).tolist(), draw.integers(-999, 999, 4).tolist()) for a, b in factors]
        assert len(regions(layers, 2)) <= bounds.serra2018_upper(2, [4, 4], ranks)


@pytest.mark.parametrize("widths", [[3], [3, 3], [3, 3, 3], [4, 3, 5]])
def test_one_input_reaches_the_product(widths):
    """Serra et al., Theorem 7: a network with prod (n_l + 1) activation regions and as many linear pieces."""
    folds = [build.serra2018_fold(width) for width in widths]
    layers = build.folding_network(1, folds[:-1], build.cut_of_unit_cube(1, widths[-1]))
    assert len(regions(layers, 1)) == math.prod(n + 1 for n in widths) == bounds.serra2018_upper(1, widths)
    sawtooth, readout = build.sawtooth_composition(widths, build.serra2018_fold)
    assert pieces_on_line(sawtooth, readout) == bounds.serra2018_lower(1, widths)


def test_two_units_a_layer_do_not_reach_the_product():
    """Three units a layer are needed: with two, 7 of the (2 + 1)^2 regions is the most.

    Two first-layer units that face the same way, or away from each other, have a flat piece, which nothing
    cuts. If they overlap, slopes -a, b - a, b on the three pieces do not alternate in sign, so no unit of the
    second layer crosses 0 on all three. Random networks reach 7 and no more.
    """
    assert bounds.serra2018_upper(1, [2, 2]).kind is bounds.Kind.GIVEN_NETWORK
    draw = rng(0)
    w1, b1, b2 = (draw.normal(size=(20_000, 2)) for _ in range(3))
    w2 = draw.normal(size=(20_000, 2, 2))
    knots = np.sort(-b1 / w1, axis=1)
    ends = np.concatenate([knots[:, :1] - 1e4, knots, knots[:, 1:] + 1e4], axis=1)
    hidden = np.maximum(ends[:, :, None] * w1[:, None] + b1[:, None], 0)
    h = np.einsum("nij,npj->npi", w2, hidden) + b2[:, None]
    cuts = (h[:, 1:] * h[:, :-1] < 0).sum((1, 2))
    assert 3 + cuts.max() == 7


@pytest.mark.parametrize("widths", [[4, 3], [6, 4], [4, 4, 3], [4, 6]])
def test_folding_of_montufar(widths):
    """The folding of two inputs, built: as many regions in the unit square as the lower bound says.

    Their outputs are pairwise different affine maps, so they are linear regions.
    """
    folds = [build.montufar2014_fold(width // 2) for width in widths[:-1]]
    found = regions(build.folding_network(2, folds, build.cut_of_unit_cube(2, widths[-1])), 2, UNIT_SQUARE)
    readout = list(range(1, widths[-1] + 1))
    assert len(found) == len({region.output(readout) for region in found}) == bounds.montufar2014(2, widths)


@pytest.mark.parametrize("widths", [[2, 3], [3, 3, 3], [2, 2, 2, 2]])
def test_folding_of_montufar_on_a_line(widths):
    """One input: prod n_l * (n_L + 1)."""
    folds = [build.montufar2014_fold(width) for width in widths[:-1]]
    found = regions(build.folding_network(1, folds, build.cut_of_unit_cube(1, widths[-1])), 1, UNIT_SQUARE)
    assert len(found) == bounds.montufar2014(1, widths)


@pytest.mark.parametrize("widths", [[6, 6], [6, 7], [6, 6, 3]])
def test_folding_of_serra(widths):
    """One fold more in each coordinate, from a unit that faces the other way."""
    folds = [build.serra2018_fold(width // 2) for width in widths[:-1]]
    found = regions(build.folding_network(2, folds, build.cut_of_unit_cube(2, widths[-1])), 2)
    readout = list(range(1, widths[-1] + 1))
    wide = [max(width, 6) for width in widths]
    expected = bounds.serra2018_lower(2, wide) // bounds.zaslavsky(wide[-1], 2) * bounds.zaslavsky(widths[-1], 2)
    assert len(found) == len({region.output(readout) for region in found}) == expected


@pytest.mark.parametrize("widths", [[2], [2, 2], [3, 2], [5, 5], [2, 3, 4]])
def test_sawtooths_of_arora(widths):
    """A composition of sawtooths has prod w_l linear pieces on [0, 1], and no fewer on the line."""
    layers, readout = build.sawtooth_composition(widths, build.montufar2014_fold)
    assert pieces_on_line(layers, readout, UNIT_SQUARE) == bounds.arora2018(1, widths) == math.prod(widths)
    assert pieces_on_line(layers, readout) >= bounds.arora2018(1, widths)


@pytest.mark.parametrize("teeth", [[], [2], [3], [2, 3]])
@pytest.mark.parametrize("generators", [1, 2, 3])
def test_zonotopes_of_arora(generators, teeth):
    """Sawtooths of sum_i |<b_i, x>|: different affine maps on all cones, tooth by tooth."""
    normals = [(1, 0), (1, 2), (-2, 1)][:generators]
    first = oracles.relu([row for x, y in normals for row in ((x, y), (-x, -y))], [0] * 2 * generators)
    ones = [Fraction(1)] * 2 * generators
    sawtooth = build.folding_network(1, [build.montufar2014_fold(w) for w in teeth], oracles.relu([[1]], [0]))
    if teeth:
        rows = [(*(row[0] * one for one in ones), row[1]) for row in sawtooth[0].rows]
        layers = [first, oracles.Layer(tuple(rows)), *sawtooth[1:-1]]
        readout = build.montufar2014_fold(teeth[-1]).weights
    else:
        layers, readout = [first], ones
    maps = {region.output(readout) for region in regions(layers, 2)}
    assert len(maps) >= bounds.arora2018(2, [2 * generators, *teeth])


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize(("inputs", "widths"), [(1, [3]), (2, [3]), (2, [2, 2]), (1, [2, 2, 2])])
def test_random_maxout_networks_stay_below(inputs, widths, rank):
    """The winner patterns of random maxout networks."""
    for seed in range(4):
        draw = rng(seed, rank, inputs, *widths)
        layers, fan_in = [], inputs
        for width in widths:
            weights, biases = (
                draw.integers(-99, 100, (width, rank, fan_in)),
                draw.integers(-99, 100, (width, rank)),
            )
            layers.append(oracles.maxout(weights.tolist(), biases.tolist()))
            fan_in = width
        count = len(regions(layers, inputs))
        assert count <= bounds.montufar2022_maxout_upper(inputs, widths, rank)


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize(("inputs", "widths"), [(1, [2, 2]), (1, [2, 4, 3]), (2, [4, 2]), (2, [4, 3]), (2, [3])])
def test_folding_with_maxout(inputs, widths, rank):
    """Units that bend up and units that are subtracted fold at every knot; the last layer is sharp.

    With one input and even widths the count is also the upper bound.
    """
    folds = [build.maxout_fold(width // inputs, rank) for width in widths[:-1]]
    layers = build.folding_network(inputs, folds, build.parallel_cut(inputs, widths[-1], rank))
    count = len(regions(layers, inputs, UNIT_SQUARE))
    assert count == bounds.montufar2022_maxout_lower(inputs, widths, rank)
    if inputs == 1 or len(widths) == 1:
        assert count == bounds.montufar2022_maxout_upper(inputs, widths, rank)


def gaussian_network(draw, inputs, widths, sigma_b):
    """He-initialised weights, rounded to multiples of 2^-12 to keep exact arithmetic small."""
    layers, fan_in = [], inputs
    for width in widths:
        weight = np.rint(draw.normal(0, math.sqrt(2 / fan_in), (width, fan_in)) * 4096).astype(int)
        bias = np.rint(draw.normal(0, sigma_b, width) * 4096).astype(int)
        exact = [[Fraction(int(x), 4096) for x in row] for row in weight]
        layers.append(oracles.relu(exact, [Fraction(int(b), 4096) for b in bias]))
        fan_in = width
    return layers


@pytest.mark.parametrize(
    ("inputs", "widths", "sigma_b"), [(1, [10], 1.0), (1, [4, 4, 4], 0.5), (2, [5, 5], 1.0), (2, [8], 0.3)]
)
def test_expected_counts(inputs, widths, sigma_b):
    """The mean count in the unit cube, over random networks, is below both forms, by four standard errors."""
    draw = rng(inputs, *widths)
    counts = [len(regions(gaussian_network(draw, inputs, widths, sigma_b), inputs, UNIT_SQUARE)) for _ in range(150)]
    error = np.std(counts) / math.sqrt(len(counts))
    corner = bounds.hanin_rolnick2019(inputs, widths, sigma_b=sigma_b, form="corner")
    assert np.mean(counts) + 4 * error < corner < bounds.hanin_rolnick2019(inputs, widths, sigma_b=sigma_b)


def test_gradient_moment_is_that_of_random_networks():
    """E |grad z|^n of the last layer, simulated, is the product of chi moments, to 3 standard errors."""
    from netfold.theory.bounds._hanin_rolnick2019 import _log_gradient

    draw, n, widths, sigma_w = rng(7), 2, (6, 5, 4), 1.7
    jacobian, x = np.tile(np.eye(n), (40_000, 1, 1)), np.tile(draw.normal(size=n), (40_000, 1))
    for width in widths:
        weight = draw.normal(0, sigma_w / math.sqrt(x.shape[1]), (40_000, width, x.shape[1]))
        h = np.einsum("nij,nj->ni", weight, x) + draw.normal(size=(40_000, width))
        jacobian, active = weight @ jacobian, h > 0
        norms = (jacobian[:, 0] ** 2).sum(1)
        jacobian, x = jacobian * active[:, :, None], h * active
    predicted = math.exp(n * _log_gradient(n, widths, sigma_w))
    assert abs(norms.mean() - predicted) < 3 * norms.std() / math.sqrt(len(norms))
