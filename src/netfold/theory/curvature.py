"""Curvature of the image of a circle in a wide random network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netfold.arguments import Depth, Gain, Spread, checked
from netfold.errors import InvalidInputError
from netfold.formats import table
from netfold.results.base import Result, above, measured
from netfold.theory.activations import as_activation
from netfold.theory.fixed_points import ActivationLike
from netfold.theory.gaussian import Array
from netfold.theory.mean_field import mean_field

if TYPE_CHECKING:
    import pandas as pd


class CurvatureGrowth(Result):
    """What becomes of a circle in a wide network, in the pre-activations of layers 1 to depth."""

    FORMAT = "netfold curvature growth 1"

    curvature: Array = measured(
        "kappa sqrt(width), the curvature of the image; inf after the first kinked activation", ("layer",)
    )
    length: Array = measured("Euclidean length over that of the circle in layer 1", ("layer",))
    tangent_length: Array = measured(
        "length of the curve of unit tangents over that of layer 1's circle, which is 2 pi", ("layer",)
    )

    plot = above("netfold.plots.theory:curvature")

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer."""
        import pandas as pd

        columns = {"curvature": self.curvature, "length": self.length, "tangent_length": self.tangent_length}
        return pd.DataFrame({"layer": np.arange(1, len(self.length) + 1)} | columns)

    def __repr__(self) -> str:
        return table("image of a circle, infinite width:", self.to_dataframe())


@checked
def curvature_growth(
    activation: ActivationLike,
    sigma_w: Gain,
    sigma_b: Spread = 0.0,
    depth: Depth = 1,
    *,
    q: Gain | None = None,
) -> CurvatureGrowth:
    """Curvature and length of the image of a circle, layer by layer, in a wide random network.

    For a circle of mean square q in the pre-activations of layer 1, per unit and with g the squared speed,

        g_{l+1} = chi_1 g_l,    kappa_{l+1}^2 = 3 chi_2 / chi_1^2 + kappa_l^2 / chi_1,    kappa_1^2 = 1 / q,

    where chi_1 and chi_2 are taken at each layer's own variance (at q* they are constant). The tangent's own
    squared speed is kappa^2 g: the length of the tangent curve stays bounded in the ordered phase and grows
    exponentially in the chaotic one.

    Assumptions: infinite width; a circle around 0.

    Args:
        activation: as for `mean_field`.
        sigma_w: standard deviation of a weight times the square root of its fan-in.
        sigma_b: standard deviation of a bias.
        depth: number of layers.
        q: mean square of the pre-activations in layer 1; by default q*.

    Raises:
        InvalidInputError: bad gains or depth; no ``q`` where there is no positive fixed point.

    Source: Poole et al. 2016, the recursion of metric and curvature.

    Example:
        >>> tangled = curvature_growth("tanh", sigma_w=4.0, sigma_b=0.3, depth=12)
        >>> round(float(tangled.curvature[-1]), 3), round(mean_field("tanh", 4.0, 0.3).curvature, 3)
        (1.312, 1.312)
    """
    phi = as_activation(activation)
    start = mean_field(phi, sigma_w, sigma_b).q if q is None else q
    if not (np.isfinite(start) and start > 0):
        raise InvalidInputError(f"{phi.name} has no positive fixed point here (q* = {start}): pass q")
    variance, bend, metric = start, 1 / start, 1.0
    rows = [(bend, metric)]
    for _ in range(depth - 1):
        m = phi.moments(np.array([variance]))
        chi_1, chi_2 = sigma_w**2 * float(m.slope[0]), sigma_w**2 * float(m.bend[0])
        bend, metric = 3 * chi_2 / chi_1**2 + bend / chi_1, chi_1 * metric
        variance = sigma_w**2 * float(m.square[0]) + sigma_b**2
        rows.append((bend, metric))
    squared, metrics = np.array(rows).T
    return CurvatureGrowth(np.sqrt(squared), np.sqrt(metrics), np.sqrt(squared * metrics * start))
