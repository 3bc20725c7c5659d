"""Straight paths and arcs traced in rational arithmetic: nothing is rounded, so every tie is decided as it stands.

The weights, the path's vertices and its parameters are binary fractions. Between two breakpoints every value of the
network is ``(A + B lambda) / d`` with integers A, B and d, lambda running from 0 to 1 along one straight leg; only
the places where a unit changes its state are quotients. Pieces are walked from left to right, depth first through
the layers: a layer splits the piece where its units change their state, and every part goes on to the next layer.
The float engine is not used, so that this tracer can judge it. On arcs it is the same with quadratics in the place of
affine functions (`netfold.exact.certificate.rational_arcs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netfold.exact.certificate.rational_arcs import ONE, ROUND, ZERO, ArcPlace, curved_law, turned
from netfold.exact.certificate.rational_layers import (
    STRAIGHT,
    AffineValues,
    Integers,
    IntegerStep,
    LayerRule,
    Signs,
    States,
    joined,
    law_of,
)
from netfold.exact.matrices.coefficients import fractions
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.paths import Ellipse

STEP = 2000
"""What taking a piece through a stage costs beside its multiplications, in multiplications."""


class Event(NamedTuple):
    """A unit of a layer changes its state at parameter ``t``, on arcs given as a place."""

    t: Any
    layer: int
    unit: int
    origin: int
    target: int


@dataclass
class RationalTrace:
    """What a path meets, exactly.

    Attributes:
        layers: number of layers.
        events: every change of state, in order of its parameter and then of its layer.
        seam: on a closed path, changes of state where it begins again, one entry a layer.
        sign_transitions: crossings of 0 by a pre-activation, one entry a layer.
        patterns: distinct activation patterns.
        linear_pieces: affine pieces of the output, leg by leg.
        work: multiplications done, and `STEP` for each stage of each piece.
    """

    layers: int
    events: list[Event] = field(default_factory=list)
    seam: list[int] = field(default_factory=list)
    sign_transitions: list[int] = field(default_factory=list)
    patterns: int = 0
    linear_pieces: int = 0
    work: int = 0

    @cached_property
    def breakpoints(self) -> list[Any]:
        """Increasing parameters at which a unit changes its state."""
        return [t for t, _ in groupby(self.events, key=lambda e: e.t)]

    @cached_property
    def breakpoint_layers(self) -> list[int]:
        """The first layer in which a unit changes its state at each breakpoint."""
        return [min(e.layer for e in group) for _, group in groupby(self.events, key=lambda e: e.t)]

    @cached_property
    def transitions(self) -> list[int]:
        """Changes of state, one entry a layer."""
        counts = list(self.seam) or [0] * self.layers
        for event in self.events:
            counts[event.layer] += 1
        return counts


class OutOfBudgetError(RuntimeError):
    """A path takes more multiplications than allowed."""


class RationalTracer:
    """Traces straight paths through a program in rational arithmetic.

    Args:
        program: the program's matrices. Where they hold square roots (``program.rational`` is false), these count as
            the fractions that stand for them, off by less than 2^-400.
    """

    def __init__(self, program: ExplicitProgram) -> None:
        self.program = program.program
        self.stages = [[IntegerStep(step) for step in steps] for steps in program.steps]

    @cached_property
    def _straight(self) -> list[LayerRule]:
        return [law_of(layer) for layer in self.program.layers]

    @cached_property
    def _curved(self) -> list[LayerRule]:
        return [curved_law(layer) for layer in self.program.layers]

    def run(
        self, t: Sequence[Fraction | float], points: Iterable[NDArray[Any]], budget: float = math.inf
    ) -> RationalTrace:
        """Trace a path given by the parameters and the points (floats or fractions) of its vertices.

        Raises:
            OutOfBudgetError: it takes more multiplications than ``budget``.
        """
        walk = _Walk(self, self._straight, STRAIGHT, budget)
        vertices = [fractions(p).reshape(-1) for p in points]
        for i in range(len(vertices) - 1):
            begin, width = Fraction(t[i]), Fraction(t[i + 1]) - Fraction(t[i])
            both, d = _over_one(vertices[i], vertices[i + 1])
            leg = AffineValues(np.stack([both[0], both[1] - both[0]], 1), d)
            walk.before = None
            walk.leg(leg, Fraction(0), Fraction(1), lambda a, begin=begin, width=width: begin + a * width)
        return walk.finish()

    def run_arc(self, ellipse: Ellipse, quarters: int, budget: float = math.inf) -> RationalTrace:
        """Trace the first quarter turns of an ellipse; four of them, eight and so on are closed.

        Raises:
            OutOfBudgetError: it takes more multiplications than ``budget``.
        """
        walk = _Walk(self, self._curved, ROUND, budget)
        (center, u, v), d = _over_one(*(fractions(p).reshape(-1) for p in (ellipse.center, ellipse.u, ellipse.v)))
        for quarter in range(quarters):
            leg = AffineValues(np.stack([center + u, 2 * v, center - u], 1), d)
            walk.before = turned(walk.before) if walk.before else None
            walk.leg(leg, ZERO, ONE, partial(ArcPlace, quarter))
            u, v = v, -u
        if quarters % 4 == 0:
            walk.close()
        return walk.finish()


def _over_one(*points: Integers) -> tuple[list[Integers], int]:
    """Points of fractions as integers over one denominator."""
    d = math.lcm(*(v.denominator for point in points for v in point))
    return [np.array([int(v * d) for v in point], object) for point in points], d


class _Walk:
    """One path's walk from piece to piece."""

    def __init__(self, tracer: RationalTracer, laws: list[LayerRule], one: Integers, budget: float) -> None:
        self.tracer, self.laws, self.one, self.budget = tracer, laws, one, budget
        layers = len(laws)
        self.trace = RationalTrace(layers, sign_transitions=[0] * layers)
        self.states: list[States | None] = [None] * layers
        self.positive: list[NDArray[np.bool_] | None] = [None] * layers
        self.began: list[tuple[States, NDArray[np.bool_]] | None] = [None] * layers
        self.met: set[bytes] = set()
        self.before: AffineValues | None = None

    def leg(self, values: AffineValues, begin: Any, end: Any, t: Callable[[Any], Any]) -> None:
        """Walk along one leg; ``t`` gives the parameter of a place."""
        self.t = t
        self._descend(0, begin, end, {0: values})

    def close(self) -> None:
        """Count what changes where a closed path begins again."""
        for index, began in enumerate(self.began):
            states, positive = self.states[index], self.positive[index]
            assert began is not None
            assert states is not None
            assert positive is not None
            self.trace.seam.append(int((began[0] != states).sum()))
            self.trace.sign_transitions[index] += int((began[1] != positive).sum())

    def finish(self) -> RationalTrace:
        """The trace, with events in order."""
        self.trace.events.sort(key=lambda e: e.t)
        self.trace.patterns = len(self.met)
        return self.trace

    def _descend(self, index: int, a: Any, b: Any, values: dict[int, AffineValues]) -> None:
        """Follow the piece from ``a`` to ``b``, on which all earlier layers keep their states."""
        stage = self.tracer.program.stages[index]
        values = dict(values)
        self.trace.work += STEP
        for step in self.tracer.stages[index]:
            values[step.index] = step.apply(values, self.one)
            self.trace.work += step.work
        if self.trace.work > self.budget:
            raise OutOfBudgetError
        h = joined([values[i] for i in stage.inputs])
        if stage.layer is None:
            self._leave(h)
            return
        law = self.laws[index]
        states = law.start(h, a)
        self._enter(index, a, states)
        self._count_signs(index, states, law.signs(h, a, b))
        alive = {i: values[i] for i in stage.alive}
        changes = law.changes(h, states, a, b)
        for place, group in groupby(changes, key=lambda change: change[0]):
            self._descend(index + 1, a, place, {**alive, stage.layer.node.index: law.image(h, states)})
            a, states = place, states.copy()
            for _, unit, _, new in group:
                states[unit] = new
            self._enter(index, a, states)
        self._descend(index + 1, a, b, {**alive, stage.layer.node.index: law.image(h, states)})

    def _enter(self, index: int, a: Any, states: States) -> None:
        """Note the states with which a layer goes on at ``a``."""
        before = self.states[index]
        self.states[index] = states
        if before is None:
            return
        t = self.t(a)
        for unit in np.flatnonzero(before != states).tolist():
            self.trace.events.append(Event(t, index, unit, int(before[unit]), int(states[unit])))

    def _count_signs(self, index: int, states: States, signs: Signs) -> None:
        before, self.positive[index] = self.positive[index], signs.last
        if before is None:
            self.began[index] = states, signs.first
            before = signs.first
        self.trace.sign_transitions[index] += int((before != signs.first).sum()) + signs.changes

    def _leave(self, y: AffineValues) -> None:
        """Note the pattern of a piece and whether the output bends where it starts."""
        self.met.add(b"".join(s.astype(np.int32).tobytes() for s in self.states if s is not None))
        before, self.before = self.before, y
        self.trace.linear_pieces += before is None or bool((before.n * y.d != y.n * before.d).any())
