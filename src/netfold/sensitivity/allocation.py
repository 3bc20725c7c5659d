"""Which option each layer gets: the least total cost within a total size, or the least size within a total cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import csr_array, kron

from netfold.arrays import Floats, Ints
from netfold.errors import InvalidInputError

Numbers = NDArray[np.int64] | NDArray[np.float64]

SECONDS = 30.0
"""How long the best allocation is looked for; beyond it the best one found counts."""


class Allocation(NamedTuple):
    """One option a layer, and whether no other is proven to be better."""

    options: Ints
    best: bool


def allocate(least: Numbers, within: Numbers, limit: float) -> Allocation:
    """The options that make the sum of ``least`` smallest while that of ``within`` stays within a limit.

    A multiple-choice knapsack, solved by HiGHS's branch and bound.

    Args:
        least: what is to be small, ``(layers, options)``, 0 or more.
        within: what is limited, likewise.
        limit: on the sum of ``within``.

    Returns:
        One option a layer.

    Raises:
        InvalidInputError: no options stay within the limit.

    Example:
        >>> allocate(np.array([[4.0, 1.0], [9.0, 0.0]]), np.array([[2, 4], [2, 4]]), 6).options.tolist()
        [0, 1]
    """
    smallest = float(within.min(1).sum())
    if smallest > limit:
        raise InvalidInputError(f"the limit must be at least {smallest:g}, the least that the options allow")
    layers, options = least.shape
    if float(np.take_along_axis(within, least.argmin(1)[:, None], 1).sum()) <= limit and (least >= 0).all():
        tied = np.where(least == least.min(1, keepdims=True), within.astype(float), np.inf)
        return Allocation(tied.argmin(1), True)  # nothing is given up
    one_each = LinearConstraint(csr_array(kron(np.eye(layers), np.ones((1, options)))), 1, 1)
    scale = 1e-6 * float(np.abs(least).max()) or 1.0  # HiGHS ends within 1e-6 of the best, in absolute terms
    for margin in (0.0, 1e-6, 1e-4):  # HiGHS keeps to limits within a tolerance; the sum here must keep to it
        share = LinearConstraint((within / (limit or 1.0)).reshape(1, -1), -np.inf, 1.0 - margin if limit else 0.0)
        found = milp(
            least.ravel() / scale,
            integrality=np.ones(layers * options),
            bounds=(0, 1),
            constraints=[one_each, share],
            options={"mip_rel_gap": 0.0, "time_limit": SECONDS},
        )
        if found.x is not None:
            chosen = found.x.reshape(layers, options).argmax(1)
            if total(within, chosen) <= limit:
                return Allocation(chosen, found.status == 0 and margin == 0.0)
    return Allocation(within.argmin(1), False)


def total(values: Numbers, options: Ints) -> float:
    """The sum of one option a layer."""
    return float(np.take_along_axis(values, options[:, None], 1).sum())


def never_rising(losses: Floats) -> Floats:
    """Costs by bits from few to many that are 0 or more and never rise: more bits never count as worse.

    What is below 0, or falls with fewer bits, is chance on these inputs, and a search for the least would seek it out.
    """
    return np.maximum.accumulate(np.maximum(losses, 0.0)[:, ::-1], 1)[:, ::-1]
