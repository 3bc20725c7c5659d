"""The faces of regions and how they hang together, in integers: corners by double description, Betti numbers.

Closed regions meet face to face: both sides of a border see the same pre-activations there, so later layers divide it
in the same way from either side. They are the cells of a polyhedral complex, and so are their faces. Where every cell
has a corner, a union of faces has the homotopy type of those among them that are bounded: in each face the bounded
ones make up a set that can be contracted, so by Quillen's theorem A the two ordered sets of faces are equivalent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from netfold.errors import InvalidInputError
from netfold.exact.lp.rational import Row, null_space, primitive

Ray = tuple[tuple[int, ...], int]
"""A generator of a cone, in integers without a common factor, and the rows that vanish on it, as bits."""


def rays_of(rows: Sequence[Row]) -> list[Ray] | None:
    """The extreme rays of the cone on which no row is negative; ``None`` where it holds a whole line.

    Example:
        >>> [ray for ray, _ in rays_of([[1, 0, 0], [0, 1, 0], [-1, -1, 2], [0, 0, 1]])]  # a triangle at height 1
        [(0, 0, 1), (0, 2, 1), (2, 0, 1)]
    """
    size, chosen = len(rows[0]), list[int]()
    free = null_space([], size)
    for i, row in enumerate(rows):
        if any(_product(row, v) for v in free):
            chosen.append(i)
            free = null_space([rows[j] for j in chosen], size)
    if free:
        return None
    rays: list[Ray] = []
    for i in chosen:
        others = [j for j in chosen if j != i]
        (v,) = null_space([rows[j] for j in others], size)
        sign = 1 if _product(rows[i], v) > 0 else -1
        rays.append((tuple(sign * x for x in v), sum(1 << j for j in others)))
    for i in sorted(set(range(len(rows))) - set(chosen)):
        rays = _cut(rays, rows[i], 1 << i, size)
    return sorted(rays)


def _cut(rays: list[Ray], row: Row, bit: int, size: int) -> list[Ray]:
    """The rays of the part of a cone on which a row is not negative (Motzkin et al. 1953)."""
    values = [_product(row, v) for v, _ in rays]
    kept = [(v, tight | bit * (value == 0)) for (v, tight), value in zip(rays, values, strict=True) if value >= 0]
    if len(kept) == len(rays):
        return kept
    for p, above in enumerate(values):
        for n, below in enumerate(values) if above > 0 else ():
            common = rays[p][1] & rays[n][1]
            if below >= 0 or common.bit_count() < size - 2:
                continue
            if any(common & ~tight == 0 for k, (_, tight) in enumerate(rays) if k not in (p, n)):
                continue
            met = [above * y - below * x for x, y in zip(rays[p][0], rays[n][0], strict=True)]
            kept.append((tuple(primitive(met)), common | bit))
    return kept


def _product(row: Sequence[int], v: Sequence[int]) -> int:
    return sum(a * x for a, x in zip(row, v, strict=True))


class FaceComplex:
    """Polyhedra that meet face to face, and their bounded faces.

    Args:
        m: the dimension of the polyhedra.

    Attributes:
        facets: for every dimension and face of it, its facets among the faces of one dimension less.
        owners: likewise, the polyhedra that it is a face of, by number.
    """

    def __init__(self, m: int) -> None:
        self.m, self.count = m, 0
        self.facets: list[list[list[int]]] = [[] for _ in range(m + 1)]
        self.owners: list[list[list[int]]] = [[] for _ in range(m + 1)]
        self._known: list[dict[tuple[int, ...], int]] = [{} for _ in range(m + 1)]
        self._outer: set[int] = set()

    def add(self, rows: Sequence[Row], walls: int) -> None:
        """Add the polyhedron on which no row ``[*a, b]`` is negative; the first ones are walls of the domain.

        Raises:
            InvalidInputError: it has no corner.
        """
        rays = rays_of([*rows, [0] * self.m + [1]])
        if rays is None:
            raise InvalidInputError(
                "a region has no corner, so it holds whole lines, and its shape says nothing of what is far away: "
                "give a bounded domain, as nf.Box(-10.0, 10.0)"
            )
        finite = sum(1 << k for k, (v, _) in enumerate(rays) if v[-1])
        on_row = {sum(1 << k for k, (_, tight) in enumerate(rays) if tight >> r & 1) for r in range(len(rows))}
        levels: list[dict[int, list[int]]] = [{} for _ in range(self.m + 1)]
        levels[self.m][(1 << len(rays)) - 1] = []
        for k in range(self.m, 0, -1):
            for face, below in levels[k].items():
                below += _largest({face & g for g in on_row if face & ~g and face & g & finite})
                levels[k - 1].update((part, []) for part in below)
        names: dict[int, int] = {}
        for k, level in enumerate(levels):
            for face in (face for face in level if not face & ~finite):
                corners = [k for k in range(len(rays)) if face >> k & 1]
                key = rays[corners[0]][0] if not k else tuple(sorted(names[1 << c] for c in corners))
                own = names[face] = self._known[k].setdefault(key, len(self._known[k]))
                if own == len(self.facets[k]):
                    self.facets[k].append([names[part] for part in level[face]])
                    self.owners[k].append([])
                self.owners[k][own].append(self.count)
                if k == self.m - 1 and any(all(rays[c][1] >> r & 1 for c in corners) for r in range(walls)):
                    self._outer.add(own)
        self.count += 1

    def whole(self) -> bool:
        """Whether the polyhedra fill a convex domain: they meet across every border, and Euler's number is 1."""
        borders = self.owners[self.m - 1] if self.m else []
        fit = all(len(own) == (1 if i in self._outer else 2) for i, own in enumerate(borders))
        return fit and (not self.count or sum((-1) ** k * len(faces) for k, faces in enumerate(self.facets)) == 1)

    def betti(self, chosen: Callable[[list[int]], bool]) -> tuple[list[int], list[int]]:
        """Betti numbers over GF(2) of a union of faces, and how many of these there are, by dimension.

        Args:
            chosen: whether a face belongs to it, by the polyhedra that own it; a face's faces then do, too.
        """
        places = [
            {i: n for n, i in enumerate(j for j, own in enumerate(faces) if chosen(own))} for faces in self.owners
        ]
        counts, ranks, bounding = [len(place) for place in places], [0] * (self.m + 2), set[int]()
        for k in range(self.m, 0, -1):
            below = places[k - 1]
            # what bounds has no boundary itself
            columns = (self.facets[k][i] for i, n in places[k].items() if n not in bounding)
            bounding = _pivots(sum(1 << below[j] for j in facets) for facets in columns)
            ranks[k] = len(bounding)
        return [n - ranks[k] - ranks[k + 1] for k, n in enumerate(counts)], counts


def _largest(sets: Iterable[int]) -> list[int]:
    """The sets, as bits, that no other one holds."""
    kept: list[int] = []
    for one in sorted(sets, key=int.bit_count, reverse=True):
        if all(one & ~other for other in kept):
            kept.append(one)
    return kept


def _pivots(columns: Iterable[int]) -> set[int]:
    """The last places of the columns of a matrix over GF(2), reduced until no two have the same."""
    reduced: dict[int, int] = {}
    for column in columns:
        while column and (known := reduced.get(column.bit_length() - 1)):
            column ^= known
        if column:
            reduced[column.bit_length() - 1] = column
    return set(reduced)
