"""From what an exact tracer added up to a `Trace`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from netfold.capture import Program
from netfold.exact.certificate.certifier import Certificate
from netfold.exact.paths.output import PathOutput, exact_totals
from netfold.exact.paths.records import Totals
from netfold.results.status import Certainty, Standing
from netfold.results.trace import LayerRecord, OutputRecord, Trace

COUNTING_RULE = (
    "regions: activation regions crossed (maximal stretches of constant activation pattern); transitions: changes of "
    "a unit's state (linear piece, or winning entry of a maximum), touching a knot without crossing it left out; "
    "sign transitions: crossings of 0 by a pre-activation; patterns: distinct patterns of all units, by 128-bit hash; "
    "lengths: Euclidean, after every nonlinearity; the network computes in float64 with its stored weights"
)


PROVEN = (
    "breakpoints, transitions and linear pieces are proven for the stored weights, in exact arithmetic where float64 "
    "cannot"
)


class Tracer(Protocol):
    """What tracers of straight paths and of arcs have in common."""

    totals: list[Totals]
    results: list[PathOutput]


def assemble(program: Program, tracer: Tracer, i: int, length: float, provenance: dict[str, Any]) -> Trace:
    """The trace of path ``i``, whose own length is ``length``."""
    output = tracer.results[i]
    layers = _layers(program, tracer, i, length)
    lengths = np.array([length, *(layer.length for layer in layers), output.length])
    return Trace(
        regions=len(output.breakpoints) + 1,
        patterns=output.patterns,
        linear_pieces=output.pieces,
        breakpoints=output.breakpoints,
        breakpoint_layers=output.layers,
        layers=layers,
        output=_output(program, output),
        input_length=length,
        method="exact",
        error=lengths * len(lengths) * np.finfo(np.float64).eps,
        status=Certainty.EXACT.text(),
        margin=float(min((found.closest[i] for found in tracer.totals), default=np.inf)),
        counting_rule=COUNTING_RULE,
        output_label=program.output_label,
        provenance=provenance,
    )


def _layers(program: Program, tracer: Tracer, i: int, previous: float) -> tuple[LayerRecord, ...]:
    records = []
    for layer, found in zip(program.layers, tracer.totals, strict=True):
        length, angle, bend = (exact_totals(s[i : i + 1])[0] for s in (found.lengths, found.angles, found.bends))
        records.append(
            LayerRecord(
                name=layer.name,
                op=layer.op,
                units=layer.units,
                label=layer.label,
                transitions=int(found.transitions[i]),
                sign_transitions=int(found.signs[i]),
                saturation_passages=int(found.passages[i]),
                length=length,
                growth=length / previous if previous > 0 else float("nan"),
                angular_length=angle,
                turning=bend,
            )
        )
        previous = length
    return tuple(records)


def _output(program: Program, output: PathOutput) -> OutputRecord:
    return OutputRecord(
        size=int(np.prod(program.output_shape, dtype=np.int64)),
        length=output.length,
        angular_length=output.angle,
        turning=output.bend,
        class_changes=output.class_changes,
        classes=output.classes,
        sign_changes=output.sign_changes,
    )


def certified(trace: Trace, proof: Certificate) -> Trace:
    """A trace with what was proven in the place of what was computed; lengths and classes stay computed."""
    counts = zip(trace.layers, proof.transitions, proof.sign_transitions, proof.saturation_passages, strict=True)
    layers = tuple(
        replace(layer, transitions=int(states), sign_transitions=int(signs), saturation_passages=int(passages))
        for layer, states, signs, passages in counts
    )
    kind = Certainty.PROVEN_BUT_FOR if proof.uncertain else Certainty.PROVEN
    return replace(
        trace,
        regions=proof.regions,
        patterns=proof.patterns,
        linear_pieces=proof.linear_pieces,
        breakpoints=proof.breakpoints,
        breakpoint_layers=proof.layers,
        layers=layers,
        status=Standing(f"{trace.status}; {proof.status}", kind),
        counting_rule=trace.counting_rule if proof.uncertain else f"{trace.counting_rule}; {PROVEN}",
        doubtful=proof.doubtful,
        resolved=proof.precise + proof.rational,
        uncertain=proof.uncertain,
    )
