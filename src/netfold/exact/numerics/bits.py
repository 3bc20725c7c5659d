"""Sets of units as bits of 64-bit words, compiled: count them, take them out one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from netfold.exact.numerics.compiled import compiled

WORD = 64
POWERS = np.left_shift(np.int64(1), np.arange(WORD, dtype=np.int64))
"""One bit each, for loops that compile to vector instructions (a shift by the loop's variable does not)."""

LARGEST = np.uint64(2**64 - 1)

Words = NDArray[np.int64]


def words(units: int) -> int:
    """How many words hold one bit a unit."""
    return -(-units // WORD)


def _count_bits(typing: Any, x: Any) -> Any:
    """The machine's own population count."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), build


def _trailing_zeros(typing: Any, x: Any) -> Any:
    """The machine's own count of trailing zeros."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), build


def _float_bits(typing: Any, x: Any) -> Any:
    """The bits of a float."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), build


def _bits_float(typing: Any, x: Any) -> Any:
    """The float of bits."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), build


_count: Any = intrinsic(_count_bits)
_trailing: Any = intrinsic(_trailing_zeros)
_from_float: Any = intrinsic(_float_bits)
_to_float: Any = intrinsic(_bits_float)


@compiled(inline=True)
def count(word):
    """How many bits are set."""
    return _count(word)


@compiled(inline=True)
def first(word):
    """Number of the lowest bit that is set."""
    return _trailing(word)


@compiled(inline=True)
def of_float(x):
    """The bits of a float; of floats that are not negative, in their order."""
    return _from_float(x)


@compiled(inline=True)
def to_float(word):
    """The float of these bits."""
    return _to_float(word)
