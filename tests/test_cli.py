"""The command line: teaches in --help, answers in JSON, fails with one line."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import netfold as nf
from netfold.cli import main
from netfold.results.trace import Trace
from netfold.training import loop


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's own model, its weights before training, and inputs."""
    folder = tmp_path_factory.mktemp("own")
    for name, seed in (("model", 1), ("before", 2), ("deeper", 3)):
        net = nf.random_network(inputs=6, width=9, depth=2 + (name == "deeper"), outputs=3, seed=seed)
        free = ({0: torch.export.Dim.DYNAMIC},)
        exported = torch.export.export(net, (torch.zeros(2, 6),), dynamic_shapes=free)
        torch.export.save(exported, folder / f"{name}.pt2")
    np.save(folder / "inputs.npy", np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32))
    np.save(folder / "empty.npy", np.zeros((0, 6), np.float32))
    (folder / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = main([str(argument) for argument in arguments])
    written = capsys.readouterr()
    return code, written.out, written.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["report", "trace", "bounds", "theory", "diagnose", "netfold report"]),
        (
            ["report", "--help"],
            ["netfold report model.pt2 --data", "--pairs", "--seed", "--json", "--output"],
        ),
        (["trace", "--help"], ["netfold trace model.pt2 --data", "--from", "--to", "--save", "--json"]),
        (
            ["bounds", "--help"],
            ["netfold bounds 2 10 10 10", "netfold bounds model.pt2", "--activation", "--dimension", "--json"],
        ),
        (["theory", "--help"], ["netfold theory tanh --sigma-w", "--sigma-b", "--depth", "--width", "--json"]),
        (["diagnose", "--help"], ["netfold diagnose model.pt2 --data", "--shape", "--weights", "--json"]),
        (["score", "--help"], ["netfold score model.pt2 --data", "--lines", "--seed", "--json"]),
        (
            ["sweep", "--help"],
            ["netfold sweep plan.toml", "--workers", "--scheduler", "--retry", "--json", "status", "export"],
        ),
        (["--version"], [version("netfold")]),
    ],
)
def test_help_teaches(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    """Help names every option and shows whole commands; the version is the package's."""
    code, out, err = run(capsys, *arguments)
    assert code == 0
    assert err == ""
    assert all(word in out for word in words)


def test_help_does_not_load_what_only_commands_need() -> None:
    """Figures, templates and training stay unloaded until a command runs."""
    code = (
        "import sys, netfold.cli as c; c.main(['report', '--help']); "
        "sys.exit(any(m in sys.modules for m in ('matplotlib', 'jinja2', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_report_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a model it trains, measures and writes page, figures, numbers and traces."""
    code, out, err = run(capsys, "report", "--output", tmp_path / "page.html", "--pairs", 4, "--seed", 1)
    assert (code, err) == (0, "")
    assert "regions" in out
    assert "page.html" in out
    assert sorted(os.listdir(tmp_path)) == ["page.html", "page_files"]
    numbers = json.loads((tmp_path / "page_files" / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["paths"]["seed"] == 1
    assert len(numbers["paths"]["pairs"]) == 4
    assert numbers["network"]["accuracy"] > 0.9


def test_report_on_a_model(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A .pt2 file and inputs give a page about that model; --json prints the numbers of the folder."""
    page = tmp_path / "r.html"
    code, out, err = run(
        capsys, "report", own / "model.pt2", "--data", own / "inputs.npy", "--initial", own / "before.pt2",
        "--output", page, "--pairs", 5, "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    numbers = json.loads(out)
    assert numbers == json.loads((tmp_path / "r_files" / "numbers.json").read_text(encoding="utf-8"))
    points = np.load(own / "inputs.npy").astype(np.float64)
    for key, seed in (("trained", 1), ("initial", 2)):
        net = nf.random_network(inputs=6, width=9, depth=2, outputs=3, seed=seed)
        lines = [nf.Line(points[a], points[b]) for a, b in numbers["paths"]["pairs"]]
        expected = [trace.regions for trace in nf.trace_paths(net, lines)]
        assert numbers[key]["regions"]["mean"] == pytest.approx(np.mean(expected))
    assert "model.pt2" in page.read_text(encoding="utf-8")


def test_report_on_a_factory_with_weights(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """module:factory with weights from .safetensors, labels from .npz: the accuracy is reported."""
    net = nf.random_network(inputs=6, width=9, depth=2, outputs=3, seed=1)
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    points = np.load(own / "inputs.npy")
    with torch.no_grad():
        answers = net(torch.from_numpy(points)).argmax(1).numpy()
    labels = np.where(np.arange(12) < 9, answers, (answers + 1) % 3)
    np.savez(tmp_path / "data.npz", x=points, y=labels)
    (tmp_path / "shop_nets.py").write_text(
        "import netfold as nf\n"
        "def make():\n"
        "    return nf.random_network(inputs=6, width=9, depth=2, outputs=3, seed=77)\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = "shop_nets:make --weights weights.safetensors --data data.npz --pairs 3 --json"
    code, out, err = run(capsys, "report", *arguments.split())
    assert (code, err) == (0, "")
    assert json.loads(out)["network"]["accuracy"] == 0.75
    assert (tmp_path / "report.html").exists()


def test_trace_prints_and_saves(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text, JSON and netCDF all hold the trace that the library measures between these rows."""
    common = ["trace", own / "model.pt2", "--data", own / "inputs.npy", "--from", 2, "--to", 7]
    points = np.load(own / "inputs.npy").astype(np.float64)
    net = nf.random_network(inputs=6, width=9, depth=2, outputs=3, seed=1)
    expected = nf.trace_path(net, nf.Line(points[2], points[7]))
    code, out, err = run(capsys, *common, "--save", tmp_path / "t.nc")
    assert (code, err) == (0, "")
    assert f"{expected.regions} regions" in out
    assert Trace.load(tmp_path / "t.nc").breakpoints == pytest.approx(expected.breakpoints)
    code, out, _ = run(capsys, *common, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["regions"] == expected.regions
    assert found["breakpoints"] == pytest.approx(expected.breakpoints.tolist())
    assert [row["transitions"] for row in found["by_layer"]][1:-1] == expected.transitions.tolist()
    assert found["by_layer"][0]["transitions"] is None


@pytest.mark.parametrize(("name", "shape"), [("arc", nf.Arc), ("circle", nf.Circle)])
def test_trace_along_other_paths(name: str, shape: type, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--path names the curve that two rows span."""
    common = ["trace", own / "model.pt2", "--data", own / "inputs.npy", "--from", 2, "--to", 7, "--path", name]
    points = np.load(own / "inputs.npy").astype(np.float64)
    net = nf.random_network(inputs=6, width=9, depth=2, outputs=3, seed=1)
    code, out, _ = run(capsys, *common, "--json")
    assert code == 0
    assert json.loads(out)["breakpoints"] == nf.trace_path(net, shape(points[2], points[7])).breakpoints.tolist()
    code, out, _ = run(capsys, *common, "--certify")
    assert code == 0
    assert "exact; proven" in out


def test_trace_within_a_budget(own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is short enough is traced whole; one that is not is estimated, and the words say so."""
    common = ["trace", own / "model.pt2", "--data", own / "inputs.npy", "--from", 2, "--to", 7, "--budget"]
    assert run(capsys, *common, 60)[1].startswith("Trace of")
    monkeypatch.setattr("netfold.measures.trace_estimates.SHARE", 0.0)
    assert run(capsys, *common, 0.01)[1].startswith("TraceEstimate of")
    code, _, err = run(capsys, *common, 60, "--certify")
    assert code == 2
    assert "either --certify or --seconds" in err


def test_trace_certified(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "trace", own / "model.pt2", "--data", own / "inputs.npy", "--from", 2, "--to", 7,
                       "--certify")  # fmt: skip
    assert code == 0
    assert "(exact; proven)" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("frobnicate", "frobnicate"),
        ("report --pairs many", "--pairs"),
        ("report --pairs 0 model.pt2 --data inputs.npy", "pairs must be a whole number from 1"),
        ("report --data inputs.npy", "no model"),
        ("report model.pt2", "--data FILE"),
        ("report model.pt2 --data empty.npy", "empty.npy"),
        ("report model.pt2 --data nothing.npy", "nothing.npy"),
        ("report nothing.pt2 --data inputs.npy", "nothing.pt2"),
        ("report model.pkl --data inputs.npy", "model.pkl"),
        ("report model.pt2 --data inputs.npy --initial deeper.pt2", "same architecture"),
        ("report model.pt2 --data inputs.npy --output no/where.html", "does not exist"),
        ("trace model.pt2", "--data"),
        ("trace model.pt2 --data inputs.npy --from 0 --to 99", "rows 0 to 11"),
        ("trace model.pt2 --data inputs.npy --from -1 --to 3", "rows 0 to 11"),
        ("trace model.pt2 --data inputs.npy --from 3 --to 3", "coincide"),
        ("trace model.pt2 --data inputs.npy --from 0 --to 1 --path spiral", "spiral"),
        ("bounds", "INPUTS_OR_MODEL"),
        ("bounds 2", "netfold bounds 2 10 10"),
        ("bounds 2 ten", "ten"),
        ("bounds 0 10", "at least 1, got 0"),
        ("bounds 2 10 -3", "-3"),
        ("bounds 2 10 --activation sawtooth", "expected one of relu"),
        ("bounds 2 10 --activation tanh", "tanh"),
        ("bounds 2 10 --rank 1", "rank"),
        ("bounds 2 10 --dimension 1", "--dimension cannot be given here: it is for models"),
        ("bounds model.pt2 10", "a model has its own"),
        ("bounds model.pt2 --dimension 7", "6 inputs, got 7"),
        ("bounds nothing.pt2", "nothing.pt2"),
        ("bounds model.pkl", "model.pkl"),
        ("bounds torch.nn:ReLU", "--shape 1 28 28"),
        ("theory", "ACTIVATION"),
        ("theory sawtooth", "there is no 'sawtooth'"),
        ("theory tanh --sigma-w -1", "sigma_w must be a finite number"),
        ("theory tanh --sigma-w wide", "wide"),
        ("theory gelu", "give --sigma-w"),
        ("theory relu --width 10", "--width needs --depth"),
        ("theory relu --depth 0", "depth must be a whole number from 1"),
        ("diagnose", "MODEL"),
        ("diagnose nothing.pt2", "nothing.pt2"),
        ("diagnose model.pt2 --data empty.npy", "empty.npy"),
        ("diagnose model.pt2 --shape 7", "takes points of shape (6,)"),
        ("diagnose torch.nn:ReLU --shape 3", "no dense or convolutional weights"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    words: str,
) -> None:
    """The line is on stderr, starts with the program's name and names what is wrong; nothing is written."""
    monkeypatch.chdir(own)
    before = sorted(os.listdir(own))
    code, out, err = run(capsys, *arguments.split())
    assert code == 2
    assert out == ""
    assert err.startswith("netfold: ")
    assert len(err.splitlines()) == 1
    assert words in err
    assert sorted(os.listdir(own)) == before


def test_interrupting_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C during training: exit code 130, one line, no file."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "cross_entropy", interrupt)
    code, out, err = run(capsys, "report", "--output", tmp_path / "page.html")
    assert code == 130
    assert out == ""
    assert len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_an_interrupt_that_comes_out_as_another_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A callback can swallow Ctrl-C and fail otherwise: still 130. Without Ctrl-C the error stands."""

    def swallow(*_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("no compiled object yet")

    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(loop, "cross_entropy", swallow)
    code, _, err = run(capsys, "report", "--output", tmp_path / "page.html")
    assert code == 130
    assert len(err.splitlines()) == 1
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.setattr(loop, "cross_entropy", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["report", "--output", str(tmp_path / "page.html")])
    assert os.listdir(tmp_path) == []
