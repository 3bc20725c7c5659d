"""The words of a diagnosis: its answer, and where the theory behind it does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from netfold.theory.activations import Activation
from netfold.theory.architecture import Architecture
from netfold.theory.fixed_points import Status
from netfold.theory.mean_field import MeanField

if TYPE_CHECKING:
    from netfold.theory.diagnosis import LayerDiagnosis

SCATTER = 0.5
"""From this standard deviation of one draw's log length on, layers count as narrow."""


def warnings(
    network: Architecture,
    layers: tuple[LayerDiagnosis, ...],
    common: Activation | None,
    field: MeanField | None,
    no_gain: str,
) -> Iterator[str]:
    """Where mean-field theory does not hold, in sentences.

    Args:
        network: the network.
        layers: its weight operations.
        common: the activation that its hidden layers share.
        field: the fixed point, where it matters.
        no_gain: why no gain makes it critical.
    """
    doubts: dict[str, list[str]] = {}
    for layer in layers:
        for doubt in layer.weights.doubts:
            doubts.setdefault(doubt, []).append(layer.name)
    for doubt, names in doubts.items():
        yield f"{', '.join(names)}: {doubt}"
    yield from _about_structure(network)
    yield from _about_activations(layers, common)
    yield from _about_gains(layers)
    yield from _about_width(layers)
    if field is not None and field.q == 0:
        yield "a signal dies out with depth (q* = 0)"
    elif field is not None and field.status is not Status.CONVERGED:
        yield f"{field.status}: {field.status.advice}"
    if no_gain:
        yield no_gain


def _about_structure(network: Architecture) -> Iterator[str]:
    norms = dict.fromkeys(norm for block in network.blocks for norm in block.norms)
    if norms:
        yield (
            f"{', '.join(norms)}: in training it rescales every layer's signal by the statistics of the batch, which "
            "these numbers leave out: they are of the network in evaluation mode"
        )
    padded = [w.name for block in network.blocks for w in block.weights if w.conv is not None and any(w.conv.padding)]
    if padded:
        yield (
            f"{', '.join(padded)}: zero padding leaves units at the border fewer inputs; these numbers are of units "
            "inside"
        )
    if network.skips:
        yield f"{network.skips} (a skip connection): every layer is judged alone, as if in a chain"
    odd = next((block for block in network.hidden if block.wiring), None)
    if odd is not None and not network.skips:
        yield (
            f"before '{odd.name}', {odd.wiring}: every layer is judged alone, as if in a chain, and q and growth are "
            "not known from there on"
        )


def _about_activations(layers: tuple[LayerDiagnosis, ...], common: Activation | None) -> Iterator[str]:
    used = dict.fromkeys(layer.activation for layer in layers if layer.function is not None)
    if used and common is None:
        yield (
            f"its layers have different activations ({', '.join(used)}): chi_1 is their geometric mean, each at the "
            "fixed point of its own layer repeated, and there is no one critical gain"
        )
    for layer in layers:
        if layer.activation and np.isnan(layer.chi_1):
            yield f"{layer.name}: {layer.note}; it is left out of the verdict"


def _about_gains(layers: tuple[LayerDiagnosis, ...]) -> Iterator[str]:
    scales = [layer.weights.sigma_w for layer in layers if not np.isnan(layer.chi_1)]
    if len(scales) < 2:
        return
    low, high = min(scales, key=lambda s: s.value), max(scales, key=lambda s: s.value)
    if high.value - low.value > 5 * np.hypot(low.error, high.error):
        yield (
            f"sigma_w differs between layers, from {low} to {high}: the verdict takes the geometric mean, and each "
            "layer's own phase is in the table"
        )


def _about_width(layers: tuple[LayerDiagnosis, ...]) -> Iterator[str]:
    scatter = float(np.sqrt(1.25 * sum(1 / layer.units for layer in layers if layer.activation)))
    if scatter > SCATTER:
        yield (
            "its layers are narrow: the length that one draw of the weights gives scatters about the mean by a factor "
            f"of about {np.exp(scatter):.2g} (standard deviation sqrt(5/4 sum 1/width) of its logarithm, for ReLU)"
        )
