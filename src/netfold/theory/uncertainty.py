"""Mean-field numbers of measured gains, with the errors that they inherit from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netfold.errors import InvalidInputError
from netfold.theory.activations import Activation
from netfold.theory.criticality import critical_sigma_w
from netfold.theory.ensemble import Scale
from netfold.theory.fixed_points import CRITICAL, Phase, phase_of, solve

CERTAIN = 3.0
"""How many standard errors chi_1 has to be from 1 to call a network ordered or chaotic."""


def chi(function: Activation, sigma_w: Scale, sigma_b: Scale, q0: float) -> Scale:
    """chi_1 at the fixed point, and its standard error from those of the gains."""
    w, b = _around(sigma_w, sigma_b, 1.0)
    found = solve(function, w, b, q0)["chi_1"]
    off = np.abs(found[1:] - found[0])
    return Scale(float(found[0]), float(np.hypot(off[:2].max(), off[2:].max())))


def _around(sigma_w: Scale, sigma_b: Scale, errors: float) -> tuple[np.ndarray, np.ndarray]:
    """The gains, then each moved down and up by so many standard errors."""
    w, b = sigma_w.value, sigma_b.value
    dw, db = min(errors * sigma_w.error, 0.99 * w), errors * sigma_b.error
    return np.array([w, w - dw, w + dw, w, w]), np.array([b, b, b, max(b - db, 0.0), b + db])


def phase_within(chi_1: Scale) -> Phase | None:
    """The phase, critical where chi_1 is within three standard errors of 1; ``None`` without chi_1.

    Example:
        >>> str(phase_within(Scale(1.1, 0.05))), str(phase_within(Scale(1.2, 0.05)))
        ('critical', 'chaotic')
    """
    if np.isnan(chi_1.value):
        return None
    near = abs(chi_1.value - 1) <= max(CERTAIN * chi_1.error, CRITICAL)
    return Phase.CRITICAL if near else phase_of(chi_1.value)


def geometric_mean(scales: Sequence[Scale]) -> Scale:
    """Geometric mean of positive numbers with independent errors; nan where there are none.

    Example:
        >>> geometric_mean([Scale(1.0, 0.0), Scale(4.0, 0.2)])
        Scale(value=2.0, error=0.05)
    """
    values, errors = np.array([[scale.value, scale.error] for scale in scales]).reshape(-1, 2).T
    if not len(values) or not (values > 0).all():
        return Scale(np.nan, np.nan)
    mean = float(np.exp(np.log(values).mean()))
    return Scale(mean, mean * float(np.linalg.norm(errors / values)) / len(values))


def root_mean_square(scales: Sequence[Scale]) -> Scale:
    """Root mean square of numbers with independent errors; nan where there are none.

    Example:
        >>> root_mean_square([Scale(3.0, 0.5), Scale(3.0, 0.0)])
        Scale(value=3.0, error=0.25)
    """
    values, errors = np.array([[scale.value, scale.error] for scale in scales]).reshape(-1, 2).T
    if not len(values):
        return Scale(np.nan, np.nan)
    root = float(np.sqrt((values**2).mean()))
    return Scale(root, float(np.linalg.norm(values * errors)) / (len(values) * root) if root > 0 else 0.0)


def surviving_depth(
    function: Activation, sigma_w: Scale, sigma_b: Scale, q0: float
) -> tuple[float, tuple[float, float]]:
    """xi_c, and its range within three standard errors of the gains."""
    w, b = _around(sigma_w, sigma_b, CERTAIN)
    found = solve(function, w, b, q0)
    squared = found["chi_1"]
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = np.where(np.isinf(found["q"]) & (squared > 1 + CRITICAL), 1 / np.log(squared), found["xi_c"])
    high = np.inf if squared.min() <= 1 + CRITICAL and squared.max() >= 1 - CRITICAL else scales.max()
    return float(scales[0]), (float(scales.min()), float(high))


def critical_gain(function: Activation, sigma_b: float, q0: float) -> tuple[float, str]:
    """The critical gain at this sigma_b, or why there is none."""
    try:
        return critical_sigma_w(function, sigma_b, q0=q0), ""
    except InvalidInputError as error:
        return np.nan, str(error)
