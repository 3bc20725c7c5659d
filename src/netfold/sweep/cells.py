"""Measuring cells, in whichever process: settings and seeds go in, numbers come out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from netfold.errors import InvalidInputError
from netfold.measures.tracing import trace_path
from netfold.networks import random_network
from netfold.paths import Arc, Circle, Line, Path
from netfold.sweep.arguments import Settings
from netfold.sweep.measures import measured
from netfold.sweep.plan import Cell

NETWORK = ("inputs", "width", "depth", "outputs", "activation", "sigma_w", "sigma_b", "scaling")


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        cell: the cell.
        status: ``done`` or ``failed``.
        values: measures by name; empty where failed.
        note: how the numbers were found: the trace's own status.
        error: the message where failed.
        seconds: time spent.
    """

    cell: Cell
    status: str
    values: dict[str, Any]
    note: str
    error: str
    seconds: float


def measure_cells(cells: Sequence[Cell], seed: int, measures: Sequence[str]) -> list[Outcome]:
    """Measure cells one after the other with one torch thread; a cell that fails does not stop the rest."""
    with _one_thread():
        return [_outcome(cell, seed, measures) for cell in cells]


def measure_cell(cell: Cell, seed: int, measures: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Draw the cell's network and path, trace it, and read the measures off.

    Returns:
        The measures by name, and the status of the trace.
    """
    network_seed, path_seed = cell.seeds(seed)
    settings = cell.settings
    network = random_network(**{name: settings[name] for name in NETWORK}, seed=network_seed)
    path = random_path(settings, np.random.default_rng(path_seed))
    trace = trace_path(network, path)
    return {name: measured(name, network, path, trace) for name in measures}, trace.status


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


def _outcome(cell: Cell, seed: int, measures: Sequence[str]) -> Outcome:
    begin = time.perf_counter()
    values: dict[str, Any] = {}
    note = error = ""
    try:
        values, note = measure_cell(cell, seed, measures)
    except Exception as failure:
        # Whatever a cell does, the other cells are worth having; the message says what it was.
        error = failed(failure)
    return Outcome(cell, "failed" if error else "done", values, note, error, time.perf_counter() - begin)


def failed(failure: BaseException) -> str:
    """The message of a failure, in one line with the name of its class."""
    return f"{type(failure).__name__}: {' '.join(str(failure).split())}"[:2000]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def to_json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Compact JSON; NaN and infinities keep Python's spelling, so that they come back as they were."""
    return json.dumps(value, separators=(",", ":"))
