"""The regulariser: its term against plain arithmetic, its gradient, its promises in a training loop."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import netfold as nf
from netfold.training.regularizer import mean_step


def net(seed: int = 0, **options: object) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(4, 16), nf.TrajectoryRegularizer(**options), nn.ReLU(),  # type: ignore[arg-type]
            nn.Linear(16, 16), nf.TrajectoryRegularizer(**options), nn.ReLU(),  # type: ignore[arg-type]
            nn.Linear(16, 3),
        ).double()  # fmt: skip


def batch(seed: int = 0, rows: int = 32) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=g, dtype=torch.float64), torch.randint(0, 3, (rows,), generator=g)


def length(z: np.ndarray) -> float:
    """Mean step of the polyline, by numpy."""
    return float(np.linalg.norm(np.diff(z.reshape(len(z), -1), axis=0), axis=1).mean())


def activations(model: nn.Sequential, x: Tensor) -> list[np.ndarray]:
    """What enters every regulariser, by running the layers before it."""
    found = []
    for module in model:
        if isinstance(module, nf.TrajectoryRegularizer):
            found.append(x.detach().numpy())
            x = module.scale.detach() * x if module.scaled else x
        else:
            x = module(x)
    return found


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("original", ["first", "input"])
def test_the_term_is_the_ratio_of_lengths(scaled: bool, original: str) -> None:
    """lambda * current / original, times the weight, summed over layers: at the first batch and at a later one."""
    model = net(weight=0.03, original=original, scaled=scaled).train()
    (x0, _), (x1, _) = batch(0), batch(1, rows=20)
    model(x0)
    first = [length(z) for z in activations(model, x0)]
    if scaled:
        with torch.no_grad():
            model[1].log_scale.fill_(np.log(1.7))
            model[4].log_scale.fill_(np.log(0.4))
    model(x1)
    now = [length(z) for z in activations(model, x1)]
    scales = [1.7, 0.4] if scaled else [1.0, 1.0]
    references = first if original == "first" else [length(x1.numpy())] * 2
    expected = 0.03 * sum(s * c / o for s, c, o in zip(scales, now, references, strict=True))
    assert float(nf.TrajectoryRegularizer.penalty(model, x1).detach()) == pytest.approx(expected, rel=1e-12)


def test_the_output_is_scaled_alike_in_training_and_evaluation() -> None:
    """lambda z in both modes, row by row; the plain penalty leaves activations alone."""
    layer = nf.TrajectoryRegularizer().double()
    with torch.no_grad():
        layer.log_scale.fill_(np.log(2.5))
    x, _ = batch()
    assert torch.allclose(layer.train()(x), 2.5 * x, rtol=1e-14)
    assert torch.equal(layer.train()(x)[:5], layer.eval()(x[:5]))
    plain = nf.TrajectoryRegularizer(scaled=False).train()
    assert plain(x) is x
    assert list(plain.parameters()) == []


def test_gradients_are_right() -> None:
    """Against finite differences, in every parameter and with lambda."""
    model = net().train()
    x, y = batch(rows=6)
    model(x)
    names = [n for n, _ in model.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        copied = copy.deepcopy(model)
        out = torch.func.functional_call(copied, dict(zip(names, values, strict=True)), (x,))
        return cross_entropy(out, y) + 10 * nf.TrajectoryRegularizer.penalty(copied)

    values = tuple(p.detach().clone().requires_grad_() for p in model.parameters())
    assert torch.autograd.gradcheck(loss, values)


def test_coinciding_rows_and_single_rows_have_finite_gradients() -> None:
    """Steps of length 0 have gradient 0; one row has no step."""
    for x in (torch.ones(5, 3), torch.ones(1, 3)):
        layer = nf.TrajectoryRegularizer().train()
        x = x.requires_grad_()
        layer(x)
        nf.TrajectoryRegularizer.penalty(layer).backward()
        assert x.grad is not None
        assert bool((x.grad == 0).all())
        assert layer.log_scale.grad is not None
        assert bool(torch.isfinite(layer.log_scale.grad))


def test_three_lines_shorten_the_trajectory() -> None:
    """With a strong penalty, training ends with shorter images than without, and still learns."""
    x, y = batch(rows=64)
    ends = {}
    for weight in (0.0, 3.0):
        model = net(weight=weight, scaled=False).train()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y) + nf.TrajectoryRegularizer.penalty(model)
            loss.backward()
            optimizer.step()
        ends[weight] = [length(z) for z in activations(model, x)]
    assert all(b < 0.7 * a for a, b in zip(ends[0.0], ends[3.0], strict=True))


def steps(model: nn.Module, count: int = 4) -> list[Tensor]:
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for i in range(count):
        x, y = batch(i)
        optimizer.zero_grad()
        (cross_entropy(model(x), y) + nf.TrajectoryRegularizer.penalty(model)).backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


@pytest.mark.parametrize("options", [{}, {"scaled": False}], ids=["layer", "penalty"])
def test_compiled_training_is_the_same(options: dict) -> None:
    """One graph without a break, and the same parameters after some steps (torch.compile, eager backend)."""
    model = net(**options).train()
    compiled = copy.deepcopy(model)
    torch._dynamo.reset()
    run = torch.compile(compiled, backend="aot_eager", fullgraph=True)
    for a, b in zip(steps(model), steps(run), strict=True):
        assert torch.allclose(a, b, rtol=1e-10)
    assert float(compiled[1].original_length) == pytest.approx(float(model[1].original_length))


def test_checkpoints_keep_the_original_length() -> None:
    """A loaded state goes on comparing with the first batch ever."""
    model = net().train()
    steps(model)
    other = net(seed=5).train()
    other.load_state_dict(model.state_dict())
    x, _ = batch(9)
    model(x), other(x)
    penalties = [float(nf.TrajectoryRegularizer.penalty(m).detach()) for m in (model, other)]
    assert penalties[0] == penalties[1]


def test_copies_and_evaluation_hold_no_graph() -> None:
    model = net().train()
    model(batch()[0])
    assert copy.deepcopy(model)[1].term is None
    fresh = net().eval()
    fresh(batch()[0])
    with pytest.raises(nf.InvalidInputError, match="has not run in training mode"):
        nf.TrajectoryRegularizer.penalty(fresh)


def test_it_takes_the_place_of_batch_norm() -> None:
    """Every batch norm of a copy, one regulariser for a module that is used twice; the model itself stays."""
    shared = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(4, 4), shared, nn.Sequential(nn.Linear(4, 4), shared), nn.BatchNorm1d(4)).eval()
    changed = nf.TrajectoryRegularizer.in_place_of_batch_norm(model, lambda: nf.TrajectoryRegularizer(0.5))
    found = [m for m in changed.modules() if isinstance(m, nf.TrajectoryRegularizer)]
    assert len(found) == 2
    assert changed[1] is changed[2][1]
    assert all(not m.training and m.weight == 0.5 for m in found)
    assert not any(isinstance(m, nn.BatchNorm1d) for m in changed.modules())
    assert model[1] is shared
    with pytest.raises(nf.InvalidInputError, match="no batch norm"):
        nf.TrajectoryRegularizer.in_place_of_batch_norm(changed)


def test_half_precision_does_not_overflow() -> None:
    layer = nf.TrajectoryRegularizer().train()
    layer(torch.full((3, 100), 300.0, dtype=torch.float16).cumsum(0))
    assert bool(torch.isfinite(nf.TrajectoryRegularizer.penalty(layer)))


def test_the_length_is_the_mean_step() -> None:
    x = torch.randn(7, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(mean_step(x)) == pytest.approx(length(x.numpy()), rel=1e-13)
    assert float(mean_step(x[:, 0, 0])) == pytest.approx(length(x[:, 0, 0].numpy()), rel=1e-13)


def test_captured_networks_may_hold_it() -> None:
    """In evaluation it is affine: a trained network with it is traced exactly."""
    model = net().train()
    steps(model)
    trace = nf.trace_path(model.eval(), nf.Line(np.zeros(4), np.ones(4)))
    assert trace.method == "exact"


def test_bad_use_is_refused() -> None:
    x = torch.ones(3, 2)
    with pytest.raises(nf.InvalidInputError, match="weight must be"):
        nf.TrajectoryRegularizer(-1.0)
    with pytest.raises(nf.InvalidInputError, match="original must be"):
        nf.TrajectoryRegularizer(original="last")  # type: ignore[arg-type]
    with pytest.raises(nf.InvalidInputError, match="has no TrajectoryRegularizer"):
        nf.TrajectoryRegularizer.penalty(nn.Linear(2, 2))
    layer = nf.TrajectoryRegularizer(original="input").train()
    layer(x)
    with pytest.raises(nf.InvalidInputError, match="penalty\\(model, inputs\\)"):
        nf.TrajectoryRegularizer.penalty(layer)
