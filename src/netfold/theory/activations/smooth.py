"""Smooth activations: tanh and SiLU by quadrature, erf and GELU in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit, ndtr

from netfold.theory.activations.base import EPS, Activation, Correlation, Moments, integrate_bend
from netfold.theory.gaussian import Array


@dataclass(frozen=True)
class Tanh(Activation):
    """The hyperbolic tangent; moments by quadrature."""

    name: str = "tanh"
    end_slopes = (0.0, 0.0)

    def __call__(self, h: Array) -> Array:
        """Values at h."""
        return np.tanh(h)

    def derivative(self, h: Array) -> Array:
        """1 / cosh(h)^2."""
        small = np.exp(-2 * np.abs(h))
        return 4 * small / (1 + small) ** 2

    def second_derivative(self, h: Array) -> Array:
        """-2 tanh(h) / cosh(h)^2."""
        return -2 * np.tanh(h) * self.derivative(h)


@dataclass(frozen=True)
class SiLU(Activation):
    """h / (1 + exp(-h)), also called swish; moments by quadrature."""

    name: str = "silu"
    end_slopes = (0.0, 1.0)

    def __call__(self, h: Array) -> Array:
        """Values at h."""
        return h * expit(h)

    def derivative(self, h: Array) -> Array:
        """First derivative at h."""
        return expit(h) * (1 + h * expit(-h))

    def second_derivative(self, h: Array) -> Array:
        """Second derivative at h."""
        return expit(h) * expit(-h) * (2 + h * (expit(-h) - expit(h)))


@dataclass(frozen=True)
class Erf(Activation):
    """The error function; every moment in closed form (Williams 1998)."""

    name: str = "erf"
    end_slopes = (0.0, 0.0)

    def __call__(self, h: Array) -> Array:
        """Values at h."""
        return erf(h)

    def square(self, q: Array) -> Array:
        """(2 / pi) asin(2 q / (1 + 2 q)), written with atan, which keeps its digits for large q."""
        return 2 / np.pi * np.arctan(2 * q / np.sqrt(1 + 4 * q))

    def moments(self, q: Array) -> Moments:
        """All moments for h ~ N(0, q), in closed form."""
        wide = 1 + 4 * q
        slope = 4 / np.pi / np.sqrt(wide)
        square_slope = slope / (1 + 2 * q)
        bend = 16 / np.pi * q / wide**1.5
        return Moments(self.square(q), square_slope, slope, slope / wide, bend, np.full_like(slope, EPS))

    def correlation(self, q: Array) -> Correlation:
        """E phi phi = (2 / pi) asin(2 q c / (1 + 2 q)), and its derivative in c over q."""

        def at(c: Array) -> tuple[Array, Array, Array]:
            value = 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q))
            return value, 4 / np.pi / np.sqrt((1 + 2 * q) ** 2 - (2 * q * c) ** 2), EPS * np.abs(value)

        return at


@dataclass(frozen=True)
class GELU(Activation):
    """h Phi(h) with the normal distribution function Phi (the exact form); every moment in closed form.

    The closed forms follow from Gaussian integration by parts and E Phi(h)^2 = 1/4 + asin(q / (1 + q)) / (2
    pi), here written with atan, which keeps its digits for large q.
    """

    name: str = "gelu"
    end_slopes = (0.0, 1.0)

    def __call__(self, h: Array) -> Array:
        """Values at h."""
        return h * ndtr(h)

    def _half(self, q: Array) -> Array:
        return 0.25 + np.arctan(q / np.sqrt(1 + 2 * q)) / (2 * np.pi)

    def square(self, q: Array) -> Array:
        """q E Phi^2 + q^2 / (pi (1 + q) sqrt(1 + 2 q))."""
        return q * (self._half(q) + q / (1 + q) / np.sqrt(1 + 2 * q) / np.pi)

    def moments(self, q: Array) -> Moments:
        """All moments for h ~ N(0, q), in closed form."""
        half, root, s, t = self._half(q), np.sqrt(1 + 2 * q), q / (1 + q), q / (1 + 2 * q)
        slope = half + s / root / np.pi + t / root / (2 * np.pi)
        cubic = s * (2 / (1 + q) + 1 / (1 + 2 * q)) / root
        radial = half + s / root / np.pi + cubic / np.pi + 3 * t / root**3 / (2 * np.pi)
        bend = (4 - 4 * t + 3 * t**2) / (2 * np.pi * root)
        # d/dq of `square`, term by term
        d_half = 1 / (2 * np.pi * (1 + q) * root)
        d_rest = (s * (2 - s) - s * t) / root / np.pi
        return Moments(self.square(q), half + q * d_half + d_rest, slope, radial, bend, np.full_like(q, EPS))

    def correlation(self, q: Array) -> Correlation:
        """Expectations of products for pairs with variances q: see `integrate_bend`."""

        def bend(angle: Array) -> Array:
            plus, minus = (q[:, None] * (1 + sign * np.sin(angle)) for sign in (1, -1))
            along, across = plus / (1 + plus), minus / (1 + minus)
            variance, covariance = (along + across) / 2, (along - across) / 2
            mean = 4 - 4 * variance + variance**2 + 2 * covariance**2
            return mean / (2 * np.pi * np.sqrt((1 + plus) * (1 + minus))) * np.cos(angle)

        mean = q / np.sqrt(2 * np.pi * (1 + q))
        return integrate_bend(q, mean, np.full_like(q, 0.5), bend)
