"""Models of several kinds for sensitivity tests, and the naive loop that their numbers are held against.

Nothing here uses netfold's runners: the naive loop copies the model, changes one layer and runs all of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.models import Residual


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder's weight, transposed, and a module that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.again = nn.Linear(6, 6), nn.Linear(6, 6)
        self.decode = nn.Linear(6, 6)
        self.decode.weight = self.encode.weight

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.encode(x))
        x = torch.relu(self.again(x))
        return self.decode(self.again(x)) + x


class Unused(nn.Module):
    """One layer is never run, one is run and multiplied by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.never, self.muted, self.read = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.read(x + 0.0 * self.muted(x))


class Branching(nn.Module):
    """Decides with values of its input, so it cannot be captured."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.second(-x if float(x.sum()) > 1e9 else x)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 3, 2, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(108, 3),
    )


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(
        nn.Linear(3, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten(), nn.Linear(32, 3)
    )


def dense() -> nn.Module:
    parts: list[nn.Module] = [nn.Linear(5, 12)]
    for _ in range(3):
        parts += [nn.ReLU(), nn.Linear(12, 12)]
    return nn.Sequential(*parts, nn.Tanh(), nn.Linear(12, 3))


FAMILIES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense": (dense, (5,)),
    "convolutional": (convolutional, (2, 6, 6)),
    "residual": (lambda: nn.Sequential(nn.Linear(4, 6), Residual(6, nn.ReLU), nn.Linear(6, 3)), (4,)),
    "transformer": (transformer, (4, 3)),
    "tied": (Tied, (6,)),
    "branching": (Branching, (5,)),
}


def make(family: str, seed: int = 0, rows: int = 40) -> tuple[nn.Module, Tensor, Tensor]:
    """A model in float64 with random weights, inputs and labels."""
    build, shape = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().double().eval()
        x = torch.randn(rows, *shape, dtype=torch.float64)
        with torch.no_grad():
            labels = model(x).flatten(1)[:, :3].argmax(1)
        labels[::5] = 0
    return model, x, labels


def naive(model: nn.Module, x: Tensor, changes: dict[str, Tensor]) -> Tensor:
    """The outputs of a copy of the model with some parameters replaced."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, value in changes.items():
            other.get_parameter(name).copy_(value)
        return other(x)
