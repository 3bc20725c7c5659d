"""Networks on which exact methods are put to the test, by kind and seed, as layers of the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from netfold.arrays import Floats
from tests.exact.cells.networks import random_layers
from tests.exact.cells.reference import Layer

Spoiled = tuple[Floats, Floats]
Random = np.random.Generator


def _integer(w: Floats, b: Floats, rng: Random) -> Spoiled:
    return rng.integers(-2, 3, w.shape).astype(float), rng.integers(-2, 3, b.shape).astype(float)


def _duplicated(w: Floats, b: Floats, rng: Random) -> Spoiled:
    """Rows that are others times a factor, which may round."""
    for i in range(1, len(b)):
        if rng.random() < 0.6:
            j, factor = rng.integers(i), float(rng.choice([1.0, -1.0, 2.0, 3.0, -3.0, 0.1]))
            w[i], b[i] = factor * w[j], factor * b[j]
    return w, b


def _dead(w: Floats, b: Floats, rng: Random) -> Spoiled:
    return (w, b) if rng.random() < 0.5 else (-np.abs(w), -np.abs(b) * rng.choice([0.0, 1.0]))


def _sparse(w: Floats, b: Floats, rng: Random) -> Spoiled:
    return w * (rng.random(w.shape) < 0.35), b * (rng.random(b.shape) < 0.5)


def _quantised(w: Floats, b: Floats, rng: Random) -> Spoiled:
    """Two bits a weight and one scale a layer."""
    scale = np.float64(np.abs(w).max() / 2)
    return scale * rng.integers(-2, 2, w.shape), scale * rng.integers(-2, 2, b.shape)


def _magnitudes(w: Floats, b: Floats, rng: Random) -> Spoiled:
    return w * 10.0 ** rng.uniform(-12, 12, w.shape), b * 10.0 ** rng.uniform(-12, 12, b.shape)


def _extreme(w: Floats, b: Floats, rng: Random) -> Spoiled:
    """Denormal numbers, products that vanish, sums that overflow."""
    scales = np.array([1.0, 1.0, 1.0, 5e-324, 1e-320, 1e-308, 1e-170, 1e150, 1e300])
    with np.errstate(over="ignore", under="ignore"):
        return w * rng.choice(scales, (len(b), 1)), b * rng.choice(scales, b.shape)


def _float32_multiples(w: Floats, b: Floats, rng: Random) -> Spoiled:
    weights, biases = w.astype(np.float32), b.astype(np.float32)
    for i in range(1, len(biases)):
        if rng.random() < 0.7:
            j, factor = rng.integers(i), np.float32(rng.choice([3.0, 0.1, 1 / 3, -1.7, 7.0]))
            weights[i], biases[i] = factor * weights[j], factor * biases[j]
    return weights.astype(np.float64), biases.astype(np.float64)


KINDS: dict[str, Callable[[Floats, Floats, Random], Spoiled]] = {
    "ordinary": lambda w, b, rng: (w, b),
    "integer": _integer,
    "duplicated": _duplicated,
    "dead": _dead,
    "sparse": _sparse,
    "no biases": lambda w, b, rng: (w, 0 * b),
    "integer, no biases": lambda w, b, rng: (_integer(w, b, rng)[0], 0 * b),
    "1-unit layers": lambda w, b, rng: (w, b),
    "through knots": lambda w, b, rng: (w, b),
    "2-bit": _quantised,
    "many magnitudes": _magnitudes,
    "denormals, 1e300": _extreme,
    "float32 multiples": _float32_multiples,
}


def layers_of(kind: str, rng: Random, inputs: int, units: int, depth: int) -> list[Layer]:
    """Layers of a kind, with at most so many units each."""
    widths = rng.integers(1, units + 1, int(rng.integers(1, depth + 1)))
    if kind == "1-unit layers":
        widths[rng.random(len(widths)) < 0.7] = 1
    return _spoiled(kind, rng, random_layers(rng, inputs, widths.tolist()))


def redrawn(kind: str, rng: Random, layers: list[Layer]) -> list[Layer]:
    """Layers of the same architecture with other weights of a kind."""
    shapes = [layer.weights.shape for layer in layers]
    fresh = [(rng.normal(0, (2 / shape[1]) ** 0.5, shape), rng.normal(0, 0.5, shape[0])) for shape in shapes]
    return _spoiled(kind, rng, [replace(x, weights=w, bias=b) for x, (w, b) in zip(layers, fresh, strict=True)])


def _spoiled(kind: str, rng: Random, layers: list[Layer]) -> list[Layer]:
    spoiled = [KINDS[kind](layer.weights, layer.bias, rng) for layer in layers]
    return [replace(layer, weights=w, bias=b) for layer, (w, b) in zip(layers, spoiled, strict=True)]


def points_of(kind: str, rng: Random, layers: list[Layer], count: int) -> Floats:
    """Points to put a domain through: small integers for integer weights; through knots, on those of first units."""
    inputs = layers[0].weights.shape[1]
    if kind.startswith("integer") or kind == "2-bit":
        return _apart(rng.integers(-3, 4, (count, inputs)).astype(float))
    points = rng.normal(0, 2, (count, inputs))
    if kind == "no biases" and rng.random() < 0.5:
        points[1] = -points[0] * rng.choice([1.0, 2.0, 0.3])
    if kind == "through knots":
        layer = layers[0]
        for point in points[: rng.integers(1, count + 1)]:
            i = rng.integers(len(layer.bias))
            w = layer.weights[i]
            point -= w * (w @ point + layer.bias[i] - rng.choice(layer.knots)) / (w @ w)
    return _apart(points)


def _apart(points: Floats) -> Floats:
    """The points, those moved that are equal to the first."""
    points[1:, 0] += (points[1:] == points[0]).all(1)
    return points
