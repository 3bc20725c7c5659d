"""A graph of operations as a torch module."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Apply(nn.Module):
    """A function of earlier values and of constants.

    Args:
        function: it; takes tensors only.
        constants: what is given at each place; ``None`` where an earlier value goes.
    """

    def __init__(self, function: Callable[..., Any], constants: Sequence[Tensor | None] = (None,)) -> None:
        super().__init__()
        self.function, self.places = function, len(constants)
        for place, constant in enumerate(constants):
            if constant is not None:
                self.register_buffer(f"constant_{place}", constant)

    def forward(self, *values: Tensor) -> Any:
        """Apply it."""
        given = iter(values)
        kept = (self._buffers.get(f"constant_{place}") for place in range(self.places))
        return self.function(*(next(given) if constant is None else constant for constant in kept))


@dataclass(frozen=True)
class OnnxStep:
    """One operation: the values it reads and those it makes, by their names in the graph."""

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class OnnxNetwork(nn.Module):
    """The network of an ``.onnx`` file: its operations are submodules, named as what they make is named there.

    Args:
        steps: the operations, in order.
        source: the name of the input, and ``result`` that of the output.
        input_shape: the shape of one input, without batch axis.
    """

    def __init__(self, steps: Sequence[OnnxStep], source: str, result: str, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.source, self.result, self.input_shape = source, result, input_shape
        self.order: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        for step in steps:
            name = self._name(step.outputs[0])
            self.add_module(name, step.module)
            self.order.append((name, step.inputs, step.outputs))

    def _name(self, wanted: str) -> str:
        """A name that a submodule can have."""
        name = re.sub(r"\W", "_", wanted, flags=re.ASCII).strip("_") or "value"
        name = f"_{name}" if name[0].isdigit() else name
        while hasattr(self, name):
            name += "_"
        return name

    def forward(self, x: Tensor) -> Tensor:
        """The output for a batch of inputs."""
        values = {self.source: x}
        for name, inputs, outputs in self.order:
            made = self._modules[name](*(values[i] for i in inputs))  # type: ignore[misc]
            values.update(zip(outputs, made if isinstance(made, tuple | list) else (made,), strict=False))
        return values[self.result]


def batched(x: Tensor, shape: Sequence[int]) -> Tensor:
    """A batch of values in another shape, its first axis left as it is."""
    return torch.reshape(x, (x.shape[0], *shape))
