"""Panels: stretches of a path, and what is known of those that are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats
from netfold.sampled.brackets import Brackets, joined
from netfold.sampled.rule import NODES

Mask = NDArray[np.bool_]

NUDGE = 2.0**-40
"""A panel's ends are sampled this far inside it, so that a knot at its end has been crossed there beyond rounding."""

NARROWEST = 2.0**-36
"""Panels narrower than this are not split."""


@dataclass(frozen=True)
class Panels:
    """Stretches [a, b] in increasing order, and whether their ends have yet to be compared with their neighbours'."""

    a: Floats
    b: Floats
    open_left: Mask
    open_right: Mask

    @staticmethod
    def between(points: Floats) -> Panels:
        """The stretches between increasing points; the first and the last point have no neighbour."""
        inner = np.ones(len(points) - 2, np.bool_)
        return Panels(points[:-1], points[1:], np.append(False, inner), np.append(inner, False))

    def __len__(self) -> int:
        return len(self.a)

    @property
    def width(self) -> Floats:
        """Lengths in t."""
        return self.b - self.a

    @property
    def nodes(self) -> Floats:
        """Parameters at which the panels are sampled: ``(panels, nodes)``."""
        t = self.a[:, None] + self.width[:, None] * NODES
        inside = np.minimum(NUDGE, self.width / 512)
        t[:, 0], t[:, -1] = self.a + inside, self.b - inside
        return t

    def take(self, rows: slice | NDArray[np.integer[Any] | np.bool_]) -> Panels:
        """Some of the panels."""
        return Panels(self.a[rows], self.b[rows], self.open_left[rows], self.open_right[rows])

    def cut(self, t: Floats) -> Panels:
        """The panels cut at points inside them; new ends are open."""
        a, b, new = np.concatenate([self.a, t]), np.concatenate([self.b, t]), np.ones(len(t), np.bool_)
        left, right = np.concatenate([self.open_left, new]), np.concatenate([self.open_right, new])
        by_a, by_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
        return Panels(a[by_a], b[by_b], left[by_a], right[by_b])

    def closed(self) -> Panels:
        """The same panels, with nothing left to compare at their ends."""
        none = np.zeros(len(self), np.bool_)
        return Panels(self.a, self.b, none, none)


@dataclass(frozen=True)
class Leaves:
    """Panels that are kept.

    Attributes:
        panels: where they are.
        values: their measures, ``(panels, images, measures)``, and ``errors`` estimated of these.
        sign_changes: changes of sign inside, ``(panels, watches)``.
        output_signs: changes of sign of every output inside, ``(panels, outputs)``.
        brackets: the changes of state inside; they number panels as they stand here.
    """

    panels: Panels
    values: Floats
    errors: Floats
    sign_changes: NDArray[np.int64]
    output_signs: NDArray[np.uint8]
    brackets: Brackets

    @property
    def totals(self) -> tuple[Floats, Floats]:
        """Measures and errors of all panels together, ``(images, measures)``, added up pairwise."""
        values, errors = (np.ascontiguousarray(np.moveaxis(a, 0, -1)).sum(-1) for a in (self.values, self.errors))
        return values, errors

    def take(self, chosen: Mask) -> Leaves:
        """Some of the leaves."""
        rows = np.flatnonzero(chosen)
        place = np.cumsum(chosen) - 1
        found = self.brackets.take(np.flatnonzero(chosen[self.brackets.panel]))
        return Leaves(
            self.panels.take(rows), self.values[rows], self.errors[rows], self.sign_changes[rows],
            self.output_signs[rows], replace(found, panel=place[found.panel]),
        )  # fmt: skip

    @staticmethod
    def joined(parts: list[Leaves]) -> Leaves:
        """Several groups of leaves as one."""
        offsets = np.cumsum([0, *(len(p.panels) for p in parts)])
        brackets = [replace(p.brackets, panel=p.brackets.panel + n) for p, n in zip(parts, offsets, strict=False)]

        def every(part: Callable[[Leaves], NDArray[Any]]) -> NDArray[Any]:
            return np.concatenate([part(p) for p in parts])

        panels = Panels(
            every(lambda p: p.panels.a),
            every(lambda p: p.panels.b),
            every(lambda p: p.panels.open_left),
            every(lambda p: p.panels.open_right),
        )
        values, errors = every(lambda p: p.values), every(lambda p: p.errors)
        signs, outputs = every(lambda p: p.sign_changes), every(lambda p: p.output_signs)
        return Leaves(panels, values, errors, signs, outputs, joined(brackets))
