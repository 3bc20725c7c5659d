"""Prove that a sweep's numbers do not depend on interruptions or on who did the work.

    python benchmarks/sweep_proofs.py [--cells 2000] [--seed 0] [--dask]

One plan is measured several times: in one process without interruption; by two processes, killed five times with
SIGKILL at random places and resumed; with ``--dask`` also on a cluster of two worker processes, one of which is killed
in the middle (needs dask and distributed). The databases must be equal row for row in all but the time each cell took
and the run it came in. Prints a table in Markdown, or fails.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import netfold as nf

RUN = "import sys, netfold as nf; nf.Sweep(sys.argv[1], sys.argv[2]).run(workers=2, progress=False)"
PLAN = """
seed = 11
repeats = {repeats}
measures = ["regions", "patterns", "transitions", "sign_transitions", "lengths", "growth", "margin", "output_length"]
[grid]
inputs = [1, 10]
width = [16, 32]
depth = [2, 4]
activation = ["relu", "hardtanh"]
sigma_w = 2.0
sigma_b = 0.1
path = ["line", "circle"]
"""


def rows(store: Path) -> list[tuple[Any, ...]]:
    """All that is stored of each cell, but the time it took and the run it came in."""
    database = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    wanted = "key, settings, replicate, status, measured, note, error"
    found = database.execute(f"SELECT {wanted} FROM cells ORDER BY key").fetchall()
    database.close()
    return found


def stored(store: Path) -> int:
    """How many cells are there so far."""
    return len(rows(store)) if store.exists() else 0


def killed(plan: Path, store: Path, cells: int, generator: np.random.Generator) -> str:
    """Run, kill at random places, run to the end."""
    places = np.sort(generator.integers(1, cells, 5)).tolist()
    met = []
    for place in places:
        process = subprocess.Popen(
            # What joblib's own helpers say of their parent's end belongs to it.
            [sys.executable, "-c", RUN, str(plan), str(store)],
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        while stored(store) < place:
            if process.poll() is not None:
                raise SystemExit(f"a run ended before {place} cells were there")
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        met.append(stored(store))
    subprocess.run([sys.executable, "-c", RUN, str(plan), str(store)], check=True)
    return f"two processes, killed at {', '.join(map(str, met))} cells"


def on_a_cluster(plan: Path, store: Path, cells: int) -> str:
    """Run on two worker processes of a cluster, and kill one of them in the middle."""
    from distributed import LocalCluster  # pyright: ignore[reportMissingImports]

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        victim = next(iter(cluster.workers.values())).pid
        begun: list[int] = []

        def kill() -> None:
            while stored(store) < cells // 2:
                time.sleep(0.01)
            begun.append(stored(store))
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        nf.Sweep(plan, store).run(backend="dask", scheduler=cluster.scheduler_address, progress=False)
        killer.join()
    return f"a Dask cluster of two processes, one killed at {begun[0]} cells"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dask", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = folder / "plan.toml"
        plan.write_text(PLAN.format(repeats=-(-given.cells // 32)))
        whole = nf.Sweep(plan, folder / "whole.sweep")
        begin = time.process_time()
        status = whole.run(workers=1, progress=False)
        spent = 1e3 * (time.process_time() - begin) / status.cells
        print("| how | cells | done | failed | equal to the first |\n|---|---|---|---|---|")
        print(f"| one process, {spent:.1f} ms of CPU a cell | {status.cells} | {status.done} | {status.failed} | |")
        wanted = rows(whole.store)
        ways = [lambda: killed(plan, folder / "killed.sweep", status.cells, np.random.default_rng(given.seed))]
        stores = [folder / "killed.sweep"]
        if given.dask:
            ways.append(lambda: on_a_cluster(plan, folder / "dask.sweep", status.cells))
            stores.append(folder / "dask.sweep")
        for way, store in zip(ways, stores, strict=True):
            words = way()
            found = nf.Sweep(plan, store).status()
            equal = rows(store) == wanted
            print(f"| {words} | {found.cells} | {found.done} | {found.failed} | {'row for row' if equal else 'NO'} |")
            if not equal:
                raise SystemExit("the databases differ")


if __name__ == "__main__":
    main()
