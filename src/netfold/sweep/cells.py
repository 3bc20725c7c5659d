"""Measuring cells, in whichever process: settings and seeds go in, numbers come out."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from netfold.errors import InvalidInputError
from netfold.measures.ensembles import Traced, trace_each
from netfold.networks import random_network
from netfold.paths import Arc, Circle, Line, Path
from netfold.progress import one_thread
from netfold.sweep.arguments import Settings
from netfold.sweep.measures import measured
from netfold.sweep.plan import Cell

NETWORK = ("inputs", "width", "depth", "outputs", "activation", "sigma_w", "sigma_b", "scaling")


@dataclass(frozen=True)
class CellOutcome:
    """What came of a cell.

    Attributes:
        cell: the cell.
        status: ``done`` or ``failed``.
        values: measures by name; empty where failed.
        note: how the numbers were found: the trace's own status.
        error: the message where failed.
        seconds: time spent; cells that were traced together share it.
    """

    cell: Cell
    status: str
    values: dict[str, Any]
    note: str
    error: str
    seconds: float


def measure_cells(cells: Sequence[Cell], seed: int, measures: Sequence[str]) -> list[CellOutcome]:
    """Measure cells with one torch thread, those of one architecture together; a failing one stops no other.

    Networks are drawn as they are needed, so that large ones do not fill the memory.
    """
    batch = _Batch(seed, measures, cells)
    with one_thread():
        for traced in trace_each(batch.drawn()):
            batch.add(traced)
    return [batch.outcomes[i] for i in range(len(cells))]


class _Batch:
    """Cells on their way: those that are drawn wait for their traces, in order."""

    def __init__(self, seed: int, measures: Sequence[str], cells: Sequence[Cell]) -> None:
        self.seed, self.measures, self.cells = seed, measures, cells
        self.waiting: deque[tuple[int, float]] = deque()
        self.outcomes: dict[int, CellOutcome] = {}

    def drawn(self) -> Iterator[tuple[nn.Module, Path]]:
        """The network and the path of each cell that has them."""
        for i, cell in enumerate(self.cells):
            begin = time.perf_counter()
            try:
                pair = draw(cell, self.seed)
            except Exception as failure:
                self._fail(i, failure, time.perf_counter() - begin)
                continue
            self.waiting.append((i, time.perf_counter() - begin))
            yield pair

    def add(self, traced: Traced) -> None:
        """Read the measures off a trace."""
        begin = time.perf_counter()
        i, seconds = self.waiting.popleft()
        try:
            if isinstance(traced.outcome, Exception):
                raise traced.outcome
            trace = traced.outcome
            values = {name: measured(name, traced.network, traced.path, trace) for name in self.measures}
        except Exception as failure:
            # Whatever a cell does, the other cells are worth having; the message says what it was.
            self._fail(i, failure, seconds + traced.seconds)
            return
        seconds += traced.seconds + time.perf_counter() - begin
        self.outcomes[i] = CellOutcome(self.cells[i], "done", values, trace.status, "", seconds)

    def _fail(self, i: int, failure: Exception, seconds: float) -> None:
        self.outcomes[i] = CellOutcome(self.cells[i], "failed", {}, "", failed(failure), seconds)


def draw(cell: Cell, seed: int) -> tuple[nn.Module, Path]:
    """The network and the path of a cell, drawn from seeds of their own."""
    network_seed, path_seed = cell.seeds(seed)
    settings = cell.settings
    network = random_network(**{name: settings[name] for name in NETWORK}, seed=network_seed)
    return network, random_path(settings, np.random.default_rng(path_seed))


def random_path(settings: Settings, generator: np.random.Generator) -> Path:
    """The path of a cell: ends in independent, uniformly random directions, |x|^2 = input_scale^2 inputs.

    Line and arc lead from one end to the other (with one input: from x0 to -x0). The circle lies about the origin in
    the plane of both ends, through the first.

    Raises:
        InvalidInputError: a circle in one dimension.

    Example:
        >>> settings = {"inputs": 9, "path": "circle", "input_scale": 2.0}
        >>> circle = random_path(settings, np.random.default_rng(0))
        >>> [round(float(np.linalg.norm(circle(t))), 6) for t in (0.0, 0.4)]
        [6.0, 6.0]
    """
    size, kind = settings["inputs"], settings["path"]
    radius = settings["input_scale"] * size**0.5
    first, second = (v / np.linalg.norm(v) for v in generator.standard_normal((2, size)))
    if kind == "circle":
        if size == 1:
            raise InvalidInputError("a circle needs at least 2 inputs, got 1; use path = 'line'")
        second = second - (first @ second) * first
        return Circle(radius * first, radius * second / np.linalg.norm(second))
    ends = radius * first, radius * (second if size > 1 else -first)
    return Line(*ends) if kind == "line" else Arc(*ends)


def failed(failure: BaseException) -> str:
    """The message of a failure, in one line with the name of its class."""
    return f"{type(failure).__name__}: {' '.join(str(failure).split())}"[:2000]


def to_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Compact JSON; NaN and infinities keep Python's spelling, so that they come back as they were."""
    return json.dumps(value, separators=(",", ":"))
