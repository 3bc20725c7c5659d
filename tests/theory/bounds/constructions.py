"""Networks that attain the lower bounds, built in exact arithmetic as their proofs build them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.theory.oracles import Layer, Maxout, maxout, relu

Affine = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Fold:
    """Units on [0, 1] whose combination is a sawtooth with ``pieces`` pieces, each onto [0, 1].

    Attributes:
        units: each a list of affine functions (slope, offset); a ReLU has one, a maxout unit all of its own.
        weights: of the combination.
        offset: added to it.
        pieces: teeth.
    """

    units: tuple[tuple[Affine, ...], ...]
    weights: tuple[Fraction, ...]
    offset: Fraction
    pieces: int


def montufar2014_fold(p: int) -> Fold:
    """p ReLU units, p pieces: all units face right."""
    units = [((Fraction(p), Fraction(0)),)]
    units += [((Fraction(2 * p), Fraction(-2 * i)),) for i in range(1, p)]
    return Fold(tuple(units), tuple(Fraction((-1) ** i) for i in range(p)), Fraction(0), p)


def serra2018_fold(p: int) -> Fold:
    """p >= 3 ReLU units, p + 1 pieces: the third unit faces left, so that the first piece is not flat.

    Pieces of lengths 1, 1, 2, 2, 1, 1, ... have slopes +-1 / length; the unit at a knot carries the change
    of slope there. Left of all knots only the third unit acts, and its weight -1 gives just the slope 1.
    """
    lengths = [Fraction(1), Fraction(1), Fraction(2), Fraction(2), *[Fraction(1)] * (p - 3)]
    slopes = [(-1) ** i / length for i, length in enumerate(lengths)]
    knots = list(itertools.accumulate(lengths))[:-1]
    scale = sum(lengths)
    units = [((scale, -knot),) if i != 2 else ((-scale, knot),) for i, knot in enumerate(knots)]
    weights = tuple(after - before for before, after in itertools.pairwise(slopes))
    return Fold(tuple(units), weights, -weights[2] * knots[2], p + 1)


def maxout_fold(p: int, rank: int) -> Fold:
    """p (even) maxout units of a rank, p (rank - 1) + 1 pieces: odd knots bend down, even knots up."""
    knots = p * (rank - 1)
    steep = Fraction(knots + 1)
    up = [Fraction(i) / steep for i in range(2, knots + 1, 2)]
    down = [Fraction(i) / steep for i in range(1, knots + 1, 2)]
    units, weights = [], []
    for sign, places in ((1, up), (-1, down)):
        for k in range(0, len(places), rank - 1):
            first = (steep if not units else Fraction(0), Fraction(0))  # one unit carries the slope at 0
            units.append(tuple(_hinges(first, places[k : k + rank - 1], 2 * steep)))
            weights.append(Fraction(sign))
    return Fold(tuple(units), tuple(weights), Fraction(0), knots + 1)


def _hinges(first: Affine, knots: Sequence[Fraction], bend: Fraction) -> list[Affine]:
    """Affine functions whose maximum starts as ``first`` and turns up by ``bend`` at each knot."""
    functions = [first]
    for knot in knots:
        slope, offset = functions[-1]
        functions.append((slope + bend, offset - bend * knot))
    return functions


def folding_network(inputs: int, folds: Sequence[Fold], last: Layer | Maxout) -> list[Layer | Maxout]:
    """Folds of every coordinate of the unit cube, one layer each, and a layer that cuts the folded cube."""
    layers: list[Layer | Maxout] = []
    coordinates = [(*(Fraction(int(i == j)) for j in range(inputs)), Fraction(0)) for i in range(inputs)]
    for fold in folds:
        layers.append(_folding_layer(coordinates, fold))
        idle = [Fraction(0)] * len(fold.weights)
        blocks = [[fold.weights if i == j else idle for j in range(inputs)] for i in range(inputs)]
        coordinates = [(*itertools.chain(*block), fold.offset) for block in blocks]
    layers.append(_after(coordinates, last))
    return layers


def _folding_layer(coordinates: Sequence[tuple[Fraction, ...]], fold: Fold) -> Layer | Maxout:
    rows = [
        [(*(a * w for w in row[:-1]), a * row[-1] + b) for a, b in unit] for row in coordinates for unit in fold.units
    ]
    return _layer(rows)


def _after(coordinates: Sequence[tuple[Fraction, ...]], layer: Layer | Maxout) -> Layer | Maxout:
    """A layer of the folded coordinates, written on the units that they are combinations of."""

    def pull(row: Sequence[Fraction]) -> tuple[Fraction, ...]:
        total = [sum(w * c[i] for w, c in zip(row[:-1], coordinates, strict=True)) for i in range(len(coordinates[0]))]
        return (*total[:-1], total[-1] + row[-1])

    if isinstance(layer, Maxout):
        return _layer([[pull(row) for row in unit] for unit in layer.rows])
    return _layer([[pull(row)] for row in layer.rows])


def _layer(rows: Sequence[Sequence[tuple[Fraction, ...]]]) -> Layer | Maxout:
    if len(rows[0]) == 1:
        return relu([row[:-1] for (row,) in rows], [row[-1] for (row,) in rows])
    return maxout([[row[:-1] for row in unit] for unit in rows], [[row[-1] for row in unit] for unit in rows])


def cut_of_unit_cube(inputs: int, units: int) -> Layer:
    """A ReLU layer in general position whose cells all meet the unit cube (one or two inputs).

    Points of the interval, or tangents to a small circle: they cross near it, no three in a point. No point
    lies beyond the first and the last of three tangents but before the middle one; the first and the last
    face back, so that nowhere all units are off and the output is flat nowhere.
    """
    if inputs == 1:
        return relu([[1]] * units, [Fraction(-(i + 1), units + 1) for i in range(units)])
    half, radius, weight, bias = Fraction(1, 2), Fraction(1, 100), [], []
    for i in range(units):
        t = Fraction(2 * i + 1, 2 * units)  # tangent of half the angle, from 0 to 90 degrees
        normal = ((1 - t * t) / (1 + t * t), 2 * t / (1 + t * t))
        sign = -1 if units > 2 and i in (0, units - 1) else 1
        weight.append([sign * n for n in normal])
        bias.append(sign * (-radius - half * sum(normal)))
    return relu(weight, bias)


def parallel_cut(inputs: int, units: int, rank: int) -> Maxout:
    """Maxout units that bend along parallel lines, in general position, all cells meeting the cube."""
    lines = cut_of_unit_cube(inputs, units)
    step = Fraction(1, 1000 * units)
    weights, biases = [], []
    for row in lines.rows:
        functions = _hinges((Fraction(0), Fraction(0)), [step * k for k in range(rank - 1)], Fraction(1))
        weights.append([[a * w for w in row[:-1]] for a, _ in functions])
        biases.append([a * row[-1] + b for a, b in functions])
    return maxout(weights, biases)


def sawtooth_composition(widths: Sequence[int], fold: Callable[[int], Fold]) -> tuple[list[Layer], list[Fraction]]:
    """A ReLU network of one input that composes sawtooths, and the readout of the last one."""
    folds = [fold(width) for width in widths]
    *layers, _ = folding_network(1, folds, relu([[1]], [0]))
    return layers, list(folds[-1].weights)  # type: ignore[return-value]
