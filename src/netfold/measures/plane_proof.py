"""Planes on which rounding may have decided something: cells of R^2, which are certified, tell where that is cheap.

A plane is a domain of two coordinates: the network on it is the network with one affine layer more, in rational
arithmetic. The engine that splits cells of R^m decides every sign exactly, so its regions are those of the stored
weights, and polygons with the same patterns are proven.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.errors import NotExplicitError
from netfold.exact.cells.choice import engine_for
from netfold.exact.cells.engine import Cells, whole
from netfold.exact.cells.network import CellNetwork
from netfold.exact.plane.tracer import PlaneTracer
from netfold.measures.near_ties import usual
from netfold.paths import Plane

Bounds = tuple[float, float, float, float]

WORK = 2e6
"""Decisions of a proof that nobody asked for: at most a second."""

EXACT = 800
"""A decision in rational arithmetic takes as long as so many in float64."""

STEP = 1 << 11
"""Decisions after which the work is added up."""

LARGEST = 3e5
"""Parameters of a network that is put in rational coordinates of a plane unasked."""


@dataclass(frozen=True)
class PlaneProof:
    """The regions of a rectangle of a plane, as exact arithmetic has them.

    Attributes:
        patterns: the states of all units, one row a region.
        by_layer: regions of the network cut off after each layer.
        doubts: places that polygons in float64 left open.
        uncertain: what stays open here: ties closer than the digits taken of square roots, numbers beyond the range
            of error bounds.
    """

    patterns: NDArray[np.int16]
    by_layer: tuple[int, ...]
    doubts: int
    uncertain: int

    def differ(self, patterns: NDArray[Any]) -> int:
        """How many regions are in one of two sets of patterns alone, or more than once among the others."""
        others = _rows(patterns.astype(np.int16))
        return len(np.setxor1d(_rows(self.patterns), others)) + len(others) - len(np.unique(others))


def doubts_of(tracer: PlaneTracer) -> int:
    """In how many places of a plane rounding or the tolerance may have decided."""
    return sum(found.doubts for found in tracer.findings) + tracer.met + (not usual(tracer.program, tracer.corners))


def prove(tracer: PlaneTracer, plane: Plane, bounds: Bounds, certify: bool) -> PlaneProof | None:
    """What exact arithmetic finds, where that is asked for or there are doubts and it is cheap; ``None`` elsewhere.

    Raises:
        NotExplicitError: a proof is asked for, and an operation has no matrix with known coefficients.
    """
    program, doubts = tracer.program, doubts_of(tracer)
    regions = int(tracer.regions[-1]) if len(tracer.regions) else 1
    units, equal = sum(layer.units for layer in program.layers), any(found.equal for found in tracer.findings)
    cheap = program.parameters <= LARGEST and regions * units <= WORK
    if not certify and not (cheap and (doubts or equal)):
        return None
    left, right, bottom, top = bounds
    directions = np.stack([plane.u.reshape(-1), plane.v.reshape(-1)])
    ends = np.array([left, bottom]), np.array([right, top])
    try:
        network = CellNetwork.on_plane(program, plane.origin.reshape(-1), directions, *ends)
    except NotExplicitError:
        if certify:
            raise
        return None
    return _counted(network, doubts, np.inf if certify else WORK)


def _counted(network: CellNetwork, doubts: int, work: float) -> PlaneProof | None:
    """Count the cells of a network on a plane; ``None`` where that is too much work."""
    engine, items, parts, uncertain = engine_for(network), [whole()], list[Cells](), int(network.extreme)
    while items:
        outcome = engine.run(items.pop(), budget=STEP, collect=True)
        assert outcome.cells is not None
        items += sorted(outcome.leftover, key=len)
        parts.append(outcome.cells)
        uncertain += outcome.uncertain
        work -= outcome.decisions + EXACT * outcome.resolved
        if work < 0 and items:
            return None
    patterns = Cells.joined(parts).states
    ends = network.arrays.unit_begin[1:].tolist()
    by_layer = tuple(len(np.unique(_rows(patterns[:, :end]))) for end in ends)
    return PlaneProof(patterns, by_layer, doubts, uncertain)


def _rows(patterns: NDArray[np.int16]) -> NDArray[Any]:
    """Rows as single items."""
    rows = np.ascontiguousarray(patterns)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)
