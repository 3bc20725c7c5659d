"""Where rounding may decide what a plane holds, exact arithmetic decides it, or the partition says so."""

from __future__ import annotations

import pytest

from tests.stress.checks import planes


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        ("duplicated", 106),
        ("duplicated", 114),
        ("many magnitudes", 133),
        ("denormals, 1e300", 130),
        ("many magnitudes", 2030000099),
        ("float32 multiples", 2030000102),
    ],
)
def test_said(kind: str, seed: int) -> None:
    """Regions that rounding hides, also among the entries of a maximum, are found or counted in ``uncertain``."""
    assert not any(verdict.silent or verdict.odd for verdict in planes(kind, seed))


@pytest.mark.parametrize("kind", ["integer", "no biases", "through knots"])
def test_decided(kind: str) -> None:
    """Ties of small integers, of lines through one point and of planes on knots are decided, none left uncertain."""
    verdicts = planes(kind, 1)
    assert not any(verdict.wrong or verdict.doubted for verdict in verdicts)
