"""Dense and convolutional operations of a captured network, as matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from netfold.capture import Node, Program, Stage
from netfold.capture.operations import by_name, op_name
from netfold.capture.program import Values

DENSE = {"linear": "weight", "addmm": "mat2", "mm": "mat2", "matmul": "other"}
"""Dense operations, and the name of their weight; all but ``linear`` hold it with the inputs first."""

CONVOLUTIONS = {"conv1d", "conv2d", "conv3d", "convolution"}

NORMS = {
    *("batch_norm", "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm"),
}

SCALES = NORMS | {"add", "sub", "mul", "multiply", "div", "true_divide", "neg"}
"""Operations that, with constants, act on each unit alone."""


@dataclass(frozen=True)
class ConvGeometry:
    """The geometry of a convolution, one number an axis.

    Attributes:
        size: of the input along every spatial axis.
        channels: of the input, and ``filters`` of the output.
        kernel: extent of a filter; ``stride`` and ``dilation`` as usual.
        padding: zeros on both sides; halves where one side has one more than the other.
        groups: into how many parts the channels are split.
    """

    size: tuple[int, ...]
    channels: int
    filters: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[float, ...]
    dilation: tuple[int, ...]
    groups: int


@dataclass(frozen=True)
class WeightMatrix:
    """One dense or convolutional operation.

    Attributes:
        name: its module path.
        matrix: a row a unit (a filter, for a convolution), a column an input of it, in float64.
        bias: one entry a row; ``None`` where there is none.
        conv: the geometry, for a convolution.
    """

    name: str
    matrix: Tensor
    bias: Tensor | None
    conv: ConvGeometry | None

    @property
    def fan_in(self) -> int:
        """How many numbers each unit reads."""
        return self.matrix.shape[1]


def weight_of(node: Node, values: Values) -> WeightMatrix | None:
    """The weight of a dense or convolutional operation, where it is constant."""
    op, named = op_name(node.schema), by_name(node.schema, node.args, node.kwargs)
    weight = named.get(DENSE.get(op, "weight"))
    if not isinstance(weight, Tensor):
        return None
    if op in DENSE and weight.ndim == 2:
        rows = weight if op == "linear" else weight.T
        return WeightMatrix(node.path or op, _plain(rows), _bias(named, len(rows)), None)
    if op in CONVOLUTIONS and not named.get("transposed"):
        conv = _geometry(named, weight, values[node.inputs[0]].shape)
        return WeightMatrix(node.path or op, _plain(weight.flatten(1)), _bias(named, conv.filters), conv)
    return None


def scaled(
    program: Program, stage: Stage, node: Node, weight: WeightMatrix, values: Values
) -> tuple[WeightMatrix, str]:
    """The weight with the constants that scale and shift its units afterwards, or why there is none."""
    scales = [n for n in stage.nodes if op_name(n.schema) in SCALES]
    if not scales:
        return weight, ""
    last, shape = scales[-1].index, values[node.index].shape
    if values[last].shape != shape:
        return weight, "its units are rearranged before they are scaled"
    probes = torch.stack([torch.zeros(shape[1:]), torch.ones(shape[1:])]).to(values[node.index])
    after = tuple(n for n in stage.nodes if node.index < n.index <= last)
    found = program.advance(replace(stage, nodes=after, inputs=(last,), alive=()), {node.index: probes})[last]
    axis = 1 if weight.conv is not None else -1
    shift, one = found.movedim(axis, 1).flatten(2).cpu() if found.ndim > 2 else found[:, :, None].cpu()
    scale = (one - shift).square().mean(1).sqrt() * (one - shift).mean(1).sign()
    bias = shift.mean(1) + (0 if weight.bias is None else scale * weight.bias)
    return replace(weight, matrix=scale[:, None] * weight.matrix, bias=bias), ""


def _bias(named: Mapping[str, Any], size: int) -> Tensor | None:
    bias = named.get("bias", named.get("self") if "mat2" in named else None)
    return _plain(bias).expand(size) if isinstance(bias, Tensor) else None


def _plain(value: Tensor) -> Tensor:
    return value.detach().double().cpu()


def _geometry(named: Mapping[str, Any], weight: Tensor, shape: torch.Size) -> ConvGeometry:
    axes, groups = weight.ndim - 2, int(named.get("groups", 1))
    stride, dilation = (_spread(named[key], axes) for key in ("stride", "dilation"))
    kernel, padding = tuple(weight.shape[2:]), named["padding"]
    if padding == "same":
        padding = [d * (k - 1) / 2 for d, k in zip(dilation, kernel, strict=True)]
    around = _spread([0] if padding == "valid" else padding, axes)
    size = tuple(shape[-axes:])
    return ConvGeometry(size, weight.shape[1] * groups, len(weight), kernel, stride, around, dilation, groups)


def _spread(value: Any, axes: int) -> tuple[Any, ...]:
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * axes if len(numbers) == 1 else numbers
