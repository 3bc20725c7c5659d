"""What every engine that splits cells of R^m does: work items in, regions and what is left out.

The network is decided unit by unit. A *cell* is the set of points of the domain on which the first units, in
decision order, have given states; it is convex. Splitting all cells at every unit leaves the activation regions.
The splitting tree is walked depth first, so memory does not grow with the number of regions.

A `Prefix` names a node of that tree by the states that lead to it. It is a work item: small, without state of its
own, and it always stands for the same regions, whoever walks it and however the work was divided before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats
from netfold.errors import InvalidInputError

if TYPE_CHECKING:
    from netfold.exact.cells.network import CellNetwork

Prefix = NDArray[np.int16]
"""States of the first units in decision order; the empty prefix is the whole domain."""

P = ParamSpec("P")
T = TypeVar("T")

BUDGET = 1 << 16
"""Decisions after which an engine hands back what it did not reach."""


def within_range(work: Callable[P, T]) -> Callable[P, T]:
    """The function of an engine or its network, with a clear word where numbers leave the range of float64.

    Exact arithmetic may still hold them; where products underflow it may also find that signs taken as certain are not.
    """

    @wraps(work)
    def run(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return work(*arguments, **options)
        except OverflowError as error:
            raise InvalidInputError(
                "regions lie, or the network's values on them, beyond the range of float64 (1e308); scale the weights"
            ) from error
        except ArithmeticError as error:
            if not getattr(arguments[0], "network", arguments[0]).extreme:  # type: ignore[attr-defined]
                raise
            raise InvalidInputError(
                "products of the network's numbers are so small or large that float64 cannot tell where regions end; "
                "scale the weights"
            ) from error

    return run


@dataclass(frozen=True)
class Cells:
    """Finished cells, one a row.

    Attributes:
        states: ``(cells, depth)``, int16: states of all units in network order; where the walk stopped before the
            last unit, of the first units in decision order, so that a row is a `Prefix`.
        points: ``(cells, m)``: a point inside each, in the coordinates of the frame.
    """

    states: NDArray[np.int16]
    points: Floats

    def __len__(self) -> int:
        return len(self.states)

    @staticmethod
    def joined(parts: list[Cells]) -> Cells:
        """Cells of several walks, one after the other; at least one part."""
        return Cells(np.concatenate([p.states for p in parts]), np.concatenate([p.points for p in parts]))


@dataclass(frozen=True)
class Outcome:
    """What one walk from a work item found.

    Attributes:
        regions: cells finished: activation regions, or cells at depth ``stop``.
        leftover: what the budget did not reach, as work items: disjoint, and complete together with ``regions``.
        decisions: signs of rows on cells below the item that were decided; those on the way to it do not count again.
        resolved: those among them that float64 could not decide and rational arithmetic did.
        uncertain: those among them that stay open, because the network holds coefficients that are not rational and
            the tie is closer than their representation.
        smallest_inradius: the smallest inradius of a finished region, in input space, up to 1e-9 relative; infinite
            where no region was finished or all hold balls of any size, and NaN where it was not asked for.
        cells: the finished cells, where they were asked for.
    """

    regions: int
    leftover: list[Prefix] = field(default_factory=list)
    decisions: int = 0
    resolved: int = 0
    uncertain: int = 0
    smallest_inradius: float = math.nan
    cells: Cells | None = None


class Engine(Protocol):
    """Splits cells of one network. Many threads may call `run` at once.

    Attributes:
        network: the network that it splits.
        name: how it represents cells.
    """

    network: CellNetwork
    name: str

    def run(
        self,
        item: Prefix,
        *,
        stop: int | None = None,
        budget: int = BUDGET,
        collect: bool = False,
        inradius: bool = False,
    ) -> Outcome:
        """Walk the tree below a work item.

        Args:
            item: states of the first units in decision order. One that names an empty cell holds no region.
            stop: number of units after which cells count as finished; all by default.
            budget: decisions after which the walk stops and hands back the rest; at least one is always taken.
            collect: whether to return the finished cells.
            inradius: whether to find the smallest inradius; only where the walk goes to the last unit.
        """
        ...


def all_cells(engine: Engine, budget: int) -> Iterator[Outcome]:
    """The whole domain, walked by ``budget`` decisions at a time, with the cells of each walk."""
    items = [whole()]
    while items:
        outcome = engine.run(items.pop(), budget=budget, collect=True)
        items += sorted(outcome.leftover, key=len)
        yield outcome


def whole() -> Prefix:
    """The work item that stands for the whole domain."""
    return np.zeros(0, np.int16)
