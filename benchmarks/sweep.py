"""Time what a sweep costs beside its measurements, in the coordinating process.

    python benchmarks/sweep.py [--cells 20000]

CPU time a cell to find it in the plan, look it up in the store and store its outcome in a transaction of its own; the
measurement itself is left out (a fixed outcome takes its place). Then the time to the first batch of a plan of a
million cells, the memory it takes, and the time to pass over cells that are done; and what the coordinating process
spends on cells that two others measure, with joblib's dispatch and the start of the two. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path

from tqdm import tqdm

from netfold.sweep import Cell, Plan, Sweep
from netfold.sweep.cells import CellOutcome
from netfold.sweep.run import Todo
from netfold.sweep.store import Store

VALUES = {"regions": 1234, "transitions": [123] * 6, "lengths": [1.2345678901234567] * 8}


def plan_of(cells: int) -> Plan:
    """A plan of so many cells: a thousand replicates of a grid."""
    grid = {"inputs": 10, "width": [10, 20], "depth": 6, "sigma_w": [1 + i / 500 for i in range(cells // 2000)]}
    return Plan.read({"measures": list(VALUES), "repeats": 1000, "grid": grid})


def outcome(cell: Cell) -> CellOutcome:
    """In place of a measurement."""
    return CellOutcome(cell, "done", VALUES, "exact", "", 0.01)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=20_000)
    cells = parser.parse_args().cells
    with tempfile.TemporaryDirectory() as folder:
        table = {**coordinator(Path(folder), cells), **million(Path(folder)), **dispatched(Path(folder))}
    print("| | |\n|---|---|")
    for what, number in table.items():
        print(f"| {what} | {number} |")


def coordinator(folder: Path, cells: int) -> dict[str, str]:
    """Milliseconds of CPU a cell that is new, and a cell that is done."""
    plan = plan_of(cells)
    with Store.create(folder / "a.sweep", plan) as store:
        spent = []
        for _ in range(2):
            todo = Todo(plan, store, store.begin(plan), False, tqdm(disable=True))
            begin = time.process_time()
            for number, batch in todo.batches():
                todo.keep(number, [outcome(cell) for cell in batch])
            spent.append(1e3 * (time.process_time() - begin) / plan.size)
    size = (folder / "a.sweep").stat().st_size / plan.size
    return {
        "new cell, ms of CPU": f"{spent[0]:.3f}",
        "cell that is done, ms of CPU": f"{spent[1]:.4f}",
        "file, bytes a cell": f"{size:.0f}",
    }


def million(folder: Path) -> dict[str, str]:
    """What a plan of a million cells takes before the first one is handed out."""
    tracemalloc.start()
    begin = time.process_time()
    plan = plan_of(1_000_000)
    with Store.create(folder / "m.sweep", plan) as store:
        next(Todo(plan, store, store.begin(plan), False, tqdm(disable=True)).batches())
    spent = time.process_time() - begin
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        f"{plan.size:,} cells: first batch, s of CPU": f"{spent:.3f}",
        "memory until then, MB": f"{most / 1e6:.2f}",
    }


def dispatched(folder: Path, repeats: int = 1000) -> dict[str, str]:
    """CPU time of this process a cell that two worker processes measure."""
    grid = {"inputs": 10, "width": 32, "depth": 4, "activation": ["relu", "hardtanh"], "sigma_w": 2.0}
    sweep = Sweep({"measures": list(VALUES), "repeats": repeats, "grid": grid}, folder / "d.sweep")
    begin = time.process_time()
    done = sweep.run(workers=2, progress=False).done
    spent = 1e3 * (time.process_time() - begin) / done
    return {f"{done:,} cells measured by two processes, ms of CPU a cell here": f"{spent:.2f}"}


if __name__ == "__main__":
    main()
