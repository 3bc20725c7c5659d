"""How large a layer's values are, and how much rounding can move them: the scale of its ties and margins.

A stage is run at a few points, and again with its inputs changed by a random share of up to 2^-20 each. Where terms
cancel, the second difference is much larger than the value's own share, and it is what rounding is a share of.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture.program import Program, Values

GRID = 5
"""Points a side of the lattice over the rectangle."""

SHARE = 2.0**-20


def layer_scales(program: Program, corners: torch.Tensor) -> NDArray[np.float64]:
    """The scale of what every layer reads, and of the output: largest over the rectangle's lattice, mean over units.

    Args:
        program: the network.
        corners: the rectangle's corners, counter-clockwise.
    """
    scales = np.zeros(len(program.stages))
    generator = torch.Generator().manual_seed(0)
    values: Values = program.start(_lattice(corners))
    for i, stage in enumerate(program.stages):
        changed = {key: value * (1 + SHARE * _noise(value, generator)) for key, value in values.items()}
        after, moved = program.advance(stage, values), program.advance(stage, changed)
        sizes = [after[k].abs().flatten(1) for k in stage.inputs]
        moves = [(moved[k] - after[k]).abs().flatten(1) / SHARE for k in stage.inputs]
        scales[i] = float(max(torch.cat(part, 1).mean(1).max() for part in (sizes, moves)))
        if stage.layer is not None:
            kept = {k: after[k] for k in stage.alive}
            values = {**kept, stage.layer.node.index: program.activate(stage.layer, after)}
    return scales


def _lattice(corners: torch.Tensor) -> torch.Tensor:
    steps = torch.linspace(0.0, 1.0, GRID, dtype=torch.float64, device=corners.device)
    a, b = (w.reshape(-1, *[1] * (corners.ndim - 1)) for w in torch.meshgrid(steps, steps, indexing="ij"))
    return corners[0] + a * (corners[1] - corners[0]) + b * (corners[3] - corners[0])


def _noise(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return (2 * torch.rand(value.shape, generator=generator, dtype=torch.float64) - 1).to(value.device)
