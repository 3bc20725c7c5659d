"""``netfold warmup``: everything is compiled, in processes of their own."""

from __future__ import annotations

import json

import pytest

from netfold.cli import main
from netfold.commands.warmup import VERBS


def test_every_verb_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The answer names the folder, and the seconds of every verb."""
    assert main(["warmup", "--workers", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["verbs"]) == set(VERBS)
    assert told["folder"]


def test_no_workers(capsys: pytest.CaptureFixture[str]) -> None:
    """One clear error."""
    assert main(["warmup", "--workers", "0"]) == 2
    assert "--workers must be at least 1, got 0" in capsys.readouterr().err
