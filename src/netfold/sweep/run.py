"""Running a plan: what is missing is measured, by joblib's workers, and stored as it comes."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from joblib import Parallel, cpu_count, delayed, effective_n_jobs, parallel_config
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError
from tqdm import tqdm

from netfold.errors import InvalidInputError
from netfold.exact.numerics import compiling
from netfold.progress import no_bars, progress_bar, shown
from netfold.sweep.arguments import whole
from netfold.sweep.cells import CellOutcome, failed, measure_cells
from netfold.sweep.plan import Cell, Plan
from netfold.sweep.store import Store

LOOKED_UP = 256
"""Cells looked up in the store at a time."""

TOGETHER = 256
"""Most cells in a batch, and ``BATCH_SECONDS`` how long one should take: what a killed sweep loses a worker."""

BATCH_SECONDS = 0.5

WAVE = 4
"""Batches a worker that are under way together where a backend hands results over only together (Ray's does)."""

Measure = Callable[[Sequence[Cell]], list[CellOutcome]]
"""What a worker does with a batch; it must go through pickle."""

MOST_WORKERS = 10_000

EXTRAS = {"dask": "dask distributed", "ray": "ray"}


@dataclass(frozen=True)
class WorkSpread:
    """How the work is spread: ``workers`` (None: one a core), joblib's ``backend``, a Dask ``scheduler``'s address."""

    workers: int | None = None
    backend: str = "loky"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None:
            whole("workers", self.workers)
            if self.workers > MOST_WORKERS:
                raise InvalidInputError(f"workers must be at most {MOST_WORKERS:,}, got {self.workers:,}")
        if not isinstance(self.backend, str) or not self.backend:
            raise InvalidInputError(f"backend must be the name of a joblib backend, got {self.backend!r}")
        if self.scheduler is not None and self.backend != "dask":
            raise InvalidInputError(f"a scheduler is Dask's: set backend 'dask', not {self.backend!r}")

    @property
    def here(self) -> bool:
        """Whether this process does the work itself."""
        return self.backend == "loky" and (self.workers or cpu_count()) == 1


@dataclass
class Todo:
    """Batches of cells that the store lacks, found as they are asked for, so that any plan starts at once."""

    plan: Plan
    store: Store
    run: int
    retry: bool
    bar: tqdm
    measure: Measure
    seconds: float = BATCH_SECONDS
    out: dict[int, list[Cell]] = field(default_factory=dict)

    def batches(self) -> Iterator[tuple[int, list[Cell]]]:
        """Numbered batches; each stays in ``out`` until its outcomes are stored."""
        missing, number = self.missing(), 0
        while batch := list(islice(missing, self.together)):
            self.out[number] = batch
            yield number, batch
            number += 1

    @property
    def together(self) -> int:
        """Cells that take about ``BATCH_SECONDS``, going by those before."""
        return min(TOGETHER, max(1, int(BATCH_SECONDS / max(self.seconds, 1e-6))))

    def missing(self) -> Iterator[Cell]:
        """Cells of the plan that are neither done nor, unless they are to be tried again, failed."""
        cells = iter(self.plan)
        while chunk := [(cell.key, cell) for cell in islice(cells, LOOKED_UP)]:
            stored = self.store.statuses([key for key, _ in chunk])
            wanted = [cell for key, cell in chunk if key not in stored or self._again(*stored[key])]
            self._skip(len(chunk) - len(wanted))
            yield from wanted

    def keep(self, number: int, outcomes: list[CellOutcome]) -> None:
        """Store a batch's outcomes and learn from them how long cells take."""
        for outcome in outcomes:
            self.store.add(outcome, self.run)
            self.seconds += 0.2 * (outcome.seconds - self.seconds)
        self.bar.update(len(outcomes))
        self.out.pop(number, None)

    def _again(self, status: str, run: int) -> bool:
        return self.retry and status == "failed" and run != self.run

    def _skip(self, count: int) -> None:
        # The bar starts behind what is stored, so that the time left is judged by this run's cells alone.
        if not self.bar.disable:
            self.bar.initial += count
            self.bar.n += count


def run_plan(
    plan: Plan,
    store: Store,
    spread: WorkSpread,
    *,
    measure: Measure | None = None,
    retry: bool = False,
    progress: bool | None = None,
) -> None:
    """Measure what the store lacks of a plan.

    Args:
        plan: the plan.
        store: where results go, each as soon as it is there.
        spread: who does the work; no number depends on it.
        measure: gives the outcomes of some cells; by default those of random networks (`measure_cells`).
        retry: also measure again what failed in an earlier run.
        progress: show a bar with the time left; by default only in a terminal.
    """
    measure = measure or partial(measure_cells, seed=plan.seed, measures=plan.measures)
    run = store.begin(plan, workers=spread.workers or cpu_count(), backend="inline" if spread.here else spread.backend)
    while True:
        with progress_bar(plan.size, "sweep", "cell", progress, smoothing=0, leave=True) as bar:
            todo = Todo(plan, store, run, retry, bar, measure)
            try:
                with _outcomes(todo, spread) as found:
                    for number, outcomes, compiled in found:
                        compiling.elsewhere(compiled / (spread.workers or cpu_count()))
                        todo.keep(number, outcomes)
                return
            except TerminatedWorkerError:
                _settle(todo)


@contextmanager
def _outcomes(todo: Todo, spread: WorkSpread) -> Iterator[Iterator[tuple[int, list[CellOutcome], float]]]:
    if spread.here:
        yield ((number, todo.measure(batch), 0.0) for number, batch in todo.batches())
        return
    parent = os.getpid() if spread.backend == "loky" else None
    calls = (delayed(_numbered)(number, batch, todo.measure, parent, shown()) for number, batch in todo.batches())
    with _backend(spread):
        try:
            pool: Any = Parallel(n_jobs=spread.workers or -1, batch_size=1, return_as="generator_unordered")  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            if "return_as" not in str(error):
                raise
            results = _in_waves(calls, spread)
        else:
            results = pool(calls)
        with closing(results):
            yield results


def _in_waves(calls: Iterator[Any], spread: WorkSpread) -> Generator[Any]:
    """Results of a backend that hands them over only together, some batches a worker at a time."""
    workers = effective_n_jobs(spread.workers or -1)
    with Parallel(n_jobs=workers) as pool:
        while wave := list(islice(calls, WAVE * workers)):
            yield from pool(wave)


@contextmanager
def _backend(spread: WorkSpread) -> Iterator[None]:
    with ExitStack() as held:
        if spread.backend == "dask":
            held.enter_context(_imported("distributed", "dask").Client(spread.scheduler))
        elif spread.backend == "ray":
            _imported("ray.util.joblib", "ray").register_ray()
        threads = {"inner_max_num_threads": 1} if spread.backend == "loky" else {}
        try:
            held.enter_context(parallel_config(backend=spread.backend, **threads))
        except ValueError as error:
            raise InvalidInputError(f"joblib has no backend {spread.backend!r}: {error}") from error
        yield


def _imported(module: str, name: str) -> Any:
    """The module that a backend needs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidInputError(f"backend {name!r} needs {module}: pip install {EXTRAS[name]}") from error


def _numbered(
    number: int, batch: list[Cell], measure: Measure, parent: int | None, told: bool
) -> tuple[int, list[CellOutcome], float]:
    """A batch's number and outcomes, and the seconds in which a worker compiled; nothing is told unless ``told``."""
    # Inside another joblib worker the pool is this process itself, which must not be ended, and knows what it compiled.
    here = parent == os.getpid()
    if parent is not None and not here:
        _end_with(parent)
    with nullcontext() if told else no_bars(), compiling.compile_time() as spent:
        outcomes = measure(batch)
    return number, outcomes, 0.0 if here else sum(spent)


@lru_cache(maxsize=1)
def _end_with(parent: int) -> None:
    """End this worker once its parent is gone: loky's workers outlive a killed parent by minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _settle(todo: Todo) -> None:
    """After a worker was killed: measure what was under way cell by cell, so that the guilty one is known."""
    # In a process of their own: this one must not be the next that is killed.
    alone: ProcessPoolExecutor | None = None
    try:
        for cell in [cell for batch in todo.out.values() for cell in batch]:
            alone = alone or ProcessPoolExecutor(1)
            begin = time.perf_counter()
            try:
                [outcome] = alone.submit(todo.measure, [cell]).result()
            except TerminatedWorkerError as error:
                outcome = CellOutcome(cell, "failed", {}, "", failed(error), time.perf_counter() - begin)
                alone.shutdown()
                alone = None
            todo.store.add(outcome, todo.run)
    finally:
        if alone is not None:
            alone.shutdown(kill_workers=True)
