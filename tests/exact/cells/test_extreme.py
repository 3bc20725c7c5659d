"""Weights whose products leave the range of float64: a count says so, or there is one clear error."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import netfold as nf
from netfold.results.status import Certainty
from tests.stress.checks import cells


@pytest.mark.parametrize("seed", [300, 302, 304, 305, 307, 41000060])
def test_said(seed: int) -> None:
    """No count is wrong without a word, and no error is another's."""
    for verdict in cells("denormals, 1e300", seed):
        assert not verdict.silent
        assert not verdict.odd


def test_ordinary_sizes() -> None:
    """Weights from 1e-30 to 1e30 are no reason for doubt, one denormal is."""
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU()).double()
    net[0].weight.data = torch.tensor([[1e30, 1.0], [1e-30, 1.0], [0.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    assert (nf.count_regions(net).status, nf.count_regions(net).uncertain) == ("exact", 0)
    net[0].weight.data[2, 0] = 5e-324
    assert nf.count_regions(net).status.kind is Certainty.RANGE
