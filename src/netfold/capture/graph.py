"""From an exported graph to a tape: constants folded, one tensor a node, values at a few probe points."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import GraphModule
from torch.fx import Node as FxNode
from torch.utils import _pytree as pytree

from netfold.capture.operations import (
    BROADCASTING,
    SHAPE_ONLY,
    SIZED,
    TRAINING,
    VIEWS,
    by_name,
    line_of,
    module_of,
    op_name,
    out_of_place,
)
from netfold.capture.program import Node, Operation, Ref, Size
from netfold.capture.symbols import Multiple, Symbols
from netfold.errors import CaptureError, InvalidInputError

aten = torch.ops.aten

FREE_BATCH = (
    "export it again with a free batch axis: torch.export.export(model, (x,), "
    "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"
)

UNFOLLOWED = {
    "cond": "torch.cond (data-dependent control flow)",
    "while_loop": "torch.while_loop (data-dependent control flow)",
    "wrap_with_autocast": "torch.autocast (reduced precision; measure the model without it)",
}


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
class Call:
    """An operation with its arguments; ``item`` picks one of the tensors it returns."""

    node: FxNode
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
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
        """Operation, module and source line, for messages."""
        return f"{self.op} in module '{module_of(self.node)[0]}' ({line_of(self.node)})"

    @property
    def operation(self) -> Operation:
        """What computes the value."""
        # A view needs the memory layout that the model happened to have; a reshape gives the same entries.
        views = (aten.view.default, aten._unsafe_view.default)
        return Operation(str(aten.reshape.default if self.target in views else self.target), self.item)


@dataclass
class GraphReader:
    """Reads an exported graph.

    Args:
        exported: the graph; its in-place operations may be read as their ordinary counterparts.
        name: the model's name, for messages.
        points: probe points, ``(points, *shape)``.
        dtype: the number type of all constants and operations; ``None`` leaves them as they are.
    """

    exported: ExportedProgram
    name: str
    points: Tensor
    dtype: torch.dtype | None = None
    values: dict[FxNode, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    batch: dict[int, Tensor] = field(default_factory=dict)
    one: dict[int, Tensor] = field(default_factory=dict)
    varying: set[int] = field(default_factory=set)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def read(self) -> Tape:
        """The whole graph.

        Raises:
            CaptureError: several inputs or outputs, an operation in training mode, a number that depends on
                the input's values.
            InvalidInputError: a weight is not finite.
        """
        entry = only_input(self.exported, self.name)
        size = entry.meta["val"].shape[0]
        self.fixed = 0 if isinstance(size, torch.SymInt) else int(size)
        self.symbols = Symbols.of(entry.meta["val"], self.points.shape)
        self.values[entry] = Ref(0)
        self.batch[0], self.one[0] = self.points, self.points[:1]
        self.varying.add(0)
        for node in self.exported.graph.nodes:
            if "functorch" in getattr(node.target, "__module__", ""):
                raise CaptureError(
                    f"{self.name} uses torch.vmap or torch.func, which netfold does not follow ({line_of(node)})"
                )
        for node in self.exported.graph.nodes:
            if node.op == "placeholder" and node is not entry:
                self.values[node] = self._constant(node)
        self._walk(self.exported.graph_module)
        output = self._only_output()
        used = {output}
        for node in reversed(self.nodes):
            if node.index in used:
                used.update(node.inputs)
        nodes = tuple(node for node in self.nodes if node.index in used)
        return Tape(nodes, output, self.batch, self.one, frozenset(self.varying), self.weights)

    def _only_output(self) -> int:
        specs = [s for s in self.exported.graph_signature.output_specs if s.kind is OutputKind.USER_OUTPUT]
        if len(specs) != 1:
            raise CaptureError(
                f"{self.name} returns {len(specs)} values{_keys(self.exported)}; wrap it in a module that "
                "returns one tensor"
            )
        found = next((v for n, v in self.values.items() if n.name == specs[0].arg.name), None)
        if not isinstance(found, Ref) or found.index not in self.varying:
            raise CaptureError(f"the output of {self.name} does not depend on its input")
        return found.index

    def _constant(self, node: FxNode) -> Any:
        spec = next(s for s in self.exported.graph_signature.input_specs if s.arg.name == node.name)
        known: dict[str, Any] = {**self.exported.constants, **self.exported.state_dict}
        value = known.get(str(spec.target))
        if isinstance(value, Tensor):
            refuse_bad(self.name, str(spec.target), value, infinite_too=spec.kind is InputKind.PARAMETER)
        value = self._cast(value, copy=True)
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and isinstance(value, Tensor):
            self.weights[str(spec.target)] = value
        return value

    def _cast(self, value: Any, copy: bool = False) -> Any:
        if not isinstance(value, Tensor):
            return value
        dtype = self.dtype if self.dtype is not None and value.is_floating_point() else value.dtype
        return value.detach().to(self.points.device, dtype, copy=copy)

    def _walk(self, module: GraphModule) -> Any:
        """Read the operations of a graph whose placeholders are known; its result is returned."""
        result = None
        for node in module.graph.nodes:
            if node.op == "call_function":
                self._call(node)
            elif node.op == "get_attr":
                self.values[node] = self._cast(operator.attrgetter(str(node.target))(module))
            elif node.op == "output":
                result = pytree.tree_map(self._argument, node.args[0])
        return result

    def _argument(self, leaf: Any) -> Any:
        if isinstance(leaf, FxNode):
            return self.values[leaf]
        if isinstance(leaf, torch.dtype) and leaf.is_floating_point:
            return self.dtype or leaf
        return self.points.device if isinstance(leaf, torch.device) else leaf

    def _call(self, node: FxNode) -> None:
        args, kwargs = pytree.tree_map(self._argument, (node.args, node.kwargs))
        call = Call(node, out_of_place(node.target), args, kwargs)
        result = node.meta.get("val")
        if call.op.startswith(("_assert", "sym_constrain", "_guards")):
            return
        if isinstance(result, torch.SymInt | torch.SymFloat | torch.SymBool):
            self.values[node] = self._number(result, call)
        elif call.op == "getitem":
            several, item = args
            taken = isinstance(several, Call)
            self.values[node] = self._append(replace(several, item=item)) if taken else several[item]
        elif isinstance(call.target, OpOverload):
            self._refuse_random(call)
            self.values[node] = self._apply(self._free_batch(call))
        elif getattr(call.target, "__module__", "") in ("_operator", "math"):
            self.values[node] = call.target(*args, **kwargs)
        else:
            self.values[node] = self._body(call)

    def _number(self, value: Any, call: Call) -> Any:
        number = self.symbols.number(value)
        if number is None:
            raise CaptureError(
                f"{self.name} uses a number that depends on its input's values, from {call.where}: "
                "data-dependent control flow is not one program for all inputs"
            )
        return number

    def _body(self, call: Call) -> Any:
        """Read the body of a ``no_grad`` block as if it stood in the graph; refuse all others."""
        if call.op != "wrap_with_set_grad_enabled":
            name = next((text for op, text in UNFOLLOWED.items() if op in call.op), call.op)
            raise CaptureError(f"{self.name} uses {name}, which netfold does not follow ({line_of(call.node)})")
        _, body, *args = call.args
        inside = [n for n in body.graph.nodes if n.op == "placeholder"]
        self.values.update(zip(inside, args, strict=True))
        return self._walk(body)

    def _refuse_random(self, call: Call) -> None:
        named = by_name(call.target, call.args, call.kwargs)
        if call.op not in TRAINING:
            seeded = torch.Tag.nondeterministic_seeded in call.target.tags
            if named.get("dropout_p", float(seeded)) > 0.0:
                raise CaptureError(f"{self.name} is random: {call.where} gives another value at every call")
        elif named.get(TRAINING[call.op]) and named.get("p", named.get("dropout")) != 0.0:
            what = "uses the statistics of the batch" if "norm" in call.op else "is random"
            also = " (or make it with track_running_stats=True)" if "norm" in call.op else ""
            raise CaptureError(
                f"{self.name} is in training mode: {call.where} {what} there; call model.eval() first{also}"
            )

    def _free_batch(self, call: Call) -> Call:
        """In a program of fixed batch size: literal sizes that start with it follow the number of points."""
        at = next((i for i, a in enumerate(call.args) if isinstance(a, list | tuple)), None)
        constant = call.op in VIEWS and not isinstance(call.args[0], Ref)
        if not self.fixed or call.op not in SIZED or at is None or not call.args[at] or constant:
            return call
        first, *rest = call.args[at]
        if not isinstance(first, int) or first <= 0 or first % self.fixed:
            return call
        size = [Size(Multiple(first // self.fixed)), *rest]
        return replace(call, args=(*call.args[:at], size, *call.args[at + 1 :]))

    def _apply(self, call: Call) -> Any:
        """The value of an operation: constants are folded, several tensors are taken one by one."""
        if not any(isinstance(leaf, Ref | Size) for leaf in call.leaves):
            return pytree.tree_map(self._cast, call.target(*call.args, **call.kwargs))
        return call if isinstance(call.node.meta.get("val"), tuple | list) else self._append(call)

    def _append(self, call: Call) -> Any:
        """Add a node and its values at the probe points; a constant after all is returned as such."""
        call = self._settled(call)
        inputs = tuple(dict.fromkeys(leaf.index for leaf in call.leaves if isinstance(leaf, Ref)))
        path, owner = module_of(call.node)
        node = Node(
            index=len(self.batch),
            op=str(call.target),
            target=call.operation,
            args=tuple(call.args),
            kwargs=dict(call.kwargs),
            inputs=inputs,
            path=path,
            owner=owner,
            source=line_of(call.node),
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
        made = call.node.meta.get("val")
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


def only_input(exported: ExportedProgram, name: str) -> FxNode:
    """The placeholder of the program's one input.

    Raises:
        CaptureError: it takes several, or none, or one without a batch axis.
    """
    names = [s.arg.name for s in exported.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]
    if len(names) != 1:
        raise CaptureError(f"{name} takes {len(names)} inputs; wrap it in a module that takes one tensor")
    found = next(n for n in exported.graph.nodes if n.op == "placeholder" and n.name == names[0])
    value = found.meta.get("val")
    if not isinstance(value, Tensor) or value.ndim == 0 or not value.is_floating_point():
        raise CaptureError(f"{name} takes {value!r}; it must take one tensor of real numbers, batch axis first")
    return found


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


def _keys(exported: ExportedProgram) -> str:
    spec = exported.call_spec.out_spec
    keys = spec.context if spec is not None and spec.type is dict else []
    return f" ({', '.join(map(str, keys))})" if keys else ""
