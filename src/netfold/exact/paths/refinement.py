"""Refine the rows of paths where units change state, compiled: a vertex at every crossing, keyed by what switches.

A state has a key of 128 bits. What switches at a vertex is the exclusive or of the keys of all states that change
there, so patterns are told apart by running exclusive ors, and in whatever order units switch.
"""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import FAST, compiled
from netfold.exact.paths.records import Refined

KEYS = 2
"""Words of a state's key."""


@compiled()
def refine(layer, t, path, flips, first, start, at, unit, origin, target):
    """Insert a vertex at every crossing; crossings at one position share theirs.

    ``flips`` are the keys that earlier layers switch at a vertex, two words or none where nobody asks for them, and
    ``first`` the first of these layers; segment ``s``
    owns the crossings ``start[s]`` to ``start[s + 1]``, and those at position 0 happen at its first vertex.
    """
    out = _room(_count(start, at), flips.shape[1])
    i = 0
    for s in range(len(start)):
        out.segment[i], out.at[i], out.t[i], out.path[i] = s, 0.0, t[s], path[s]
        out.first[i] = first[s]
        for k in range(flips.shape[1]):
            out.flips[i, k] = flips[s, k]
        end = start[s + 1] if s + 1 < len(start) else start[s]
        out.cross[i] = start[s]
        i += 1
        c = start[s]
        while c < end and at[c] == 0.0:
            switch(layer, unit[c], origin[c], target[c], out.flips[i - 1])
            out.first[i - 1] = min(out.first[i - 1], layer)
            c += 1
        while c < end:
            lam = at[c]
            if not lam > 0.0:  # no number, as where values overflow: it has no row, as `_count` has it
                c += 1
                continue
            out.segment[i], out.at[i], out.path[i], out.first[i] = s, lam, path[s], layer
            out.t[i] = t[s] + lam * (t[s + 1] - t[s])
            out.cross[i] = c
            for k in range(flips.shape[1]):
                out.flips[i, k] = np.uint64(0)
            while c < end and at[c] == lam:
                switch(layer, unit[c], origin[c], target[c], out.flips[i])
                c += 1
            i += 1
    out.cross[i] = start[-1]
    return out


@compiled()
def _room(n, keys):
    return Refined(
        np.empty(n, np.int64), np.empty(n), np.empty(n + 1, np.int64), np.empty(n), np.empty(n, np.int64),
        np.empty((n, keys), np.uint64), np.empty(n, np.int64),
    )  # fmt: skip


@compiled()
def _count(start, at):
    """How many refined rows there are: crossings at one position share a row."""
    total = len(start)
    for s in range(len(start) - 1):
        for c in range(start[s], start[s + 1]):
            total += at[c] > 0.0 and (c == start[s] or at[c] != at[c - 1])
    return total


@compiled()
def _mix(x):
    """A 64-bit mixing function (splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled()
def key(layer, unit, piece, half):
    """One half of the 128-bit key of a unit's state."""
    x = _mix(np.uint64(layer) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(unit) + np.uint64(0x632BE59BD9B4E019))
    x = _mix(x + np.uint64(piece) * np.uint64(0xD1B54A32D192ED03))
    return _mix(x + np.uint64(half + 1) * np.uint64(0x8CB92BA72F3D8DD7))


@compiled()
def switch(layer, unit, origin, target, flips):
    """Switch a unit's key in the words of a row."""
    for half in range(len(flips)):
        flips[half] ^= key(layer, unit, origin, half) ^ key(layer, unit, target, half)


@compiled()
def switch_first(layer, unit, origin, target, flips, first):
    """Switch units' keys at the first row alone."""
    for c in range(len(unit)):
        switch(layer, unit[c], origin[c], target[c], flips[0])
        first[0] = min(first[0], layer)


@compiled()
def anchors(start, at, crowded):
    """Rows with a plain vertex after every ``crowded`` crossings of a segment with more than twice as many.

    Returns segments and positions. What is done in a segment depends on that segment alone.
    """
    room = len(start) + len(at) // crowded
    segment, position = np.empty(room, np.int64), np.zeros(room)
    i = 0
    for s in range(len(start)):
        segment[i] = s
        i += 1
        if s + 1 == len(start) or start[s + 1] - start[s] <= 2 * crowded:
            continue
        for c in range(start[s] + crowded, start[s + 1], crowded):
            middle = 0.5 * (at[c - 1] + at[c])
            if at[c - 1] < middle < at[c]:
                segment[i], position[i] = s, middle
                i += 1
    return segment[:i], position[:i]


@compiled(FAST)
def interpolate(values, segment, at):
    """Values at refined rows of a quantity that is affine on every segment."""
    out = np.empty((len(at), values.shape[1]))
    for i in range(len(at)):
        s, lam = segment[i], at[i]
        here, ahead = values[s], values[s + 1] if lam > 0.0 else values[s]
        for j in range(values.shape[1]):
            out[i, j] = here[j] + lam * (ahead[j] - here[j])
    return out
