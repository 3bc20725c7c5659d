"""Who reads a log, not a terminal, is told too."""

import pytest

from netfold import progress


def work(shown: bool | None = None) -> None:
    with progress.progress_bar(4, "counting", "cell", shown) as bar:
        for _ in range(4):
            bar.update()


def test_bars_become_lines_in_a_log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a command asks for them, and not otherwise: no carriage returns, the last line at the end."""
    monkeypatch.setattr(progress, "EVERY", 0.0)
    work()
    assert capsys.readouterr().err == ""
    with progress.lines_in_log():
        work()
        lines = capsys.readouterr().err.splitlines()
        work(shown=False)
        with progress.no_bars():
            work()
    assert lines
    assert all(line.startswith("counting: ") for line in lines)
    assert "4/4" in lines[-1]
    assert capsys.readouterr().err == ""
