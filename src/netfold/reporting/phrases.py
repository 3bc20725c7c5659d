"""Numbers as they stand in a sentence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netfold.results.intervals import estimate


def number(value: float) -> str:
    """A number with three digits that matter, or all digits of its whole part.

    Example:
        >>> number(59.925), number(0.4262), number(12345.6), number(2.0), number(float("nan"))
        ('59.9', '0.426', '12,346', '2', 'not defined')
    """
    if not np.isfinite(value):
        return "not defined" if np.isnan(value) else ("infinite" if value > 0 else "minus infinite")
    if value and (abs(value) < 1e-3 or abs(value) >= 1e9):
        return power(float(np.log10(abs(value))), "−" if value < 0 else "")
    if abs(value) >= 100:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def power(log10: float, sign: str = "") -> str:
    """A number given by its logarithm, in full when short.

    Example:
        >>> power(3.0), power(77.064)
        ('1,000', '1.2 × 10⁷⁷')
    """
    if -3 <= log10 < 6:
        return f"{sign}{10**log10:,.0f}" if log10 >= 2 else f"{sign}{10**log10:.3g}"
    exponent = int(np.floor(log10))
    raised = str(exponent).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    return f"{sign}{10 ** (log10 - exponent):.1f} × 10{raised}"


def interval(values: NDArray[np.float64], *, geometric: bool = False, noun: str = "") -> str:
    """A mean with its interval, for a sentence.

    Example:
        >>> interval(np.array([1.0, 2.0, 3.0]), noun="steps")
        '2 steps (95% interval −0.484 to 4.48)'
    """
    found = estimate(values, geometric=geometric)
    mean = f"{number(found['mean'])} {noun}".strip()
    if np.isnan(found["low"]):
        return mean
    return f"{mean} (95% interval {number(found['low'])} to {number(found['high'])})"
