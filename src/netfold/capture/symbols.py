"""Sizes of an exported program that are not fixed numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import Tensor

from netfold.capture.program import Size


@dataclass(frozen=True)
class Symbols:
    """The free sizes of a program's input: the batch's symbol, and the others with the values they take."""

    batch: sympy.Symbol | None
    known: dict[sympy.Symbol, int]

    @classmethod
    def of(cls, entry: Tensor, shape: Sequence[int]) -> Symbols:
        """Match the symbolic shape of a program's input with the shape of actual points."""
        free = {a: sympy.sympify(s.node.expr) for a, s in enumerate(entry.shape) if isinstance(s, torch.SymInt)}
        known = {e: shape[a] for a, e in free.items() if a > 0 and isinstance(e, sympy.Symbol)}
        batch = free.get(0)
        return cls(batch if isinstance(batch, sympy.Symbol) else None, known)

    def number(self, value: torch.SymInt | torch.SymFloat | torch.SymBool) -> Any:
        """A symbolic number as a plain one, or as a `Size`; ``None`` if it depends on the input's values."""
        expression: Any = sympy.sympify(sympy.sympify(value.node.expr).xreplace(self.known))
        if not expression.free_symbols:
            return _plain(expression)
        if expression.free_symbols != {self.batch}:
            return None
        entries = expression / self.batch
        return Size(Multiple(int(entries)) if entries.is_Integer else Formula(expression))


@dataclass(frozen=True)
class Multiple:
    """So many entries a point."""

    entries: int

    def __call__(self, points: int) -> int:
        """For this many points."""
        return self.entries * points


@dataclass(frozen=True)
class Formula:
    """Any other function of the number of points."""

    expression: Any

    def __call__(self, points: int) -> int | float | bool:
        """For this many points."""
        return _plain(self.expression.xreplace(dict.fromkeys(self.expression.free_symbols, sympy.Integer(points))))


def _plain(expression: Any) -> Any:
    if expression in (sympy.true, sympy.false):
        return bool(expression)
    return int(expression) if expression.is_integer else float(expression)
