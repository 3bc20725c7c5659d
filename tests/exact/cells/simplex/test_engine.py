"""The simplex engine: counts, patterns, certificates, work items."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from netfold.capture.capture import capture
from netfold.domains import Box, Polytope
from netfold.exact.cells.description.engine import DoubleDescription
from netfold.exact.cells.engine import Outcome, whole
from netfold.exact.cells.network import CellNetwork
from netfold.exact.cells.simplex.engine import Simplex
from netfold.exact.lp import dictionary as lp
from tests.exact.cells.networks import (
    COUNTS,
    IN_BOX,
    case,
    degenerate_networks,
    forward_states,
    module,
    networks,
    random_case,
)
from tests.exact.cells.reference import HARDTANH, SOFTSHRINK, Layer, patterns
from tests.exact.cells.reference import box as walls_of_box

PLENTY = 1 << 40


def engine(layers: list[Layer], domain: Any = None) -> Simplex:
    return Simplex(CellNetwork.of(capture(module(layers), shape=(layers[0].weights.shape[1],)), domain))


def counted(layers: list[Layer], domain: Any = None, **options: Any) -> Outcome:
    return engine(layers, domain).run(whole(), budget=PLENTY, **options)


def pattern_set(outcome: Outcome) -> set[tuple[int, ...]]:
    assert outcome.cells is not None
    found = {tuple(row) for row in outcome.cells.states.tolist()}
    assert len(found) == len(outcome.cells) == outcome.regions
    return found


@pytest.mark.parametrize("name", ["T1", "T2", "T3", "M1", "M2", "M3", "R1", "R6", "R8", "D1", "D2", "D3", "D4", "D5"])
def test_known_counts(name: str) -> None:
    outcome = counted(case(name))
    assert (outcome.regions, outcome.uncertain, outcome.leftover) == (COUNTS[name], 0, [])


@pytest.mark.parametrize("name", ["T1", "T2", "T3", "M1", "M2", "M3", "R1", "R8", "D1", "D2", "D3", "D4", "D5"])
def test_known_counts_in_a_box(name: str) -> None:
    outcome = counted(case(name), Box(-10.0, 10.0))
    assert (outcome.regions, outcome.uncertain) == (IN_BOX[name], 0)


@settings(deadline=None, max_examples=40)
@given(networks(max_inputs=3, max_units=4), st.booleans())
def test_patterns_of_random_networks(layers: list[Layer], boxed: bool) -> None:
    """Every kind of unit, with residual connections: the patterns are those of plain linear programs."""
    m = layers[0].weights.shape[1]
    domain = Box(-2.0, 2.0) if boxed else None
    walls = walls_of_box([-2.0] * m, [2.0] * m) if boxed else []
    assert pattern_set(counted(layers, domain, collect=True)) == patterns(layers, walls)


@st.composite
def nearly_parallel(draw: st.DrawFn) -> list[Layer]:
    """Layers whose rows and biases are a few roundings apart, so that cells are as thin as float64 can tell."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    fan_in = draw(st.integers(1, 2))
    layers: list[Layer] = []
    for units in draw(st.lists(st.integers(2, 3), min_size=1, max_size=2)):
        row = rng.normal(size=fan_in + 1)
        rows = row + np.spacing(row) * rng.integers(-4, 5, (units, fan_in + 1)) * (
            rng.random((units, fan_in + 1)) < 0.5
        )
        kind: dict[str, Any] = [{}, HARDTANH, SOFTSHRINK][int(rng.integers(3))]
        layers.append(Layer(rows[:, :-1], rows[:, -1], **kind))
        fan_in = units
    return layers


@settings(deadline=None, max_examples=60)
@given(nearly_parallel(), st.sampled_from([None, Box(-3.0, 3.0)]))
def test_thin_cells(layers: list[Layer], domain: Box | None) -> None:
    """Cells in which float64 hardly has a point are counted as rational arithmetic counts them."""
    m = layers[0].weights.shape[1]
    walls = walls_of_box([-3.0] * m, [3.0] * m) if domain else []
    assert pattern_set(counted(layers, domain, collect=True)) == patterns(layers, walls, exact=True)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.booleans())
def test_soft_shrink_in_many_dimensions(seed: int, integers: bool) -> None:
    """Networks of soft-shrink units in 7 dimensions hold the cells that double description finds."""
    rng = np.random.default_rng(seed)
    layers, fan_in = [], 7
    for units in (3, 3, 2):
        rows = rng.integers(-2, 3, (units, fan_in + 1)) / 2 if integers else rng.normal(size=(units, fan_in + 1))
        layers.append(Layer(rows[:, :-1], rows[:, -1], **SOFTSHRINK))
        fan_in = units
    built = engine(layers)
    outcome = built.run(whole(), budget=PLENTY)
    assert outcome.regions == DoubleDescription(built.network).run(whole(), budget=PLENTY).regions


@settings(deadline=None, max_examples=60)
@given(degenerate_networks())
def test_patterns_of_degenerate_networks(layers: list[Layer]) -> None:
    """Repeated, opposite, parallel and zero rows, no biases, integers: the patterns are those of exact elimination."""
    outcome = counted(layers, collect=True)
    assert pattern_set(outcome) == patterns(layers, exact=True)
    assert outcome.uncertain == 0


def test_points_lie_in_their_regions() -> None:
    """A forward pass at a region's point has the region's states."""
    layers = case("M2")
    cells = counted(layers, collect=True).cells
    assert cells is not None
    assert (forward_states(layers, cells.points) == cells.states).all()


@settings(deadline=None, max_examples=15)
@given(networks(max_inputs=3, max_units=4), st.integers(1, 60), st.data())
def test_work_divides_without_loss(layers: list[Layer], budget: int, data: st.DataObject) -> None:
    """Whatever the budgets, the parts hold the cells of the whole, each once and with the same points."""
    walker = engine(layers)
    once = walker.run(whole(), budget=PLENTY, collect=True)
    waiting, parts, decisions = [whole()], [], 0
    while waiting:
        item = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)) if len(waiting) < 4 else -1)
        outcome = walker.run(item, budget=budget, collect=True)
        assert outcome.cells is not None
        waiting += outcome.leftover
        decisions += outcome.decisions
        parts += list(zip(outcome.cells.states.tolist(), outcome.cells.points.tolist(), strict=True))
    assert once.cells is not None
    assert sorted(parts) == sorted(zip(once.cells.states.tolist(), once.cells.points.tolist(), strict=True))
    assert decisions <= once.decisions


def test_slivers_can_be_divided() -> None:
    """Cells too thin for float64 are walked in rational arithmetic, in parts as well."""
    walker = engine(case("D3"))
    waiting, regions = [whole()], 0
    while waiting:
        outcome = walker.run(waiting.pop(), budget=1)
        waiting += outcome.leftover
        regions += outcome.regions
    assert regions == COUNTS["D3"]


def test_prefixes_are_nodes_of_the_tree() -> None:
    """Cells at a depth are prefixes, and their regions add up; a prefix that no point has is empty."""
    walker = engine(case("T3"))
    first = walker.run(whole(), stop=6, collect=True, budget=PLENTY)
    assert first.cells is not None
    assert first.cells.states.shape == (first.regions, 6)
    assert sum(walker.run(p, budget=PLENTY).regions for p in first.cells.states) == COUNTS["T3"]
    taken = {tuple(row) for row in first.cells.states.tolist()}
    missing = next(p for p in np.ndindex(*[2] * 6) if p not in taken)
    assert walker.run(np.array(missing, np.int16)).regions == 0


def radius_by_highs(layers: list[Layer], pattern: list[int], walls: list[Any]) -> float:
    """Chebyshev radius of a ReLU region from its pattern, all units as rows."""
    m = layers[0].weights.shape[1]
    weight, constant, rows, done = np.eye(m), np.zeros(m), [*walls], 0
    for layer in layers:
        h, c = layer.weights @ weight, layer.weights @ constant + layer.bias
        on = np.array(pattern[done : done + len(c)])
        done += len(c)
        rows += list((2 * on - 1)[:, None] * np.c_[h, c])
        weight, constant = h * on[:, None], c * on
    a = np.array(rows)
    norm = np.linalg.norm(a[:, :m], axis=1)
    keep = norm > 1e-12
    table = np.c_[-a[keep, :m], norm[keep]]
    limits = [(None, None)] * m + [(0, None)]
    solved = linprog(np.append(np.zeros(m), -1.0), A_ub=table, b_ub=a[keep, m], bounds=limits, method="highs")
    return np.inf if solved.status == 3 else -solved.fun


@pytest.mark.parametrize("boxed", [False, True])
def test_smallest_inradius(boxed: bool) -> None:
    """The smallest of all regions' radii, each by HiGHS."""
    layers = case("T2")
    walls = walls_of_box([-10.0] * 3, [10.0] * 3) if boxed else []
    outcome = counted(layers, Box(-10.0, 10.0) if boxed else None, collect=True, inradius=True)
    assert outcome.cells is not None
    radii = [radius_by_highs(layers, row, walls) for row in outcome.cells.states.tolist()]
    assert outcome.smallest_inradius == pytest.approx(min(radii), rel=1e-7)
    assert np.isnan(counted(layers).smallest_inradius)


def test_inradius_of_more_inputs_than_the_frame_has() -> None:
    """A first layer of low rank: balls are measured in input space, whatever the coordinates of the frame."""
    layers = case("D5")
    outcome = counted(layers, collect=True, inradius=True)
    assert outcome.cells is not None
    radii = [radius_by_highs(layers, row, []) for row in outcome.cells.states.tolist()]
    assert outcome.smallest_inradius == pytest.approx(min(radii), rel=1e-7)


def test_single_layers_in_general_position() -> None:
    """Zaslavsky: n hyperplanes in R^m make sum(binom(n, k), k <= m) regions; through the origin twice the same of
    n - 1 and m - 1."""
    assert counted(random_case([7, 9], 3)).regions == sum((1, 9, 36, 84, 126, 126, 84, 36))
    (layer,) = random_case([6, 9], 4)
    central = Layer(layer.weights, np.zeros(9))
    outcome = counted([central])
    assert outcome.regions == 2 * sum((1, 8, 28, 56, 70, 56))
    assert outcome.resolved < 0.1 * outcome.decisions


def test_parallel_pairs() -> None:
    """Hard-tanh: n pairs of parallel lines in the plane make 1 + 2 n + 4 n (n - 1) / 2 regions."""
    rng = np.random.default_rng(0)
    layer = Layer(rng.normal(size=(6, 2)), rng.normal(size=6), knots=(-1.0, 1.0), slopes=(0.0, 1.0, 0.0))
    assert counted([layer]).regions == 1 + 12 + 60


def test_polytopes() -> None:
    """A triangle cut by the lines of one layer: 1 + lines that meet it + crossings inside; an empty one has none."""
    (layer,) = random_case([2, 8], 1)
    corners = np.array([[0.0, 0.0], [1.5, 0.2], [0.3, 1.4]])
    normals, offsets = [], []
    for i in range(3):
        a, b, c = corners[i], corners[(i + 1) % 3], corners[(i + 2) % 3]
        normal = np.array([b[1] - a[1], a[0] - b[0]])
        normal = normal if normal @ (c - a) < 0 else -normal
        normals.append(normal)
        offsets.append(normal @ a)
    values = corners @ layer.weights.T + layer.bias
    lines = ((values > 0).any(0) & (values < 0).any(0)).sum()
    crossings = 0
    for i in range(8):
        for j in range(i):
            x = np.linalg.solve(layer.weights[[i, j]], -layer.bias[[i, j]])
            crossings += bool((np.array(normals) @ x < offsets).all())
    assert counted([layer], Polytope(np.array(normals), np.array(offsets))).regions == 1 + lines + crossings
    nothing = Polytope(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([-1.0, 0.5]))
    assert counted([layer], nothing).regions == 0


def test_a_box_has_a_point_inside_without_a_linear_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hyperplanes through a box of 200 inputs, some of them without limits, make 2^5 regions; in hundreds of
    coordinates a program in rational arithmetic for the first point took minutes that no budget knew of."""
    monkeypatch.setattr("netfold.exact.cells.simplex.engine.interior", None)
    rng = np.random.default_rng(0)
    low, high = np.where(np.arange(200) % 7, 0.0, -np.inf), np.where(np.arange(200) % 5, 1.0, np.inf)
    weights = rng.normal(size=(5, 200))
    assert counted([Layer(weights, -weights.sum(1) / 2)], Box(low, high)).regions == 2**5
    slim = Box(1.0, 1.0 + 2.0**-50)
    assert counted([Layer(np.eye(2), np.array([-1.0 - 2.0**-51] * 2))], slim).regions == 4


def test_exactness_near_a_tie() -> None:
    """Three lines that miss a common point by less than float64 sees from their crossing: the tiny triangle counts."""
    eps = 2.0**-52
    through = Layer(np.array([[1.0, 0], [0, 1.0], [1.0, 1.0]]), np.array([-1.0, -1.0, -2.0]))
    beside = Layer(through.weights, np.array([-1.0, -1.0, -2.0 * (1 + eps)]))
    both = counted([through]), counted([beside])
    assert [o.regions for o in both] == [6, 7]
    assert all(o.resolved > 0 for o in both)


def test_the_dictionary_tells_the_truth() -> None:
    """After any exchanges every function is what its columns say, and the tight ones are zero."""
    rng = np.random.default_rng(0)
    m, end = 5, 17
    columns = np.zeros((m + 1, end))
    columns[:, m:] = rng.normal(size=(m + 1, end - m))
    dictionary, basis, start = np.zeros((m + 1, end)), np.zeros(m, np.int64), rng.normal(size=m)
    lp.begin(dictionary, m, end, basis, columns, start)
    for _ in range(30):
        q = int(rng.integers(m))
        free = [r for r in range(m, end) if r not in basis and abs(dictionary[q, r]) > 0.1]
        if free:
            lp.exchange(dictionary, m, end, q, free[0])
            basis[q] = free[0]
    point, x = dictionary[m, :m], rng.normal(size=m)
    np.testing.assert_allclose(point @ columns[:m, m:] + columns[m, m:], dictionary[m, m:], atol=1e-9)
    tight = basis[basis >= m]
    assert len(tight) == m
    np.testing.assert_allclose(dictionary[m, tight], 0.0, atol=1e-12)
    moves = x @ columns[:m, tight] + columns[m, tight]
    truth = np.append(x, x @ columns[:m, m:] + columns[m, m:])
    np.testing.assert_allclose(moves @ dictionary[:m] + dictionary[m], truth, atol=1e-8)


def test_points_hold_exactly() -> None:
    """Every point handed out is strictly inside its region, in rational arithmetic."""
    layers = case("T3")
    cells = counted(layers, collect=True).cells
    assert cells is not None
    for states, point in zip(cells.states.tolist(), cells.points.tolist(), strict=True):
        z, done = [Fraction(v) for v in point], 0
        for layer in layers:
            h = [
                sum((Fraction(w) * v for w, v in zip(row, z, strict=True)), Fraction(b))
                for row, b in zip(layer.weights.tolist(), layer.bias.tolist(), strict=True)
            ]
            assert all(v != 0 for v in h)
            assert [int(v > 0) for v in h] == states[done : done + len(h)]
            z, done = [max(v, Fraction(0)) for v in h], done + len(h)


@pytest.mark.parametrize("width", [2.0**-40, 2.0**-51, 2.0**-52])
def test_inradius_of_thin_cells(width: float) -> None:
    """Between two parallel lines a small way apart lies a ball of half that radius, also where float64 has no point."""
    layers = [Layer(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([-1.0, -1.0 - width]))]
    outcome = counted(layers, Box(0, [4, 1]), inradius=True)
    assert (outcome.regions, outcome.smallest_inradius) == (3, pytest.approx(width / 2, rel=1e-9))
