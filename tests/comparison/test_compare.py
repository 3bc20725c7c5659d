"""Theory beside measurement: ensembles agree within their errors, and everything else is said."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.errors import InvalidInputError
from netfold.theory import Comparison, Law, compare, crossing_rate, diagnose, expect, length_growth
from netfold.theory.activations import as_activation
from tests.models import SmallConv

HE = math.sqrt(2)
RNG = np.random.default_rng(0)
ENDS = RNG.normal(size=(2, 30))
LINE = nf.Line(*ENDS)


def ensemble(count: int, path: nf.Line | nf.Arc | nf.Circle, **options) -> nf.Traces:
    """Traces of one path through networks of one law."""
    inputs = int(np.prod(path.shape))
    return nf.Traces([nf.trace_path(nf.random_network(inputs, seed=s, **options), path) for s in range(count)])


def gaps(found: Comparison, measure: str) -> np.ndarray:
    return np.array([row.gap for row in found[measure]])


@pytest.mark.parametrize(("width", "count"), [(5, 40), (100, 12)])
def test_relu_growth_is_exact_at_every_width(width: int, count: int) -> None:
    """The mean growth of every layer and of the readout is sigma_w / sqrt(k) M(k), within 3 standard errors."""
    traces = ensemble(count, LINE, width=width, depth=3, outputs=4)
    found = traces.compare(LINE, activation="relu", sigma_w=HE, draws="networks")
    growth = found["growth"]
    assert np.abs(gaps(found, "growth")).max() < 3
    exact = length_growth("relu", HE, width=width, depth=3, inputs=30, outputs=4).growth
    np.testing.assert_allclose([row.predicted for row in growth], exact)
    assert {row.holds for row in growth} == {"exact at this width"}


def test_kac_rice_transitions_of_relu_networks() -> None:
    """Transitions of every layer, with biases and in networks wide enough, within 3 standard errors."""
    traces = ensemble(25, LINE, width=300, depth=3, sigma_b=0.7)
    found = traces.compare(LINE, activation="relu", sigma_w=HE, sigma_b=0.7, draws="networks")
    for measure in ("transitions", "sign_transitions"):
        assert np.abs(gaps(found, measure)).max() < 3
        assert found[measure][0].holds == "exact at this width"
        assert found[measure][2].holds == "infinite width"
    rates = crossing_rate("relu", HE, 0.7, 3, curve=LINE).transitions * 300
    np.testing.assert_allclose([row.predicted for row in found["transitions"]], rates)


@pytest.mark.parametrize("path", [LINE, nf.Arc(*ENDS), nf.Circle(*ENDS)], ids=["line", "arc", "circle"])
def test_hard_tanh_growth_and_transitions_on_each_path(path: nf.Line | nf.Arc | nf.Circle) -> None:
    """At width 512 growth is within 2% of the recursion for that very path, transitions within 3%."""
    traces = ensemble(8, path, width=512, depth=3, activation="hardtanh", sigma_w=3.0)
    found = traces.compare(path, activation="hardtanh", sigma_w=3.0, draws="networks")
    hidden = found["growth"][:-1]
    np.testing.assert_allclose([row.measured for row in hidden], [row.predicted for row in hidden], rtol=0.02)
    rows = [*found["transitions"], *found["sign_transitions"]]
    np.testing.assert_allclose([row.measured for row in rows], [row.predicted for row in rows], rtol=0.03)
    assert {row.holds for row in hidden} == {"infinite width"}


def test_a_line_has_a_formula_of_its_own() -> None:
    """A hard-tanh line along the signal grows less than a circle, and the measurement follows the line's."""
    point = RNG.normal(size=30)
    radial = nf.Line(0.2 * point, 3 * point)
    traces = ensemble(8, radial, width=512, depth=1, activation="hardtanh", sigma_w=2.0)
    row = traces.compare(radial, activation="hardtanh", sigma_w=2.0, draws="networks")["growth"][0]
    assert row.measured == pytest.approx(row.predicted, rel=0.03)
    circle = length_growth("hardtanh", 2.0, width=512, inputs=30).growth[0]
    assert row.predicted < 0.9 * circle


@pytest.mark.parametrize("path", [LINE, nf.Arc(*ENDS), nf.Circle(*ENDS)], ids=["line", "arc", "circle"])
def test_sign_transitions_follow_the_measured_angle(path: nf.Line | nf.Arc | nf.Circle) -> None:
    """Crofton: in chaotic networks of width 40 the angle of the image before predicts the count after it."""
    traces = ensemble(16, path, width=40, depth=3, outputs=20, activation="hardtanh", sigma_w=3.0)
    found = traces.compare(path, activation="hardtanh", sigma_w=3.0, draws="networks")
    rows = found["sign_transitions_from_angle"]
    assert np.abs([row.gap for row in rows]).max() < 3
    assert [row.name for row in rows] == ["act2", "act3", "output"]
    angle = np.mean([trace.layers[0].angular_length for trace in traces])
    assert rows[0].predicted == pytest.approx(40 * angle / np.pi)


def test_one_trace_is_judged_by_the_spread_of_one_draw() -> None:
    """Over draws, the gap of single traces has a standard deviation of at most 1, near 1 in the first layer.

    The number of sign changes in the first layer is binomial, so there it is 1.
    """
    found = [
        nf.trace_path(nf.random_network(30, 25, 2, 3, seed=s), LINE).compare(LINE, activation="relu", sigma_w=HE)
        for s in range(40)
    ]
    growth = np.array([gaps(one, "growth") for one in found])
    assert (growth.std(0) < 1.2).all()
    assert (growth.std(0) > 0.3).all()
    assert np.abs(growth.mean(0)).max() < 4 / np.sqrt(40)
    first = np.array([gaps(one, "sign_transitions")[0] for one in found])
    assert first.std() == pytest.approx(1, abs=0.3)
    later = found[0]["transitions"][1]
    assert math.isnan(later.gap)
    assert "unknown" in later.error_of


def test_the_first_layer_on_ellipses_around_0() -> None:
    """A quarter arc is met at most once by each unit: binomial. A circle is met twice by every one: no gap at all."""
    arc, circle = nf.Arc(*ENDS), nf.Circle(*ENDS)
    found = [
        nf.trace_path(nf.random_network(30, 40, 1, seed=s), arc).compare(arc, activation="relu", sigma_w=HE)
        for s in range(40)
    ]
    scores = np.array([gaps(one, "sign_transitions")[0] for one in found])
    assert abs(scores.mean()) < 4 / 40**0.5
    assert scores.std() == pytest.approx(1, abs=0.4)
    row = nf.trace_path(nf.random_network(30, 40, 1), circle).compare(circle, activation="relu", sigma_w=HE)
    once = row["sign_transitions"][0]
    assert (once.measured, once.predicted, once.error, once.gap) == (80, pytest.approx(80), 0, pytest.approx(0))
    biased = nf.trace_path(nf.random_network(30, 40, 1, sigma_b=0.5), circle)
    compared = biased.compare(circle, activation="relu", sigma_w=HE, sigma_b=0.5)["sign_transitions"][0]
    assert math.isnan(compared.gap)


def test_a_diagnosis_is_a_law() -> None:
    """Each layer's own gain scales its own growth; the network itself will do in place of its diagnosis."""
    net = nf.random_network(30, 120, 3, 4, scaling="width", seed=5)
    diagnosis = diagnose(net, shape=(30,))
    found = nf.trace_path(net, LINE).compare(LINE, diagnosis)
    gains = [layer.weights.sigma_w.value for layer in diagnosis.layers]
    unit = length_growth("relu", 1.0, width=120, depth=3, inputs=30, outputs=4).growth
    np.testing.assert_allclose([row.predicted for row in found["growth"]], gains * unit)
    assert gains[0] < 0.8 * gains[1]
    assert np.abs(gaps(found, "growth")).max() < 3
    assert repr(nf.trace_path(net, LINE).compare(LINE, net)) == repr(found)


def test_the_first_layers_gain_counts_for_saturating_units_too() -> None:
    """Dividing the first weights by the width as Raghu et al. do: growth and transitions within 3%."""
    traces = ensemble(8, LINE, width=512, depth=3, activation="hardtanh", sigma_w=6.0, scaling="width")
    first = 6 * (30 / 512) ** 0.5
    found = traces.compare(LINE, activation="hardtanh", sigma_w=[first, 6, 6, 6], draws="networks")
    rows = [*found["growth"][:-1], *found["transitions"]]
    np.testing.assert_allclose([row.measured for row in rows], [row.predicted for row in rows], rtol=0.03)


def test_paths_of_one_network_share_its_weights() -> None:
    """Their means differ by the spread of one draw; predictions are means over the paths."""
    lines = [nf.Line(*RNG.normal(size=(2, 30))) for _ in range(6)]
    net = nf.random_network(30, 60, 2, seed=1)
    found = nf.trace_paths(net, lines).compare(lines, activation="relu", sigma_w=HE)
    row = found["growth"][0]
    single = nf.trace_path(net, lines[0]).compare(lines[0], activation="relu", sigma_w=HE)["growth"][0]
    assert row.error == pytest.approx(single.error)
    assert row.error_of == "spread of one draw of the weights, at most"
    rates = [crossing_rate("relu", HE, depth=2, curve=line).transitions[1] * 60 for line in lines]
    later = found["transitions"][1]
    assert later.predicted == pytest.approx(np.mean(rates))
    assert "6 paths alone" in later.error_of
    assert math.isnan(later.gap)
    assert found.count == 6


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) + x


def uniform(*sizes: int) -> nn.Module:
    """ReLU layers as torch initialises them, without biases."""
    parts: list[nn.Module] = []
    for seed, (a, b) in enumerate(pairwise(sizes)):
        parts += [nn.Linear(a, b, bias=False), nn.ReLU()]
        parts[-2].weight.data.uniform_(-1 / a**0.5, 1 / a**0.5, generator=torch.Generator().manual_seed(seed))  # type: ignore[union-attr]
    return nn.Sequential(*parts[:-1]).eval()


def trained() -> nn.Module:
    net = nf.random_network(30, 60, 2)
    with torch.no_grad():
        net[2].weight += 4 * torch.full((60, 60), 1 / 60)  # type: ignore[operator]
    return net


def through_origin() -> nf.Line:
    return nf.Line(-ENDS[0], ENDS[0])


@pytest.mark.parametrize(
    ("net", "path", "measure", "words", "given"),
    [
        (trained(), LINE, "growth", "for random weights of the same scale", True),
        (SmallConv(3, nn.ReLU), nf.Line(*RNG.normal(size=(2, 2, 6, 6))), "growth", "batch_norm", False),
        (nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU()), nf.Line(*ENDS[:, None]), "transitions", "convolution", False),
        (nn.Sequential(nn.Linear(30, 40), Doubled()), LINE, "growth", "bypass the one before", False),
        (nf.random_network(30, 60, 2), through_origin(), "transitions", "passes through 0", False),
        (nf.random_network(30, 60, 2), through_origin(), "growth", "", True),
        (nf.random_network(30, 60, 2, sigma_b=0.5), LINE, "sign_transitions_from_angle", "a bias adds", False),
        (nf.random_network(30, 5, 2), LINE, "sign_transitions_from_angle", "narrow layer", True),
    ],
)
def test_where_theory_does_not_apply_it_says_why(
    net: nn.Module, path: nf.Line, measure: str, words: str, given: bool
) -> None:
    """A note instead of a number, or beside it where the number still says something."""
    diagnosis = diagnose(net.eval(), shape=path.shape)
    found = nf.trace_path(net, path).compare(path, diagnosis)
    for row in found[measure]:
        assert words in row.note
        assert math.isfinite(row.predicted) == given
    assert not words or words in repr(found)


def test_expectation_of_a_smooth_activation_has_no_states() -> None:
    """tanh: growth along the path, sign transitions, no state switches; an unknown curve is refused in words."""
    law = Law.given("tanh", 2.0, 0.1, layers=3)
    found = expect(law, LINE, [50, 50], outputs=1)
    wanted = length_growth("tanh", 2.0, 0.1, [50, 50], inputs=30, outputs=1, curve=LINE).growth
    np.testing.assert_allclose(found.growth, wanted)
    assert np.isnan(found.transitions).all()
    assert np.isfinite(found.sign_transitions).all()
    assert "no states" in found.no_transitions
    curve = nf.Curve(lambda t: torch.stack([t, t * t]))
    assert "Polyline" in expect(law, curve, [50, 50], outputs=1).no_growth
    assert np.isfinite(expect(Law.given("relu", 1.0, 0.0, 3), curve, [50, 50], 1).growth).all()


def test_outputs_are_a_sample_of_readouts() -> None:
    """Given the last image, sign changes of the outputs are independent: one network gives their error.

    Over 30 readouts of one image the gaps scatter as standard normal numbers do.
    """
    net = nf.random_network(30, 60, 2, outputs=25, activation="hardtanh", sigma_w=3.0)
    seen = []
    for seed in range(30):
        with torch.no_grad():
            net[-1].weight.normal_(0, 1, generator=torch.Generator().manual_seed(seed))  # type: ignore[operator]
        found = nf.trace_path(net, LINE).compare(LINE, activation="hardtanh", sigma_w=3.0)
        seen.append(found["sign_transitions_from_angle"][-1])
    assert {row.error_of for row in seen} == {"standard error over outputs"}
    scores = np.array([row.gap for row in seen])
    assert abs(scores.mean()) < 4 / 30**0.5
    assert 0.7 < scores.std() < 1.4


def test_without_a_readout_the_output_is_the_last_image() -> None:
    """A network that ends with its activation: hidden layers as ever, growth 1 after them, nothing reads the last."""
    net = nf.random_network(30, 60, 3)
    bare = nn.Sequential(*list(net)[:-1]).eval()
    found = nf.trace_path(bare, LINE).compare(LINE, bare)
    whole = nf.trace_path(net, LINE).compare(LINE, net)
    assert [row.predicted for row in found["growth"][:-1]] == [row.predicted for row in whole["growth"][:-1]]
    assert found["growth"][-1].measured == pytest.approx(found["growth"][-1].predicted) == 1
    assert [row.predicted for row in found["transitions"]] == [row.predicted for row in whole["transitions"]]
    angle = found["sign_transitions_from_angle"]
    assert math.isfinite(angle[0].predicted)
    assert "no weights read the last layer" in angle[-1].note


def test_uniform_weights_are_not_called_exact() -> None:
    """nn.Linear draws uniform weights: the same numbers, but for wide layers, and said so."""
    net = uniform(30, 200, 200, 3)
    found = nf.trace_path(net, LINE).compare(LINE, net)
    assert found.caveat == "for wide layers, as its weights are not Gaussian (kurtosis 1.8, not 3)"
    assert {row.holds for row in found.rows if np.isfinite(row.predicted)} == {"infinite width"}
    growth = [(row.measured, row.predicted) for row in found["growth"]]
    np.testing.assert_allclose(*zip(*growth, strict=True), rtol=0.3)


def test_scaling_the_path_is_scaling_the_first_gain() -> None:
    """A first gain c times the others' does to a path what the common gain does to c times the path."""
    for path, scaled in (
        (LINE, nf.Line(*(0.5 * ENDS))),
        (nf.Arc(*ENDS), nf.Arc(*(0.5 * ENDS))),
    ):
        first = expect(Law.given("hardtanh", [1.0, 2.0, 2.0], 0.3, 3), path, [40, 40], 1)
        other = expect(Law.given("hardtanh", 2.0, 0.3, 3), scaled, [40, 40], 1)
        np.testing.assert_allclose(first.transitions, other.transitions)
        np.testing.assert_allclose(first.growth, other.growth * [0.5, 1, 1])


def test_forms() -> None:
    """Text, data frame, plots; other measures are refused."""
    traces = ensemble(4, LINE, width=20, depth=2)
    found = compare(traces, LINE, activation="relu", sigma_w=HE, draws="networks")
    frame = found.to_dataframe()
    assert list(frame.columns)[:7] == ["measure", "layer", "name", "label", "measured", "predicted", "error"]
    assert "4 networks beside random weights" in repr(found)
    for measure in ("growth", "transitions", "sign_transitions", "sign_transitions_from_angle"):
        axes = found.plot(measure)
        assert len(axes.get_legend_handles_labels()[1]) == 2
    with pytest.raises(InvalidInputError, match="choose one of growth"):
        found["energy"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "law of the weights is needed"),
        ({"activation": "relu"}, "law of the weights is needed"),
        ({"activation": "relu", "sigma_w": 1.0, "law": Law.given("relu", 1.0, 0.0, 3)}, "needed, once"),
        ({"activation": "tanh", "sigma_w": 1.0}, "are relu, but activation is 'tanh'"),
        ({"activation": "relu", "sigma_w": [1.0, 2.0]}, "one for each of 3 layers"),
        ({"law": nf.random_network(30, 9, 3)}, "the law has 4 layers with the readout, what was traced 3"),
        ({"activation": "relu", "sigma_w": -1.0}, "sigma_w must be a finite number"),
        (
            {"activation": "relu", "sigma_w": 1.0, "path": nf.Line(ENDS[0], 2 * ENDS[1])},
            "give the path that was traced",
        ),
    ],
)
def test_bad_input(options: dict, words: str) -> None:
    """Each refusal names what is wrong."""
    path = options.pop("path", LINE)
    trace = nf.trace_path(nf.random_network(30, 9, 2), LINE)
    with pytest.raises(InvalidInputError, match=words):
        trace.compare(path, **options)


def test_paths_and_traces_must_match() -> None:
    """One path for each trace."""
    traces = ensemble(3, LINE, width=9, depth=1)
    with pytest.raises(InvalidInputError, match="each of 3 traces, got 2"):
        traces.compare([LINE, LINE], activation="relu", sigma_w=HE)


def test_layers_of_several_kinds_have_no_stated_law() -> None:
    """A stated law is about one activation; a pooled network has two kinds of layers."""
    net = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.MaxPool1d(2)).eval()
    found = nf.trace_path(net, nf.Line(*ENDS[:, None])).compare(
        nf.Line(*ENDS[:, None]), activation=as_activation("relu"), sigma_w=1.0
    )
    assert "several kinds: relu, max_pool1d" in found["growth"][0].note
