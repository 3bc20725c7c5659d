"""The next layer's pre-activations at refined rows, without a product a row.

On a segment the image of a layer is straight but for the few units that cross a knot there. An affine map of it is
therefore the straight line between its values at the segment's ends, plus, for each of those units, its column
times how far the unit's image lies off its own chord. The products are needed at the ends alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch

from netfold.arrays import Floats, Ints
from netfold.capture.program import Layer, Node, Program, Stage
from netfold.exact.numerics.compiled import FAST, compiled
from netfold.exact.numerics.products import ROUND, padded, transposed
from netfold.exact.paths.records import Crossings


class Spread(Protocol):
    """An affine map of a layer's image that can be carried from vertices to refined rows."""

    @property
    def features(self) -> int:
        """Features of the map."""
        ...

    def products(self, vertices: Floats, path: Ints) -> Floats:
        """The map at vertices in a padded matrix: the first of its rows and columns hold the map.

        ``path`` says on which path each vertex lies; where ``vertices`` is padded, it has fewer entries than that rows.
        """
        ...

    def values(self, y: Floats, segment: Ints, at: Floats, crossings: Crossings, path: Ints) -> Floats:
        """The map at refined rows, from its values at the vertices and the crossings between them."""
        ...


@dataclass(frozen=True)
class Dense:
    """A fully connected map, ``weight`` times the image plus ``bias``."""

    weight: Floats
    bias: Floats

    @property
    def features(self) -> int:
        """Features of the map."""
        return len(self.bias)

    def products(self, vertices: Floats, path: Ints | None = None) -> Floats:
        """The map at vertices in a padded matrix: the first of its rows and columns hold the map."""
        bias, weight = self.wide
        return torch.addmm(bias, torch.from_numpy(vertices), weight.T).numpy()

    @cached_property
    def wide(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Bias and weight, padded so that products round alike in every block."""
        bias = np.concatenate([self.bias, np.zeros(-len(self.bias) % ROUND)])
        return torch.from_numpy(bias), torch.from_numpy(padded(self.weight))

    @cached_property
    def columns(self) -> Floats:
        """What each unit adds, one row a unit."""
        return transposed(self.weight)

    def values(self, y: Floats, segment: Ints, at: Floats, crossings: Crossings, path: Ints) -> Floats:
        """The map at refined rows, from its values at the vertices and the crossings between them."""
        return spread_dense(self.features, y, segment, at, crossings, crossings.unit, self.columns)


@dataclass(frozen=True)
class Convolution:
    """A two-dimensional convolution; ``weights`` is ``(groups, in a group, kernel, kernel, out a group)``."""

    node: Node
    shape_in: tuple[int, int, int]
    shape_out: tuple[int, int, int]
    weights: Floats
    geometry: Ints

    @property
    def features(self) -> int:
        """Features of the map."""
        return math.prod(self.shape_out)

    def products(self, vertices: Floats, path: Ints) -> Floats:
        """The map at vertices; each is convolved by itself, so there is nothing to pad."""
        entries = math.prod(self.shape_in)
        rows = torch.from_numpy(vertices[: len(path), :entries]).reshape(-1, *self.shape_in)
        made = self.node.target(rows, *self.node.args[1:], **self.node.kwargs)
        return np.ascontiguousarray(made.reshape(len(rows), -1).numpy())

    def values(self, y: Floats, segment: Ints, at: Floats, crossings: Crossings, path: Ints) -> Floats:
        """The map at refined rows, from its values at the vertices and the crossings between them."""
        return spread_convolution(y, segment, at, crossings, self.weights, self.shape_in, self.shape_out, self.geometry)


RESHAPES = {
    "view",
    "_unsafe_view",
    "reshape",
    "flatten",
    "clone",
    "contiguous",
    "alias",
    "squeeze",
    "unsqueeze",
}
"""Operations that keep the order of a point's entries."""


def spread_maps(program: Program) -> list[Spread | None]:
    """How the next stage follows from each layer's crossings, where it is one product with its image."""
    pairs = pairwise(program.stages)
    alone = [stage.layer if not stage.alive and program.device.type == "cpu" else None for stage in program.stages]
    return [_spread_map(layer, after) if layer else None for layer, (_, after) in zip(alone[:-1], pairs, strict=True)]


def _spread_map(layer: Layer, following: Stage) -> Spread | None:
    """The next stage as a map of one layer's image, where it is one product with it; None where it is not."""
    chain = [node for node in following.nodes if node.op.split(".")[1] not in RESHAPES]
    linked = all(b.inputs == (a.index,) for a, b in zip(following.nodes[:-1], following.nodes[1:], strict=True))
    if len(chain) != 1 or not linked or following.alive or following.nodes[0].inputs != (layer.node.index,):
        return None
    if following.inputs != (following.nodes[-1].index,):
        return None
    if chain[0].op == "aten.linear.default":
        return _dense(layer, chain[0])
    if chain[0].op == "aten.conv2d.default" and len(layer.shape) == 3 and following.nodes == (chain[0],):
        return _convolution(layer, chain[0])
    return None


def _dense(layer: Layer, node: Node) -> Spread | None:
    weight = node.args[1].double()
    if weight.shape[1] != layer.units:
        return None
    bias = node.args[2] if len(node.args) > 2 and node.args[2] is not None else torch.zeros(len(weight))
    return Dense(weight.contiguous().numpy(), bias.double().numpy().copy())


def _convolution(layer: Layer, node: Node) -> Spread | None:
    defaults: list[Any] = [None, None, None, [1, 1], [0, 0], [1, 1], 1]
    _, weight, _, stride, padding, dilation, groups = [*node.args, *defaults[len(node.args) :]]
    if isinstance(padding, str):
        return None
    pairs = [list(v) * 2 if len(v) == 1 else list(v) for v in (stride, padding, dilation)]
    channels, height, width = layer.shape
    kernel = weight.shape[2:]
    out = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip((height, width), kernel, *pairs, strict=True)
    ]
    grouped = weight.double().numpy().reshape(groups, -1, *weight.shape[1:]).transpose(0, 2, 3, 4, 1)
    return Convolution(
        node,
        (channels, height, width),
        (len(weight), *out),
        np.ascontiguousarray(grouped),
        np.array(pairs, np.int64),
    )


@compiled(FAST)
def spread_dense(features, y, segment, at, found, unit, columns):
    """Refined rows: the straight line between a segment's ends and a tent for every unit that crosses in it.

    A tent stands where the unit crosses; its height is how far the unit's image lies off its own chord there.
    ``unit`` says which of the columns a crossing's unit adds.
    """
    out = np.empty((len(at), features))
    start, peak, before, after = found.start, found.at, found.slope_from, found.slope_to
    for i in range(len(at)):
        s, lam = segment[i], at[i]
        here, row = y[s], out[i]
        if lam == 0.0:
            for j in range(len(row)):
                row[j] = here[j]
            continue
        ahead, c = y[s + 1], start[s]
        height, column = _height(lam, peak[c], before[c] - after[c]), columns[unit[c]]
        for j in range(len(row)):
            row[j] = here[j] + lam * (ahead[j] - here[j]) + height * column[j]
        for c in range(start[s] + 1, start[s + 1]):
            height = _height(lam, peak[c], before[c] - after[c])
            if height != 0.0:
                column = columns[unit[c]]
                for j in range(len(row)):
                    row[j] += height * column[j]
    return out


@compiled(FAST)
def _height(lam, peak, bend):
    """Height at ``lam`` of a tent over [0, 1] whose slope falls by ``bend`` at its peak."""
    return bend * (lam * (1.0 - peak) if lam < peak else (1.0 - lam) * peak)


@compiled(FAST)
def spread_convolution(y, segment, at, found, weights, shape_in, shape_out, geometry):
    """The same for a convolution, where a unit's column reaches the few outputs around it alone."""
    out = np.empty((len(at), shape_out[0] * shape_out[1] * shape_out[2]))
    start, unit, peak, before, after = found.start, found.unit, found.at, found.slope_from, found.slope_to
    inside, outside = shape_in[1] * shape_in[2], shape_out[1] * shape_out[2]
    in_group, out_group = weights.shape[1], weights.shape[4]
    for i in range(len(at)):
        s, lam = segment[i], at[i]
        here, row = y[s], out[i]
        if lam == 0.0:
            for j in range(len(row)):
                row[j] = here[j]
            continue
        ahead = y[s + 1]
        for j in range(len(row)):
            row[j] = here[j] + lam * (ahead[j] - here[j])
        for c in range(start[s], start[s + 1]):
            height = _height(lam, peak[c], before[c] - after[c])
            if height == 0.0:
                continue
            channel, place = unit[c] // inside, unit[c] % inside
            v, h = place // shape_in[2], place % shape_in[2]
            group = channel // in_group
            for ky in range(weights.shape[2]):
                dy = v + geometry[1, 0] - ky * geometry[2, 0]
                if dy < 0 or dy % geometry[0, 0] != 0 or dy // geometry[0, 0] >= shape_out[1]:
                    continue
                for kx in range(weights.shape[3]):
                    dx = h + geometry[1, 1] - kx * geometry[2, 1]
                    if dx < 0 or dx % geometry[0, 1] != 0 or dx // geometry[0, 1] >= shape_out[2]:
                        continue
                    target = (dy // geometry[0, 0]) * shape_out[2] + dx // geometry[0, 1]
                    filters = weights[group, channel % in_group, ky, kx]
                    for o in range(out_group):
                        row[(group * out_group + o) * outside + target] += height * filters[o]
    return out
