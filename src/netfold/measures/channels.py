"""Channels of a network's values, and the same network without those that are not needed.

A channel is an index of a value's first axis: of a dense layer's it is a unit, of a convolution's a map. Three walks
over a captured program: forwards, what every channel is known to be (`Held`); backwards, which are read; forwards, the
operations that compute those. Each operation is a `ChannelPart` that knows its own share of the three; one that mixes
channels in a way that is not known here gets all of its channels, and is applied as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

from netfold.arrays import Bools, Floats, Ints
from netfold.capture.activations import Elementwise
from netfold.capture.operations import VIEWS, by_name, op_name
from netfold.capture.program import Layer, Node, Operation, Ref, Size
from netfold.capture.symbols import Multiple
from netfold.capture.tape import Slot
from netfold.exact.matrices.coefficients import Step
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.results.units import DEAD, FREE, ON, SATURATED, STATES

MOST = 2**26
"""Numbers up to which channels that nothing is known of are compared."""

SCALES = {"batch_norm", "_native_batch_norm_legit_no_training", "mul", "multiply", "div", "true_divide", "neg"} | {
    *("add", "sub", "rsub")
}
"""Operations that multiply every entry by a number of its own and add one."""

MATRICES = {"mm", "matmul", "addmm"}

CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}

PLAIN = {
    *("dropout", "feature_dropout", "clone", "contiguous", "alias", "detach"),
    *(f"{pool}_pool{n}d" for pool in ("avg", "adaptive_avg", "max", "adaptive_max") for n in (1, 2, 3)),
    *(f"max_pool{n}d_with_indices" for n in (1, 2, 3)),
}
"""Operations that do the same to every channel by itself, and to a multiple of it that multiple."""

ROWS = VIEWS | {"flatten", "unflatten", "squeeze", "unsqueeze"}
"""Operations that keep the order of a point's entries."""


@dataclass(frozen=True)
class Held:
    """What is known of a value's channels: ``value[j] = scale[j] value[source[j]] + rest[j]`` on the whole domain.

    Attributes:
        source: another channel, or the channel itself; -1 for one that is constant.
        scale: positive.
        rest: the constants, in the shape of the value; 0 in the others.
    """

    source: Ints
    scale: Floats
    rest: Floats

    @staticmethod
    def nothing(shape: Sequence[int]) -> Held:
        """Of a value of which nothing is known."""
        count = shape[0] if shape else 1
        return Held(np.arange(count), np.ones(count), np.zeros(tuple(shape) or (1,)))

    def with_constants(self, constant: Bools, values: Floats) -> Held:
        """Some more channels are constant."""
        rest = np.where(_along(constant, values), values, self.rest)
        return Held(np.where(constant, -1, self.source), self.scale, rest)

    @property
    def constant(self) -> Bools:
        """Which channels are constant."""
        return self.source < 0

    def own(self, mask: Bools) -> Bools:
        """The channels that some channels are multiples of."""
        found = np.zeros(len(self.source), np.bool_)
        found[self.source[mask & ~self.constant]] = True
        return found

    def folded(self, weight: Floats) -> Floats:
        """Weights ``(out, channels, ...)`` of the channels that the others are multiples of."""
        made, varies = np.zeros_like(weight), ~self.constant
        parts = weight[:, varies] * _along(self.scale[varies], weight, 1)
        np.add.at(made.swapaxes(0, 1), self.source[varies], parts.swapaxes(0, 1))
        return made


def _flat(value: Floats) -> Floats:
    """One row a channel."""
    return value.reshape(len(value), -1)


def _columns(weight: Floats) -> Bools:
    """Which channels a weight reads."""
    return np.asarray(weight.any(tuple(a for a in range(weight.ndim) if a != 1)))


def _along(row: Any, value: Floats, axis: int = 0) -> Any:
    """One number a channel, to be combined with a value."""
    return row.reshape((1,) * axis + (-1,) + (1,) * (value.ndim - 1 - axis))


@dataclass
class ChannelPart:
    """One operation, and what it makes of channels.

    Attributes:
        node: the operation, its tensors on the CPU.
        inputs: the values that it reads.
        shape: the shape of its value at one point.
    """

    node: Node
    inputs: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def index(self) -> int:
        """The number of its value."""
        return self.node.index

    def held(self, net: Channels) -> Held:
        """What is known of its channels."""
        return Held.nothing(self.shape)

    def read(self, net: Channels, wanted: Bools) -> None:
        """Want what the wanted channels are computed from."""
        for source in self.inputs:
            net.want(source, np.ones(len(net.held[source].source), np.bool_))

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """The operations that compute the wanted channels; by default of all of its inputs."""
        made = net.applied(self, {i: net.gathered(i, np.arange(len(net.held[i].source))) for i in self.inputs})
        return net.select(made, wanted, math.prod(self.shape[:1]))

    def rows(self, net: Channels) -> Floats | None:
        """Numbers that fix each channel: channels of equal rows are equal; ``None`` for too many."""
        known = net.held[self.index]
        if len(known.source) ** 2 > MOST:
            return None
        return np.concatenate([known.folded(np.eye(len(known.source))), _flat(known.rest)], 1)


@dataclass
class Alone(ChannelPart):
    """Every channel by itself: pooling and the like."""

    def held(self, net: Channels) -> Held:
        """What its input's are."""
        known = net.held[self.inputs[0]]
        if not known.rest.any():
            return Held(known.source, known.scale, np.zeros(self.shape))
        made = self.node({self.inputs[0]: torch.from_numpy(known.rest[None])}, 1)[0].numpy()
        return Held(known.source, known.scale, np.where(_along(known.constant, made), made, 0.0))

    def read(self, net: Channels, wanted: Bools) -> None:
        """The same channels."""
        for source in self.inputs:
            net.want(source, wanted)

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """The operation on those channels."""
        return net.applied(self, {i: net.gathered(i, wanted) for i in self.inputs})


@dataclass
class Reshaped(ChannelPart):
    """The entries of each channel become so many channels of their own."""

    pieces: int = 1

    def held(self, net: Channels) -> Held:
        """Pieces of what its input's are."""
        known, each = net.held[self.inputs[0]], np.arange(self.pieces)
        source = np.where(known.constant[:, None], -1, known.source[:, None] * self.pieces + each).reshape(-1)
        return Held(source, np.repeat(known.scale, self.pieces), known.rest.reshape(self.shape))

    def read(self, net: Channels, wanted: Bools) -> None:
        """The channels that any wanted piece is of."""
        net.want(self.inputs[0], np.asarray(wanted.reshape(-1, self.pieces).any(1)))

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """Whole channels in their new shape, and of those the wanted pieces."""
        whole = np.unique(wanted // self.pieces)
        shape = [Size(Multiple(1)), len(whole) * self.pieces, *self.shape[1:]]
        made = net.append("aten.reshape.default", (net.gathered(self.inputs[0], whole), shape))
        there = (whole[:, None] * self.pieces + np.arange(self.pieces)).reshape(-1)
        return net.select(made, np.searchsorted(there, wanted), len(there))


@dataclass
class Joined(ChannelPart):
    """Values beside each other."""

    def held(self, net: Channels) -> Held:
        """What the channels of all of them are."""
        parts, first = [net.held[i] for i in self.inputs], 0
        sources = []
        for part in parts:
            sources.append(np.where(part.constant, -1, part.source + first))
            first += len(part.source)
        rest = np.concatenate([part.rest for part in parts])
        return Held(np.concatenate(sources), np.concatenate([part.scale for part in parts]), rest)

    def read(self, net: Channels, wanted: Bools) -> None:
        """Those of each."""
        for source, mine in self._split(net, wanted):
            net.want(source, mine)

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """What is wanted of each, joined."""
        mask = np.zeros(self.shape[0], np.bool_)
        mask[wanted] = True
        parts = [net.gathered(i, np.flatnonzero(mine)) for i, mine in self._split(net, mask) if mine.any()]
        made = parts[0] if len(parts) == 1 else net.append("aten.cat.default", (parts, 1))
        return net.select(made, np.searchsorted(np.sort(wanted), wanted), len(wanted))

    def _split(self, net: Channels, mask: Bools) -> Iterator[tuple[int, Bools]]:
        ends = np.cumsum([len(net.held[i].source) for i in self.inputs])[:-1]
        return zip(self.inputs, np.split(mask, ends), strict=True)


@dataclass
class Scaled(Alone):
    """Every channel times a number, plus one."""

    scale: Floats = field(default_factory=lambda: np.ones(1))
    shift: Floats = field(default_factory=lambda: np.zeros(1))

    def held(self, net: Channels) -> Held:
        """Constants stay constant."""
        known = net.held[self.inputs[0]]
        made = known.rest * _along(self.scale, known.rest) + _along(self.shift, known.rest)
        return Held.nothing(self.shape).with_constants(known.constant | (self.scale == 0), made)

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """Two operations at most."""
        made = net.gathered(self.inputs[0], wanted)
        return net.scaled(self, made, self.scale[wanted], self.shift[wanted], len(self.shape))


@dataclass
class Summed(Alone):
    """Two values added, or one taken from the other, entry by entry."""

    signs: tuple[float, ...] = (1.0, 1.0)

    def held(self, net: Channels) -> Held:
        """Constant where both are; a multiple where both are the same multiple of the same channel."""
        a, b = (net.held[i] for i in self.inputs)
        alike = (a.source == b.source) & (a.scale == b.scale) & ~a.constant
        known = Held.nothing(self.shape)
        known = Held(np.where(alike, a.source, known.source), np.where(alike, a.scale, 1.0), known.rest)
        return known.with_constants(a.constant & b.constant, self.signs[0] * a.rest + self.signs[1] * b.rest)

    def rows(self, net: Channels) -> Floats | None:
        """Those of both."""
        both = [net.rows(i) for i in self.inputs]
        return None if any(b is None for b in both) else np.concatenate(both, 1)  # type: ignore[arg-type]

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """The sum of these channels; without one that is zero in all of them."""
        zero = [net.held[i].constant[wanted].all() and not net.held[i].rest[wanted].any() for i in self.inputs]
        if any(zero) and self.signs[zero.index(False)] == 1.0:
            return net.gathered(self.inputs[zero.index(False)], wanted)
        return super().write(net, wanted)


@dataclass
class Product:
    """What a value is multiplied by: a matrix, or the kernels of a convolution.

    Attributes:
        source: the value.
        weight: ``(out, channels, ...)``.
        like: the convolution whose strides and padding it has; none for a matrix.
    """

    source: int
    weight: Floats
    like: Node | None

    def __call__(self, value: Floats) -> Floats:
        """The product with a value at one point."""
        x, weight = torch.from_numpy(value[None]), torch.from_numpy(self.weight)
        made = functional.linear(x, weight) if self.like is None else self.like.target(*self.arguments(x, weight, None))
        return made[0].numpy()

    def arguments(self, x: Any, weight: Any, bias: Any) -> tuple[Any, ...]:
        """The arguments of the operation."""
        return (x, weight, bias, *(() if self.like is None else self.like.args[3:]))

    def alike(self, other: Product) -> bool:
        """Whether the sum of both is a product again: of one value, with equal strides and padding."""
        mine, others = (p.like and (p.like.target.name, p.like.args[3:]) for p in (self, other))
        return (self.source, mine, self.weight.shape) == (other.source, others, other.weight.shape)

    @property
    def pointwise(self) -> bool:
        """Whether every entry of the product depends on the entries at its place alone."""
        if self.like is None:
            return True
        given = by_name(self.like.schema, self.like.args, self.like.kwargs)
        stride, padding = (set(pytree.tree_leaves(given[name])) for name in ("stride", "padding"))
        return set(self.weight.shape[2:]) == {1} and stride == {1} and padding == {0}

    def after(self, first: Product) -> Product | None:
        """This product of another one, where it is one again."""
        if (self.like is None) != (first.like is None):
            return None
        if first.pointwise:
            inner = first.weight.reshape(first.weight.shape[:2])
            return Product(first.source, np.einsum("mk...,kn->mn...", self.weight, inner), self.like)
        if self.pointwise:
            outer = self.weight.reshape(self.weight.shape[:2])
            return Product(first.source, np.einsum("mk,kn...->mn...", outer, first.weight), first.like)
        return None


@dataclass
class Mixed(ChannelPart):
    """The sum of products of values, and a constant; it reads more than one value where others were merged into it.

    Attributes:
        products: of its values.
        bias: the constant, in the shape of the value.
    """

    products: list[Product] = field(default_factory=list)
    bias: Floats = field(default_factory=lambda: np.zeros(1))

    def held(self, net: Channels) -> Held:
        """Constant where all weights of known channels are zero."""
        for product in self.products:
            known = net.held[product.source]
            if known.rest.any():
                self.bias = self.bias + product(known.rest)
            product.weight = known.folded(product.weight)
        for product in tuple(self.products):
            self._merge(net, product)
        self.products = [product for product in self.products if product.weight.any()]
        if self.index == net.program.output:
            return Held.nothing(self.shape)
        moves = [_flat(product.weight).any(1) for product in self.products]
        constant = ~np.any(moves, 0) if moves else np.ones(self.shape[0], np.bool_)
        return Held.nothing(self.shape).with_constants(constant, self.bias)

    def _merge(self, net: Channels, product: Product) -> None:
        """Compute affine channels from what the part before them reads, where that is less to store."""
        via = net.parts.get(product.source)
        bent = isinstance(via, Kinked)
        inner = net.parts.get(via.inputs[0]) if bent else via
        if via is None or type(inner) is not Mixed or not (net.read_once(via) and net.read_once(inner)):
            return
        moved = _columns(product.weight) & (via.on if bent else True)
        slope, offset = (via.slope, via.offset) if bent else (np.ones(len(moved)), np.zeros(len(moved)))
        mine = replace(product, weight=product.weight * _along(np.where(moved, slope, 0.0), product.weight, 1))
        made = [mine.after(other) for other in inner.products]
        if not moved.any() or not all(made):
            return
        kernel = math.prod(product.weight.shape[2:])
        rows = 1 + sum(int(_flat(p.weight).any(0).sum()) for p in inner.products)
        added = sum(len(p.weight) * int(_flat(p.weight).any(0).sum()) for p in made if p)
        if added >= moved.sum() * (rows + len(product.weight) * kernel):
            return
        constant = inner.bias * _along(slope, inner.bias) + _along(offset, inner.bias)
        self.bias = self.bias + product(np.where(_along(moved, constant), constant, 0.0))
        product.weight = product.weight * _along(~moved, product.weight, 1)
        for extra in made:
            assert extra is not None
            same = next((p for p in self.products if p.alike(extra)), None)
            if same:
                same.weight = same.weight + extra.weight
            else:
                self.products.append(extra)
                net.readers[extra.source].append(self.index)

    def read(self, net: Channels, wanted: Bools) -> None:
        """The channels that have a weight."""
        for product in self.products:
            net.want(product.source, _columns(product.weight[wanted]))

    def rows(self, net: Channels) -> Floats | None:
        """Its weights and its constant."""
        return np.concatenate([*(_flat(p.weight) for p in self.products), _flat(self.bias)], 1)

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """One operation a product, their sum, and a constant that differs from place to place."""
        bias = self.bias[wanted]
        level, made = _level(bias), None
        vector = _flat(bias)[:, 0] if level else np.zeros(len(bias))
        name = self.node.path or self.node.op.split(".")[1]
        for product in self.products:
            if not product.weight[wanted].any():
                continue
            given, there = net.made[product.source], net.there[product.source]
            weight = product.weight[wanted][:, there]
            told = None if made is not None or not vector.any() else net.weight(f"{name}.bias", vector)
            op = Operation("aten.linear.default") if product.like is None else product.like.target
            path = net.weight(f"{name}.weight", weight)
            one = net.append(op.name, product.arguments(given, path, told))
            made = one if made is None else net.append("aten.add.Tensor", (made, one))
        if made is None:
            return net.constant(bias)
        if level:
            return made
        return net.append("aten.add.Tensor", (made, net.weight(f"{name}.constant", bias[None], trained=False)))


@dataclass
class Grouped(Mixed):
    """A convolution whose groups of channels do not meet: a group stays whole, or goes.

    Attributes:
        groups: how many; its one product has a weight ``(out, channels of a group, ...)``.
    """

    groups: int = 1

    rows = ChannelPart.rows

    def held(self, net: Channels) -> Held:
        """Constant where all weights of channels that vary are zero."""
        (product,) = self.products
        known, each = net.held[product.source], product.weight.shape[1]
        reads = product.weight.reshape(self.groups, -1, each, math.prod(product.weight.shape[2:])).any(-1)
        moves = (reads & ~known.constant.reshape(self.groups, 1, each)).any(-1).reshape(-1)
        return Held.nothing(self.shape).with_constants(~moves, self.bias + product(known.rest))

    def read(self, net: Channels, wanted: Bools) -> None:
        """All of the groups of which something is wanted."""
        (product,) = self.products
        net.want(product.source, np.repeat(wanted.reshape(self.groups, -1).any(1), product.weight.shape[1]))

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """The convolution of those groups, and of what it makes the wanted channels."""
        (product,) = self.products
        each = self.shape[0] // self.groups
        groups = np.unique(wanted // each)
        ins, outs = ((groups[:, None] * n + np.arange(n)).reshape(-1) for n in (product.weight.shape[1], each))
        name, vector = self.node.path or self.node.op.split(".")[1], _flat(self.bias[outs])[:, 0]
        bias = net.weight(f"{name}.bias", vector) if vector.any() else None
        weight, given = net.weight(f"{name}.weight", product.weight[outs]), net.gathered(product.source, ins)
        made = net.append(self.node.op, (*product.arguments(given, weight, bias)[:6], len(groups)))
        return net.select(made, np.searchsorted(outs, wanted), len(outs))


@dataclass
class Kinked(Alone):
    """An elementwise nonlinearity, each of whose units stays on one piece or may not.

    Attributes:
        rule: its pieces.
        state: of every unit, proved or free, and ``middle``: a pre-activation on its piece.
        on: channels all of whose units are always on one line, with its ``slope`` and ``offset``.
    """

    rule: Elementwise
    state: Ints
    middle: Floats
    on: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    slope: Floats = field(default_factory=lambda: np.zeros(0))
    offset: Floats = field(default_factory=lambda: np.zeros(0))

    def held(self, net: Channels) -> Held:
        """Constant where it is flat, or what it reads constant; multiples where what it reads are."""
        read, count = net.held[self.inputs[0]], self.shape[0]
        values = self.rule(self.middle[None])[0].reshape(self.shape)
        flat = np.asarray(np.isin(self.state, [STATES.index(s) for s in (DEAD, SATURATED)]).reshape(count, -1).all(1))
        known = Held.nothing(self.shape).with_constants(flat, values)
        still = self.rule(read.rest.reshape(1, -1))[0].reshape(self.shape)
        known = known.with_constants(read.constant & ~flat, still)
        if len(self.rule.slopes) == 1:
            homogeneous = not self.rule.knots.any() and not self.rule.offsets.any()
            rows = net.rows(self.inputs[0])
            for i, j, factor in multiples(rows, np.flatnonzero(~known.constant), homogeneous):
                known.source[j], known.scale[j] = i, factor
        slopes, offsets = (v[0].reshape(count, -1) for v in self.rule.piece_at(self.middle[None]))
        self.slope, self.offset = slopes[:, 0], offsets[:, 0]
        line = (slopes == slopes[:, :1]).all(1) & (offsets == offsets[:, :1]).all(1)
        always = (self.state == STATES.index(ON)).reshape(count, -1).all(1)
        self.on = line & always & (known.source == np.arange(count))
        return known

    def write(self, net: Channels, wanted: Ints) -> Ref:
        """The nonlinearity of the channels that need it, which come first, and the others as they are."""
        made, bent = net.gathered(self.inputs[0], wanted), int((~self.on[wanted]).sum())
        parts = [made, made]
        if 0 < bent < len(wanted):
            parts = [net.append("aten.slice.Tensor", (made, 1, a, b)) for a, b in ((0, bent), (bent, len(wanted)))]
        rest = wanted[bent:]
        parts[1] = net.scaled(self, parts[1], self.slope[rest], self.offset[rest], len(self.shape))
        if bent:
            parts[0] = net.applied(self, {self.inputs[0]: parts[0]}, self._sliced(wanted[:bent]))
        return parts[int(bent == 0)] if bent in (0, len(wanted)) else net.append("aten.cat.default", (parts, 1))

    def _sliced(self, channels: Ints) -> Any:
        """What gives the entries of a constant that are these channels'."""

        def entries(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or leaf.numel() == 1 or len(channels) == self.shape[0]:
                return leaf
            if op_name(self.node.schema) in ("prelu", "_prelu_kernel"):
                return leaf.reshape(-1)[channels]
            return leaf.broadcast_to(1, *self.shape)[:, channels]

        return entries


def twins(explicit: ExplicitProgram) -> dict[int, tuple[Ints, Floats]]:
    """Units whose pre-activation is, by the weights, a multiple of an earlier one's of their layer.

    Returns:
        For every elementwise layer, by its number, the earlier unit (-1: there is none) and the factor, by unit.
    """
    layers, free = explicit.program.layers, STATES.index(FREE)
    bent = {n: layer for n, layer in enumerate(layers) if isinstance(layer.rule, Elementwise) and layer.shape}
    channels = Channels(explicit, {n: (np.full(la.units, free), np.zeros(la.units)) for n, la in bent.items()})
    found = {}
    for number, layer in bent.items():
        earlier, factors = np.full(layer.shape[0], -1), np.full(layer.shape[0], np.nan)
        rows = channels.rows(layer.node.inputs[0])
        for i, j, factor in multiples(rows, np.arange(layer.shape[0]), scaled=True, opposite=True):
            earlier[j], factors[j] = i, factor
        each = layer.units // layer.shape[0]
        there = np.where(earlier[:, None] < 0, -1, earlier[:, None] * each + np.arange(each))
        found[number] = there.reshape(-1), np.repeat(factors, each)
    return found


def multiples(
    rows: Floats | None, among: Ints, scaled: bool, opposite: bool = False
) -> Iterator[tuple[int, int, float]]:
    """Rows that are, exactly, an earlier one, or a multiple (positive unless ``opposite``): (earlier, row, factor)."""
    if rows is None:
        return
    whole = rows[among]
    sizes = np.abs(whole).max(1, initial=0.0) if scaled else np.ones(len(whole))
    if opposite:
        sizes = np.take_along_axis(whole, np.abs(whole).argmax(1)[:, None], 1)[:, 0]
    groups: dict[bytes, list[int]] = {}
    for k, (row, size) in enumerate(zip(whole, sizes, strict=True)):
        if size != 0:
            groups.setdefault((np.round(row / size, 12) + 0.0).tobytes(), []).append(k)
    for first, *others in groups.values():
        for k in others:
            at = int(np.abs(whole[first]).argmax())
            factor = Fraction(whole[k][at]) / Fraction(whole[first][at]) if whole[first][at] else Fraction(1)
            exactly = all(factor * Fraction(a) == Fraction(b) for a, b in zip(whole[first], whole[k], strict=True))
            told = abs(factor) < 2**1023 and Fraction(float(factor)) == factor
            if exactly and told and (factor > 0 or opposite) and (scaled or factor == 1):
                yield int(among[first]), int(among[k]), float(factor)


class Channels:
    """The channels of all values of a program, and the smaller program that is written from what is known of them.

    Args:
        explicit: the program.
        states: for every elementwise layer, by its number, the proved states of its units, and pre-activations in the
            middle of their ranges.

    Attributes:
        held: what is known of the channels of each value.
        nodes: the operations of the smaller network, with a `Slot` where a weight goes.
        weights: those, and ``constants`` that are no parameters.
        output: the value that it returns.
    """

    def __init__(self, explicit: ExplicitProgram, states: dict[int, tuple[Ints, Floats]]) -> None:
        self.program = explicit.program
        self.readers: dict[int, list[int]] = {i: [] for i in (0, *(node.index for node in self.program.nodes))}
        for node in self.program.nodes:
            for i in node.inputs:
                self.readers[i].append(node.index)
        self.readers[self.program.output].append(-1)
        self.parts: dict[int, ChannelPart] = {}
        self.shapes = {0: self.program.input_shape}
        for number, (stage, steps) in enumerate(zip(self.program.stages, explicit.steps, strict=True)):
            for step in steps:
                self.shapes[step.node.index] = step.shape
                self._add(self._affine(step))
            if stage.layer is not None:
                self.shapes[stage.layer.node.index] = stage.layer.shape
                self._add(_bent(stage.layer, states.get(number)))
        self.held = {0: Held.nothing(self.program.input_shape)}
        for index, part in self.parts.items():
            self.held[index] = part.held(self)

    def write(self) -> None:
        """The smaller program."""
        self.wanted = {i: np.zeros(len(known.source), np.bool_) for i, known in self.held.items()}
        self.want(self.program.output, np.ones_like(self.wanted[self.program.output]))
        for index, part in reversed(self.parts.items()):
            if self.wanted[index].any():
                part.read(self, self.wanted[index])
        self.nodes: list[Node] = []
        self.weights: dict[str, Tensor] = {}
        self.constants: dict[str, Tensor] = {}
        self.made, self.there = {0: Ref(0)}, {0: np.arange(len(self.wanted[0]))}
        for index, part in self.parts.items():
            if self.wanted[index].any():
                self.there[index] = self._order(part)
                self.made[index] = part.write(self, self.there[index])
        output = self.program.output
        self.output = self.gathered(output, np.arange(len(self.held[output].source))).index

    def _add(self, part: ChannelPart) -> None:
        self.parts[part.index] = part

    def read_once(self, part: ChannelPart) -> bool:
        """Whether one other part alone reads a value."""
        return len(self.readers[part.index]) == 1

    def want(self, index: int, mask: Bools) -> None:
        """Some channels of a value are read."""
        self.wanted[index] |= self.held[index].own(mask)

    def _affine(self, step: Step) -> ChannelPart:
        node, op, shape = step.node, op_name(step.node.schema), step.shape
        common = (node, node.inputs, shape)
        given = by_name(node.schema, node.args, node.kwargs)
        shapes = [term.shape for term in step.terms]
        constant = np.broadcast_to(step.nearest[0], math.prod(shape)).reshape(shape)
        if not shape or not step.terms or () in shapes:
            return ChannelPart(*common)
        if len(shapes) > 1:
            same = len(shapes) == 2 and shapes == [shape, shape] and not constant.any()
            if op in ("add", "sub") and same:
                signs = tuple(float(t.linear(torch.ones(1, *shape, dtype=torch.float64)).max()) for t in step.terms)
                return Summed(*common, signs)
            joins = op in ("cat", "concat", "concatenate") and given["dim"] == 1
            alone = joins and all(isinstance(leaf, Ref) for leaf in given["tensors"])
            return Joined(*common) if alone and len(given["tensors"]) == len(shapes) else ChannelPart(*common)
        (term,), (before,) = step.terms, shapes
        if op in SCALES and before == shape:
            ones = term.linear(torch.ones(1, *shape, dtype=torch.float64))[0].numpy()
            if term.scales is not None:
                ones = term.scales.astype(np.float64).reshape(shape)
            if _level(ones) and _level(constant):
                numbers = (_flat(v)[:, 0].copy() for v in (ones, constant))
                return self._onto_earlier(Scaled(*common, *numbers))
        weight = given.get("weight")
        if op == "linear" and len(before) == 1 and isinstance(weight, Tensor):
            return Mixed(*common, [Product(term.source, weight.numpy().copy(), None)], constant.copy())
        if op in CONVOLUTIONS and isinstance(weight, Tensor) and not node.kwargs:
            products = [Product(term.source, weight.numpy().copy(), node)]
            if given["groups"] == 1:
                return Mixed(*common, products, constant.copy())
            return Grouped(*common, products, constant.copy(), given["groups"])
        if _plain(op, before):
            return Alone(*common)
        if op in ROWS and math.prod(shape) == math.prod(before) and shape[0] % before[0] == 0:
            return Reshaped(*common, shape[0] // before[0])
        if op == "mean" and {d % (len(before) + 1) for d in given.get("dim") or (0,)} <= set(range(2, len(before) + 1)):
            return Alone(*common)
        if op in MATRICES and len(before) == len(shape) == 1:
            return Mixed(*common, [Product(term.source, term.coefficients.near.toarray(), None)], constant.copy())
        return ChannelPart(*common)

    def _onto_earlier(self, scaled: Scaled) -> ChannelPart:
        """A scale and shift, as batch norm is, becomes one with the product before it that nobody else reads."""
        inner = self.parts.get(scaled.inputs[0])
        if not isinstance(inner, Mixed) or not self.read_once(inner):
            return scaled
        bias = inner.bias * _along(scaled.scale, inner.bias) + _along(scaled.shift, inner.bias)
        del self.parts[inner.index]
        node = replace(scaled.node, path=inner.node.path, op=inner.node.op)
        for product in inner.products:
            product.weight = product.weight * _along(scaled.scale, product.weight)
            readers = self.readers[product.source]
            self.readers[product.source] = [scaled.index if r == inner.index else r for r in readers]
        return replace(inner, node=node, bias=bias)

    def rows(self, index: int) -> Floats | None:
        """Numbers that fix each channel of a value, where some are known."""
        part = self.parts.get(index)
        return None if part is None else part.rows(self)

    def reasons(self, layer: Layer) -> list[tuple[int, str]]:
        """The units of a layer that are gone, and why."""
        index = layer.node.index
        part, known, wanted = self.parts[index], self.held[index], self.wanted[index]
        if type(part) is ChannelPart and wanted.any():
            return []
        each, found = layer.units // len(wanted), []
        for unit in range(layer.units):
            channel, place = divmod(unit, each)
            source, why = known.source[channel], ""
            if source < 0:
                named = isinstance(part, Kinked) and part.state[unit] in (STATES.index(DEAD), STATES.index(SATURATED))
                why = STATES[part.state[unit]] if named else "constant"  # type: ignore[union-attr]
            elif source != channel:
                first, factor = source * each + place, known.scale[channel]
                why = f"the same as unit {first}" if factor == 1 else f"{factor:g} times unit {first}"
            elif isinstance(part, Kinked) and part.on[channel]:
                why = ON
            elif not wanted[channel]:
                why = "not read"
            found += [(unit, why)] if why else []
        return found

    # what parts write with

    def append(self, op: ChannelPart | str, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Ref:
        """One more operation: a part's own, or one by its name."""
        args, named = pytree.tree_map(self._kept, (args, kwargs or {}))
        leaves = pytree.tree_leaves((args, named))
        inputs = tuple(dict.fromkeys(leaf.index for leaf in leaves if isinstance(leaf, Ref)))
        target = op.node.target if isinstance(op, ChannelPart) else Operation(op)
        name, path = (op.node.op, op.node.path) if isinstance(op, ChannelPart) else (op, "")
        self.nodes.append(Node(len(self.nodes) + 1, name, target, args, named, inputs, path, "", ""))
        return Ref(len(self.nodes))

    def applied(self, part: ChannelPart, given: dict[int, Ref], change: Callable[[Any], Any] | None = None) -> Ref:
        """A part's own operation on other values; ``change``: what becomes of its other arguments."""

        def new(leaf: Any) -> Any:
            return given[leaf.index] if isinstance(leaf, Ref) else change(leaf) if change else leaf

        return self.append(part, *pytree.tree_map(new, (part.node.args, part.node.kwargs)))

    def _kept(self, leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return self.weight("constant", leaf.cpu().numpy(), trained=False)
        return self.program.dtype if leaf is torch.float64 else leaf

    def weight(self, name: str, value: Floats, trained: bool = True) -> Slot:
        """A parameter, or a constant."""
        plain, where = name.replace(".", "_"), self.weights if trained else self.constants
        while plain in self.weights or plain in self.constants:
            plain += "_"
        tensor = torch.from_numpy(np.ascontiguousarray(value))
        where[plain] = tensor.to(self.program.device, self.program.dtype if tensor.is_floating_point() else None)
        return Slot(plain)

    def _order(self, part: ChannelPart) -> Ints:
        """The channels of a value that are computed: those that a nonlinearity bends come first."""
        readers = self.readers[part.index]
        bent = part if isinstance(part, Kinked) else self.parts.get(readers[0]) if len(readers) == 1 else None
        wanted = np.flatnonzero(self.wanted[part.index])
        return wanted[np.argsort(bent.on[wanted], kind="stable")] if isinstance(bent, Kinked) else wanted

    def gathered(self, index: int, channels: Ints) -> Ref:
        """Channels of a value of the first network, from those that are there."""
        known = self.held[index]
        if known.constant[channels].all():
            return self.constant(known.rest[channels])
        made, there, source = self.made[index], self.there[index], known.source[channels]
        places = np.full(len(known.source) + 1, len(there))  # the last is where -1 leads
        places[there] = np.arange(len(there))
        if (source < 0).any():
            spare = [0, 0] * (known.rest.ndim - 1) + [0, 1]
            made = self.append("aten.constant_pad_nd.default", (made, spare, 0.0))
        made = self.select(made, places[source], len(there) + int((source < 0).any()))
        scale, rest = np.where(source < 0, 1.0, known.scale[channels]), known.rest[channels]
        if (scale != 1.0).any():
            made = self.append("aten.mul.Tensor", (made, torch.from_numpy(_along(scale, rest)[None])))
        return self.append("aten.add.Tensor", (made, _short(rest))) if rest.any() else made

    def select(self, value: Ref, places: Ints, count: int) -> Ref:
        """Some channels of a value of so many."""
        if np.array_equal(places, np.arange(count)):
            return value
        return self.append("aten.index_select.default", (value, 1, torch.from_numpy(places.astype(np.int64))))

    def scaled(self, part: ChannelPart, value: Ref, scale: Floats, shift: Floats, axes: int) -> Ref:
        """A value's channels times numbers, plus numbers."""
        shape = (1, -1, *(1,) * (axes - 1))
        for op, numbers, none in (("aten.mul.Tensor", scale, 1.0), ("aten.add.Tensor", shift, 0.0)):
            if (numbers != none).any():
                name = f"{part.node.path or 'layer'}.{op.split('.')[1]}"
                one = (numbers == numbers[0]).all()
                told = float(numbers[0]) if one else self.weight(name, numbers.reshape(shape))
                value = self.append(op, (value, told))
        return value

    def constant(self, value: Floats) -> Ref:
        """A value that is the same for every input; it takes its number of points from the input."""
        made = self.append("aten.slice.Tensor", (self.append("aten.flatten.using_ints", (Ref(0), 1)), 1, 0, 1))
        made = self.append("aten.mul.Tensor", (made, 0.0))
        if value.ndim > 1:
            made = self.append("aten.reshape.default", (made, [Size(Multiple(1)), *(1,) * value.ndim]))
        made = self.append("aten.add.Tensor", (made, _short(value)))
        return self.append("aten.expand.default", (made, [-1, *value.shape])) if _level(value) else made


def _level(value: Floats) -> bool:
    """Whether each channel is one number."""
    return bool((_flat(value) == _flat(value)[:, :1]).all())


def _short(value: Floats) -> Tensor:
    """A constant for all points, with one number a channel where that will do."""
    told = value[(slice(None), *(slice(0, 1),) * (value.ndim - 1))] if _level(value) else value
    return torch.from_numpy(told[None])


def _bent(layer: Layer, states: tuple[Ints, Floats] | None) -> ChannelPart:
    common = (layer.node, layer.node.inputs, layer.shape)
    if states is not None and isinstance(layer.rule, Elementwise) and layer.shape:
        return Kinked(*common, layer.rule, *states)
    return Alone(*common) if _plain(op_name(layer.node.schema), layer.shape) else ChannelPart(*common)


def _plain(op: str, shape: tuple[int, ...]) -> bool:
    """Whether an operation on values of this shape treats every channel by itself."""
    axes = re.search(r"(\d)d", op)
    return op in PLAIN and (axes is None or len(shape) == int(axes[1]) + 1)
