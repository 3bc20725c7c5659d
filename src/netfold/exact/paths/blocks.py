"""Blocks of rows on their way through a program: cut into chunks, advanced through a stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture.program import Program, Stage, Values, flatten
from netfold.exact.paths.refinement import interpolate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]


@dataclass
class Block:
    """Some consecutive vertices of the paths, at the nonlinearity (or the output) that ends one stage.

    Attributes:
        t: parameters of the vertices on their paths.
        path: the path each vertex belongs to.
        flips: keys of the states that switch at the vertex (128 bits).
        first: the first layer in which a unit switches there.
        h: what the nonlinearity reads there, flattened.
        alive: the other values that later stages read.
    """

    t: Floats
    path: Ints
    flips: Keys
    first: Ints
    h: Floats
    alive: Values


def stage_width(stage: Stage) -> int:
    """The widest row that a stage's layer makes."""
    return stage.layer.units if stage.layer is not None else 1


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Equal ranges of at most one and a half times ``size`` rows in which neighbours share one row.

    No short range is left over: a product of few rows takes almost as long as one of many.
    """
    parts = -(-2 * (count - 1) // (3 * size - 2)) if count > 1 else 0
    for i in range(parts):
        yield (count - 1) * i // parts, (count - 1) * (i + 1) // parts + 1


def advance(program: Program, stage: Stage, values: Values) -> Values:
    """Run a stage's products on a multiple of eight rows.

    Matrix products round alike for every such number of rows, so results do not depend on the block size.
    """
    count = len(next(iter(values.values())))
    padded = -(-count // 8) * 8
    if not stage.nodes or padded == count:
        return program.advance(stage, values)
    filled = {i: torch.cat([v, v[-1:].expand(padded - count, *v.shape[1:])]) for i, v in values.items()}
    return {i: v[:count] for i, v in program.advance(stage, filled).items()}


def kept(alive: Values, segment: Ints, at: Floats) -> Values:
    """Values at refined rows that are affine on every segment."""
    return {
        i: tensor(interpolate(flatten([v]), segment, at), (len(at), *v.shape[1:]), v.device) for i, v in alive.items()
    }


def tensor(array: Floats, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Rows as points of a shape, on a device."""
    return torch.from_numpy(array).reshape(shape).to(device)
