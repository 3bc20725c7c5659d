"""Columns of equal length that grow row by row without many small arrays and without copies of what they hold."""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

FIRST, LARGEST = 1024, 2**17
"""Rows in the first chunk; each has twice the room of the one before, up to the largest."""

PAGES = 2**17
"""Bytes from which on a chunk lies in pages of its own."""


class Columns:
    """Arrays that grow together, chunk by chunk.

    Many small arrays that outlive the large ones around them would keep the freed memory between them from being
    used again; one large array would have to be copied, and held twice, whenever its room is used up.

    Args:
        kinds: number type and shape of one entry of each column.

    Example:
        >>> columns = Columns((np.int64, ()), (np.float64, (2,)))
        >>> columns.append([1, 2], [[0.0, 1.0], [2.0, 3.0]])
        >>> [column.tolist() for column in columns.take()]
        [[1, 2], [[0.0, 1.0], [2.0, 3.0]]]
    """

    def __init__(self, *kinds: tuple[DTypeLike, tuple[int, ...]]) -> None:
        self.kinds = kinds
        self.full: list[list[NDArray[Any]]] = []
        self.room = self._chunk(FIRST)
        self.count = 0

    def append(self, *values: Any) -> None:
        """Add some rows: one array a column."""
        begin, end = 0, len(values[0])
        while begin < end:
            if self.count == len(self.room[0]):
                self.full.append(self.room)
                self.room, self.count = self._chunk(min(2 * self.count, LARGEST)), 0
            step = min(end - begin, len(self.room[0]) - self.count)
            for column, new in zip(self.room, values, strict=True):
                column[self.count : self.count + step] = new[begin : begin + step]
            self.count += step
            begin += step

    def join(self, following: Columns) -> None:
        """Add the rows of other columns, which lose them; nothing is copied."""
        self.full += [[column[: self.count] for column in self.room], *following.full]
        self.room, self.count = following.room, following.count
        following._clear()

    def take(self) -> list[NDArray[Any]]:
        """The columns as whole arrays; none of the rows stay here."""
        chunks = self._chunks()
        rows = sum(len(chunk[0]) for chunk in chunks)
        taken = []
        for i, (dtype, shape) in enumerate(self.kinds):
            whole, begin = np.empty((rows, *shape), dtype), 0
            for chunk in chunks:
                part, chunk[i] = chunk[i], whole[:0]
                whole[begin : begin + len(part)] = part
                begin += len(part)
            taken.append(whole)
        return taken

    def _chunk(self, rows: int) -> list[NDArray[Any]]:
        return [_empty((rows, *shape), np.dtype(dtype)) for dtype, shape in self.kinds]

    def _chunks(self) -> list[list[NDArray[Any]]]:
        chunks = [*self.full, [column[: self.count] for column in self.room]]
        self._clear()
        return chunks

    def _clear(self) -> None:
        self.full, self.room, self.count = [], self._chunk(FIRST), 0


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array; a large one lies in pages of its own, so that what is let go of is free at once."""
    size = math.prod(shape) * dtype.itemsize
    return np.empty(shape, dtype) if size < PAGES else np.frombuffer(mmap.mmap(-1, size), dtype).reshape(shape)
