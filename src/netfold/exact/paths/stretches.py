"""One path followed stretch by stretch, within a budget: what is left undone is its end, and the rest is complete.

A stretch begins and ends at a plain vertex of the path, and its tally is joined with that of the stretches before. How
long the next one is follows from the rows that the last one had, not from the time that it took: a path that is
followed to its end gives the same numbers on every machine, and one that is not gives those of a part.
"""

from __future__ import annotations

from collections.abc import Callable

from netfold.capture.program import Program
from netfold.exact.numerics.threads import aside
from netfold.exact.paths import driver
from netfold.exact.paths.blocks import PathBlock
from netfold.exact.paths.domain import PathTally
from netfold.exact.paths.driver import Ahead, Domain
from netfold.progress import Budget, held

FIRST = 2.0**-14
"""Part of a path that is followed first."""

LONGER = 8.0
"""How many times as long as the last a stretch may be."""

LEFT = 0.5
"""Part of the evaluations that are left which the next stretch is to take."""

VALUES, FEWEST = 2**25, 32
"""Values at all rows of a stretch, about, and rows of it at least."""

LARGE = 2**17
"""Values at one row from which on a path is followed in stretches whether or not there is a budget."""


def values_of(program: Program) -> int:
    """Values that nonlinearities take at one point."""
    return sum(layer.units for layer in program.layers)


def follow(
    domain: Domain[PathBlock, PathTally],
    program: Program,
    ahead: Callable[[float, float], Ahead[PathBlock]],
    threads: int,
    budget: Budget,
    told: Callable[[float], object],
) -> tuple[PathTally, float]:
    """Follow a path to its end, or to that of the budget; Ctrl-C ends it sooner, but not before a first stretch.

    Args:
        domain: the program, made ready for the path.
        program: the program.
        ahead: the stretch between two parameters.
        threads: that share a stretch.
        budget: what it may take; at least one stretch is followed, and one that was begun is ended.
        told: called with the parameter that was come to.

    Returns:
        What was met, and the parameter up to which.
    """
    wanted = max(VALUES // max(values_of(program), 1), FEWEST)
    whole: PathTally | None = None
    at, width, before = 0.0, FIRST, 0
    try:
        while at < 1.0 and not (whole is not None and budget.over):
            begun, end = at, at + width if at + 1.25 * width < 1.0 else 1.0
            part = driver.run(domain, ahead(at, end), threads)
            with held():
                if whole is not None:
                    aside(whole.join, part)
                whole = whole or part
                at, met = end, int(whole.output.totals.met.sum())
                rows = met - before + 1
                before, budget.spent = met, budget.spent + rows
            told(at)
            width *= min(max(wanted / rows, 1.0 / LONGER), LONGER)
            if budget.evaluations is not None:
                # a stretch that is twice as dense as the last fits as well
                width = min(width, (end - begun) * max(LEFT * (budget.evaluations - budget.spent), 1.0) / rows)
    except KeyboardInterrupt:
        budget.stopped = True
        if whole is None:
            raise
    assert whole is not None
    return whole, at
