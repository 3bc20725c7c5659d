"""Domains of input space on which regions are counted: boxes and polytopes. Without one, all of the space is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netfold.arguments import point_shape
from netfold.arrays import Floats, numbers
from netfold.errors import InvalidInputError


@dataclass(frozen=True, eq=False)
class Box:
    """The box of all points with ``low <= x <= high``, entry by entry.

    Args:
        low: lower limits: one number for all entries, or an array of the model's input shape; minus infinity where
            an entry has none. ``high`` likewise. Entries whose limits are equal stand still: the box is then a slice of
            input space, in which regions are counted. In some entry they must differ.

    Raises:
        InvalidInputError: a limit is NaN, or a lower one is above the upper one, or all are equal.

    Example:
        >>> low, high = Box(0.0, [1.0, 2.0]).limits((2,))
        >>> low.tolist(), high.tolist()
        ([0.0, 0.0], [1.0, 2.0])
    """

    low: Any
    high: Any

    def __post_init__(self) -> None:
        low, high = (numbers(getattr(self, name), name, infinite=True) for name in ("low", "high"))
        try:
            np.broadcast_shapes(low.shape, high.shape)
        except ValueError:
            raise InvalidInputError(
                f"the limits of a box must have one shape, got low of shape {low.shape} and high of shape {high.shape}"
            ) from None
        bad = np.argwhere(~((low < high) | ((low == high) & np.isfinite(low))))
        if len(bad) or not (low < high).any():
            at = f" at entry {tuple(bad[0].tolist())}" if bad.size else ""
            raise InvalidInputError(
                f"a box needs low < high in every entry, or low = high in some where it is a slice; that fails{at}"
            )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @property
    def flat(self) -> bool:
        """Whether entries stand still, so that the box is a slice of input space."""
        return bool((self.low == self.high).any())

    def limits(self, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        """Lower and upper limits of all entries of a point of this shape, flattened.

        Raises:
            InvalidInputError: the limits have another shape.
        """
        shape = point_shape(shape)
        for limit in (self.low, self.high):
            if limit.ndim and limit.shape != shape:
                raise InvalidInputError(
                    f"the limits of the box have shape {limit.shape}, the model takes points of shape {shape}; "
                    "give one number or an array of that shape"
                )
        low, high = (np.broadcast_to(v, shape).reshape(-1).copy() for v in (self.low, self.high))
        return low, high


@dataclass(frozen=True, eq=False)
class Polytope:
    """The points in finitely many half-spaces, ``normals @ x <= offsets``; it need not be bounded.

    Args:
        normals: one outward normal a half-space, ``(half-spaces, *input_shape)``.
        offsets: ``(half-spaces,)``. All numbers are taken exactly as they stand. A normal of zeros makes no face: with
            an offset below 0 the polytope is empty, otherwise it is the same without it.

    Raises:
        InvalidInputError: there is no half-space, the shapes do not fit, or a number is not finite.

    Example:
        >>> triangle = Polytope([[-1, 0], [0, -1], [1, 1]], [0, 0, 1])
        >>> triangle.normals.shape
        (3, 2)
    """

    normals: Any
    offsets: Any

    def __post_init__(self) -> None:
        normals, offsets = numbers(self.normals, "normals"), numbers(self.offsets, "offsets")
        if normals.ndim < 2 or len(normals) == 0 or offsets.shape != normals.shape[:1]:
            raise InvalidInputError(
                "a polytope takes normals of shape (half-spaces, *input_shape), at least one, and one offset each, "
                f"got normals of shape {normals.shape} and offsets of shape {offsets.shape}"
            )
        object.__setattr__(self, "normals", normals)
        object.__setattr__(self, "offsets", offsets)

    def half_spaces(self, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        """Normals ``(half-spaces, entries)`` and offsets, for points of this shape.

        Those that hold everywhere are left out.

        Raises:
            InvalidInputError: the normals have another shape.
        """
        shape = point_shape(shape)
        if self.normals.shape[1:] != shape:
            raise InvalidInputError(
                f"the normals of the polytope have shape {self.normals.shape[1:]}, "
                f"the model takes points of shape {shape}"
            )
        normals = self.normals.reshape(len(self.normals), -1)
        says = normals.any(1) | (self.offsets < 0)
        return normals[says], self.offsets[says]


Domain = Box | Polytope | None
"""Where regions are counted; ``None`` is all of the input space."""
