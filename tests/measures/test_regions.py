"""Regions one by one: patterns, affine maps, half-spaces, radii and volumes against forward passes and programs."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.measures.regions import RegionSource
from tests.exact.cells.networks import COUNTS, case, forward_states, module, random_layers
from tests.exact.cells.reference import Tree, box
from tests.models import random_model, record

SHAPES = [(1, [4, 3]), (2, [4, 3]), (2, [5, 3]), (3, [4, 3]), (3, [3, 2])]
LAYERS = [random_layers(np.random.default_rng(7 + i), *shape) for i, shape in enumerate(SHAPES)]


@functools.cache
def program(number: int) -> nf.Program:
    """Random layers of all kinds, captured."""
    return nf.capture(module(LAYERS[number], outputs=2), shape=(SHAPES[number][0],))


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_laws_in_a_box(number: int) -> None:
    """Volumes add up to the box's; a forward pass at the point inside has the region's pattern; maps are the network."""
    layers, inputs, net = LAYERS[number], SHAPES[number][0], program(number)
    domain = nf.Box(-1.5, 2.0)
    regions = list(nf.enumerate_regions(net, domain))
    assert len({r.states.tobytes() for r in regions}) == len(regions) == int(nf.count_regions(net, domain))
    assert sum(r.volume() for r in regions) == pytest.approx(3.5**inputs, rel=1e-9)
    points = np.array([r.interior_point for r in regions])
    assert (forward_states(layers, points) == [r.states for r in regions]).all()
    with torch.no_grad():
        outputs = module(layers, outputs=2)(torch.from_numpy(points)).numpy()
    for region, point, output in zip(regions, points, outputs, strict=True):
        assert np.allclose(region.weight @ point + region.bias, output, rtol=1e-11, atol=1e-11)
        assert region.bounded
        assert [len(p) for p in region.pattern] == [layer.units for layer in layers]


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_half_spaces_are_the_region_and_minimal(number: int) -> None:
    """Points satisfy them where they have the pattern, and only there; without any one the region would be larger."""
    rng = np.random.default_rng(3)
    layers, inputs, net = LAYERS[number], SHAPES[number][0], program(number)
    points = rng.normal(0, 2, (400, inputs))
    states = forward_states(layers, points)
    regions = list(nf.enumerate_regions(net))
    assert len(regions) == int(nf.count_regions(net))
    for region in regions[:: max(1, len(regions) // 12)]:
        h = region.halfspaces
        slack = h.offsets - points @ h.normals.T
        clear = (np.abs(slack) > 1e-9).all(1)
        assert ((slack > 0).all(1) == (states == region.states).all(1))[clear].all()
        assert np.allclose(np.linalg.norm(h.normals, axis=1), 1)
        for i in range(len(h)):
            others = np.arange(len(h)) != i
            free: Any = [(None, None)] * inputs
            far = linprog(-h.normals[i], h.normals[others], h.offsets[others], bounds=free, method="highs")
            assert far.fun is None or -far.fun > h.offsets[i] + 1e-9
        for layer, unit, beyond in zip(h.layers, h.units, h.beyond, strict=True):
            assert beyond != region.pattern[layer][unit]


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_radii_and_boundedness(number: int) -> None:
    """The largest ball is that of a linear program; a region is bounded where programs in all directions are."""
    inputs = SHAPES[number][0]
    for region in list(nf.enumerate_regions(program(number)))[::3]:
        h = region.halfspaces
        if not len(h):
            assert (region.radius, region.bounded) == (np.inf, False)
            continue
        ones: Any = [(None, None)] * (inputs + 1)
        wide = np.column_stack([h.normals, np.ones(len(h))])
        ball = linprog(np.append(np.zeros(inputs), -1.0), wide, h.offsets, bounds=ones, method="highs")
        assert region.radius == (pytest.approx(-ball.fun, rel=1e-7) if ball.status == 0 else np.inf)
        reach = [
            linprog(sign * e, h.normals, h.offsets, bounds=ones[:-1], method="highs").status
            for e in np.eye(inputs)
            for sign in (1, -1)
        ]
        assert region.bounded == all(status == 0 for status in reach)
        assert np.isfinite(region.volume()) == region.bounded


def test_patterns_of_random_models() -> None:
    """Dense, residual and branching models with all activations: forward hooks see the region's pattern and output."""
    for seed in range(9):
        net, shape = random_model(seed, family=seed % 3)
        program = nf.capture(net, shape=shape)
        for region in itertools.islice(nf.enumerate_regions(program, nf.Box(-1.0, 1.0)), 0, 300, 23):
            patterns, _, output = record(net, region.interior_point[None])
            assert len(patterns) == len(region.pattern)
            assert np.allclose(region.weight @ region.interior_point + region.bias, output[0].numpy(), atol=1e-9)


def test_images() -> None:
    """Points, normals and weights have the shape of the model's input."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 3)).double().eval()
    regions = list(nf.enumerate_regions(net, shape=(1, 2, 2)))
    assert len(regions) == 4
    for region in regions:
        assert region.interior_point.shape == (1, 2, 2)
        assert region.weight.shape == (3, 1, 2, 2)
        assert region.halfspaces.normals.shape == (2, 1, 2, 2)
        assert not region.bounded
        output = net(torch.from_numpy(region.interior_point)[None])[0].detach().numpy()
        assert np.allclose(np.tensordot(region.weight, region.interior_point, 3) + region.bias, output)


def test_slivers() -> None:
    """Regions 1e-16 wide, which rounding made, have half-spaces, radii and neighbours of their own."""
    regions = list(nf.enumerate_regions(module(case("D3"))))
    assert len(regions) == COUNTS["D3"]
    radii = sorted(region.radius for region in regions)
    assert 0 < radii[0] < 1e-15
    assert all(1 <= len(region.halfspaces) <= 20 for region in regions)


def test_coincident_units_end_together() -> None:
    """Units that are the same up to a factor share their half-space, which is listed once with all of them."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        net[0].bias.copy_(torch.tensor([1.0, 2.0, 0.0]))
    regions = list(nf.enumerate_regions(net))
    assert len(regions) == 4
    for region in regions:
        assert sorted(region.halfspaces.together) == [((0, 0), (0, 1)), ((0, 2),)]


def test_a_region_as_a_domain() -> None:
    """The closure of a region, as a polytope, holds one region of its network; of another as many as cross it."""
    net = nf.capture(module(case("T1")), shape=(2,))
    for region in list(nf.enumerate_regions(net, nf.Box(-3.0, 3.0)))[::5]:
        inside = list(nf.enumerate_regions(net, region.polytope()))
        assert (region.states == [found.states for found in inside]).all(1).any()
        assert sum(found.volume() for found in inside) == pytest.approx(region.volume(), rel=1e-9)


def test_memory_stays_flat() -> None:
    """The first regions come before the others are found, and what waits meanwhile is a few items a unit."""
    source = RegionSource.of(nf.capture(module(case("R4")), shape=(5,)), None)
    decided, longest, run = [0], [0], source.engine.run

    def counting(item: Any, **options: Any) -> Any:
        found = run(item, **options)
        decided[0] += found.decisions
        longest[0] = max(longest[0], len(found.leftover))
        return found

    source.engine.run = counting  # type: ignore[method-assign]
    assert len(list(itertools.islice(source, 2000))) == 2000
    assert decided[0] < COUNTS["R4"] / 10
    assert 0 < longest[0] <= 36


def test_bad_input() -> None:
    """One clear error each, before the first region is asked for."""
    net = module(case("T1"))
    with pytest.raises(InvalidInputError, match="Box or a Polytope, or None, got Plane"):
        nf.enumerate_regions(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="shape"):
        nf.enumerate_regions(net, nf.Box(np.zeros(3), 1.0))
    wide = nn.Sequential(nn.Linear(9, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        wide[0].weight[:, 2:] = 0.0
    region = next(iter(nf.enumerate_regions(wide, nf.Box(0.0, 1.0))))
    assert region.bounded
    assert region.radius <= 0.5
    with pytest.raises(InvalidInputError, match="9"):
        region.volume()


def test_cells_of_the_reference() -> None:
    """Inradii in a box are those of an independent tree of linear programs."""
    layers = random_layers(np.random.default_rng(11), 2, [4, 4])
    tree = Tree(layers, box([-0.4, -0.4], [0.4, 0.4]))
    expected = {cell.pattern: cell.radius for cell in tree.leaves()}
    found = {tuple(r.states.tolist()): r.radius for r in nf.enumerate_regions(module(layers), nf.Box(-0.4, 0.4))}
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(expected[key], rel=1e-6) for key in found)
