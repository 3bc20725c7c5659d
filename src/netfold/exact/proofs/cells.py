"""The lines of a proof below one cell: layer by layer, proposed in float64, judged and completed exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netfold.exact.numerics.threads import look
from netfold.exact.proofs.check_regions import CutBlock, Refused, StatedLayer
from netfold.exact.proofs.findings import LineFindings, Spans
from netfold.exact.proofs.proposing import SearchStart, propose
from netfold.exact.proofs.search import search

Row = list[int]


@dataclass(frozen=True)
class ProofCell:
    """A cell on which the first layers are affine.

    Attributes:
        values: the outputs of the input and of these layers, as the checker keeps them.
        walls: the cell is where they are positive.
        start: a point of its closure on some of its walls; ``None`` where none is known in float64.
        names: for every wall its layer, -1 for none, and its unit there.
    """

    values: list[Any]
    walls: list[Row]
    start: SearchStart | None
    names: list[tuple[int, int]]

    @property
    def depth(self) -> int:
        """The number of the next layer, from 1."""
        return len(self.values)


def whole(m: int, walls: Sequence[Row], point: Sequence[Any]) -> ProofCell:
    """The domain, with a point inside."""
    inputs = 1, [[int(i == k) for k in range(m + 1)] for i in range(m)]
    return ProofCell([inputs], list(walls), _start(point, []), [(-1, 0)] * len(walls))


@dataclass
class CellSplit:
    """A cell divided by the cuts of its next layer.

    Attributes:
        text: the line of the proof, empty where there are no cuts.
        codes: the cells, in the order of a proof.
    """

    cell: ProofCell
    block: CutBlock
    found: LineFindings | None
    text: str
    codes: list[int]

    @staticmethod
    def of(cell: ProofCell, layers: Sequence[StatedLayer]) -> CellSplit:
        """Divide a cell."""
        look()
        depth = cell.depth
        block = CutBlock(len(cell.values[0][1]), layers[depth - 1], cell.values)
        if not block.cuts:
            return CellSplit(cell, block, None, "", [0])
        found = LineFindings(block, cell.walls, _spans(cell, block, layers))
        whole = False
        if cell.start is not None:
            proposed = propose(block, found.functions, cell.start)
            whole = found.add_stars(proposed) & found.add_lemmas(proposed) and proposed.whole
        if whole:  # the search has answered for all states in the checker's order, and every answer is certain
            return CellSplit(cell, block, found, found.line(depth), sorted(found.shown))
        try:
            codes = found.complete()
        except Refused:
            search(found)
            codes = found.complete()
        return CellSplit(cell, block, found, found.line(depth), codes)

    def parts(self, chosen: Sequence[int] | None = None) -> Iterator[ProofCell]:
        """The cells, in order; or some of them, by their place."""
        cell, block, found = self.cell, self.block, self.found
        excluded = found.excluded if found else set()
        stars = {code: star for star in reversed(found.stars) for code in star.codes} if found else {}
        units = _units(block)
        for place in range(len(self.codes)) if chosen is None else chosen:
            code = self.codes[place]
            own, outputs = block.inside(code, excluded)
            walls = [*cell.walls, *([sign * v for v in block.cuts[j]] for j, sign in own)]
            start = cell.start
            if found:
                star, first = stars[code], len(cell.walls)
                names = {first + j: first + i for i, (j, _) in enumerate(own)} | {i: i for i in range(first)}
                start = _start(star.point, [names[r] for r in star.rows if r in names])
            own_names = [(cell.depth, units[j]) for j, _ in own]
            yield ProofCell([*cell.values, outputs], walls, start, [*cell.names, *own_names])


def below(cell: ProofCell, layers: Sequence[StatedLayer], lines: list[str]) -> int:
    """Write the lines about a cell and all that is below; gives the number of its regions."""
    split = CellSplit.of(cell, layers)
    if split.text:
        lines.append(split.text)
    if cell.depth == len(layers):
        return len(split.codes)
    return sum(below(part, layers, lines) for part in split.parts())


def _units(block: CutBlock) -> list[int]:
    """The unit of every cut."""
    units = [0] * len(block.cuts)
    for u, masks in enumerate(block.states):
        held = masks[0] | masks[-1]  # of a unit with knots each cut has a literal in the first state and in the last
        while held:
            at = (held.bit_length() - 1) // 2
            units[at] = u
            held &= ~(3 << 2 * at)
    return units


def _spans(cell: ProofCell, block: CutBlock, layers: Sequence[StatedLayer]) -> Spans:
    """What is known of the ranks of walls and cuts."""
    names, active, depth = [*cell.names, *((cell.depth, u) for u in _units(block))], [0], cell.depth
    for level in range(1, depth + 1):
        outputs = cell.values[level][1] if level < depth else []
        active.append(sum(1 << u for u, row in enumerate(outputs) if row and any(row[:-1])))
    # A layer does not span what is behind it where something reads past it, or where it takes the largest of rows.
    past = {k for k in range(1, depth + 1) if any(min(layer.sources) < k for layer in layers[k:depth])}
    useless = past | {k for k in range(1, depth + 1) if layers[k - 1].groups}
    return Spans([-1 if k in useless else k for k, _ in names], [u for _, u in names], active)


def _start(point: Sequence[Any], rows: list[int]) -> SearchStart | None:
    try:
        return SearchStart([float(x) for x in point], rows)
    except OverflowError:
        return None
