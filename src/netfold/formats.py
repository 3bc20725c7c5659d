"""Numbers as text: in a sentence, by their logarithm, to six digits in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def number(value: float) -> str:
    """A number with three digits that matter, or all digits of its whole part.

    Example:
        >>> number(59.925), number(0.4262), number(12345.6), number(2.0), number(float("nan"))
        ('59.9', '0.426', '12,346', '2', 'not defined')
    """
    if not np.isfinite(value):
        return "not defined" if np.isnan(value) else ("infinite" if value > 0 else "minus infinite")
    if value and (abs(value) < 1e-3 or abs(value) >= 1e9):
        return power(float(np.log10(abs(value))), "−" if value < 0 else "")
    if abs(value) >= 100:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def power(log10: float, sign: str = "") -> str:
    """A number given by its logarithm, in full when short.

    Example:
        >>> power(3.0), power(77.064)
        ('1,000', '1.2 × 10⁷⁷')
    """
    if -3 <= log10 < 6:
        return f"{sign}{10**log10:,.0f}" if log10 >= 2 else f"{sign}{10**log10:.3g}"
    exponent = int(np.floor(log10))
    raised = str(exponent).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    return f"{sign}{10 ** (log10 - exponent):.1f} × 10{raised}"


def six_digits(value: float) -> str:
    """A number to six digits, and a dash where there is none.

    Example:
        >>> six_digits(4.0791239), six_digits(float("inf")), six_digits(float("nan"))
        ('4.07912', 'inf', '-')
    """
    return "-" if value != value else f"{value:.6g}"


def table(title: str, frame: pd.DataFrame, *notes: str) -> str:
    """A table with a line above it and notes below.

    Example:
        >>> import pandas as pd
        >>> print(table("growth", pd.DataFrame({"layer": [1, 2], "length": [1.25, float("nan")]}), "nothing is left"))
        growth
         layer  length
             1    1.25
             2       -
        - nothing is left
    """
    shown = frame.to_string(index=False, float_format=six_digits, na_rep="-")  # type: ignore[arg-type]
    return "\n".join([title, shown, *(f"- {note}" for note in notes if note)])
