"""Laws of doubts: where rounding may have decided a state, whatever the blocks and threads; nowhere on ordinary lines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.exact.line.ensemble import EnsembleTracer
from netfold.exact.line.tracer import LineTracer
from tests.exact.cells.networks import module
from tests.exact.line import rational_segments
from tests.models import random_model
from tests.stress.checks import lines, network
from tests.stress.networks import points_of


def doubts(program: nf.Program, paths: list[nf.Line] | list[nf.Polyline], **options: int) -> list[list[float]]:
    """The doubts of some paths, traced in one batch."""
    return [found.tolist() for found in traced(program, paths, **options).doubts]


def traced(program: nf.Program, paths: list[nf.Line] | list[nf.Polyline], **options: int) -> LineTracer:
    """Some paths, traced in one batch."""
    tracer = LineTracer(program, len(paths), **options)
    t = np.concatenate([path.vertices[0] for path in paths])
    points = program.points(np.concatenate([path.vertices[1] for path in paths]), "the path")
    tracer.run(t, np.repeat(np.arange(len(paths)), [len(path.vertices[0]) for path in paths]), points)
    return tracer


@pytest.mark.parametrize("kind", ["integer, no biases", "duplicated", "through knots", "2-bit"])
def test_blocks_and_threads_change_nothing(kind: str) -> None:
    """Blocks of eight rows, and runs of them on three threads, doubt the same places as one block does."""
    threads, some = torch.get_num_threads(), 0
    for seed in range(8):
        layers, rng = network("lines", kind, seed)
        program = nf.capture(module(layers), shape=layers[0].weights.shape[1:])
        paths = [nf.Line(*points_of(kind, rng, layers, 2)) for _ in range(5)]
        whole = doubts(program, paths)
        assert doubts(program, paths, block_bytes=1) == whole
        assert [doubts(program, [path])[0] for path in paths] == whole
        try:
            torch.set_num_threads(3)
            assert doubts(program, paths, block_bytes=1, fork=1) == whole
        finally:
            torch.set_num_threads(threads)
        some += sum(map(len, whole))
    assert some > 0


@pytest.mark.parametrize("seed", [41000203, 41000345, 1000000228, 1000000402])
def test_values_that_overflow(seed: int) -> None:
    """Places that are no numbers end nowhere else than in a word."""
    verdicts = lines("denormals, 1e300", seed)
    assert verdicts
    assert not any(verdict.silent or verdict.odd for verdict in verdicts)


def test_bends_of_an_output_that_is_rounding() -> None:
    """They are counted alike in blocks of any size: relu(h) - relu(h) along a line on which h bends."""
    net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    row = np.linspace(0.1, 1.3, 8)
    numbers = np.ones((8, 1)), np.linspace(-0.9, 0.8, 8), np.array([row, 3 * row]), np.zeros(2), [[3.0, -1.0]], [0.0]
    for parameter, values in zip(net.parameters(), numbers, strict=True):
        parameter.data = torch.as_tensor(values, dtype=torch.float64)
    program, line = nf.capture(net, shape=(1,)), nf.Line([-1.0], [1.0])
    found = [traced(program, [line], **options).results[0] for options in ({}, {"block_bytes": 1, "fork": 1})]
    assert found[0].faint == found[1].faint > 0
    assert nf.trace_path(program, line).linear_pieces == nf.trace_path(program, line, certify=True).linear_pieces


@pytest.mark.parametrize(
    ("kind", "seed"), [("through knots", 9900006), ("through knots", 9900014), ("through knots", 9950002),
     ("through knots", 41000636), ("many magnitudes", 9900002), ("many magnitudes", 41000096),
     ("many magnitudes", 42000139),
     ("integer, no biases", 41000326), ("float32 multiples", 9930032),
     ("float32 multiples", 2000000398), ("float32 multiples", 2040000539)],
)  # fmt: skip
def test_decided(kind: str, seed: int) -> None:
    """A layer of one unit whose knot the line lies on, a unit whose values come out as its knot at both ends, breakpoints
    that float64 places badly or merges, and bends of an output that is rounding alone, as they truly are."""
    assert not any(verdict.wrong or verdict.odd for verdict in lines(kind, seed))


def on_knots(seed: int) -> tuple[nf.Program, list[nf.Line]]:
    """A network whose first layer has one unit, and lines on which that is rounding alone."""
    rng = np.random.default_rng(seed)
    model = nf.random_network(4, [1, 5], seed=seed, sigma_b=0.5, dtype=torch.float64)
    weight, bias = (value.detach().numpy() for value in model[0].parameters())
    ends = rng.normal(0, 2, (3, 2, 4))
    ends -= ((ends @ weight[0] + bias[0]) / (weight[0] @ weight[0]))[..., None] * weight[0]
    return nf.capture(model, shape=(4,)), [nf.Line(*pair) for pair in ends]


def test_drowned_layers_are_doubts() -> None:
    """Whatever the blocks, and in ensembles as alone; a line off the knot has none."""
    networks = [on_knots(seed) for seed in range(6)]
    whole = [doubts(program, paths) for program, paths in networks]
    assert all(found for some in whole for found in some)
    assert [doubts(program, paths, block_bytes=1) for program, paths in networks] == whole
    tracer = EnsembleTracer([program for program, _ in networks])
    ends = np.stack([paths[0].vertices[1] for _, paths in networks]).reshape(-1, 4)
    tracer.run(np.tile([0.0, 1.0], 6), np.repeat(np.arange(6), 2), networks[0][0].points(ends, "the paths"))
    assert [found.tolist() for found in tracer.doubts] == [some[0] for some in whole]
    program, paths = networks[0]
    assert not doubts(program, [nf.Line(*(paths[0].vertices[1] + 1.0))])[0]


@pytest.mark.parametrize("seed", [9920003, 9920009])
def test_a_third_entry_of_a_maximum(seed: int) -> None:
    """Where w, -3 w and 3 w meet but for rounding, the third one may win in between: it is found as exactly as it is."""
    layers, rng = network("arcs", "duplicated", seed)
    program, proven = nf.capture(module(layers), shape=(3,)), 0
    for _ in range(20):
        path = nf.Line(*rng.normal(0, 2, (2, 3)))
        trace, true = nf.trace_path(program, path), rational_segments.met(layers, path.x0, path.x1)
        assert trace.transitions.tolist() == true.transitions
        assert trace.regions == len(true.breakpoints) + 1
        proven += trace.resolved is not None
    assert proven > 0


@pytest.mark.parametrize("seed", range(8))
def test_none_in_general_position(seed: int) -> None:
    """Dense, residual, branching and convolutional networks of random weights leave nothing to doubt."""
    model, shape = random_model(seed, seed % 4)
    path = nf.Line(*np.random.default_rng(seed).normal(0, 2, (2, *shape)))
    trace = nf.trace_path(model, path)
    assert (trace.status, trace.doubtful, trace.resolved, trace.uncertain) == ("exact", None, None, None)


def test_what_stays_equal_is_no_doubt() -> None:
    """Zeros of ReLU under max pooling, and under another ReLU, are ties that no rounding made."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    ends = np.random.default_rng(0).normal(0, 1, (2, 1, 8, 8))
    trace = nf.trace_path(model, nf.Line(*ends))
    assert trace.regions > 10
    assert trace.status == "exact"


def test_numbers_of_every_size_are_doubts() -> None:
    """A weight of 1e-200 is usual for no float: the path is proven, or doubted as a whole."""
    layer = nn.Linear(1, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1e-200], [1.0]], dtype=torch.float64))
        layer.bias.copy_(torch.tensor([0.0, 0.25], dtype=torch.float64))
    trace = nf.trace_path(nn.Sequential(layer, nn.ReLU()), nf.Line([-1.0], [1.0]))
    assert (trace.regions, trace.uncertain, trace.status) == (3, 0, "exact; proven")
