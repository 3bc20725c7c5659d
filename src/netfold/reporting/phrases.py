"""Means as they stand in a sentence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netfold.formats import number
from netfold.results.intervals import estimate


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
