"""Networks of the experiments on training, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import skip_init

from netfold.networks import random_network
from netfold.progress import one_thread
from netfold.reproduce.data import Images
from netfold.reproduce.figure import Finding, Settings, Verdict
from netfold.training import TrajectoryRegularizer, loop
from netfold.training.loop import Part

BATCH = 64

SHIFT = 4
"""Pixels by which images are shifted at most."""


@dataclass(frozen=True)
class Recipe:
    """How to train: the cross-entropy by plain SGD, SGD with momentum, or Adam.

    A step takes 64 images; those that do not fill a last batch of an epoch are left out of it (batch norm would take
    its statistics from a few images).

    Attributes:
        steps: of the optimiser.
        rate: learning rate.
        momentum: of SGD.
        adam: use Adam instead.
        varied: every image of a step is mirrored, or not, at random, and all are shifted by up to `SHIFT` pixels; not
            what is flat.
    """

    steps: int
    rate: float
    momentum: float = 0.0
    adam: bool = False
    varied: bool = False

    @property
    def words(self) -> str:
        """In words."""
        name = "Adam" if self.adam else f"SGD with momentum {self.momentum:g}" if self.momentum else "SGD"
        how = f" (of convolutional networks: mirrored and shifted by up to {SHIFT} pixels, at random)" * self.varied
        return f"{name}, learning rate {self.rate:g}, {self.steps:,} steps of {BATCH} images{how}, cross-entropy"

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of a network."""
        if self.adam:
            return torch.optim.Adam(net.parameters(), lr=self.rate)
        return torch.optim.SGD(net.parameters(), lr=self.rate, momentum=self.momentum)


LEARNED = 0.6
"""Test accuracy (of ten classes) from which on a network counts as trained."""

LEARNING = 3000
"""Steps of quick runs on CIFAR-10, some minutes a network: with fewer, convolutional ones stay below `LEARNED`."""


def tested(finding: Finding, accuracy: float) -> Finding:
    """A finding on trained networks: not tested where they did not learn, with their accuracy in its text."""
    numbers = {"test accuracy": accuracy, **finding.numbers}
    if accuracy >= LEARNED:
        return replace(finding, numbers=numbers)
    why = f"Not tested: the networks reach a test accuracy of {accuracy:.2f}, below {LEARNED:g}, so they did not learn."
    return replace(finding, verdict=Verdict.UNTESTED, measured=f"{why} {finding.measured}", numbers=numbers)


@dataclass(frozen=True)
class Split:
    """Standardised images to train on and to test on, as tensors; flat for fully connected networks.

    Attributes:
        train: inputs and class numbers, and ``test`` those kept aside.
        test: what was kept aside.
        shape: of an input.
    """

    train: Part
    test: Part
    shape: tuple[int, ...]

    @classmethod
    def of(cls, images: Images, *, flat: bool, most: int | None = None, most_tested: int | None = None) -> Split:
        """The images, at most so many of each part, drawn at random (the same for all seeds)."""
        data = images.standardised()
        parts = ((data.train, data.train_labels, most), (data.test, data.test_labels, most_tested))
        train, test = (_drawn_part(x.reshape(len(x), -1) if flat else x, y, count) for x, y, count in parts)
        return cls(train, test, tuple(train[0].shape[1:]))

    @property
    def epoch(self) -> int:
        """Steps an epoch."""
        return max(len(self.train[0]) // BATCH, 1)


def _drawn_part(x: NDArray[np.float32], y: NDArray[np.int64], most: int | None) -> Part:
    chosen = np.random.default_rng(0).permutation(len(x))[:most] if most and most < len(x) else slice(None)
    return torch.from_numpy(np.ascontiguousarray(x[chosen])), torch.from_numpy(np.ascontiguousarray(y[chosen]))


def fit(
    net: nn.Module, part: Part, recipe: Recipe, seed: int, look: Callable[[int], object] | None = None
) -> nn.Module:
    """Train a network in place; it ends in evaluation mode.

    Regularisers that are in it add their terms to the loss.

    Args:
        net: the network.
        part: what to train on.
        recipe: how.
        seed: of the order of the images.
        look: called with the number of steps done, from 0 on, the network in evaluation mode.

    Returns:
        The network.
    """
    regularised = any(isinstance(m, TrajectoryRegularizer) for m in net.modules())
    penalty = TrajectoryRegularizer.penalty if regularised else None
    vary = _variation(seed) if recipe.varied and part[0].ndim == 4 else None
    with one_thread():
        return loop.fit(
            net,
            part,
            recipe.optimizer(net),
            recipe.steps,
            BATCH,
            seed,
            whole=True,
            penalty=penalty,
            vary=vary,
            look=look,
        )


def _variation(seed: int) -> Callable[[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def vary(x: Tensor) -> Tensor:
        i, j = torch.randint(1 + 2 * SHIFT, (2,), generator=generator).tolist()
        shifted = pad(x, [SHIFT] * 4)[..., i : i + x.shape[2], j : j + x.shape[3]]
        return torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5, shifted.flip(3), shifted)

    return vary


def watched(
    net: nn.Module, part: Part, recipe: Recipe, seed: int, steps: Sequence[int], look: Callable[[], Mapping[str, Any]]
) -> xr.Dataset:
    """Train a network and look at it at some steps.

    Args:
        net: the network, and ``part``, ``recipe`` and ``seed`` as in `fit`.
        part: what to train on.
        recipe: how.
        seed: of the order of the images.
        steps: at which to look, in order.
        look: gives numbers, and lists of one a hidden layer, by name.

    Returns:
        What was seen, with the dimensions ``step`` and ``layer``.
    """
    records: list[Mapping[str, Any]] = []
    fit(net, part, recipe, seed, lambda step: records.append(look()) if step in steps else None)
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    found = xr.Dataset(
        {name: (("step", "layer")[: all_.ndim], all_) for name, all_ in columns.items()}, {"step": steps}
    )
    return found.assign_coords(layer=np.arange(1, 1 + found.sizes["layer"])) if "layer" in found.dims else found


def dense(inputs: int, width: int, depth: int, activation: str, variance: float) -> Callable[[int], nn.Sequential]:
    """Makes the fully connected network of a seed: weights N(0, variance / fan-in), biases 0, ten classes."""
    return lambda seed: random_network(
        inputs, width, depth, 10, activation, sigma_w=variance**0.5, sigma_b=0.0, seed=seed
    )


def stack(
    shape: tuple[int, ...],
    width: int,
    depth: int,
    seed: int,
    before_relu: Callable[[int], nn.Module] | None = None,
    variance: float = 2.0,
) -> nn.Sequential:
    """A ReLU network: fully connected for flat inputs, else 3x3 convolutions, two of them with stride 2 (`strides`).

    Weights are N(0, variance / fan-in), biases 0; ``before_relu(width)`` makes a layer to stand between every affine
    map and its ReLU. The weights of a seed do not depend on it.
    """
    generator = torch.Generator().manual_seed(seed)
    flat = len(shape) == 1
    parts: list[nn.Module] = []
    size = shape[-1]
    for i in range(depth):
        fan_in = width if i else shape[0]
        stride = 2 if i + 1 in strides(shape) else 1
        # Without the modules' own draws, which would move the global random state.
        layer = (
            skip_init(nn.Linear, fan_in, width)
            if flat
            else skip_init(nn.Conv2d, fan_in, width, 3, stride=stride, padding=1)
        )
        size = size if flat else (size - 1) // stride + 1
        parts += [drawn(layer, variance, generator), *([before_relu(width)] if before_relu else []), nn.ReLU()]
    readout = skip_init(nn.Linear, width if flat else width * size * size, 10)
    return nn.Sequential(*parts, *([] if flat else [nn.Flatten()]), drawn(readout, variance, generator)).eval()


def flat(settings: Settings) -> bool:
    """Whether ReLU networks are fully connected: but for CIFAR-10, where the paper's are convolutional."""
    return settings.data.name != "CIFAR-10"


def images(settings: Settings, *, flat: bool, tested: int | None = None) -> Split:
    """The images to train on, in quick runs at most 4,000 where they are small, and at most so many to test."""
    most = 4000 if settings.quick and settings.data.size < 1000 else None
    return Split.of(settings.data, flat=flat, most=most, most_tested=tested)


def recipe_for(
    settings: Settings, quick: int, full: int, rate: float, momentum: float = 0.0, adam: bool = False
) -> Recipe:
    """A recipe of so many steps; in quick runs on CIFAR-10 of as many as convolutional networks take to learn."""
    steps = full if not settings.quick else quick if flat(settings) else LEARNING
    return Recipe(steps, rate, momentum, adam, varied=not flat(settings))


def arc_count(settings: Settings) -> int:
    """Arcs of each kind through a network; few through convolutions, where every region takes a forward pass."""
    quick, full = (4, 16) if flat(settings) else (1, 4)
    return quick if settings.quick else full


def width(settings: Settings) -> int:
    """Units of fully connected hidden layers, as in the paper; fewer for the smaller digits."""
    return 64 if settings.data.name == "digits" else 100


def hidden(settings: Settings) -> str:
    """The hidden layers of ReLU networks in words."""
    return f"hidden layers of {width(settings)} units" if flat(settings) else convolutions(settings)


def strides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Which convolutions have stride 2: the 2nd and 4th, and in images of more than 16 pixels the 1st and 3rd."""
    return (1, 3) if shape[-1] > 16 else (2, 4)


def channels(settings: Settings) -> int:
    """Channels of convolutions: few in quick runs, but on CIFAR-10, of which few learn little."""
    if not settings.quick or not flat(settings):
        return 32
    return 8 if settings.data.shape[-1] > 16 else 16


def units(settings: Settings) -> int:
    """Width of the hidden layers of ReLU networks: units, or channels."""
    return width(settings) if flat(settings) else channels(settings)


def norm(settings: Settings) -> type[nn.BatchNorm1d] | type[nn.BatchNorm2d]:
    """Batch norm for them."""
    return nn.BatchNorm1d if flat(settings) else nn.BatchNorm2d


def convolutions(settings: Settings) -> str:
    """They in words."""
    first, second = strides(settings.data.shape)
    names = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th"}
    return f"3×3 convolutions of {channels(settings)} channels (stride 2 in the {names[first]} and {names[second]})"


def drawn(layer: nn.Module, variance: float, generator: torch.Generator) -> nn.Module:
    """A layer with Gaussian weights and no biases to start with."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    nn.init.normal_(weight, 0.0, (variance / weight[0].numel()) ** 0.5, generator=generator)
    nn.init.zeros_(bias)
    return layer


def seeds_of(settings: Settings, quick: int, full: int) -> list[int]:
    """So many seeds from that of the settings on."""
    return [settings.seed + i for i in range(quick if settings.quick else full)]


def checkpoints(steps: int, count: int) -> list[int]:
    """Steps to look at: 0, then about equally far apart on a logarithmic scale, and the last.

    Example:
        >>> checkpoints(640, 5)
        [0, 20, 63, 202, 640]
    """
    spaced = np.geomspace(max(steps / 32, 1), steps, count - 1)
    return sorted({0, *(round(float(s)) for s in spaced)})
