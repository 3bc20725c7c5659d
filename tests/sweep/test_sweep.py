"""Sweeps: the same rows however the work was done, and a file that nothing half-done ever reaches."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from joblib import register_parallel_backend
from joblib.parallel import ThreadingBackend
from scipy.special import gammaln

import netfold as nf
from netfold.sweep import Plan
from netfold.sweep.run import Todo, WorkSpread, run_plan
from netfold.sweep.store import Store

HERE = "tests.sweep.custom"
PLAN: dict[str, Any] = {
    "seed": 5,
    "repeats": 2,
    "measures": ["regions", "transitions", "lengths", "output_length", f"{HERE}:start_norm", f"{HERE}:widths"],
    "grid": {
        "inputs": [1, 3],
        "width": [4, 6],
        "depth": 2,
        "activation": "relu",
        "path": ["line", "circle"],
        "sigma_b": 0.3,
    },
}


def rows(sweep: nf.Sweep) -> list[tuple[Any, ...]]:
    """Everything a store holds of its cells but the time they took and the run they came in."""
    return [(r.key, r.settings, r.replicate, r.status, r.values, r.note, r.error) for r in sweep.rows()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> nf.Sweep:
    """The plan, measured in this process."""
    sweep = nf.Sweep(PLAN, tmp_path_factory.mktemp("alone") / "a.sweep")
    sweep.run(workers=1)
    return sweep


def test_two_processes_give_the_same_rows(alone: nf.Sweep, tmp_path: Path) -> None:
    """Row for row, with cells that fail."""
    spread = nf.Sweep(PLAN, tmp_path / "b.sweep")
    assert spread.run(workers=2) == alone.status()
    assert rows(spread) == rows(alone)
    assert spread.runs()[0]["workers"] == 2


def test_failing_cells_are_recorded(alone: nf.Sweep) -> None:
    """A circle in one dimension fails with its message; the other cells are there."""
    status = alone.status()
    assert (status.cells, status.done, status.failed, status.left) == (16, 12, 4, 0)
    assert str(status) == "16 cells: 12 done, 4 failed, 0 left"
    failures = alone.failures()
    assert set(failures["path"]) == {"circle"}
    assert set(failures["inputs"]) == {1}
    assert all("a circle needs at least 2 inputs" in message for message in failures["error"])


def test_cells_are_what_they_say(alone: nf.Sweep) -> None:
    """Lengths of circles and of lines by hand; the same numbers from the network drawn again from the cell's seed."""
    from netfold.sweep.cells import random_path

    table = alone.to_dataframe(layers=True).set_index("layer")
    circles = table.loc[0].query("path == 'circle'")
    np.testing.assert_allclose(circles["lengths"].astype(float), 2 * np.pi * 3**0.5, rtol=1e-12)
    np.testing.assert_allclose(table.loc[0].query("inputs == 1")["lengths"].astype(float), 2.0, rtol=1e-12)
    cell = next(c for c in alone.plan if c.settings["inputs"] == 3)
    network_seed, path_seed = cell.seeds(5)
    kept = {k: v for k, v in cell.settings.items() if k not in ("path", "input_scale")}
    network = nf.random_network(**kept, seed=network_seed)
    path = random_path(cell.settings, np.random.default_rng(path_seed))
    [stored] = [row for row in alone.rows() if row.key == cell.key]
    assert stored.values["regions"] == nf.trace_path(network, path).regions
    start = network(torch.tensor(path(0.0)[None], dtype=torch.float32)).detach().norm()
    assert stored.values[f"{HERE}:start_norm"] == pytest.approx(float(start), rel=1e-6)


def test_ends_are_uniform_on_the_sphere() -> None:
    """|x|^2 = input_scale^2 inputs, and the mean distance is that of independent uniform directions."""
    from netfold.sweep.cells import random_path

    m, generator = 4, np.random.default_rng(0)
    lines = [random_path({"inputs": m, "path": "line", "input_scale": 0.5}, generator) for _ in range(4000)]
    np.testing.assert_allclose([np.linalg.norm(p(t)) for p in lines for t in (0.0, 1.0)], 1.0, rtol=1e-12)
    chords = np.array([np.linalg.norm(p(1.0) - p(0.0)) for p in lines])
    # Mean chord of the unit sphere in R^m: 2^(m-1) Gamma(m/2)^2 / (sqrt(pi) Gamma(m - 1/2)).
    mean = np.exp((m - 1) * np.log(2) + 2 * gammaln(m / 2) - gammaln(m - 0.5)) / np.pi**0.5
    assert abs(chords.mean() - mean) < 4 * chords.std() / len(chords) ** 0.5


def test_more_values_compute_only_what_is_new(alone: nf.Sweep, tmp_path: Path) -> None:
    """Cells of the first run keep their row and run; the new ones are those of the wider plan alone."""
    grid = {**PLAN["grid"], "inputs": 3}
    small = nf.Sweep({**PLAN, "grid": {**grid, "width": 4}}, tmp_path / "s.sweep")
    small.run(workers=1)
    wide = nf.Sweep({**PLAN, "grid": {**grid, "width": [6, 4]}}, tmp_path / "s.sweep")
    assert (wide.status().done, wide.status().left) == (4, 4)
    wide.run(workers=1)
    assert {(row.settings["width"], row.run) for row in wide.rows()} == {(4, 1), (6, 2)}
    assert rows(wide) == [row for row in rows(alone) if row[1]["inputs"] == 3]
    assert nf.Sweep.open(tmp_path / "s.sweep").plan == wide.plan
    before = (tmp_path / "s.sweep").stat().st_size
    wide.run(workers=1)
    assert {row.run for row in wide.rows()} == {1, 2}
    assert (tmp_path / "s.sweep").stat().st_size == before


def test_failures_are_tried_again_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by itself; with retry once, and a repaired measure then gives the row it always would have."""
    plan = {"measures": [f"{HERE}:fails_on_five"], "grid": {"inputs": 2, "width": [4, 5], "depth": 1}}
    sweep = nf.Sweep(plan, tmp_path / "f.sweep")
    assert sweep.run(workers=1).failed == 1
    assert sweep.failures()["error"].tolist() == ["RuntimeError: five is right out"]
    sweep.run(workers=1)
    assert {row.run for row in sweep.rows()} == {1}
    assert sweep.run(workers=1, retry=True).failed == 1
    assert {(row.status, row.run) for row in sweep.rows()} == {("done", 1), ("failed", 3)}
    monkeypatch.setattr(sys.modules[HERE], "fails_on_five", lambda network, path, trace: 2)
    assert sweep.run(workers=1, retry=True).failed == 0
    assert sweep.to_dataframe()[f"{HERE}:fails_on_five"].tolist() == [1, 2]


def test_a_killed_worker_costs_one_cell(tmp_path: Path) -> None:
    """The cell whose process was killed is recorded as failed; all others are done."""
    grid = {"inputs": 2, "width": [4, 5, 6], "depth": 1}
    sweep = nf.Sweep({"measures": [f"{HERE}:kills_on_five"], "grid": grid}, tmp_path / "k.sweep")
    status = sweep.run(workers=2)
    assert (status.done, status.failed, status.left) == (2, 1, 0)
    failures = sweep.failures()
    assert failures["width"].tolist() == [5]
    assert all(message.startswith("TerminatedWorkerError") for message in failures["error"])


def test_a_measure_must_return_numbers(tmp_path: Path) -> None:
    """Anything else is the cell's failure."""
    plan = {"measures": [f"{HERE}:words"], "grid": {"inputs": 2, "width": 4, "depth": 1}}
    sweep = nf.Sweep(plan, tmp_path / "w.sweep")
    assert sweep.run(workers=1).failed == 1
    assert "must return a number or a row of numbers" in sweep.failures()["error"][0]


def test_a_large_plan_is_looked_up_as_it_goes(tmp_path: Path) -> None:
    """The first batches of a million cells come after looking up a few hundred of them."""
    grid = {"inputs": 2, "width": list(range(1, 1001)), "depth": list(range(1, 1001))}
    plan = Plan.read({"measures": ["regions"], "grid": grid})
    with Store.create(tmp_path / "m.sweep", plan) as store:
        looked_up: list[int] = []
        look = store.statuses
        store.statuses = lambda keys: looked_up.append(len(keys)) or look(keys)
        from tqdm import tqdm

        batches = Todo(plan, store, 1, False, tqdm(disable=True), lambda _: []).batches()
        first = [next(batches) for _ in range(10)]
    assert [number for number, _ in first] == list(range(10))
    assert plan.size == 1_000_000
    assert sum(looked_up) <= 512


def measure_in_a_process(plan: Path, store: Path) -> None:
    """What a killed process was doing."""
    nf.Sweep(plan, store).run(workers=1)


def test_killed_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL at random places, then resumed: row for row what an uninterrupted run gives."""
    text = 'measures = ["regions", "lengths"]\nrepeats = 100\n[grid]\ninputs = 2\nwidth = [3, 5]\ndepth = [0, 1]\n'
    (tmp_path / "plan.toml").write_text(text)
    store = tmp_path / "killed.sweep"
    monkeypatch.setenv("NETFOLD_TEST_WARM", "1")
    # Forked from one fresh process that has imported netfold, so that each of them starts at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.sweep.custom"])
    steps = np.random.default_rng(3).integers(1, 20, 5).tolist()
    for step in steps:
        until = stored(store) + step
        process = context.Process(target=measure_in_a_process, args=(tmp_path / "plan.toml", store))
        process.start()
        while process.is_alive() and stored(store) < until:
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    resumed = nf.Sweep(tmp_path / "plan.toml", store)
    assert 0 < resumed.status().done < 400
    assert resumed.run(workers=1).done == 400
    assert len(resumed.runs()) == len(steps) + 1
    whole = nf.Sweep(tmp_path / "plan.toml", tmp_path / "whole.sweep")
    whole.run(workers=1)
    assert rows(resumed) == rows(whole)


def stored(store: Path) -> int:
    """How many cells another process has stored."""
    if not store.exists():
        return 0
    database = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        return database.execute("SELECT count(*) FROM cells").fetchone()[0]
    finally:
        database.close()


def test_torch_threads_are_as_before(tmp_path: Path) -> None:
    """A run in this process works with one thread and gives the others back."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        nf.Sweep({"measures": ["regions"], "grid": {"inputs": 2, "width": 2, "depth": 1}}, tmp_path / "t.sweep").run(
            workers=1
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"workers": 0}, "workers must be"),
        ({"scheduler": "tcp://x:1"}, "set backend 'dask'"),
        ({"backend": ""}, "joblib"),
    ],
)
def test_bad_spread(change: dict[str, Any], says: str) -> None:
    """One clear error."""
    with pytest.raises(nf.InvalidInputError, match=says):
        WorkSpread(**change)


def test_a_backend_that_hands_over_only_together(tmp_path: Path) -> None:
    """Ray's is one: a few batches a worker at a time, with the same rows; what a backend needs is named."""

    class Together(ThreadingBackend):
        supports_return_generator = False  # pyright: ignore[reportAssignmentType]

    register_parallel_backend("together", Together)
    one, other = nf.Sweep(PLAN, tmp_path / "one.sweep"), nf.Sweep(PLAN, tmp_path / "other.sweep")
    one.run(workers=1)
    other.run(workers=2, backend="together")
    assert rows(one) == rows(other)


def test_a_backend_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error that says what to install."""
    monkeypatch.setitem(sys.modules, "ray.util.joblib", None)
    sweep = nf.Sweep(PLAN, tmp_path / "t.sweep")
    with pytest.raises(nf.InvalidInputError, match="pip install ray"):
        sweep.run(workers=2, backend="ray")
    with pytest.raises(nf.InvalidInputError, match="joblib has no backend 'nonsense'"):
        sweep.run(workers=2, backend="nonsense")


def test_ctrl_c_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored before the interruption stays, and the next run adds the rest."""
    plan = {"measures": [f"{HERE}:widths"], "repeats": 4, "grid": {"inputs": 2, "width": 3, "depth": 1}}
    sweep, calls = nf.Sweep(plan, tmp_path / "c.sweep"), []

    def pressed(network: Any, path: Any, trace: Any) -> list[int]:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return [3]

    monkeypatch.setattr(sys.modules[HERE], "widths", pressed)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(workers=1)
    assert 0 < sweep.status().done < 4
    assert sweep.run(workers=1).done == 4


def test_a_run_is_noted_with_versions_and_machine(alone: nf.Sweep) -> None:
    """The plan, versions and machine are in the file."""
    [run] = alone.runs()
    assert run["plan"] == alone.plan.to_dict()
    assert run["torch"] == torch.__version__
    assert {"netfold", "numpy", "python", "machine", "started"} <= set(run)
    with Store(alone.store) as store:
        run_plan(alone.plan, store, WorkSpread(1))
    assert len(alone.runs()) == 2
