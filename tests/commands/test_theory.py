"""`netfold bounds`, `theory` and `diagnose` print the library's numbers, which are those of the oracles."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import netfold as nf
from netfold.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a factory of a ReLU network, its weights, an exported model and inputs."""
    (tmp_path / "shop_of_nets.py").write_text(
        "import netfold as nf\n"
        "from torch import nn\n"
        "def dense():\n"
        "    return nf.random_network(6, 20, 2, 3, sigma_b=0.5)\n"
        "def images():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))\n"
    )
    save_file(net().state_dict(), tmp_path / "weights.safetensors")
    free = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(net(), (torch.zeros(2, 6),), dynamic_shapes=free)
    torch.export.save(exported, tmp_path / "model.pt2")
    np.save(tmp_path / "inputs.npy", np.random.default_rng(0).normal(size=(40, 6)) * 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def net() -> torch.nn.Sequential:
    return nf.random_network(6, 20, 2, 3, sigma_w=1.7, sigma_b=0.5, seed=3)


def out(capsys: pytest.CaptureFixture[str], line: str) -> str:
    """What a command that succeeds prints."""
    code = main(line.split())
    written = capsys.readouterr()
    assert (code, written.err) == (0, "")
    return written.out


def data(capsys: pytest.CaptureFixture[str], line: str) -> Any:
    """What a command that succeeds prints as JSON."""
    return json.loads(out(capsys, f"{line} --json"))


def by_name(found: Any) -> dict[str, Any]:
    return {row["name"]: row for row in found["bounds"]}


def test_bounds_of_an_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    """Published numbers for 2 inputs and 10, 10, 10 units, each with what it bounds and counts."""
    text = out(capsys, "bounds 2 10 10 10")
    for name, value, counts, kind in (
        ("serra2018_upper", "175616", "activation regions", "upper bound"),
        ("serra2018_lower", "72576", "linear regions", "lower bound on the maximum over weights"),
        ("montufar2014", "35000", "linear regions", "lower bound on the maximum over weights"),
    ):
        line = next(line for line in text.splitlines() if line.startswith(name))
        assert line.split(maxsplit=1)[0] == name
        assert all(word in line for word in (value, counts, kind))
    found = by_name(data(capsys, "bounds 2 10 10 10"))
    assert found["montufar2014"]["value"] == 35000
    assert found["montufar2014"]["kind"] == "maximum"
    assert found["hanin_rolnick2019"]["kind"] == "expectation"
    assert found["hanin_rolnick2019"]["assumes"].startswith("random biases")


def test_bounds_of_other_units(capsys: pytest.CaptureFixture[str]) -> None:
    """Two hard-tanh layers of 4 in the plane: 33^2; rank-3 maxout has rows of its own."""
    assert by_name(data(capsys, "bounds 2 4 4 --activation hardtanh"))["raghu2017"]["value"] == 33**2
    assert "montufar2022_maxout_upper" in by_name(data(capsys, "bounds 2 8 8 --rank 3"))


def test_astronomical_bounds_stay_exact(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON holds every digit of 2^2000; beyond 4000 digits the logarithm alone, and text a power of ten."""
    found = by_name(data(capsys, "bounds 2000 1000 1000"))["hinz2019 (naive)"]
    assert found["value"] == 2**2000
    found = by_name(data(capsys, "bounds 20000 10000 10000"))["hinz2019 (naive)"]
    assert found["value"] is None
    assert found["log10"] == pytest.approx(20000 * math.log10(2))
    assert "e+6020" in out(capsys, "bounds 20000 10000 10000")


def test_bounds_of_a_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows are those of nf.bounds.of, for a file and for a factory, in the plane's dimension or on a line."""
    for line, dimension in (
        ("bounds model.pt2", None),
        ("bounds shop_of_nets:dense --weights weights.safetensors", None),
        ("bounds model.pt2 --dimension 1", 1),
    ):
        rows = by_name(data(capsys, line))
        for row in nf.bounds.of(net(), dimension=dimension).rows:
            assert rows[row.name].get("value") == (None if row.bound is None else int(row.bound))
    assert "regions on a line" in out(capsys, "bounds model.pt2 --dimension 1")
    images = data(capsys, "bounds shop_of_nets:images --shape 1 8 8")
    assert (images["inputs"], images["widths"]) == (64, [144])


def test_theory_of_a_gain(capsys: pytest.CaptureFixture[str]) -> None:
    """tanh at sigma_w = 2.5, sigma_b = 0.3: the published fixed point, to six digits."""
    line = "theory tanh --sigma-w 2.5 --sigma-b 0.3"
    found = data(capsys, line)
    assert found["phase"] == "chaotic"
    assert found["q"] == pytest.approx(4.079124, abs=6e-7)
    assert found["chi_1"] == pytest.approx(1.585225, abs=6e-7)
    assert found["growth"] == pytest.approx(1.585225**0.5, abs=6e-7)
    text = out(capsys, line)
    assert "chaotic" in text
    assert "4.07912" in text


@pytest.mark.parametrize(
    ("line", "gain"),
    [
        ("theory relu", math.sqrt(2)),
        ("theory erf", math.sqrt(math.pi) / 2),
        ("theory tanh --sigma-b 0.22360679775", 1.76095**0.5),
        ("theory hardtanh --sigma-b 0.31622776602", 1.26341**0.5),
    ],
)
def test_without_a_gain_the_critical_one_is_taken(line: str, gain: float, capsys: pytest.CaptureFixture[str]) -> None:
    """The gain a user should initialise with: the known one, at which the phase is critical."""
    found = data(capsys, line)
    assert found["critical_sigma_w"] == found["sigma_w"] == pytest.approx(gain, rel=3e-6)
    assert found["phase"] == "critical"


def test_theory_layer_by_layer(capsys: pytest.CaptureFixture[str]) -> None:
    """He ReLU layers of 10 units shrink a curve by 0.935637; hard-tanh circles grow by 1.571864 at sigma_w^2 = 8."""
    layers = data(capsys, "theory relu --depth 3 --width 10")["layers"]
    assert [row["circle_growth"] for row in layers] == pytest.approx([0.935637] * 3, abs=6e-7)
    assert layers[2]["circle_length"] == pytest.approx(0.935637**3, rel=3e-6)
    assert layers[0]["arc_transitions"] == pytest.approx(0.5)
    layers = data(capsys, f"theory hardtanh --sigma-w {8**0.5} --depth 3")["layers"]
    assert [row["circle_growth"] for row in layers] == pytest.approx([1.571864] * 3, abs=6e-7)
    assert "exact" in out(capsys, "theory relu --depth 3 --width 10")
    assert "limit of wide layers" in out(capsys, "theory tanh --depth 3 --width 10")
    smooth = data(capsys, "theory tanh --depth 2")["layers"]
    assert smooth[0]["arc_transitions"] is None


def test_diagnose_a_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers and sentences are those of nf.diagnose; data set the scale of the signal."""
    wanted = nf.diagnose(net())
    text = out(capsys, "diagnose model.pt2")
    assert repr(wanted).replace("Sequential", "the exported program") == text.rstrip("\n")
    found = data(capsys, "diagnose shop_of_nets:dense --weights weights.safetensors")
    assert found["phase"] == "chaotic" == str(wanted.phase)
    assert found["chi_1"] == pytest.approx(wanted.chi_1)
    assert found["rescale"] * found["sigma_w"] == pytest.approx(math.sqrt(2))
    assert [row["layer"] for row in found["layers"]] == ["linear1", "linear2", "readout"]
    assert found["verdict"] == list(wanted.verdict)
    scaled = data(capsys, "diagnose model.pt2 --data inputs.npy")["layers"][0]["q"]
    first = wanted.layers[0].weights
    square = float((np.load("inputs.npy") ** 2).mean())
    assert scaled == pytest.approx(square * first.sigma_w.value**2 + first.sigma_b.value**2)
