"""Laws of exact traces along straight lines, checked by plain forward passes that share no code with the tracer."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import netfold as nf
from netfold.exact.line.tracer import LineTracer
from netfold.exact.paths.output import exact_totals
from tests.models import FAMILIES, random_model, record

SEEDS = st.integers(0, 2**32 - 1)


def random_line(seed: int, shape: tuple[int, ...], scale: float = 2.0) -> nf.Line:
    rng = np.random.default_rng([seed, 1])
    return nf.Line(rng.normal(0, scale, shape), rng.normal(0, scale, shape))


def inside(trace: nf.Trace) -> np.ndarray:
    """The middle of every region."""
    edges = np.concatenate([[0.0], trace.breakpoints, [1.0]])
    return (edges[1:] + edges[:-1]) / 2


@pytest.mark.parametrize("family", range(len(FAMILIES)), ids=FAMILIES)
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_patterns_lengths_and_transitions_by_forward_passes(family: int, seed: int) -> None:
    """Between breakpoints the pattern is constant, across each it changes; flips and chords add up layer by layer.

    On 4 families x 60 random networks.
    """
    model, shape = random_model(seed, family)
    path = random_line(seed, shape)
    trace = nf.trace_path(model, path)
    edges = np.concatenate([[0.0], trace.breakpoints, [1.0]])
    width = np.diff(edges)
    assert (width > 0).all()

    middle, _, _ = record(model, path(inside(trace)))
    flips = [(m[1:] != m[:-1]).sum().item() for m in middle]
    assert flips == trace.transitions.tolist()
    joint = torch.cat(middle, 1)
    assert (joint[1:] != joint[:-1]).any(1).all()
    assert trace.regions == len(joint)
    assert trace.patterns == len(torch.unique(joint, dim=0)) == trace.regions

    wide = width > 1e-9
    for share in (0.03, 0.97):
        other, _, _ = record(model, path(edges[:-1] + share * width))
        assert torch.equal(torch.cat(other, 1)[wide], joint[wide])

    _, images, output = record(model, path(edges))
    chords = [np.linalg.norm(np.diff(i.numpy(), axis=0), axis=1).sum() for i in [*images, output]]
    np.testing.assert_allclose(trace.lengths[1:], chords, rtol=1e-9, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_reversed_line_gives_the_mirrored_trace(seed: int) -> None:
    """x(1 - t) meets the same breakpoints from the other side, with equal counts and lengths."""
    model, shape = random_model(seed)
    path = random_line(seed, shape)
    forward, backward = (nf.trace_path(model, p) for p in (path, nf.Line(path.x1, path.x0)))
    np.testing.assert_allclose(1 - backward.breakpoints[::-1], forward.breakpoints, atol=1e-9)
    assert backward.transitions.tolist() == forward.transitions.tolist()
    assert backward.sign_transitions.tolist() == forward.sign_transitions.tolist()
    assert backward.linear_pieces == forward.linear_pieces
    np.testing.assert_allclose(backward.lengths, forward.lengths, rtol=1e-9, atol=1e-12)
    # one unit alone passes through the origin, where the image has no direction
    angles = [[y.angular_length for y in trace.layers if y.units > 1] for trace in (forward, backward)]
    np.testing.assert_allclose(angles[0], angles[1], rtol=1e-6, atol=1e-6)
    bends = [[layer.turning for layer in trace.layers] for trace in (forward, backward)]
    np.testing.assert_allclose(bends[0], bends[1], rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.05, 0.95))
def test_splitting_a_line_adds_up(seed: int, where: float) -> None:
    """Transitions and lengths of the two parts of a line add up to those of the whole."""
    model, shape = random_model(seed)
    path = random_line(seed, shape)
    middle = path(where)
    whole = nf.trace_path(model, path)
    parts = nf.trace_paths(model, [nf.Line(path.x0, middle), nf.Line(middle, path.x1)])
    if np.abs(whole.breakpoints - where).min(initial=1.0) < 1e-9:
        return
    assert (parts[0].transitions + parts[1].transitions).tolist() == whole.transitions.tolist()
    np.testing.assert_allclose(parts[0].lengths + parts[1].lengths, whole.lengths, rtol=1e-9, atol=1e-12)
    joined = np.concatenate([parts[0].breakpoints * where, where + (1 - where) * parts[1].breakpoints])
    np.testing.assert_allclose(joined, whole.breakpoints, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0.1, 10.0))
def test_scaling_input_and_biases_scales_relu_lengths_and_keeps_patterns(seed: int, scale: float) -> None:
    """For ReLU, x -> c x with biases -> c biases multiplies every image by c > 0."""
    rng = np.random.default_rng(seed)
    net = nf.random_network(3, int(rng.integers(2, 9)), 3, 2, sigma_b=0.5, seed=seed % 2**31, dtype=torch.float64)
    path = random_line(seed, (3,))
    before = nf.trace_path(net, path)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.mul_(scale)
    after = nf.trace_path(net, nf.Line(scale * path.x0, scale * path.x1))
    assert after.transitions.tolist() == before.transitions.tolist()
    np.testing.assert_allclose(after.breakpoints, before.breakpoints, atol=1e-10)
    np.testing.assert_allclose(after.lengths, scale * before.lengths, rtol=1e-10)


def tent_network(depth: int) -> nn.Sequential:
    """The tent map composed ``depth`` times: layers (relu(y), relu(y - 1/2)), next y = 2 a - 4 b."""
    parts: list[nn.Module] = []
    for i in range(depth):
        layer = nn.Linear(1 if i == 0 else 2, 2)
        with torch.no_grad():
            weight = torch.ones(2, 1) if i == 0 else torch.tensor([[2.0, -4.0], [2.0, -4.0]])
            layer.weight.copy_(weight)
            layer.bias.copy_(torch.tensor([0.0, -0.5]))
        parts += [layer, nn.ReLU()]
    readout = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        readout.weight.copy_(torch.tensor([[2.0, -4.0]]))
    return nn.Sequential(*parts, readout).eval()


@pytest.mark.parametrize("depth", [1, 2, 5, 9, 16])
def test_tent_map(depth: int) -> None:
    """n tent layers on [0, 1]: 2^n regions, pieces and patterns, 2^(l-1) flips in layer l, exact lengths."""
    trace = nf.trace_path(tent_network(depth), nf.Line([0.0], [1.0]))
    assert trace.regions == trace.linear_pieces == trace.patterns == 2**depth
    assert trace.transitions.tolist() == [2**layer for layer in range(depth)]
    assert trace.breakpoints.tolist() == [i / 2**depth for i in range(1, 2**depth)]
    np.testing.assert_allclose(trace.output.length, 2.0**depth, rtol=1e-14)
    expected = [2.0**layer * (1 + 2**0.5) / 2 for layer in range(depth)]
    np.testing.assert_allclose(trace.lengths[1:-1], expected, rtol=1e-14)


def test_one_hardtanh_unit() -> None:
    """h = t on [-3, 3]: two state switches, one sign change, one saturation passage, length 2."""
    trace = nf.trace_path(nn.Sequential(nn.Hardtanh()), nf.Line([-3.0], [3.0]))
    layer = trace.layers[0]
    assert (layer.transitions, layer.sign_transitions, layer.saturation_passages) == (2, 1, 1)
    assert layer.length == 2.0
    np.testing.assert_allclose(trace.breakpoints, [1 / 3, 2 / 3])


def test_touching_a_knot_is_no_transition() -> None:
    """|t| - 0 seen by a ReLU touches 0 at a vertex of the path and stays on; t itself crosses there."""
    path = nf.Polyline([[-1.0], [0.0], [1.0]])
    touched = nf.trace_path(nn.Sequential(nn.Hardtanh(), _scaled(1.0), nn.ReLU()), path)
    assert touched.layers[1].transitions == 1
    assert touched.breakpoints.tolist() == [0.5]
    there_and_back = nf.Polyline([[1.0], [0.0], [1.0]])
    assert nf.trace_path(nn.Sequential(nn.ReLU()), there_and_back).transitions.tolist() == [0]


def _scaled(factor: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(factor)
    return layer


def test_duplicate_and_opposite_units_share_breakpoints() -> None:
    """Equal and opposite rows switch at one parameter: one breakpoint, several transitions."""
    layer = nn.Linear(2, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [0.0, 1.0]]))
        layer.bias.copy_(torch.tensor([0.1, 0.1, -0.1, 0.3]))
    trace = nf.trace_path(nn.Sequential(layer, nn.ReLU()), nf.Line([-2.0, -1.0], [1.0, 2.0]))
    assert trace.transitions.tolist() == [4]
    assert trace.regions == 3 == trace.patterns


def test_dead_layers_without_bias() -> None:
    """Where all inputs of a unit are off, its pre-activation is 0 on a whole stretch: off, and no transition."""
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        first.weight.fill_(1.0)
        second.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    trace = nf.trace_path(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), nf.Line([-1.0], [2.0]))
    assert trace.transitions.tolist() == [1, 1]
    np.testing.assert_allclose(trace.breakpoints, [1 / 3])
    assert trace.regions == trace.patterns == 2


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_a_path_that_comes_back_counts_a_pattern_once(seed: int) -> None:
    """Patterns of a closed polyline are the distinct ones of plain forward passes between its breakpoints."""
    model, shape = random_model(seed)
    a, b, c = np.random.default_rng([seed, 2]).normal(0, 2, (3, *shape))
    path = nf.Polyline(np.stack([a, b, c, a, b]))
    trace = nf.trace_path(model, path)
    middle, _, _ = record(model, path(inside(trace)))
    assert trace.patterns == len(torch.unique(torch.cat(middle, 1), dim=0)) <= trace.regions


@pytest.mark.parametrize(("activation", "knots"), [("relu", [0.0]), ("hardtanh", [-1.0, 1.0])])
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_margin_by_forward_passes(activation: Literal["relu", "hardtanh"], knots: list[float], seed: int) -> None:
    """The margin is the smallest distance to a knot at the vertices each layer sees, over their mean pre-activation."""
    net = nf.random_network(4, 12, 3, 2, activation, sigma_w=2.0, sigma_b=0.4, seed=seed % 2**31, dtype=torch.float64)
    path = random_line(seed, (4,))
    trace = nf.trace_path(net, path)
    nearest = np.inf
    for layer, module in enumerate(m for m in net if isinstance(m, torch.nn.Linear)):
        if layer == 3:
            break
        seen = np.concatenate([[0.0], trace.breakpoints[trace.breakpoint_layers < layer], [1.0]])
        with torch.no_grad():
            z = net[: list(net).index(module) + 1](torch.from_numpy(path(seen))).numpy()
        gaps = np.min([np.abs(z - knot) for knot in knots], axis=0)
        nearest = min(nearest, (gaps.min(1) / np.abs(z).mean(1)).min())
    np.testing.assert_allclose(trace.margin, nearest, rtol=1e-6, atol=1e-11)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_nothing_depends_on_batch_blocks_or_threads(seed: int) -> None:
    """Together as alone, in small blocks as in large ones, on two threads as on one: to the last bit.

    Of lines and, in every other network, of closed polylines, which come back to patterns.
    """
    model, shape = random_model(seed)
    paths = [random_line(seed + i, shape) for i in range(6)]
    paths.append(nf.Line(paths[0].x1, paths[1].x1))
    corners = [np.stack([path.x0, path.x1]) for path in paths]
    if seed % 2:
        corners = [np.stack([a, b, 0.5 * (a - b), a]) for a, b in corners]
    program, n = nf.capture(model, shape=shape), len(corners[0])
    points = program.points(np.concatenate(corners), "the paths")
    every = np.arange(len(paths))
    expected = [traced(program, points[n * i : n * i + n], every[:1])[0] for i in every]
    assert traced(program, points, every) == expected
    assert traced(program, points, every, block_bytes=2048) == expected
    assert traced(program, points, every, block_bytes=2048, fork=1 + seed % 300, threads=2) == expected


@pytest.mark.parametrize("rows", [16, 40, 1000])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_long_line_does_not_depend_on_blocks_or_threads(rows: int, threads: int) -> None:
    """Bit-identical for any block size and number of threads."""
    net = nf.random_network(20, 30, 5, 3, "hardtanh", sigma_w=4.0, sigma_b=0.1, seed=3)
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 20)))
    program, first = nf.capture(net, shape=(20,)), np.zeros(1, np.int64)
    fine = traced(program, points, first, 8 * 30 * rows, fork=2000 * rows // 16, threads=threads)
    assert fine == traced(program, points, first, 2**24)


def test_a_passage_through_a_shared_vertex_counts_once() -> None:
    """A hard-tanh that reaches its upper knot exactly where two runs of threads meet passes from end to end."""
    program = nf.capture(nn.Sequential(nn.Hardtanh()), shape=(1,))
    points, path = torch.tensor([[-3.0], [1.0], [3.0], [4.0]], dtype=torch.float64), np.zeros(1, np.int64)
    expected = traced(program, points, path)
    assert traced(program, points, path, fork=1, threads=2) == expected
    assert nf.trace_path(program, nf.Polyline(points)).layers[0].saturation_passages == 1


def traced(
    program: nf.Program, points: torch.Tensor, paths: np.ndarray, block_bytes: int = 2**24, fork: int = 2**17,
    threads: int = 1,
) -> list[list[object]]:  # fmt: skip
    """All numbers of some lines, a list a line."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        tracer = LineTracer(program, len(paths), block_bytes, fork)
        vertices = len(points) // len(paths)
        tracer.run(np.tile(np.linspace(0, 1, vertices), len(paths)), np.repeat(paths, vertices), points)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    layers = tracer.totals
    totals = [exact_totals(m) for found in layers for m in (found.lengths, found.angles, found.bends)]
    totals += [m.tolist() for found in layers for m in (found.transitions, found.signs, found.passages, found.closest)]
    return [
        [*(total[i] for total in totals), *(np.asarray(value).tolist() for value in vars(result).values())]
        for i, result in enumerate(tracer.results)
    ]


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_class_along_the_path(seed: int) -> None:
    """The class on each stretch is the largest output of plain forward passes."""
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(1, 6))
    net = nf.random_network(3, 8, 2, outputs, sigma_w=2.0, sigma_b=0.5, seed=seed % 2**31, dtype=torch.float64)
    path = random_line(seed, (3,))
    trace = nf.trace_path(net, path)
    edges = np.concatenate([[0.0], trace.output.class_changes, [1.0]])
    t = ((edges[1:] + edges[:-1]) / 2)[np.diff(edges) > 1e-9]
    with torch.no_grad():
        y = net(torch.from_numpy(path(t)))
    expected = y.argmax(1) if outputs > 1 else (y[:, 0] > 0).long()
    assert trace.output.classes[np.diff(edges) > 1e-9].tolist() == expected.tolist()
    fine = path(np.linspace(0, 1, 4001))
    with torch.no_grad():
        dense = net(torch.from_numpy(fine))
    changes = ((dense[1:] > 0) != (dense[:-1] > 0)).sum(0)
    assert (changes.numpy() <= trace.output.sign_changes).all()
    assert ((trace.output.sign_changes - changes.numpy()) % 2 == 0).all()
