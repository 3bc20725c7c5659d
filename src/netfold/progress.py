"""While long work runs: its bar, what it may take, one thread where sums must have one order, signals that wait."""

from __future__ import annotations

import io
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm


@dataclass
class Budget:
    """What work may take, and what it took.

    Attributes:
        seconds: how long it may take, or ``None``.
        evaluations: at how many points the network may be evaluated, or ``None``.
        spent: points at which it was.
        stopped: whether Ctrl-C was pressed.
        begin: when the time begins to run, by `time.perf_counter`.
    """

    seconds: float | None = None
    evaluations: int | None = None
    spent: int = 0
    stopped: bool = False
    begin: float = field(default_factory=time.perf_counter)

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.seconds is not None or self.evaluations is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.begin

    @property
    def over(self) -> bool:
        """Whether work must end."""
        late = self.seconds is not None and self.elapsed >= self.seconds
        return self.stopped or late or (self.evaluations is not None and self.spent >= self.evaluations)

    def left(self, pace: float) -> float:
        """Evaluations that are left, where one takes so many seconds."""
        left = math.inf if self.evaluations is None else self.evaluations - self.spent
        return left if self.seconds is None else min(left, (self.seconds - self.elapsed) / pace)

    @contextmanager
    def part(self, share: float) -> Iterator[None]:
        """Only a part of all that is left may be taken meanwhile."""
        seconds, evaluations = self.seconds, self.evaluations
        if seconds is not None:
            self.seconds = self.elapsed + share * max(seconds - self.elapsed, 0.0)
        if evaluations is not None:
            self.evaluations = self.spent + int(share * max(evaluations - self.spent, 0))
        try:
            yield
        finally:
            self.seconds, self.evaluations = seconds, evaluations

    def share(self, of: int) -> Budget:
        """An equal share of what is left, for one of so many; it begins now."""
        seconds = None if self.seconds is None else max(self.seconds - self.elapsed, 0.0) / of
        evaluations = None if self.evaluations is None else max(self.evaluations - self.spent, 0) // of
        return Budget(seconds, evaluations, stopped=self.stopped)

    @property
    def end(self) -> str:
        """Why work ended, in words."""
        if self.stopped:
            return "interrupted"
        late = self.seconds is not None and self.elapsed >= self.seconds
        return f"{self.seconds:.3g} seconds are over" if late else f"{self.spent:,} evaluations were taken"


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: sums then have one order, and small products are not slowed by sharing."""
    import torch  # those who only wait for something need none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def no_bars() -> Iterator[None]:
    """No bar is shown meanwhile, whatever is asked for."""
    before = _shown[0]
    _shown[0] = False
    try:
        yield
    finally:
        _shown[0] = before


def shown() -> bool:
    """Whether who waits wants to be told."""
    return _shown[0]


_shown = [True]
_in_log = [False]

EVERY = 60.0
"""Seconds between lines of a log."""


class LogLines(tqdm):
    """What a bar would show, as a line every minute."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # What tqdm writes between bars (carriage returns) goes nowhere.
        timing = {"file": io.StringIO(), "mininterval": EVERY, "maxinterval": EVERY, "delay": EVERY, "ncols": 100}
        super().__init__(*args, **{**options, **timing, "disable": False, "ascii": True})

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Write a line to stderr; nothing when the bar is to be wiped."""
        if msg != "":
            print(str(self) if msg is None else msg, file=sys.stderr, flush=True)


@contextmanager
def lines_in_log() -> Iterator[None]:
    """Where stderr is no terminal, bars become lines meanwhile, one a minute."""
    _in_log[0] = True
    try:
        yield
    finally:
        _in_log[0] = False


def progress_bar(total: float | None, desc: str, unit: str, progress: bool | None, **look: Any) -> tqdm:
    """A bar on stderr while something long runs.

    Args:
        total: how much there is to do, in ``unit``; None where nobody knows.
        desc: what is done.
        unit: what is counted.
        progress: whether to show it; None: only in a terminal.
        look: more of tqdm's options.
    """
    if _in_log[0] and _shown[0] and progress is not False and not sys.stderr.isatty():
        return LogLines(total=total, desc=desc, unit=unit, **look)
    hidden = not _shown[0] or (None if progress is None else not progress)
    return tqdm(total=total, desc=desc, unit=unit, disable=hidden, **{"leave": False, **look})


@contextmanager
def stoppable(budget: Budget) -> Iterator[None]:
    """Ctrl-C ends what goes by a budget, at its next look; a second one is that of the caller."""
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return

    def stop(number: int, frame: Any) -> None:
        if budget.stopped and callable(before):
            before(number, frame)
        budget.stopped = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_SIGNALS = (signal.SIGINT, *signal.valid_signals() - {signal.SIGINT})
_holding = False


@contextmanager
def held() -> Iterator[None]:
    """Handlers of signals wait until what must not be left half done is done; at a second signal they do not.

    Only the main thread runs handlers; in another one nothing has to be held.
    """
    global _holding
    if _holding or threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Any] = {}
    came: list[tuple[int, Any]] = []

    def wait(number: int, frame: Any) -> None:
        came.append((number, frame))
        if len(came) > 1:
            handlers[number](number, frame)

    try:
        _holding = True
        for number in _SIGNALS:
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, wait)
        yield
    finally:
        _holding = False
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in came[:1]:
            handlers[number](number, frame)
