"""Exact numbers of regions of networks that others have studied, as a table: what docs/records.md shows.

    python benchmarks/records.py FOLDER --data DIR [--groups relucent acasxu proofs serra billion] [--seconds 60]
    python benchmarks/records.py FOLDER --table

| group | what is counted |
|---|---|
| ``relucent`` | 240 networks trained on two blobs: 2 to 5 inputs, widths 4, 8, 16, depths 1 to 4, five seeds; R^m |
| ``acasxu`` | the 45 ACAS-Xu networks in the boxes of properties 1 to 4: ``DIR/acasxu/*.onnx``, ``prop_?.vnnlib`` |
| ``proofs`` | the smallest of these boxes again, ``--proofs`` of them, with a proof, checked in a process of its own |
| ``serra`` | MNIST networks (``DIR/mnist``) of two hidden layers with 22 units together, 784 inputs in [0, 1] |
| ``billion`` | one random network of more than 10^9 regions of R^5; give it an hour, or call it again and again |

Results are kept in ``FOLDER/records.sqlite``, a row a network, as soon as they are there. A case may take ``--seconds``
in all; what is not counted then is kept as a lower bound, with a checkpoint in the folder from which the count goes on
when the command is called with more seconds. So it may be killed at any time and called again. ``--minutes`` stops it
between two cases. The tables also go to ``FOLDER/records.md``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import make_blobs
from torch import nn

import netfold as nf
from netfold.exact.proofs import check_regions
from netfold.files import write_atomically
from netfold.measures.counts import program_on
from netfold.reproduce.data import read_images

SPLITS = (2, 6, 11, 16, 20)
"""Units in the first hidden layer of the group ``serra``; the second has the others of 22."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One count: what it is called, and the network and domain when they are needed."""

    name: str
    make: Callable[[], tuple[Any, Any]]
    proof: bool = False

    @property
    def group(self) -> str:
        return self.name.split()[0]


class Store:
    """The results so far, in a database whose every row is written wholly or not at all."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        with closing(self._open()) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, found TEXT NOT NULL)")

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / "records.sqlite")

    def rows(self) -> dict[str, Row]:
        """All results, by name."""
        with closing(self._open()) as database:
            return {name: json.loads(found) for name, found in database.execute("SELECT name, found FROM records")}

    def keep(self, name: str, row: Row) -> None:
        """Keep one."""
        with closing(self._open()) as database, database:
            database.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (name, json.dumps(row)))

    def file(self, name: str, ending: str) -> Path:
        """A file beside the database that belongs to a case."""
        return self.folder / (name.replace(" ", "-") + ending)


def trained(net: nn.Sequential, x: torch.Tensor, y: torch.Tensor, steps: int, batch: int | None) -> nn.Sequential:
    """A classifier after some steps of Adam; on all points, or on random ones."""
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2 if batch is None else 1e-3)
    for _ in range(steps):
        rows = slice(None) if batch is None else torch.randint(len(x), (batch,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimiser.step()
    return net.eval()


def perceptron(sizes: list[int], seed: int) -> nn.Sequential:
    """A perceptron with ReLU and torch's own initialisation."""
    torch.manual_seed(seed)
    hidden = [m for a, b in pairwise(sizes[:-1]) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-2], sizes[-1]))


def on_blobs(inputs: int, width: int, depth: int, seed: int) -> tuple[Any, None]:
    """A network trained by 200 steps of Adam on 500 points in two blobs."""
    points, labels = make_blobs(500, inputs, centers=2, random_state=seed)  # pyright: ignore[reportAssignmentType]
    x, y = torch.as_tensor(points, dtype=torch.float32), torch.as_tensor(labels)
    return trained(perceptron([inputs, *[width] * depth, 2], seed), x, y, 200, None), None


def relucent(_: Path | None) -> Iterator[Case]:
    for width, depth, inputs, seed in product((4, 8, 16), range(1, 5), range(2, 6), range(5)):
        name = f"relucent {inputs} {width} {depth} {seed}"
        yield Case(name, lambda a=(inputs, width, depth, seed): on_blobs(*a))


def in_box(network: Path, box: Path) -> tuple[Any, Any]:
    """An ONNX network, and a box in the shape of its input."""
    net, flat = nf.load_model(network), nf.read_box(box)
    program = program_on(net, flat)
    return program, nf.Box(flat.low.reshape(program.input_shape), flat.high.reshape(program.input_shape))


def acasxu(data: Path | None, proof: bool = False) -> Iterator[Case]:
    folder = _within(data, "acasxu")
    for prop, file in product((3, 4, 1, 2), sorted(folder.glob("ACASXU_run2a_*.onnx"))):
        a, b = file.name.split("_")[2:4]
        name = f"{'proofs' if proof else 'acasxu'} {a}_{b} {prop}"
        yield Case(name, lambda a=(file, folder / f"prop_{prop}.vnnlib"): in_box(*a), proof)


def smallest(data: Path | None, rows: dict[str, Row], count: int) -> list[Case]:
    """Boxes of ACAS-Xu that are counted, those with the fewest regions first, to be counted with a proof."""
    known = {name.split(maxsplit=1)[1]: row["regions"] for name, row in rows.items() if name.startswith("acasxu ")}
    exact = {name for name, row in rows.items() if row["exact"]}
    cases = [case for case in acasxu(data, proof=True) if case.name.replace("proofs", "acasxu", 1) in exact]
    return sorted(cases, key=lambda case: known[case.name.split(maxsplit=1)[1]])[:count]


def serra(data: Path | None) -> Iterator[Case]:
    folder = _within(data, "mnist")

    def make(first: int, seed: int) -> tuple[Any, Any]:
        images = read_images(folder)
        x, y = torch.as_tensor(images.train).reshape(-1, 784).float(), torch.as_tensor(images.train_labels).long()
        net = trained(perceptron([784, first, 22 - first, 10], seed), x, y, 2000, 64)
        return net, nf.Box(0.0, 1.0)

    for seed, first in product(range(2), SPLITS):
        yield Case(f"serra {first} {22 - first} {seed}", lambda a=(first, seed): make(*a))


def billion(_: Path | None) -> Iterator[Case]:
    yield Case("billion 5-60-60-60", lambda: (nf.random_network(5, 60, 3, sigma_b=1.0, seed=0), None))


GROUPS = {"relucent": relucent, "acasxu": acasxu, "serra": serra, "billion": billion}


def _within(data: Path | None, name: str) -> Path:
    if data is None or not (data / name).is_dir():
        raise SystemExit(f"the group needs a folder {name} within --data, and {data} has none")
    return data / name


def counted(case: Case, before: Row | None, store: Store, seconds: float, threads: int) -> Row:
    """Count a case, from its checkpoint where there is one."""
    net, domain = case.make()
    checkpoint, spent = store.file(case.name, ".json"), before or {"seconds": 0.0, "cpu": 0.0}
    begin, cpu = time.perf_counter(), time.process_time()
    left = seconds - spent["seconds"] if checkpoint.exists() else seconds
    count = nf.count_regions(net, domain, threads=threads, checkpoint=checkpoint, progress=False, seconds=left)
    row = {"regions": int(count), "exact": not count.part and not count.uncertain, "status": str(count.status)}
    again = checkpoint.exists() and before is not None
    row["seconds"] = time.perf_counter() - begin + (spent["seconds"] if again else 0.0)
    row["cpu"] = time.process_time() - cpu + (spent["cpu"] if again else 0.0)
    if not count.part:
        checkpoint.unlink(missing_ok=True)
    return row


def proved(case: Case, store: Store, threads: int) -> Row:
    """Count a case with a proof, and let the checker judge it in a process of its own."""
    net, domain = case.make()
    proof, statement = store.file(case.name, ".nfp.gz"), store.file(case.name, ".statement.json")
    begin = time.process_time()
    alone = int(nf.count_regions(net, domain, threads=threads, progress=False))
    middle = time.process_time()
    count = nf.count_regions(net, domain, threads=threads, progress=False, proof=proof, statement=statement)
    both, start = time.process_time() - middle, time.perf_counter()
    command = [sys.executable, "-I", "-S", check_regions.__file__, str(statement), str(proof)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    words, accepted = answer.stdout.strip(), answer.returncode == 0
    return {
        "regions": int(count),
        "exact": accepted and alone == int(count),
        "status": words,
        "cpu": middle - begin,
        "writing": both - (middle - begin),
        "bytes": proof.stat().st_size,
        "checking": time.perf_counter() - start,
    }


def run(given: argparse.Namespace, store: Store) -> None:
    """Count what is not counted yet."""
    end = time.perf_counter() + 60 * given.minutes
    for inputs in (2, 7):  # one for each engine: what is compiled and loaded once belongs to no case
        nf.count_regions(nf.random_network(inputs, 4, 2, sigma_b=1.0), threads=given.threads, progress=False)
    for group in given.groups:
        rows = store.rows()
        cases: Iterable[Case] = (
            smallest(given.data, rows, given.proofs) if group == "proofs" else GROUPS[group](given.data)
        )
        for case in cases:
            before = rows.get(case.name)
            # A count may end a little before its time: what is nearly spent is not begun again.
            if before and (before["exact"] or case.proof or before["seconds"] > 0.9 * given.seconds):
                continue
            if time.perf_counter() > end:
                print("the minutes are over; the same command goes on", file=sys.stderr)
                return
            if case.proof:
                row = proved(case, store, given.threads)
            else:
                row = counted(case, before, store, given.seconds, given.threads)
            store.keep(case.name, row)
            print(f"{case.name}: {row['regions']:,} in {row['cpu']:.2f} s, {row['status']}", flush=True)


def shown(row: Row | None, digits: int = 1) -> str:
    """A number of regions and the CPU seconds that it took, in a table."""
    if row is None:
        return "not run"
    return f"{'' if row['exact'] else '≥ '}{row['regions']:,} ({row['cpu']:.{digits}f} s)"


def tables(rows: dict[str, Row], threads: int) -> str:
    """The results as Markdown."""
    groups: dict[str, dict[tuple[str, ...], Row]] = {}
    for name, row in rows.items():
        group, *labels = name.split()
        groups.setdefault(group, {})[tuple(labels)] = row
    machine = f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"
    versions = f"netfold {nf.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    parts = [f"{machine}; {versions}; {datetime.datetime.now(datetime.UTC):%d %B %Y}.\n"]
    if found := groups.get("relucent"):
        parts.append("### relucent\n")
        parts.append("| width | depth | 2 inputs | 3 inputs | 4 inputs | 5 inputs | CPU s of 20 |")
        parts.append("|---:|---:|---:|---:|---:|---:|---:|")
        for width, depth in product(("4", "8", "16"), ("1", "2", "3", "4")):
            fives = [[found.get((m, width, depth, str(seed))) for seed in range(5)] for m in "2345"]
            spent = sum(row["cpu"] for five in fives for row in five if row)
            parts.append(f"| {width} | {depth} | {' | '.join(map(_span, fives))} | {spent:.1f} |")
        parts.append(_summary(found, 240))
    if found := groups.get("acasxu"):
        parts.append("### ACAS-Xu\n\n| network | property 1 | property 2 | property 3 | property 4 |")
        parts.append("|---|---:|---:|---:|---:|")
        for net in (f"{a}_{b}" for a, b in product(range(1, 6), range(1, 10))):
            parts.append(f"| {net} | {' | '.join(shown(found.get((net, p))) for p in '1234')} |")
        parts.append(_summary(found, 180))
    if found := groups.get("proofs"):
        parts.append("### Proofs of ACAS-Xu boxes\n")
        parts.append("| network | property | regions | counted s | written s | bytes | checked s | verdict |")
        parts.append("|---|---:|---:|---:|---:|---:|---:|---|")
        for (net, prop), row in sorted(found.items()):
            times = f"{row['cpu']:.2f} | {row['writing']:.2f} | {row['bytes']:,} | {row['checking']:.2f}"
            parts.append(f"| {net} | {prop} | {row['regions']:,} | {times} | {row['status']} |")
        parts.append("")
    for group, title in (("serra", "### MNIST, 22 units"), ("billion", "### A billion regions")):
        if found := groups.get(group):
            parts.append(f"{title}\n\n| network | regions (CPU s) |\n|---|---:|")
            parts += [f"| {' '.join(labels)} | {shown(row)} |" for labels, row in sorted(found.items())]
            parts.append("")
    return "\n".join(parts)


def _summary(found: dict[tuple[str, ...], Row], cases: int) -> str:
    """How many cases were counted, and what that took."""
    rows = found.values()
    exact, regions, cpu = (sum(row[what] for row in rows) for what in ("exact", "regions", "cpu"))
    return f"\n{exact} of {cases} counted exactly, {len(rows)} tried, {regions:,} regions in all, {cpu:.0f} s of CPU.\n"


def _span(rows: list[Row | None]) -> str:
    """The fewest and the most regions of some networks."""
    known = [row for row in rows if row]
    if not known:
        return "not run"
    numbers = [row["regions"] for row in known]
    short = "" if len(known) == len(rows) and all(row["exact"] for row in known) else " (not all exact)"
    return f"{min(numbers):,} to {max(numbers):,}{short}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where results and checkpoints are kept")
    parser.add_argument("--data", type=Path, help="a folder with acasxu and mnist")
    parser.add_argument("--groups", nargs="+", default=["relucent", "acasxu", "proofs"], choices=[*GROUPS, "proofs"])
    parser.add_argument("--seconds", type=float, default=60.0, help="a case may take, in all calls together")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no case begins")
    parser.add_argument("--proofs", type=int, default=10, help="how many of the boxes get a proof")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    store = Store(given.folder)
    if not given.table:
        run(given, store)
    text = tables(store.rows(), given.threads)
    with write_atomically(given.folder / "records.md") as temporary:
        temporary.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
