"""How large a layer's values are, and how much rounding can move them: the scale of ties and margins.

A stage is run at a few points, and again with its inputs changed by a random share of up to 2^-20 each. Where terms
cancel, the second difference is much larger than the value's own share, and it is what rounding is a share of. A sum
that lies exactly where its state changes may lie there by rounding; a value that is copied does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Elementwise, Rule
from netfold.capture.program import Program, Values, flatten
from netfold.exact.paths.blocks import widest
from netfold.exact.paths.records import Flags

Advance = Callable[[int, Values], tuple[Floats, Values]]

GRID = 5
"""Points a side of the lattice over a rectangle."""

MOST = 16
"""Vertices of a path that are looked at, but for the last."""

ROWS = 2**20
"""Numbers of one layer that are looked at in one go, about."""

SHARE = 2.0**-20


def gaps(rule: Rule, h: Floats) -> Floats:
    """How far values are from where a unit's state, or its sign, changes: one a unit."""
    if isinstance(rule, Elementwise):
        return np.abs([h, *(h - knots for knots in rule.knots.T)]).min(0)
    sign = 1.0 if rule.largest else -1.0
    first = np.full((len(h), len(rule.candidates)), -np.inf)
    second = first.copy()
    for k in rule.candidates.T:
        entries = np.where(k < 0, -np.inf, sign * h[:, k])
        second = np.maximum(second, np.minimum(first, entries))
        first = np.maximum(first, entries)
    return first - second


def layer_scales(program: Program, points: torch.Tensor, advance: Advance | None = None) -> tuple[Floats, Flags]:
    """The scale of what every layer reads, and of the output, means over units: ``(layers + 1, points)``.

    Second, the points at which a sum lies exactly where its unit's state changes. Entries of a maximum are equal
    for reasons that are exact, as when they saturate, and are left out.

    Args:
        program: the network.
        points: where it is looked at, one a row. Behind each the same point is run with its changes.
        advance: takes values through the stage with some number, if not as the program does: what its end reads, and
            what lives on.
    """
    advance = advance or partial(_advance, program)
    scales, met = np.zeros((len(program.stages), len(points))), np.zeros(len(points), np.bool_)
    values: Values = program.start(points)
    for i, stage in enumerate(program.stages):
        pairs = {k: torch.stack([v, v * _changed(v.shape[1:], v.device)], 1).flatten(0, 1) for k, v in values.items()}
        read, after = advance(i, pairs)
        with np.errstate(invalid="ignore"):
            own, moved = read[::2], np.abs(read[1::2] - read[::2]) / SHARE
        scales[i] = np.maximum(np.abs(own).mean(1), moved.mean(1))
        if stage.layer is not None:
            if isinstance(rule := stage.layer.rule, Elementwise):
                met |= _standing(rule, own, moved, [v[::2] for v in pairs.values()])
            after = {k: value[::2] for k, value in after.items()}
            made = program.activate(stage.layer, after)
            values = {**{k: after[k] for k in stage.alive}, stage.layer.node.index: made}
    return scales, met


def _standing(rule: Elementwise, own: Floats, moved: Floats, inputs: list[torch.Tensor]) -> Flags:
    """The points at which a sum of a stage's inputs, no copy of one, lies where its unit's state changes."""
    stands = (gaps(rule, own) == 0.0) & (moved > 0.0)
    for p in np.flatnonzero((stands & (own != 0.0)).any(1)):
        stands[p] &= (own[p] == 0.0) | ~np.isin(own[p], np.concatenate([v[p].flatten().cpu().numpy() for v in inputs]))
    return stands.any(1)


def _advance(program: Program, index: int, values: Values) -> tuple[Floats, Values]:
    values = program.advance(stage := program.stages[index], values)
    return flatten([values[k] for k in stage.inputs]), values


def plane_scales(program: Program, corners: torch.Tensor) -> tuple[Floats, int]:
    """The largest over the lattice of a rectangle with some corners, counter-clockwise: ``(layers + 1,)``.

    Second, the points of it at which a unit may lie where its state changes by rounding.
    """
    steps = torch.linspace(0.0, 1.0, GRID, dtype=torch.float64, device=corners.device)
    a, b = (w.reshape(-1, *[1] * (corners.ndim - 1)) for w in torch.meshgrid(steps, steps, indexing="ij"))
    lattice = corners[0] + a * (corners[1] - corners[0]) + b * (corners[3] - corners[0])
    scales, met = layer_scales(program, lattice)
    return scales.max(1), int(met.sum())


def path_scales(
    program: Program, path: Ints, points: torch.Tensor, paths: int, advance: Callable[[Ints], Advance] | None = None
) -> tuple[Floats, Ints]:
    """The largest at vertices of each path, about `MOST` of them at most: ``(layers + 1, paths)``.

    Second, those vertices at which a unit may lie where its state changes by rounding.

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
    scales, met = zip(*(layer_scales(program, points[c], advance and advance(path[c])) for c in chunks), strict=True)
    found = np.zeros((len(program.stages), paths))
    found[:, number] = np.maximum.reduceat(np.concatenate(scales, axis=1), np.searchsorted(seen, first), axis=1)
    return found, seen[np.concatenate(met)]


@lru_cache(64)
def _changed(shape: torch.Size, device: torch.device) -> torch.Tensor:
    """What inputs are multiplied with."""
    generator = torch.Generator().manual_seed(0)
    return (1 + SHARE * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)).to(device)
