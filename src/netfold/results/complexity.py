"""Local complexity: units that switch around data points."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes


FORMAT = "netfold local complexity 1"


@dataclass(frozen=True)
class WatchedLayer:
    """A nonlinearity whose units are watched: its module path, operation and number of units."""

    name: str
    op: str
    units: int


@dataclass(frozen=True, eq=False)
class LocalComplexity:
    """How many units change their state around each of some points.

    Attributes:
        counts: units that do, ``(points, layers)``.
        layers: the layers, in order.
        left_out: nonlinearities whose units have no state of their own (normalisation, softmax, products).
        radius: distance of the vertices from their point, in units of the input space.
        directions: how many directions the cross-polytope has; it has twice as many vertices.
        counting_rule: what was counted.
        provenance: model, seed, versions, time.

    Example:
        >>> import numpy as np, netfold as nf
        >>> net = nf.random_network(inputs=4, width=32, depth=2, outputs=1, sigma_b=0.3, seed=0)
        >>> found = nf.local_complexity(net, np.random.default_rng(0).normal(size=(10, 4)), radius=0.1)
        >>> found.counts.shape, bool((found.total == found.counts.sum(1)).all())
        ((10, 2), True)
    """

    counts: NDArray[np.int64]
    layers: tuple[WatchedLayer, ...]
    left_out: tuple[str, ...]
    radius: float
    directions: int
    counting_rule: str
    provenance: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

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

    def to_xarray(self) -> xr.Dataset:
        """Everything as a dataset with the dimensions ``point`` and ``layer``; words are attributes."""
        import xarray as xr

        return xr.Dataset(
            {"counts": (("point", "layer"), self.counts, {"long_name": "units whose state differs", "units": "1"})},
            {
                "layer": np.arange(1, len(self.layers) + 1),
                "name": ("layer", np.array([layer.name for layer in self.layers], object)),
                "op": ("layer", np.array([layer.op for layer in self.layers], object)),
                "units": ("layer", np.array([layer.units for layer in self.layers], np.int64)),
            },
            {
                "format": FORMAT,
                "radius": self.radius,
                "directions": self.directions,
                "left_out": json.dumps(self.left_out),
                "counting_rule": self.counting_rule,
                "provenance": json.dumps(self.provenance, default=str),
            },
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a netCDF-4 file, whole or not at all.

        Raises:
            InvalidInputError: the folder does not exist.
        """
        from netfold.files import write_dataset

        write_dataset(self.to_xarray(), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LocalComplexity:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            UntrustedFileError: the file is a pickle.
            CorruptFileError: the file is damaged, or holds something else.
        """
        from netfold.files import read_dataset

        return read_dataset(path, FORMAT, "local complexity", _read)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share of every layer's units, averaged over points, with two standard errors.

        Args:
            ax: where to draw; a new figure by default.

        Returns:
            The axes drawn on.
        """
        from netfold.plots.complexity import by_layer

        return by_layer(self, ax)


def _read(found: xr.Dataset) -> LocalComplexity:
    columns = [found[name].values.tolist() for name in ("name", "op", "units")]
    return LocalComplexity(
        found["counts"].values.astype(np.int64),
        tuple(WatchedLayer(*row) for row in zip(*columns, strict=True)),
        tuple(json.loads(found.attrs["left_out"])),
        float(found.attrs["radius"]),
        int(found.attrs["directions"]),
        str(found.attrs["counting_rule"]),
        json.loads(found.attrs["provenance"]),
    )
