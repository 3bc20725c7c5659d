"""Sweeping a layer's weights: what follows the layer as a program of its own, driven along an ellipse by each input.

With everything else fixed, the layer's output for one input is h(t) = b + (h(W) - b) cos t + (h(W') - b) sin t, where b
is its value for zero weights: an ellipse. So a sweep of weights is, for what follows the layer, a walk of its input
along an elliptic arc, which `netfold.exact.arc.tracer` traces exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from netfold.arrays import Floats
from netfold.capture import Program, capture
from netfold.capture.data import tensor_of
from netfold.capture.export import export
from netfold.capture.program import Node
from netfold.capture.reading import home
from netfold.capture.untouched import silent
from netfold.errors import InvalidInputError
from netfold.paths import Ellipse
from netfold.sensitivity.layers import WeightLayer
from netfold.sensitivity.runners import ParameterReader


@dataclass(frozen=True, eq=False)
class WeightTape:
    """A model as operations in float64 with its parameters as inputs.

    Attributes:
        name: class of the model.
        nodes: the operations, in order; ``output`` the one that is returned.
        parameters: the index of every parameter; ``values`` their values.
        shape: of one input.
        varying: the operations that depend on the input.
        device: where it computes.
    """

    name: str
    nodes: tuple[Node, ...]
    output: int
    parameters: Mapping[str, int]
    values: Mapping[int, Tensor]
    shape: tuple[int, ...]
    varying: frozenset[int]
    device: torch.device

    @classmethod
    def of(cls, model: nn.Module, shape: tuple[int, ...]) -> WeightTape:
        """Read a model.

        Raises:
            CaptureError: it cannot be followed.
            InvalidInputError: it rejects inputs of this shape.
        """
        if isinstance(model, ExportedProgram) or not isinstance(model, nn.Module):
            raise InvalidInputError(f"a weight sweep needs a torch.nn.Module, got {type(model).__name__}")
        dtype, device = home(model)
        exported = export(model, shape, dtype, device)
        points = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
        with silent(), torch.no_grad():
            reader = ParameterReader(exported=exported, name=type(model).__name__, points=points, dtype=torch.float64)
            tape = reader.read()
        own = set(reader.parameters.values())
        varying, known = set(), {0}
        for node in tape.nodes:
            if known.intersection(node.inputs):
                known.add(node.index)
                varying.add(node.index)
        values = {i: tape.batch[i] for i in own}
        return cls(
            type(model).__name__, tape.nodes, tape.output, reader.parameters, values, shape, frozenset(varying), device
        )

    def run(self, points: Tensor, replaced: Mapping[int, Tensor], until: int | None = None) -> dict[int, Tensor]:
        """The values of all operations, up to one of them."""
        values = {0: points, **self.values, **replaced}
        for node in self.nodes:
            values[node.index] = node(values, len(points))
            if node.index == until:
                break
        return values


class Rest(nn.Module):
    """What follows a swept layer, as a function of the layer's output and of every other value still needed."""

    def __init__(
        self, tape: WeightTape, after: tuple[Node, ...], live: tuple[int, ...], like: Mapping[int, Tensor]
    ) -> None:
        super().__init__()
        self.nodes, self.output, self.live = after, tape.output, live
        self.shapes = [tuple(like[i].shape[1:]) for i in live]
        self.sizes = [int(np.prod(shape, dtype=np.int64)) for shape in self.shapes]
        read = {i for node in after for i in node.inputs}
        self.constants = [i for i in tape.values if i in read]
        for i in self.constants:
            self.register_buffer(f"constant{i}", tape.values[i])

    def forward(self, joined: Tensor) -> Tensor:
        """From all live values side by side to the output."""
        parts = joined.split(self.sizes, 1)
        values = {i: p.reshape(-1, *s) for i, p, s in zip(self.live, parts, self.shapes, strict=True)}
        values |= {i: getattr(self, f"constant{i}") for i in self.constants}
        for node in self.nodes:
            values[node.index] = node(values, joined.shape[0])
        return values[self.output]


@dataclass(frozen=True, eq=False)
class LayerSweep:
    """A layer whose weights are swept, and the program that follows it.

    Attributes:
        layer: the layer.
        program: from the layer's output (and what else is needed, held fixed) to the network's output.
    """

    tape: WeightTape
    layer: WeightLayer
    program: Program
    swept: int
    node: int
    live: tuple[int, ...]

    @classmethod
    def of(cls, tape: WeightTape, layer: WeightLayer) -> LayerSweep:
        """Cut a model behind a layer.

        Raises:
            InvalidInputError: the layer has several weights, is not used exactly once, or what it gives is not affine
                in its weights.
            NotPiecewiseLinearError: what follows is not piecewise linear.
        """
        if len(layer.weights) != 1:
            raise InvalidInputError(
                f"layer '{layer.name}' ({layer.kind}) has {len(layer.weights)} weights; a sweep takes layers with one "
                "(dense or convolutional)"
            )
        swept = tape.parameters[layer.weights[0].name]
        node = _only_use(tape, swept, layer.name)
        position = next(p for p, n in enumerate(tape.nodes) if n.index == node)
        after = tape.nodes[position + 1 :]
        made = {n.index for n in after}
        read = {i for n in after for i in n.inputs} | {tape.output}
        live = tuple(sorted({i for i in read - made if i not in tape.values} | {node}))
        probe = torch.randn((3, *tape.shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        with torch.no_grad():
            like = tape.run(probe.to(tape.device), {}, node)
        if any(like[i].ndim == 0 or len(like[i]) != 3 for i in live):
            raise InvalidInputError(
                f"{tape.name} keeps its batch elsewhere than on the first axis behind layer '{layer.name}', which "
                "weight sweeps do not follow"
            )
        rest = Rest(tape, after, live, like).to(tape.device).eval()
        program = capture(rest, shape=(sum(rest.sizes),)) if after else capture(nn.Identity(), shape=(sum(rest.sizes),))
        program.require_piecewise_linear()
        sweep = cls(tape, layer, program, swept, node, live)
        sweep._prove(probe.to(tape.device))
        return sweep

    def ellipses(self, points: Tensor, other: Tensor, angle: float) -> list[Ellipse]:
        """The way of the program's input, for every point."""
        weight = self.tape.values[self.swept]
        zero, first, second = (self._joined(points, w) for w in (torch.zeros_like(weight), weight, other))
        return [Ellipse(b, u - b, v - b, angle) for b, u, v in zip(zero, first, second, strict=True)]

    def _joined(self, points: Tensor, weight: Tensor) -> Floats:
        with torch.no_grad():
            values = self.tape.run(points, {self.swept: weight}, self.node)
        return torch.cat([values[i].reshape(len(points), -1) for i in self.live], 1).cpu().numpy()

    def _prove(self, points: Tensor) -> None:
        """At two angles the ellipse must pass where the network with those weights goes."""
        weight = self.tape.values[self.swept]
        generator = torch.Generator().manual_seed(2)
        other = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.device)
        for at in (0.3, 2.1):
            mixed = weight * np.cos(at) + other * np.sin(at)
            found = np.stack([e(at / 7.0) for e in self.ellipses(points, other, 7.0)])
            wanted = self._joined(points, mixed)
            with torch.no_grad():
                outputs = self.tape.run(points, {self.swept: mixed})[self.tape.output]
                again = self.program(torch.from_numpy(found).to(points.device)).reshape(outputs.shape)
            apart = max(_gap(found, wanted), _gap(again.cpu().numpy(), outputs.cpu().numpy()))
            if not apart < 1e-8:
                raise InvalidInputError(
                    f"layer '{self.layer.name}' of {self.tape.name} is not affine in its weights, or what follows "
                    "depends on the batch; its weights cannot be swept exactly"
                )


def _gap(values: Floats, wanted: Floats) -> float:
    return float(np.abs(values - wanted).max() / max(1.0, np.abs(wanted).max()))


def _only_use(tape: WeightTape, swept: int, name: str) -> int:
    """The one operation that brings the weight and the input together."""
    derived = {swept}
    uses = []
    for node in tape.nodes:
        if derived.intersection(node.inputs):
            if node.index in tape.varying:
                uses.append(node.index)
            else:
                derived.add(node.index)
    if len(uses) != 1:
        raise InvalidInputError(
            f"layer '{name}' is used {len(uses)} times in {tape.name}; only a layer that is used exactly once can be "
            "swept exactly"
        )
    return uses[0]


def as_points(tape: WeightTape, inputs: Any) -> Tensor:
    """Check and convert inputs: float64, finite, one a row.

    Raises:
        InvalidInputError: they are not.
    """
    points = tensor_of(inputs, "inputs").to(tape.device, torch.float64)
    if points.ndim == 0 or tuple(points.shape[1:]) != tape.shape or len(points) == 0:
        raise InvalidInputError(f"inputs must be points of shape {tape.shape}, one a row, got {tuple(points.shape)}")
    if not bool(torch.isfinite(points).all()):
        raise InvalidInputError("inputs must be finite, got values that are NaN or infinite")
    return points
