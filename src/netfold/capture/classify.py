"""From a tape to a program: what every operation is as a function of the point, and where its points lie."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from netfold.capture.activations import ELEMENTWISE, PIECEWISE_BUT_UNKNOWN, SELECTIONS, Elementwise, Rule
from netfold.capture.affine import AFFINE
from netfold.capture.naming import layer_names, leading, weights_read
from netfold.capture.operations import by_name, op_name
from netfold.capture.program import Layer, Layout, Node, NodeKind, Program, Ref, flatten
from netfold.capture.tape import Tape
from netfold.errors import CaptureError


class Classifier:
    """Tells affine, piecewise-linear and other operations of a tape apart."""

    def __init__(self, tape: Tape, name: str) -> None:
        self.tape = tape
        self.name = name
        self.points = len(tape.batch[0])

    def program(self, dtype: torch.dtype, parameters: int) -> Program:
        """The program of a tape read in float64.

        Raises:
            CaptureError: points of a batch are not treated alone.
        """
        classified = [self._classify(node) for node in self.tape.nodes]
        nodes = [node for node, _ in classified]
        ends = [
            n.index for n in nodes if n.kind is not NodeKind.AFFINE and self.tape.batch[n.index].is_floating_point()
        ]
        names = {id(tensor): name for name, tensor in reversed(list(self.tape.weights.items()))}
        follows = leading(nodes, ends, lambda n: weights_read(n, self.tape.varying, lambda v: names.get(id(v), "")))
        called = dict(zip(ends, layer_names([node for node in nodes if node.index in ends]), strict=True))
        layers = [
            self._layer(node, rule, called[node.index], follows[node.index])
            for node, rule in classified
            if node.index in called
        ]
        if not self.tape.batch[self.tape.output].is_floating_point():
            raise CaptureError(
                f"the output of {self.name} is {self.tape.batch[self.tape.output].dtype}, not real numbers"
            )
        nodes = self._without_complex_stages(nodes, layers)
        layouts = {i: self._layout(i) for i in _kept(nodes, layers, self.tape.output)}
        return Program(
            name=self.name,
            nodes=tuple(nodes),
            layers=tuple(layers),
            input_shape=tuple(self.tape.one[0].shape[1:]),
            output_shape=self._shape(self.tape.output),
            output=self.tape.output,
            dtype=dtype,
            device=self.tape.batch[0].device,
            parameters=parameters,
            readout=() if self.tape.output in called else follows.get(self.tape.output, ()),
            layouts={i: layout for i, layout in layouts.items() if layout != Layout()},
        )

    def _layer(self, node: Node, rule: Rule | None, name: str, follows: tuple[str, ...]) -> Layer:
        shape = self._shape(node.index)
        return Layer(name, op_name(node.schema), int(np.prod(shape, dtype=np.int64)), shape, rule, node, follows)

    def _without_complex_stages(self, nodes: list[Node], layers: list[Layer]) -> list[Node]:
        """Exact methods carry real numbers from stage to stage: a complex value that lives longer is refused there."""
        ends = [layer.node.index for layer in layers]
        last = {i: node.index for node in nodes for i in node.inputs}

        def lives_on(node: Node) -> bool:
            complex_value = self.tape.batch[node.index].is_complex()
            return complex_value and any(node.index < end < last.get(node.index, 0) for end in ends)

        why = (
            "its complex values are read again after the next nonlinearity; take their real and imaginary part at once"
        )
        return [replace(n, kind=NodeKind.OTHER, reason=why) if lives_on(n) else n for n in nodes]

    def _classify(self, node: Node) -> tuple[Node, Rule | None]:
        """The node with its kind, and its pieces if it is piecewise linear."""
        if node.index not in self.tape.varying:
            return node, None
        op, named = op_name(node.schema), by_name(node.schema, node.args, node.kwargs)
        dependent = [name for name, value in named.items() for _ in self._varying_in(value)]
        try:
            rule = self._rule(op, node, named, dependent)
        except ValueError as error:
            return replace(node, kind=NodeKind.OTHER, reason=str(error)), None
        if rule is not None:
            return replace(node, kind=NodeKind.PIECEWISE_LINEAR), rule
        value = self.tape.batch[node.index]
        floating = (value.is_floating_point() or value.is_complex()) and not named.get("rounding_mode")
        if value.is_complex() and op == "linear":
            why = "exact methods take layers of real weights; they follow a product with a complex matrix, h @ weight.T"
            return replace(node, kind=NodeKind.OTHER, reason=why), None
        if not floating or op not in AFFINE:
            return replace(node, kind=NodeKind.OTHER), None
        if not AFFINE[op](dependent):
            both = " and ".join(f"'{name}'" for name in dict.fromkeys(dependent))
            return replace(
                node, kind=NodeKind.OTHER, reason=f"it is not affine where its {both} depend on the point"
            ), None
        return node, None

    def _varying_in(self, tree: Any) -> list[Ref]:
        leaves = pytree.tree_leaves(tree)
        return [leaf for leaf in leaves if isinstance(leaf, Ref) and leaf.index in self.tape.varying]

    def _rule(self, op: str, node: Node, named: dict[str, Any], dependent: list[str]) -> Rule | None:
        """The pieces of a nonlinearity that netfold knows; ``None`` for any other operation.

        Raises:
            ValueError: the reason why its arguments make it something else.
        """
        if op in PIECEWISE_BUT_UNKNOWN:
            raise ValueError(PIECEWISE_BUT_UNKNOWN[op])
        if op not in ELEMENTWISE and op not in SELECTIONS:
            return None
        if any(self.tape.batch[i].is_complex() for i in node.inputs):
            raise ValueError("it is not piecewise linear for complex numbers")
        constants = {k: v for k, v in named.items() if k not in dependent}
        shapes, out = [self._shape(i) for i in node.inputs], self._shape(node.index)
        rule: Rule | None = None
        if op in ELEMENTWISE and len(dependent) == 1 and "dim" not in constants:
            if len(node.inputs) > 1:
                raise ValueError("its limits depend on the size of the batch")
            if shapes[0] != out:
                raise ValueError(f"it broadcasts its input of shape {shapes[0]} to {out}")
            rule = ELEMENTWISE[op](constants, shapes[0])
        elif op in SELECTIONS:
            if len(dependent) != len(node.inputs):
                raise ValueError("both of its inputs are the same tensor")
            rule = SELECTIONS[op](constants, shapes)
        if rule is not None:
            self._prove(rule, node)
        return rule

    def _prove(self, rule: Rule, node: Node) -> None:
        """Compare a table with torch's own operation, at random pre-activations around its knots."""
        count = max(3, 1000 // int(np.prod(self._shape(node.index), dtype=np.int64)))
        knots = rule.knots if isinstance(rule, Elementwise) else np.zeros((1, 1))
        reach = 3.0 * (1.0 + np.abs(knots).max(1))
        rng = np.random.default_rng(0)
        rows, values = [], {}
        for i in node.inputs:
            shape = self._shape(i)
            spread = rng.standard_normal((count, int(np.prod(shape, dtype=np.int64)))) * reach
            rows.append(torch.from_numpy(spread.reshape(-1, *shape)).to(self.tape.batch[0].device))
            values[i] = self._layout(i).from_rows(rows[-1])
        got = rule(flatten(rows))
        wanted = flatten([self._layout(node.index).to_rows(node(values, count), count)])
        if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=1e-12, atol=1e-12):
            raise ValueError("netfold's table of its pieces does not hold for the way it is used here")

    def _shape(self, index: int) -> tuple[int, ...]:
        """The shape of a value at one point."""
        return tuple(self._layout(index).to_rows(self.tape.one[index], 1).shape[1:])

    def _layout(self, index: int) -> Layout:
        """Where the points of a batch lie in a value, from its shapes for several points and for one."""
        batch, one = self.tape.batch[index], self.tape.one[index]
        grown = [a for a, (b, o) in enumerate(zip(batch.shape, one.shape, strict=False)) if b != o]
        sizes = [(batch.shape[a], one.shape[a]) for a in grown]
        if batch.ndim != one.ndim or len(grown) != 1 or sizes[0][0] != self.points * sizes[0][1]:
            raise CaptureError(
                f"{self.name} mixes the points of a batch: {self._describe(index)} has shape "
                f"{tuple(batch.shape)} for {self.points} points and {tuple(one.shape)} for one"
            )
        axis, entries = grown[0], sizes[0][1]
        if entries == 1:
            return Layout(axis)
        candidates = [Layout(axis, entries, points_first) for points_first in (True, False)]
        rows = [layout.to_rows(batch, self.points)[0] for layout in candidates]
        alone = Layout(axis, entries).to_rows(one, 1)[0]
        gaps = [float((row - alone).abs().nan_to_num().max()) for row in rows]
        return candidates[int(gaps[1] < gaps[0])]

    def _describe(self, index: int) -> str:
        return next((n.describe() for n in self.tape.nodes if n.index == index), "the input")


def _kept(nodes: list[Node], layers: list[Layer], output: int) -> set[int]:
    """The values that programs hand out: what nonlinearities read and make, and what crosses one of them."""
    kept = {0, output, *(i for layer in layers for i in (layer.node.index, *layer.node.inputs))}
    ends = {layer.node.index for layer in layers}
    made_in, stage = {0: 0}, 0
    for node in nodes:
        kept.update(i for i in node.inputs if made_in[i] < stage)
        stage += node.index in ends
        made_in[node.index] = stage
    return kept
