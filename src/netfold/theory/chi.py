"""Expected norms of Gaussian vectors, and of those whose entries a ReLU-like unit gates."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln


def chi_mean(n: int) -> float:
    """E of the norm of n independent standard normal variables: sqrt(2) Gamma((n + 1) / 2) / Gamma(n / 2).

    Example:
        >>> round(chi_mean(10) / math.sqrt(10), 6)
        0.97535
    """
    return math.sqrt(2) * math.exp(math.lgamma((n + 1) / 2) - math.lgamma(n / 2))


def gated_chi_mean(n: int, low: float, high: float) -> tuple[float, float]:
    """E of the norm of n standard normals, each times one of two slopes with probability 1/2; and its error.

    Where one slope is 0, the sum over the number of units that are on; otherwise, with L the Laplace
    transform of the squared norm, (1 / sqrt(pi)) int (1 - L(u^2)) / u^2 du over u > 0.
    """
    from scipy.integrate import quad
    from scipy.stats import binom

    low, high = sorted((abs(low), abs(high)))
    if low == high:
        return high * chi_mean(n), 1e-14 * high * n
    if low == 0:
        j = np.arange(1, n + 1)
        terms = binom.pmf(j, n, 0.5) * math.sqrt(2) * np.exp(gammaln((j + 1) / 2) - gammaln(j / 2))
        return high * float(terms.sum()), 1e-13 * high * float(terms.sum())

    def missing(u: float) -> float:
        one = 0.5 * sum(math.expm1(-0.5 * math.log1p(2 * (s * u) ** 2)) for s in (low, high))
        return -math.expm1(n * math.log1p(one)) / u**2

    scale = 1 / (high * math.sqrt(n))
    pieces = [
        quad(missing, a * scale, b * scale, epsabs=0, epsrel=1e-12, limit=200)
        for a, b in ((1e-8, 1.0), (1.0, 10.0), (10.0, math.inf))
    ]
    start = 1e-8 * scale * n * (low**2 + high**2) / 2
    return (start + sum(p[0] for p in pieces)) / math.sqrt(math.pi), sum(p[1] for p in pieces)
