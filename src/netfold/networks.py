"""Random networks as the theory studies them: fully connected, Gaussian weights and biases."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from netfold.arguments import Gain, NotNegativeInt, PositiveInt, Seed, Spread, checked
from netfold.arrays import require_room
from netfold.errors import InvalidInputError

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "hardtanh": nn.Hardtanh,
    "relu6": nn.ReLU6,
    "hardsigmoid": nn.Hardsigmoid,
    "abs": lambda: _Function(torch.abs),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "erf": lambda: _Function(torch.erf),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "linear": nn.Identity,
}
"""Activations by name."""


class _Function(nn.Module):
    """A torch function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the function."""
        return self.function(x)


@checked
def random_network(
    inputs: PositiveInt,
    width: PositiveInt | Sequence[PositiveInt],
    depth: NotNegativeInt | None = None,
    outputs: PositiveInt = 1,
    activation: str | Callable[[], nn.Module] = "relu",
    sigma_w: Gain = 2**0.5,
    sigma_b: Spread = 0.0,
    scaling: Literal["fan_in", "width"] = "fan_in",
    seed: Seed = 0,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """Draw a fully connected network from the ensemble that the theory of expressivity studies.

    Weights are independent N(0, sigma_w^2 / fan_in) and biases N(0, sigma_b^2), in every layer with the readout.
    The numbers are drawn in float64 from a generator of their own, so the global random state is left alone.

    Args:
        inputs: dimension m of the input.
        width: units in every hidden layer, or one number a hidden layer.
        depth: number of hidden layers n; left out where ``width`` lists them.
        outputs: number of outputs of the linear readout.
        activation: a name of `ACTIVATIONS`, or a callable that makes a module.
        sigma_w: scale of the weights.
        sigma_b: standard deviation of the biases.
        scaling: what sigma_w^2 is divided by: ``fan_in``, or ``width`` as in Raghu et al. 2017, where every layer
            with the first is divided by the width k of the hidden layers.
        seed: seed of the draw.
        dtype: number type of the parameters.

    Returns:
        A module with children ``linear1``, ``act1``, ..., ``readout``, in evaluation mode.

    Raises:
        InvalidInputError: a size is not positive, or a name is unknown.

    Example:
        >>> net = random_network(inputs=3, width=5, depth=2, outputs=1, activation="hardtanh", sigma_w=2.0)
        >>> [name for name, _ in net.named_children()]
        ['linear1', 'act1', 'linear2', 'act2', 'readout']
    """
    widths = _widths(width, depth)
    sizes = [inputs, *widths, outputs]
    if not dtype.is_floating_point:
        raise InvalidInputError(f"dtype must be a floating-point type, got {dtype}")
    require_room("the network", 8 * sum(a * b for a, b in pairwise(sizes)))
    make = _activation(activation)
    generator = torch.Generator().manual_seed(seed)
    children: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        divisor = fan_in if scaling == "fan_in" else (widths[min(i, len(widths) - 1)] if widths else fan_in)
        last = i == len(sizes) - 2
        children["readout" if last else f"linear{i + 1}"] = _linear(
            fan_in, fan_out, sigma_w / divisor**0.5, sigma_b, generator, dtype
        )
        if not last:
            children[f"act{i + 1}"] = make()
    return nn.Sequential(children).eval()


def _widths(width: int | Sequence[int], depth: int | None) -> list[int]:
    if isinstance(width, int):
        if depth is None:
            raise InvalidInputError(f"depth must be the number of hidden layers, got {depth}")
        return [width] * depth
    if depth is not None and depth != len(width):
        raise InvalidInputError(f"width lists {len(width)} hidden layers, depth says {depth}")
    return list(width)


def _activation(activation: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    if not isinstance(activation, str):
        if not isinstance(activation(), nn.Module):
            raise InvalidInputError(f"activation must make a torch.nn.Module, {activation!r} does not")
        return activation
    name = activation.replace("-", "").replace("_", "").lower()
    known = {key.replace("_", ""): make for key, make in ACTIVATIONS.items()}
    if name not in known:
        raise InvalidInputError(f"unknown activation {activation!r}; known are {', '.join(ACTIVATIONS)}")
    return known[name]


def _linear(
    fan_in: int,
    fan_out: int,
    weight_std: float,
    bias_std: float,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> nn.Linear:
    layer = nn.Linear(fan_in, fan_out, device="meta")
    weight = weight_std * torch.randn(fan_out, fan_in, generator=generator, dtype=torch.float64)
    bias = bias_std * torch.randn(fan_out, generator=generator, dtype=torch.float64)
    layer.weight = nn.Parameter(weight.to(dtype))
    layer.bias = nn.Parameter(bias.to(dtype))
    return layer
