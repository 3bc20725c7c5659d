"""Sums a path, compiled: counts, smallest values, and exact sums in three limbs."""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import compiled


@compiled()
def add_counts(counts, path, totals):
    """Add counts to their paths' totals.

    Here and below, what belongs to one path is added up before it is written: totals of several threads lie side by
    side in memory, and a write to one makes the others wait.
    """
    total = 0
    for s in range(len(counts)):
        total += counts[s]
        if s + 1 == len(counts) or path[s + 1] != path[s]:
            totals[path[s]] += total
            total = 0


@compiled()
def largest(counts):
    """The largest of some counts."""
    most = 0
    for count in counts:
        most = max(most, count)
    return most


@compiled()
def keep_smallest(values, path, smallest):
    """Keep each path's smallest value."""
    least = np.inf
    for s in range(len(values)):
        least = min(least, values[s])
        if s + 1 == len(values) or path[s + 1] != path[s]:
            smallest[path[s]] = min(smallest[path[s]], least)
            least = np.inf


@compiled()
def sum_exactly(values, path, totals):
    """Add values to their paths' totals without rounding: three limbs of 2^0, 2^-62 and 2^-124.

    The sum is the same in whatever order and grouping the values come.
    """
    limb = 4611686018427387904.0
    whole, middle, low = 0, 0, 0
    for s in range(len(values)):
        rest = values[s]
        high = np.int64(rest)
        rest = (rest - high) * limb
        part = np.int64(rest)
        low += np.int64((rest - part) * limb)
        carry = low >> 62
        low -= carry << 62
        middle += part + carry
        carry = middle >> 62
        middle -= carry << 62
        whole += high + carry
        if s + 1 == len(values) or path[s + 1] != path[s]:
            _add_limbs(whole, middle, low, totals[path[s]])
            whole, middle, low = 0, 0, 0


@compiled()
def _add_limbs(whole, middle, low, total):
    """Add an exact sum to a total."""
    low += total[2]
    middle += total[1] + (low >> 62)
    total[2] = low - ((low >> 62) << 62)
    total[1] = middle - ((middle >> 62) << 62)
    total[0] += whole + (middle >> 62)


@compiled()
def add_exactly(sums, totals):
    """Add exact sums (`sum_exactly`) to others."""
    for p in range(len(totals)):
        _add_limbs(sums[p, 0], sums[p, 1], sums[p, 2], totals[p])
