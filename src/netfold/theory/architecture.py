"""What theory reads off a captured network: its layers, how they are wired, their weights and biases."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from netfold.capture import Layer, NodeKind, Program, Stage
from netfold.capture.operations import op_name
from netfold.capture.program import Values, cut
from netfold.capture.smooth import alone
from netfold.theory.weights import CONVOLUTIONS, DENSE, NORMS, SCALES, WeightMatrix, scaled, weight_of

NEUTRAL = {
    *("view", "reshape", "_unsafe_view", "_reshape_alias", "flatten", "unflatten", "squeeze", "unsqueeze"),
    *("permute", "transpose", "t", "movedim", "swapaxes", "contiguous", "clone", "alias", "detach"),
    *("to", "_to_copy", "type_as", "dropout", "feature_dropout", "alpha_dropout", "native_dropout"),
}
"""Operations that hand the same numbers on, at most in another order."""

MOST_NAMED = 3
"""Layers that are left out, by name, in one sentence."""

NO_WEIGHTS = "no weights are on the way"

JOINS = "joins several paths on the way"


@dataclass(frozen=True)
class LayerBlock:
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
        label: what tables and pictures call it.
    """

    layer: Layer | None
    units: int
    reads: int
    weights: tuple[WeightMatrix, ...]
    entering: int
    leaving: int
    wiring: str
    norms: tuple[str, ...]
    label: str

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
    hidden: tuple[LayerBlock, ...]
    readout: LayerBlock
    program: Program

    @property
    def blocks(self) -> tuple[LayerBlock, ...]:
        """All blocks in order, the readout last."""
        return (*self.hidden, self.readout)

    @property
    def judged(self) -> str:
        """What a judgement of its single layers leaves out of sight; empty for a chain of weights alone."""
        joined = self.skips or any(block.wiring.endswith(JOINS) for block in self.blocks)
        normalised = any(block.norms for block in self.blocks)
        parts = [("in evaluation mode", normalised), ("layer by layer as if in a chain", joined)]
        return " and ".join(words for words, there in parts if there)

    @property
    def left_out(self) -> str:
        """Layers before weights that mix or rescale what they read, which no gain of single layers speaks of."""
        weighted = [i for i, block in enumerate(self.blocks) if block.weights]
        layers = [block.layer for block in self.hidden[: max(weighted, default=0)] if block.layer is not None]
        mixing = [layer for layer in layers if layer.rule is None and not alone(layer, layer.units)]
        named = ", ".join(f"{layer.op} in '{layer.name}'" for layer in mixing[:MOST_NAMED])
        more = f" and {len(mixing) - MOST_NAMED} more" if len(mixing) > MOST_NAMED else ""
        return f"{named}{more}" if mixing else ""

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
        if (before is not None and before.alive) or any(node.kind is NodeKind.OTHER for node in stage.nodes):
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


def _block(program: Program, stage: Stage, values: Values, source: int | None, entering: int) -> LayerBlock:
    reads = sum(values[i].numel() for i in stage.inputs)
    units = reads if stage.layer is None else stage.layer.units
    alive = sum(values[i].numel() for i in stage.alive)
    wiring, weights = _wiring(stage, source), []
    for node in stage.nodes:
        weight = weight_of(node, values)
        if weight is not None and not wiring:
            weight, wiring = scaled(program, stage, node, weight, values)
        weights += [weight] if weight is not None else []
    label = program.output_label if stage.layer is None else stage.layer.label
    norms = tuple(dict.fromkeys(op_name(n.schema) for n in stage.nodes if op_name(n.schema) in NORMS))
    return LayerBlock(stage.layer, units, reads, tuple(weights), entering, units + alive, wiring, norms, label)


def _narrowest(program: Program, stage: Stage, values: Values, outputs: Values) -> int:
    """The fewest numbers alive anywhere between the layer before and the end of a stage."""
    last = {i: p for p, node in enumerate(program.nodes) for i in node.inputs} | {program.output: math.inf}
    position = {node.index: p for p, node in enumerate(program.nodes)}
    alive, fewest = set(values), sum(value.numel() for value in values.values())
    for node in stage.nodes:
        alive = {i for i in {*alive, node.index} if last[i] > position[node.index]}
        fewest = min(fewest, sum(outputs[i].numel() for i in alive))
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
            return f"{op} {JOINS}"
        if node.inputs != (last,):
            return "it reads the layer before more than once"
        if not (weighted or op in NEUTRAL or (op in SCALES and weights)):
            return f"{op} is on the way" if op not in SCALES else f"{op} comes before its weights"
        weights, last = weights + weighted, node.index
    if weights == 1:
        return ""
    return NO_WEIGHTS if weights == 0 else f"{weights} weight operations are on the way"
