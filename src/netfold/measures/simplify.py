"""A smaller network with the same outputs on a domain: what is proved not to be needed there goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from netfold.arguments import FileName, NotNegativeInt, checked
from netfold.capture import Model, Program
from netfold.capture.export import export
from netfold.capture.tape import filled
from netfold.domains import Box, Polytope
from netfold.errors import InvalidInputError
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.files import write_atomically
from netfold.measures.channels import Channels
from netfold.measures.units import units
from netfold.results.units import FREE, STATES


class Simplified(nn.Module):
    """A smaller network: torch's own operations one after the other; what went, and why.

    Args:
        program: the network that it was made from.
        channels: what of its channels is left.

    Attributes:
        input_shape: the shape of one input.
        removed: one row a unit that is gone: ``layer``, ``name``, ``unit``, ``reason``, and the bounds ``low`` and
            ``high`` of its pre-activation on the domain that prove it (NaN for what has none, as maxima).
        units: numbers of units before and after.
        counts: numbers of weights before and after.
    """

    removed: pd.DataFrame
    units: tuple[int, int]
    counts: tuple[int, int]

    def __init__(self, program: Program, channels: Channels) -> None:
        super().__init__()
        self.input_shape, self._made_for = program.input_shape, (program.dtype, program.device)
        self._nodes, self._output = tuple(channels.nodes), channels.output
        for name, tensor in channels.weights.items():
            self.register_parameter(name, nn.Parameter(tensor))
        for name, tensor in channels.constants.items():
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs for a batch of inputs."""
        values, given = {0: x}, {**self._parameters, **self._buffers}
        for node in self._nodes:
            ready = replace(node, args=filled(node.args, given), kwargs=filled(node.kwargs, given))  # type: ignore[arg-type]
            values[node.index] = ready(values, x.shape[0])
        return values[self._output]

    def save(self, path: FileName) -> None:
        """Write it as a ``.pt2`` file, with a free batch axis: what every command and `load_model` open.

        Raises:
            InvalidInputError: the name does not end so.
            UnwritableFileError: it cannot be written.
        """
        path = Path(path)
        if path.suffix != ".pt2":
            raise InvalidInputError(f"{path}: a smaller network is written as a .pt2 file")
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            torch.export.save(export(self, self.input_shape, *self._made_for), file)

    def to_dict(self) -> dict[str, Any]:
        """What went, by layer and reason, as plain numbers."""
        sizes: Any = self.removed.groupby(["layer", "name", "reason"], sort=False).size()
        grouped = sizes.reset_index(name="units")
        return {"units": list(self.units), "counts": list(self.counts), "removed": grouped.to_dict("records")}

    def extra_repr(self) -> str:
        """What it consists of."""
        return "\n".join([str(self), *(f"{node.index}: {node.op}" for node in self._nodes)])

    def __str__(self) -> str:
        before, after = self.units
        why = ", ".join(f"{n:,} {reason}" for reason, n in self.removed["reason"].value_counts().items())
        return (
            f"{after:,} of {before:,} units and {self.counts[1]:,} of {self.counts[0]:,} numbers remain"
            f"{f' ({why})' if why else ''}"
        )


@checked
def simplify(
    model: Model, domain: Any, *, shape: Sequence[int] | None = None, regions: NotNegativeInt = 256
) -> Simplified:
    """Make a smaller network that computes the same on a domain, from units that are proved to stay on one piece.

    A channel is a unit of a dense layer, or a map of a convolution. One whose units are all *dead* for every input of
    the domain goes, and what *saturated* ones add goes into the next constant. Channels that are the same, or for ReLU
    positive multiples of each other, become one; what nobody reads goes. Channels that are always *on* pass the
    nonlinearity by, or are merged into the next layer where that is less to store. Batch norm becomes part of the layer
    before it. The model itself is left alone.

    States are those that `units` proves, and each step is an identity of real numbers: the outputs are equal on the
    whole domain, but for the rounding of weights that had to be added or multiplied: computed in float64, stored in the
    model's own number type. Outside the domain they may differ.

    Args:
        model: a module in evaluation mode, or a captured program, whose operations are affine or piecewise linear:
            convolutions, skips, batch norm, pooling. Operations that mix channels in other ways keep all of them.
        domain: a bounded `Box` or `Polytope`.
        shape: the shape of one input, where neither the domain nor the first layer tells it.
        regions: as in `units`.

    Returns:
        The network, an ``nn.Module`` that says what went: `Simplified`. Bounds of what remains: `units` of it.

    Raises:
        InvalidInputError: the domain is not bounded, or does not fit the model.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        NotExplicitError: an operation has no matrix with known coefficients.
        CaptureError: the model cannot be captured.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> _ = net[0].weight.data.copy_(torch.ones(3, 1)), net[0].bias.data.copy_(torch.tensor([-3.0, 0.0, 3.0]))
        >>> small = nf.simplify(net, nf.Box(-1.0, 2.0))
        >>> small.removed[["unit", "reason"]].values.tolist()
        [[0, 'dead'], [2, 'on']]
    """
    from netfold.measures.counts import program_on

    if not isinstance(domain, Box | Polytope):
        raise InvalidInputError(f"a network is simplified on a bounded Box or Polytope, got {type(domain).__name__}")
    program = program_on(model, domain, shape)
    program.require_piecewise_linear()
    found = units(program, domain, regions=regions).units
    states, bounds = {}, {}
    for number in range(len(program.layers)):
        mine = found.layer == number + 1
        if mine.any():
            bounds[number] = low, high = found.low[mine], found.high[mine]
            proved = np.where(found.proved[mine], found.state[mine], STATES.index(FREE))
            states[number] = proved, low / 2 + high / 2
    channels = Channels(ExplicitProgram.of(program), states)
    channels.write()
    small = Simplified(program, channels)
    small.removed = _removed(program, channels, bounds)
    total = sum(layer.units for layer in program.layers)
    small.units = total, total - len(small.removed)
    kept = sum(tensor.numel() for tensor in small.state_dict().values() if tensor.is_floating_point())
    small.counts = program.parameters, kept
    return small.eval()


def _removed(program: Program, channels: Channels, bounds: dict[int, Any]) -> pd.DataFrame:
    """One row a unit that is gone."""
    rows = []
    for number, layer in enumerate(program.layers):
        low, high = bounds.get(number, (np.full(layer.units, np.nan),) * 2)
        rows += [(number + 1, layer.name, u, why, low[u], high[u]) for u, why in channels.reasons(layer)]
    return pd.DataFrame(rows, columns=["layer", "name", "unit", "reason", "low", "high"])
