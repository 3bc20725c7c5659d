"""Passes compiled by several processes: each once, and nobody waits for what is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import types
from numba.np.numpy_support import from_dtype

from netfold.exact.numerics import ahead
from netfold.exact.paths.records import Scan

HELP = """
import json, sys
from netfold.exact.numerics import ahead, caches
roots = json.loads(sys.argv[1])
ahead.call_for_help(roots, 1)
ahead.work(roots)
[helper.wait() for helper in ahead._helpers]
print(json.dumps([sorted(ahead.missing(ahead.needed(roots))), caches.compiled(), len(ahead._helpers)]))
"""


@pytest.mark.parametrize(
    "kind",
    [
        types.float64,
        types.boolean,
        types.none,
        types.literal(32),
        types.Omitted(None),
        types.float64[:, ::1],
        types.Array(types.int16, 1, "A", readonly=True),
        from_dtype(np.dtype([("t", np.int64), ("at", np.float64, (2,))])),
        types.Tuple([types.int64, types.float64[::1]]),
        types.NamedTuple([types.int64[::1], types.float64[::1]], Scan),
        types.NamedUniTuple(types.float64, 3, Scan),
        types.List(types.float64[::1]),
    ],
    ids=str,
)
def test_types_are_what_they_were(kind: types.Type) -> None:
    """A type that is written and read again is the same to numba."""
    assert ahead.read(json.loads(json.dumps(ahead.written(kind)))) == kind


def test_types_that_cannot_be_written() -> None:
    """They are named."""
    with pytest.raises(TypeError, match="no JSON for range"):
        ahead.written(types.range_state64_type)


def test_the_record_is_of_these_sources() -> None:
    """Every pass in it is there, and called by what comes after it."""
    entries, verbs = ahead.record()
    assert entries
    for place, entry in enumerate(entries):
        assert all(called < place for called in entry.calls)
        if entry.arguments is not None:
            dispatcher, arguments = entry.found
            given = dispatcher.py_func.__code__
            assert len(arguments) <= given.co_argcount, entry.name
    assert {entries[root].linked for roots in verbs for root in roots} == {False}


def _small() -> list[int]:
    """Passes that are compiled soon, one of which calls another."""
    entries, _ = ahead.record()
    cheap = [i for i, e in enumerate(entries) if e.arguments is not None and e.seconds < 0.15]
    calling = [i for i in cheap if entries[i].calls and set(entries[i].calls) <= set(cheap)]
    return [*calling[:1], *(i for i in cheap if not entries[i].calls)][:6]


def test_processes_share_the_work(tmp_path: Path) -> None:
    """Two processes leave nothing to compile, and this one compiles no pass that the other has compiled."""
    roots = _small()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for most in (len(ahead.needed(roots)), 0):
        told: Any = subprocess.run(
            [sys.executable, "-c", HELP, json.dumps(roots)], env=environment, capture_output=True, check=True
        ).stdout
        missing, compiled, helpers = json.loads(told)
        assert not missing
        assert helpers == 1
        assert compiled <= most


def test_a_process_without_a_parent_stops() -> None:
    """Nothing is done for a process that is gone."""
    ahead.work(range(len(ahead.record()[0])), parent=-1)


def test_what_is_not_there_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of other sources is a hint in vain: no error."""
    entries = [
        ["netfold.exact.numerics.bits:gone", True, [["int64"]], [], 1.0],
        ["netfold.exact.gone:gone", False, [["int64"]], [0], 1.0],
        ["netfold.exact.numerics.sums:largest", True, [["no such type"]], [], 1.0],
    ]
    record = tmp_path / "ahead.json"
    record.write_text(json.dumps({"passes": entries, "verbs": [[1, 2]]}))
    monkeypatch.setattr(ahead, "RECORD", record)
    ahead.record.cache_clear()
    try:
        ahead.work([1, 2])
    finally:
        ahead.record.cache_clear()
