"""`rank_correlation`: how well scores rank models, with intervals, and against each other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netfold.arguments import Resamples, Seed, Share, checked, shown
from netfold.arrays import Floats, numbers
from netfold.errors import InvalidInputError
from netfold.results.base import above

if TYPE_CHECKING:
    import pandas as pd

Coefficient = Literal["spearman", "kendall"]

FEWEST = 5
"""Models below which an interval says nothing."""


@dataclass(frozen=True, eq=False)
class RankCorrelations:
    """Rank correlations of several scores with one outcome.

    Attributes:
        table: one row a score: Spearman's rho and Kendall's tau-b, each with ``_low`` and ``_high`` of its interval.
        models: how many models were compared.
        confidence: of the intervals.
        resamples: bootstrap samples behind each.
        seed: of the bootstrap.
        scores: the ranked scores, one column each, and ``outcome`` what they are compared with.
        outcome: one number a model.
    """

    table: pd.DataFrame
    models: int
    confidence: float
    resamples: int
    seed: int
    scores: pd.DataFrame = field(repr=False)
    outcome: Floats = field(repr=False)

    plot = above("netfold.plots.ranking:correlations")

    def to_dataframe(self) -> pd.DataFrame:
        """The table."""
        return self.table.copy()

    @checked
    def against(self, baseline: str, coefficient: Coefficient = "spearman") -> pd.DataFrame:
        """By how much each score ranks better than a baseline, with paired bootstrap intervals.

        Intervals of two correlations on the same models overlap far more than their difference varies, so differences
        need intervals of their own.

        Args:
            baseline: the name of a score, such as ``parameters``.
            coefficient: ``spearman`` or ``kendall``.

        Returns:
            One row a score other than the baseline: ``difference``, ``low``, ``high``.

        Raises:
            InvalidInputError: there is no such score or coefficient.
        """
        import pandas as pd

        if baseline not in self.scores:
            raise InvalidInputError(f"no score {baseline!r}; there are {', '.join(map(str, self.scores))}")
        if coefficient not in COEFFICIENTS:
            raise InvalidInputError(f"coefficient must be one of {', '.join(COEFFICIENTS)}, got {coefficient!r}")
        of, base = COEFFICIENTS[coefficient], self.scores[baseline].to_numpy()

        def gap(x: Floats, b: Floats, y: Floats, axis: int = -1) -> Floats:
            return of(x, y, axis) - of(b, y, axis)

        rows = {}
        for name in self.scores.columns.drop(baseline):
            columns = (self.scores[name].to_numpy(), base, self.outcome)
            rows[name] = (float(gap(*columns)), *_interval(columns, gap, self.confidence, self.resamples, self.seed))
        return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high"])

    def __str__(self) -> str:
        lines = [f"{self.models} models, {self.confidence:.0%} bootstrap intervals"]
        width = max(len(str(name)) for name in self.table.index)
        for name, row in self.table.iterrows():
            rho, tau = (_shown(row, kind) for kind in COEFFICIENTS)
            lines.append(f"{name:<{width}}  Spearman {rho}  Kendall {tau}")
        return "\n".join(lines)


@checked
def rank_correlation(
    scores: pd.DataFrame | Mapping[str, Any],
    outcome: Any,
    *,
    confidence: Share = 0.95,
    resamples: Resamples = 1000,
    seed: Seed = 0,
) -> RankCorrelations:
    """How well scores rank models by an outcome such as accuracy: Spearman's rho and Kendall's tau-b, with intervals.

    Intervals are bootstrap intervals over models (`scipy.stats.bootstrap`: bias-corrected and accelerated; plain
    percentiles where that is undefined, as for perfect correlation). They describe models drawn like these ones, not
    the outcome's own noise, and are too short for fewer than about 15 models.

    Args:
        scores: a column or entry for each score, one number a model (`netfold.ranking.table`).
        outcome: one number a model; larger is better.
        confidence: probability that an interval covers, between 0 and 1.
        resamples: bootstrap samples for each interval.
        seed: seed of the bootstrap.

    Returns:
        The correlations; a score or outcome that is the same for all models has none (NaN).

    Raises:
        InvalidInputError: lengths differ, a number is not finite, or there are fewer than five models.

    Example:
        >>> found = rank_correlation({"right": [1, 2, 3, 4, 5, 6], "wrong": [6, 5, 4, 3, 2, 1]}, [1, 2, 3, 4, 6, 5])
        >>> found.table["spearman"].round(3).to_dict()
        {'right': 0.943, 'wrong': -0.943}
    """
    import pandas as pd

    columns, wanted = _checked(scores, outcome)
    rows = {}
    for name, values in columns.items():
        row = []
        for of in COEFFICIENTS.values():
            pair = (values.to_numpy(), wanted)
            row += [float(of(*pair)), *_interval(pair, of, confidence, resamples, seed)]
        rows[name] = row
    names = [kind + part for kind in COEFFICIENTS for part in ("", "_low", "_high")]
    found = pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("score")
    return RankCorrelations(found, len(wanted), confidence, resamples, seed, columns, wanted)


def spearman(x: Floats, y: Floats, axis: int = -1) -> Floats:
    """Spearman's rho along an axis: Pearson's correlation of mid-ranks; NaN where all are equal."""
    from scipy.stats import rankdata

    a, b = (rankdata(v, axis=axis) for v in np.broadcast_arrays(x, y))
    a, b = a - a.mean(axis, keepdims=True), b - b.mean(axis, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis) / np.sqrt((a * a).sum(axis) * (b * b).sum(axis))


def kendall(x: Floats, y: Floats, axis: int = -1) -> Floats:
    """Kendall's tau-b along an axis; NaN where all are equal."""
    from scipy.stats import kendalltau

    x, y = (np.moveaxis(v, axis, -1) for v in np.broadcast_arrays(x, y))
    rows = zip(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]), strict=True)
    return np.array([kendalltau(a, b)[0] for a, b in rows]).reshape(x.shape[:-1])


COEFFICIENTS: dict[str, Callable[..., Floats]] = {"spearman": spearman, "kendall": kendall}


def _interval(
    columns: tuple[Floats, ...], statistic: Callable[..., Floats], confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """A bootstrap interval over models, paired across columns."""
    from scipy.stats import bootstrap

    if np.isnan(statistic(*columns)):
        return np.nan, np.nan
    options: dict[str, Any] = {"paired": True, "vectorized": True, "n_resamples": resamples, "batch": 100}
    for method in ("BCa", "percentile"):
        options |= {"method": method, "random_state": np.random.default_rng(seed)}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # What is degenerate for the first method is answered by the second.
            warnings.simplefilter("ignore")
            found = bootstrap(columns, _defined(statistic), confidence_level=confidence, **options).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return float(found.low), float(found.high)


def _defined(statistic: Callable[..., Floats]) -> Callable[..., Floats]:
    """A resample in which all values are equal shows no correlation."""

    def filled(*columns: Floats, axis: int = -1) -> Floats:
        return np.nan_to_num(statistic(*columns, axis=axis), nan=0.0)

    return filled


def _checked(scores: pd.DataFrame | Mapping[str, Any], outcome: Any) -> tuple[pd.DataFrame, Floats]:
    import pandas as pd

    if not isinstance(scores, Mapping | pd.DataFrame):
        raise InvalidInputError(f"scores must be a table or a mapping of columns, got {shown(scores)}")
    wanted = numbers(outcome, "outcome")
    listed = {str(name): numbers(scores[name], f"scores[{name!r}]") for name in scores}
    if any(column.shape != wanted.shape for column in listed.values()):
        shapes = sorted({column.shape for column in listed.values()})
        raise InvalidInputError(f"scores and outcome must be of equal lengths, got shapes {shapes} and {wanted.shape}")
    columns = pd.DataFrame(listed)
    if wanted.ndim != 1 or len(columns) != len(wanted) or not len(columns.columns):
        raise InvalidInputError(
            f"scores are {len(columns.columns)} columns of {len(columns)} models, the outcome has shape "
            f"{wanted.shape}; both need one number for each model"
        )
    if len(wanted) < FEWEST:
        raise InvalidInputError(f"a rank correlation needs at least {FEWEST} models, got {len(wanted)}")
    return columns, wanted


def _shown(row: pd.Series, kind: str) -> str:
    return f"{row[kind]:+.2f} [{row[kind + '_low']:+.2f}, {row[kind + '_high']:+.2f}]"
