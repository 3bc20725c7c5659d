"""``netfold score``: the library's numbers, in words and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.cli import main


def small() -> nn.Module:
    return nf.random_network(4, 6, 1, seed=1)


def large() -> nn.Module:
    return nf.random_network(4, 24, 2, seed=2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "x.npy"
    np.save(file, np.random.default_rng(0).normal(size=(10, 4)))
    return file


def test_numbers(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON holds every model's scores; words one line each."""
    state = torch.random.get_rng_state()
    names = [f"{__name__}:small", f"{__name__}:large"]
    assert main(["score", *names, "--data", str(data), "--lines", "5", "--seed", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["models"]
    for name, net in zip(names, (small(), large()), strict=True):
        wanted = nf.score(net, np.load(data), lines=5, seed=2)
        assert found[name]["regions"]["value"] == wanted.regions.value
        assert found[name]["flops"] == wanted.flops
    assert main(["score", *names, "--data", str(data)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{names[0]}: regions ")
    assert "745 parameters" in second
    assert torch.equal(state, torch.random.get_rng_state())


def test_one_line_for_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["score", f"{__name__}:small", "--data", str(tmp_path / "no.npy")]) == 2
    assert "no.npy" in capsys.readouterr().err
