"""Arcs and circles through a network, exactly: an oracle that shares nothing with netfold.

A pre-activation is ``C + A cos s + B sin s`` with binary fractions A, B, C: it vanishes where the line
C + A x + B y = 0 meets the unit circle. Whether it does, touches it or passes by is a sign of integers; whether two
such points are one is decided by whether the two lines meet on the circle, in integers again. Only their order is
found from digits, and from more of them where they are close.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, cmp_to_key
from itertools import combinations, pairwise
from math import gcd
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from tests.exact.cells.reference import Layer
from tests.exact.line.rational_segments import Affine, States, image, integers, pre_activations

DIGITS, MORE = 60, 1200
"""Decimal digits of a place at first, and where two places are closer than half of them."""

Line = tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """One of the two points at which a line (C, A, B) meets the unit circle, or a multiple of a quarter turn."""

    line: Line | None
    side: int
    angle: Any

    @cached_property
    def precisely(self) -> Any:
        with mpmath.workdps(MORE):
            return self.angle if self.line is None else _angle(self.line, self.side)

    def to(self, digits: int) -> Any:
        return self.angle if digits == DIGITS else self.precisely


@dataclass(frozen=True)
class Met:
    """What a curve meets: angles of its breakpoints over the curve's, changes of state of every layer."""

    breakpoints: list[float]
    first: list[int]
    transitions: list[int]


@dataclass(frozen=True)
class Piece:
    begin: Place
    end: Place
    states: tuple[States, ...]
    image: Affine


def met(
    layers: Sequence[Layer], center: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64], quarters: int
) -> Met:
    """What ``center + cos(s) u + sin(s) v`` meets, s from 0 to so many quarter turns: 1, or 4 for a closed circle.

    On a closed circle changes at s = 0 are transitions, but no breakpoint.
    """
    n, shift = integers(np.stack([center, u, v], 1))
    with mpmath.workdps(MORE):
        start, end = Place(None, 0, mpmath.mpf(0)), Place(None, 0, quarters * mpmath.pi / 2)
    pieces = [Piece(start, end, (), Affine(n, shift))]
    for layer in layers:
        parts = [part for piece in pieces for part in _through(layer, piece)]
        pieces = parts
    pairs = list(pairwise(pieces))
    around = [(pieces[-1], pieces[0])] if quarters == 4 else []
    differ = [[sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(p.states, q.states, strict=True)]
              for p, q in pairs + around]  # fmt: skip
    return Met(
        [float(piece.begin.angle / end.angle) for piece in pieces[1:]],
        [next(i for i, count in enumerate(counts) if count) for counts in differ[: len(pairs)]],
        [sum(column) for column in zip(*differ, strict=True)] or [0] * len(layers),
    )


def _through(layer: Layer, piece: Piece) -> list[Piece]:
    h = pre_activations(layer, piece.image)
    places = sorted(_places(layer, h), key=cmp_to_key(_compare))
    inside: list[Place] = []
    for place in places:
        if _compare(piece.begin, place) < 0 < _compare(piece.end, place) and (
            not inside or _compare(inside[-1], place) < 0
        ):
            inside.append(place)
    found: list[tuple[Place, Place, States]] = []
    for begin, end in pairwise([piece.begin, *inside, piece.end]):
        states = _states(layer, h, begin, end)
        if found and found[-1][2] == states:
            found[-1] = (found[-1][0], end, states)
        else:
            found.append((begin, end, states))
    return [
        Piece(begin, end, (*piece.states, states), image(layer, h, states, piece.image)) for begin, end, states in found
    ]


def _functions(layer: Layer, h: Affine) -> Iterator[Line]:
    """Functions at whose zeros a unit can change."""
    if layer.pool > 1:
        for unit in range(layer.units):
            for p, q in combinations(h.n[unit * layer.pool : (unit + 1) * layer.pool], 2):
                yield _line(p - q)
        return
    for knot in layer.knots:
        for c, a, b in h.n:
            yield _line((c - (int(knot) << h.shift), a, b))


def _line(row: Sequence[int]) -> Line:
    c, a, b = (int(x) for x in row)
    divisor = gcd(c, a, b) or 1
    return c // divisor, a // divisor, b // divisor


def _places(layer: Layer, h: Affine) -> Iterator[Place]:
    """Where units can change, but for s = 0, where every curve starts."""
    for line in set(_functions(layer, h)):
        c, a, b = line
        if a * a + b * b <= c * c:
            continue
        with mpmath.workdps(DIGITS):
            places = [Place(line, side, _angle(line, side)) for side in (1, -1)]
        if c + a == 0:
            places.remove(min(places, key=lambda place: min(place.angle, 2 * mpmath.pi - place.angle)))
        yield from places


def _angle(line: Line, side: int) -> Any:
    """Where the line meets the circle, from 0 to 2 pi: at ``-C (A, B) / R^2 +- sqrt(R^2 - C^2) (-B, A) / R^2``."""
    c, a, b = line
    root = side * mpmath.sqrt(a * a + b * b - c * c)
    angle = mpmath.atan2(-c * b + root * a, -c * a - root * b)
    return angle + 2 * mpmath.pi if angle < 0 else angle


def _compare(p: Place, q: Place) -> int:
    near = mpmath.mpf(10) ** (-DIGITS // 2)
    with mpmath.workdps(DIGITS):
        gap = p.angle - q.angle
    if abs(gap) > near and abs(abs(gap) - 2 * mpmath.pi) > near:
        return 1 if gap > 0 else -1
    with mpmath.workdps(MORE):
        gap = p.precisely - q.precisely
        if abs(gap) < mpmath.mpf(10) ** (-MORE // 3) and _meet_on_circle(p.line, q.line):
            return 0
    assert abs(gap) > mpmath.mpf(10) ** (-MORE + 200), "more digits are needed"
    return 1 if gap > 0 else -1


def _meet_on_circle(p: Line | None, q: Line | None) -> bool:
    """Whether two lines have a point of the unit circle in common; none stands for the end of a quarter turn."""
    if p is None or q is None:
        c, _, b = p or q or (0, 0, 0)
        return c + b == 0
    (c, a, b), (f, d, e) = p, q
    x, y, w = b * f - e * c, c * d - f * a, a * e - b * d
    return (x, y) == (0, 0) if w == 0 else x * x + y * y == w * w


def _states(layer: Layer, h: Affine, begin: Place, end: Place) -> States:
    """States between two places with none in between: values that do not only touch zero have certain signs inside.

    Not in the middle: between such places it may be a multiple of a quarter turn, where functions touch zero.
    """
    with suppress(UnclearError):
        return _states_to(DIGITS, layer, h, begin, end)
    return _states_to(MORE, layer, h, begin, end)


class UnclearError(Exception):
    """So few digits leave a sign open."""


def _states_to(digits: int, layer: Layer, h: Affine, begin: Place, end: Place) -> States:
    with mpmath.workdps(digits):
        gap, least = end.to(digits) - begin.to(digits), mpmath.mpf(10) ** (-digits // 2)
        s = begin.to(digits) + gap * mpmath.mpf(0.4142135623)
        x, y = mpmath.cos(s), mpmath.sin(s)

        def sign(row: Line) -> int:
            if row == (0, 0, 0):
                return 0
            value = row[0] + row[1] * x + row[2] * y
            if digits == DIGITS and (gap < least or abs(value) < least * max(map(abs, row))):
                raise UnclearError
            return int(mpmath.sign(value))

        if layer.pool == 1:
            return tuple(
                sum(sign(_line((c - (int(knot) << h.shift), a, b))) > 0 for knot in layer.knots) for c, a, b in h.n
            )
        found = []
        for unit in range(layer.units):
            entries = h.n[unit * layer.pool : (unit + 1) * layer.pool]
            best = 0
            for i in range(1, layer.pool):
                best = i if sign(_line(entries[i] - entries[best])) > 0 else best
            found.append(best)
        return tuple(found)
