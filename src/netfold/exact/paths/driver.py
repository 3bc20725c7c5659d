"""One driver for all domains: blocks go depth-first through a program, runs of them side by side on threads.

The rows of a batch are points, and affine operations act on points: that idea carries the vertices of straight paths,
the harmonics of arcs and the polygons of planes. What differs between them stands in three frozen variants of `Domain`;
how blocks are led through the layers, bounded and shared among threads stands here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from netfold.exact.numerics.threads import aside, look, side_by_side, single_threaded

FORK = 2**16
"""Values at the rows ahead from which on runs of them go to threads."""

RUNS = 4
"""Runs for each thread: more of them balance the work better, and each takes a little more."""

B = TypeVar("B")


@dataclass(frozen=True)
class Ahead(Generic[B]):
    """What follows from one block, and waits to be made into blocks of its own.

    Attributes:
        level: the layer that the blocks come to; the number of layers for the output.
        count: pieces that can be parted: segments of a path, polygons of a plane.
        size: values at all of them, about.
        blocks: makes the blocks of the pieces from one to another, one after the other.
    """

    level: int
    count: int
    size: int
    blocks: Callable[[int, int], Iterator[B]]


class Tally(Protocol):
    """What a run of consecutive blocks adds up."""

    def join(self, following: Self) -> None:
        """Add what was met by the blocks that follow these."""
        ...


T = TypeVar("T", bound=Tally)


class Domain(Protocol[B, T]):
    """How a domain's blocks go through a program: points of lines, harmonics of arcs, polygons of planes.

    Every variant keeps this contract, and the driver asks for nothing else:

    1. A variant is frozen. What blocks add up, and what one must remember for the next, stands in a tally.
    2. `meet` takes a block to the layer at its level: it finds where units change state, adds up what the block holds,
       and says what lies ahead: rows of the next level, or of the same one where the block must first be made smaller,
       in which case nothing was added up. In the output nothing lies ahead.
    3. Blocks come in the order of the domain, and neighbours share the row between them (paths) or know it by its key
       (planes). Products are taken on a multiple of eight rows, so that a row's values do not depend on its block.
    4. A block holds a bounded number of rows, is made when it is asked for, and what it is made from is left alone: so
       memory does not grow with the number of regions, and blocks of several runs may be made at once.
    5. A tally that was joined with the one of the blocks that follow is, to the last bit, the tally of one run over
       them all. Hence results depend neither on the size of blocks nor on threads.
    """

    @property
    def fork(self) -> int:
        """Values at the rows ahead from which on threads share them."""
        ...

    def tally(self, level: int) -> T:
        """An empty tally for blocks from a level on."""
        ...

    def meet(self, level: int, block: B, tally: T) -> Ahead[B] | None:
        """Take a block through the layer at its level."""
        ...


def run(domain: Domain[B, T], ahead: Ahead[B], threads: int) -> T:
    """Lead a whole domain through its program; what all of its blocks add up."""
    return aside(_run, domain, ahead, threads)


def _run(domain: Domain[B, T], ahead: Ahead[B], threads: int) -> T:
    tally = domain.tally(ahead.level)
    with torch.no_grad(), single_threaded():
        _follow(domain, tally, threads, ahead, 0, ahead.count)
    return tally


def _follow(domain: Domain[B, T], tally: T, threads: int, ahead: Ahead[B], begin: int, end: int) -> None:
    """Lead what lies ahead to the output, depth-first; where it is much, runs of it at once, joined in order."""
    if threads > 1 and ahead.size >= domain.fork and end - begin > 1:
        _fork(domain, tally, threads, ahead)
        return
    for block in ahead.blocks(begin, end):
        look()
        further = domain.meet(ahead.level, block, tally)
        if further is not None:
            _follow(domain, tally, threads, further, 0, further.count)
        del block, further  # before the next block takes memory


def _fork(domain: Domain[B, T], tally: T, threads: int, ahead: Ahead[B]) -> None:
    runs = min(RUNS * threads, ahead.count)
    cuts = [ahead.count * i // runs for i in range(runs + 1)]
    parts: list[Any] = [domain.tally(ahead.level) for _ in range(runs)]
    tasks = [partial(_follow, domain, part, 1, ahead, a, b) for part, (a, b) in zip(parts, pairwise(cuts), strict=True)]
    side_by_side(tasks, threads)
    while parts:
        tally.join(parts.pop(0))
