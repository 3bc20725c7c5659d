"""Networks on planes with known exact counts, made from a seed: squares P, and degenerate networks D.

The counts of P were found in float64 by polygon splitting, those of P3 and P4 again in 80-bit extended precision;
those of D in rational arithmetic over the box [-10, 10]^2.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn

import netfold as nf

SQUARES: dict[str, tuple[list[int], list[int]]] = {
    "P1": ([2, 32, 32, 32, 1], [295, 963, 1795]),
    "P2": ([2, 64, 64, 64, 64, 1], [1162, 3571, 7502, 11296]),
    "P3": ([784, 128, 128, 128, 128, 10], [3035, 10970, 23130, 41304]),
    "P4": ([2, 256, 256, 256, 1], [19697, 69585, 138528]),
}
"""Widths, and regions of the square after each hidden layer."""

AXES = nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])


def square(name: str) -> tuple[nn.Sequential, nf.Plane]:
    """A case's network, weights N(0, 2 / fan_in) layer by layer, and its square, drawn last for P3."""
    widths, rng = SQUARES[name][0], np.random.default_rng(0)
    spread = 0.1 if name == "P3" else np.sqrt(0.3)
    net = sequential(
        [
            (rng.standard_normal((out, fan_in)) * np.sqrt(2 / fan_in), rng.standard_normal(out) * spread)
            for fan_in, out in pairwise(widths)
        ]
    )
    if name != "P3":
        return net, nf.Plane([-1.0, -1.0], [2.0, 0.0], [0.0, 2.0])
    a, b, c = rng.standard_normal((3, widths[0]))
    side = np.linalg.norm(b - a)
    u = (b - a) / side
    v = (c - a) - u * (u @ (c - a))
    return net, nf.Plane(a, side * u, side * v / np.linalg.norm(v))


def degenerate(name: str) -> nn.Sequential:
    """No biases; integer weights; duplicated, opposite and scaled rows; a mostly dead layer; a lost input."""
    rng = np.random.default_rng(0)

    def gauss(out: int, fan_in: int) -> np.ndarray:
        return rng.normal(0, np.sqrt(2 / fan_in), (out, fan_in))

    def bias(out: int) -> np.ndarray:
        return rng.normal(0, 0.3, out)

    def ternary(*shape: int) -> np.ndarray:
        return rng.integers(-1, 2, shape).astype(float)

    if name == "D1":
        return sequential([(gauss(6, 2), np.zeros(6)), (gauss(6, 6), np.zeros(6)), (gauss(1, 6), np.zeros(1))])
    if name == "D2":
        return sequential([(ternary(5, 3), ternary(5)), (ternary(4, 5), ternary(4)), (ternary(1, 4), ternary(1))])
    if name == "D3":
        w, b = gauss(6, 2), bias(6)
        w[1], b[1] = w[0], b[0]
        w[2], b[2] = -w[0], -b[0]
        w[3], b[3] = 3 * w[4], 3 * b[4]
        return sequential([(w, b), (gauss(4, 6), bias(4)), (gauss(1, 4), bias(1))])
    if name == "D4":
        first, second = (gauss(6, 2), bias(6)), (gauss(5, 6), -8 + bias(5))
        return sequential([first, second, (gauss(4, 5), bias(4)), (gauss(1, 4), bias(1))])
    w, b = gauss(4, 3), bias(4)
    w[:, 2] = 0
    return sequential([(w, b), (gauss(4, 4), bias(4)), (gauss(1, 4), bias(1))])


def sequential(layers: list[tuple[np.ndarray, np.ndarray]]) -> nn.Sequential:
    """Dense layers with ReLU between them, in float64 and evaluation mode."""
    parts: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        linear.weight = nn.Parameter(torch.from_numpy(np.asarray(weight, np.float64)))
        linear.bias = nn.Parameter(torch.from_numpy(np.asarray(bias, np.float64)))
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1]).eval()
