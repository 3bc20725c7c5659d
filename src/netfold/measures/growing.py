"""A rectangle of a plane measured within a budget: larger and larger ones around its middle, the last one is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from netfold.progress import Budget, progress_bar

Rectangle = tuple[float, float, float, float]

FIRST = 0.125
"""Share of the sides that is measured first, whatever the budget."""

LARGER, WORTH, CAREFUL = 2.0, 1.15, 0.7
"""How many times as long as before sides become at most and at least, and the part of the time left that is planned."""

BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"

R = TypeVar("R")


def growing(whole: Rectangle, seconds: float | None, measure: Callable[[Rectangle], R]) -> tuple[R, Rectangle, str]:
    """Measure a rectangle, or as large a part of it as there is time for.

    Args:
        whole: the rectangle.
        seconds: how long it may take, about: it is planned by the area, and what was begun is done; ``None`` for all.
        measure: measures a rectangle.

    Returns:
        The result, the rectangle that it is of, and why that is not the whole; empty where it is.
    """
    if seconds is None:
        return measure(whole), whole, ""
    budget, side = Budget(seconds), FIRST
    found: tuple[R, Rectangle] | None = None
    with progress_bar(1.0, "cutting", "plane", None, bar_format=BAR, delay=1.0) as bar:
        while True:
            begin, part = time.perf_counter(), _middle(whole, side)
            try:
                found = measure(part), part
            except KeyboardInterrupt:
                if found is None:
                    raise
                budget.stopped = True
                return *found, budget.end
            bar.update(side**2 - bar.n)
            if side == 1.0:
                return *found, ""
            took = max(time.perf_counter() - begin, 1e-6)
            left = CAREFUL * (seconds - budget.elapsed)
            larger = min(1.0, LARGER * side, side * (max(left, 0.0) / took) ** 0.5)
            if larger < min(1.0, WORTH * side):
                return *found, f"{seconds:.3g} seconds allowed no more"
            side = larger


def _middle(whole: Rectangle, side: float) -> Rectangle:
    if side == 1.0:
        return whole
    left, right, bottom, top = whole
    a, b = 0.5 * (left + right), 0.5 * (bottom + top)
    across, up = 0.5 * side * (right - left), 0.5 * side * (top - bottom)
    return a - across, a + across, b - up, b + up
