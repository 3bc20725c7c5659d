"""Neighbours and linear regions against programs on all pairs of regions, forward passes, and known geometry."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

import netfold as nf
from netfold.errors import InvalidInputError
from tests.exact.cells.networks import case, forward_states, module, random_case, random_layers
from tests.exact.cells.reference import Cell, Layer, Tree, box

WALLS = box([-1.5, -1.5], [1.5, 1.5])
DOMAIN = nf.Box(-1.5, 1.5)


def share_a_face(a: Cell, b: Cell) -> bool:
    """Whether the largest ball of one dimension less in the border of two cells has a radius above 0, by programs."""
    mine = np.array([row / np.linalg.norm(row[:-1]) for row in a.conditions])
    other = np.array([row / np.linalg.norm(row[:-1]) for row in b.conditions])
    for border in mine:
        if np.abs(other + border).max(1).min() > 1e-9:
            continue
        rows = np.concatenate([mine, other])
        rows = rows[np.minimum(np.abs(rows - border).max(1), np.abs(rows + border).max(1)) > 1e-9]
        found = linprog(
            np.append(np.zeros(len(border) - 1), -1.0),
            np.column_stack([-rows[:, :-1], np.linalg.norm(rows[:, :-1], axis=1)]),
            rows[:, -1],
            np.append(border[:-1], 0.0)[None],
            [-border[-1]],
            bounds=[*([(None, None)] * (len(border) - 1)), (None, 1.0)],
            method="highs",
        )
        if found.status == 0 and -found.fun > 1e-9:
            return True
    return False


def output_map(layers: Sequence[Layer], cell: Cell) -> np.ndarray:
    """The sum of the last layer's units as an affine function, from finite differences around the cell's centre."""
    assert cell.point is not None
    step = cell.radius / 4
    points = cell.point + step * np.concatenate([np.zeros((1, len(cell.point))), np.eye(len(cell.point))])
    with torch.no_grad():
        values = module(layers)(torch.from_numpy(points)).numpy()[:, 0]
    slope = (values[1:] - values[0]) / step
    return np.append(slope, values[0] - slope @ cell.point)


def labelled(count: int, pairs: list[tuple[int, int]]) -> set[frozenset[int]]:
    graph = nx.Graph(pairs)
    graph.add_nodes_from(range(count))
    return {frozenset(part) for part in nx.connected_components(graph)}


def dead(rng: np.random.Generator) -> list[Layer]:
    """Two layers, the second of which has units that are off wherever some of the first are."""
    layers = random_case([2, 5, 3], int(rng.integers(1000)))
    layers[1].bias[:2] -= 1.0
    return layers


@pytest.mark.parametrize("seed", range(6))
def test_against_programs_on_all_pairs(seed: int) -> None:
    """The same pairs share a face, and the same regions have one affine map across faces."""
    rng = np.random.default_rng(seed)
    layers = dead(rng) if seed < 3 else random_layers(rng, 2, [4, 2])
    found = nf.region_graph(nf.capture(module(layers), shape=(2,)), DOMAIN)
    number = {tuple(region.states.tolist()): i for i, region in enumerate(found.regions)}
    cells = {number[cell.pattern]: cell for cell in Tree(layers, WALLS).leaves()}
    assert len(cells) == len(number)
    expected = [(i, j) for i, j in itertools.combinations(range(len(cells)), 2) if share_a_face(cells[i], cells[j])]
    assert sorted(found.graph.edges) == expected
    maps = [output_map(layers, cells[i]) for i in range(len(cells))]
    equal = [(i, j) for i, j in expected if np.allclose(maps[i], maps[j], rtol=0, atol=1e-7)]
    groups = [frozenset(np.flatnonzero(found.linear_labels == k).tolist()) for k in range(found.linear_regions)]
    assert set(groups) == labelled(len(cells), equal)


@pytest.mark.parametrize(("name", "at_once"), [("T2", 2), ("D1", 2), ("D2", 2), ("D3", 4), ("D4", 2), ("D5", 2)])
def test_walks_cross_edges(name: str, at_once: int) -> None:
    """Whoever walks along random lines goes from neighbour to neighbour, also in degenerate networks.

    A step may be too long to tell two crossings apart; in D3 it passes slivers 1e-16 wide.
    """
    layers = case(name)
    inputs = layers[0].weights.shape[1]
    found = nf.region_graph(module(layers))
    number = {tuple(region.states.tolist()): i for i, region in enumerate(found.regions)}
    rng = np.random.default_rng(0)
    assert nx.is_connected(found.graph)
    crossed = 0
    for _ in range(40):
        a, b = rng.normal(0, 2, (2, inputs))
        t = np.linspace(0, 1, 4000)[:, None]
        states = forward_states(layers, (1 - t) * a + t * b)
        numbers = [number.get(tuple(row)) for row in states.tolist()]
        for before, after in itertools.pairwise(numbers):
            if before is not None and after is not None and before != after:
                if not found.graph.has_edge(before, after):
                    assert nx.shortest_path_length(found.graph, before, after) <= at_once
                    continue
                crossed += 1
    assert crossed > 40


def test_edges_name_the_unit_that_changes() -> None:
    """In general position exactly one unit changes across a face, the one that the edge names."""
    found = nf.region_graph(module(case("T3")))
    bounds = np.cumsum([0, *(len(p) for p in found.regions[0].pattern)])
    assert len(found.first) > found.activation_regions
    for a, b, layer, unit, changes in found.to_dataframe().itertuples(index=False):
        different = np.flatnonzero(found.regions[a].states != found.regions[b].states)
        assert different.tolist() == [bounds[layer] + unit]
        assert changes == 1


def test_known_arrangements() -> None:
    """n lines in general position: n^2 borders of 1 + n + n(n-1)/2 regions; a grid of parallels is a grid graph."""
    lines = nf.region_graph(module(random_case([2, 6], 0)))
    assert (lines.activation_regions, lines.graph.number_of_edges()) == (22, 36)
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Hardtanh(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(2))
    grid = nf.region_graph(net)
    assert nx.is_isomorphic(grid.graph, nx.grid_2d_graph(3, 3))
    assert grid.linear_regions == 9


def test_a_unit_that_touches_its_knot_and_turns_back() -> None:
    """|x| built of two layers, and a unit on it that is at its knot where x is 0 but on both sides beyond: it stays."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.zero_()
        net[2].weight.fill_(1.0)
        net[2].bias.zero_()
    found = nf.region_graph(net)
    assert sorted(region.states.tolist() for region in found.regions) == [[0, 1, 1], [1, 0, 1]]
    assert found.graph.number_of_edges() == 1
    assert found.changes.tolist() == [2]
    assert found.linear_regions == 2


def test_units_that_cancel_make_one_linear_region() -> None:
    """Activation regions whose output is the same function are one linear region, and are still told apart."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.copy_(torch.tensor([-0.1, 0.1]))
        net[2].weight.copy_(torch.tensor([[0.3, -0.3]]))
    found = nf.region_graph(net)
    assert (found.activation_regions, found.linear_regions) == (2, 1)
    assert found.linear_graph.number_of_nodes() == 1
    assert found.linear_graph.nodes[0]["regions"] == [0, 1]


def test_one_region_and_bad_input() -> None:
    """An affine network is one region without neighbours; a line has none to join."""
    found = nf.region_graph(nn.Linear(2, 1))
    assert (found.activation_regions, found.linear_regions, found.graph.number_of_edges()) == (1, 1, 0)
    assert len(found.to_dataframe()) == 0
    with pytest.raises(InvalidInputError, match="got Line"):
        nf.region_graph(nn.Linear(2, 1), nf.Line([0.0, 0.0], [1.0, 1.0]))  # type: ignore[arg-type]


def test_rows_of_zeros_in_a_polytope_are_no_faces():
    """Geometry, faces and neighbours are those of the polytope without them."""
    layers = random_case([2, 4, 3], 5)
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), np.array([1.0, 1.0, 1.0])
    plain = nf.region_graph(module(layers), nf.Polytope(*rows))
    padded = np.insert(rows[0], [0, 2], 0.0, axis=0), np.insert(rows[1], [0, 2], [0.0, 2.0])
    graph = nf.region_graph(module(layers), nf.Polytope(*padded))
    assert (graph.first.tolist(), graph.second.tolist()) == (plain.first.tolist(), plain.second.tolist())
    for one, other in zip(graph.regions, plain.regions, strict=True):
        assert one.states.tolist() == other.states.tolist()
        assert len(one.halfspaces) == len(other.halfspaces)
        assert (one.bounded, one.radius) == (other.bounded, pytest.approx(other.radius))
        assert one.volume() == pytest.approx(other.volume())
