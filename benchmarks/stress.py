"""Look for networks on which netfold is wrong, for moments at which an interrupt or a kill harms, for files that do.

    python benchmarks/stress.py [GROUP ...] [--networks N] [--seconds S] [--seed SEED] [--kinds KIND ...]
    python benchmarks/stress.py GROUP --replay KIND:SEED
    python benchmarks/stress.py --list

Groups: lines, arcs, planes, cells and units hold netfold's answers against rational arithmetic that shares none of its
code (`tests.stress.checks`); proofs damages proofs of counts, none of which may be accepted with a false one
(`tests.stress.forging`); interrupts sends SIGINT at random moments (`tests.stress.interrupts`); kills sends SIGKILL
while something is saved (`tests.stress.kills`); files opens damaged and hostile files (`tests.mutations`); calls and
commands give public functions and the command line arguments that are no good (`tests.stress.calls`, ``commands``), so
many of each. Networks of seeds from 10^9 on share architectures, sixteen by sixteen: without their captures a line
takes a quarter of the time. Each group prints one table in Markdown, and writes a line for every case that must not be
to ``--failures``; ``--replay`` shows one of them again. Ctrl-C prints what is known so far. Ends with exit code 1 where
something is wrong without a word, crashed, hung, or raised anything but netfold's own errors.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.stress.interrupts import VERBS, Interrupts
from tests.stress.networks import KINDS
from tests.stress.processes import ROOT, Child, CrashedError, HungError, drawn

ORACLES = ["lines", "arcs", "planes", "cells", "units"]
KILLED = ["trace", "traces", "partition", "sensitivity", "complexity", "checkpoint", "sweep"]
LIMIT, PATIENCE, FIRST = 30.0, 120.0, 1800.0
"""Seconds of patience for a network, a call, and the first answer of a process, which may have to compile."""


@dataclass
class Run:
    """What was asked for, until when, and where failures go."""

    networks: int
    seed: int
    seconds: float
    kinds: list[str]
    failures: TextIO
    bad: int = 0

    def cases(self, *kinds: str) -> Iterator[tuple[str, int]]:
        """Some kinds in turn with one seed after another, until there are enough or their share of the time is over."""
        until = time.monotonic() + self.seconds * len(kinds) / len(self.kinds)
        for i in range(self.networks):
            for kind in kinds:
                if time.monotonic() > until:
                    return
                yield kind, self.seed + i

    def report(self, group: str, kind: str, seed: Any, what: str, **more: Any) -> None:
        """Note a failure."""
        self.failures.write(json.dumps({"group": group, "replay": f"{kind}:{seed}", "what": what, **more}) + "\n")
        self.failures.flush()
        self.bad += what not in ("wrong, and said so", "refused")


@dataclass
class Row:
    """One kind of network in a group."""

    networks: int = 0
    cases: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    differ: Counter[str] = field(default_factory=Counter)

    HEADER = ("networks", "answers", "wrong", "silently", "uncertain", "refused", "hung", "crashed", "odd errors",
              "what was wrong silently")  # fmt: skip

    def cells(self) -> list[str]:
        c = self.counts
        share = f"{c['uncertain'] / self.cases:.1%}" if self.cases else ""
        differ = ", ".join(f"{what} {n}" for what, n in self.differ.most_common(4))
        numbers = [self.networks, self.cases, c["wrong"], c["silent"], share, c["refused"], c["hung"], c["crashed"]]
        return [*map(str, numbers), str(c["odd"]), differ]


def oracles(group: str, run: Run) -> None:
    """One row a kind: networks whose answers are held against rational arithmetic."""
    rows = {kind: Row() for kind in run.kinds}
    worker = warm(group)
    try:
        for kind, seed in run.cases(*run.kinds):
            rows[kind].networks += 1
            try:
                worker.tell([kind, seed])
                for verdict in worker.read(LIMIT):
                    judge(group, kind, seed, verdict, rows[kind], run)
            except (HungError, CrashedError) as error:
                how = "hung" if isinstance(error, HungError) else "crashed"
                rows[kind].counts[how] += 1
                run.report(group, kind, seed, how, note=str(error))
                worker.end()
                worker = warm(group)
    finally:
        worker.end()
        table(group, ["kind", *Row.HEADER], [[kind, *row.cells()] for kind, row in rows.items()])


def warm(group: str) -> Child:
    """A process that has compiled what it needs."""
    worker = Child("tests.stress.worker", group)
    worker.tell(["ordinary", 0])
    worker.read(FIRST)
    return worker


def judge(group: str, kind: str, seed: int, verdict: dict[str, Any], row: Row, run: Run) -> None:
    """Count one answer."""
    row.cases += 1
    what = {
        "odd": bool(verdict["odd"]), "refused": bool(verdict["refused"]), "silent": verdict["silent"],
        "wrong": bool(verdict["wrong"]), "uncertain": verdict["doubted"],
    }  # fmt: skip
    row.counts.update(key for key, value in what.items() if value)
    names = {"odd": "odd error", "silent": "wrong without a word", "wrong": "wrong, and said so", "refused": "refused"}
    for key, name in names.items():
        if what[key]:
            run.report(group, kind, seed, name, **{k: v for k, v in verdict.items() if v not in ("", [], False)})
            break
    if verdict["silent"]:
        row.differ.update([f"{verdict['case']}: {', '.join(verdict['wrong'])}"])


def interrupts(run: Run) -> None:
    """One row a verb: how interrupted calls end."""
    ways = ["interrupted", "finished", "another result", "next call wrong", "hung", "crashed", "odd"]
    rows: list[list[str]] = []
    try:
        for verb in run.kinds:
            one = Interrupts(verb, run.seed)
            try:
                for _ in run.cases(verb):
                    one.interrupt()
            finally:
                one.end()
                rows.append([verb, str(one.number), *(str(one.ended[way]) for way in ways)])
                for number, how, words in one.failed:
                    run.report("interrupts", verb, number, how, note=words)
    finally:
        table("interrupts", ["verb", "interrupts", *ways], rows)


def kills(run: Run) -> None:
    """One row for everything that is saved."""
    ways = ["lost", "damaged", "another result"]
    rows: list[list[str]] = []
    try:
        for what in run.kinds:
            child, ended, left, killed = Child("tests.stress.kills", what), Counter[str](), "", 0
            try:
                child.read(FIRST)
                for _, seed in run.cases(what):
                    child.tell(seed)
                    wrong, left = child.read(FIRST)
                    killed += 1
                    ended.update(word.split(":")[0] for word in wrong)
                    for word in wrong:
                        run.report("kills", what, seed, word)
            finally:
                child.end()
                rows.append([what, str(killed), *(str(ended[way]) for way in ways), str(left)])
    finally:
        table("kills", ["saved", "kills", *ways, "files left over"], rows)


def files(run: Run) -> None:
    """Damaged and hostile files of every format."""
    if importlib.util.find_spec("tests.mutations") is None:
        print("\nfiles: there is no tests/mutations.py\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.mutations", folder, str(run.networks)]
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "SEED": str(run.seed)}, capture_output=True, text=True
        )
    if ended.returncode:
        run.report("files", "process", run.seed, "crashed", note=ended.stderr[-300:])
        print(f"\nfiles: the process ended with {ended.returncode}\n")
        return
    told = json.loads(ended.stdout)
    for wrong in told["wrong"]:
        run.report("files", "file", run.seed, wrong)
    names = sorted({key.split(":")[0] for key in told["happened"]})
    body = [
        [name, *(str(told["happened"].get(f"{name}: {how}", 0)) for how in ("result", "error")),
         str(sum(wrong.startswith(name) for wrong in told["wrong"]))]
        for name in names
    ]  # fmt: skip
    table("files", ["format", "read", "one clear error", "what must not be"], body)


def proofs(run: Run) -> None:
    """One row: how damaged proofs of counts end, so many of them."""
    from tests.stress.forging import attacked

    with tempfile.TemporaryDirectory() as folder:
        ends = attacked(Path(folder), run.seed, run.networks)
    for what in ("false", "believed false"):
        if ends[what]:
            run.report("proofs", "every damage", run.seed, f"accepted with a count that is {what}, {ends[what]} times")
    table(
        "proofs", ["damaged", *ends], [[str(ends["refused"] + ends["true"] + ends["false"]), *map(str, ends.values())]]
    )


def refusals(group: str, run: Run) -> None:
    """One row: how calls or command lines end that have an argument which is no good."""
    ways = ["result", "refused", "unnamed", "raw", "touched", "hung", "crashed"]
    ended: Counter[str] = Counter()
    child, known = started(group)
    try:
        for case in drawn(known, run.networks, str(run.seed)):
            try:
                child.tell(case)
                how, told = child.read(PATIENCE)
            except (HungError, CrashedError) as error:
                how, told = "hung" if isinstance(error, HungError) else "crashed", str(error)
                child.end()
                child, _ = started(group)
            ended[how] += 1
            if how in ways[3:]:
                run.report(group, " ".join(case)[:300], run.seed, how, note=told)
    finally:
        child.end()
        table(group, ["tried", *ways], [[str(ended.total()), *(str(ended[way]) for way in ways)]])


def started(group: str) -> tuple[Child, list[list[str]]]:
    """A process that has compiled what good calls need, and all cases it knows."""
    child = Child(f"tests.stress.{group}")
    return child, child.read(FIRST)


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


GROUPS: dict[str, tuple[Callable[[Run], None], list[str]]] = {
    **{group: (lambda run, group=group: oracles(group, run), [*KINDS]) for group in ORACLES},
    "proofs": (proofs, ["every damage"]),
    "interrupts": (interrupts, [*VERBS]),
    "kills": (kills, KILLED),
    "files": (files, ["every format"]),
    **{group: (lambda run, group=group: refusals(group, run), ["every argument"]) for group in ("calls", "commands")},
}


def replay(group: str, place: str) -> None:
    """Show one network and what is said of it."""
    from tests.stress import checks

    kind, _, seed = place.rpartition(":")
    for verdict in checks.GROUPS[group](kind, int(seed)):
        print(verdict)
    for layer in checks.network(group, kind, int(seed))[0]:
        print(layer)


def main() -> None:
    """Run the groups asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", default=[*GROUPS], help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument(
        "--networks", type=int, default=100, help="networks of every kind, interrupts a verb, kills, files"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each group, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the first network; the others follow")
    parser.add_argument("--kinds", nargs="*", help="kinds of networks, verbs or formats; all by default")
    parser.add_argument("--failures", default="stress.jsonl", help="file to which failures are added, a line each")
    parser.add_argument("--replay", metavar="KIND:SEED", help="show one case of a group of networks")
    parser.add_argument("--list", action="store_true", help="list groups and kinds")
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(GROUPS):
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    if arguments.list:
        for group, (_, kinds) in GROUPS.items():
            print(f"{group}: {', '.join(kinds)}")
        return
    if arguments.replay:
        replay(arguments.groups[0], arguments.replay)
        return
    raise SystemExit(bool(sum(run_group(group, arguments) for group in arguments.groups)))


def run_group(group: str, arguments: argparse.Namespace) -> int:
    """Run one group; returns how many cases must not be."""
    action, kinds = GROUPS[group]
    chosen = [kind for kind in kinds if arguments.kinds is None or kind in arguments.kinds]
    with open(arguments.failures, "a") as failures:
        run = Run(arguments.networks, arguments.seed, arguments.seconds, chosen, failures)
        try:
            action(run)
        except KeyboardInterrupt:
            raise SystemExit(1) from None
        return run.bad


if __name__ == "__main__":
    main()
