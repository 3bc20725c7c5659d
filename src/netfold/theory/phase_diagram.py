"""Maps of order and chaos over the gains of weights and biases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import Gain, checked, shown
from netfold.arrays import numbers
from netfold.errors import InvalidInputError
from netfold.formats import six_digits
from netfold.results.base import Result, above, measured
from netfold.theory.activations import as_activation
from netfold.theory.fixed_points import ActivationLike, Phase, Status, phase_of, solve
from netfold.theory.gaussian import Array

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

NUMBERS = ("q", "c", "chi_1", "chi_2", "chi_radial", "curvature", "xi_q", "xi_c", "error")
GRID = ("sigma_b", "sigma_w")


class PhaseDiagram(Result):
    """Mean-field numbers over a grid of gains; those of one point are explained in `MeanField`."""

    FORMAT = "netfold phase diagram 1"

    activation: str = measured("name of the activation")
    sigma_w: Array = measured("gains of the weights", ("sigma_w",), coordinate=True)
    sigma_b: Array = measured("standard deviations of the biases", ("sigma_b",), coordinate=True)
    q: Array = measured("variance q* of a pre-activation", GRID)
    c: Array = measured("correlation c* that two different inputs end at", GRID)
    chi_1: Array = measured("squared growth of a small displacement in one layer", GRID)
    chi_2: Array = measured("the curvature that a layer adds", GRID)
    chi_radial: Array = measured("squared growth of a displacement along the pre-activations themselves", GRID)
    curvature: Array = measured("curvature that the image of a circle ends at, times sqrt(width)", GRID)
    xi_q: Array = measured("layers in which the length settles by a factor e", GRID, "layers")
    xi_c: Array = measured("layers in which the correlation settles by a factor e", GRID, "layers")
    error: Array = measured("relative error estimate of these numbers", GRID)
    phase: NDArray[Any] = measured("ordered, critical or chaotic", GRID)
    status: NDArray[Any] = measured("how the length ends", GRID)

    plot = above("netfold.plots.theory:phases")

    @property
    def numbers(self) -> dict[str, Array]:
        """The arrays of numbers, by name."""
        return {name: getattr(self, name) for name in NUMBERS}

    def to_dataframe(self) -> pd.DataFrame:
        """One row a grid point."""
        return self.to_xarray().to_dataframe().reset_index()

    def to_xarray(self) -> xr.Dataset:
        """The arrays over the coordinates ``sigma_b`` and ``sigma_w``; labels as text."""
        found = super().to_xarray()
        return found.assign({name: found[name].astype(str) for name in ("phase", "status")})

    @classmethod
    def _of(cls, stored: xr.Dataset) -> Self:
        found = super()._of(stored)
        return replace(found, phase=_members(Phase, found.phase), status=_members(Status, found.status))

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
    grid = {name: found[name].reshape(across.shape) for name in (*NUMBERS, "status")}
    return PhaseDiagram(phi.name, w, b, **grid, phase=_members(phase_of, grid["chi_1"]))


def _members(make: Callable[[Any], Any], values: NDArray[Any]) -> NDArray[np.object_]:
    return np.array([make(value) for value in values.ravel()], object).reshape(values.shape)


def _axis(values: Sequence[float] | Array, name: str) -> Array:
    axis = numbers(values, name)
    if axis.ndim != 1 or not axis.size or (np.diff(axis) <= 0).any():
        raise InvalidInputError(f"{name} must be a non-empty increasing sequence of numbers, got {shown(values)}")
    return axis
