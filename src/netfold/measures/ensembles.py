"""`trace_ensemble`: many networks, each along a path of its own, captured once where they share an architecture."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any, cast

from torch import nn

from netfold.arguments import checked, sequence
from netfold.capture import Model, Program, capture
from netfold.capture.template import Template, known
from netfold.capture.untouched import silent
from netfold.errors import InvalidInputError, NetfoldError
from netfold.exact.line.ensemble import EnsembleTracer, stackable
from netfold.measures.tracing import BATCH, Method, choose, require_path, trace_straight
from netfold.paths import Line, Path, Polyline
from netfold.progress import progress_bar
from netfold.results.trace import Trace
from netfold.results.traces import Traces

TOGETHER = 2**21
"""Parameters of networks that are held at a time, and ``SMALL`` those of a network up to which tracing several of
them together is faster."""

SMALL = 2**15


@checked
def trace_ensemble(
    networks: Iterable[Model],
    paths: Path | Iterable[Path],
    method: Method = "auto",
    *,
    progress: bool | None = None,
) -> Traces:
    """Measure many networks of one architecture, each along a path of its own, as one batch of work.

    Every trace is that of `netfold.trace_path`, to the last bit. The architecture is captured once; then each network's
    weights are set into what was captured, and that is compared with the network at random points. Small fully
    connected networks are followed along lines together. Networks with other settings than those before are captured
    by themselves, so only the speed depends on what is recognised.

    Args:
        networks: the networks; drawn one after the other where this is a generator, so that they need not fit into
            memory together.
        paths: one for each network, or one for all.
        method: as for `netfold.trace_path`.
        progress: show a progress bar; by default only in a terminal.

    Returns:
        The traces, in the order of the networks; means over them are means over random weights
        (``traces.compare(paths, law, draws="networks")``).

    Raises:
        InvalidInputError: no network, networks with different layers, or not as many paths as networks.
        NotPiecewiseLinearError: ``exact`` is asked of a network that is not piecewise linear.
        CaptureError: a network cannot be captured.

    Example:
        >>> import netfold as nf
        >>> nets = (nf.random_network(inputs=2, width=8, depth=2, seed=seed) for seed in range(20))
        >>> traces = nf.trace_ensemble(nets, nf.Circle([1.0, 0.0], [0.0, 1.0]))
        >>> len(traces), traces.values("regions").shape
        (20, (20, 2))
    """
    total = len(networks) if isinstance(networks, Sized) else None
    traces: list[Trace] = []
    with progress_bar(total, "tracing", "network", progress) as bar:
        for found in trace_each(_paired(networks, paths), method):
            traces.append(_required(found, traces))
            bar.update()
    if not traces:
        raise InvalidInputError("there is no network to trace: the ensemble is empty")
    return Traces(traces)


@dataclass(frozen=True)
class Traced:
    """What came of one network: a trace or an error, and its share of the seconds spent."""

    network: Any
    path: Path
    outcome: Trace | Exception
    seconds: float


def trace_each(pairs: Iterable[tuple[Model, Path]], method: Method = "auto") -> Iterator[Traced]:
    """Trace networks of any architectures, each along its path; what fails stops no other.

    Args:
        pairs: networks and paths, drawn as they are needed.
        method: as for `netfold.trace_path`.

    Yields:
        One result a pair, in order.
    """
    batch: list[tuple[Model, Path]] = []
    held = 0
    for network, path in pairs:
        batch.append((network, path))
        held += _parameters(network)
        if len(batch) == BATCH or held > TOGETHER:
            yield from _traced(batch, method)
            batch, held = [], 0
    yield from _traced(batch, method)


def _traced(batch: list[tuple[Model, Path]], method: Method) -> list[Traced]:
    """The results of a batch, those of one architecture found together."""
    work = _Work(batch, method)
    with silent():
        for i, (network, path) in enumerate(batch):
            with work.timed([i]):
                work.prepare(i, *_captured(network, require_path(path, i).shape))
    for group in work.stacks.values():
        work.trace_together(group)
    for i in range(len(batch)):
        work.trace_alone(i)
    return work.results()


class _Work:
    """A batch on its way: programs, which of them go together, and what came of each."""

    def __init__(self, batch: list[tuple[Model, Path]], method: Method) -> None:
        self.batch = batch
        self.method: Method = method
        self.programs: dict[int, Program] = {}
        self.stacks: dict[Template, list[int]] = {}
        self.outcomes: list[Trace | Exception | None] = [None] * len(batch)
        self.seconds = [0.0] * len(batch)

    @contextmanager
    def timed(self, members: list[int]) -> Iterator[None]:
        """Share the time among some of the networks; an error is the outcome of each."""
        begin = time.perf_counter()
        try:
            yield
        except Exception as error:
            for i in members:
                self.outcomes[i] = error
        for i in members:
            self.seconds[i] += (time.perf_counter() - begin) / len(members)

    def prepare(self, i: int, program: Program, template: Template | None) -> None:
        """Note the program of a network, and which others it can be traced together with."""
        self.programs[i] = program
        if template is None or not template.bindable or program.parameters > SMALL:
            return
        if choose(program, self.batch[i][1], self.method) is trace_straight and _stackable(program):
            self.stacks.setdefault(template, []).append(i)

    def trace_together(self, group: list[int]) -> None:
        """Trace networks of one architecture along their lines."""
        if len(group) == 1:
            return
        programs = [self.programs[i] for i in group]
        paths = cast(list[Line | Polyline], [self.batch[i][1] for i in group])
        with self.timed(group):
            for i, trace in zip(group, trace_straight(programs[0], paths, EnsembleTracer(programs)), strict=True):
                self.outcomes[i] = trace
        if any(isinstance(self.outcomes[i], Exception) for i in group):
            # One of them is at fault; by themselves the others come through.
            for i in group:
                self.outcomes[i] = None

    def trace_alone(self, i: int) -> None:
        """Trace a network that is not done yet by itself."""
        if self.outcomes[i] is None:
            with self.timed([i]):
                program, path = self.programs[i], self.batch[i][1]
                [self.outcomes[i]] = choose(program, path, self.method)(program, [path])

    def results(self) -> list[Traced]:
        """What came of each network."""
        found = zip(self.batch, self.outcomes, self.seconds, strict=True)
        return [Traced(*pair, cast(Trace | Exception, outcome), seconds) for pair, outcome, seconds in found]


def _captured(network: Model, shape: tuple[int, ...]) -> tuple[Program, Template | None]:
    return known.read(network, shape) if isinstance(network, nn.Module) else (capture(network, shape=shape), None)


def _stackable(program: Program) -> bool:
    return program.piecewise_linear and program.device.type == "cpu" and stackable(program)


def _parameters(network: Model) -> int:
    return sum(p.numel() for p in network.parameters()) if isinstance(network, nn.Module) else 0


def _paired(networks: Iterable[Model], paths: Path | Iterable[Path]) -> Iterator[tuple[Model, Path]]:
    if isinstance(paths, Path):
        yield from zip(networks, repeat(paths))
        return
    try:
        yield from zip(networks, sequence(paths, "paths"), strict=True)
    except ValueError as error:
        if "zip()" not in str(error):
            raise
        raise InvalidInputError("there must be one path for each network, or one for all: got more of one") from error


def _required(traced: Traced, before: list[Trace]) -> Trace:
    number = len(before)
    if isinstance(traced.outcome, NetfoldError):
        raise type(traced.outcome)(f"network {number}: {traced.outcome}") from traced.outcome
    if isinstance(traced.outcome, Exception):
        raise traced.outcome
    if before and _layers(before[0]) != _layers(traced.outcome):
        raise InvalidInputError(
            f"network {number} has other layers than network 0; an ensemble is of one architecture: trace each "
            "architecture by itself, or every network by nf.trace_path"
        )
    return traced.outcome


def _layers(trace: Trace) -> tuple[object, ...]:
    return trace.output.size, *((layer.name, layer.op, layer.units) for layer in trace.layers)
