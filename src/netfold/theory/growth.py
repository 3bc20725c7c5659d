"""Expected growth of a curve's length and energy through a random network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netfold.arguments import Depth, Gain, PositiveInt, checked
from netfold.errors import InvalidInputError
from netfold.formats import table
from netfold.results.base import Result, above, measured
from netfold.theory.activations import Activation, as_activation
from netfold.theory.chi import chi_mean, gated_chi_mean
from netfold.theory.curves import InputCurve, propagate, standard_or_path
from netfold.theory.fixed_points import ActivationLike, Status, gains_by_layer
from netfold.theory.gaussian import Array

if TYPE_CHECKING:
    import pandas as pd


class Method(StrEnum):
    """How far a prediction holds."""

    EXACT = "exact at this width"
    INFINITE = "infinite width"


class LengthGrowth(Result):
    """Expected growth of a curve, layer by layer; see `length_growth`."""

    FORMAT = "netfold length growth 1"

    activation: str = measured("name of the activation")
    growth: Array = measured(
        "expected length of each layer's image over the one before; the readout last if asked for", ("layer",)
    )
    lengths: Array = measured("expected length of each layer's image over that of the input curve", ("layer",))
    energy_growth: Array = measured(
        "growth of the energy, the integral of the squared speed, in each layer", ("layer",)
    )
    method: Method = measured("whether this holds at the width given, or in the limit of infinite width")
    error: Array = measured("relative error estimate of ``lengths``", ("layer",))

    plot = above("netfold.plots.theory:growth")

    @property
    def status(self) -> Status:
        """``converged``, or ``not converged`` where the error estimate is above 1e-6."""
        return Status.CONVERGED if (self.error < 1e-6).all() else Status.INACCURATE

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer."""
        import pandas as pd

        columns = {"growth": self.growth, "length": self.lengths, "energy_growth": self.energy_growth}
        rows = pd.DataFrame(columns | {"error": self.error})
        rows.insert(0, "layer", np.arange(1, len(rows) + 1))
        return rows

    def __repr__(self) -> str:
        title = f"growth of a curve's length, {self.activation}, {self.method}:"
        shown = self.to_dataframe().drop(columns="error")
        return table(title, shown, "" if self.status is Status.CONVERGED else self.status)


@checked
def length_growth(
    activation: ActivationLike,
    sigma_w: float | Sequence[float] | Array,
    sigma_b: float | Sequence[float] | Array = 0.0,
    width: PositiveInt | Sequence[PositiveInt] | None = None,
    depth: Depth | None = None,
    *,
    inputs: PositiveInt | None = None,
    outputs: PositiveInt | None = None,
    curve: Any = "circle",
    q0: Gain | None = None,
    scaling: Literal["fan_in", "width"] = "fan_in",
) -> LengthGrowth:
    """Expected growth of a curve's length through a random network, layer by layer.

    For activations with phi(a h) = a phi(h), a > 0 (ReLU, leaky ReLU, linear), and a width: exact at that
    width, for every smooth curve and every symmetric bias law. A layer of n units on a fan-in of k multiplies
    the expected length by

        sigma_w / sqrt(k) M(n),    M(n) = sum_j C(n, j) 2^-n sqrt(2) Gamma((j + 1) / 2) / Gamma(j / 2)

    for ReLU, since each unit is on with probability 1/2 whatever its speed, and the expected energy by
    n sigma_w^2 / (2 k), at every width. (Other slopes change M(n) and the factor 1/2.)

    Otherwise infinite width: with V, D, C the variances of h and dh/dt and their covariance,

        length = int sqrt((D - C^2 / V) E phi'^2 + (C^2 / V) E phi'^2 z^2) dt per unit,    z = h / sqrt(V),

    carried from layer to layer by V' = sigma_w^2 E phi^2 + sigma_b^2, D' = sigma_w^2 length'^2,
    C' = sigma_w^2 C d(E phi^2)/dV. On a circle C = 0 and growth is sqrt(chi_1) at length V: the perpendicular
    gain. A line also moves along h itself, with the radial gain, which is smaller for saturating activations.
    With unequal widths the ratio carries the factor sqrt(n / k) too.

    Assumptions: Gaussian weights N(0, sigma_w^2 / fan_in), biases N(0, sigma_b^2), untrained, no
    normalisation layers. At finite width a saturating network grows less than the limit (hard-tanh, k = 128,
    sigma_w^2 = 8: measured 1.56 against 1.572 a layer).

    Args:
        activation: as for `mean_field`.
        sigma_w: standard deviation of a weight times the square root of its fan-in: one number, or one a layer
            (the readout's last, if asked for).
        sigma_b: standard deviation of a bias, likewise.
        width: hidden units, one number for all layers or one a layer; None for infinite width.
        depth: number of hidden layers; 1 by default, or as many as ``width`` lists.
        inputs: number of inputs; by default those of the path, otherwise the first width.
        outputs: if given, the linear readout's growth comes last.
        curve: "circle" around 0, quarter "arc" or "line" between orthogonal points, or a path
            (`netfold.Line`, `Polyline`, `Arc`, `Circle`).
        q0: mean square of the coordinates of the standard curves' points; by default the one that puts a
            circle at the fixed point q* in the first layer, 1 where there is none.
        scaling: "fan_in", or "width" for weights divided by the width in the first layer too (Raghu et al.
            2017).

    Raises:
        InvalidInputError: bad gains, sizes, curve or scaling.

    Source: finite-width ReLU derived here, agreeing with Hanin, Jeong and Rolnick 2022 to first order in
    1/width; the circle is Poole et al. 2016; the general curve is derived here.

    Example:
        >>> round(float(length_growth("relu", math.sqrt(2), width=100).growth[0]), 6)
        0.993732
        >>> circle, line = (length_growth("hardtanh", 2.0, curve=c).growth[0] for c in ("circle", "line"))
        >>> round(float(circle), 6), bool(line < circle)
        (1.345241, True)
    """
    phi = as_activation(activation)
    shape = Shape.of(width, depth, inputs, outputs, curve, scaling)
    hidden = len(shape.widths)
    w, b = gains_by_layer(sigma_w, sigma_b, hidden + (outputs is not None))
    if phi.homogeneous_gain is not None:
        growth, energy, error = _homogeneous(phi, w[:hidden], shape)
    else:
        fan_in = shape.fan_in[0] if shape.finite else None
        scaled = None if q0 is None else q0 * shape.inputs / (fan_in or 1)
        taken = standard_or_path(phi, float(w[0]), float(b[0]), curve, scaled, fan_in)
        growth, energy, error = _along_curve(phi, w[:hidden], b[:hidden], taken, shape)
    if outputs is not None:
        # Of infinitely many units only ratios of mean squares are left, so a readout counts per output then.
        fan_in = shape.widths[-1] if shape.finite else outputs
        growth = np.append(growth, w[-1] * chi_mean(outputs) / math.sqrt(fan_in))
        energy = np.append(energy, w[-1] ** 2 * outputs / fan_in)
        error = np.append(error, error[-1])
    exact = shape.finite and phi.homogeneous_gain is not None
    method = Method.EXACT if exact else Method.INFINITE
    return LengthGrowth(phi.name, growth, np.cumprod(growth, dtype=np.float64), energy, method, error)


@dataclass(frozen=True)
class Shape:
    """Layer sizes of a network in theory.

    Attributes:
        widths: hidden widths; all 1 where the width is infinite, so that no ratio of widths enters.
        fan_in: what each layer divides its weights' variance by; all 1 where the width is infinite.
        inputs: number of inputs; 1 where the width is infinite.
        finite: whether a width was given.
    """

    widths: tuple[int, ...]
    fan_in: tuple[int, ...]
    inputs: int
    finite: bool

    @classmethod
    def of(
        cls,
        width: Any,
        depth: int | None,
        inputs: int | None,
        outputs: int | None,
        curve: Any,
        scaling: str,
    ) -> Shape:
        """Sizes from the arguments of `length_growth`.

        Raises:
            InvalidInputError: sizes that are not positive integers or contradict each other, an unknown
                scaling.
        """
        listed = isinstance(width, (Sequence, np.ndarray))
        widths = tuple(width) if listed else (1 if width is None else width,) * (1 if depth is None else depth)
        if depth not in (None, len(widths)):
            raise InvalidInputError(f"depth={depth} contradicts {len(widths)} widths: leave one out")
        size = (InputCurve.standard(curve, 1.0) if isinstance(curve, str) else InputCurve.of(curve)).size
        if None not in (size, inputs) and size != inputs:
            raise InvalidInputError(f"the path's points have {size} coordinates, but inputs={inputs}")
        first = inputs or size or (widths[0] if widths else 1)
        if not widths:
            raise InvalidInputError("width must list at least one hidden layer, it is empty")
        if width is None:
            return cls(widths, widths, 1, False)
        return cls(widths, (widths[0] if scaling == "width" else first, *widths[:-1]), first, True)


def _homogeneous(phi: Activation, sigma_w: Array, shape: Shape) -> tuple[Array, Array, Array]:
    gain = phi.homogeneous_gain or 0.0
    fan_in, widths = np.array(shape.fan_in), np.array(shape.widths)
    energy = sigma_w**2 * gain * widths / fan_in
    if not shape.finite:
        return np.sqrt(energy), energy, np.full(len(widths), 1e-15)
    means, errors = zip(*(gated_chi_mean(n, *(phi.end_slopes or (1.0, 1.0))) for n in shape.widths), strict=True)
    return sigma_w / np.sqrt(fan_in) * np.array(means), energy, np.cumsum(np.divide(errors, means))


def _along_curve(
    phi: Activation, sigma_w: Array, sigma_b: Array, curve: InputCurve, shape: Shape
) -> tuple[Array, Array, Array]:
    depth = len(shape.widths)

    def rates(square: Array, speed: Array, drift: Array) -> Array:
        layers = propagate(phi, sigma_w, sigma_b, square, speed, drift)
        energy = np.stack([speed, *(layer.image_speed for layer in layers)])
        return np.concatenate([np.sqrt(energy), energy])

    total, error = curve.integrate(rates)
    ratio = np.array(shape.widths) / np.array(shape.fan_in)
    lengths, energies = total[: depth + 1], total[depth + 1 :]
    relative = error[1 : depth + 1] / lengths[1:] + error[0] / lengths[0]
    return np.sqrt(ratio) * lengths[1:] / lengths[:-1], ratio * energies[1:] / energies[:-1], relative
