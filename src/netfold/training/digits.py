"""A small network trained on real data in seconds: what the report measures when it is given no model."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netfold.networks import random_network
from netfold.progress import one_thread, progress_bar
from netfold.training.loop import Part, accuracy, fit


@dataclass(frozen=True)
class Digits:
    """scikit-learn's handwritten digits, 8x8 pixels scaled to [0, 1], split at random.

    Attributes:
        train: images to train on, shape ``(1347, 64)``, and ``train_labels`` their digits.
        test: images kept aside, shape ``(450, 64)``, and ``test_labels`` their digits.
    """

    train: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of an image."""
        return (8, 8)

    @property
    def parts(self) -> tuple[Part, Part]:
        """Images and labels to train on, and those kept aside, as tensors."""
        x, y, z, w = map(torch.from_numpy, (self.train, self.train_labels, self.test, self.test_labels))
        return (x, y), (z, w)


@dataclass(frozen=True)
class Trained:
    """A network before and after training.

    Attributes:
        net: the trained network, and ``initial`` the same with the weights it started from.
        test_accuracy: share of test images classified right, ``initial_accuracy`` the same before training,
            ``train_accuracy`` on the images trained on.
        recipe: how it was trained, in words.
        seconds: how long training took.
    """

    net: nn.Sequential
    initial: nn.Sequential
    test_accuracy: float
    initial_accuracy: float
    train_accuracy: float
    recipe: str
    seconds: float


def load_digits(seed: int = 0) -> Digits:
    """Split scikit-learn's 1,797 digits (bundled, nothing is downloaded) into three parts train, one test.

    Args:
        seed: seed of the split.

    Returns:
        The images and their labels.

    Example:
        >>> load_digits().test.shape
        (450, 64)
    """
    table = _bundled()
    images, labels = (table[:, :-1] / 16).astype(np.float32), table[:, -1].astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    test, train = order[:450], order[450:]
    return Digits(images[train], labels[train], images[test], labels[test])


def _bundled() -> NDArray[np.float64]:
    """A row an image: its pixels, then its label. Importing scikit-learn to read them takes longer than training."""
    package = find_spec("sklearn")
    file = Path(package.origin or "").parent / "datasets/data/digits.csv.gz" if package else None
    if file is not None and file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits as bundled

    images, labels = bundled(return_X_y=True)
    return np.column_stack((np.asarray(images), np.asarray(labels)))


def train(
    digits: Digits,
    *,
    width: int = 64,
    depth: int = 4,
    epochs: int = 40,
    batch: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: bool = False,
) -> Trained:
    """Train a fully connected ReLU network on digits, from He initialisation.

    Weights start as N(0, 2 / fan_in), biases at 0 (He et al. 2015); Adam on the cross-entropy. The global
    random state is left alone, and one thread is used, so that a seed gives the same network on any number of
    cores.

    Args:
        digits: the data.
        width: units in every hidden layer.
        depth: hidden layers.
        epochs: passes over the data.
        batch: images a step.
        learning_rate: of Adam.
        seed: of the weights and of the order of the data.
        progress: show a progress bar on stderr where that is a terminal.

    Returns:
        The network before and after, with its accuracy.

    Example:
        >>> trained = train(load_digits(), epochs=1)
        >>> trained.test_accuracy > trained.initial_accuracy
        True
    """
    begin = time.perf_counter()
    net = random_network(inputs=64, width=width, depth=depth, outputs=10, activation="relu", seed=seed)
    initial = copy.deepcopy(net)
    part, kept_aside = digits.parts
    steps = epochs * -(-len(part[0]) // batch)
    optimizer = torch.optim.Adam(net.parameters(), lr=learning_rate)
    bar = progress_bar(steps, "training on digits", "step", None if progress else False)
    with bar, one_thread():
        fit(net, part, optimizer, steps, batch, seed, look=lambda step: bar.update(step - bar.n))
        return Trained(
            net,
            initial,
            test_accuracy=accuracy(net, kept_aside),
            initial_accuracy=accuracy(initial, kept_aside),
            train_accuracy=accuracy(net, part),
            recipe=f"Adam, learning rate {learning_rate:g}, {epochs} epochs, {batch} images a step, cross-entropy",
            seconds=time.perf_counter() - begin,
        )
