"""Images for the gallery
======================

Scikit-learn's digits, or MNIST and CIFAR-10 files from a folder you name, as the scripts here use them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


@dataclass(frozen=True)
class Images:
    """Images scaled to mean 0 and variance 1 over all training pixels, in two parts."""

    name: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @property
    def flat(self) -> Images:
        """The same, every image one row."""
        return Images(self.name, *((x.reshape(len(x), -1), y) for x, y in (self.train, self.test)))


def digits() -> Images:
    """1,797 images of 8 x 8 pixels, 1,347 of them to train on, split at random (seed 0)."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return _scaled("digits", x.reshape(-1, 1, 8, 8)[order], y[order], 1347)


def mnist(folder: Path) -> Images:
    """The 10,000 test images of MNIST in IDX format, split 8,000 / 2,000 at random (seed 0)."""
    with gzip.open(folder / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / "mnist" / "t10k-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)
    order = np.random.default_rng(0).permutation(len(x))
    return _scaled("MNIST, 8,000 images", x[order], y[order], 8000)


def cifar10(folder: Path) -> Images:
    """The first batch of CIFAR-10 in its binary layout to train on, and the test batch as it is."""
    parts = []
    for name in ("data_batch_1.bin", "test_batch.bin"):
        rows = np.frombuffer((folder / "cifar10" / name).read_bytes(), np.uint8).reshape(-1, 3073)
        parts.append((rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]))
    (x, y), (more, labels) = parts
    return _scaled("CIFAR-10, 10,000 images", np.concatenate([x, more]), np.concatenate([y, labels]), len(x))


def _scaled(name: str, x: np.ndarray, y: np.ndarray, train: int) -> Images:
    x, y = x.astype(np.float32), y.astype(np.int64)
    x = (x - x[:train].mean()) / x[:train].std()
    return Images(name, (x[:train], y[:train]), (x[train:], y[train:]))
