"""``netfold sweep``: run, status, export, and one clear line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from netfold.cli import main

PLAN = """
measures = ["regions", "lengths"]
repeats = 2
[grid]
inputs = [1, 2]
width = 3
depth = 1
path = "circle"
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan file; its cells with one input fail."""
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path / "plan.toml"


def test_run_status_export(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The store lies beside the plan; status and export take either."""
    assert main(["sweep", "status", str(plan), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left"] == 4
    assert main(["sweep", str(plan), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "4 cells: 2 done, 2 failed, 0 left" in out
    assert "2 failed: InvalidInputError: a circle needs at least 2 inputs" in out
    store = plan.with_suffix(".sweep")
    for file in (plan, store):
        assert main(["sweep", "status", str(file), "--json"]) == 0
        numbers = json.loads(capsys.readouterr().out)
        assert (numbers["cells"], numbers["done"], numbers["failed"], numbers["left"]) == (4, 2, 2, 0)
        assert sum(numbers["failures"].values()) == 2
    csv = plan.with_name("t.csv")
    assert main(["sweep", "export", str(store), str(csv), "--layers"]) == 0
    assert pd.read_csv(csv)["layer"].tolist() == [0, 1, 2] * 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{folder}/none.toml"], "No such file"),
        (["{folder}/plan.toml", "--store", "{folder}/diary"], "is no store of a sweep"),
        (["{folder}/plan.toml", "--workers", "0"], "workers must be a whole number"),
        (["{folder}/plan.toml", "--scheduler", "tcp://x:1"], "set backend 'dask'"),
        (["status", "{folder}/diary"], "is no store of a sweep"),
        (["export", "{folder}/plan.toml", "{folder}/t.csv"], "No such file"),
    ],
)
def test_bad_input(plan: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    """Exit code 2 and one line on stderr; a foreign file stays as it was."""
    diary = plan.with_name("diary")
    diary.write_text("dear diary")
    assert main(["sweep", *(word.format(folder=plan.parent) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert diary.read_text() == "dear diary"
