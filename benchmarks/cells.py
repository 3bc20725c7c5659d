"""Regions of R^m a second: both engines, with certificates, on the cases of known count, in one run.

    python benchmarks/cells.py [CASE ...] [--box] [--threads 1 2] [--repeat 3] [--seconds 60] [--prototypes DIR]

Cases are R1-R8 and M1-M3 (ReLU, weights N(0, 2/fan_in), biases N(0, 0.3^2), seed 0; counted over R^m, with ``--box``
over [-10, 10]^m). Times are of the clock, the best of ``--repeat`` after a first run that compiles; an engine that
would take longer than ``--seconds`` on a case is left out there (-), as is one whose first items show that it will.
What counts is from a prepared network to the count, every decision certified; a count that is wrong stops the run.

``--prototypes DIR`` adds reference programs: DIR holds ``cells_double_description.py`` and ``cells_simplex.py`` with
``run(case, box, threads=...)``. relucent is timed where it can be imported, with one thread; it needs a linear
programming solver with a licence, so it may refuse: the table says so. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from netfold.capture.capture import capture
from netfold.domains import Box
from netfold.exact.cells.counting.queue import Work, on_threads
from netfold.exact.cells.description.engine import DoubleDescription
from netfold.exact.cells.engine import Engine, whole
from netfold.exact.cells.network import CellNetwork
from netfold.exact.cells.simplex.engine import Simplex
from tests.exact.cells.networks import COUNTS, IN_BOX, WIDTHS, case, module

CASES = [name for name in WIDTHS if name[0] in "RM"]
ENGINES: list[tuple[str, Callable[[CellNetwork], Engine]]] = [
    ("double description", DoubleDescription),
    ("simplex", Simplex),
]
PROTOTYPES = {"cells_double_description": "reference, double description", "cells_simplex": "reference, simplex"}


def count(engine: Engine, threads: int, seconds: float) -> tuple[int, float] | None:
    """Regions and time; ``None`` where it takes too long."""
    work, start = Work(), time.perf_counter()

    def tick() -> None:
        if time.perf_counter() - start > seconds:
            raise TimeoutError

    try:
        on_threads(engine, work, threads, tick)
    except TimeoutError:
        return None
    return work.sums.regions, time.perf_counter() - start


def rate(run: Callable[[], tuple[int, float] | None], expected: int, repeat: int) -> str:
    """Regions a second, the best of a few runs."""
    best = float("inf")
    for _ in range(repeat):
        result = run()
        if result is None:
            return "-"
        regions, seconds = result
        if regions != expected:
            raise SystemExit(f"counted {regions} regions, there are {expected}")
        best = min(best, seconds)
    return f"{expected / best:,.0f}"


def prototype(folder: Path, module_name: str) -> Any:
    """A reference program."""
    sys.path.insert(0, str(folder))
    return importlib.import_module(module_name)


def timed_prototype(program: Any, name: str, box: float, threads: int) -> tuple[int, float] | None:
    """Regions and time of a reference program; ``None`` where it cannot do the case."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            result = program.run(name, box, threads=threads)
    except (AssertionError, IndexError, MemoryError):
        return None
    return int(result["regions"]), float(result["t"])


def relucent(name: str, box: bool) -> str:
    """Regions a second of relucent's search, or why there is none."""
    try:
        package = importlib.import_module("relucent")
    except ImportError:
        return "not installed"
    if box:
        return "-"
    start = time.perf_counter()
    try:
        complex_ = package.Complex(module(case(name)).float())
        complex_.bfs(nworkers=1)
    except Exception as error:
        return f"refuses: {type(error).__name__}"
    return f"{len(complex_) / (time.perf_counter() - start):,.0f}"


def rows(args: argparse.Namespace) -> list[list[str]]:
    """The table: one row a case."""
    programs = [(label, prototype(args.prototypes, m)) for m, label in PROTOTYPES.items()] if args.prototypes else []
    box, counts = (10.0, IN_BOX) if args.box else (0.0, COUNTS)
    head = ["case", "m", "regions"]
    head += [f"{label}, {n} threads" if n > 1 else label for label, _ in [*ENGINES, *programs] for n in args.threads]
    table = [[*head, "relucent"], ["---"] + ["---:"] * len(head)]
    for label, program in programs:
        del label
        timed_prototype(program, "T1", box, 1)
    for name in args.cases:
        layers = case(name)
        domain = Box(-box, box) if args.box else None
        network = CellNetwork.of(capture(module(layers), shape=(layers[0].weights.shape[1],)), domain)
        line = [name, str(network.arrays.m), f"{counts[name]:,}"]
        for _, make in ENGINES:
            engine = make(network)
            engine.run(whole(), budget=1)
            for n in args.threads:
                line.append(rate(lambda e=engine, n=n: count(e, n, args.seconds), counts[name], args.repeat))
        for _, program in programs:
            for n in args.threads:
                run = lambda p=program, n=n, c=name: timed_prototype(p, c, box, n)  # noqa: E731
                run()
                line.append(rate(run, counts[name], args.repeat))
        table.append([*line, relucent(name, args.box)])
        print("|", " | ".join(table[-1]), "|", file=sys.stderr, flush=True)
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--box", action="store_true", help="count over [-10, 10]^m")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="longest time for one count")
    parser.add_argument("--prototypes", type=Path, help="folder of reference programs")
    for line in rows(parser.parse_args()):
        print("|", " | ".join(line), "|")


if __name__ == "__main__":
    main()
