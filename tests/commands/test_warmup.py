"""``netfold warmup``: everything is compiled, by processes that share the work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netfold.cli import main


def test_everything_is_compiled_ahead(capsys: pytest.CaptureFixture[str]) -> None:
    """What the verbs need is in the record of what is compiled, and so compiled before they run."""
    assert main(["warmup", "--workers", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["folder"]).is_dir()
    assert told["unforeseen"] == 0, "passes have changed: python benchmarks/compile.py --record"


def test_no_workers(capsys: pytest.CaptureFixture[str]) -> None:
    """One clear error."""
    assert main(["warmup", "--workers", "0"]) == 2
    assert "--workers must be at least 1, got 0" in capsys.readouterr().err
