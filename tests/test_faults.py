"""Full disks, folders that may not be written to, several processes on one file, files cut short or of the future."""

from __future__ import annotations

import os
import resource
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import netfold as nf
from netfold import cli
from netfold.exact.cells.counting import checkpoint
from netfold.files import alone_with, temporary_beside, write_dataset

NET = nf.random_network(3, 8, 2, 2, sigma_b=0.5, seed=0)
PLAN = {"measures": ["regions"], "repeats": 20, "grid": {"inputs": 2, "width": [3, 4], "depth": 1}}


def _trace() -> nf.Trace:
    return nf.trace_path(NET, nf.Line([-1.0, 0.5, 0.0], [1.0, 0.0, 0.5]))


def _sweep(path: Path) -> Any:
    return nf.Sweep(PLAN, path).run(workers=1, progress=False)


def _export(path: Path) -> None:
    nf.Sweep.open(path.with_name("done.sweep")).export(path)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "trace.nc": lambda path: _trace().save(path),
    "count.json": lambda path: nf.count_regions(NET, checkpoint=path, threads=1, progress=False),
    "results.sweep": _sweep,
    "table.csv": _export,
    "table.nc": _export,
}


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond a few bytes meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", WRITERS)
def test_full_disk(tmp_path: Path, name: str) -> None:
    """What finds no room says so; nothing half-written is left, and what was there is as it was."""
    _sweep(tmp_path / "done.sweep")
    for before in (None, b"somebody's file"):
        if (before and name.startswith("table")) or (name == "trace.nc" and before):
            (tmp_path / name).write_bytes(before)
        with full_disk(), pytest.raises(nf.UnwritableFileError, match=name):
            WRITERS[name](tmp_path / name)
        left = {found for found in os.listdir(tmp_path) if not found.startswith("done.sweep")}
        assert left <= {name}, left
        assert before is None or name not in left or (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", WRITERS)
def test_folder_that_may_not_be_written_to(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error that names the file which was asked for."""
    _sweep(tmp_path / "done.sweep")

    def refuse(**_: Any) -> Any:
        raise PermissionError(13, "Permission denied", "/some/temporary/name")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(nf.UnwritableFileError, match=f"{name}.*Permission denied"):
        WRITERS[name](tmp_path / name)


def test_two_processes_on_one_sweep(tmp_path: Path) -> None:
    """Two runs of one plan at the same time end well; every cell is there once."""
    path = tmp_path / "results.sweep"
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if _sweep(path).left == 0 else 1)
        finally:
            os._exit(2)
    assert _sweep(path).left == 0
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    keys = [row.key for row in nf.Sweep.open(path).rows()]
    assert len(keys) == len(set(keys)) == 40


def test_two_processes_on_one_checkpoint(tmp_path: Path) -> None:
    """Whoever opens a checkpoint leaves what another process is writing."""
    path = tmp_path / "count.json"
    WRITERS["count.json"](path)
    writing = temporary_beside(path)
    WRITERS["count.json"](path)
    assert writing.exists()


def test_two_processes_on_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that another reproduction works in is left alone."""
    folder = tmp_path / "page_files"
    folder.mkdir()
    with alone_with(folder):
        assert cli.main(["reproduce", "circle", "--output", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("netfold: another process works with")
    assert said.count("\n") == 1
    assert os.listdir(folder) == []


def test_files_of_the_future(tmp_path: Path) -> None:
    """A newer format is named, and the file is as it was."""
    stored = _trace().to_xarray()
    write_dataset(stored.assign_attrs(format="netfold traces 99"), tmp_path / "trace.nc")
    with pytest.raises(nf.CorruptFileError, match=r"'netfold traces 99'.* the version that wrote it"):
        nf.Trace.load(tmp_path / "trace.nc")
    write_dataset(xr.Dataset(attrs={"format": "netfold other 1"}), tmp_path / "other.nc")
    with pytest.raises(nf.CorruptFileError, match="netfold other 1"):
        nf.Trace.load(tmp_path / "other.nc")
    (tmp_path / "count.json").write_text('{"format": "netfold count 99", "new": {}}')
    with pytest.raises(nf.InvalidInputError, match="netfold count 99"):
        WRITERS["count.json"](tmp_path / "count.json")
    assert (tmp_path / "count.json").read_text() == '{"format": "netfold count 99", "new": {}}'
    _sweep(tmp_path / "results.sweep")
    with sqlite3.connect(tmp_path / "results.sweep") as database:
        database.execute("UPDATE meta SET value = 'netfold sweep 99' WHERE name = 'format'")
    with pytest.raises(nf.CorruptFileError, match="netfold sweep 99"):
        _sweep(tmp_path / "results.sweep")


@pytest.mark.parametrize("name", ["trace.nc", "count.json", "results.sweep"])
def test_files_cut_short(tmp_path: Path, name: str) -> None:
    """A file that ends too early is one clear error wherever it ends, and is left as it is."""
    path = tmp_path / name
    WRITERS[name](path)
    if name == "results.sweep":
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
    whole = path.read_bytes()
    read: Callable[[Path], Any] = nf.Trace.load if name == "trace.nc" else WRITERS[name]
    for end in {0, 1, 7, *range(10, len(whole), max(1, len(whole) // 40)), len(whole) - 1}:
        path.write_bytes(whole[:end])
        with pytest.raises(nf.NetfoldError):
            read(path)
        assert path.read_bytes() == whole[:end]


def test_every_writer_says_where(tmp_path: Path) -> None:
    """A checkpoint that cannot be written is said before anything is counted."""
    with pytest.raises(nf.InvalidInputError, match="does not exist"):
        nf.count_regions(NET, checkpoint=tmp_path / "nowhere" / "count.json")
    assert checkpoint.FORMAT.startswith("netfold count")
