"""Regions found on lines beside the most that any weights could make: the bound U(n, k, m)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netfold.capture import Layer
from netfold.capture.activations import Elementwise
from netfold.theory import bounds

LARGEST = 2_000_000_000
"""Above this sum over layers of min(inputs, units)^2 the bound over all inputs is not evaluated."""


@dataclass(frozen=True)
class BoundOfRegions:
    """The bound of Raghu et al. 2017, Theorem 1, for one network, as base-10 logarithms.

    Attributes:
        inputs: input dimension m.
        units: units in all layers together.
        on_a_line: activation regions that any weights could make on a line, U(n, k, 1).
        over_all_inputs: the same over all inputs, U(n, k, m); ``None`` where that is too large to evaluate.
    """

    inputs: int
    units: int
    on_a_line: float
    over_all_inputs: float | None


@dataclass(frozen=True)
class NoBound:
    """Why the bound does not apply to a network."""

    reason: str


def bound_of(layers: Sequence[Layer], inputs: int) -> BoundOfRegions | NoBound:
    """The bound for a network with these layers.

    Inside a region every pre-activation is affine in the input, whether layers are dense, convolutional or
    residual, so each unit cuts a region with one hyperplane for every knot it has. Layers of different kinds
    count with the most knots among them.

    Args:
        layers: the nonlinearities.
        inputs: input dimension m.

    Returns:
        The bound, or why there is none.
    """
    knots = []
    for layer in layers:
        if not isinstance(layer.rule, Elementwise):
            return NoBound(
                f"the bound counts units with knots; {layer.name} ({layer.op}) picks the largest of several entries"
            )
        knots.append(layer.rule.knots.shape[1])
    unit = bounds.Unit("unit", max(knots), collapses=False)
    widths = [layer.units for layer in layers]
    work = sum(min(inputs, width) ** 2 for width in widths)
    everywhere = bounds.raghu2017(inputs, widths, unit).log10 if work <= LARGEST else None
    return BoundOfRegions(inputs, sum(widths), bounds.raghu2017(1, widths, unit).log10, everywhere)
