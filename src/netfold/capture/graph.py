"""From an exported graph to a tape: its constants folded, its sizes by the number of points."""

from __future__ import annotations

import operator
from collections.abc import Callable
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

from netfold.capture.operations import SIZED, TRAINING, VIEWS, by_name, out_of_place, place_of
from netfold.capture.program import Ref, Size
from netfold.capture.symbols import Multiple, Symbols
from netfold.capture.tape import Call, Tape, TapeWriter, refuse_bad
from netfold.errors import CaptureError

FREE_BATCH = (
    "export it again with a free batch axis: torch.export.export(model, (x,), "
    "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"
)

ALWAYS_RANDOM = (
    "; dropout that is kept on (Monte Carlo) is another function at every call, so measure the model without it"
)

UNFOLLOWED = {
    "cond": "torch.cond (data-dependent control flow)",
    "while_loop": "torch.while_loop (data-dependent control flow)",
    "wrap_with_autocast": "torch.autocast (reduced precision; measure the model without it)",
}


@dataclass(kw_only=True)
class GraphReader(TapeWriter):
    """Reads an exported graph.

    Args:
        exported: the graph; its in-place operations may be read as their ordinary counterparts.
    """

    exported: ExportedProgram
    values: dict[FxNode, Any] = field(default_factory=dict)

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
        for node in self.exported.graph.nodes:
            if "functorch" in getattr(node.target, "__module__", ""):
                raise CaptureError(
                    f"{self.name} uses torch.vmap or torch.func, which netfold does not follow ({place_of(node).spot})"
                )
        for node in self.exported.graph.nodes:
            if node.op == "placeholder" and node is not entry:
                self.values[node] = self._constant(node)
        self._walk(self.exported.graph_module)
        return self.tape(self._only_output())

    def _only_output(self) -> int:
        specs = [s for s in self.exported.graph_signature.output_specs if s.kind is OutputKind.USER_OUTPUT]
        if len(specs) != 1:
            raise CaptureError(
                f"{self.name} returns {len(specs)} values{_keys(self.exported)}; take one, by its name or "
                "number: nf.part(model, output='0')"
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
        value = self.cast(value, copy=True)
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and isinstance(value, Tensor):
            self.weights[str(spec.target)] = value
        return value

    def _walk(self, module: GraphModule) -> Any:
        """Read the operations of a graph whose placeholders are known; its result is returned."""
        result = None
        for node in module.graph.nodes:
            if node.op == "call_function":
                self._call(node)
            elif node.op == "get_attr":
                self.values[node] = self.cast(operator.attrgetter(str(node.target))(module))
            elif node.op == "output":
                result = pytree.tree_map(self._argument, node.args[0])
        return result

    def _argument(self, leaf: Any) -> Any:
        if isinstance(leaf, FxNode):
            return self.values[leaf]
        if isinstance(leaf, torch.dtype):
            return self.dtype_for(leaf)
        return self.points.device if isinstance(leaf, torch.device) else leaf

    def _call(self, node: FxNode) -> None:
        args, kwargs = pytree.tree_map(self._argument, (node.args, node.kwargs))
        result = node.meta.get("val")
        call = Call(out_of_place(node.target), args, kwargs, place_of(node), result)
        if call.op.startswith(("_assert", "sym_constrain", "_guards")):
            return
        if isinstance(result, torch.SymInt | torch.SymFloat | torch.SymBool):
            self.values[node] = self._number(result, call)
        elif call.op == "getitem":
            several, item = args
            taken = isinstance(several, Call)
            self.values[node] = self.append(replace(several, item=item)) if taken else several[item]
        elif isinstance(call.target, OpOverload):
            self._refuse_random(call)
            self.values[node] = self._apply(self._free_batch(call))
        elif getattr(call.target, "__module__", "") in ("_operator", "math"):
            self.values[node] = call.target(*args, **kwargs)
        else:
            self.values[node] = self._body(call)

    def _number(self, value: Any, call: Call) -> Any:
        number = self.symbols.number(value)
        if number is None and not any(isinstance(leaf, Ref | Size) for leaf in call.leaves):
            return call.target(*call.args, **call.kwargs)  # a number that a buffer holds
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
            raise CaptureError(f"{self.name} uses {name}, which netfold does not follow ({call.site.spot})")
        _, body, *args = call.args
        inside = [n for n in body.graph.nodes if n.op == "placeholder"]
        self.values.update(zip(inside, args, strict=True))
        return self._walk(body)

    def _refuse_random(self, call: Call) -> None:
        named = by_name(call.target, call.args, call.kwargs)
        norm = "norm" in call.op
        if call.op not in TRAINING:
            seeded = torch.Tag.nondeterministic_seeded in call.target.tags
            if named.get("dropout_p", float(seeded)) > 0.0:
                raise CaptureError(f"{self.name} is random: {call.where} gives another value at every call")
        elif named.get(TRAINING[call.op]) and named.get("p", named.get("dropout")) != 0.0:
            if norm and not self._of_point(call.args[0]):
                return  # the statistics are those of a weight, which is standardised so
            what = "uses the statistics of the batch" if norm else "is random"
            also = " (or make it with track_running_stats=True)" if norm else ALWAYS_RANDOM
            raise CaptureError(
                f"{self.name} works as in training: {call.where} {what} there; call model.eval() first{also}"
            )

    def _of_point(self, value: Any) -> bool:
        """Whether a value depends on the point; other than `varying`, which may say so of parameters as well."""
        reached = {0}
        for node in self.nodes:
            if not reached.isdisjoint(node.inputs):
                reached.add(node.index)
        return isinstance(value, Ref) and value.index in reached

    def _free_batch(self, call: Call) -> Call:
        """In a program of fixed batch size: literal sizes that start with it follow the number of points."""
        at = next((i for i, a in enumerate(call.args) if isinstance(a, list | tuple)), None)
        if not self.fixed or call.op not in SIZED or at is None or not call.args[at]:
            return call
        if call.op in VIEWS and not self._of_point(call.args[0]):
            return call
        first, *rest = call.args[at]
        if not isinstance(first, int) or first <= 0 or first % self.fixed:
            return call
        size = [Size(Multiple(first // self.fixed)), *rest]
        return replace(call, args=(*call.args[:at], size, *call.args[at + 1 :]))

    def _apply(self, call: Call) -> Any:
        """The value of an operation: constants are folded, several tensors are taken one by one."""
        if not any(isinstance(leaf, Ref | Size) for leaf in call.leaves):
            return pytree.tree_map(self.cast, call.target(*call.args, **call.kwargs))
        return call if isinstance(call.result, tuple | list) else self.append(call)


def reader(exported: ExportedProgram, name: str) -> Callable[[Tensor, torch.dtype | None], Tape]:
    """What reads a graph at given points, with its constants in a number type."""
    return lambda points, dtype: GraphReader(exported=exported, name=name, points=points, dtype=dtype).read()


def only_input(exported: ExportedProgram, name: str) -> FxNode:
    """The placeholder of the program's one input.

    Raises:
        CaptureError: it takes several, or none, or one without a batch axis.
    """
    names = [s.arg.name for s in exported.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]
    if len(names) != 1:
        first = next(iter(names), "x")
        raise CaptureError(
            f"{name} takes {len(names)} inputs; say which one is the point: nf.part(model, input='{first}')"
        )
    found = next(n for n in exported.graph.nodes if n.op == "placeholder" and n.name == names[0])
    value = found.meta.get("val")
    if not isinstance(value, Tensor) or value.ndim == 0 or not value.is_floating_point():
        raise CaptureError(
            f"{name} takes {_told(value)}; it must take one tensor of real numbers, batch axis first; of a "
            "model of indices measure the part after the embedding: nf.part(model, input='path.of.module')"
        )
    return found


def _told(value: Any) -> str:
    return f"a tensor of {value.dtype} with {value.ndim} axes" if isinstance(value, Tensor) else f"{value!r}"


def _keys(exported: ExportedProgram) -> str:
    spec = exported.call_spec.out_spec
    keys = spec.context if spec is not None and spec.type is dict else []
    return f" ({', '.join(map(str, keys))})" if keys else ""
