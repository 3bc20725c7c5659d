"""The coordinates in which cells are split, and how they stand in input space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import scipy.linalg

from netfold.arrays import Floats, Ints
from netfold.domains import Box, Domain
from netfold.errors import InvalidInputError
from netfold.exact.matrices.skip import Rows
from netfold.exact.numerics.compiled import compiled


@dataclass(frozen=True)
class Frame:
    """Some coordinates of the input; the others stand still.

    In all of R^n they are as few as the network's rows need: on them, the rows have the rank that they have on all
    coordinates, so every region of R^n is a region of the frame times a flat. In a box or a polytope they are all
    that the network or a half-space reads.

    Attributes:
        shape: shape of a point of input space.
        coordinates: the positions of the frame's coordinates in a flattened point, increasing.
        base: the flattened point at which the frame's other coordinates stand, ``(entries,)``.
        spread: ``(m, entries)``: a row that is ``a`` on the frame is ``a @ spread`` on all coordinates.
        ceiling: radius that no ball in the domain can exceed because of coordinates outside the frame.
    """

    shape: tuple[int, ...]
    coordinates: Ints
    base: Floats
    spread: Floats
    ceiling: float = math.inf

    @property
    def m(self) -> int:
        """Number of coordinates."""
        return len(self.coordinates)

    @cached_property
    def gram(self) -> Floats:
        """The squared length in input space of a row's normal ``a`` on the frame is ``a @ gram @ a``."""
        return self.spread @ self.spread.T

    def lift(self, points: Floats) -> Floats:
        """Points of the frame, ``(points, m)``, in input space: ``(points, *shape)``."""
        lifted = np.repeat(self.base[None], len(points), 0)
        lifted[:, self.coordinates] = points
        return lifted.reshape(len(points), *self.shape)


def frame_of(rows: list[Rows], shape: tuple[int, ...], domain: Domain) -> tuple[Frame, Floats]:
    """The frame for rows over input slots, and the half-spaces of the domain on it: ``(a, b)`` for a.x + b >= 0.

    Raises:
        InvalidInputError: the domain does not fit the input shape.
    """
    entries = math.prod(shape)
    read = np.zeros(entries, np.bool_)
    for part in rows:
        read[part.matrix.indices] = True
    if domain is None:
        return _smallest(rows, shape, np.flatnonzero(read))
    if isinstance(domain, Box):
        low, high = domain.limits(shape)
        kept = np.flatnonzero(read & (low < high))
        base, ends = np.clip(0.0, low, high), np.isfinite(low) & np.isfinite(high)
        base[ends] = low[ends] / 2 + high[ends] / 2
        half = (high - low)[~read & (low < high)] / 2
        return _whole(shape, kept, base, float(half.min(initial=math.inf))), _limits(low[kept], high[kept])
    normals, offsets = domain.half_spaces(shape)
    read |= (normals != 0).any(0)
    kept = np.flatnonzero(read)
    return _whole(shape, kept, np.zeros(entries), math.inf), np.column_stack([-normals[:, kept], offsets])


def _whole(shape: tuple[int, ...], read: Ints, base: Floats, ceiling: float) -> Frame:
    spread = np.zeros((len(read), math.prod(shape)))
    spread[np.arange(len(read)), read] = 1.0
    return Frame(shape, read, base, spread, ceiling)


def _limits(low: Floats, high: Floats) -> Floats:
    """The half-spaces of a box, two a coordinate."""
    walls = []
    for j, (a, b) in enumerate(zip(low, high, strict=True)):
        side = np.zeros(len(low) + 1)
        side[j] = 1.0
        if np.isfinite(a):
            walls.append(np.where(np.arange(len(side)) == len(low), -a, side))
        if np.isfinite(b):
            walls.append(np.where(np.arange(len(side)) == len(low), b, -side))
    return np.array(walls, np.float64).reshape(-1, len(low) + 1)


def _smallest(rows: list[Rows], shape: tuple[int, ...], read: Ints) -> tuple[Frame, Floats]:
    """A frame on which the rows keep their rank."""
    entries = math.prod(shape)
    seen: dict[tuple[object, ...], tuple[dict[int, Fraction], Floats]] = {}
    for part in rows:
        dense = np.asarray(part.matrix.todense())
        for r in range(len(part)):
            if dense[r].any():
                seen.setdefault((dense[r].tobytes(),), (part.row(r)[0], dense[r]))
    near = np.array([n for _, n in seen.values()]).reshape(-1, entries)[:, read]
    sizes = np.abs(near).max(1, initial=0.0, keepdims=True)
    pivots = scipy.linalg.qr(near / sizes, mode="r", pivoting=True) if near.size else (near, np.arange(0))
    picked = independent([row for row, _ in seen.values()], read[np.asarray(pivots[-1])])
    kept = np.sort(picked)
    if len(kept) == len(read):
        return _whole(shape, kept, np.zeros(entries), math.inf), np.zeros((0, len(kept) + 1))
    spread = np.zeros((len(kept), entries))
    place = np.searchsorted(read, kept)
    spread[:, read] = np.linalg.lstsq((near / sizes)[:, place], near / sizes, rcond=None)[0]
    spread[:, kept] = np.eye(len(kept))
    return Frame(shape, kept, np.zeros(entries), spread), np.zeros((0, len(kept) + 1))


def independent(rows: list[dict[int, Fraction]], columns: Ints) -> Ints:
    """The first independent columns of a rational matrix, as many as its rank.

    Columns that are independent modulo a prime are independent. That no more are is proved by full rank, or by
    primes whose product exceeds every minor of the next size (Hadamard's bound).

    Raises:
        InvalidInputError: the rank cannot be proved in reasonable time.
    """
    if not rows or not len(columns):
        return columns[:0]
    best: list[int] = []
    tried, needed = 0.0, math.inf
    for prime in _primes():
        found = _picked(rows, columns, prime)
        if found is None:
            continue
        best = max(best, found, key=len)
        if len(best) == min(len(rows), len(columns)):
            break
        tried += math.log2(prime)
        needed = sum(sorted(map(_size, rows))[-len(best) - 1 :])
        if tried > needed:
            break
    return columns[np.array(best, np.int64)]


def _size(row: dict[int, Fraction]) -> float:
    """Binary digits of the length of a row scaled to integers."""
    scale = math.lcm(*(v.denominator for v in row.values()))
    total = sum(int(v * scale) ** 2 for v in row.values())
    return total.bit_length() / 2 + 1


def _primes():
    """Primes below 2^31, downwards."""
    n = 2**31 - 1
    while n > 2**30:
        if all(n % d for d in range(3, 46342, 2)):
            yield n
        n -= 2
    raise InvalidInputError("the rank of the first layer's weights takes too many primes to prove; give a domain")


def _picked(rows: list[dict[int, Fraction]], columns: Ints, prime: int) -> list[int] | None:
    """Places of the first columns that are independent modulo a prime; ``None`` where it divides a denominator."""
    place = {int(c): i for i, c in enumerate(columns.tolist())}
    matrix = np.zeros((len(rows), len(columns)), np.int64)
    for r, row in enumerate(rows):
        for c, v in row.items():
            if v.denominator % prime == 0:
                return None
            matrix[r, place[c]] = v.numerator * pow(v.denominator, -1, prime) % prime
    return _echelon(matrix, prime).tolist()


@compiled()
def _echelon(a, prime):
    """Pivot columns of a matrix modulo a prime."""
    rows, columns = a.shape
    pivots = np.empty(min(rows, columns), np.int64)
    rank = 0
    for c in range(columns):
        p = rank
        while p < rows and a[p, c] == 0:
            p += 1
        if p == rows:
            continue
        for j in range(columns):
            a[rank, j], a[p, j] = a[p, j], a[rank, j]
        inverse, power, base = 1, prime - 2, a[rank, c]
        while power:
            if power & 1:
                inverse = inverse * base % prime
            base = base * base % prime
            power >>= 1
        for i in range(rank + 1, rows):
            factor = a[i, c] * inverse % prime
            if factor:
                for j in range(c, columns):
                    a[i, j] = (a[i, j] - factor * a[rank, j]) % prime
        pivots[rank] = c
        rank += 1
        if rank == rows:
            break
    return pivots[:rank]
