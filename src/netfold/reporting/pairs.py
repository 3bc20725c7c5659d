"""Which pairs of inputs to walk between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netfold.errors import InvalidInputError


@dataclass(frozen=True)
class Pairs:
    """Pairs of inputs, by their row numbers.

    Attributes:
        rows: shape ``(pairs, 2)``.
        disjoint: whether no input belongs to two pairs, so that the pairs are independent draws.
    """

    rows: NDArray[np.int64]
    disjoint: bool

    def __len__(self) -> int:
        return len(self.rows)


def choose_pairs(points: NDArray[np.float64], count: int, seed: int) -> Pairs:
    """Draw pairs of different inputs at random: disjoint ones as long as there are, then any.

    Args:
        points: the inputs, first axis the rows.
        count: how many pairs; fewer come back where the inputs do not allow so many.
        seed: of the draw.

    Returns:
        The pairs.

    Raises:
        InvalidInputError: ``count`` is not positive, or all inputs are equal.

    Example:
        >>> pairs = choose_pairs(np.arange(10.0)[:, None], 4, seed=0)
        >>> len(pairs), pairs.disjoint
        (4, True)
    """
    if count < 1:
        raise InvalidInputError(f"pairs must be at least 1, got {count}")
    if len(points) < 2:
        raise InvalidInputError(f"a path needs two inputs, the data holds {len(points)}; give at least two rows")
    chosen: list[tuple[int, int]] = []
    for a, b in itertools.islice(_candidates(len(points), seed), 100 * count + 2000):
        pair = (min(a, b), max(a, b))
        if pair not in chosen and not np.array_equal(points[a], points[b]):
            chosen.append(pair)
        if len(chosen) == count:
            break
    if not chosen:
        raise InvalidInputError("all inputs in the data are equal, so there is no path between two of them")
    rows = np.array(chosen, np.int64)
    return Pairs(rows, len(np.unique(rows)) == rows.size)


def _candidates(inputs: int, seed: int) -> Iterator[tuple[int, int]]:
    random = np.random.default_rng(seed)
    order = random.permutation(inputs).tolist()
    yield from zip(order[0::2], order[1::2], strict=False)
    if inputs <= 1000:
        every = list(itertools.combinations(range(inputs), 2))
        yield from (every[i] for i in random.permutation(len(every)))
    while inputs > 1000:
        a, b = random.integers(inputs, size=2).tolist()
        if a != b:
            yield a, b
