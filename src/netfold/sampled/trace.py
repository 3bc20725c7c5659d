"""`trace_sampled`: the trace of any network along any differentiable path, with error estimates and a status."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Elementwise
from netfold.capture.program import Program
from netfold.errors import InvalidInputError
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.threads import aside
from netfold.exact.paths import patterns
from netfold.exact.paths.refinement import KEYS, switch
from netfold.paths import Path
from netfold.progress import Budget
from netfold.results.provenance import provenance
from netfold.results.status import Certainty, Standing
from netfold.results.trace import LayerRecord, OutputRecord, Trace
from netfold.sampled import gates, measure
from netfold.sampled.adaptive import Refinement
from netfold.sampled.brackets import roots_within
from netfold.sampled.flow import Flow
from netfold.sampled.motion import motion
from netfold.sampled.panels import NUDGE
from netfold.sampled.watch import Watch, watch, watch_classes, watch_signs

COUNTING_RULE = (
    "regions: stretches of constant activation pattern, breakpoints closer than 1e-12 in t counted as one; "
    "transitions: changes of a unit's state, touching left out; the state is the linear piece (the winning entry of "
    "a maximum) where a layer is piecewise linear, the sign of the pre-activation where it is smooth and acts on "
    "each unit alone, and there is none for operations on several units at once (normalisation, softmax, attention, "
    "products); sign transitions: crossings of 0 by a pre-activation; patterns: distinct patterns of all units, by "
    "128-bit hash; linear pieces: 0 unless every operation is affine or piecewise linear; lengths: Euclidean, after "
    "every operation that is not affine; the network computes in float64 with its stored weights"
)


MOST = 1_000_000
"""Evaluations after which refinement stops where nothing else is said."""


def trace_sampled(
    program: Program,
    path: Path,
    tolerance: float = 1e-6,
    budget: Budget | None = None,
    told: Callable[[float], object] = lambda _: None,
    certify: bool = False,
) -> Trace:
    """Measure what a path meets in any differentiable network, by adaptive sampling.

    The image z(t) of the path after every layer has length ``int |z'(t)| dt``, angular length ``int |P z'| / |z| dt``
    and turning ``int |Q z''| / |z'| dt`` (P and Q project across z and z'). All are integrated at once by a
    Gauss-Kronrod rule of 15 nodes a panel; z' comes from forward-mode derivatives and z'' from the polynomial
    through z' in a panel. Zeros of pre-activations are bracketed by the same nodes, with their derivatives to tell
    where two zeros could hide between neighbours, and then found to rounding. Panels are refined until no zero is in
    doubt and until the errors of all lengths and angles, added up over panels, are within ``tolerance``. Knots of
    piecewise-linear layers become ends of panels, so there the rule converges as for a smooth network.

    Args:
        program: the captured network.
        path: where to go; a ``Curve`` must be differentiable.
        tolerance: relative error of every length and angle (angles below one radian: absolute).
        budget: after which refinement stops; evaluations of the network count with their derivatives. Of what is to
            be certified, too, half of it goes to the certificate.
        told: called with the share of the path that is settled, which may be negative where it is not any more.
        certify: say on which share of the path no switch of a gate can have been missed; see `gates.certify`.

    Returns:
        The trace, with ``method="sampled"``. Its ``status`` is ``converged``, or ``not converged`` with what is
        missing; ``error`` estimates the absolute error of each length.

    Raises:
        InvalidInputError: the path cannot be differentiated, the network is infinite or NaN on it, or an argument
            is out of range.
        CaptureError: torch has no forward-mode derivative of an operation.

    References:
        Piessens et al., QUADPACK (1983), for the rule and its error; Raghu et al., "On the Expressive Power of Deep
        Neural Networks" (ICML 2017), for trajectory length and transitions.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=16, depth=2, activation="tanh", sigma_w=2.0, seed=0)
        >>> program = nf.capture(net, shape=(2,))
        >>> trace = trace_sampled(program, nf.Circle([1.0, 0.0], [0.0, 1.0]))
        >>> trace.status, trace.transitions.tolist()[0]
        ('converged', 32)
    """
    if not (1e-13 <= tolerance < 1):
        raise InvalidInputError(f"tolerance must be at least 1e-13 and less than 1, got {tolerance}")
    begin = time.perf_counter()
    course = motion(path)
    if certify:
        gates.require(program, path)
    flow = Flow(program, course)
    watches = _watches(flow)
    half = (lambda share: told(share / 2)) if certify else told
    sampling = budget or Budget(evaluations=MOST)
    with sampling.part(0.5 if certify and budget is not None else 1.0):
        refinement = Refinement(flow, watches, tolerance, sampling, half)
        refinement.run(course.corners)
        found = _Reading(program, refinement)
        trace = found.trace(path, time.perf_counter() - begin)
    return found.certified(trace, path, budget or Budget(), half) if certify else trace


def _watches(flow: Flow) -> list[Watch]:
    """What is watched in every layer, then the signs of the outputs, then the class."""
    program = flow.program
    _, inputs = flow.images(np.array([0.5]), frozenset(range(len(program.layers))))
    layers = [watch(n, layer, inputs[n].value.shape[1]) for n, layer in enumerate(program.layers)]
    return [*(w for w in layers if w is not None), watch_signs(program), watch_classes(program)]


@dataclass
class _Changes:
    """Changes of state in order of t: of the units of all layers, or of the class."""

    t: Floats
    stage: Ints
    unit: Ints
    origin: Ints
    target: Ints

    def take(self, chosen: NDArray[np.integer[Any] | np.bool_]) -> _Changes:
        return _Changes(self.t[chosen], self.stage[chosen], self.unit[chosen], self.origin[chosen], self.target[chosen])


class _Reading:
    """Reads the results off a finished refinement."""

    def __init__(self, program: Program, refinement: Refinement) -> None:
        self.program, self.refinement = program, refinement
        self.leaves = refinement.leaves
        self.watches = refinement.watches
        self.starts = np.cumsum([0, *(w.units for w in self.watches)])
        self.changes = self._changes()

    def _changes(self) -> _Changes:
        """Every change of state, inside panels and at their boundaries."""
        inside, refinement = self.leaves.brackets, self.refinement
        found, self.rough = roots_within(refinement.flow, inside, refinement.budget)
        self.widest = float((inside.high - inside.low)[len(found) - self.rough :].max(initial=0.0))
        t, column, origin, target = self.refinement.seams.changes
        states = np.flatnonzero((column < self.starts[-1]) & ~self._of(column, len(self.watches) - 2))
        number = np.searchsorted(self.starts, column[states], "right") - 1
        stage = np.array([w.stage for w in self.watches])
        changes = _Changes(
            np.concatenate([found, t[states]]),
            np.concatenate([inside.stage, stage[number]]),
            np.concatenate([inside.unit, column[states] - self.starts[number]]),
            np.concatenate([inside.origin, origin[states]]),
            np.concatenate([inside.target, target[states]]),
        )
        return changes.take(np.argsort(changes.t, kind="stable"))

    def _of(self, column: Ints, number: int) -> NDArray[np.bool_]:
        """Columns of states that belong to one watch."""
        return (column >= self.starts[number]) & (column < self.starts[number + 1])

    def _sign_changes(self) -> tuple[Ints, Ints]:
        """Changes of sign, one entry a layer, and those of every output."""
        _, column, _, _ = self.refinement.seams.changes
        signs = column[column >= self.starts[-1]] - self.starts[-1]
        number = np.searchsorted(self.starts, signs, "right") - 1
        totals = self.leaves.sign_changes.sum(0) + np.bincount(number, minlength=len(self.watches))
        layers = np.zeros(len(self.program.layers), np.int64)
        for watched, total in zip(self.watches[:-2], totals, strict=False):
            layers[watched.stage] = total
        units = signs[self._of(signs, len(self.watches) - 2)] - self.starts[-3]
        outputs = self.watches[-2].units
        return layers, self.leaves.output_signs.sum(0, np.int64) + np.bincount(units, minlength=outputs)

    def certified(self, trace: Trace, path: Path, budget: Budget, told: Callable[[float], object]) -> Trace:
        """The trace with the share of the path on which no switch of a gate can have been missed."""
        panels = self.leaves.panels
        ends = np.unique(np.concatenate([panels.a, panels.b, [0.0, 1.0]]))
        switches = gates.Switches(self.changes.t, self.changes.stage, self.changes.unit)
        found = gates.certify(self.program, path, switches, ends, budget, told)
        return replace(
            trace, gate_layers=found.layers, gate_tokens=found.tokens, gate_switches=found.switches,
            gate_certified=found.certified, certified=found.share, uncertified=found.ended,
        )  # fmt: skip

    def trace(self, path: Path, seconds: float) -> Trace:
        """Everything as a trace."""
        program, refinement = self.program, self.refinement
        measures, errors = self.leaves.totals
        measures[:, [measure.ANGLE, measure.TURN]] += refinement.seams.angles
        errors[:, measure.LENGTH] += refinement.seams.jumps
        output_stage = len(program.layers)
        units = self.changes.take(self.changes.stage < output_stage)
        classes = self.changes.take(self.changes.stage == output_stage)
        signs, output_signs = self._sign_changes()
        breakpoints, firsts, flips = _breakpoints(units)
        records = []
        for n, layer in enumerate(program.layers):
            mine = units.take(units.stage == n)
            length, before = float(measures[n + 1, measure.LENGTH]), float(measures[n, measure.LENGTH])
            records.append(
                LayerRecord(
                    name=layer.name,
                    op=layer.op,
                    units=layer.units,
                    label=layer.label,
                    transitions=len(mine.t),
                    sign_transitions=int(signs[n]),
                    saturation_passages=_passages(layer.rule, mine),
                    length=length,
                    growth=length / before if before > 0 else float("nan"),
                    angular_length=float(measures[n + 1, measure.ANGLE]),
                    turning=float(measures[n + 1, measure.TURN]),
                )
            )
        output = OutputRecord(
            size=len(output_signs),
            length=float(measures[-1, measure.LENGTH]),
            angular_length=float(measures[-1, measure.ANGLE]),
            turning=float(measures[-1, measure.TURN]),
            class_changes=classes.t,
            classes=np.append(refinement.first_class, classes.target),
            sign_changes=output_signs,
        )
        return Trace(
            regions=len(breakpoints) + 1,
            patterns=int(aside(patterns.count_distinct, flips, np.array([len(flips)]))[0]),
            linear_pieces=refinement.seams.kinks + 1 if program.piecewise_linear else 0,
            breakpoints=breakpoints,
            breakpoint_layers=firsts,
            layers=tuple(records),
            output=output,
            input_length=float(measures[0, measure.LENGTH]),
            method="sampled",
            error=errors[:, measure.LENGTH],
            status=_status(refinement, measures, errors, self.rough, self.widest),
            margin=refinement.closest,
            counting_rule=COUNTING_RULE,
            output_label=program.output_label,
            provenance=provenance(
                program, path=type(path).__name__, seconds=seconds, tolerance=refinement.tolerance,
                evaluations=refinement.flow.evaluations,
            ),
        )  # fmt: skip


def _breakpoints(changes: _Changes) -> tuple[Floats, Ints, NDArray[np.uint64]]:
    """Breakpoints, the first layer that switches at each, and the keys it flips; changes that coincide are one."""
    flips = np.zeros((len(changes.t), KEYS), np.uint64)
    aside(_flip, changes.stage, changes.unit, changes.origin, changes.target, flips)
    if not len(changes.t):
        return changes.t, changes.stage, flips
    starts = np.flatnonzero(np.append(True, np.diff(changes.t) > NUDGE))
    return (
        changes.t[starts],
        np.minimum.reduceat(changes.stage, starts),
        np.bitwise_xor.reduceat(flips, starts, axis=0),
    )


@compiled()
def _flip(stage, unit, origin, target, flips):
    for i in range(len(stage)):
        switch(stage[i], unit[i], origin[i], target[i], flips[i])


def _passages(rule: object, changes: _Changes) -> int:
    """Passages from one saturated state to the other, of units in order of t."""
    if not (isinstance(rule, Elementwise) and rule.saturates):
        return 0
    order = np.argsort(changes.unit, kind="stable")
    unit = changes.unit[order]
    states = np.stack([changes.origin[order], changes.target[order]], 1).reshape(-1)
    unit = np.repeat(unit, 2)
    ends = (states == 0) | (states == rule.slopes.shape[1] - 1)
    states, unit = states[ends], unit[ends]
    return int(((states[1:] != states[:-1]) & (unit[1:] == unit[:-1])).sum())


def _status(refinement: Refinement, measures: Floats, errors: Floats, rough: int, widest: float) -> Standing:
    """``converged``, or what is missing and what to do about it."""
    reasons = ["interrupted"] if refinement.budget.stopped else []
    if refinement.starved:
        reasons.append(
            f"{refinement.budget.end} with {refinement.starved:,} stretches in which transitions may be missed"
        )
    if rough:
        reasons.append(f"{rough:,} changes of state are known to within {widest:.1g} in t, as is their order")
    if refinement.undecided:
        reasons.append(f"in {refinement.undecided:,} stretches narrower than 2e-11 in t transitions may hide")
    over = errors / np.where(refinement.allowed > 0, refinement.allowed, 1.0)
    for kind, what in ((measure.LENGTH, "length"), (measure.ANGLE, "angular length"), (measure.TURN, "turning")):
        n = int(over[:, kind].argmax())
        if over[n, kind] > 1:
            names = ["the path", *(f"layer '{layer.name}'" for layer in refinement.flow.program.layers), "the output"]
            reasons.append(f"the {what} of {names[n]} is {measures[n, kind]:.6g} +- {errors[n, kind]:.1g}")
    if not reasons:
        return Certainty.CONVERGED.text()
    return Certainty.SHORT_OF_BUDGET.text(f": {'; '.join(reasons)}")
