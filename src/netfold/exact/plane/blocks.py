"""Blocks of polygons that wait to be cut, in order."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.capture.program import Values
from netfold.exact.plane.splitting import Loops, take
from netfold.exact.plane.vertices import Vertices

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Block:
    """Neighbouring polygons at the nonlinearity (or the output) that ends one stage.

    Attributes:
        h: what the nonlinearity reads at the vertices, ``alive`` the other values that later stages read.
        xy: coordinates of the vertices, ``key`` and ``made`` as in `Vertices`.
        polygons: the loops.
        ids: the number of each polygon's ancestor after every layer so far.
        states: bits of the states of all units so far.
    """

    h: Floats
    alive: Values
    xy: Floats
    key: NDArray[np.uint64]
    made: Ints
    polygons: Loops
    ids: Ints
    states: Ints


class Made(NamedTuple):
    """A block after it was cut.

    Attributes:
        vertices: of which the first ``used`` are in use; ``alive`` what lives on at them.
        ids: the number of each piece's ancestor after every layer so far, and ``states`` its bits.
    """

    vertices: Vertices
    used: int
    alive: Values
    ids: Ints
    states: Ints


class Chunks:
    """Consecutive polygons with few enough vertices, as loops of their own, and the vertices they need."""

    def __init__(self, pieces: Loops, used: int, most: int, begin: int = 0, end: int | None = None) -> None:
        self.pieces, self.used, self.most, self.begin = pieces, used, most, begin
        self.end = len(pieces.parent) if end is None else end
        self.index, self.rows = np.full(used, -1), np.empty(used, np.int64)

    @property
    def left(self) -> int:
        """Polygons not yet taken."""
        return self.end - self.begin

    def next(self) -> tuple[slice, Ints, Loops]:
        """Take some."""
        first, pieces = self.begin, self.pieces
        n, self.begin, loop = take(first, self.end, pieces, self.most, self.index, self.rows)
        chosen, begin = slice(first, self.begin), pieces.start[first]
        label = pieces.label[begin : begin + len(loop)]
        polygons = Loops(pieces.start[first : self.begin + 1] - begin, loop, label, pieces.parent[chosen])
        return chosen, self.rows[:n].copy(), polygons

    def halve(self) -> Chunks:
        """Give the later half away."""
        middle, end = (self.begin + self.end + 1) // 2, self.end
        self.end = middle
        return Chunks(self.pieces, self.used, self.most, middle, end)


class Blocks:
    """Blocks that wait to be cut by a layer."""

    def __init__(self, level: int, blocks: Sequence[Block]) -> None:
        self.level, self.blocks = level, deque(blocks)

    @property
    def left(self) -> int:
        """How many wait."""
        return len(self.blocks)

    @property
    def values(self) -> int:
        """Numbers at the vertices."""
        return sum(block.h.size for block in self.blocks)

    def next(self) -> Callable[[], Block]:
        """How to make the first of them."""
        block = self.blocks.popleft()
        return lambda: block

    def halve(self) -> Blocks:
        """Give the later half away."""
        given = [self.blocks.pop() for _ in range(len(self.blocks) // 2)]
        return Blocks(self.level, given[::-1])


class Pieces:
    """Pieces of a block that wait to be carried through the next stage and cut by its layer."""

    def __init__(self, level: int, units: int, chunks: Chunks, make: Callable[[slice, Ints, Loops], Block]) -> None:
        self.level, self.units, self.chunks, self.make = level, units, chunks, make

    @property
    def left(self) -> int:
        """How many wait."""
        return self.chunks.left

    @property
    def values(self) -> int:
        """Numbers at the vertices, about: a polygon has one vertex of its own."""
        return self.left * self.units

    def next(self) -> Callable[[], Block]:
        """How to make the next block of them."""
        return partial(self.make, *self.chunks.next())

    def halve(self) -> Pieces:
        """Give the later half away."""
        given = copy.copy(self)
        given.chunks = self.chunks.halve()
        return given
