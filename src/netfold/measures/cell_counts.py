"""Counting the regions of R^m, a box or a polytope: on threads or a cluster, with a checkpoint and a progress bar."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from joblib import cpu_count

from netfold.capture import Program
from netfold.domains import Box, Domain, Polytope
from netfold.errors import InvalidInputError
from netfold.exact.cells.choice import engine_for
from netfold.exact.cells.counting.checkpoint import Checkpoint, Fingerprint, digest
from netfold.exact.cells.counting.progress import Bar
from netfold.exact.cells.counting.queue import Work, on_threads
from netfold.exact.cells.engine import Engine
from netfold.exact.cells.network import CellNetwork

CELLS_RULE = (
    "activation regions: maximal connected full-dimensional sets of the domain on which every unit of every hidden "
    "layer keeps its state; exact on the stored weights: what float64 cannot certify is decided in rational arithmetic"
)
NOT_RATIONAL = "; the square roots in batch normalisation are taken to 400 binary digits, closer ties stay open"


@dataclass(frozen=True, eq=False)
class CellJob:
    """Counting the cells of one network in one domain; can be sent to other processes.

    Attributes:
        program: the network.
        domain: a `Box`, a `Polytope`, or ``None`` for the whole space.
        inradius: whether to find the smallest inradius.
    """

    program: Program
    domain: Domain
    inradius: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return CellJob, (self.program, self.domain, self.inradius)

    @cached_property
    def network(self) -> CellNetwork:
        """The network in skip form."""
        return CellNetwork.of(self.program, self.domain)

    @property
    def engine(self) -> Engine:
        """Counts items."""
        return self._engine

    @cached_property
    def _engine(self) -> Engine:
        return engine_for(self.network)

    @property
    def where(self) -> str:
        """The domain in words."""
        shape = self.program.input_shape
        dimension = "x".join(map(str, shape))
        if isinstance(self.domain, Box):
            low, high = self.domain.limits(shape)
            same = len({*low.tolist()}) == 1 == len({*high.tolist()})
            return f"box [{low[0]:g}, {high[0]:g}]^{dimension}" if same else f"box in R^{dimension}"
        if isinstance(self.domain, Polytope):
            return f"polytope of {len(self.domain.offsets)} half-spaces in R^{dimension}"
        return f"all of R^{dimension}"

    @property
    def rule(self) -> str:
        """What is counted, and how ties are decided."""
        return CELLS_RULE + ("" if self.network.rational else NOT_RATIONAL)

    @property
    def fingerprint(self) -> Fingerprint:
        """What a checkpoint of this count belongs to."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        network = self.network
        return {
            "domain": digest(self.where, network.walls, network.frame.base, network.frame.ceiling),
            "network": digest(*network.arrays),
            "rule": self.rule + ("; with the smallest inradius" if self.inradius else ""),
        }


class CountInterrupted(KeyboardInterrupt):
    """Ctrl-C during a count: what was counted is not lost.

    Attributes:
        regions: counted so far.
        checkpoint: the file that holds the count, or ``None`` where none was asked for; `save` then writes one.
    """

    def __init__(self, job: CellJob, work: Work, checkpoint: Path | None) -> None:
        self.job, self.work, self.checkpoint = job, work, checkpoint
        self.regions = work.snapshot()[0].regions
        where = f"{checkpoint} goes on from here" if checkpoint else "save(path) keeps what was counted"
        super().__init__(f"{self.regions:,} regions were counted so far; {where}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint that `count_regions` goes on from.

        Raises:
            InvalidInputError: the file exists, or its folder does not.
        """
        Checkpoint(Path(path), self.job.fingerprint).save(self.work)


class _TimeIsOver(Exception):
    """No more is counted."""


def count_cells(
    job: CellJob,
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    client: Any = None,
    seconds: float | None = None,
) -> Work:
    """Count, to the end, or to that of the time; with a limit, Ctrl-C ends it too.

    Raises:
        InvalidInputError: an argument is unusable, or the checkpoint belongs to another count.
        CorruptFileError: the checkpoint is damaged or something else.
        CountInterrupted: Ctrl-C was pressed.
    """
    hands = _hands(threads, client)
    if not (checkpoint is None or isinstance(checkpoint, str | os.PathLike)):
        raise InvalidInputError(f"checkpoint must be the path of a file, got {type(checkpoint).__name__}")
    file = None
    if checkpoint is not None:
        arrays = job.network.arrays
        file = Checkpoint(Path(checkpoint), job.fingerprint, arrays.pieces[arrays.order])
    work = (file.load() if file else None) or Work()
    begin = time.perf_counter()
    if file:
        file.save(work)  # what cannot be written is said before hours of counting
    ends = () if seconds is None else (_TimeIsOver, CountInterrupted)
    with suppress(*ends), _kept(job, work, file), _bar(job, work, progress) as bar:

        def tick() -> None:
            bar.show(work)
            if seconds is not None and time.perf_counter() - begin >= seconds:
                raise _TimeIsOver
            if file:
                file.save_if_due(work)

        if client is None:
            on_threads(job.engine, work, hands, tick, inradius=job.inradius)
        else:
            from netfold.exact.cells.counting.cluster import on_cluster

            on_cluster(client, job, work, tick, inradius=job.inradius)
    return work


def _hands(threads: int | None, client: Any) -> int:
    if client is not None:
        from netfold.exact.cells.counting.cluster import require_client

        require_client(client)
        if threads is not None:
            raise InvalidInputError("a cluster has its own threads: give either threads or a client")
    if threads is None:
        return cpu_count()
    return threads


@contextmanager
def _kept(job: CellJob, work: Work, file: Checkpoint | None) -> Iterator[None]:
    """Leave a checkpoint that is up to date, also after an error or Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt as error:
        _last_save(file, work)
        raise CountInterrupted(job, work, file.path if file else None) from error
    except BaseException:
        _last_save(file, work)
        raise
    if file:
        file.save(work)


def _last_save(file: Checkpoint | None, work: Work) -> None:
    """Save on the way out of an error, which is the one to be told."""
    if file:
        try:
            file.save(work)
        except (InvalidInputError, OSError):
            return


@contextmanager
def _bar(job: CellJob, work: Work, progress: bool | None) -> Iterator[Bar]:
    bar = Bar(job.engine, work, progress)
    try:
        yield bar
    finally:
        bar.close()
