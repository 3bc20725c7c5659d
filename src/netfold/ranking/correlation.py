"""`rank_correlation`: how well scores rank models, with intervals, and against each other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netfold.arguments import Resamples, Seed, Share, checked, shown
from netfold.arrays import Floats, numbers
from netfold.errors import InvalidInputError
from netfold.results.base import Result, above, measured

if TYPE_CHECKING:
    import pandas as pd

Coefficient = Literal["spearman", "kendall"]

FEWEST = 5
"""Models below which an interval says nothing."""


class RankCorrelations(Result):
    """Rank correlations of several scores with one outcome."""

    FORMAT = "netfold rank correlations 1"

    names: tuple[str, ...] = measured("what each score is called", ("score",), name="score", coordinate=True)
    ranked: Floats = measured("the scores of every model", ("score", "model"), repr=False)
    outcome: Floats = measured("what they are compared with, one number a model", ("model",), repr=False)
    spearman: Floats = measured("Spearman's rho", ("score",))
    spearman_low: Floats = measured("lower end of its interval", ("score",))
    spearman_high: Floats = measured("upper end of its interval", ("score",))
    kendall: Floats = measured("Kendall's tau-b", ("score",))
    kendall_low: Floats = measured("lower end of its interval", ("score",))
    kendall_high: Floats = measured("upper end of its interval", ("score",))
    confidence: float = measured("probability with which an interval covers")
    resamples: int = measured("bootstrap samples behind each interval")
    seed: int = measured("seed of the bootstrap")

    plot = above("netfold.plots.ranking:correlations")

    @property
    def models(self) -> int:
        """How many models were compared."""
        return self.outcome.size

    @property
    def scores(self) -> pd.DataFrame:
        """The ranked scores, one column each."""
        import pandas as pd

        return pd.DataFrame(dict(zip(self.names, self.ranked, strict=True)))

    @property
    def table(self) -> pd.DataFrame:
        """One row a score: Spearman's rho and Kendall's tau-b, each with ``_low`` and ``_high`` of its interval."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name) for name in COLUMNS}, pd.Index(self.names, name="score"))

    def to_dataframe(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def _shown(self) -> pd.DataFrame:
        return self.table.reset_index()

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

        if baseline not in self.names:
            raise InvalidInputError(f"no score {baseline!r}; there are {', '.join(self.names)}")
        if coefficient not in COEFFICIENTS:
            raise InvalidInputError(f"coefficient must be one of {', '.join(COEFFICIENTS)}, got {coefficient!r}")
        of, base = COEFFICIENTS[coefficient], self.ranked[self.names.index(baseline)]

        def gap(x: Floats, b: Floats, y: Floats, axis: int = -1) -> Floats:
            return of(x, y, axis) - of(b, y, axis)

        rows = {}
        for name, values in zip(self.names, self.ranked, strict=True):
            if name == baseline:
                continue
            columns = (values, base, self.outcome)
            rows[name] = (float(gap(*columns)), *_interval(columns, gap, self.confidence, self.resamples, self.seed))
        return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high"])

    def __repr__(self) -> str:
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
    percentiles where that is undefined). They describe models drawn like these ones, not the outcome's own noise, and
    are too short for fewer than about 15 models. Where all resamples give one number, as for perfect correlation, the
    models tell nothing about its spread, and there is no interval (NaN).

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
    names, ranked, wanted = _checked(scores, outcome)
    columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for values in ranked:
        for kind, of in COEFFICIENTS.items():
            interval = _interval((values, wanted), of, confidence, resamples, seed)
            for part, number in zip(PARTS, (float(of(values, wanted)), *interval), strict=True):
                columns[kind + part].append(number)
    return RankCorrelations(
        names=names,
        ranked=ranked,
        outcome=wanted,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        **{name: np.array(column) for name, column in columns.items()},
    )


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
PARTS = ("", "_low", "_high")
COLUMNS = [kind + part for kind in COEFFICIENTS for part in PARTS]


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
    # One number from all resamples says that these models show no spread, not that others would have none.
    return (
        (np.nan, np.nan)
        if np.isclose(found.low, found.high, rtol=1e-9, atol=1e-9)
        else (float(found.low), float(found.high))
    )


def _defined(statistic: Callable[..., Floats]) -> Callable[..., Floats]:
    """A resample in which all values are equal shows no correlation."""

    def filled(*columns: Floats, axis: int = -1) -> Floats:
        return np.nan_to_num(statistic(*columns, axis=axis), nan=0.0)

    return filled


def _checked(scores: pd.DataFrame | Mapping[str, Any], outcome: Any) -> tuple[tuple[str, ...], Floats, Floats]:
    import pandas as pd

    if not isinstance(scores, Mapping | pd.DataFrame):
        raise InvalidInputError(f"scores must be a table or a mapping of columns, got {shown(scores)}")
    wanted = numbers(outcome, "outcome")
    names = tuple(map(str, scores))
    columns = [numbers(scores[name], f"scores[{name!r}]") for name in scores]
    if wanted.ndim != 1 or not columns or any(column.shape != wanted.shape for column in columns):
        shapes = sorted({column.shape for column in columns})
        raise InvalidInputError(
            f"scores and outcome must be one number for each model, got scores of shapes {shapes} and an outcome of "
            f"shape {wanted.shape}"
        )
    if len(wanted) < FEWEST:
        raise InvalidInputError(f"a rank correlation needs at least {FEWEST} models, got {len(wanted)}")
    return names, np.array(columns), wanted


def _shown(row: pd.Series, kind: str) -> str:
    low, high = row[kind + "_low"], row[kind + "_high"]
    return f"{row[kind]:+.2f} " + ("(no interval)" if np.isnan(low) else f"[{low:+.2f}, {high:+.2f}]")
