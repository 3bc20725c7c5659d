"""Verdicts on random networks turn where the numbers turn: made-up numbers that must hold, and such that must fail."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from netfold.reproduce import circle, depth_chain, growth, length_he, regions_line, regions_plane
from netfold.reproduce import transitions_depth as depth
from netfold.reproduce import transitions_length as length
from netfold.reproduce.ensembles import growth_of, growth_ratios, linearised
from netfold.reproduce.figure import Verdict
from netfold.reproduce.statistics import Mean
from netfold.theory.bounds import depth_chain as chain_of

HELD, PARTLY, FAILED, OPEN = Verdict.HELD, Verdict.PARTLY, Verdict.FAILED, Verdict.OPEN


def near(value: float, half: float = 0.01) -> Mean:
    return Mean(value, value - half, value + half)


def grown(rates: dict[tuple[int, float], float], layers: int = 6, half: float = 0.01) -> growth.Grown:
    """Lengths that grow by exactly these rates, and a theory that says the same."""
    steps = np.arange(layers + 1)
    return growth.Grown(
        {key: near(rate, half) for key, rate in rates.items()},
        {key: (rate**steps, 0 * steps) for key, rate in rates.items()},
        dict(rates),
        dict(rates),
        {key: rate + np.array([-0.01, 0.0, 0.01]) for key, rate in rates.items()},
    )


RISING = {(16, 2.0): 1.1, (16, 8.0): 1.4, (256, 2.0): 1.2, (256, 8.0): 1.6}


def test_exponential_growth() -> None:
    """Held where all grow straight; in part where one does not; failed where all shrink and bend; else open."""
    assert growth.judge_exponential(grown(RISING)).verdict is HELD
    assert growth.judge_exponential(grown({**RISING, (16, 2.0): 0.9})).verdict is PARTLY
    assert growth.judge_exponential(grown({**RISING, (16, 2.0): 1.005})).verdict is OPEN
    linear = {key: (1 + 10 * np.arange(7.0), np.zeros(7)) for key in RISING}
    bent = dataclasses.replace(grown(RISING), lengths=linear)
    assert growth.judge_exponential(bent).verdict is PARTLY
    flat = dataclasses.replace(grown(dict.fromkeys(RISING, 0.9)), lengths=linear)
    assert growth.judge_exponential(flat).verdict is FAILED


def test_growth_with_width_and_scale() -> None:
    """Intervals must be apart; the other way round fails."""
    for judge in (growth.judge_width, growth.judge_scale):
        assert judge(grown(RISING)).verdict is HELD
        assert judge(grown(RISING, half=0.5)).verdict is OPEN
        assert judge(grown({key: 3 - rate for key, rate in RISING.items()})).verdict is FAILED
    assert growth.judge_width(grown({**RISING, (256, 2.0): 1.05})).verdict is PARTLY


def test_printed_base() -> None:
    """A bound that is exceeded from below is none; an interval that reaches it leaves that open. No paper claims it."""
    found = grown(RISING)
    assert growth.judge_printed(found).verdict is OPEN
    assert growth.PRINTED.misreading
    below = {key: rate - 0.2 for key, rate in RISING.items()}
    assert growth.judge_printed(dataclasses.replace(found, base=below)).verdict is HELD
    above = {key: rate + 0.2 for key, rate in RISING.items()}
    assert growth.judge_printed(dataclasses.replace(found, base=above)).verdict is FAILED
    one = {**below, (16, 2.0): 1.3}
    assert growth.judge_printed(dataclasses.replace(found, base=one)).verdict is PARTLY
    assert growth.judge_printed(dataclasses.replace(grown(RISING, half=0.3), base=above)).verdict is OPEN


@pytest.mark.parametrize(("off", "verdict"), [(1.02, HELD), (0.97, OPEN), (0.94, PARTLY), (1.2, FAILED), (0.8, FAILED)])
def test_mean_field(off: float, verdict: Verdict) -> None:
    """Only the widest networks count."""
    found = grown(RISING)
    expected = {(k, v): rate * (off if k == 256 else 5.0) for (k, v), rate in RISING.items()}
    assert growth.judge_mean_field(dataclasses.replace(found, expected=expected)).verdict is verdict


def test_relu_claims() -> None:
    """Growth is asked only where the base is above 1; the exact formula is asked within 4 standard errors."""
    keys = [(32, 1.5), (32, 2.0), (32, 4.0)]
    exact = {(k, v): float(growth.theory_lengths("relu", k, v, 1)[0]) for k, v in keys}
    base = {key: np.sqrt(key[1] * 32 / 33) for key in keys}
    found = dataclasses.replace(grown(exact), base=base)
    assert growth.judge_relu_grows(found).verdict is PARTLY
    assert growth.judge_relu_grows(dataclasses.replace(found, growth=grown(base).growth)).verdict is HELD
    only = {key: found.growth[key] for key in keys[:2]}
    shrinking = dataclasses.replace(found, growth=only, base={key: base[key] for key in keys[:2]})
    assert growth.judge_relu_grows(shrinking).verdict is FAILED
    assert growth.judge_relu_exact(found).verdict is HELD
    moved = {key: ratios + 0.05 for key, ratios in found.ratios.items()}
    assert growth.judge_relu_exact(dataclasses.replace(found, ratios=moved)).verdict is FAILED


def test_ratios_of_networks_that_die() -> None:
    """A path that collapses to a point has no further ratios; their mean is that of all there are."""
    lengths = np.array([[4.0, 2.0, 0.0, 0.0], [4.0, 4.0, 6.0, 3.0]])
    assert growth_ratios(lengths).mean() == pytest.approx((0.5 + 0.0 + 1.0 + 1.5 + 0.5) / 5)
    values = linearised(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert values.tolist() == [0.5, 1.5]


def test_growth_of_a_table() -> None:
    """From the first hidden layer to the last; the output is no layer."""
    rows = pd.DataFrame(
        [
            {"replicate": i, "layer": layer, "lengths": value}
            for i in range(2)
            for layer, value in enumerate([1.0, 5.0, 10.0, 20.0, 777.0])
        ]
    )
    assert growth_of(rows).value == pytest.approx(2.0)
    assert growth_of(rows, "arithmetic").value == pytest.approx((5 + 2 + 2) / 3)


def counted(rates: dict[tuple[int, float], float], powers: float = 0.0) -> depth.Counted:
    noise = np.array([0.99, 1.0, 1.01])[:, None]
    counts = {(k, v): noise * 0.4 * k**powers * rate ** np.arange(5) for (k, v), rate in rates.items()}
    return depth.Counted(counts, {})


def test_transitions_with_depth() -> None:
    """Growing, straight, with scale; not with width."""
    found = counted({(32, 4.0): 1.3, (32, 16.0): 1.8, (128, 4.0): 1.3, (128, 16.0): 1.8})
    for judge in (depth.judge_exponential, depth.judge_width, depth.judge_scale):
        assert judge(found).verdict is HELD
    still = counted({(32, 4.0): 0.9, (32, 16.0): 0.9, (128, 4.0): 0.9, (128, 16.0): 0.9})
    assert depth.judge_exponential(still).verdict is PARTLY  # straight, but falling
    falling = counted({(32, 4.0): 1.8, (32, 16.0): 1.3, (128, 4.0): 1.8, (128, 16.0): 1.3})
    assert depth.judge_scale(falling).verdict is FAILED
    assert depth.judge_width(counted({(32, 4.0): 1.3, (128, 4.0): 1.3}, powers=0.8)).verdict is PARTLY
    assert depth.judge_width(counted({(32, 4.0): 1.3, (128, 4.0): 1.3}, powers=1.2)).verdict is FAILED


@pytest.mark.parametrize(("power", "verdict"), [(0.5, HELD), (0.53, HELD), (0.4, PARTLY), (0.2, FAILED), (1.0, FAILED)])
def test_limit(power: float, verdict: Verdict) -> None:
    """Growth like the square root of the width."""
    assert depth.judge_limit({k: near(0.64 * k**power) for k in (16, 32, 64)}).verdict is verdict


def paired(slope: float, factor: float, seed: int = 0) -> length.Paired:
    rng = np.random.default_rng(seed)
    angles = np.exp(np.arange(5.0)) * (1 + 0.05 * rng.standard_normal((20, 5)))
    return length.Paired(
        {(32, 4.0): factor * angles * (1 + 0.02 * rng.standard_normal((20, 5)))},
        {(32, 4.0): angles ** (1 / slope)},
        {(32, 4.0): angles},
    )


def test_transitions_against_length() -> None:
    """Slope 1 for lengths; ratio 1 for angles."""
    assert length.judge_proportional(paired(1.0, 1.0)).verdict is HELD
    assert length.judge_proportional(paired(1.5, 1.0)).verdict is PARTLY  # a straight line of another slope
    assert length.judge_angular(paired(1.0, 1.0)).verdict is HELD
    assert length.judge_angular(paired(1.0, 1.2)).verdict is FAILED


def images(rate: float, turning: float) -> xr.Dataset:
    layers = np.arange(6)
    turns = np.concatenate([[np.nan], turning ** layers[:-1]])
    dims = ("sigma_w", "network", "layer")
    return xr.Dataset(
        {"length": (dims, rate ** layers[None, None]), "turns": (dims, turns[None, None])}, {"sigma_w": [2.5]}
    )


def test_circle() -> None:
    """Both length and turning must rise; the rate must be that of theory."""
    assert circle.judge_tangle(images(1.3, 1.4), {2.5: 1.26}).verdict is HELD
    assert circle.judge_tangle(images(1.3, 0.9), {2.5: 1.26}).verdict is PARTLY
    assert circle.judge_tangle(images(0.9, 0.9), {2.5: 1.26}).verdict is FAILED
    for rate, verdict in ((1.3, HELD), (1.5, PARTLY), (1.9, FAILED), (0.9, FAILED)):
        assert circle.judge_factor(images(rate, 1.4), {2.5: 1.26}).verdict is verdict


def cut(**changed: object) -> pd.DataFrame:
    row = {"activation": "relu", "cells": 9, "convex": True, "affine": 0.0, "filled": 0.0, "nested": 0.0, "regions": 60,
           "bound": 100}  # fmt: skip
    return pd.DataFrame([{**row, "network": 0}, {**row, "network": 1, **changed}])


def test_cells_of_the_plane() -> None:
    """One network that breaks a law is enough to say so."""
    for judge in (regions_plane.judge_convex, regions_plane.judge_nested, regions_plane.judge_bound):
        assert judge(cut()).verdict is HELD
    for bad in ({"convex": False}, {"affine": 1e-3}, {"filled": 1e-3}):
        assert regions_plane.judge_convex(cut(**bad)).verdict is PARTLY
    assert regions_plane.judge_nested(cut(nested=0.1)).verdict is PARTLY
    assert regions_plane.judge_bound(cut(regions=101)).verdict is PARTLY


def test_polygons_are_checked() -> None:
    """A dart is not convex, a square is; areas by the shoelace formula."""
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    dart = np.array([[0.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 1.0]])
    assert regions_plane._convex(square)
    assert not regions_plane._convex(dart)
    assert regions_plane._area(square) == 4.0


def test_chain() -> None:
    """For 12 units in the plane it rises to 4 layers in the leading form and to 6 in exact counts, so in part."""
    found = depth_chain.judge_chain(chain_of(12, 2))
    assert found.verdict is PARTLY
    assert found.numbers["rising"] == 3 + 5
    assert found.numbers["steps"] == 22


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, HELD), (1.9, HELD), (0.4, PARTLY), (5.0, FAILED), (0.1, FAILED)])
def test_regions_of_random_networks(factor: float, verdict: Verdict) -> None:
    """About half the square of the number of units; layers too narrow are left out."""
    half_square = depth_chain.UNITS**2 / 2
    rows = [
        {"layers": 1, "width": 48, "regions": half_square},
        {"layers": 4, "width": 12, "regions": factor * half_square},
        {"layers": 24, "width": 2, "regions": 1.0},
    ]
    assert depth_chain.judge_average(pd.DataFrame(rows)).verdict is verdict


def preserved(rates: dict[int, float], half: float = 0.001) -> length_he.Preserved:
    layers = np.arange(1, 5)
    first = {k: np.exp(-0.625 / k) ** layers for k in rates}
    lengths = {k: (rate ** np.arange(5), np.zeros(5)) for k, rate in rates.items()}
    return length_he.Preserved({k: near(rate, half) for k, rate in rates.items()}, lengths, first, first)


def test_length_at_he() -> None:
    """Growth is not growth while its interval reaches 1; shrinking needs the formula, and narrow networks below 1."""
    right = {k: float(np.exp(-0.625 / k)) for k in (4, 16, 64)}
    assert length_he.judge_no_growth(preserved(right)).verdict is HELD
    assert length_he.judge_shrinks(preserved(right)).verdict is HELD
    assert length_he.judge_no_growth(preserved({**right, 64: 1.01})).verdict is PARTLY
    assert length_he.judge_no_growth(preserved(dict.fromkeys(right, 1.1))).verdict is FAILED
    assert length_he.judge_shrinks(preserved({**right, 4: 1.0})).verdict is OPEN
    assert length_he.judge_shrinks(preserved({**right, 4: 1.01})).verdict is PARTLY
    assert length_he.judge_shrinks(preserved({**right, 64: 0.97})).verdict is PARTLY
    assert length_he.judge_shrinks(preserved(dict.fromkeys(right, 1.1))).verdict is FAILED


def lines(power: float = 1.0, a_layer: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"width": n // d, "depth": d, "units": n, "breakpoints": 0.5 * n**power * a_layer**d, "half_interval": 0.1}
            for n in (32, 64, 128, 256)
            for d in (1, 2, 4)
        ]
    )


def test_regions_on_lines() -> None:
    """The power of the units, and the factor a layer adds at equal units."""
    for power, verdict in ((1.0, HELD), (1.04, HELD), (0.9, PARTLY), (2.0, FAILED), (0.5, FAILED)):
        assert regions_line.judge_linear(lines(power)).verdict is verdict
    for a_layer, verdict in ((1.0, HELD), (1.05, HELD), (0.8, PARTLY), (2.0, FAILED), (0.5, FAILED)):
        assert regions_line.judge_depthless(lines(a_layer=a_layer)).verdict is verdict
