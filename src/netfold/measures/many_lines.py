"""Many lines through one network within a budget: followed where that fits, else estimated; smooth ones are sampled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture import Program
from netfold.exact.numerics.compiling import compile_time
from netfold.measures.trace_estimates import estimate_trace
from netfold.measures.tracing import is_sampled, trace_paths
from netfold.paths import Line
from netfold.progress import Budget, progress_bar
from netfold.results.trace_estimates import TraceEstimates
from netfold.results.traces import Traces

Lines = Traces | TraceEstimates

FEWEST = 2
"""Lines that are measured whatever the budget."""

LOOKED_AT = 16
"""Points at which it is found out how long an evaluation takes."""

FOR_ESTIMATE, FOR_SAMPLED = 60, 1000
"""Evaluations that an estimate of a line should have, and a sampled one."""

DERIVATIVE = 3.0
"""How much longer an evaluation takes with its derivative."""

BESIDES = 2.0
"""How much longer an evaluation takes in an estimate than alone."""

TOLERANCE, NEAR = 1e-4, 0.1
"""Relative error of sampled lengths, and half width of an estimate's intervals, that are enough."""


def regions_of(lines: Lines) -> NDArray[np.float64]:
    """Regions crossed by every line, counted or estimated."""
    if isinstance(lines, TraceEstimates):
        return np.array([found.regions.value for found in lines])
    return np.array([trace.regions for trace in lines], np.float64)


def measured(
    program: Program,
    lines: Sequence[Line],
    what: str,
    progress: bool,
    seconds: float | None,
    tolerance: float = TOLERANCE,
) -> Lines:
    """Measure lines, as many of them as there is time for.

    Args:
        program: the network.
        lines: in order; the first of them are measured.
        what: what the bar says.
        progress: whether to show it.
        seconds: how long it may take, about.
        tolerance: relative error of sampled lengths.

    Returns:
        Traces; or estimates, where following would take longer.
    """
    if seconds is None:
        return _followed(program, lines, what, progress, Budget())
    budget, pace = Budget(seconds), pace_of(program, lines[0])
    fit = budget.left(DERIVATIVE * pace) / FOR_SAMPLED
    if (smooth := is_sampled(program, lines[0])) and fit >= min(FEWEST, len(lines)):
        count = _as_many(fit, lines)
        left = max(seconds - budget.elapsed, 1.0)
        return trace_paths(program, lines[:count], seconds=left, tolerance=tolerance, progress=progress)
    if not smooth:
        with compile_time() as compiled:
            first = estimate_trace(program, lines[0], seconds=None, evaluations=1, whole="never", progress=False)
            trace_paths(program, [Line(lines[0](0.0), lines[0](1e-6))], progress=False)
        budget.seconds = seconds + sum(compiled)  # what is compiled, once, is not to turn counts into estimates
        if first.regions.value * pace * len(lines) <= budget.left(1.0):
            return _followed(program, lines, what, progress, budget)
    pace *= BESIDES
    count = _as_many(budget.left(pace) / FOR_ESTIMATE, lines)
    options: dict[str, Any] = {"seconds": None, "tolerance": NEAR, "whole": "never", "progress": False}
    found = []
    with progress_bar(count, what, "path", None if progress else False) as bar:
        for number, line in enumerate(lines[:count]):
            most = max(int(budget.share(count - number).left(pace)), 1)
            found.append(estimate_trace(program, line, evaluations=most, seed=number, **options))
            bar.update()
    return TraceEstimates(found)


def _as_many(wanted: float, lines: Sequence[Line]) -> int:
    return int(np.clip(wanted, min(FEWEST, len(lines)), len(lines)))


def pace_of(program: Program, line: Line) -> float:
    """Seconds that an evaluation takes."""
    points = program.points(line(np.linspace(0.0, 1.0, LOOKED_AT)), "the path")
    with torch.no_grad():
        program(points[:1])
        begin = time.perf_counter()
        program(points)
    return (time.perf_counter() - begin) / LOOKED_AT


def _followed(program: Program, lines: Sequence[Line], what: str, progress: bool, budget: Budget) -> Traces:
    """Trace lines in batches that grow while they are quick, so that the progress bar moves."""
    found, size = [], 1
    with progress_bar(len(lines), what, "path", None if progress else False) as bar:
        while len(found) < len(lines) and not (len(found) >= FEWEST and budget.over):
            begin = time.perf_counter()
            batch = lines[len(found) : len(found) + size]
            found += trace_paths(program, batch, progress=False)
            bar.update(len(batch))
            size = size * 2 if time.perf_counter() - begin < 0.3 else size
    return Traces(found)
