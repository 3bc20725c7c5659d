"""A program cut in two before its first operation that is not piecewise linear: an exact part, and what is behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from netfold.capture.activations import continuous
from netfold.capture.program import Layer, Layout, Node, NodeKind, Operation, Program, Ref
from netfold.capture.smooth import alone, knots

KEPT = "_exact_split"
"""Where a program keeps its parts, so that they are made once."""


@dataclass(frozen=True)
class ExactSplit:
    """The exact part of a program, and the rest, which reads nothing but its output.

    Attributes:
        exact: affine and piecewise-linear operations.
        signed: the same with one more layer that only has the knots of the operation behind (0, for most), where that
            acts on each output alone and so has units with a state; otherwise ``exact`` itself.
        rest: from there to the output; none of its other layers has units with a state.
        name: the layer that stands behind the cut, and ``op`` its operation.
        op: its operation.
    """

    exact: Program
    signed: Program
    rest: Program
    name: str
    op: str

    @property
    def where(self) -> str:
        """Up to where it is exact, in words."""
        return f"up to what {self.op} in '{self.name}' reads"


def split_of(program: Program) -> ExactSplit | None:
    """Cut a program before its first operation that is not piecewise linear.

    Returns:
        The parts; ``None`` where it has no such operation, no knot before it or one behind, or where what is behind
        reads more than one value, or has units with a state after its first layer.
    """
    known = vars(program)
    if KEPT not in known:
        known[KEPT] = _split(program)
    return known[KEPT]


def exact_part(program: Program) -> Program:
    """The program itself where it is piecewise linear, or the part before what is not.

    Raises:
        NotPiecewiseLinearError: an operation that is not piecewise linear stands before a knot, or there is none.
    """
    split = None if program.piecewise_linear else split_of(program)
    if split is not None:
        return split.exact
    program.require_piecewise_linear()
    return program


def _split(program: Program) -> ExactSplit | None:
    first = next((p for p, node in enumerate(program.nodes) if node.kind is NodeKind.OTHER), None)
    if first is None:
        return None
    nodes, varying = program.nodes, {0}
    for node in nodes:
        if any(i in varying for i in node.inputs):
            varying.add(node.index)
    read = [i for i in nodes[first].inputs if i in varying]
    behind = nodes[first:]
    made = {node.index for node in behind}
    others = {i for node in behind for i in node.inputs if i in varying and i not in made} | (
        {program.output} - made if program.output in varying else set()
    )
    if not any(node.kind is NodeKind.PIECEWISE_LINEAR for node in nodes[:first]):
        return None
    if len(read) != 1 or others != {read[0]} or any(n.kind is NodeKind.PIECEWISE_LINEAR for n in behind):
        return None
    if program.layouts.get(read[0], Layout()) != Layout():
        return None
    return _cut(program, first, read[0], varying)


def _cut(program: Program, first: int, at: int, varying: set[int]) -> ExactSplit | None:
    behind = program.nodes[first:]
    layers = [layer for layer in program.layers if layer.node.index in {node.index for node in behind}]
    if not layers or layers[0].node is not behind[0]:
        return None
    point = torch.zeros((8, *program.input_shape), dtype=torch.float64, device=program.device)
    with torch.no_grad():
        values = {0: point}
        for node in program.nodes[:first]:
            values[node.index] = node(values, len(point))
    if not values[at].is_floating_point():
        return None
    shape = tuple(values[at].shape[1:])
    units = int(np.prod(shape, dtype=np.int64))
    before = tuple(layer for layer in program.layers if layer not in layers)
    exact = replace(program, nodes=program.nodes[:first], layers=before, output=at, output_shape=shape)
    constant = tuple(node for node in program.nodes[:first] if node.index not in varying)
    nodes = tuple(_moved(node, at) for node in (*constant, *behind))
    by_index = {node.index: node for node in nodes}
    rest = replace(
        program,
        nodes=nodes,
        layers=tuple(replace(layer, node=by_index[layer.node.index]) for layer in layers),
        input_shape=shape,
        layouts={i: layout for i, layout in program.layouts.items() if i in by_index},
    )
    if any(alone(layer, layer.units) for layer in layers[1:]):
        return None
    signed = exact
    if alone(layers[0], units):
        signed = _with_knots(exact, layers[0], shape)
    return ExactSplit(exact, signed, rest, layers[0].name, layers[0].op)


def _with_knots(exact: Program, behind: Layer, shape: tuple[int, ...]) -> Program:
    """The exact part, with a layer that does nothing but has the knots of the operation behind."""
    index = behind.node.index
    node = replace(
        behind.node, op="aten.clone.default", target=Operation("aten.clone.default"), args=(Ref(exact.output),),
        kwargs={}, inputs=(exact.output,), kind=NodeKind.PIECEWISE_LINEAR,
    )  # fmt: skip
    at = knots(behind)[0].tolist()
    rule = continuous(at, [1.0] * (len(at) + 1), tuple(range(len(at) + 1)), at[0])
    layer = replace(behind, rule=rule, node=node, shape=shape)
    return replace(exact, nodes=(*exact.nodes, node), layers=(*exact.layers, layer), output=index)


def _moved(node: Node, at: int) -> Node:
    """The node, which reads the point where it read value ``at``."""

    def move(leaf: Any) -> Any:
        if isinstance(leaf, Ref) and leaf.index == at:
            return Ref(0)
        if isinstance(leaf, list | tuple):
            return type(leaf)(move(item) for item in leaf)
        return leaf

    kwargs = {name: move(value) for name, value in node.kwargs.items()}
    inputs = tuple(0 if i == at else i for i in node.inputs)
    return replace(node, args=tuple(map(move, node.args)), kwargs=kwargs, inputs=inputs)
