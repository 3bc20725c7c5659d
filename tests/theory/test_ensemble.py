"""Scales of weights with honest errors, and doubts where weights are not random."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.theory.activations import as_activation, leaky_relu
from netfold.theory.ensemble import WeightStatistics, activation_of, same_activation, statistics
from netfold.theory.weights import WeightMatrix


def measured(matrix: np.ndarray, bias: np.ndarray | None = None) -> WeightStatistics:
    return statistics(WeightMatrix("w", torch.as_tensor(matrix), None if bias is None else torch.as_tensor(bias), None))


@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_standard_errors_cover(law: str) -> None:
    """Over 400 draws the scales scatter about the truth by their standard errors, Gaussian or uniform."""
    rng, gaps = np.random.default_rng(0), []
    for _ in range(400):
        if law == "normal":
            found = measured(rng.normal(0, 1.5 / 6, (20, 36)), rng.normal(0, 0.3, 200))
        else:
            found = measured(rng.uniform(-1, 1, (20, 36)) * 1.5 / 6 * 3**0.5, rng.uniform(-1, 1, 200) * 0.3 * 3**0.5)
        pairs = ((found.sigma_w, 1.5), (found.sigma_b, 0.3))
        gaps.append([(scale.value - truth) / scale.error for scale, truth in pairs])
    assert np.abs(np.mean(gaps, axis=0)).max() < 4 / 400**0.5
    np.testing.assert_allclose(np.std(gaps, axis=0), 1, atol=0.15)


@pytest.mark.parametrize("shape", [(2, 3), (9, 9), (100, 100), (40, 400), (400, 40), (700, 600)])
@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_random_weights_raise_no_doubt(shape: tuple[int, int], law: str) -> None:
    """Independent entries stay inside every limit, whatever their law and shape."""
    rng = np.random.default_rng(sum(shape))
    for _ in range(1 if shape[0] > 500 else 30):
        matrix = rng.normal(size=shape) if law == "normal" else rng.uniform(-1, 1, shape)
        assert measured(matrix).doubts == ()


def test_what_is_not_random_is_doubted() -> None:
    """A strong direction, heavy tails (also by pruning), and orthogonal matrices are told apart from chance."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(100, 100))
    u, v = rng.normal(size=(2, 100)) / 10
    for matrix, word in (
        (drawn + 30 * np.outer(u, v), "largest singular value"),
        (rng.standard_t(3, size=(100, 100)), "heavy tails"),
        (drawn * (rng.random((100, 100)) < 0.2), "heavy tails"),
        (np.linalg.qr(drawn)[0], "more alike"),
    ):
        assert any(word in doubt for doubt in measured(matrix).doubts), word


def test_large_matrices_by_iteration_agree_with_decomposition() -> None:
    """Above 512 rows the largest singular value comes from Lanczos steps: the same to a few 10^-3."""
    matrix = np.random.default_rng(1).normal(size=(600, 530))
    found = measured(matrix)
    edge = np.linalg.svd(matrix, compute_uv=False)[0] / np.sqrt((matrix**2).mean()) / (600**0.5 + 530**0.5)
    assert found.edge == pytest.approx(edge, rel=3e-3)
    assert found.spread == pytest.approx(1, abs=0.01)


def test_zero_weights_have_no_scale() -> None:
    """All-zero weights give 0, not nan."""
    found = measured(np.zeros((4, 4)))
    assert (found.sigma_w.value, found.sigma_w.error, found.doubts) == (0.0, 0.0, ())


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def layer(activation: nn.Module, shape: tuple[int, ...] = (3,)):
    return nf.capture(activation.eval(), shape=shape).layers[0]


@pytest.mark.parametrize("name", ["relu", "hardtanh", "tanh", "erf", "gelu", "silu", "leaky_relu"])
def test_named_activations_are_recognised(name: str) -> None:
    """The captured function is the one with closed forms."""
    module = nf.random_network(2, 3, 1, activation=name)[1]
    assert activation_of(layer(module)) == as_activation(name)


@pytest.mark.parametrize(
    "module",
    [nn.Softplus(), nn.Sigmoid(), nn.ELU(0.5), nn.Mish(), nn.GELU(approximate="tanh"), nn.SELU(), nn.PReLU()],
)
def test_others_are_taken_by_their_values(module: nn.Module) -> None:
    """Any elementwise function of a network is an activation of theory, with the same values."""
    found, h = activation_of(layer(module)), np.linspace(-5, 5, 41)
    with torch.no_grad():
        wanted = module.double()(torch.from_numpy(h)).numpy()
    np.testing.assert_allclose(found(h), wanted, atol=1e-12)
    assert same_activation(found, activation_of(layer(module)))


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (nn.Softmax(-1), (3,), "each unit alone"),
        (nn.LayerNorm(3), (3,), "each unit alone"),
        (nn.MaxPool1d(2), (1, 4), "picks one of several"),
        (Function(lambda x: x * torch.sigmoid(x.sum(1, keepdim=True))), (3,), "each unit alone"),
    ],
)
def test_what_mixes_units_is_no_activation(module: nn.Module, shape: tuple[int, ...], words: str) -> None:
    """Softmax, normalisation, pooling and products have no activation function."""
    layers = nf.capture(module.eval(), shape=shape).layers
    with pytest.raises(InvalidInputError, match=words):
        activation_of(layers[-1])


def test_units_that_differ_have_no_common_function() -> None:
    """PReLU slopes that were trained apart are refused."""
    module = nn.PReLU(3)
    module.weight.data.copy_(torch.tensor([0.1, 0.2, 0.3]))
    with pytest.raises(InvalidInputError, match="differ"):
        activation_of(layer(module))
    assert not same_activation(leaky_relu(0.1), leaky_relu(0.2))
