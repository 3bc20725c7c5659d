"""ATen operations: names, arguments by name, where they were called, and which of them need care."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch._ops import OpOverload

if TYPE_CHECKING:
    from torch.fx import Node as FxNode

NOT_THE_USERS = (os.path.dirname(torch.__file__), os.path.join(os.path.dirname(__file__), "parts.py"), "<")


def op_name(target: Any) -> str:
    """Short name of an operation: ``relu`` for ``aten.relu.default``."""
    if isinstance(target, OpOverload):
        return target._schema.name.split("::")[-1]
    return getattr(target, "__name__", str(target))


def by_name(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by their schema name, with defaults filled in."""
    if not isinstance(target, OpOverload):
        return {str(i): a for i, a in enumerate(args)} | dict(kwargs)
    named = {a.name: a.default_value for a in target._schema.arguments if a.has_default_value()}
    return named | {a.name: v for a, v in zip(target._schema.arguments, args, strict=False)} | dict(kwargs)


def writes(target: Any) -> bool:
    """Whether an operation changes one of its arguments in place."""
    return isinstance(target, OpOverload) and target._schema.is_mutable


def out_of_place(target: Any) -> Any:
    """The ordinary counterpart of an in-place operation: ``aten.relu.default`` of ``aten.relu_.default``."""
    if not writes(target):
        return target
    packet = getattr(torch.ops.aten, op_name(target).removesuffix("_"), None)
    return getattr(packet, target._overloadname, None)


class CallSite(NamedTuple):
    """Where an operation is called: the module's path and class, and the line of the user's code."""

    path: str
    owner: str
    source: str

    @property
    def spot(self) -> str:
        """The line, or the class of the module where the line is torch's own."""
        return self.source or self.owner or "line unknown"


def place_of(node: FxNode) -> CallSite:
    """Where a node was called."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, owner = stack[-1] if stack else ("", "")
    named = owner if isinstance(owner, str) else f"{owner.__module__}.{owner.__qualname__}"
    return CallSite(str(path), named, user_line(node.meta.get("stack_trace") or ""))


def user_line(trace: str) -> str:
    """The innermost source line in a stack trace that is not torch's own, nor of what runs a part, as ``file:line``."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', trace)
    own = [f"{file}:{line}" for file, line in frames if not file.startswith(NOT_THE_USERS)]
    return own[-1] if own else ""


TRAINING = {
    "batch_norm": "training",
    "native_batch_norm": "training",
    "_native_batch_norm_legit": "training",
    "_native_batch_norm_legit_functional": "training",
    "dropout": "train",
    "native_dropout": "train",
    "feature_dropout": "train",
    "alpha_dropout": "train",
    "feature_alpha_dropout": "train",
    "rrelu": "training",
    "lstm": "train",
    "gru": "train",
    "rnn_tanh": "train",
    "rnn_relu": "train",
}
"""Operations that behave differently in training, and the argument that says so."""

SHAPE_ONLY = {
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "new_zeros",
    "new_ones",
    "new_full",
    "new_empty",
}
"""Operations that read the shape of their input alone."""

SHAPES = (
    *("view", "reshape", "_unsafe_view", "_reshape_alias", "view_as", "flatten", "unflatten", "permute", "transpose"),
    *("t", "swapaxes", "swapdims", "movedim", "moveaxis", "squeeze", "unsqueeze", "expand"),
)
"""Operations that give the entries another shape or order."""

VIEWS = {"view", "reshape", "_unsafe_view"}
"""Operations that give the same entries another shape."""

SIZED = VIEWS | {"expand", "new_zeros", "new_ones", "new_full", "zeros", "ones", "full"}
"""Operations whose literal size starts with the batch in a program of fixed batch size."""

BROADCASTING = {"maximum", "minimum", "fmax", "fmin", "max", "min", "clamp", "clip", "clamp_min", "clamp_max"}
"""Nonlinearities whose constant arguments may stand without the batch axis."""

MAKES_NEW = {
    *("linear", "matmul", "mm", "bmm", "addmm", "add", "sub", "mul", "cat", "batch_norm"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
}
"""Operations whose result never shares memory with an input."""
