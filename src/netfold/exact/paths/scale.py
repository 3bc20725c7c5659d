"""How large a layer's values are, and how much rounding can move them: the scale of ties and margins.

A stage is run at a few points, and again with its inputs changed by a random share of up to 2^-20 each. Where terms
cancel, the second difference is much larger than the value's own share, and it is what rounding is a share of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch

from netfold.arrays import Floats, Ints
from netfold.capture.program import Program, Values, flatten
from netfold.exact.paths.blocks import widest

Advance = Callable[[int, Values], tuple[Floats, Values]]

GRID = 5
"""Points a side of the lattice over a rectangle."""

MOST = 16
"""Vertices of a path that are looked at, but for the last."""

ROWS = 2**20
"""Numbers of one layer that are looked at in one go, about."""

SHARE = 2.0**-20


def layer_scales(program: Program, points: torch.Tensor, advance: Advance | None = None) -> Floats:
    """The scale of what every layer reads, and of the output, means over units: ``(layers + 1, points)``.

    Args:
        program: the network.
        points: where it is looked at, one a row. Behind each the same point is run with its changes.
        advance: takes values through the stage with some number, if not as the program does: what its end reads, and
            what lives on.
    """
    advance = advance or partial(_advance, program)
    scales = np.zeros((len(program.stages), len(points)))
    values: Values = program.start(points)
    for i, stage in enumerate(program.stages):
        pairs = {k: torch.stack([v, v * _changed(v.shape[1:], v.device)], 1).flatten(0, 1) for k, v in values.items()}
        read, after = advance(i, pairs)
        sizes = np.abs(read[::2]), np.abs(read[1::2] - read[::2]) / SHARE
        scales[i] = np.maximum(*(size.mean(1) for size in sizes))
        if stage.layer is not None:
            after = {k: value[::2] for k, value in after.items()}
            made = program.activate(stage.layer, after)
            values = {**{k: after[k] for k in stage.alive}, stage.layer.node.index: made}
    return scales


def _advance(program: Program, index: int, values: Values) -> tuple[Floats, Values]:
    values = program.advance(stage := program.stages[index], values)
    return flatten([values[k] for k in stage.inputs]), values


def plane_scales(program: Program, corners: torch.Tensor) -> Floats:
    """The largest over the lattice of a rectangle with some corners, counter-clockwise: ``(layers + 1,)``."""
    steps = torch.linspace(0.0, 1.0, GRID, dtype=torch.float64, device=corners.device)
    a, b = (w.reshape(-1, *[1] * (corners.ndim - 1)) for w in torch.meshgrid(steps, steps, indexing="ij"))
    lattice = corners[0] + a * (corners[1] - corners[0]) + b * (corners[3] - corners[0])
    return layer_scales(program, lattice).max(1)


def path_scales(
    program: Program, path: Ints, points: torch.Tensor, paths: int, advance: Callable[[Ints], Advance] | None = None
) -> Floats:
    """The largest at vertices of each path, about `MOST` of them at most: ``(layers + 1, paths)``.

    Args:
        program: the network.
        path: the path of each vertex, in order; ``points`` the vertices.
        paths: how many paths there are.
        advance: as for `layer_scales`, from the paths of points.
    """
    number, first, count = np.unique(path, return_index=True, return_counts=True)
    rank, all_of_it = np.arange(len(path)) - np.repeat(first, count), np.repeat(count, count)
    seen = np.flatnonzero((rank % -(-all_of_it // MOST) == 0) | (rank == all_of_it - 1))
    rows = max(ROWS // widest(program), 8)
    chunks = [seen[begin : begin + rows] for begin in range(0, len(seen), rows)]
    parts = [layer_scales(program, points[chunk], advance and advance(path[chunk])) for chunk in chunks]
    found = np.zeros((len(program.stages), paths))
    found[:, number] = np.maximum.reduceat(np.concatenate(parts, axis=1), np.searchsorted(seen, first), axis=1)
    return found


@lru_cache(64)
def _changed(shape: torch.Size, device: torch.device) -> torch.Tensor:
    """What inputs are multiplied with."""
    generator = torch.Generator().manual_seed(0)
    return (1 + SHARE * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)).to(device)
