"""Double description against known counts, formulas and rational arithmetic that shares no code with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import netfold as nf
from netfold.domains import Box, Polytope
from netfold.exact.cells import description, engine_for, whole
from netfold.exact.cells.description.engine import DoubleDescription
from netfold.exact.cells.description.exact import RationalCells
from netfold.exact.cells.network import CellNetwork
from tests.exact.cells.networks import (
    COUNTS,
    IN_BOX,
    case,
    degenerate_networks,
    forward_states,
    module,
    networks,
    random_layers,
)
from tests.exact.cells.reference import Layer, Pattern, Tree, box, patterns

SMALL = ["R1", "R2", "R3", "R5", "T1", "T2", "T3", "M1", "M2", "M3", "D1", "D2", "D3", "D4", "D5"]
EVERYTHING = 1 << 60


def engine(layers: Sequence[Layer], domain: Any = None) -> DoubleDescription:
    program = nf.capture(module(layers), shape=(layers[0].weights.shape[1],))
    return DoubleDescription(CellNetwork.of(program, domain))


def found(engine: DoubleDescription) -> tuple[set[Pattern], np.ndarray]:
    """All patterns, none twice, and a point of input space inside the region of each, in their order."""
    outcome = engine.run(whole(), budget=EVERYTHING, collect=True)
    assert outcome.cells is not None
    rows = [tuple(row) for row in outcome.cells.states.tolist()]
    assert len(set(rows)) == len(rows) == outcome.regions
    assert outcome.regions == engine.run(whole(), budget=EVERYTHING).regions
    return set(rows), engine.network.frame.lift(outcome.cells.points)


def single(weights: Any, bias: Any, **kind: Any) -> list[Layer]:
    return [Layer(np.asarray(weights, np.float64), np.asarray(bias, np.float64), **kind)]


@pytest.mark.parametrize("name", SMALL)
def test_known_counts(name):
    """The counts of the benchmark cases in R^m and in the box [-10, 10]^m; nothing stays open."""
    for domain, count in ((None, COUNTS[name]), (Box(-10, 10), IN_BOX[name])):
        outcome = engine(case(name), domain).run(whole(), budget=EVERYTHING)
        assert (outcome.regions, outcome.uncertain, outcome.leftover) == (count, 0, [])


def test_five_coordinates():
    """Case R4: a third of a million regions; float64 decides nearly all of it."""
    outcome = engine(case("R4")).run(whole(), budget=EVERYTHING)
    assert outcome.regions == 330750
    assert outcome.resolved < 1e-4 * outcome.decisions


@settings(max_examples=30, deadline=None)
@given(networks(max_inputs=3, max_units=4), st.booleans())
def test_patterns_of_random_networks(layers, boxed):
    """The patterns are those that rational elimination finds, and the points lie in their regions."""
    inputs = layers[0].weights.shape[1]
    domain, walls = (Box(-1.5, 2.0), box([-1.5] * inputs, [2.0] * inputs)) if boxed else (None, [])
    rows, points = found(engine(layers, domain))
    assert rows == patterns(layers, walls, exact=True)
    assert {tuple(row) for row in forward_states(layers, points.reshape(len(points), -1)).tolist()} == rows


@settings(max_examples=30, deadline=None)
@given(networks(max_inputs=4, max_units=7), st.sampled_from([1, 40, EVERYTHING]))
def test_counting_by_flats_is_splitting(layers, budget):
    """Counting the last layer by its flats, from any item, gives as many regions as splitting finds."""
    built = engine(layers)
    everything = built.run(whole(), budget=EVERYTHING, collect=True)
    items, total = [whole()], 0
    while items:
        outcome = built.run(items.pop(), budget=budget)
        total += outcome.regions
        items += outcome.leftover
    assert total == everything.regions


@settings(max_examples=60, deadline=None)
@given(degenerate_networks(), st.booleans())
def test_patterns_of_degenerate_networks(layers, boxed):
    """Coincident, parallel and opposite rows, dead units, integers and missing biases change nothing."""
    inputs = layers[0].weights.shape[1]
    domain, walls = (Box(-1.0, 2.0), box([-1] * inputs, [2] * inputs)) if boxed else (None, [])
    assert found(engine(layers, domain))[0] == patterns(layers, walls, exact=True)


@pytest.mark.parametrize(("units", "inputs"), [(7, 1), (9, 2), (8, 3), (7, 4), (4, 6), (90, 2)])
def test_zaslavsky(units, inputs):
    """Hyperplanes in general position: the sum of binomials; 90 of them take more than one word of bits."""
    rng = np.random.default_rng(0)
    layers = single(rng.normal(size=(units, inputs)), rng.normal(size=units))
    assert engine(layers).run(whole(), budget=EVERYTHING).regions == sum(math.comb(units, k) for k in range(inputs + 1))


@pytest.mark.parametrize(("units", "inputs"), [(7, 2), (6, 3), (5, 4)])
def test_without_biases(units, inputs):
    """Hyperplanes through the origin in general position, as cones without a tip of their own."""
    rng = np.random.default_rng(1)
    built = engine(single(rng.normal(size=(units, inputs)), np.zeros(units)))
    assert built.network.homogeneous
    assert built.run(whole(), budget=EVERYTHING).regions == 2 * sum(math.comb(units - 1, k) for k in range(inputs))


@pytest.mark.parametrize(("units", "inputs"), [(6, 2), (5, 3)])
def test_hard_tanh(units, inputs):
    """Pairs of parallel hyperplanes: each choice of k units adds 2^k regions."""
    rng = np.random.default_rng(2)
    kind = {"knots": (-1.0, 1.0), "slopes": (0.0, 1.0, 0.0), "at_knot": -1.0}
    layers = single(rng.normal(size=(units, inputs)), rng.normal(size=units), **kind)
    expected = sum(math.comb(units, k) * 2**k for k in range(inputs + 1))
    assert engine(layers).run(whole(), budget=EVERYTHING).regions == expected


def test_maximum_of_many():
    """The largest of n affine functions in general position, and ties: the first of equal entries wins."""
    weights = [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 0]]
    rows, _ = found(engine(single(weights, np.zeros(5), pool=5)))
    assert rows == {(0,), (1,), (2,), (3,)}
    assert found(engine(single(np.zeros((3, 2)), [1, 1, 0], pool=3)))[0] == {(0,)}


@pytest.mark.parametrize("budget", [1, 7, 100])
def test_items_add_up(budget):
    """However the work is divided, the items hold all regions, each once; an item is worth the same at any time."""
    layers = random_layers(np.random.default_rng(5), 3, [5, 4, 4])
    built = engine(layers)
    everything = built.run(whole(), budget=EVERYTHING, collect=True)
    assert everything.cells is not None
    items, rows, total = [whole()], [], 0
    while items:
        outcome = built.run(items.pop(), budget=budget, collect=True)
        assert outcome.cells is not None
        assert len(outcome.cells) == outcome.regions
        total += outcome.regions
        rows += [tuple(row) for row in outcome.cells.states.tolist()]
        items += outcome.leftover
    assert total == everything.regions
    assert sorted(rows) == sorted(tuple(row) for row in everything.cells.states.tolist())


@pytest.mark.parametrize("stop", [0, 3, 6, 9])
def test_stopping_early(stop):
    """Cells at a depth are prefixes: below them lie all regions, each once."""
    layers = random_layers(np.random.default_rng(8), 2, [4, 3, 3])
    built = engine(layers)
    early = built.run(whole(), stop=stop, budget=EVERYTHING, collect=True)
    assert early.cells is not None
    assert early.cells.states.shape == (early.regions, stop)
    below = [built.run(row, budget=EVERYTHING).regions for row in early.cells.states]
    assert min(below) > 0
    assert sum(below) == built.run(whole(), budget=EVERYTHING).regions


def test_impossible_items():
    """An item that names an empty cell holds no region, and its last state may be any."""
    built = engine(single([[1.0, 0.0], [2.0, 0.0]], [0.0, 0.0]))
    assert [built.run(np.array(item, np.int16)).regions for item in ([0, 1], [1, 0], [0, 0], [1, 1])] == [0, 0, 1, 1]


def test_small_store(monkeypatch):
    """Generators move to a larger store when theirs is full."""
    monkeypatch.setattr(description.engine, "COLUMNS", 9)
    monkeypatch.setattr(description.engine, "ROOM", 3)
    built = engine(case("M1"))
    assert built.run(whole(), budget=EVERYTHING).regions == 2375
    assert len(found(built)[0]) == 2375


def _pieces_in(normals: Any, offsets: Any, weights: Any) -> int:
    layers = single(weights, np.zeros(len(weights)))
    return engine(layers, Polytope(normals, offsets)).run(whole(), budget=EVERYTHING).regions


def test_polytopes():
    """Bounded, unbounded, redundant, flat and empty polytopes."""
    lines = [[1.0, -1.0], [1.0, 1.0]]
    triangle = [[-1, 0], [0, -1], [1, 1]], [0, 0, 1]
    assert _pieces_in(*triangle, lines) == 2
    assert _pieces_in([*triangle[0], [2, 2], [1, 0]], [*triangle[1], 2, 5], lines) == 2
    assert _pieces_in([[0, -1]], [0], lines) == 3
    assert _pieces_in([[0, -1], [0, 1]], [0, 0], lines) == 0
    assert _pieces_in([[0, -1], [0, 1]], [-2, 1], lines) == 0
    assert _pieces_in([[0, 0]], [-1], lines) == 0
    assert _pieces_in([[0, 0]], [1], lines) == 4


def test_half_open_box():
    """Limits may be infinite: the positive quadrant."""
    layers = single([[1.0, -1.0], [1.0, 1.0]], [0.0, 0.0])
    assert engine(layers, Box(0, [np.inf, np.inf])).run(whole()).regions == 2


def test_no_nonlinear_direction():
    """A network that reads nothing has one region; one that reads a single entry has its knots' intervals."""
    assert engine(single(np.zeros((3, 2)), [1.0, 0.0, -1.0])).run(whole()).regions == 1
    assert engine(single([[0, 2.0], [0, -1.0]], [1.0, 3.0])).run(whole()).regions == 3


@settings(max_examples=25, deadline=None)
@given(networks(max_inputs=4, max_units=6), st.integers(1, 200))
def test_bounds_hold(layers, budget):
    """Every generator of a cell is as close to the exact one as its bound says, and on the same side."""
    built = engine(layers, Box(-10, 10))
    walk = built._walk(stop=built.network.units, collect=False)
    assert built._start is not None
    walk.begin(built._start, whole(), budget)
    walk.go()
    exact, reg, store = RationalCells(built.network), walk.reg, walk.space.store
    for k in range(reg.begin, reg.end):
        ray = exact._ray(store, walk.path, k)
        v, largest = store.vec[:, k], max(map(abs, ray))
        true = np.array([x / largest for x in ray])
        true *= v @ true / (true @ true)
        assert v @ np.array([x / largest for x in ray]) > 0
        assert np.linalg.norm(v - true) <= store.dev[k] + 1e-15
        assert store.dev[k] < 1e-3


@settings(max_examples=25, deadline=None)
@given(networks(max_inputs=3, max_units=4, max_layers=2), st.sampled_from([None, Box(-1.5, 2.0)]))
def test_smallest_inradius(layers, domain):
    """The smallest largest ball of all regions, in input space, by linear programs that start from nothing."""
    inputs = layers[0].weights.shape[1]
    outcome = engine(layers, domain).run(whole(), budget=EVERYTHING, inradius=True)
    tree = Tree(layers, [] if domain is None else box([-1.5] * inputs, [2.0] * inputs))
    expected = min(cell.radius for cell in tree.leaves())  # capped at 1
    assert min(outcome.smallest_inradius, 1.0) == pytest.approx(expected, rel=1e-6)


def test_inradius_of_thin_cells():
    """Between two parallel lines a small way apart lies a ball of half that radius, however small."""
    for width in (2.0**-40, 2.0**-52):
        layers = single([[1.0, 0.0], [1.0, 0.0]], [-1.0, -1.0 - width])
        radius = engine(layers, Box(0, [4, 1])).run(whole(), inradius=True).smallest_inradius
        assert radius == pytest.approx(width / 2, rel=1e-9)


def test_inradius_off_the_frame():
    """A network that reads one direction of the plane: strips have the same width however they are described."""
    layers = single([[3.0, 4.0], [3.0, 4.0]], [0.0, -10.0])
    built = engine(layers)
    assert built.network.arrays.m == 1
    assert built.run(whole(), inradius=True).smallest_inradius == pytest.approx(1.0, rel=1e-9)
    narrow = engine(single([[1.0, 0.0]], [0.0]), Box([-2.0, 0.0], [3.0, 0.5]))
    assert narrow.run(whole(), inradius=True).smallest_inradius == 0.25
    assert math.isnan(built.run(whole()).smallest_inradius)


def test_engine_for_low_dimension():
    """Low dimension is split by double description, and preparing that draws no random numbers."""
    program = nf.capture(module(case("T1")), shape=(2,))
    state = torch.get_rng_state()
    assert engine_for(CellNetwork.of(program)).name == "double description"
    assert torch.equal(torch.get_rng_state(), state)
