"""Work in cells: each is measured once, in any process, and found again after a run that was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from tqdm import tqdm

from netfold.errors import CorruptFileError
from netfold.files import write_atomically
from netfold.progress import hidden, one_thread
from netfold.reproduce.figure import Settings

Cell = Mapping[str, float | int | str]
Numbers = dict[str, Any]
"""Numbers, and nested lists of them, by name."""


def measured(settings: Settings, cells: Sequence[Cell], measure: Callable[[Settings, Cell], Numbers]) -> list[Numbers]:
    """What was measured in every cell, in order; every cell that is done has a JSON file in the settings' folder.

    A stopped run that is started again measures the cells that have no file. Numbers depend on settings and cell
    alone, so they do not depend on the number of workers or on interruptions.

    Args:
        settings: with the folder, and how many processes to use.
        cells: settings of each, by name; all different.
        measure: a function at the top of its module; gives numbers that JSON can hold.

    Raises:
        CorruptFileError: a file in the folder is damaged.
    """
    missing = [cell for cell in cells if not _file(settings.folder, cell).exists()]
    work = (delayed(_measure)(settings, cell, measure) for cell in missing)
    workers = min(settings.workers, len(missing)) or 1
    done = Parallel(n_jobs=workers, return_as="generator_unordered")(work)
    for _ in tqdm(done, total=len(missing), unit="cell", disable=hidden(settings.progress), leave=False):
        pass
    return [_read(_file(settings.folder, cell), cell) for cell in cells]


def _measure(settings: Settings, cell: Cell, measure: Callable[[Settings, Cell], Numbers]) -> None:
    with one_thread():
        numbers = measure(settings, cell)
    with write_atomically(_file(settings.folder, cell)) as temporary:
        temporary.write_text(json.dumps({"cell": dict(cell), "numbers": numbers}))


def _read(file: Path, cell: Cell) -> Numbers:
    try:
        stored = json.loads(file.read_text())
        if stored["cell"] != dict(cell):
            raise KeyError(f"it holds {stored['cell']}, not {dict(cell)}")
        return stored["numbers"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(
            f"{file} cannot be read ({type(error).__name__}: {error}); delete it, and the cell is measured again"
        ) from error


def _file(folder: Path, cell: Cell) -> Path:
    text = json.dumps(dict(cell), sort_keys=True)
    name = "-".join(str(value) for value in cell.values()).replace(" ", "_")
    return folder / f"{name}.{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
