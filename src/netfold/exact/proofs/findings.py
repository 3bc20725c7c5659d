"""What a line of a proof says about one layer on one cell, as far as it is known, judged by the checker's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import prod
from typing import NamedTuple

import numpy as np

from netfold.exact.proofs import certified
from netfold.exact.proofs.check_regions import CELLS, CutBlock, Refused, echelon
from netfold.exact.proofs.proposing import Proposed

Row = list[int]
Point = Sequence[Fraction] | Sequence[float]

EXPONENTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 52, 64, 80, 100, 128, 192, 256, 384, 512, 1024, 2048, 4096, 5000)
"""Powers of two by which coordinates of a star are tried to be rounded."""

WORTH = 100
"""From this number of them on, times the square of the inputs, findings are judged in float64, many at once."""


class Star(NamedTuple):
    """A star as a proof names it, the codes that it shows, the functions that vanish, and about where."""

    name: str
    codes: list[int]
    rows: Sequence[int]
    point: Point


class Spans(NamedTuple):
    """Which gradients span which others, known from what reads what.

    The gradients of a layer's rows span those of all functions behind it, if nothing there reads what is before it.

    Attributes:
        levels: the layer of every function, walls and cuts; -1 where that says nothing.
        units: its row there.
        active: for every layer, as bits, the rows whose units are not constant on the cell.
    """

    levels: list[int]
    units: list[int]
    active: list[int]

    def hold(self, rows: Sequence[int]) -> bool:
        """Whether the gradients of functions are surely spanned by fewer of them."""
        level = min((self.levels[r] for r in rows), default=-1) if self.levels else -1
        if level < 0:
            return False
        spanning = 0
        for r in rows:
            spanning |= 1 << self.units[r] if self.levels[r] == level else self.active[level]
        return spanning.bit_count() < len(rows)


def token(rows: Iterable[int]) -> str:
    """A set of functions, as a proof names it."""
    return f"{sum(1 << r for r in rows):x}"


class LineFindings:
    """Stars, cones and lemmas of one layer on one cell.

    Args:
        block: the layer on the cell, and ``walls`` those of the cell.
        spans: what is known of the ranks of functions.

    Attributes:
        functions: the walls, then the cuts.
        stars: all that were added.
        shown: the codes of the cells that stars show, and ``excluded`` the sets of literals that cannot be.
    """

    def __init__(self, block: CutBlock, walls: Sequence[Row], spans: Spans | None = None) -> None:
        self.block, self.walls, self.spans = block, walls, spans or Spans([], [], [])
        self.functions: list[Row] = [*walls, *block.cuts]
        self.shown: set[int] = set()
        self.excluded: set[int] = set()
        self.stars: list[Star] = []
        self._cones: list[tuple[str, list[int]]] = []
        self._lemmas: list[tuple[str, list[int]]] = []

    def add_stars(self, proposed: Proposed) -> bool:
        """Add stars, judged in float64 as far as that is certain; whether they show all that was said of them."""
        stars, walls = proposed.stars, len(self.walls)
        full = [i for i, (rows, _) in enumerate(stars) if len(rows) == self.block.m]
        around: dict[int, int] = {}
        whole = self._many(full) and len(full) == len(stars) == len(proposed.possible)
        if self._many(full):
            signs, sure = certified.stars(proposed.near, walls, np.array([stars[i][0] for i in full]))
            possible = np.array([3, 1, 2])[signs[:, walls:]]
            whole = whole and bool(sure.all() and (possible == proposed.possible).all())
            for i, cuts, certain in zip(full, possible.tolist(), sure, strict=True):
                if certain:
                    around[i] = sum(sign << 2 * j for j, sign in enumerate(cuts))
        for i, (rows, point) in enumerate(stars):
            options = self._options(around[i]) if i in around else None
            if options is None or prod(map(len, options)) > CELLS:
                self.add_star(rows, point)
                continue
            codes = [0]
            for own in options:
                codes = [code + option for code in codes for option in own]
            self.stars.append(Star(token(rows), codes, rows, point))
            self.shown.update(codes)
        return whole

    def _many(self, findings: Sequence[int]) -> bool:
        return len(findings) * self.block.m**2 >= WORTH

    def _options(self, possible: int) -> list[list[int]]:
        """For every unit what its states whose literals are possible add to a code."""
        units = self.block.open
        return [[s * weight for s, mask in enumerate(masks) if not mask & ~possible] for masks, weight in units]

    def add_lemmas(self, proposed: Proposed) -> bool:
        """Add lemmas, judged in float64 as far as that is certain; whether they exclude all that was said of them."""
        near, lemmas = proposed.near, proposed.lemmas
        walls, kinds = len(self.walls), dict[int, list[int]]()
        for i, (rows, _) in enumerate(lemmas):
            if len(rows) == self.block.m + 1 or self.spans.hold(rows):
                kinds.setdefault(len(rows), []).append(i)
        full = kinds.get(self.block.m + 1, [])
        corner = [i for i in full if sum(r >= walls for r in lemmas[i][0]) == 1]
        cones: dict[int, list[int]] = {}
        made: dict[int, int] = {}
        if self._many(corner):
            rows = np.array([[r for r in lemmas[i][0] if r < walls] for i in corner])
            signs, sure = certified.cones(near, walls, rows)
            for i, cuts, certain in zip(corner, signs.tolist(), sure, strict=True):
                if certain:
                    cones[i] = [(2 if sign > 0 else 1) << 2 * j for j, sign in enumerate(cuts) if sign]
        for some in filter(self._many, kinds.values()):
            signs, sure = certified.lemmas(near, walls, np.array([lemmas[i][0] for i in some]))
            for i, factors, certain in zip(some, signs.tolist(), sure, strict=True):
                if certain:
                    pairs = zip(factors, lemmas[i][0], strict=True)
                    made[i] = sum((1 if sign > 0 else 2) << 2 * (r - walls) for sign, r in pairs if r >= walls)
        accepted = True
        for i, (rows, literals) in enumerate(lemmas):
            if literals in self.excluded:  # as a cone may have done that was proposed for another one
                continue
            if literals in cones.get(i, ()):
                self._cones.append((token(r for r in rows if r < walls), cones[i]))
                self.excluded.update(cones[i])
            elif made.get(i) == literals and i not in corner:
                self._lemmas.append((token(rows), [literals]))
                self.excluded.add(literals)
            else:
                accepted &= literals in self.add_lemma(rows)
        return accepted

    def add_star(self, rows: Sequence[int], point: Point, at: int | None = None) -> list[int] | None:
        """The codes that a star on some functions shows; ``None`` where the rules refuse it.

        Args:
            rows: the functions that vanish.
            point: where; coordinates that they leave open are rounded.
            at: a code that it has to show.
        """
        for name in self._names(rows, point):
            try:
                codes = self.block.star(name, self.walls)
            except Refused:
                continue
            if at is None or at in codes:
                self.stars.append(Star(name, codes, rows, point))
                self.shown.update(codes)
                return codes
        return None

    def _names(self, rows: Sequence[int], point: Point) -> Iterable[str]:
        m, name = self.block.m, token(rows)
        if len(rows) == m:
            return [name]
        steps, free = echelon([self.functions[r] for r in rows], m + 1)
        if len(steps) < len(rows) or free[-1] != m:
            return []
        near = [Fraction(point[j]) for j in free[:-1]]
        return (f"{name}:{e}," + ",".join(str(round(x * 2**e)) for x in near) for e in EXPONENTS)

    def add_lemma(self, rows: Sequence[int]) -> list[int]:
        """The sets of literals that a lemma on some functions excludes, none where the rules refuse it.

        Where all are walls but one cut it is written as a cone, which may exclude literals of other cuts too.
        """
        walls = [r for r in rows if r < len(self.walls)]
        if len(walls) == self.block.m == len(rows) - 1:
            made = self._ruled(self.block.cone, token(walls))
            (j,) = (r - len(self.walls) for r in rows if r >= len(self.walls))
            if any(literals >> 2 * j for literals in made if literals in (1 << 2 * j, 2 << 2 * j)):
                self._cones.append((token(walls), made))
                self.excluded.update(made)
                return made
        made = self._ruled(self.block.lemma, token(rows))
        if made:
            self._lemmas.append((token(rows), made))
            self.excluded.update(made)
        return made

    def _ruled(self, rule: Callable[[str, Sequence[Row]], Iterable[int]], name: str) -> list[int]:
        try:
            return list(rule(name, self.walls))
        except Refused:
            return []

    def complete(self) -> list[int]:
        """The codes of all cells.

        Raises:
            Refused: some states are neither shown nor excluded.
        """
        return self.block.cells(self.shown, self.excluded)

    def line(self, depth: int) -> str:
        """The line of a proof, without stars whose cells others show and without what excludes nothing new."""
        times: dict[int, int] = {}
        for star in self.stars:
            for code in star.codes:
                times[code] = times.get(code, 0) + 1
        stars = []
        for star in sorted(self.stars, key=lambda star: len(star.codes)):
            if all(times[code] > 1 for code in star.codes):
                for code in star.codes:
                    times[code] -= 1
            else:
                stars.append(star.name)
        known: set[int] = set()
        columns = []
        for found in (self._cones, self._lemmas):
            kept = []
            for name, made in found:
                if not known.issuperset(made):
                    known.update(made)
                    kept.append(name)
            columns.append(" ".join(kept))
        return f"{depth};{' '.join(stars)};{';'.join(columns)}\n"
