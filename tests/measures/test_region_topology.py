"""Betti numbers against known shapes, simplicial complexes, planes and counts, none of which share any of their code."""

from __future__ import annotations

from itertools import combinations, permutations, product
from math import comb

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.exact.regions.polyhedra import rays_of
from tests.exact.cells.networks import case, degenerate_networks, module, random_case
from tests.exact.cells.reference import Layer

Simplex = frozenset[tuple[int, ...]]


def rank(columns: list[set[int]], rows: int) -> int:
    """Of a matrix over GF(2), by elimination on a dense array."""
    a = np.zeros((rows, len(columns)), bool)
    for j, column in enumerate(columns):
        a[list(column), j] = True
    found = 0
    for j in range(a.shape[1]):
        at = np.flatnonzero(a[found:, j]) + found
        if len(at):
            a[[found, at[0]]] = a[[at[0], found]]
            a[np.setdiff1d(np.flatnonzero(a[:, j]), [found])] ^= a[found]
            found += 1
    return found


def betti_of(simplices: set[Simplex], lowest: int, dimensions: int) -> tuple[int, ...]:
    """Betti numbers of cells that are simplices, or the parts of simplices of ``lowest`` more corners in a surface."""
    levels = [[s for s in simplices if len(s) == k + 1 + lowest] for k in range(dimensions + 1)]
    ranks = [0] * (dimensions + 2)
    for k in range(1, dimensions + 1):
        place = {s: i for i, s in enumerate(levels[k - 1])}
        columns = [{place[s - {v}] for v in s if s - {v} in place} for s in levels[k]]
        ranks[k] = rank(columns, len(place))
    return tuple(len(levels[k]) - ranks[k] - ranks[k + 1] for k in range(dimensions))


def grid_network(m: int, size: int, seed: int) -> tuple[nn.Module, np.ndarray]:
    """A network that is affine on each simplex of the Kuhn triangulation of a grid, and its values at the corners.

    All its weights are small integers but the last bias, so that no value is 0: many hyperplanes are parallel, and
    dozens meet in every corner.
    """
    rng = np.random.default_rng(seed)
    planes = [(np.eye(m)[i], c) for i in range(m) for c in range(-1, size)]
    planes += [(np.eye(m)[i] - np.eye(m)[j], c) for i, j in combinations(range(m), 2) for c in range(1 - size, size)]
    first, last = nn.Linear(m, len(planes)).double(), nn.Linear(len(planes), 1).double()
    weights = rng.integers(-4, 5, len(planes)).astype(float)
    corners = np.array(list(product(range(size + 1), repeat=m)), float)
    hidden = np.maximum(corners @ np.array([a for a, _ in planes]).T - np.array([c for _, c in planes]), 0.0)
    bias = 0.5 - np.median(np.round(hidden @ weights))
    with torch.no_grad():
        first.weight[:] = torch.tensor(np.array([a for a, _ in planes]))
        first.bias[:] = torch.tensor([-float(c) for _, c in planes])
        last.weight[:] = torch.tensor(weights)
        last.bias[:] = np.floor(bias) + 0.5
    return nn.Sequential(first, nn.ReLU(), last), hidden @ weights + np.floor(bias) + 0.5


@pytest.mark.parametrize(("m", "size", "seeds"), [(1, 6, 10), (2, 4, 30), (3, 2, 20), (4, 1, 4)])
def test_against_simplicial_complexes(m: int, size: int, seeds: int) -> None:
    """A class is drawn together into the simplices with all corners in it; the boundary cuts those with corners in
    both, and is a cell of one dimension less there."""
    kuhn: set[Simplex] = set()
    for corner, order in product(product(range(size), repeat=m), permutations(range(m))):
        walk = [corner]
        for axis in order:
            walk.append(tuple(v + (k == axis) for k, v in enumerate(walk[-1])))
        kuhn |= {frozenset(some) for n in range(1, m + 2) for some in combinations(walk, n)}
    for seed in range(seeds):
        net, values = grid_network(m, size, seed)
        above = dict(zip(product(range(size + 1), repeat=m), (values > 0).tolist(), strict=True))
        found = nf.region_topology(net, nf.Box(0.0, float(size)))
        assert (found.status, found.tied) == ("exact", 0)
        for c, told in found.classes.items():
            own = {s for s in kuhn if all(above[v] == bool(c) for v in s)}
            assert told == betti_of(own, 0, m)
        assert set(found.classes) == {int(v) for v in above.values()}
        mixed = {s for s in kuhn if len({above[v] for v in s}) == 2}
        assert found.boundary == betti_of(mixed, 1, m)


class Shape(nn.Module):
    """Distances in the maximum norm, made of maxima and absolute values."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def size(*entries: torch.Tensor) -> torch.Tensor:
            return torch.stack([e.abs() for e in entries], -1).amax(-1, keepdim=True)

        columns = list(x.unbind(-1))
        if self.kind == "shell":  # between two cubes, in any dimension
            return 1.0 - (size(*columns)[:, 0] - 2.0).abs()[:, None]
        if self.kind == "torus":  # around a square ring in the plane of the first two
            return 1.0 - size(size(*columns[:2])[:, 0] - 2.0, *columns[2:])
        return 1.0 - torch.minimum(size(columns[0] - 3.0, *columns[1:]), size(columns[0] + 3.0, *columns[1:]))


@pytest.mark.parametrize(
    ("kind", "m", "boundary", "inside", "outside"),
    [
        ("shell", 1, (4,), (2,), (3,)),
        ("shell", 2, (2, 2), (1, 1), (2, 1)),
        ("shell", 3, (2, 0, 2), (1, 0, 1), (2, 0, 1)),
        ("shell", 4, (2, 0, 0, 2), (1, 0, 0, 1), (2, 0, 0, 1)),
        ("two", 2, (2, 2), (2, 0), (1, 2)),
        ("two", 3, (2, 0, 2), (2, 0, 0), (1, 0, 2)),
        ("torus", 2, (2, 2), (1, 1), (2, 1)),
        ("torus", 3, (1, 2, 1), (1, 1, 0), (1, 1, 1)),
        ("torus", 4, (1, 1, 1, 1), (1, 1, 0, 0), (1, 0, 1, 1)),
    ],
)
def test_known_shapes(kind: str, m: int, boundary: object, inside: object, outside: object) -> None:
    """Rings, shells, tori and pairs of cubes: in a box around them, and in all of the space."""
    for domain in (nf.Box(-6.0, 6.0), None):
        found = nf.region_topology(nf.capture(Shape(kind), shape=(m,)), domain)
        assert (found.boundary, found.classes) == (boundary, {0: outside, 1: inside})
        assert found.betti.shape[1] == m


@pytest.mark.parametrize("seed", range(12))
def test_against_planes(seed: int) -> None:
    """Class regions of polygons that float64 cut, and the graph of the boundary's segments: its parts and circles."""
    net = nf.random_network(inputs=2, width=10, depth=2, outputs=3 if seed % 2 else 1, sigma_b=1.0, seed=seed)
    plane = nf.Plane([0.1, 0.0], [2.0, 0.5], [-0.5, 2.0], bounds=(-1.0, 1.0, -1.0, 1.0))
    found, edge = nf.region_topology(net, plane), nf.partition_plane(net, plane).decision_boundary()
    graph = nx.Graph()
    graph.add_edges_from((tuple(a), tuple(b)) for a, b in edge.segments.round(9).tolist())
    parts = nx.number_connected_components(graph)
    assert found.boundary == (parts, len(edge.segments) - len(graph) + parts)
    classes, counts = np.unique(edge.region_classes, return_counts=True)
    assert {c: betti[0] for c, betti in found.classes.items()} == dict(
        zip(classes.tolist(), counts.tolist(), strict=True)
    )
    assert found.activation_regions == nf.partition_plane(net, plane).regions


@settings(deadline=None, max_examples=60)
@given(degenerate_networks(), st.booleans())
def test_borders_enclose_the_bounded_regions(layers: list[Layer], boxed: bool) -> None:
    """By Alexander duality the borders' highest number is that of regions that do not reach out; repeated, opposite,
    parallel and zero rows among them. Euler's numbers of two classes and of their boundary add up to 1."""
    net = module(layers)
    domain = nf.Box(-1.5, 2.0) if boxed else None
    m = layers[0].weights.shape[1]
    try:
        found = nf.region_topology(net, domain)
    except InvalidInputError:
        assert not boxed
        return
    regions = list(nf.enumerate_regions(net, domain))
    enclosed = [r for r in regions if r.bounded and not (boxed and (r.halfspaces.layers < 0).any())]
    assert found.activation_regions == len(regions)
    if found.betti.shape[1] == m:  # all inputs are read
        assert found.borders[-1] == len(enclosed) + (m == 1 and len(regions) > 1)
    assert found.euler[0] == found.euler[2:].sum() - 1 or len(found.sets) > 4


@pytest.mark.parametrize("seed", range(6))
def test_without_end_as_in_a_large_box(seed: int) -> None:
    """Sets of all of R^m are drawn together into what any box holds that all corners lie in."""
    net = module(random_case([3, 5, 3], seed))
    whole, boxed = nf.region_topology(net), nf.region_topology(net, nf.Box(-1e5, 1e5))
    assert (whole.betti == boxed.betti).all()
    assert whole.sets == boxed.sets
    assert (whole.faces <= boxed.faces).all()


@pytest.mark.parametrize(("inputs", "width"), [(1, 5), (2, 7), (3, 6), (4, 6)])
def test_hyperplanes_in_general_position(inputs: int, width: int) -> None:
    """Zaslavsky: n hyperplanes in R^m enclose binom(n - 1, m) regions, and are m - 1 dimensional spheres in a bunch."""
    found = nf.region_topology(module(random_case([inputs, width], 1)))
    middle = (0,) * (inputs - 2)
    expected = (comb(width - 1, 1) + 1,) if inputs == 1 else (1, *middle, comb(width - 1, inputs))
    assert found.borders == expected


@pytest.mark.parametrize("name", ["T1", "T2", "D1", "D2", "D3", "D4", "D5"])
def test_degenerate_cases(name: str) -> None:
    """Known counts of regions; slivers 1e-16 wide and lines that nearly meet in one point are told apart."""
    layers = case(name)
    found = nf.region_topology(module(layers), nf.Box(-10.0, 10.0))
    assert found.activation_regions == int(nf.count_regions(module(layers), nf.Box(-10.0, 10.0)))
    assert found.status.kind.name == "EXACT"


def test_ties_are_said() -> None:
    """Where outputs are equal on whole regions the class is the first one, and the result says on how many pieces."""
    same = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        same.weight[:] = torch.eye(2)
    found = nf.region_topology(nn.Sequential(same, nn.ReLU(), same))
    assert (found.tied, found.pieces, found.activation_regions) == (1, 5, 4)
    assert "classes tie on 1 piece" in found.status
    assert found.boundary == (1, 0)
    flat = nf.region_topology(nn.Sequential(same, nn.ReLU(), Zero()), nf.Box(-1.0, 1.0))
    assert (flat.tied, flat.boundary, flat.classes) == (flat.pieces, (0, 0), {0: (1, 0)})


def test_square_roots() -> None:
    """Batch normalisation by a square root that is not rational, the same for all units, changes no class."""
    torch.manual_seed(0)
    first, norm, last = (
        nn.Linear(2, 6).double(),
        nn.BatchNorm1d(6).double().eval(),
        nn.Linear(6, 2, bias=False).double(),
    )
    found = nf.region_topology(nn.Sequential(first, norm, nn.ReLU(), last), nf.Box(-3.0, 3.0))
    plain = nf.region_topology(nn.Sequential(first, nn.ReLU(), last), nf.Box(-3.0, 3.0))
    assert (found.betti == plain.betti).all()
    assert (found.activation_regions, found.uncertain) == (plain.activation_regions, 0)


class Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.0 * x.sum(-1, keepdim=True)


def test_what_has_no_regions() -> None:
    """A linear classifier; one that reads one input of two; domains without end or inside, and unusable ones."""
    line = nn.Linear(2, 1)
    assert nf.region_topology(line, nf.Box(-9.0, 9.0)).boundary == (1, 0)
    with torch.no_grad():
        line.weight[:] = torch.tensor([[1.0, 0.0]])
    assert nf.region_topology(line).boundary == (1,)
    empty = nf.region_topology(line, nf.Polytope([[1.0, 0.0], [-1.0, 0.0]], [-1.0, -1.0]))
    assert (empty.pieces, empty.boundary, empty.classes) == (0, (0,), {})
    with pytest.raises(InvalidInputError, match="no corner"):
        nf.region_topology(Zero(), nf.Polytope([[1.0, 1.0]], [1.0]))
    with pytest.raises(InvalidInputError, match="slice"):
        nf.region_topology(line, nf.Box([0.0, 1.0], [1.0, 1.0]))
    with pytest.raises(InvalidInputError, match="bounds belong to a Plane"):
        nf.region_topology(line, None, (0, 1, 0, 1))
    with pytest.raises(InvalidInputError, match="leave shape out"):
        nf.region_topology(line, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), shape=(2,))


@pytest.mark.parametrize("seed", range(20))
def test_corners_of_polygons(seed: int) -> None:
    """Double description finds the corners of a convex polygon that was made of them, and what edges they lie on."""
    rng = np.random.default_rng(seed)
    points = np.unique(rng.integers(-9, 10, (12, 2)), axis=0)
    hull = nx.Graph()
    for a, b in combinations(points.tolist(), 2):
        normal = np.array([b[1] - a[1], a[0] - b[0]])
        side = (points - a) @ normal
        if (side >= 0).all() or (side <= 0).all():
            hull.add_edge(tuple(a), tuple(b), row=(normal, a) if side.min() >= 0 else (-normal, a))
    rows = [[*map(int, n), -int(n @ a)] for *_, (n, a) in hull.edges(data="row")]
    extreme = {p for p in hull if not any(on_segment(p, a, b) for a, b in hull.edges if p not in (a, b))}
    found = rays_of([*rows, [0, 0, 1]])
    assert found is not None
    assert {tuple(v / ray[-1] for v in ray[:-1]) for ray, _ in found} == extreme
    for ray, tight in found:
        values = [sum(x * y for x, y in zip(row, ray, strict=True)) for row in rows]
        assert [tight >> i & 1 == 1 for i in range(len(rows))] == [v == 0 for v in values]
        assert min(values) >= 0


def on_segment(p: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    (px, py), (ax, ay), (bx, by) = p, a, b
    flat = (bx - ax) * (py - ay) == (by - ay) * (px - ax)
    return flat and min(ax, bx) <= px <= max(ax, bx) and min(ay, by) <= py <= max(ay, by)
