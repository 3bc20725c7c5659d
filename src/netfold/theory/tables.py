"""Numbers of theory as text: six digits, and a dash where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def number(value: float) -> str:
    """A number to six digits.

    Example:
        >>> number(4.0791239), number(float("inf")), number(float("nan"))
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
    shown = frame.to_string(index=False, float_format=number, na_rep="-")  # type: ignore[arg-type]
    return "\n".join([title, shown, *(f"- {note}" for note in notes if note)])
