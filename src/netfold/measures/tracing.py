"""`trace_path` and `trace_paths`: choose a method for every path, run it, make the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tqdm import tqdm

from netfold.arguments import Positive, PositiveInt, Share, checked, sequence
from netfold.capture import Model, Program, capture
from netfold.capture.splitting import split_of
from netfold.errors import InvalidInputError
from netfold.exact.arc.tracer import follow_ellipse, trace_ellipses
from netfold.exact.line.tracer import LineTracer
from netfold.exact.paths.stretches import LARGE, values_of
from netfold.measures.assemble import Tracer, assemble
from netfold.measures.near_ties import close, doubted, doubts_of, proven, settle, usual
from netfold.measures.split_traces import joined
from netfold.paths import Arc, Circle, Curve, Ellipse, Line, Path, Polyline, stretch
from netfold.progress import Budget, progress_bar, stoppable
from netfold.results.base import counted
from netfold.results.provenance import provenance
from netfold.results.status import Certainty, Standing
from netfold.results.trace import Trace
from netfold.results.traces import Traces

if TYPE_CHECKING:
    from netfold.exact.certificate.certifier import Certifier

Method = Literal["auto", "exact", "sampled"]

TIGHT = 64 * float(np.finfo(np.float64).eps)
"""A margin on an arc below this is rounding."""

TOLERANCE = 1e-6
"""Relative error of sampled lengths and angles."""

BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"

BATCH = 256
"""Paths traced together; more of them would only wait for memory."""


@checked
def trace_path(
    model: Model,
    path: Path,
    method: Method = "auto",
    *,
    certify: bool = False,
    seconds: Positive | None = None,
    evaluations: PositiveInt | None = None,
    tolerance: Share = TOLERANCE,
    progress: bool | None = None,
) -> Trace:
    """Measure what a path meets in a network: regions, transitions, patterns and lengths, layer by layer.

    Inside an activation region every pre-activation is affine on a straight path, and A cos s + B sin s + C on an
    arc, so breakpoints are roots in closed form, with no grid (measures: Raghu et al. 2017, section 2). Where the
    network is smooth, or the path a free curve, lengths come from adaptive quadrature with an error estimate and
    transitions from bracketed roots.

    Args:
        model: a module in evaluation mode, or a captured program.
        path: where to go; points have the model's input shape, without a batch axis.
        method: ``exact`` for piecewise-linear networks on lines, polylines, arcs and circles; ``sampled`` for all;
            ``auto`` takes ``exact`` where it applies. Where a network is piecewise linear up to its last operations (a
            softmax, a sigmoid, a normalisation of the output) lines and polylines are followed exactly up to there, and
            the rest is sampled on the pieces.
        certify: prove the breakpoints, transitions and linear pieces of a line or polyline for the stored weights:
            what float64 leaves undecided (ties, touches, pieces too narrow for it) is decided in higher precision,
            then in rational arithmetic, in which arcs and circles are traced from end to end. Small networks take
            seconds; `Trace.uncertain` says what stayed open. So it is for the exact part of a network whose last
            operations alone are smooth. Where a smooth network is sampled: say on which share of the path no sign
            switch of a GELU, SiLU, SwiGLU, tanh or sigmoid gate can have been missed, by layer and token
            (`Trace.gates`, `Trace.certified`; `Trace.uncertified`: what hinders it). Half of a budget goes to that.
        seconds: how long it may take, capturing included. What is exact is then followed from t = 0 on, stretch by
            stretch, until the time is over or Ctrl-C is pressed: `Trace.covered` says how far that was, and every
            number is of that part. What is sampled covers the whole path less finely, and its status says what is
            missing.
        evaluations: points at which the network may be evaluated, likewise; a region takes one. A stretch that was
            begun is ended, and takes half of what is left where regions lie as close as before; what is sampled takes
            some 15 at least. The same numbers on every machine.
        tolerance: relative error of sampled lengths and angles (angles below one radian: absolute).
        progress: show a bar where the work is long; by default only in a terminal.

    Returns:
        The trace.

    Raises:
        NotPiecewiseLinearError: ``exact`` is asked of a network that is not piecewise linear.
        NotExplicitError: a certificate is asked of a network whose operations have no coefficients to read.
        InvalidInputError: path and model do not fit, ``exact`` is asked on a free curve, or a certificate of
            anything but a whole, exact line, polyline, arc or circle, or the gates of a smooth network without any.
        CaptureError: the model cannot be captured.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, sigma_b=0.5, seed=1)
        >>> trace = nf.trace_path(net, nf.Line([-2.0, 0.0], [2.0, 1.0]))
        >>> trace.regions == len(trace.breakpoints) + 1
        True
        >>> int(trace.transitions.sum()) + 1 == trace.patterns
        True
        >>> part = nf.trace_path(net, nf.Line([-2.0, 0.0], [2.0, 1.0]), evaluations=1)
        >>> part.covered < 1, part.regions < trace.regions, part.status.kind.name
        (True, True, 'PARTIAL')
    """
    budget = Budget(seconds, evaluations)
    return _traced(model, [path], method, certify, budget, tolerance, progress)[0]


@checked
def trace_paths(
    model: Model,
    paths: Sequence[Path],
    method: Method = "auto",
    *,
    certify: bool = False,
    seconds: Positive | None = None,
    evaluations: PositiveInt | None = None,
    tolerance: Share = TOLERANCE,
    progress: bool | None = None,
) -> Traces:
    """Measure many paths through one network as one batch of work; see `trace_path`.

    Args:
        model: a module in evaluation mode, or a captured program.
        paths: where to go; they may be of different kinds.
        method: as for `trace_path`, and ``certify``.
        seconds: how long all of them may take; each gets an equal share of what is left when its turn comes.
        evaluations: likewise.
        tolerance: as for `trace_path`.
        progress: show a progress bar; by default only in a terminal.

    Returns:
        The traces, in the order of the paths; after Ctrl-C, where there is a budget, those that were begun.

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
    return _traced(model, paths, method, certify, Budget(seconds, evaluations), tolerance, progress)


def _traced(
    model: Model,
    paths: Sequence[Path],
    method: Method,
    certify: bool,
    budget: Budget,
    tolerance: float,
    progress: bool | None,
) -> Traces:
    program = _captured(model, paths, method)
    choices = [choose(program, path, method) for path in paths]
    if certify:
        from netfold.exact.certificate.certifier import Certifier

        _require_certifiable(program, paths, choices)
        if budget.limited and any(choice is not _trace_sampled for choice in choices):
            raise InvalidInputError(
                "a certificate of an exact trace takes the whole path: leave certify=False, or give no budget"
            )
        certifier = Certifier(program) if {trace_straight, _trace_ellipses} & {*choices} else None
        if certifier:
            proving = {choice: _certified(certifier, choice) for choice in dict.fromkeys(choices)}
            choices = [proving[choice] for choice in choices]
    one_by_one = not certify and (budget.limited or values_of(program) >= LARGE)
    look = {"bar_format": BAR, "delay": 1.0}
    with progress_bar(len(paths), "tracing", "path", progress, **look) as bar:
        if one_by_one or _trace_sampled in choices or _trace_split in choices:
            return Traces(_one_by_one(program, paths, choices, budget, tolerance, bar, certify))
        traces: dict[int, Trace] = {}
        for trace in dict.fromkeys(choices):
            chosen = [i for i, choice in enumerate(choices) if choice is trace]
            for begin in range(0, len(chosen), BATCH):
                batch = chosen[begin : begin + BATCH]
                traces.update(zip(batch, trace(program, [paths[i] for i in batch]), strict=True))
                bar.update(len(batch))
    return Traces(traces[i] for i in range(len(paths)))


def _one_by_one(
    program: Program,
    paths: Sequence[Path],
    choices: Sequence[Callable[..., list[Trace]]],
    budget: Budget,
    tolerance: float,
    bar: tqdm,
    certify: bool,
) -> Iterator[Trace]:
    """Traces within a budget; after Ctrl-C those that were begun, if there is one."""
    for number, (path, choice) in enumerate(zip(paths, choices, strict=True)):
        mine = budget.share(len(paths) - number)

        def told(at: float, number: int = number) -> None:
            bar.update(number + at - bar.n)

        yield _within(program, path, choice, mine, tolerance, told, certify)
        budget.spent += mine.spent
        if mine.stopped and not budget.limited:
            raise KeyboardInterrupt
        if mine.stopped:
            return


def trace_within(program: Program, path: Path, budget: Budget, tolerance: float = TOLERANCE) -> Trace:
    """The trace of a captured network as far as a budget goes; Ctrl-C ends it, and stops the budget."""
    return _within(program, path, choose(program, path, "auto"), budget, tolerance, lambda _: None)


def _within(
    program: Program,
    path: Any,
    choice: Callable[..., list[Trace]],
    budget: Budget,
    tolerance: float,
    told: Callable[[float], object],
    certify: bool = False,
) -> Trace:
    """One trace within a budget."""
    begin = time.perf_counter()
    if choice is _trace_sampled:
        from netfold.sampled.trace import trace_sampled

        settled = 0.0

        def more(share: float) -> None:
            nonlocal settled
            settled += share
            told(settled)

        if not budget.limited:
            return trace_sampled(program, path, tolerance, None, more, certify=certify)
        with stoppable(budget):
            return trace_sampled(program, path, tolerance, budget, more, certify=certify)
    if choice is trace_straight or choice is _trace_split:
        split = split_of(program) if choice is _trace_split else None
        whole, program = program, program if split is None else split.signed
        tracer = LineTracer(program, 1, keep=split is not None)
        at = 1.0
        if budget.limited or values_of(program) >= LARGE:
            at = tracer.follow(path, budget, told)
        else:
            t, vertices = path.vertices
            tracer.run(t, np.zeros(len(t), np.int64), program.points(vertices, "the path"))
        length = path.length if at == 1.0 else stretch(path, 0.0, at).length  # type: ignore[attr-defined]
        trace = assembled(program, tracer, [path], [length], begin)[0]
        doubts = doubts_of(tracer, program.points(path.vertices[1], "the path"))[0]
        if certify:
            from netfold.exact.certificate.certifier import Certifier

            trace = proven(Certifier(program), path, trace, doubts) or trace
        else:
            trace = doubted(trace, doubts) if at < 1.0 else settle([program], [path], [trace], [doubts])[0]
        if split is not None:
            trace = joined(whole, split, trace, tracer.vertices, tolerance)
        if at == 1.0:
            return trace
    else:
        found, at = follow_ellipse(program, path.ellipse, budget, told)
        trace = assembled(program, found, [path], found.lengths, begin)[0]
        doubts = _arc_doubts(program, path.ellipse, trace, int(found.doubts[0]))
        trace = settle([program], [path], [trace], [doubts])[0] if at == 1.0 else doubted(trace, doubts)
        trace = _rough(trace, int(found.rough[0]))
        if at == 1.0:
            return trace
    status = Certainty.PARTIAL.text(f": {trace.status} for t up to {at:.6g}, where {budget.end}")
    return replace(trace, covered=at, status=status)


def _captured(model: Model, paths: Sequence[Path], method: Method) -> Program:
    if len(sequence(paths, "paths")) == 0:
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
    if method == "auto" and isinstance(path, Line | Polyline) and not program.piecewise_linear and split_of(program):
        return _trace_split
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


def is_sampled(program: Program, path: Path) -> bool:
    """Whether a path is sampled where nothing else is asked for."""
    return choose(program, path, "auto") is _trace_sampled


def trace_straight(program: Program, paths: Sequence[Line | Polyline], tracer: LineTracer | None = None) -> list[Trace]:
    """Trace lines and polylines exactly, with a tracer of one's own where every path has its own weights.

    Places that rounding may have decided are decided by a certificate where that is cheap.
    """
    tracer = tracer or LineTracer(program, len(paths))
    traces, doubts = zip(*_traced_straight(program, paths, tracer), strict=True)
    return settle(tracer.programs, paths, traces, doubts)


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


def _require_certifiable(
    program: Program, paths: Sequence[Path], choices: Sequence[Callable[..., list[Trace]]]
) -> None:
    if not program.piecewise_linear and all(choice in (_trace_sampled, _trace_split) for choice in choices):
        return
    for i, (path, choice) in enumerate(zip(paths, choices, strict=True)):
        whole = isinstance(path, Arc | Circle | Ellipse) and path.ellipse.quarters
        if choice is not trace_straight and not (choice is _trace_ellipses and whole):
            how = "sampled" if choice is _trace_sampled else "not of whole quarter turns"
            raise InvalidInputError(
                f"path {i} is a {type(path).__name__} and is {how}; certificates are for exact lines, polylines, arcs "
                "and circles: leave certify=False, or trace a polyline through its points"
            )


def _certified(certifier: Certifier, choice: Callable[..., list[Trace]]) -> Callable[..., list[Trace]]:
    """What traces paths and proves what they meet."""

    def straight(program: Program, paths: Sequence[Line | Polyline]) -> list[Trace]:
        found = _traced_straight(program, paths, LineTracer(program, len(paths)))
        return [proven(certifier, path, one, doubts) or one for path, (one, doubts) in zip(paths, found, strict=True)]

    def curved(program: Program, paths: Sequence[Arc | Circle | Ellipse]) -> list[Trace]:
        traces, doubts, rough = _traced_ellipses(program, paths)
        if not certifier.explicit.rational:
            doubts = [trace.regions for trace in traces]
        return [
            _rough(proven(certifier, path, one, count) or _unproven(one, count, certifier), off)
            for path, one, count, off in zip(paths, traces, doubts, rough, strict=True)
        ]

    return straight if choice is trace_straight else curved


def _trace_ellipses(program: Program, paths: Sequence[Arc | Circle | Ellipse]) -> list[Trace]:
    traces, doubts, rough = _traced_ellipses(program, paths)
    settled = settle([program] * len(paths), paths, traces, doubts)
    return [_rough(trace, count) for trace, count in zip(settled, rough, strict=True)]


def _traced_ellipses(
    program: Program, paths: Sequence[Arc | Circle | Ellipse]
) -> tuple[list[Trace], list[int], list[int]]:
    """The traces as float64 has them, their doubts, and how many angular lengths did not converge."""
    begin = time.perf_counter()
    ellipses = [path.ellipse for path in paths]
    tracer = trace_ellipses(program, ellipses)
    traces = assembled(program, tracer, paths, tracer.lengths, begin)
    each = zip(ellipses, traces, tracer.doubts.tolist(), strict=True)
    return traces, [_arc_doubts(program, e, trace, count) for e, trace, count in each], tracer.rough.tolist()


def _arc_doubts(program: Program, ellipse: Ellipse, trace: Trace, count: int) -> int:
    strange = not usual(program, program.points(np.stack([ellipse.center, ellipse.u, ellipse.v])))
    return count + (trace.margin < TIGHT) + strange + close(trace.breakpoints)


def _rough(trace: Trace, rough: int) -> Trace:
    """The trace of an arc, which says how many angular lengths did not converge."""
    if not rough:
        return trace
    status = Certainty.TOLERANCE.text() if trace.status.kind is Certainty.EXACT else trace.status
    status = Standing(f"{status}; {counted(rough, 'angular length')} of pieces did not converge", status.kind)
    return replace(trace, status=status)


def _unproven(trace: Trace, doubts: int, certifier: Certifier) -> Trace:
    """The trace of an arc that takes too much rational arithmetic."""
    open_places = max(doubts, 1)
    details = f" {counted(open_places, 'place')}, where {certifier.budget:.3g} multiplications were not enough"
    status = Certainty.PROVEN_BUT_FOR.text(details)
    return replace(trace, status=status, doubtful=open_places, resolved=0, uncertain=open_places)


def assembled(
    program: Program, tracer: Tracer, paths: Sequence[Path], lengths: Sequence[float], begin: float
) -> list[Trace]:
    """One trace a path; the time is that of the whole batch."""
    where = provenance(program, paths_together=len(paths), seconds=time.perf_counter() - begin)
    return [
        assemble(program, tracer, i, length, {**where, "path": type(path).__name__})
        for i, (path, length) in enumerate(zip(paths, lengths, strict=True))
    ]


def _trace_split(program: Program, paths: Sequence[Line | Polyline]) -> list[Trace]:
    return [_within(program, path, _trace_split, Budget(), TOLERANCE, lambda _: None) for path in paths]


def _trace_sampled(program: Program, paths: Sequence[Path | Curve]) -> list[Trace]:
    from netfold.sampled.trace import trace_sampled

    return [trace_sampled(program, path) for path in paths]
