"""Switches of gates along a path: none is missing where the enclosures say so."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import netfold as nf
from netfold.sampled import gates
from netfold.sampled.enclosures import enclosed
from netfold.sampled.gates import Switches, certain, jets
from netfold.sampled.trace import trace_sampled

TOKENS, WIDTH = 3, 8


class Block(nn.Module):
    """A block as GPT-2 has it (layer norm, GELU), or as Llama has it (RMS norm, SwiGLU)."""

    def __init__(self, llama: bool, approximate: str = "none") -> None:
        super().__init__()
        norm = nn.RMSNorm if llama else nn.LayerNorm
        self.norm1, self.norm2 = norm(WIDTH), norm(WIDTH)
        self.attention, self.mix = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.gate, self.down = (nn.Linear(*s) for s in ((WIDTH, 12), (WIDTH, 12), (12, WIDTH)))
        self.llama, self.approximate = llama, approximate

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (a.unflatten(-1, (2, -1)).transpose(1, 2) for a in self.attention(self.norm1(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(mixed.transpose(1, 2).flatten(2))
        h = self.norm2(x)
        if self.llama:
            return x + self.down(F.silu(self.gate(h)) * self.up(h))
        return x + self.down(F.gelu(self.up(h), approximate=self.approximate))


def case(seed: int, llama: bool, blocks: int, scale: float = 1.0, approximate: str = "none") -> tuple[Any, nf.Line]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(*(Block(llama, approximate) for _ in range(blocks))).eval()
        ends = torch.randn(2, TOKENS, WIDTH, dtype=torch.float64).numpy()
    return model, nf.Line(ends[0], ends[0] + scale * (ends[1] - ends[0]))


def on_grid(model: Any, path: nf.Path, t: np.ndarray) -> dict[str, np.ndarray]:
    """Signs of the pre-activations of all gates by plain forward passes in float64: by module, ``(points, units)``."""
    found: dict[str, list[np.ndarray]] = {}
    twin = copy.deepcopy(model).double()
    hooks = [
        m.register_forward_hook(
            lambda _, __, made, name=name: found.setdefault(name, []).append((made > 0).flatten(1).numpy())
        )
        for name, m in twin.named_modules()
        if name.endswith("gate" if next(iter(twin)).llama else "up")
    ]
    with torch.no_grad():
        for part in np.array_split(t, max(1, len(t) // 5000)):
            twin(torch.from_numpy(path(part)))
    for hook in hooks:
        hook.remove()
    return {name: np.concatenate(parts) for name, parts in found.items()}


@pytest.mark.parametrize(
    ("seed", "llama", "blocks", "points", "approximate"),
    [(0, False, 2, 100_000, "none"), (1, True, 2, 100_000, "none"), (2, False, 1, 10_000, "tanh")],
)
def test_no_switch_of_a_grid_is_missing_where_it_is_certified(
    seed: int, llama: bool, blocks: int, points: int, approximate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a gate is certified on a stretch, a fine grid sees the switches that the trace found there, and no other."""
    model, path = case(seed, llama, blocks, 0.6, approximate)
    met = 0
    kept: list[Switches] = []
    certify = gates.certify
    monkeypatch.setattr(gates, "certify", lambda *given: kept.append(given[2]) or certify(*given, most=2000))
    trace = nf.trace_path(model, path, certify=True, tolerance=1e-3)
    table = trace.gates()
    whole = table[table["token"].isna()]
    t = np.linspace(0, 1, points + 1)
    signs = on_grid(model, path, t)
    assert len(whole) == len(signs) == blocks
    assert 0.2 < trace.certified <= whole["certified"].min()
    ends = t[:: points // 1000]
    sure = gates.certain(nf.capture(model, shape=(TOKENS, WIDTH)), path, kept[0], ends[:-1], ends[1:])[0]
    for (_, row), (layer, ok), seen in zip(whole.iterrows(), sure.items(), signs.values(), strict=True):
        mine = table[(table["layer"] == row["layer"]) & table["token"].notna()]
        assert layer + 1 == row["layer"]
        assert row["switches"] == mine["switches"].sum() == trace.layers[layer].sign_transitions
        assert (mine["certified"] >= row["certified"]).all()
        on_the_grid = (seen[1:] != seen[:-1]).reshape(1000, -1, seen.shape[1]).sum(1)
        found = np.zeros_like(on_the_grid)
        at = kept[0].stage == layer
        np.add.at(found, (np.searchsorted(ends, kept[0].t[at]) - 1, kept[0].unit[at]), 1)
        assert ok.mean() > 0.9
        met += found[ok].sum()
        assert (on_the_grid[ok] == found[ok]).all()
    assert met > 0
    assert "of the path no switch can be missing" in repr(trace)


@pytest.mark.parametrize("llama", [False, True])
@pytest.mark.parametrize("way", [nf.Line, nf.Arc, nf.Circle])
def test_enclosures_hold_values_and_slopes(llama: bool, way: Any) -> None:
    """What layers read, and its derivative, lie in their enclosures at random points of every stretch."""
    model, line = case(3, llama, 3)
    path, rng = way(line.x0, line.x1), np.random.default_rng(0)
    program = nf.capture(model, shape=(TOKENS, WIDTH))
    for n in (1, 4, 32, 256):
        ends = np.linspace(0, 1, n + 1)
        a, b = ends[:-1], ends[1:]
        at = {}
        for t in (a + (b - a) * rng.random(n), a + (b - a) * rng.random(n)):
            points = torch.from_numpy(path(t)).reshape(n, TOKENS, WIDTH)
            for k, (_, read, _) in enumerate(program.layer_inputs(points)):
                at.setdefault(k, []).append((torch.from_numpy(t), read[0].flatten(1)))
        for k, jet in enclosed(program, jets(program, path, a, b), n):
            (s, x), (t, y) = at[k]
            for value in (x, y):
                assert ((jet.range.low <= value) & (value <= jet.range.high)).all()
            # By the mean value theorem the difference quotient is a value of the derivative.
            quotient, rounding = (y - x) / (t - s)[:, None], 1e-12 / (t - s).abs()[:, None]
            by = torch.from_numpy((b - a) / 2)[:, None]
            assert (jet.slope.low / by <= quotient + rounding).all()
            assert (quotient - rounding <= jet.slope.high / by).all()


def test_a_switch_that_was_not_found_is_not_certified() -> None:
    """Where found switches are left out or made up, no stretch that holds one is certified for its gate."""
    model, path = case(4, False, 1)
    program = nf.capture(model, shape=(TOKENS, WIDTH))
    (layer,) = (n for n, each in enumerate(program.layers) if each.op == "gelu")
    t = np.linspace(0, 1, 257)
    signs = on_grid(model, path, t)["0.up"]
    none = Switches(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    sure = certain(program, path, none, t[:-1], t[1:])[0][layer]
    switched = signs[1:] != signs[:-1]
    assert switched.any()
    assert not sure[switched].any()
    assert sure[~switched].mean() > 0.9
    row, unit = np.argwhere(sure)[0]
    made_up = Switches(t[row : row + 1] + 1e-4, np.array([layer]), np.array([unit]))
    assert not certain(program, path, made_up, t[:-1], t[1:])[0][layer][row, unit]


def test_the_share_grows_as_stretches_shrink() -> None:
    """On longer stretches and behind more blocks less is certain; nothing is where enclosures are unbounded."""
    model, path = case(5, True, 3)
    program = nf.capture(model, shape=(TOKENS, WIDTH))
    none = Switches(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
    shares = []
    for n in (1, 16, 256):
        ends = np.linspace(0, 1, n + 1)
        shares.append([ok.mean() for ok in certain(program, path, none, ends[:-1], ends[1:])[0].values()])
    curve = np.array(shares)
    assert (np.diff(curve, axis=0) >= 0).all()
    assert (np.diff(curve[1:], axis=1) < 0).all()
    assert curve[-1, 0] > 0.99
    assert curve[0].max() < 0.1


def test_gates_are_saved_and_refused_where_there_are_none(tmp_path: Any) -> None:
    """Tables of gates survive a file, of one trace and of many; free curves and networks without gates are refused."""
    net = nf.random_network(inputs=2, width=6, depth=2, activation="tanh", seed=0)
    traces = nf.trace_paths(net, [nf.Line([0.0, 0.0], [1.0, y]) for y in (1.0, 2.0)], certify=True)
    traces.save(tmp_path / "traces.nc")
    assert nf.Traces.load(tmp_path / "traces.nc") == traces
    traces[0].save(tmp_path / "trace.nc")
    assert nf.Trace.load(tmp_path / "trace.nc") == traces[0]
    assert traces[0].to_dict()["gates"][0]["token"] is None
    with pytest.raises(nf.InvalidInputError, match="derivatives that could be enclosed"):
        nf.trace_path(net, nf.Curve(lambda t: torch.stack([t, t])), certify=True)
    assert traces[0].uncertified == ""
    norm = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.ReLU(), nn.Linear(3, 3)).eval()
    with pytest.raises(nf.InvalidInputError, match="has no gate"):
        nf.trace_path(norm, nf.Arc([0.0, 1.0], [1.0, 0.0]), certify=True)


def test_what_has_no_enclosure_is_named() -> None:
    """Gates before it are certified, those behind it are not, and the result says why."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(2, 4), nn.GELU(), nn.Linear(4, 4), nn.Mish(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)
    )
    trace = nf.trace_path(net, nf.Line([0.0, 0.0], [1.0, 1.0]), certify=True)
    whole = trace.gates().query("token.isna()")
    assert whole["certified"].tolist()[0] > 0.99
    assert whole["certified"].tolist()[1] == trace.certified == 0.0
    assert "aten.mish.default in module '3'" in trace.uncertified
    assert trace.uncertified in repr(trace)
    images = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.SiLU(), nn.Conv2d(2, 2, 2, stride=2, bias=False), nn.GELU()
    )
    seen = nf.trace_path(images, nf.Line(torch.zeros(1, 4, 4), torch.randn(1, 4, 4)), certify=True)
    assert seen.uncertified == ""
    assert seen.certified > 0.9


def test_convolutions_are_enclosed() -> None:
    """What layers read at points of each stretch lies in its enclosure, and so does the change between two of them."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.SiLU(), nn.Conv2d(2, 4, 2, 2, groups=2), nn.GELU()).double()
    program, ends = nf.capture(net, shape=(1, 4, 4)), torch.randn(2, 1, 4, 4, dtype=torch.float64)
    path, edges = nf.Line(ends[0], ends[1]), np.linspace(0, 1, 9)
    a, b = edges[:-1], edges[1:]
    found = dict(enclosed(program, jets(program, path, a, b), 8))
    at = {t: [*program.layer_inputs(torch.from_numpy(path(a + t * (b - a))))] for t in (0.1, 0.6, 1.0)}
    for n, jet in found.items():
        low, mid, high = (at[t][n][1][0].flatten(1) for t in (0.1, 0.6, 1.0))
        for value in (low, mid, high):
            assert ((value >= jet.range.low) & (value <= jet.range.high)).all()
        change = (high - mid) / 0.8  # u runs over [-1, 1], so 0.4 of a stretch is 0.8
        assert ((change >= jet.slope.low - 1e-12) & (change <= jet.slope.high + 1e-12)).all()


def test_a_budget_ends_the_certificate() -> None:
    """What is certified within it is less than without one; the result says what ended it; progress adds up."""
    model, path = case(5, True, 2)
    program = nf.capture(model, shape=(TOKENS, WIDTH))
    part = nf.trace_path(program, path, certify=True, tolerance=1e-3, evaluations=1500)
    more = nf.trace_path(program, path, certify=True, tolerance=1e-3, evaluations=8000)
    assert part.certified <= more.certified
    assert part.gates()["certified"].sum() < more.gates()["certified"].sum()
    assert "the certificate ended early: " in part.uncertified
    assert "evaluations were taken" in part.uncertified
    none = nf.trace_path(program, path, certify=True, seconds=1e-3)
    assert none.certified == 0.0
    assert "seconds are over" in none.uncertified
    told: list[float] = []
    net = nf.capture(nf.random_network(inputs=2, width=6, depth=2, activation="tanh", seed=0), shape=(2,))
    trace_sampled(net, nf.Line([0.0, 0.0], [1.0, 1.0]), told=told.append, certify=True)
    assert sum(told) == pytest.approx(1.0)


def test_an_exact_part_is_proved_where_only_the_tail_is_smooth() -> None:
    """Breakpoints are those of the certificate of the part alone; the tail's switches are those of a fine grid."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3), nn.Sigmoid()).double()
    path = nf.Line([-2.0, 0.5], [2.0, -0.3])
    with torch.no_grad():
        net[2].bias -= net[:3](torch.from_numpy(path(np.array([0.37]))))[0]  # each output crosses 0 there
    trace, part = nf.trace_path(net, path, certify=True), nf.trace_path(net[:2], path, certify=True)
    assert (trace.method, trace.uncertain) == ("exact, then sampled", 0)
    assert np.isin(part.breakpoints, trace.breakpoints).all()
    h = net[:3](torch.from_numpy(path(np.linspace(0, 1, 100_001)))) > 0
    assert trace.layers[1].sign_transitions == int((h[1:] != h[:-1]).sum()) > 0
    with pytest.raises(nf.InvalidInputError, match="takes the whole path"):
        nf.trace_path(net, path, certify=True, seconds=1.0)
