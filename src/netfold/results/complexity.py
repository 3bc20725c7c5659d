"""Local complexity: units that switch around data points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.results.base import Record, Result, Variable, above, counted, measured, variable
from netfold.results.status import Certainty, Standing

if TYPE_CHECKING:
    import pandas as pd


class WatchedLayer(Record):
    """A nonlinearity whose units are watched."""

    name: str = measured("its module path", coordinate=True)
    op: str = measured("its operation", coordinate=True)
    units: int = measured("how many units it has", coordinate=True)
    label: str = measured(
        "what tables and pictures call it: the weights that lead to it, and its name", coordinate=True
    )


class LocalComplexity(Result):
    """How many units change their state around each of some points.

    Example:
        >>> import numpy as np, netfold as nf
        >>> net = nf.random_network(inputs=4, width=32, depth=2, outputs=1, sigma_b=0.3, seed=0)
        >>> found = nf.local_complexity(net, np.random.default_rng(0).normal(size=(10, 4)), radius=0.1)
        >>> found.counts.shape, bool((found.total == found.counts.sum(1)).all())
        ((10, 2), True)
    """

    FORMAT = "netfold local complexity 1"

    counts: NDArray[np.int64] = measured("units whose state differs", ("point", "layer"))
    layers: tuple[WatchedLayer, ...] = measured("the layers, in order", ("layer",))
    left_out: tuple[str, ...] = measured(
        "nonlinearities whose units have no state of their own (normalisation, softmax, products)"
    )
    radius: float = measured("distance of the vertices from their point", unit="units of the input space")
    directions: int = measured("how many directions the cross-polytope has; it has twice as many vertices")
    counting_rule: str = measured("what was counted")
    status: Standing = measured(
        "whether it is of all the points that were given, or of the first of them", default=Certainty.EXACT.text()
    )
    provenance: dict[str, Any] = measured(
        "model, seed, versions, time", default_factory=dict, compare=False, repr=False
    )

    plot = above("netfold.plots.complexity:by_layer")

    def _headline(self) -> str:
        total, points = self.total.mean(), counted(len(self.counts), "point")
        what = f"{total:.4g} units switch around each of {points} on average, radius {self.radius:g}"
        return f"LocalComplexity: {what} ({self.status})"

    def __repr__(self) -> str:
        width = max([5, *(len(layer.label) for layer in self.layers)])
        lines = [self._headline(), f"  {'layer':<{width}}  {'units':>7} {'switching':>10} {'+-':>8}"]
        rows = list(zip(self.layers, self.mean, self.error, strict=True))
        shown = rows if len(rows) <= 40 else rows[:30]
        lines += [f"  {la.label:<{width}}  {la.units:>7} {mean:>10.4g} {error:>8.2g}" for la, mean, error in shown]
        lines += [f"  ... {len(rows) - len(shown)} more layers: see to_dataframe()"] if len(shown) < len(rows) else []
        return "\n".join([*lines, f"counted: {self.counting_rule}"])

    @property
    def total(self) -> NDArray[np.int64]:
        """Units over all layers, one entry a point."""
        return self.counts.sum(1)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Units, averaged over points, one entry a layer."""
        return self.counts.mean(0)

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard error of `mean` over points; NaN for one point."""
        if len(self.counts) < 2:
            return np.full(len(self.layers), np.nan)
        return self.counts.std(0, ddof=1) / np.sqrt(len(self.counts))

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer: ``name``, ``label``, ``op``, ``units``; ``mean``, its ``error``, ``share``.

        The error is the standard error over points, the last the mean over the number of units.
        """
        import pandas as pd

        units = np.array([layer.units for layer in self.layers], np.int64)
        return pd.DataFrame(
            {
                "layer": np.arange(1, len(self.layers) + 1),
                "name": [layer.name for layer in self.layers],
                "label": [layer.label for layer in self.layers],
                "op": [layer.op for layer in self.layers],
                "units": units,
                "mean": self.mean,
                "error": self.error,
                "share": self.mean / units,
            }
        )

    def _more(self) -> dict[str, Variable]:
        number = np.arange(1, len(self.layers) + 1)
        return {"layer": variable(number, "number of the layer, from 1", ("layer",), coordinate=True)}
