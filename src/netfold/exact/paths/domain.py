"""What lines and arcs do alike as domains: blocks of consecutive vertices, and what whole paths add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from netfold.arrays import Floats, Ints
from netfold.capture.program import Program, Values
from netfold.exact.paths.blocks import PathBlock, advance, chunks, tensor
from netfold.exact.paths.driver import Ahead
from netfold.exact.paths.records import PathVertices, Totals
from netfold.exact.paths.refinement import switch_first

BLOCK_BYTES = 4 * 2**20
"""Memory that one stage's rows may take in all threads; several such blocks are alive at once, one a layer."""


class Changes(NamedTuple):
    """Units that change state exactly at one vertex, from piece ``origin`` to piece ``target``."""

    unit: Ints
    origin: Ints
    target: Ints


class PathTally:
    """What consecutive blocks of paths add up.

    Attributes:
        level: the first layer that they come to.
        layers: one tally a layer from there on; its ``join`` returns what changes exactly where the two meet.
        output: what is met in the output.
    """

    def __init__(self, level: int, layers: Sequence[Any], output: Any) -> None:
        self.level, self.layers, self.output = level, layers, output

    @property
    def totals(self) -> list[Totals]:
        """What every layer does to the paths."""
        return [layer.totals for layer in self.layers]

    def join(self, following: PathTally) -> None:
        """Add what was met on the rows that follow."""
        head = following.output.head
        for index, theirs in enumerate(following.layers, following.level):
            changes = self.layers[index - self.level].join(theirs)
            if changes is not None and head is not None:
                switch_first(index, changes.unit, changes.origin, changes.target, head.flips, head.first)
        self.output.join(following.output)


@dataclass(frozen=True)
class PathDomain:
    """A program made ready for paths.

    Attributes:
        program: the program, with products that round alike in every batch.
        block_rows: rows of a block at most.
        fork: values at the rows ahead from which on threads share them.
        paths: how many paths there are.
        keys: words of the keys by which patterns are told apart: `KEYS`, or 0 where all paths are straight lines. The
            points of one pattern are a convex set, so that a line never comes back to it.
    """

    STEP: ClassVar[int] = 1
    """Rows of values from one vertex to the next."""

    program: Program
    block_rows: int
    fork: int
    paths: int
    keys: int

    @property
    def outputs(self) -> int:
        """Entries of the network's output."""
        return int(np.prod(self.program.output_shape, dtype=np.int64))

    def start(self, t: Floats, path: Ints, points: torch.Tensor) -> Ahead[PathBlock]:
        """Paths from their first vertices on: parameters, path numbers, points."""

        def make(p: slice) -> PathBlock:
            rows = points[self.STEP * p.start : self.STEP * (p.stop - 1) + 1]
            return self.advanced(0, PathVertices.plain(t[p], path[p], self.keys), self.program.start(rows))

        return self.ahead(0, len(t), make)

    def ahead(self, level: int, rows: int, make: Callable[[slice], PathBlock]) -> Ahead[PathBlock]:
        """Vertices that wait; ``make`` takes a run of them to a level. Neighbouring blocks share a vertex."""

        def blocks(begin: int, end: int) -> Iterator[PathBlock]:
            for a, b in chunks(end - begin + 1, self.block_rows):
                yield make(slice(begin + a, begin + b))

        layers = self.program.layers
        units = layers[level].units if level < len(layers) else self.outputs
        return Ahead(level, rows - 1, rows * max(units, 10), blocks)

    def advanced(self, level: int, at: PathVertices, values: Values) -> PathBlock:
        """A block at the end of a stage."""
        return PathBlock(*advance(self.program, self.program.stages[level], values), *at)

    def after(self, level: int, at: PathVertices, image: Floats, alive: Values) -> PathBlock:
        """A block at the end of the stage after a layer, from the layer's image and the other values at its rows."""
        layer = self.program.stages[level].layer
        assert layer is not None
        values = {**alive, layer.node.index: tensor(image, layer.shape, self.program.device)}
        return self.advanced(level + 1, at, values)
