"""Mean-field theory of wide random networks: length, correlation, phase and depth scales."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.arguments import Gain, Spread, checked
from netfold.arrays import numbers
from netfold.formats import six_digits
from netfold.results.base import Tabular
from netfold.theory.activations import Activation, as_activation
from netfold.theory.fixed_points import (
    ActivationLike,
    Phase,
    Status,
    correlation_map,
    phase_of,
    solve,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class MeanField(Tabular):
    """A wide random network at its fixed point; see `mean_field` for the formulas.

    Attributes:
        activation: its activation function.
        sigma_w: standard deviation of a weight times the square root of its fan-in.
        sigma_b: standard deviation of a bias.
        q: variance q* of a pre-activation; 0, inf or nan as ``status`` says.
        c: correlation c* that two different inputs end at; nan where it depends on the inputs.
        chi_1: squared growth of a small displacement in one layer.
        chi_2: sigma_w^2 E phi''^2, the curvature a layer adds; inf where phi has a kink.
        chi_radial: squared growth of a displacement along the pre-activations themselves.
        curvature: kappa*, the curvature (times the square root of the width) that the image of a circle ends
            at; inf where it grows without bound.
        xi_q: layers in which the length's distance from q* falls by a factor e.
        xi_c: layers in which the correlation's distance from c* falls by a factor e; inf at criticality.
        phase: ordered, critical or chaotic.
        status: how the length ends; ``status.advice`` says what to make of it.
        error: relative error estimate of the numbers above, the largest of them.
    """

    activation: Activation
    sigma_w: float
    sigma_b: float
    q: float
    c: float
    chi_1: float
    chi_2: float
    chi_radial: float
    curvature: float
    xi_q: float
    xi_c: float
    phase: Phase
    status: Status
    error: float

    @property
    def growth(self) -> float:
        """sqrt(chi_1): growth per layer of the length of a circle at q*, in an infinitely wide network."""
        return float(np.sqrt(self.chi_1))

    def correlation_map(self, c: Any) -> Any:
        """Correlation of two pre-activations one layer on: C(c) = (sigma_w^2 E phi phi + sigma_b^2) / q*.

        Where q* is not a positive number, the limit that the map takes there.

        Args:
            c: correlations in [-1, 1], of any shape.

        Example:
            >>> relu = mean_field("relu", sigma_w=2**0.5)
            >>> round(relu.correlation_map(0.0), 6)
            0.31831
        """
        given = numbers(c, "c")
        flat = np.clip(given.ravel(), -1.0, 1.0)
        weight, bias, q = (np.full(flat.shape, v) for v in (self.sigma_w**2, self.sigma_b**2, self.q))
        mapped = correlation_map(self.activation, weight, bias, q)(flat)[0].reshape(given.shape)
        return float(mapped) if given.ndim == 0 else mapped

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain Python values, the activation by its name."""
        record = {k: v for k, v in asdict(self).items() if k != "activation"}
        labels = {"phase": str(self.phase), "status": str(self.status)}
        return {"activation": self.activation.name} | record | labels

    def to_dataframe(self) -> pd.DataFrame:
        """One row, with the columns of `to_dict`."""
        import pandas as pd

        return pd.DataFrame([self.to_dict()])

    def __repr__(self) -> str:
        rows = [
            ("q*", self.q, "variance of a pre-activation, deep in the network"),
            ("chi_1", self.chi_1, "squared growth of a small displacement in one layer"),
            ("growth", self.growth, "growth of a curve's length in one layer, sqrt(chi_1)"),
            ("c*", self.c if abs(self.c) > 1e-15 else 0.0 * self.c, "correlation that two different inputs end at"),
            ("xi_q", self.xi_q, "layers in which the length settles by a factor e"),
            ("xi_c", self.xi_c, "layers in which the correlation settles by a factor e"),
            ("6 xi_c", 6 * self.xi_c, "about how many layers can be trained"),
        ]
        name = f"{self.activation.name}, sigma_w = {six_digits(self.sigma_w)}, sigma_b = {six_digits(self.sigma_b)}"
        lines = [f"  {label:<9} {six_digits(value):>10}  {meaning}" for label, value, meaning in rows]
        return "\n".join([f"{name}: {self.phase}", *lines, f"- {self.status.advice}"])


@checked
def mean_field(activation: ActivationLike, sigma_w: Gain, sigma_b: Spread = 0.0, *, q0: Gain = 1.0) -> MeanField:
    """Length, correlation, phase and depth scales of a wide random network.

    With weights N(0, sigma_w^2 / fan_in), biases N(0, sigma_b^2) and D z the standard normal measure,

        q_{l+1} = sigma_w^2 int Dz phi(sqrt(q_l) z)^2 + sigma_b^2,      q* its limit,
        chi_1 = sigma_w^2 int Dz phi'(sqrt(q*) z)^2,    chi_2 = sigma_w^2 int Dz phi''(sqrt(q*) z)^2,
        c_{l+1} = (sigma_w^2 E phi(h_1) phi(h_2) + sigma_b^2) / q*,     c* its limit,
        xi_q = -1 / ln(d q_{l+1} / d q_l),    xi_c = -1 / ln(sigma_w^2 E phi'(h_1) phi'(h_2) at c*),
        kappa*^2 = 3 chi_2 / (chi_1 (chi_1 - 1)) in the chaotic phase.

    The network is ordered where chi_1 < 1 (nearby inputs merge), chaotic where chi_1 > 1 (they part),
    critical between, within 1e-8. ReLU, leaky ReLU, hard-tanh, linear, erf and GELU have closed forms; other
    functions are integrated on panels split at their kinks, with an error estimate.

    Assumptions: infinite width, fully connected, untrained, one activation throughout. q* is the limit that
    an input with mean square ``q0`` reaches: GELU and SiLU have two attractors for some gains. The limit is
    found by bracketing, which presumes that E phi^2 grows with q, as it does for every named activation. (Any
    fixed point found is stable: E phi^2 never falls faster than 1 / sqrt(q).)

    Where there is no positive fixed point: q = 0 for a signal that dies, inf for one that grows without bound
    (ReLU with sigma_w^2 > 2, or = 2 with biases; chi_1 and the rest are then limits for q -> inf), nan where
    every length is a fixed point (ReLU with sigma_w^2 = 2 and no bias). c is nan where the limit of the
    correlation depends on the inputs because the layers act linearly there (tanh with q* = 0).

    Args:
        activation: a name ("relu", "leaky_relu", "hardtanh", "tanh", "erf", "gelu", "silu", "linear"), an
            `Activation`, or any elementwise callable on numpy arrays or torch tensors.
        sigma_w: standard deviation of a weight times the square root of its fan-in; positive.
        sigma_b: standard deviation of a bias.
        q0: mean square of an input's coordinates.

    Raises:
        InvalidInputError: an unknown activation, a gain that is not positive, a negative bias or ``q0``.

    Source: Poole et al. 2016 (length and correlation maps, chi_1, chi_2, curvature), Schoenholz et al. 2017
    (depth scales). kappa* and the closed forms of GELU are derived.

    Example:
        >>> field = mean_field("tanh", sigma_w=2.5, sigma_b=0.3)
        >>> print(f"{field.phase}: q* = {field.q:.6f}, chi_1 = {field.chi_1:.6f}")
        chaotic: q* = 4.079124, chi_1 = 1.585225
        >>> mean_field("relu", sigma_w=2.0).status
        <Status.DIVERGES: 'diverges'>
    """
    phi = as_activation(activation)
    row = solve(phi, np.array([sigma_w]), np.array([sigma_b]), q0)
    numbers = {name: float(values[0]) for name, values in row.items() if name != "status"}
    phase = phase_of(numbers["chi_1"])
    return MeanField(phi, float(sigma_w), float(sigma_b), **numbers, phase=phase, status=row["status"][0])
