"""Networks on which signs tie: integer weights, no biases, duplicated, opposite and tripled units, dead layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import netfold as nf
from tests.models import Maximum

KINDS = ["integer", "integer without bias", "without bias", "copied units", "dead layers"]


class Joined(nn.Module):
    """A residual step, then the larger of two tensors that share units."""

    def __init__(self, features: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features, features), nn.Linear(features, features)
        self.act, self.join = activation(), Maximum()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first(x))
        return self.join(self.act(x + self.second(y)), y)


ACTIVATIONS: list[Callable[[], nn.Module]] = [nn.ReLU, nn.Hardtanh, lambda: nn.LeakyReLU(0.25), nn.ReLU6]


def degenerate(seed: int) -> tuple[nn.Module, nf.Line | nf.Polyline]:
    """A network of the kind ``seed % 5`` and a path through it."""
    rng, kind = np.random.default_rng(seed), seed % len(KINDS)
    activation = ACTIVATIONS[rng.integers(len(ACTIVATIONS))]
    inputs, width, depth = int(rng.integers(1, 4)), int(rng.integers(3, 9)), int(rng.integers(2, 5))
    parts: list[nn.Module] = [nn.Linear(inputs, width)]
    for _ in range(depth):
        parts += [activation(), nn.Linear(width, width)]
    if rng.random() < 0.3:
        parts.append(Joined(width, activation))
    model = nn.Sequential(*parts).double()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            _fill(module, rng, kind)
    points = rng.integers(-3, 4, (3, inputs)).astype(float) if kind < 2 else rng.normal(0, 2, (3, inputs))
    points[1] += points[1] == points[0]
    points[2] -= points[2] == points[1]
    path = nf.Polyline(points) if rng.random() < 0.4 else nf.Line(points[0], points[1])
    return model.eval(), path


def _fill(layer: nn.Linear, rng: np.random.Generator, kind: int) -> None:
    shape = tuple(layer.weight.shape)
    weight = rng.integers(-2, 3, shape).astype(float) if kind < 2 else rng.normal(0, 1.5 / shape[1] ** 0.5, shape)
    bias = rng.integers(-2, 3, shape[0]).astype(float) if kind < 2 else rng.normal(0, 0.3, shape[0])
    if kind in (1, 2):
        bias[:] = 0
    if kind == 3 and shape[0] >= 5:
        weight[1], bias[1] = weight[0], bias[0]
        weight[2], bias[2] = -weight[0], -bias[0]
        weight[3], bias[3] = 3 * weight[4], 3 * bias[4]
    if kind == 4 and rng.random() < 0.5:
        bias -= 4
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
