"""Benchmark networks with known exact counts, made from a seed: lines L, H and W, dense and convolutional.

Dense networks draw weights N(0, variance / fan_in) and biases N(0, 0.01) layer by layer; convolutions are 3 x 3 with
padding 1. The line joins two standard normal points drawn last. Counts were found in float64 by several programs and
in extended precision (80 bits) for L1 to L3, H3 and H4.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn

import netfold as nf


@dataclass(frozen=True)
class Dense:
    """Widths from input to output, variance of the weights, activation, regions after each hidden layer."""

    widths: list[int]
    variance: float
    activation: type[nn.Module]
    regions: list[int]


@dataclass(frozen=True)
class Convolutional:
    """Input shape, (out, in, stride) of each convolution, features after them, regions after each layer."""

    shape: tuple[int, int, int]
    layers: list[tuple[int, int, int]]
    features: int
    regions: list[int]


CASES: dict[str, Dense | Convolutional] = {
    "L1": Dense([784, *[256] * 4, 10], 2.0, nn.ReLU, [129, 252, 376, 484]),
    "L2": Dense([784, *[256] * 6, 10], 8.0, nn.ReLU, [103, 225, 344, 457, 592, 703]),
    "L3": Dense([10, *[100] * 10, 10], 6.0, nn.ReLU, [37, 72, 110, 150, 178, 212, 248, 289, 338, 387]),
    "L4": Convolutional((1, 28, 28), [(16, 1, 1), (32, 16, 2), (32, 32, 2)], 32 * 7 * 7, [5858, 8771, 9455]),
    "L5": Convolutional(
        (3, 32, 32),
        [(32, 3, 1), (64, 32, 2), (64, 64, 1), (128, 64, 2)],
        128 * 8 * 8,
        [16455, 24679, 32374, 36660],
    ),
    "H1": Dense([100, *[100] * 6, 10], 16.0, nn.Hardtanh, [99, 242, 543, 1031, 1909, 3521]),
    "H2": Dense([784, *[256] * 6, 10], 8.0, nn.Hardtanh, [200, 499, 944, 1646, 2809, 4529]),
    "H3": Dense([100, *[100] * 8, 10], 64.0, nn.Hardtanh, [102, 326, 887, 2360, 6008, 14795, 36461, 90214]),
    "H4": Dense(
        [100, *[100] * 10, 10],
        64.0,
        nn.Hardtanh,
        [96, 317, 836, 2136, 5562, 13847, 34392, 86126, 217000, 538538],
    ),
    "W1": Dense([3072, *[2048] * 6, 10], 2.0, nn.ReLU, [1032, 2004, 3049, 4129, 5114, 6094]),
}


def build(name: str) -> tuple[nn.Sequential, nf.Line]:
    """A case's network, in float64 and evaluation mode, and its line."""
    case, rng = CASES[name], np.random.default_rng(0)
    parts = _dense(case, rng) if isinstance(case, Dense) else _convolutional(case, rng)
    shape = (case.widths[0],) if isinstance(case, Dense) else case.shape
    ends = rng.standard_normal((2, int(np.prod(shape)))).reshape(2, *shape)
    return nn.Sequential(*parts).eval(), nf.Line(ends[0], ends[1])


def _dense(case: Dense, rng: np.random.Generator) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for fan_in, fan_out in pairwise(case.widths):
        layer = nn.Linear(fan_in, fan_out, device="meta")
        layer.weight = _parameter(rng.standard_normal((fan_out, fan_in)) * np.sqrt(case.variance / fan_in))
        layer.bias = _parameter(rng.standard_normal(fan_out) * 0.1)
        parts += [layer, case.activation()]
    return parts[:-1]


def _convolutional(case: Convolutional, rng: np.random.Generator) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for out, channels, stride in case.layers:
        layer = nn.Conv2d(channels, out, 3, stride, padding=1, device="meta")
        layer.weight = _parameter(rng.standard_normal((out, channels, 3, 3)) * np.sqrt(2 / (channels * 9)))
        layer.bias = _parameter(rng.standard_normal(out) * 0.1)
        parts += [layer, nn.ReLU()]
    readout = nn.Linear(case.features, 10, device="meta")
    readout.weight = _parameter(rng.standard_normal((10, case.features)) * np.sqrt(2 / case.features))
    readout.bias = _parameter(rng.standard_normal(10) * 0.1)
    return [*parts, nn.Flatten(), readout]


def _parameter(values: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values))
