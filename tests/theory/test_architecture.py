"""What theory reads off a network: wiring, weights and the affine maps between layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.theory.architecture import Architecture, read_architecture
from tests.models import Branches, Residual, SmallConv, random_model


def read(net: nn.Module, *shape: int) -> Architecture:
    return read_architecture(nf.capture(net.double().eval(), shape=shape))


class Scaled(nn.Module):
    """A dense layer written by hand, with the factor 1 / sqrt(fan-in) in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(5, 7)), nn.Parameter(torch.randn(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.weight / 5**0.5 + self.bias)


@pytest.mark.parametrize("seed", range(12))
def test_the_matrix_before_a_layer_is_its_jacobian(seed: int) -> None:
    """In a chain, matrix times the layer before plus offset gives the pre-activations."""
    net, shape = random_model(seed)
    program = nf.capture(net, shape=shape)
    network = read_architecture(program)
    points = torch.randn((4, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    before, known = points.flatten(1), True
    for number, (layer, read, made) in enumerate(program.layer_inputs(points)):
        found = network.matrix(number)
        assert (found is not None) == known
        if found is not None:
            matrix, offset = found
            joined = torch.cat([value.flatten(1) for value in read], 1)
            torch.testing.assert_close(before @ matrix.T + offset, joined)
        assert network.hidden[number].units == layer.units
        before, known = made.flatten(1), network.hidden[number].chained


def test_normalisation_and_factors_are_multiplied_in() -> None:
    """A dense layer's own matrix times what scales its units is the affine map of the stage."""
    norm = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    rng = np.random.default_rng(0)
    for statistic in (norm[1].running_mean, norm[1].running_var, norm[1].weight):
        statistic.data.copy_(torch.from_numpy(rng.uniform(-2, 2, 6) ** 2))  # type: ignore[union-attr]
    for net, inputs in ((norm, 4), (Scaled(), 5)):
        network = read(net, inputs)
        weight, found = network.hidden[0].weights[0], network.matrix(0)
        assert network.hidden[0].wiring == ""
        assert found is not None
        assert weight.bias is not None
        torch.testing.assert_close(weight.matrix, found[0])
        torch.testing.assert_close(weight.bias, found[1])
    assert read(norm, 4).hidden[0].norms == ("batch_norm",)


def test_a_convolution_is_read_with_its_geometry_and_normalisation() -> None:
    """Filters scaled by batch norm act on the centre of an image as the stage does."""
    net = random_model(5, family=3)[0]
    assert isinstance(net, SmallConv)
    network = read(net, 2, 6, 6)
    (weight,) = network.hidden[0].weights
    assert weight.conv is not None
    assert (weight.conv.size, weight.conv.channels, weight.conv.kernel) == ((6, 6), 2, (3, 3))
    assert (weight.conv.padding, weight.conv.stride, weight.fan_in) == ((1, 1), (1, 1), 18)
    found = network.matrix(0)
    assert found is not None
    filters = len(weight.matrix)
    centre = found[0].reshape(filters, 6, 6, 2, 6, 6)[:, 2, 3, :, 1:4, 2:5]
    torch.testing.assert_close(centre.flatten(1), weight.matrix)


@pytest.mark.parametrize(
    ("net", "shape", "wiring", "chained"),
    [
        (Residual(4, nn.ReLU), (4,), "add joins several paths on the way", True),
        (Branches(4, nn.ReLU), (4,), "", False),
        (nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 5), nn.ReLU()), (4,), "2 weight operations", True),
        (nn.Sequential(nn.AvgPool1d(2), nn.Linear(2, 3), nn.ReLU()), (1, 4), "avg_pool1d is on the way", True),
        (nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), (4,), "no weights are on the way", True),
    ],
)
def test_wiring_says_what_is_not_one_weight_operation(
    net: nn.Module, shape: tuple[int, ...], wiring: str, chained: bool
) -> None:
    """A skip from a layer's own input is still a chain; values kept alive past a layer are not."""
    network = read(net, *shape)
    assert network.hidden[0].wiring.startswith(wiring)
    assert network.chained == chained
    assert bool(network.skips) != chained
