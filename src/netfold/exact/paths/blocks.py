"""Blocks of rows on their way through a program: cut into chunks, advanced through a stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from netfold.arrays import Floats, Ints, Keys
from netfold.capture.program import Program, Stage, Values, flatten


@dataclass
class Block:
    """Some consecutive rows of a domain, at the nonlinearity (or the output) that ends one stage.

    Attributes:
        h: what the nonlinearity reads there, flattened.
        alive: the other values that later stages read.
    """

    h: Floats
    alive: Values


@dataclass
class PathBlock(Block):
    """Some consecutive vertices of paths; between those of an arc stand control points, in ``h`` and ``alive``.

    Attributes:
        t: parameters of the vertices on their paths.
        path: the path each vertex belongs to.
        flips: keys of the states that switch at the vertex (128 bits).
        first: the first layer in which a unit switches there.
    """

    t: Floats
    path: Ints
    flips: Keys
    first: Ints

    def leading(self, count: int) -> PathBlock:
        """The first few rows, in memory of their own."""
        c = slice(count)
        return PathBlock(self.h[c].copy(), {}, self.t[c].copy(), self.path[c].copy(), self.flips[c].copy(),
                         self.first[c].copy())  # fmt: skip


L = TypeVar("L")


def bound(program: Program, bind: Callable[..., L]) -> list[L]:
    """The compiled passes of a program's nonlinearities: ``bind`` takes a layer's rule and its number of units."""
    layers = [stage.layer for stage in program.stages if stage.layer is not None]
    return [bind(layer.rule, layer.units) for layer in layers]


def widest(program: Program) -> int:
    """The widest row of the input, or that a nonlinearity makes."""
    return max(int(np.prod(program.input_shape, dtype=np.int64)), *(layer.units for layer in program.layers), 1)


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Equal ranges of at most one and a half times ``size`` rows in which neighbours share one row.

    No short range is left over: a product of few rows takes almost as long as one of many.
    """
    parts = -(-2 * (count - 1) // (3 * size - 2)) if count > 1 else 0
    for i in range(parts):
        yield (count - 1) * i // parts, (count - 1) * (i + 1) // parts + 1


def advance(program: Program, stage: Stage, values: Values) -> tuple[Floats, Values]:
    """Run a stage's products on a multiple of eight rows: what its end reads, and what lives on.

    Matrix products round alike for every such number of rows, so results do not depend on the block size.
    """
    count = len(next(iter(values.values())))
    padded = -(-count // 8) * 8
    if stage.nodes and padded != count:
        values = {i: torch.cat([v, v[-1:].expand(padded - count, *v.shape[1:])]) for i, v in values.items()}
    values = program.advance(stage, values)
    return flatten([values[i][:count] for i in stage.inputs]), {i: values[i][:count] for i in stage.alive}


def tensor(array: Floats, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Rows as points of a shape, on a device."""
    return torch.from_numpy(array).reshape(-1, *shape).to(device)
