"""Every piecewise-linear operation netfold knows: its knots, slopes and states, in one table.

A new elementwise operation is one entry of `ELEMENTWISE`; an operation that picks the largest or the
smallest of several entries is one entry of `SELECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture import windows


@dataclass(frozen=True)
class Elementwise:
    """A continuous piecewise-linear function applied to every unit.

    Between knots ``r - 1`` and ``r`` (counted from 1, in increasing order) it is
    ``slopes[:, r] * h + offsets[:, r]``. Rows are units; one row serves all units alike.
    A unit is on piece ``r`` where exactly ``r`` knots are below its pre-activation ``h``.

    Attributes:
        knots: shape ``(units or 1, pieces - 1)``.
        slopes: shape ``(units or 1, pieces)``.
        offsets: shape ``(units or 1, pieces)``.
        states: the name of each piece, for example ``(-1, 0, 1)`` for a hard-tanh.
    """

    knots: NDArray[np.float64]
    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]
    states: tuple[int, ...]

    @property
    def saturates(self) -> bool:
        """Whether the function has a flat piece at either end with a sloped one between."""
        flat = (self.slopes[:, [0, -1]] == 0).all()
        return bool(self.slopes.shape[1] == 3 and flat and (self.slopes[:, 1] != 0).all())

    def __call__(self, h: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at pre-activations ``h`` of shape ``(rows, units)``."""
        slopes, offsets = self.piece_at(h)
        return slopes * h + offsets

    def piece_at(self, h: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Slope and offset of the piece that each unit is on, at pre-activations of shape ``(..., units)``."""
        piece = (h[..., None] > self.knots).sum(-1)
        unit = np.arange(h.shape[-1]) if len(self.slopes) > 1 else 0
        return self.slopes[unit, piece], self.offsets[unit, piece]


@dataclass(frozen=True)
class Selection:
    """A unit is the largest (or smallest) of a few entries; its state is the index that wins.

    Among entries that stay equal over a whole region the first one wins, as in ``torch``'s max pooling.

    Attributes:
        candidates: shape ``(units, entries)``: positions in the operation's inputs, flattened and
            concatenated; -1 pads units with fewer entries.
        largest: whether the largest entry wins, or the smallest.
    """

    candidates: NDArray[np.int64]
    largest: bool

    def __call__(self, h: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values for inputs ``h`` of shape ``(rows, features)``; the result is ``(rows, units)``."""
        sign = 1.0 if self.largest else -1.0
        entries = np.where(self.candidates >= 0, sign * h[:, self.candidates], -np.inf)
        return sign * entries.max(-1)


Rule = Elementwise | Selection
Numbers = float | NDArray[np.float64]
Shape = tuple[int, ...]

Arguments = dict[str, Any]
"""An operation's arguments by their schema name, without those that depend on the point."""


def continuous(knots: list[Numbers], slopes: list[Numbers], states: tuple[int, ...], at_knot: Numbers) -> Elementwise:
    """The function with these knots and slopes that takes the value ``at_knot`` at its first knot."""
    width = max(np.size(v) for v in [*knots, *slopes, at_knot])
    k = np.stack([np.broadcast_to(v, width).astype(np.float64) for v in knots], 1)
    s = np.stack([np.broadcast_to(v, width).astype(np.float64) for v in slopes], 1)
    bad = np.flatnonzero(~(np.isfinite(k).all(1) & np.isfinite(s).all(1) & (np.diff(k, axis=1) > 0).all(1)))
    if len(bad):
        raise ValueError(f"its knots {k[bad[0]].tolist()} are not finite and increasing")
    offsets = np.empty_like(s)
    offsets[:, 0] = at_knot - s[:, 0] * k[:, 0]
    for r in range(k.shape[1]):
        offsets[:, r + 1] = offsets[:, r] + (s[:, r] - s[:, r + 1]) * k[:, r]
    return Elementwise(k, s, offsets, states)


def relu() -> Elementwise:
    """max(h, 0): states 0 (off) and 1 (on)."""
    return continuous([0.0], [0.0, 1.0], (0, 1), 0.0)


def leaky_relu(slope: Numbers = 0.01) -> Elementwise:
    """max(h, 0) + slope * min(h, 0): states 0 and 1."""
    return continuous([0.0], [slope, 1.0], (0, 1), 0.0)


def clamp(low: Numbers | None = None, high: Numbers | None = None) -> Elementwise:
    """Values below ``low`` and above ``high`` replaced by these: states -1, 0, 1."""
    if low is not None and high is not None:
        return continuous([low, high], [0.0, 1.0, 0.0], (-1, 0, 1), low)
    if low is not None:
        return continuous([low], [0.0, 1.0], (-1, 0), low)
    if high is not None:
        return continuous([high], [1.0, 0.0], (0, 1), high)
    raise ValueError("it has neither a lower nor an upper limit")


def hardsigmoid() -> Elementwise:
    """(h + 3) / 6 clipped to [0, 1]: states -1, 0, 1."""
    return continuous([-3.0, 3.0], [0.0, 1.0 / 6.0, 0.0], (-1, 0, 1), 0.0)


def absolute() -> Elementwise:
    """|h|: states -1 and 1."""
    return continuous([0.0], [-1.0, 1.0], (-1, 1), 0.0)


def softshrink(width: float = 0.5) -> Elementwise:
    """Zero within ``width`` of zero, and h moved towards zero by ``width`` elsewhere: states -1, 0, 1."""
    return continuous([-width, width], [1.0, 0.0, 1.0], (-1, 0, 1), 0.0)


def _limit(value: Any, shape: Shape, none: float) -> Numbers | None:
    """A limit, one number or one a unit; ``None`` where it is absent or equals ``none`` (an infinity)."""
    if value is None:
        return None
    array = np.asarray(value.double().cpu() if isinstance(value, torch.Tensor) else value, np.float64)
    if array.size == 1:
        return None if float(array.reshape(())) == none else float(array.reshape(()))
    return np.broadcast_to(array[0] if array.ndim > len(shape) else array, shape).reshape(-1)


def _clamp(a: Arguments, shape: Shape) -> Elementwise:
    return clamp(_limit(a.get("min"), shape, -np.inf), _limit(a.get("max"), shape, np.inf))


def _hardtanh(a: Arguments, shape: Shape) -> Elementwise:
    return _clamp({"min": a["min_val"], "max": a["max_val"]}, shape)


def _one_sided(side: str, a: Arguments, shape: Shape) -> Elementwise:
    """The maximum or minimum with a constant, whatever that argument is called."""
    limit = next((v for v in a.values() if isinstance(v, torch.Tensor)), None)
    return _clamp({side: limit}, shape)


def _prelu(a: Arguments, shape: Shape) -> Elementwise:
    weight = a["weight"].double().reshape(-1).cpu().numpy()
    repeats = 1 if len(weight) == 1 else int(np.prod(shape[1:], dtype=np.int64))
    return leaky_relu(np.repeat(weight, repeats))


def _threshold(a: Arguments, shape: Shape) -> Elementwise:
    if a["threshold"] != a["value"]:
        raise ValueError(f"with threshold={a['threshold']} and value={a['value']} it jumps at the threshold")
    return continuous([float(a["threshold"])], [0.0, 1.0], (0, 1), float(a["value"]))


ELEMENTWISE: dict[str, Callable[[Arguments, Shape], Elementwise]] = {
    "relu": lambda a, shape: relu(),
    "leaky_relu": lambda a, shape: leaky_relu(float(a["negative_slope"])),
    "rrelu": lambda a, shape: leaky_relu((float(a["lower"]) + float(a["upper"])) / 2),
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    "relu6": lambda a, shape: clamp(0.0, 6.0),
    "hardtanh": _hardtanh,
    "hardsigmoid": lambda a, shape: hardsigmoid(),
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "abs": lambda a, shape: absolute(),
    "softshrink": lambda a, shape: softshrink(float(a["lambd"])),
    "threshold": _threshold,
    "maximum": partial(_one_sided, "min"),
    "minimum": partial(_one_sided, "max"),
    "fmax": partial(_one_sided, "min"),
    "fmin": partial(_one_sided, "max"),
    "max": partial(_one_sided, "min"),
    "min": partial(_one_sided, "max"),
}
"""Elementwise operations by ATen name: their arguments and a point's shape give the function.

Each raises ``ValueError`` with the reason where its arguments make it something else.
"""


def _pairs(largest: bool, a: Arguments, shapes: list[Shape]) -> Selection:
    return Selection(windows.pairs(shapes), largest)


def _along(largest: bool, a: Arguments, shapes: list[Shape]) -> Selection:
    if "dim" not in a:
        return _pairs(largest, a, shapes)
    dims = a["dim"] if isinstance(a["dim"], list | tuple) else [a["dim"]]
    return Selection(windows.along(shapes[0], list(dims)), largest)


def _pooling(dims: int, a: Arguments, shapes: list[Shape]) -> Selection:
    return Selection(windows.pooling(shapes[0], dims, a), True)


def _adaptive(a: Arguments, shapes: list[Shape]) -> Selection:
    return Selection(windows.adaptive(shapes[0], a["output_size"]), True)


SELECTIONS: dict[str, Callable[[Arguments, list[Shape]], Selection]] = {
    "maximum": partial(_pairs, True),
    "minimum": partial(_pairs, False),
    "fmax": partial(_pairs, True),
    "fmin": partial(_pairs, False),
    "max": partial(_along, True),
    "min": partial(_along, False),
    "amax": partial(_along, True),
    "amin": partial(_along, False),
    "max_pool1d": partial(_pooling, 1),
    "max_pool2d": partial(_pooling, 2),
    "max_pool3d": partial(_pooling, 3),
    "max_pool1d_with_indices": partial(_pooling, 1),
    "max_pool2d_with_indices": partial(_pooling, 2),
    "max_pool3d_with_indices": partial(_pooling, 3),
    "adaptive_max_pool1d": _adaptive,
    "adaptive_max_pool2d": _adaptive,
    "adaptive_max_pool3d": _adaptive,
}
"""Operations that pick one of several entries, by ATen name: arguments and point shapes give the rule."""

_COMPARED = (
    "it compares values of the point; where what is chosen by it is continuous, write it as torch.relu, F.leaky_relu, "
    "abs, clamp or torch.maximum, which are followed exactly: h * (h > 0) is torch.relu(h)"
)
_SORTED = "it is piecewise linear, but netfold does not follow its pieces; of a few entries write "

PIECEWISE_BUT_UNKNOWN: dict[str, str] = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "sign", "heaviside", "greater", "less"), _COMPARED),
    **dict.fromkeys(
        ("sort", "msort", "topk"), f"{_SORTED}torch.maximum and torch.minimum of pairs, or amax for the largest"
    ),
    **dict.fromkeys(("median", "kthvalue", "nanmedian"), f"{_SORTED}torch.maximum and torch.minimum of pairs"),
    **dict.fromkeys(("cummax", "cummin"), f"{_SORTED}torch.maximum and torch.minimum step by step"),
    **dict.fromkeys(("scatter_reduce", "segment_reduce"), f"{_SORTED}amax over a stack of the entries"),
    "hardshrink": "it jumps where it leaves zero",
}
"""Why operations that are piecewise linear, or look so, are not followed exactly, and what is."""
