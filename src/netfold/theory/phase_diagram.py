"""Maps of order and chaos over the gains of weights and biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import Gain, checked, shown
from netfold.arrays import numbers
from netfold.errors import InvalidInputError
from netfold.formats import six_digits
from netfold.results.base import above
from netfold.theory.activations import as_activation
from netfold.theory.fixed_points import ActivationLike, Phase, phase_of, solve
from netfold.theory.gaussian import Array

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

NUMBERS = ("q", "c", "chi_1", "chi_2", "chi_radial", "curvature", "xi_q", "xi_c", "error")


@dataclass(frozen=True, eq=False, repr=False)
class PhaseDiagram:
    """Mean-field numbers over a grid of gains; every array has shape (len(sigma_b), len(sigma_w)).

    Attributes:
        activation: name of the activation.
        sigma_w: gains of the weights, and ``sigma_b`` standard deviations of the biases.
        numbers: the float arrays of `MeanField`, by name.
        phase: `Phase` of every point, and ``status`` its `Status`.
    """

    activation: str
    sigma_w: Array
    sigma_b: Array
    numbers: dict[str, Array]
    phase: NDArray[np.object_]
    status: NDArray[np.object_]

    plot = above("netfold.plots.theory:phases")

    def to_dataframe(self) -> pd.DataFrame:
        """One row a grid point."""
        return self.to_xarray().to_dataframe().reset_index()

    def to_xarray(self) -> xr.Dataset:
        """The arrays over the coordinates ``sigma_b`` and ``sigma_w``."""
        import xarray as xr

        axes = ("sigma_b", "sigma_w")
        variables = {name: (axes, self.numbers[name]) for name in NUMBERS}
        labels = {name: (axes, getattr(self, name).astype(str)) for name in ("phase", "status")}
        coordinates = {"sigma_w": self.sigma_w, "sigma_b": self.sigma_b}
        return xr.Dataset(variables | labels, coordinates, {"activation": self.activation})

    def __repr__(self) -> str:
        shares = ", ".join(f"{np.mean(self.phase == phase):.0%} {phase}" for phase in Phase)
        w, b, size = self.sigma_w, self.sigma_b, self.phase.size
        return (
            f"phase diagram of {self.activation}: sigma_w {six_digits(w[0])} to {six_digits(w[-1])}, "
            f"sigma_b {six_digits(b[0])} to {six_digits(b[-1])}, {size:,} points: {shares}; see plot() and "
            "to_dataframe()"
        )


@checked
def phase_diagram(
    activation: ActivationLike,
    sigma_w: Sequence[float] | Array,
    sigma_b: Sequence[float] | Array,
    *,
    q0: Gain = 1.0,
) -> PhaseDiagram:
    """`mean_field` at every pair of gains: where a wide network is ordered, critical or chaotic.

    Formulas, assumptions and source as for `mean_field` (Poole et al. 2016, Schoenholz et al. 2017).

    Args:
        activation: as for `mean_field`.
        sigma_w: increasing gains of the weights, and ``sigma_b`` increasing standard deviations of the
            biases.
        q0: mean square of an input's coordinates.

    Raises:
        InvalidInputError: an axis is empty, not increasing, or holds a gain out of range.

    Example:
        >>> diagram = phase_diagram("tanh", sigma_w=[0.5, 2.0], sigma_b=[0.0, 0.3])
        >>> diagram.phase.astype(str).tolist()
        [['ordered', 'chaotic'], ['ordered', 'chaotic']]
    """
    w, b = _axis(sigma_w, "sigma_w"), _axis(sigma_b, "sigma_b")
    if w[0] <= 0 or b[0] < 0:
        raise InvalidInputError(f"sigma_w must be positive, sigma_b not negative, got {w[0]} and {b[0]}")
    phi = as_activation(activation)
    across, up = np.meshgrid(w, b)
    found = solve(phi, across.ravel(), up.ravel(), q0)
    numbers = {name: found[name].reshape(across.shape) for name in NUMBERS}
    phase = np.array([phase_of(x) for x in found["chi_1"]], dtype=object).reshape(across.shape)
    return PhaseDiagram(phi.name, w, b, numbers, phase, found["status"].reshape(across.shape))


def _axis(values: Sequence[float] | Array, name: str) -> Array:
    axis = numbers(values, name)
    if axis.ndim != 1 or not axis.size or (np.diff(axis) <= 0).any():
        raise InvalidInputError(f"{name} must be a non-empty increasing sequence of numbers, got {shown(values)}")
    return axis
