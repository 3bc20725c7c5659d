"""``netfold count``: numbers, files that go on, and one clear line for bad input."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import netfold as nf
from netfold.cli import main
from tests.exact.cells.networks import COUNTS, IN_BOX, case, module


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models whose counts are known."""
    folder = tmp_path_factory.mktemp("own")
    free = ({0: torch.export.Dim.DYNAMIC},)
    for name in ("T2", "R2"):
        net = module(case(name))
        x = torch.zeros(2, net[0].linear.in_features, dtype=torch.float64)
        torch.export.save(torch.export.export(net, (x,), dynamic_shapes=free), folder / f"{name}.pt2")
    return folder


def test_numbers(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text for people, JSON for programs; R^m by default, or a box."""
    assert main(["count", str(own / "T2.pt2")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{COUNTS['T2']} regions in all of R^3 (exact)")
    assert "exact on the stored weights" in out
    assert main(["count", str(own / "T2.pt2"), "--box", "-10", "10", "--threads", "1", "--inradius", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["regions"] == IN_BOX["T2"]
    assert found["status"] == "exact"
    assert found["uncertain"] == 0
    assert found["decisions"] > found["resolved_exactly"]
    assert 0 < found["smallest_inradius"] < 10


def test_checkpoint(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file holds the count; a second run reads it; a file of another network is refused."""
    file = tmp_path / "count.json"
    arguments = ["count", str(own / "T2.pt2"), "--checkpoint", str(file), "--json"]
    for _ in range(2):
        assert main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["regions"] == COUNTS["T2"]
    kept = file.read_bytes()
    assert main(["count", str(own / "R2.pt2"), "--checkpoint", str(file)]) == 2
    assert "left as it is" in capsys.readouterr().err
    assert file.read_bytes() == kept


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--box", "1", "1"], "low < high"),
        (["--box", "1", "x"], "--box"),
        (["--box", "0", "1", "--domain", "p.vnnlib"], "either --box or --domain"),
        (["--domain", "none.vnnlib"], "no such domain file"),
        (["--proof", "/no/such/folder/count.nfp"], "does not exist"),
        (["--proof", "a.nfp", "--statement", "a.nfp"], "two files"),
        (["--threads", "0"], "threads must be"),
        (["--checkpoint", "/no/such/folder/count.json"], "does not exist"),
        (["--checkpoint", "."], "folder"),
        (["--weights", "w.safetensors"], "pt2"),
    ],
)
def test_bad_input(own: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str) -> None:
    """Exit code 2 and one line on stderr."""
    assert main(["count", str(own / "T2.pt2"), *more]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help explains and shows examples."""
    assert main(["count", "--help"]) == 0
    out = capsys.readouterr().out
    assert "netfold count model.pt2 --checkpoint count.json --threads 8" in out
    assert "--box" in out


def test_ctrl_c_leaves_a_file_and_says_how_to_go_on(own: Path, tmp_path: Path) -> None:
    """A real process, interrupted while it counts: exit code 130, and the command that it prints gives the number."""
    slow = (
        "import sys, time; from netfold.exact.cells.counting import queue; from netfold.exact.cells.description.engine import "
        "DoubleDescription as D; queue.LONG = queue.SHORT = 0.01; run = D.run\n"
        "def slowly(*a, **k):\n    time.sleep(0.05); print('counting', flush=True); return run(*a, **k)\n"
        "D.run = slowly; from netfold.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", slow, "count", str(own / "R2.pt2"), "--threads", "2"]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    while "counting" not in child.stdout.readline():
        assert child.poll() is None
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    error = child.communicate(timeout=60)[1]
    assert child.returncode == 130
    told = error.splitlines()[-1]
    assert told.startswith("netfold: interrupted, ")
    [file] = os.listdir(tmp_path)
    held = json.loads((tmp_path / file).read_text())["sums"]["regions"]
    assert f"{held:,} regions" in told
    words = shlex.split(told.partition("go on with: ")[2])
    assert words[:3] == ["netfold", "count", str(own / "R2.pt2")]
    assert words[words.index("--checkpoint") + 1] == file
    assert held < COUNTS["R2"]
    net = torch.export.load(own / "R2.pt2")
    assert int(nf.count_regions(net, checkpoint=tmp_path / file, threads=2)) == COUNTS["R2"]
