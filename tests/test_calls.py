"""A share of the stress command's bad calls and bad command lines, with a fixed seed, and broken pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

import netfold as nf
from tests.stress import calls, commands
from tests.stress.processes import drawn


def test_bad_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad argument ends in a result or in an error of netfold's family, and leaves the model as it was."""
    monkeypatch.chdir(tmp_path)
    Path("a file.txt").touch()
    known = calls.targets(few=True)
    for name, argument, bad in drawn([[*case] for case in calls.cases(known)], 8, "suite"):
        how, told = calls.attempt(known[name], argument, bad)
        assert how in ("result", "refused", "unnamed"), (name, argument, bad, told)


def test_bad_command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad word ends with 2 and one line; the good words work."""
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.chdir(files)
    commands.prepare()
    cheap = [
        case for case in commands.cases() if case[0] in ("trace", "count", "bounds", "theory", "diagnose", "sweep")
    ]
    good = [
        case
        for case in cheap
        if case in ([verb, *(w for one in rest for w in one)] for verb, rest in commands.GOOD.items())
    ]
    for words in [*good, *drawn(cheap, 8, "suite")]:
        how, told = commands.attempt(words, str(files))
        assert how == "result" if words in good else how in ("result", "refused"), (words, told)


@pytest.mark.parametrize("reader", ["closed", "full"])
def test_nobody_reads(reader: str) -> None:
    """Who stops reading is left in peace; a disk that is full is told in one line."""
    command = [sys.executable, "-m", "netfold.cli", "bounds", "2", "8", "8"]
    if reader == "full":
        if not Path("/dev/full").exists():
            pytest.skip("there is no /dev/full")
        with open("/dev/full", "w") as full:
            ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert ended.returncode == 2
        assert ended.stderr == "netfold: [Errno 28] No space left on device\n"
        return
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_load_model_is_public(tmp_path: Path) -> None:
    """`nf.load_model` gives what the command line measures."""
    model = commands.make()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    loaded = nf.load_model("tests.stress.commands:make", tmp_path / "weights.safetensors")
    line = nf.Line(np.zeros(3), np.ones(3))
    assert nf.trace_path(loaded, line).regions == nf.trace_path(model, line).regions
