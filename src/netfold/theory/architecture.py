"""What theory reads off a captured network: its layers, how they are wired, their weights and biases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from netfold.capture import Kind, Layer, Node, Program, Stage
from netfold.capture.operations import by_name, op_name
from netfold.capture.program import Values, cut

NEUTRAL = {
    *("view", "reshape", "_unsafe_view", "_reshape_alias", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("permute", "transpose", "t", "movedim", "swapaxes", "contiguous", "clone", "alias", "detach"),
    *("to", "_to_copy", "type_as", "dropout", "feature_dropout", "alpha_dropout", "native_dropout"),
}
"""Operations that hand the same numbers on, at most in another order."""

DENSE = {"linear": "weight", "addmm": "mat2", "mm": "mat2", "matmul": "other"}
"""Dense operations, and the name of their weight; all but ``linear`` hold it with the inputs first."""

CONVOLUTIONS = {"conv1d", "conv2d", "conv3d", "convolution"}

NORMS = {
    *("batch_norm", "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm"),
}

NO_WEIGHTS = "no weights are on the way"

SCALES = NORMS | {"add", "sub", "mul", "multiply", "div", "true_divide", "neg"}
"""Operations that, with constants, act on each unit alone."""


@dataclass(frozen=True)
class Conv:
    """The geometry of a convolution, one number an axis.

    Attributes:
        size: of the input along every spatial axis.
        channels: of the input, and ``filters`` of the output.
        kernel: extent of a filter; ``stride`` and ``dilation`` as usual.
        padding: zeros on both sides; halves where one side has one more than the other.
        groups: into how many parts the channels are split.
    """

    size: tuple[int, ...]
    channels: int
    filters: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[float, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True)
class Weight:
    """One dense or convolutional operation.

    Attributes:
        name: its module path.
        matrix: a row a unit (a filter, for a convolution), a column an input of it, in float64.
        bias: one entry a row; ``None`` where there is none.
        conv: the geometry, for a convolution.
    """

    name: str
    matrix: Tensor
    bias: Tensor | None
    conv: Conv | None

    @property
    def fan_in(self) -> int:
        """How many numbers each unit reads."""
        return self.matrix.shape[1]


@dataclass(frozen=True)
class Block:
    """A nonlinearity, or the output, with the affine operations that lead to it.

    Attributes:
        layer: the nonlinearity; ``None`` for the output.
        units: how many units it has, or outputs.
        reads: how many numbers it reads: its units, or all entries that maxima are taken of.
        weights: the dense and convolutional operations on the way. Where there is one alone (``wiring`` is
            empty), constants that scale and shift its units afterwards, as batch normalisation does, are part
            of it.
        entering: the fewest numbers that carry, somewhere since the layer before, all that it and later layers
            read.
        leaving: how many numbers carry what later layers read, right after it.
        wiring: why what it does is not one weight operation on the layer before; empty where it is.
        norms: the normalisations on the way.
    """

    layer: Layer | None
    units: int
    reads: int
    weights: tuple[Weight, ...]
    entering: int
    leaving: int
    wiring: str
    norms: tuple[str, ...]

    @property
    def name(self) -> str:
        """Module path of the nonlinearity."""
        return "output" if self.layer is None else self.layer.name

    @property
    def bare(self) -> bool:
        """Whether nothing but a rearrangement leads to it."""
        return self.wiring == NO_WEIGHTS

    @property
    def chained(self) -> bool:
        """Whether later layers see nothing of earlier ones but through this one."""
        return self.leaving == self.units


@dataclass(frozen=True)
class Architecture:
    """A network as theory reads it.

    Attributes:
        name: class of the model.
        inputs: input dimension.
        hidden: its nonlinearities in order.
        readout: what leads from the last of them to the output.
        program: the captured network.
    """

    name: str
    inputs: int
    hidden: tuple[Block, ...]
    readout: Block
    program: Program

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks in order, the readout last."""
        return (*self.hidden, self.readout)

    @property
    def chained(self) -> bool:
        """Whether every layer reads the one before it alone."""
        return all(block.chained for block in self.hidden)

    @cached_property
    def skips(self) -> str:
        """Why it is no chain: the first layer that others bypass; empty for a chain."""
        around = next((block for block in self.hidden if not block.chained), None)
        if around is None:
            return ""
        return f"layers after {around.name} also read what came before it"

    def matrix(self, number: int, largest: int = 16_000_000) -> tuple[Tensor, Tensor] | None:
        """The affine map from the layer before to the pre-activations of a layer, as ``(matrix, offset)``.

        Normalisations with stored statistics, factors and products of several weights are part of it.

        Args:
            number: of the block, from 0; the readout last.
            largest: most entries; beyond them ``None`` is returned.

        Returns:
            Rows are units. ``None`` also where the layer does not read the one before it alone.
        """
        stages = tuple(cut(self.program))
        stage, before = stages[number], stages[number - 1] if number else None
        source = 0 if before is None or before.layer is None else before.layer.node.index
        if (before is not None and before.alive) or any(node.kind is Kind.OTHER for node in stage.nodes):
            return None
        shape = self.program.input_shape if before is None or before.layer is None else before.layer.shape
        features = int(torch.Size(shape).numel())
        if features * self.blocks[number].reads > largest:
            return None
        basis = torch.eye(features, dtype=torch.float64, device=self.program.device)
        rows = torch.cat([torch.zeros_like(basis[:1]), basis]).reshape(features + 1, *shape)
        found = self.program.advance(stage, {source: rows})
        flat = torch.cat([found[i].reshape(features + 1, -1) for i in stage.inputs], 1).cpu()
        return (flat[1:] - flat[0]).T.contiguous(), flat[0]


def read_architecture(program: Program) -> Architecture:
    """Read a captured network: its nonlinearities, what leads to each, and what bypasses it.

    Args:
        program: the network.

    Returns:
        The architecture.

    Example:
        >>> import netfold as nf
        >>> found = read_architecture(nf.capture(nf.random_network(3, 5, 2), shape=(3,)))
        >>> [(block.name, block.units, block.weights[0].fan_in) for block in found.blocks]
        [('act1', 5, 3), ('act2', 5, 5), ('output', 1, 5)]
    """
    blocks = []
    with torch.no_grad():
        zero = torch.zeros((1, *program.input_shape), dtype=torch.float64, device=program.device)
        values = program.start(zero)
        source: int | None = 0
        for stage in cut(program):
            made = _everything(program, stage, values)
            blocks.append(_block(program, stage, made, source, _narrowest(program, stage, values, made)))
            values = {i: made[i] for i in stage.alive}
            if stage.layer is not None:
                values[stage.layer.node.index] = program.activate(stage.layer, made)
                source = None if stage.alive else stage.layer.node.index
    inputs = int(torch.Size(program.input_shape).numel())
    return Architecture(program.name, inputs, tuple(blocks[:-1]), blocks[-1], program)


def _everything(program: Program, stage: Stage, values: Values) -> Values:
    """What a stage reads and makes, not only what it hands on."""
    made = tuple(node.index for node in stage.nodes)
    return values | program.advance(replace(stage, alive=(*stage.alive, *made)), values)


def _block(program: Program, stage: Stage, made: Values, source: int | None, entering: int) -> Block:
    reads = sum(made[i].numel() for i in stage.inputs)
    units = reads if stage.layer is None else stage.layer.units
    alive = sum(made[i].numel() for i in stage.alive)
    wiring, weights = _wiring(stage, source), []
    for node in stage.nodes:
        weight = _weight(node, made)
        if weight is not None and not wiring:
            weight, wiring = _scaled(program, stage, node, weight, made)
        weights += [weight] if weight is not None else []
    norms = tuple(dict.fromkeys(op_name(n.schema) for n in stage.nodes if op_name(n.schema) in NORMS))
    return Block(stage.layer, units, reads, tuple(weights), entering, units + alive, wiring, norms)


def _narrowest(program: Program, stage: Stage, values: Values, made: Values) -> int:
    """The fewest numbers alive anywhere between the layer before and the end of a stage."""
    last = {i: p for p, node in enumerate(program.nodes) for i in node.inputs} | {program.output: math.inf}
    position = {node.index: p for p, node in enumerate(program.nodes)}
    alive, fewest = set(values), sum(value.numel() for value in values.values())
    for node in stage.nodes:
        alive = {i for i in {*alive, node.index} if last[i] > position[node.index]}
        fewest = min(fewest, sum(made[i].numel() for i in alive))
    return fewest


def _wiring(stage: Stage, source: int | None) -> str:
    """Why a stage is not one weight operation on the layer before it."""
    if source is None:
        return "earlier layers bypass the one before it"
    weights, last = 0, source
    for node in stage.nodes:
        op = op_name(node.schema)
        weighted = op in DENSE or op in CONVOLUTIONS
        if len(node.inputs) > 1:
            return f"{op} joins several paths on the way"
        if node.inputs != (last,):
            return "it reads the layer before more than once"
        if not (weighted or op in NEUTRAL or (op in SCALES and weights)):
            return f"{op} is on the way" if op not in SCALES else f"{op} comes before its weights"
        weights, last = weights + weighted, node.index
    if weights == 1:
        return ""
    return NO_WEIGHTS if weights == 0 else f"{weights} weight operations are on the way"


def _weight(node: Node, made: Values) -> Weight | None:
    """The weight of a dense or convolutional operation, where it is constant."""
    op, named = op_name(node.schema), by_name(node.schema, node.args, node.kwargs)
    weight = named.get(DENSE.get(op, "weight"))
    if not isinstance(weight, Tensor):
        return None
    if op in DENSE and weight.ndim == 2:
        rows = weight if op == "linear" else weight.T
        return Weight(node.path or op, _plain(rows), _bias(named, len(rows)), None)
    if op in CONVOLUTIONS and not named.get("transposed"):
        conv = _geometry(named, weight, made[node.inputs[0]].shape)
        return Weight(node.path or op, _plain(weight.flatten(1)), _bias(named, conv.filters), conv)
    return None


def _scaled(program: Program, stage: Stage, node: Node, weight: Weight, made: Values) -> tuple[Weight, str]:
    """The weight with the constants that scale and shift its units afterwards, or why there is none."""
    scales = [n for n in stage.nodes if op_name(n.schema) in SCALES]
    if not scales:
        return weight, ""
    last, shape = scales[-1].index, made[node.index].shape
    if made[last].shape != shape:
        return weight, "its units are rearranged before they are scaled"
    probes = torch.stack([torch.zeros(shape[1:]), torch.ones(shape[1:])]).to(made[node.index])
    after = tuple(n for n in stage.nodes if node.index < n.index <= last)
    found = program.advance(replace(stage, nodes=after, inputs=(last,), alive=()), {node.index: probes})[last]
    axis = 1 if weight.conv is not None else -1
    shift, one = found.movedim(axis, 1).flatten(2).cpu() if found.ndim > 2 else found[:, :, None].cpu()
    scale = (one - shift).square().mean(1).sqrt() * (one - shift).mean(1).sign()
    bias = shift.mean(1) + (0 if weight.bias is None else scale * weight.bias)
    return replace(weight, matrix=scale[:, None] * weight.matrix, bias=bias), ""


def _bias(named: Mapping[str, Any], size: int) -> Tensor | None:
    bias = named.get("bias", named.get("self") if "mat2" in named else None)
    return _plain(bias).expand(size) if isinstance(bias, Tensor) else None


def _plain(value: Tensor) -> Tensor:
    return value.detach().double().cpu()


def _geometry(named: Mapping[str, Any], weight: Tensor, shape: torch.Size) -> Conv:
    axes, groups = weight.ndim - 2, int(named.get("groups", 1))
    stride, dilation = (_spread(named[key], axes) for key in ("stride", "dilation"))
    kernel, padding = tuple(weight.shape[2:]), named["padding"]
    if padding == "same":
        padding = [d * (k - 1) / 2 for d, k in zip(dilation, kernel, strict=True)]
    around = _spread([0] if padding == "valid" else padding, axes)
    size = tuple(shape[-axes:])
    return Conv(size, weight.shape[1] * groups, len(weight), kernel, stride, around, dilation, groups)


def _spread(value: Any, axes: int) -> tuple[Any, ...]:
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * axes if len(numbers) == 1 else numbers
