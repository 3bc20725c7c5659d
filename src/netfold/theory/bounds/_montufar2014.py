"""Folding lower bounds for ReLU and maxout networks: Montúfar, Pascanu, Cho and Bengio 2014."""

from __future__ import annotations

import math
from collections.abc import Iterable

from netfold.arguments import checked
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import cells, positive, shape_of


@checked
def montufar2014(inputs: int, widths: Iterable[int]) -> Bound:
    """Linear regions that some ReLU network of this shape has: input space folded on itself.

    ``prod_{l < L} floor(n_l / n_0)^n_0 * sum_{j <= n_0} C(n_L, j)``: each layer before the last folds
    every input coordinate ``floor(n_l / n_0)`` times, so that many cubes meet in one; the last layer cuts
    that one in general position.

    Args:
        inputs: input dimension n_0.
        widths: units n_l of each hidden layer, each at least n_0.

    Returns:
        An exact integer: a lower bound on the maximum over weights of the number of linear regions. It
        says nothing of a given network.

    Raises:
        InvalidInputError: a layer is narrower than the input, or a number is no positive integer.

    Source:
        Montúfar et al., On the Number of Linear Regions of Deep Neural Networks (NIPS 2014), Theorem 4
        (numbered 5 in some versions).

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.montufar2014(2, [10, 10, 10]))
        35000
    """
    n0, shape = shape_of(inputs, widths, per_input=1, why="the folding needs layers as wide as the input")
    value = math.prod((n // n0) ** n0 for n in shape[:-1]) * cells(shape[-1], n0)
    return Bound(value, Statement(Kind.MAXIMUM, "linear regions", "Montúfar et al. 2014, Theorem 4"))


@checked
def montufar2014_maxout(inputs: int, widths: Iterable[int], rank: int) -> Bound:
    """Linear regions that some maxout network of this shape has.

    ``k^(L - 1) * k^n_0`` for L layers of rank-k units, each layer at least as wide as the input.

    Args:
        inputs: input dimension n_0.
        widths: maxout units of each hidden layer, each at least n_0.
        rank: affine functions k that each unit takes the maximum of.

    Returns:
        An exact integer: a lower bound on the maximum over weights of the number of linear regions. It
        says nothing of a given network.

    Raises:
        InvalidInputError: a layer is narrower than the input, or a number is no positive integer.

    Source:
        Montúfar et al. 2014, Theorem 8.

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.montufar2014_maxout(2, [2, 2, 2], rank=3))
        81
    """
    n0, shape = shape_of(inputs, widths, per_input=1, why="Theorem 8 needs layers as wide as the input")
    value = positive(rank, "rank", 2) ** (len(shape) - 1 + n0)
    return Bound(value, Statement(Kind.MAXIMUM, "linear regions", "Montúfar et al. 2014, Theorem 8"))
