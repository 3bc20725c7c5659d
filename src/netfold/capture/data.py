"""Data from files, without ever opening a pickle."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netfold.arrays import refusals, require_room
from netfold.capture.archive import Archive
from netfold.capture.files import Spec, existing, tensors
from netfold.errors import CorruptFileError, InvalidInputError, UntrustedFileError

LONGEST_HEADER = 2**16
"""Bytes before an array's entries."""


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs of a model, and their labels where there are any.

    Attributes:
        inputs: shape ``(N, *shape)``, float32 or float64, finite.
        labels: shape ``(N,)``, integers; or ``None``.
        source: the file they come from.
    """

    inputs: NDArray[np.float32] | NDArray[np.float64]
    labels: NDArray[np.int64] | None
    source: str

    def __len__(self) -> int:
        """How many inputs there are."""
        return len(self.inputs)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.inputs.shape[1:]


def without_labels(values: Any) -> Any:
    """The inputs alone, of ``(x, y)`` or `Data`; anything else as it is.

    ``(x, y)`` are two arrays or tensors of as many rows, of which ``x`` has the more axes.

    Example:
        >>> without_labels((np.zeros((2, 3)), [0, 1])).shape
        (2, 3)
    """
    if isinstance(values, Data):
        return values.inputs
    if not isinstance(values, tuple) or len(values) != 2 or not hasattr(values[0], "shape"):
        return values
    x, y = values
    labels = y if hasattr(y, "shape") else np.asarray(y) if isinstance(y, list | tuple) else None
    rows = len(x.shape) > 1 and labels is not None and tuple(labels.shape) == tuple(x.shape[:1])
    return x if rows else values


def tensor_of(values: Any, name: str) -> Tensor:
    """Real numbers as a tensor without a gradient, in their own type and place; of ``(x, y)`` those of ``x``.

    Raises:
        InvalidInputError: no numbers, complex ones, none that are there, or more than this machine can hold.
    """
    values = without_labels(values)
    try:
        found = torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values)).detach()
        if found.is_complex() or found.is_meta:
            raise TypeError("they are complex" if found.is_complex() else "the tensor is on the meta device")
    except refusals(values) as error:
        why = " ".join(str(error).split())[:200]
        raise InvalidInputError(f"{name} must be numbers, got {type(values).__name__}: {why}") from error
    require_room(name, 8 * found.numel())
    return found.to_dense() if found.layout != torch.strided else found


def load_data(spec: Spec) -> Data:
    """Inputs, and labels if there are any, from a ``.npz``, ``.npy`` or ``.safetensors`` file.

    Inputs are the array named ``x``, or the only one there is; labels are the array named ``y``. Integers
    become float64 (no scaling), float16 becomes float32.

    Args:
        spec: the file.

    Returns:
        The inputs and labels.

    Raises:
        InvalidInputError: there is no such file, it is empty, or an array has a wrong shape or type, or a
            row that is not finite.
        UntrustedFileError: the file is a pickle or holds one.
        CorruptFileError: the file is damaged.
    """
    return _data(*_arrays(spec, "data"))


def load_example(spec: Spec) -> Any:
    """What a whole model runs on, from a ``.npz``, ``.npy`` or ``.safetensors`` file: arrays by argument, or one alone.

    An array without axes is a number.

    Raises:
        InvalidInputError: there is no such file, or an array holds no numbers.
        UntrustedFileError: the file is a pickle or holds one.
        CorruptFileError: the file is damaged.
    """
    path, arrays = _arrays(spec, "example")
    strange = next((name for name, array in arrays.items() if array.dtype.kind not in "fiub"), None)
    if strange is not None:
        raise InvalidInputError(f"{path}: '{strange}' must hold numbers, got {arrays[strange].dtype}")
    found = {name: torch.as_tensor(array) if array.ndim else array.item() for name, array in arrays.items()}
    return next(iter(found.values())) if len(found) == 1 else found


def _arrays(spec: Spec, what: str) -> tuple[Path, Mapping[str, Any]]:
    path = existing(spec, what)
    readers = {".npz": _read_npz, ".npy": _read_npy, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(f"{path}: {what} is a .npz, .npy or .safetensors file, not '{path.suffix}'")
    return path, reader(path)


def _read_npz(path: Path) -> Mapping[str, Any]:
    with Archive(path, packed=True) as archive:
        strange = next((name for name in archive.sizes if not name.endswith(".npy")), None)
        if strange is not None:
            raise CorruptFileError(f"{path} is not a .npz file, or is damaged: its member '{strange}' is no array")
        return {name.removesuffix(".npy"): _array(path, archive.read(name)) for name in archive.sizes}


def _read_npy(path: Path) -> Mapping[str, Any]:
    return {"x": _array(path, np.fromfile(path, np.uint8))}


def _array(path: Path, content: NDArray[np.uint8]) -> NDArray[Any]:
    """An array in numpy's format, whose header must say just what follows it."""
    file = io.BytesIO(content[:LONGEST_HEADER].tobytes())
    try:
        version = np.lib.format.read_magic(file)
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, by_columns, dtype = headers[version](file)
        stored = content[file.tell() :]
        if not dtype.hasobject and (dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != len(stored)):
            raise ValueError(f"its header tells of {shape} entries of type {dtype}, and {len(stored):,} bytes follow")
        if not dtype.hasobject:
            return stored.view(dtype).reshape(shape, order="F" if by_columns else "C")
    except Exception as error:  # a damaged header fails in whatever way Python's parser does
        raise CorruptFileError(f"{path} is not a {path.suffix} file, or is damaged: {error}") from error
    raise UntrustedFileError(
        f"{path} holds pickled Python objects: opening them could run code, so netfold does not; save "
        "plain arrays: numpy.savez('data.npz', x=x, y=y)"
    )


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    return {
        name: tensor.float().numpy() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor.numpy()
        for name, tensor in tensors(path).items()
    }


def _data(path: Path, arrays: Mapping[str, Any]) -> Data:
    others = [name for name in arrays if name != "y"]
    name = "x" if "x" in arrays else others[0] if len(others) == 1 else None
    if name is None:
        raise InvalidInputError(
            f"{path}: name the inputs 'x' and the labels 'y'; it holds {', '.join(arrays) or 'no array'}"
        )
    inputs = _inputs(path, name, arrays[name])
    return Data(inputs, _labels(path, arrays["y"], len(inputs)) if "y" in arrays else None, str(path))


def _inputs(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{path}: '{name}' must hold real numbers, got {array.dtype}")
    if array.ndim < 2:
        raise InvalidInputError(f"{path}: '{name}' must have one input a row, shape (N, ...), got shape {array.shape}")
    if array.size == 0:
        raise InvalidInputError(f"{path}: '{name}' is empty, its shape is {array.shape}; at least one row is needed")
    inputs = array.astype(np.float32 if array.dtype in (np.float16, np.float32) else np.float64)
    bad = np.flatnonzero(~np.isfinite(inputs).reshape(len(inputs), -1).all(1))
    if len(bad):
        raise InvalidInputError(
            f"{path}: {len(bad)} of {len(inputs)} rows of '{name}' hold NaN or infinite values, the first is "
            f"row {bad[0]}"
        )
    return inputs


def _labels(path: Path, array: NDArray[Any], rows: int) -> NDArray[np.int64]:
    labels = array.reshape(len(array)) if array.ndim == 2 and array.shape[1] == 1 else array
    if labels.shape != (rows,):
        raise InvalidInputError(f"{path}: 'y' must have one label a row, shape ({rows},), got {array.shape}")
    if labels.dtype.kind not in "iub" and not (labels.dtype.kind == "f" and (labels == np.round(labels)).all()):
        raise InvalidInputError(f"{path}: 'y' must hold class numbers, got {labels.dtype}")
    return labels.astype(np.int64)
