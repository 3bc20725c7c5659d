"""Where compiled passes lie: never stale, never in the way, never a crash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from netfold.exact.numerics import caches


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of three modules: ``a`` imports ``b.c``, and nobody imports ``d``."""
    (tmp_path / "b").mkdir()
    (tmp_path / "a.py").write_text("from netfold.b import (\n    c,\n)\n")
    (tmp_path / "b" / "c.py").write_text("STEPS = 1\n")
    (tmp_path / "d.py").write_text("")
    monkeypatch.setattr(caches, "PACKAGE", tmp_path)
    _forget()
    yield tmp_path
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for known in (caches.stamp, caches._text, caches._imported, caches.home):
        known.cache_clear()


def test_a_stamp_follows_what_a_module_imports(tree: Path) -> None:
    """A change in an imported file makes another stamp, a change elsewhere does not."""
    stamps = []
    for file, text in (("d.py", "x = 1\n"), ("b/c.py", "STEPS = 2\n"), ("b/c.py", "STEPS = 1\n")):
        _forget()
        stamps.append(caches.stamp(tree / "a.py"))
        (tree / file).write_text(text)
    _forget()
    stamps.append(caches.stamp(tree / "a.py"))
    assert [stamps.index(stamp) for stamp in stamps] == [0, 0, 2, 0]


def test_folders_of_other_sources_go(tree: Path) -> None:
    """A folder that is made takes the place of those of the same module's earlier sources, and of no other's."""
    locator = caches.PassLocator(tree / "a.py", 1)
    home = caches.home().folder
    for name in ("a-0123456789abcdef", "a.b-0123456789abcdef"):
        (home / name).mkdir(parents=True)
    locator.ensure_cache_path()
    assert sorted(folder.name for folder in home.iterdir()) == sorted(
        ["a.b-0123456789abcdef", Path(locator.get_cache_path()).name]
    )


@pytest.mark.parametrize(("unwritable", "shared"), [(1, True), (3, False)])
def test_where_nothing_can_be_written(
    tree: Path, monkeypatch: pytest.MonkeyPatch, unwritable: int, shared: bool
) -> None:
    """A folder of the user stands in, or one for this process alone; both say so."""
    tried: list[Path] = []
    monkeypatch.setattr(caches, "_writable", lambda folder: tried.append(folder) or len(tried) > unwritable)
    home = caches.home()
    assert home.shared == shared
    assert str(tried[0]) in home.told


def test_only_netfold_is_located(tmp_path: Path) -> None:
    """Functions of others stay with numba."""
    file = tmp_path / "theirs.py"
    file.write_text("")
    assert caches.PassLocator.from_function(_forget, str(file)) is None


def test_one_process_compiles_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another that wants the same pass waits until it is there; one that wants another pass does not."""
    context = get_context("spawn")
    here, there = context.Event(), context.Event()
    monkeypatch.setattr(caches.SETTINGS, "CACHE_DIR", str(tmp_path))
    caches.home.cache_clear()
    caches._lock_file.cache_clear()
    try:
        with caches.alone("one"):
            other = context.Process(target=_wait, args=(str(tmp_path), there, here))
            other.start()
            assert there.wait(600)  # it is past "two", and now at "one"
            (tmp_path / "made").touch()
        assert here.wait(600)
        other.join(600)
        assert other.exitcode == 0
    finally:
        monkeypatch.undo()
        caches.home.cache_clear()
        caches._lock_file.cache_clear()


def _wait(folder: str, there: Event, here: Event) -> None:
    caches.SETTINGS.CACHE_DIR = folder
    caches.home.cache_clear()
    with caches.alone("two"):
        there.set()
    with caches.alone("one"):
        assert (Path(folder) / "made").exists()
        here.set()


PUT = """
import sys
from pathlib import Path
from netfold.exact.numerics import caches
caches.CARRIED = Path(sys.argv[1])
import numpy as np
from netfold.exact.numerics.compiled import put
array = np.zeros(4)
put(array, 1, np.array([1.0, 2.0]))
print(array.tolist() == [0, 1, 2, 0], caches.compiled())
"""


def _put(carried: Path, own: Path, **environment: str) -> list[str]:
    where = {**os.environ, "NUMBA_CACHE_DIR": str(own), **environment}
    ran = subprocess.run([sys.executable, "-c", PUT, str(carried)], env=where, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


@pytest.mark.skipif(not (caches.KNOWN and caches.understood()), reason="no processor that a wheel's passes are for")
def test_passes_that_came_with_the_package(tmp_path: Path) -> None:
    """They are taken, and never written; where they are damaged or of another source, they are compiled here."""
    carried, made = tmp_path / "carried", tmp_path / "made"
    level = {"NUMBA_CPU_NAME": caches.LEVEL, "NUMBA_CPU_FEATURES": ""}
    assert _put(carried, made, **level) == ["True", "1"]
    (home,) = made.glob("netfold-*")
    (carried / caches.BUILDS).mkdir(parents=True)
    for folder in filter(Path.is_dir, home.iterdir()):
        shutil.copytree(folder, carried / caches.BUILDS / folder.name)
    files = {file: file.read_bytes() for file in carried.rglob("*") if file.is_file()}
    assert _put(carried, tmp_path / "own") == ["True", "0"]
    assert not list((tmp_path / "own").rglob("*.nbc"))
    assert _put(carried, tmp_path / "asked", **level) == ["True", "1"]  # who names a processor gets its code
    assert {file: file.read_bytes() for file in carried.rglob("*") if file.is_file()} == files
    for kind in (".nbc", ".nbi"):
        for file, data in files.items():
            file.write_bytes(data[: len(data) // 2] if file.suffix == kind else data)
        assert _put(carried, tmp_path / kind) == ["True", "1"]
    for file, data in files.items():
        file.write_bytes(data)
    for folder in (carried / caches.BUILDS).iterdir():
        folder.rename(folder.with_name(f"{folder.name[:-1]}x"))
    assert _put(carried, tmp_path / "changed") == ["True", "1"]
