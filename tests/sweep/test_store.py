"""Stores: foreign and damaged files are refused and left as they are; plans that do not fit are refused."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import netfold as nf
from netfold.sweep import Plan
from netfold.sweep.cells import CellOutcome
from netfold.sweep.store import Store

PLAN: dict[str, Any] = {"measures": ["regions"], "repeats": 300, "grid": {"inputs": 2, "width": [2, 3], "depth": 1}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound store of 600 cells."""
    plan, path = Plan.read(PLAN), tmp_path_factory.mktemp("store") / "s.sweep"
    with Store.create(path, plan) as store:
        run = store.begin(plan)
        for cell in plan:
            store.add(CellOutcome(cell, "done", {"regions": cell.replicate}, "exact", "", 0.0), run)
    return path


def refused(path: Path, says: str) -> None:
    """Running, reading and opening the file all give the error, and none changes a byte or leaves a file beside."""
    before, beside = path.read_bytes(), sorted(path.parent.iterdir())
    for attempt in (
        lambda: nf.Sweep(PLAN, path).run(workers=1),
        lambda: nf.Sweep(PLAN, path).to_dataframe(),
        lambda: nf.Sweep(PLAN, path).status(),
        lambda: nf.Sweep.open(path),
    ):
        with pytest.raises(nf.CorruptFileError, match=says):
            attempt()
        assert path.read_bytes() == before
        assert sorted(path.parent.iterdir()) == beside


@pytest.mark.parametrize("content", [b"", b"a diary", b"\x89HDF\r\n\x1a\n" + bytes(200), bytes(5000)])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    """Anything that is no store."""
    (tmp_path / "x.sweep").write_bytes(content)
    refused(tmp_path / "x.sweep", "left as it is")


def test_foreign_databases(tmp_path: Path) -> None:
    """An SQLite database of someone else, even one with tables of the same names."""
    with sqlite3.connect(tmp_path / "x.sweep") as database:
        database.execute("CREATE TABLE cells (key TEXT)")
    database.close()
    refused(tmp_path / "x.sweep", "no store of a sweep")


@pytest.mark.parametrize("where", [0.05, 0.3, 0.6, 0.95])
def test_damaged_stores(made: Path, tmp_path: Path, where: float) -> None:
    """A page overwritten with noise."""
    path = tmp_path / "x.sweep"
    content = bytearray(made.read_bytes())
    start = max(1, int(where * len(content) / 4096)) * 4096
    content[start : start + 4096] = bytes(range(256)) * 16
    path.write_bytes(content)
    refused(path, "damaged")


def test_truncated_store(made: Path, tmp_path: Path) -> None:
    """The second half is missing."""
    path = tmp_path / "x.sweep"
    path.write_bytes(made.read_bytes()[: 4096 * (made.stat().st_size // 8192)])
    refused(path, "damaged")


def test_another_format(made: Path, tmp_path: Path) -> None:
    """A store of a later netfold."""
    path = Path(shutil.copy(made, tmp_path / "x.sweep"))
    database = sqlite3.connect(path)
    database.execute("UPDATE meta SET value = 'netfold sweep 9' WHERE name = 'format'")
    database.commit()
    database.close()
    refused(path, "netfold sweep 9")


@pytest.mark.parametrize(("change", "says"), [({"seed": 1}, "seed 0"), ({"measures": ["patterns"]}, "patterns")])
def test_plans_that_do_not_fit(made: Path, change: dict[str, Any], says: str) -> None:
    """Another seed, other measures: refused, and the store keeps its plan and rows."""
    other = nf.Sweep({**PLAN, **change}, made)
    for attempt in (other.run, other.status):
        with pytest.raises(nf.InvalidInputError, match=says):
            attempt()
    assert nf.Sweep.open(made).plan == Plan.read(PLAN)
    assert nf.Sweep.open(made).status().done == 600


def test_done_cells_are_never_replaced(made: Path, tmp_path: Path) -> None:
    """A failed cell may become done, a done cell stays."""
    path, plan = Path(shutil.copy(made, tmp_path / "x.sweep")), Plan.read(PLAN)
    cell = next(iter(plan))
    with Store(path) as store:
        store.add(CellOutcome(cell, "failed", {}, "", "late", 1.0), 1)
        assert store.statuses([cell.key]) == {cell.key: ("done", 1)}


def test_nothing_to_open(tmp_path: Path) -> None:
    """A file or folder that does not exist; a dictionary without a file."""
    with pytest.raises(FileNotFoundError):
        nf.Sweep.open(tmp_path / "none.sweep")
    with pytest.raises(FileNotFoundError):
        nf.Sweep(PLAN, tmp_path / "none.sweep").to_dataframe()
    with pytest.raises(nf.InvalidInputError, match="does not exist"):
        nf.Sweep(PLAN, tmp_path / "none" / "x.sweep").run(workers=1)
    with pytest.raises(nf.InvalidInputError, match="needs a file"):
        nf.Sweep(PLAN)
    assert nf.Sweep(PLAN, tmp_path / "none.sweep").status().left == 600
    assert not list(tmp_path.iterdir())
