"""`Partition`: how a network cuts a rectangle of a plane into regions, as a result that tabulates, plots and saves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import Positive, checked, whole
from netfold.arrays import Floats, Ints, numbers
from netfold.capture import Program
from netfold.errors import InvalidInputError
from netfold.exact.plane.layers import States, numbered, unpacked
from netfold.exact.plane.mesh import Mesh
from netfold.paths import Plane
from netfold.results import adjacency
from netfold.results.base import Record, Result, Variable, above, measured, plain, variable
from netfold.results.boundary import DecisionBoundary, boundary_of
from netfold.results.counts import status_of
from netfold.results.status import Certainty, Standing

if TYPE_CHECKING:
    import pandas as pd


INPUT = "units of the input space"


class PartitionLayer(Record):
    """What one nonlinearity does to the plane."""

    name: str = measured("module path of the nonlinearity")
    op: str = measured("its operation")
    units: int = measured("how many units it has")
    label: str = measured("what tables and pictures call it: the weights that lead to it, and its name")
    planes: int = measured("bits that the state of a unit takes in the stored patterns")
    selects: bool = measured(
        "whether a state is the number of the entry that wins, or of the knots below the pre-activation"
    )
    regions: int = measured("activation regions of the network cut off after the layer")
    edge_length: float = measured("length of the borders that the layer makes inside the rectangle", unit=INPUT)


class Polygons(Sequence[Floats]):
    """Polygons by number: corners in (a, b), counter-clockwise, shape ``(corners, 2)``."""

    def __init__(self, xy: Floats, start: Ints, loop: Ints) -> None:
        self.xy, self.start, self.loop = xy, start, loop

    def __len__(self) -> int:
        return len(self.start) - 1

    @overload
    def __getitem__(self, index: int) -> Floats: ...
    @overload
    def __getitem__(self, index: slice) -> list[Floats]: ...
    def __getitem__(self, index: int | slice) -> Floats | list[Floats]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"polygon {index} of {len(self)}")
        index %= len(self)
        return self.xy[self.loop[self.start[index] : self.start[index + 1]]]

    def __iter__(self) -> Iterator[Floats]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self):,} polygons>"


class Partition(Result):
    """The activation regions of a network on a rectangle of a plane.

    Regions are numbered from 0, so that those inside one region of an earlier layer follow each other. Coordinates
    are (a, b) of the plane; areas and lengths are Euclidean, in input space.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="relu", sigma_b=0.3, seed=0)
        >>> part = nf.partition_plane(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1))
        >>> part.regions == len(part.polygons)
        True
        >>> round(float(part.areas.sum()), 12)
        4.0
    """

    FORMAT = "netfold partition 1"

    plane: Plane = measured("the plane", told_by=lambda stored: _plane(stored))
    bounds: tuple[float, float, float, float] = measured("the rectangle: a from, a to, b from, b to")
    layers: tuple[PartitionLayer, ...] = measured(
        "one record a nonlinearity, in order", told_by=lambda stored: _layers(stored)
    )
    outputs: int = measured("number of outputs")
    mesh: Mesh = measured("vertices and polygons, cut by class too", told_by=lambda stored: _mesh(stored), repr=False)
    method: str = measured("how it was found")
    uncertain: int = measured("places where the partition rests on the tolerance or on rounding: exact where 0")
    margin: float = measured("the closest decision, as a share of the scale of the layer's values")
    counting_rule: str = measured("what was counted")
    resolved: int | None = measured(
        "places that float64 left open and exact arithmetic decided; None where it was not asked, because nothing was "
        "open or it would have taken long",
        default=None,
    )
    wanted: tuple[float, float, float, float] | None = measured(
        "the rectangle that was asked for, where a budget allowed a smaller one; None where it is this one",
        default=None,
    )
    stopped: str = measured("why it is smaller; empty where it is not", default="")
    provenance: dict[str, Any] = measured("model, versions, number type, time", default_factory=dict, compare=False)
    program: Program | None = field(default=None, compare=False, repr=False)

    plot = above("netfold.plots.partitions:plot")
    plot_layers = above("netfold.plots.partitions:plot_layers")
    explore = above("netfold.plots.explore:write")

    @property
    def regions(self) -> int:
        """How many activation regions there are."""
        return self.layers[-1].regions if self.layers else 1

    @property
    def regions_by_layer(self) -> Ints:
        """Activation regions of the network cut off after each layer, one entry a layer."""
        return np.array([layer.regions for layer in self.layers], np.int64)

    @property
    def status(self) -> Standing:
        """``exact``, also where it is proven, or what the partition rests on."""
        proven = self.resolved is not None and not self.uncertain
        found = Certainty.PROVEN.text() if proven else status_of(self.uncertain)
        if self.wanted is None:
            return found
        (left, right, bottom, top), (a, b, c, d) = self.bounds, self.wanted
        share = (right - left) * (top - bottom) / ((b - a) * (d - c))
        return Certainty.PARTIAL.text(f": {found} on {share:.2g} of the area, around its middle; {self.stopped}")

    @cached_property
    def region_of_piece(self) -> Ints:
        """The region of every polygon of the mesh, which is cut by class too."""
        return self._ancestors(len(self.layers) - 1)

    @cached_property
    def polygons(self) -> Polygons:
        """The regions as convex polygons in (a, b)."""
        return self.polygons_after(len(self.layers) - 1)

    def polygons_after(self, layer: int) -> Polygons:
        """The regions of the network cut off after a layer, counted from 0; -1 is the whole rectangle."""
        start, loop, _ = self.mesh.coarse(whole(layer, "layer", -1, len(self.layers) - 1))
        return Polygons(self.mesh.xy, start, loop)

    def ancestors(self, layer: int) -> Ints:
        """For every region, the number of the region after an earlier layer that it lies in."""
        layer = whole(layer, "layer", -1, len(self.layers) - 1)
        first = np.searchsorted(self.region_of_piece, np.arange(self.regions))
        return self._ancestors(layer)[first]

    @cached_property
    def areas(self) -> Floats:
        """Area of every region, in input space."""
        return np.bincount(self.region_of_piece, self.piece_areas, self.regions).astype(np.float64)

    @cached_property
    def piece_areas(self) -> Floats:
        """Area of every polygon of the mesh, which is cut by class too."""
        return self.mesh.areas() * abs(float(np.linalg.det(self.plane.frame)))

    @cached_property
    def classes(self) -> Ints:
        """Class of every polygon of the mesh: the largest output, or whether a single one is above 0."""
        words = self.mesh.states[:, sum(_words(layer) for layer in self.layers) :]
        bits = unpacked(words, words.shape[1], 1)[:, :, 0].astype(np.int64)
        return bits @ (1 << np.arange(bits.shape[1]))

    @cached_property
    def class_areas(self) -> dict[int, float]:
        """Area in input space of every class met, largest first."""
        found = np.bincount(self.classes, self.piece_areas)
        return {int(c): float(found[c]) for c in np.argsort(-found, kind="stable") if (self.classes == c).any()}

    @cached_property
    def class_of_region(self) -> Ints:
        """The class that takes most of each region."""
        order = np.lexsort((-self.piece_areas, self.region_of_piece))
        region = self.region_of_piece[order]
        return self.classes[order[np.append(True, region[1:] != region[:-1])]]

    @cached_property
    def states(self) -> list[States]:
        """State of every unit on every region: one array ``(regions, units)`` a layer.

        An elementwise unit's state is the number of its knots below its pre-activation; that of a maximum or a pool
        is the number of the entry that wins.
        """
        first = np.searchsorted(self.region_of_piece, np.arange(self.regions))
        words, at, found = self.mesh.states[first], 0, []
        for layer in self.layers:
            part = unpacked(words[:, at : at + _words(layer)], layer.planes, layer.units)
            found.append(numbered(part, layer.selects))
            at += _words(layer)
        return found

    def pattern(self, region: int) -> tuple[States, ...]:
        """The activation pattern of a region: the states of the units, one array a layer."""
        region = whole(region, "region", 0, self.regions - 1)
        return tuple(layer[region] for layer in self.states)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """A 128-bit hash of every region's pattern, ``(regions, 2)``: the XOR of keys of its units' states."""
        return adjacency.hash_states(self.states)

    @cached_property
    def neighbours(self) -> adjacency.Neighbours:
        """Pairs of regions with a common border: the unit and layer that part them, and the border's length."""
        return adjacency.neighbours(self.mesh, self.region_of_piece, len(self.layers) - 1, self.plane.frame)

    @cached_property
    def output_maps(self) -> tuple[Floats, Floats]:
        """The network's output on every region: ``offset + slope @ (a, b)``.

        Returns:
            Slopes ``(regions, outputs, 2)`` and offsets ``(regions, outputs)``.

        Raises:
            InvalidInputError: the partition was loaded from a file, which holds no network.
        """
        values = self._corner_values
        left, right, bottom, top = self.bounds
        slope_a = (values[:, 1] - values[:, 0]) / (right - left)
        slope_b = (values[:, 2] - values[:, 0]) / (top - bottom)
        return np.stack([slope_a, slope_b], -1), values[:, 0] - slope_a * left - slope_b * bottom

    @cached_property
    def linear_labels(self) -> Ints:
        """For every region, the number of the linear region it belongs to.

        Neighbours belong together where their affine maps differ, anywhere on the rectangle, by less than
        `adjacency.SAME` of the size of the output there.
        """
        return adjacency.merge_equal(self.neighbours, self._corner_values)

    @property
    def linear_regions(self) -> int:
        """How many linear regions there are: neighbours with one affine map count once."""
        return int(self.linear_labels.max()) + 1

    @cached_property
    def _corner_values(self) -> Floats:
        from netfold.exact.plane.maps import affine_values

        if self.program is None:
            raise InvalidInputError(
                "a partition loaded from a file holds no network, so it has no output maps; partition the plane again"
            )
        left, right, bottom, top = self.bounds
        points = self.plane(np.array([left, right, left]), np.array([bottom, bottom, top]))
        return affine_values(self.program, self.states, self.program.points(points))

    def decision_boundary(self) -> DecisionBoundary:
        """Where the class changes: exact segments, class regions, and distances to the boundary."""
        return self._boundary

    @cached_property
    def _boundary(self) -> DecisionBoundary:
        return boundary_of(self.mesh, self.classes, self.region_of_piece, self.piece_areas, self.plane.frame)

    @cached_property
    def outline_edges(self) -> tuple[Floats, Ints]:
        """Every border once: segments ``(edges, 2, 2)`` in (a, b), and the layer that made each."""
        twins, layer = self.mesh.twins(), self.mesh.edge_layers
        once = np.flatnonzero((twins >= 0) & (np.arange(len(twins)) < twins) & (layer < len(self.layers)))
        ends = np.stack([self.mesh.loop[once], self.mesh.heads[once]], 1)
        return self.mesh.xy[ends], layer[once]

    def region_at(self, points: Any) -> Ints:
        """The region that holds each point (a, b), ``(count, 2)``; -1 outside the rectangle."""
        piece = self.mesh.locate(coordinates(points))
        return np.where(piece >= 0, self.region_of_piece[piece], -1)

    @checked
    def density(self, points: Any, radius: Positive) -> adjacency.Density:
        """Regions per area near points of the plane against far from them; see `adjacency.Density`.

        Args:
            points: data points as (a, b), ``(count, 2)``; `Plane.coordinates` projects inputs.
            radius: how near is near, in input space.
        """
        return adjacency.density(self.centroids, self.areas, coordinates(points), radius, self.plane.frame)

    @cached_property
    def centroids(self) -> Floats:
        """Mean of every region's corners, ``(regions, 2)``: a point inside."""
        p = self.polygons
        sums = np.add.reduceat(p.xy[p.loop], p.start[:-1], axis=0)
        return sums / np.diff(p.start)[:, None]

    def _degrees(self) -> Ints:
        """Neighbours of every region."""
        found = self.neighbours
        return np.bincount(np.concatenate([found.first, found.second]), minlength=self.regions)

    def statistics(self) -> dict[str, float]:
        """Numbers about the partition: regions, areas, sides and neighbours per region, boundary length."""
        areas, sides, beside = self.areas, np.diff(self.polygons.start), self._degrees()
        boundary = self.decision_boundary()
        return {
            "regions": self.regions,
            "area": float(areas.sum()),
            "regions_per_area": self.regions / float(areas.sum()),
            "area_mean": float(areas.mean()),
            "area_median": float(np.median(areas)),
            "area_smallest": float(areas.min()),
            "area_largest": float(areas.max()),
            "sides_mean": float(sides.mean()),
            "sides_most": int(sides.max()),
            "neighbours_mean": float(beside.mean()),
            "neighbours_most": int(beside.max()),
            "boundary_segments": len(boundary.segments),
            "boundary_length": boundary.length,
            "class_regions": len(boundary.region_areas),
            "classes": len(self.class_areas),
        }

    def to_dataframe(self) -> pd.DataFrame:
        """One row a region: area, corners, neighbours, perimeter inside, class, centroid, regions of earlier layers."""
        import pandas as pd

        center = self.centroids
        frame = pd.DataFrame(
            {
                "area": self.areas,
                "sides": np.diff(self.polygons.start),
                "neighbours": self._degrees(),
                "class": self.class_of_region,
                "a": center[:, 0],
                "b": center[:, 1],
            }
        )
        for number in range(len(self.layers) - 1):
            frame[f"region_after_{number + 1}"] = self.ancestors(number)
        return frame.rename_axis("region")

    def to_dict(self) -> dict[str, Any]:
        """The numbers, for JSON: layers, statistics and areas of classes; not the regions one by one."""
        names = (
            "regions",
            "regions_by_layer",
            "bounds",
            "status",
            "uncertain",
            "resolved",
            "margin",
            "counting_rule",
            "provenance",
        )
        layers = [{name: getattr(x, name) for name in ("name", "op", "units", "edge_length")} for x in self.layers]
        found = {name: getattr(self, name) for name in names}
        return plain({**found, "layers": layers, "statistics": self.statistics(), "class_areas": self.class_areas})

    def _shown(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame([layer.to_dict() for layer in self.layers])

    def _more(self) -> dict[str, Variable]:
        mesh, plane = self.mesh, self.plane
        edges = np.array([layer.edge_length for layer in self.layers], np.float64)
        spans = np.stack([w.ravel() for w in (plane.origin, plane.u, plane.v)])
        made = "what made the edge to the next vertex: layer * 2^32 + unit; -1 to -4 for the rectangle's sides"
        within = "number of the region each polygon lies in after every layer; last by class"
        return {
            "vertices": variable(mesh.xy, "coordinates (a, b) of every vertex", ("vertex", "coordinate")),
            "made": variable(mesh.made, "layer that made the vertex, from 0; -1 for a corner", ("vertex",)),
            "loop": variable(
                mesh.loop, "vertices of the polygons, counter-clockwise, one polygon after the other", ("edge",)
            ),
            "label": variable(mesh.label, made, ("edge",)),
            "corners": variable(np.diff(mesh.start), "how many of them each polygon has", ("polygon",)),
            "ancestor": variable(mesh.ids, within, ("polygon", "stage")),
            "states": variable(mesh.states, "bits of the states of all units, plane by plane", ("polygon", "word")),
            "region": variable(self.region_of_piece, "region of every polygon", ("polygon",)),
            "class": variable(self.classes, "class of every polygon", ("polygon",)),
            "area": variable(self.areas, "area of every region", ("region_number",), f"squared {INPUT}"),
            "regions": variable(
                self.regions_by_layer, "activation regions of the network cut off after the layer", ("layer",)
            ),
            "edge_length": variable(edges, "length of the borders that the layer makes", ("layer",), INPUT),
            "plane": variable(spans, "origin, u and v, flattened", ("direction", "feature"), INPUT),
        }

    def _attributes(self) -> dict[str, Any]:
        names = ("name", "op", "units", "label", "planes", "selects")
        layers = json.dumps([{name: getattr(layer, name) for name in names} for layer in self.layers])
        plane = {"plane_bounds": list(self.plane.bounds), "input_shape": list(self.plane.shape)}
        return {**super()._attributes(), **plane, "layers": layers, "status": str(self.status)}

    def __repr__(self) -> str:
        what = f" of {self.provenance['model']}" if "model" in self.provenance else ""
        lines = [f"Partition{what}: {self.regions:,} regions ({self.status})"]
        width = max([5, *(len(layer.label) for layer in self.layers)])
        lines.append(f"  {'layer':<{width}}  {'op':<12} {'units':>7} {'regions':>10} {'edge length':>12}")
        lines += [
            f"  {layer.label:<{width}}  {layer.op:<12} {layer.units:>7} {layer.regions:>10,} {layer.edge_length:>12.4g}"
            for layer in self.layers
        ]
        return "\n".join([*lines, f"counted: {self.counting_rule}"])

    def _ancestors(self, layer: int) -> Ints:
        return self.mesh.ids[:, layer] if layer >= 0 else np.zeros(len(self.mesh.ids), np.int64)


def coordinates(points: Any) -> Floats:
    """Points (a, b) of a plane, one a row; one point is a row of its own."""
    found = np.atleast_2d(numbers(points, "points"))
    if found.ndim != 2 or found.shape[1] != 2 or not len(found):
        raise InvalidInputError(f"points must be coordinates (a, b), shape (count, 2), got shape {found.shape}")
    return found


def _words(layer: PartitionLayer) -> int:
    return layer.planes * -(-layer.units // 64)


def _plane(stored: Mapping[str, Any]) -> Plane:
    shape = tuple(int(n) for n in np.atleast_1d(stored["input_shape"]))
    left, right, bottom, top = (float(x) for x in stored["plane_bounds"])
    origin, u, v = (row.reshape(shape) for row in stored["plane"])
    return Plane(origin, u, v, (left, right, bottom, top))


def _layers(stored: Mapping[str, Any]) -> tuple[PartitionLayer, ...]:
    numbers = zip(json.loads(stored["layers"]), stored["regions"], stored["edge_length"], strict=True)
    return tuple(PartitionLayer(**one, regions=int(regions), edge_length=float(x)) for one, regions, x in numbers)


def _mesh(stored: Mapping[str, Any]) -> Mesh:
    start = np.concatenate([[0], np.cumsum(stored["corners"])])
    names = ("vertices", "made", "loop", "label", "ancestor", "states")
    xy, made, loop, label, ids, states = (stored[name] for name in names)
    mesh = Mesh(xy, made, start, loop, label, ids, states)
    _require_sound(mesh, regions=len(stored["area"]), layers=len(stored["regions"]))
    return mesh


def _require_sound(mesh: Mesh, regions: int, layers: int) -> None:
    """Every number that stands for a place in another array is one: compiled code looks there without asking."""
    pieces = len(mesh.start) - 1
    places = [(mesh.loop, len(mesh.xy)), (mesh.ids, pieces), (mesh.ids[:, :layers], regions)]
    inside = all(not array.size or 0 <= array.min() <= array.max() < most for array, most in places)
    whole = mesh.start[-1] == len(mesh.loop) and (not pieces or np.diff(mesh.start).min() > 0)
    if not inside or not whole or mesh.ids.shape != (pieces, layers + 1):
        raise ValueError("its polygons name vertices or regions that it does not hold")
