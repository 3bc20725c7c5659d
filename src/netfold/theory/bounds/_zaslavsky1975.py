"""Cells of a hyperplane arrangement (Zaslavsky 1975): what one layer can do."""

from __future__ import annotations

import enum
import math

from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import cells, choice, positive


class Arrangement(enum.Enum):
    """Which hyperplanes, and which of their cells."""

    AFFINE = "affine"
    CENTRAL = "central"
    BOUNDED = "bounded"


def zaslavsky(hyperplanes: int, dimension: int, kind: Arrangement | str = Arrangement.AFFINE) -> Bound:
    """Most cells that hyperplanes cut a space into; reached in general position.

    For n hyperplanes in R^d:

    - ``affine``: ``r(n, d) = sum_{i <= d} C(n, i)``, the regions of one ReLU layer with biases;
    - ``central`` (all through the origin): ``2 sum_{i < d} C(n - 1, i)``, one ReLU layer without biases;
    - ``bounded``: ``C(n - 1, d)``, those of the affine cells that are bounded.

    Args:
        hyperplanes: their number, n.
        dimension: of the space they lie in, d.
        kind: an `Arrangement` or its name.

    Returns:
        The maximum over all arrangements, an exact integer. Counted are cells: full-dimensional
        connected components of the complement.

    Raises:
        InvalidInputError: a negative or non-integer number, or an unknown kind.

    Source:
        Zaslavsky, Facing up to Arrangements (1975), Theorems A and C, for general position.

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.zaslavsky(25, 5)), int(bounds.zaslavsky(4, 2))
        (68406, 11)
        >>> int(bounds.zaslavsky(4, 2, "central")), int(bounds.zaslavsky(4, 2, "bounded"))
        (8, 3)
    """
    n, d = positive(hyperplanes, "hyperplanes", 0), positive(dimension, "dimension", 0)
    kind = choice(Arrangement, kind, "kind")
    statement = Statement(
        Kind.EXACT_MAXIMUM,
        f"{'bounded ' if kind is Arrangement.BOUNDED else ''}cells of {n} hyperplanes in R^{d}",
        "Zaslavsky 1975, Theorem A" if kind is not Arrangement.BOUNDED else "Zaslavsky 1975, Theorem C",
        "every hyperplane passes through the origin" if kind is Arrangement.CENTRAL else "",
    )
    return Bound(_count(n, d, kind), statement)


def _count(n: int, d: int, kind: Arrangement) -> int:
    if kind is Arrangement.AFFINE:
        return cells(n, d)
    if n == 0:  # the whole space: one cell, bounded only where the space is a point
        return int(kind is Arrangement.CENTRAL or d == 0)
    if kind is Arrangement.BOUNDED:
        return math.comb(n - 1, d)
    return 2 * cells(n - 1, d - 1) if d else 1
