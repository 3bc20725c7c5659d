"""Exact tracing of straight paths that lead through networks of their own, of one fully connected architecture.

The passes over rows are those of one network: they know paths, and here every path has its own weights. Only the
products differ. Rows of one path are neighbours in a block, so that each network multiplies its own run of them, on a
multiple of eight rows as always: results are those of the networks one by one, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import numpy as np
import torch

from netfold.arrays import Floats, Ints
from netfold.capture.program import Program, Values
from netfold.exact.line.tracer import BLOCK_BYTES, FORK, LineTracer, Points
from netfold.exact.numerics.products import ROUND, reproducible
from netfold.exact.paths.blocks import PathBlock, advance, tensor
from netfold.exact.paths.records import Crossings, PathVertices
from netfold.exact.paths.scale import Advance, path_scales
from netfold.exact.paths.spread import Dense, spread_dense, spread_maps


def stackable(program: Program) -> bool:
    """Whether networks like this can be traced together: all stages after the first one are dense products."""
    return bool(program.layers) and all(isinstance(spread, Dense) for spread in spread_maps(program))


class EnsembleTracer(LineTracer):
    """Traces straight paths, each through its own program.

    Args:
        programs: one a path, in order; `stackable`, and equal but for their weights.
        block_bytes: as for `LineTracer`, and ``fork``.
    """

    def __init__(self, programs: Sequence[Program], block_bytes: int = BLOCK_BYTES, fork: int = FORK) -> None:
        self.domain: EnsemblePoints
        super().__init__(programs[0], len(programs), block_bytes, fork)
        self.programs = programs
        maps = [cast(list[Dense], spread_maps(program)) for program in programs]
        spreads = [Stack.of([own[level] for own in maps]) for level in range(len(self.domain.layers))]
        own = [reproducible(program) for program in programs]
        self.domain = EnsemblePoints(**vars(replace(self.domain, spreads=spreads)), programs=own)

    def _scales(self, path: Ints, points: torch.Tensor) -> tuple[Floats, Ints]:
        program, domain = self.domain.program, self.domain
        if any(len(stage.inputs) > 1 for stage in program.stages):
            parts = [path_scales(domain.programs[path[a]], path[a:b] * 0, points[a:b], 1) for a, b in runs(path)]
            met = [a + part[1] for (a, _), part in zip(runs(path), parts, strict=True)]
            return np.concatenate([scales for scales, _ in parts], axis=1), np.concatenate(met)

        def along(path: Ints) -> Advance:
            twice = np.repeat(path, 2)

            def advance(level: int, values: Values) -> tuple[Floats, Values]:
                if level == 0:
                    h = domain.advanced(0, PathVertices.plain(np.zeros(len(twice)), twice, 0), values).h
                else:
                    [image] = values.values()
                    spread = cast(Stack, domain.spreads[level - 1])
                    wide = spread.weight.shape[2] - image[0].numel()
                    h = spread.products(np.pad(image.flatten(1).numpy(), ((0, 0), (0, wide))), twice)
                layer = program.stages[level].layer
                return h, {layer.node.inputs[0]: tensor(h, layer.shape, program.device)} if layer else {}

            return advance

        return path_scales(program, path, points, domain.paths, along)


@dataclass(frozen=True)
class EnsemblePoints(Points):
    """The vertices of straight paths, each in a network of its own, all of one architecture.

    Attributes:
        programs: one a path, with products that round alike in every batch.
    """

    programs: Sequence[Program]

    def advanced(self, level: int, at: PathVertices, values: Values) -> PathBlock:
        """A block at the end of the first stage; later ones follow from `Stack`."""
        parts = []
        for begin, end in runs(at.path):
            program = self.programs[at.path[begin]]
            parts.append(advance(program, program.stages[level], {i: rows[begin:end] for i, rows in values.items()})[0])
        return PathBlock(np.concatenate(parts), {}, *at)


@dataclass(frozen=True)
class Stack:
    """A fully connected map for each path: `paths.spread.Dense`, stacked.

    Attributes:
        columns: what unit ``j`` of path ``p`` adds, in row ``p * units + j``.
        features: features of each map.
        bias: the constants, one row a path, and ``weight`` the weights, padded as in `paths.spread.Dense`.
    """

    columns: Floats
    features: int
    bias: torch.Tensor
    weight: torch.Tensor

    @staticmethod
    def of(maps: Sequence[Dense]) -> Stack:
        """Stack the maps of several paths."""
        bias, weight = (torch.stack(parts) for parts in zip(*(found.wide for found in maps), strict=True))
        return Stack(np.concatenate([found.columns for found in maps]), len(maps[0].bias), bias, weight)

    def products(self, vertices: Floats, path: Ints) -> Floats:
        """The map at vertices."""
        found = list(runs(path))
        sizes = np.array([-(-(end - begin) // ROUND) * ROUND for begin, end in found])
        edges = np.concatenate([[0], np.cumsum(sizes)])
        shift = np.repeat(edges[:-1] - [begin for begin, _ in found], [end - begin for begin, end in found])
        place = torch.from_numpy(np.arange(len(path)) + shift)
        rows = torch.zeros(int(edges[-1]), self.weight.shape[2], dtype=torch.float64)
        rows[place] = torch.from_numpy(vertices[: len(path)])
        product = torch.empty(len(rows), self.weight.shape[1], dtype=torch.float64)
        numbers = path[[begin for begin, _ in found]].tolist()
        for number, begin, end in zip(numbers, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            torch.addmm(self.bias[number], rows[begin:end], self.weight[number].T, out=product[begin:end])
        return product[place, : self.features].numpy()

    def values(self, y: Floats, segment: Ints, at: Floats, crossings: Crossings, path: Ints) -> Floats:
        """The map at refined rows, from its values at the vertices and the crossings between them."""
        units = len(self.columns) // len(self.bias)
        unit = crossings.unit + units * np.repeat(path[: len(crossings.start) - 1], np.diff(crossings.start))
        return spread_dense(self.features, y, segment, at, crossings, unit, self.columns)


def runs(path: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of rows that lie on one path."""
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    yield from pairwise(edges)
