"""The operations that a module runs, call by call: two runs that agree computed one and the same function."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from netfold.capture.untouched import first_tensor, outputs

PLAIN = frozenset(
    (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.layout, torch.memory_format)
)
"""Classes of settings that are told apart by their value."""

LARGEST = 2**16
"""Entries of all the constants together that a log keeps."""


class Unlogged(Exception):
    """Something that cannot be told apart by its value."""


def setting(value: Any) -> Hashable:
    """A plain value; the class tells 1, 1.0 and True apart, and the words -0.0 and 0.0."""
    kind = type(value)
    return kind, repr(value) if kind is float or kind is complex else value


class CallLog(TorchDispatchMode):
    """Everything that ``torch`` is asked to compute while this is on: operations, settings, what flows where.

    A tensor is told by the memory it lies in and by its place there, so views and writes in place are followed. Memory
    has the name it is given here, or the number of the call that made it; that of any other tensor is a constant, which
    is kept. Logs are equal where the same operations were called in the same order with the same settings on the same
    memory, and all constants have the same bytes.

    Raises:
        Unlogged: while it is on: a call has an argument that cannot be told by its value.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch wraps each call in what keeps its compiler out, and imports the compiler for that.
        return False

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Hashable] = []
        self.constants: list[Tensor] = []
        self._alive: list[Any] = []
        self._memory: dict[int, Hashable] = {}

    def naming(self, tensors: Mapping[str, Tensor]) -> CallLog:
        """The log itself, with names for the tensors that are there before: to be entered."""
        self._alive.append(tensors)
        for name, tensor in tensors.items():
            if tensor.numel():
                self._memory.setdefault(tensor.untyped_storage().data_ptr(), name)
            self.lines.append((name, self._told(tensor)))
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a call, and carry it out."""
        given = self._told((args, kwargs or {}))
        result = func(*args, **(kwargs or {}))
        self._note(func, given, result=result)
        return result

    def end(self, result: Any) -> None:
        """Note what came of all calls; of the tensors only constants are kept."""
        self._note(result=result)
        self._alive.clear()
        self._memory.clear()

    def _note(self, *what: Hashable, result: Any) -> None:
        self._alive.append(result)  # or its memory could be given to another tensor
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.numel():
                self._memory.setdefault(leaf.untyped_storage().data_ptr(), len(self.lines))
        self.lines.append((*what, self._told(result)))

    def agrees(self, other: CallLog) -> bool:
        """Whether both noted the same."""
        pairs = zip(self.constants, other.constants, strict=False)
        return self.lines == other.lines and all(same_bytes(*pair) for pair in pairs)

    def _told(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in PLAIN:
            return setting(value)
        if kind is list or kind is tuple:
            return tuple([self._told(entry) for entry in value])
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, list | tuple):
            return tuple(map(self._told, value))
        if isinstance(value, dict):
            return tuple((self._told(key), self._told(entry)) for key, entry in value.items())
        raise Unlogged(f"a {kind.__name__}")

    def _tensor(self, value: Tensor) -> Hashable:
        if type(value) not in (Tensor, torch.nn.Parameter):
            raise Unlogged(f"a {type(value).__name__}")
        memory = value.untyped_storage().data_ptr() if value.numel() else 0
        if memory and memory not in self._memory:
            if value.numel() + sum(constant.numel() for constant in self.constants) > LARGEST:
                raise Unlogged("constants that are too large to be kept")
            self._memory[memory] = f"constant {len(self.constants)}"
            self._alive.append(value)
            self.constants.append(value.detach().clone())
        place = value.storage_offset(), tuple(value.shape), value.stride(), value.dtype, value.device
        return self._memory.get(memory), *place


def logged(model: nn.Module, points: Tensor) -> tuple[Tensor, CallLog]:
    """The first tensor that a model gives, and the calls that led there.

    Raises:
        Unlogged: they cannot be told.
    """
    log = CallLog()
    result = outputs(model, points, log.naming)
    log.end(result)
    return first_tensor(result), log


def same_bytes(one: Tensor, other: Tensor) -> bool:
    """Whether tensors hold the same bits; NaN equals itself, and 0.0 differs from -0.0."""
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    if one.is_floating_point():
        bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
        one, other = one.detach().view(bits), other.detach().view(bits)
    return torch.equal(one, other)
