"""Ranges and states of units: exact ones against mixed integer programs, bounds against points, proofs against both."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import nn

import netfold as nf
from netfold.results.units import STATES

BIG = 1e3


def dense(widths: list[int], kind: str, rng: np.random.Generator) -> nn.Sequential:
    """A ReLU network: ordinary, or with what goes wrong easily."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        linear = nn.Linear(a, b, dtype=torch.float64)
        weight, bias = rng.normal(size=(b, a)), rng.normal(size=b)
        if kind == "integer":
            weight, bias = rng.integers(-1, 2, (b, a)).astype(float), rng.integers(-1, 2, b).astype(float)
        elif kind == "repeated":
            weight[1:], bias[1:] = weight[:1] * rng.choice([-2.0, 1.0], (b - 1, 1)), 0.5
        elif kind == "sparse":
            weight *= rng.random((b, a)) < 0.3
        elif kind == "no bias":
            bias[:] = 0.0
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight)), linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def optimum(net: nn.Sequential, layer: int, unit: int, low: float, high: float, sign: int) -> float:
    """The lowest value of a pre-activation times a sign over a box: binary variables for the units before it."""
    weights = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in net if isinstance(m, nn.Linear)]
    inputs = weights[0][0].shape[1]
    kinds = [(low, high, 0)] * inputs
    rows: list[tuple[dict[int, float], float, float]] = []
    before = list(range(inputs))

    def new(count: int, a: float, b: float, whole: int) -> list[int]:
        kinds.extend([(a, b, whole)] * count)
        return list(range(len(kinds) - count, len(kinds)))

    for depth in range(layer + 1):
        weight, bias = weights[depth]
        h = new(len(bias), -BIG, BIG, 0)
        for i in range(len(bias)):
            entries = {j: float(w) for j, w in zip(before, weight[i], strict=True)}
            rows.append(({**entries, h[i]: -1.0}, -bias[i], -bias[i]))
        if depth < layer:
            y, on = new(len(bias), 0.0, BIG, 0), new(len(bias), 0.0, 1.0, 1)
            for i in range(len(bias)):
                rows.append(({y[i]: 1.0, h[i]: -1.0}, 0.0, np.inf))
                rows.append(({y[i]: 1.0, on[i]: -BIG}, -np.inf, 0.0))
                rows.append(({y[i]: 1.0, h[i]: -1.0, on[i]: BIG}, -np.inf, BIG))
            before = y
    matrix = np.zeros((len(rows), len(kinds)))
    for r, (entries, _, _) in enumerate(rows):
        for column, value in entries.items():
            matrix[r, column] = value
    target = np.zeros(len(kinds))
    target[h[unit]] = sign
    found = milp(
        target,
        constraints=LinearConstraint(matrix, [r[1] for r in rows], [r[2] for r in rows]),
        integrality=[k[2] for k in kinds],
        bounds=Bounds([k[0] for k in kinds], [k[1] for k in kinds]),
    )
    return sign * float(found.fun)


@pytest.mark.parametrize("kind", ["ordinary", "integer", "repeated", "sparse", "no bias"])
def test_ranges_are_those_of_mixed_integer_programs(kind: str) -> None:
    """Exact ranges to the solver's tolerance; proven bounds contain them; no proof contradicts them."""
    rng = np.random.default_rng(len(kind))
    for inputs in (1, 3):
        net = dense([inputs, 4, 3, 2], kind, rng)
        truth = np.array(
            [
                [optimum(net, layer, unit, -1.0, 1.5, sign) for sign in (1, -1)]
                for layer, width in enumerate([4, 3])
                for unit in range(width)
            ]
        )
        exact = nf.units(net, nf.Box(-1.0, 1.5), shape=(inputs,))
        assert exact.exact
        table = exact.to_dataframe()
        assert np.allclose(table[["low", "high"]], truth, atol=1e-5)
        assert exact.proved == 1.0
        bounds = nf.units(net, nf.Box(-1.0, 1.5), shape=(inputs,), regions=0)
        other = bounds.to_dataframe()
        assert not bounds.exact
        assert (other["low"] <= table["low"] + 1e-12).all()
        assert (other["high"] >= table["high"] - 1e-12).all()
        assert (other["state"] == table["state"])[bounds.units.proved].all()


class Residual(nn.Module):
    """Convolutions with batch norm, a skip, max-pooling, and nonlinearities of two and three pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.pool, self.last = nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.Linear(27, 4)
        self.norm.running_mean.normal_(), self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The network."""
        y = nn.functional.leaky_relu(self.norm(self.first(x)), 0.1)
        y = self.pool(y + nn.functional.hardtanh(self.second(y)))
        return nn.functional.relu6(self.last(y.flatten(1)) * 3 + 2)


@pytest.mark.parametrize("steps", [0, 3])
def test_bounds_hold_at_points(steps: int) -> None:
    """No point of the box, its corners among them, leaves the bounds; slopes that are looked for do not loosen them."""
    torch.manual_seed(0)
    net = Residual().eval()
    center = torch.rand(1, 6, 6)
    found = nf.units(net, nf.Box(center - 0.2, center + 0.2), steps=steps)
    assert found.left_out == ("pool",)
    offsets = torch.rand(4000, 1, 6, 6) * 2 - 1
    offsets[2000:] = offsets[2000:].sign()
    seen = nf.units(net, center + 0.2 * offsets)
    assert (seen.units.low >= found.units.low).all()
    assert (seen.units.high <= found.units.high).all()
    moved = seen.units.state == STATES.index("free")
    assert not (found.units.proved & moved & (found.units.state != STATES.index("free"))).any()
    assert found.proved > 0.5
    loose = nf.units(net, nf.Box(center - 0.2, center + 0.2))
    assert (found.units.low >= loose.units.low).all()


def test_the_gradient_narrows_bounds() -> None:
    """Slopes that are looked for bound deeper layers better than those of one rule, and truly."""
    net = nf.random_network(inputs=6, width=12, depth=3, outputs=1, sigma_b=0.3, seed=2)
    wide, narrow = (nf.units(net, nf.Box(-0.5, 0.5), steps=steps).units for steps in (0, 60))
    seen = nf.units(net, np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 6))).units
    assert (seen.low >= narrow.low).all()
    assert (seen.high <= narrow.high).all()
    last = wide.layer == 3
    assert (narrow.high - narrow.low)[last].sum() < 0.99 * (wide.high - wide.low)[last].sum()


@pytest.mark.parametrize("kind", ["relu", "hardtanh"])
def test_parts_of_the_domain_prove_more(kind: str) -> None:
    """Bounds from parts contain the exact ranges, and decide more units than bounds of the whole."""
    proved = []
    for seed in range(2):
        net, box = nf.random_network(3, 6, 4, 1, kind, sigma_b=0.5, seed=seed), nf.Box(-0.2, 0.2)
        exact = nf.units(net, box, regions=1024)
        assert exact.exact
        whole, parts = (nf.units(net, box, regions=0, splits=splits) for splits in (0, 64))
        for found in (whole, parts):
            assert (found.units.low <= exact.units.low + 1e-12).all()
            assert (found.units.high >= exact.units.high - 1e-12).all()
            assert (found.units.state == exact.units.state)[found.units.proved].all()
        proved.append((whole.proved, parts.proved))
    first, then = np.mean(proved, 0)
    assert then > first
    assert then > 0.95


def test_a_polytope_is_not_its_box() -> None:
    """Exact ranges follow the faces; bounds hold on the box around."""
    net = dense([2, 3, 2, 1], "ordinary", np.random.default_rng(3))
    triangle = nf.Polytope([[-1, 0], [0, -1], [1, 1]], [0, 0, 1])
    exact, bounds = nf.units(net, triangle), nf.units(net, triangle, regions=0)
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    first = nf.units(net, corners).units
    assert np.allclose(exact.units.low[:3], first.low[:3])
    assert np.allclose(exact.units.high[:3], first.high[:3])
    assert (bounds.units.low <= exact.units.low).all()
    assert (bounds.units.high >= exact.units.high).all()


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e100])
def test_odd_magnitudes_prove_nothing_false(size: float) -> None:
    """Products that underflow or overflow leave bounds that points do not contradict."""
    net = dense([2, 4, 4, 1], "ordinary", np.random.default_rng(5))
    with torch.no_grad():
        for linear in (net[0], net[2]):
            linear.weight.mul_(size), linear.bias.mul_(size)
    box = nf.Box(-1.0, 1.0)
    bounds = nf.units(net, box, shape=(2,), regions=0)
    exact = nf.units(net, box, shape=(2,))
    both = bounds.units.proved & exact.units.proved & exact.exact
    assert (bounds.units.state == exact.units.state)[both].all()


def test_bounds_hold_among_denormal_numbers_and_overflow_proves_nothing() -> None:
    """Sums of denormal numbers are off by more than their rounding; what is too large for float64 is met nowhere."""
    net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1), nn.ReLU()).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[-1.22083621e-320, -1.21540149e-321]], dtype=torch.float64))
        net[0].bias.fill_(5.35073094e-321)
    found = nf.units(net, nf.Box(np.array([0.91, -0.45]), np.array([1.16, -0.2])), regions=0).units
    weight, bias = (p.detach().numpy().ravel().tolist() for p in net[0].parameters())
    ends = [
        sum((Fraction(w) * Fraction(x) for w, x in zip(weight, point, strict=True)), Fraction(bias[0]))
        for point in ((1.16, -0.2), (0.91, -0.45))
    ]
    assert found.low[0] <= ends[0] <= ends[1] <= found.high[0]
    with torch.no_grad():
        net[0].weight.fill_(1e150), net[0].bias.fill_(0.0), net[2].weight.fill_(1e150), net[2].bias.fill_(0.0)
    large = nf.units(net, nf.Box(np.array([1e10, 1e10]), np.array([2e10, 2e10])), regions=0).to_dataframe()
    assert large["known"].tolist() == ["proved", "observed"]
    with torch.no_grad():
        net[2].weight.neg_()
    for splits in (0, 4):  # -2e310, say, is below all numbers of float64
        large = nf.units(net, nf.Box(np.array([1e10, -1.0]), np.array([2e10, 2e10])), regions=0, splits=splits)
        assert large.units.low[1] == -np.inf
    with torch.no_grad():  # 5e-324 times 0.3 is more than 0, in real arithmetic
        net[0].weight.fill_(5e-324), net[2].weight.fill_(1.0)
    tiny = nf.units(net, nf.Box(np.array([0.1, 0.1]), np.array([0.15, 0.15])), regions=0).units
    assert (tiny.low <= 0.0).all()
    assert (tiny.high > 0.0).all()


def test_a_factor_beyond_float64_makes_no_twin() -> None:
    """1e200 x and 1e-200 x are multiples by a factor that no number of float64 is."""
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU()).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1e-200], [1e200]], dtype=torch.float64))
    for where in (nf.Box(-1.0, 1.0), np.ones((3, 1))):
        assert nf.units(net, where, shape=(1,)).units.twin.tolist() == [-1, -1]


def test_states_of_every_kind() -> None:
    """Dead, on, saturated and free by construction, on data and over the box; a knot that is touched is not crossed."""
    net = nn.Sequential(nn.Linear(1, 5), nn.Hardtanh(0.0, 1.0), nn.Linear(5, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [0.25], [1.0], [1.0], [-1.0]]))
        net[0].bias.copy_(torch.tensor([-1.0, 0.25, 3.0, 0.0, -1.0]))
    for where in (nf.Box(-1.0, 1.0), torch.linspace(-1, 1, 21)[:, None]):
        table = nf.units(net, where).to_dataframe()
        assert table["state"].tolist() == ["dead", "on", "saturated", "free", "dead"]
    assert nf.units(net, nf.Box(-1.0, 1.0)).count("dead", "proved") == 2
    assert nf.units(net, torch.zeros(3, 1)).count("dead", "proved") == 0


def attacked(net: nn.Sequential, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest and highest pre-activations of all units that signs of gradients find in a box, from four starts each."""

    def read(x: torch.Tensor) -> torch.Tensor:
        found = []
        for module in net:
            found += [x] if isinstance(module, nn.ReLU | nn.Hardtanh) else []
            x = module(x)
        return torch.cat(found, 1)

    units = read(low[None]).shape[1]
    wanted = torch.eye(units, dtype=torch.float64).repeat(4, 1)
    best = []
    for sign in (-1.0, 1.0):
        x, seen = low + (high - low) * torch.rand(len(wanted), len(low), dtype=torch.float64), []
        for step in range(20):
            x = x.detach().requires_grad_()
            h = (read(x) * wanted).sum(1)
            seen.append(h.detach())
            (slope,) = torch.autograd.grad(sign * h.sum(), x)
            x = torch.minimum(torch.maximum(x + (high - low) * 0.9**step * slope.sign(), low), high)
        best.append(sign * (sign * torch.stack(seen)).amax(0).reshape(4, units).amax(0))
    return best[0], best[1]


def test_an_attack_contradicts_nothing_that_is_proved() -> None:
    """Gradient search on 100 networks: every unit stays in its bounds, and none on a piece that it is proved not to be on."""
    rng, kinds, stable = np.random.default_rng(11), ["ordinary", "integer", "repeated", "sparse", "no bias"], 0
    torch.manual_seed(11)
    for number in range(100):
        net = dense([4, 6, 5, 2], kinds[number % 5], rng)
        if number % 3 == 0:
            net = nn.Sequential(*(nn.Hardtanh() if isinstance(m, nn.ReLU) else m for m in net))
        middle, width = rng.normal(size=4), float(rng.choice([0.05, 0.3, 1.0]))
        low, high = (torch.from_numpy(middle + end * width) for end in (-0.5, 0.5))
        found = nf.units(net, nf.Box(low, high), shape=(4,), regions=0)
        lowest, highest = (end.numpy() for end in attacked(net, low, high))
        assert (found.units.low <= lowest).all()
        assert (found.units.high >= highest).all()
        knots = np.array([-1.0, 1.0] if number % 3 == 0 else [0.0])
        moved = (knots[:, None] > lowest + 1e-12).any(0) & (knots[:, None] < highest - 1e-12).any(0)
        pieces = [(knots[:, None] < end).sum(0) for end in (lowest + 1e-12, highest - 1e-12)]
        moved &= pieces[0] < pieces[1]
        fixed = found.units.proved & (found.units.state != STATES.index("free"))
        assert not (fixed & moved).any(), number
        stable += int(fixed.sum())
    assert stable > 200


def test_twins_are_those_that_were_planted() -> None:
    """Equal and opposite multiples, also behind equal units and in maps of a convolution; nothing else is one."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for row, of, factor in ((2, 0, -3.0), (4, 1, 0.5)):
            net[0].weight[row], net[0].bias[row] = factor * net[0].weight[of], factor * net[0].bias[of]
        net[2].weight[3], net[2].bias[3] = net[2].weight[1], net[2].bias[1]
        net[2].weight[3, 1], net[2].weight[3, 4] = 0.0, net[2].weight[1, 4] + 2 * net[2].weight[1, 1]
    for where in (nf.Box(-1.0, 1.0), torch.randn(5, 3)):
        table = nf.units(net, where).to_dataframe()
        assert table["twin"].tolist() == [-1, -1, 0, -1, 1, -1, -1, -1, -1, 1]
        assert table["factor"].dropna().tolist() == [-3.0, 0.5, 1.0]
    maps = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).double().eval()
    with torch.no_grad():
        maps[0].weight[2], maps[0].bias[2] = maps[0].weight[0], maps[0].bias[0]
    table = nf.units(maps, torch.randn(4, 1, 4, 4)).to_dataframe()
    assert table["twin"].tolist() == [-1] * 8 + [0, 1, 2, 3]
    smooth = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.ReLU())
    assert (nf.units(smooth, torch.randn(3, 2)).units.twin == -1).all()


def test_data_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block size makes no difference; shares and ranks are those of the forward pass."""
    torch.manual_seed(0)
    net, data = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(50, 3)
    whole = nf.units(net, data)
    monkeypatch.setattr("netfold.measures.units.rows_together", lambda program: 7)
    assert nf.units(net, data) == whole
    h = net[0](data).detach().double()
    assert np.allclose(whole.units.active, (h > 0).double().mean(0).numpy())
    assert whole.ranks == (int(torch.linalg.matrix_rank(h.relu() - h.relu().mean(0))),)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (nf.Box(0.0, np.inf), "this box is not"),
        (nf.Polytope([[1.0, 0.0]], [1.0]), "this polytope is not bounded"),
        (nf.Polytope([[1.0, 0.0], [-1.0, 0.0]], [-1.0, -1.0]), "is empty"),
        (np.zeros((0, 2)), "data is empty"),
        (np.full((1, 2), np.nan), "must be finite"),
    ],
)
def test_what_cannot_be_looked_at(where: Any, words: str) -> None:
    """One clear error."""
    with pytest.raises(nf.InvalidInputError, match=words):
        nf.units(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), where)


def test_data_on_which_the_network_overflows() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).double()
    net[0].weight.data.fill_(1e10)
    with pytest.raises(nf.InvalidInputError, match="gives NaN or infinite numbers on data, at 0 → 1"):
        nf.units(net, np.full((1, 2), 1e300))


def test_a_smooth_network_has_no_proven_units() -> None:
    """Over a domain it is refused; on data its smooth layers are named."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(nf.NotPiecewiseLinearError):
        nf.units(net, nf.Box(0.0, 1.0))
    assert nf.units(net, torch.zeros(2, 2)).left_out == ("1",)


def test_saved_and_loaded(tmp_path: Any) -> None:
    """Equal, and a picture with a bar for every layer."""
    found = nf.units(nf.random_network(2, 5, 2, sigma_b=1.0, seed=1), nf.Box(-1.0, 1.0))
    found.save(tmp_path / "units.nc")
    assert nf.Units.load(tmp_path / "units.nc") == found
    assert len(found.plot().get_yticklabels()) == 2
