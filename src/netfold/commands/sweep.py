"""Sweeps on the command line: ``netfold sweep plan.toml``, ``netfold sweep status``, ``netfold sweep export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from netfold.commands.options import AsJson, Flag, answer

if TYPE_CHECKING:
    from netfold.sweep import Sweep, SweepStatus

# Commands import what they need when they run, so that --help does not wait for torch.

sweep = App(
    name="sweep",
    help=(
        "Measure many random networks, as a plan says, into one file that survives a crash.\n\n"
        "`netfold sweep plan.toml` measures what the file plan.sweep lacks; stop it and start it again at will. "
        "See docs/sweeps.md for plans."
    ),
)

Store = Annotated[Path | None, Parameter(help="The file with the results; by default beside the plan, as plan.sweep.")]


@sweep.default
def run(
    plan: Annotated[Path, Parameter(help="The plan: a TOML file.")],
    /,
    *,
    store: Store = None,
    workers: Annotated[int | None, Parameter(help="Processes; by default one a core.")] = None,
    backend: Annotated[str | None, Parameter(help="joblib's backend: loky (processes), dask or ray.")] = None,
    scheduler: Annotated[str | None, Parameter(help="Address of the Dask scheduler, for --backend dask.")] = None,
    retry: Annotated[bool, Parameter(help="Measure again what failed before."), Flag] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what is missing.

    For example:

      netfold sweep plan.toml
      netfold sweep plan.toml --workers 8 --store results.sweep
      netfold sweep plan.toml --backend dask --scheduler tcp://10.0.0.1:8786
    """
    from netfold.sweep import Sweep

    found = Sweep(plan, store)
    status = found.run(workers=workers, backend=backend, scheduler=scheduler, retry=retry)
    _answer(found, status, as_json)


@sweep.command
def status(
    file: Annotated[Path, Parameter(help="A plan (.toml), or a file with results.")],
    /,
    *,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Say how far a sweep is, and what failed."""
    found = _opened(file, store)
    _answer(found, found.status(), as_json)


@sweep.command
def export(
    file: Annotated[Path, Parameter(help="A plan (.toml), or a file with results.")],
    output: Annotated[Path, Parameter(help="What to write: .nc, .csv or .parquet.")],
    /,
    *,
    store: Store = None,
    layers: Annotated[bool, Parameter(help="One row a cell and layer; a netCDF file always has both."), Flag] = False,
) -> None:
    """Write the results as a table (CSV, Parquet) or as labelled arrays (netCDF).

    For example:

      netfold sweep export plan.toml results.csv
      netfold sweep export results.sweep results.nc
    """
    _opened(file, store).export(output, layers=layers)
    print(f"Wrote {output}.")


def _opened(file: Path, store: Path | None) -> Sweep:
    from netfold.sweep import Sweep

    return Sweep(file, store) if file.suffix == ".toml" else Sweep.open(file)


def _answer(sweep: Sweep, status: SweepStatus, as_json: bool) -> None:
    failures = sweep.failures().error.value_counts() if status.failed else {}
    messages = {str(message): int(count) for message, count in failures.items()}
    counts = {"cells": status.cells, "done": status.done, "failed": status.failed, "left": status.left}
    lines = [f"{status} ({sweep.store})", *(f"  {count:,} failed: {message}" for message, count in messages.items())]
    answer(as_json, {"store": str(sweep.store), **counts, "failures": messages}, "\n".join(lines))
