"""``netfold partition``: counts, files and one clear line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import netfold as nf
from netfold.cli import main


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and inputs."""
    folder = tmp_path_factory.mktemp("own")
    net = nf.random_network(inputs=6, width=9, depth=2, outputs=3, sigma_b=0.3, seed=1)
    free = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(net, (torch.zeros(2, 6),), dynamic_shapes=free), folder / "model.pt2")
    np.save(folder / "inputs.npy", np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32))
    return folder


def test_everything_at_once(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers as JSON, a picture, a page and a file, all of the same partition."""
    arguments = ["partition", str(own / "model.pt2"), "--data", str(own / "inputs.npy"), "--rows", "3", "4", "5"]
    files = ["--plot", str(own / "p.png"), "--explore", str(own / "p.html"), "--save", str(own / "p.nc"), "--json"]
    assert main([*arguments, *files]) == 0
    numbers = json.loads(capsys.readouterr().out)
    part = nf.Partition.load(own / "p.nc")
    assert numbers["regions"] == part.regions == numbers["regions_by_layer"][-1]
    assert (own / "p.png").read_bytes().startswith(b"\x89PNG")
    assert f"{part.regions:,} activation regions" in (own / "p.html").read_text()
    assert main([*arguments, "--count", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["regions"] == part.regions
    assert main([*arguments, "--count"]) == 0
    assert capsys.readouterr().out.startswith(f"{part.regions:,} regions (exact)")
    assert main([*arguments, "--bounds", "0", "0.5", "0", "0.5"]) == 0
    assert "layer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--rows", "0", "1", "99"], "row 99 is not in"),
        (["--count", "--plot", "x.png"], "--count stores no regions"),
        (["--plot", "x.txt"], ".png, .svg or .pdf"),
        (["--bounds", "1", "0", "0", "1"], "bounds must have a from < a to"),
        (["--rows", "0", "0", "1"], "one line"),
        (["--color", "red"], "--color"),
    ],
)
def test_bad_input(own: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str) -> None:
    """Exit code 2 and one line on stderr."""
    assert main(["partition", str(own / "model.pt2"), "--data", str(own / "inputs.npy"), *more]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help explains and shows examples."""
    assert main(["partition", "--help"]) == 0
    assert "netfold partition model.pt2 --data inputs.npy --rows 3 14 15" in capsys.readouterr().out
