"""The operations of ONNX that are followed, each as a torch module; one entry of `OPERATIONS` is one operation.

An entry gets a node as it stands in the file (`OnnxNode`) and gives a module of the values that are not constant. It
raises `UnsupportedError` with the reason where it does not follow the node. Shapes are those of one point: the first
axis of every value is the batch, of size 1 in the file.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netfold.capture.onnx_models.network import Apply, batched


class UnsupportedError(Exception):
    """Why a node is not followed."""


def need(holds: Any, reason: str) -> None:
    """Refuse a node."""
    if not holds:
        raise UnsupportedError(reason)


@dataclass(frozen=True)
class OnnxNode:
    """One operation of a file.

    Attributes:
        attributes: by name.
        constants: for every input the constant that it is, ``None`` for an earlier value, and for one that is absent.
        shapes: for every input its shape, with a batch of 1; ``None`` for one that is absent.
        results: the shapes of the outputs.
        opset: the version of the operations.
    """

    attributes: Mapping[str, Any]
    constants: tuple[Tensor | None, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    results: tuple[tuple[int, ...], ...]
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def variable(self, place: int) -> bool:
        """Whether an input is an earlier value."""
        return self.shape(place) is not None and self.constants[place] is None

    def shape(self, place: int) -> tuple[int, ...] | None:
        """The shape of an input, ``None`` where it is absent."""
        return self.shapes[place] if place < len(self.shapes) else None

    def constant(self, place: int) -> Tensor | None:
        """A constant input, ``None`` where it is absent."""
        need(not self.variable(place), f"its input {place} must be a constant")
        return self.constants[place] if place < len(self.constants) else None

    def rank(self) -> int:
        """The number of axes of the first input."""
        return len(self.shapes[0] or ())

    def axis(self, axis: int) -> int:
        """An axis of the first input, counted from its begin; not the batch."""
        axis = axis + self.rank() if axis < 0 else axis
        need(0 < axis < self.rank(), "it works along the axis of the batch")
        return axis

    def numbers(self, name: str, place: int) -> list[int] | None:
        """Whole numbers that are an attribute, or a constant input in later versions."""
        if name in self.attributes:
            return list(self.attributes[name])
        told = self.constant(place)
        return None if told is None else [int(v) for v in told.reshape(-1).tolist()]


Operation = Callable[[OnnxNode], nn.Module]


def _alone(node: OnnxNode, places: int = 1) -> None:
    """Refuse a node that does not read earlier values at just the first places."""
    need(all(node.variable(p) == (p < places) for p in range(len(node.shapes))), "its weights must be constants")


def _pointwise(function: Callable[[Tensor], Tensor] | nn.Module) -> Operation:
    def made(node: OnnxNode) -> nn.Module:
        _alone(node)
        return function if isinstance(function, nn.Module) else Apply(function)

    return made


def _combined(function: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    """A function of two values, or of more, from the left."""

    def made(node: OnnxNode) -> nn.Module:
        rank = len(node.results[0])
        for place, shape in enumerate(node.shapes):
            assert shape is not None
            if node.variable(place):
                need(len(shape) == rank and shape[0] == 1, "it spreads a value over the axis of the batch")
            else:
                need(len(shape) < rank or shape[0] == 1, "a constant has a batch of its own")
        if len(node.shapes) == 2:
            return Apply(function, node.constants)
        return Apply(lambda *values: reduce(function, values), node.constants)

    return made


def _quotient(node: OnnxNode) -> nn.Module:
    need(node.variable(0), "it divides by a value of the network")
    return _combined(torch.div)(node)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    made.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        made.bias = nn.Parameter(bias.expand(len(weight)).contiguous())
    return made


def _gemm(node: OnnxNode) -> nn.Module:
    _alone(node)
    need(not node.get("transA", 0) and node.rank() == 2, "it takes its first input transposed")
    weight, bias = node.constant(1), node.constant(2)
    assert weight is not None
    weight = weight if node.get("transB", 0) else weight.T
    need(bias is None or bias.ndim < 2 or bias.shape[0] == 1, "its bias has a batch of its own")
    bias = None if bias is None else bias.reshape(-1)
    alpha, beta = node.get("alpha"), node.get("beta") if bias is not None else 1.0
    if alpha == beta == 1.0:
        return _linear(weight, bias)
    scaled = [None, weight, *([bias] if bias is not None else [])]
    return Apply(lambda x, w, b=None: alpha * F.linear(x, w) + (0.0 if b is None else beta * b), scaled)


def _matmul(node: OnnxNode) -> nn.Module:
    left, right = node.shapes[:2]
    assert left is not None
    assert right is not None
    if node.variable(0) and not node.variable(1) and len(right) == 2 and len(left) >= 2:
        weight = node.constants[1]
        assert weight is not None
        return _linear(weight.T, None)
    need(all(not node.variable(p) or len(node.shapes[p] or ()) > 2 for p in (0, 1)), "it multiplies over the batch")
    need(len(node.results[0]) > 2 and node.results[0][0] == 1, "it multiplies over the batch")
    return Apply(torch.matmul, node.constants)


def _pads(node: OnnxNode, kernel: list[int]) -> tuple[list[int], list[int]]:
    """How much is added before and behind each axis of an image."""
    axes, way = len(kernel), node.get("auto_pad", "NOTSET")
    if way in ("NOTSET", "VALID"):
        pads = list(node.get("pads", [0] * 2 * axes)) if way == "NOTSET" else [0] * 2 * axes
        return pads[:axes], pads[axes:]
    strides, dilations = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    sizes, begin, end = (node.shapes[0] or ())[2:], [], []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
        small, large = total // 2, total - total // 2
        begin.append(small if way == "SAME_UPPER" else large)
        end.append(large if way == "SAME_UPPER" else small)
    return begin, end


def _padded(module: nn.Module, begin: list[int], end: list[int], value: float = 0.0) -> nn.Module:
    """A module behind padding, axes in torch's order: the last first."""
    sides = [v for pair in zip(reversed(begin), reversed(end), strict=True) for v in pair]
    return nn.Sequential(Apply(partial(F.pad, pad=sides, value=value)), module)


_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def _convolution(transposed: bool, node: OnnxNode) -> nn.Module:
    _alone(node)
    weight, bias = node.constant(1), node.constant(2)
    assert weight is not None
    kernel, groups = list(weight.shape[2:]), int(node.get("group", 1))
    axes = len(kernel)
    need(axes in _CONVOLUTIONS, f"it has {axes} axes of space")
    options: dict[str, Any] = {
        "stride": node.get("strides", [1] * axes),
        "dilation": node.get("dilations", [1] * axes),
        "groups": groups,
        "bias": bias is not None,
        "device": "meta",
    }
    begin, end = _pads(node, kernel)
    if transposed:
        need(node.get("auto_pad", "NOTSET") == "NOTSET" and begin == end, "its padding differs before and behind")
        need("output_shape" not in node.attributes, "it says its output's shape; give its padding instead")
        options["output_padding"] = node.get("output_padding", [0] * axes)
        made = _TRANSPOSED[axes](weight.shape[0], weight.shape[1] * groups, kernel, padding=begin, **options)
    else:
        same = begin == end
        padding = begin if same else [0] * axes
        made = _CONVOLUTIONS[axes](weight.shape[1] * groups, weight.shape[0], kernel, padding=padding, **options)
    made.weight = nn.Parameter(weight)
    if bias is not None:
        made.bias = nn.Parameter(bias)
    return made if transposed or begin == end else _padded(made, begin, end)


_LARGEST = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


def _pooling(largest: bool, node: OnnxNode) -> nn.Module:
    _alone(node)
    kernel = list(node.get("kernel_shape"))
    axes = len(kernel)
    need(axes in _LARGEST, f"it has {axes} axes of space")
    need(len(node.results) == 1, "it hands out positions too")
    dilations = node.get("dilations", [1] * axes)
    begin, end = _pads(node, kernel)
    options: dict[str, Any] = {"stride": node.get("strides", [1] * axes), "ceil_mode": bool(node.get("ceil_mode", 0))}
    if largest:
        need(begin == end, "its padding differs before and behind")
        return _LARGEST[axes](kernel, padding=begin, dilation=dilations, **options)
    need(all(d == 1 for d in dilations), "it averages with gaps")
    counted = bool(node.get("count_include_pad", 0))
    if begin == end:
        single = axes == 1
        return _AVERAGE[axes](
            kernel[0] if single else kernel, padding=begin[0] if single else begin, count_include_pad=counted, **options
        )
    need(counted and not options["ceil_mode"], "its padding differs before and behind")
    return _padded(_AVERAGE[axes](kernel, **options), begin, end)


def _over_space(function: Callable[..., Tensor], node: OnnxNode) -> nn.Module:
    _alone(node)
    return Apply(partial(function, dim=list(range(2, node.rank())), keepdim=True))


def _reduced(function: Callable[..., Tensor], node: OnnxNode) -> nn.Module:
    _alone(node)
    axes = node.numbers("axes", 1)
    need(axes, "it reduces the whole batch")
    return Apply(partial(function, dim=[node.axis(a) for a in axes or ()], keepdim=bool(node.get("keepdims"))))


_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def _batch_norm(node: OnnxNode) -> nn.Module:
    _alone(node)
    need(not node.get("training_mode", 0) and len(node.results) == 1, "it is in training mode")
    need(node.rank() in _NORMS, f"its input has {node.rank()} axes")
    scale, bias, mean, var = (node.constant(p) for p in (1, 2, 3, 4))
    assert scale is not None
    made = _NORMS[node.rank()](len(scale), eps=node.get("epsilon"), device="meta")
    assert bias is not None
    made.weight, made.bias = nn.Parameter(scale), nn.Parameter(bias)
    made.running_mean, made.running_var, made.num_batches_tracked = mean, var, torch.tensor(0)
    return made


def _layer_norm(node: OnnxNode) -> nn.Module:
    _alone(node)
    need(len(node.results) == 1, "it hands out more than the values")
    shape = (node.shapes[0] or ())[node.axis(node.get("axis")) :]
    epsilon = node.get("epsilon")
    given = [None, *(c for c in node.constants[1:] if c is not None)]
    return Apply(lambda x, w, b=None: F.layer_norm(x, shape, w, b, epsilon), given)


def _clip(node: OnnxNode) -> nn.Module:
    _alone(node)
    low, high = (node.get(name, node.constant(place)) for name, place in (("min", 1), ("max", 2)))
    limits = [None if v is None or abs(float(v)) > 3.4e38 else float(v) for v in (low, high)]
    if limits == [None, None]:
        return nn.Identity()
    if None not in limits and limits[0] < limits[1]:  # type: ignore[operator]
        return nn.Hardtanh(limits[0], limits[1])  # type: ignore[arg-type]
    return Apply(partial(torch.clamp, min=limits[0], max=limits[1]))


def _prelu(node: OnnxNode) -> nn.Module:
    _alone(node)
    slope, shape = node.constant(1), node.shapes[0] or ()
    assert slope is not None
    own = tuple(slope.shape)
    channels = len(shape) > 1 and (*([1] * (len(shape) - len(own))), *own) == (1, shape[1], *([1] * (len(shape) - 2)))
    need(slope.numel() == 1 or channels, "its slopes are not one a channel")
    made = nn.PReLU(slope.numel(), device="meta")
    made.weight = nn.Parameter(slope.reshape(-1))
    return made


def _hard_sigmoid(node: OnnxNode) -> nn.Module:
    _alone(node)
    alpha, beta = node.get("alpha"), node.get("beta")
    return Apply(lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0))


def _softmax(function: Callable[..., Tensor], node: OnnxNode) -> nn.Module:
    _alone(node)
    axis = node.axis(node.get("axis"))
    need(node.opset >= 13 or axis == node.rank() - 1, "before version 13 it joins all axes from one on")
    return Apply(partial(function, dim=axis))


def _gelu(node: OnnxNode) -> nn.Module:
    _alone(node)
    return nn.GELU(approximate=node.get("approximate"))


def _reshaped(node: OnnxNode) -> nn.Module:
    need(node.variable(0), "it gives a constant another shape")
    need(node.results[0] and node.results[0][0] == 1, "it joins the axis of the batch with others")
    shape = node.results[0][1:]
    return nn.Flatten() if len(shape) == 1 and node.rank() > 1 else Apply(partial(batched, shape=shape))


def _transposed(node: OnnxNode) -> nn.Module:
    order = list(node.get("perm", reversed(range(node.rank()))))
    need(order[0] == 0, "it moves the axis of the batch")
    return Apply(partial(torch.permute, dims=order))


def _joined(node: OnnxNode) -> nn.Module:
    axis = node.axis(node.get("axis"))
    need(all(shape and shape[0] == 1 for shape in node.shapes), "a constant has a batch of its own")
    if any(constant is not None for constant in node.constants):
        first = next(p for p in range(len(node.shapes)) if node.variable(p))
        return Apply(
            lambda *values: torch.cat([v.expand(values[first].shape[0], *v.shape[1:]) for v in values], axis),
            node.constants,
        )
    return Apply(lambda *values: torch.cat(values, axis), node.constants)


def _sliced(node: OnnxNode) -> nn.Module:
    _alone(node)
    starts, ends = node.numbers("starts", 1), node.numbers("ends", 2)
    assert starts is not None
    assert ends is not None
    axes = node.numbers("axes", 3) or list(range(len(starts)))
    steps = node.numbers("steps", 4) or [1] * len(starts)
    cut: list[Any] = [slice(None)] * node.rank()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        need(step > 0, "it steps backwards")
        cut[node.axis(axis)] = slice(start, end, step)
    return Apply(lambda x: x[tuple(cut)])


def _split(node: OnnxNode) -> nn.Module:
    _alone(node)
    axis = node.axis(node.get("axis", 0))
    return Apply(partial(torch.split, split_size_or_sections=[shape[axis] for shape in node.results], dim=axis))


def _gathered(node: OnnxNode) -> nn.Module:
    need(node.variable(0), "it looks up constants by values of the network")
    indices, axis = node.constant(1), node.axis(node.get("axis", 0))
    assert indices is not None
    size = (node.shapes[0] or ())[axis]
    wanted, shape = torch.where(indices < 0, indices + size, indices).long().reshape(-1), node.results[0][1:]
    return Apply(lambda x, i: batched(torch.index_select(x, axis, i), shape), [None, wanted])


def _pad(node: OnnxNode) -> nn.Module:
    _alone(node)
    pads, mode = node.numbers("pads", 1), node.get("mode", "constant")
    assert pads is not None
    need(node.shape(3) is None, "it names axes")
    value = node.get("value", node.constant(2))
    begin, end = pads[: node.rank()], pads[node.rank() :]
    need(begin[0] == end[0] == 0, "it pads the axis of the batch")
    if mode == "constant":
        return _padded(nn.Identity(), begin[1:], end[1:], 0.0 if value is None else float(value))
    need(mode in ("reflect", "edge") and begin[1] == end[1] == 0, f"it pads in the mode '{mode}'")
    sides = [v for pair in zip(reversed(begin[2:]), reversed(end[2:]), strict=True) for v in pair]
    return Apply(partial(F.pad, pad=sides, mode="replicate" if mode == "edge" else mode))


def _power(node: OnnxNode) -> nn.Module:
    exponent = node.constant(1)
    need(node.variable(0) and exponent is not None and exponent.numel() == 1, "its exponent must be one number")
    assert exponent is not None
    return Apply(partial(torch.pow, exponent=float(exponent)))


def _cast(node: OnnxNode) -> nn.Module:
    need(node.get("to") in (1, 11), "it changes to a type that is no float32 or float64")
    return nn.Identity()


def _same(node: OnnxNode) -> nn.Module:
    need(len(node.results) == 1, "it hands out its mask")
    return nn.Identity()


OPERATIONS: dict[str, Operation] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": partial(_convolution, False),
    "ConvTranspose": partial(_convolution, True),
    "Add": _combined(torch.add),
    "Sub": _combined(torch.sub),
    "Mul": _combined(torch.mul),
    "Div": _quotient,
    "Sum": _combined(torch.add),
    "Max": _combined(torch.maximum),
    "Min": _combined(torch.minimum),
    "Relu": lambda node: nn.ReLU(),
    "LeakyRelu": lambda node: nn.LeakyReLU(node.get("alpha")),
    "PRelu": _prelu,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda node: nn.Hardswish(),
    "Abs": _pointwise(torch.abs),
    "Neg": _pointwise(operator.neg),
    "Sigmoid": lambda node: nn.Sigmoid(),
    "Tanh": lambda node: nn.Tanh(),
    "Erf": _pointwise(torch.erf),
    "Exp": _pointwise(torch.exp),
    "Log": _pointwise(torch.log),
    "Sqrt": _pointwise(torch.sqrt),
    "Sin": _pointwise(torch.sin),
    "Cos": _pointwise(torch.cos),
    "Pow": _power,
    "Gelu": _gelu,
    "Elu": lambda node: nn.ELU(node.get("alpha")),
    "Softplus": _pointwise(lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    "Softsign": lambda node: nn.Softsign(),
    "Softmax": partial(_softmax, torch.softmax),
    "LogSoftmax": partial(_softmax, torch.log_softmax),
    "MaxPool": partial(_pooling, True),
    "AveragePool": partial(_pooling, False),
    "GlobalAveragePool": partial(_over_space, torch.mean),
    "GlobalMaxPool": partial(_over_space, torch.amax),
    "ReduceMean": partial(_reduced, torch.mean),
    "ReduceSum": partial(_reduced, torch.sum),
    "ReduceMax": partial(_reduced, torch.amax),
    "ReduceMin": partial(_reduced, torch.amin),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Flatten": _reshaped,
    "Reshape": _reshaped,
    "Squeeze": _reshaped,
    "Unsqueeze": _reshaped,
    "Transpose": _transposed,
    "Concat": _joined,
    "Slice": _sliced,
    "Split": _split,
    "Gather": _gathered,
    "Pad": _pad,
    "Cast": _cast,
    "Identity": _same,
    "Dropout": _same,
}
"""What is followed, by name."""
