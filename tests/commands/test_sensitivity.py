"""``netfold sensitivity`` and ``netfold history`` on models in files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import netfold as nf
from netfold.cli import main


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, labelled data, and checkpoints of a factory."""
    folder = tmp_path_factory.mktemp("own")
    net = nf.random_network(inputs=6, width=9, depth=2, outputs=3, seed=1)
    exported = torch.export.export(net, (torch.zeros(2, 6),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(exported, folder / "model.pt2")
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=net(torch.from_numpy(x)).argmax(1).numpy())
    (folder / "shop_nets.py").write_text(
        "import netfold as nf\ndef make():\n    return nf.random_network(6, 9, 2, 3, seed=0)\n"
    )
    steps = folder / "steps"
    (steps / "checkpoint-20").mkdir(parents=True)
    for name, seed in (("step-100", 3), ("step-5", 2), ("checkpoint-20/model", 4)):
        save_file(nf.random_network(6, 9, 2, 3, seed=seed).state_dict(), steps / f"{name}.safetensors")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = main([str(argument) for argument in arguments])
    written = capsys.readouterr()
    return code, written.out, written.err


def test_sensitivity_gives_the_numbers_of_the_library(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sensitivity", own / "model.pt2", "--data", own / "data.npz", "--strength", 0.5, 1.0, "--repeats", 3]
    code, out, _ = run(capsys, *arguments, "--json", "--save", own / "s.nc", "--plot", own / "s.png")
    assert code == 0
    told = json.loads(out)
    data = np.load(own / "data.npz")
    net = nf.random_network(inputs=6, width=9, depth=2, outputs=3, seed=1)
    found = nf.layer_sensitivity(net, (data["x"], data["y"]), strengths=[0.5, 1.0], repeats=3)
    assert [row["mean"] for row in told["layers"]] == pytest.approx(found.mean.ravel().tolist())
    assert told["ranking"] == found.ranking()
    assert told["clean"] == 1.0
    assert nf.Sensitivity.load(own / "s.nc").values.tolist() == found.values.tolist()
    assert (own / "s.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("quantise", "bits of uniform"), ("prune", "pruned"), ("zero", "set to zero"), ("absolute-noise", "over 1")],
)
def test_every_perturbation_has_a_name(own: Path, capsys: pytest.CaptureFixture[str], kind: str, words: str) -> None:
    code, out, _ = run(
        capsys, "sensitivity", own / "model.pt2", "--data", own / "data.npz", "--perturbation", kind, "--repeats", 2
    )
    assert code == 0
    assert words in out
    assert "readout" in out


def test_history_follows_checkpoints_in_order(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the number in the name, not by the alphabet; the numbers are those of the networks themselves."""
    monkeypatch.chdir(own)
    code, out, _ = run(
        capsys, "history", "shop_nets:make", own / "steps", "--data", own / "data.npz", "--pairs", 2, "--sensitivity",
        "--json", "--save", own / "h.nc", "--plot", own / "h.png",
    )  # fmt: skip
    assert code == 0
    steps = json.loads(out)["steps"]
    assert [record["step"] for record in steps] == [5, 20, 100]
    x = np.load(own / "data.npz")["x"]
    rng = np.random.default_rng(0)
    lines = [nf.Line(*x[rng.choice(40, 2, replace=False)]) for _ in range(2)]
    for record, seed in zip(steps, (2, 4, 3), strict=True):
        traces = nf.trace_paths(nf.random_network(6, 9, 2, 3, seed=seed), lines)
        assert record["regions"] == pytest.approx(np.mean([trace.regions for trace in traces]))
        assert "sensitivity/readout → output" in record
    assert nf.monitors.History.load(own / "h.nc").steps == [5, 20, 100]
    assert (own / "h.png").exists()


def test_bad_input_is_one_line(own: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    base = ["sensitivity", own / "model.pt2", "--data", own / "data.npz"]
    cases = [
        ([*base, "--perturbation", "zero", "--strength", 1], "no strength"),
        ([*base, "--perturbation", "rerandomise"], "give sigma_w"),
        ([*base, "--layers", "nine"], "nine"),
        ([*base, "--plot", own / "s.txt"], ".png"),
        (["history", "shop_nets:make", tmp_path / "none", "--data", own / "data.npz"], "no folder"),
        (["history", "shop_nets:make", tmp_path, "--data", own / "data.npz"], "no step in its name"),
    ]
    for arguments, words in cases:
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert words in err
        assert err.count("\n") == 1


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, words in (("sensitivity", "--data test.npz --strength 0.1 0.5 1"), ("history", "checkpoints")):
        code, out, _ = run(capsys, verb, "--help")
        assert code == 0
        assert words in out


def test_a_plan_of_bits_is_that_of_the_library(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bits, printed as JSON and in the file."""
    arguments = ["bit-plan", own / "model.pt2", "--data", own / "data.npz", "--mean-bits", 4, "--bits", 2, 4, 6]
    code, out, _ = run(capsys, *arguments, "--json", "-o", own / "plan.json")
    assert code == 0
    data = np.load(own / "data.npz")
    net = nf.random_network(inputs=6, width=9, depth=2, outputs=3, seed=1)
    plan = nf.bit_plan(net, (data["x"], data["y"]), 4, bits=(2, 4, 6))
    assert json.loads(out)["bits"] == json.loads((own / "plan.json").read_text())["bits"] == plan.bits
    code, _, err = run(capsys, "bit-plan", own / "model.pt2", "--data", own / "data.npz")
    assert code == 2
    assert "give one limit" in err
