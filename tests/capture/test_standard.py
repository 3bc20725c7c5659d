"""A chain of torch's own layers is read without an export, into the program that the export gives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from netfold.capture import capture
from netfold.capture.export import export
from netfold.capture.graph import reader
from netfold.capture.operations import by_name
from netfold.capture.program import Node
from netfold.capture.reading import PROBES, probes, proved, read_module
from netfold.capture.standard import LAYERS, StandardReader
from tests.capture.cases import CASES, Case, randomised
from tests.capture.test_template import same_program

IMAGE, SERIES, VOLUME, VECTOR = (4, 8, 8), (4, 8), (2, 4, 4, 4), (4,)

SETTINGS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Linear(4, 3, bias=False), VECTOR),
    (lambda: nn.Linear(4, 3), (5, 4)),
    (lambda: nn.Conv1d(4, 2, 3, padding="same", dilation=2), SERIES),
    (lambda: nn.Conv2d(4, 2, (3, 2), stride=(2, 1), padding=1, groups=2, bias=False), IMAGE),
    (lambda: nn.Conv2d(4, 2, 3, padding="valid"), IMAGE),
    (lambda: nn.Conv2d(4, 2, 3, dilation=2), IMAGE),
    (lambda: nn.Conv3d(2, 2, 2), VOLUME),
    (lambda: nn.BatchNorm1d(4), SERIES),
    (lambda: nn.BatchNorm1d(4, affine=False), VECTOR),
    (lambda: nn.BatchNorm2d(4, eps=1e-3, momentum=0.2), IMAGE),
    (lambda: nn.BatchNorm3d(2), VOLUME),
    (lambda: nn.AvgPool1d(2), SERIES),
    (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), IMAGE),
    (lambda: nn.AvgPool2d((2, 1), divisor_override=3), IMAGE),
    (lambda: nn.AvgPool3d(2), VOLUME),
    (lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    (lambda: nn.AdaptiveAvgPool2d((2, 3)), IMAGE),
    (lambda: nn.MaxPool1d(2, 1), SERIES),
    (lambda: nn.MaxPool2d(3, 2, 1), IMAGE),
    (lambda: nn.MaxPool2d((2, 1), dilation=2, ceil_mode=True), IMAGE),
    (lambda: nn.MaxPool3d(2), VOLUME),
    (lambda: nn.Flatten(), IMAGE),
    (lambda: nn.Flatten(2, -1), IMAGE),
    (lambda: nn.Unflatten(1, (2, 2)), SERIES),
    (lambda: nn.Dropout(0.3), VECTOR),
    (lambda: nn.Dropout2d(0.3), IMAGE),
    (lambda: nn.ReLU(inplace=True), VECTOR),
    (lambda: nn.ReLU6(), VECTOR),
    (lambda: nn.Hardtanh(), VECTOR),
    (lambda: nn.Hardtanh(-2, 0.5, inplace=True), VECTOR),
    (lambda: nn.LeakyReLU(), VECTOR),
    (lambda: nn.LeakyReLU(0.2, inplace=True), VECTOR),
    (lambda: nn.PReLU(4), VECTOR),
    (lambda: nn.Hardsigmoid(inplace=True), VECTOR),
    (lambda: nn.Softshrink(0.3), VECTOR),
    (lambda: nn.Tanh(), VECTOR),
    (lambda: nn.Sigmoid(), VECTOR),
    (lambda: nn.SiLU(inplace=True), VECTOR),
    (lambda: nn.GELU(), VECTOR),
    (lambda: nn.GELU(approximate="tanh"), VECTOR),
    (lambda: nn.ELU(0.5), VECTOR),
    (lambda: nn.Softplus(2.0, 10.0), VECTOR),
    (lambda: nn.LayerNorm(4), VECTOR),
    (lambda: nn.LayerNorm([8, 8], elementwise_affine=False), IMAGE),
    (lambda: nn.Identity(), VECTOR),
]
"""Every layer of the table, in every way that its settings can be written."""


def chained(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return randomised(nn.Sequential(nn.Identity(), nn.Sequential(make(), nn.LeakyReLU(0.3)))).eval()


def told(node: Node) -> dict[str, object]:
    """The arguments by name, with defaults, without tensors."""
    named = by_name(node.schema, node.args, node.kwargs)
    return {name: value for name, value in named.items() if not isinstance(value, Tensor)}


def check(model: nn.Module, shape: tuple[int, ...]) -> None:
    standard = StandardReader.of(model)
    assert standard is not None
    dtype, points = torch.float32, probes((PROBES, *shape), torch.device("cpu"))
    size = sum(p.numel() for p in model.parameters())
    read = reader(export(model, shape, dtype, points.device), "Sequential")
    exported = proved(read, model, "Sequential", points, dtype, size)
    direct = proved(standard.read, model, "Sequential", points, dtype, size)
    assert same_program(direct.program, exported.program)
    assert [told(node) for node in direct.program.nodes] == [told(node) for node in exported.program.nodes]
    assert set(direct.weights) == set(exported.weights)


@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_every_setting_of_every_layer(number: int) -> None:
    """Operations, arguments, names, rules, weights and values are those of the export."""
    make, shape = SETTINGS[number]
    check(chained(make), shape)


def test_every_layer_is_tried() -> None:
    """No layer of the table is left out above."""
    assert {type(make()) for make, _ in SETTINGS} == set(LAYERS)


CHAINS = [case for case in CASES if StandardReader.of(case.model()) is not None]


@pytest.mark.parametrize("case", CHAINS, ids=lambda case: case.name)
def test_chains_among_the_cases(case: Case) -> None:
    """Whole networks as well."""
    check(case.model(), case.shape)


def refused() -> dict[str, nn.Module]:
    """Chains whose layers do not do what their class says."""
    hooked, changed, scaled, pruned = (nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(4))
    hooked[0].register_forward_hook(lambda module, given, result: result.mul(2))
    changed[1].forward = torch.abs
    scaled.forward = lambda input: scaled[1](scaled[0](input)) * 2
    prune.random_unstructured(pruned[0], "weight", amount=0.5)
    return {"a hook": hooked, "a forward": changed, "a forward of the chain": scaled, "pruned": pruned}


@pytest.mark.parametrize("name", refused())
def test_what_only_looks_like_one_is_exported(name: str) -> None:
    """The table is not believed: what the layers do is seen, and another way of reading is taken."""
    model = refused()[name]
    points = probes((PROBES, 4), torch.device("cpu")).float()
    standard = StandardReader.of(model)
    if standard is not None:
        with pytest.raises(Exception, match="runs other operations"):
            standard.read(points)
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(capture(model, shape=(4,))(x.double()).float(), model(x), rtol=1e-5, atol=1e-5)
    assert same_program(capture(model, shape=(4,)), read_module(model, (4,)).program)


def test_what_is_left_to_the_export() -> None:
    """Layers that do something else in training, and settings that the export writes in another way."""
    for layer in (nn.Dropout(), nn.BatchNorm1d(4), nn.BatchNorm1d(4, track_running_stats=False).eval()):
        assert StandardReader.of(nn.Sequential(layer)) is None
    for layer in (
        nn.AdaptiveAvgPool2d((2, None)),
        nn.Dropout(inplace=True).eval(),
        nn.Flatten(0),
        nn.Unflatten(0, (1, -1)),
    ):
        assert StandardReader.of(nn.Sequential(layer)) is None


def test_no_export_is_imported() -> None:
    """Following a chain imports neither sympy nor the compiler, which take longer than torch itself."""
    code = (
        "import sys, netfold as nf; net = nf.random_network(3, 5, 2); nf.trace_path(net, nf.Line([0.0] * 3, [1.0] * 3));"
        "print([name for name in ('sympy', 'torch._dynamo', 'pandas', 'matplotlib', 'scipy.stats') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
