"""The half-spaces that bound a region: all of them, and those that are not implied by the others.

Every unit whose state has an end on some side bounds the region there. A half-space is *implied* where the region is
the same without it. Which ones are is decided by one small linear program each, from a point inside: it looks for a
point beyond the half-space that satisfies all others. A point that lies clearly beyond proves that it is a face; a
minimum that is clearly positive proves that it is not; what is closer is decided in rational arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import numpy as np

from netfold.arrays import Bools, Floats, Ints
from netfold.capture.activations import Elementwise, Selection
from netfold.domains import Box, Domain
from netfold.exact.lp.dictionary import CROSSES, OPTIMAL, begin, descend
from netfold.exact.lp.rational import implied
from netfold.exact.matrices.forced import CONSTANT, IntegerRow, dense_rows
from netfold.exact.matrices.skip import SkipForm
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.threads import aside
from netfold.exact.regions.maps import RegionMaps

WALL = -1
"""The layer of half-spaces that belong to the domain."""

CLEAR = 1e-9
"""Values beyond this share of their scale are taken as they are; closer ones are decided in rational arithmetic."""


@dataclass(frozen=True)
class Sides:
    """Half-spaces ``normals @ x + offsets >= 0`` of one region, in input space.

    Attributes:
        normals: ``(sides, inputs)``, and ``offsets``: ``(sides,)``.
        layers: the layer whose unit it belongs to, `WALL` for the domain's own, and ``units``: the unit.
        rivals: the state of the unit beyond it; for the domain's own half-spaces -1.
        standing: units that stand at a knot, or at a tie, on the whole region, as (layer, unit): they have no
            half-space there, but may have one on the other side of a face.
    """

    normals: Floats
    offsets: Floats
    layers: Ints
    units: Ints
    rivals: Ints
    standing: Ints

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, rows: Ints) -> Sides:
        """Some of them."""
        own = self.normals[rows], self.offsets[rows], self.layers[rows], self.units[rows], self.rivals[rows]
        return Sides(*own, self.standing)


NONE = np.zeros((0, 2), np.int64)


def walls(domain: Domain, shape: tuple[int, ...]) -> Sides:
    """The half-spaces of a domain over all entries of the input."""
    n = int(np.prod(shape, dtype=np.int64))
    if domain is None:
        return _walls(np.zeros((0, n)), np.zeros(0))
    if isinstance(domain, Box):
        low, high = domain.limits(shape)
        a, b = np.isfinite(low), np.isfinite(high)
        eye = np.eye(n)
        return _walls(np.concatenate([eye[a], -eye[b]]), np.concatenate([-low[a], high[b]]))
    normals, offsets = domain.half_spaces(shape)
    return _walls(-normals, offsets)


def _walls(normals: Floats, offsets: Floats) -> Sides:
    none = np.full(len(offsets), -1)
    return Sides(normals, offsets, np.full(len(offsets), WALL), none, none, NONE)


def sides_of(form: SkipForm, maps: RegionMaps, bounds: Sides) -> Sides:
    """All half-spaces of a region, without those that hold everywhere.

    Args:
        form: the network.
        maps: its rows on the region.
        bounds: the domain's own half-spaces.
    """
    found = [bounds]
    for number, layer in enumerate(form.layers):
        if isinstance(layer.rule, Selection):
            found.append(_of_selection(maps, number, layer.rule))
        elif isinstance(layer.rule, Elementwise):
            found.append(_of_pieces(maps, number, layer.rule))
    return Sides(
        np.concatenate([s.normals for s in found]),
        np.concatenate([s.offsets for s in found]),
        np.concatenate([s.layers for s in found]),
        np.concatenate([s.units for s in found]),
        np.concatenate([s.rivals for s in found]),
        np.concatenate([s.standing for s in found]),
    )


def _of_pieces(maps: RegionMaps, number: int, rule: Elementwise) -> Sides:
    """A half-space for each end of each unit's piece."""
    rows, states = maps.layer(number), maps.states[number]
    unit = np.arange(len(states))
    one = unit if len(rule.knots) > 1 else np.zeros_like(unit)
    last = rule.knots.shape[1]
    normals, offsets, units, rivals = [], [], [], []
    for up in (False, True):
        chosen = np.flatnonzero(states < last if up else states > 0)
        knots = rule.knots[one[chosen], states[chosen] - (not up)]
        sign = -1.0 if up else 1.0
        normals.append(sign * rows.weight[chosen])
        offsets.append(sign * (rows.bias[chosen] - knots))
        units.append(chosen)
        rivals.append(states[chosen] + (1 if up else -1))
    made = Sides(
        np.concatenate(normals),
        np.concatenate(offsets),
        np.full(sum(map(len, units)), number),
        np.concatenate(units),
        np.concatenate(rivals),
        NONE,
    )
    return _settled(maps, made, rows.doubtful[made.units])


def _of_selection(maps: RegionMaps, number: int, rule: Selection) -> Sides:
    """A half-space for every entry that does not win."""
    rows, states = maps.layer(number), maps.states[number]
    unit, rival = np.nonzero(rule.candidates >= 0)
    kept = rival != states[unit]
    unit, rival = unit[kept], rival[kept]
    winner, other = rule.candidates[unit, states[unit]], rule.candidates[unit, rival]
    sign = 1.0 if rule.largest else -1.0
    normals = sign * (rows.weight[winner] - rows.weight[other])
    offsets = sign * (rows.bias[winner] - rows.bias[other])
    made = Sides(normals, offsets, np.full(len(unit), number), unit, rival.astype(np.int64), NONE)
    size = np.abs(rows.weight[winner]).max(1, initial=0.0) + np.abs(rows.weight[other]).max(1, initial=0.0)
    close = np.abs(normals).max(1, initial=0.0) <= CLEAR * size
    return _settled(maps, made, close | rows.doubtful[winner] | rows.doubtful[other])


def _settled(maps: RegionMaps, sides: Sides, doubtful: Bools) -> Sides:
    """Half-spaces that may hold nothing but rounding are taken exactly; those that do not depend on x are left out."""
    normals, offsets = sides.normals.copy(), sides.offsets.copy()
    for i in np.flatnonzero(doubtful):
        numbers, scale = exact_side(maps, int(sides.layers[i]), int(sides.units[i]), int(sides.rivals[i]))
        normals[i], offsets[i] = 0.0, numbers.get(CONSTANT, 0) / scale
        for column in numbers.keys() - {CONSTANT}:
            normals[i, column] = numbers[column] / scale
    flat = ~(normals != 0).any(1)
    still = np.flatnonzero(flat & (offsets == 0))
    standing = aside(partial(np.unique, np.column_stack([sides.layers[still], sides.units[still]]), axis=0))
    kept = np.flatnonzero(~flat)
    return replace(Sides(normals, offsets, sides.layers, sides.units, sides.rivals, NONE).take(kept), standing=standing)


def exact_side(maps: RegionMaps, layer: int, unit: int, rival: int) -> IntegerRow:
    """The half-space between a unit's state and another one, exactly."""
    return maps.forced.between(maps.flat, maps.forced.first[layer] + unit, rival)


@dataclass(frozen=True)
class Reduced:
    """Half-spaces in orthonormal coordinates of the flat on which they depend, around a point inside; unit normals.

    Attributes:
        rows: ``(sides, coordinates)``, and ``slack``: how far the point is from each.
        basis: ``(inputs, coordinates)``.
        thin: whether the region is so thin that float64 cannot tell on which side of each the point is.
    """

    rows: Floats
    slack: Floats
    basis: Floats
    thin: bool


def reduced(sides: Sides, point: Floats) -> Reduced:
    """Half-spaces around a point inside."""
    length = np.linalg.norm(sides.normals, axis=1)
    rows = sides.normals / length[:, None]
    slack = (sides.normals @ point + sides.offsets) / length
    size = (np.abs(sides.normals) @ np.abs(point) + np.abs(sides.offsets)) / length
    n = rows.shape[1]
    basis = np.eye(n)
    if n > 1 and len(rows):
        values, right = np.linalg.svd(rows, full_matrices=False)[1:]
        rank = int((values > 1e-10 * values[0]).sum())
        if rank < n:
            basis = np.ascontiguousarray(right[:rank].T)
    thin = bool((slack <= THIN * size).any())
    return Reduced(np.ascontiguousarray(rows @ basis), np.maximum(slack, 0.0), basis, thin)


THIN = 2.0**-32
"""Distances smaller than this share of what they were added up from are left to rational arithmetic."""

IMPLIED, FACE, CLOSE = range(3)
"""What is known of a half-space: implied by the others, a face, or too close for float64."""


@compiled()
def classify(rows, slack, chosen):
    """For the chosen half-spaces: whether it is implied by the other chosen ones; `CLOSE` where that is in doubt."""
    count, m = rows.shape
    end = m + count
    columns = np.zeros((m + 1, end))
    for j in range(m):
        columns[j, j] = 1.0
    for i in range(count):
        for j in range(m):
            columns[j, m + i] = rows[i, j]
        columns[m, m + i] = slack[i]
    found = np.full(count, IMPLIED)
    D, origin, basis = np.empty((m + 1, end)), np.zeros(m), np.empty(m, np.int64)
    side = np.zeros(end)
    for i in range(count):
        side[m + i] = 1.0 if chosen[i] else 0.0
    for i in range(count):
        if not chosen[i]:
            continue
        side[m + i] = 0.0
        begin(D, m, end, basis, columns, origin)
        how, q, _, reach, first, _ = descend(D, m, end, basis, side, m + i, 1.0)
        if how == CROSSES:
            speed = abs(D[q, m + i])
            beyond = reach * speed - D[m, m + i]
            found[i] = FACE if first < 0 or beyond > CLEAR * (1.0 + abs(reach)) * slack[i] else CLOSE
        elif how == OPTIMAL:
            found[i] = IMPLIED if D[m, m + i] > CLEAR * max(slack[i], 1e-300) else CLOSE
        else:
            found[i] = CLOSE
        side[m + i] = 1.0
    return found


@dataclass(frozen=True)
class Faces:
    """The half-spaces of a region that no others imply.

    Attributes:
        leaders: one half-space for each face, and ``groups``: all half-spaces that are the same as it.
    """

    leaders: Ints
    groups: tuple[tuple[int, ...], ...]


def faces_of(maps: RegionMaps, sides: Sides, around: Reduced) -> Faces:
    """Find the faces of a region among its half-spaces.

    Args:
        maps: the network on the region, for what has to be decided exactly.
        sides: its half-spaces, and ``around``: the same in reduced coordinates.
    """
    groups = _coincident(maps, sides, around)
    leaders = np.array([group[0] for group in groups], np.int64)
    chosen = np.zeros(len(sides), np.bool_)
    chosen[leaders] = True
    known = np.full(len(sides), CLOSE) if around.thin else aside(classify, around.rows, around.slack, chosen)
    for i in leaders[known[leaders] == CLOSE]:
        # what half-spaces imply exactly is no longer needed to imply others
        chosen[i] = bars(maps, sides, int(i), (int(j) for j in leaders if j != i and chosen[j]))
        known[i] = FACE if chosen[i] else IMPLIED
    kept = [n for n, i in enumerate(leaders) if known[i] == FACE]
    return Faces(leaders[kept], tuple(groups[n] for n in kept))


def _coincident(maps: RegionMaps, sides: Sides, around: Reduced) -> list[tuple[int, ...]]:
    """Half-spaces that are the same, together; whether two close ones are the same is decided exactly."""
    scale = float(around.slack.max(initial=0.0)) or 1.0
    whole = np.column_stack([around.rows, around.slack / scale])
    groups: list[list[int]] = []
    for i, row in enumerate(whole):
        for group in groups:
            same = np.abs(whole[group[0]] - row).max() <= CLEAR
            if same and _same(exact(maps, sides, group[0]), exact(maps, sides, i)):
                group.append(i)
                break
        else:
            groups.append([i])
    return [tuple(group) for group in groups]


def _same(a: IntegerRow, b: IntegerRow) -> bool:
    """Whether two half-spaces are the same: one row is a positive multiple of the other."""
    factor = a.multiple(b)
    return factor is not None and factor > 0


def exact(maps: RegionMaps, sides: Sides, i: int) -> IntegerRow:
    """A half-space exactly; those of the domain are as they were given."""
    if sides.layers[i] == WALL:
        numbers = {**dict(enumerate(sides.normals[i].tolist())), CONSTANT: float(sides.offsets[i])}
        return IntegerRow.of({j: Fraction(v) for j, v in numbers.items() if v})
    return exact_side(maps, int(sides.layers[i]), int(sides.units[i]), int(sides.rivals[i]))


def exact_rows(maps: RegionMaps, sides: Sides, chosen: Iterable[int]) -> list[list[int]]:
    """Some half-spaces exactly, over the coordinates that one of them reads."""
    return dense_rows([exact(maps, sides, i) for i in chosen])


def bars(maps: RegionMaps, sides: Sides, i: int, others: Iterable[int]) -> bool:
    """Whether a half-space holds only in part where others do; exactly."""
    row, *rest = exact_rows(maps, sides, [i, *others])
    return not implied(row, rest)
