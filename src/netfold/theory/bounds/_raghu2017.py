"""Activation patterns of a fully connected network: Raghu et al. 2017, Theorem 1."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

from netfold.arguments import checked
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import Unit, cells, choice, shape_of, unit_of, upper_kind


class Form(enum.Enum):
    """How Theorem 1 is evaluated."""

    RECURSIVE = "recursive"
    LEADING = "leading"


@checked
def raghu2017(
    inputs: int, widths: Iterable[int], activation: str | Unit = "relu", form: Form | str = Form.RECURSIVE
) -> Bound:
    """Activation patterns that the whole input space can show, whatever the weights.

    - ``recursive``, the sharp form of the theorem's induction: each cell of one layer is cut by the next
      into at most as many cells as hyperplanes cut R^m into, so ``A <= prod_l r(k_l, m)`` with
      ``r(k, m) = sum_{i <= m} C(k, i)`` for one knot a unit (ReLU) and ``sum_{i <= m} 2^i C(k, i)`` for
      two (hard-tanh: k pairs of parallel hyperplanes). In general ``p^i`` for p knots.
    - ``leading``, the theorem as printed, ``U(n, k, m) = k^(mn)`` for ReLU and ``(2k)^(mn)`` for
      hard-tanh, here ``prod_l (p k_l)^m``. It stands under an O(): its constant is dropped and at finite
      size it can be smaller than a true count (k = m = n = 1: U = 1, regions 2).

    Args:
        inputs: input dimension m.
        widths: units k_l of each hidden layer.
        activation: its name (``bounds.UNITS``) or a `bounds.Unit`.
        form: a `Form` or its name.

    Returns:
        An exact integer. Counted are activation regions; each pattern holds one region, because the set
        of inputs with a given pattern is convex. Linear regions are never more.

    Raises:
        InvalidInputError: a number is no positive integer, or a name is unknown.

    Source:
        Raghu et al., On the Expressive Power of Deep Neural Networks (ICML 2017), Theorem 1.

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.raghu2017(2, [4, 4, 4])), int(bounds.raghu2017(2, [4, 4, 4], activation="hardtanh"))
        (1331, 35937)
        >>> leading = bounds.raghu2017(2, [4, 4, 4], form="leading")
        >>> int(leading), leading.kind.name
        (4096, 'ORDER')
    """
    m, shape = shape_of(inputs, widths)
    unit, form = unit_of(activation), choice(Form, form, "form")
    if form is Form.LEADING:
        value = math.prod(unit.knots * k for k in shape) ** m
        kind = Kind.ORDER
    else:
        value = math.prod(cells(k, m, unit.knots) for k in shape)
        kind = upper_kind(m, shape, unit)
    return Bound(value, Statement(kind, "activation regions", "Raghu et al. 2017, Theorem 1"))
