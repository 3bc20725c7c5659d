"""Stretches of the path in which one unit changes its state once, and the parameters where it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.threads import aside
from netfold.progress import Budget
from netfold.sampled import cubic
from netfold.sampled.flow import Flow

FOR_A_ROOT = 6
"""Evaluations that a root takes, about."""

SHARP = 2.0**-47
"""Roots are found to this in t, or to where rounding hides them."""

ROUNDING = 4 * np.finfo(np.float64).eps
"""Share of a layer's largest pre-activation below which a root is reached."""


@dataclass(frozen=True)
class Brackets:
    """Sign changes of functions ``read[entry] - read[other]`` (or ``- level``), one a row.

    Attributes:
        panel: the panel that holds it.
        stage: the layer that reads the function's values.
        unit: the unit that changes, from state ``origin`` to state ``target``.
        entry: what the function takes from the layer's input, less what stands at ``other`` (-1: ``level``).
        low: where the bracket begins, with the function's value ``a`` and velocity ``da``; it ends at ``high``
            with ``b`` and ``db``.
        up: whether the function goes from negative to positive.
    """

    panel: Ints
    stage: Ints
    unit: Ints
    origin: Ints
    target: Ints
    entry: Ints
    other: Ints
    level: Floats
    low: Floats
    a: Floats
    da: Floats
    high: Floats
    b: Floats
    db: Floats
    up: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.panel)

    def take(self, rows: NDArray[np.generic]) -> Brackets:
        """Some of the brackets."""
        return Brackets(*(getattr(self, f.name)[rows] for f in fields(self)))


def joined(parts: Sequence[Brackets]) -> Brackets:
    """Several brackets as one; at least one part is needed."""
    return Brackets(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Brackets)))


def roots(flow: Flow, brackets: Brackets) -> Floats:
    """The parameter at which each function changes its sign.

    The zero of the cubic through both ends of a bracket is tried, and the middle where that failed twice to halve
    it, until the function is 0 to rounding or Newton's step is below 1e-14.
    """
    found = np.empty(len(brackets))
    for stage in np.unique(brackets.stage):
        rows = np.flatnonzero(brackets.stage == stage)
        for begin in range(0, len(rows), flow.batch):
            part = rows[begin : begin + flow.batch]
            found[part] = _roots_of_stage(flow, int(stage), brackets.take(part))
    return found


def roots_within(flow: Flow, brackets: Brackets, budget: Budget) -> tuple[Floats, int]:
    """The same as far as a budget goes; the rest, so many, is where the cubic through both ends is zero."""
    found, at = np.empty(len(brackets)), 0
    while at < len(brackets):
        budget.spent = flow.evaluations
        left = 0.0 if budget.stopped else budget.left(budget.elapsed / budget.spent)
        count = int(min(left / FOR_A_ROOT, len(brackets) - at))
        if count < 1:
            break
        count = count if at + count == len(brackets) else min(count, flow.batch)
        found[at : at + count] = roots(flow, brackets.take(np.arange(at, at + count)))
        at += count
    rest = brackets.take(np.arange(at, len(brackets)))
    tried, rows = np.empty(len(rest)), np.arange(len(rest))
    aside(_try, _ends(rest), rows, np.zeros(len(rest), np.int64), tried)
    found[at:] = tried
    return found, len(rest)


def _ends(part: Brackets) -> Floats:
    """Both ends of every bracket, with what is sought and its derivative there, as if it went up."""
    sign = np.where(part.up, 1.0, -1.0)
    return np.stack([part.low, sign * part.a, sign * part.da, part.high, sign * part.b, sign * part.db], 1)


def _roots_of_stage(flow: Flow, stage: int, part: Brackets) -> Floats:
    sign, ends = np.where(part.up, 1.0, -1.0), _ends(part)
    found, stalled = np.full(len(part), np.nan), np.zeros(len(part), np.int64)
    open_ = np.arange(len(part))
    for _ in range(160):
        tried = np.empty(len(open_))
        aside(_try, ends, open_, stalled, tried)
        now, rows = part.take(open_), np.arange(len(open_))
        read = flow.read(tried, stage)
        f, df = read.value[rows, now.entry], read.velocity[rows, now.entry]
        pair = now.other >= 0
        f = sign[open_] * (f - np.where(pair, read.value[rows, now.other], now.level))
        df = sign[open_] * (df - np.where(pair, read.velocity[rows, now.other], 0.0))
        tiny = ROUNDING * np.abs(read.value).max(1)
        done = np.empty(len(open_), np.bool_)
        aside(_narrow, ends, open_, tried, f, df, tiny, stalled, found, done)
        open_ = open_[~done]
        if not len(open_):
            break
    found[open_] = 0.5 * (ends[open_, 0] + ends[open_, 3])
    return found


@compiled()
def _try(ends, rows, stalled, tried):
    """A parameter inside each bracket: the zero of the cubic, or the middle where that has not helped twice."""
    for k in range(len(rows)):
        low, a, da, high, b, db = ends[rows[k]]
        width = high - low
        good = a < 0.0 and b > 0.0 and stalled[rows[k]] < 2
        t = low + width * cubic.root(a, width * da, b, width * db) if good else low
        tried[k] = t if low < t < high else 0.5 * (low + high)


@compiled()
def _narrow(ends, rows, tried, f, df, tiny, stalled, roots, done):
    """Put what was found at the tried parameters in the place of one end of each bracket; all functions go up."""
    for k in range(len(rows)):
        r = rows[k]
        low, high = ends[r, 0], ends[r, 3]
        step = f[k] / df[k] if df[k] > 0.0 else np.inf
        t = tried[k] - step
        done[k] = True
        if abs(f[k]) <= tiny[k] and df[k] > 0.0:
            roots[r] = tried[k]
        elif abs(step) <= SHARP and low <= t <= high:
            roots[r] = t
        elif high - low <= SHARP:
            roots[r] = 0.5 * (low + high)
        else:
            done[k] = False
        at = 3 if f[k] > 0.0 else 0
        ends[r, at], ends[r, at + 1], ends[r, at + 2] = tried[k], f[k], df[k]
        stalled[r] = stalled[r] + 1 if ends[r, 3] - ends[r, 0] > 0.5 * (high - low) else 0
