"""Exact partitions of planes against known counts, rational arithmetic and plain forward passes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import netfold as nf
from netfold.exact.plane.tracer import PlaneTracer, corners_of, margins
from netfold.results.partition import Polygons
from tests.exact.plane import rational_polygons
from tests.exact.plane.cases import AXES, SQUARES, degenerate, sequential, square
from tests.models import random_model, record

BOX = (-10.0, 10.0, -10.0, 10.0)


@pytest.mark.parametrize("name", SQUARES)
def test_known_counts_after_every_layer(name: str) -> None:
    """The squares' exact counts, layer by layer, without building a polygon of the last layer."""
    net, plane = square(name)
    count = nf.count_regions(net, plane)
    assert list(count.by_layer) == SQUARES[name][1]
    assert int(count) == SQUARES[name][1][-1]
    assert (count.uncertain, count.resolved_exactly) == (0, None), "nothing was in doubt"
    assert count.status == "exact"
    assert 1e-12 < count.margin < 1e-3


@pytest.mark.parametrize("name", ["P1", "P2", "P3"])
def test_known_counts_of_the_partition(name: str) -> None:
    """The built partition has the same counts, a sound mesh, and areas that sum to the rectangle's."""
    net, plane = square(name)
    part = nf.partition_plane(net, plane)
    assert part.regions_by_layer.tolist() == SQUARES[name][1]
    assert [len(part.polygons_after(i)) for i in range(len(part.layers))] == SQUARES[name][1]
    require_sound(part)


def require_sound(part: nf.Partition) -> None:
    """Laws of a partition into convex polygons."""
    mesh, (left, right, bottom, top) = part.mesh, part.bounds
    whole = (right - left) * (top - bottom) * np.sqrt(np.linalg.det(part.plane.frame.T @ part.plane.frame))
    assert part.areas.sum() == pytest.approx(whole, rel=1e-12)
    assert (part.areas > 0).all()
    twins = mesh.twins()
    assert ((twins < 0) == (mesh.label < 0)).all(), "an edge inside has a polygon on either side"
    edges = len(mesh.loop) - (twins >= 0).sum() // 2
    assert len(mesh.xy) - edges + len(mesh.ids) == 1, "Euler's formula"
    for layer in range(len(part.layers)):
        require_convex(part.polygons_after(layer), right - left + top - bottom)


def require_convex(polygons: Polygons, size: float) -> None:
    """Every corner turns left, up to rounding of its coordinates."""
    ahead = np.arange(1, len(polygons.loop) + 1)
    ahead[polygons.start[1:] - 1] = polygons.start[:-1]
    corner = polygons.xy[polygons.loop]
    step = corner[ahead] - corner
    cross = step[:, 0] * step[ahead, 1] - step[:, 1] * step[ahead, 0]
    assert (cross >= -1e-13 * size * (np.abs(step).sum(1) + np.abs(step[ahead]).sum(1))).all()


def require_patterns(part: nf.Partition, model: nn.Module, smallest: float = 1e-12) -> None:
    """A forward pass at a point inside each region that is not a sliver shows its pattern; no two are the same."""
    wide = np.flatnonzero(part.areas > smallest * part.areas.sum())
    rng = np.random.default_rng(0)
    weights = [rng.dirichlet(np.ones(len(part.polygons[i]))) for i in wide]
    inside = np.stack([w @ part.polygons[i] for i, w in zip(wide, weights, strict=True)])
    patterns, _, output = record(model, part.plane(inside[:, 0], inside[:, 1]))
    states = [layer[wide] for layer in part.states]
    assert len(patterns) == len(states)
    for found, expected, layer in zip(states, patterns, part.layers, strict=True):
        if not layer.op.startswith("max_pool"):  # hooks number the entries of a window in another way
            assert np.array_equal(found, expected.numpy())
    assert len(np.unique(part.hashes, axis=0)) == part.regions
    slope, offset = part.output_maps
    y = offset[wide] + np.einsum("rka,ra->rk", slope[wide], inside)
    assert np.allclose(y, output.numpy(), rtol=1e-9, atol=1e-9 * (1 + np.abs(output.numpy()).max()))


def random_plane(shape: tuple[int, ...], seed: int) -> nf.Plane | None:
    """A random plane through a random point; None for a single input."""
    if np.prod(shape) < 2:
        return None
    return nf.Plane(*np.random.default_rng(seed).normal(size=(3, *shape)), bounds=(-2.0, 2.0, -1.5, 2.5))


@settings(max_examples=32)
@given(st.integers(0, 10**6), st.integers(0, 3))
@example(2, 0)
@example(5, 3)
def test_random_models(seed: int, family: int) -> None:
    """Dense, residual, branching and convolutional models with any activation: laws, patterns, counts, lines."""
    model, shape = random_model(seed, family)
    plane = random_plane(shape, seed)
    if plane is None:
        return
    part = nf.partition_plane(model, plane)
    count = nf.count_regions(model, plane)
    if part.uncertain == 0:
        assert list(count.by_layer) == part.regions_by_layer.tolist()
        require_sound(part)
        require_patterns(part, model)
        require_lines(part, model, seed)


def require_lines(part: nf.Partition, model: nn.Module, seed: int) -> None:
    """A line inside the plane meets as many regions as the trace of that line says."""
    left, right, bottom, top = part.bounds
    ends = np.random.default_rng(seed).uniform([left, bottom], [right, top], (2, 2))
    trace = nf.trace_path(model, nf.Line(*part.plane(ends[:, 0], ends[:, 1])))
    at = np.concatenate([[0.0], trace.breakpoints, [1.0]])
    wide = np.diff(at) > 1e-9
    middle = (at[:-1] + at[1:])[wide, None] / 2
    met = part.region_at((1 - middle) * ends[0] + middle * ends[1])
    assert (met >= 0).all()
    assert len(np.unique(met)) == wide.sum()


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_random_points_show_the_same_regions(seed: int) -> None:
    """Points thrown at the rectangle have as many patterns as regions they lie in, one a region."""
    model, shape = random_model(seed)
    plane = random_plane(shape, seed)
    if plane is None:
        return
    part = nf.partition_plane(model, plane)
    points = np.random.default_rng(seed).uniform([-2.0, -1.5], [2.0, 2.5], (3000, 2))
    patterns, _, _ = record(model, plane(points[:, 0], points[:, 1]))
    joined = torch.cat(patterns, 1).numpy()
    region = part.region_at(points)
    assert (region >= 0).all()
    pairs = np.unique(np.column_stack([region, joined]), axis=0)
    near = part.margin < 1e-9 or part.uncertain > 0
    if not near and not any(layer.selects for layer in part.layers):
        assert len(pairs) == len(np.unique(region)) == len(np.unique(joined, axis=0))


@pytest.mark.parametrize(("name", "regions"), [("D1", 20), ("D3", 19), ("D4", 104)])
def test_degenerate_networks_over_the_box(name: str, regions: int) -> None:
    """Zero biases, duplicated and scaled rows, a dead layer: counts are exact, polygons too or they say so.

    D3 holds slivers of 1e-16 in the stored weights (3 w rounds), 26 regions in all; polygons leave them out.
    """
    net = degenerate(name)
    count = nf.count_regions(net, AXES, bounds=BOX)
    part = nf.partition_plane(net, AXES, bounds=BOX)
    exact = rational_polygons.regions(net, *np.eye(3, 2, -1), -10, 10)
    assert list(count.by_layer) == exact
    assert (count.uncertain, count.status) == (0, "exact")
    assert (part.regions, part.uncertain == 0) == (regions, name != "D3")
    assert part.status == {"D1": "exact; proven", "D4": "exact"}.get(name, part.status)
    assert ("tolerance" in part.status) == (name == "D3")
    require_sound(part)
    assert part.margin > 1e-6


def test_the_tolerance_is_what_it_says() -> None:
    """Polygons thinner than the tolerance are left out, and counted in ``uncertain``; counts have them."""
    for gap, regions in ((1e-9, 3), (1e-16, 2)):
        net = sequential([(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0.0, gap])), (np.ones((1, 2)), np.zeros(1))])
        part = nf.partition_plane(net, AXES, bounds=(-1, 1, -1, 1))
        assert part.regions == regions
        assert (part.uncertain == 0) == (regions == 3)
        assert int(nf.count_regions(net, AXES, bounds=(-1, 1, -1, 1))) == 3


@pytest.mark.parametrize("name", ["D1", "D2", "D4", "D5"])
@pytest.mark.parametrize("seed", range(4))
def test_degenerate_networks_on_slices(name: str, seed: int) -> None:
    """On planes with small integer coordinates, where many lines meet, the count is that of rational arithmetic."""
    net = degenerate(name)
    inputs = net[0].in_features  # type: ignore[union-attr]
    rng = np.random.default_rng(seed)
    origin = rng.integers(-2, 3, inputs).astype(float)
    u, v = np.eye(inputs)[:2] + np.triu(rng.integers(-1, 2, (2, inputs)), 1)
    exact = rational_polygons.regions(net, origin, u, v, -4, 4)
    plane, bounds = nf.Plane(origin, u, v), (-4.0, 4.0, -4.0, 4.0)
    part = nf.partition_plane(net, plane, bounds)
    assert part.regions_by_layer.tolist() == exact
    assert list(nf.count_regions(net, plane, bounds).by_layer) == exact
    require_sound(part)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 3))
def test_integer_networks_in_rational_arithmetic(seed: int, width: int, depth: int) -> None:
    """Ternary weights, where lines coincide and meet by the dozen: layer by layer as in rational arithmetic."""
    rng = np.random.default_rng(seed)
    sizes = [2, *[width] * depth, 1]
    layers = [(rng.integers(-1, 2, (o, i)), rng.integers(-1, 2, o)) for i, o in pairwise(sizes)]
    net = sequential(layers)
    exact = rational_polygons.regions(net, *np.eye(3, 2, -1), -3, 3)
    part = nf.partition_plane(net, AXES, (-3.0, 3.0, -3.0, 3.0))
    assert part.regions_by_layer.tolist() == exact
    assert list(nf.count_regions(net, AXES, (-3.0, 3.0, -3.0, 3.0)).by_layer) == exact
    require_sound(part)


def test_units_that_vanish_on_the_slice() -> None:
    """Units that are exactly 0 on the whole plane cut nothing and are off."""
    weight = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    net = sequential([(weight, np.zeros(2)), (np.ones((1, 2)), np.zeros(1))])
    part = nf.partition_plane(net, nf.Plane([0.0] * 3, [1.0, 0, 0], [0, 1.0, 0]), (-1, 1, -1, 1))
    assert part.regions == 2
    assert sorted(map(tuple, part.states[0].tolist())) == [(0, 0), (0, 1)]


@pytest.mark.parametrize("units", [3, 8, 40])
def test_concurrent_lines(units: int) -> None:
    """Lines through one point make twice as many sectors; without the tie they would make about units^2 / 2."""
    angle = np.pi * (np.arange(units) + 0.3) / units
    net = sequential(
        [(np.stack([np.cos(angle), np.sin(angle)], 1), np.zeros(units)), (np.ones((1, units)), np.zeros(1))]
    )
    for bounds in ((-1, 1, -1, 1), (-1, 2, -3, 1)):
        part = nf.partition_plane(net, AXES, bounds)
        assert part.regions == int(nf.count_regions(net, AXES, bounds)) == 2 * units
        assert (part.uncertain, part.status) == (0, "exact; proven")
        assert part.resolved
        require_sound(part)


@pytest.mark.parametrize("kind", ["relu", "hardtanh", "pool", "ties"])
def test_small_blocks_and_threads_change_nothing(kind: str) -> None:
    """Vertices, polygons, labels, states, ties and margins are the same, bit for bit, for any blocks and threads."""
    torch.manual_seed(0)
    biased = kind != "ties"
    first, second = nn.Linear(2, 24, bias=biased), nn.Linear(24, 24, bias=biased)
    acts = [nn.Hardtanh(), nn.Hardtanh()] if kind == "hardtanh" else [nn.ReLU(), nn.ReLU()]
    pool = [nn.Unflatten(1, (1, 24)), nn.MaxPool1d(3), nn.Flatten()] if kind == "pool" else []
    last = nn.Linear(8 if pool else 24, 3, bias=biased)
    program = nf.capture(nn.Sequential(first, acts[0], second, *pool, acts[1], last).double().eval(), shape=(2,))
    found, threads = [], torch.get_num_threads()
    try:
        for size, count, fork in ((2**20, 1, 2**17), (2**20, 2, 1), (2**14, 1, 1), (1, 2, 2000), (1, 3, 1)):
            torch.set_num_threads(count)
            corners = corners_of(program, AXES, (-3, 3, -3, 3))
            tracer, counter = (PlaneTracer(program, *corners, keep, size, fork) for keep in (True, False))
            tracer.run()
            counter.run()
            assert counter.regions.tolist() == tracer.regions.tolist()
            doubts = [sum(layer.doubts for layer in run.findings) for run in (tracer, counter)]
            found.append((tracer.sink.mesh(), tracer.regions.tolist(), doubts, margins(tracer), margins(counter)))
    finally:
        torch.set_num_threads(threads)
    for mesh, *numbers in found[1:]:
        for name in ("xy", "made", "start", "loop", "label", "ids", "states"):
            assert np.array_equal(getattr(mesh, name), getattr(found[0][0], name)), name
        assert numbers == list(found[0][1:])
    assert (found[0][2][0] > 0) == (kind == "ties")


def test_affine_network() -> None:
    """Without a nonlinearity there is one region, still cut by class."""
    net = nn.Linear(2, 2).double().eval()
    part = nf.partition_plane(net, AXES, (-9, 9, -9, 9))
    assert part.regions == int(nf.count_regions(net, AXES)) == 1
    assert len(part.polygons) == 1
    assert part.areas == pytest.approx([324.0])
    assert sum(part.class_areas.values()) == pytest.approx(324.0)
