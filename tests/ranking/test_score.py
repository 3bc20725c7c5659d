"""Scores: closed forms, the same lines for all, errors that say what they are over."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.ranking import Estimate, table

DATA = np.random.default_rng(0).standard_normal((20, 6))


def three_knots() -> nn.Sequential:
    """One input, units max(x - k, 0) with k = 0.2, 0.5, 0.8."""
    net = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1)).double().eval()
    net[0].weight.data.fill_(1.0)
    net[0].bias.data.copy_(torch.tensor([-0.2, -0.5, -0.8], dtype=torch.float64))
    return net


def test_by_hand() -> None:
    """Between 0 and 1 there are three knots; the image's speed is the root of the number of units that are on."""
    found = nf.score(three_knots(), [[0.0], [1.0], [1.0]], lines=7)
    assert found.regions == Estimate(4.0, 0.0, 4.0, 4.0)
    assert found.transitions.value == 3.0
    assert found.growth.value == pytest.approx(0.3 + 0.3 * 2**0.5 + 0.2 * 3**0.5, rel=1e-12)
    assert (found.parameters, found.flops) == (10, 2 * (3 + 3))
    assert (found.method, found.status, found.lines, found.networks) == ("exact", "exact", 7, 1)
    assert "regions 4" in str(found)
    assert "on 7 lines (exact)" in str(found)


def test_flops_of_a_convolution() -> None:
    """Two for each multiplication and addition: kernel entries times places, then the readout."""
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 4)).eval()
    found = nf.score(net, np.random.default_rng(0).random((3, 2, 6, 6)), lines=2)
    assert found.flops == 2 * (5 * 16 * 2 * 9 + 80 * 4)
    assert found.parameters == 5 * 18 + 5 + 320 + 4


def test_means_over_lines() -> None:
    """The mean, its error and the geometric mean of traces of the same pairs, which depend on the seed alone."""
    nets = [nf.random_network(6, 12, 2, seed=seed) for seed in (0, 1)]
    first, second, again = (nf.score(net, DATA, lines=9, seed=3) for net in (*nets, nets[0]))
    assert first == again != second
    assert nf.score(nets[0], DATA, lines=9, seed=4).regions != first.regions
    generator = np.random.default_rng(3)
    start = generator.integers(20, size=9)
    end = (start + generator.integers(1, 20, size=9)) % 20
    traces = [nf.trace_path(nets[0], nf.Line(DATA[a], DATA[b])) for a, b in zip(start, end, strict=True)]
    regions = np.array([trace.regions for trace in traces])
    assert first.regions.value == pytest.approx(regions.mean())
    assert first.regions.standard_error == pytest.approx(regions.std(ddof=1) / 3)
    assert first.growth.value == pytest.approx(np.exp(np.mean([np.log(t.lengths[2] / t.lengths[0]) for t in traces])))


def test_counts_at_inputs_saturate_and_these_do_not() -> None:
    """Every input has a pattern of its own in both networks; the wider one has about four times the regions."""
    nets = [nf.random_network(6, width, 2, seed=0, sigma_b=0.3) for width in (32, 128)]
    for net in nets:
        hidden = torch.relu(net[0](torch.tensor(DATA, dtype=torch.float32)))
        patterns = torch.cat([hidden > 0, net[2](hidden) > 0], 1)
        assert len(patterns.unique(dim=0)) == len(DATA)
    small, large = (nf.score(net, DATA) for net in nets)
    assert 3 < large.regions.value / small.regions.value < 5


def test_factories() -> None:
    """Seeds are handed on or set, the random state is restored, and errors are over networks."""
    seeds: list[int] = []

    def with_seed(seed: int) -> nn.Module:
        seeds.append(seed)
        return nf.random_network(6, 8, 1, seed=seed)

    state = torch.random.get_rng_state()
    found = nf.score(with_seed, DATA, networks=3, lines=5)
    assert len(set(seeds)) == 3
    alone = [nf.score(nf.random_network(6, 8, 1, seed=seed), DATA, lines=5).regions.value for seed in seeds]
    assert found.regions.value == pytest.approx(np.mean(alone))
    assert found.regions.standard_error == pytest.approx(np.std(alone, ddof=1) / 3**0.5)
    plain = [nf.score(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU()), DATA, networks=2, seed=s) for s in (0, 0, 1)]
    assert plain[0] == plain[1] != plain[2]
    assert torch.equal(state, torch.random.get_rng_state())


def test_tables() -> None:
    """A row a model, and a row a score."""
    scores = [nf.score(nf.random_network(6, width, 1), DATA, lines=3) for width in (4, 8)]
    found = table(scores)
    assert list(found) == ["regions", "transitions", "growth", "parameters", "flops"]
    assert found["flops"].tolist() == [2 * 7 * 4, 2 * 7 * 8]
    frame = scores[0].to_dataframe()
    assert frame.loc["regions", "value"] == found.loc[0, "regions"]
    assert frame.loc["parameters", "low"] == scores[0].parameters
    assert scores[0].to_dict()["growth"]["value"] == found.loc[0, "growth"]


def test_smooth_networks_are_sampled() -> None:
    """Transitions are signs then; ``exact`` is refused."""
    net = nf.random_network(6, 5, 1, activation="tanh")
    found = nf.score(net, DATA, lines=2)
    assert (found.method, found.status) == ("sampled", "converged")
    with pytest.raises(nf.NotPiecewiseLinearError):
        nf.score(net, DATA, method="exact")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"inputs": DATA[:1]}, "at least two different points"),
        ({"inputs": np.ones((3, 6))}, "at least two different points"),
        ({"inputs": DATA[0]}, "one a row"),
        ({"inputs": np.full((3, 6), np.nan)}, "must be finite"),
        ({"inputs": "words"}, "must be real numbers"),
        ({"lines": 0}, "lines must be a whole number"),
        ({"networks": 1.5}, "networks must be a whole number"),
        ({"model": lambda: 3}, "the factory made a int"),
        ({"model": 3}, "model: expected a module"),
        ({"inputs": DATA[:, :5]}, "cannot be run on points of shape"),
    ],
)
def test_errors(change: dict[str, object], says: str) -> None:
    """One clear error."""
    given: dict[str, object] = {"model": nf.random_network(6, 3, 1), "inputs": DATA, **change}
    with pytest.raises(nf.InvalidInputError, match=says):
        nf.score(given.pop("model"), given.pop("inputs"), **given)  # pyright: ignore[reportArgumentType]
