"""What lies beside what in a partition: neighbours, linear regions, hashes, density and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from netfold.arrays import Floats, Ints
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.threads import beside
from netfold.exact.paths.refinement import key
from netfold.exact.plane.layers import States
from netfold.exact.plane.mesh import Mesh
from netfold.results.base import Record, measured

if TYPE_CHECKING:
    import pandas as pd


AREA = "squared units of the input space"

SAME = 2.0**-40
"""Two affine maps are one where they differ by less than this share of the output's size on the rectangle."""


class Neighbours(Record):
    """Pairs of regions with a common border, each pair once."""

    first: Ints = measured("one of the two regions", ("pair",))
    second: Ints = measured("the other one", ("pair",))
    layer: Ints = measured("the layer, from 0, of the unit whose state differs between them", ("pair",))
    unit: Ints = measured("that unit", ("pair",))
    length: Floats = measured("length of the common border", ("pair",), "units of the input space")

    def __len__(self) -> int:
        return len(self.first)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a pair."""
        import pandas as pd

        return pd.DataFrame(vars(self))

    def __repr__(self) -> str:
        return f"<{len(self):,} pairs of neighbours>"


class Density(Record):
    """Regions per area near data points, against the rest of the rectangle.

    A region is near where its centroid is within ``radius`` of a point; areas are those of the regions themselves.
    """

    near: float = measured("regions per area near the points; NaN where there are none", unit=f"1 / {AREA}")
    far: float = measured("regions per area elsewhere", unit=f"1 / {AREA}")
    near_regions: int = measured("regions near the points")
    far_regions: int = measured("all others")
    near_area: float = measured("area of the regions near the points", unit=AREA)
    far_area: float = measured("area of the others", unit=AREA)
    radius: float = measured("how near is near", unit="units of the input space")


def neighbours(mesh: Mesh, region_of_piece: Ints, last_layer: int, frame: Floats) -> Neighbours:
    """The neighbours of a mesh's regions; borders by class alone are left out."""
    twins = mesh.twins()
    edge = np.flatnonzero((twins >= 0) & (np.arange(len(twins)) < twins) & (mesh.edge_layers <= last_layer))
    owners = region_of_piece[mesh.owners]
    pairs = np.sort(np.stack([owners[edge], owners[twins[edge]]], 1), axis=1)
    steps = (mesh.xy[mesh.heads[edge]] - mesh.xy[mesh.loop[edge]]) @ frame.T
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    order = np.lexsort((mesh.label[edge], pairs[:, 1], pairs[:, 0]))
    keys = pairs[order]
    begins = np.flatnonzero(np.append(np.ones(min(1, len(keys)), bool), (keys[1:] != keys[:-1]).any(1)))
    chosen = edge[order[begins]]
    total = np.add.reduceat(lengths[order], begins) if len(begins) else lengths
    return Neighbours(keys[begins, 0], keys[begins, 1], mesh.edge_layers[chosen], mesh.edge_units[chosen], total)


def merge_equal(pairs: Neighbours, values: Floats) -> Ints:
    """Labels of regions, equal for neighbours whose values at the rectangle's corners, ``(regions, ...)``, agree."""
    flat = values.reshape(len(values), -1)
    size = np.maximum(np.abs(flat[pairs.first]).max(1), np.abs(flat[pairs.second]).max(1))
    equal = np.abs(flat[pairs.first] - flat[pairs.second]).max(1) <= SAME * size
    shape = (len(values), len(values))
    links = coo_matrix((np.ones(equal.sum()), (pairs.first[equal], pairs.second[equal])), shape)
    return connected_components(links, directed=False)[1].astype(np.int64)


@beside
def hash_states(states: Sequence[States]) -> NDArray[np.uint64]:
    """128-bit hashes of patterns: the XOR of a key for every unit's state."""
    hashes = np.zeros((len(states[0]) if states else 1, 2), np.uint64)
    for number, layer in enumerate(states):
        _add_keys(number, np.ascontiguousarray(layer), int(layer.max(initial=0)) + 1, hashes)
    return hashes


@compiled()
def _add_keys(layer, states, pieces, hashes):
    keys = np.empty((states.shape[1], pieces, 2), np.uint64)
    for unit in range(states.shape[1]):
        for piece in range(pieces):
            for half in range(2):
                keys[unit, piece, half] = key(layer, unit, piece, half)
    for p in range(len(states)):
        for unit in range(states.shape[1]):
            for half in range(2):
                hashes[p, half] ^= keys[unit, states[p, unit], half]


def density(centroids: Floats, areas: Floats, points: Floats, radius: float, frame: Floats) -> Density:
    """Regions per area near points and far from them."""
    from scipy.spatial import KDTree

    gaps = KDTree(points @ frame.T).query(centroids @ frame.T)[0]
    near = gaps <= radius
    counts = int(near.sum()), int((~near).sum())
    area = float(areas[near].sum()), float(areas[~near].sum())
    dense, sparse = (n / a if a > 0 else float("nan") for n, a in zip(counts, area, strict=True))
    return Density(dense, sparse, counts[0], counts[1], area[0], area[1], radius)
