"""``netfold count --proof`` and ``netfold check``: what is written, what is said, how they end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from netfold.cli import main
from tests.exact.cells import networks


@pytest.fixture
def model(tmp_path: Path) -> Path:
    net = networks.module(networks.case("T2"))
    path = tmp_path / "T2.pt2"
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(
        torch.export.export(nn.Sequential(*net), (torch.zeros(2, 3).double(),), dynamic_shapes=({0: batch},)), path
    )
    return path


def test_a_count_and_its_proof(model, capsys, tmp_path):
    """The count says how to check the proof; the check accepts it with 0, and refuses it for another statement with 1."""
    proof, other = tmp_path / "count.nfp.gz", tmp_path / "box.nfp"
    domain = tmp_path / "p.vnnlib"
    domain.write_text(
        "".join(f"(declare-const X_{i} Real)(assert (<= X_{i} 1))(assert (>= X_{i} -1))" for i in range(3))
    )
    assert main(["count", str(model), "--proof", str(proof)]) == 0
    assert f"netfold check {tmp_path / 'count.statement.json'} {proof}" in capsys.readouterr().out
    assert (
        main(["count", str(model), "--domain", str(domain), "--proof", str(other), "--statement", str(tmp_path / "s")])
        == 0
    )
    capsys.readouterr()
    assert main(["check", str(tmp_path / "count.statement.json"), str(proof)]) == 0
    assert f"accepted: exactly {networks.COUNTS['T2']} activation regions" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "s"), str(other)]) == 0
    capsys.readouterr()
    assert main(["check", str(tmp_path / "s"), str(proof)]) == 1
    assert "refused: the proof is about another statement" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "nothing"), str(proof)]) == 2
    assert "not checked" in capsys.readouterr().err
