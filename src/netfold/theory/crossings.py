"""Expected transitions of a random network's units along a curve: Kac-Rice rates and the Crofton identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import erf

from netfold.arguments import Depth, Gain, PositiveInt, Spread, checked
from netfold.arrays import numbers
from netfold.errors import InvalidInputError
from netfold.formats import table
from netfold.results.base import Result, above, measured
from netfold.theory.activations import Activation, as_activation
from netfold.theory.curves import Leg, propagate, standard_or_path
from netfold.theory.fixed_points import ActivationLike, Status, gains_by_layer
from netfold.theory.gaussian import Array

if TYPE_CHECKING:
    import pandas as pd


class CrossingRate(Result):
    """Expected transitions per unit along a curve, layer by layer; see `crossing_rate`."""

    FORMAT = "netfold crossing rate 1"

    activation: str = measured("name of the activation")
    sign_transitions: Array = measured(
        "expected crossings of 0 by one pre-activation of each layer, along the whole curve", ("layer",)
    )
    transitions: Array = measured(
        "expected state switches of one unit of each layer (crossings of the activation's kinks); nan for a smooth "
        "activation, which has no states",
        ("layer",),
    )
    exact_layers: int = measured("first layers in which the numbers hold at every width; later ones for infinite width")
    error: Array = measured("absolute error estimate of both, the larger", ("layer",))

    plot = above("netfold.plots.theory:crossings")

    @property
    def status(self) -> Status:
        """``converged``, or ``not converged`` where the error estimate is above 1e-6 of the count."""
        counts = np.fmax(self.sign_transitions, self.transitions)
        return Status.CONVERGED if (self.error <= 1e-6 * np.maximum(counts, 1e-6)).all() else Status.INACCURATE

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer."""
        import pandas as pd

        layer = np.arange(1, len(self.error) + 1)
        columns = {"sign_transitions": self.sign_transitions, "transitions": self.transitions}
        columns |= {"error": self.error}
        return pd.DataFrame({"layer": layer} | columns | {"exact": layer <= self.exact_layers})

    def __repr__(self) -> str:
        title = f"transitions expected of one {self.activation} unit of each layer:"
        holds = f"exact at every width in layer {self.exact_layers}, for infinite width after it"
        shown = self.to_dataframe().drop(columns=["error", "exact"])
        return table(title, shown, holds, "" if self.status is Status.CONVERGED else self.status)


@checked
def kac_rice(square: Array, speed: Array, drift: Array, level: float = 0.0) -> Array:
    """Expected crossings of a level per unit t by a Gaussian process h(t).

    With V = Var h, D = Var dh/dt, C = Cov(h, dh/dt), and given h = u the speed is normal with mean m = C u /
    V and variance s^2 = D - C^2 / V, so

        rate = exp(-u^2 / 2V) / sqrt(2 pi V) [s sqrt(2 / pi) exp(-m^2 / 2s^2) + m erf(m / (s sqrt 2))],

    which at u = 0 is (1 / pi) sqrt(V D - C^2) / V.

    Args:
        square: V.
        speed: D.
        drift: C.
        level: u.

    Source: Kac 1943, Rice 1944.

    Example:
        >>> one = np.ones(1)
        >>> float(kac_rice(one, one, 0 * one)[0] * np.pi)
        1.0
    """
    square, speed, drift = numbers(square, "square"), numbers(speed, "speed"), numbers(drift, "drift")
    if not square.shape == speed.shape == drift.shape:
        shapes = f"{square.shape}, {speed.shape} and {drift.shape}"
        raise InvalidInputError(f"square, speed and drift must have one shape, got {shapes}")
    return _rates(square, speed, drift, level)


def _rates(square: Array, speed: Array, drift: Array, level: float) -> Array:
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        s = np.sqrt(np.maximum(speed - drift**2 / square, 0))
        mean = drift * level / square
        scaled = np.where(s > 0, np.abs(mean) / (s * math.sqrt(2)), np.where(mean == 0, 0.0, np.inf))
        pace = s * math.sqrt(2 / math.pi) * np.exp(-(scaled**2)) + np.abs(mean) * erf(scaled)
        rate = np.exp(-(level**2) / (2 * square)) / np.sqrt(2 * math.pi * square) * pace
    return np.where(square > 0, rate, 0.0)


@checked
def crossing_rate(
    activation: ActivationLike,
    sigma_w: float | Sequence[float] | Array,
    sigma_b: float | Sequence[float] | Array = 0.0,
    depth: Depth = 1,
    *,
    curve: Any = "circle",
    q0: Gain | None = None,
    fan_in: PositiveInt | None = None,
) -> CrossingRate:
    """Expected transitions per unit and layer along a line, an arc or a circle.

    The Kac-Rice rate of `kac_rice` at 0 (sign transitions) and at every kink of the activation (state
    switches: one for ReLU, two for hard-tanh), integrated along the curve, with the variances of
    `length_growth` carried from layer to layer. Where phi(a h) = a phi(h) and the curve is straight, it is
    closed,

        (1 / pi) atan(V'(t) / (2 sqrt(V D - C^2))), from t = 0 to t = 1;

    for one input, He's variance and t in [-X, X] that is (2 / pi) atan(X / (sigma_b sqrt(l / 2))) in layer l.
    On a circle around 0 at q*, without biases, a unit of layer l changes sign 2 sqrt(chi_1)^(l - 1) times,
    and a hard-tanh unit switches 2 exp(-1 / (2 q*)) times as often.

    Assumptions: Gaussian weights N(0, sigma_w^2 / fan_in) and biases N(0, sigma_b^2), untrained. Layer 1 is
    exact at every width; later layers hold for infinite width (narrow layers have fewer).

    Args:
        activation: as for `mean_field`.
        sigma_w: standard deviation of a weight times the square root of its fan-in: one number, or one a layer.
        sigma_b: standard deviation of a bias, likewise.
        depth: number of layers.
        curve: "circle" around 0 (all of it), quarter "arc" or "line" between orthogonal points, or a path
            (`netfold.Line`, `Polyline`, `Arc`, `Circle`).
        q0: mean square of the coordinates of the standard curves' points, by default as for `length_growth`.
        fan_in: for a path, what the first layer's weight variance is divided by; the number of inputs by
            default.

    Raises:
        InvalidInputError: bad gains, depth or curve; a curve through 0 where there are no biases (all units
            of the first layer change sign there at once).

    Source: the Kac-Rice formula; Hanin and Rolnick 2019 (Complexity of linear regions in deep networks) state
    the same density for finite networks. The closed forms are derived here.

    Example:
        >>> crossing_rate("relu", math.sqrt(2), depth=3, curve="arc").sign_transitions.round(6).tolist()
        [0.5, 0.5, 0.5]
    """
    phi = as_activation(activation)
    w, b = gains_by_layer(sigma_w, sigma_b, depth)
    taken = standard_or_path(phi, float(w[0]), float(b[0]), curve, q0, fan_in)
    if b[0] == 0 and any(leg.meets_origin for leg in taken.legs):
        raise InvalidInputError(
            "the curve passes through 0, where without biases every unit of the first layer changes sign at "
            "once: expected a curve that avoids 0, or sigma_b > 0"
        )
    levels = [0.0, *(k for k in phi.kinks if k != 0)]

    def rates(square: Array, speed: Array, drift: Array) -> Array:
        layers = propagate(phi, w, b, square, speed, drift)
        return np.stack([_rates(s.square, s.speed, s.drift, u) for u in levels for s in layers])

    if phi.homogeneous_gain is not None and all(leg.angle is None for leg in taken.legs):
        totals = np.sum([[_straight(phi, w, b, leg)] for leg in taken.legs], 0)
        errors = 1e-15 * totals
    else:
        totals, errors = (a.reshape(len(levels), depth) for a in taken.integrate(rates))
    switching = [i for i, u in enumerate(levels) if u in phi.kinks]
    smooth = not phi.kinks and phi.homogeneous_gain is None
    switches = np.full(depth, np.nan) if smooth else totals[switching].sum(0)
    return CrossingRate(phi.name, totals[0], switches, 1, errors.sum(0))


def _straight(phi: Activation, sigma_w: Array, sigma_b: Array, leg: Leg) -> Array:
    """Sign transitions on a straight line where phi(a h) = a phi(h): V D - C^2 is constant there."""
    layers = propagate(phi, sigma_w, sigma_b, *leg.at(np.array([0.0, leg.closest, 1.0])))
    angles = []
    for s in layers:
        # Where the line is closest to 0 the difference cancels least.
        apart = np.sqrt(np.maximum(s.square * s.speed - s.drift**2, 0)[1])
        angles.append(np.arctan2(s.drift[2], apart) - np.arctan2(s.drift[0], apart))
    return np.array(angles) / np.pi


@checked
def angular_length(points: Any, bias: Spread = 0.0) -> float:
    """Length, on the unit sphere, of the projection of a polyline from the centre, in radians.

    The sum of the angles between successive points: exact where the curve is straight between them, since
    straight segments project on great circles.

    Args:
        points: shape ``(points, dimension)``: the image of a path at its breakpoints.
        bias: a further coordinate, the same for all points: sigma_b sqrt(k) / sigma_w for the readout of
            `expected_sign_transitions` with a bias.

    Raises:
        InvalidInputError: not a matrix, or a point at the centre.

    Source: elementary; the angles in Kahan's form, which keeps its digits.

    Example:
        >>> round(angular_length([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]) / np.pi, 6)
        1.0
    """
    rows = numbers(points, "points")
    if rows.ndim != 2 or len(rows) < 2:
        raise InvalidInputError(f"points: expected at least two in a matrix, got shape {rows.shape}")
    rows = np.concatenate([rows, np.full((len(rows), 1), float(bias))], 1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise InvalidInputError("a point lies at the centre, where no direction is defined")
    units = rows / norms
    # Kahan's form keeps its digits for small and for almost opposite directions.
    apart = np.linalg.norm(units[1:] - units[:-1], axis=1)
    together = np.linalg.norm(units[1:] + units[:-1], axis=1)
    return float(2 * np.arctan2(apart, together).sum())


@checked
def expected_sign_transitions(trace: Any) -> Array:
    """Expected sign changes of a unit reading out each layer's image with fresh Gaussian weights: angle / pi.

    For any curve z(t) and w ~ N(0, s^2 I), of any dimension and whatever network made z,

        E[sign changes of w . z(t)] = (1 / pi) length of z / ||z|| on the unit sphere.

    This is the exact form of the observation that transitions are proportional to length: the *angular*
    length counts, not the Euclidean one. For a readout with a bias N(0, sigma_b^2) on weights N(0, sigma_w^2
    / k), give the angular length of z with one more coordinate, sigma_b sqrt(k) / sigma_w (`angular_length`
    with ``bias``).

    Assumptions: w is independent of z and isotropic Gaussian; the curve does not pass through 0.

    Args:
        trace: a `netfold.Trace` (its layers' angular lengths are taken), or angular lengths in radians.

    Returns:
        One expected count a layer: of one unit of the next layer, or of one readout of the last.

    Raises:
        InvalidInputError: lengths that are negative or not finite.

    Source: Crofton's formula on the sphere; Raghu et al. 2017 observe the proportionality (Observation 1 of
    the ICLR 2017 submission).

    Example:
        >>> expected_sign_transitions([np.pi / 2, 3 * np.pi]).tolist()
        [0.5, 3.0]
    """
    given = [layer.angular_length for layer in trace.layers] if hasattr(trace, "layers") else trace
    lengths = np.atleast_1d(numbers(given, "trace"))
    if (lengths < 0).any():
        raise InvalidInputError(f"trace: angular lengths must not be negative, got {lengths.min()}")
    return lengths / np.pi
