"""Piecewise-linear activations: every expectation in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from scipy.special import ndtr

from netfold.arguments import checked
from netfold.errors import InvalidInputError
from netfold.theory.activations.base import EPS, Activation, Correlation, Moments, integrate_bend
from netfold.theory.gaussian import SMALLEST, Array, density


def _piece_moments(low: Array, high: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Mass, first and second moment of N(0, scale^2) between two values of h."""
    a, b = low / scale, high / scale
    # The tail that holds the piece is used, so that far pieces keep their relative accuracy.
    mass = np.where(a > 0, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a))
    at_a, at_b = density(a), density(b)
    edge_a, edge_b = np.where(np.isinf(a), 0.0, a) * at_a, np.where(np.isinf(b), 0.0, b) * at_b
    return mass, scale * (at_a - at_b), scale**2 * (mass + edge_a - edge_b)


@checked
@dataclass(frozen=True)
class PiecewiseLinear(Activation):
    """A continuous piecewise-linear activation; every expectation is in closed form.

    Args:
        name: what results call it.
        knots: increasing values of h where the slope changes.
        slopes: one more than knots.
        anchor: the value at the first knot, or at 0 where there is none.

    Example:
        >>> relu6 = PiecewiseLinear("relu6", knots=(0.0, 6.0), slopes=(0.0, 1.0, 0.0))
        >>> relu6(np.array([-1.0, 2.0, 9.0])).tolist()
        [0.0, 2.0, 6.0]
    """

    name: str
    knots: tuple[float, ...]
    slopes: tuple[float, ...]
    anchor: float = 0.0

    def __post_init__(self) -> None:
        if len(self.slopes) != len(self.knots) + 1 or sorted(set(self.knots)) != list(self.knots):
            raise InvalidInputError(
                f"{self.name}: expected increasing knots and one more slope than knots, "
                f"got knots {self.knots} and slopes {self.slopes}"
            )

    @property
    def kinks(self) -> tuple[float, ...]:  # type: ignore[override]
        """Knots where the slope does change."""
        return tuple(k for k, a, b in zip(self.knots, self.slopes, self.slopes[1:], strict=False) if a != b)

    @property
    def end_slopes(self) -> tuple[float, float]:  # type: ignore[override]
        """Slopes of the first and the last piece."""
        return self.slopes[0], self.slopes[-1]

    @property
    def jumps(self) -> Array:
        """By how much the slope changes at each knot."""
        return np.diff(self.slopes)

    @property
    def offsets(self) -> Array:
        """Each piece is slope * h + offset."""
        first = self.anchor - self.slopes[0] * (self.knots[0] if self.knots else 0.0)
        return first - np.concatenate([[0.0], np.cumsum(self.jumps * self.knots)])

    @property
    def homogeneous_gain(self) -> float | None:
        """Half the sum of the squared slopes, where the only kink is at 0 and phi(0) = 0."""
        if set(self.kinks) <= {0.0} and self(np.zeros(1))[0] == 0:
            return (self.slopes[0] ** 2 + self.slopes[-1] ** 2) / 2
        return None

    def __call__(self, h: Array) -> Array:
        """Values at h."""
        piece = np.searchsorted(self.knots, h)
        return np.asarray(self.slopes)[piece] * h + self.offsets[piece]

    def _pieces(self, q: Array) -> tuple[Array, Array, Array]:
        ends = np.concatenate([[-np.inf], self.knots, [np.inf]])
        scale = np.sqrt(np.maximum(q, SMALLEST))
        return _piece_moments(ends[:-1, None], ends[1:, None], scale)

    def square(self, q: Array) -> Array:
        """E phi(h)^2 for h ~ N(0, q)."""
        mass, first, second = self._pieces(q)
        s, o = np.array(self.slopes)[:, None], self.offsets[:, None]
        return (s**2 * second + 2 * s * o * first + o**2 * mass).sum(0)

    def moments(self, q: Array) -> Moments:
        """All moments for h ~ N(0, q), in closed form."""
        q = np.maximum(q, SMALLEST)
        mass, _, second = self._pieces(q)
        s = np.array(self.slopes)[:, None]
        slope, knots = (s**2 * mass).sum(0), np.array(self.knots)[:, None]
        at_knots = self.jumps[:, None] * self(knots) * density(knots / np.sqrt(q)) / np.sqrt(q)
        bend = np.full_like(slope, np.inf if self.kinks else 0.0)
        radial = (s**2 * second).sum(0) / q
        return Moments(self.square(q), slope + at_knots.sum(0), slope, radial, bend, np.full_like(slope, EPS))

    def correlation(self, q: Array) -> Correlation:
        """Expectations of products for pairs with variances q: see `integrate_bend`."""
        q = np.maximum(q, SMALLEST)
        mass, first, _ = self._pieces(q)
        s, o = np.array(self.slopes)[:, None], self.offsets[:, None]

        def bend(angle: Array) -> Array:
            total = np.zeros_like(angle)
            for (k, at_k), (m, at_m) in combinations_with_replacement(zip(self.knots, self.jumps, strict=True), 2):
                # (k^2 + m^2 - 2 k m sin) / cos^2, without a difference of large numbers near |sin| = 1
                side = np.where(angle < 0, -m, m)
                apart = (k - side) ** 2 / np.cos(angle) ** 2 + 2 * k * side / (1 + np.abs(np.sin(angle)))
                pairs = at_k * at_m * (1 if k == m else 2)
                total += pairs * np.exp(-apart / (2 * q[:, None])) / (2 * np.pi * q[:, None])
            return total

        return integrate_bend(q, (s * first + o * mass).sum(0), (s * mass).sum(0), bend)


@checked
def leaky_relu(slope: float = 0.01) -> PiecewiseLinear:
    """h where positive, slope * h elsewhere.

    Example:
        >>> leaky_relu(0.5)(np.array([-2.0, 3.0])).tolist()
        [-1.0, 3.0]
    """
    return PiecewiseLinear("leaky_relu", (0.0,), (slope, 1.0))


@checked
def hard_tanh(low: float = -1.0, high: float = 1.0) -> PiecewiseLinear:
    """h clipped to [low, high].

    Example:
        >>> hard_tanh()(np.array([-2.0, 0.5])).tolist()
        [-1.0, 0.5]
    """
    return PiecewiseLinear("hardtanh", (low, high), (0.0, 1.0, 0.0), low)
