"""Random piecewise-linear models for tests, and their activation patterns by plain forward passes.

Nothing here uses netfold: patterns come from hooks on the models' own activation modules.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Maximum(nn.Module):
    """The larger of two tensors, as a module so that a hook sees both."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)


class Absolute(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


class Residual(nn.Module):
    """x + f(x), twice, with one activation module used twice."""

    def __init__(self, features: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features, features), nn.Linear(features, features)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(x + self.first(x))
        return self.act(x + self.second(x))


class Branches(nn.Module):
    """Two branches, one of them squashed, joined by concatenation and by a maximum."""

    def __init__(self, features: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(features, features), nn.Linear(features, features)
        self.act, self.join = activation(), Maximum()
        self.mix = nn.Linear(2 * features, features)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.act(self.left(x)), self.right(x)
        return self.join(self.mix(torch.cat([a, b], 1)), x)


class SmallConv(nn.Module):
    """Convolution, batch norm, activation, max pooling, readout, on 2 x 6 x 6 inputs."""

    def __init__(self, channels: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.conv, self.norm, self.act = (
            nn.Conv2d(2, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            activation(),
        )
        self.pool = nn.MaxPool2d(2)
        self.read = nn.Linear(channels * 9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.pool(self.act(self.norm(self.conv(x)))).flatten(1))


ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.Hardsigmoid,
    Absolute,
    lambda: nn.LeakyReLU(0.2),
    lambda: nn.PReLU(init=-0.3),
    lambda: nn.ReLU(inplace=True),
    lambda: nn.Softshrink(0.3),
]


FAMILIES = ["dense", "residual", "branches", "convolutional"]


ARCHITECTURES = 2 * len(ACTIVATIONS)
"""Of each family, two for every activation: few, as reading an architecture takes far longer than tracing it."""


def random_model(seed: int, family: int | None = None) -> tuple[nn.Module, tuple[int, ...]]:
    """A model of a family (or any) in float64, its architecture one of few, its weights its own; and its input shape."""
    rng = np.random.default_rng(seed)
    drawn, number = int(rng.integers(len(FAMILIES))), int(rng.integers(ARCHITECTURES))
    family = drawn if family is None else family
    activation, sizes = ACTIVATIONS[number % len(ACTIVATIONS)], np.random.default_rng([family, number])
    inputs, width, depth = (int(sizes.integers(1, most + 1)) for most in (4, 8, 4))
    parts: list[nn.Module] = [nn.Linear(inputs, width)]
    if family == 0:
        for _ in range(depth):
            parts += [activation(), nn.Linear(width, width)]
    elif family == 1:
        parts += [Residual(width, activation) for _ in range(min(depth, 2))]
    elif family == 2:
        parts += [Branches(width, activation) for _ in range(min(depth, 2))]
    model = SmallConv(int(sizes.integers(1, 4)), activation) if family == 3 else nn.Sequential(*parts)
    shape = (2, 6, 6) if family == 3 else (inputs,)
    return _randomised(model, rng, float(rng.choice([1.0, 2.0, 3.0]))).eval(), shape


def _randomised(model: nn.Module, rng: np.random.Generator, scale: float) -> nn.Module:
    model = model.double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.copy_(torch.from_numpy(rng.normal(0, scale / fan_in**0.5, module.weight.shape)))
                assert module.bias is not None
                module.bias.copy_(torch.from_numpy(rng.normal(0, 0.5, module.bias.shape)))
            elif isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.copy_(torch.from_numpy(rng.normal(0, 0.3, module.running_mean.shape)))
                module.running_var.copy_(torch.from_numpy(rng.uniform(0.5, 2, module.running_var.shape)))
    return model


def states(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor | None:
    """States of an activation module's units by definition, ``(rows, units)``; None for other modules."""
    x = inputs[0]
    if isinstance(module, nn.MaxPool2d):
        return F.max_pool2d(x, module.kernel_size, return_indices=True)[1].flatten(1)
    if isinstance(module, Maximum):
        return (inputs[1] > inputs[0]).flatten(1).long()
    knots = {
        nn.ReLU6: (0.0, 6.0), nn.Hardtanh: (-1.0, 1.0), nn.Hardsigmoid: (-3.0, 3.0), nn.Softshrink: (-0.3, 0.3),
        nn.ReLU: (0.0,), nn.LeakyReLU: (0.0,), nn.PReLU: (0.0,), Absolute: (0.0,),
    }.get(type(module))  # fmt: skip
    return None if knots is None else sum((x > k).flatten(1).long() for k in knots)  # type: ignore[return-value]


def record(model: nn.Module, points: np.ndarray) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Plain forward passes: the states and the image after every activation, in order of use, and the output."""
    model = copy.deepcopy(model)
    patterns: list[Tensor] = []
    images: list[Tensor] = []

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found = states(module, tuple(i.clone() for i in inputs))
        if found is not None:
            patterns.append(found)

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.MaxPool2d | Maximum) or states(module, inputs) is not None:
            images.append(output.flatten(1).clone())

    for module in model.modules():
        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)
    with torch.no_grad():
        output = model(torch.from_numpy(points))
    return patterns, images, output.flatten(1)
