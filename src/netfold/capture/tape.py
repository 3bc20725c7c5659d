"""A tape: what a model computes, one tensor a node, with values at a few probe points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from netfold.capture.operations import BROADCASTING, SHAPE_ONLY, CallSite, op_name
from netfold.capture.program import Node, Operation, Ref
from netfold.errors import CaptureError, InvalidInputError

aten = torch.ops.aten


@dataclass(frozen=True)
class Tape:
    """What a model computes, node by node, with the values at probe points.

    Attributes:
        nodes: the operations that the output needs.
        output: index of the output's node.
        batch: the values at all probe points at once, and ``one`` at the first of them alone.
        varying: the nodes that depend on the point, and not on the number of points alone.
        weights: the parameters and buffers by name, as they stand in the nodes' arguments.
    """

    nodes: tuple[Node, ...]
    output: int
    batch: dict[int, Tensor]
    one: dict[int, Tensor]
    varying: frozenset[int]
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Slot:
    """The place of a parameter or buffer in an operation's arguments."""

    name: str


def filled(tree: Any, weights: Mapping[str, Tensor]) -> Any:
    """The arguments with weights in their slots."""
    if isinstance(tree, Slot):
        return weights[tree.name]
    if isinstance(tree, dict):
        return {key: filled(entry, weights) for key, entry in tree.items()}
    return type(tree)(filled(entry, weights) for entry in tree) if type(tree) in (list, tuple) else tree


def tensors(model: nn.Module, tied: bool = True) -> Iterator[tuple[str, Tensor]]:
    """Parameters, then buffers by name; ``tied``: one that has several names comes under each."""
    yield from model.named_parameters(remove_duplicate=not tied)
    yield from model.named_buffers(remove_duplicate=not tied)


@dataclass(frozen=True)
class Call:
    """An operation with its arguments, and where it is called.

    Attributes:
        result: what it returns, as far as is known beforehand.
        item: which of the tensors that it returns is meant.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    site: CallSite
    result: Any = None
    item: int | None = None

    @property
    def op(self) -> str:
        """Short name of the operation."""
        return op_name(self.target)

    @property
    def leaves(self) -> list[Any]:
        """All arguments, out of their lists."""
        return pytree.tree_leaves((self.args, self.kwargs))

    @property
    def where(self) -> str:
        """Operation, module and line, for messages."""
        return f"{self.op} in module '{self.site.path}' ({self.site.spot})"

    @property
    def operation(self) -> Operation:
        """What computes the value."""
        # A view needs the memory layout that the model happened to have; a reshape gives the same entries.
        views = (aten.view.default, aten._unsafe_view.default)
        return Operation(str(aten.reshape.default if self.target in views else self.target), self.item)


@dataclass(kw_only=True)
class TapeWriter:
    """Writes a tape, call after call.

    Args:
        name: the model's name, for messages.
        points: probe points, ``(points, *shape)``; they are the value of node 0.
        dtype: the number type of all constants and operations; ``None`` leaves them as they are.
        fixed: how many points the model takes at once, where that is fixed; 0 where it is free.
    """

    name: str
    points: Tensor
    dtype: torch.dtype | None = None
    fixed: int = 0
    nodes: list[Node] = field(default_factory=list)
    batch: dict[int, Tensor] = field(default_factory=dict)
    one: dict[int, Tensor] = field(default_factory=dict)
    varying: set[int] = field(default_factory=lambda: {0})
    weights: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.batch[0], self.one[0] = self.points, self.points[:1]

    def tape(self, output: int) -> Tape:
        """What was written, as far as the output needs it."""
        used = {output}
        for node in reversed(self.nodes):
            if node.index in used:
                used.update(node.inputs)
        nodes = tuple(node for node in self.nodes if node.index in used)
        return Tape(nodes, output, self.batch, self.one, frozenset(self.varying), self.weights)

    def cast(self, value: Any, copy: bool = False) -> Any:
        """A constant in the number type of the tape; anything but a tensor as it is."""
        if not isinstance(value, Tensor):
            return value
        return value.detach().to(self.points.device, self.dtype_for(value.dtype), copy=copy)

    def dtype_for(self, dtype: torch.dtype) -> torch.dtype:
        """The number type in which the tape computes what a model computes in another."""
        if self.dtype is None or not (dtype.is_floating_point or dtype.is_complex):
            return dtype
        return self.dtype.to_complex() if dtype.is_complex else self.dtype

    def append(self, call: Call) -> Any:
        """Add a node and its values at the probe points; a constant after all is returned as such."""
        call = self._settled(call)
        inputs = tuple(dict.fromkeys(leaf.index for leaf in call.leaves if isinstance(leaf, Ref)))
        node = Node(
            index=len(self.batch),
            op=str(call.target),
            target=call.operation,
            args=tuple(call.args),
            kwargs=dict(call.kwargs),
            inputs=inputs,
            path=call.site.path,
            owner=call.site.owner,
            source=call.site.source,
        )
        batch, one = self._probe(node)
        varying = call.op not in SHAPE_ONLY and not self.varying.isdisjoint(inputs)
        if not varying and batch.shape == one.shape and torch.equal(batch, one):
            return one
        self.nodes.append(node)
        self.batch[node.index], self.one[node.index] = batch, one
        if varying:
            self.varying.add(node.index)
        return Ref(node.index)

    def _settled(self, call: Call) -> Call:
        """The same operation, with what would depend on the number of points spelled out."""
        if call.op in BROADCASTING:
            args, kwargs = pytree.tree_map(self._without_batch, (call.args, call.kwargs))
            return replace(call, args=args, kwargs=kwargs)
        if call.op == "squeeze" and len(call.args) == 1:
            ones = [a for a, size in enumerate(self.batch[call.args[0].index].shape) if size == 1]
            return replace(call, target=aten.squeeze.dims, args=(call.args[0], ones))
        made = call.result
        takes_type = isinstance(call.target, OpOverload) and any(
            a.name == "dtype" for a in call.target._schema.arguments
        )
        reads = any(isinstance(leaf, Ref) for leaf in call.leaves)
        if self.dtype and takes_type and not reads and isinstance(made, Tensor) and made.is_floating_point():
            return replace(call, kwargs={**call.kwargs, "dtype": self.dtype})
        return call

    def _without_batch(self, leaf: Any) -> Any:
        constant = isinstance(leaf, Ref) and leaf.index not in self.varying
        return self.one[leaf.index] if constant else leaf

    def _probe(self, node: Node) -> tuple[Tensor, Tensor]:
        try:
            return node(self.batch, len(self.points)), node(self.one, 1)
        except (RuntimeError, IndexError) as error:
            text = str(error).splitlines()[0]
            if self.fixed:
                raise CaptureError(f"{node.describe()} fails for another batch size ({text})") from error
            raise CaptureError(
                f"{self.name}: {node.describe()} cannot be run for {len(self.points)} points and for one in "
                f"{self.dtype or self.points.dtype} ({text})"
            ) from error


def refuse_bad(name: str, weight: str, value: Tensor, infinite_too: bool) -> None:
    """Refuse NaN, and in a parameter also infinities (a buffer may hold them: attention masks do).

    Raises:
        InvalidInputError: a value is NaN or infinite.
    """
    bad = ~torch.isfinite(value.detach()) if infinite_too else torch.isnan(value.detach())
    if count := int(bad.sum()):
        raise InvalidInputError(
            f"{name}: '{weight}' holds {count} values that are NaN{' or infinite' if infinite_too else ''} "
            f"(of {value.numel()}); every weight must be finite: load or train the model again"
        )
