"""Passes compiled by all cores, as soon as the first of them is needed.

Which passes a first call needs, for arguments of which types, numba finds out one by one, while it compiles them.
``ahead.json`` knows beforehand: `benchmarks/compile.py --record` wrote down what each verb compiled. It is a hint:
what is not in it is compiled when it is called, and what is in it in vain harms nobody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from multiprocessing import current_process
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np
from joblib import cpu_count
from numba.np import numpy_support

from netfold.exact.numerics import caches

types: Any = numba.types

RECORD = Path(__file__).with_suffix(".json")

FEW = 8
"""Passes that are compiled sooner than another process has started."""

LOOK = 0.02
"""Seconds between looks for what other processes have compiled."""

CALL = "from netfold.exact.numerics import ahead; ahead.assist({roots}, {parent})"


@dataclass(frozen=True)
class Entry:
    """A pass that is compiled for some types of arguments.

    Attributes:
        name: module and function.
        linked: whether other passes call it, or Python.
        arguments: the types, as `written`; nothing where they could not be.
        calls: the entries that it calls.
        seconds: what compiling it took when this was recorded, without what it calls.
    """

    name: str
    linked: bool
    arguments: list[Any] | None
    calls: list[int]
    seconds: float

    @cached_property
    def found(self) -> tuple[Any, tuple[Any, ...]]:
        """The dispatcher, and numba's types."""
        module, name = self.name.split(":")
        function = getattr(import_module(module), name)
        return (function.inner if self.linked else function), tuple(map(read, cast(list[Any], self.arguments)))

    @property
    def kept(self) -> bool:
        """Whether its code is in the cache."""
        return kept(*self.found)

    def compile(self) -> bool:
        """Compile it, unless another process is at it: whether it is compiled now."""
        dispatcher, arguments = self.found
        with caches.alone(lock(dispatcher), wait=False) as mine:
            if mine:
                dispatcher.compile(arguments)
        return mine


def kept(dispatcher: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether code for some types of arguments is in the cache."""
    return dispatcher._cache.holds(arguments, dispatcher.targetctx.codegen())


def lock(dispatcher: Any) -> str:
    """What processes that compile a pass lock."""
    return dispatcher._cache._cache_file._index_name


@cache
def record() -> tuple[list[Entry], list[list[int]]]:
    """All entries, those that are called before those that call them; and of each verb those that Python calls."""
    if not RECORD.is_file():
        return [], []
    data = json.loads(RECORD.read_text(encoding="utf-8"))
    return [Entry(*entry) for entry in data["passes"]], data["verbs"]


def share(dispatcher: Any, arguments: tuple[Any, ...]) -> None:
    """Before Python's first call of a pass: compile what its verb needs, with all cores, if it is not in the cache."""
    if not caches.shared() or arguments in dispatcher.overloads or kept(dispatcher, arguments):
        return
    caches.tell("passes", "up to a minute")
    known = place(dispatcher, arguments)
    if known is None or known in _shared:
        return
    verbs = [roots for roots in record()[1] if known in roots]
    if len(verbs) > 1 and len(missing(needed([known]))) <= FEW:
        return  # what many verbs need, and is compiled soon, does not tell which of them this is
    lacking, roots = min((len(missing(needed(roots))), roots) for roots in verbs)
    if lacking <= FEW:
        return
    _shared.update(roots)
    with seat() as mine:
        if current_process().name == "MainProcess":
            call_for_help(roots, free(mine))
        work(roots)


def place(dispatcher: Any, arguments: tuple[Any, ...]) -> int | None:
    """Which entry a pass that Python calls is."""
    try:
        given = json.loads(json.dumps(list(map(written, arguments))))
    except TypeError:
        return None
    name = f"{dispatcher.py_func.__module__}:{dispatcher.py_func.__qualname__}"
    entries, verbs = record()
    roots = (i for roots in verbs for i in roots)
    return next((i for i in roots if entries[i].name == name and entries[i].arguments == given), None)


_shared: set[int] = set()
"""The entries that this process has seen to."""

_helpers: list[Any] = []


@contextmanager
def seat() -> Iterator[int | None]:
    """A core's place among the processes that compile, while this one does; none where all are taken."""
    for place in range(cpu_count()):
        with caches.alone(f"core {place}", wait=False) as mine:
            if mine:
                yield place
                return
    yield None


def free(mine: int | None) -> int:
    """How many other cores nobody compiles on."""
    count = 0
    for place in range(cpu_count()):
        if place != mine:
            with caches.alone(f"core {place}", wait=False) as unused:
                count += unused
    return count


def call_for_help(roots: Sequence[int], helpers: int) -> None:
    """Start processes, at most three, that compile until all is done, or this one is gone.

    A program that holds its own Python is not one that runs a line of code.
    """
    if getattr(sys, "frozen", False) or not Path(sys.executable or "none").name.startswith("python"):
        return
    code = CALL.format(roots=list(roots), parent=os.getpid())
    where = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if caches.SETTINGS.CACHE_DIR:
        where["NUMBA_CACHE_DIR"] = caches.SETTINGS.CACHE_DIR
    silent: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    for _ in range(min(helpers, 3)):
        try:
            started = subprocess.Popen(
                [sys.executable, "-c", code], env={**os.environ, **where}, start_new_session=True, **silent
            )
        except OSError:
            return
        _helpers.append(started)


def assist(roots: Sequence[int], parent: int) -> None:
    """What a process that was started does."""
    with seat():
        work(roots, parent)


def work(roots: Iterable[int], parent: int | None = None, done: Callable[[], object] = bool) -> None:
    """Compile, beside other processes, what is not in the cache: what the most waits for first.

    An entry's turn is when all that it calls is compiled. A process whose parent is gone stops. ``done`` is called
    for every entry that anybody has compiled.
    """
    entries, _ = record()
    indices = needed(roots)
    waiting = waited_for(indices)
    left = missing(indices)
    while left and parent in (None, os.getppid()):
        ready = [i for i in left if not left.intersection(entries[i].calls)]
        for i in sorted(ready, key=lambda i: -waiting[i]):
            try:
                there = entries[i].kept or entries[i].compile()
            except Exception:  # the record is of another version; what is wrong is said where the pass is called
                there = True
            if there:
                left.discard(i)
                done()
                break
        else:
            time.sleep(LOOK)


def needed(roots: Iterable[int]) -> list[int]:
    """Some entries and all that they call, in order."""
    entries, _ = record()
    found, new = set(), set(roots)
    while new:
        found |= new
        new = {called for i in new for called in entries[i].calls} - found
    return sorted(found)


def missing(indices: Iterable[int]) -> set[int]:
    """Those that the cache lacks, of those that are there at all."""
    entries, _ = record()
    lacking = set()
    for i in indices:
        try:
            if not entries[i].kept:
                lacking.add(i)
        except (ImportError, AttributeError, TypeError):
            continue
    return lacking


def waited_for(indices: Sequence[int]) -> dict[int, float]:
    """Seconds from the start of each entry to the end of the last that calls it, and so on."""
    entries, _ = record()
    after = dict.fromkeys(indices, 0.0)
    for i in reversed(indices):
        after[i] += entries[i].seconds
        for called in entries[i].calls:
            after[called] = max(after[called], after[i])
    return after


def written(kind: Any) -> list[Any]:
    """A type of numba's as JSON; a `TypeError` where there is no way to."""
    if isinstance(kind, types.Array):
        return ["array", written(kind.dtype), kind.ndim, kind.layout, not kind.mutable]
    if isinstance(kind, types.BaseNamedTuple):
        named = kind.instance_class
        return ["record", f"{named.__module__}:{named.__qualname__}", *map(written, kind.types)]
    if isinstance(kind, types.BaseTuple):
        return ["tuple", *map(written, kind.types)]
    if isinstance(kind, types.Record) and not kind.aligned:
        return ["fields", numpy_support.as_dtype(kind).descr]
    if isinstance(kind, types.IntegerLiteral):
        return ["literal", kind.literal_value]
    if isinstance(kind, types.Omitted):
        return ["omitted", kind.value]
    if isinstance(kind, types.List):
        return ["list", written(kind.dtype), kind.reflected]
    if kind not in _NAMES:
        raise TypeError(f"no JSON for {kind}")
    return [_NAMES[kind]]


def read(data: Sequence[Any]) -> Any:
    """A type of numba's from JSON."""
    kind, *rest = data
    if kind == "array":
        dtype, ndim, layout, readonly = rest
        return types.Array(read(dtype), ndim, layout, readonly=readonly)
    if kind == "record":
        module, name = rest[0].split(":")
        named = getattr(import_module(module), name)
        inside = list(map(read, rest[1:]))
        same = len(set(inside)) == 1
        return types.NamedUniTuple(inside[0], len(inside), named) if same else types.NamedTuple(inside, named)
    if kind == "tuple":
        return types.Tuple(list(map(read, rest)))
    if kind == "fields":
        return numpy_support.from_dtype(np.dtype([(name, form, *map(tuple, shape)) for name, form, *shape in rest[0]]))
    if kind == "literal":
        return types.literal(rest[0])
    if kind == "omitted":
        return types.Omitted(rest[0])
    if kind == "list":
        return types.List(read(rest[0]), rest[1])
    return getattr(types, kind)


_BITS = *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64", "complex128"
_NAMES = {getattr(types, name): name for name in (*_BITS, "boolean", "none", "unicode_type")}
