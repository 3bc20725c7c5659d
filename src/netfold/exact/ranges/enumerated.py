"""Exact ranges of pre-activations over a bounded domain of few regions: each is affine on each region."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from netfold.exact.lp import rational
from netfold.exact.matrices.forced import CONSTANT
from netfold.exact.numerics.threads import look
from netfold.exact.regions.faces import Sides, exact
from netfold.exact.regions.maps import RegionMaps

Range = tuple[Fraction, Fraction]


class ExactRanges:
    """The lowest and the highest value of every entry that each layer reads, over the regions met so far.

    Args:
        entries: how many entries each layer reads.
    """

    def __init__(self, entries: Sequence[int]) -> None:
        self.places = [(layer, unit) for layer, count in enumerate(entries) for unit in range(count)]
        self.found: dict[tuple[int, int], Range] = {}

    def meet(self, maps: RegionMaps, sides: Sides, inside: Sequence[float]) -> None:
        """A region of a bounded domain: its maps, all its half-spaces and a point inside."""
        look()
        m = len(inside)
        rows = [exact(maps, sides, i).dense(range(m)) for i in range(len(sides))]
        inner = [Fraction(x) for x in inside]
        if any(rational.value_at(row, inner) <= 0 for row in rows):
            strict = rational.interior(rows, m)
            assert strict is not None, "a region has an inside"
            inner = strict
        targets, where = [], []
        for layer, unit in self.places:
            row = maps.forced.row(maps.flat, layer, unit)
            if set(row.numbers) <= {CONSTANT}:
                value = Fraction(row.numbers.get(CONSTANT, 0), row.scale)
                self._note((layer, unit), value, value)
            else:
                dense = row.dense(range(m))
                targets += [dense, [-v for v in dense]]
                where.append((layer, unit, row.scale))
        found = rational.least_of(rows, targets, inner)
        for (layer, unit, scale), low, high in zip(where, found[::2], found[1::2], strict=True):
            assert low is not None, "a region of a bounded domain is bounded"
            assert high is not None
            self._note((layer, unit), low / scale, -high / scale)

    def _note(self, place: tuple[int, int], low: Fraction, high: Fraction) -> None:
        known = self.found.get(place, (low, high))
        self.found[place] = min(known[0], low), max(known[1], high)
