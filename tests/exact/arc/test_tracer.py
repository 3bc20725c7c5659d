"""Laws of exact traces along arcs and circles, checked by plain forward passes that share no code with the tracer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.exact.arc.tracer import BLOCK_BYTES, FORK
from netfold.paths import Ellipse
from tests.exact.arc.curved import Curved, Traced, closed, part, random_curve, reverse, trace, trace_all
from tests.models import FAMILIES, random_model, record

SEEDS = st.integers(0, 2**32 - 1)


def check_by_forward_passes(model: nn.Module, path: Curved, traced: Traced) -> None:
    """Patterns are constant between breakpoints and change across each; flips add up layer by layer."""
    width = np.diff(traced.edges)
    assert (width > 0).all()
    middle, _, _ = record(model, path((traced.edges[1:] + traced.edges[:-1]) / 2))
    flips = [int((m[1:] != m[:-1]).sum()) for m in middle]
    if closed(path):
        flips = [f + int((m[0] != m[-1]).sum()) for f, m in zip(flips, middle, strict=True)]
        assert all(f % 2 == 0 for f, m in zip(flips, middle, strict=True) if m.max() <= 1)
    assert traced.transitions == flips
    joint = torch.cat(middle, 1)
    assert (joint[1:] != joint[:-1]).any(1).all()
    assert traced.output.patterns == len(torch.unique(joint, dim=0)) <= len(joint)
    for share in (0.03, 0.97):
        other, _, _ = record(model, path(traced.edges[:-1] + share * width))
        wide = width > 1e-9
        assert torch.equal(torch.cat(other, 1)[wide], joint[wide])


@pytest.mark.parametrize("family", range(len(FAMILIES)), ids=FAMILIES)
@settings(max_examples=24, deadline=None)
@given(seed=SEEDS)
def test_patterns_and_transitions_by_forward_passes(family: int, seed: int) -> None:
    """Between breakpoints the pattern is constant, across each it changes; on a closed curve every unit comes back.

    On 4 families x 24 random networks x 4 curves.
    """
    model, shape = random_model(seed, family)
    paths = [random_curve(seed + i, shape) for i in range(4)]
    for path, traced in zip(paths, trace_all(model, paths, shape), strict=True):
        check_by_forward_passes(model, path, traced)


@settings(max_examples=32, deadline=None)
@given(SEEDS)
def test_networks_without_bias_by_forward_passes(seed: int) -> None:
    """The same where whole layers go dead and many units cross at one point: no bias, few units, lines as curves."""
    rng = np.random.default_rng(seed)
    activation = ["relu", "leaky_relu", "hardtanh"][rng.integers(3)]
    inputs, width, depth = int(rng.integers(1, 4)), int(rng.integers(1, 6)), int(rng.integers(1, 6))
    net = nf.random_network(
        inputs, width, depth, 2, activation, sigma_w=float(rng.choice([1.0, 2.0, 4.0])), seed=seed % 2**31,
        dtype=torch.float64,
    )  # fmt: skip
    paths = [random_curve(seed + i, (inputs,)) for i in range(4)]
    for path, traced in zip(paths, trace_all(net, paths, (inputs,)), strict=True):
        check_by_forward_passes(net, path, traced)


@settings(max_examples=24, deadline=None)
@given(SEEDS)
def test_reversed_curve_gives_the_mirrored_trace(seed: int) -> None:
    """x(1 - t) meets the same breakpoints from the other side, with equal counts and measures."""
    model, shape = random_model(seed)
    path = random_curve(seed, shape)
    forward, backward = trace_all(model, [path, reverse(path)], shape)
    np.testing.assert_allclose(1 - backward.breakpoints[::-1], forward.breakpoints, atol=1e-9)
    assert backward.transitions == forward.transitions
    assert backward.signs == forward.signs
    assert backward.passages == forward.passages
    assert backward.output.pieces == forward.output.pieces
    assert backward.output.patterns == forward.output.patterns
    assert backward.output.sign_changes.tolist() == forward.output.sign_changes.tolist()
    np.testing.assert_allclose(backward.lengths, forward.lengths, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(backward.angles, forward.angles, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(backward.turnings, forward.turnings, rtol=1e-6, atol=1e-5)


@settings(max_examples=24, deadline=None)
@given(SEEDS, st.floats(0.05, 0.95))
def test_splitting_a_curve_adds_up(seed: int, where: float) -> None:
    """Transitions and lengths of the two parts of a curve add up to those of the whole."""
    model, shape = random_model(seed)
    path = random_curve(seed, shape)
    if closed(path):
        path = part(path, 0.0, 0.9)
    whole, first, second = trace_all(model, [path, part(path, 0, where), part(path, where, 1)], shape)
    if np.abs(whole.breakpoints - where).min(initial=1.0) < 1e-9:
        return
    assert [a + b for a, b in zip(first.transitions, second.transitions, strict=True)] == whole.transitions
    np.testing.assert_allclose(np.add(first.lengths, second.lengths), whole.lengths, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.add(first.angles, second.angles), whole.angles, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.add(first.turnings, second.turnings), whole.turnings, rtol=1e-6, atol=1e-5)
    joined = np.concatenate([first.breakpoints * where, where + (1 - where) * second.breakpoints])
    np.testing.assert_allclose(joined, whole.breakpoints, atol=1e-9)


@settings(max_examples=24, deadline=None)
@given(SEEDS, st.floats(0.01, 0.99))
def test_a_circle_has_no_beginning(seed: int, where: float) -> None:
    """Starting a closed curve elsewhere moves its breakpoints and changes nothing else."""
    model, shape = random_model(seed)
    u, v, center = np.random.default_rng([seed, 3]).normal(0, 2, (3, *shape))
    path = nf.Circle(u, v, center)
    here, there = trace_all(model, [path, part(path, where, where + 1)], shape)
    if np.abs(here.breakpoints - where).min(initial=1.0) < 1e-9:
        return
    assert there.transitions == here.transitions
    assert there.signs == here.signs
    assert there.passages == here.passages
    assert there.output.patterns == here.output.patterns
    assert there.output.sign_changes.tolist() == here.output.sign_changes.tolist()
    np.testing.assert_allclose(np.sort((there.breakpoints + where) % 1), here.breakpoints, atol=1e-9)
    np.testing.assert_allclose(there.lengths, here.lengths, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(there.angles, here.angles, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(there.turnings, here.turnings, rtol=1e-6, atol=1e-5)


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight)).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight, dtype=torch.float64))
        layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return layer


UNIT_CIRCLE = nf.Circle([1.0, 0.0], [0.0, 1.0])


def test_knots_in_closed_form() -> None:
    """cos s crosses 1/2 at s = pi/3 and 5 pi/3, sin s crosses 0 at 0 and pi; t = 0 is no breakpoint."""
    net = nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0]], [-0.5, 0.0]), nn.ReLU())
    traced = trace(net, UNIT_CIRCLE)
    np.testing.assert_allclose(traced.breakpoints, [1 / 6, 1 / 2, 5 / 6], rtol=1e-15)
    assert traced.breakpoints[1] == 0.5
    assert traced.transitions == traced.signs == [4]
    assert traced.output.patterns == 4


def test_touching_a_knot_is_no_transition() -> None:
    """1 - cos s and 1 + cos s touch 0 on the circle, at a vertex; 1 - cos(s - 1) touches it inside a piece."""
    weights = [[-1.0, 0.0], [1.0, 0.0], [-np.cos(1.0), -np.sin(1.0)]]
    traced = trace(nn.Sequential(linear(weights, [1.0, 1.0, 1.0]), nn.ReLU()), UNIT_CIRCLE)
    assert traced.transitions == traced.signs == [0]
    assert len(traced.breakpoints) == 0
    assert traced.output.patterns == 1


def test_a_dip_below_a_knot_counts_twice() -> None:
    """1 - (1 + e) cos(s - 1) is negative for |s - 1| < arccos(1 / (1 + e)): two transitions, however small e > 0."""
    for e in (1e-2, 1e-6, 1e-12):
        weights = [[-(1 + e) * np.cos(1.0), -(1 + e) * np.sin(1.0)]]
        traced = trace(nn.Sequential(linear(weights, [1.0]), nn.ReLU()), UNIT_CIRCLE)
        half = np.sqrt(2 * e) * (1 - 5 * e / 12)
        expected = (1 + np.array([-half, half])) / (2 * np.pi)
        assert traced.transitions == [2]
        np.testing.assert_allclose(traced.breakpoints, expected, atol=1e-4 * half + 1e-10)


def test_saturation_passages_of_a_full_circle() -> None:
    """clamp(3 cos s, -1, 1) goes from +1 to -1 and back: 4 switches, 2 sign changes, 2 passages, wherever it starts."""
    net = nn.Sequential(linear([[3.0, 0.0]], [0.0]), nn.Hardtanh())
    for begin in (0.0, 0.2, 0.25, 0.3, 0.77):
        traced = trace(net, part(UNIT_CIRCLE, begin, begin + 1))
        assert (traced.transitions, traced.signs, traced.passages) == ([4], [2], [2])
        np.testing.assert_allclose(traced.lengths[0], 4.0, rtol=1e-14)


def test_there_and_back_is_no_new_pattern() -> None:
    """An ellipse flattened to a segment meets every pattern of the segment twice, and turns back at both ends."""
    net = nf.random_network(3, 6, 2, 2, "hardtanh", sigma_w=3.0, sigma_b=0.5, seed=4, dtype=torch.float64)
    rng = np.random.default_rng(0)
    middle, half = rng.normal(0, 1, (2, 3))
    line = nf.trace_path(net, nf.Line(middle - half, middle + half))
    for u, v in [(half, 0 * half), (0.6 * half, 0.8 * half), (-0.8 * half, 0.6 * half)]:
        both = trace(net, nf.Circle(u, v, middle))
        assert both.transitions == (2 * line.transitions).tolist()
        assert both.output.patterns == line.patterns
        np.testing.assert_allclose(both.lengths, 2 * line.lengths[1:], rtol=1e-12)
        phase = np.arctan2(v @ half, u @ half)
        there = np.sort(np.arccos(2 * line.breakpoints - 1))
        expected = np.sort(np.concatenate([there + phase, -there + phase]) / (2 * np.pi) % 1)
        np.testing.assert_allclose(both.breakpoints, expected, atol=1e-12)
        bends = np.array([layer.turning for layer in line.layers])
        np.testing.assert_allclose(both.turnings[:-1], 2 * bends + 2 * np.pi, rtol=1e-6)


def test_dead_and_constant_layers() -> None:
    """A pre-activation that is 0 on a whole stretch is off and makes no transition; a constant path of images has no length."""
    first, second = linear([[1.0, 0.0]], [0.0]), linear([[1.0], [-1.0], [0.0]], [0.0, 0.0, 0.0])
    traced = trace(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), UNIT_CIRCLE)
    assert traced.transitions == [2, 2]
    assert traced.breakpoints.tolist() == [0.25, 0.75]
    assert traced.output.patterns == 2
    constant = trace(
        nn.Sequential(linear([[0.0, 0.0]], [1.0]), nn.ReLU(), linear([[1.0]], [-1.0]), nn.ReLU()), UNIT_CIRCLE
    )
    assert constant.transitions == constant.signs == [0, 0]
    assert constant.lengths == constant.angles == constant.turnings == [0.0, 0.0, 0.0]
    assert constant.output.pieces == constant.output.patterns == 1


def test_duplicate_and_opposite_units_share_breakpoints() -> None:
    """Equal and opposite units switch at one parameter: one breakpoint, several transitions."""
    net = nn.Sequential(linear([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0]], [0.1, 0.1, -0.1]), nn.ReLU())
    traced = trace(net, UNIT_CIRCLE)
    assert traced.transitions == [6]
    assert len(traced.breakpoints) == 2
    assert traced.output.patterns == 2


def test_maximum_of_harmonics_in_closed_form() -> None:
    """max(cos s, sin s, 0.9) changes its winner where cos s or sin s crosses 0.9; never from cos to sin directly."""

    class Largest(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, torch.full_like(x[:, :1], 0.9)], 1).amax(1, keepdim=True)

    traced = trace(Largest(), UNIT_CIRCLE)
    a = np.arccos(0.9)
    expected = np.array([a, np.pi / 2 - a, np.pi / 2 + a, 2 * np.pi - a]) / (2 * np.pi)
    np.testing.assert_allclose(traced.breakpoints, expected, rtol=1e-14)
    assert traced.transitions == [4]
    assert traced.output.patterns == 3
    assert traced.output.pieces == 5


def test_linear_pieces_leave_out_breakpoints_that_cancel() -> None:
    """relu(h) - relu(-h) = h bends nowhere: two breakpoints, one harmonic piece; relu(h) alone bends at both."""
    for readout, pieces in (([[1.0, -1.0]], 1), ([[1.0, 0.0]], 3), ([[1.0, 1.0]], 3)):
        net = nn.Sequential(linear([[1.0, 0.3], [-1.0, -0.3]], [0.2, -0.2]), nn.ReLU(), linear(readout, [0.5]))
        traced = trace(net, UNIT_CIRCLE)
        assert len(traced.breakpoints) == 2
        assert traced.output.pieces == pieces


@settings(max_examples=24, deadline=None)
@given(SEEDS)
def test_class_along_the_curve(seed: int) -> None:
    """The class on each stretch is the largest output of plain forward passes; sign changes have the right parity."""
    rng = np.random.default_rng(seed)
    outputs = int(rng.integers(1, 6))
    net = nf.random_network(3, 8, 2, outputs, sigma_w=2.0, sigma_b=0.5, seed=seed % 2**31, dtype=torch.float64)
    path = random_curve(seed, (3,))
    made = trace(net, path).output
    edges = np.concatenate([[0.0], made.class_changes, [1.0]])
    wide = np.diff(edges) > 1e-9
    with torch.no_grad():
        y = net(torch.from_numpy(path(((edges[1:] + edges[:-1]) / 2)[wide])))
        dense = net(torch.from_numpy(path(np.linspace(0, 1, 4001))))
    expected = y.argmax(1) if outputs > 1 else (y[:, 0] > 0).long()
    assert made.classes[wide].tolist() == expected.tolist()
    assert (made.classes[1:] != made.classes[:-1]).all()
    changes = ((dense[1:] > 0) != (dense[:-1] > 0)).sum(0).numpy()
    assert (changes <= made.sign_changes).all()
    assert ((made.sign_changes - changes) % 2 == 0).all()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
def test_two_flips_of_every_first_layer_unit_on_a_great_circle(activation: str) -> None:
    """Zero bias, full great circle: every first-layer unit with its knot at 0 flips exactly twice, half a turn apart."""
    net = nf.random_network(50, 200, 2, 1, activation, seed=1)
    u, v = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 2)))[0].T
    traced = trace(net, nf.Circle(u, v))
    assert traced.transitions[0] == traced.signs[0] == 400
    first = traced.breakpoints[traced.output.layers == 0]
    np.testing.assert_allclose(first[200:] - first[:200], 0.5, atol=1e-15)
    assert all(count % 2 == 0 for count in traced.transitions)


def test_half_a_flip_a_unit_on_a_quarter_arc_of_a_wide_network() -> None:
    """ReLU without bias, orthonormal quarter arc: every unit of every layer flips 1/2 times on average (infinite width).

    20 networks of width 400; the mean of every layer within 4 standard errors.
    """
    paths = [nf.Arc(*np.linalg.qr(np.random.default_rng(seed).normal(size=(60, 2)))[0].T) for seed in range(20)]
    flips = np.array([
        trace(nf.random_network(60, 400, 4, 1, "relu", seed=seed), path).transitions for seed, path in enumerate(paths)
    ]) / 400  # fmt: skip
    error = flips.std(0, ddof=1) / np.sqrt(len(flips))
    assert (error < 0.02).all()
    assert (np.abs(flips.mean(0) - 0.5) < 4 * error).all()


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_nothing_depends_on_batch_blocks_or_threads(seed: int) -> None:
    """Together as alone, in small blocks as in large ones, on several threads as on one: to the last bit.

    Of open and closed curves in turn, some through knots and corners.
    """
    model, shape = random_model(seed)
    paths = [random_curve(seed + i, shape) for i in range(4)]
    expected = [numbers(trace_all(model, [path], shape)[0]) for path in paths]
    few = 16 * 20 * 16
    for threads, size, fork in ((1, few, FORK), (1, BLOCK_BYTES, 1), (2, few, 1 + seed % 300), (3, BLOCK_BYTES, 1)):
        with threads_of(threads):
            traced = trace_all(model, paths, shape, size, fork)
        assert [numbers(one) for one in traced] == expected


@pytest.mark.parametrize("rows", [16, 104])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_long_curve_does_not_depend_on_blocks_or_threads(rows: int, threads: int) -> None:
    """Bit-identical for any block size and number of threads, dense and convolutional, passages of closed paths too."""
    dense = nf.random_network(20, 30, 5, 3, "hardtanh", sigma_w=4.0, sigma_b=0.1, seed=3)
    conv, shape = random_model(12, FAMILIES.index("convolutional"))
    rng = np.random.default_rng(0)
    for model, size, width in ((dense, (20,), 30), (conv, shape, 108)):
        program = nf.capture(model, shape=size)
        paths: list[Curved] = [nf.Arc(*rng.normal(size=(2, *size))), nf.Circle(*rng.normal(size=(2, *size)))]
        with threads_of(threads):
            few = trace_all(program, paths, size, 16 * width * rows, fork=1000 * rows)
        many = trace_all(program, paths, size)
        assert [numbers(one) for one in few] == [numbers(one) for one in many]


def test_threads_share_changes_at_vertices() -> None:
    """Units change exactly where runs of threads meet, also at t = 0, and count as they do on one thread.

    A circle whose quarters lie on knots: a hard-tanh passes from end to end, half of it on each side of a vertex.
    """
    net = nn.Sequential(linear([[1.0, 0.0], [2.0, 1.0], [1.0, 1.0]], [0.0, 1.0, -1.0]), nn.Hardtanh(), nn.ReLU())
    paths: list[Curved] = [nf.Circle([2.0, 0.0], [0.0, 2.0]), UNIT_CIRCLE, nf.Arc([2.0, 0.0], [0.0, 2.0])]
    expected = [numbers(trace_all(net, [path], (2,))[0]) for path in paths]
    with threads_of(2):
        traced = trace_all(net, paths, (2,), fork=1)
    assert [numbers(one) for one in traced] == expected


def numbers(traced: Traced) -> list[object]:
    """All numbers of a traced curve."""
    own = {name: value for name, value in vars(traced).items() if name != "output"}
    return [own, *(np.asarray(value).tolist() for value in vars(traced.output).values())]


@contextmanager
def threads_of(count: int) -> Iterator[None]:
    """Torch on some threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
        assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)


def test_many_curves_at_once_equal_one_by_one() -> None:
    """A batch of curves, open and closed in turn, gives what its curves give alone."""
    for seed in (5, 8):
        model, shape = random_model(seed)
        paths = [random_curve(s, shape) for s in range(30)]
        for several, path in zip(trace_all(model, paths, shape, 16 * 20 * 64), paths, strict=True):
            alone = trace(model, path)
            assert several.breakpoints.tolist() == alone.breakpoints.tolist()
            assert several.transitions == alone.transitions
            assert several.passages == alone.passages
            assert several.lengths == alone.lengths
            assert several.angles == alone.angles
            assert several.turnings == alone.turnings
            assert several.output.classes.tolist() == alone.output.classes.tolist()
            assert several.output.sign_changes.tolist() == alone.output.sign_changes.tolist()


def test_bad_angles_are_refused() -> None:
    """An ellipse must move forward by a finite angle."""
    u, v = np.eye(2)
    for angle in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InvalidInputError, match="positive angle"):
            trace(nn.Sequential(nn.ReLU()), Ellipse(0 * u, u, v, angle))
