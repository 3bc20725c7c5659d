"""Curves as a random network sees them: mean products of points and velocities, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from netfold.arguments import Gain, require
from netfold.errors import InvalidInputError
from netfold.paths import Path
from netfold.theory.activations import Activation
from netfold.theory.gaussian import NODES, WEIGHTS, Array
from netfold.theory.mean_field import mean_field


@dataclass(frozen=True, eq=False)
class Leg:
    """A smooth piece x(t), t in [0, 1], of an input curve, known by the inner products of what spans it.

    Attributes:
        gram: inner products of p_0, p_1, ... divided by the fan-in of the first layer.
        angle: None for x = p_0 + t p_1; otherwise x = p_0 + cos(angle t) p_1 + sin(angle t) p_2.
    """

    gram: Array
    angle: float | None

    def at(self, t: Array) -> tuple[Array, Array, Array]:
        """Mean square of x, mean square of dx/dt, and the mean of their product, at each t."""
        if self.angle is None:
            basis, rate = np.stack([np.ones_like(t), t]), np.stack([np.zeros_like(t), np.ones_like(t)])
        else:
            s = self.angle * t
            basis = np.stack([np.ones_like(t), np.cos(s), np.sin(s)])
            rate = self.angle * np.stack([np.zeros_like(t), -np.sin(s), np.cos(s)])
        square = np.einsum("it,ij,jt->t", basis, self.gram, basis)
        speed = np.einsum("it,ij,jt->t", rate, self.gram, rate)
        return np.maximum(square, 0), np.maximum(speed, 0), np.einsum("it,ij,jt->t", basis, self.gram, rate)

    @property
    def closest(self) -> float:
        """The parameter where a straight leg is closest to 0."""
        return float(np.clip(-self.gram[0, 1] / self.gram[1, 1], 0.0, 1.0))

    @property
    def meets_origin(self) -> bool:
        """Whether the leg passes through 0, to rounding (a curved one: on a grid of 4096 points)."""
        t = np.linspace(0.0, 1.0, 4097) if self.angle else np.array([0.0, self.closest, 1.0])
        square = self.at(t)[0]
        return bool(square.min() <= 1e-12 * square.max())


@dataclass(frozen=True, eq=False)
class InputCurve:
    """An input curve, as far as a random network's expectations depend on it.

    Attributes:
        legs: its smooth pieces, in order.
        size: number of input coordinates; None for a curve known by its mean squares alone.
    """

    legs: tuple[Leg, ...]
    size: int | None = None

    @classmethod
    def standard(cls, kind: str, q0: float) -> InputCurve:
        """A circle around 0, or the quarter arc or the line between orthogonal points, of mean square ``q0``.

        Raises:
            InvalidInputError: an unknown kind, or a mean square that is not positive.
        """
        if kind not in ("circle", "arc", "line"):
            raise InvalidInputError(f"curve: there is no {kind!r}: expected 'circle', 'arc', 'line', or a path")
        require(Gain, q0, "q0")
        if kind == "line":
            return cls((Leg(q0 * np.array([[1.0, -1.0], [-1.0, 2.0]]), None),))
        return cls((Leg(q0 * np.diag([0.0, 1.0, 1.0]), 2 * np.pi if kind == "circle" else np.pi / 2),))

    @classmethod
    def of(cls, path: Any, fan_in: int | None = None) -> InputCurve:
        """The curve of a path of straight lines or arcs: `netfold.Line`, `Polyline`, `Arc`, `Circle`.

        Args:
            path: the path.
            fan_in: what the first layer divides its weights' variance by; the number of inputs by default.

        Raises:
            InvalidInputError: a path of another kind.
        """
        way: Any = path
        known = isinstance(path, Path)
        size = int(np.prod(way.shape)) if known else 1
        if known and hasattr(way, "vertices"):
            points = np.reshape(way.vertices[1], (-1, size))
            spans = [np.stack([a, b - a]) for a, b in pairwise(points)]
            angle = None
        elif known and hasattr(way, "ellipse"):
            ellipse = way.ellipse
            spans = [np.stack([np.reshape(p, size) for p in (ellipse.center, ellipse.u, ellipse.v)])]
            angle = float(ellipse.angle)
        else:
            raise InvalidInputError(
                f"curve: expected 'circle', 'arc', 'line', or a path of lines or arcs, got {type(path).__name__}; "
                "approximate another curve by a Polyline"
            )
        return cls(tuple(Leg(p @ p.T / (fan_in or size), angle) for p in spans), size)

    def integrate(self, rates: Callable[[Array, Array, Array], Array]) -> tuple[Array, Array]:
        """Integrals over the curve of rates that depend on its three mean products, and absolute errors.

        Gauss-Legendre quadrature on panels that are halved until two meshes agree.

        Args:
            rates: takes mean square, mean squared speed and mean product, returns shape ``(rates, points)``.
        """
        parts = [_integrate(lambda t, leg=leg: rates(*leg.at(t))) for leg in self.legs]
        return sum(p[0] for p in parts), sum(p[1] for p in parts)  # type: ignore[return-value]


def _integrate(function: Callable[[Array], Array], halvings: int = 8) -> tuple[Array, Array]:
    value, error = np.array(0.0), np.array(np.inf)
    for panels in 2 ** np.arange(halvings):
        t = (np.arange(panels)[:, None] + 0.5 * (NODES + 1)).ravel() / panels
        finer = function(t) @ np.tile(0.5 * WEIGHTS, panels) / panels
        error, value = np.abs(finer - value), finer
        if panels > 1 and np.all(error <= 1e-11 * np.abs(value)):
            break
    return value, error


@dataclass(frozen=True)
class LayerSignal:
    """A curve's Gaussian statistics in one layer of an infinitely wide network, one entry a point.

    Attributes:
        square: variance of a pre-activation h.
        speed: variance of dh/dt.
        drift: covariance of h and dh/dt.
        image_speed: mean square of d phi(h)/dt, the squared speed of the layer's image per unit.
    """

    square: Array
    speed: Array
    drift: Array
    image_speed: Array


def propagate(
    phi: Activation, sigma_w: Array, sigma_b: Array, square: Array, speed: Array, drift: Array
) -> list[LayerSignal]:
    """A curve's statistics in every layer, from the mean products of the input curve.

    The gains hold one entry a layer. With V = Var h, D = Var dh/dt, C = Cov(h, dh/dt),

        V' = sigma_w^2 E phi^2 + sigma_b^2,    C' = sigma_w^2 C d(E phi^2)/dV,
        D' = sigma_w^2 [(D - C^2 / V) E phi'^2 + (C^2 / V) E phi'^2 z^2].
    """
    layers = []
    for w, b in zip(sigma_w, sigma_b, strict=True):
        v, d, c = w**2 * square + b**2, w**2 * speed, w**2 * drift
        m = phi.moments(v)
        along = np.minimum(np.divide(c**2, v, out=d.copy(), where=v > 0), d)
        square, speed, drift = m.square, (d - along) * m.slope + along * m.radial, c * m.square_slope
        layers.append(LayerSignal(v, d, c, speed))
    return layers


def standard_or_path(
    phi: Activation, sigma_w: float, sigma_b: float, curve: Any, q0: float | None, fan_in: int | None
) -> InputCurve:
    """The curve meant by the arguments of `length_growth`, its mean products taken per unit of ``fan_in``.

    The gains are those of the first layer.
    """
    if not isinstance(curve, str):
        return InputCurve.of(curve, fan_in)
    if q0 is None:
        q = mean_field(phi, sigma_w, sigma_b).q
        reached = (q - sigma_b**2) / sigma_w**2
        q0 = reached if np.isfinite(q) and reached > 0 else 1.0
    return InputCurve.standard(curve, q0)
