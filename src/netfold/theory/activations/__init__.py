"""Activation functions as mean-field theory sees them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from netfold.arguments import shown
from netfold.errors import InvalidInputError
from netfold.theory.activations.base import Activation, Correlation, Moments
from netfold.theory.activations.custom import Custom
from netfold.theory.activations.piecewise import PiecewiseLinear, hard_tanh, leaky_relu
from netfold.theory.activations.smooth import GELU, Erf, SiLU, Tanh

__all__ = [
    "GELU",
    "Activation",
    "Correlation",
    "Custom",
    "Erf",
    "Moments",
    "PiecewiseLinear",
    "SiLU",
    "Tanh",
    "as_activation",
    "hard_tanh",
    "leaky_relu",
]

NAMED: dict[str, Activation] = {
    "relu": PiecewiseLinear("relu", (0.0,), (0.0, 1.0)),
    "leakyrelu": leaky_relu(),
    "hardtanh": hard_tanh(),
    "linear": PiecewiseLinear("linear", (), (1.0,)),
    "identity": PiecewiseLinear("linear", (), (1.0,)),
    "tanh": Tanh(),
    "erf": Erf(),
    "gelu": GELU(),
    "silu": SiLU(),
    "swish": SiLU(),
    "relu6": PiecewiseLinear("relu6", (0.0, 6.0), (0.0, 1.0, 0.0)),
    "hardsigmoid": PiecewiseLinear("hardsigmoid", (-3.0, 3.0), (0.0, 1 / 6, 0.0)),
    "abs": PiecewiseLinear("abs", (0.0,), (-1.0, 1.0)),
}

BY_VALUES = ("elu", "selu", "mish", "hardswish", "sigmoid", "softplus")
"""Functions of torch that are known by their values alone."""


def as_activation(activation: str | Activation | Callable[[Any], Any]) -> Activation:
    """The activation meant by a name, an `Activation`, or any callable on numpy arrays or torch tensors.

    Raises:
        InvalidInputError: an unknown name, or something that is neither a name nor callable.

    Example:
        >>> as_activation("hard-tanh").kinks
        (-1.0, 1.0)
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        key = activation.lower().replace("-", "").replace("_", "").replace(" ", "")
        if key in BY_VALUES:
            return _by_values(key)
        if key not in NAMED:
            known = ", ".join(sorted({*BY_VALUES, *(a.name for a in NAMED.values())}))
            raise InvalidInputError(f"activation: there is no {shown(activation)}: expected {known}, or a callable")
        return NAMED[key]
    if callable(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        return Custom(activation, "custom" if name == "<lambda>" else name)
    raise InvalidInputError(f"activation must be a name or a callable, got {type(activation).__name__}")


@cache
def _by_values(name: str) -> Activation:
    import torch

    return Custom(getattr(torch.nn.functional, name), name)
