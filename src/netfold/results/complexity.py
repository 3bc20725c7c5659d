"""Local complexity: units that switch around data points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netfold.results.base import Record, Result, Variable, above, measured, variable

if TYPE_CHECKING:
    import pandas as pd


class WatchedLayer(Record):
    """A nonlinearity whose units are watched."""

    name: str = measured("its module path", coordinate=True)
    op: str = measured("its operation", coordinate=True)
    units: int = measured("how many units it has", coordinate=True)

    @property
    def label(self) -> str:
        """What a reader calls the layer: its module path, or the operation where that is only a number."""
        return self.op if self.name.isdigit() else self.name


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
    provenance: dict[str, Any] = measured(
        "model, seed, versions, time", default_factory=dict, compare=False, repr=False
    )

    plot = above("netfold.plots.complexity:by_layer")

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
        """One row a layer: ``name``, ``op``, ``units``; ``mean`` and its standard ``error`` over points; ``share``.

        The last is the mean over the number of units.
        """
        import pandas as pd

        units = np.array([layer.units for layer in self.layers], np.int64)
        return pd.DataFrame(
            {
                "layer": np.arange(1, len(self.layers) + 1),
                "name": [layer.name for layer in self.layers],
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
