"""`Sweep`: thousands of random networks, measured once each, in a file that survives a crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netfold.arguments import FileName, PositiveInt, checked
from netfold.errors import InvalidInputError
from netfold.files import write_dataset
from netfold.sweep.measures import require_importable
from netfold.sweep.plan import Plan
from netfold.sweep.run import LOOKED_UP, WorkSpread, run_plan
from netfold.sweep.sources import Grid
from netfold.sweep.store import Store, StoredCell

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class SweepStatus:
    """How far a plan is: cells in all, and those done and failed."""

    cells: int
    done: int
    failed: int

    @property
    def left(self) -> int:
        """Cells that have not been measured."""
        return self.cells - self.done - self.failed

    def __str__(self) -> str:
        return f"{self.cells:,} cells: {self.done:,} done, {self.failed:,} failed, {self.left:,} left"


class Sweep:
    """Random networks of many settings, each measured on a random path, in a file that survives a crash.

    A cell is one network of `netfold.random_network` with one path. Its seed comes from the plan's seed and from a hash
    of its own settings and replicate, so no number depends on the order, on the number of workers, on interruptions, or
    on which other values the plan names: a plan that gains values computes only what is new.

    A plan is a dictionary, or a TOML file of the same shape: ``measures`` (names, or ``module:function`` called with
    network, path and trace), ``seed``, ``repeats``, and one of

    * ``grid``: settings, each a value or a list; every combination is a cell;
    * ``cells``: a list of settings;
    * ``draw``: ``cells = n``, and for each setting a value, a list to choose from or ``{low, high, log}``;

    with ``fixed`` for settings that cells and draws share. Settings are ``inputs``, ``width`` (a number, or a list of
    one a layer), ``depth``, ``outputs``, ``activation``, ``sigma_w``, ``sigma_b``, ``scaling`` (as in
    `netfold.random_network`), ``path`` (``line``, ``arc``, ``circle``) and ``input_scale``, the root mean square of
    the coordinates of the path's ends, which lie in independent, uniformly random directions.

    Args:
        plan: the plan.
        store: the SQLite file for the results, made by `run`; beside the plan's file by default.

    Raises:
        InvalidInputError: the plan is unusable, or a dictionary comes without a store.
        FileNotFoundError: there is no such plan file.

    Example:
        >>> import tempfile, netfold as nf
        >>> plan = {"measures": ["regions"], "repeats": 3, "grid": {"inputs": 2, "width": 8, "depth": [1, 2]}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sweep = nf.Sweep(plan, f"{folder}/depths.sweep")
        ...     print(sweep.run(workers=1))
        ...     table = sweep.to_dataframe()
        6 cells: 6 done, 0 failed, 0 left
        >>> table.groupby("depth")["regions"].count().to_dict()
        {1: 3, 2: 3}
    """

    @checked
    def __init__(
        self,
        plan: Plan | Mapping[str, Any] | FileName,
        store: FileName | None = None,
    ) -> None:
        self.plan = plan if isinstance(plan, Plan) else Plan.read(plan)
        if store is not None:
            self.store = Path(store)
        elif isinstance(plan, Plan | Mapping):
            raise InvalidInputError('a sweep needs a file for its results: nf.Sweep(plan, "results.sweep")')
        else:
            self.store = Path(plan).with_suffix(".sweep")

    @classmethod
    @checked
    def open(cls, store: FileName) -> Sweep:
        """The sweep in a file, with the plan of its latest run. Only `run` imports the functions that the plan names.

        Raises:
            FileNotFoundError: there is no such file.
            CorruptFileError: the file is damaged or holds something else.
        """
        with Store(store) as opened:
            return cls(opened.plan, store)

    @checked
    def run(
        self,
        *,
        workers: PositiveInt | None = None,
        backend: str | None = None,
        scheduler: str | None = None,
        retry: bool = False,
        progress: bool | None = None,
    ) -> SweepStatus:
        """Measure what the file lacks. Stopped at any moment, even by SIGKILL, the next call goes on from there.

        A cell that fails is stored with its message and stops no other.

        Args:
            workers: processes; one a core by default, and 1 works in this process.
            backend: joblib's backend: ``loky`` (processes, the default) or ``dask``.
            scheduler: address of the Dask scheduler; by default Dask starts workers on this machine.
            retry: also measure again what failed before.
            progress: show a bar with the time left; by default only in a terminal.

        Returns:
            How far the plan is.

        Raises:
            CorruptFileError: the file is damaged or holds something else; it is left as it is.
            InvalidInputError: the file holds a sweep with another seed or other measures, or a measure
                ``module:function`` cannot be imported.
        """
        told = {"workers": workers, "backend": backend, "scheduler": scheduler}
        spread = WorkSpread(**{**self.plan.spread, **{k: v for k, v in told.items() if v is not None}})
        require_importable(self.plan.measures)
        with Store.create(self.store, self.plan) as store:
            run_plan(self.plan, store, spread, retry=retry, progress=progress)
        return self.status()

    def status(self) -> SweepStatus:
        """How many of the plan's cells are done, failed and left."""
        if not self.store.exists():
            return SweepStatus(self.plan.size, 0, 0)
        counts = {"done": 0, "failed": 0}
        with Store(self.store) as store:
            store.require_compatible(self.plan)
            keys = (cell.key for cell in self.plan)
            while chunk := list(islice(keys, LOOKED_UP)):
                for status, _ in store.statuses(chunk).values():
                    counts[status] += 1
        return SweepStatus(self.plan.size, **counts)

    def rows(self) -> Iterator[StoredCell]:
        """Every stored cell, with those of earlier plans, ordered by key.

        Raises:
            FileNotFoundError: nothing has run yet.
        """
        with Store(self.store) as store:
            yield from store.rows()

    def runs(self) -> list[dict[str, Any]]:
        """Every run that added to the file: when, with which plan, versions and machine."""
        with Store(self.store) as store:
            return store.runs()

    @checked
    def to_dataframe(self, *, layers: bool = False) -> pd.DataFrame:
        """The cells that are done, in the order of their settings.

        Args:
            layers: one row a cell and layer, with the measures that have a number for each (layer 0 is the input, and
                the output comes after the last nonlinearity); otherwise one row a cell, with the others.

        Returns:
            Settings, ``replicate``, measures, and in ``note`` how the trace was found (``exact``, ``converged``, ...).
        """
        from netfold.sweep import tables

        return tables.table(self.rows(), self.plan.measures, layers)

    def failures(self) -> pd.DataFrame:
        """The cells that failed: settings, message and seconds."""
        from netfold.sweep import tables

        return tables.failures(self.rows())

    def to_xarray(self) -> xr.Dataset:
        """All measures of the cells that are done, with the plan and every run in the attributes.

        Returns:
            For a grid, a dimension for every setting that varies, ``replicate``, and ``layer`` where a measure has a
            number for each; for other plans a dimension ``cell`` with the settings as coordinates. NaN where there is
            no such cell or layer.
        """
        from netfold.sweep import tables

        grid = isinstance(self.plan.source, Grid)
        about = {"plan": self.plan.to_dict(), "runs": self.runs()}
        return tables.dataset(self.rows(), self.plan.measures, about, grid)

    @checked
    def export(self, path: FileName, *, layers: bool = False) -> None:
        """Write `to_xarray` to a ``.nc`` file, or `to_dataframe` to ``.csv`` or ``.parquet``, whole or not at all.

        Args:
            path: the file.
            layers: which table; a netCDF file holds both.

        Raises:
            InvalidInputError: another ending, Parquet without pyarrow, or no such folder.
        """
        from netfold.sweep import tables

        file = Path(path)
        if file.suffix.lower() == ".nc":
            write_dataset(self.to_xarray(), file)
        else:
            tables.write(self.to_dataframe(layers=layers), file)

    def __repr__(self) -> str:
        return f"Sweep of {self.plan.size:,} cells in {self.store}"
