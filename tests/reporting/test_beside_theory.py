"""Theory on the page: the library's comparison, drawn where it applies and explained where it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import netfold as nf
from netfold.comparison.columns import ONE_DRAW
from netfold.formats import number
from netfold.reporting.beside_theory import BesideTheory
from netfold.reporting.gather import ReportData, gather
from netfold.reporting.theory_words import beside_theory
from netfold.theory import length_growth

POINTS = np.random.default_rng(0).normal(size=(24, 30))


def with_growth(data: ReportData, total: float, spread: float) -> ReportData:
    """The report with another expected length, spread from draw to draw, after the last layer."""
    layers = len(data.layers)
    growth = total ** (1 / layers)
    each = growth * np.sqrt((1 + (spread / total) ** 2) ** (1 / layers) - 1)
    rows = tuple(
        replace(row, predicted=growth, error=each, error_of=ONE_DRAW) if row.measure == "growth" else row
        for row in data.theory.comparison.rows
    )
    return replace(data, theory=replace(data.theory, comparison=replace(data.theory.comparison, rows=rows)))


def test_length_is_the_product_of_growths(small: ReportData) -> None:
    """From 1, layer by layer; for independent layers the relative variances compound."""
    found = small.theory.lengths
    assert found is not None
    theory, spread = found
    exact = length_growth("relu", 1.0, width=16, depth=3, inputs=6, outputs=3)
    assert small.theory.diagnosis is not None
    gains = np.array([layer.weights.sigma_w.value for layer in small.theory.diagnosis.layers])
    np.testing.assert_allclose(theory, [1, *np.cumprod(gains * exact.growth)])
    assert spread is not None
    squares = np.cumprod(gains**2 * exact.energy_growth)
    np.testing.assert_allclose(spread[1:], np.sqrt(squares - theory[1:] ** 2))
    assert small.theory.exact


def test_one_draw_scatters_as_stated() -> None:
    """Over 40 draws the length after two layers has the stated mean, and at most the stated deviation."""
    line, totals, stated = [[0, 1]], [], (0.0, 0.0)
    for seed in range(40):
        found = gather(nf.random_network(30, 12, 2, 2, seed=seed), POINTS[:2], pairs=1)
        assert found.pairs.rows.tolist() == line
        totals.append(found.trained[0].lengths[2] / found.trained[0].lengths[0])
        lengths = BesideTheory(
            found.trained.compare(nf.Line(*POINTS[:2]), activation="relu", sigma_w=2**0.5), None, False
        ).lengths
        assert lengths is not None
        assert lengths[1] is not None
        stated = float(lengths[0][2]), float(lengths[1][2])
    assert abs(np.mean(totals) - stated[0]) < 4 * np.std(totals, ddof=1) / 40**0.5
    assert np.std(totals, ddof=1) < 1.3 * stated[1]


def test_measured_and_expected_stand_in_one_sentence(small: ReportData) -> None:
    """Both numbers, and how far apart they are."""
    assert small.initial is not None
    lengths = small.initial.values("length")
    measured = float((lengths[:, 3] / lengths[:, 0]).mean())
    assert number(measured) in beside_theory(with_growth(small, measured, 0.1))
    for off, words in (
        (0.05, "within one standard deviation"),
        (0.15, "within two standard deviations"),
        (0.5, "5 standard deviations away"),
    ):
        assert words in beside_theory(with_growth(small, measured + off, 0.1))
    assert "the starting weights made" in beside_theory(small)
    assert "For the trained weights there is no such line" in beside_theory(small)


@pytest.mark.parametrize(
    ("sigma_w", "words"), [(0.7, "ordered before training"), (2**0.5, "critical before"), (2.5, "chaotic before")]
)
def test_the_phase_before_training_is_told(sigma_w: float, words: str) -> None:
    """What `nf.diagnose` says, and what it means."""
    nets = [nf.random_network(30, 40, 2, 3, sigma_w=sigma_w, seed=s) for s in (0, 1)]
    said = beside_theory(gather(nets[0], POINTS, initial=nets[1], pairs=4))
    assert f"The network is {words}" in said
    assert f"{nf.diagnose(nets[1]).chi_1 ** 0.5:.3g}" in said


def test_hard_tanh_speaks_of_wide_layers() -> None:
    """No spread is known there: the sentence says so by what it compares with."""
    nets = [nf.random_network(30, 40, 2, 3, activation="hardtanh", sigma_w=2.0, seed=s) for s in (0, 1)]
    found = gather(nets[0], POINTS, initial=nets[1], pairs=4)
    assert found.theory.lengths is not None
    assert found.theory.lengths[1] is None
    assert not found.theory.exact
    assert "wide layers, theory expects" in beside_theory(found)


def trained() -> nn.Module:
    """A network with one direction that stands out, as training makes it."""
    net = nf.random_network(30, 60, 2, 3)
    with torch.no_grad():
        net[2].weight += 4 * torch.full((60, 60), 1 / 60)  # type: ignore[operator]
    return net


def test_trained_weights_get_a_yardstick_not_a_prediction() -> None:
    """Without initial weights the network itself is compared, and the words depend on how random it looks."""
    fresh = gather(nf.random_network(30, 60, 2, 3), POINTS, pairs=4)
    assert fresh.theory.random
    assert "these weights gave" in beside_theory(fresh)
    assert "yardstick" not in beside_theory(fresh)
    fitted = gather(trained(), POINTS, pairs=4)
    assert not fitted.theory.random
    said = beside_theory(fitted)
    assert "a yardstick, not a prediction" in said
    assert "largest singular value" in said
    assert "The network is" not in said


@pytest.mark.parametrize(
    ("net", "shape", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)), (1, 5, 6), "is a convolution"),
        (nn.Sequential(nn.Linear(30, 20), nn.BatchNorm1d(20), nn.ReLU()), (30,), "rescales the signal"),
        (nn.Sequential(nn.ReLU()), (30,), "no dense or convolutional weights"),
    ],
)
def test_where_theory_is_silent_the_reason_is_given(net: nn.Module, shape: tuple[int, ...], words: str) -> None:
    """No line is drawn, and the sentence says why."""
    found = gather(net.eval(), POINTS.reshape(-1, *shape), pairs=3)
    assert found.theory.growth is None
    assert found.theory.transitions is None
    assert found.theory.lengths is None
    assert words in beside_theory(found)
