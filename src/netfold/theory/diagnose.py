"""`diagnose`: read a network layer by layer, and set its gains beside mean-field theory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.arguments import checked
from netfold.arrays import numbers
from netfold.capture import Model
from netfold.capture.capture import captured
from netfold.capture.data import without_labels
from netfold.errors import InvalidInputError
from netfold.paths import point as as_point
from netfold.theory.activations import Activation
from netfold.theory.architecture import Architecture, LayerBlock, read_architecture
from netfold.theory.assumptions import warnings
from netfold.theory.ensemble import Scale, WeightStatistics, activation_of, same_activation, statistics
from netfold.theory.fixed_points import Phase
from netfold.theory.gaussian import Array
from netfold.theory.mean_field import mean_field
from netfold.theory.uncertainty import (
    chi,
    critical_gain,
    geometric_mean,
    phase_within,
    root_mean_square,
    surviving_depth,
)
from netfold.theory.weights import WeightMatrix

if TYPE_CHECKING:
    pass
from netfold.theory.diagnosis import Diagnosis, LayerDiagnosis


@checked
def diagnose(model: Model, point: Any = None, *, shape: Sequence[int] | None = None) -> Diagnosis:
    """Is a network, at initialisation, ordered, critical or chaotic?

    Read off layer by layer: sigma_w^2 = fan-in times the mean square of the weights (of a convolution: in
    channels times kernel) and sigma_b^2 = mean square of the biases, with standard errors from their fourth
    moments. Batch normalisation in evaluation mode and constant factors are multiplied in. With these gains
    and the activation, mean-field theory gives

        chi_1 = sigma_w^2 E phi'(sqrt(q*) z)^2,    growth = sqrt(chi_1),    xi_c = -1 / ln(slope at c*)

    and the phase: ordered (chi_1 < 1: nearby inputs merge, gradients vanish), chaotic (chi_1 > 1: they part,
    gradients explode), critical within three standard errors of 1. ``q`` and ``growth`` of a layer are those
    of the signal on its way there, from an input with mean square ``q0``, not at the fixed point.

    Assumptions: independent weights, wide layers, a chain. ``warnings`` says which of them this network does
    not meet: trained weights (a singular value beyond the random edge, heavy tails), orthogonal ones, batch
    normalisation, skip connections, pooling, different activations or gains, narrow layers. Training that
    leaves the weights almost independent is not noticed. Where layers between weights mix or rescale what they read
    (layer normalisation, attention, gates) there is no phase: the gains of single layers leave out what they do.

    Args:
        model: a module in evaluation mode, or a captured program.
        point: one input, without batch axis: q0 is the mean square of its coordinates (1 without it).
        shape: the shape of one input, instead of ``point``. Neither is needed where the first weights are those of
            a dense layer that reads the whole input.

    Returns:
        The diagnosis: a table with a verdict.

    Raises:
        InvalidInputError: no nonlinearity, or no weights.
        CaptureError: the model cannot be captured.

    Source:
        Poole et al. 2016 (phases), Schoenholz et al. 2017 (depth scales, trainable to about 6 xi_c).

    Example:
        >>> import torch, netfold as nf
        >>> net = nf.random_network(100, 300, 3, activation="hardtanh", sigma_w=4.0)
        >>> found = nf.diagnose(net)
        >>> print(found.phase, round(found.critical_sigma_w, 3))
        chaotic 1.0
    """
    program = captured(model, point, shape)
    network = read_architecture(program)
    if not program.layers:
        raise InvalidInputError(f"{program.name} has no nonlinearity, so it has no phase: it is affine")
    q0 = 1.0 if point is None else float(program.points(as_point(point, "point")[None], "point").square().mean())
    if q0 == 0:
        raise InvalidInputError("point is 0 everywhere: give a typical input, or its shape alone")
    layers = tuple(_layers(network, q0))
    if not layers:
        raise InvalidInputError(f"{program.name} has no dense or convolutional weights to read")
    return _summary(network, layers, q0)


def typical(points: Any) -> Array:
    """A point as large as the data are on average, for `diagnose`: its mean square is that of all their numbers.

    Args:
        points: inputs, one a row.

    Example:
        >>> typical([[3.0, 4.0], [0.0, 5.0]]).round(4).tolist()
        [3.5355, 3.5355]
    """
    rows = numbers(without_labels(points), "points")
    return np.full(rows.shape[1:], np.sqrt(np.mean(rows**2)))


def _layers(network: Architecture, q0: float) -> Iterator[LayerDiagnosis]:
    square = q0  # of the signal, per number; nan once it cannot be followed
    for block in network.blocks:
        function, why = _function(block)
        if block.wiring and not (block.layer is None and block.bare):
            square = np.nan
        for weight in block.weights:
            found = statistics(weight)
            q = found.sigma_w.value**2 * square + found.sigma_b.value**2
            yield _layer(block, weight, found, function, why, q, q0)
            square = np.nan if function is None else float(function.square(np.array([q]))[0])


def _function(block: LayerBlock) -> tuple[Activation | None, str]:
    if block.layer is None:
        return None, ""
    try:
        return activation_of(block.layer), ""
    except InvalidInputError as error:
        return None, str(error)


def _layer(
    block: LayerBlock,
    weight: WeightMatrix,
    weights: WeightStatistics,
    function: Activation | None,
    why: str,
    q: float,
    q0: float,
) -> LayerDiagnosis:
    found_chi, growth = Scale(np.nan, np.nan), np.nan
    if weights.sigma_w.value == 0:
        why = why or "its weights are all 0"
    elif function is not None:
        found_chi = chi(function, weights.sigma_w, weights.sigma_b, q0)
        growth = weights.sigma_w.value * float(np.sqrt(function.moments(np.array([q])).slope[0]))
    elif block.layer is None and np.isfinite(q):
        growth = weights.sigma_w.value
    return LayerDiagnosis(
        name=weight.name,
        label=block.label,
        activation=block.layer.op if block.layer is not None else "",
        function=function,
        units=len(weight.matrix),
        fan_in=weight.fan_in,
        weights=weights,
        q=float(q),
        growth=float(growth) if np.isfinite(q) else np.nan,
        chi_1=found_chi.value,
        chi_1_error=found_chi.error,
        phase=phase_within(found_chi),
        note=why or (block.wiring if block.layer is not None else ""),
    )


def _summary(network: Architecture, layers: tuple[LayerDiagnosis, ...], q0: float) -> Diagnosis:
    used = [layer for layer in layers if layer.function is not None and layer.weights.sigma_w.value > 0]
    functions = [layer.function for layer in used if layer.function is not None]
    common = functions[0] if functions and all(same_activation(functions[0], f) for f in functions) else None
    sigma_w = geometric_mean([layer.weights.sigma_w for layer in used])
    sigma_b = root_mean_square([layer.weights.sigma_b for layer in used])
    field, gain, no_gain = None, np.nan, ""
    depth, depth_range = np.nan, (np.nan, np.nan)
    if network.left_out:
        chi_1 = Scale(np.nan, np.nan)
    elif common is not None:
        field = mean_field(common, sigma_w.value, sigma_b.value, q0=q0)
        chi_1 = chi(common, sigma_w, sigma_b, q0)
        depth, depth_range = surviving_depth(common, sigma_w, sigma_b, q0)
        gain, no_gain = critical_gain(common, sigma_b.value, q0)
    else:
        chi_1 = geometric_mean([Scale(layer.chi_1, layer.chi_1_error) for layer in used])
    phase = phase_within(chi_1)
    if phase is Phase.CRITICAL and common is not None:
        depth_range = (depth_range[0], np.inf)
    return Diagnosis(
        name=network.name,
        inputs=network.inputs,
        q0=q0,
        layers=layers,
        activation=common,
        sigma_w=sigma_w,
        sigma_b=sigma_b,
        field=field,
        chi_1=chi_1.value,
        chi_1_error=chi_1.error,
        phase=phase,
        depth=depth,
        depth_range=depth_range,
        critical_sigma_w=gain,
        judged=network.judged,
        left_out=network.left_out,
        structure=_structure(network),
        warnings=tuple(warnings(network, layers, common, None if phase is Phase.CRITICAL else field, no_gain)),
    )


def _structure(network: Architecture) -> str:
    """Why a network is not a chain of dense layers."""
    for block in network.blocks:
        if block.norms:
            return f"{block.norms[0]} before {block.name} rescales the signal"
        if block.wiring and not (block.layer is None and block.bare):
            return f"before {block.name}, {block.wiring}"
        if block.weights and block.weights[0].conv is not None:
            return f"{block.weights[0].name} is a convolution"
        if block.weights and len(block.weights[0].matrix) != block.units:
            return f"{block.weights[0].name} is applied to several parts of its input"
    return ""
