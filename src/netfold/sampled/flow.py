"""The image of a moving point in every layer: values and velocities by forward-mode derivatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from netfold.arrays import Floats
from netfold.capture.activations import Elementwise
from netfold.capture.program import Program, Stage, cut
from netfold.errors import CaptureError, InvalidInputError
from netfold.sampled.motion import Motion

BATCH_BYTES = 64 * 2**20
"""Memory that values and velocities of all layers may take in one call of the program."""


@dataclass(frozen=True)
class Moving:
    """Values of a batch of points and their velocities, each ``(points, features)``."""

    value: Floats
    velocity: Floats


@dataclass
class Flow:
    """A program along a motion.

    Attributes:
        evaluations: points at which the program was evaluated so far, each with its derivative.
    """

    program: Program
    motion: Motion
    evaluations: int = field(default=0)

    def __post_init__(self) -> None:
        self.stages = tuple(cut(self.program))
        sizes = [int(np.prod(layer.shape, dtype=np.int64)) for layer in self.program.layers]
        sizes += [int(np.prod(s, dtype=np.int64)) for s in (self.program.input_shape, self.program.output_shape)]
        self.batch = max(32, BATCH_BYTES // (32 * sum(sizes)))

    def images(self, t: Floats, read: frozenset[int]) -> tuple[list[Moving], dict[int, Moving]]:
        """The moving point, its image after every layer and the output; and what the layers in ``read`` read.

        In ``read`` the output follows the last layer. Where a layer reads several values, they are joined.
        """
        self.evaluations += len(t)
        point = self.motion.at(t)
        images, inputs = [Moving(*(a.reshape(len(t), -1) for a in point))], {}
        with torch.no_grad(), forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
            for number, (stage, found, made) in enumerate(self._walk(*point)):
                if number in read:
                    inputs[number] = self._moving(found, stage)
                images.append(inputs[number] if stage.layer is None and number in read else self._moving([made], stage))
        return images, inputs

    def read(self, t: Floats, index: int) -> Moving:
        """What layer ``index`` reads, or the output for the index after the last layer; nothing after it is run."""
        self.evaluations += len(t)
        point = self.motion.at(t)
        with torch.no_grad(), forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
            for number, (stage, read, _) in enumerate(self._walk(*point, index)):
                if number == index:
                    return self._moving(read, stage)
        raise IndexError(index)

    def _walk(self, x: Floats, v: Floats, last: int = -1) -> Iterator[tuple[Stage, list[Tensor], Tensor]]:
        """Every layer with what it reads and makes, up to layer ``last``."""
        point, velocity = (torch.as_tensor(a).to(self.program.device) for a in (x, v))
        values = self.program.start(forward_ad.make_dual(point, velocity))
        for number, stage in enumerate(self.stages):
            try:
                values = self.program.advance(stage, values)
                read = [values[i] for i in stage.inputs]
                if stage.layer is None or number == last:
                    yield stage, read, read[0]
                    return
                made = self.program.activate(stage.layer, values)
                if isinstance(stage.layer.rule, Elementwise):
                    made = _with_slopes(made, read[0], stage.layer.rule)
            except NotImplementedError as error:
                raise CaptureError(f"{self.program.name} cannot be differentiated: {error}") from error
            yield stage, read, made
            values = {i: values[i] for i in stage.alive} | {stage.layer.node.index: made}

    def _moving(self, duals: list[Tensor], stage: Stage) -> Moving:
        parts = [forward_ad.unpack_dual(d) for d in duals]
        value = _joined([p.primal for p in parts])
        velocity = _joined([torch.zeros_like(p.primal) if p.tangent is None else p.tangent for p in parts])
        if not (np.isfinite(value).all() and np.isfinite(velocity).all()):
            where = f"layer '{stage.layer.name}'" if stage.layer else "the output"
            raise InvalidInputError(
                f"along this path {where} of {self.program.name} takes values or slopes that are NaN or infinite"
            )
        return Moving(value, velocity)


def _with_slopes(values: Tensor, read: Tensor, rule: Elementwise) -> Tensor:
    """The same values, with velocities by the slopes of the rule; torch's own of hardsigmoid hold 7 digits."""
    h, dh = forward_ad.unpack_dual(read)
    if dh is None:
        return values
    knots, slopes = (torch.as_tensor(a).to(h) for a in (rule.knots, rule.slopes))
    flat = h.reshape(len(h), -1)
    slope = slopes[:, 0].expand_as(flat)
    for k in range(knots.shape[1]):
        slope = torch.where(flat > knots[:, k], slopes[:, k + 1], slope)
    return forward_ad.make_dual(forward_ad.unpack_dual(values).primal, slope.reshape(h.shape) * dh)


def _joined(tensors: list[Tensor]) -> Floats:
    rows = [t.reshape(len(t), -1).double() for t in tensors]
    return np.ascontiguousarray((rows[0] if len(rows) == 1 else torch.cat(rows, 1)).cpu().numpy())
