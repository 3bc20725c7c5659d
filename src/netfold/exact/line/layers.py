"""How a piecewise-linear layer acts on the vertices of a straight path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Elementwise, Rule
from netfold.exact.line import passes
from netfold.exact.line.passes import Met
from netfold.exact.line.pieces import pieces_of
from netfold.exact.paths.blocks import PathBlock
from netfold.exact.paths.records import Choice, Crossings, Functions, Scan, Totals


@dataclass(frozen=True)
class LineLayer:
    """A layer's compiled passes with its parameters bound.

    Attributes:
        rule: what the units do, and ``source`` as it was captured.
        units: how many there are.
        saturated_pieces: pieces of a function whose end pieces are constant; 0 for others.
    """

    rule: Functions | Choice
    source: Rule
    units: int
    saturated_pieces: int

    @staticmethod
    def of(rule: Rule, units: int) -> LineLayer:
        """Bind a captured layer's rule."""
        if isinstance(rule, Elementwise):
            return LineLayer(Functions(pieces_of(rule)), rule, units, rule.slopes.shape[1] if rule.saturates else 0)
        sign = 1.0 if rule.largest else -1.0
        return LineLayer(Choice(np.ascontiguousarray(rule.candidates), sign), rule, len(rule.candidates), 0)

    def meet(self, index: int, block: PathBlock, before: Floats, totals: Totals, scales: Floats, spread: bool) -> Met:
        """Find a block's changes of state, add up its counts and lengths, and refine its rows.

        ``before`` is the vertex before row 0, or empty; ``scales`` are those of the layer's terms on each path;
        ``spread`` says whether the image is asked for at the vertices alone.
        """
        return passes.meet(index, block.t, block.path, block.flips, block.first, block.h, before, self.rule,
                            self.units, self.saturated_pieces, totals, scales, spread)  # fmt: skip

    def scan(self, h: Floats, path: Ints, before: Floats) -> Scan:
        """Count changes of state and describe the image; ``before`` is the vertex before row 0, or empty."""
        return passes.scan(h, path, before, self.rule)

    def crossings(self, h: Floats, path: Ints, before: Floats, scan: Scan) -> Crossings:
        """List the changes of state that a scan counted."""
        return passes.crossings(h, path, before, self.rule, scan)

    def image(self, h: Floats, segment: Ints, at: Floats, cross: Ints, crossings: Crossings) -> Floats:
        """The layer's values at refined rows: row ``i`` lies in ``segment[i]`` at position ``at[i]``."""
        out = np.empty((len(at), self.units))
        passes.image(h, segment, at, cross, crossings, self.rule, out)
        return out
