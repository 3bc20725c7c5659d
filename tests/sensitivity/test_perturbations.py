"""Every perturbation against its definition."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import netfold as nf
from netfold.sensitivity import Perturbation, Weight, weight_layers
from tests.sensitivity.models import make


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weight(rows: int = 300, columns: int = 200, scale: float = 2.0) -> Weight:
    value = scale * torch.randn(rows, columns, generator=generator(9), dtype=torch.float64)
    return Weight("layer.weight", value)


@pytest.mark.parametrize(("relative_to", "spread"), [(None, 0.3), ("layer", 0.6), ("channel", 0.6)])
def test_noise_has_the_spread_it_says(relative_to: str | None, spread: float) -> None:
    """Mean 0 and standard deviation scale * r, over 60,000 weights."""
    w = weight()
    noise = (nf.GaussianNoise(0.3, relative_to).changed(w, generator()) - w.value).flatten()  # type: ignore[arg-type]
    assert float(noise.mean()) == pytest.approx(0.0, abs=5 * spread / 60000**0.5)
    assert float(noise.std()) == pytest.approx(spread, rel=0.02)


def test_noise_per_channel_follows_each_channel() -> None:
    """A channel of zeros gets no noise; in a transposed convolution channels are the second axis."""
    value = torch.ones(4, 5, dtype=torch.float64)
    value[2] = 0.0
    new = nf.GaussianNoise(0.5, "channel").changed(Weight("w", value), generator())
    assert bool((new[2] == 0).all())
    assert bool((new[[0, 1, 3]] != 1).all())
    value = torch.ones(4, 5, dtype=torch.float64)
    value[:, 1] = 0.0
    new = nf.GaussianNoise(0.5, "channel").changed(Weight("w", value, output_axis=1), generator())
    assert bool((new[:, 1] == 0).all())
    transposed = nn.Sequential(nn.ConvTranspose2d(2, 3, 2))
    assert weight_layers(transposed)[0].weights[0].output_axis == 1


def test_channels_of_gpt2_are_the_second_axis() -> None:
    """Its dense layers hold their weights as inputs by outputs."""
    utils = pytest.importorskip("transformers.pytorch_utils")
    (layer,) = weight_layers(utils.Conv1D(3, 5))
    new = nf.Quantise(2, per_channel=True).changed(layer.weights[0], generator())
    assert layer.weights[0].value.shape == (5, 3)
    assert torch.allclose(new.abs().amax(0), layer.weights[0].value.abs().amax(0))


def test_draws_scale_with_the_strength() -> None:
    """The same generator gives the same direction at every strength."""
    w = weight(4, 3)
    one, two = (nf.GaussianNoise(s).changed(w, generator()) - w.value for s in (0.1, 0.2))
    assert torch.allclose(2 * one, two, rtol=1e-12)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_weights_lie_on_their_levels(bits: int, per_channel: bool) -> None:
    """At most 2^bits - 1 levels, equally spaced, each weight on the nearest, the largest weight kept."""
    w = weight(20, 30)
    new = nf.Quantise(bits, per_channel).changed(w, generator())
    for row, old in zip(new, w.value, strict=True) if per_channel else [(new, w.value)]:
        step = float(old.abs().max()) / (2 ** (bits - 1) - 1)
        levels = row / step
        assert torch.allclose(levels, levels.round(), atol=1e-9)
        assert len(np.unique(levels.round().numpy())) <= 2**bits - 1
        assert float((row - old).abs().max()) <= step / 2 * (1 + 1e-12)
        assert float(row.abs().max()) == pytest.approx(float(old.abs().max()), rel=1e-12)


def test_quantising_zeros_gives_zeros() -> None:
    assert bool((nf.Quantise(4).changed(Weight("w", torch.zeros(3, 3)), generator()) == 0).all())


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
def test_pruning_removes_the_smallest(fraction: float) -> None:
    """Exactly floor(fraction * n) zeros, none of them larger than a weight that stays."""
    w = Weight("w", torch.randn(10, 10, generator=generator(1)))
    new = nf.Prune(fraction).changed(w, generator())
    gone = new == 0
    assert int(gone.sum()) == round(fraction * 100)
    assert torch.equal(new[~gone], w.value[~gone])
    if 0 < fraction < 1:
        assert float(w.value[gone].abs().max()) <= float(w.value[~gone].abs().min())


def test_equal_weights_are_pruned_in_order() -> None:
    new = nf.Prune(0.5).changed(Weight("w", torch.ones(2, 2)), generator())
    assert new.tolist() == [[0, 0], [1, 1]]


def test_reinitialising_gives_the_initial_network() -> None:
    """All layers at once: the initial outputs. One at a time: that layer's weights and biases, the rest trained."""
    before, after = (nf.random_network(4, 8, 2, 3, sigma_b=0.5, seed=seed) for seed in (0, 1))
    x = torch.randn(20, 4, generator=generator())
    found = nf.layer_sensitivity(after, x, "squared_change", nf.Reinitialise(before))
    assert found.values.shape == (3, 1, 1)
    mixed = nf.random_network(4, 8, 2, 3, sigma_b=0.5, seed=1)
    mixed.linear2 = before.linear2
    expected = float((mixed(x) - after(x)).detach().square().sum(1).mean())
    assert found.values[1, 0, 0] == pytest.approx(expected, rel=1e-5)
    same = nf.layer_sensitivity(after, x, "squared_change", nf.Reinitialise(after.state_dict()))
    assert (same.values == 0).all()
    assert same.ranking() == []


def test_rerandomising_draws_as_the_module_does() -> None:
    """Its own reset_parameters, seeded: uniform within 1/sqrt(fan_in) for torch's linear layer."""
    net = nn.Sequential(nn.Linear(100, 50))
    layer = weight_layers(net)[0]
    state = torch.get_rng_state()
    new = nf.Rerandomise().changed(layer.weights[0], generator(3))
    again = nf.Rerandomise().changed(layer.weights[0], generator(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(new, again)
    assert not torch.equal(new, layer.weights[0].value)
    assert float(new.abs().max()) <= 0.1 + 1e-6
    assert float(new.std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)
    drawn = nf.Rerandomise(sigma_w=2.0, sigma_b=0.5)
    assert float(drawn.changed(layer.weights[0], generator()).std()) == pytest.approx(0.2, rel=0.05)
    assert float(drawn.changed(layer.biases[0], generator()).std()) == pytest.approx(0.5, rel=0.3)


def test_what_cannot_be_drawn_afresh_is_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.ones(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.matrix

    with pytest.raises(nf.InvalidInputError, match="give sigma_w"):
        nf.layer_sensitivity(Own().eval(), torch.ones(2, 3), perturbation=nf.Rerandomise())
    assert (
        nf.layer_sensitivity(Own().eval(), torch.ones(2, 3), perturbation=nf.Rerandomise(1.0)).layers[0].kind == "Own"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nf.GaussianNoise(-0.1), "from 0 to"),
        (lambda: nf.GaussianNoise(float("nan")), "finite"),
        (lambda: nf.GaussianNoise(0.1, "row"), "relative_to"),  # type: ignore[arg-type]
        (lambda: nf.Quantise(1), "from 2 to 32"),
        (lambda: nf.Quantise(2.5), "whole number"),  # type: ignore[arg-type]
        (lambda: nf.Prune(1.5), "from 0 to 1"),
        (lambda: nf.Rerandomise(-1.0), "finite number from"),
        (lambda: nf.Reinitialise(3), "a Module or a Mapping"),  # type: ignore[arg-type]
    ],
)
def test_values_out_of_range_are_refused(make, message: str) -> None:
    with pytest.raises(nf.InvalidInputError, match=message):
        make()


def test_initial_weights_must_fit() -> None:
    net = nf.random_network(4, 8, 2, 3)
    x = torch.ones(2, 4)
    with pytest.raises(nf.InvalidInputError, match="hold no 'linear1"):
        nf.layer_sensitivity(net, x, perturbation=nf.Reinitialise({}))
    with pytest.raises(nf.InvalidInputError, match="has shape"):
        nf.layer_sensitivity(net, x, perturbation=nf.Reinitialise(nf.random_network(4, 9, 2, 3)))


def test_a_perturbation_of_ones_own() -> None:
    """The contract of the base class is enough; a rule that breaks it is refused."""

    class Flip(Perturbation):
        RANDOM = False

        def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
            return -weight.value

        def describe(self) -> str:
            return "signs flipped"

    class Broken(Flip):
        def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
            return weight.value[:1]

    net, x = nf.random_network(4, 8, 1, 3), torch.randn(9, 4, generator=generator())
    found = nf.layer_sensitivity(net, x, "squared_change", Flip())
    assert found.values[1, 0, 0] == pytest.approx(float((2 * net(x)).detach().square().sum(1).mean()), rel=1e-5)
    with pytest.raises(nf.InvalidInputError, match=r"Broken\.changed must give"):
        nf.layer_sensitivity(net, x, perturbation=Broken())


@pytest.mark.parametrize("family", ["dense", "convolutional", "transformer", "tied", "branching"])
def test_rounded_activations_are_those_of_rounding_modules(family: str) -> None:
    """As if the layer were wrapped in a module that rounds its input by numpy, in a copy of the model."""
    model, x, y = make(family)
    layers = [la.name for la in weight_layers(model) if not la.name.startswith("1.layers")]
    found = nf.layer_sensitivity(model, (x, y), "loss", nf.QuantiseActivations(3), layers=layers, strengths=[3, 6])
    for layer, losses in zip(found.layers, found.mean, strict=True):
        for bits, loss in zip((3, 6), losses, strict=True):
            other = copy.deepcopy(model)
            other.set_submodule(layer.name, Rounding(other.get_submodule(layer.name), bits))
            with torch.no_grad():
                wanted = nn.functional.cross_entropy(other(x).flatten(1) if family == "tied" else other(x), y)
            assert loss == pytest.approx(float(wanted), rel=1e-9)
    assert not any(m._forward_pre_hooks for m in model.modules())


class Rounding(nn.Module):
    def __init__(self, layer: nn.Module, bits: int) -> None:
        super().__init__()
        self.layer, self.top = layer, 2 ** (bits - 1) - 1

    def forward(self, x: Tensor) -> Tensor:
        old = x.detach().numpy()
        largest = np.abs(old).reshape(len(old), -1).max(1).reshape(-1, *[1] * (old.ndim - 1))
        scale = np.where(largest > 0, largest, 1.0)
        return self.layer(torch.from_numpy(np.rint(old / scale * self.top) * largest / self.top))


def test_modules_that_are_not_called_have_no_effect() -> None:
    """Attention reads the weights of its projection itself: nothing is known of what goes into it, which it says."""
    model, x, _ = make("transformer")
    found = nf.layer_sensitivity(model, x, perturbation=nf.QuantiseActivations(3))
    unknown = [la.name for la in found.layers if la.name.endswith("out_proj")]
    assert unknown
    assert set(unknown) == set(found.without_effect)


def test_activations_of_exported_programs_are_refused() -> None:
    model, x, _ = make("dense")
    with pytest.raises(nf.errors.InvalidInputError, match="no modules any more"):
        nf.layer_sensitivity(torch.export.export(model, (x,)), x, perturbation=nf.QuantizeActivations(4))
