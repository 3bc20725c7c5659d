"""`trace_path` and `trace_paths`: choose a method for every path, run it, make the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from netfold.capture import Model, Program, capture
from netfold.errors import InvalidInputError
from netfold.exact.arc.tracer import trace_ellipses
from netfold.exact.certificate.certifier import Certifier
from netfold.exact.line.tracer import LineTracer
from netfold.measures.assemble import Tracer, assemble, certified
from netfold.measures.near_ties import doubts_of, settle, usual
from netfold.paths import Arc, Circle, Curve, Ellipse, Line, Path, Polyline
from netfold.progress import progress_bar
from netfold.results.base import counted
from netfold.results.provenance import provenance
from netfold.results.status import Certainty
from netfold.results.trace import Trace
from netfold.results.traces import Traces

Method = Literal["auto", "exact", "sampled"]

TIGHT = 64 * float(np.finfo(np.float64).eps)
"""A margin on an arc below this is rounding."""

BATCH = 256
"""Paths traced together; more of them would only wait for memory."""


def trace_path(model: Model, path: Path, method: Method = "auto", *, certify: bool = False) -> Trace:
    """Measure what a path meets in a network: regions, transitions, patterns and lengths, layer by layer.

    Inside an activation region every pre-activation is affine on a straight path, and A cos s + B sin s + C on an
    arc, so breakpoints are roots in closed form, with no grid (measures: Raghu et al. 2017, section 2). Where the
    network is smooth, or the path a free curve, lengths come from adaptive quadrature with an error estimate and
    transitions from bracketed roots.

    Args:
        model: a module in evaluation mode, or a captured program.
        path: where to go; points have the model's input shape, without a batch axis.
        method: ``exact`` for piecewise-linear networks on lines, polylines, arcs and circles; ``sampled`` for all;
            ``auto`` takes ``exact`` where it applies.
        certify: prove the breakpoints, transitions and linear pieces of a line or polyline for the stored weights:
            what float64 leaves undecided (ties, touches, pieces too narrow for it) is decided in higher precision,
            then in rational arithmetic. Small networks take seconds; `Trace.uncertain` says what stayed open.

    Returns:
        The trace.

    Raises:
        NotPiecewiseLinearError: ``exact`` is asked of a network that is not piecewise linear.
        NotExplicitError: a certificate is asked of a network whose operations have no coefficients to read.
        InvalidInputError: path and model do not fit, ``exact`` is asked on a free curve, or a certificate of
            anything but an exact line or polyline.
        CaptureError: the model cannot be captured.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, sigma_b=0.5, seed=1)
        >>> trace = nf.trace_path(net, nf.Line([-2.0, 0.0], [2.0, 1.0]))
        >>> trace.regions == len(trace.breakpoints) + 1
        True
        >>> int(trace.transitions.sum()) + 1 == trace.patterns
        True
    """
    return trace_paths(model, [path], method, certify=certify, progress=False)[0]


def trace_paths(
    model: Model,
    paths: Sequence[Path],
    method: Method = "auto",
    *,
    certify: bool = False,
    progress: bool | None = None,
) -> Traces:
    """Measure many paths through one network as one batch of work; see `trace_path`.

    Args:
        model: a module in evaluation mode, or a captured program.
        paths: where to go; they may be of different kinds.
        method: as for `trace_path`, and ``certify``.
        progress: show a progress bar; by default only in a terminal.

    Returns:
        The traces, in the order of the paths.

    Raises:
        NotPiecewiseLinearError: ``exact`` is asked of a network that is not piecewise linear.
        InvalidInputError: there is no path, or one does not fit the model.
        CaptureError: the model cannot be captured.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, sigma_b=0.5, seed=1)
        >>> len(nf.trace_paths(net, [nf.Line([0.0, 0.0], [1.0, y]) for y in (0.0, 1.0)]))
        2
    """
    program = _captured(model, paths, method)
    choices = [choose(program, path, method) for path in paths]
    if certify:
        _require_straight(paths, choices)
        choices = [_certified(Certifier(program))] * len(paths)
    traces: dict[int, Trace] = {}
    with progress_bar(len(paths), "tracing", "path", progress) as bar:
        for trace in dict.fromkeys(choices):
            chosen = [i for i, choice in enumerate(choices) if choice is trace]
            for begin in range(0, len(chosen), BATCH):
                batch = chosen[begin : begin + BATCH]
                traces.update(zip(batch, trace(program, [paths[i] for i in batch]), strict=True))
                bar.update(len(batch))
    return Traces(traces[i] for i in range(len(paths)))


def _captured(model: Model, paths: Sequence[Path], method: Method) -> Program:
    require_method(method)
    if len(paths) == 0:
        raise InvalidInputError("there is no path to trace: the sequence of paths is empty")
    for i, path in enumerate(paths):
        require_path(path, i)
    program = capture(model, shape=paths[0].shape)
    for i, path in enumerate(paths):
        if path.shape != program.input_shape:
            raise InvalidInputError(
                f"{program.name} takes points of shape {program.input_shape}, path {i} has {path.shape}"
            )
    return program


def require_method(method: Method) -> None:
    """Refuse the name of a method that there is not.

    Raises:
        InvalidInputError: there is none of this name.
    """
    if method not in get_args(Method):
        raise InvalidInputError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")


def require_path(path: Path, number: int) -> Path:
    """The path, or an error that gives its number.

    Raises:
        InvalidInputError: it is none.
    """
    if not isinstance(path, Path):
        raise InvalidInputError(
            f"path {number} is a {type(path).__name__}; expected nf.Line, nf.Arc, nf.Circle, nf.Polyline or nf.Curve"
        )
    return path


def choose(program: Program, path: Path, method: Method) -> Callable[..., list[Trace]]:
    """What traces a path, called with the program and a list of paths.

    Raises:
        NotPiecewiseLinearError: ``exact`` is asked of a network that is not piecewise linear.
        InvalidInputError: ``exact`` is asked on a free curve.
    """
    if method == "sampled" or (method == "auto" and not program.piecewise_linear):
        return _trace_sampled
    if method == "exact":
        program.require_piecewise_linear()
    if isinstance(path, Line | Polyline):
        return trace_straight
    if isinstance(path, Arc | Circle | Ellipse):
        return _trace_ellipses
    if method == "exact":
        raise InvalidInputError(
            f"a {type(path).__name__} is no line, polyline, arc or circle, so its breakpoints have no closed form; "
            "use method='sampled'"
        )
    return _trace_sampled


def trace_straight(program: Program, paths: Sequence[Line | Polyline], tracer: LineTracer | None = None) -> list[Trace]:
    """Trace lines and polylines exactly, with a tracer of one's own where every path has its own weights.

    Places that rounding may have decided are decided by a certificate where that is cheap.
    """
    tracer = tracer or LineTracer(program, len(paths))
    traces, doubts = zip(*_traced_straight(program, paths, tracer), strict=True)
    return settle(tracer, paths, traces, doubts)


def _traced_straight(program: Program, paths: Sequence[Line | Polyline], tracer: LineTracer) -> list[tuple[Trace, int]]:
    """The traces as float64 has them, each with the number of its doubts."""
    begin = time.perf_counter()
    vertices = [path.vertices for path in paths]
    t = np.concatenate([at for at, _ in vertices])
    number = np.repeat(np.arange(len(paths)), [len(at) for at, _ in vertices])
    points = program.points(np.concatenate([p for _, p in vertices]), "the path")
    tracer.run(t, number, points)
    traces = assembled(program, tracer, paths, [path.length for path in paths], begin)
    return list(zip(traces, doubts_of(tracer, points), strict=True))


def _require_straight(paths: Sequence[Path], choices: Sequence[Callable[..., list[Trace]]]) -> None:
    for i, (path, choice) in enumerate(zip(paths, choices, strict=True)):
        if choice is not trace_straight:
            how = "sampled" if choice is _trace_sampled else "traced in trigonometric functions"
            raise InvalidInputError(
                f"path {i} is a {type(path).__name__} and is {how}; certificates are for exact lines and polylines: "
                "leave certify=False, or trace a polyline through its points"
            )


def _certified(certifier: Certifier) -> Callable[..., list[Trace]]:
    def trace(program: Program, paths: Sequence[Line | Polyline]) -> list[Trace]:
        return [
            certified(found, certifier.certify(*path.vertices, found.breakpoints, found.breakpoint_layers))
            for path, (found, _) in zip(
                paths, _traced_straight(program, paths, LineTracer(program, len(paths))), strict=True
            )
        ]

    return trace


def _trace_ellipses(program: Program, paths: Sequence[Arc | Circle | Ellipse]) -> list[Trace]:
    begin = time.perf_counter()
    ellipses = [path.ellipse for path in paths]
    tracer = trace_ellipses(program, ellipses)
    traces = assembled(program, tracer, paths, tracer.lengths, begin)
    doubts = [
        int(count) + (trace.margin < TIGHT) + (not usual(program, program.points(np.stack([e.center, e.u, e.v]))))
        for trace, count, e in zip(traces, tracer.doubts, ellipses, strict=True)
    ]
    return [_doubted(*each) for each in zip(traces, doubts, tracer.rough.tolist(), strict=True)]


def _doubted(trace: Trace, doubts: int, rough: int) -> Trace:
    """The trace, which says where rounding may have decided."""
    if not doubts + rough:
        return trace
    details = f", which decided in {counted(doubts, 'place')}" if doubts else ""
    details += f"; {counted(rough, 'angular length')} of pieces did not converge" if rough else ""
    return replace(trace, status=Certainty.TOLERANCE.text(details), doubtful=doubts, uncertain=doubts)


def assembled(
    program: Program, tracer: Tracer, paths: Sequence[Path], lengths: Sequence[float], begin: float
) -> list[Trace]:
    """One trace a path; the time is that of the whole batch."""
    where = provenance(program, paths_together=len(paths), seconds=time.perf_counter() - begin)
    return [
        assemble(program, tracer, i, length, {**where, "path": type(path).__name__})
        for i, (path, length) in enumerate(zip(paths, lengths, strict=True))
    ]


def _trace_sampled(program: Program, paths: Sequence[Path | Curve]) -> list[Trace]:
    from netfold.sampled.trace import trace_sampled

    return [trace_sampled(program, path) for path in paths]
