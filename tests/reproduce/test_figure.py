"""Verdicts come from numbers, and random numbers from seed and names alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from netfold.reproduce.data import digits
from netfold.reproduce.figure import Settings, Verdict


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([True], Verdict.HELD),
        ([True, True], Verdict.HELD),
        ([True, False], Verdict.PARTLY),
        ([False, False], Verdict.FAILED),
        ([None], Verdict.OPEN),
        ([True, None], Verdict.OPEN),
        ([False, None], Verdict.OPEN),
        ([True, False, None], Verdict.PARTLY),
    ],
)
def test_checks_decide(checks: list[bool | None], verdict: Verdict) -> None:
    """All hold, some do, none does."""
    assert Verdict.of(checks) is verdict


def test_no_check_is_no_verdict() -> None:
    """Nothing measured must not read as held."""
    with pytest.raises(ValueError, match="at least one check"):
        Verdict.of([])


@pytest.mark.parametrize(
    ("value", "held", "partly", "verdict"),
    [
        (0.95, 0.9, 0.5, Verdict.HELD),
        (0.9, 0.9, 0.5, Verdict.HELD),
        (0.6, 0.9, 0.5, Verdict.PARTLY),
        (0.4, 0.9, 0.5, Verdict.FAILED),
        (0.01, 0.05, 0.1, Verdict.HELD),
        (0.07, 0.05, 0.1, Verdict.PARTLY),
        (0.2, 0.05, 0.1, Verdict.FAILED),
        (math.nan, 0.05, 0.1, Verdict.FAILED),
        (math.nan, 0.9, 0.5, Verdict.FAILED),
        (math.inf, 0.05, 0.1, Verdict.FAILED),
    ],
)
def test_grades(value: float, held: float, partly: float, verdict: Verdict) -> None:
    """At least, or at most, as the two levels stand to each other; NaN reaches nothing."""
    assert Verdict.graded(value, held, partly) is verdict


def test_random_numbers_depend_on_seed_and_names_alone(tmp_path: Path) -> None:
    """Not on what was drawn before."""
    settings, other = (Settings(quick=True, data=digits(), seed=seed, folder=tmp_path) for seed in (0, 1))
    first = settings.generator("arcs", 3).random(4).tolist()
    settings.generator("circle").random(100)
    assert settings.generator("arcs", 3).random(4).tolist() == first
    assert settings.generator("arcs", 4).random(4).tolist() != first
    assert other.generator("arcs", 3).random(4).tolist() != first
