"""Means over seeds with their intervals, as rules of verdicts use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from netfold.arrays import Floats
from netfold.reproduce.figure import Check, Verdict
from netfold.results.intervals import estimate


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its 95% interval (Student's t); without an interval where there is one seed.

    Example:
        >>> found = Mean.of([1.0, 2.0, 3.0])
        >>> found.above(0), found.above(-1), found.below(5), str(found)
        (None, True, True, '2.00 (−0.48 to 4.48)')
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Any) -> Mean:
        """Of one number a seed; where one is not finite (a network died, or diverged) there is no interval."""
        values = np.asarray(values, np.float64)
        if not np.isfinite(values).all():
            with np.errstate(invalid="ignore"):
                return cls(float(values.mean()), float("nan"), float("nan"))
        found = estimate(values)
        return cls(found["mean"], found["low"], found["high"])

    @property
    def half(self) -> float:
        """Half the interval; 0 where there is none."""
        return float(np.nan_to_num(self.high - self.value))

    def above(self, level: float) -> Check:
        """Whether the mean lies above: open where the interval holds the level, or there is no interval."""
        return True if self.low > level else False if self.high <= level else None

    def below(self, level: float) -> Check:
        """Whether the mean lies below; open as `above` is."""
        return True if self.high < level else False if self.low >= level else None

    def graded(self, held: float, partly: float) -> Verdict:
        """The grade that all of the interval has; see `Verdict.between`."""
        return Verdict.between(self.low, self.high, held, partly)

    def size(self) -> Mean:
        """The absolute value, with the interval of absolute values."""
        ends = abs(self.low), abs(self.high)
        return Mean(abs(self.value), 0.0 if self.low <= 0 <= self.high else min(ends), max(ends))

    def over(self, other: float) -> Mean:
        """Divided by a positive number."""
        return Mean(self.value / other, self.low / other, self.high / other)

    def exp(self) -> Mean:
        """A mean of logarithms as a geometric mean."""
        return Mean(*(float(np.exp(x)) for x in (self.value, self.low, self.high)))

    def words(self, digits: int = 2) -> str:
        """The mean with its interval."""
        value, low, high = (f"{x:,.{digits}f}".replace("-", "−") for x in (self.value, self.low, self.high))
        return value if np.isnan(self.low) else f"{value} ({low} to {high})"

    def __str__(self) -> str:
        return self.words()


def means(values: Floats) -> tuple[Floats, Floats]:
    """Means over the first axis and half their 95% intervals (0 for a single seed)."""
    from netfold.results.intervals import half_width

    return values.mean(0), half_width(np.moveaxis(values, 0, -1))


def geometric(values: Floats) -> tuple[Floats, Floats]:
    """Geometric means over the first axis, and both arms of their 95% intervals, ``(2, ...)``.

    What has a 0 among its values is NaN: on a logarithmic axis there is no place for it.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, half = means(np.log(values))
        middle = np.exp(mean)
        bars = np.stack([middle - np.exp(mean - half), np.exp(mean + half) - middle])
    return np.where(middle > 0, middle, np.nan), np.nan_to_num(bars)


def rank_correlation(values: Floats) -> float:
    """Spearman's correlation of numbers with their order; NaN where all are the same.

    Example:
        >>> rank_correlation(np.array([4.0, 3.0, 2.0, 1.0]))
        -1.0
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return float("nan")
    return round(float(np.corrcoef(np.arange(len(values)), rankdata(values))[0, 1]), 12)


def straightness(y: Floats) -> float:
    """R squared of the straight line through equally spaced points; NaN where all are the same.

    Example:
        >>> straightness(np.array([1.0, 2.0, 3.0])), straightness(np.array([0.0, 1.0, 0.0]))
        (1.0, 0.0)
    """
    if len(y) < 2 or np.ptp(y) == 0:
        return float("nan")
    return round(float(np.corrcoef(np.arange(len(y)), y)[0, 1] ** 2), 12)
