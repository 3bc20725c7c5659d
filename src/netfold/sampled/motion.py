"""A point that moves along a path: where it is and how fast it goes, at any parameters t."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netfold.arrays import Floats
from netfold.errors import InvalidInputError
from netfold.paths import Arc, Circle, Curve, Ellipse, Line, Path, Polyline


@dataclass(frozen=True, eq=False)
class VertexPath:
    """A path that is straight between vertices at parameters from 0 to 1, of which some may coincide.

    Attributes:
        t: parameters of the vertices.
        points: the vertices.
    """

    t: Floats
    points: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.points.shape[1:]

    @property
    def vertices(self) -> tuple[Floats, Floats]:
        """Parameters and vertices."""
        return self.t, self.points

    def __call__(self, t: Any) -> Floats:
        """Points at parameters ``t``."""
        return _along_lines(self.t, self.points, np.atleast_1d(np.asarray(t, np.float64)))[0]


@dataclass(frozen=True)
class Motion:
    """Positions and velocities along a path, per unit of t.

    Attributes:
        at: gives positions and velocities, each ``(len(t), *shape)``, at parameters in (0, 1).
        corners: increasing parameters from 0 to 1 between which the path is smooth, as far as is known.
    """

    at: Callable[[Floats], tuple[Floats, Floats]]
    corners: Floats


def motion(path: Path) -> Motion:
    """The motion along a path.

    Raises:
        InvalidInputError: the path is of a kind whose velocity is not known, or cannot be differentiated.
    """
    ends = np.array([0.0, 1.0])
    if isinstance(path, Line | Polyline | VertexPath):
        return Motion(lambda t: _along_lines(*path.vertices, t), path.vertices[0])
    if isinstance(path, Arc | Circle | Ellipse):
        return Motion(lambda t: _along_ellipse(path.ellipse, t), ends)
    if isinstance(path, Curve):
        return Motion(_Differentiated(path.function), ends)
    raise InvalidInputError(
        f"netfold does not know the velocity along a {type(path).__name__}: give the path as a Curve, a function "
        "of t written with torch operations"
    )


def _along_lines(at: Floats, points: Floats, t: Floats) -> tuple[Floats, Floats]:
    leg = np.clip(np.searchsorted(at, t, "right") - 1, 0, len(at) - 2)
    column = (-1,) + (1,) * (points.ndim - 1)
    span = (at[leg + 1] - at[leg]).reshape(column)
    share = ((t - at[leg]).reshape(column)) / span
    return (1 - share) * points[leg] + share * points[leg + 1], (points[leg + 1] - points[leg]) / span


def _along_ellipse(curve: Ellipse, t: Floats) -> tuple[Floats, Floats]:
    s = curve.angle * t.reshape((-1,) + (1,) * len(curve.shape))
    cos, sin = np.cos(s), np.sin(s)
    return curve.center + cos * curve.u + sin * curve.v, curve.angle * (cos * curve.v - sin * curve.u)


class _Differentiated:
    """Positions and velocities of a function of t, by forward-mode derivatives; all t at once where it allows."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.together = True

    def __call__(self, t: Floats) -> tuple[Floats, Floats]:
        at = torch.from_numpy(np.ascontiguousarray(t))
        if self.together:
            try:
                return self._arrays(*torch.func.vmap(self._one)(at))
            except (RuntimeError, ValueError, TypeError, NotImplementedError):
                self.together = False  # functions that branch on t, for example, take one number at a time
        found = [self._one(s) for s in at]
        return self._arrays(torch.stack([x for x, _ in found]), torch.stack([v for _, v in found]))

    def _one(self, t: Tensor) -> tuple[Tensor, Tensor]:
        try:
            x, v = torch.func.jvp(self.function, (t,), (torch.ones_like(t),))[:2]
        except NotImplementedError as error:
            raise InvalidInputError(f"the curve's function cannot be differentiated in t: {error}") from error
        return x, v

    def _arrays(self, x: Tensor, v: Tensor) -> tuple[Floats, Floats]:
        found = x.detach().double().cpu().numpy(), v.detach().double().cpu().numpy()
        for what, values in zip(("position", "velocity"), found, strict=True):
            if not np.isfinite(values).all():
                raise InvalidInputError(f"the curve's {what} holds values that are NaN or infinite")
        return found
