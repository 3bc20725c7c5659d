"""Plans: which cells they name, and that a cell's key and seed belong to the cell alone."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import netfold as nf
from netfold.sweep import Cell, Plan
from netfold.sweep.arguments import complete

GRID = {"inputs": 3, "width": [4, 6], "depth": [1, 2], "sigma_w": [1, 2.0]}


def plan(**more: Any) -> Plan:
    """A plan over `GRID` with something changed."""
    return Plan.read({"measures": ["regions"], "grid": GRID, **more})


def test_grid_is_the_product() -> None:
    """Every combination of values, once a replicate."""
    cells = [(c.settings["width"], c.settings["depth"], c.settings["sigma_w"], c.replicate) for c in plan(repeats=2)]
    wanted = itertools.product([4, 6], [1, 2], [1.0, 2.0], range(2))
    assert sorted(cells) == sorted(wanted)
    assert plan(repeats=2).size == len(cells) == len({c.key for c in plan(repeats=2)})


def test_keys_do_not_depend_on_the_plan() -> None:
    """More values, another order, spelled-out defaults: the cells that were there keep key and seeds."""
    before = {cell.key: cell.seeds(7) for cell in plan(repeats=2)}
    wider = {"width": [6, 9, 4], "depth": [2, 1], "sigma_w": [2, 0.5, 1], "inputs": [3, 5], "activation": "ReLU"}
    after = {cell.key: cell.seeds(7) for cell in plan(repeats=3, grid=wider)}
    assert before.items() < after.items()
    assert len({seed for pair in after.values() for seed in pair}) == 2 * len(after)
    assert all(cell.seeds(7) != cell.seeds(8) for cell in plan())


def test_key_and_seeds_are_fixed() -> None:
    """They name stored results, so no version may change them."""
    cell = Cell(complete({"inputs": 3, "width": 4, "depth": 1, "sigma_w": 2.0}), 5)
    assert cell.key == "0b8b9ff218b7a0870aae7edc68054f73"
    assert cell.seeds(7) == (7718168840668509993, 757934343435011817)


def test_equal_settings_have_one_spelling() -> None:
    """2 and 2.0 are one value, and so are spellings of a name."""
    spellings = [{"sigma_w": 2, "activation": "hard-tanh"}, {"sigma_w": 2.0, "activation": "hardtanh"}]
    keys = {next(iter(plan(grid={**GRID, "sigma_w": 1, **one}))).key for one in spellings}
    assert len(keys) == 1


def test_a_million_cells_start_at_once() -> None:
    """A plan holds its values, not its cells."""
    big = plan(grid={**GRID, "sigma_w": [1 + i / 1000 for i in range(1000)]}, repeats=250)
    tracemalloc.start()
    first = list(itertools.islice(big, 100))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert big.size == 1_000_000
    assert len({cell.key for cell in first}) == 100
    assert most < 1_000_000


def test_listed_cells() -> None:
    """Cells share what is fixed, and may list their widths."""
    listed = Plan.read(
        {"measures": ["regions"], "fixed": {"inputs": 2}, "cells": [{"width": [4, 2]}, {"width": 3, "depth": 1}]}
    )
    assert [(c.settings["width"], c.settings["depth"]) for c in listed] == [([4, 2], 2), (3, 1)]
    assert Plan.read(listed.to_dict()) == listed


def test_draws() -> None:
    """Values lie in their lists and ranges, reach both ends, and stay when more are drawn or another is added."""
    table = {"cells": 400, "width": {"low": 2, "high": 5}, "sigma_w": {"low": 0.1, "high": 10.0, "log": True}}
    rest = {"measures": ["regions"], "fixed": {"inputs": 2, "depth": 1}, "seed": 4}
    few = Plan.read({**rest, "draw": table})
    cells = [cell.settings for cell in few]
    assert {s["width"] for s in cells} == {2, 3, 4, 5}
    below = sum(s["sigma_w"] < 1 for s in cells)
    assert 150 < below < 250  # 200 expected, standard deviation 10
    assert all(0.1 <= s["sigma_w"] <= 10 for s in cells)
    more = Plan.read({**rest, "draw": {**table, "cells": 500, "path": ["line", "arc"]}})
    longer = [cell.settings for cell in more]
    assert [(s["width"], s["sigma_w"]) for s in longer[:400]] == [(s["width"], s["sigma_w"]) for s in cells]
    assert {s["path"] for s in longer} == {"line", "arc"}
    assert len({cell.key for cell in few}) == 400
    assert Plan.read(few.to_dict()) == few
    assert [c.key for c in Plan.read(few.to_dict())] == [c.key for c in few]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"grid": {**GRID, "widht": 3}}, "unknown setting 'widht'"),
        ({"grid": {**GRID, "width": [4, 0]}}, "width must be a whole number, 1 or more, got 0"),
        ({"grid": {**GRID, "width": [4, 4]}}, "width lists 4 twice"),
        ({"grid": {**GRID, "width": [4, [4, 5]]}}, "not both"),
        ({"grid": {**GRID, "width": [[4, 5]]}}, "leave depth out"),
        ({"grid": {**GRID, "sigma_w": "big"}}, "sigma_w must be a finite number > 0"),
        ({"grid": {**GRID, "sigma_b": float("nan")}}, "sigma_b must be a finite number >= 0"),
        ({"grid": {**GRID, "activation": "relo"}}, "activation must be one of relu"),
        ({"grid": {**GRID, "depth": []}}, "depth lists no value"),
        ({"grid": {"inputs": 2, "width": 3}}, "does not say depth"),
        ({"measures": []}, "lists its measures"),
        ({"measures": ["region"]}, "unknown measure 'region'"),
        ({"measures": ["no such module:f"]}, "unknown measure 'no such module:f'"),
        ({"repeats": 10**30}, "at most 1,000,000,000"),
        ({"grid": {**GRID, "sigma_w": 10**400}}, "sigma_w must be a finite number > 0"),
        ({"cells": []}, "exactly one of"),
        ({"repeats": 0}, "repeats must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"spread": {"cores": 2}}, "unknown entry of [spread] 'cores'"),
        ({"fixed": {"inputs": 3}}, "stands in [fixed] and in [grid]"),
        ({"speed": 1}, "unknown entry 'speed'"),
    ],
)
def test_bad_plans(change: dict[str, Any], says: str) -> None:
    """One clear error."""
    with pytest.raises(nf.InvalidInputError) as error:
        plan(**change)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cells": []}, "lists no cells"),
        ({"cells": [{"width": 2}, {"width": 2}]}, "cells 0 and 1 have the same settings"),
        ({"cells": [3]}, "cell 0 must be a table"),
        ({"draw": {"width": 3}}, "draw.cells must be a whole number"),
        ({"draw": {"cells": 3, "width": {"low": 3}}}, "low, high, log"),
        ({"draw": {"cells": 3, "width": {"low": 3, "high": 2}}}, "low < high"),
        ({"draw": {"cells": 3, "width": 2, "sigma_b": {"low": 0, "high": 1, "log": True}}}, "low must be > 0"),
        ({"draw": {"cells": 3, "width": 2, "path": {"low": 0, "high": 1}}}, "must be a list to choose from"),
    ],
)
def test_bad_lists_and_draws(change: dict[str, Any], says: str) -> None:
    """One clear error."""
    with pytest.raises(nf.InvalidInputError) as error:
        Plan.read({"measures": ["regions"], "fixed": {"inputs": 2, "depth": 1}, **change})
    assert says in str(error.value)


def test_files(tmp_path: Path) -> None:
    """TOML says what a dictionary says; an unreadable file is named."""
    file = tmp_path / "plan.toml"
    file.write_text('measures = ["regions"]\n[grid]\ninputs = 3\nwidth = [4, 6]\ndepth = [1, 2]\nsigma_w = [1, 2.0]\n')
    assert Plan.read(file) == plan()
    file.write_text("measures = [")
    with pytest.raises(nf.InvalidInputError, match=r"plan\.toml"):
        Plan.read(file)
    with pytest.raises(FileNotFoundError):
        Plan.read(tmp_path / "none.toml")
