"""Networks prepared for splitting: their skip form against forward passes, and the frame against linear algebra."""

from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import netfold as nf
from netfold.domains import Box, Polytope
from netfold.errors import InvalidInputError
from netfold.exact.cells import whole
from netfold.exact.cells.description.engine import DoubleDescription
from netfold.exact.cells.frame import independent
from netfold.exact.cells.network import CellNetwork
from tests.exact.cells import networks
from tests.exact.cells.reference import Layer
from tests.models import random_model, record


def prepared(model: nn.Module, shape: tuple[int, ...], domain: Box | Polytope | None = None) -> CellNetwork:
    return CellNetwork.of(nf.capture(model, shape=shape), domain)


def linear(weights: list[list[float]], bias: list[float] | None = None) -> nn.Linear:
    layer = nn.Linear(len(weights[0]), len(weights), bias=bias is not None, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights, dtype=torch.float64))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return layer


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2))
def test_maps_are_the_network(seed, family):
    """With the states at a point, the affine map of the output is the network there."""
    model, shape = random_model(seed, family)
    network = prepared(model, shape)
    x = np.random.default_rng(seed).normal(size=(3, *shape))
    patterns, _, outputs = record(model, x)
    for i in range(len(x)):
        states = torch.cat([p[i] for p in patterns]).numpy().astype(np.int16)
        maps, constants = affine_maps(network, states)
        values = (maps @ x[i].reshape(-1) + constants)[len(network.arrays.const) :]
        assert values == pytest.approx(outputs[i].numpy(), rel=1e-9, abs=1e-9)


def _convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 3),
        nn.Hardtanh(), nn.AvgPool1d(3),
    ).double()  # fmt: skip
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.5, 2.0)
    return model.eval()


def test_convolutional_network():
    """Convolution, batch norm, pooling: every region's map is the network at a point inside, and no sample is new."""
    state = torch.get_rng_state()
    model = _convolutional()
    torch.set_rng_state(state)
    network = prepared(model, (1, 2, 2), Box(-2, 2))
    assert not network.rational
    outcome = DoubleDescription(network).run(whole(), budget=1 << 40, collect=True)
    assert outcome.cells is not None
    # a square root is not rational, so ties that follow from no shared constraint stay open
    assert outcome.uncertain < 0.01 * outcome.decisions
    points = network.frame.lift(outcome.cells.points)
    with torch.no_grad():
        outputs = model(torch.from_numpy(points)).numpy()
    rows = len(network.arrays.const)
    for states, x, y in zip(outcome.cells.states, points, outputs, strict=True):
        maps, constants = affine_maps(network, states)
        assert maps[rows:] @ x.reshape(-1) + constants[rows:] == pytest.approx(y.reshape(-1), abs=1e-12)
    known = {tuple(s) for s in outcome.cells.states.tolist()}
    sampled = np.random.default_rng(0).uniform(-2, 2, (2000, 1, 2, 2))
    assert {_states(network, x.reshape(-1)) for x in sampled} <= known
    assert {_states(network, x.reshape(-1)) for x in points} == known


def _states(network: CellNetwork, x: np.ndarray) -> tuple[int, ...]:
    """States at a point, from the rows layer by layer."""
    a, slots = network.arrays, np.zeros(network.arrays.m + network.units)
    slots[: a.m] = x[network.frame.coordinates]
    states: list[int] = []
    for layer in range(len(a.selects)):
        own = range(a.row_begin[layer], a.row_begin[layer + 1])
        h = {r: a.const[r] + sum(a.val[e] * slots[a.col[e]] for e in range(a.ptr[r], a.ptr[r + 1])) for r in own}
        for u in range(a.unit_begin[layer], a.unit_begin[layer + 1]):
            if a.selects[layer]:
                chosen = [h[r] if r >= 0 else -np.inf for r in a.candidates[u].tolist()]
                states.append(int(np.argmax(chosen)))
                slots[a.m + u] = max(chosen)
                continue
            value = h[a.row_begin[layer] + u - a.unit_begin[layer]]
            states.append(int((a.knots[u] < value).sum()))
            slots[a.m + u] = a.slopes[u, states[-1]] * value + a.offsets[u, states[-1]]
    return tuple(states)


def test_stored_weights_stay():
    """Rows of linear layers hold the stored weights, and composed maps their exact products."""
    model = nn.Sequential(linear([[0.1, 0.2]], [0.3]), nn.ReLU(), linear([[0.7]]), linear([[0.1]], [0.2]), nn.ReLU())
    network = prepared(model, (2,))
    assert network.frame.m == 1
    (slot,) = network.frame.coordinates.tolist()
    assert network.rows[0].row(0) == ({0: Fraction([0.1, 0.2][slot])}, Fraction(0.3))
    (product,), constant = list(network.rows[1].row(0)[0].values()), network.rows[1].row(0)[1]
    assert (product, constant) == (Fraction(0.7) * Fraction(0.1), Fraction(0.2))
    assert network.arrays.slack.tolist() == [0.0, 2.0**-53]


def test_frame_of_low_rank():
    """Two of five coordinates do where the rows span a plane; normals keep their length in input space."""
    rng = np.random.default_rng(3)
    weights = np.round(rng.normal(size=(6, 2)) * 8) @ np.round(rng.normal(size=(2, 5)) * 8)
    network = prepared(nn.Sequential(linear(weights.tolist(), rng.normal(size=6).tolist()), nn.ReLU()), (5,))
    frame = network.frame
    assert frame.m == np.linalg.matrix_rank(weights) == 2
    on_frame = weights[:, frame.coordinates]
    assert np.einsum("ri,ij,rj->r", on_frame, frame.gram, on_frame) == pytest.approx((weights**2).sum(1))
    points = rng.normal(size=(4, 2))
    assert frame.lift(points) @ weights.T == pytest.approx(points @ on_frame.T)


def test_rank_by_one_rounding():
    """A row that is another one scaled and rounded spans a dimension of its own; exact multiples do not."""
    row = [0.1, 0.2, 0.7]
    rounded = [3 * v for v in row]
    assert len(independent([_row(row), _row(rounded)], np.arange(3))) == 2
    assert len(independent([_row(row), _row([4 * v for v in row])], np.arange(3))) == 1


def _row(values: list[float]) -> dict[int, Fraction]:
    return {i: Fraction(v) for i, v in enumerate(values)}


def test_homogeneous():
    """Cones: no constants and no knots but 0, in all of the space."""
    bare = nn.Sequential(linear([[1.0, 2.0]]), nn.ReLU())
    assert prepared(bare, (2,)).homogeneous
    assert not prepared(bare, (2,), Box(-1, 1)).homogeneous
    assert not prepared(nn.Sequential(linear([[1.0, 2.0]], [1.0]), nn.ReLU()), (2,)).homogeneous
    assert not prepared(nn.Sequential(linear([[1.0, 2.0]]), nn.Hardtanh()), (2,)).homogeneous


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(1, 1), "low < high"),
        (lambda: Box([0, 1], [1, 0]), "entry"),
        (lambda: Box([0, 0], [1, 1, 1]), "one shape"),
        (lambda: Box(float("nan"), 1), "NaN"),
        (lambda: Box("a", 1), "numbers"),
        (lambda: Polytope([1.0], [1.0]), "normals of shape"),
        (lambda: Polytope([[1.0]], [1.0, 2.0]), "one offset each"),
        (lambda: Polytope([[np.inf]], [1.0]), "finite"),
    ],
)
def test_unusable_domains(make, message):
    with pytest.raises(nf.InvalidInputError, match=message):
        make()


def test_domains_of_another_shape():
    model = nn.Sequential(linear([[1.0, 2.0]]), nn.ReLU())
    with pytest.raises(nf.InvalidInputError, match="shape"):
        prepared(model, (2,), Box([0, 0, 0], 1))
    with pytest.raises(nf.InvalidInputError, match="shape"):
        prepared(model, (2,), Polytope([[1.0, 0, 0]], [1.0]))


def affine_maps(network: CellNetwork, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pre-activation row and then every output as an affine function of input space, on one region.

    Args:
        states: states of all units in network order.

    Returns:
        Coefficients ``(rows + outputs, entries of the input)`` and constants ``(rows + outputs,)``.
    """
    n, a = network.form.inputs, network.arrays
    slots = np.zeros((network.form.output.slots, n + 1))
    slots[:n, :n] = np.eye(n)
    made: list[np.ndarray] = []
    for layer, part in enumerate((*network.form.rows, network.form.output)):
        values = np.asarray(part.matrix @ slots)
        values[:, n] += part.constants
        made.append(values)
        if layer == len(network.layers):
            break
        units = np.arange(a.unit_begin[layer], a.unit_begin[layer + 1])
        s = states[units].astype(np.int64)
        if a.selects[layer]:
            slots[n + units] = values[a.candidates[units, s] - a.row_begin[layer]]
        else:
            slots[n + units] = a.slopes[units, s][:, None] * values
            slots[n + units, n] += a.offsets[units, s]
    whole = np.concatenate(made)
    return whole[:, :n], whole[:, n]


@pytest.mark.parametrize("seed", range(6))
def test_a_slice_is_the_network_with_entries_put_in(seed):
    """A box with low = high in some entries counts what the network has whose first layer holds these entries."""
    layers = networks.random_case([3, 6, 4], seed)
    low, high = np.full(3, -2.0), np.full(3, 2.0)
    still = seed % 3
    low[still] = high[still] = 0.25 * seed
    module = networks.module(layers)
    moving = [j for j in range(3) if j != still]
    first = Layer(layers[0].weights[:, moving], layers[0].bias + layers[0].weights[:, still] * low[still])
    slim = networks.module([first, *layers[1:]])
    wanted = nf.count_regions(slim, Box(low[moving], high[moving]), threads=1, progress=False)
    assert int(nf.count_regions(module, Box(low, high), threads=1, progress=False)) == int(wanted)
    for verb in (nf.enumerate_regions, nf.region_graph, nf.units):
        with pytest.raises(InvalidInputError, match="slice"):
            verb(module, Box(low, high))


def test_half_infinite_boxes_give_no_warning():
    """Limits at infinity on one side, also of inputs that nothing reads."""
    net = nn.Sequential(linear([[1.0, 2.0, 0.0, 0.0], [1.0, -1.0, 0.0, 0.0]], [0.5, 1.0]), nn.ReLU())
    low, high = [-np.inf, 0.0, -np.inf, 1.0], [1.0, np.inf, 0.0, np.inf]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert int(nf.count_regions(net, Box(low, high), threads=1, progress=False)) == 4
