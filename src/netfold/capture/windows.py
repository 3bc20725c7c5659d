"""Which input entries compete for each output of a maximum, minimum or max-pooling operation.

Shapes here are those of one point (no batch axis); entries are numbered in row-major order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Entries = NDArray[np.int64]
"""Positions of entries, ``(units, entries)``; -1 pads units with fewer entries."""


def pairs(shapes: list[Shape]) -> Entries:
    """Two tensors compared entry by entry, with broadcasting."""
    first = np.arange(np.prod(shapes[0], dtype=np.int64)).reshape(shapes[0])
    second = first.size + np.arange(np.prod(shapes[1], dtype=np.int64)).reshape(shapes[1])
    return np.stack([a.reshape(-1) for a in np.broadcast_arrays(first, second)], 1)


def along(shape: Shape, dims: list[int]) -> Entries:
    """All entries along ``dims``, which count the batch axis as axis 0.

    Raises:
        ValueError: the batch axis is among them.
    """
    rank = len(shape) + 1
    axes = [d % rank - 1 for d in dims]
    if not axes or -1 in axes:
        raise ValueError("it reduces over the points of the batch")
    kept = [a for a in range(len(shape)) if a not in axes]
    entries = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape).transpose(kept + axes)
    return entries.reshape(int(np.prod([shape[a] for a in kept], dtype=np.int64)), -1)


def pooling(shape: Shape, dims: int, a: dict[str, Any]) -> Entries:
    """Sliding windows over the last ``dims`` axes: kernel, stride, padding, dilation and ceil mode."""
    kernel = _spread(a["kernel_size"], dims)
    stride = _spread(a.get("stride") or kernel, dims)
    padding, dilation = _spread(a.get("padding", 0), dims), _spread(a.get("dilation", 1), dims)
    axes = [
        _sliding(size, k, s, p, d, bool(a.get("ceil_mode", False)))
        for size, k, s, p, d in zip(shape[-dims:], kernel, stride, padding, dilation, strict=True)
    ]
    return _product(shape, axes)


def adaptive(shape: Shape, output_size: Any) -> Entries:
    """The uneven windows of adaptive pooling: output ``i`` covers floor(i n / o) to ceil((i + 1) n / o)."""
    sizes = [output_size] if isinstance(output_size, int) else list(output_size)
    axes = []
    for size, out in zip(shape[-len(sizes) :], sizes, strict=True):
        begin, end = np.arange(out) * size // out, -(-(np.arange(out) + 1) * size // out)
        window = begin[:, None] + np.arange((end - begin).max())
        axes.append(np.where(window < end[:, None], window, -1))
    return _product(shape, axes)


def _spread(value: Any, dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


def _sliding(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> Entries:
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1
    window = (np.arange(count) * stride - padding)[:, None] + np.arange(kernel) * dilation
    return np.where((window >= 0) & (window < size), window, -1)


def _product(shape: Shape, axes: list[Entries]) -> Entries:
    """Windows that are products of one window an axis, for every channel."""
    lead = int(np.prod(shape[: -len(axes)], dtype=np.int64))
    entries = np.arange(lead)[:, None]
    for size, window in zip(shape[-len(axes) :], axes, strict=True):
        both = entries[:, None, :, None] * size + window[:, None, :]
        inside = (entries[:, None, :, None] >= 0) & (window[:, None, :] >= 0)
        count, width = len(entries) * len(window), entries.shape[1] * window.shape[1]
        entries = np.where(inside, both, -1).reshape(count, width)
    return entries
