"""``netfold reproduce``: lists, refuses, measures, and does not measure twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netfold.cli import main
from netfold.reproduce import growth
from netfold.reproduce.growth import Family
from netfold.sweep import Sweep


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four small networks of each kind."""
    monkeypatch.setattr(growth, "family", lambda activation, quick: Family(activation, (4, 8), (2.0, 8.0), 3, 4, 1e6))


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Every experiment with its place in the paper; nothing is measured or written."""
    assert main(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["regions-plane", "depth-chain"]
    assert any(line.startswith("noise") and "Figure 6" in line and "(uses --data)" in line for line in lines)
    assert main(["reproduce", "3", "--list", "--json"]) == 0
    [only] = json.loads(capsys.readouterr().out)
    assert (only["name"], only["uses_data"]) == ("circle", False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figure-12"], "no figure 'figure-12'; known are regions-plane"),
        (["--quick", "--full"], "exclude each other"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--output", "no/such/page.html"], "no/such"),
        (["--workers", "0"], "--workers must be a whole number from 1"),
    ],
)
def test_bad_input(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, exit code 2, nothing written."""
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("tiny")
def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Page, pictures, tables and numbers; the second run finds them, with another seed it measures again."""
    page = tmp_path / "page.html"
    command = ["reproduce", "length-relu", "--workers", "1", "--output", str(page)]
    assert main([*command, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    counted = [sum(numbers[kind].values()) for kind in ("verdicts", "misreadings")]
    assert counted == [2, 2]
    assert len(numbers["experiments"][0]["findings"]) == 4
    folder = tmp_path / "page_files"
    assert json.loads((folder / "numbers.json").read_text(encoding="utf-8")) == numbers
    files = {path.name for path in (folder / "quick-seed0" / "length-relu").iterdir() if path.is_file()}
    assert files == {"length.png", "length.svg", "length.dark.svg", "growth.csv", "lengths.csv", "result.json"}
    text = page.read_text(encoding="utf-8")
    assert all(finding["verdict"] in text for finding in numbers["experiments"][0]["findings"])

    measured: list[object] = []

    def sweep(*arguments: object, **more: object) -> None:
        measured.append(arguments)
        raise ValueError("measured again")

    monkeypatch.setattr(growth, "sweep", sweep)
    assert main(command) == 0
    assert not measured
    assert "Growth of length" in capsys.readouterr().out
    assert main([*command, "--seed", "1"]) == 2
    assert len(measured) == 1
    assert (
        "1 of 1 experiments could not be measured: length-relu: ValueError: measured again" in capsys.readouterr().err
    )
    assert "Not measured" in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("tiny")
def test_numbers_do_not_depend_on_interruptions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while drawing: exit code 130; what was measured is found again, and all is as without it."""
    stopped, whole = (tmp_path / name / "page.html" for name in ("stopped", "whole"))
    for page in (stopped, whole):
        page.parent.mkdir()

    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as pressed:
        pressed.setattr("netfold.reproduce.results._draw", press)
        assert main(["reproduce", "length-relu", "--workers", "1", "--output", str(stopped)]) == 130
    assert "goes on from there" in capsys.readouterr().err
    [store] = stopped.parent.rglob("networks.sweep")
    before = [(row.settings, row.replicate, row.seconds) for row in Sweep.open(store).rows()]
    tables = []
    for page in (stopped, whole):
        assert main(["reproduce", "length-relu", "--workers", "1", "--output", str(page)]) == 0
        [table] = page.parent.rglob("lengths.csv")
        tables.append(table.read_text(encoding="utf-8"))
    assert tables[0] == tables[1]
    assert len(before) == 16
    assert [(row.settings, row.replicate, row.seconds) for row in Sweep.open(store).rows()] == before
