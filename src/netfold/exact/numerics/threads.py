"""Share the rows of a compiled pass, or whole runs of blocks, among threads; keep signals out of compiled passes.

Where a signal's handler raises while a compiled pass hands its results to Python, the process dies. Handlers run in
the main thread only: so that thread runs no compiled pass, but waits for one that does (`aside`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import lru_cache, partial, wraps
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

SMALL = 2**16
"""Entries below which a pass is over sooner than threads are woken."""

GRACE = 5.0
"""Seconds that interrupted threads get to finish what they are at."""

LOOK = 0.05
"""Seconds between looks for signals that another thread received."""

_here = threading.local()
"""``alone`` is true in a thread that shares its work with no other; ``task`` is what it works for (`aside`)."""


def aside(work: Callable[..., T], *arguments: Any) -> T:
    """Run work beside the main thread, which waits for it and can be interrupted meanwhile.

    In any other thread it is run at once. Gradients, context variables and torch's number of threads are those of
    the caller. An exception that a signal's handler raises, as `KeyboardInterrupt`, tells the work to stop (`look`)
    and goes on its way when that has ended, or after `GRACE`.
    """
    if threading.current_thread() is not threading.main_thread():
        return work(*arguments)
    task, queue = _Task(partial(work, *arguments)), None
    try:
        queue = _free.pop() if _free else _worker()
        queue.put(task)  # no signal is handled between these two
        while not task.done.acquire(timeout=LOOK):
            pass
    except BaseException:
        task.stopped = True
        if queue and not task.ended:
            task.done.acquire(timeout=GRACE)
        raise
    return task.outcome()


def beside(work: Callable[P, T]) -> Callable[P, T]:
    """The function, run by `aside` whenever it is called."""

    @wraps(work)
    def run(*arguments: P.args, **options: P.kwargs) -> T:
        return aside(partial(work, *arguments, **options))

    return run


class StoppedError(BaseException):
    """Nobody waits for this work any more; no user sees it, and nothing takes it for a failure of the work."""


def look() -> None:
    """Go no further where nobody waits for this thread's work any more.

    Raises:
        StoppedError: so it is.
    """
    task = getattr(_here, "task", None)
    if task is not None and task.stopped:
        raise StoppedError


class _Task:
    """Work that a thread waits for, and what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work, self.context = work, copy_context()
        self.grad, self.threads = torch.is_grad_enabled(), torch.get_num_threads()
        self.done = threading.Lock()
        self.done.acquire()
        self.stopped, self.ended = False, False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the work."""
        _here.task = self
        torch.set_grad_enabled(self.grad)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        try:
            self.result = self.context.run(self.work)
        except BaseException as error:
            self.error = error
        _here.task, self.ended = None, True

    def outcome(self) -> Any:
        """Its result, or its error raised, which is then forgotten: its traceback holds the frame that holds it."""
        try:
            if self.error is not None:
                raise self.error
            return self.result
        finally:
            self.error = None


def _worker() -> SimpleQueue[_Task]:
    """A new thread that does the tasks put into a queue; between tasks the queue lies in ``_free``."""
    tasks: SimpleQueue[_Task] = SimpleQueue()

    def serve() -> None:
        while True:
            task = tasks.get()
            task.run()
            _free.append(tasks)
            task.done.release()
            del task  # its result may be large

    threading.Thread(target=serve, name="netfold", daemon=True).start()
    return tasks


_free: list[SimpleQueue[_Task]] = []
"""Workers without work; one that goes on after its grace comes back when it has ended."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free.clear)  # a child has no thread of its parent's


def over_rows(kernel: Callable[..., Any], rows: int, width: int, *arguments: Any) -> None:
    """Run ``kernel(begin, end, *arguments)`` over all rows, on as many threads as torch uses.

    Kernels release the interpreter lock and write only to their own rows.
    """
    aside(_over_rows, kernel, rows, width, *arguments)


def _over_rows(kernel: Callable[..., Any], rows: int, width: int, *arguments: Any) -> None:
    shared = rows * width >= SMALL and not getattr(_here, "alone", False)
    threads = min(torch.get_num_threads(), rows) if shared else 1
    if threads <= 1:
        kernel(0, rows, *arguments)
        return
    edges = [rows * i // threads for i in range(threads + 1)]
    others = [_pool(threads).submit(kernel, a, b, *arguments) for a, b in pairwise(edges[1:])]
    kernel(edges[0], edges[1], *arguments)
    for other in others:
        other.result()


def side_by_side(tasks: Sequence[Callable[[], None]], threads: int) -> None:
    """Run tasks on a few threads, each of which shares its work with no other; raises the first error.

    While they run, torch multiplies matrices on one thread each: its own threads would fight them for the cores.
    """
    with single_threaded(), ThreadPoolExecutor(threads, thread_name_prefix="netfold") as pool:
        mine = getattr(_here, "task", None)
        running = [pool.submit(alone, task, mine) for task in tasks]
        try:
            for task in running:
                task.result()
        finally:
            for task in running:
                task.cancel()


def alone(task: Callable[[], None], whole: _Task | None) -> None:
    """Run a task, a part of a whole one, on this thread and no other."""
    _here.alone, _here.task = True, whole
    torch.set_num_threads(1)  # of this thread: each has a team of its own
    with torch.no_grad():
        task()


_lock = threading.Lock()
_guests: list[int] = []
"""Numbers of threads that torch had when somebody asked for single-threaded products."""


@contextmanager
def single_threaded() -> Iterator[None]:
    """Products of matrices and compiled passes run on the calling thread alone."""
    before, _here.alone = getattr(_here, "alone", False), True
    with _lock:
        _guests.append(torch.get_num_threads() if not _guests else _guests[0])
        torch.set_num_threads(1)
    try:
        yield
    finally:
        _here.alone = before
        with _lock:
            threads = _guests.pop()
            if not _guests:
                torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="netfold")
