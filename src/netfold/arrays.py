"""Arrays: names for those of one kind of number, and reading those that a user gives."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.errors import InvalidInputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Keys = NDArray[np.uint64]


def refusals(values: Any) -> tuple[type[Exception], ...]:
    """What values may raise that are asked for numbers: arrays what their libraries raise, a user's object anything.

    What else comes up while an array is read is not about it: a handler of signals raised it.
    """
    known = isinstance(values, np.ndarray) or hasattr(values, "detach")
    return (TypeError, ValueError, RuntimeError) if known else (Exception,)


def numbers(values: Any, name: str, *, infinite: bool = False) -> Floats:
    """Real numbers as a new array of float64: of lists, arrays, or tensors on any device.

    Args:
        values: what was given, and ``name`` what errors call it.
        infinite: whether infinity may be among them.

    Raises:
        InvalidInputError: no numbers, complex ones, NaN, infinity, or more than this machine can hold.

    Example:
        >>> numbers([1, 2.5], "widths").tolist()
        [1.0, 2.5]
    """
    try:
        array = np.asarray(_dense(values) if hasattr(values, "detach") else values)
        require_room(name, 8 * array.size)
        if array.dtype.kind not in "fiubO":
            raise TypeError(f"they are of type {array.dtype}")
        array = np.array(array, np.float64)
    except InvalidInputError:
        raise
    except refusals(values) as error:
        why = " ".join(str(error).split())[:200]
        raise InvalidInputError(f"{name} must be real numbers, got {type(values).__name__}: {why}") from error
    if infinite and np.isnan(array).any():
        raise InvalidInputError(f"{name} must not hold NaN")
    if not infinite and (bad := int((~np.isfinite(array)).sum())):
        raise InvalidInputError(f"{name} must be finite, got {bad} values that are NaN or infinite")
    return array


def _dense(tensor: Any) -> Any:
    """A tensor as an array."""
    if tensor.is_meta:
        raise TypeError("the tensor is on the meta device and has no values")
    require_room("the tensor", 8 * tensor.numel())
    plain = tensor.detach().cpu()
    plain = plain.to_dense() if str(plain.layout) != "torch.strided" else plain
    return plain.numpy() if plain.is_complex() else plain.double().numpy()


def require_room(name: str | os.PathLike[str], size: int) -> None:
    """Refuse what cannot be held in memory before any of it is taken.

    Raises:
        InvalidInputError: ``size`` bytes are more than this machine has.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**40
    if size > memory:
        raise InvalidInputError(
            f"{name} holds {size:,} bytes, and this machine has {memory:,} bytes of memory; give a part of it"
        )
