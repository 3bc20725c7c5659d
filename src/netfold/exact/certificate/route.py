"""The parameters at which a network is evaluated along a straight path, to prove what it meets there."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.certificate.proof import Stretches
from netfold.exact.certificate.rounding import EPS, EPS_PRECISE, LOST, SMALL, Bounded
from netfold.exact.matrices.coefficients import Fractions, fractions
from netfold.exact.numerics import double_double

SHARE = 0.43
"""Where between its neighbours a parameter is placed. Not the middle: there a unit between the knots -1 and 1 is 0."""


@dataclass(frozen=True)
class Route:
    """A path and the parameters at which the network is evaluated along it.

    Attributes:
        vertices: the path's parameters, and ``points`` its vertices, one a row.
        t: its vertices, the claimed breakpoints between them, and one parameter between each two of these.
        leg: the straight leg of each row.
        claim: which claimed breakpoint stands at each row; -1 for none.
        usable: whether a row lies strictly between its neighbours.
    """

    vertices: Floats
    points: Floats
    t: Floats
    leg: Ints
    claim: Ints
    usable: NDArray[np.bool_]

    @staticmethod
    def of(vertices: Floats, points: Floats, breakpoints: Floats) -> Route:
        """The route along a path with claimed breakpoints."""
        claims = np.arange(len(breakpoints))
        inner = ~np.isin(breakpoints, vertices)
        knots = np.concatenate([vertices, breakpoints[inner]])
        order = np.argsort(knots, kind="stable")
        knots = knots[order]
        between = knots[:-1] + SHARE * (knots[1:] - knots[:-1])
        t = np.empty(2 * len(knots) - 1)
        t[::2], t[1::2] = knots, between
        claim = np.full(len(t), -1)
        claim[::2] = np.concatenate([np.full(len(vertices), -1), claims[inner]])[order]
        at = np.searchsorted(vertices, breakpoints[~inner])
        claim[2 * np.searchsorted(knots, vertices[at])] = claims[~inner]
        usable = np.ones(len(t), np.bool_)
        usable[1::2] = (knots[:-1] < between) & (between < knots[1:])
        leg = np.clip(np.searchsorted(vertices, t, side="right") - 1, 0, len(vertices) - 2)
        return Route(vertices, points.reshape(len(vertices), -1), t, leg, claim, usable)

    def cells(self, layers: int) -> Stretches:
        """From each row that is no claim, or a vertex, to the next; other claims stand inside the cells."""
        ends = np.flatnonzero((self.claim < 0) | np.isin(self.t, self.vertices))
        left, right = ends[:-1], ends[1:]
        return Stretches.of(left, np.where(right == left + 2, left + 1, -1), right, layers)

    def values(self, rows: Ints, precise: bool) -> Bounded:
        """The points of some rows."""
        leg, t = self.leg[rows], self.t[rows]
        start, width = self.vertices[leg], self.vertices[leg + 1] - self.vertices[leg]
        here, ahead = self.points[leg], self.points[leg + 1]
        size = np.tile(np.abs(self.points).max(0), (len(rows), 1))
        lost = np.where((size > 0.0) & (size < SMALL), LOST, 0.0)
        if not precise:
            share = ((t - start) / width)[:, None]
            x = (1 - share) * here + share * ahead
            return Bounded(x, np.zeros_like(x), 8 * EPS * size + lost)
        exact = (fractions(t) - fractions(start)) / (fractions(self.vertices[leg + 1]) - fractions(start))
        share = exact.astype(np.float64)
        rest = (exact - fractions(share)).astype(np.float64)
        step = double_double.two_sum(ahead, -here)
        high, low = double_double.multiply(share[:, None], rest[:, None], *step)
        high, low = double_double.add(high, low, here, np.zeros_like(here))
        return Bounded(high, low, 8 * EPS_PRECISE * size + lost)

    def between(self, first: int, last: int) -> tuple[list[Fraction], list[Fractions]]:
        """The part of the path from one row to another, in fractions: parameters and points of its vertices."""
        inside = [v for v in self.vertices.tolist() if self.t[first] < v < self.t[last]]
        t = [Fraction(v) for v in (float(self.t[first]), *inside, float(self.t[last]))]
        return t, [self._exactly(v) for v in t]

    def _exactly(self, t: Fraction) -> Fractions:
        leg = int(np.clip(np.searchsorted(self.vertices, float(t), side="right") - 1, 0, len(self.vertices) - 2))
        start, end = Fraction(float(self.vertices[leg])), Fraction(float(self.vertices[leg + 1]))
        here, ahead = fractions(self.points[leg]), fractions(self.points[leg + 1])
        return here + (t - start) / (end - start) * (ahead - here)
