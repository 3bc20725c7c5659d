"""Verbs that are interrupted at random moments: ``python -m tests.stress.interrupts VERB`` is the process.

The child calls its verb again and again, each time when it is told to; the parent sends SIGINT once a call, after a
random part of the time that a call takes. A call must end in `KeyboardInterrupt` or with its right result, the model
must stay as it is, and the next call must give the right result.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import netfold as nf
from tests.stress.processes import Child, CrashedError, HungError, hear, say

Call = Callable[[], Any]

CHECKED = 20
"""After so many interrupts a call is left alone, and its result compared."""

PATIENCE = 60.0
"""Seconds for which an interrupted call may go on."""

START = 600.0
"""Seconds for the first call, which may have to compile."""


def _network(width: int, depth: int, inputs: int = 2, outputs: int = 3, activation: str = "relu") -> nn.Module:
    return nf.random_network(inputs, width, depth, outputs, activation, sigma_w=2.0, sigma_b=0.5, seed=0)


def _capture() -> tuple[nn.Module, Call]:
    net = _network(16, 3)
    return net, lambda: len(nf.capture(net, shape=(2,)).layers)


def _trace() -> tuple[nn.Module, Call]:
    net = nf.random_network(30, 100, 8, 10, "hardtanh", sigma_w=4.0, sigma_b=0.1, seed=0)
    program, ends = nf.capture(net, shape=(30,)), np.random.default_rng(0).normal(size=(2, 30))
    return net, lambda: nf.trace_path(program, nf.Line(*ends)).regions


def _arc() -> tuple[nn.Module, Call]:
    net = nf.random_network(30, 60, 6, 10, "hardtanh", sigma_w=3.0, sigma_b=0.1, seed=0)
    program, ends = nf.capture(net, shape=(30,)), np.random.default_rng(0).normal(size=(2, 30))
    return net, lambda: nf.trace_path(program, nf.Arc(*ends)).regions


def _plane() -> tuple[nn.Module, Call]:
    net, plane = _network(32, 3), nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    program = nf.capture(net, shape=(2,))
    return net, lambda: nf.partition_plane(program, plane, bounds=(-2, 2, -2, 2)).regions


def _count() -> tuple[nn.Module, Call]:
    net = _network(14, 2, inputs=3)
    return net, lambda: int(nf.count_regions(net, threads=2, progress=False))


def _estimate() -> tuple[nn.Module, Call]:
    net = _network(12, 2, inputs=4)
    return net, lambda: float(nf.estimate_regions(net, effort=200, seed=1))


def _score() -> tuple[nn.Module, Call]:
    net, x = _network(16, 3, inputs=6), torch.from_numpy(np.random.default_rng(0).normal(size=(20, 6))).float()
    return net, lambda: nf.score(net, x, lines=4, networks=1)


def _report() -> tuple[nn.Module, Call]:
    net, x = _network(8, 2, inputs=4), torch.from_numpy(np.random.default_rng(0).normal(size=(20, 4))).float()
    page = Path(tempfile.mkdtemp()) / "report.html"
    return net, lambda: [nf.report(net, x, page, pairs=3), page.exists()][1]


def _sensitivity() -> tuple[nn.Module, Call]:
    net, x = _network(16, 3, inputs=6), torch.from_numpy(np.random.default_rng(0).normal(size=(200, 6))).float()
    return net, lambda: nf.layer_sensitivity(net, x, repeats=20).to_dataframe().to_csv()


def _sweep() -> tuple[nn.Module, Call]:
    plan = {"measures": ["regions"], "repeats": 3, "grid": {"inputs": 2, "width": [4, 8], "depth": [1, 2]}}
    folder = Path(tempfile.mkdtemp())
    numbers = iter(range(10**9))

    def call() -> Any:
        store = folder / f"{next(numbers)}.sweep"
        nf.Sweep(plan, store).run(workers=1, progress=False)
        return [str(row.values) for row in nf.Sweep.open(store).rows()]

    return _network(2, 1), call


VERBS: dict[str, Callable[[], tuple[nn.Module, Call]]] = {
    "capture": _capture, "trace": _trace, "arc": _arc, "plane": _plane, "count": _count, "estimate": _estimate, "score": _score,
    "report": _report, "sensitivity": _sensitivity, "sweep": _sweep,
}  # fmt: skip


def fingerprint(net: nn.Module) -> str:
    """A model's numbers, mode and hooks."""
    told = [net.training, *(f"{k} {v.dtype}" for k, v in net.state_dict().items())]
    told += [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in net.modules()]
    content = b"".join(v.numpy().tobytes() for v in net.state_dict().values())
    return hashlib.sha256(repr(told).encode() + content).hexdigest()


def attempt(call: Call, interrupted: bool) -> tuple[str, Any]:
    """Call once; what an interrupt does outside of the call does not count."""
    how, result = "interrupted", None
    with contextlib.suppress(KeyboardInterrupt):
        try:
            if interrupted:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                say("go")
            how, result = "finished", call()
        except KeyboardInterrupt:
            how = "interrupted"
        except BaseException as error:
            how, result = "odd", f"{type(error).__name__}: {error}"[:300]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return how, result


def child(verb: str) -> None:
    """Call a verb whenever told to, and say how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    net, call = VERBS[verb]()
    before = fingerprint(net)
    right, seconds = call(), []
    for _ in range(3):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    say(min(seconds))
    while True:
        how, result = attempt(call, hear())
        if how == "finished":
            how = "right" if result == right else f"another result: {result!r}"[:300]
        say([how, result if how == "odd" else "", fingerprint(net) == before])


class Interrupts:
    """Interrupts of one verb, counted by how they ended; ``failed`` holds the number of each that must not be."""

    def __init__(self, verb: str, seed: int) -> None:
        self.verb, self.dice, self.ended, self.failed = verb, random.Random(f"{verb} {seed}"), Counter(), []
        self.child: Child | None = None
        self.seconds, self.number = 0.0, 0

    def interrupt(self) -> None:
        """One more."""
        share = self.dice.random()
        try:
            if self.child is None:
                self.child = Child("tests.stress.interrupts", self.verb)
                self.seconds = self.child.read(START)
            self.number += 1
            self._once(self.child, share)
        except HungError:
            self._fail("hung", f"at {share:.3f} of a call")
        except CrashedError as error:
            self._fail("crashed", str(error))

    def _once(self, child: Child, share: float) -> None:
        child.tell(True)
        child.read(PATIENCE)
        time.sleep(share * self.seconds)
        os.kill(child.process.pid, signal.SIGINT)
        how, error, same = child.read(PATIENCE + 20 * self.seconds)
        self.ended["finished" if how == "right" else how if how in ("interrupted", "odd") else "another result"] += 1
        if how not in ("interrupted", "right") or not same:
            self.failed.append((self.number, how if same else "the model is another", error))
        if self.number % CHECKED == 0:
            child.tell(False)
            how, error, same = child.read(PATIENCE + 20 * self.seconds)
            if how != "right" or not same:
                self.ended["next call wrong"] += 1
                self.failed.append((self.number, f"next call: {how}", error))

    def _fail(self, how: str, words: str) -> None:
        self.ended[how] += 1
        self.failed.append((self.number, how, words))
        self.end()

    def end(self) -> None:
        """End the process."""
        if self.child is not None:
            self.child.end()
        self.child = None


if __name__ == "__main__":
    child(sys.argv[1])
