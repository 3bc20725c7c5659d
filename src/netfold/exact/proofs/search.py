"""The search for a line of a proof in rational arithmetic: what always works, also where everything is degenerate."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from fractions import Fraction

from netfold.errors import InvalidInputError
from netfold.exact.lp.rational import Row, interior, lowest, null_space, value_at
from netfold.exact.proofs.check_regions import CutBlock
from netfold.exact.proofs.findings import LineFindings

Exact = list[Fraction]


def domain_line(m: int, walls: Sequence[Row]) -> tuple[str, bool]:
    """The line that shows whether a domain has an inside, and whether it has."""
    found = LineFindings(CutBlock(m), walls)
    point = interior(walls, m)
    if point is not None:
        _require(found.add_star([], point))
        return found.line(0), True
    left = list(range(len(walls)))
    for wall in list(left):
        fewer = [w for w in left if w != wall]
        if fewer and interior([walls[w] for w in fewer], m) is None:
            left = fewer
    _require(found.add_lemma(left))
    return found.line(0), False


def search(found: LineFindings) -> None:
    """Find what a line still needs, by linear programs in rational arithmetic, each from a point inside the cell."""
    _LineSearch(found).run()


def _require(found: object) -> None:
    if not found:
        raise InvalidInputError(
            "a cell of this network is too thin for a proof: no point in it has coordinates of 5,000 binary digits"
        )


class _LineSearch:
    def __init__(self, found: LineFindings) -> None:
        self.found, self.block, self.walls, self.m = found, found.block, list(found.walls), found.block.m
        self.prefixes: set[tuple[int, int]] = set()
        self.random = random.Random(0)

    def run(self) -> None:
        """Find what is missing."""
        inner = interior(self.walls, self.m)
        if inner is None:
            raise ArithmeticError("a cell that was shown has no inside")
        self.see(self.found.shown)
        if not self.found.shown:
            self.star(inner, [])
        for masks, weight in self.block.open:
            for s, mask in enumerate(masks):
                shown = any(code // weight % len(masks) == s for code in self.found.shown)
                if not shown and not self.closed(mask):
                    self.decide([], mask, inner)
        self.explore(0, 0, 0)

    def closed(self, held: int) -> bool:
        """Whether literals are excluded."""
        return any(literals & held == literals for literals in self.found.excluded)

    def see(self, codes: Iterable[int]) -> None:
        """Remember the states of the first units of cells that are shown, whatever the number of units."""
        for code in codes:
            self.prefixes.update((u, code - code % weight) for u, (_, weight) in enumerate(self.block.open))

    def explore(self, u: int, code: int, held: int) -> None:
        """Decide the states of a unit, and of those behind it, where the units before have given states."""
        if u == len(self.block.open):
            return
        masks, weight = self.block.open[u]
        for s, mask in enumerate(masks):
            now, below = held | mask, code + s * weight
            if (u, below) not in self.prefixes:
                if self.closed(now):
                    continue
                rows = self.literals(held)
                inner = interior([*self.walls, *(row for _, row in rows)], self.m)
                assert inner is not None
                if not self.decide(rows, mask, inner):
                    continue
            self.explore(u + 1, below, now)

    def literals(self, held: int) -> list[tuple[int, Row]]:
        """The functions that are positive where literals hold, by cut."""
        signs = ((j, 1 if held >> 2 * j & 1 else -1) for j in range(len(self.block.cuts)) if held >> 2 * j & 3)
        return [(j, [sign * v for v in self.block.cuts[j]]) for j, sign in signs]

    def decide(self, rows: list[tuple[int, Row]], mask: int, inner: Exact) -> bool:
        """Find a star where literals hold beside others that a point has, or exclude them."""
        cell, names = [*self.walls, *(row for _, row in rows)], [*range(len(self.walls))]
        names += [len(self.walls) + j for j, _ in rows]
        for j, row in self.literals(mask):
            answer = lowest(cell, [-v for v in row], inner)
            if answer.point is None:
                if not self.found.add_lemma([*(names[r] for r in answer.support), len(self.walls) + j]):
                    raise ArithmeticError("a combination of positive functions is no lemma")
                return False
            inner = answer.point
            cell.append(row)
            names.append(len(self.walls) + j)
        self.star(inner, cell)
        return True

    def star(self, point: Exact, cell: list[Row]) -> None:
        """Add a star that shows the cell of a point, or one beside it where it lies on cuts."""
        point = self.off(point, [*self.walls, *cell])
        own = self.code(point)
        stops: list[tuple[list[int], Exact]] = [([], point)]
        while len(stops[-1][0]) < self.m:
            step = self.step(*stops[-1])
            if step is None:
                break
            stops.append(step)
        codes = None
        while codes is None and stops:
            codes = self.found.add_star(*stops.pop(), own)
        _require(codes)
        self.see(codes or ())

    def off(self, point: Exact, cell: list[Row]) -> Exact:
        """A point near another one in a cell that lies on no cut."""
        on = [cut for cut in self.block.cuts if value_at(cut, point) == 0]
        if not on:
            return point
        while True:
            way = [Fraction(self.random.randint(-9, 9)) for _ in range(self.m)]
            rates = [_rate(cut, way) for cut in self.block.cuts]
            if all(_rate(cut, way) for cut in on):
                break
        room = [value_at(row, point) / -rate for row in cell if (rate := _rate(row, way)) < 0]
        crossings = (-value_at(cut, point) / rate for cut, rate in zip(self.block.cuts, rates, strict=True) if rate)
        length = min([Fraction(1), *room, *(t for t in crossings if t > 0)]) / 2
        return [x + length * w for x, w in zip(point, way, strict=True)]

    def code(self, point: Exact) -> int:
        """The states at a point that lies on no cut."""
        held, code = 0, 0
        for j, cut in enumerate(self.block.cuts):
            held |= (1 if value_at(cut, point) > 0 else 2) << 2 * j
        for masks, weight in self.block.open:
            code += weight * next(s for s, mask in enumerate(masks) if not mask & ~held)
        return code

    def step(self, tight: list[int], point: Exact) -> tuple[list[int], Exact] | None:
        """From a point on some functions to one on another one too, a cut if possible, and on none else."""
        values = [value_at(f, point) for f in self.found.functions]
        best: tuple[bool, Fraction, int, Sequence[Fraction | int]] | None = None
        for vector in null_space([self.found.functions[r][:-1] for r in tight], self.m):
            for way in (vector, [-v for v in vector]):
                hits: list[tuple[Fraction, int]] = []
                for i, f in enumerate(self.found.functions):
                    rate = _rate(f, way)
                    if rate * values[i] < 0 and i not in tight:
                        hits.append((values[i] / -rate, i))
                hits.sort()
                if hits and (len(hits) == 1 or hits[0][0] < hits[1][0]):
                    offer = hits[0][1] < len(self.walls), hits[0][0], hits[0][1], way
                    best = offer if best is None or offer[:2] < best[:2] else best
        if best is None:
            return None
        _, length, hit, way = best
        return [*tight, hit], [x + length * w for x, w in zip(point, way, strict=True)]


def _rate(row: Sequence[int], way: Sequence[Fraction | int]) -> Fraction | int:
    return sum(a * w for a, w in zip(row, way, strict=False))
