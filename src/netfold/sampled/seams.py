"""Where panels meet: what changes there is the difference between the limits from both sides.

Panels end at knots of the network and at corners of the path, and may happen to end where a unit crosses zero. So a
change at a boundary is seen by comparing the last states before it with the first ones after it; a jump of direction
there turns the image by an angle that no integral sees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.numerics.threads import aside
from netfold.sampled import measure
from netfold.sampled.panels import Panels

CORNER = 1e-6
"""Angle in radians above which a boundary is a corner of the image, also where no unit switches; the limits are taken
a little apart, so smooth images turn a little between them."""

KINK = 1e-7
"""The output bends where its velocity jumps by more than this share of itself."""


@dataclass
class PanelSides:
    """The limits at one end of some panels: one row a panel.

    Attributes:
        at: the parameters at which they were taken.
        states: states of all units, then signs of all units; shape ``(panels, columns)``.
        images: values and velocities of every image: pairs of ``(panels, features)``, from the path to the output.
    """

    at: Floats
    states: NDArray[np.int32]
    images: list[tuple[Floats, Floats]]

    def take(self, rows: NDArray[np.integer[Any] | np.bool_]) -> PanelSides:
        """Some of the rows."""
        return PanelSides(self.at[rows], self.states[rows], [(z[rows], v[rows]) for z, v in self.images])


@dataclass
class Seams:
    """Compares neighbouring panels as they come, whichever comes first.

    Attributes:
        angles: angular length and turning added at boundaries, ``(images, 2)``.
        jumps: how far images jump at boundaries, which no length holds.
        kinks: boundaries with a change of state at which the output's velocity jumps.
    """

    images: int
    state_columns: int
    waiting: dict[float, tuple[bool, PanelSides]] = field(default_factory=dict)
    kinks: int = 0
    found: list[tuple[Floats, Ints, Ints, Ints]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.angles = np.zeros((self.images, 2))
        self.jumps = np.zeros(self.images)

    def add(self, panels: Panels, start: PanelSides, end: PanelSides) -> None:
        """Add panels with their limits at both ends, in increasing order; only open ends are compared."""
        a, b = panels.a, panels.b
        meet = (b[:-1] == a[1:]) & panels.open_right[:-1] & panels.open_left[1:]
        left = np.flatnonzero(meet)
        self._compare(b[left], end.take(left), start.take(left + 1))
        for p in np.flatnonzero(panels.open_left & ~np.append(False, meet)):
            self._wait(float(a[p]), True, start.take(np.array([p])))
        for p in np.flatnonzero(panels.open_right & ~np.append(meet, False)):
            self._wait(float(b[p]), False, end.take(np.array([p])))

    def _wait(self, t: float, after: bool, side: PanelSides) -> None:
        if t not in self.waiting:
            self.waiting[t] = after, side
            return
        _, other = self.waiting.pop(t)
        left, right = (other, side) if after else (side, other)
        self._compare(np.array([t]), left, right)

    def _compare(self, t: Floats, left: PanelSides, right: PanelSides) -> None:
        if not len(t):
            return
        row, column = np.nonzero(left.states != right.states)
        origin, target = (side.states[row, column].astype(np.int64) for side in (left, right))
        self.found.append((t[row], column.astype(np.int64), origin, target))
        switched = np.zeros(len(t), np.bool_)
        switched[row[column < self.state_columns]] = True
        for image, (before, after) in enumerate(zip(left.images, right.images, strict=True)):
            angles, jump = np.empty((2, len(t))), np.empty(len(t))
            sides = *before[:2], *after[:2]
            aside(measure.corners, *sides, right.at - left.at, angles[0], angles[1], jump)
            self.angles[image] += np.where(switched | (angles > CORNER), angles, 0.0).sum(1)
            self.jumps[image] += jump.sum()
        before, after = left.images[-1][1], right.images[-1][1]
        jump = np.linalg.norm(after - before, axis=1)
        size = np.maximum(np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1))
        self.kinks += int((switched & (jump > KINK * size)).sum())

    @property
    def changes(self) -> tuple[Floats, Ints, Ints, Ints]:
        """Every change at a boundary: its parameter, the column, and the values before and after."""
        none = (np.empty(0), *(np.empty(0, np.int64) for _ in range(3)))
        return tuple(np.concatenate(parts) for parts in zip(none, *self.found, strict=True))  # type: ignore[return-value]
