"""Means over paths or repeats, and how far they can be off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit


def estimate(values: NDArray[np.float64], *, geometric: bool = False, confidence: float = 0.95) -> dict[str, float]:
    """Mean, standard error and Student-t confidence interval of independent values.

    Args:
        values: one-dimensional; NaN is left out.
        geometric: take the mean of logarithms (values of 0 give the mean 0 and no interval).
        confidence: probability that the interval covers the mean, for normal values.

    Returns:
        ``mean``, ``standard_error``, ``low``, ``high``, ``paths`` (the number of values used).

    Example:
        >>> {name: round(float(value), 3) for name, value in estimate(np.array([1.0, 2.0, 3.0])).items()}
        {'mean': 2.0, 'standard_error': 0.577, 'low': -0.484, 'high': 4.484, 'paths': 3.0}
    """
    used = values[~np.isnan(values)]
    if geometric and len(used) and (used > 0).all() and np.isfinite(used).all():
        log = estimate(np.log(used), confidence=confidence)
        mean = float(np.exp(log["mean"]))
        low, high = float(np.exp(log["low"])), float(np.exp(log["high"]))
        error = mean * log["standard_error"]
        return {"mean": mean, "standard_error": error, "low": low, "high": high, "paths": len(used)}
    nan = float("nan")
    if len(used) == 0:
        return {"mean": nan, "standard_error": nan, "low": nan, "high": nan, "paths": 0}
    if geometric:
        mean = nan if np.isinf(used).any() else 0.0
        return {"mean": mean, "standard_error": nan, "low": nan, "high": nan, "paths": len(used)}
    mean = float(used.mean())
    if len(used) == 1:
        return {"mean": mean, "standard_error": nan, "low": nan, "high": nan, "paths": 1}
    error = float(used.std(ddof=1) / np.sqrt(len(used)))
    half = student(len(used), confidence) * error
    return {
        "mean": mean,
        "standard_error": error,
        "low": mean - half,
        "high": mean + half,
        "paths": len(used),
    }


def half_width(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the width of the 95% interval of the mean over the last axis (Student's t); 0 for a single value."""
    n = values.shape[-1]
    return student(n) * values.std(-1, ddof=1) / np.sqrt(n) if n > 1 else np.zeros(values.shape[:-1])


def student(n: int, confidence: float = 0.95) -> float:
    """How many standard errors the mean of n normal values can be off, by Student's t.

    Example:
        >>> round(student(3), 3)
        4.303
    """
    # what scipy.stats.t.ppf calls, without an import that takes as long as many measurements
    return float(stdtrit(n - 1, 0.5 + confidence / 2))
