"""Fixed points of the length and correlation maps of wide random networks, for many gains at once."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np

from netfold.arguments import Gain, Spread, require, shown
from netfold.arrays import numbers
from netfold.errors import InvalidInputError
from netfold.theory.activations import Activation, Correlation
from netfold.theory.gaussian import Array

ActivationLike = str | Activation | Callable[[Any], Any]

CRITICAL = 1e-8  # chi_1 this close to 1 counts as critical
ACCURATE = 1e-6  # relative error up to which a result counts as converged
FAR = 1e12  # stands for an infinite length
GRID = np.logspace(-24, 16, 321)  # lengths q between which fixed points are bracketed


class Phase(StrEnum):
    """What a wide random network does to two nearby inputs, layer after layer."""

    ORDERED = "ordered"
    CRITICAL = "critical"
    CHAOTIC = "chaotic"


class Status(StrEnum):
    """How the squared length q of the signal ends."""

    CONVERGED = "converged"
    DIVERGES = "diverges"
    EVERY = "every length is a fixed point"
    INACCURATE = "not converged"

    @property
    def advice(self) -> str:
        """What this means for whoever reads the numbers."""
        return _ADVICE[self]


_ADVICE = {
    Status.CONVERGED: "q* is a stable fixed point that the signal reaches, and the error estimate is small",
    Status.DIVERGES: "the signal grows without bound (q* = inf); the other numbers are limits for q -> inf",
    Status.EVERY: "the layers keep any length (q* = nan); the other numbers do not depend on it",
    Status.INACCURATE: "the error estimate is large; for a callable, check that it is continuous and finite",
}


def phase_of(chi_1: float) -> Phase:
    """The phase that a value of chi_1 means."""
    if abs(chi_1 - 1) <= CRITICAL:
        return Phase.CRITICAL
    return Phase.ORDERED if chi_1 < 1 else Phase.CHAOTIC


def check_gains(sigma_w: float, sigma_b: float, q0: float = 1.0) -> None:
    """Raise InvalidInputError unless the gains and the input's mean square are numbers in range."""
    for name, value, kind in (("sigma_w", sigma_w, Gain), ("sigma_b", sigma_b, Spread), ("q0", q0, Gain)):
        require(kind, value, name)


def gains_by_layer(sigma_w: Any, sigma_b: Any, layers: int) -> tuple[Array, Array]:
    """Gains given as one number for all layers or one a layer, as one a layer.

    Raises:
        InvalidInputError: not as many as layers, or one out of range.

    Example:
        >>> gains_by_layer([1.0, 2.0], 0.5, 2)
        (array([1., 2.]), array([0.5, 0.5]))
    """
    found = []
    for name, value in (("sigma_w", sigma_w), ("sigma_b", sigma_b)):
        listed = np.atleast_1d(numbers(value, name))
        if listed.ndim != 1 or len(listed) not in (1, layers):
            raise InvalidInputError(
                f"{name} must be one number, or one for each of {layers} layers, got {shown(value)}"
            )
        found.append(np.broadcast_to(listed, (layers,)).copy())
    for w, b in zip(*found, strict=True):
        check_gains(float(w), float(b))
    return found[0], found[1]


def solve(phi: Activation, sigma_w: Array, sigma_b: Array, q0: float) -> dict[str, Any]:
    """Every number of `MeanField` but the phase, for many pairs of gains at once."""
    w, b = np.square(sigma_w, dtype=np.float64), np.square(sigma_b, dtype=np.float64)
    q = _fixed_length(phi, w, b, q0)
    with np.errstate(all="ignore"):
        m = phi.moments(np.where(np.isnan(q), 1.0, np.minimum(q, FAR)))
        chi_1, chi_2, radial, steepness = w * m.slope, w * m.bend, w * m.radial, w * m.square_slope
        ends = phi.end_slopes
        if ends is not None:
            limit = w * (ends[0] ** 2 + ends[1] ** 2) / 2
            chi_1, radial, steepness = (np.where(np.isinf(q), limit, v) for v in (chi_1, radial, steepness))
            chi_2 = np.where(np.isinf(q) & np.isfinite(chi_2), 0.0, chi_2)
        c, slope, c_error = _fixed_correlation(phi, w, b, q, chi_1)
        # An error of the length map moves q* by 1 / (1 - steepness) as much.
        error = np.where(np.isfinite(q) & (q > 0), m.error * (1 + 1 / np.abs(1 - steepness)), m.error)
        error = error + c_error
        curvature = np.where(chi_1 > 1 + CRITICAL, np.sqrt(3 * chi_2 / (chi_1 * (chi_1 - 1))), np.inf)
        curvature = np.where((chi_2 == 0) & (np.abs(chi_1 - 1) <= CRITICAL), np.nan, curvature)
    status = np.empty(q.shape, dtype=object)
    status[:] = Status.CONVERGED
    status[~(error < ACCURATE)] = Status.INACCURATE
    status[np.isinf(q)], status[np.isnan(q)] = Status.DIVERGES, Status.EVERY
    return {
        "q": q,
        "c": c,
        "chi_1": chi_1,
        "chi_2": chi_2,
        "chi_radial": radial,
        "curvature": curvature,
        "xi_q": np.where(np.isfinite(q), _depth_scale(np.abs(steepness)), np.inf),
        "xi_c": _depth_scale(slope),
        "status": status,
        "error": error,
    }


def _depth_scale(factor: Array) -> Array:
    """-1 / ln(factor), inf where nothing decays."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(factor < 1 - CRITICAL, -1 / np.log(factor), np.inf)


@lru_cache(maxsize=32)
def _squares_on_grid(phi: Activation) -> Array:
    return phi.square(GRID)


def _fixed_length(phi: Activation, w: Array, b: Array, q0: float) -> Array:
    """The limit of q -> w E phi^2 + b from the first layer's length w q0 + b."""
    gain, start = phi.homogeneous_gain, w * q0 + b
    if gain is not None:
        rate = w * gain
        marginal = np.abs(rate - 1) <= 1e-14
        with np.errstate(divide="ignore", invalid="ignore"):
            q = np.where(rate < 1, b / (1 - rate), np.where(start > 0, np.inf, 0.0))
        return np.where(marginal, np.where(b == 0, np.nan, np.inf), q)

    def excess(q: Array, w: Array, b: Array, square: Array) -> Array:
        gap = w * square + b - q
        return np.where(np.abs(gap) <= 1e-13 * q, 0.0, gap)

    at_start = excess(start, w, b, phi.square(start))
    on_grid = excess(GRID, w[:, None], b[:, None], _squares_on_grid(phi))
    up = at_start > 0
    # The signal moves monotonically to the first length where the map crosses the diagonal.
    ahead = np.where(up[:, None], start[:, None] < GRID, start[:, None] > GRID)
    crossed = ahead & np.where(up[:, None], on_grid < 0, on_grid > 0)
    first = np.where(up, crossed.argmax(1), GRID.size - 1 - crossed[:, ::-1].argmax(1))
    reached, beyond = crossed.any(1), GRID[first]
    before = GRID[np.clip(first - np.where(up, 1, -1), 0, GRID.size - 1)]
    before = np.where(up, np.maximum(before, start), np.minimum(before, start))
    low, high = np.minimum(before, beyond), np.maximum(before, beyond)

    q = np.where(up, np.inf, 0.0)
    if reached.any():
        w, b = w[reached], b[reached]
        q[reached] = root(lambda q: w * phi.square(q) + b - q, low[reached], high[reached])
    return np.where((at_start == 0) & (start > 0), start, q)


def root(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Roots of many functions at once, between ``low`` and ``high``: regula falsi with the Illinois rule."""
    a, b = low.copy(), high.copy()
    at_a, at_b = function(a), function(b)
    for _ in range(200):
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.where(at_b == at_a, b, b - at_b * (b - a) / (at_b - at_a))
        at_x = function(x)
        crossed = np.sign(at_x) != np.sign(at_b)
        a, at_a = np.where(crossed, b, a), np.where(crossed, at_b, at_a / 2)
        settled = np.abs(x - b) <= 1e-15 * np.abs(x)
        b, at_b = x, at_x
        if (settled | (at_b == 0)).all():
            break
    return b


def correlation_map(phi: Activation, w: Array, b: Array, q: Array) -> Correlation:
    """The correlation map c -> C(c), its slope, and its error estimate."""
    degenerate = ~(np.isfinite(q) & (q > 0))
    at = np.where(np.isinf(q), FAR, np.where(degenerate, 1.0 if phi.homogeneous_gain else 1e-12, q))
    # Without a positive q* the map is taken relative to the length one layer on, where biases do not count.
    length = np.where(degenerate, phi.square(at), at)
    weight, bias = np.where(degenerate, 1.0, w), np.where(degenerate, 0.0, b)
    products = phi.correlation(at)

    def mapped(c: Array) -> tuple[Array, Array, Array]:
        product, slope, error = products(c)
        return (weight * product + bias) / length, weight * at * slope / length, weight * error / length

    return mapped


def _fixed_correlation(phi: Activation, w: Array, b: Array, q: Array, chi_1: Array) -> tuple[Array, Array, Array]:
    """c*, the slope of the correlation map there, and the error of c*."""
    c, slope, error = np.ones_like(q), chi_1.copy(), np.zeros_like(q)
    degenerate = ~(np.isfinite(q) & (q > 0))
    c[degenerate] = [_limit_correlation(phi, w[i], b[i], q[i]) for i in np.flatnonzero(degenerate)]
    chaotic = np.flatnonzero((chi_1 > 1 + CRITICAL) & ~degenerate)
    if not len(chaotic):
        return c, slope, error
    mapped = correlation_map(phi, w[chaotic], b[chaotic], q[chaotic])

    def gap(c: Array) -> Array:
        return mapped(c)[0] - c

    # The map is convex and steeper than 1 at c = 1: look for a c below 1 where it is under the diagonal.
    high = np.ones(len(chaotic))
    for step in 10.0 ** -np.arange(1, 11):
        if not (high == 1).any():
            break
        below = gap(np.full(len(chaotic), 1 - step)) < 0
        high = np.where((high == 1) & below, 1 - step, high)
    # Where none is found, c* is within 1e-10 of 1, and the bracket [0, 1] leads to c = 1 itself.
    found = root(gap, np.zeros(len(chaotic)), high)
    _, slope[chaotic], wrong = mapped(found)
    c[chaotic], error[chaotic] = found, wrong / np.abs(1 - slope[chaotic])
    return c, slope, error


def _limit_correlation(phi: Activation, w: float, b: float, q: float) -> float:
    """c* where q* is 0, inf or arbitrary: 1 where layers still bend the signal, nan where they are linear."""
    if np.isinf(q):
        ends = phi.end_slopes
        if ends is None:
            return np.nan
        marginal_bias = b > 0 and abs(w * (ends[0] ** 2 + ends[1] ** 2) / 2 - 1) <= 1e-14
        return 1.0 if abs(ends[0]) != abs(ends[1]) or ends[0] == -ends[1] or marginal_bias else np.nan
    return 1.0 if 0.0 in phi.kinks else np.nan
