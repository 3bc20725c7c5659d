"""Hard functions with many pieces: Arora, Basu, Mianjy and Mukherjee 2018."""

from __future__ import annotations

import math
from collections.abc import Iterable

from netfold.arguments import checked
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import cells, positive, shape_of


@checked
def arora2018(inputs: int, widths: Iterable[int]) -> Bound:
    """Linear pieces of the hard functions of Arora et al. that a network of this shape can represent.

    - One input: a composition of L sawtooths of w_l teeth has ``prod_l w_l`` pieces, ``w^L`` for L layers
      of width w.
    - More inputs: a first layer of 2m units computes ``sum_i |<b_i, x>|`` (the support function of a
      zonotope with m generators), linear on ``2 sum_{j < n_0} C(m - 1, j)`` cones; sawtooths follow:
      ``2 sum_{j < n_0} C(m - 1, j) * prod_{l > 1} w_l`` with ``m = floor(n_1 / 2)``.

    Args:
        inputs: input dimension n_0.
        widths: units of each hidden layer, each at least 2.

    Returns:
        An exact integer: a lower bound on the maximum over weights of the number of linear regions. It
        says nothing of a given network.

    Raises:
        InvalidInputError: a layer has fewer than two units, or a number is no positive integer.

    Source:
        Arora et al., Understanding Deep Neural Networks with Rectified Linear Units (ICLR 2018,
        arXiv 1611.01491): Theorem 3.1 for one input; the zonotope family for more (Theorem 2.11 (i) of
        the first preprint, as quoted by Serra et al. 2018).

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.arora2018(1, [5] * 10)), int(bounds.arora2018(2, [10, 10, 10]))
        (9765625, 1000)
    """
    n0, shape = shape_of(inputs, widths)
    shape = tuple(positive(w, f"widths[{i}]", 2, "a sawtooth has two teeth") for i, w in enumerate(shape))
    if n0 == 1:
        value, source = math.prod(shape), "Arora et al. 2018, Theorem 3.1"
    else:
        cones = 2 * cells(shape[0] // 2 - 1, n0 - 1)
        value, source = cones * math.prod(shape[1:]), "Arora et al. 2018, zonotope family"
    return Bound(value, Statement(Kind.MAXIMUM, "linear regions", source))
