"""Running a network with some of its weights replaced: from the first operation that reads them, or as a whole.

A captured model is a tape on which the parameters are inputs beside the point. What comes before the first operation
that reads a layer's weights is computed once, and only the rest is run again, for several sets of weights at a time
(`torch.func.vmap`). A model that cannot be captured is run as a whole through `torch.func.functional_call`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.func import functional_call, vmap
from torch.fx import Node as FxNode

from netfold.capture.capture import rows_to_compare
from netfold.capture.export import export, functional
from netfold.capture.graph import GraphReader, only_input
from netfold.capture.naming import labels_of_weights
from netfold.capture.program import Node, Ref
from netfold.capture.reading import probes
from netfold.capture.replay import compare_with_model
from netfold.capture.untouched import silent
from netfold.errors import CaptureError, InvalidInputError
from netfold.sensitivity.layers import WeightLayer

Sets = Sequence[Mapping[str, Tensor]]
"""Parameters to replace, by name: one mapping a run."""

GROUP_BYTES = {"cpu": 2 * 2**20, "other": 256 * 2**20}
"""Memory that the weights and activations of runs taken together may need: a processor's cache on CPU (beyond it,
runs one by one are faster), what keeps a GPU busy elsewhere."""


class Evaluate(Protocol):
    """Gives the outputs for several sets of weights."""

    def __call__(self, sets: Sets) -> Iterator[Tensor]:
        """One output a set, in their order."""
        ...


class Runner(Protocol):
    """A network that can be run with other weights."""

    shares_prefix: bool
    why: str

    def clean(self, inputs: Any) -> Tensor:
        """The outputs as they are."""
        ...

    def sweep(self, inputs: Any, layers: Sequence[WeightLayer]) -> Iterator[tuple[WeightLayer, Evaluate]]:
        """Every layer with a function that gives the outputs for sets of its weights, one set after the other."""
        ...

    def uses(self, layer: WeightLayer) -> bool:
        """Whether the output can depend on the layer at all."""
        ...

    def label(self, layer: WeightLayer) -> str:
        """What captured programs call the layer to which the weights lead."""
        ...


@dataclass(kw_only=True)
class ParameterReader(GraphReader):
    """Reads an exported graph with its parameters as inputs in place of constants.

    Attributes:
        parameters: the index of every parameter, by name; parameters that share a tensor share an index.
    """

    parameters: dict[str, int] = field(default_factory=dict)
    known: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)

    def _constant(self, node: FxNode) -> Any:
        value = super()._constant(node)
        spec = next(s for s in self.exported.graph_signature.input_specs if s.arg.name == node.name)
        if spec.kind is not InputKind.PARAMETER or not isinstance(value, Tensor):
            return value
        stored = self.exported.state_dict[str(spec.target)]
        index = self.known.setdefault((stored.data_ptr(), tuple(stored.shape)), len(self.batch))
        if index == len(self.batch):
            self.batch[index], self.one[index] = value, value
            self.varying.add(index)
        self.parameters[str(spec.target)] = index
        return Ref(index)


@dataclass(eq=False)
class TapeRunner:
    """A captured model in its own number type, with its parameters as inputs.

    Attributes:
        nodes: the operations that the output needs, in order; ``output`` the one it returns.
        parameters: the index of every parameter, by name; ``constants`` their values.
        labelled: from names of parameters to the label of the layer to which they lead; empty where there is none.
    """

    nodes: tuple[Node, ...]
    output: int
    parameters: Mapping[str, int]
    constants: Mapping[int, Tensor] = field(repr=False)
    dtype: torch.dtype
    device: torch.device
    labelled: Callable[[Iterable[str]], str] = field(repr=False)
    shares_prefix: bool = True
    why: str = ""

    def __post_init__(self) -> None:
        self._last_use: dict[int, int] = {self.output: len(self.nodes)}
        for position, node in enumerate(self.nodes):
            for i in node.inputs:
                self._last_use[i] = max(self._last_use.get(i, -1), position)
        self._together = True

    @classmethod
    def of(cls, model: nn.Module | ExportedProgram, shape: tuple[int, ...], dtype: Any, device: Any) -> TapeRunner:
        """Capture a model.

        Raises:
            CaptureError: it cannot be followed with a free batch axis, or its operations do not reproduce it.
            InvalidInputError: it rejects points of this shape, or holds weights that are not finite.
        """
        name = type(model).__name__
        exported = functional(model) if isinstance(model, ExportedProgram) else export(model, shape, dtype, device)
        module = exported.module() if isinstance(model, ExportedProgram) else model
        size = only_input(exported, name).meta["val"].shape[0]
        count, together = rows_to_compare(0 if isinstance(size, torch.SymInt) else int(size))
        points = probes((count, *shape), torch.device("cpu")).to(device, dtype)
        with silent(), torch.no_grad():
            reader = ParameterReader(exported=exported, name=name, points=points)
            tape = reader.read()
            compare_with_model(tape.batch[tape.output], module, name, points, together)
        constants = {i: tape.batch[i] for i in reader.parameters.values()}
        real = {i for i, value in tape.batch.items() if isinstance(value, Tensor) and value.is_floating_point()}
        labelled = labels_of_weights(tape.nodes, tape.output, real, reader.parameters)
        return cls(tape.nodes, tape.output, reader.parameters, constants, points.dtype, points.device, labelled)

    def clean(self, inputs: Any) -> Tensor:
        """The outputs as they are."""
        return self._run(0, {0: inputs, **self.constants}, len(inputs))

    def sweep(self, inputs: Any, layers: Sequence[WeightLayer]) -> Iterator[tuple[WeightLayer, Evaluate]]:
        """Every layer, in the order in which the network reads them, with what evaluates sets of its weights."""
        values, rows, done = {0: inputs, **self.constants}, len(inputs), 0
        first = {layer.name: self._first(layer) for layer in layers}
        for layer in sorted(layers, key=lambda layer: first[layer.name]):
            for position in range(done, min(first[layer.name], len(self.nodes))):
                self._step(position, values, rows)
            done = max(done, min(first[layer.name], len(self.nodes)))
            yield layer, self._evaluate(done, values, rows)

    def uses(self, layer: WeightLayer) -> bool:
        """Whether an operation that the output needs reads the layer."""
        return self._first(layer) < len(self.nodes)

    def label(self, layer: WeightLayer) -> str:
        """The label of the first nonlinearity to which the weights lead; their own name where they lead to none."""
        return self.labelled(weight.name for weight in layer.weights) or layer.name

    def _first(self, layer: WeightLayer) -> int:
        """Position of the first operation that reads the layer; after the last where none does."""
        own = {self.parameters.get(w.name) for w in (*layer.weights, *layer.biases)}
        return next((p for p, node in enumerate(self.nodes) if own.intersection(node.inputs)), len(self.nodes))

    def _evaluate(self, begin: int, values: dict[int, Tensor], rows: int) -> Evaluate:
        def evaluate(sets: Sets) -> Iterator[Tensor]:
            size = self._group(sets, begin, values)
            for start in range(0, len(sets), size):
                yield from self._group_outputs(begin, values, rows, sets[start : start + size])

        return evaluate

    def _group_outputs(self, begin: int, values: dict[int, Tensor], rows: int, sets: Sets) -> Iterator[Tensor]:
        def run(replaced: Mapping[str, Tensor]) -> Tensor:
            own = {self.parameters[name]: value for name, value in replaced.items() if name in self.parameters}
            return self._run(begin, {**values, **own}, rows)

        if self._together and len(sets) > 1:
            stacked = {name: torch.stack([one[name] for one in sets]) for name in sets[0]}
            try:
                outputs = vmap(run)(stacked)
            except (RuntimeError, NotImplementedError, ValueError):
                # an operation that cannot be batched over weights: one run a set from here on
                self._together = False
            else:
                yield from outputs
                return
        for one in sets:
            yield run(one)

    def _group(self, sets: Sets, begin: int, values: dict[int, Tensor]) -> int:
        """How many runs to take together."""
        weights = sum(t.numel() * t.element_size() for t in sets[0].values()) if sets else 0
        live = max((t.numel() * t.element_size() for i, t in values.items() if i not in self.constants), default=0)
        allowed = GROUP_BYTES.get(self.device.type, GROUP_BYTES["other"])
        return max(1, allowed // max(weights + 4 * live, 1))

    def _run(self, begin: int, values: dict[int, Tensor], rows: int) -> Tensor:
        for position in range(begin, len(self.nodes)):
            self._step(position, values, rows)
        return values[self.output]

    def _step(self, position: int, values: dict[int, Tensor], rows: int) -> None:
        """Apply one operation, and drop what nothing reads any more."""
        node = self.nodes[position]
        values[node.index] = node(values, rows)
        for i in node.inputs:
            if self._last_use[i] == position and i not in self.constants:
                values.pop(i, None)


@dataclass(eq=False)
class ModuleRunner:
    """Any module, run as a whole: right for every model, without sharing anything between runs."""

    model: nn.Module
    why: str
    dtype: torch.dtype
    device: torch.device
    shares_prefix: bool = False

    def clean(self, inputs: Any) -> Tensor:
        """The outputs as they are."""
        return self.call(inputs, {})

    def sweep(self, inputs: Any, layers: Sequence[WeightLayer]) -> Iterator[tuple[WeightLayer, Evaluate]]:
        """Every layer, in the order in which the model holds them, with what evaluates sets of its weights."""

        def evaluate(sets: Sets) -> Iterator[Tensor]:
            return (self.call(inputs, replaced) for replaced in sets)

        for layer in layers:
            yield layer, evaluate

    def uses(self, layer: WeightLayer) -> bool:
        """Not known without a graph: taken to be so, and judged by whether an output changes."""
        return True

    def label(self, layer: WeightLayer) -> str:
        """Its own name: what follows it is not known."""
        return layer.name

    def call(self, inputs: Any, replaced: Mapping[str, Tensor]) -> Tensor:
        """The outputs with some parameters replaced, by name."""
        # Buffers that the forward pass writes to are its own copies.
        own = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        named = isinstance(inputs, Mapping)
        args, kwargs = ((), dict(inputs)) if named else (inputs if isinstance(inputs, tuple) else (inputs,), {})
        return only_tensor(functional_call(self.model, {**own, **replaced}, args, kwargs), type(self.model).__name__)


@dataclass(eq=False)
class InputRunner(ModuleRunner):
    """A module run as a whole, with what goes into one of its layers changed on the way: sets hold rules by layer."""

    def call(self, inputs: Any, replaced: Mapping[str, Any]) -> Tensor:
        """The outputs with the inputs of some layers changed, by module path."""
        hooks = []
        try:
            for path, rule in replaced.items():
                hook = partial(_change_inputs, rule.changed_input)
                hooks.append(_layer_at(self.model, path).register_forward_pre_hook(hook, with_kwargs=True))
            return super().call(inputs, {})
        finally:
            for hook in hooks:
                hook.remove()


def _layer_at(model: nn.Module, path: str) -> nn.Module:
    if path not in dict(model.named_modules()):
        raise InvalidInputError(f"layer '{path}' of {type(model).__name__} is no module whose inputs can be changed")
    return model.get_submodule(path)


def _change_inputs(change: Callable[[Tensor], Tensor], module: nn.Module, args: Any, kwargs: Any) -> Any:
    """For a hook before a module: every real tensor that is given to it, changed."""

    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, Tensor) and value.is_floating_point() else value

    return tuple(changed(value) for value in args), {name: changed(value) for name, value in kwargs.items()}


def only_tensor(result: Any, name: str) -> Tensor:
    """The outputs in what a model returns: a tensor, its ``logits``, or the first of several.

    Raises:
        InvalidInputError: there is no tensor to take.
    """
    if isinstance(result, Tensor):
        return result
    logits = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    if isinstance(result, tuple | list) and result and isinstance(result[0], Tensor):
        return result[0]
    raise InvalidInputError(
        f"{name} returns a {type(result).__name__} without logits; wrap it in a module that returns one tensor"
    )


def runner_for(
    model: nn.Module | ExportedProgram,
    inputs: Any,
    dtype: torch.dtype,
    device: torch.device,
    changing_inputs: bool = False,
) -> Runner:
    """The best way to run a model on such inputs, with weights replaced or inputs of its layers changed.

    Raises:
        InvalidInputError: the model's weights are not finite, or the model cannot be run on the inputs.
        CaptureError: an exported program cannot be followed.
    """
    if changing_inputs:
        if isinstance(model, ExportedProgram):
            raise InvalidInputError(
                "an exported program has no modules any more whose inputs can be changed; give the module it came from"
            )
        return InputRunner(model, "what goes into layers is changed", dtype, device)
    if isinstance(inputs, Tensor) and inputs.is_floating_point():
        try:
            return TapeRunner.of(model, tuple(inputs.shape[1:]), dtype, device)
        except (CaptureError, InvalidInputError) as error:
            if isinstance(model, ExportedProgram):
                raise
            why = str(error)
    else:
        why = "its input is not one tensor of real numbers"
    module = model.module() if isinstance(model, ExportedProgram) else model
    return ModuleRunner(module, why, dtype, device)
