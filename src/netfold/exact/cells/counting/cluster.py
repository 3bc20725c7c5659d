"""The same count on a Dask cluster: items are its tasks, leftovers are submitted again, and sums are booked here.

Dask runs a task again where its worker died; only the outcome that comes back is booked, once, so the sum is exact
whatever happens to workers. A worker receives the network once, checks that it makes the same splitting tree of it,
and keeps it for all later items.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from netfold.errors import InvalidInputError, NetfoldError
from netfold.exact.cells.counting.checkpoint import Fingerprint
from netfold.exact.cells.counting.queue import Work
from netfold.exact.cells.engine import Engine, Outcome, Prefix

TRIES = 5
"""How often an item is submitted whose workers die."""

AHEAD = 2
"""Items submitted for every thread of the cluster, so that none waits for the next."""


class Job(Protocol):
    """What a worker needs to count items; it can be pickled."""

    @property
    def fingerprint(self) -> Fingerprint:
        """What is counted; the same in every process."""
        ...

    @property
    def engine(self) -> Engine:
        """Counts items."""
        ...


@dataclass
class _Kept:
    """Engines of this process, by the text of their fingerprint; Dask runs several tasks in one process."""

    engines: dict[str, Engine] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, told: str, packed: bytes) -> Engine:
        with self.lock:
            if told not in self.engines:
                job: Job = pickle.loads(packed)
                if str(job.fingerprint) != told:
                    raise NetfoldError("this worker makes another splitting tree: does it run the same netfold?")
                self.engines.clear()
                self.engines[told] = job.engine
            return self.engines[told]


_kept = _Kept()


def run_item(told: str, packed: bytes, item: Prefix, budget: int, inradius: bool) -> tuple[Outcome, float]:
    """The task of a worker: count one item.

    Args:
        told: the text of the job's fingerprint.
        packed: the pickled job.
        item: the item.
        budget: decisions after which what is left is handed back.
        inradius: whether to find the smallest inradius.

    Returns:
        The outcome, and how long it took.
    """
    engine = _kept.of(told, packed)
    begin = time.perf_counter()
    return engine.run(item, budget=budget, inradius=inradius), time.perf_counter() - begin


def require_client(client: Any) -> None:
    """Refuse what is no client of dask.distributed.

    Raises:
        InvalidInputError: Dask is not installed, or the client is something else.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InvalidInputError("a client needs dask.distributed: pip install dask distributed") from error
    if not isinstance(client, Client) or client.asynchronous:
        raise InvalidInputError(
            f"client must be a dask.distributed.Client that is not asynchronous, got {type(client).__name__}"
        )


def on_cluster(client: Any, job: Job, work: Work, tick: Callable[[], None], *, inradius: bool = False) -> None:
    """Count all items of ``work`` on a cluster.

    Args:
        client: a ``dask.distributed.Client``.
        job: what is counted.
        work: what is to be counted; after an error or Ctrl-C it holds what is left.
        tick: called a few times a second.
        inradius: whether to find the smallest inradius.

    Raises:
        NetfoldError: workers that take an item keep dying, or make another splitting tree.
    """
    flight = _Flight(client, job, work, inradius)
    try:
        while not work.finished:
            flight.fill()
            flight.land()
            tick()
    finally:
        flight.abandon()


class _Flight:
    """Items on their way to workers and back."""

    def __init__(self, client: Any, job: Job, work: Work, inradius: bool) -> None:
        self.client, self.job, self.work, self.inradius = client, job, work, inradius
        self.flying: dict[Any, int] = {}
        self.tries: dict[bytes, int] = {}

    @cached_property
    def packed(self) -> Any:
        """The job, as a task's result: where the workers that hold it die, Dask makes it again."""
        return self.client.submit(bytes, pickle.dumps(self.job), pure=False)

    def fill(self) -> None:
        """Submit items while workers want more."""
        threads = max(1, sum(self.client.ncores().values()))
        told = str(self.job.fingerprint)
        while len(self.flying) < AHEAD * threads and (taken := self.work.take(threads)) is not None:
            ticket, item, budget = taken
            future = self.client.submit(run_item, told, self.packed, item, budget, self.inradius, pure=False)
            self.flying[future] = ticket

    def land(self) -> None:
        """Book what has come back."""
        from distributed import wait

        try:
            wait(list(self.flying), timeout=0.2, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return
        for future in [future for future in self.flying if future.done()]:
            ticket = self.flying.pop(future)
            if future.status == "finished":
                self._book(future, ticket)
            else:
                self._again(future, ticket)

    def abandon(self) -> None:
        """Call off what is under way; its items wait again."""
        for future, ticket in self.flying.items():
            future.cancel()
            self.work.put_back(ticket)
        self.flying.clear()

    def _book(self, future: Any, ticket: int) -> None:
        from distributed import CancelledError

        try:
            outcome, seconds = future.result(timeout=10)
        except (CancelledError, TimeoutError):
            # The only worker that held the outcome died before it could be fetched.
            self._again(future, ticket)
            return
        self.work.finish(ticket, outcome, seconds)

    def _again(self, future: Any, ticket: int) -> None:
        """Submit an item once more where workers died of it; any other error is raised."""
        from distributed import KilledWorker

        prefix = self.work.under_way[ticket].tobytes()
        self.work.put_back(ticket)
        error = future.exception() if future.status == "error" else None
        if error is not None and not isinstance(error, KilledWorker):
            raise error
        self.tries[prefix] = self.tries.get(prefix, 0) + 1
        if self.tries[prefix] >= TRIES:
            raise NetfoldError(f"an item was given up after its workers died {TRIES} times: {error or 'cancelled'}")
