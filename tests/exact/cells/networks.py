"""Networks whose cells are counted: benchmark cases with known counts, and random ones of every kind.

The cases are made from a seed; their counts were found by linear programs on both children of every node of the
splitting tree, by double description, and, for T and D, in rational arithmetic. `COUNTS` and `IN_BOX` count activation
patterns whose cell is full-dimensional, in R^m and in the box [-10, 10]^m. D3 is counted on the stored weights, which
hold slivers 1e-16 wide because three times a row is rounded: see `D3_WITH_TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.exact.cells.reference import ABSOLUTE, HARDTANH, LEAKY, Layer

WIDTHS = {  # ReLU; weights N(0, 2/fan_in), biases N(0, 0.3^2)
    "R1": [2, 16, 16, 1], "R2": [3, 16, 16, 16, 1], "R3": [4, 16, 16, 1], "R4": [5, 12, 12, 12, 1],
    "R5": [2, 32, 32, 32, 32, 1], "R6": [8, 10, 10, 1], "R7": [5, 25, 1], "R8": [10, 8, 8, 1],
    "T1": [2, 4, 3, 1], "T2": [3, 4, 4, 1], "T3": [2, 6, 5, 4, 1],
    "M1": [4, 8, 8, 1], "M2": [6, 8, 6, 1], "M3": [3, 10, 8, 6, 1],
}  # fmt: skip
COUNTS = {
    "R1": 450, "R2": 19717, "R3": 33153, "R4": 330750, "R5": 8342, "R6": 109954, "R7": 68406, "R8": 16758,
    "T1": 34, "T2": 85, "T3": 135, "M1": 2375, "M2": 6380, "M3": 1210,
    "D1": 20, "D2": 36, "D3": 28, "D4": 147, "D5": 42,
}  # fmt: skip
IN_BOX = {
    "R1": 438, "R2": 18469, "R3": 30567, "R4": 238061, "R5": 7916, "R6": 81233, "R7": 65483, "R8": 15796,
    "T1": 34, "T2": 73, "T3": 131, "M1": 2186, "M2": 5662, "M3": 1008,
    "D1": 20, "D2": 36, "D3": 26, "D4": 104, "D5": 40,
}  # fmt: skip
D3_WITH_TOLERANCE = 21, 19
"""Of the case D3, in R^m and in the box, where cells thinner than 1e-9 do not count."""

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def case(name: str) -> list[Layer]:
    """The hidden layers of a benchmark case."""
    rng = np.random.default_rng(0)
    pairs = _degenerate(name, rng) if name[0] == "D" else _gaussian(WIDTHS[name], rng)
    return [Layer(weights, bias) for weights, bias in pairs]


def random_case(widths: Sequence[int], seed: int) -> list[Layer]:
    """Hidden layers drawn as the cases are; ``widths`` from the inputs to the last hidden layer."""
    return [Layer(weights, bias) for weights, bias in _gaussian([*widths, 1], np.random.default_rng(seed))]


def _gaussian(widths: Sequence[int], rng: np.random.Generator) -> list[Pair]:
    drawn = [
        (rng.normal(0, np.sqrt(2 / fan_in), (out, fan_in)), rng.normal(0, 0.3, out)) for fan_in, out in pairwise(widths)
    ]
    return drawn[:-1]


def _degenerate(name: str, rng: np.random.Generator) -> list[Pair]:
    """No biases; integers; repeated, opposite and scaled rows; a layer mostly dead; a first layer of low rank."""

    def gauss(out: int, fan_in: int) -> NDArray[np.float64]:
        return rng.normal(0, np.sqrt(2 / fan_in), (out, fan_in))

    def bias(out: int) -> NDArray[np.float64]:
        return rng.normal(0, 0.3, out)

    def ternary(*shape: int) -> NDArray[np.float64]:
        return rng.integers(-1, 2, shape).astype(np.float64)

    if name == "D1":
        return [(gauss(6, 2), np.zeros(6)), (gauss(6, 6), np.zeros(6))]
    if name == "D2":
        return [(ternary(5, 3), ternary(5)), (ternary(4, 5), ternary(4))]
    if name == "D4":
        return [(gauss(6, 2), bias(6)), (gauss(5, 6), -8 + bias(5)), (gauss(4, 5), bias(4))]
    if name == "D5":
        first = gauss(4, 3), bias(4)
        first[0][:, 2] = 0
        return [first, (gauss(4, 4), bias(4))]
    w, b = gauss(6, 2), bias(6)
    w[1], b[1] = w[0], b[0]
    w[2], b[2] = -w[0], -b[0]
    w[3], b[3] = 3 * w[4], 3 * b[4]
    return [(w, b), (gauss(4, 6), bias(4))]


class Rows(nn.Module):
    """One reference layer as a torch module."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        out, fan_in = layer.weights.shape
        self.linear = nn.Linear(fan_in, out, device="meta")
        self.linear.weight = nn.Parameter(torch.tensor(layer.weights))
        self.linear.bias = nn.Parameter(torch.tensor(layer.bias))
        self.skip, self.act = layer.skip, nn.MaxPool1d(layer.pool) if layer.pool > 1 else _activation(layer)

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        if self.skip == "before":
            h = h + x
        h = self.act(h.unsqueeze(1)).squeeze(1) if isinstance(self.act, nn.MaxPool1d) else self.act(h)
        return h + x if self.skip == "after" else h


class Absolute(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


def _activation(layer: Layer) -> nn.Module:
    if len(layer.knots) == 2:
        return nn.Hardtanh() if layer.slopes[0] == 0 else nn.Softshrink()
    slope = layer.slopes[0]
    return nn.ReLU() if slope == 0 else Absolute() if slope == -1 else nn.LeakyReLU(slope)


def module(layers: Sequence[Layer], outputs: int = 1) -> nn.Sequential:
    """The network as a torch model in float64, with a readout of ones."""
    readout = nn.Linear(layers[-1].units, outputs, dtype=torch.float64, bias=False)
    nn.init.ones_(readout.weight)
    return nn.Sequential(*(Rows(layer) for layer in layers), readout).eval()


def forward_states(layers: Sequence[Layer], points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Activation patterns of points by plain numpy forward passes, ``(points, units)``."""
    x, states = points, []
    for layer in layers:
        h = x @ layer.weights.T + layer.bias + (x if layer.skip == "before" else 0.0)
        if layer.pool > 1:
            entries = h.reshape(len(h), layer.units, layer.pool)
            state, y = entries.argmax(-1), entries.max(-1)
        else:
            state = (h[:, :, None] > np.array(layer.knots)).sum(-1)
            y = np.array(layer.slopes)[state] * h + np.array(layer.offsets)[state]
        x = y + x if layer.skip == "after" else y
        states.append(state)
    return np.concatenate(states, 1)


KINDS: list[dict[str, Any]] = [{}, LEAKY, HARDTANH, ABSOLUTE, {"pool": 2}, {"pool": 3}]
FLAWS = ("repeated", "opposite", "scaled", "no biases", "dead", "low rank", "zero row", "parallel")


def random_layers(
    rng: np.random.Generator, inputs: int, widths: Sequence[int], *, integers: bool = False, flaws: Sequence[str] = ()
) -> list[Layer]:
    """Layers of random kinds, with residual connections where sizes allow, in general position but for the flaws."""
    layers: list[Layer] = []
    for number, units in enumerate(widths):
        kind = KINDS[int(rng.integers(len(KINDS)))]
        fan_in = layers[-1].units if layers else inputs
        rows = units * kind.get("pool", 1)
        if integers:
            weights, bias = (rng.integers(-2, 3, shape).astype(np.float64) for shape in ((rows, fan_in), (rows,)))
        else:
            weights, bias = rng.normal(0, np.sqrt(2 / fan_in), (rows, fan_in)), rng.normal(0, 0.5, rows)
        _spoil(weights, bias, rng, number, flaws)
        skips = ["", *(["before"] if rows == fan_in else []), *(["after"] if units == fan_in else [])]
        layers.append(Layer(weights, bias, skip=skips[int(rng.integers(len(skips)))], **kind))
    return layers


def _spoil(w: NDArray[Any], b: NDArray[Any], rng: np.random.Generator, number: int, flaws: Sequence[str]) -> None:
    """Make a layer's rows degenerate, in place; scales are powers of two, so that float64 rounds none."""
    for flaw in flaws:
        i, j = rng.integers(len(b)), rng.integers(len(b))
        if flaw in ("repeated", "opposite", "scaled"):
            factor = {"repeated": 1.0, "opposite": -1.0, "scaled": float(rng.choice([-2.0, 0.5, 4.0]))}[flaw]
            w[i], b[i] = factor * w[j], factor * b[j]
        elif flaw == "parallel":
            w[i] = w[j]
        elif flaw == "no biases":
            b[:] = 0
        elif flaw == "zero row":
            w[i] = 0
        elif flaw == "dead" and number > 0:
            w[:], b[:] = -np.abs(w), -np.abs(b)
        elif flaw == "low rank" and number == 0:
            w[:, -1] = w[:, 0]


@st.composite
def networks(draw: st.DrawFn, max_inputs: int = 4, max_units: int = 5, max_layers: int = 3) -> list[Layer]:
    """Random networks in general position, of every kind of unit, with residual connections."""
    widths = draw(st.lists(st.integers(1, max_units), min_size=1, max_size=max_layers))
    return random_layers(np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.integers(1, max_inputs)), widths)


@st.composite
def degenerate_networks(draw: st.DrawFn, max_inputs: int = 3, max_units: int = 4, max_layers: int = 2) -> list[Layer]:
    """Tiny networks with small integer weights or without, and with repeated, opposite, parallel, dead or no rows."""
    widths = draw(st.lists(st.integers(1, max_units), min_size=1, max_size=max_layers))
    flaws = draw(st.lists(st.sampled_from(FLAWS), max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random_layers(rng, draw(st.integers(1, max_inputs)), widths, integers=draw(st.booleans()), flaws=flaws)
