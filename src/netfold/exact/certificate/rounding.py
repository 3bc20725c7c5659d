"""Values of a network at points, each with a proven bound on its error.

The bound runs along with the values (Higham 2002, chapter 3). A sum of n products, in whatever order and with
whatever fused operations it is computed, is off by at most g = n u / (1 - n u) times the same sum of sizes; so

    error(h) <= |W| error(x) + g (|W| |x| + |b|) <= |W| (error(x) + n eps |x|) + n eps |b|

with eps = 2 u, twice the unit roundoff, for n u < 1/2. A piecewise-linear function passes an error on times the
steepest of the pieces that the error can reach, so that saturated units stop it. The bound itself is a sum of
numbers that are not negative, off by less than one part in a million, which `SLACK` covers. Underflow loses less than
2^-1074 a product, in values and in bounds; that is added where a product may be so small, and left out elsewhere, so
that what is zero without any error stays so. What overflows has no bound.

Double-double numbers follow the same lines with eps = 2^-100.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.arrays import Floats
from netfold.capture.activations import Selection
from netfold.capture.program import Layer
from netfold.exact.matrices.coefficients import Pieces, Step, split
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.exact.numerics import double_double
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.double_double import compiled_add as add
from netfold.exact.numerics.double_double import compiled_multiply as multiply

EPS = 2.0**-52
EPS_PRECISE = 2.0**-100
SLACK = 1.0 + 1e-6
SMALL = 2.0**-800
"""Products from here on are so large that neither they nor their bounds, 2^-100 of them, underflow."""
LOST = 2.0**-1070
"""More than one product, its bound and its second half lose where they underflow."""


class Bounded(NamedTuple):
    """Rows of values ``high + low``, each within ``error`` of the true one; ``low`` is zero in float64."""

    high: Floats
    low: Floats
    error: Floats

    def less(self, number: Floats | float) -> Floats:
        """The values minus numbers that float64 holds, rounded to float64."""
        return (self.high - number) + self.low

    def take(self, columns: NDArray[np.int64]) -> Bounded:
        """Some of the columns."""
        return Bounded(self.high[:, columns], self.low[:, columns], self.error[:, columns])


class Evaluation:
    """Evaluates a program at points, in float64 or in double-double arithmetic."""

    def __init__(self, explicit: ExplicitProgram, precise: bool) -> None:
        self.program, self.steps, self.precise = explicit.program, explicit.steps, precise
        self.eps = EPS_PRECISE if precise else EPS
        self.images = [_image(stage.layer) for stage in self.program.stages if stage.layer is not None]

    def layers(self, x: Bounded) -> Iterator[Bounded]:
        """What each nonlinearity reads, its inputs flattened and joined: ``(rows, features)``."""
        values = {0: x}
        for index, stage in enumerate(self.program.stages):
            if stage.layer is None:
                return
            for step in self.steps[index]:
                values[step.node.index] = self._step(step, values)
            read = [values[i] for i in stage.inputs]
            h = read[0] if len(read) == 1 else Bounded(*(np.concatenate(part, 1) for part in zip(*read, strict=True)))
            yield h
            values = {i: values[i] for i in stage.alive}
            image = self.images[index]
            values[stage.layer.node.index] = image(h, self.precise)

    def _step(self, step: Step, values: dict[int, Bounded]) -> Bounded:
        rows = len(values[next(iter(values))].high)
        high, low = self._precisely(step, values, rows) if self.precise else _plainly(step, values, rows)
        rounding = step.roundings * self.eps
        error = np.tile(rounding * step.size, (rows, 1))
        for term in step.terms:
            x = values[term.source]
            reached = torch.from_numpy(x.error + rounding * np.abs(x.high)).reshape(rows, *term.shape)
            error += term.magnitude(reached).reshape(rows, -1).numpy()
            if step.tiniest * min(tiniest(x.high), tiniest(x.error)) < SMALL:
                error += step.roundings * LOST
        return Bounded(high, low, np.where(np.isfinite(high + low), error * SLACK, np.inf))

    def _precisely(self, step: Step, values: dict[int, Bounded], rows: int) -> tuple[Floats, Floats]:
        near, rest = step.nearest
        high, low = np.tile(near, (rows, 1)), np.tile(rest, (rows, 1))
        none = np.empty(0)
        for term in step.terms:
            matrix, x = term.coefficients, values[term.source]
            double_double.matrix_product(
                matrix.near.indptr, matrix.near.indices, matrix.near.data,
                none if matrix.rest is None else matrix.rest, x.high, x.low, high, low,
            )  # fmt: skip
        return high, low


def tiniest(values: Floats) -> float:
    """The smallest size but zero, 1 at most."""
    sizes = np.abs(values)
    return float(sizes.min(initial=1.0, where=sizes > 0.0))


def _plainly(step: Step, values: dict[int, Bounded], rows: int) -> tuple[Floats, Floats]:
    """The operation in float64, by torch."""
    read = {t.source: torch.from_numpy(values[t.source].high).reshape(rows, *t.shape) for t in step.terms}
    made = step.node(read, rows).reshape(rows, -1).numpy() if read else np.tile(step.nearest[0], (rows, 1))
    return made, np.zeros_like(made)


class _Image:
    """The image of an elementwise layer; pieces of one unit, or of all, in each row."""

    def __init__(self, layer: Layer) -> None:
        pieces = Pieces.of(layer)
        self.knots = pieces.knots.astype(np.float64)
        self.slopes, self.slopes_rest = split(pieces.slopes)
        self.offsets, self.offsets_rest = split(pieces.offsets)

    def __call__(self, h: Bounded, precise: bool) -> Bounded:
        """The image at rows of pre-activations."""
        made = Bounded(*(np.empty_like(part) for part in h))
        _apply(*h, self.knots, self.slopes, self.slopes_rest, self.offsets, self.offsets_rest,
               4 * (EPS_PRECISE if precise else EPS), precise, *made)  # fmt: skip
        return made


@compiled()
def _apply(
    high, low, error, knots, slopes, slopes_rest, offsets, offsets_rest, rounding, precise, out_high, out_low, out_error
):  # fmt: skip
    for i in range(high.shape[0]):
        for j in range(high.shape[1]):
            u = j if len(slopes) > 1 else 0
            piece, steepest = 0, 0.0
            for r in range(knots.shape[1]):
                gap = (high[i, j] - knots[u, r]) + low[i, j]
                piece += gap > 0.0
                if abs(gap) <= SLACK * error[i, j]:
                    steepest = max(steepest, abs(slopes[u, r]), abs(slopes[u, r + 1]))
            slope, offset = slopes[u, piece], offsets[u, piece]
            steepest = max(steepest, abs(slope))
            value, rest, missed = slope * high[i, j] + offset, 0.0, abs(offsets_rest[u, piece])
            if precise:
                value, rest = multiply(high[i, j], low[i, j], slope, slopes_rest[u, piece])
                value, rest = add(value, rest, offset, offsets_rest[u, piece])
                missed = 0.0
            if slope != 0.0:
                missed += rounding * (abs(slope * high[i, j]) + abs(offset))
                missed += LOST if 0.0 < abs(high[i, j]) + error[i, j] < SMALL else 0.0
            out_high[i, j], out_low[i, j] = value, rest
            out_error[i, j] = SLACK * (steepest * error[i, j] + missed)


def _image(layer: Layer) -> Callable[[Bounded, bool], Bounded]:
    rule = layer.rule
    return partial(_selected, rule) if isinstance(rule, Selection) else _Image(layer)


def _selected(rule: Selection, h: Bounded, precise: bool) -> Bounded:
    """The image of a layer that takes the largest or smallest of a few entries."""
    best = ranked(rule, h, 1)[0][0]
    entries = np.take_along_axis(np.broadcast_to(rule.candidates, (*best.shape, rule.candidates.shape[1])),
                                 best[:, :, None], 2)[:, :, 0]  # fmt: skip
    high, low = (np.take_along_axis(part, entries, 1) for part in (h.high, h.low))
    return Bounded(high, low, largest_of(rule, h.error))


def ranked(rule: Selection, h: Bounded, count: int) -> list[tuple[NDArray[np.int64], Floats]]:
    """The entries that come first, second, ...: which they are, and how far the unit's first is above them.

    Where there are fewer entries the last ones are infinitely far below.
    """
    sign, missing = (1.0 if rule.largest else -1.0), rule.candidates < 0
    high, low = (sign * np.take(part, rule.candidates, axis=1) for part in (h.high, h.low))
    high[:, missing] = -np.inf
    reference = high.argmax(-1)[:, :, None]
    with np.errstate(invalid="ignore"):
        value = (high - np.take_along_axis(high, reference, 2)) + (low - np.take_along_axis(low, reference, 2))
    value[:, missing] = -np.inf
    found: list[tuple[NDArray[np.int64], Floats]] = []
    top = value.max(-1)
    for _ in range(count):
        best = value.argmax(-1)
        found.append((best, top - np.take_along_axis(value, best[:, :, None], 2)[:, :, 0]))
        np.put_along_axis(value, best[:, :, None], -np.inf, 2)
    return found


def largest_of(rule: Selection, sizes: Floats) -> Floats:
    """The largest of every unit's entries, which are not negative."""
    entries = np.take(sizes, rule.candidates, axis=1)  # in C order, as passes have their arrays
    entries[:, rule.candidates < 0] = 0.0
    return entries.max(-1)


def spread(rule: Selection, h: Bounded) -> Floats:
    """How far every unit's largest entry is above its smallest."""
    missing = rule.candidates < 0
    top = np.take(h.high, rule.candidates, axis=1)
    bottom = top.copy()
    top[:, missing], bottom[:, missing] = -np.inf, np.inf
    return top.max(-1) - bottom.min(-1)
