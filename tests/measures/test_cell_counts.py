"""Counts of R^m, boxes and polytopes through the front door: the same number whoever counts and however often killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.errors import CorruptFileError, InvalidInputError, NotPiecewiseLinearError
from netfold.exact.cells.counting import checkpoint, queue
from netfold.measures import cell_counts
from tests.exact.cells.networks import COUNTS, IN_BOX, case, module, random_layers
from tests.exact.cells.reference import box, patterns


def relu(name: str) -> nn.Sequential:
    return module(case(name))


def test_threads_and_budgets_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is the same on one thread and on several, with large budgets and with small."""
    net = relu("M1")
    found = []
    for threads, smallest, largest in ((1, 1 << 20, 1 << 22), (2, 256, 1 << 22), (3, 17, 17), (1, 300, 5000)):
        monkeypatch.setattr(queue, "SMALLEST", smallest)
        monkeypatch.setattr(queue, "LARGEST", largest)
        found.append(nf.count_regions(net, threads=threads, inradius=True))
    assert int(found[0]) == COUNTS["M1"]
    assert all(count == found[0] for count in found)


def test_box_and_polytope() -> None:
    """A box counts what the same box given by half-spaces counts; the result says what was counted and how."""
    net = relu("M3")
    count = nf.count_regions(net, nf.Box(-10.0, 10.0))
    assert int(count) == IN_BOX["M3"]
    assert count.domain == "box [-10, 10]^3"
    assert count.status == "exact"
    assert "exact on the stored weights" in count.counting_rule
    assert count.decisions is not None
    assert count.decisions > IN_BOX["M3"]
    assert count.margin is None
    sides = nf.Polytope(np.vstack([np.eye(3), -np.eye(3)]), np.full(6, 10.0))
    assert int(nf.count_regions(net, sides)) == IN_BOX["M3"]


def test_captured_programs_and_shapes() -> None:
    """Images: the shape is told by the caller, by the box, or by the program."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d((1, 2)), nn.Flatten(), nn.Linear(2, 1)).eval()
    box = nf.Box(np.full((1, 2, 3), -1.0), 1.0)
    counts = {
        int(nf.count_regions(net, box)),
        int(nf.count_regions(net, nf.Box(-1.0, 1.0), shape=(1, 2, 3))),
        int(nf.count_regions(nf.capture(net, shape=(1, 2, 3)), nf.Box(-1.0, 1.0))),
    }
    assert len(counts) == 1
    with pytest.raises(InvalidInputError, match="shape="):
        nf.count_regions(net)


def test_smallest_inradius() -> None:
    """It is that of the thinnest region, and there is none where no region is bounded by anything."""
    layers = random_layers(np.random.default_rng(5), 2, [5, 4])
    count = nf.count_regions(module(layers), nf.Box(-3.0, 3.0), inradius=True)
    radii = [region.radius for region in nf.enumerate_regions(module(layers), nf.Box(-3.0, 3.0))]
    assert count.smallest_inradius == pytest.approx(min(radii), rel=1e-8)
    assert nf.count_regions(nn.Linear(2, 1), inradius=True).smallest_inradius == np.inf
    later = nf.count_regions(module(layers), nf.Box(-3.0, 3.0))
    assert later.smallest_inradius == count.smallest_inradius
    line = nf.count_regions(nn.Linear(2, 1), nf.Line([0.0, 0.0], [1.0, 1.0]))
    assert (line.smallest_inradius, line.decisions) == (None, None)


def test_no_units() -> None:
    """An affine network has one region, in all of the space and in a box."""
    assert int(nf.count_regions(nn.Linear(3, 2))) == 1
    assert int(nf.count_regions(nn.Linear(3, 2), nf.Box(0.0, 1.0))) == 1


def _count(path: Path, far: int) -> None:
    """The child: counts with a checkpoint, written often, and takes no more work once that holds so many regions."""

    def take(work: queue.Work, hands: int) -> tuple[int, Any, int] | None:
        while _regions(path) >= far:
            time.sleep(1.0)
        return TAKE(work, hands)

    checkpoint.EVERY, queue.LONG, queue.SHORT = 0.01, 0.02, 0.005
    queue.Work.take = take  # type: ignore[method-assign]
    nf.count_regions(PROGRAM, threads=2, checkpoint=path)


PROGRAM = nf.capture(relu("R4"), shape=(5,))


def test_killed_and_resumed(tmp_path: Path) -> None:
    """Processes that count are killed with SIGKILL, four of them, each in the middle; the fifth gives the number."""
    path, seen = tmp_path / "count.json", [0]
    fork: Any = multiprocessing.get_context("fork")
    while len(seen) < 5:
        far = seen[-1] + 40_000
        child = fork.Process(target=_count, args=(path, far))
        child.start()
        while child.is_alive() and _regions(path) < far:
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        seen.append(_regions(path))
    assert 0 < seen[1] < seen[-1] < COUNTS["R4"]
    count = nf.count_regions(PROGRAM, threads=2, checkpoint=path)
    assert int(count) == COUNTS["R4"]
    assert nf.count_regions(PROGRAM, checkpoint=path) == count
    assert os.listdir(tmp_path) == ["count.json"]


def _regions(path: Path) -> int:
    """What a checkpoint holds, read as anybody could."""
    import json

    return json.loads(path.read_text())["sums"]["regions"] if path.exists() else 0


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C tells how far it came; what was counted goes on from the file asked for, or from one saved afterwards."""
    expected = nf.count_regions(relu("M2"))
    monkeypatch.setattr(queue, "SMALLEST", 64)
    monkeypatch.setattr(queue, "LARGEST", 64)
    for given in (tmp_path / "given.json", None):
        with monkeypatch.context() as patch:
            patch.setattr(queue.Work, "take", _take_few)
            patch.setattr(cell_counts.Bar, "show", _press)
            with pytest.raises(nf.CountInterrupted) as stopped:
                nf.count_regions(relu("M2"), checkpoint=given)
        assert 0 < stopped.value.regions < int(expected)
        file = given or tmp_path / "saved.json"
        if given is None:
            stopped.value.save(file)
        assert nf.count_regions(relu("M2"), checkpoint=file) == expected


FEW = 20
TAKE = queue.Work.take


def _take_few(work: queue.Work, hands: int) -> tuple[int, Any, int] | None:
    """Hand out a few items and no more, so that the key is pressed before the end however busy the machine is."""
    return TAKE(work, hands) if work.taken < FEW else None


def _press(bar: Any, work: queue.Work) -> None:
    if work.taken == FEW:
        raise KeyboardInterrupt


def test_checkpoint_of_something_else(tmp_path: Path) -> None:
    """A file of another network, domain or rule, or of no count at all, is refused and stays as it is."""
    path = tmp_path / "count.json"
    nf.count_regions(relu("T1"), checkpoint=path)
    kept = path.read_bytes()
    others: list[tuple[nn.Module, dict[str, Any], str]] = [
        (module([*case("T1")[:-1], random_layers(np.random.default_rng(0), 4, [3])[0]]), {}, "another network"),
        (relu("T1"), {"domain": nf.Box(-1.0, 1.0)}, "another domain"),
        (relu("T1"), {"inradius": True}, "another counting rule"),
    ]
    for net, options, says in others:
        with pytest.raises(InvalidInputError, match=says):
            nf.count_regions(net, checkpoint=path, **options)
        assert path.read_bytes() == kept
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("\\documentclass{article}")
    with pytest.raises(CorruptFileError, match="left as it is"):
        nf.count_regions(relu("T1"), checkpoint=thesis)
    assert thesis.read_text() == "\\documentclass{article}"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threads": 0}, "threads must be"),
        ({"threads": 1.5}, "threads must be"),
        ({"checkpoint": 7}, "the name of a file"),
        ({"checkpoint": "/no/such/folder/count.json"}, "does not exist"),
        ({"bounds": (0, 1, 0, 1)}, "nf.Box"),
        ({"domain": nf.Box([0.0, 0.0], 1.0)}, "shape"),
        ({"domain": nf.Polytope([[1.0, 1.0]], [1.0])}, "takes points of shape"),
        ({"domain": "box"}, "got str"),
        ({"domain": [0, 1]}, "got list"),
        ({"domain": nf.Line([0.0] * 3, [1.0] * 3), "threads": 2}, "threads: only for"),
        ({"client": "tcp://somewhere"}, "got str"),
    ],
)
def test_bad_arguments(options: dict[str, Any], says: str) -> None:
    """One clear error each."""
    with pytest.raises(InvalidInputError, match=says):
        nf.count_regions(relu("M3"), **options)


def test_smooth_networks_are_refused() -> None:
    """The operation at fault is named."""
    with pytest.raises(NotPiecewiseLinearError, match="tanh"):
        nf.count_regions(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).eval())


def test_the_model_is_left_alone() -> None:
    """Parameters, gradients, mode and the random state are as before."""
    net = relu("T2")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    nf.count_regions(net)
    next(iter(nf.enumerate_regions(net)))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not net.training


@pytest.mark.parametrize("seed", range(3))
def test_every_kind_of_unit(seed: int) -> None:
    """Random kinds of layers, in a box: the patterns are those of linear programs on every state of every unit."""
    layers = random_layers(np.random.default_rng(seed), 2, [3, 3])
    found = {tuple(r.states.tolist()) for r in nf.enumerate_regions(module(layers), nf.Box(-2.0, 2.0))}
    assert found == patterns(layers, box([-2.0, -2.0], [2.0, 2.0]))
    assert int(nf.count_regions(module(layers), nf.Box(-2.0, 2.0))) == len(found)
