"""The file of a sweep: one SQLite database, to which every cell is added whole or not at all."""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from netfold.errors import CorruptFileError, InvalidInputError, UnwritableFileError
from netfold.files import require_file, telling_of_writing, temporary_beside
from netfold.results.provenance import surroundings
from netfold.sweep.cells import CellOutcome, to_json
from netfold.sweep.plan import Plan

FORMAT = "netfold sweep 1"
MAGIC = b"SQLite format 3\0"
APPLICATION = 0x6E66_7377
"""SQLite's application id of these files ("nfsw"), at bytes 68 to 71."""

SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (id INTEGER PRIMARY KEY, started TEXT NOT NULL, plan TEXT NOT NULL, provenance TEXT NOT NULL);
CREATE TABLE cells (
    key TEXT PRIMARY KEY,
    settings TEXT NOT NULL,
    replicate INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
    measured TEXT NOT NULL,
    note TEXT NOT NULL,
    error TEXT NOT NULL,
    seconds REAL NOT NULL,
    run INTEGER NOT NULL REFERENCES runs (id)
) WITHOUT ROWID;
"""

ADD = """
INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET status = excluded.status, measured = excluded.measured, note = excluded.note,
    error = excluded.error, seconds = excluded.seconds, run = excluded.run
WHERE cells.status = 'failed'
"""


@dataclass(frozen=True)
class StoredCell:
    """A stored cell."""

    key: str
    settings: dict[str, Any]
    replicate: int
    status: str
    values: dict[str, Any]
    note: str
    error: str
    seconds: float
    run: int


class Store:
    """An open store. Use as a context manager, or call `close`.

    Args:
        path: the file; it must exist (see `create`).

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFileError: the file is damaged or holds something else; it is left as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        _require_ours(self.path)
        # joblib takes work from its own threads; the lock lets one in at a time.
        self._lock = threading.Lock()
        self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            with self._using() as database:
                self._require_sound(database)
                # Commits survive a killed process; a power cut can cost the last ones, never the file.
                database.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def create(cls, path: str | os.PathLike[str], plan: Plan) -> Store:
        """Make a store for a plan, or open the one that is there.

        Raises:
            CorruptFileError: something else, or a damaged store, has this name; it is left as it is.
            InvalidInputError: the store has another seed or other measures, or the folder does not exist.
        """
        target = Path(path).absolute()
        if not target.exists():
            _make(target, plan)
        store = cls(path)
        try:
            store.require_compatible(plan)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def plan(self) -> Plan:
        """The plan of the latest run.

        Raises:
            CorruptFileError: what is stored is no plan.
        """
        try:
            return Plan.read(self._stored_plan())
        except InvalidInputError as error:
            raise _damaged(self.path, f"its plan: {error}") from error

    def require_compatible(self, plan: Plan) -> None:
        """Refuse a plan whose numbers could not stand beside those in the store.

        Raises:
            InvalidInputError: the seeds or the measures differ.
        """
        here = self._stored_plan()
        if here["seed"] != plan.seed:
            raise InvalidInputError(
                f"{self.path} was made with seed {here['seed']}, the plan has seed {plan.seed}: its numbers would come "
                "from other networks; give the plan a store of its own"
            )
        if set(here["measures"]) != set(plan.measures):
            raise InvalidInputError(
                f"{self.path} holds the measures {', '.join(here['measures'])}, the plan asks for "
                f"{', '.join(plan.measures)}; give the plan a store of its own"
            )

    def begin(self, plan: Plan, **how: Any) -> int:
        """Note that a run of a plan begins, with versions and machine; returns its number."""
        text = to_json(plan.to_dict())
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self._using() as database:
            database.execute("BEGIN IMMEDIATE")
            with database:
                database.execute("UPDATE meta SET value = ? WHERE name = 'plan'", (text,))
                added = database.execute(
                    "INSERT INTO runs (started, plan, provenance) VALUES (?, ?, ?)",
                    (now, text, to_json({**surroundings(), **how})),
                )
        return int(added.lastrowid or 0)

    def add(self, outcome: CellOutcome, run: int) -> None:
        """Add a cell, in a transaction of its own; a cell that is done stays as it is."""
        cell = outcome.cell
        row = (cell.key, to_json(cell.settings), cell.replicate, outcome.status, to_json(outcome.values))
        with self._using() as database:
            database.execute(ADD, (*row, outcome.note, outcome.error, outcome.seconds, run))

    def statuses(self, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Status and run of those keys that are stored (at most 900 at a time)."""
        marks = ",".join("?" * len(keys))
        with self._using() as database:
            rows = database.execute(f"SELECT key, status, run FROM cells WHERE key IN ({marks})", tuple(keys))
            return {key: (status, run) for key, status, run in rows}

    def rows(self) -> Iterator[StoredCell]:
        """All cells, ordered by key."""
        with self._using() as database:
            found = database.execute("SELECT * FROM cells ORDER BY key").fetchall()
        for key, settings, replicate, status, values, note, error, seconds, run in found:
            told, numbers = (_object(self.path, f"cell {key}", text) for text in (settings, values))
            yield StoredCell(key, told, replicate, status, numbers, note, error, seconds, run)

    def runs(self) -> list[dict[str, Any]]:
        """Every run: number, start, plan, versions and machine."""
        with self._using() as database:
            found = database.execute("SELECT id, started, plan, provenance FROM runs ORDER BY id").fetchall()
        return [
            {"run": run, "started": started, "plan": _object(self.path, f"run {run}", plan)}
            | _object(self.path, f"run {run}", provenance)
            for run, started, plan, provenance in found
        ]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stored_plan(self) -> dict[str, Any]:
        with self._using() as database:
            row = database.execute("SELECT value FROM meta WHERE name = 'plan'").fetchone()
        found = _object(self.path, "its plan", row[0] if row else None)
        if "seed" not in found or not isinstance(found.get("measures"), list):
            raise _damaged(self.path, "its plan says neither seed nor measures")
        return found

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The database, for one thread; its own error for a damaged file becomes netfold's."""
        with self._lock:
            try:
                yield self._database
            except sqlite3.OperationalError as error:
                if "decode" in str(error):
                    raise _damaged(self.path, "a text is not UTF-8") from error
                # A full disk, no permission, another process that holds the file: no damage.
                raise UnwritableFileError(f"{self.path} cannot be used now: {error}") from error
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                raise _damaged(self.path, str(error)) from error

    def _require_sound(self, database: sqlite3.Connection) -> None:
        # Views, triggers and tables of other kinds would compute what a query only asks to read.
        database.execute("PRAGMA trusted_schema = OFF")
        if _schema(database) != _expected_schema():
            raise CorruptFileError(f"{self.path} has other tables than {FORMAT!r}, so it is left as it is")
        problems = [row[0] for row in database.execute("PRAGMA quick_check(1)")]
        if problems != ["ok"]:
            raise _damaged(self.path, problems[0])
        stated = database.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
        if stated != (FORMAT,):
            found = "no format" if stated is None else f"the format {stated[0]!r}"
            raise CorruptFileError(f"{self.path} states {found}, expected {FORMAT!r}; it is left as it is")


def _schema(database: sqlite3.Connection) -> set[tuple[str, ...]]:
    return set(database.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master"))


@cache
def _expected_schema() -> set[tuple[str, ...]]:
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA)
    found = _schema(database)
    database.close()
    return found


def _object(path: Path, where: str, text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, f"{where}: {error}") from error
    if not isinstance(found, dict):
        raise _damaged(path, f"{where}: {type(found).__name__} where an object is expected")
    return found


def _require_ours(path: Path) -> None:
    """Look at the bytes alone: SQLite would complete an empty file, and recover a foreign one."""
    require_file(path, "sweep's file")
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100 or head[:16] != MAGIC or int.from_bytes(head[68:72], "big") != APPLICATION:
        what = "is empty" if not head else "is no store of a sweep"
        raise CorruptFileError(f"{path} {what}, so it is left as it is; delete it, or name another file")
    # A last page that is cut short SQLite would fill up with zeros. What waits beside the file may complete it.
    beside = path.with_name(f"{path.name}-wal")
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    if path.stat().st_size < page * pages and not (beside.exists() and beside.stat().st_size):
        raise _damaged(path, f"it is cut short: {path.stat().st_size:,} bytes of {page * pages:,}")


def _damaged(path: Path, what: str) -> CorruptFileError:
    what = " ".join(what.split())
    return CorruptFileError(f"{path} is damaged ({what}) and left as it is; delete it, or name another file")


def _make(target: Path, plan: Plan) -> None:
    """Make an empty store beside the target and give it its name once it is complete."""
    with telling_of_writing(target):
        _made_at(target, plan)


def _made_at(target: Path, plan: Plan) -> None:
    made = temporary_beside(target)
    try:
        database = sqlite3.connect(made, isolation_level=None)
        try:
            database.executescript(SCHEMA)
            facts = {"format": FORMAT, "plan": to_json(plan.to_dict())}
            database.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
            # The journal mode is part of the file; setting it here means that opening a store writes nothing.
            database.execute("PRAGMA journal_mode = WAL")
        finally:
            database.close()
        try:
            # A link, unlike a renaming, never takes the place of a file that appeared meanwhile.
            os.link(made, target)
        except FileExistsError:
            return
        except OSError:
            made.rename(target)
    finally:
        made.unlink(missing_ok=True)
