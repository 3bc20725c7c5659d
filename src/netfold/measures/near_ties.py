"""Straight paths on which rounding may have decided a state: a certificate where it is cheap, and else a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch.utils import _pytree as pytree

from netfold.capture import Program
from netfold.errors import NotExplicitError
from netfold.exact.certificate.certifier import Certifier
from netfold.exact.line.tracer import LineTracer
from netfold.measures.assemble import certified
from netfold.paths import Line, Polyline
from netfold.results.base import counted
from netfold.results.status import Certainty
from netfold.results.trace import Trace

WORK = 5e6
"""Products at the rows of a certificate for a path that asks for none: at most a second."""

BUDGET = 1e7
"""Multiplications of long integers for it."""

RESOLVED = 2e-15
"""Distance of breakpoints from which on float64 can tell their order."""

USUAL = 1e-60, 1e60
"""Sizes of numbers, but zero, whose products in a few layers neither underflow nor overflow."""


def doubts_of(program: Program, tracer: LineTracer, points: torch.Tensor) -> list[int]:
    """On how many places of every path rounding may have decided a state; one more where numbers are not usual."""
    odd = not (_usual(points) and all(_usual(v) for v in _numbers(program)))
    return [
        len(t) + output.merged + odd + int((np.diff(output.breakpoints, prepend=0.0, append=1.0) < RESOLVED).sum())
        for t, output in zip(tracer.doubts, tracer.results, strict=True)
    ]


def settle(
    program: Program, paths: Sequence[Line | Polyline], traces: Sequence[Trace], doubts: Sequence[int], alone: bool
) -> list[Trace]:
    """The traces, those with doubts proven where that is cheap; ``alone`` says that one program leads all paths."""
    size = sum(v.numel() for v in _numbers(program)) + sum(layer.units for layer in program.layers)

    @cache
    def certifier() -> Certifier | None:
        try:
            return Certifier(program, BUDGET)
        except NotExplicitError:
            return None

    return [
        _settled(trace, path, doubt, certifier if alone and size * 2 * (trace.regions + 1) <= WORK else lambda: None)
        if doubt
        else trace
        for path, trace, doubt in zip(paths, traces, doubts, strict=True)
    ]


def _settled(trace: Trace, path: Line | Polyline, doubts: int, certifier: Callable[[], Certifier | None]) -> Trace:
    prover = certifier()
    if prover is None:
        status = Certainty.TIES.text(f" in {counted(doubts, 'place')}")
        return replace(trace, status=status, margin=0.0, doubtful=doubts, resolved=0, uncertain=doubts)
    return certified(trace, prover.certify(*path.vertices, trace.breakpoints, trace.breakpoint_layers))


def _numbers(program: Program) -> list[torch.Tensor]:
    leaves = [v for node in program.nodes for v in pytree.tree_leaves((node.args, node.kwargs))]
    return [v for v in leaves if isinstance(v, torch.Tensor) and v.is_floating_point()]


def _usual(values: torch.Tensor) -> bool:
    sizes = values.detach().abs()
    low, high = USUAL
    return bool(((sizes == 0) | ((sizes > low) & (sizes < high))).all())
