"""A child process that answers line by line in JSON, with a clock: it may crash or never answer."""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class HungError(Exception):
    """The child said nothing for too long, and was killed."""


class CrashedError(Exception):
    """The child ended before its time."""


class Child:
    """A module of the tests as a process, in a session of its own."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=ROOT, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)])},
        )  # fmt: skip
        self.buffer = b""
        self.selector = selectors.DefaultSelector()
        assert self.process.stdout is not None
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def read(self, seconds: float) -> Any:
        """The next line.

        Raises:
            HungError: none comes in time.
            CrashedError: the process has ended; the message tells how.
        """
        assert self.process.stdout is not None
        while b"\n" not in self.buffer:
            if not self.selector.select(seconds):
                self.end()
                raise HungError
            more = os.read(self.process.stdout.fileno(), 2**16)
            if not more:
                raise CrashedError(self._last_words())
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def tell(self, value: Any) -> None:
        """Write a line to the child."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Kill the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        how = signal.Signals(-code).name if code < 0 else f"exit {code}"
        return f"{how}: {said[-1] if said else 'without a word'}"[:300]


def drawn(known: list[list[str]], share: int, seed: str) -> list[list[str]]:
    """So many cases of every kind, which is their first word."""
    kinds: dict[str, list[list[str]]] = {}
    for case in known:
        kinds.setdefault(case[0], []).append(case)
    return [
        one
        for kind, some in kinds.items()
        for one in random.Random(f"{seed} {kind}").sample(some, min(share, len(some)))
    ]


def say(value: Any) -> None:
    """Write a line to the parent."""
    os.write(1, json.dumps(value).encode() + b"\n")


def hear() -> Any:
    """Read a line from the parent, or end where it is gone."""
    line = sys.stdin.readline()
    if not line:
        raise SystemExit
    return json.loads(line)
