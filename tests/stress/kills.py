"""Saves that are killed at random moments: ``python -m tests.stress.kills WHAT``, told seeds line by line.

A child process saves again and again over a file that was whole; it is killed, and the file must be whole, or absent
where there was none. A count and a sweep are killed as they go, started again, and must end in the right result.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import netfold as nf
from netfold.exact.cells.counting import checkpoint
from tests.stress.processes import hear, say

NET = nf.random_network(inputs=3, width=6, depth=2, outputs=3, activation="relu", sigma_b=0.5, seed=0)
COUNTED = nf.random_network(inputs=3, width=16, depth=2, outputs=1, activation="relu", sigma_b=0.5, seed=0)
DATA = torch.from_numpy(np.random.default_rng(0).normal(size=(30, 3))).float()
PLAN = {"measures": ["regions"], "repeats": 10, "grid": {"inputs": 2, "width": [4, 6, 8], "depth": [1, 2]}}


def _lines(count: int) -> list[nf.Line]:
    return [nf.Line(*ends) for ends in np.random.default_rng(count).normal(size=(count, 2, 3))]


def _plane() -> nf.Partition:
    return nf.partition_plane(NET, nf.Plane([0.0] * 3, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), bounds=(-1, 1, -1, 1))


RESULTS: dict[str, tuple[str, Callable[[], Any]]] = {
    "trace": ("trace.nc", lambda: nf.trace_path(NET, _lines(1)[0])),
    "traces": ("traces.nc", lambda: nf.trace_paths(NET, _lines(3), progress=False)),
    "partition": ("partition.nc", _plane),
    "sensitivity": ("sensitivity.nc", lambda: nf.layer_sensitivity(NET, DATA, repeats=2)),
    "complexity": ("complexity.nc", lambda: nf.local_complexity(NET, DATA[:4].numpy(), radius=0.3)),
}
"""What is saved, and as which file; how it is loaded is its own class's business."""


def same(a: Any, b: Any) -> bool:
    """Whether two results tell the same."""
    return a == b or a.to_xarray().drop_attrs().equals(b.to_xarray().drop_attrs())


def killed(work: Callable[[], Any], seconds: float) -> None:
    """Do work in a process that is killed after so many seconds."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def forever(save: Callable[[], Any]) -> None:
    while True:
        save()


class Saving:
    """Saves of one result."""

    def __init__(self, what: str) -> None:
        name, make = RESULTS[what]
        self.result, self.folder = make(), Path(tempfile.mkdtemp())
        self.path = self.folder / name
        begin = time.perf_counter()
        self.result.save(self.path)
        self.seconds = time.perf_counter() - begin

    def __call__(self, dice: random.Random) -> list[str]:
        if dice.random() < 0.3:
            self.path.unlink(missing_ok=True)
        existed = self.path.exists()
        killed(lambda: forever(lambda: self.result.save(self.path)), dice.uniform(0, 3 * self.seconds))
        if not self.path.exists():
            return ["lost"] if existed else []
        try:
            return [] if same(type(self.result).load(self.path), self.result) else ["another result"]
        except nf.NetfoldError as error:
            return [f"damaged: {error}"[:200]]

    @property
    def left(self) -> int:
        """Files beside the result."""
        return len(os.listdir(self.folder)) - self.path.exists()


class Going:
    """A count or a sweep that is killed three times and goes on."""

    def __init__(self, run: Callable[[Path], Any], name: str) -> None:
        self.run, self.name, self.folder = run, name, Path(tempfile.mkdtemp())
        self.number, self.left = 0, 0
        begin = time.perf_counter()
        self.right = self.run(self.folder / f"right.{name}")
        self.seconds = time.perf_counter() - begin

    def __call__(self, dice: random.Random) -> list[str]:
        self.number += 1
        folder = self.folder / str(self.number)
        folder.mkdir()
        path = folder / self.name
        for _ in range(3):
            killed(lambda: self.run(path), dice.uniform(0, self.seconds))
        try:
            found = self.run(path)
        except nf.NetfoldError as error:
            return [f"damaged: {error}"[:200]]
        self.left += len([name for name in os.listdir(folder) if ".part" in name])
        return [] if found == self.right else [f"another result: {found} for {self.right}"[:200]]


def _sweep(path: Path) -> Any:
    nf.Sweep(PLAN, path).run(workers=1, progress=False)
    return sorted(str((row.settings, row.values)) for row in nf.Sweep.open(path).rows())


def _count(path: Path) -> Any:
    checkpoint.EVERY = 0.0
    return int(nf.count_regions(COUNTED, checkpoint=path, threads=1, progress=False))


KINDS: dict[str, Callable[[], Any]] = {
    **{what: lambda what=what: Saving(what) for what in RESULTS},
    "checkpoint": lambda: Going(_count, "count.json"),
    "sweep": lambda: Going(_sweep, "results.sweep"),
}


def main(what: str) -> None:
    torch.set_num_threads(1)
    tested = KINDS[what]()
    say("ready")
    while True:
        seed = hear()
        wrong = tested(random.Random(f"{what} {seed}"))
        say([wrong, tested.left])


if __name__ == "__main__":
    main(sys.argv[1])
