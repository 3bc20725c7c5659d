"""Binding weights to a captured architecture gives what capturing each network gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import netfold as nf
from netfold.capture.template import Template, architecture


class Residual(nn.Module):
    """A block with a functional nonlinearity, a skip connection and a setting of its own."""

    slope = 0.1

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.first, self.second, self.scale = nn.Linear(6, 6), nn.Linear(6, 6), scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.second(nn.functional.leaky_relu(self.first(x), self.slope))


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))


def normalised() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 1))


def made(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network with weights and statistics of its own, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = make()
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                tensor.data += 0.3 * torch.rand_like(tensor)
    return net.eval()


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]] = {
    "dense": (lambda: nn.Sequential(nn.Linear(6, 5), nn.Hardtanh(), nn.Linear(5, 1)), (6,), True),
    "double": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)).double(), (6,), True),
    "residual": (Residual, (6,), True),
    "convolutional": (convolutional, (2, 6, 6), True),
    "smooth": (lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 1)), (6,), True),
    "learnt slope": (lambda: nn.Sequential(nn.Linear(6, 5), nn.PReLU(5), nn.Linear(5, 1)), (6,), False),
    "weight norm": (normalised, (6,), False),
}


@pytest.mark.parametrize("case", CASES)
def test_bound_is_captured(case: str) -> None:
    """The same operations with the same weights: equal outputs to the last bit, and the model's own to rounding."""
    make, shape, bindable = CASES[case]
    nets = [made(make, seed) for seed in (0, 1)]
    template = Template(nets[0], shape)
    assert template.bindable == bindable
    before = {name: t.clone() for name, t in nets[1].state_dict().items()}
    state = torch.random.get_rng_state()
    bound, own = template.bind(nets[1]), nf.capture(nets[1], shape=shape)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(t, before[name]) for name, t in nets[1].state_dict().items())
    x = torch.randn(16, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(bound(x), own(x))
    assert [(layer.name, layer.op, layer.units) for layer in bound.layers] == [
        (layer.name, layer.op, layer.units) for layer in own.layers
    ]
    dtype = next(nets[1].parameters()).dtype
    with torch.no_grad():
        torch.testing.assert_close(bound(x).to(dtype), nets[1](x.to(dtype)), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(bound(x), template.program(x))


def test_later_changes_of_the_model_do_not_reach_the_program() -> None:
    """A program holds copies, also of weights that are in float64 already."""
    make, shape, _ = CASES["double"]
    net = made(make, 1)
    bound = Template(made(make, 0), shape).bind(net)
    x = torch.ones(1, 6, dtype=torch.float64)
    before = bound(x)
    net[0].weight.data.zero_()
    assert torch.equal(bound(x), before)


def test_what_is_another_architecture() -> None:
    """Settings, modes, hooks, shapes and shared weights tell networks apart; values of weights do not."""
    plain = architecture(Residual())
    assert architecture(made(Residual, 3)) == architecture(made(Residual, 4)) == architecture(Residual().eval())
    assert architecture(Residual(0.25)) != plain
    assert architecture(Residual().train()) != architecture(Residual().eval())
    hooked, tied = Residual(), Residual()
    hooked.first.register_forward_hook(lambda module, given, result: 2 * result)
    tied.second.weight = tied.first.weight
    assert len({plain, architecture(hooked), architecture(tied), architecture(Residual().double())}) == 4


def test_what_a_comparison_alone_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that looks the same and computes something else is captured by itself."""
    template = Template(made(Residual, 0), (6,))
    monkeypatch.setattr(Residual, "slope", 0.9)
    net = made(Residual, 1)
    x = torch.randn(8, 6, dtype=torch.float64)
    assert architecture(net) == architecture(made(Residual, 0))
    torch.testing.assert_close(template.bind(net)(x).float(), net(x.float()).detach(), rtol=1e-4, atol=1e-5)


def test_bad_weights_are_refused_as_by_capture() -> None:
    """NaN by name; numbers that get too large by the layer where they do."""
    make, shape, _ = CASES["double"]
    template = Template(made(make, 0), shape)
    holed, huge = made(make, 1), made(make, 2)
    holed[0].weight.data[0, 0] = float("nan")
    with pytest.raises(nf.InvalidInputError, match=r"'0\.weight' holds 1 values that are NaN"):
        template.bind(holed)
    for layer in (huge[0], huge[2]):
        layer.weight.data.fill_(1e200)
    with pytest.raises(nf.CaptureError, match="NaN or infinite"):
        template.bind(huge)
