"""Networks of one architecture: captured once, then bound to the weights of each.

Reading a small network takes far longer than tracing it, and nearly all of it is spent on `torch.export`, whose
result is the same for all networks of one architecture but for the values of parameters and buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from netfold.capture.capture import PROBES, Reading, home, probes, read_module, unwrapped
from netfold.capture.program import Node, Program
from netfold.capture.replay import compare_with_model
from netfold.errors import CaptureError


@dataclass(frozen=True)
class Slot:
    """The place of a parameter or buffer in a node's arguments."""

    name: str


@dataclass(frozen=True)
class Same:
    """An object that equals itself alone; it is kept alive, so that no other takes its identity."""

    value: Any

    def __eq__(self, other: object) -> bool:
        """Whether both hold the very same object."""
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def architecture(model: nn.Module) -> Hashable:
    """All that decides what a module computes, but for the values of its parameters and buffers.

    Classes, modes, names, plain attributes by value and all other objects (functions, hooks) by identity: modules
    that agree run the same code on the same settings.

    Example:
        >>> architecture(nn.Linear(2, 3)) == architecture(nn.Linear(2, 3))
        True
        >>> architecture(nn.LeakyReLU(0.1)) == architecture(nn.LeakyReLU(0.2))
        False
    """
    tensors = tuple(name for name, _ in [*model.named_parameters(), *model.named_buffers()])
    return tensors, tuple((name, type(m), _settings(vars(m))) for name, m in model.named_modules())


def _settings(attributes: Mapping[str, Any]) -> Hashable:
    return tuple((name, _setting(value, registered=name in _REGISTERED)) for name, value in attributes.items())


_REGISTERED = ("_parameters", "_buffers", "_modules")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, type)


def _setting(value: Any, registered: bool = False) -> Hashable:
    if isinstance(value, _PLAIN):
        # The class tells 1, 1.0 and True apart, and the words -0.0 and 0.0.
        return type(value), repr(value) if isinstance(value, float | complex) else value
    if isinstance(value, dict):
        return tuple((_setting(key), _setting(entry, registered)) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(_setting(entry) for entry in value)
    if isinstance(value, set | frozenset):
        return type(value), frozenset(_setting(entry) for entry in value)
    if registered and isinstance(value, nn.Module):
        return type(value)
    if registered and isinstance(value, Tensor) and not is_lazy(value):
        return type(value), tuple(value.shape), value.dtype, value.device
    return Same(value)


class Template:
    """A captured network, whose weights can be replaced by those of others with its architecture.

    Args:
        model: the network, and ``shape`` that of one input; see `netfold.capture` for what is raised.

    Attributes:
        program: the network's own program.
        bindable: whether every parameter and buffer stands in the program as it is. It does not where operations
            on weights alone were carried out once (weight normalisation), or where a weight decides where a
            nonlinearity bends (a learnt slope); each network is then captured by itself.

    Example:
        >>> nets = [nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)) for _ in range(2)]
        >>> program = Template(nets[0], (2,)).bind(nets[1])
        >>> bool((program.nodes[0].args[1] == nets[1][0].weight.double()).all())
        True
    """

    def __init__(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        reading = read_module(unwrapped(model), shape)
        self.program = reading.program
        self.bindable = _bindable(reading)
        if self.bindable:
            self._output = reading.own.output
            self._nodes = [_Slotted.of(node, reading.weights) for node in reading.program.nodes]
            self._own = [_Slotted.of(node, reading.own.weights) for node in reading.own.nodes]
            self._names = tuple(reading.weights)
            self._points = probes((PROBES, *shape), reading.program.device)

    def bind(self, model: nn.Module) -> Program:
        """The program of a network with the template's `architecture`.

        As in `netfold.capture`, its operations are compared with the network at random points; that they are affine
        or piecewise linear was proved of the template.

        Raises:
            CaptureError: the network does not give what its operations give.
            InvalidInputError: a weight is not finite.
        """
        model = unwrapped(model)
        weights = dict(_tensors(model))
        if not self.bindable or not all(bool(torch.isfinite(weights[name]).all()) for name in self._names):
            return read_module(model, self.program.input_shape).program
        with torch.no_grad():
            if not self._replays(model, weights):
                return read_module(model, self.program.input_shape).program
            double = {name: _doubled(weights[name]) for name in self._names}
            program = self._with(tuple(slotted.filled(double) for slotted in self._nodes))
            # `capture` says in which layer numbers get too large.
            finite = bool(program(self._points).isfinite().all())
        return program if finite else read_module(model, self.program.input_shape).program

    def _with(self, nodes: tuple[Node, ...]) -> Program:
        made = {node.index: node for node in nodes}
        layers = tuple(replace(layer, node=made[layer.node.index]) for layer in self.program.layers)
        return replace(self.program, nodes=nodes, layers=layers)

    def _replays(self, model: nn.Module, weights: Mapping[str, Tensor]) -> bool:
        points = self._points.to(home(model)[0])
        values = {0: points}
        for slotted in self._own:
            node = slotted.filled(weights)
            values[node.index] = node(values, len(points))
        try:
            compare_with_model(values[self._output], model, self.program.name, points, len(points))
        except CaptureError:
            return False
        return True


@dataclass(frozen=True)
class _Slotted:
    """A node, and how its arguments are filled with weights; ``fill`` is None where it has none."""

    node: Node
    fill: Callable[[Mapping[str, Tensor]], tuple[Any, Any]] | None

    @classmethod
    def of(cls, node: Node, weights: Mapping[str, Tensor]) -> _Slotted:
        names = {id(tensor): name for name, tensor in weights.items()}
        given = (node.args, node.kwargs)
        if not any(id(leaf) in names for leaf in pytree.tree_leaves(given)):
            return cls(node, None)
        slots = pytree.tree_map(lambda leaf: Slot(names[id(leaf)]) if id(leaf) in names else leaf, given)
        return cls(node, lambda found: _filled(slots, found))

    def filled(self, weights: Mapping[str, Tensor]) -> Node:
        """The node with these weights."""
        if self.fill is None:
            return self.node
        args, kwargs = self.fill(weights)
        return replace(self.node, args=args, kwargs=kwargs)


def _filled(tree: Any, weights: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, Slot):
        return weights[tree.name]
    if isinstance(tree, dict):
        return {key: _filled(entry, weights) for key, entry in tree.items()}
    return type(tree)(_filled(entry, weights) for entry in tree) if type(tree) in (list, tuple) else tree


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from ((name, tensor.detach()) for name, tensor in model.named_parameters())
    yield from ((name, tensor.detach()) for name, tensor in model.named_buffers())


def _doubled(weight: Tensor) -> Tensor:
    # A copy also of what is in float64: the user may go on training.
    return weight.to(torch.float64, copy=True) if weight.is_floating_point() else weight.clone()


def _bindable(reading: Reading) -> bool:
    ruled = {layer.node.index for layer in reading.program.layers if layer.rule is not None}
    for nodes, weights in ((reading.program.nodes, reading.weights), (reading.own.nodes, reading.own.weights)):
        known = {id(tensor) for tensor in weights.values()}
        for node in nodes:
            found = [leaf for leaf in pytree.tree_leaves((node.args, node.kwargs)) if isinstance(leaf, Tensor)]
            if any(id(leaf) not in known or node.index in ruled for leaf in found):
                return False
    return True
