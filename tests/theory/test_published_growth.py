"""Growth formulas of the literature: as printed, and against the exact factor."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netfold.errors import InvalidInputError
from netfold.theory import hanin2022, length_growth, mean_field, price_tanner2019, raghu2017_growth

HE = math.sqrt(2)


@settings(derandomize=True)
@given(st.floats(0.1, 20), st.floats(0, 20), st.integers(1, 5000))
def test_both_printed_forms_are_one_number(sigma_w, sigma_b, k):
    """The ICML and the ICLR-submission form of the hard-tanh base are algebraically the same."""
    s = math.sqrt(sigma_w**2 + sigma_b**2)
    submission = sigma_w / s**0.5 * math.sqrt(k) / math.sqrt(s + k)
    assert raghu2017_growth("hardtanh", k, sigma_w, sigma_b) == pytest.approx(submission, rel=1e-12)


def test_corollary_without_biases():
    """With sigma_b = 0 the base is sqrt(sigma_w k) / sqrt(sigma_w + k), and tends to sqrt(sigma_w)."""
    assert raghu2017_growth("hardtanh", 50, 3.0) == pytest.approx(math.sqrt(150 / 53))
    assert raghu2017_growth("hardtanh", 10**9, 3.0) == pytest.approx(math.sqrt(3.0))


def test_printed_bases_exceed_the_truth():
    """The O() hides a constant per layer: the bases lie above the growth they are printed as bounds of."""
    assert raghu2017_growth("hardtanh", 128, math.sqrt(8)) == pytest.approx(1.664, abs=5e-4)
    assert raghu2017_growth("hardtanh", 512, HE) == pytest.approx(1.187, abs=6e-4)
    assert raghu2017_growth("hardtanh", 128, math.sqrt(8)) > mean_field("hardtanh", math.sqrt(8)).growth
    assert raghu2017_growth("relu", 100, HE) == pytest.approx(1.407, abs=5e-4)
    assert raghu2017_growth("relu", 100, HE) > length_growth("relu", HE, width=100).growth[0]


def test_large_gain_limit_of_hard_tanh():
    """For large sigma_w the true growth is (2 / pi)^(1/4) sqrt(sigma_w): 0.893 of the printed limit."""
    growth = mean_field("hardtanh", 1e5).growth
    assert growth / math.sqrt(1e5) == pytest.approx((2 / math.pi) ** 0.25, rel=1e-4)


@pytest.mark.parametrize("widths", [[20], [50, 50, 50], [200, 30, 100]])
@pytest.mark.parametrize("outputs", [None, 1, 10])
def test_hanin2022_is_the_exact_product_to_first_order(widths, outputs):
    """It differs from the exact finite-width factor by O(sum 1 / n^2), with a constant below 1."""
    exact = length_growth("relu", HE, width=widths, inputs=7, outputs=outputs).lengths[-1]
    ratio = math.log(hanin2022(widths, 7, outputs) / exact)
    assert abs(ratio) < sum(1 / n**2 for n in widths)


def test_hanin2022_readout_variance():
    """Readout weights of variance 1 / fan_in instead of 2 / fan_in shorten the output by sqrt(2)."""
    assert hanin2022([9], 4, 5, readout_variance=1.0) == pytest.approx(hanin2022([9], 4, 5) / HE)


@pytest.mark.parametrize("kept", [0.2, 0.6, 1.0])
def test_price_tanner_bounds_sparse_layers(kept):
    """Simulated sparse ReLU layers stretch a displacement by more than alpha sigma_w / sqrt(2 pi)."""
    rng, k, runs = np.random.default_rng(0), 8, 20_000
    x, velocity = rng.normal(size=(2, k))
    weights = rng.normal(size=(runs, k, k)) * (rng.random((runs, k, k)) < kept) * (1.5 / math.sqrt(k))
    gate = weights @ x + rng.normal(size=(runs, k)) > 0
    stretch = np.linalg.norm(gate * (weights @ velocity), axis=1) / np.linalg.norm(velocity)
    bound = price_tanner2019(1.5, kept)
    assert stretch.mean() - 4 * stretch.std() / math.sqrt(runs) > bound
    assert bound < length_growth("relu", 1.5, width=k).growth[0]


def test_bad_arguments():
    """Cases that the theorems do not cover are refused."""
    with pytest.raises(InvalidInputError, match="covers 'relu' and 'hardtanh'"):
        raghu2017_growth("tanh", 10, 1.0)
    with pytest.raises(InvalidInputError, match="width must be a whole number from 1"):
        raghu2017_growth("relu", 0, 1.0)
    with pytest.raises(InvalidInputError, match="widths must list at least one"):
        hanin2022([], 5)
    with pytest.raises(InvalidInputError, match="kept must be a finite number"):
        price_tanner2019(1.0, 0.0)
