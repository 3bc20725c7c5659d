"""`benchmarks/records.py`: a small row of each kind, going on where it was stopped, and its tables."""

from __future__ import annotations

import importlib.util
import struct
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import netfold as nf
from netfold.exact.cells.counting.checkpoint import Checkpoint
from netfold.exact.cells.counting.queue import Work
from netfold.measures.cell_counts import CellJob
from netfold.measures.counts import program_on

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "records.py"


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with few cases of each group."""
    told = importlib.util.spec_from_file_location("records", SCRIPT)
    assert told is not None
    assert told.loader is not None
    module = importlib.util.module_from_spec(told)
    monkeypatch.setitem(sys.modules, "records", module)
    told.loader.exec_module(module)
    full = module.GROUPS["relucent"]
    monkeypatch.setitem(module.GROUPS, "relucent", lambda data: list(full(data))[:6])
    small = module.Case("billion 2-6", lambda: (nf.random_network(2, 6, 1, sigma_b=1.0, seed=0), None))
    monkeypatch.setitem(module.GROUPS, "billion", lambda data: [small])
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two small networks in the place of ACAS-Xu's, and the boxes of four properties."""
    rng, folder = np.random.default_rng(0), tmp_path / "data" / "acasxu"
    folder.mkdir(parents=True)
    for name, width in (("1_1", 3), ("1_2", 4)):
        sizes = {"w": (2, width), "b": (width,), "v": (width, 2)}
        tensors = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), k) for k, s in sizes.items()]
        nodes = [
            helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
            helper.make_node("Relu", ["z"], ["h"]),
            helper.make_node("MatMul", ["h", "v"], ["y"]),
        ]
        ends = [helper.make_tensor_value_info(k, TensorProto.FLOAT, (1, 2)) for k in "xy"]
        graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(made, folder / f"ACASXU_run2a_{name}_batch_2000.onnx")
    for prop in range(1, 5):
        limits = "".join(f"(assert (>= X_{j} -{prop}.0))(assert (<= X_{j} {prop}.0))\n" for j in range(2))
        declared = "".join(f"(declare-const {v} Real)\n" for v in ("X_0", "X_1", "Y_0", "Y_1"))
        (folder / f"prop_{prop}.vnnlib").write_text(declared + limits)
    return tmp_path / "data"


def called(records: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: Any) -> dict[str, Any]:
    """Run the command; gives the rows that it keeps."""
    monkeypatch.setattr(sys, "argv", ["records.py", str(folder), *map(str, arguments)])
    records.main()
    return records.Store(folder).rows()


def test_a_row_of_each_kind(records: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Known numbers, proofs that are accepted, and a table of all; a second call counts nothing again."""
    options = ("--data", data, "--groups", "relucent", "acasxu", "proofs", "billion", "--proofs", 2)
    rows = called(records, monkeypatch, tmp_path / "kept", *options)
    kinds = [name.split()[0] for name in rows]
    assert [kinds.count(kind) for kind in ("relucent", "acasxu", "proofs", "billion")] == [6, 8, 2, 1]
    assert all(row["exact"] for row in rows.values())
    assert {rows[f"relucent 2 4 1 {seed}"]["regions"] for seed in range(5)} == {1 + 4 + 6}  # general position
    assert rows["billion 2-6"]["regions"] == 1 + 6 + 15
    fewest = sorted(row["regions"] for name, row in rows.items() if name.startswith("acasxu"))[:2]
    assert sorted(row["regions"] for name, row in rows.items() if name.startswith("proofs")) == fewest
    table = (tmp_path / "kept" / "records.md").read_text()
    assert "| 4 | 1 | 11 to 11 | " in table
    assert "6 of 240 counted exactly" in table
    assert "8 of 180 counted exactly" in table
    assert "accepted: exactly" in table
    assert called(records, monkeypatch, tmp_path / "kept", *options) == rows
    monkeypatch.setattr(records, "run", None)
    assert called(records, monkeypatch, tmp_path / "kept", "--table") == rows


def test_a_count_goes_on(records: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What its seconds did not suffice for is a lower bound, and is taken up from its checkpoint with more of them."""
    (case,), folder, real, given = records.GROUPS["billion"](None), tmp_path / "kept", nf.count_regions, []

    def stopped(net: Any, domain: Any = None, **options: Any) -> nf.CountResult:
        if "seconds" not in options:
            return real(net, domain, **options)
        given.append(options["seconds"])
        if len(given) > 1:
            return real(net, domain, **options)
        Checkpoint(options["checkpoint"], CellJob(program_on(net, domain), domain).fingerprint).save(Work())
        return replace(real(net, domain), regions=3, part="stopped")

    monkeypatch.setattr(nf, "count_regions", stopped)
    options = ("--groups", "billion", "--seconds")
    first = called(records, monkeypatch, folder, *options, 1e-3)
    assert (first[case.name]["regions"], first[case.name]["exact"]) == (3, False)
    assert "| 2-6 | ≥ 3 (" in (folder / "records.md").read_text()
    assert called(records, monkeypatch, folder, *options, 1e-3) == first  # its seconds are spent
    rows = called(records, monkeypatch, folder, *options, 1e6)
    assert (rows[case.name]["regions"], rows[case.name]["exact"]) == (22, True)
    assert given == [1e-3, 1e6 - first[case.name]["seconds"]]
    assert rows[case.name]["seconds"] > first[case.name]["seconds"]
    assert not list(folder.glob("*.json"))


def test_the_minutes_end_it(records: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No case begins when they are over."""
    assert called(records, monkeypatch, tmp_path, "--groups", "relucent", "--minutes", 0) == {}


def test_networks_of_22_units(records: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ten networks on images of 784 pixels in [0, 1]; a folder that is not there is named."""
    (data / "mnist").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("images-idx3", (20, 28, 28)), ("labels-idx1", (20,))):
        head = struct.pack(f">{1 + len(shape)}i", 2048 + len(shape), *shape)
        values = rng.integers(0, 10, shape, np.uint8)
        (data / "mnist" / f"t10k-{name}-ubyte").write_bytes(head + values.tobytes())
    monkeypatch.setattr(
        records, "trained", lambda net, x, y, *_: net.train(bool(x.shape == (16, 784) and y.max() < 10))
    )
    cases = list(records.serra(data))
    assert len({case.name for case in cases}) == 10
    net, box = cases[0].make()
    assert net.training
    assert [layer.in_features for layer in net[::2]] == [784, 2, 20]
    assert [limit.tolist() for limit in (box.low, box.high)] == [0.0, 1.0]
    with pytest.raises(SystemExit, match="mnist"):
        list(records.serra(tmp_path / "nowhere"))
