"""The gain at which a wide random network is critical."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from netfold.arguments import Gain, Spread, checked
from netfold.errors import InvalidInputError
from netfold.theory.activations import Activation, as_activation
from netfold.theory.fixed_points import GRID, ActivationLike, root
from netfold.theory.gaussian import Array
from netfold.theory.mean_field import mean_field


@checked
def critical_sigma_w(activation: ActivationLike, sigma_b: Spread = 0.0, *, q0: Gain = 1.0) -> float:
    """The gain at which a wide network is critical: initialise with weights N(0, gain^2 / fan_in).

    The sigma_w with chi_1 = 1: small displacements neither grow nor fade with depth, and xi_c is infinite.
    With V(q) = E phi^2 and S(q) = E phi'^2 at variance q, it is 1 / sqrt(S(q)) where q - V(q) / S(q) =
    sigma_b^2.

    Assumptions: as for `mean_field`. The critical point must be one that a signal reaches: GELU and SiLU
    without biases have none, since signals there either die or grow before chi_1 is 1.

    Args:
        activation: as for `mean_field`.
        sigma_b: standard deviation of a bias.
        q0: mean square of an input's coordinates.

    Raises:
        InvalidInputError: no gain makes the network critical; bad arguments as for `mean_field`.

    Source: Poole et al. 2016 (edge of chaos, chi_1 = 1); Roberts, Yaida and Hanin 2022 (The Principles of
    Deep Learning Theory) on GELU and SiLU.

    Example:
        >>> print(f"{critical_sigma_w('relu'):.6f} {critical_sigma_w('tanh'):.6f}")
        1.414214 1.000000
    """
    phi = as_activation(activation)
    if phi.homogeneous_gain:
        return float(1 / np.sqrt(phi.homogeneous_gain))
    for gain in _critical_candidates(phi, sigma_b**2):
        if abs(mean_field(phi, gain, sigma_b, q0=q0).chi_1 - 1) < 1e-6:
            return gain
    raise InvalidInputError(
        f"no sigma_w makes {phi.name} critical at sigma_b={sigma_b}: whatever the gain, a signal that starts "
        f"with mean square {q0} ends where chi_1 is not 1; {_critical_advice(phi)}"
    )


@lru_cache(maxsize=32)
def _critical_bias(phi: Activation) -> Array:
    """sigma_b^2 = q - V / S that makes a fixed point at q critical, on the grid of lengths."""
    with np.errstate(all="ignore"):
        m = phi.moments(GRID)
        needed = GRID - m.square / m.slope
    return np.where(np.abs(needed) <= 1e-12 * GRID, 0.0, needed)


def _critical_candidates(phi: Activation, b: float) -> list[float]:
    """Gains with chi_1 = 1 at some fixed point: the longest signals first, then q = 0, then q = inf."""
    need = _critical_bias(phi)
    usable = np.flatnonzero(np.isfinite(need) & (need != 0)) if b == 0 else np.flatnonzero(np.isfinite(need))
    sign = np.sign(need[usable] - b)
    turns = np.flatnonzero(sign[1:] != sign[:-1])[::-1]

    def gap(q: Array) -> Array:
        m = phi.moments(q)
        return q - m.square / m.slope - b

    gains = []
    if len(turns):
        q = root(gap, GRID[usable[turns]], GRID[usable[turns + 1]])
        gains.extend(1 / np.sqrt(phi.moments(q).slope))
    at_zero = phi.moments(np.zeros(1)).slope[0]
    if b == 0 and phi(np.zeros(1))[0] == 0 and at_zero > 0:
        gains.append(1 / np.sqrt(at_zero))
    ends = phi.end_slopes
    if ends is not None and any(ends):
        gains.append(np.sqrt(2 / (ends[0] ** 2 + ends[1] ** 2)))
    return [float(g) for g in gains]


def _critical_advice(phi: Activation) -> str:
    """The smallest bias from which on critical fixed points are stable, where there is one."""
    need, m = _critical_bias(phi), phi.moments(GRID)
    stable = np.flatnonzero((need > 0) & (m.square_slope < m.slope))
    if not len(stable):
        return "choose the gain by the growth per layer you want, mean_field(...).growth"
    return f"biases with sigma_b of at least about {np.sqrt(need[stable[0]]):.2g} give it a critical point"
