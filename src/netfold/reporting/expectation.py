"""What theory expects of a network with random weights, where it has something exact to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kurtosistest

from netfold.capture import Layer, Program, Stage
from netfold.capture.activations import Elementwise
from netfold.paths import Line
from netfold.theory.crossings import crossing_rate
from netfold.theory.growth import length_growth


@dataclass(frozen=True)
class Expectation:
    """Means over random weights, layer by layer.

    Attributes:
        growth: of the path's length in each layer, averaged over the paths.
        growth_spread: standard deviation of one draw of the weights around it, at most; NaN where not known.
        transitions: in each layer, averaged over the paths; exact in the first layer, in the limit of wide
            layers after it.
        exact: whether ``growth`` is exact at the network's widths, or in the limit of wide layers.
        sigma_w: scale of the weights in each layer, times the square root of its fan-in.
        sigma_b: standard deviation of the biases.
    """

    growth: NDArray[np.float64]
    growth_spread: NDArray[np.float64]
    transitions: NDArray[np.float64]
    exact: bool
    sigma_w: NDArray[np.float64]
    sigma_b: float


@dataclass(frozen=True)
class NoExpectation:
    """Why theory has nothing exact to say about a network."""

    reason: str


def expect(program: Program, lines: Sequence[Line]) -> Expectation | NoExpectation:
    """Theory for a network at initialisation: a chain of fully connected layers with random weights.

    The scale of the weights is read off the network. With ReLU, growth is exact at every width, and its
    spread is bounded: the second moment of a layer's stretching at a point is ``sigma_w^2 k / (2 fan_in)``
    for k units, and averaging along a path can only narrow it. With hard-tanh, growth is that of infinitely
    wide layers.

    Args:
        program: the network.
        lines: the paths.

    Returns:
        The expectation, or why there is none.
    """
    activation = _activation(program.layers)
    found = [_linear(stage) for stage in program.stages if stage.layer is not None]
    layers = [layer for layer in found if layer is not None]
    if activation is None or len(layers) < len(found):
        return NoExpectation("the theory covers chains of fully connected layers, all ReLU or all hard-tanh")
    for (weight, bias), layer in zip(layers, program.layers, strict=True):
        if not looks_gaussian(weight) or (bias.any() and not looks_gaussian(bias)):
            return NoExpectation(
                f"the theory is about independent Gaussian weights around 0; those before {layer.name} are not"
            )
    return _expectation(activation, layers, lines)


Linear = tuple[torch.Tensor, torch.Tensor]


def _expectation(activation: str, layers: Sequence[Linear], lines: Sequence[Line]) -> Expectation:
    widths, fan_in = ([weight.shape[i] for weight, _ in layers] for i in (0, 1))
    sigma_w = np.array([float(weight.std(correction=0)) for weight, _ in layers]) * np.sqrt(fan_in)
    sigma_b = float(torch.cat([bias for _, bias in layers]).std(correction=0))
    gain = float(np.sqrt((sigma_w**2).mean()))
    rates = [crossing_rate(activation, gain, sigma_b, len(widths), curve=line).transitions for line in lines]
    if activation == "relu":
        unit = length_growth("relu", 1.0, width=widths, inputs=fan_in[0])
        growth = sigma_w * unit.growth
        spread = np.sqrt(np.maximum(sigma_w**2 * unit.energy_growth - growth**2, 0))
    else:
        each = [length_growth(activation, gain, sigma_b, widths, inputs=fan_in[0], curve=x) for x in lines]
        growth = np.mean([found.growth for found in each], axis=0)
        spread = np.full(len(widths), np.nan)
    transitions = np.mean(rates, axis=0) * widths
    return Expectation(growth, spread, transitions, activation == "relu", sigma_w, sigma_b)


def _activation(layers: Sequence[Layer]) -> str | None:
    """The activation that all layers share, where the theory knows it."""
    kinds = {layer.op for layer in layers}
    if kinds == {"relu"}:
        return "relu"
    standard = all(
        isinstance(layer.rule, Elementwise) and layer.rule.knots.tolist() == [[-1.0, 1.0]] for layer in layers
    )
    return "hardtanh" if kinds == {"hardtanh"} and standard else None


def looks_gaussian(weight: torch.Tensor) -> bool:
    """Whether mean and kurtosis are those of a Gaussian around 0, as far as this many numbers can tell.

    Example:
        >>> normal = torch.randn(1000, generator=torch.Generator().manual_seed(0))
        >>> looks_gaussian(normal), looks_gaussian(torch.linspace(-1, 1, 1000))
        (True, False)
    """
    values = weight.numpy().ravel()
    scale = values.std()
    if not scale > 0:
        return False
    centred = abs(values.mean()) / scale < 5 * len(values) ** -0.5
    # Anscombe and Glynn's test needs twenty numbers.
    return bool(centred and (len(values) < 20 or kurtosistest(values).pvalue > 1e-6))


def _linear(stage: Stage) -> Linear | None:
    """The weight and the bias of a stage that is one matrix product."""
    if len(stage.nodes) != 1:
        return None
    node = stage.nodes[0]
    if node.op != "aten.linear.default" or len(node.inputs) != 1:
        return None
    weight = node.args[1].detach().double().cpu()
    bias = node.args[2] if len(node.args) > 2 else None
    return weight, weight.new_zeros(len(weight)) if bias is None else bias.detach().double().cpu()
