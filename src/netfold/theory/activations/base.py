"""What mean-field theory needs to know of an activation: its moments under a Gaussian, by quadrature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netfold.theory.gaussian import (
    NODES,
    SERIES,
    SMALLEST,
    WEIGHTS,
    Array,
    expectation,
    hermite_squares,
)

EPS = 4e-16


@dataclass(frozen=True)
class Moments:
    """Expectations over h ~ N(0, q), one entry a variance q.

    Attributes:
        square: E phi^2.
        square_slope: d(E phi^2)/dq = E phi phi' h / q.
        slope: E phi'^2, the gain of a displacement uncorrelated with h.
        radial: E phi'^2 h^2 / q, the gain of a displacement along h.
        bend: E phi''^2; infinite where the slope of phi jumps.
        error: relative error estimate, the largest over the five.
    """

    square: Array
    square_slope: Array
    slope: Array
    radial: Array
    bend: Array
    error: Array


# Correlations c -> E phi(h_1) phi(h_2), E phi'(h_1) phi'(h_2) and an absolute error estimate of the first.
Correlation = Callable[[Array], tuple[Array, Array, Array]]


class Activation(ABC):
    """An activation function phi and what a wide random network needs to know of it.

    A new one gives `__call__` and either `derivative` and `second_derivative` or closed forms of `moments`
    and `correlation`.

    Attributes:
        name: what results and tables call it.
        kinks: where its slope jumps.
        end_slopes: its slopes at -infinity and +infinity; None where unknown.
    """

    name: str
    kinks: tuple[float, ...] = ()
    end_slopes: tuple[float, float] | None = None

    @abstractmethod
    def __call__(self, h: Array) -> Array:
        """Values at h."""

    def derivative(self, h: Array) -> Array:
        """First derivative at h."""
        raise NotImplementedError

    def second_derivative(self, h: Array) -> Array:
        """Second derivative at h, without the jumps of the first."""
        raise NotImplementedError

    @property
    def homogeneous_gain(self) -> float | None:
        """E phi(h)^2 / Var h where phi(a h) = a phi(h), a > 0 (ReLU, leaky ReLU, linear), else None."""
        return None

    def square(self, q: Array) -> Array:
        """E phi(h)^2 for h ~ N(0, q)."""
        return expectation(lambda h, _: self(h)[None] ** 2, q, self.kinks)[0][0]

    def moments(self, q: Array) -> Moments:
        """All moments for h ~ N(0, q), by quadrature unless a subclass has closed forms."""
        return self._quadrature(q, lambda h, _: (self(h), self.derivative(h), self.second_derivative(h)))

    def correlation(self, q: Array) -> Correlation:
        """Expectations of products for pairs with variances q, as a function of their correlations.

        By the Hermite series of phi; what the series leaves out is put into one further term, so that c = 1
        gives the moments themselves.
        """
        full, squares = self.moments(q), hermite_squares(self, q, self.kinks)
        slopes = np.arange(1, SERIES) * squares[:, 1:] / np.maximum(q, SMALLEST)[:, None]
        rest = np.maximum(full.square - squares.sum(1), 0)
        rest_slope = np.maximum(full.slope - slopes.sum(1), 0)

        def at(c: Array) -> tuple[Array, Array, Array]:
            left_out = np.abs(c) ** (SERIES - 1)
            value = _power_series(squares, c) + rest * c**SERIES
            slope = _power_series(slopes, c) + rest_slope * c ** (SERIES - 1)
            return value, slope, rest * left_out + full.error * full.square

        return at

    def _quadrature(self, q: Array, derivatives: Callable[[Array, Array], tuple[Array, Array, Array]]) -> Moments:
        def integrand(h: Array, width: Array) -> Array:
            value, first, second = derivatives(h, width)
            return np.stack([value**2, value * first * h, first**2, (first * h) ** 2, second**2])

        q = np.maximum(q, SMALLEST)
        found, error = expectation(integrand, q, self.kinks)
        square, along, slope, radial, bend = found
        with np.errstate(over="ignore", invalid="ignore"):
            scale = np.abs(found)
            scale[4] = np.maximum(bend, 1e-4 * slope / q)  # a straight stretch bends by rounding alone
            relative = (error / np.maximum(scale, SMALLEST))[: 4 if self.kinks else 5].max(0)
            if self.kinks:
                bend = np.full_like(bend, np.inf)
            return Moments(square, along / q, slope, radial / q, bend, relative)


def _power_series(coefficients: Array, c: Array) -> Array:
    """Sum of coefficients[:, n] c^n, by Horner's scheme."""
    total = np.zeros_like(c)
    for column in coefficients.T[::-1]:
        total = total * c + column
    return total


def integrate_bend(q: Array, mean: Array, slope: Array, bend: Callable[[Array], Array]) -> Correlation:
    """E phi phi and E phi' phi' as functions of c from E phi'' phi'' (Price's theorem), where that is closed.

    d E phi' phi' / dc = q E phi'' phi'' and d E phi phi / dc = q E phi' phi', from c = 0 on, where the two
    factors are independent. With c = sin(angle), ``bend`` gives E phi'' phi'' cos(angle), which stays
    bounded.
    """

    def at(c: Array) -> tuple[Array, Array, Array]:
        end = np.arcsin(np.clip(c, -1, 1))[:, None]
        # Panels shrink towards c = 1 and c = -1, where kinks far apart make the integrand steep.
        edges = np.sign(end) * np.minimum(np.abs(end), np.pi / 2 * (1 - 2.0 ** -np.arange(24.0)))
        edges = np.concatenate([edges, end], 1)
        half = 0.5 * np.diff(edges, axis=1)[:, :, None]
        angle = (edges[:, :-1, None] + half * (NODES + 1)).reshape(len(q), -1)
        mass = bend(angle) * (half * WEIGHTS).reshape(len(q), -1)
        along = ((c[:, None] - np.sin(angle)) * mass).sum(1)
        value = mean**2 + q * slope**2 * c + q**2 * along
        return value, slope**2 + q * mass.sum(1), 1e-14 * (np.abs(value) + q * slope**2)

    return at
