"""Damaged and hostile files of every format, and things that are no files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netfold as nf
from netfold.capture import archive
from netfold.capture.loading import load_data
from netfold.errors import CorruptFileError, InvalidInputError
from netfold.files import temporary_beside, write_atomically, write_dataset
from tests.mutations import READERS


def test_damaged_files_of_every_format(tmp_path: Path) -> None:
    """Each of 100 mutations, of files that claim to be large, of devices, pipes and sparse files gives one of
    netfold's errors or a sound result, in little memory and time, and leaves nothing behind.
    """
    command = [sys.executable, "-m", "tests.mutations", str(tmp_path), "100"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1])
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout)
    assert found["wrong"] == []
    assert all(found["happened"][f"{name}: error"] > 50 for name in READERS)


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed archive may grow to a fixed size or twenty times its own, and not beyond; nothing is unpacked."""
    monkeypatch.setattr(archive, "UNPACKED", 2**20)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((2**18, 1)))
    with pytest.raises(CorruptFileError, match=r"unpack to 2,097,280; save it uncompressed"):
        load_data(tmp_path / "bomb.npz")
    np.savez(tmp_path / "plain.npz", x=np.zeros((2**18, 1)))
    assert len(load_data(tmp_path / "plain.npz")) == 2**18


def test_a_sweep_runs_no_code_until_it_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions that a plan or a file of results names are imported by a run, and by nothing else."""
    monkeypatch.chdir(tmp_path)
    Path("spy.py").write_text("import os\nos.mkdir('imported')\ndef f(network, path, trace):\n    return 1\n")
    plan = {"measures": ["spy:f"], "grid": {"inputs": 2, "width": [3, 4], "depth": 1}}
    nf.Sweep(plan, "results.sweep").run(workers=1, progress=False)
    os.rmdir("imported")
    monkeypatch.delitem(sys.modules, "spy")
    sweep = nf.Sweep.open("results.sweep")
    assert sweep.status().done == 2
    sweep.export("table.csv")
    sweep.export("table.nc")
    assert len(sweep.to_dataframe()) == 2
    assert "spy" not in sys.modules
    assert not Path("imported").exists()
    with pytest.raises(InvalidInputError, match="cannot be imported"):
        nf.Sweep({**plan, "measures": ["no.such.module:f"]}, "other.sweep").run()
    assert not Path("other.sweep").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON cells BEGIN DELETE FROM runs; END",
        "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "CREATE TABLE more (x)",
        "ALTER TABLE cells ADD COLUMN x AS (length(zeroblob(1000000000)))",
    ],
)
def test_stores_with_other_tables_are_refused(statement: str, tmp_path: Path) -> None:
    """What could compute something when a store is read is not let in."""
    import sqlite3

    store = tmp_path / "results.sweep"
    nf.Sweep({"measures": ["regions"], "grid": {"inputs": 2, "width": 3, "depth": 1}}, store).run(workers=1)
    with sqlite3.connect(store) as database:
        database.execute(statement)
    with pytest.raises(CorruptFileError, match="has other tables"):
        nf.Sweep.open(store)


def test_devices_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    """Nothing is saved in place of what is no file, however it is named."""
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("zero", "a device"), ("pipe", "a pipe")):
        with (
            pytest.raises(InvalidInputError, match=f"it is {kind}"),
            write_atomically(tmp_path / name) as temporary,
        ):
            temporary.write_text("x")
    assert sorted(os.listdir(tmp_path)) == ["pipe", "zero"]
    assert (tmp_path / "zero").is_symlink()


def killed_while_saving(path: Path) -> None:
    """Save in a process that is killed before the end."""
    child = os.fork()
    if child == 0:
        with write_atomically(path) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_what_killed_saves_leave_goes_with_the_next(tmp_path: Path) -> None:
    """The next save removes the parts of dead processes, and those of living ones and of other files stay."""
    for name in ("a.txt", "a.txt", "b.txt"):
        killed_while_saving(tmp_path / name)
    assert len(os.listdir(tmp_path)) == 2  # the second save of a.txt removed what the first left
    living = temporary_beside(tmp_path / "a.txt")
    with write_atomically(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    left = set(os.listdir(tmp_path)) - {"a.txt", living.name}
    assert len(left) == 1
    assert left.pop().startswith(".b.txt.")


def test_names_are_escaped_in_every_page(tmp_path: Path) -> None:
    """Class and module names, labels and messages that look like HTML stay text."""
    import torch
    from torch import nn

    from netfold.plots.explore import render

    evil = "</script><script>alert(1)</script>"
    network = type(evil, (nn.Module,), {"forward": lambda self, x: self.inner[evil](x).relu()})()
    network.inner = nn.ModuleDict({evil: nn.Linear(2, 3)})
    assert isinstance(network(torch.zeros(1, 2)), torch.Tensor)
    part = nf.partition_plane(network, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1))
    trace = nf.trace_path(network, nf.Line([-1.0, -1.0], [1.0, 1.0]))
    pages = [render(part, (evil,) * 3), trace._repr_html_(), nf.Traces([trace])._repr_html_()]
    for page in pages:
        assert "alert(1)" not in page.replace("\\u003cscript>alert(1)", "").replace("&gt;alert(1)&lt;", "")
        assert "<script>alert" not in page
    with pytest.raises(InvalidInputError, match="from 1 to 1,024"):
        nf.count_regions(network, threads=10**30)


def test_a_partition_whose_polygons_name_nothing_is_refused(tmp_path: Path) -> None:
    """A file with a fitting checksum is still not trusted to name vertices and regions that it holds."""
    network = nf.random_network(inputs=2, width=4, depth=2, outputs=3, activation="relu", seed=0)
    part = nf.partition_plane(network, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-1, 1, -1, 1))
    part.save(tmp_path / "sound.nc")
    assert nf.Partition.load(tmp_path / "sound.nc").regions == part.regions
    for name in ("loop", "ancestor", "corners"):
        odd = part.to_xarray().copy(deep=True)
        odd[name].values.flat[0] = 10**9
        write_dataset(odd, tmp_path / "odd.nc")
        with pytest.raises(CorruptFileError, match="that it does not hold"):
            nf.Partition.load(tmp_path / "odd.nc")
