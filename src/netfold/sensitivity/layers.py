"""Which layers of a model have weights, and where a captured model first reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from netfold.errors import InvalidInputError
from netfold.sensitivity.perturbations import Weight


@dataclass(frozen=True)
class WeightLayer:
    """A module with weights of its own.

    Attributes:
        name: its path in the model.
        kind: its class.
        weights: its parameters, without biases, and ``biases`` the others.
        number: its position among the model's layers with weights; random draws follow it.
        shared_with: other modules that hold the very same tensors, which are perturbed with it.
    """

    name: str
    kind: str
    weights: tuple[Weight, ...]
    biases: tuple[Weight, ...]
    number: int
    shared_with: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many weights there are, without biases."""
        return sum(weight.value.numel() for weight in self.weights)

    def chosen(self, biases: bool) -> tuple[Weight, ...]:
        """The parameters to perturb."""
        return (*self.weights, *self.biases) if biases else self.weights


def weight_layers(model: nn.Module, names: Sequence[str] | None = None) -> tuple[WeightLayer, ...]:
    """The layers of a model that have weights, in the order in which the model holds them.

    By default a layer is a module that holds a parameter with two axes or more (dense, convolution, attention,
    embedding, recurrent); one-dimensional parameters beside it are its biases. Normalisation layers, whose gains are
    one-dimensional, are taken where they are named. A tensor that several modules share belongs to the first.

    Args:
        model: any module.
        names: module paths to take; all by default.

    Returns:
        The layers.

    Raises:
        InvalidInputError: there is none, or a name is not a module with parameters of its own.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))
        >>> [layer.name for layer in weight_layers(net)]
        ['0', '3']
        >>> [layer.name for layer in weight_layers(net, ["1"])]
        ['1']
    """
    owners: dict[tuple[int, tuple[int, ...]], str] = {}
    found: dict[str, WeightLayer] = {}
    for path, module in model.named_modules():
        layer = _layer(path, module, len(found))
        if layer is None:
            continue
        taken = {owners[_key(w)] for w in layer.weights if _key(w) in owners}
        own = tuple(w for w in layer.weights if _key(w) not in owners)
        for name in taken:
            found[name] = replace(found[name], shared_with=(*found[name].shared_with, layer.name))
        if not own:
            continue
        owners.update({_key(w): layer.name for w in own})
        found[layer.name] = replace(layer, weights=own)
    layers = [layer for layer in found.values() if _has_matrix(layer)]
    if names is not None:
        return _named(model, names, found)
    if not layers:
        raise InvalidInputError(
            f"{type(model).__name__} has no layer with weights (a parameter with two axes or more); name the layers "
            "to perturb with layers=[...]"
        )
    return tuple(layers)


def _has_matrix(layer: WeightLayer) -> bool:
    return any(weight.value.ndim >= 2 for weight in layer.weights)


def _layer(path: str, module: nn.Module, number: int) -> WeightLayer | None:
    """A module's own floating-point parameters as a layer."""
    own = {n: p for n, p in module.named_parameters(recurse=False) if p.is_floating_point()}
    if not own:
        return None
    matrices = any(p.ndim >= 2 for p in own.values())
    kind = type(module)
    # GPT-2's dense layers, x W + b, have the outputs last
    last = (kind.__module__, kind.__name__) == ("transformers.pytorch_utils", "Conv1D")
    axis = 1 if last or isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) else 0
    weights: list[Weight] = []
    biases: list[Weight] = []
    for name, value in own.items():
        weight = Weight(f"{path}.{name}" if path else name, value.detach(), axis, module, name)
        bias = value.ndim < 2 and (matrices or "bias" in name)
        (biases if bias else weights).append(weight)
    if not weights:
        return None
    name = path.replace(".parametrizations.", ".") if path else type(module).__name__
    return WeightLayer(name, type(module).__name__, tuple(weights), tuple(biases), number)


def _key(weight: Weight) -> tuple[int, tuple[int, ...]]:
    """What tells one stored tensor from another."""
    return weight.value.data_ptr(), tuple(weight.value.shape)


def _named(model: nn.Module, names: Sequence[str], layers: dict[str, WeightLayer]) -> tuple[WeightLayer, ...]:
    unknown = [name for name in names if name not in layers]
    if unknown or isinstance(names, str) or not names:
        asked = ", ".join(map(repr, unknown)) if unknown and not isinstance(names, str) else repr(names)
        raise InvalidInputError(
            f"layers: {asked} is not a list of modules of {type(model).__name__} with parameters of their own; "
            f"those are {', '.join(layers)}"
        )
    return tuple(layers[name] for name in layers if name in set(names))
