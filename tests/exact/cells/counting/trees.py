"""A splitting tree made up from hashes: an engine without geometry, for tests of who counts what and when."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from netfold.exact.cells.engine import Outcome, Prefix


@dataclass
class Tree:
    """A tree whose nodes have one to three children, one of them none at all.

    Attributes:
        depth: number of units.
        seed: which tree.
        pause: seconds that every call takes.
        hollow: whether some nodes turn out to be empty.
    """

    depth: int
    seed: int = 0
    pause: float = 0.0
    hollow: bool = True
    name: str = "made up"
    network: Any = None

    @property
    def fingerprint(self) -> dict[str, str]:
        return {"domain": "none", "network": f"tree {self.depth} {self.seed}", "rule": "leaves"}

    @property
    def engine(self) -> Tree:
        return self

    def children(self, node: tuple[int, ...]) -> list[int]:
        draw = zlib.crc32(repr((self.seed, node)).encode()) % 12
        if draw == 0 and self.hollow and len(node) > 2:
            return []
        return [draw % 3] if draw < 4 else [0, 2] if draw < 9 else [0, 1, 2]

    def leaves(self, node: tuple[int, ...] = ()) -> int:
        """The number of leaves, by recursion."""
        return 1 if len(node) == self.depth else sum(self.leaves((*node, child)) for child in self.children(node))

    def inradius(self, node: tuple[int, ...]) -> float:
        return 1e-6 + zlib.crc32(repr(node).encode()) / 2**32

    def smallest(self, node: tuple[int, ...] = ()) -> float:
        """The smallest number that a leaf holds, by recursion."""
        if len(node) == self.depth:
            return self.inradius(node)
        return min((self.smallest((*node, child)) for child in self.children(node)), default=np.inf)

    def run(
        self,
        item: Prefix,
        *,
        stop: int | None = None,
        budget: int = 1 << 16,
        collect: bool = False,
        inradius: bool = False,
    ) -> Outcome:
        time.sleep(self.pause)
        end = self.depth if stop is None else stop
        stack, regions, decisions, smallest = [tuple(item.tolist())], 0, 0, np.inf
        while stack and (decisions < budget or not decisions):
            node = stack.pop()
            if len(node) == end:
                regions += 1
                smallest = min(smallest, self.inradius(node))
                continue
            decisions += 1
            stack += [(*node, child) for child in self.children(node)]
        left = [np.array(node, np.int16) for node in stack]
        return Outcome(regions, left, decisions, decisions // 7, 0, smallest if inradius else np.nan)
