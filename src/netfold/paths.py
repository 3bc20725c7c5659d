"""Paths and planes through input space, on which a network is measured; a path is a curve x(t), t in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.arguments import checked, sequence, shown
from netfold.arrays import numbers
from netfold.errors import InvalidInputError

Points = NDArray[np.float64]

NEAR = 1e-12
"""Parameters this close name one corner of a polyline."""


@runtime_checkable
class Path(Protocol):
    """A curve x(t), t in [0, 1]; points have the model's input shape, without a batch axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        ...

    def __call__(self, t: Any) -> Points:
        """Points at parameters ``t``: shape ``(len(t), *shape)``, or ``shape`` for one number."""
        ...


@dataclass(frozen=True, eq=False)
class Line:
    """The straight line x(t) = (1 - t) x0 + t x1.

    Args:
        x0: where it starts, and ``x1`` where it ends: arrays or tensors of the model's input shape.

    Raises:
        InvalidInputError: the ends differ in shape, coincide, or hold values that are not finite.

    Example:
        >>> Line([0.0, 0.0], [3.0, 4.0]).length
        5.0
    """

    x0: Any
    x1: Any

    def __post_init__(self) -> None:
        ends = Polyline([point(self.x0, "x0"), point(self.x1, "x1")])
        object.__setattr__(self, "x0", ends.points[0])
        object.__setattr__(self, "x1", ends.points[1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.x0.shape

    @property
    def length(self) -> float:
        """Euclidean length."""
        return float(np.linalg.norm(self.x1 - self.x0))

    @property
    def vertices(self) -> tuple[NDArray[np.float64], Points]:
        """The parameters and the points between which the path is straight."""
        return np.array([0.0, 1.0]), np.stack([self.x0, self.x1])

    def __call__(self, t: Any) -> Points:
        """Points at parameters ``t``."""
        t = numbers(t, "t")
        weight = t.reshape(t.shape + (1,) * len(self.shape))
        return (1 - weight) * self.x0 + weight * self.x1


@checked
@dataclass(frozen=True, eq=False)
class Polyline:
    """Straight lines through points in order; every line takes the same share of t.

    Args:
        points: shape ``(count, *shape)``, or a sequence of points; at least two.
        closed: whether a last line leads back to the first point.

    Raises:
        InvalidInputError: fewer than two points, neighbours that coincide, unequal shapes, values not finite.

    Example:
        >>> Polyline([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], closed=True)(1.0).tolist()
        [0.0, 0.0]
    """

    points: Any
    closed: bool = False

    def __post_init__(self) -> None:
        listed = [point(p, f"point {i}") for i, p in enumerate(sequence(self.points, "points"))]
        if len({p.shape for p in listed}) > 1:
            shapes = sorted({p.shape for p in listed})
            raise InvalidInputError(f"all points of a path must have one shape, got {shapes}")
        if len(listed) < 2:
            raise InvalidInputError(f"a path needs at least two points, got {len(listed)}")
        stacked = np.stack([*listed, listed[0]] if self.closed else listed)
        for i, (a, b) in enumerate(pairwise(stacked)):
            if np.array_equal(a, b):
                raise InvalidInputError(
                    f"points {i} and {(i + 1) % len(listed)} of the path coincide; leave one out, a path must move"
                )
        object.__setattr__(self, "points", np.stack(listed))
        object.__setattr__(self, "_stacked", stacked)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.points.shape[1:]

    @property
    def length(self) -> float:
        """Euclidean length."""
        steps = np.diff(self.vertices[1], axis=0).reshape(len(self.vertices[0]) - 1, -1)
        return float(np.linalg.norm(steps, axis=1).sum())

    @property
    def vertices(self) -> tuple[NDArray[np.float64], Points]:
        """The parameters and the points between which the path is straight."""
        stacked: Points = self.__dict__["_stacked"]
        return np.arange(len(stacked)) / (len(stacked) - 1), stacked

    def __call__(self, t: Any) -> Points:
        """Points at parameters ``t``."""
        at, stacked = self.vertices
        t = numbers(t, "t")
        position = t * (len(at) - 1)
        leg = np.clip(np.floor(position).astype(np.int64), 0, len(at) - 2)
        weight = (position - leg).reshape(t.shape + (1,) * len(self.shape))
        return (1 - weight) * stacked[leg] + weight * stacked[leg + 1]


@dataclass(frozen=True, eq=False)
class Ellipse:
    """center + cos(s) u + sin(s) v for s from 0 to ``angle``: the form that arcs and circles share."""

    center: Points
    u: Points
    v: Points
    angle: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.center.shape

    @property
    def ellipse(self) -> Ellipse:
        """The curve itself."""
        return self

    @property
    def quarters(self) -> int | None:
        """How many quarter turns it takes, if whole ones."""
        turns = self.angle / (np.pi / 2)
        return round(turns) if turns == round(turns) else None

    def __call__(self, t: Any) -> Points:
        """Points at parameters ``t``, where s = ``angle`` t."""
        t = numbers(t, "t")
        s = self.angle * t.reshape(t.shape + (1,) * len(self.shape))
        return self.center + np.cos(s) * self.u + np.sin(s) * self.v


@dataclass(frozen=True, eq=False)
class Arc:
    """The arc x(t) = cos(pi t / 2) x0 + sin(pi t / 2) x1, from x0 to x1 (Raghu et al. 2017).

    Args:
        x0: where it starts, and ``x1`` where it ends.

    Raises:
        InvalidInputError: the ends differ in shape, coincide, or hold values that are not finite.

    Example:
        >>> Arc([1.0, 0.0], [0.0, 1.0])(0.5).round(6).tolist()
        [0.707107, 0.707107]
    """

    x0: Any
    x1: Any

    def __post_init__(self) -> None:
        ends = Polyline([point(self.x0, "x0"), point(self.x1, "x1")])
        object.__setattr__(self, "x0", ends.points[0])
        object.__setattr__(self, "x1", ends.points[1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.x0.shape

    @property
    def ellipse(self) -> Ellipse:
        """The curve as center + cos(s) u + sin(s) v."""
        return Ellipse(np.zeros_like(self.x0), self.x0, self.x1, np.pi / 2)

    def __call__(self, t: Any) -> Points:
        """Points at parameters ``t``."""
        return self.ellipse(t)


@dataclass(frozen=True, eq=False)
class Circle:
    """The closed curve x(t) = center + cos(2 pi t) u + sin(2 pi t) v.

    A circle where ``u`` and ``v`` are orthogonal and equally long, otherwise an ellipse.

    Args:
        u: half an axis, and ``v`` the other half.
        center: the middle; the origin by default.

    Raises:
        InvalidInputError: unequal shapes, ``u`` and ``v`` both zero, values not finite.

    Example:
        >>> Circle([1.0, 0.0], [0.0, 1.0])([0.0, 0.25]).round(6).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    u: Any
    v: Any
    center: Any = None

    def __post_init__(self) -> None:
        u, v = point(self.u, "u"), point(self.v, "v")
        center = np.zeros_like(u) if self.center is None else point(self.center, "center")
        if not u.shape == v.shape == center.shape:
            raise InvalidInputError(f"u, v and center must have one shape, got {u.shape}, {v.shape} and {center.shape}")
        if not u.any() and not v.any():
            raise InvalidInputError("u and v are both zero: the circle would be one point")
        for name, value in (("u", u), ("v", v), ("center", center)):
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.u.shape

    @property
    def ellipse(self) -> Ellipse:
        """The curve as center + cos(s) u + sin(s) v."""
        return Ellipse(self.center, self.u, self.v, 2 * np.pi)

    def __call__(self, t: Any) -> Points:
        """Points at parameters ``t``."""
        return self.ellipse(t)


@checked
@dataclass(frozen=True, eq=False)
class Curve:
    """Any differentiable curve, given as a function t -> x(t) written with torch operations.

    Args:
        function: takes a scalar tensor t in [0, 1] and returns a point of the model's input shape.

    Raises:
        InvalidInputError: the function does not return a finite tensor.

    Example:
        >>> import torch
        >>> Curve(lambda t: torch.stack([t, t * t]))([0.0, 0.5]).tolist()
        [[0.0, 0.0], [0.5, 0.25]]
    """

    function: Callable[[torch.Tensor], torch.Tensor]

    def __post_init__(self) -> None:
        try:
            start = self.function(torch.tensor(0.0, dtype=torch.float64))
        except Exception as error:
            raise InvalidInputError(
                f"function must take a scalar tensor t of a curve, which fails at 0: {error}"
            ) from error
        if not isinstance(start, torch.Tensor):
            raise InvalidInputError(f"a curve's function must return a torch tensor, got {shown(start)}")
        point(start, "x(0)")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return tuple(self.function(torch.tensor(0.0, dtype=torch.float64)).shape)

    def __call__(self, t: Any) -> Points:
        """Points at parameters ``t``."""
        at = torch.from_numpy(numbers(t, "t"))
        if not at.numel():
            return np.empty((*at.shape, *self.shape))
        found = torch.stack([self.function(s) for s in at.reshape(-1)]).detach()
        return found.reshape(*at.shape, *self.shape).double().cpu().numpy()


def stretch(path: Path, begin: float, end: float) -> Path:
    """The part of a path between two parameters, as a path of its own; a polyline keeps the corners inside.

    Raises:
        InvalidInputError: the path is of a kind whose parts are not known.

    Example:
        >>> stretch(Circle([1.0, 0.0], [0.0, 1.0]), 0.25, 0.5)([0.0, 1.0]).round(6).tolist()
        [[0.0, 1.0], [-1.0, 0.0]]
        >>> stretch(Polyline([[0.0], [1.0], [0.0]]), 0.25, 0.75).points.tolist()
        [[0.5], [1.0], [0.5]]
    """
    if isinstance(path, Line | Polyline):
        at, corners = path.vertices
        inside = corners[(at > begin + NEAR) & (at < end - NEAR)]
        return Polyline(np.concatenate([path(begin)[None], inside, path(end)[None]]))
    if isinstance(path, Arc | Circle | Ellipse):
        whole, low = path.ellipse, path.ellipse.angle * begin
        cos, sin = np.cos(low), np.sin(low)
        u, v = cos * whole.u + sin * whole.v, cos * whole.v - sin * whole.u
        return Ellipse(whole.center, u, v, whole.angle * (end - begin))
    if isinstance(path, Curve):
        return Curve(lambda s: path.function(begin + (end - begin) * s))
    raise InvalidInputError(
        f"netfold does not know the parts of a {type(path).__name__}: give the path as a Curve, a function of t in "
        "torch operations"
    )


@dataclass(frozen=True, eq=False)
class Plane:
    """The points origin + a u + b v, for (a, b) in a rectangle of the plane.

    Args:
        origin: where a = b = 0, and ``u``, ``v`` the directions in which a and b grow: arrays or tensors of the
            model's input shape.
        bounds: the rectangle (a from, a to, b from, b to) that is meant where no other is given.

    Raises:
        InvalidInputError: unequal shapes, values not finite, ``u`` and ``v`` parallel, or an empty rectangle.

    Example:
        >>> Plane([0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0])([0.5, 1.0], [0.0, 1.0]).tolist()
        [[0.5, 0.0, 1.0], [1.0, 2.0, 1.0]]
    """

    origin: Any
    u: Any
    v: Any
    bounds: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("origin", "u", "v"):
            object.__setattr__(self, name, point(getattr(self, name), name))
        if not self.origin.shape == self.u.shape == self.v.shape:
            shapes = f"{self.origin.shape}, {self.u.shape} and {self.v.shape}"
            raise InvalidInputError(f"origin, u and v must have one shape, got {shapes}")
        across = self.frame
        if not across[1, 1] > 1e-9 * float(np.linalg.norm(self.v)):
            raise InvalidInputError("u and v must point in different directions: they span no plane")
        object.__setattr__(self, "bounds", rectangle(self.bounds))

    @classmethod
    @checked
    def through(cls, a: Any, b: Any, c: Any, margin: float = 0.25) -> Plane:
        """The plane through three points, in square coordinates: ``a`` at (0, 0), ``b`` at (1, 0), ``c`` above.

        Its rectangle holds the three points with a margin of so much of its sides.

        Raises:
            InvalidInputError: the points lie on one line, differ in shape or are not finite.

        Example:
            >>> plane = Plane.through([0.0, 0.0], [2.0, 0.0], [2.0, 2.0], margin=0)
            >>> plane.bounds, plane.v.tolist()
            ((0.0, 1.0, 0.0, 1.0), [0.0, 2.0])
        """
        origin, second, third = point(a, "a"), point(b, "b"), point(c, "c")
        if not origin.shape == second.shape == third.shape:
            raise InvalidInputError(
                f"three points of one shape span a plane, got {origin.shape}, {second.shape} and {third.shape}"
            )
        u, w = second - origin, third - origin
        size = float(np.vdot(u, u))
        along = float(np.vdot(u, w)) / size if size > 0 else 0.0
        across = w - along * u
        height = float(np.linalg.norm(across))
        if size == 0 or not height > 1e-9 * float(np.linalg.norm(w)):
            raise InvalidInputError("the three points lie on one line: choose others, or use Line for a path")
        v = across * (size**0.5 / height)
        low, high, top = min(0.0, along), max(1.0, along), height / size**0.5
        sides = margin * (high - low), margin * top
        return cls(origin, u, v, (low - sides[0], high + sides[0], 0.0 - sides[1], top + sides[1]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.origin.shape

    @property
    def frame(self) -> Points:
        """The 2 x 2 matrix that takes (a, b) to orthonormal coordinates, so that lengths are those of input space."""
        u, v = self.u.ravel(), self.v.ravel()
        length = float(np.linalg.norm(u))
        along = float(u @ v) / length if length > 0 else 0.0
        across = float(np.linalg.norm(v - along / length * u)) if length > 0 else 0.0
        return np.array([[length, along], [0.0, across]])

    def __call__(self, a: Any, b: Any) -> Points:
        """Points at coordinates ``a`` and ``b`` (numbers or arrays of one shape)."""
        a, b = numbers(a, "a"), numbers(b, "b")
        if a.shape != b.shape and a.ndim and b.ndim:
            raise InvalidInputError(f"a and b must have one shape, got {a.shape} and {b.shape}")
        a, b = (w.reshape(w.shape + (1,) * len(self.shape)) for w in (a, b))
        return self.origin + a * self.u + b * self.v

    def coordinates(self, points: Any) -> Points:
        """Coordinates (a, b) of the closest points of the plane: shape ``(count, 2)`` for ``(count, *shape)``.

        Example:
            >>> Plane([0.0, 0.0], [2.0, 0.0], [0.0, 1.0]).coordinates([[1.0, 3.0]]).tolist()
            [[0.5, 3.0]]
        """
        listed = numbers(points, "points")
        if listed.shape[1:] != self.shape:
            raise InvalidInputError(f"points must have shape (count, *{self.shape}), got shape {listed.shape}")
        offset = (listed - self.origin).reshape(-1, self.origin.size)
        directions = np.stack([self.u.ravel(), self.v.ravel()])
        return np.linalg.solve(directions @ directions.T, directions @ offset.T).T


def rectangle(bounds: Any) -> tuple[float, float, float, float]:
    """Bounds (a from, a to, b from, b to) as numbers.

    Raises:
        InvalidInputError: not four finite numbers, or an empty rectangle.
    """
    ends = numbers(bounds, "bounds")
    if ends.shape != (4,):
        raise InvalidInputError(f"bounds must be four numbers (a from, a to, b from, b to), got {shown(bounds)}")
    low, high, bottom, top = ends.tolist()
    if not (low < high and bottom < top):
        raise InvalidInputError(f"bounds must have a from < a to and b from < b to, got {shown(bounds)}")
    return low, high, bottom, top


def point(value: Any, name: str) -> Points:
    """One point as a float64 array.

    Raises:
        InvalidInputError: not numeric, empty, or not finite.
    """
    array = numbers(value, name)
    if array.size == 0:
        raise InvalidInputError(f"{name} is empty: expected a point of the model's input shape")
    return array
