"""Product bound with the bottleneck of narrow layers: Montúfar 2017."""

from __future__ import annotations

import math
from collections.abc import Iterable

from netfold.arguments import checked
from netfold.theory.bounds._bound import Bound, Statement
from netfold.theory.bounds._shape import Unit, cells, shape_of, unit_of, upper_kind


@checked
def montufar2017(inputs: int, widths: Iterable[int], activation: str | Unit = "relu") -> Bound:
    """Activation regions of a network, whatever the weights; sees narrow layers.

    ``prod_l sum_{j <= d_l} C(n_l, j)`` with ``d_l = min(n_0, ..., n_l)``: the image of a region has no
    more dimensions than the narrowest layer it has passed. For units with p knots the terms are
    ``p^j C(n_l, j)``; the argument is the same (the paper states ReLU).

    Args:
        inputs: input dimension n_0.
        widths: units n_l of each hidden layer.
        activation: its name (``bounds.UNITS``) or a `bounds.Unit`.

    Returns:
        An exact integer. Counted are activation regions; linear regions are never more.

    Raises:
        InvalidInputError: a number is no positive integer, or the activation is unknown.

    Source:
        Montúfar, Notes on the number of linear regions of deep neural networks (SampTA 2017).

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.montufar2017(3, [4, 2, 4])), int(bounds.raghu2017(3, [4, 2, 4]))
        (660, 900)
    """
    n0, shape = shape_of(inputs, widths)
    unit = unit_of(activation)
    dimensions = [min((n0, *shape[: i + 1])) for i in range(len(shape))]
    value = math.prod(cells(n, d, unit.knots) for n, d in zip(shape, dimensions, strict=True))
    return Bound(value, Statement(upper_kind(n0, shape, unit), "activation regions", "Montúfar 2017"))
