"""Exact region counts in rational arithmetic, by means that share nothing with the bounds they check.

Hyperplane arrangements are counted in any dimension by deletion and restriction; networks with one or two
inputs by cutting cells, unit by unit, on homogeneous integer coordinates.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np

Vector = tuple[Fraction, ...]
ZERO = Fraction(0)


def count_cells(hyperplanes: Iterable[Sequence[object]]) -> int:
    """Cells that hyperplanes ``a . x + b = 0``, given as rows (a, b), cut their space into.

    Zaslavsky's recursion: removing H loses exactly the cells of the others' arrangement on H.
    """
    rows = {_normal_form([Fraction(x) for x in row]) for row in hyperplanes}  # type: ignore[arg-type]
    return _count(tuple(sorted(row for row in rows if any(row[:-1]))))


def _count(rows: tuple[Vector, ...]) -> int:
    if not rows:
        return 1
    *rest, last = rows
    pivot = next(i for i, a in enumerate(last[:-1]) if a)
    on_last = set()
    for row in rest:
        scale = row[pivot] / last[pivot]
        reduced = [x - scale * y for x, y in zip(row, last, strict=True)]
        del reduced[pivot]
        if any(reduced[:-1]):  # parallel to the last one otherwise
            on_last.add(_normal_form(reduced))
    return _count(tuple(rest)) + _count(tuple(sorted(on_last)))


def _normal_form(row: Sequence[Fraction]) -> Vector:
    lead = next((a for a in row[:-1] if a), Fraction(1))
    return tuple(x / lead for x in row)


@dataclass(frozen=True)
class Layer:
    """Units of one pre-activation h each.

    Attributes:
        rows: (weights..., bias) of each unit.
        knots: the h where a unit passes from one piece to the next.
        pieces: the affine functions (slope, offset) of h that a unit is made of.
    """

    rows: tuple[tuple[Fraction, ...], ...]
    knots: tuple[int, ...] = (0,)
    pieces: tuple[tuple[int, int], ...] = ((0, 0), (1, 0))


def relu(weight: Iterable[Iterable[object]], bias: Iterable[object]) -> Layer:
    return Layer(_rows(weight, bias))


def hardtanh(weight: Iterable[Iterable[object]], bias: Iterable[object]) -> Layer:
    return Layer(_rows(weight, bias), knots=(-1, 1), pieces=((0, -1), (1, 0), (0, 1)))


@dataclass(frozen=True)
class Maxout:
    """Units that take the maximum of affine functions; ``rows[unit][function]`` is (weights..., bias)."""

    rows: tuple[tuple[tuple[Fraction, ...], ...], ...]


def maxout(weights: Iterable[Iterable[Iterable[object]]], biases: Iterable[Iterable[object]]) -> Maxout:
    return Maxout(tuple(_rows(w, b) for w, b in zip(weights, biases, strict=True)))


def _rows(weight: Iterable[Iterable[object]], bias: Iterable[object]) -> tuple[tuple[Fraction, ...], ...]:
    return tuple(
        tuple(Fraction(x) for x in (*row, b))  # type: ignore[arg-type]
        for row, b in zip(weight, bias, strict=True)
    )


def random_layers(rng: np.random.Generator, inputs: int, widths: Sequence[int], kind=relu) -> list[Layer]:
    """Weights and biases that are integers of random size, in general position almost surely."""
    layers = []
    for fan_in, width in itertools.pairwise((inputs, *widths)):
        weight, bias = rng.integers(-999, 1000, (width, fan_in)), rng.integers(-999, 1000, width)
        scale = 1 if kind is relu else 400  # hard-tanh: pre-activations of order 1
        layers.append(
            kind(
                [[Fraction(int(x), scale) for x in row] for row in weight],
                [Fraction(int(b), scale) for b in bias],
            )
        )
    return layers


# A cell is a convex cone of homogeneous points (x, y, w), given by its rays in cyclic order. With one
# input, y is an idle coordinate: intervals of R are then strips of a half-plane.
Ray = tuple[int, int, int]
Domain = tuple[tuple[Ray, ...], ...]
QUADRANTS: Domain = tuple(((0, 0, 1), (sx, 0, 0), (0, sy, 0)) for sy, sx in itertools.product((1, -1), repeat=2))


def polygon(*points: tuple[object, object]) -> Domain:
    """A bounded convex domain, its corners in cyclic order."""
    rays = []
    for point in points:
        x, y = (Fraction(c) for c in point)  # type: ignore[arg-type]
        scale = lcm(x.denominator, y.denominator)
        rays.append((int(x * scale), int(y * scale), scale))
    return (tuple(rays),)


UNIT_SQUARE = polygon((0, 0), (1, 0), (1, 1), (0, 1))


@dataclass(frozen=True)
class Region:
    """Where a network shows one activation pattern, and its last layer's units as affine maps there.

    A map is (weight of x, weight of y, offset).
    """

    pattern: tuple[int, ...]
    image: tuple[Vector, ...]
    cell: tuple[Ray, ...]

    def output(self, readout: Sequence[object]) -> Vector:
        """The affine map of a linear readout of the last layer."""
        weights = [Fraction(r) for r in readout]  # type: ignore[arg-type]
        return tuple(sum((r * m[i] for r, m in zip(weights, self.image, strict=True)), ZERO) for i in range(3))

    @property
    def abscissa(self) -> Fraction:
        """The x of a point inside."""
        return Fraction(sum(ray[0] for ray in self.cell), sum(ray[2] for ray in self.cell))


def regions(layers: Iterable[Layer | Maxout], inputs: int = 2, domain: Domain | None = None) -> list[Region]:
    """The activation regions that meet the interior of a domain, by default the whole input space.

    One pattern is one region, because the points of a pattern form a convex set; a pattern that is met in
    several cells of the domain is listed once.
    """
    identity = tuple(tuple(Fraction(int(i == j)) for j in range(3)) for i in range(inputs))
    found = [Region((), identity, cell) for cell in domain or QUADRANTS[: 2 * inputs]]
    for layer in layers:
        found = [after for before in found for after in _through(before, layer)]
    return list({region.pattern: region for region in found}.values())


def pieces_on_line(layers: Iterable[Layer | Maxout], readout: Sequence[object], domain: Domain | None = None) -> int:
    """Maximal intervals on which a linear readout of a network with one input is affine."""
    in_order = sorted(regions(layers, 1, domain), key=lambda region: region.abscissa)
    return len([*itertools.groupby(region.output(readout) for region in in_order)])


def _through(region: Region, layer: Layer | Maxout) -> list[Region]:
    """The regions that one more layer cuts a region into."""
    parts = [(region.pattern, (), region.cell)]
    for unit in layer.rows:
        choices = list(_states(layer, unit, region.image))
        parts = [
            ((*pattern, state), (*image, affine), part)
            for pattern, image, cell in parts
            for state, (affine, conditions) in enumerate(choices)
            if _is_full(part := functools.reduce(_clip, conditions, cell))
        ]
    return [Region(*part) for part in parts]


def _states(layer: Layer | Maxout, unit, image: tuple[Vector, ...]) -> Iterator[tuple[Vector, list[Vector]]]:
    """A unit's affine map in each of its states, and the functionals that are positive there."""
    if isinstance(layer, Maxout):
        maps = [_compose(row, image) for row in unit]
        for k, best in enumerate(maps):
            yield best, [_subtract(best, other) for other in maps[:k] + maps[k + 1 :]]
        return
    h = _compose(unit, image)
    above = [(h[0], h[1], h[2] - knot) for knot in layer.knots]
    for state, (slope, offset) in enumerate(layer.pieces):
        conditions = above[state - 1 : state] if state else []
        conditions += [_subtract((ZERO,) * 3, functional) for functional in above[state : state + 1]]
        yield (slope * h[0], slope * h[1], slope * h[2] + offset), conditions


def _compose(row: Sequence[Fraction], image: Sequence[Vector]) -> Vector:
    *weights, bias = row
    x, y, w = (sum((a * m[i] for a, m in zip(weights, image, strict=True)), ZERO) for i in range(3))
    return (x, y, w + bias)


def _subtract(a: Sequence[Fraction], b: Sequence[Fraction]) -> Vector:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _clip(cell: tuple[Ray, ...], functional: Vector) -> tuple[Ray, ...]:
    """The part of a cone where a linear functional is at least 0."""
    scale = lcm(*(x.denominator for x in functional))
    a, b, c = (int(x * scale) for x in functional)
    values = [a * x + b * y + c * w for x, y, w in cell]
    kept: list[Ray] = []
    for i, (ray, value) in enumerate(zip(cell, values, strict=True)):
        following, after = cell[(i + 1) % len(cell)], values[(i + 1) % len(cell)]
        if value >= 0:
            kept.append(ray)
        if value * after < 0:
            kept.append(_primitive(*(abs(after) * s + abs(value) * t for s, t in zip(ray, following, strict=True))))
    return tuple(kept)


def _primitive(x: int, y: int, w: int) -> Ray:
    divisor = gcd(x, y, w)
    return (x // divisor, y // divisor, w // divisor)


def _is_full(cell: tuple[Ray, ...]) -> bool:
    """Whether a cone has an interior: three of its rays are independent."""
    if len(cell) < 3:
        return False
    p, q, r = cell[0]
    return any(
        p * (b * f - c * e) - q * (a * f - c * d) + r * (a * e - b * d)
        for (a, b, c), (d, e, f) in itertools.combinations(cell[1:], 2)
    )
