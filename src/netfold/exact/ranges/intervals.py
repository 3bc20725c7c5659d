"""Lower and upper bounds of a value's entries, and what rounding adds to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

EPS = 2.0**-52
SLACK = 1.0 + 1e-6
"""More than what sums of sizes, which are not negative, lose themselves."""

LOST = 2.0**-1000
"""More than what all products together lose where they underflow."""

TINIEST = 2.0**-1074
"""More than what one product loses there."""


class Interval(NamedTuple):
    """Lower and upper bounds of a value's entries."""

    low: Tensor
    high: Tensor

    @property
    def size(self) -> Tensor:
        """The largest size of every entry."""
        return torch.maximum(self.low.abs(), self.high.abs())

    @property
    def parts(self) -> tuple[Tensor, Tensor]:
        """Middles, and radii rounded up."""
        middle = (self.low + self.high) / 2
        return middle, torch.maximum(self.high - middle, middle - self.low) * (1 + 2 * EPS)

    def map(self, function: Callable[[Tensor], Tensor]) -> Interval:
        """The bounds moved about."""
        return Interval(function(self.low), function(self.high))

    def sound(self) -> Interval:
        """What is no number bounds nothing."""
        return Interval(
            self.low.nan_to_num(-math.inf, math.inf, -math.inf), self.high.nan_to_num(math.inf, math.inf, -math.inf)
        )
