"""Hostile and damaged model files: nothing runs, nothing is written, and the answer is right or one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim

from netfold.capture import capture
from netfold.capture.loading import load_model
from netfold.errors import CorruptFileError, NetfoldError, UntrustedFileError
from tests.capture.hostile import MARK, archive, archives, members_of


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU()).double().eval()


@pytest.fixture(scope="module")
def good(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file that torch wrote."""
    path = str(tmp_path_factory.mktemp("good") / "model.pt2")
    x = torch.zeros(3, 3, dtype=torch.float64)
    torch.export.save(torch.export.export(model, (x,), dynamic_shapes=({0: Dim.DYNAMIC},)), path)
    return path


def answer(path: Path, model: nn.Module) -> type[Exception] | None:
    """The error that opening and running a file gives; without one the numbers must be the model's."""
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    try:
        program = capture(load_model(path))
    except NetfoldError as error:
        return type(error)
    torch.testing.assert_close(program(x), model(x), rtol=1e-12, atol=1e-12)
    return None


def test_every_way_to_run_code(good: str, model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever torch would unpickle, load, look up or evaluate stays unread or is refused; nothing else happens."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.pt2"
    ignored: list[str] = []
    for name, content in archives(members_of(good)):
        path.write_bytes(content)
        found = answer(path, model)
        assert os.listdir(tmp_path) == ["hostile.pt2"], f"{name} left {MARK}"
        assert found in (None, UntrustedFileError, CorruptFileError), name
        ignored += [name] if found is None else []
    assert ignored == ["sample inputs", "guards", "where a node comes from"]


def test_copies_are_read_alike(good: str, model: nn.Module, tmp_path: Path) -> None:
    """A file that another program packed again, in another order, is the same model."""
    path = tmp_path / "copy.pt2"
    path.write_bytes(archive(members_of(good)[::-1]))
    assert answer(path, model) is None
