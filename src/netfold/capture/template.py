"""Programs that were captured before: used again for the same module, and for others of its architecture.

Reading a module takes far longer than tracing a small one. What was read holds for every module that computes the same
function of its input, parameters and buffers; `netfold.capture.calls` tells whether one does.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from netfold.capture.calls import PLAIN, CallLog, logged, same_bytes, setting
from netfold.capture.program import Node, Program
from netfold.capture.reading import PROBES, Reading, home, probes, read_module, unwrapped
from netfold.capture.refusals import require_values
from netfold.capture.replay import close, prove
from netfold.capture.tape import Slot, filled, tensors
from netfold.capture.untouched import alone
from netfold.errors import CaptureError

TEMPLATES = 64
"""Programs that are kept, and ``LARGEST`` how many numbers one may hold."""

LARGEST = 2**19

LONG = 1000
"""Entries from which on a list is told by its identity: `CallLog` notices what is in it."""


class Same:
    """An object that equals itself alone; it is not kept alive by this."""

    def __init__(self, value: Any) -> None:
        self.number = id(value)
        try:
            self.value = weakref.ref(value)
        except TypeError:
            self.value = None

    def __eq__(self, other: object) -> bool:
        """Whether both stand for the very same object, which is still there."""
        if not isinstance(other, Same) or self.number != other.number:
            return False
        one, two = (None if same.value is None else same.value() for same in (self, other))
        return one is two and (one is not None or self.value is other.value)

    def __hash__(self) -> int:
        return self.number


def architecture(model: nn.Module) -> Hashable:
    """What a module looks like, but for the values of its parameters and buffers.

    Classes, modes, names, plain attributes by value and all other objects (functions, hooks) by identity. Modules that
    agree are worth a comparison of what they compute; they need not compute the same.

    Example:
        >>> architecture(nn.Linear(2, 3)) == architecture(nn.Linear(2, 3))
        True
        >>> architecture(nn.LeakyReLU(0.1)) == architecture(nn.LeakyReLU(0.2))
        False
    """
    names = tuple(name for name, _ in tensors(model, tied=False))
    parts = tuple((name, Same(type(m)), Same(type(m).forward), _settings(vars(m))) for name, m in model.named_modules())
    return names, parts


_REGISTERED = ("_parameters", "_buffers", "_modules")


def _settings(attributes: Mapping[str, Any]) -> Hashable:
    return tuple((name, _setting(value, registered=name in _REGISTERED)) for name, value in attributes.items())


def _setting(value: Any, registered: bool = False) -> Hashable:
    kind = type(value)
    if kind in PLAIN:
        return setting(value)
    if isinstance(value, dict | list | tuple | set | frozenset) and len(value) <= LONG:
        if not value:
            return kind.__qualname__
        if isinstance(value, dict):
            return tuple([(_setting(key), _setting(entry, registered)) for key, entry in value.items()])
        entries = map(_setting, value)
        return Same(kind), frozenset(entries) if isinstance(value, set | frozenset) else tuple(entries)
    if registered and isinstance(value, nn.Module):
        return Same(kind)
    if registered and isinstance(value, Tensor) and not is_lazy(value):
        return Same(kind), tuple(value.shape), value.dtype, value.device, value.requires_grad
    return Same(value)


@dataclass(eq=False)
class Template:
    """What was read of a module, for others that compute the same function of their input and weights.

    Attributes:
        program: its operations in float64, and ``own`` those in its own number type, with slots for weights.
        output: the operation in ``own`` that gives the output.
        bindable: whether every parameter and buffer stands in the program as it is. It does not where operations
            on weights alone were carried out once (weight normalisation), or where a weight decides where a
            nonlinearity bends (a learnt slope); another module is then captured by itself.
        rowwise: as of the `Reading`.
        log: what ``torch`` was asked to compute.
        names: the parameters and buffers.
        last: the program that was made last, its weights in float64, and what the module gave at the points at which
            it is run; ``None`` where they are too large to be kept.
    """

    program: Program
    own: tuple[Node, ...]
    output: int
    bindable: bool
    rowwise: bool
    log: CallLog
    names: tuple[str, ...]
    last: tuple[Program, Mapping[str, Tensor], Tensor] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, model: nn.Module, reading: Reading) -> Template | None:
        """The template of a module that was read; ``None`` where there is no telling what another one computes."""
        program, own = reading.program, reading.own
        try:
            given, log = logged(model, _points(program))
            _, again = logged(model, _points(program, seed=1))
        except Exception:  # such a module is captured afresh each time
            return None
        names = {name for name, _ in tensors(model)}
        if not log.agrees(again) or not names.issuperset(reading.weights):
            return None
        if not {name for name, _ in tensors(model, tied=False)}.issubset(reading.weights):
            return None
        template = cls(
            program=_slotted(program, reading.weights),
            own=tuple(_with_slots(node, own.weights) for node in own.nodes),
            output=own.output,
            bindable=_bindable(reading),
            rowwise=reading.rowwise,
            log=log,
            names=tuple(reading.weights),
        )
        template._remember(program, reading.weights, given)
        return template if template.bindable or template.last else None

    def bind(self, model: nn.Module) -> Program | None:
        """The program of another module, or of the same one at another time; ``None`` where it is to be read itself.

        Where a weight has changed, the operations are compared with the module, and what holds of them is proved, as
        in `netfold.capture`.
        """
        weights = {name: tensor.detach() for name, tensor in tensors(model)}
        try:
            given, log = logged(model, _points(self.program))
        except Exception:  # reading it says what is wrong
            return None
        if not log.agrees(self.log):
            return None
        if self.last is not None:
            program, before, output = self.last
            if close(given, output, program.dtype) and all(
                same_bytes(_doubled(weights[n]), before[n]) for n in self.names
            ):
                return program
        if not self.bindable or not all(bool(weights[name].isfinite().all()) for name in self.names):
            return None
        return self._bound(weights, given)

    def _bound(self, weights: Mapping[str, Tensor], given: Tensor) -> Program | None:
        with torch.no_grad():
            values = {0: _points(self.program)}
            for node in self.own:
                values[node.index] = _with_weights(node, weights)(values, PROBES)
            if not close(values[self.output], given, self.program.dtype):
                return None
            # A copy also of what is in float64: the user may go on training.
            double = {name: _doubled(weights[name], copy=True) for name in self.names}
            program = _replaced(self.program, tuple(_with_weights(node, double) for node in self.program.nodes))
            try:
                points = _points(program, dtype=torch.float64)
                if not self.rowwise:
                    prove(program, points)
                elif not bool(program(points).isfinite().all()):
                    return None
            except CaptureError:
                return None
        self._remember(program, double, given)
        return program

    def _remember(self, program: Program, weights: Mapping[str, Tensor], given: Tensor) -> None:
        size = sum(leaf.numel() for leaf in _tensors_in(program.nodes)) + sum(w.numel() for w in weights.values())
        self.last = (program, weights, given) if size <= 2 * LARGEST else None


class Templates:
    """Modules that were captured; the least recently used are forgotten.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = TEMPLATES) -> None:
        self.most = most
        self._kept: OrderedDict[Hashable, Template] = OrderedDict()

    def read(self, model: nn.Module, shape: tuple[int, ...]) -> tuple[Program, Template | None]:
        """A module's program, and what it shares with others of its architecture.

        Raises:
            CaptureError: the module cannot be captured.
            InvalidInputError: it does not take points of this shape, or holds weights that are not finite.
        """
        model = unwrapped(model)
        require_values(model)
        with alone():
            try:
                key = architecture(model), shape, home(model)
            except (RecursionError, TypeError):  # a list within itself, a setting without a hash
                return read_module(model, shape).program, None
            template = self._kept.pop(key, None)
            program = None if template is None else template.bind(model)
            if program is None:
                reading = read_module(model, shape)
                program, template = reading.program, Template.of(model, reading)
            if template is not None:
                self._kept[key] = template
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
            return program, template

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()


known = Templates()
"""What this process has captured."""


def _points(program: Program, dtype: torch.dtype | None = None, seed: int = 0) -> Tensor:
    return probes((PROBES, *program.input_shape), program.device, seed).to(dtype or program.dtype)


def _doubled(weight: Tensor, copy: bool = False) -> Tensor:
    return weight.to(torch.float64 if weight.is_floating_point() else weight.dtype, copy=copy)


def _slotted(program: Program, weights: Mapping[str, Tensor]) -> Program:
    return _replaced(program, tuple(_with_slots(node, weights) for node in program.nodes))


def _replaced(program: Program, nodes: tuple[Node, ...]) -> Program:
    made = {node.index: node for node in nodes}
    layers = tuple(replace(layer, node=made[layer.node.index]) for layer in program.layers)
    return replace(program, nodes=nodes, layers=layers)


def _with_slots(node: Node, weights: Mapping[str, Tensor]) -> Node:
    names = {id(tensor): name for name, tensor in weights.items()}
    args, kwargs = pytree.tree_map(
        lambda leaf: Slot(names[id(leaf)]) if id(leaf) in names else leaf, (node.args, node.kwargs)
    )
    return replace(node, args=args, kwargs=kwargs)


def _with_weights(node: Node, weights: Mapping[str, Tensor]) -> Node:
    return replace(node, args=filled(node.args, weights), kwargs=filled(node.kwargs, weights))


def _tensors_in(nodes: tuple[Node, ...]) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves([(n.args, n.kwargs) for n in nodes]) if isinstance(leaf, Tensor)]


def _bindable(reading: Reading) -> bool:
    ruled = {layer.node.index for layer in reading.program.layers if layer.rule is not None}
    for nodes, weights in ((reading.program.nodes, reading.weights), (reading.own.nodes, reading.own.weights)):
        stored = {id(tensor) for tensor in weights.values()}
        for node in nodes:
            if any(id(leaf) not in stored or node.index in ruled for leaf in _tensors_in((node,))):
                return False
    return True
