"""The numbers of a report as plain JSON."""

from __future__ import annotations

import json
from typing import Any

from netfold.measures.many_lines import Lines, regions_of
from netfold.reporting import planes
from netfold.reporting.beside_theory import BesideTheory
from netfold.reporting.gather import ReportData
from netfold.reporting.states import rows
from netfold.results.base import plain
from netfold.results.intervals import estimate
from netfold.results.trace_estimates import TraceEstimates


def numbers(data: ReportData) -> dict[str, Any]:
    """Everything the page states, in a form any program reads; what is not defined is null.

    Args:
        data: the report.

    Returns:
        Nested dictionaries and lists of strings, numbers and null.
    """
    shown = data.example
    found = {
        "network": {
            "what": data.story.network,
            "layers": data.layers,
            "input_shape": list(data.input_shape),
            "outputs": data.outputs,
            "parameters": data.parameters,
            "accuracy": data.accuracy,
            "classified": data.classified,
            "training": data.story.recipe or None,
        },
        "paths": {
            "what": "straight lines between pairs of inputs",
            "data": data.story.data,
            "inputs": data.points,
            "pairs": data.pairs.rows,
            "asked": data.asked,
            "disjoint": data.pairs.disjoint,
            "seed": data.seed,
        },
        "trained": summarised(data.trained),
        "initial": None if data.initial is None else {**summarised(data.initial), "accuracy": data.initial_accuracy},
        "theory": beside(data.theory),
        "bound_log10": data.bound,
        "example": None
        if shown is None
        else {
            "rows": shown.rows,
            "regions": shown.trace.regions,
            "linear_pieces": shown.trace.linear_pieces,
            "breakpoints": shown.trace.breakpoints,
            "breakpoint_layers": shown.trace.breakpoint_layers + 1,
            "class_changes": shown.trace.output.class_changes,
            "classes": shown.trace.output.classes,
        },
        "slice": None if data.slice is None else planes.numbers(data.slice),
        "units": None if data.states is None else rows(data.states),
        "sensitivity": None if data.sensitivity is None else data.sensitivity.to_dict(),
        "not_made": data.not_made,
        "counting_rule": data.trained[0].counting_rule,
        "method": data.trained[0].method,
        "estimated": data.estimated,
        "smallest_margin": margin_of(data.trained),
        "seconds": data.seconds,
        "provenance": data.provenance,
    }
    return plain(found)


def summarised(traces: Lines) -> dict[str, Any]:
    """Mean, standard error, interval and spread of every measure, layer by layer."""
    regions = regions_of(traces)
    spread = {"smallest": regions.min(), "largest": regions.max()}
    return {
        "regions": estimate(regions) | spread,
        "by_layer": traces.summary().to_dict(orient="records"),
    }


def margin_of(traces: Lines) -> float | None:
    """The closest decision on any line; ``None`` where they were estimated."""
    return None if isinstance(traces, TraceEstimates) else min(trace.margin for trace in traces)


def beside(theory: BesideTheory) -> dict[str, Any]:
    """Measured numbers beside their predictions, with the gap in standard errors."""
    diagnosis = theory.diagnosis
    return {
        "of": "initial" if theory.initial else "trained",
        "looks_random": theory.random,
        "caveat": theory.caveat or None,
        "phase": str(diagnosis.phase) if diagnosis is not None and diagnosis.phase is not None else None,
        "verdict": diagnosis.verdict if diagnosis is not None else [],
        "numbers": theory.comparison.rows,
    }


def to_json(value: Any) -> str:
    """JSON text without NaN or infinity, which JSON does not know."""
    return json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
