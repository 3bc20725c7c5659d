"""ResNet-18, -50 and -101 (He et al. 2016) in plain torch, with random weights, for images of any size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def _normalised(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Convolutions with a shortcut around them."""

    def __init__(self, branch: list[nn.Module], shortcut: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.last = nn.Sequential(*branch), shortcut, nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.branch(x) + self.shortcut(x))


def _block(inputs: int, width: int, stride: int, bottleneck: bool) -> Residual:
    outputs = 4 * width if bottleneck else width
    if bottleneck:
        parts = [
            _normalised(inputs, width, 1), nn.ReLU(), _normalised(width, width, 3, stride), nn.ReLU(),
            _normalised(width, outputs, 1),
        ]  # fmt: skip
    else:
        parts = [_normalised(inputs, width, 3, stride), nn.ReLU(), _normalised(width, width, 3)]
    same = stride == 1 and inputs == outputs
    return Residual(parts, nn.Identity() if same else _normalised(inputs, outputs, 1, stride))


def _resnet(blocks: tuple[int, ...], bottleneck: bool, seed: int, classes: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = [_normalised(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        inputs = 64
        for group, count in enumerate(blocks):
            for number in range(count):
                parts.append(_block(inputs, 64 * 2**group, 2 if group and not number else 1, bottleneck))
                inputs = 64 * 2**group * (4 if bottleneck else 1)
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)).eval()


def resnet18(seed: int = 0, classes: int = 1000) -> nn.Sequential:
    """11.7 million parameters."""
    return _resnet((2, 2, 2, 2), False, seed, classes)


def resnet50(seed: int = 0, classes: int = 1000) -> nn.Sequential:
    """25.6 million parameters."""
    return _resnet((3, 4, 6, 3), True, seed, classes)


def resnet101(seed: int = 0, classes: int = 1000) -> nn.Sequential:
    """44.5 million parameters."""
    return _resnet((3, 4, 23, 3), True, seed, classes)


RESNETS: dict[str, Callable[[], nn.Sequential]] = {"resnet18": resnet18, "resnet50": resnet50, "resnet101": resnet101}
