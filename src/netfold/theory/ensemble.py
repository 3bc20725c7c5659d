"""The ensemble a network looks drawn from: scales of its weights, its activations, and doubts about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

from netfold.capture import Layer
from netfold.capture.activations import Elementwise
from netfold.errors import InvalidInputError
from netfold.theory.activations import Activation, Custom, PiecewiseLinear, as_activation
from netfold.theory.weights import WeightMatrix

NAMES = ("tanh", "erf", "gelu", "silu")
"""Smooth activations with closed forms, by their operation; others are taken by their values."""


@dataclass(frozen=True)
class Scale:
    """A standard deviation, measured.

    Attributes:
        value: the square root of the mean square.
        error: its standard error, from the fourth moment of the numbers.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.error:.1g}"


@dataclass(frozen=True)
class WeightStatistics:
    """What a weight matrix of n rows and k columns looks like beside one of independent entries.

    Attributes:
        sigma_w: standard deviation of an entry times sqrt(k), about 0.
        sigma_b: standard deviation of a bias, about 0; 0 where there is none.
        entries: n k.
        kurtosis: of the entries: 3 for Gaussian ones, 1.8 for uniform ones.
        edge: largest singular value over sigma (sqrt(n) + sqrt(k)), where it ends for large random matrices.
        edge_limit: what ``edge`` stays below for independent entries of finite size.
        spread: sum of squares of the squared singular values over what independent entries give on average;
            1 for random matrices, less where singular values are more alike (orthogonal matrices).
    """

    sigma_w: Scale
    sigma_b: Scale
    entries: int
    kurtosis: float
    edge: float
    edge_limit: float
    spread: float

    @property
    def gaussian(self) -> bool:
        """Whether the tails of the weights are those of Gaussian ones, to five standard errors."""
        return abs(self.kurtosis - 3) <= 5 * (24 / self.entries) ** 0.5

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against independent entries of one scale, if anything does."""
        found = []
        if self.edge > self.edge_limit:
            found.append(
                f"its largest singular value is {self.edge:.2f} times where that of independent weights ends, so "
                "they are correlated, as after training"
            )
        if self.kurtosis > 3 + HEAVY + 5 * (24 / self.entries) ** 0.5:
            found.append(f"its weights have heavy tails (kurtosis {self.kurtosis:.1f}; Gaussian 3, uniform 1.8)")
        if self.spread < ALIKE:
            found.append("its singular values are more alike than those of independent weights (orthogonal?)")
        return tuple(found)


FEW = 30
"""Fewer numbers than this are taken to be Gaussian where they look lighter-tailed."""

HEAVY = 1.0
"""How far the kurtosis of weights may exceed that of Gaussian ones, beyond five of its standard errors."""

ALIKE = 0.75
"""Below this spread singular values count as alike; orthogonal square matrices have 1/2."""


def statistics(weight: WeightMatrix) -> WeightStatistics:
    """Measure a weight: its scales with standard errors, and how random it looks.

    The mean square of n k independent entries with kurtosis K has the relative variance (K - 1) / (n k), and the
    root half of that deviation. The largest singular value of a random matrix follows the Tracy-Widom law about
    the edge of the Marchenko-Pastur law; five times its scale above the edge is beyond chance.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> drawn = torch.randn(100, 400, generator=generator, dtype=torch.float64) / 20
        >>> found = statistics(WeightMatrix("layer", drawn, None, None))
        >>> round(found.sigma_w.value, 2), found.doubts
        (1.01, ())
    """
    matrix = weight.matrix
    n, k = matrix.shape
    sigma, kurtosis = _moments(matrix)
    largest, fourth = _singular(matrix)
    scale = sigma.value if sigma.value > 0 else 1.0
    edge, width = n**0.5 + k**0.5, (n**0.5 + k**0.5) * (n**-0.5 + k**-0.5) ** (1 / 3)
    expected = scale**4 * n * k * (n + k - 2 + max(kurtosis, 1.0))
    bias = Scale(0.0, 0.0) if weight.bias is None else _moments(weight.bias)[0]
    root = k**0.5
    return WeightStatistics(
        sigma_w=Scale(sigma.value * root, sigma.error * root),
        sigma_b=bias,
        entries=n * k,
        kurtosis=kurtosis,
        edge=largest / (scale * edge),
        edge_limit=(edge**2 + 5 * width) ** 0.5 / edge,
        spread=fourth / expected if min(n, k) >= 8 else 1.0,
    )


def _singular(matrix: Tensor) -> tuple[float, float]:
    """The largest singular value, and the sum of the fourth powers of all."""
    thin = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    if len(thin) <= 512:
        squares = torch.linalg.eigvalsh(thin @ thin.T).clamp(min=0)
        return float(squares.max()) ** 0.5, float((squares**2).sum())
    start = np.random.default_rng(0).standard_normal(len(thin))
    largest: Any = svds(thin.numpy(), k=1, v0=start, tol=1e-3, return_singular_vectors=False)  # type: ignore[arg-type]
    single = thin.float()
    return float(largest[0]), float((single @ single.T).square().sum(dtype=torch.float64))


def _moments(values: Tensor) -> tuple[Scale, float]:
    """Root mean square with its standard error, and kurtosis about 0."""
    second = float(values.square().mean())
    if second == 0:
        return Scale(0.0, 0.0), 0.0
    kurtosis = float((values.square() / second).square().mean())
    if values.numel() < FEW:
        kurtosis = max(kurtosis, 3.0)  # a handful of numbers says little about their tails
    return Scale(second**0.5, 0.5 * (second * max(kurtosis - 1, 0) / values.numel()) ** 0.5), kurtosis


def activation_of(layer: Layer) -> Activation:
    """The activation function of a captured nonlinearity, as theory takes it.

    Raises:
        InvalidInputError: it does not act on every unit alone and alike, so there is no such function.

    Example:
        >>> import netfold as nf
        >>> program = nf.capture(nf.random_network(2, 3, 1, activation="relu6"), shape=(2,))
        >>> activation_of(program.layers[0]).kinks
        (0.0, 6.0)
    """
    if isinstance(layer.rule, Elementwise):
        return _piecewise(layer, layer.rule)
    if layer.rule is not None:
        raise InvalidInputError(f"{layer.name} ({layer.op}) picks one of several entries, so it is no activation")
    if not _elementwise(layer):
        raise InvalidInputError(f"{layer.name} ({layer.op}) does not act on each unit alone and alike")

    def function(h: Tensor) -> Tensor:
        return _apply(layer, h)

    if layer.op in NAMES:
        known, at = as_activation(layer.op), np.linspace(-4, 4, 33)
        if np.allclose(known(at), function(torch.from_numpy(at)[:, None]).numpy()[:, 0], rtol=0, atol=1e-12):
            return known
    return Custom(function, layer.op)


def _piecewise(layer: Layer, rule: Elementwise) -> PiecewiseLinear:
    knots, slopes = rule.knots, rule.slopes
    if not (np.allclose(knots, knots[0], rtol=1e-12) and np.allclose(slopes, slopes[0], rtol=1e-12)):
        raise InvalidInputError(f"the units of {layer.name} ({layer.op}) differ in their slopes or knots")
    anchor = float(slopes[0, 0] * knots[0, 0] + rule.offsets[0, 0])
    return PiecewiseLinear(layer.op, tuple(knots[0].tolist()), tuple(slopes[0].tolist()), anchor)


def _apply(layer: Layer, h: Tensor) -> Tensor:
    (read,) = layer.node.inputs
    return layer.node({read: h}, len(h))


def _elementwise(layer: Layer) -> bool:
    """Whether a smooth operation gives each entry the same function of that entry alone."""
    if len(layer.node.inputs) != 1:
        return False
    generator = torch.Generator().manual_seed(0)
    shape = (2, *layer.shape)
    h = torch.randn(shape, generator=generator, dtype=torch.float64)
    order = torch.randperm(h[0].numel(), generator=generator)
    shuffled = h.reshape(2, -1)[:, order].reshape(shape)
    try:
        value, moved = _apply(layer, h), _apply(layer, shuffled)
        single = _apply(layer, h.reshape(-1, 1)).reshape(2, -1)
    except (RuntimeError, IndexError, ValueError):
        return False
    if value.shape != h.shape:
        return False
    flat = value.reshape(2, -1)
    return torch.allclose(flat[:, order], moved.reshape(2, -1)) and torch.allclose(flat, single)


def same_activation(a: Activation, b: Activation) -> bool:
    """Whether two activations are one function: equal, or of one name and equal at sample points."""
    at = np.linspace(-8, 8, 65)
    return a == b or (a.name == b.name and np.array_equal(a(at), b(at)))
