"""A captured network: a flat list of operations on batches of points, cut at its nonlinearities."""

from __future__ import annotations

import enum
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from netfold.capture.activations import Rule
from netfold.capture.data import tensor_of
from netfold.capture.labels import label
from netfold.errors import InvalidInputError, NotPiecewiseLinearError


class NodeKind(enum.Enum):
    """What an operation is as a function of the point."""

    AFFINE = "affine"
    PIECEWISE_LINEAR = "piecewise linear"
    OTHER = "other"


@dataclass(frozen=True)
class Ref:
    """The value of an earlier node, standing in a node's arguments."""

    index: int


@dataclass(frozen=True)
class Size:
    """A number that depends on how many points the batch has, standing in a node's arguments."""

    of_batch: Callable[[int], Any]


@dataclass(frozen=True)
class Operation:
    """An operation by its name, so that programs can be sent to other processes.

    Attributes:
        name: for example ``aten.linear.default``.
        item: which of the tensors it returns, where it returns several.
    """

    name: str
    item: int | None = None

    @cached_property
    def schema(self) -> Any:
        """The operation as ``torch`` knows it."""
        return reduce(getattr, self.name.split("."), torch.ops)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the operation."""
        result = self.schema(*args, **kwargs)
        return result if self.item is None else result[self.item]

    def __reduce__(self) -> tuple[Any, ...]:
        return Operation, (self.name, self.item)


@dataclass(frozen=True)
class Layout:
    """Where the points of a batch lie in the shape of a value.

    Attributes:
        axis: the axis that grows with the number of points.
        entries: how many entries one point has along it.
        points_first: whether the entries of one point are neighbours there, or the points are.
    """

    axis: int = 0
    entries: int = 1
    points_first: bool = True

    def to_rows(self, value: Tensor, points: int) -> Tensor:
        """One row a point: shape ``(points, ...)``."""
        if self.entries == 1:
            return value.movedim(self.axis, 0)
        sizes = (points, self.entries) if self.points_first else (self.entries, points)
        return value.unflatten(self.axis, sizes).movedim(self.axis + (not self.points_first), 0)

    def from_rows(self, rows: Tensor) -> Tensor:
        """The inverse of `to_rows`."""
        if self.entries == 1:
            return rows.movedim(0, self.axis)
        value = rows.movedim(0, self.axis + (not self.points_first))
        return value.flatten(self.axis, self.axis + 1)


@dataclass(frozen=True)
class Node:
    """One operation of the program; its value is one tensor.

    Attributes:
        index: its number; the input point is 0.
        op: ATen name, for example ``aten.linear.default``.
        target: what computes its value.
        inputs: the earlier nodes it reads.
        path: the module that called it, ``owner`` that module's class and ``source`` the line of the user's code,
            empty within torch's own modules.
        kind: affine, piecewise linear or other.
        reason: why it is ``other``, where more is known than that netfold does not know the operation.
    """

    index: int
    op: str
    target: Operation = field(repr=False)
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    inputs: tuple[int, ...]
    path: str
    owner: str
    source: str
    kind: NodeKind = NodeKind.AFFINE
    reason: str = ""

    @property
    def schema(self) -> Any:
        """The operation as ``torch`` knows it."""
        return Operation(self.op).schema

    def __call__(self, values: Mapping[int, Any], points: int) -> Any:
        """Apply the operation to the values of earlier nodes, for a batch of ``points`` points."""

        def fill(leaf: Any) -> Any:
            kind = type(leaf)
            if kind is Ref:
                return values[leaf.index]
            if kind is Size:
                return leaf.of_batch(points)
            return [fill(item) for item in leaf] if isinstance(leaf, list | tuple) else leaf

        return self.target(*map(fill, self.args), **{key: fill(v) for key, v in self.kwargs.items()})

    def describe(self) -> str:
        """Name the operation, its module and its source line, for messages."""
        where = f"in module '{self.path}'" if self.path else "in the model's own forward"
        spot = self.source or self.owner
        return f"{self.op} {where}" + (f" ({spot})" if spot else "")


@dataclass(frozen=True)
class Layer:
    """One nonlinearity of the network.

    Attributes:
        name: its module path; a functional one is named after the module that called it.
        op: short operation name, for example ``relu``.
        units: how many units it has at one point.
        shape: the shape of its output at one point.
        rule: its pieces, or ``None`` where it is not piecewise linear.
        node: the program node that applies it.
        follows: the modules whose weights lead to it since the nonlinearities before it, by path.
    """

    name: str
    op: str
    units: int
    shape: tuple[int, ...]
    rule: Rule | None
    node: Node
    follows: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What every table and picture calls the layer: the weights that lead to it, and its name."""
        return label(self.name, self.op, self.follows)


@dataclass(frozen=True)
class Stage:
    """The affine operations that lead to one nonlinearity, or to the output after the last one.

    Attributes:
        nodes: operations to run, in order.
        layer: the nonlinearity that ends the stage; ``None`` for the output.
        inputs: the values that the nonlinearity (or the output) reads.
        alive: the values, other than the nonlinearity's own result, that later stages read.
    """

    nodes: tuple[Node, ...]
    layer: Layer | None
    inputs: tuple[int, ...]
    alive: tuple[int, ...]


Values = dict[int, Tensor]


@dataclass(frozen=True)
class Program:
    """A network as a flat program that acts on batches of points in float64.

    Rows are points: every value that a method here takes or returns has shape ``(points, ...)``, one row a
    point, also where the network itself keeps its batch elsewhere (sequence first, or merged with an axis).

    Attributes:
        name: class of the captured model.
        nodes: every operation that depends on the point, in order.
        layers: every nonlinearity, in order.
        input_shape: shape of one point, and ``output_shape`` of one output.
        output: the node whose value the network returns.
        dtype: the number type of the captured model; the program itself computes in float64.
        device: where the program computes.
        parameters: how many numbers the model's parameters hold.
        layouts: how the network itself keeps the values that are not one row a point.
        readout: the modules whose weights lead to the output since the last nonlinearities, by path.
    """

    name: str
    nodes: tuple[Node, ...]
    layers: tuple[Layer, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    output: int
    dtype: torch.dtype
    device: torch.device
    parameters: int
    layouts: Mapping[int, Layout] = field(default_factory=dict, repr=False)
    readout: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shapes = " -> ".join(str(shape).replace(" ", "") for shape in (self.input_shape, self.output_shape))
        exact = "piecewise linear" if self.piecewise_linear else "not piecewise linear"
        lines = [
            f"Program of {self.name}: {shapes}, {self.parameters:,} parameters, {len(self.nodes)} operations, {exact}"
        ]
        width = max(map(len, [*(layer.label for layer in self.layers), self.output_label]))
        shown = self.layers if len(self.layers) <= 30 else self.layers[:25]
        lines += [f"  {layer.label:<{width}}  {layer.op:<12} {layer.units:>9,} units" for layer in shown]
        lines += [f"  ... {len(self.layers) - len(shown)} more layers"] if len(shown) < len(self.layers) else []
        return "\n".join([*lines, f"  {self.output_label}"])

    def __str__(self) -> str:
        return repr(self).splitlines()[0]

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"

    @property
    def output_label(self) -> str:
        """What every table and picture calls the output: the weights that lead to it, and its name."""
        return label("output", "", self.readout)

    def __call__(self, points: Tensor) -> Tensor:
        """Outputs at a batch of points: ``(points, *input_shape)`` gives ``(points, *output_shape)``."""
        points = self._native_points(points)
        return self._rows(self.output, self._run(points)[self.output], len(points))

    def layer_inputs(self, points: Tensor) -> Iterator[tuple[Layer, list[Tensor], Tensor]]:
        """Walk the nonlinearities: each with the tensors it reads and the one it makes."""
        values: Values = {0: points}
        by_node = {layer.node.index: layer for layer in self.layers}
        count = len(points)
        for node in self.nodes:
            values[node.index] = node(values, count)
            if node.index in by_node:
                read = [self._rows(i, values[i], count) for i in node.inputs]
                yield by_node[node.index], read, self._rows(node.index, values[node.index], count)

    def images(self, points: Tensor) -> list[Tensor]:
        """The image of the points after every nonlinearity, then the output, each ``(points, features)``."""
        points = self._native_points(points)
        values = self._run(points)
        kept = [*(layer.node.index for layer in self.layers), self.output]
        return [self._rows(i, values[i], len(points)).reshape(len(points), -1) for i in kept]

    @cached_property
    def magnitudes(self) -> tuple[float, float]:
        """The smallest and the largest size, but zero, of the numbers in its operations; (1, 1) where none are."""
        leaves = [v for node in self.nodes for v in pytree.tree_leaves((node.args, node.kwargs))]
        sizes = [v.detach().abs().reshape(-1) for v in leaves if isinstance(v, Tensor) and v.is_floating_point()]
        sizes = [size[size > 0] for size in sizes]
        ends = [(float(size.min()), float(size.max())) for size in sizes if len(size)] or [(1.0, 1.0)]
        return min(low for low, _ in ends), max(high for _, high in ends)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The program cut at its nonlinearities.

        Raises:
            NotPiecewiseLinearError: an operation is neither affine nor piecewise linear.
        """
        self.require_piecewise_linear()
        return tuple(cut(self))

    @property
    def piecewise_linear(self) -> bool:
        """Whether every operation is affine or piecewise linear, so that exact methods apply."""
        return all(node.kind is not NodeKind.OTHER for node in self.nodes)

    def require_piecewise_linear(self) -> None:
        """Refuse a program that exact methods cannot follow, naming the first operation at fault.

        Raises:
            NotPiecewiseLinearError: an operation is neither affine nor piecewise linear.
        """
        for node in self.nodes:
            if node.kind is NodeKind.OTHER:
                why = node.reason or "it is neither affine nor a piecewise-linear operation that netfold knows"
                raise NotPiecewiseLinearError(
                    f"{self.name} cannot be followed exactly: {node.describe()}: {why}; "
                    "measure the part of the network before it (output= names where it ends), or take a verb that "
                    "samples: nf.trace_path, nf.estimate_trace, nf.local_complexity"
                )

    def points(self, values: Any, what: str = "points") -> Tensor:
        """Check and convert a batch of points for this program: float64, finite, of the input shape.

        Raises:
            InvalidInputError: the shape or the type is wrong, or a value is not finite.
        """
        tensor = tensor_of(values, what).to(self.device, torch.float64)
        if tensor.ndim == 0 or tuple(tensor.shape[1:]) != self.input_shape:
            raise InvalidInputError(
                f"{what}: {self.name} takes points of shape {self.input_shape}, one a row, got an array of "
                f"shape {tuple(tensor.shape)}"
            )
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise InvalidInputError(f"{what} must be finite, got {bad} values that are NaN or infinite")
        return tensor

    def _native_points(self, points: Any) -> Tensor:
        """Points that are already as operations take them, gradients and all; others as `points` makes them."""
        ready = isinstance(points, Tensor) and points.dtype == torch.float64 and points.device == self.device
        return points if ready and tuple(points.shape[1:]) == self.input_shape else self.points(points)

    def start(self, rows: Tensor) -> Values:
        """The values before the first stage, from rows of ``(points, *input_shape)``."""
        return {0: rows}

    def advance(self, stage: Stage, values: Values) -> Values:
        """Run a stage's affine operations; what its nonlinearity and later stages read is returned."""
        count = len(next(iter(values.values())))
        found = {i: self._native(i, rows) for i, rows in values.items()}
        for node in stage.nodes:
            found[node.index] = node(found, count)
        return {i: self._rows(i, found[i], count) for i in {*stage.inputs, *stage.alive}}

    def activate(self, layer: Layer, values: Values) -> Tensor:
        """Apply a nonlinearity with torch's own operation: ``(points, *layer.shape)``."""
        read = {i: self._native(i, values[i]) for i in layer.node.inputs}
        count = len(values[layer.node.inputs[0]])
        return self._rows(layer.node.index, layer.node(read, count), count)

    def _run(self, points: Tensor) -> Values:
        values: Values = {0: points}
        for node in self.nodes:
            values[node.index] = node(values, len(points))
        return values

    def _rows(self, index: int, value: Tensor, points: int) -> Tensor:
        layout = self.layouts.get(index)
        return value if layout is None else layout.to_rows(value, points)

    def _native(self, index: int, rows: Tensor) -> Tensor:
        layout = self.layouts.get(index)
        return rows if layout is None else layout.from_rows(rows)


def cut(program: Program) -> Iterator[Stage]:
    """The stages of a program, whether or not exact methods can follow it."""
    position = {node.index: p for p, node in enumerate(program.nodes)}
    begin = 0
    for layer in program.layers:
        stop = position[layer.node.index]
        before, after = program.nodes[:stop], program.nodes[stop + 1 :]
        made = {0, *(node.index for node in before)}
        read = {i for node in after for i in node.inputs} | {program.output}
        yield Stage(before[begin:], layer, layer.node.inputs, tuple(sorted(made & read)))
        begin = stop + 1
    yield Stage(program.nodes[begin:], None, (program.output,), ())


def flatten(values: Sequence[Tensor]) -> np.ndarray:
    """Tensors of the same rows, flattened and joined: ``(rows, features)``, contiguous float64 in memory."""
    rows = [v.detach().reshape(len(v), -1) for v in values]
    joined = rows[0] if len(rows) == 1 else torch.cat(rows, 1)
    return np.ascontiguousarray(joined.cpu().numpy())
