"""A chain of torch's own layers, read as it stands: the operations of each are known without an export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload

from netfold.capture.calls import CallLog, logged
from netfold.capture.operations import CallSite, out_of_place
from netfold.capture.program import Ref
from netfold.capture.tape import Call, Slot, Tape, TapeWriter, filled, tensors
from netfold.errors import CaptureError

aten = torch.ops.aten

_POOL = ("kernel_size", "stride", "padding")
_CONVOLUTION = ("weight", "bias", "stride", "padding", "dilation", "groups")
_AVERAGE = (*_POOL, "ceil_mode", "count_include_pad")
_LARGEST = (*_POOL, "dilation", "ceil_mode")
_NORM = ("weight", "bias", "running_mean", "running_var", "training", "momentum", "eps", False)
_LIMITS = ("min_val", "max_val")

LAYERS: dict[type[nn.Module], tuple[Any, tuple[Any, ...]]] = {
    nn.Identity: (None, ()),
    nn.Linear: (aten.linear.default, ("weight", "bias")),
    nn.Conv1d: (aten.conv1d, _CONVOLUTION),
    nn.Conv2d: (aten.conv2d, _CONVOLUTION),
    nn.Conv3d: (aten.conv3d, _CONVOLUTION),
    nn.BatchNorm1d: (aten.batch_norm.default, _NORM),
    nn.BatchNorm2d: (aten.batch_norm.default, _NORM),
    nn.BatchNorm3d: (aten.batch_norm.default, _NORM),
    nn.AvgPool1d: (aten.avg_pool1d.default, _AVERAGE),
    nn.AvgPool2d: (aten.avg_pool2d.default, (*_AVERAGE, "divisor_override")),
    nn.AvgPool3d: (aten.avg_pool3d.default, (*_AVERAGE, "divisor_override")),
    nn.AdaptiveAvgPool2d: (aten.adaptive_avg_pool2d.default, ("output_size",)),
    nn.MaxPool1d: (aten.max_pool1d.default, _LARGEST),
    nn.MaxPool2d: (aten.max_pool2d.default, _LARGEST),
    nn.MaxPool3d: (aten.max_pool3d.default, _LARGEST),
    nn.Flatten: (aten.flatten.using_ints, ("start_dim", "end_dim")),
    nn.Unflatten: (aten.unflatten.int, ("dim", "unflattened_size")),
    nn.Dropout: (aten.dropout.default, ("p", "training")),
    nn.Dropout2d: (aten.feature_dropout.default, ("p", "training")),
    nn.ReLU: (aten.relu.default, ()),
    nn.ReLU6: (aten.hardtanh.default, _LIMITS),
    nn.Hardtanh: (aten.hardtanh.default, _LIMITS),
    nn.LeakyReLU: (aten.leaky_relu.default, ("negative_slope",)),
    nn.PReLU: (aten.prelu.default, ("weight",)),
    nn.Hardsigmoid: (aten.hardsigmoid.default, ()),
    nn.Softshrink: (aten.softshrink.default, ("lambd",)),
    nn.Tanh: (aten.tanh.default, ()),
    nn.Sigmoid: (aten.sigmoid.default, ()),
    nn.SiLU: (aten.silu.default, ()),
    nn.GELU: (aten.gelu.default, ()),
    nn.ELU: (aten.elu.default, ("alpha",)),
    nn.Softplus: (aten.softplus.default, ("beta", "threshold")),
    nn.LayerNorm: (aten.layer_norm.default, ("normalized_shape", "weight", "bias", "eps", False)),
}
"""The operation of each layer, and what stands in its arguments after the input: attributes, or values.

The table is not trusted: `StandardReader` has the layers called once, and what ``torch`` was then asked to compute must
be what the operations compute. So a layer that is not listed is only read more slowly.
"""


class Other(Exception):
    """A module that does not stand in the table as it is."""


@dataclass(frozen=True)
class StandardReader:
    """Reads a chain of layers.

    Attributes:
        model: the chain, and ``calls`` its operations, each of which takes what the one before gives.
    """

    model: nn.Module
    calls: tuple[Call, ...]

    @classmethod
    def of(cls, model: nn.Module) -> StandardReader | None:
        """The reader of a module that is a `torch.nn.Sequential` of layers in the table; ``None`` of any other."""
        try:
            return cls(model, tuple(_calls(model, ""))) if type(model) is nn.Sequential else None
        except Other:
            return None

    def read(self, points: Tensor, dtype: torch.dtype | None = None) -> Tape:
        """The operations, with their values at some points, as `TapeWriter` takes them.

        Raises:
            CaptureError: they are not what the module computes, or cannot be run.
        """
        writer = TapeWriter(name=type(self.model).__name__, points=points, dtype=dtype)
        writer.weights = {name: writer.cast(tensor, copy=True) for name, tensor in tensors(self.model)}
        value: Any = Ref(0)
        for call in self.calls:
            args = filled(call.args, writer.weights)
            value = writer.append(replace(call, target=out_of_place(call.target), args=(value, *args)))
        if dtype is None and not self._agrees(points):
            raise CaptureError(f"{writer.name} runs other operations than its layers are known for")
        return writer.tape(value.index)

    def _agrees(self, points: Tensor) -> bool:
        """Whether ``torch`` is asked for the same, call by call, by the module and by the operations."""
        _, log = logged(self.model, points)
        own = {name: tensor.detach().clone() for name, tensor in tensors(self.model, tied=False)}
        named = dict(tensors(self.model))
        stored = {id(tensor): name for name, tensor in tensors(self.model, tied=False)}
        weights = {name: own[stored[id(tensor)]] for name, tensor in named.items()}
        value, again = points.clone(), CallLog()
        with torch.no_grad(), again.naming({**own, "": value}):
            for call in self.calls:
                value = call.target(value, *filled(call.args, weights), **call.kwargs)
        again.end(value)
        return log.agrees(again)


def _calls(module: nn.Module, path: str) -> Iterator[Call]:
    """The operations of a layer or of a chain of layers.

    Raises:
        Other: the module is neither.
    """
    if type(module) is nn.Sequential:
        for name, inner in module._modules.items():
            yield from _calls(inner, f"{path}.{name}" if path else name)  # type: ignore[arg-type]
        return
    kind = type(module)
    if kind not in LAYERS or _unusual(module):
        raise Other
    operation, names = LAYERS[kind]
    if operation is None:
        return
    values = [getattr(module, name) if isinstance(name, str) else name for name in names]
    if not isinstance(operation, OpOverload):
        operation = operation.padding if isinstance(values[names.index("padding")], str) else operation.default
    slots = [
        Slot(f"{path}.{name}") if isinstance(value, Tensor) else value
        for name, value in zip(names, values, strict=True)
    ]
    arguments = operation._schema.arguments
    args = tuple(_listed(argument, value) for argument, value in zip(arguments[1:], slots, strict=False))
    while args and arguments[len(args)].has_default_value() and _same(arguments[len(args)].default_value, args[-1]):
        args = args[:-1]
    kwargs = {}
    if kind is nn.GELU and module.approximate != "none":
        kwargs["approximate"] = module.approximate
    if getattr(module, "inplace", False):
        packet = getattr(aten, operation._schema.name.split("::")[-1] + "_")
        operation = getattr(packet, operation._overloadname)
    yield Call(operation, args, kwargs, CallSite(path, f"{kind.__module__}.{kind.__qualname__}", ""))


def _unusual(module: nn.Module) -> bool:
    """Whether a layer has a setting that its entry in the table does not speak of."""
    norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    dropout = isinstance(module, nn.modules.dropout._DropoutNd)
    return (
        (module.training and (norm or dropout))
        or (norm and (module.running_mean is None or module.momentum is None))
        or (dropout and module.inplace)
        or (isinstance(module, nn.Flatten) and module.start_dim < 1)  # the points' own axis
        or (isinstance(module, nn.Unflatten) and module.dim in (0, "N"))
        or getattr(module, "return_indices", False)
        or getattr(module, "padding_mode", "zeros") != "zeros"
        or (isinstance(size := getattr(module, "output_size", 1), tuple) and None in size)
        or any(isinstance(value, Tensor) for value in vars(module).values())  # weights that are computed
    )


def _listed(argument: Any, value: Any) -> Any:
    """A size as ``torch`` passes it on: one number an axis."""
    if isinstance(value, tuple):
        return list(value)
    return [value] * argument.N if argument.N and isinstance(value, int) and not isinstance(value, bool) else value


def _same(default: Any, value: Any) -> bool:
    return type(default) is type(value) and default == value
