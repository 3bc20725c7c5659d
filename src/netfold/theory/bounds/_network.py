"""A given network as the bounds read it: its units, and the conditions that theorems put on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from netfold.capture import Layer
from netfold.capture.activations import Elementwise, Selection
from netfold.errors import InvalidInputError, NotPiecewiseLinearError
from netfold.theory.architecture import Architecture, LayerBlock
from netfold.theory.bounds._shape import RELU, Unit, cells
from netfold.theory.bounds._xiong2020 import Conv
from netfold.theory.weights import ConvGeometry, WeightMatrix

LARGEST_RANK = 4_000_000_000
"""Above this product of a matrix's sides and the smaller of them, about a second, no rank is taken."""


@dataclass(frozen=True)
class CountedUnits:
    """The units of one nonlinearity, as far as counting goes.

    Attributes:
        name: module path.
        op: operation, for example ``relu``.
        count: how many there are.
        cuts: how many hyperplanes a unit cuts with at most: its knots, or one less than the entries that it takes
            the largest of.
        selects: whether each unit is the largest or smallest of several entries.
        collapses: whether every piece but one is flat.
        entering: the fewest numbers that carry, somewhere since the layer before, all that this layer and later
            ones read.
        leaving: how many do right after it.
    """

    name: str
    op: str
    count: int
    cuts: int
    selects: bool
    collapses: bool
    entering: int
    leaving: int

    @classmethod
    def of(cls, block: LayerBlock, layer: Layer) -> CountedUnits:
        """The units of a captured nonlinearity.

        Raises:
            NotPiecewiseLinearError: it is not piecewise linear.
        """
        rule = layer.rule
        if isinstance(rule, Selection):
            cuts = int((rule.candidates >= 0).sum(1).max()) - 1
        elif rule is not None:
            cuts = rule.knots.shape[1]
        else:
            raise NotPiecewiseLinearError(f"{layer.name} ({layer.op}) is not piecewise linear")
        return cls(
            layer.name,
            layer.op,
            layer.units,
            cuts,
            isinstance(rule, Selection),
            _collapses(rule),
            block.entering,
            block.leaving,
        )

    def cells(self, dimension: int) -> int:
        """Most cells of a space of that dimension that these units tell apart."""
        return cells(self.count, dimension, self.cuts)


def _collapses(rule: Elementwise | Selection) -> bool:
    return isinstance(rule, Elementwise) and bool(((rule.slopes != 0).sum(1) <= 1).all())


def rank(network: Architecture, number: int) -> int:
    """Numerical rank of the affine map before a layer; an upper limit where it is too large to decompose."""
    before = network.hidden[number - 1].units if number else network.inputs
    short, long = sorted((before, network.hidden[number].reads))
    found = network.matrix(number) if short * short * long <= LARGEST_RANK else None
    if found is None:
        return network.hidden[number].entering
    matrix, offset = found
    singular = torch.linalg.svdvals(matrix)
    scale = max(float(singular[0]), float(offset.abs().max()))
    return int((singular > scale * long * torch.finfo(torch.float64).eps).sum())


def common_unit(network: Architecture) -> Unit | None:
    """The unit of a chain of dense layers of one kind with biases, else None."""
    kinds, before = set(), network.inputs
    for block in network.hidden:
        rule = block.layer.rule if block.layer is not None else None
        weight = None if block.wiring else block.weights[0]
        if weight is None or weight.conv is not None or weight.bias is None or not isinstance(rule, Elementwise):
            return None
        if weight.matrix.shape != (block.units, before):
            return None
        kinds.add((rule.knots.shape[1], _collapses(rule)))
        before = block.units
    if len(kinds) != 1:
        return None
    return RELU if kinds == {(1, True)} else Unit("unit", *kinds.pop())


def dense_relu_widths(network: Architecture) -> list[int]:
    """Widths of a chain of dense ReLU layers with biases, which the folding constructions need.

    Raises:
        InvalidInputError: it is something else.
    """
    _require_chain(network)
    for block in network.hidden:
        if len(_dense(block).matrix) != block.units:
            raise InvalidInputError(f"the theorem is about dense layers; {block.weights[0].name} shares its weights")
    if common_unit(network) != RELU:
        raise InvalidInputError("the theorem is about ReLU units")
    return [block.units for block in network.hidden]


def maxout_rank(network: Architecture) -> int:
    """How many dense functions each unit of a maxout network takes the maximum of.

    Raises:
        InvalidInputError: it is no such network, or its units differ.
    """
    _require_chain(network)
    ranks = set()
    for block in network.hidden:
        rule, weight = block.layer.rule if block.layer is not None else None, _dense(block)
        if not isinstance(rule, Selection):
            raise InvalidInputError(f"the theorem is about maxima; {block.name} takes none")
        if sorted(rule.candidates.reshape(-1).tolist()) != list(range(len(weight.matrix))):
            raise InvalidInputError(f"units of {block.name} share the functions they take the largest of")
        ranks.add(rule.candidates.shape[1])
    if len(ranks) > 1:
        raise InvalidInputError(f"the theorem is about units of one rank, here they have {sorted(ranks)}")
    return ranks.pop()


def all_convolutions(network: Architecture) -> tuple[tuple[int, ...], int, list[Conv]]:
    """Input size, input channels and layers of a network of convolutions with biases.

    Raises:
        InvalidInputError: it is something else.
    """
    _require_chain(network)
    found = convolutions(network.hidden)
    for block in network.hidden:
        _require_bias(block.weights[0])
    return found


def convolutions(blocks: Sequence[LayerBlock]) -> tuple[tuple[int, ...], int, list[Conv]]:
    """Input size, input channels and layers of blocks that are convolutions with one knot a unit.

    Raises:
        InvalidInputError: one of them is something else.
    """
    first = _geometry(blocks[0])
    layers = []
    for block in blocks:
        conv, rule = _geometry(block), block.layer.rule if block.layer is not None else None
        if not isinstance(rule, Elementwise) or rule.knots.shape[1] != 1:
            raise InvalidInputError(f"the theorem is about units with one knot; {block.name} has others")
        layers.append(Conv(conv.filters, conv.kernel, conv.stride, tuple(int(p) for p in conv.padding)))
    return first.size, first.channels, layers


def _geometry(block: LayerBlock) -> ConvGeometry:
    conv = None if block.wiring else block.weights[0].conv
    if conv is None:
        raise InvalidInputError(f"{block.name} does not follow a convolution: {block.wiring or 'it is dense'}")
    if conv.groups > 1 or max(conv.dilation) > 1 or any(p != int(p) for p in conv.padding):
        raise InvalidInputError(
            f"the convolution before {block.name} has groups, dilation or uneven padding: there is no theorem"
        )
    return conv


def _dense(block: LayerBlock) -> WeightMatrix:
    if block.wiring:
        raise InvalidInputError(f"the theorem is about dense layers; before '{block.name}', {block.wiring}")
    weight = block.weights[0]
    if weight.conv is not None:
        raise InvalidInputError(f"the theorem is about dense layers; {weight.name} is a convolution")
    _require_bias(weight)
    return weight


def _require_bias(weight: WeightMatrix) -> None:
    if weight.bias is None:
        raise InvalidInputError(f"the theorem needs biases, and {weight.name} has none")


def _require_chain(network: Architecture) -> None:
    if network.skips:
        raise InvalidInputError(f"the theorem is about chains of layers; {network.skips}")
    if network.readout.wiring and not network.readout.bare:
        raise InvalidInputError(f"the theorem is about a linear readout; before the output, {network.readout.wiring}")
