"""Columns of equal length that grow row by row without many small arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

FIRST = 1024
"""Rows there is room for at first."""


class Columns:
    """Arrays that grow together, doubling their room when it is used up.

    Many small arrays that outlive the large ones around them would keep the freed memory between them from being
    used again.

    Args:
        kinds: number type and shape of one entry of each column.

    Example:
        >>> columns = Columns((np.int64, ()), (np.float64, (2,)))
        >>> columns.append([1, 2], [[0.0, 1.0], [2.0, 3.0]])
        >>> [column.tolist() for column in columns.arrays()]
        [[1, 2], [[0.0, 1.0], [2.0, 3.0]]]
    """

    def __init__(self, *kinds: tuple[DTypeLike, tuple[int, ...]]) -> None:
        self.room: list[NDArray[Any]] = [np.empty((FIRST, *shape), dtype) for dtype, shape in kinds]
        self.count = 0

    def append(self, *values: Any) -> None:
        """Add some rows: one array a column."""
        end = self.count + len(values[0])
        while end > len(self.room[0]):
            self.room = [np.concatenate([column, np.empty_like(column)]) for column in self.room]
        for column, new in zip(self.room, values, strict=True):
            column[self.count : end] = new
        self.count = end

    def arrays(self) -> list[NDArray[Any]]:
        """The columns, as long as there are rows."""
        return [column[: self.count] for column in self.room]
