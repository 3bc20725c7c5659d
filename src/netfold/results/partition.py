"""`Partition`: how a network cuts a rectangle of a plane into regions, as a result that tabulates, plots and saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netfold.exact.plane.layers import States
from netfold.exact.plane.mesh import Mesh

if TYPE_CHECKING:
    import pandas as pd

import os
from collections.abc import Iterator
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from netfold.capture import Program
from netfold.errors import InvalidInputError
from netfold.exact.plane.layers import numbered, unpacked
from netfold.paths import Plane
from netfold.results import adjacency
from netfold.results.boundary import DecisionBoundary, boundary_of
from netfold.results.counts import status_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Color = Literal["class", "layer", "area", "output", "density"]


@dataclass(frozen=True)
class PartitionLayer:
    """What one nonlinearity does to the plane.

    Attributes:
        name: module path of the nonlinearity, and ``op`` the operation.
        units: how many units it has.
        planes: bits that the state of a unit takes in the stored patterns.
        selects: whether a state is the number of the entry that wins, or of the knots below the pre-activation.
        regions: activation regions of the network cut off after this layer.
        edge_length: Euclidean length, in input space, of the borders that this layer makes inside the rectangle.
    """

    name: str
    op: str
    units: int
    planes: int
    selects: bool
    regions: int
    edge_length: float

    @property
    def label(self) -> str:
        """What a reader calls the layer: its module path, or the operation where that is only a number."""
        return self.op if self.name.isdigit() else self.name


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


@dataclass(frozen=True, eq=False)
class Partition:
    """The activation regions of a network on a rectangle of a plane.

    Regions are numbered from 0, so that those inside one region of an earlier layer follow each other. Coordinates
    are (a, b) of the plane; areas and lengths are Euclidean, in input space.

    Attributes:
        plane: the plane, and ``bounds`` the rectangle (a from, a to, b from, b to).
        layers: one record a nonlinearity, in order.
        outputs: number of outputs.
        mesh: vertices and polygons, cut by class too.
        method: how it was found.
        uncertain: places where the partition rests on the tolerance or on rounding: exact where 0.
        margin: the closest decision, as a share of the scale of the layer's values.
        counting_rule: what was counted.
        provenance: model, versions, number type, time.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="relu", sigma_b=0.3, seed=0)
        >>> part = nf.partition_plane(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1))
        >>> part.regions == len(part.polygons)
        True
        >>> round(float(part.areas.sum()), 12)
        4.0
    """

    plane: Plane
    bounds: tuple[float, float, float, float]
    layers: tuple[PartitionLayer, ...]
    outputs: int
    mesh: Mesh = field(repr=False)
    method: str
    uncertain: int
    margin: float
    counting_rule: str
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)
    program: Program | None = field(default=None, compare=False, repr=False)

    @property
    def regions(self) -> int:
        """How many activation regions there are."""
        return self.layers[-1].regions if self.layers else 1

    @property
    def regions_by_layer(self) -> Ints:
        """Activation regions of the network cut off after each layer, one entry a layer."""
        return np.array([layer.regions for layer in self.layers], np.int64)

    @property
    def status(self) -> str:
        """``exact``, or what the partition rests on."""
        return status_of(self.uncertain)

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
        if not -1 <= layer < len(self.layers):
            raise InvalidInputError(f"layer must be from -1 to {len(self.layers) - 1}, got {layer}")
        start, loop, _ = self.mesh.coarse(layer)
        return Polygons(self.mesh.xy, start, loop)

    def ancestors(self, layer: int) -> Ints:
        """For every region, the number of the region after an earlier layer that it lies in."""
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
        piece = self.mesh.locate(np.atleast_2d(np.asarray(points, np.float64)))
        return np.where(piece >= 0, self.region_of_piece[piece], -1)

    def density(self, points: Any, radius: float) -> adjacency.Density:
        """Regions per area near points of the plane against far from them; see `adjacency.Density`.

        Args:
            points: data points as (a, b), ``(count, 2)``; `Plane.coordinates` projects inputs.
            radius: how near is near, in input space.
        """
        near = np.atleast_2d(np.asarray(points, np.float64))
        return adjacency.density(self.centroids, self.areas, near, radius, self.plane.frame)

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

    def to_xarray(self) -> xr.Dataset:
        """The partition as a dataset: vertices, polygons, states, layers, with units in the attributes."""
        from netfold.results import partition_files

        return partition_files.dataset(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the partition to a netCDF-4 file, whole or not at all.

        Raises:
            InvalidInputError: the folder does not exist.
        """
        from netfold.results import partition_files

        partition_files.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Partition:
        """Read a partition that `save` wrote; it holds all but the network, so it has no output maps.

        Raises:
            FileNotFoundError: there is no such file.
            UntrustedFileError: the file is a pickle.
            CorruptFileError: the file is damaged, or holds something else.
        """
        from netfold.results import partition_files

        return partition_files.read(path)

    def plot(self, color: Color = "class", ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the regions: see `netfold.plots.partitions.plot`.

        Args:
            color: ``class``, ``layer`` (borders by the layer that made them), ``area``, ``output`` or ``density``.
            ax: where to draw; a new figure by default.
            options: further arguments of `netfold.plots.partitions.plot`.

        Returns:
            The axes drawn on.
        """
        from netfold.plots import partitions

        return partitions.plot(self, color, ax, **options)

    def plot_layers(self, **options: Any) -> NDArray[Any]:
        """Draw the borders of layer 1, of layers 1 and 2, and so on, side by side (Raghu et al. 2017, figure 1)."""
        from netfold.plots import partitions

        return partitions.plot_layers(self, **options)

    def explore(self, path: str | os.PathLike[str] = "partition.html") -> None:
        """Write an interactive page that needs no network: pan, zoom, hover, layers switched on and off.

        Args:
            path: the page to write.
        """
        from netfold.plots import explore

        explore.write(self, path)

    def __repr__(self) -> str:
        what = f" of {self.provenance['model']}" if "model" in self.provenance else ""
        lines = [f"Partition{what}: {self.regions:,} regions ({self.status})"]
        width = max([5, *(len(layer.name) for layer in self.layers)])
        lines.append(f"  {'layer':<{width}}  {'op':<12} {'units':>7} {'regions':>10} {'edge length':>12}")
        lines += [
            f"  {layer.name:<{width}}  {layer.op:<12} {layer.units:>7} {layer.regions:>10,} {layer.edge_length:>12.4g}"
            for layer in self.layers
        ]
        return "\n".join([*lines, f"counted: {self.counting_rule}"])

    def _ancestors(self, layer: int) -> Ints:
        return self.mesh.ids[:, layer] if layer >= 0 else np.zeros(len(self.mesh.ids), np.int64)


def _words(layer: PartitionLayer) -> int:
    return layer.planes * -(-layer.units // 64)
