"""Counts of cells against known numbers, linear programs, rational arithmetic and closed forms."""

from __future__ import annotations

import warnings
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netfold as nf
from netfold.exact.cells.description.engine import DoubleDescription
from netfold.exact.cells.engine import whole
from netfold.exact.cells.network import CellNetwork
from netfold.exact.cells.simplex.engine import Simplex
from netfold.measures.cell_counts import CellJob
from tests.exact.cells import networks, reference
from tests.exact.cells.reference import HARDTANH, Layer

QUICK = ["R1", "R2", "R3", "R7", "R8", "T1", "T2", "T3", "M1", "M2", "M3", "D1", "D2", "D3", "D4", "D5"]


def patterns(layers: list[Layer], domain=None) -> set[tuple[int, ...]]:
    """What netfold's engine collects."""
    program = nf.capture(networks.module(layers), shape=(layers[0].weights.shape[1],))
    engine, items, found = CellJob(program, domain).engine, [whole()], []
    while items:
        out = engine.run(items.pop(), collect=True)
        assert out.cells is not None
        assert out.uncertain == 0
        found += [tuple(row) for row in out.cells.states.tolist()]
        items += out.leftover
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("name", QUICK)
def test_known_counts(name):
    layers = networks.case(name)
    count = nf.count_regions(networks.module(layers), threads=1, progress=False)
    assert (int(count), count.uncertain) == (networks.COUNTS[name], 0)


@pytest.mark.parametrize("name", [n for n in QUICK if n[0] in "TMD"])
def test_known_counts_in_the_box(name):
    layers = networks.case(name)
    m = layers[0].weights.shape[1]
    count = nf.count_regions(networks.module(layers), nf.Box([-10.0] * m, [10.0] * m), threads=1, progress=False)
    assert (int(count), count.uncertain) == (networks.IN_BOX[name], 0)


@pytest.mark.parametrize("name", ["T1", "T2", "D1", "D2", "D3", "D5"])
def test_the_reference_itself_in_rational_arithmetic(name):
    assert len(reference.patterns(networks.case(name), exact=True)) == networks.COUNTS[name]


@settings(max_examples=50)
@given(networks.networks(max_inputs=3, max_units=4, max_layers=2))
def test_patterns_are_those_of_linear_programs(layers):
    assert patterns(layers) == reference.patterns(layers)


@settings(max_examples=40)
@given(networks.degenerate_networks())
def test_patterns_are_those_of_rational_arithmetic(layers):
    assert patterns(layers) == reference.patterns(layers, exact=True)


@settings(max_examples=15)
@given(networks.degenerate_networks(max_inputs=2))
def test_patterns_in_a_box_are_those_of_rational_arithmetic(layers):
    m = layers[0].weights.shape[1]
    low, high = [-1.0] * m, [2.0] * m
    assert patterns(layers, nf.Box(low, high)) == reference.patterns(layers, reference.box(low, high), exact=True)


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32))
def test_one_layer_in_general_position_has_zaslavskys_number(inputs, units, seed):
    layers = networks.random_case([inputs, units], seed)
    assert int(nf.count_regions(networks.module(layers), threads=1)) == sum(comb(units, i) for i in range(inputs + 1))


@settings(max_examples=10)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32))
def test_hardtanh_units_are_pairs_of_parallel_hyperplanes(inputs, units, seed):
    """A flat of i of n pairs is chosen in 2^i ways, and every flat adds one cell."""
    rng = np.random.default_rng(seed)
    layer = Layer(rng.standard_normal((units, inputs)), rng.standard_normal(units), **HARDTANH)
    expected = sum(comb(units, i) * 2**i for i in range(inputs + 1))
    assert int(nf.count_regions(networks.module([layer]), threads=1)) == expected


@settings(max_examples=25, deadline=None)
@given(networks.degenerate_networks(max_inputs=2), st.integers(0, 2**32), st.lists(st.sampled_from([0.0, 1.0])))
def test_rows_of_zeros_in_a_polytope_bound_nothing(layers, seed, offsets):
    """A half-space ``0 x <= b`` with b >= 0 changes nothing, wherever it stands; for both engines."""
    rng, m = np.random.default_rng(seed), layers[0].weights.shape[1]
    normals, limits = rng.integers(-2, 3, (3, m)).astype(float), rng.integers(0, 3, 3).astype(float)
    order = rng.permutation(3 + len(offsets))
    rows = np.concatenate([normals, np.zeros((len(offsets), m))])[order], np.append(limits, offsets)[order]
    network = CellNetwork.of(nf.capture(networks.module(layers), shape=(m,)), nf.Polytope(*rows))
    walls = [np.append(-n, b) for n, b in zip(normals, limits, strict=True) if n.any()]
    expected = reference.patterns(layers, walls, exact=True)
    for engine in (DoubleDescription(network), Simplex(network)):
        found = engine.run(whole(), budget=1 << 40, collect=True).cells
        assert found is not None
        assert set(map(tuple, found.states.tolist())) == expected


@pytest.mark.parametrize("inputs", [2, 7])
def test_a_row_of_zeros_alone_is_all_of_space_or_nothing(inputs):
    """``0 x <= 0`` and ``0 x <= 1`` hold everywhere; ``0 x <= -1`` holds nowhere and leaves no region."""
    layers = networks.random_case([inputs, 3, 2], 1)
    model, zeros = networks.module(layers), np.zeros((1, inputs))
    counts = [int(nf.count_regions(model, nf.Polytope(zeros, [b]), threads=1)) for b in (0.0, 1.0, -1.0)]
    assert counts == [int(nf.count_regions(model, threads=1))] * 2 + [0]
    assert list(nf.enumerate_regions(model, nf.Polytope(zeros, [-1.0]))) == []


@pytest.mark.parametrize("inputs", [2, 7])
def test_half_infinite_boxes_are_polytopes_and_warn_of_nothing(inputs):
    """A limit at infinity is no half-space."""
    model = networks.module(networks.random_case([inputs, 3, 2], 2))
    low, high = np.full(inputs, -np.inf), np.full(inputs, np.inf)
    low[0], high[1] = -0.5, 0.25
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count = int(nf.count_regions(model, nf.Box(low, high), threads=1))
    assert count == int(
        nf.count_regions(model, nf.Polytope(np.diag([-1.0, 1.0] + [0.0] * (inputs - 2))[:2], [0.5, 0.25]), threads=1)
    )
