"""Distinct activation patterns, told apart by 128-bit hashes."""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import compiled

SHARE = 2**19
"""Hashes that are compared with each other at a time: their table stays in the processor's cache."""


NO_LAYER = 32767
"""Layer number of a row at which no unit changes its state."""


@compiled()
def merge_equal(t, flips, first, met):
    """Join neighbouring breakpoints of one path at one parameter, in place; ``met`` counts those of each path.

    Returns how many are left.
    """
    n = i = 0
    for p in range(len(met)):
        begin = n
        for _ in range(met[p]):
            if n > begin and t[i] == t[n - 1]:
                for k in range(flips.shape[1]):
                    flips[n - 1, k] ^= flips[i, k]
                first[n - 1] = min(first[n - 1], first[i])
            else:
                if n < i:
                    t[n], first[n] = t[i], first[i]
                    for k in range(flips.shape[1]):
                        flips[n, k] = flips[i, k]
                n += 1
            i += 1
        met[p] = n - begin
    return n


@compiled()
def count_distinct(flips, met):
    """Distinct patterns a path, from the keys switched at its breakpoints in order; ``flips`` is used up.

    ``met`` counts the breakpoints of each path.
    """
    counts = np.ones(len(met), np.int64)
    begin = 0
    for p in range(len(met)):
        end = begin + met[p]
        for k in range(begin + 1, end):
            flips[k, 0] ^= flips[k - 1, 0]
            flips[k, 1] ^= flips[k - 1, 1]
        if end > begin:
            counts[p] = _distinct(flips[begin:end])
        begin = end
    return counts


@compiled()
def _distinct(hashes):
    """Distinct 128-bit hashes and zero, by tables with open addressing, one for each share of the hashes."""
    shares = 1
    while shares * SHARE < len(hashes):
        shares *= 2
    sizes = np.zeros(shares, np.int64)
    for i in range(len(hashes)):
        sizes[np.int64(hashes[i, 1] & np.uint64(shares - 1))] += 1
    size = 16
    while 3 * size < 4 * sizes.max():
        size *= 2
    table = np.empty(size, np.int32)
    found = 1
    for share in range(shares):
        table[:] = -1
        for i in range(len(hashes)):
            if np.int64(hashes[i, 1] & np.uint64(shares - 1)) != share or (hashes[i, 0] == 0 and hashes[i, 1] == 0):
                continue
            slot = np.int64(hashes[i, 0] & np.uint64(size - 1))
            while table[slot] >= 0:
                k = table[slot]
                if hashes[k, 0] == hashes[i, 0] and hashes[k, 1] == hashes[i, 1]:
                    break
                slot = (slot + 1) & (size - 1)
            else:
                table[slot] = i
                found += 1
    return found
