"""Which regions lie beside which, and which of them are one linear region."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from netfold.arguments import checked
from netfold.arrays import Ints
from netfold.capture import Model
from netfold.domains import Domain
from netfold.exact.cells.counting.checkpoint import digest
from netfold.exact.regions.crossing import beyond
from netfold.exact.regions.faces import WALL, bars, faces_of, reduced, sides_of
from netfold.exact.regions.maps import Affine, RegionMaps
from netfold.measures.regions import Region, RegionSource, require_cells
from netfold.results.base import Record, Tabular, measured
from netfold.results.provenance import provenance
from netfold.results.status import Certainty, Standing

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


CLOSE = 1e-9
"""Affine maps that differ by less than this share of their size are compared exactly."""

GRAPH_RULE = (
    "activation regions are neighbours where they share a face, a border of one dimension less; linear regions are "
    "activation regions joined across faces where the output's affine maps are equal, exactly on the stored weights"
)


class RegionGraph(Tabular, Record):
    """The regions of a domain with their neighbours.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> net[0].weight.data, net[0].bias.data = torch.ones(3, 1), torch.tensor([-1.0, 0.0, 1.0])
        >>> net[2].weight.data = torch.tensor([[1.0, 0.0, 2.0]])
        >>> found = nf.region_graph(net)
        >>> found.activation_regions, found.linear_regions, found.graph.number_of_edges()
        (4, 3, 3)
    """

    regions: tuple[Region, ...] = measured("the activation regions, in the order of `enumerate_regions`", ("region",))
    first: Ints = measured("one region of every pair of neighbours, the one that comes first", ("pair",))
    second: Ints = measured("the other one", ("pair",))
    layers: Ints = measured("the layer, from 0, of the unit whose state changes between them", ("pair",))
    units: Ints = measured("that unit; where several change at one face, the first of them", ("pair",))
    changes: Ints = measured("how many units change", ("pair",))
    linear_labels: Ints = measured("linear region of every activation region, numbered from 0", ("region",))
    uncertain: int = measured(
        "whether numbers are so large or small that regions may be wrong (1), or all is exact (0)", default=0
    )
    counting_rule: str = measured("what counts as a neighbour and as a linear region", default=GRAPH_RULE)
    provenance: dict[str, Any] = measured(
        "model, versions, number type, time", default_factory=dict, compare=False, repr=False
    )

    @property
    def activation_regions(self) -> int:
        """The number of activation regions."""
        return len(self.regions)

    @property
    def linear_regions(self) -> int:
        """The number of linear regions."""
        return int(self.linear_labels.max(initial=-1)) + 1

    @property
    def status(self) -> Standing:
        """``exact``, or what the regions rest on."""
        if self.uncertain:
            return Certainty.RANGE.text("; weights are so large or small that products may")
        return Certainty.EXACT.text()

    @cached_property
    def graph(self) -> nx.Graph:
        """The adjacency graph: nodes 0, 1, ... with ``region`` and ``linear``; edges with ``layer`` and ``unit``."""
        import networkx as nx

        made = nx.Graph()
        for number, (region, label) in enumerate(zip(self.regions, self.linear_labels.tolist(), strict=True)):
            made.add_node(number, region=region, linear=label)
        for a, b, layer, unit, count in self._edges:
            made.add_edge(a, b, layer=layer, unit=unit, changes=count)
        return made

    @cached_property
    def linear_graph(self) -> nx.Graph:
        """The adjacency graph of linear regions: nodes with the ``regions`` that they are made of."""
        import networkx as nx

        made = nx.Graph()
        for label in range(self.linear_regions):
            made.add_node(label, regions=np.flatnonzero(self.linear_labels == label).tolist())
        labels = self.linear_labels
        made.add_edges_from((int(labels[a]), int(labels[b])) for a, b, *_ in self._edges if labels[a] != labels[b])
        return made

    def to_dataframe(self) -> pd.DataFrame:
        """One row a pair of neighbours."""
        import pandas as pd

        names = ("first", "second", "layers", "units", "changes")
        columns = {name.removesuffix("s") if name != "changes" else name: getattr(self, name) for name in names}
        return pd.DataFrame(columns)

    @property
    def _edges(self) -> list[tuple[int, int, int, int, int]]:
        columns = (self.first, self.second, self.layers, self.units, self.changes)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def __repr__(self) -> str:
        return (
            f"<{self.activation_regions:,} activation regions, {len(self.first):,} pairs of neighbours, "
            f"{self.linear_regions:,} linear regions ({self.status})>"
        )


@checked
def region_graph(model: Model, domain: Domain = None, *, shape: Sequence[int] | None = None) -> RegionGraph:
    """Find which activation regions share a face, and join those with one affine map into linear regions.

    All regions are kept, and each one's faces take a small linear program for every unit, so this is for thousands
    of regions, where counting is for millions.

    Args:
        model: a piecewise-linear module in evaluation mode, or a captured program.
        domain: ``None`` for all of R^m, a `Box` or a `Polytope`.
        shape: the shape of one input; needed where neither the domain nor the first layer tells it.

    Returns:
        The regions and their neighbours.

    Raises:
        InvalidInputError: the domain is of another kind or does not fit the model.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        NotExplicitError: an operation has no matrix with known coefficients.
        CaptureError: the model cannot be captured.
    """
    from netfold.measures.counts import program_on

    require_cells(domain, "neighbours are found")
    source = RegionSource.of(program_on(model, domain, shape), domain)
    regions = tuple(source)
    number = {region.states.tobytes(): i for i, region in enumerate(regions)}
    edges: dict[tuple[int, int], tuple[int, int, int]] = {}
    outputs: list[Affine] = []
    for i, region in enumerate(regions):
        maps = RegionMaps(source.network.form, region.states)
        outputs.append(maps.output)
        for states, (layer, unit) in _neighbours(source, region, maps, number):
            j = number[states.tobytes()]
            count = int((states != region.states).sum())
            edges.setdefault((min(i, j), max(i, j)), (layer, unit, count))
    pairs = sorted(edges)
    first, second = (np.array([pair[k] for pair in pairs], np.int64) for k in (0, 1))
    layers, units, changes = (np.array([edges[pair][k] for pair in pairs], np.int64) for k in (0, 1, 2))
    labels = _linear(source, regions, outputs, first, second)
    made = provenance(source.program)
    extreme = int(source.network.extreme)
    return RegionGraph(regions, first, second, layers, units, changes, labels, uncertain=extreme, provenance=made)


def _neighbours(
    source: RegionSource, region: Region, maps: RegionMaps, known: dict[bytes, int]
) -> list[tuple[NDArray[np.int16], tuple[int, int]]]:
    """States beyond every face of a region, and the unit that the face belongs to."""
    sides = sides_of(source.network.form, maps, source.walls)
    faces = faces_of(maps, sides, reduced(sides, region.interior_point.reshape(-1)))
    found: list[tuple[NDArray[np.int16], tuple[int, int]]] = []
    for leader, group in zip(faces.leaders.tolist(), faces.groups, strict=True):
        if any(sides.layers[i] == WALL for i in group):
            continue
        states = beyond(maps, sides, group)
        if states.tobytes() in known:
            found.append((states, (int(sides.layers[leader]), int(sides.units[leader]))))
        elif bars(maps, sides, leader, (i for i in faces.leaders.tolist() if i != leader)):
            # a half-space taken for a face may only touch the region
            raise ArithmeticError("a face leads to no region: please report this network")
    return found


def _linear(
    source: RegionSource, regions: tuple[Region, ...], outputs: list[Affine], first: Ints, second: Ints
) -> Ints:
    """Labels of regions, equal across faces where the output's affine maps are."""
    weights = np.array([np.column_stack([a.weight, a.bias]).reshape(-1) for a in outputs])
    size = np.maximum(np.abs(weights[first]).max(1, initial=0.0), np.abs(weights[second]).max(1, initial=0.0))
    close = np.flatnonzero(np.abs(weights[first] - weights[second]).max(1, initial=0.0) <= CLOSE * size)
    told = {int(i): _output_digest(source, regions[i]) for i in np.unique([first[close], second[close]])}
    equal = np.array([told[int(first[k])] == told[int(second[k])] for k in close], np.bool_)
    joined = close[equal]
    links = coo_matrix((np.ones(len(joined)), (first[joined], second[joined])), (len(regions), len(regions)))
    return connected_components(links, directed=False)[1].astype(np.int64)


def _output_digest(source: RegionSource, region: Region) -> str:
    """A digest of the output's affine map, exact."""
    maps = RegionMaps(source.network.form, region.states)
    rows = [maps.exact_output(r) for r in range(len(source.network.form.output))]
    return digest(*(f"{sorted(row.numbers.items())} {row.scale}" for row in rows))
