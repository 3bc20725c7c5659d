"""First lower bound for deep networks: Pascanu, Montúfar and Bengio 2013."""

from __future__ import annotations

import math
from collections.abc import Iterable

from netfold.arguments import checked
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import cells, shape_of


@checked
def pascanu2013(inputs: int, widths: Iterable[int]) -> Bound:
    """Linear regions that some ReLU network of this shape has: the first bound exponential in depth.

    ``prod_{l < L} floor(n_l / n_0) * sum_{j <= n_0} C(n_L, j)``: each layer before the last maps
    ``floor(n_l / n_0)`` disjoint regions onto a common ball.

    Args:
        inputs: input dimension n_0.
        widths: units n_l of each hidden layer, each at least n_0.

    Returns:
        An exact integer: a lower bound on the maximum over weights of the number of linear regions. It
        says nothing of a given network.

    Raises:
        InvalidInputError: a layer is narrower than the input, or a number is no positive integer.

    Source:
        Pascanu et al., On the number of response regions of deep feedforward networks with piecewise
        linear activations (ICLR 2014, arXiv 1312.6098), Theorem 1.

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.pascanu2013(2, [10, 10, 10]))
        1400
    """
    n0, shape = shape_of(inputs, widths, per_input=1, why="Theorem 1 needs layers as wide as the input")
    value = math.prod(n // n0 for n in shape[:-1]) * cells(shape[-1], n0)
    return Bound(value, Statement(Kind.MAXIMUM, "linear regions", "Pascanu et al. 2013, Theorem 1"))
