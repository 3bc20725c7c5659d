"""The score's curvature against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from netfold.sensitivity import weight_layers
from netfold.sensitivity.batches import Batch
from netfold.sensitivity.curvature import CurvatureTally, second_order


def linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator))
        layer.bias.zero_()
    return layer


def tally(model: nn.Module, x: torch.Tensor, squared: bool, rows: int, repeats: int = 1) -> torch.Tensor:
    found = CurvatureTally(model, weight_layers(model), squared, 0)
    for _ in range(repeats):
        for part in x.split(rows):
            found.add(Batch(part, None))
    return found.curvature["weight"]


def test_squared_change_of_one_weight_is_exact() -> None:
    """For a linear layer, one input at a time, half curvature times squared change is the output's squared change."""
    model, x = linear(4, 3), torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    curvature = {"weight": tally(model, x, squared=True, rows=1)}
    layer = weight_layers(model)[0]
    changed = layer.weights[0].value.clone()
    changed[1, 2] += 0.3
    outputs = x @ changed.T - x @ model.weight.detach().T
    assert second_order(curvature, layer, lambda w: changed) == pytest.approx(float(outputs.square().sum(1).mean()))


def test_cross_entropy_of_a_softmax_layer() -> None:
    """The Fisher information of weight (i, j) is the mean of x_j^2 p_i (1 - p_i), within five standard errors."""
    model, x = linear(3, 4), torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    p = torch.softmax(x @ model.weight.detach().T, 1)
    wanted = torch.einsum("nj,ni->ij", x.square(), p * (1 - p)) / len(x)
    draws = 400
    found = tally(model, x, squared=False, rows=6, repeats=draws)
    # a squared sum of independent terms of mean 0 has a standard deviation of about sqrt(2) times its mean
    assert float(((found - wanted).abs() / wanted).max()) < 5 * np.sqrt(2 / draws)


def test_one_logit_is_a_sign() -> None:
    """A single output: x_j^2 p (1 - p), p the logistic function of the output."""
    model, x = linear(2, 1), torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    p = torch.sigmoid(x @ model.weight.detach().T)
    wanted = x.square() * p * (1 - p)
    found = tally(model, x, squared=False, rows=1, repeats=1500)
    # the score is -(1 - p) or p times x: its square has standard deviation x^2 |1 - 2p| sqrt(p (1 - p))
    error = x.square() * (1 - 2 * p).abs() * (p * (1 - p)).sqrt() / 1500**0.5
    assert bool(((found - wanted).abs() <= 5 * error + 1e-12).all())
