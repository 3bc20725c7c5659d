"""Regions found on lines beside the most that any weights could make: the bound U(n, k, m)."""

from __future__ import annotations

from netfold.capture import Program
from netfold.plots.bound import BoundOfRegions
from netfold.theory import bounds

NAME = "raghu2017"
"""The bound that is shown, by the name of its row in `netfold.bounds.of`."""


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
