"""Networks and points, all drawn from seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import netfold as nf


def numbers(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers."""
    return scale * np.random.default_rng(seed).normal(size=shape)


class Residual(nn.Module):
    """A functional ReLU on a branch, batch norm, and an output that joins two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 10), nn.Linear(10, 10), nn.Linear(20, 3)
        self.norm = nn.BatchNorm1d(10)

    def forward(self, x: Tensor) -> Tensor:
        """Two branches."""
        first = torch.relu(self.norm(self.a(x)))
        second = nn.functional.leaky_relu(first + self.b(first), 0.1)
        return self.c(torch.cat([first, second], 1))


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module with drawn parameters and drawn statistics of batch norms, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = make()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.3), part.running_var.uniform_(0.5, 2.0)
    return net.eval()


def conv() -> nn.Module:
    """Convolutions, batch norm and max pooling on 1 x 6 x 6 inputs."""
    first = (nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, nn.Conv2d(3, 4, 2), nn.Hardtanh(-0.4, 0.4), nn.Flatten(), nn.Linear(16, 3))


def dense(activation: str = "relu", inputs: int = 4, width: Any = (12, 10, 8), outputs: int = 3, **more: Any) -> Any:
    """A random dense network with biases."""
    return nf.random_network(inputs, list(width), None, outputs, activation, **{"sigma_b": 0.4, **more})


def ties() -> nn.Module:
    """Units that coincide, oppose each other, never switch, or meet in a corner."""
    net = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    rows = [[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(rows)), net[0].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]))
        (
            net[2].weight.copy_(torch.arange(15.0).reshape(3, 5) % 4 - 1.5),
            net[2].bias.copy_(torch.tensor([0.0, 1.0, -2.0])),
        )
        net[4].weight.copy_(torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, 1.0]])), net[4].bias.zero_()
    return net.eval()


def exact_networks() -> dict[str, nn.Module]:
    """Piecewise-linear networks on 4 inputs, but for the convolution."""
    names = ("relu", "leaky_relu", "relu6", "hardsigmoid", "abs", "linear")
    found = {name: dense(name) for name in names} | {"hardtanh": dense("hardtanh", sigma_w=3.0)}
    found |= {"double": dense(dtype=torch.float64, seed=5), "one output": dense(outputs=1, seed=6)}
    return found | {"residual": seeded(Residual), "conv": seeded(conv)}


def nonlinear() -> dict[str, nn.Module]:
    """Those networks without the affine one."""
    return {name: net for name, net in exact_networks().items() if name != "linear"}


def ends(name: str, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    """Three points of a network's input shape."""
    return numbers(seed, 3, *((1, 6, 6) if name == "conv" else (4,)), scale=scale)
