"""Published and hand-checked numbers."""

from __future__ import annotations

import math

import pytest

from netfold.theory import bounds
from netfold.theory.bounds import Kind


@pytest.mark.parametrize(
    ("hyperplanes", "dimension", "cells"),
    [(4, 2, 11), (5, 2, 16), (10, 2, 56), (3, 3, 8), (10, 3, 176), (100, 2, 5051), (25, 5, 68406), (0, 3, 1)],
)
def test_general_position(hyperplanes, dimension, cells):
    """n hyperplanes in general position cut R^d into sum_{i <= d} C(n, i) cells."""
    assert bounds.zaslavsky(hyperplanes, dimension) == cells


@pytest.mark.parametrize(
    ("kind", "hyperplanes", "dimension", "cells"),
    [
        ("central", 4, 2, 8),  # 4 lines through a point
        ("central", 3, 3, 8),
        ("central", 0, 2, 1),
        ("central", 5, 1, 2),  # the origin of a line, five times
        ("bounded", 4, 2, 3),
        ("bounded", 3, 2, 1),  # a triangle
        ("bounded", 2, 2, 0),
        ("bounded", 0, 2, 0),
        ("bounded", 0, 0, 1),
    ],
)
def test_central_and_bounded(kind, hyperplanes, dimension, cells):
    """Arrangements small enough to draw."""
    assert bounds.zaslavsky(hyperplanes, dimension, kind) == cells
    assert bounds.zaslavsky(hyperplanes, dimension, bounds.Arrangement(kind)) == cells


@pytest.mark.parametrize(
    ("inputs", "units", "cells"),
    [
        (1, 1, 3),
        (1, 4, 9),
        (2, 2, 9),
        (2, 3, 19),
        (2, 4, 33),
        (2, 10, 201),
        (3, 3, 27),
        (3, 6, 233),
        (4, 5, 211),
    ],
)
def test_hardtanh_layer(inputs, units, cells):
    """k pairs of parallel hyperplanes cut R^m into sum_{i <= m} 2^i C(k, i) cells."""
    assert bounds.raghu2017(inputs, [units], "hardtanh") == cells


def test_product_bound():
    """The recursive form of Raghu et al.: one factor a layer."""
    assert bounds.raghu2017(2, [4, 4, 4]) == 1331 == 11**3
    assert bounds.raghu2017(2, [4, 4, 4], activation="hardtanh") == 35937 == 33**3


def test_leading_form_is_an_order_of_growth():
    """U(n, k, m) = k^(mn) for ReLU, (2k)^(mn) for hard-tanh; for one unit below the true count 2."""
    assert bounds.raghu2017(2, [5, 5, 5], form="leading") == 5**6
    assert bounds.raghu2017(2, [5, 5, 5], "hardtanh", form=bounds.Form.LEADING) == 10**6
    tiny = bounds.raghu2017(1, [1], form="leading")
    assert tiny == 1 < bounds.zaslavsky(1, 1) == 2
    assert tiny.kind is Kind.ORDER
    assert not tiny.kind.is_upper


@pytest.mark.parametrize(
    ("inputs", "widths", "regions"),
    [(1, [3, 3, 3], 64), (1, [5] * 5, 7776), (2, [4, 4, 4], 1331), (2, [12], 79), (2, [10, 10, 10], 175616)],
)
def test_serra_upper(inputs, widths, regions):
    """The worked numbers of the upper bound."""
    assert bounds.serra2018_upper(inputs, widths) == regions


def test_scalar_network_of_ten_layers():
    """One input, 10 layers of 5 units: 6^10 regions, and that is the maximum."""
    bound = bounds.serra2018_upper(1, [5] * 10)
    assert bound == 60466176
    assert bound.kind is Kind.EXACT_MAXIMUM


def test_lower_bounds():
    """Two inputs, widths 10, 10, 10, of every paper."""
    shape = 2, [10, 10, 10]
    assert bounds.montufar2014(*shape) == 35000 == 5**4 * 56
    assert bounds.serra2018_lower(*shape) == 72576 == 6**4 * 56
    assert bounds.pascanu2013(*shape) == 1400 == 5**2 * 56
    assert bounds.arora2018(*shape) == 1000 == 2 * (1 + 4) * 10**2
    assert bounds.arora2018(1, [4, 4, 4]) == 64


@pytest.mark.parametrize(
    ("layer", "regions"),
    [
        ((4, 1, 2, 1, 2), 55),
        ((4, 1, 3, 1, 3), 57),
        ((5, 1, 2, 2, 3), 49),
        ((3, 2, 2, 1, 3), 64),
        ((6, 1, 3, 1, 2), 245),
    ],
)
def test_xiong_one_axis(layer, regions):
    """Input length, input channels, kernel, stride, filters."""
    assert bounds.xiong2020(*layer) == regions
    assert bounds.xiong2020(*layer).kind is Kind.EXACT_MAXIMUM


def test_kernel_over_the_whole_input_is_a_dense_layer():
    """One position: the count is that of the filters in general position."""
    assert bounds.xiong2020((3, 4), 2, (3, 4), 1, 30) == bounds.zaslavsky(30, 24)


def test_what_each_bound_speaks_of():
    """Upper bounds hold for a given network, lower ones for the maximum, the rest on average."""
    shape = 2, [10, 10, 10]
    upper = [bounds.raghu2017, bounds.montufar2017, bounds.serra2018_upper, bounds.hinz2019]
    lower = [bounds.pascanu2013, bounds.montufar2014, bounds.serra2018_lower, bounds.arora2018]
    assert {bound(*shape).kind for bound in upper} == {Kind.GIVEN_NETWORK}
    assert {bound(*shape).kind for bound in lower} == {Kind.MAXIMUM}
    assert {bound(*shape).counts for bound in upper} == {"activation regions"}
    assert {bound(*shape).counts for bound in lower} == {"linear regions"}
    assert bounds.hanin_rolnick2019(*shape).kind is Kind.EXPECTATION
    assert bounds.serra2018_upper(2, [12]).kind is Kind.EXACT_MAXIMUM
    assert bounds.hinz2019(2, [12], "naive").kind is Kind.GIVEN_NETWORK


def test_hanin_rolnick_as_printed():
    """(T N s)^n / n! with T = 2^5 C_grad C_bias; 2^N with fewer units than inputs."""
    bias = 1 / (0.5 * math.sqrt(2 * math.pi))
    bound = bounds.hanin_rolnick2019(3, [4, 5], side=2.0, sigma_b=0.5, gradient=1.5)
    assert float(bound) == pytest.approx((32 * 1.5 * bias * 9 * 2) ** 3 / 6)
    assert float(bounds.hanin_rolnick2019(5, [2, 2])) == pytest.approx(16)


def test_hanin_rolnick_from_corners():
    """In one dimension 1 + N C s; in two 1 + 2 N C s + C(N, 2) (C s)^2, with C = C_grad C_bias."""
    c = 1.5 / (0.5 * math.sqrt(2 * math.pi))
    line = bounds.hanin_rolnick2019(1, [4, 5], side=2.0, sigma_b=0.5, gradient=1.5, form="corner")
    assert float(line) == pytest.approx(1 + 9 * 2 * c)
    square = bounds.hanin_rolnick2019(2, [4, 5], side=2.0, sigma_b=0.5, gradient=1.5, form="corner")
    assert float(square) == pytest.approx(1 + 2 * 9 * 2 * c + 36 * (2 * c) ** 2)
