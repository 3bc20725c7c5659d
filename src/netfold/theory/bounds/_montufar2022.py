"""Sharp counts for maxout layers: Montúfar, Ren and Zhang 2022."""

from __future__ import annotations

import math
from collections.abc import Iterable

from netfold.arguments import checked
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import cells, positive, shape_of


@checked
def montufar2022_maxout_upper(inputs: int, widths: Iterable[int], rank: int) -> Bound:
    """Activation regions of a maxout network, whatever the weights; sharp for one layer.

    ``prod_l sum_{j <= d_l} C(n_l, j) (k - 1)^j`` with ``d_l = min(n_0, ..., n_l)`` for units of rank k.
    One layer of n units is the case of n polytopes with k vertices each, whose Minkowski sum has at most
    that many upper vertices. With k = 2 it is the bound of Montúfar 2017.

    Args:
        inputs: input dimension n_0.
        widths: maxout units n_l of each hidden layer.
        rank: affine functions k that each unit takes the maximum of.

    Returns:
        An exact integer. Counted are activation regions: the winner of every unit is the same.

    Raises:
        InvalidInputError: a number is no positive integer, or the rank is below 2.

    Source:
        Montúfar, Ren and Zhang, Sharp bounds for the number of regions of maxout networks and vertices of
        Minkowski sums (SIAM J. Appl. Algebra Geometry 2022), Theorem 3.7 for one layer; layers multiply.

    Example:
        >>> from netfold.theory import bounds
        >>> [int(bounds.montufar2022_maxout_upper(2, [3], rank)) for rank in (2, 3, 4)]
        [7, 19, 37]
    """
    n0, shape = shape_of(inputs, widths)
    k = positive(rank, "rank", 2)
    value = math.prod(cells(n, min((n0, *shape[: i + 1])), k - 1) for i, n in enumerate(shape))
    kind = Kind.EXACT_MAXIMUM if len(shape) == 1 else Kind.GIVEN_NETWORK
    return Bound(value, Statement(kind, "activation regions", "Montúfar, Ren & Zhang 2022, Theorem 3.7"))


@checked
def montufar2022_maxout_lower(inputs: int, widths: Iterable[int], rank: int) -> Bound:
    """Linear regions that some maxout network of this shape has.

    ``prod_{l < L} (p_l (k - 1) + 1)^n_0 * sum_{j <= n_0} C(n_L, j) (k - 1)^j`` with p_l the largest even
    number of units that every input coordinate can have, ``2 floor(n_l / (2 n_0))``: half of them bend up,
    half are subtracted and bend down, and their knots alternate, which folds a segment once at each knot.

    Args:
        inputs: input dimension n_0.
        widths: maxout units n_l of each hidden layer, each at least n_0.
        rank: affine functions k that each unit takes the maximum of.

    Returns:
        An exact integer: a lower bound on the maximum over weights of the number of linear regions. It
        says nothing of a given network.

    Raises:
        InvalidInputError: a layer is narrower than the input, or a number is no positive integer.

    Source:
        Montúfar, Ren and Zhang 2022, Theorem 3.12, for even ``n_l / n_0``; else units stay idle.

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.montufar2022_maxout_lower(1, [2, 2], rank=3))
        25
    """
    n0, shape = shape_of(inputs, widths, per_input=1, why="the folding needs layers as wide as the input")
    k = positive(rank, "rank", 2)
    folds = math.prod((2 * (n // (2 * n0)) * (k - 1) + 1) ** n0 for n in shape[:-1])
    value = folds * cells(shape[-1], n0, k - 1)
    return Bound(value, Statement(Kind.MAXIMUM, "linear regions", "Montúfar, Ren & Zhang 2022, Theorem 3.12"))
