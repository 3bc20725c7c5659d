"""Laws of linear pieces: where the output bends is decided, not measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.exact.certificate.certifier import Certifier
from netfold.exact.certificate.rational import RationalTracer
from netfold.exact.matrices.explicit import ExplicitProgram
from tests.exact.degenerate import degenerate
from tests.models import random_model


@pytest.mark.parametrize("case", range(16))
def test_pieces_are_those_of_rational_arithmetic(case: int) -> None:
    """On lines through networks full of ties, and through dense, residual, branching and convolutional ones."""
    if case < 8:
        model, path = degenerate(case)
    else:
        model, shape = random_model(case, case % 4)
        path = nf.Line(*np.random.default_rng(case).normal(0, 2, (2, *shape)))
    path = nf.Line(*path.vertices[1][[0, -1]])
    program = nf.capture(model, shape=path.shape)
    trace = nf.trace_path(program, path)
    proof = Certifier(program).certify(*path.vertices, trace.breakpoints, trace.breakpoint_layers)
    assert proof.linear_pieces == RationalTracer(ExplicitProgram.of(program)).run(*path.vertices).linear_pieces


@pytest.mark.parametrize(("weight", "pieces"), [(0.0, 2), (1e-30, 3), (-1.0, 3)])
def test_bends_as_small_as_they_may_be(weight: float, pieces: int) -> None:
    """A unit that the output leaves out bends nothing; one that it takes 1e-30 of bends it."""
    first, last = nn.Linear(1, 2).double(), nn.Linear(2, 1).double()
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [1.0]]))
        first.bias.copy_(torch.tensor([0.25, -0.25]))
        last.weight.copy_(torch.tensor([[1.0, weight]], dtype=torch.float64))
    trace = nf.trace_path(nn.Sequential(first, nn.ReLU(), last), nf.Line([-1.0], [1.0]), certify=True)
    assert (trace.regions, trace.linear_pieces, trace.uncertain) == (3, pieces, 0)


def test_corner_of_a_polyline() -> None:
    """A corner parts two pieces where a unit changes in it, and no pieces elsewhere."""
    layer, last = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1).double()
    with torch.no_grad():
        layer.weight.fill_(1.0)
    model = nn.Sequential(layer, nn.ReLU(), last)
    for corner, pieces in ((0.0, 2), (0.5, 2)):
        path = nf.Polyline(np.array([[-1.0], [corner], [1.0]]))
        assert nf.trace_path(model, path, certify=True).linear_pieces == pieces
