"""Norms and angles, compiled."""

from __future__ import annotations

import numpy as np

from netfold.exact.numerics.compiled import FAST, compiled

STEPS = 16


KNOWN = np.arctan(np.arange(STEPS + 1) / STEPS)
"""Angles whose tangents are multiples of 1 / ``STEPS``."""


@compiled(FAST)
def norm2(row):
    """Squared Euclidean length."""
    total = 0.0
    for j in range(len(row)):
        total += row[j] * row[j]
    return total


@compiled()
def angle_of_chord(gap2):
    """Angle between two unit vectors from the squared distance between them; a series where it is small."""
    if gap2 < 1e-3:
        return np.sqrt(gap2) * (1.0 + gap2 * (1 / 24 + gap2 * (3 / 640 + gap2 * 5 / 7168)))
    return 2.0 * np.arcsin(min(1.0, 0.5 * np.sqrt(gap2)))


@compiled()
def angle_beside(across, along):
    """Angle to an axis from the distance to it, at least 0, and the way along it.

    The library's arctangent would be a tenth of a trace's time. This one adds a short series to the nearest of a few
    known angles; it is as accurate for finite numbers, and leaves the others to the library.
    """
    far = abs(along)
    low, high = min(across, far), max(across, far)
    if not (low >= 0.0 and 0.0 < high < np.inf):
        return np.arctan2(across, along)
    r = low / high
    k = int(r * STEPS + 0.5)
    if k > 0:
        r = (low - k * (1.0 / STEPS) * high) / (high + k * (1.0 / STEPS) * low)
    s = r * r
    angle = KNOWN[k] + r * (1.0 - s * (1 / 3 - s * (1 / 5 - s * (1 / 7 - s * (1 / 9)))))
    angle = 0.5 * np.pi - angle if across > far else angle
    return np.pi - angle if along < 0.0 else angle
