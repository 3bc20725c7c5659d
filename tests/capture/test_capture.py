"""Captured programs give what the model gives, and are what they say they are."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from netfold.capture import Program, capture
from netfold.capture.program import flatten
from tests.capture.cases import CASES, NETWORKS, Case

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
]


@cache
def captured(case: Case) -> Program:
    return capture(case.model(), shape=case.shape)


def random_points(shape: tuple[int, ...], count: int = 6, seed: int = 1) -> Tensor:
    """Points that are well spread, so that clipped units are met on every side."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn((count, *shape), generator=generator, dtype=torch.float64)


def close(got: Tensor, wanted: Tensor, tolerance: float = 1e-12) -> bool:
    scale = max(1.0, float(wanted.abs().max()))
    return got.shape == wanted.shape and float((got - wanted).abs().max()) <= tolerance * scale


def mixture(values: Tensor, weights: Tensor) -> Tensor:
    return torch.tensordot(weights, values, 1)


def check_stages(program: Program, points: Tensor) -> None:
    """Stages are affine, rules are torch's operations, and values are one row a point: three laws at once."""
    weights = torch.tensor([[0.3, 0.3, 0.4, 0, 0, 0], [-1.5, 0.5, 1, 0.5, 0, 0.5]], dtype=torch.float64)
    values = program.start(points)
    for stage in program.stages:
        found = program.advance(stage, values)
        mixed = program.advance(stage, {i: mixture(v, weights) for i, v in values.items()})
        alone = [program.advance(stage, {i: v[p : p + 1] for i, v in values.items()}) for p in range(len(points))]
        assert set(found) == {*stage.inputs, *stage.alive}
        for i, rows in found.items():
            assert close(mixed[i], mixture(rows, weights))
            assert close(torch.cat([one[i] for one in alone]), rows)
        values = {i: found[i] for i in stage.alive}
        if stage.layer is not None:
            assert stage.layer.rule is not None
            made = program.activate(stage.layer, found)
            assert made.shape == (len(points), *stage.layer.shape)
            table = torch.from_numpy(stage.layer.rule(flatten([found[i] for i in stage.inputs])))
            assert close(table.reshape(made.shape), made)
            values[stage.layer.node.index] = table.reshape(made.shape)
        else:
            assert close(found[program.output], program(points))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_program_is_the_model(case: Case) -> None:
    """In float64 the program and the model give the same outputs, for several points and for one."""
    program, points = captured(case), random_points(case.shape)
    with torch.no_grad():
        assert close(program(points), case.model().double()(points.clone()))
    assert program(points).shape == (len(points), *program.output_shape)
    assert close(program(points[:1]), program(points)[:1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_stages_are_affine_and_rules_are_the_operations(case: Case) -> None:
    """Between nonlinearities mixtures go to mixtures; each table equals its operation; rows are points."""
    check_stages(captured(case), random_points(case.shape))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_layers_are_named_and_sized(case: Case) -> None:
    """Nonlinearities come in order, under unique names, with the shape and the units of one point."""
    program = captured(case)
    assert tuple((layer.name, layer.op, layer.shape) for layer in program.layers) == case.layers
    assert [layer.units for layer in program.layers] == [int(np.prod(shape)) for _, _, shape in case.layers]
    assert len({layer.name for layer in program.layers}) == len(program.layers)
    assert program.piecewise_linear


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_images_are_what_the_layers_make(case: Case) -> None:
    """`images` and `layer_inputs` agree with each other and with the program's output, one row a point."""
    program, points = captured(case), random_points(case.shape)
    *images, output = program.images(points)
    made = [result for _, _, result in program.layer_inputs(points)]
    assert all(torch.equal(m.reshape(len(points), -1), image) for m, image in zip(made, images, strict=True))
    assert torch.equal(output, program(points).reshape(len(points), -1))


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1)


class Piece(nn.Module):
    """A building block of random architectures; it keeps the number of features."""

    def __init__(self, kind: str, features: int) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(features, features)
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.linear(x))
        pieces = {
            "relu": lambda: F.relu(h),
            "hardtanh": lambda: F.hardtanh(h, -0.4, 0.9),
            "leaky": lambda: F.leaky_relu(h, -0.2, inplace=True),
            "residual": lambda: x + F.relu6(h),
            "maximum": lambda: torch.maximum(h, 0.5 * x),
            "pool": lambda: F.max_pool1d(h[:, None], 3, 1, 1)[:, 0],
            "cat": lambda: torch.cat([F.relu(h[:, :2]), h[:, 2:].abs()], 1),
            "heads": lambda: h.view(h.shape[0] * 2, -1).clamp(min=-0.3).view(h.shape[0], -1),
            "turned": lambda: F.relu(h.t()).t() - h,
        }
        return pieces[self.kind]()


KINDS = ["relu", "hardtanh", "leaky", "residual", "maximum", "pool", "cat", "heads", "turned"]


@settings(max_examples=20, deadline=None)
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), seed=st.integers(0, 2**16))
def test_random_architectures(kinds: list[str], seed: int) -> None:
    """Whatever the order of the pieces, the program is the model and its stages are affine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(*(Piece(kind, 6) for kind in kinds), nn.Linear(6, 2)).double().eval()
    program = capture(model, shape=(6,))
    points = random_points((6,), seed=seed)
    with torch.no_grad():
        assert close(program(points), model(points), 1e-11)
    check_stages(program, points)
    assert len(program.layers) == sum(2 if kind == "cat" else 1 for kind in kinds)


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_programs_travel(case: Case) -> None:
    """A program sent to another process gives the same numbers and layers there."""
    program, points = captured(case), random_points(case.shape)
    copied = pickle.loads(pickle.dumps(program))
    assert torch.equal(copied(points), program(points))
    assert [layer.name for layer in copied.layers] == [layer.name for layer in program.layers]


def test_a_program_is_a_snapshot() -> None:
    """Training the model after its capture leaves the program as it was, whatever the number type."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4)).double().eval()
    program, points = capture(model, shape=(3,)), random_points((3,))
    before = program(points)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    assert torch.equal(program(points), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_number_types(dtype: torch.dtype) -> None:
    """The program keeps the stored weights exactly, whatever their type, and computes in float64."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).to(dtype)
    program = capture(model, shape=(1, 4, 4))
    points = random_points((1, 4, 4))
    with torch.no_grad():
        assert close(program(points), copy.deepcopy(model).double()(points))
    assert program.dtype == dtype
    assert program(points).dtype == torch.float64


def test_mixed_number_types() -> None:
    """A model whose parts have different types is followed in float64 all through."""
    first, second = nn.Linear(3, 4), nn.Linear(4, 2).double()
    model = nn.Sequential(first, nn.ReLU())
    model.append(nn.Sequential())
    whole = torch.nn.Module()
    whole.first, whole.second = model, second
    whole.forward = lambda x: second(model(x).double())  # type: ignore[method-assign]
    program = capture(whole, shape=(3,))
    points = random_points((3,))
    with torch.no_grad():
        assert close(program(points), second(copy.deepcopy(model).double()(points)))


def test_a_deep_chaotic_network_is_captured() -> None:
    """Rounding that grows along a deep chaotic network is no reason to refuse it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(30, 30) for _ in range(60)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=4 / 30**0.5)
    program = capture(nn.Sequential(*(m for layer in layers for m in (layer, nn.Hardtanh()))), shape=(30,))
    assert len(program.layers) == 60


def test_a_program_is_captured_once() -> None:
    """A program given again is returned as it is, if the points have its shape."""
    program = capture(nn.Linear(3, 2), shape=(3,))
    assert capture(program) is program
    assert capture(program, np.zeros(3)) is program
    with pytest.raises(ValueError, match=r"takes points of shape \(3,\), got \(4,\)"):
        capture(program, shape=(4,))


def test_threads_may_capture_at_once() -> None:
    """`torch.export` may not be run by two threads at a time; captures wait for each other."""
    models = [nn.Sequential(nn.Linear(2, 3 + i), nn.ReLU(), nn.Linear(3 + i, 1)).double().eval() for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        programs = list(pool.map(lambda model: capture(model, shape=(2,)), models))
    assert [program.layers[0].units for program in programs] == [3 + i for i in range(12)]


def test_smooth_networks_are_followed_without_stages() -> None:
    """Other operations become layers without a rule; only exact methods refuse them."""
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 4), nn.LayerNorm(4), nn.Softmax(1)).double()
    program = capture(model, shape=(3,))
    points = random_points((3,))
    assert [(layer.name, layer.op, layer.rule) for layer in program.layers] == [
        ("1", "gelu", None), ("3", "layer_norm", None), ("4", "softmax", None)
    ]  # fmt: skip
    with torch.no_grad():
        assert close(program(points), model(points))
    assert not program.piecewise_linear


def test_wrapped_models_are_unwrapped() -> None:
    """A compiled model, or one spread over devices, is captured under the names of the model itself."""
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    for wrapped in (torch.compile(model), nn.DataParallel(model)):
        assert [layer.name for layer in capture(wrapped, shape=(3,)).layers] == ["1"]


def test_a_sequence_first_output_is_given_one_row_a_point() -> None:
    """A network that returns its batch on another axis gives the same numbers, one row a point."""
    model = nn.Sequential(Transposed(), nn.Linear(4, 3), nn.ReLU()).double()
    program = capture(model, shape=(5, 4))
    points = random_points((5, 4))
    with torch.no_grad():
        assert close(program(points), model(points).transpose(0, 1))
    assert program.output_shape == (5, 3)
    assert program.layers[0].shape == (5, 3)


def test_a_recurrent_network_is_followed() -> None:
    """An operation that returns several tensors is read by those that are used, sequence first or not."""

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x.transpose(0, 1))[0][-1]

    model = Last().double()
    program = capture(model, shape=(5, 3))
    points = random_points((5, 3))
    with torch.no_grad():
        assert close(program(points), model(points))
    assert program.layers[0].shape == (5, 4)


def test_points_are_checked() -> None:
    """Points must be numbers, finite and of the program's shape, one a row."""
    program = capture(nn.Linear(3, 2), shape=(3,))
    assert program.points(np.zeros((2, 3), np.float32)).dtype == torch.float64
    with pytest.raises(ValueError, match=r"takes points of shape \(3,\), one a row, got an array of shape \(3,\)"):
        program.points(np.zeros(3))
    with pytest.raises(ValueError, match="must be finite, got 1 values"):
        program.points([[0.0, float("nan"), 1.0]])
    with pytest.raises(ValueError, match="must be numbers, got str"):
        program.points("abc")
