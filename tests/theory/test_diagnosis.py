"""Diagnoses of known ensembles: phase, gains, depth and growth are those of the law, warnings where due."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.theory import Diagnosis, Phase, diagnose, mean_field
from tests.models import Branches, Residual, SmallConv


def default(*sizes: int, activation: type[nn.Module] = nn.ReLU, seed: int = 0) -> nn.Sequential:
    """Dense layers as torch initialises them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*parts[:-1]).eval()


def warned(found: Diagnosis, *words: str) -> bool:
    return all(any(word in warning for warning in found.warnings) for word in words)


@pytest.mark.parametrize("seed", range(5))
def test_fresh_linear_layers_are_ordered(seed: int) -> None:
    """nn.Linear draws uniform weights of variance 1 / (3 fan-in): sigma_w^2 = 1/3, chi_1 = 1/6 for ReLU."""
    found = diagnose(default(64, 100, 100, 10, seed=seed), shape=(64,))
    assert found.phase is Phase.ORDERED
    assert abs(found.sigma_w.value - 3**-0.5) < 4 * found.sigma_w.error
    assert abs(found.chi_1 - 1 / 6) < 4 * found.chi_1_error
    assert found.warnings == ()
    assert found.rescale == pytest.approx(math.sqrt(2) / found.sigma_w.value)
    assert found.depth == pytest.approx(1 / math.log(6), rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_he_initialisation_is_critical(seed: int) -> None:
    """sigma_w^2 = 2 for ReLU, Gaussian or uniform."""
    found = diagnose(nf.random_network(64, 100, 5, 10, seed=seed), shape=(64,))
    assert found.phase is Phase.CRITICAL
    assert found.depth_range[1] == math.inf
    uniform = default(64, 100, 100, seed=seed)
    for part in uniform:
        if isinstance(part, nn.Linear):
            part.weight.data *= 6**0.5
            part.bias.data.zero_()
    assert diagnose(uniform, shape=(64,)).phase is Phase.CRITICAL


@pytest.mark.parametrize("seed", range(3))
def test_steep_hard_tanh_is_chaotic(seed: int) -> None:
    """sigma_w = 4, no bias: chi_1 = 3.40527 (oracle), xi_c and critical gain of mean-field theory."""
    found = diagnose(nf.random_network(100, 200, 4, activation="hardtanh", sigma_w=4.0, seed=seed), shape=(100,))
    assert found.phase is Phase.CHAOTIC
    assert abs(found.chi_1 - 1.845336**2) < 4 * found.chi_1_error
    field = mean_field("hardtanh", 4.0)
    assert found.depth == pytest.approx(field.xi_c, rel=0.02)
    assert found.depth_range[0] <= found.depth <= found.depth_range[1]
    assert found.critical_sigma_w == pytest.approx(1.0)
    assert [layer.phase for layer in found.hidden] == [Phase.CHAOTIC] * 4


@pytest.mark.parametrize(
    ("activation", "sigma_w", "sigma_b"),
    [("relu", 1.2, 0.3), ("tanh", 2.5, 0.3), ("gelu", 1.6, 0.2), ("leaky_relu", 1.4, 0.0), ("softplus", 0.8, 0.1)],
)
def test_scales_and_growth_are_those_of_the_law(activation: str, sigma_w: float, sigma_b: float) -> None:
    """Gains are those of the law; q and growth what wide networks do to a circle, on average over several of them.

    Within 4 standard errors, for growth plus 1% for the width being finite.
    """
    nets = [
        nf.random_network(300, 400, 3, 5, activation, sigma_w, sigma_b, seed=s)
        for s in range(4 if activation == "softplus" else 8)
    ]
    field = mean_field(nets[0][1] if activation == "softplus" else activation, sigma_w, sigma_b)
    off = []
    for net in nets:
        found = diagnose(net)
        for layer in found.layers:
            assert abs(layer.weights.sigma_w.value - sigma_w) < 4.5 * layer.weights.sigma_w.error
        assert found.chi_1 == pytest.approx(field.chi_1, abs=max(4.5 * found.chi_1_error, 1e-9))
        q, growth = on_circles(net)
        off.append([[m.q / q[i] - 1, m.growth / growth[i] - 1] for i, m in enumerate(found.hidden)])
    mean, error = np.mean(off, axis=0), np.std(off, axis=0, ddof=1) / len(nets) ** 0.5
    assert (np.abs(mean) < 4 * error + [0, 0.01]).all()
    assert (error < 0.06).all()


def on_circles(net: nn.Module) -> tuple[list[float], list[float]]:
    """Mean square of each layer's pre-activations and stretching of small steps along circles around 0."""
    rng = np.random.default_rng(0)
    points, steps = rng.normal(size=(2, 100, 300))
    points *= np.sqrt(300) / np.linalg.norm(points, axis=1, keepdims=True)
    steps -= points * (points * steps).sum(1, keepdims=True) / 300
    before, width = 1e-6 * np.linalg.norm(steps, axis=1), 300
    walk = nf.capture(net, shape=(300,)).layer_inputs(torch.from_numpy(np.concatenate([points, points + 1e-6 * steps])))
    squares, growth = [], []
    for _, (read,), made in walk:
        after = (made[100:] - made[:100]).norm(dim=1).numpy()
        squares.append(float(read[:100].square().mean()))
        growth.append(float((after / before).mean() * math.sqrt(width / 400)))
        before, width = after, 400
    return squares, growth


def test_the_shape_is_read_off_the_first_dense_layer() -> None:
    """One call on a model: dense first layers tell the input, others are asked for it."""
    net = nf.random_network(20, 60, 3)
    assert repr(nf.diagnose(net)) == repr(diagnose(net, shape=(20,)))
    assert diagnose(nn.Sequential(nn.Flatten(), *nf.random_network(20, 60, 3)).eval()).inputs == 20
    with pytest.raises(InvalidInputError, match=r"does not tell the shape .* shape=\(1, 28, 28\)"):
        diagnose(SmallConv(3, nn.ReLU).eval())
    unflattened = nn.Sequential(nn.Unflatten(1, (4, 5)), nn.Linear(5, 3), nn.ReLU()).eval()
    with pytest.raises(InvalidInputError, match="inputs of 5 numbers failed"):
        diagnose(unflattened)
    assert diagnose(unflattened, shape=(20,)).inputs == 20


def test_the_point_sets_the_scale_of_the_signal() -> None:
    """q0 is the mean square of the point; sigma_w^2 q0 + sigma_b^2 follows."""
    net = nf.random_network(6, 50, 2, sigma_b=0.5)
    found = diagnose(net, torch.full((6,), 3.0))
    first = found.layers[0].weights
    assert found.q0 == 9.0
    assert found.layers[0].q == pytest.approx(9 * first.sigma_w.value**2 + first.sigma_b.value**2)


def test_gain_to_multiply_by_makes_it_critical() -> None:
    """Weights times ``rescale`` give a critical network, for a saturating activation with biases."""
    net = nf.random_network(80, 300, 4, activation="tanh", sigma_w=2.5, sigma_b=0.3, seed=3)
    found = diagnose(net, shape=(80,))
    assert found.phase is Phase.CHAOTIC
    with torch.no_grad():
        for name, part in net.named_children():
            if isinstance(part, nn.Linear) and name != "readout":
                part.weight *= found.rescale
    assert diagnose(net, shape=(80,)).phase is Phase.CRITICAL


def test_batch_norm_is_multiplied_in_and_warned_of() -> None:
    """In evaluation mode it is a scale: running variance 4 halves sigma_w; training would undo it."""
    net = nn.Sequential(nn.Linear(50, 200), nn.BatchNorm1d(200, eps=0), nn.ReLU(), nn.Linear(200, 3)).eval()
    plain = diagnose(net, shape=(50,)).sigma_w.value
    assert net[1].running_var is not None
    net[1].running_var.fill_(4.0)  # type: ignore[operator]
    found = diagnose(net, shape=(50,))
    assert found.sigma_w.value == pytest.approx(plain / 2)
    assert warned(found, "batch_norm: in training")
    assert "rescales" in found.structure


def test_a_convolution_counts_channels_times_kernel() -> None:
    """He's convolution: fan-in = in channels x kernel, critical; pooling stops the signal that is followed."""
    net = nn.Sequential(nn.Conv2d(4, 60, 3), nn.ReLU(), nn.Conv2d(60, 60, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    net.append(nn.Linear(240, 5))
    with torch.no_grad():
        for part in net:
            if isinstance(part, nn.Conv2d):
                generator = torch.Generator().manual_seed(0)
                part.weight.normal_(0, (2 / part.weight[0].numel()) ** 0.5, generator=generator)
    found = diagnose(net.eval(), shape=(4, 8, 8))
    assert [layer.fan_in for layer in found.layers] == [36, 540, 240]
    assert [layer.phase for layer in found.hidden] == [Phase.CRITICAL] * 2
    assert warned(found, "before '4', no weights are on the way")
    assert found.hidden[1].growth > 0
    assert math.isnan(found.layers[2].growth)


def test_what_single_layers_do_not_show_hedges_the_verdict() -> None:
    """Batch norm and skip connections stand in the first sentence, and no factor on the weights is advised."""
    for net, shape, words in (
        (SmallConv(3, nn.ReLU), (2, 6, 6), "judged in evaluation mode"),
        (Residual(40, nn.ReLU), (40,), "judged layer by layer as if in a chain, is"),
        (Branches(40, nn.ReLU), (40,), "judged layer by layer as if in a chain, is"),
    ):
        found = diagnose(net.eval(), shape=shape)
        assert words in found.verdict[0]
        assert not any("multiply" in sentence for sentence in found.verdict)
    assert diagnose(nf.random_network(30, 40, 2)).judged == ""


@pytest.mark.parametrize(
    ("net", "shape", "words"),
    [
        (Residual(40, nn.ReLU), (40,), ["joins several paths"]),
        (Branches(40, nn.ReLU), (40,), ["skip connection"]),
        (SmallConv(3, nn.ReLU), (2, 6, 6), ["batch_norm", "narrow", "zero padding"]),
        (default(30, 40, 40, activation=nn.GELU), (30,), ["no sigma_w makes gelu critical"]),
        (nn.Sequential(nn.Linear(9, 60), nn.Tanh(), nn.Linear(60, 60), nn.ReLU()), (9,), ["different activations"]),
        (nn.Sequential(nn.Linear(9, 60), nn.ReLU(), nn.Linear(60, 3), nn.Softmax(-1)), (9,), ["left out"]),
        (nf.random_network(5, 5, 6), (5,), ["narrow"]),
        (nf.random_network(50, 200, 3, sigma_w=3.0), (50,), ["grows without bound"]),
        (nf.random_network(50, 200, 3, sigma_w=0.5), (50,), ["dies out"]),
        (nf.random_network(50, 200, 3, scaling="width"), (50,), ["sigma_w differs between layers"]),
    ],
)
def test_where_theory_does_not_hold_it_says_so(net: nn.Module, shape: tuple[int, ...], words: list[str]) -> None:
    """Structure, width, mixed layers, and fixed points that do not exist."""
    assert warned(diagnose(net.eval(), shape=shape), *words)


def test_weights_that_are_not_random_are_named() -> None:
    """One direction that stands out, as training makes it, and orthogonal initialisation."""
    net = nf.random_network(60, 100, 3)
    with torch.no_grad():
        net[2].weight += 3 * torch.outer(torch.ones(100) / 10, torch.ones(100) / 10)  # type: ignore[operator]
        nn.init.orthogonal_(net[4].weight, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    found = diagnose(net, shape=(60,))
    assert warned(found, "linear2: its largest singular value", "linear3: its singular values are more alike")
    assert not found.random
    assert "not independent ones of one scale" in found.verdict[0]
    assert "to initialise with" in found.verdict[-1]
    assert not any("multiply" in sentence for sentence in found.verdict)


def test_forms() -> None:
    """Text, table and plot carry the same numbers; the result is frozen."""
    found = diagnose(nf.random_network(20, 60, 3), shape=(20,))
    frame = found.to_dataframe()
    assert frame["layer"].tolist() == ["linear1", "linear2", "linear3", "readout"]
    np.testing.assert_array_equal(frame["chi_1"], [layer.chi_1 for layer in found.layers])
    assert "Sequential is critical within three standard errors" in repr(found)
    assert "linear2" in repr(found)
    axes = found.plot()
    assert "chi_1" in axes.get_ylabel()
    with pytest.raises(AttributeError):
        found.chi_1 = 2.0  # type: ignore[misc]


def test_a_model_without_a_phase_is_refused_or_said() -> None:
    """Affine models and models without weights are errors; a model of softmax alone has no phase."""
    with pytest.raises(InvalidInputError, match="no nonlinearity"):
        diagnose(nn.Linear(3, 2), shape=(3,))
    with pytest.raises(InvalidInputError, match="no dense or convolutional weights"):
        diagnose(nn.ReLU(), shape=(3,))
    with pytest.raises(InvalidInputError, match="0 everywhere"):
        diagnose(nf.random_network(3, 4, 1), np.zeros(3))
    found = diagnose(nn.Sequential(nn.Linear(9, 20), nn.Softmax(-1)).eval(), shape=(9,))
    assert found.phase is None
    assert "no phase" in repr(found)


def test_the_model_is_left_alone() -> None:
    """Parameters, mode, gradients and the random state are as before."""
    net = nf.random_network(5, 6, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    diagnose(net, shape=(5,))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
