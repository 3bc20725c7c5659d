"""Rank correlations: scipy's own, closed forms for normal variables, intervals that cover."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import netfold as nf
from netfold.ranking import correlation

mpl.use("Agg")

RNG = np.random.default_rng(0)


def test_coefficients_with_ties() -> None:
    """Those of scipy.stats, one at a time, also along an axis."""
    x, y = RNG.integers(0, 6, (2, 4, 25)).astype(float)
    for row in range(4):
        assert correlation.spearman(x, y)[row] == pytest.approx(stats.spearmanr(x[row], y[row]).statistic)
        assert correlation.kendall(x, y)[row] == pytest.approx(stats.kendalltau(x[row], y[row]).statistic)
    np.testing.assert_allclose(correlation.spearman(x.T, y.T, axis=0), correlation.spearman(x, y))
    np.testing.assert_allclose(correlation.kendall(x.T, y.T, axis=0), correlation.kendall(x, y))


def test_intervals_cover() -> None:
    """Of normal variables with correlation r, Spearman's rho is 6/pi asin(r/2): most 90% intervals hold it."""
    r, n, trials = 0.6, 40, 80
    truth = 6 / np.pi * np.arcsin(r / 2)
    inside = 0
    for _ in range(trials):
        x = RNG.standard_normal(n)
        y = r * x + (1 - r * r) ** 0.5 * RNG.standard_normal(n)
        low, high = correlation._interval((x, y), correlation.spearman, 0.9, 200, 0)
        inside += low < truth < high
    # Three standard errors of a share of 0.9, and a little for a bootstrap of 40.
    assert 0.76 < inside / trials < 1.0


def test_invariance() -> None:
    """Increasing functions change nothing, a change of sign everything; the seed fixes the intervals."""
    x, y = RNG.random((2, 20))
    found = nf.rank_correlation({"a": x, "b": np.exp(9 * x), "c": -x}, y, resamples=200).table
    assert found.loc["a"].equals(found.loc["b"])
    assert found.loc["c", "spearman"] == pytest.approx(-found.loc["a", "spearman"])
    assert found.loc["a", "kendall_low"] < found.loc["a", "kendall"] < found.loc["a", "kendall_high"]
    again = nf.rank_correlation(pd.DataFrame({"a": x}), y, resamples=200).table
    assert again.loc["a"].equals(found.loc["a"])
    assert not nf.rank_correlation({"a": x}, y, resamples=200, seed=1).table.equals(again)


def test_perfect_and_constant() -> None:
    """A perfect score tells nothing of its spread; one that is the same for all models has no correlation."""
    y = RNG.random(12)
    found = nf.rank_correlation({"same": y, "constant": np.ones(12)}, y, resamples=100)
    assert found.table.loc["same", ["spearman", "kendall"]].tolist() == pytest.approx([1.0, 1.0])
    assert found.table.loc["same"].isna().sum() == 4
    assert "+1.00 (no interval)" in repr(found)
    assert found.table.loc["constant"].isna().all()
    assert found.against("same").loc["constant"].isna().all()


def test_differences_are_paired() -> None:
    """Two scores that nearly agree differ by far less than the intervals of each are long."""
    y = RNG.standard_normal(40)
    x = y + RNG.standard_normal(40)
    near = x + 0.1 * RNG.standard_normal(40)
    found = nf.rank_correlation({"x": x, "near": near, "other": RNG.random(40)}, y, resamples=300)
    gap = found.against("x")
    assert list(gap.index) == ["near", "other"]
    row = found.table.loc["x"]
    assert gap.loc["near", "high"] - gap.loc["near", "low"] < 0.3 * (row["spearman_high"] - row["spearman_low"])
    assert gap.loc["other", "difference"] == pytest.approx(
        found.table.loc["other", "spearman"] - found.table.loc["x", "spearman"]
    )
    assert gap.loc["other", "high"] < 0


def test_words_and_figure(tmp_path: Path) -> None:
    """Every score is named, with its interval."""
    y = RNG.random(15)
    found = nf.rank_correlation({"regions": y + 0.3 * RNG.random(15), "flops": RNG.random(15)}, y, resamples=100)
    text = repr(found)
    assert text.startswith("15 models, 95% bootstrap intervals")
    assert "regions  Spearman +0." in text
    ax = found.plot("kendall")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["regions", "flops"]
    assert "Kendall's tau-b over 15 models, 95% interval" in ax.get_xlabel()
    with pytest.raises(nf.InvalidInputError, match="coefficient must be"):
        found.plot("pearson")  # pyright: ignore[reportArgumentType]
    frame = found.to_dataframe()
    frame.loc["regions"] = 0.0
    assert not found.table.equals(frame)


@pytest.mark.parametrize(
    ("scores", "outcome", "options", "says"),
    [
        ({"a": [1, 2, 3, 4]}, [1, 2, 3, 4], {}, "at least 5 models"),
        ({"a": [1] * 6}, [1] * 5, {}, "one number for each model"),
        ({"a": [1] * 6, "b": [1] * 5}, [1] * 6, {}, "one number for each model"),
        ({}, [1] * 6, {}, "one number for each model"),
        ({"a": [1, 2, 3, 4, np.nan]}, [1] * 5, {}, r"scores\['a'\] must be finite"),
        ({"a": [1] * 5}, [1, 2, 3, 4, np.inf], {}, "outcome must be finite"),
        ({"a": ["x"] * 5}, [1] * 5, {}, "must be real numbers"),
        ({"a": [1] * 5}, [1] * 5, {"confidence": 95}, "between 0 and 1"),
        ({"a": [1] * 5}, [1] * 5, {"resamples": 10}, "from 100 to"),
    ],
)
def test_errors(scores: dict[str, list[float]], outcome: list[float], options: dict[str, float], says: str) -> None:
    """One clear error."""
    with pytest.raises(nf.InvalidInputError, match=says):
        nf.rank_correlation(scores, outcome, **options)  # pyright: ignore[reportArgumentType]


def test_unknown_baselines() -> None:
    """Named, with those there are."""
    found = nf.rank_correlation({"a": RNG.random(6)}, RNG.random(6), resamples=100)
    with pytest.raises(nf.InvalidInputError, match="no score 'b'; there are a"):
        found.against("b")
    with pytest.raises(nf.InvalidInputError, match="coefficient must be 'spearman' or 'kendall'"):
        found.against("a", "pearson")  # pyright: ignore[reportArgumentType]
