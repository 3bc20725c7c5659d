"""Where compiled passes are kept: a folder for each module, named for the sources that its passes were compiled from.

Numba asks whether the file of a pass has changed, not the files that it uses, and it reads a cache before it asks. A
folder of its own for every state of these sources is never stale, and a record that another version knew by another
name is never read. Folders lie in the package's ``__pycache__``, in ``NUMBA_CACHE_DIR`` where that is set, or, where
neither can be written, in a folder of the user. A wheel can carry such folders too (`Travelled`), compiled for
`LEVEL`, which most processors understand.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from multiprocessing import current_process
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import llvmlite
import llvmlite.binding as llvm
import numba
from numba import config
from numba.core import caching, event
from numba.misc.appdirs import AppDirs

from netfold import progress

locks: ModuleType | None
try:
    import fcntl as locks
except ImportError:  # Windows
    locks = None

PACKAGE = Path(__file__).resolve().parents[2]

SETTINGS: Any = config
"""Numba's, from variables of the environment."""

CARRIED = PACKAGE / "prebuilt"
"""Where a wheel may have brought passes."""

KNOWN = numba.__version__.startswith("0.68.")
"""Whether this is a numba whose insides are known to be as they are used here; any other caches passes as it does."""

IMPORT = re.compile(r"^\s*(?:from|import)\s+netfold\.?([\w.]*)(?:\s+import\s+(\([^)]*\)|.*))?", re.MULTILINE)


LEVEL = "x86-64-v3"
"""The processor that a wheel's passes are compiled for."""

NEEDED = [
    "avx",
    "avx2",
    "bmi",
    "bmi2",
    "cx16",
    "f16c",
    "fma",
    "lzcnt",
    "movbe",
    "popcnt",
    "sahf",
    "sse3",
    "sse4.1",
    "sse4.2",
    "ssse3",
    "xsave",
]
"""What a processor must have, as LLVM calls it, to understand `LEVEL`."""

BUILDS = f"{LEVEL}-{sys.platform}-numba-{numba.__version__}-llvmlite-{llvmlite.__version__}"
"""The folder of a wheel's passes names all that they depend on; files name the Python, and folders the sources."""

_Locator: Any = caching._CacheLocator


class PassLocator(_Locator):
    """Tells numba where the compiled code of one of netfold's functions lies; all others are left to numba."""

    def __init__(self, file: Path, line: int) -> None:
        self._py_file, self._lineno = str(file), line
        self._module = file.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        self._stamp = stamp(file)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Self | None:
        """Where a function's code lies, if it is netfold's and comes from a file."""
        file = Path(py_file).resolve()
        if not file.is_relative_to(PACKAGE) or not file.is_file():
            return None
        return cls(file, py_func.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        """The folder of the function's module."""
        return str(home().folder / f"{self._module}-{self._stamp}")

    def ensure_cache_path(self) -> None:
        """Make the folder; those of other states of its sources go."""
        folder = Path(self.get_cache_path())
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            for other in folder.parent.glob(f"{self._module}-*"):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)

    def get_source_stamp(self) -> str:
        """What the folder is named for."""
        return self._stamp

    def get_disambiguator(self) -> str:
        """The function's line."""
        return str(self._lineno)


class Travelled:
    """The passes of a function that came in the wheel: read where this machine's own cache lacks one, never written."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    @cached_property
    def _files(self) -> Any:
        """Where they are; None where there are none for this processor."""
        path = CARRIED / BUILDS / Path(self._cache.cache_path).name
        if not (path.is_dir() and understood()):
            return None
        keeping = self._cache._impl
        return caching.IndexDataCacheFile(str(path), keeping.filename_base, keeping.locator.get_source_stamp())

    def _key(self, arguments: Any) -> Any:
        return self._cache._index_key(arguments, self)

    def magic_tuple(self) -> tuple[str, str, str]:
        """What numba calls the processor that the code is for."""
        return llvm.get_process_triple(), LEVEL, ""

    def holds(self, arguments: Any) -> bool:
        """Whether code for some types of arguments is there."""
        try:
            return self._files is not None and self._key(arguments) in self._files._load_index()
        except Exception:  # a damaged file: it is compiled here
            return False

    def load(self, arguments: Any, context: Any) -> Any:
        """That code; None where there is none, or it cannot be read."""
        try:
            data = None if self._files is None else self._files.load(self._key(arguments))
            return None if data is None else self._cache._impl.rebuild(context, data)
        except Exception:  # a damaged file: it is compiled here
            return None


@cache
def understood() -> bool:
    """Whether this processor has all that `LEVEL` stands for, and nobody asks for code for another."""
    has = llvm.get_host_cpu_features()
    return not SETTINGS.CPU_NAME and not SETTINGS.CPU_FEATURES and all(has.get(name) for name in NEEDED)


def install() -> None:
    """Let numba ask `PassLocator` first, and `tell` when it compiles a pass."""
    event.register("numba:compile", _compilation)
    if KNOWN:
        caching.CacheImpl._locator_classes.insert(0, PassLocator)


class _Compilation(event.Listener):
    count = 0

    def on_start(self, event: event.Event) -> None:
        if (event.data or {})["dispatcher"].py_func.__module__.startswith("netfold."):
            self.count += 1
            tell("passes", "up to a minute")

    def on_end(self, event: event.Event) -> None:
        pass


_compilation = _Compilation()


def compiled() -> int:
    """How many passes this process has compiled."""
    return _compilation.count


def tell(what: str, long: str) -> None:
    """Say once, in the process that a user started or the first of its workers, that passes are compiled.

    Else that is a silent wait.
    """
    global _told
    if not _told and progress.shown() and current_process().name in ("MainProcess", "LokyProcess-1"):
        words = f"netfold: compiling {what} for this machine, this once; {long} {home().told}".strip()
        print(words, file=sys.stderr, flush=True)
    _told = True


_told = False


@dataclass(frozen=True)
class Home:
    """The folder of all folders.

    Attributes:
        folder: where it is.
        told: what to tell about it; empty where it is the usual one.
        shared: whether other processes use it too.
    """

    folder: Path
    told: str = ""
    shared: bool = True


@cache
def home() -> Home:
    """The first folder of those that could be, that can be written."""
    mine = sha256(str(PACKAGE).encode()).hexdigest()[:12]
    usual = PACKAGE / "__pycache__" / "passes"
    wanted = Path(SETTINGS.CACHE_DIR) / f"netfold-{mine}" if SETTINGS.CACHE_DIR else usual
    if _writable(wanted):
        return Home(wanted)
    for folder in (usual, Path(AppDirs("netfold", False).user_cache_dir) / mine):
        if _writable(folder):
            return Home(folder, f"(into {folder}, as {wanted} cannot be written)")
    nowhere = Path(tempfile.mkdtemp(prefix="netfold-passes-"))
    atexit.register(shutil.rmtree, nowhere, ignore_errors=True)
    told = f"(for this process alone, as {wanted} cannot be written: let NUMBA_CACHE_DIR name a folder that can)"
    return Home(nowhere, told, shared=False)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def shared() -> bool:
    """Whether processes find what others compile, and know what they are at."""
    return KNOWN and locks is not None and home().shared


@contextmanager
def alone(name: str, wait: bool = True) -> Iterator[bool]:
    """While a pass is looked for and compiled: another process that wants the same one waits, and then finds it.

    Waiting cannot go round in a circle, since passes do not; where locks do not work, both compile. Who does not wait
    is told whether another is at it.
    """
    try:
        held = _locked(name, wait)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        if locks is not None and held is not None:
            locks.lockf(held[0], locks.LOCK_UN, 1, held[1])


def _locked(name: str, wait: bool) -> tuple[int, int] | None:
    """The file and the byte of it that stands for a name, locked."""
    if locks is None or not home().shared:
        return None
    byte = int.from_bytes(sha256(name.encode()).digest()[:7], "little")
    try:
        file = _lock_file()
        try:
            locks.lockf(file, locks.LOCK_EX | locks.LOCK_NB, 1, byte)
        except BlockingIOError:
            if not wait:
                raise
            tell("passes", "up to a minute")
            locks.lockf(file, locks.LOCK_EX, 1, byte)
    except BlockingIOError:
        raise
    except OSError:
        return None
    return file, byte


@cache
def _lock_file() -> int:
    """Open for good: closing it would give all of this process's locks away."""
    return os.open(home().folder / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)


@cache
def stamp(file: Path) -> str:
    """A name for the contents of a file and of all files of netfold that it imports, and so on."""
    digest, known, waiting = sha256(), {file}, [file]
    while waiting:
        new = _imported(waiting.pop()) - known
        known |= new
        waiting += new
    for source in sorted(known):
        digest.update(_text(source).encode())
    return digest.hexdigest()[:16]


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@cache
def _imported(file: Path) -> frozenset[Path]:
    """The files of netfold that a file names in its imports."""
    named: set[str] = set()
    for module, names in IMPORT.findall(_text(file)):
        named.add(module)
        named |= {f"{module}.{name}".strip(".") for name in re.findall(r"\w+", names)}
    ends = [PACKAGE.joinpath(*name.split(".")) for name in named if name]
    return frozenset(end.with_suffix(".py") for end in ends if end.with_suffix(".py").is_file())
