"""Inputs and labels in batches, from arrays, tensors, `netfold.capture.Data` or a ``DataLoader``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from netfold.capture.data import Data, tensor_of
from netfold.errors import InvalidInputError

LABELS = ("labels", "label", "y")
"""Under which of these names a batch that is a mapping holds its labels."""


@dataclass(frozen=True)
class Batch:
    """Some rows of the data, on the model's device.

    Attributes:
        inputs: what the model takes: a tensor, or tensors by argument name.
        labels: one a row, or ``None``.
    """

    inputs: Tensor | dict[str, Tensor]
    labels: Tensor | None

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.inputs if isinstance(self.inputs, Tensor) else next(iter(self.inputs.values())))


class Batches:
    """Data that can be gone through batch by batch.

    Args:
        data: ``(x, y)`` or ``x`` as arrays or tensors with one input a row, `netfold.capture.Data`, or a
            ``DataLoader`` (or any iterable of batches) that gives ``(x, y)``, ``x``, or a mapping with ``labels``.
        rows: inputs a batch; a ``DataLoader`` keeps its own.
        dtype: number type of real inputs, and ``device`` where they go.

    Raises:
        InvalidInputError: there are no rows, inputs and labels do not have the same number, or a value is not
            finite.
    """

    def __init__(self, data: Any, rows: int, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self.source: Iterable[Any]
        if isinstance(data, Data):
            data = data.inputs if data.labels is None else (data.inputs, data.labels)
        if isinstance(data, Tensor | np.ndarray):
            data = (data,)
        self.loader = data if isinstance(data, DataLoader) else None
        if isinstance(data, tuple | list) and 0 < len(data) <= 2 and all(hasattr(d, "shape") for d in data):
            self.source = _Split(tuple(tensor_of(one, "data") for one in data), rows)
        elif isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping):
            self.source = data
        else:
            raise InvalidInputError(
                f"data must be x or (x, y) as arrays or tensors, or a DataLoader, got {type(data).__name__}"
            )

    def __iter__(self) -> Iterator[Batch]:
        """The batches, in order."""
        empty = True
        for item in self.source:
            empty = False
            yield self._batch(item)
        if empty:
            raise InvalidInputError("data holds no inputs; at least one row is needed")

    @property
    def total(self) -> int | None:
        """How many batches there are, where that is known."""
        return len(self.source) if isinstance(self.source, Sized) else None

    def _batch(self, item: Any) -> Batch:
        if isinstance(item, Mapping):
            found = {key: tensor_of(value, "data").to(self.device) for key, value in item.items()}
            labels = next((found.pop(name) for name in LABELS if name in found), None)
            if not found:
                raise InvalidInputError(f"a batch of data holds labels but no inputs: {', '.join(item)}")
            return self._checked(Batch({k: self._real(v) for k, v in found.items()}, labels))
        parts = list(item) if isinstance(item, tuple | list) else [item]
        if not 1 <= len(parts) <= 2:
            raise InvalidInputError(f"a batch of data must be x, (x, y) or a mapping, got {len(parts)} parts")
        inputs = self._real(tensor_of(parts[0], "data").to(self.device))
        labels = tensor_of(parts[1], "data").to(self.device) if len(parts) == 2 else None
        if labels is not None and labels.ndim == 2 and labels.shape[1] == 1 and not labels.is_floating_point():
            labels = labels.squeeze(1)
        return self._checked(Batch(inputs, labels))

    def _real(self, value: Tensor) -> Tensor:
        return value.to(self.dtype) if value.is_floating_point() else value

    def _checked(self, batch: Batch) -> Batch:
        if len(batch) == 0:
            raise InvalidInputError("data holds an empty batch; at least one row is needed")
        if batch.labels is not None and (batch.labels.ndim == 0 or len(batch.labels) != len(batch)):
            raise InvalidInputError(
                f"data needs one label an input: {len(batch)} inputs, labels of shape {tuple(batch.labels.shape)}"
            )
        values = [batch.inputs] if isinstance(batch.inputs, Tensor) else list(batch.inputs.values())
        bad = sum(int((~torch.isfinite(v)).sum()) for v in values if v.is_floating_point())
        if bad:
            raise InvalidInputError(f"data must be finite, got {bad} values that are NaN or infinite")
        return batch


@dataclass(frozen=True)
class _Split:
    """Tensors of equal length, cut into batches."""

    tensors: tuple[Tensor, ...]
    rows: int

    def __post_init__(self) -> None:
        lengths = [len(t) if t.ndim else 0 for t in self.tensors]
        if len(set(lengths)) > 1:
            raise InvalidInputError(f"data needs one label an input: {lengths[0]} inputs, {lengths[1]} labels")

    def __len__(self) -> int:
        return -(-len(self.tensors[0]) // self.rows)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return zip(*(t.split(self.rows) for t in self.tensors), strict=True) if len(self) else iter(())
