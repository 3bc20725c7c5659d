"""Regions found on lines beside the most that any weights could make: the bound U(n, k, m)."""

from __future__ import annotations

from dataclasses import dataclass

from netfold.capture import Program
from netfold.theory import bounds

NAME = "raghu2017"
"""The bound that is shown, by the name of its row in `netfold.bounds.of`."""


@dataclass(frozen=True)
class BoundOfRegions:
    """The bound of Raghu et al. 2017, Theorem 1, for one network, as base-10 logarithms.

    Attributes:
        inputs: input dimension m.
        units: units in all layers together.
        on_a_line: activation regions that any weights could make on a line, U(n, k, 1).
        over_all_inputs: the same over all inputs, U(n, k, m); ``None`` where that is too large to evaluate.
    """

    inputs: int
    units: int
    on_a_line: float
    over_all_inputs: float | None


def bound_of(program: Program) -> BoundOfRegions:
    """The bound for a network, by `netfold.bounds.of`.

    Args:
        program: the network.

    Returns:
        The bound, on a line and over all inputs.
    """
    line, everywhere = (bounds.of(program, dimension=m, only=[NAME]) for m in (1, None))
    wide = everywhere.rows[0].bound
    return BoundOfRegions(line.inputs, sum(line.widths), line.upper.log10, None if wide is None else wide.log10)
