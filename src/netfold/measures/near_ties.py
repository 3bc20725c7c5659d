"""Paths on which rounding may have decided a state: a certificate where it is cheap, and else a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from netfold.arrays import Floats
from netfold.capture import Program
from netfold.errors import NotExplicitError
from netfold.exact.line.tracer import LineTracer
from netfold.exact.paths.output import PathOutput
from netfold.measures.assemble import certified
from netfold.paths import Arc, Circle, Ellipse, Line, Polyline
from netfold.results.base import counted
from netfold.results.status import Certainty
from netfold.results.trace import Trace

if TYPE_CHECKING:
    from netfold.exact.certificate.certifier import Certifier

Traced = Line | Polyline | Arc | Circle | Ellipse

WORK = 5e6
"""Products at the rows of a certificate for a path that asks for none: at most a second."""

BUDGET = 1e7
"""Multiplications of long integers for it: a second."""

RESOLVED = 2e-15
"""Distance of breakpoints from which on float64 can tell their order."""

SHORT, SELDOM = 1e-9, 1e-3
"""Distance of breakpoints below which the output may bend between them unseen, and the share of paths, about, on which
random breakpoints come so near to each other that they are taken for that."""

WIDE = 1e10
"""Ratio of a network's largest number to its smallest from which on bends of the output may be lost in its rounding."""

USUAL = 1e-60, 1e60
"""Sizes of numbers, but zero, whose products in a few layers neither underflow nor overflow."""


def doubts_of(tracer: LineTracer, points: torch.Tensor) -> list[int]:
    """On how many places of every path rounding may have decided a state, or hides that the output bends."""
    within = _usual_points(points)
    return [
        len(t) + output.merged + output.faint + _hidden(program, output, within)
        for program, t, output in zip(tracer.programs, tracer.doubts, tracer.results, strict=True)
    ]


def usual(program: Program, points: torch.Tensor) -> bool:
    """Whether products of a network's numbers with those of points neither underflow nor overflow."""
    return _usual_points(points) and _usual_weights(program)


def _usual_points(points: torch.Tensor) -> bool:
    sizes = points.abs()
    return bool(((sizes == 0) | ((sizes > USUAL[0]) & (sizes < USUAL[1]))).all())


def _usual_weights(program: Program) -> bool:
    low, high = program.magnitudes
    return low > USUAL[0] and high < USUAL[1]


def close(breakpoints: Floats, least: float = RESOLVED) -> int:
    """How many breakpoints are nearer to the one before, or to an end: so near that float64 cannot tell them apart."""
    return int((np.diff(breakpoints, prepend=0.0, append=1.0) < least).sum())


def _hidden(program: Program, output: PathOutput, within: bool) -> int:
    """Breakpoints that float64 cannot tell apart, those at which it cannot see a bend, and one for odd numbers."""
    low, high = program.magnitudes
    odd = not (within and _usual_weights(program))
    straight = len(output.breakpoints) + output.merged + 1 - output.pieces
    if high <= WIDE * low:
        least = min(SHORT, SELDOM / (len(output.breakpoints) + 1) ** 2)
        straight = min(straight, close(output.breakpoints, least))
    return odd + close(output.breakpoints) + straight


def settle(
    programs: Sequence[Program],
    paths: Sequence[Traced],
    traces: Sequence[Trace],
    doubts: Sequence[int],
) -> list[Trace]:
    """The traces, those with doubts proven where that is cheap, or saying that they are not (`doubted`)."""
    certifiers: dict[int, Certifier | None] = {}
    settled = []
    for program, path, trace, doubt in zip(programs, paths, traces, doubts, strict=True):
        size = program.parameters + sum(layer.units for layer in program.layers)
        cheap = doubt > 0 and size * 2 * (trace.regions + 1) <= WORK
        if cheap and id(program) not in certifiers:
            certifiers[id(program)] = _certifier(program)
        certifier = certifiers.get(id(program)) if cheap else None
        found = None if certifier is None else proven(certifier, path, trace, doubt)
        settled.append(doubted(trace, doubt) if found is None else found)
    return settled


def _certifier(program: Program) -> Certifier | None:
    from netfold.exact.certificate.certifier import Certifier

    try:
        return Certifier(program, BUDGET)
    except NotExplicitError:
        return None


def proven(certifier: Certifier, path: Traced, trace: Trace, doubts: int) -> Trace | None:
    """The trace with what a certificate says; ``None`` of an arc that it does not reach."""
    if isinstance(path, Line | Polyline):
        found = certifier.certify(*path.vertices, trace.breakpoints, trace.breakpoint_layers)
    else:
        found = certifier.certify_arc(path.ellipse, trace.breakpoints, doubts)
    return None if found is None else certified(trace, found)


def doubted(trace: Trace, doubts: int) -> Trace:
    """The trace, which says on how many places rounding may have decided."""
    if doubts == 0:
        return trace
    status = Certainty.TIES.text(f" in {counted(doubts, 'place')}")
    pieces = min(trace.linear_pieces, trace.regions)
    return replace(
        trace, linear_pieces=pieces, status=status, margin=0.0, doubtful=doubts, resolved=0, uncertain=doubts
    )
