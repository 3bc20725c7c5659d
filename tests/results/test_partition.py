"""The results of a partition: boundary, neighbours, linear regions, maps, statistics, files; a convolution on digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import netfold as nf
from netfold.errors import CorruptFileError, InvalidInputError, NotPiecewiseLinearError, UntrustedFileError
from netfold.results.counts import CountResult
from tests.exact.plane.cases import AXES, sequential, square
from tests.exact.plane.test_tracer import require_sound
from tests.models import random_model, record

UNIT = (-1.0, 1.0, -1.0, 1.0)


def quadrants() -> nn.Sequential:
    """|x| - |y| + 1/2 as ReLUs: four quadrants, a boundary of four diagonal segments."""
    rows = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    return sequential([(rows, np.zeros(4)), (np.array([[1.0, 1.0, -1.0, -1.0]]), np.array([0.5]))])


def test_a_known_boundary() -> None:
    """|y| = |x| + 1/2: two wedges of class 0, their area, length and distances in closed form."""
    part = nf.partition_plane(quadrants(), AXES, UNIT)
    edge = part.decision_boundary()
    assert part.regions == 4
    assert len(edge.segments) == 4
    assert edge.length == pytest.approx(4 * np.sqrt(0.5))
    assert part.class_areas == pytest.approx({1: 3.5, 0: 0.5})
    assert sorted(edge.region_classes.tolist()) == [0, 0, 1]
    assert sorted(edge.region_areas) == pytest.approx([0.25, 0.25, 3.5])
    assert edge.distance([0.0, 0.0]) == pytest.approx(0.5)
    distance, place = edge.nearest([[0.0, 1.0], [1.0, 0.0]])
    assert distance == pytest.approx([np.sqrt(0.125), np.hypot(0.75, 0.75)])
    assert np.abs(np.abs(place[:, 1]) - np.abs(place[:, 0]) - 0.5).max() < 1e-15
    assert set(map(tuple, edge.classes.tolist())) <= {(0, 1), (1, 0)}


def test_lengths_are_those_of_input_space() -> None:
    """On an oblique, stretched plane, areas, lengths and distances are Euclidean in input space."""
    plane = nf.Plane([-1.0, -1.0], [2.0, 0.0], [1.0, 2.0])
    part = nf.partition_plane(quadrants(), plane, (-1.0, 2.0, 0.0, 1.0))
    assert part.areas.sum() == pytest.approx(3 * 4.0)
    inside = plane.coordinates([[0.0, 0.9]])
    assert part.decision_boundary().distance(inside) == pytest.approx([0.4 / np.sqrt(2)])
    found = part.neighbours
    assert found.length.sum() == pytest.approx(part.layers[0].edge_length)


def test_neighbours_differ_in_the_named_unit() -> None:
    """Across a border exactly the named unit of the named layer changes first; later layers may follow."""
    net, plane = square("P1")
    part = nf.partition_plane(net, plane)
    found = part.neighbours
    for i in range(0, len(found), 7):
        first, second = part.pattern(int(found.first[i])), part.pattern(int(found.second[i]))
        layers = [j for j, (a, b) in enumerate(zip(first, second, strict=True)) if (a != b).any()]
        assert layers == [found.layer[i]]
        assert np.flatnonzero(first[layers[0]] != second[layers[0]]).tolist() == [found.unit[i]]
    pairs = {tuple(sorted(p)) for p in zip(found.first.tolist(), found.second.tolist(), strict=True)}
    assert len(pairs) == len(found)
    assert found.length.sum() == pytest.approx(sum(layer.edge_length for layer in part.layers))


def test_nested_layers() -> None:
    """Every region lies in its ancestor: areas add up, and ancestors are consecutive."""
    net, plane = square("P1")
    part = nf.partition_plane(net, plane)
    for layer in range(3):
        ancestor = part.ancestors(layer)
        assert (np.diff(ancestor) >= 0).all()
        polygons = part.polygons_after(layer)
        x, y = (polygons.xy[polygons.loop][:, k] for k in range(2))
        ahead = np.arange(1, len(x) + 1)
        ahead[polygons.start[1:] - 1] = polygons.start[:-1]
        areas = np.add.reduceat(x * y[ahead] - y * x[ahead], polygons.start[:-1]) / 2 * 4
        assert np.bincount(ancestor, part.areas) == pytest.approx(areas, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("dead", "linear"), [(True, 1), (False, 2)])
def test_linear_regions_merge_equal_maps(dead: bool, linear: int) -> None:
    """A unit whose output weight is 0 parts activation regions but no linear ones."""
    net = sequential([(np.array([[1.0, 0.2]]), np.zeros(1)), (np.array([[0.0 if dead else 1.0]]), np.ones(1))])
    part = nf.partition_plane(net, AXES, UNIT)
    assert (part.regions, part.linear_regions) == (2, linear)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_classes_are_those_of_forward_passes(seed: int) -> None:
    """Away from the boundary, the class of the piece that holds a point is the class of the forward pass."""
    model, shape = random_model(seed)
    if np.prod(shape) < 2:
        return
    plane = nf.Plane(*np.random.default_rng(seed).normal(size=(3, *shape)))
    part = nf.partition_plane(model, plane, UNIT)
    points = np.random.default_rng(seed).uniform(-1, 1, (500, 2))
    y = record(model, plane(points[:, 0], points[:, 1]))[2].numpy()
    if y.shape[1] == 1:
        y = np.hstack([np.zeros_like(y), y])
    top = np.sort(y, axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-9 * (1 + np.abs(y).max())
    found = part.classes[part.mesh.locate(points)]
    assert np.array_equal(found[clear], y.argmax(1)[clear])
    boundary = part.decision_boundary()
    assert boundary.region_areas.sum() == pytest.approx(part.areas.sum())
    for segment in boundary.segments[:20]:
        middle = segment.mean(0)
        y = np.sort(record(model, plane(middle[:1], middle[1:]))[2].numpy()[0])
        assert len(y) == 1 or y[-1] - y[-2] < 1e-8 * (1 + np.abs(y).max())


def test_a_convolution_with_pooling_on_digits() -> None:
    """Through three digits: exact, checked by forward passes on 10^5 random points."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(24, 10),
    ).double().eval()  # fmt: skip
    images = load_digits().images[[0, 1, 2], None] / 16.0
    plane = nf.Plane.through(*images)
    part = nf.partition_plane(net, plane)
    count = nf.count_regions(net, plane)
    assert list(count.by_layer) == part.regions_by_layer.tolist()
    require_sound(part)
    left, right, bottom, top = part.bounds
    rng, matched, shared = np.random.default_rng(0), 0, {}
    slope, offset = part.output_maps
    for _ in range(10):
        points = rng.uniform([left, bottom], [right, top], (10_000, 2))
        region = part.region_at(points)
        assert (region >= 0).all()
        with torch.no_grad():
            x = torch.from_numpy(plane(points[:, 0], points[:, 1]))
            relu, pooled = net[:2](x), net[:4](x)
            y = net(x).numpy()
        bits = np.hstack([(relu.flatten(1) > 0).numpy(), (pooled.flatten(1) > 0).numpy()])
        states = np.hstack([part.states[0][region], part.states[2][region]])
        matched += (bits == states).all(1).sum()
        expected = offset[region] + np.einsum("rka,ra->rk", slope[region], points)
        assert np.abs(expected - y).max() < 1e-10
        shared.update(dict.fromkeys(region.tolist()))
    assert matched == 10**5
    big = part.areas > 1e-4 * part.areas.sum()
    assert set(np.flatnonzero(big)) <= set(shared)


def test_a_maximum_of_many_entries() -> None:
    """States beyond 255 are numbered right: the winner of 300 planes is that of the forward pass."""
    angle = np.linspace(0.01, 2 * np.pi, 300, endpoint=False)

    class Most(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.planes = sequential([(np.stack([np.cos(angle), np.sin(angle)], 1), np.zeros(300))])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.planes(x).amax(1, keepdim=True) - 1.0

    part = nf.partition_plane(Most().eval(), AXES, (0.1, 1.0, -1.0, 1.0))
    y = part.centroids @ np.stack([np.cos(angle), np.sin(angle)])
    assert np.array_equal(part.states[0][:, 0], y.argmax(1))
    assert part.states[0].max() > 255
    slope, offset = part.output_maps
    assert np.einsum("rka,ra->rk", slope, part.centroids)[:, 0] + offset[:, 0] == pytest.approx(y.max(1) - 1.0)


def test_save_and_load(tmp_path: Path) -> None:
    """A loaded partition is the saved one, without the network."""
    net, plane = square("P1")
    part = nf.partition_plane(net, plane)
    part.save(tmp_path / "part.nc")
    back = nf.Partition.load(tmp_path / "part.nc")
    assert repr(back) == repr(part)
    assert back.layers == part.layers
    assert np.array_equal(back.areas, part.areas)
    assert np.array_equal(back.hashes, part.hashes)
    assert np.array_equal(back.mesh.xy, part.mesh.xy)
    assert np.array_equal(back.decision_boundary().segments, part.decision_boundary().segments)
    assert back.provenance == part.provenance
    assert back.bounds == part.bounds
    with pytest.raises(InvalidInputError, match="holds no network"):
        back.output_maps  # noqa: B018


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """A pickle, an empty file and a saved trace are refused, each by its own error."""
    (tmp_path / "a.nc").write_bytes(b"\x80\x04abc")
    (tmp_path / "b.nc").write_bytes(b"")
    net, _ = square("P1")
    nf.trace_path(net, nf.Line([0.0, 0.0], [1.0, 1.0])).save(tmp_path / "c.nc")
    with pytest.raises(UntrustedFileError):
        nf.Partition.load(tmp_path / "a.nc")
    with pytest.raises(CorruptFileError, match="empty"):
        nf.Partition.load(tmp_path / "b.nc")
    with pytest.raises(CorruptFileError, match="partition"):
        nf.Partition.load(tmp_path / "c.nc")


def test_tables_and_statistics() -> None:
    """Tables and data sets hold what the result holds; sides and neighbours agree inside the rectangle."""
    net, plane = square("P1")
    part = nf.partition_plane(net, plane)
    frame = part.to_dataframe()
    assert len(frame) == part.regions
    assert frame["area"].sum() == pytest.approx(4.0)
    assert (frame["neighbours"] <= frame["sides"]).all()
    assert frame["neighbours"].sum() == 2 * len(part.neighbours)
    found = part.statistics()
    assert found["regions"] == part.regions
    assert found["area"] == pytest.approx(4.0)
    assert found["classes"] == 2
    data = part.to_xarray()
    assert float(data["area"].sum()) == pytest.approx(4.0)
    assert all("units" in data[name].attrs for name in data.data_vars)


def test_density_near_points() -> None:
    """Near and far regions and areas add up; a radius that takes all leaves no far side."""
    net, plane = square("P1")
    part = nf.partition_plane(net, plane)
    some = part.density([[0.5, 0.5], [0.2, 0.8]], radius=0.3)
    assert some.near_regions + some.far_regions == part.regions
    assert some.near_area + some.far_area == pytest.approx(4.0)
    assert some.near == pytest.approx(some.near_regions / some.near_area)
    every = part.density([0.5, 0.5], radius=10.0)
    assert every.near_regions == part.regions
    assert np.isnan(every.far)


def test_plane_through_three_points() -> None:
    """The three points lie where it says, on square coordinates, inside its rectangle."""
    a, b, c = np.random.default_rng(0).normal(size=(3, 2, 3))
    plane = nf.Plane.through(a, b, c)
    where = plane.coordinates(np.stack([a, b, c]))
    assert where[:2] == pytest.approx(np.array([[0.0, 0.0], [1.0, 0.0]]))
    assert plane(where[:, 0], where[:, 1]) == pytest.approx(np.stack([a, b, c]))
    assert np.vdot(plane.u, plane.v) == pytest.approx(0.0, abs=1e-12)
    assert np.linalg.norm(plane.u) == pytest.approx(np.linalg.norm(plane.v))
    left, right, bottom, top = plane.bounds
    assert ((where > [left, bottom]) & (where < [right, top])).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nf.Plane([0.0, 0.0], [1.0, 1.0], [2.0, 2.0]), "different directions"),
        (lambda: nf.Plane([0.0, 0.0], [0.0, 0.0], [2.0, 2.0]), "different directions"),
        (lambda: nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0]), "one shape"),
        (lambda: nf.Plane([0.0, np.nan], [1.0, 0.0], [0.0, 1.0]), "origin must be finite"),
        (lambda: nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], (1, 0, 0, 1)), "bounds must have a from < a to"),
        (lambda: nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], (0, 1)), "four numbers"),  # type: ignore[arg-type]
        (lambda: nf.Plane.through([0.0, 0.0], [1.0, 0.0], [2.0, 0.0]), "one line"),
        (lambda: nf.Plane.through([0.0, 0.0], [0.0, 0.0], [2.0, 0.0]), "one line"),
        (lambda: nf.partition_plane(quadrants(), nf.Line([0.0, 0.0], [1.0, 1.0])), "plane must be a Plane"),  # type: ignore[arg-type]
        (lambda: nf.count_regions(quadrants(), 3), "on a Plane or on a path"),  # type: ignore[arg-type]
        (lambda: nf.count_regions(quadrants(), nf.Line([0.0, 0.0], [1.0, 1.0]), UNIT), "bounds belong"),
        (lambda: nf.partition_plane(quadrants(), AXES).polygons_after(3), "layer must be"),
    ],
)
def test_bad_input(make, says: str) -> None:  # type: ignore[no-untyped-def]
    """One error that says what is wrong."""
    with pytest.raises(InvalidInputError, match=says):
        make()


def test_smooth_networks_are_refused() -> None:
    """Exact methods name the operation they cannot follow."""
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).eval()
    for verb in (nf.partition_plane, nf.count_regions):
        with pytest.raises(NotPiecewiseLinearError, match="tanh"):
            verb(net, AXES)


def test_counts_on_paths() -> None:
    """A path's count is that of its trace."""
    net, _ = square("P1")
    line = nf.Line([-1.0, -1.0], [1.0, 0.7])
    count = nf.count_regions(net, line)
    assert isinstance(count, CountResult)
    assert int(count) == nf.trace_path(net, line).regions == count.by_layer[-1]


def test_the_model_is_left_as_it_was() -> None:
    """Mode, parameters and gradients, number type and random state are untouched."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.get_rng_state()
    nf.partition_plane(net, AXES)
    nf.count_regions(net, AXES)
    assert torch.equal(torch.get_rng_state(), state)
    assert not net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert next(net.parameters()).dtype == torch.float32
