"""The main thread runs no compiled pass: it waits for threads that do, and can be interrupted meanwhile."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from numba.core.dispatcher import Dispatcher

import netfold as nf
from netfold.exact.numerics.threads import aside, beside, look, side_by_side


def test_as_if_in_the_calling_thread() -> None:
    """Work sees the caller's gradients, floating-point settings and threads, and its errors come back as they are."""

    @beside
    def seen(first: int, *, second: int) -> tuple[Any, ...]:
        grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
        return threading.current_thread(), grad, threads, np.geterr()["over"], first + second

    with torch.no_grad(), np.errstate(over="raise"):
        thread, *state = seen(1, second=2)
    assert thread is not threading.main_thread()
    assert state == [False, torch.get_num_threads(), "raise", 3]
    assert seen(1, second=2)[1]
    assert aside(lambda: aside(threading.current_thread) is threading.current_thread())
    with pytest.raises(ZeroDivisionError):
        aside(lambda: 1 // 0)


def test_stops() -> None:
    """An interrupt reaches the waiting thread, and what it waits for ends at its next look, in all of its threads."""
    ended = []

    def turn() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            while True:
                look()
                time.sleep(0.001)
        finally:
            ended.append(threading.current_thread())

    for work in (turn, lambda: side_by_side([turn, turn], 2)):
        ended.clear()
        with pytest.raises(KeyboardInterrupt):
            aside(work)
        assert ended
    assert aside(lambda: 3) == 3


def test_errors_of_handlers() -> None:
    """Whatever a handler raises, whenever it comes: a trace ends with it or is right, and so is the next one."""
    net = nf.random_network(8, 24, 3, 3, "hardtanh", sigma_w=3.0, sigma_b=0.1, seed=0)
    program, line = nf.capture(net, shape=(8,)), nf.Line(np.zeros(8), np.ones(8))
    right, armed = nf.trace_path(program, line), False

    def ring(*_: object) -> None:
        if armed:
            raise TimeoutError

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        for i in range(20):
            timer = threading.Timer(0.0005 * i, signal.raise_signal, [signal.SIGUSR1])
            timer.start()
            with suppress(TimeoutError):
                armed = True
                try:
                    assert nf.trace_path(program, line) == right
                finally:
                    armed = False
            timer.join()
            assert nf.trace_path(program, line) == right
    finally:
        signal.signal(signal.SIGUSR1, before)


def _network(inputs: int, width: int = 6) -> torch.nn.Module:
    return nf.random_network(inputs, width, 2, 3, sigma_b=0.5, seed=0)


def _plane() -> None:
    part = nf.partition_plane(_network(2), nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1))
    assert part.areas.sum() == pytest.approx(4)
    assert len(part.neighbours.first)
    assert part.linear_regions > 1
    assert part.decision_boundary().length >= 0


def _regions() -> None:
    for region in nf.enumerate_regions(_network(2), nf.Box(-1.0, 1.0)):
        assert len(region.halfspaces) > 2
        assert region.radius > 0


VERBS: dict[str, Callable[[], Any]] = {
    "line": lambda: nf.trace_path(_network(3), nf.Line([0.0, 0, 0], [1.0, 1, 1]), certify=True),
    "circle": lambda: nf.trace_path(_network(3), nf.Circle([1.0, 0, 0], [0.0, 1, 0])),
    "sampled": lambda: nf.trace_path(_network(3), nf.Circle([1.0, 0, 0], [0.0, 1, 0]), method="sampled"),
    "ensemble": lambda: nf.trace_ensemble([_network(3), _network(3)], nf.Line([0.0, 0, 0], [1.0, 1, 1])),
    "plane": _plane,
    "count": lambda: nf.count_regions(_network(2), nf.Box(-1.0, 1.0)),
    "simplex": lambda: nf.count_regions(_network(8, 2), nf.Box(-1.0, 1.0)),
    "estimate": lambda: nf.estimate_regions(_network(3), effort=100),
    "regions": _regions,
    "graph": lambda: nf.region_graph(_network(2, 4), nf.Box(-1.0, 1.0)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_none_in_the_main_thread(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No compiled pass is called from the thread that handles signals."""
    call, here = Dispatcher.__call__, set()

    def watched(self: Any, *arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            here.add(self.__name__)
        return call(self, *arguments)

    monkeypatch.setattr(Dispatcher, "__call__", watched)
    VERBS[verb]()
    assert not here
