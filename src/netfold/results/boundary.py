"""The decision boundary of a network on a plane: where its class changes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from netfold.arrays import Floats, Ints
from netfold.exact.plane.mesh import Mesh
from netfold.results.base import Record, measured

if TYPE_CHECKING:
    import pandas as pd


class DecisionBoundary(Record):
    """The segments on which two classes tie, and the regions between them.

    The class is the largest output, or for a single output whether it is above 0. It is an affine rule on every
    activation region, so the boundary is made of straight segments; they are exact.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=16, depth=2, outputs=3, activation="relu", sigma_b=1.0, seed=3)
        >>> part = nf.partition_plane(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1))
        >>> edge = part.decision_boundary()
        >>> round(float(edge.region_areas.sum()), 12), len(edge.segments) > 0
        (4.0, True)
        >>> float(edge.distance(edge.segments[0].mean(0))) < 1e-12
        True
    """

    segments: Floats = measured("ends in (a, b), with the first class on the left", ("segment", "end", "coordinate"))
    classes: Ints = measured("the two classes", ("segment", "side"))
    regions: Ints = measured(
        "activation region that each segment runs through; where it runs along a border, that on its left",
        ("segment",),
    )
    region_classes: Ints = measured(
        "class of every class region (a maximal connected set of one class)", ("class_region",)
    )
    region_areas: Floats = measured("area of every class region", ("class_region",), "squared units of the input space")
    frame: Floats = measured("takes (a, b) to orthonormal coordinates of input space", ("axis", "coordinate"))

    @cached_property
    def lengths(self) -> Floats:
        """Euclidean length of every segment, in input space."""
        steps = (self.segments[:, 1] - self.segments[:, 0]) @ self.frame.T
        return np.hypot(steps[:, 0], steps[:, 1])

    @property
    def length(self) -> float:
        """Length of the whole boundary inside the rectangle, in input space."""
        return float(self.lengths.sum())

    def distance(self, points: Any) -> Floats:
        """Distance in input space, within the plane, from each point (a, b) to the boundary in the rectangle.

        Args:
            points: one point, or ``(count, 2)``.

        Returns:
            One number a point; infinite where there is no boundary.
        """
        return self.nearest(points)[0]

    def nearest(self, points: Any) -> tuple[Floats, Floats]:
        """Distance to the boundary, and the nearest place on it in (a, b); NaN where there is no boundary."""
        given = np.asarray(points, np.float64)
        rows = given.reshape(-1, 2)
        distance, place = np.full(len(rows), np.inf), np.full((len(rows), 2), np.nan)
        start, step = self.segments[:, 0] @ self.frame.T, (self.segments[:, 1] - self.segments[:, 0]) @ self.frame.T
        size = np.maximum((step**2).sum(1), np.finfo(np.float64).tiny)
        for i, x in enumerate(rows @ self.frame.T if len(self.segments) else ()):
            at = np.clip(((x - start) * step).sum(1) / size, 0.0, 1.0)
            gap = np.linalg.norm(start + at[:, None] * step - x, axis=1)
            k = int(gap.argmin())
            distance[i] = gap[k]
            place[i] = self.segments[k, 0] + at[k] * (self.segments[k, 1] - self.segments[k, 0])
        return distance.reshape(given.shape[:-1]), place.reshape(given.shape)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a segment: its ends in (a, b), its classes, its region, its length in input space."""
        import pandas as pd

        names = ("a0", "b0", "a1", "b1")
        columns = dict(zip(names, self.segments.reshape(-1, 4).T, strict=True))
        pair = {"class_left": self.classes[:, 0], "class_right": self.classes[:, 1]}
        return pd.DataFrame({**columns, **pair, "region": self.regions, "length": self.lengths})

    def __repr__(self) -> str:
        return (
            f"DecisionBoundary: {len(self.segments):,} segments, length {self.length:.4g}, "
            f"{len(self.region_areas):,} class regions of {len(np.unique(self.region_classes))} classes"
        )


def boundary_of(
    mesh: Mesh, classes: Ints, region_of_piece: Ints, piece_areas: Floats, frame: Floats
) -> DecisionBoundary:
    """The boundary of a mesh whose polygons have one class each."""
    twins, owners = mesh.twins(), mesh.owners
    inner = np.flatnonzero((twins >= 0) & (np.arange(len(twins)) < twins))
    left, right = owners[inner], owners[twins[inner]]
    differs = classes[left] != classes[right]
    same = ~differs
    joined = coo_matrix((np.ones(same.sum()), (left[same], right[same])), (len(classes), len(classes)))
    count, label = connected_components(joined, directed=False)
    of_label = np.zeros(count, np.int64)
    of_label[label] = classes
    edge = inner[differs]
    return DecisionBoundary(
        segments=mesh.xy[np.stack([mesh.loop[edge], mesh.heads[edge]], 1)],
        classes=np.stack([classes[left[differs]], classes[right[differs]]], 1),
        regions=region_of_piece[left[differs]],
        region_classes=of_label,
        region_areas=np.bincount(label, piece_areas, count).astype(np.float64),
        frame=frame,
    )
