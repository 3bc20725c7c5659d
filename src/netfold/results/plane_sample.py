"""`PlaneSample`: the classes of any network at the points of a grid on a plane, as a result that plots and saves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.results.base import Result, above, measured, plain
from netfold.results.status import Standing


class PlaneSample(Result):
    """What a network answers at the middles of the squares of a grid: a picture, in which smaller things are not seen.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, outputs=3, activation="tanh", seed=0)
        >>> found = nf.sample_plane(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), resolution=16)
        >>> found.classes.shape, round(sum(found.class_shares.values()), 6)
        ((16, 16), 1.0)
    """

    FORMAT = "netfold plane samples 1"

    bounds: tuple[float, float, float, float] = measured("the rectangle: a from, a to, b from, b to")
    classes: NDArray[np.int64] = measured(
        "number of the largest output at each point of the grid, or whether a single one is above 0; rows go up in b",
        ("row", "column"),
    )
    spacing: tuple[float, float] = measured("distance of neighbouring points along a and along b, in input space")
    evaluations: int = measured("points at which the network was evaluated")
    method: str = measured("how it was made")
    status: Standing = measured("``sampled`` on such a grid, and whether a budget made it coarser")
    counting_rule: str = measured("what is shown")
    provenance: dict[str, Any] = measured(
        "model, versions, number type, time", default_factory=dict, compare=False, repr=False
    )

    plot = above("netfold.plots.plane_samples:plot")

    @property
    def class_shares(self) -> dict[int, float]:
        """Share of the grid's points of every class met, largest first."""
        labels, counts = np.unique(self.classes, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {int(labels[i]): float(counts[i] / self.classes.size) for i in order}

    def to_dict(self) -> dict[str, Any]:
        """The grid and how it was made, for JSON."""
        words = ("bounds", "classes", "spacing", "evaluations", "method", "status", "counting_rule", "provenance")
        return plain({**{name: getattr(self, name) for name in words}, "class_shares": self.class_shares})

    def __repr__(self) -> str:
        what = f" of {self.provenance['model']}" if "model" in self.provenance else ""
        rows, columns = self.classes.shape
        return (
            f"PlaneSample{what}: {len(self.class_shares)} classes at {columns} x {rows} points ({self.status})\n"
            f"counted: {self.counting_rule}"
        )
