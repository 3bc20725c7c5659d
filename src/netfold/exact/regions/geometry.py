"""Radius, boundedness and volume of a region given by half-spaces."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection

from netfold.arrays import Floats
from netfold.exact.lp import rational
from netfold.exact.lp.ball import largest_ball
from netfold.exact.regions.faces import Reduced, Sides, exact_rows
from netfold.exact.regions.maps import RegionMaps

MOST = 8
"""Dimensions up to which volumes are worked out."""

ROUNDING = 1e-12
"""Share of its size below which the volume of a thin region would be nothing but rounding."""

CLEAR = 1e-9
"""Weights of this size prove that a region is bounded."""


def inradius(maps: RegionMaps, sides: Sides, around: Reduced) -> float:
    """Radius of the largest ball in a region; infinite where there are balls of any size."""
    if not len(sides):
        return math.inf
    if around.thin:
        return rational.inradius(exact_rows(maps, sides, range(len(sides))))
    return largest_ball(around.rows, around.slack, np.zeros(around.rows.shape[1])).radius


def bounded(maps: RegionMaps, sides: Sides, around: Reduced) -> bool:
    """Whether a region is bounded.

    It is where its normals span the space and a combination of all of them with positive weights is zero (Stiemke):
    then no direction leads inside all half-spaces for ever. Weights that float64 finds to be clearly positive settle
    that; otherwise it is decided exactly.
    """
    rows = around.rows
    if rows.shape[1] < around.basis.shape[0] or len(rows) <= rows.shape[1]:
        return False
    count, m = rows.shape
    # weights w >= t, the sum of w is 1, and t as large as possible
    objective = np.append(np.zeros(count), -1.0)
    equal = np.vstack([np.column_stack([rows.T, np.zeros(m)]), np.append(np.ones(count), 0.0)])
    above = np.column_stack([-np.eye(count), np.ones(count)])
    found = linprog(objective, above, np.zeros(count), equal, np.append(np.zeros(m), 1.0), (0, None), method="highs")
    if found.status == 0 and -found.fun > CLEAR:
        return True
    return rational.bounded(exact_rows(maps, sides, range(len(sides))), around.basis.shape[0])


def volume(normals: Floats, offsets: Floats, point: Floats) -> float:
    """Volume of the bounded set ``normals @ x <= offsets`` around a point inside; 0 where rounding is thicker."""
    if len(point) == 1:
        ends = offsets / normals[:, 0]
        return float(ends[normals[:, 0] > 0].min() - ends[normals[:, 0] < 0].max())
    around = offsets - normals @ point
    if not (around > 0).all():
        return 0.0
    around -= normals @ largest_ball(-normals, around, np.zeros(len(point))).centre
    scale = float(np.abs(around).max())
    if around.min() <= ROUNDING * scale:
        return 0.0
    corners = HalfspaceIntersection(np.column_stack([normals, -around / scale]), np.zeros(len(point))).intersections
    return float(ConvexHull(corners).volume) * scale ** len(point)
