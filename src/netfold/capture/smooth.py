"""Operations that are not piecewise linear: which act on each entry alone, and where their slopes jump."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture.activations import Elementwise
from netfold.capture.operations import op_name
from netfold.capture.program import Layer

UNTAGGED = {
    *("hardswish", "log_sigmoid", "log_sigmoid_forward"),
    *("special_expit", "special_erf", "special_i0"),
}
"""Operations on each entry alone that torch may not tag so."""

KNOTS: dict[str, tuple[float, ...]] = {"hardswish": (-3.0, 3.0)}
"""Where slopes jump; at 0 for all others, where ELU and SELU have theirs and smooth ones none."""


def alone(layer: Layer, features: int) -> bool:
    """Whether an operation that is not piecewise linear acts on each of the ``features`` that it reads alone.

    Operations on several values at once (normalisation, softmax, attention, products) have no pre-activation whose sign
    could be a state.
    """
    if len(layer.node.inputs) != 1 or features != layer.units:
        return False
    return torch.Tag.pointwise in layer.node.schema.tags or op_name(layer.node.schema) in UNTAGGED


def knots(layer: Layer) -> NDArray[np.float64]:
    """The knots between the states of a layer's units, ``(units or 1, knots)``: where it is smooth, 0 alone."""
    if isinstance(layer.rule, Elementwise):
        return layer.rule.knots
    return np.array([KNOTS.get(op_name(layer.node.schema), (0.0,))])


def of_zero(layer: Layer) -> bool:
    """Whether a unit's state is the sign of its pre-activation."""
    found = knots(layer)
    return found.shape[1] == 1 and not found.any()
