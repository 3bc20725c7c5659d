"""What a bound is: a number that knows of what, and over what, it speaks."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any


class Kind(enum.Enum):
    """Of which networks a number speaks. Mixing these up is the usual mistake."""

    GIVEN_NETWORK = "upper bound: no network of this shape has more"
    MAXIMUM = "lower bound on the maximum over weights: some network has at least this many, a given one may not"
    EXACT_MAXIMUM = "maximum over weights: some network reaches it, none exceeds it"
    EXPECTATION = "upper bound on the expectation over random weights"
    ORDER = "order of growth: its constant is dropped, so at finite size it bounds nothing"

    @property
    def is_upper(self) -> bool:
        """Whether no given network exceeds the number."""
        return self in (Kind.GIVEN_NETWORK, Kind.EXACT_MAXIMUM)

    @property
    def is_lower(self) -> bool:
        """Whether some network reaches the number."""
        return self in (Kind.MAXIMUM, Kind.EXACT_MAXIMUM)


@dataclass(frozen=True)
class Statement:
    """The words that belong to a number.

    Attributes:
        kind: of which networks it speaks.
        counts: what is counted.
        source: paper and theorem.
        assumes: what has to hold beyond the shape of the network; empty where nothing does.
    """

    kind: Kind
    counts: str
    source: str
    assumes: str = ""

    def __str__(self) -> str:
        condition = f"; assumes {self.assumes}" if self.assumes else ""
        return f"{self.kind.value}; counts {self.counts}{condition}; {self.source}"


class _Stated:
    """What exact and real-valued bounds share."""

    statement: Statement

    @property
    def kind(self) -> Kind:
        """Of which networks the number speaks."""
        return self.statement.kind

    @property
    def counts(self) -> str:
        """What is counted."""
        return self.statement.counts

    @property
    def source(self) -> str:
        """Paper and theorem."""
        return self.statement.source

    @property
    def assumes(self) -> str:
        """What has to hold beyond the shape of the network."""
        return self.statement.assumes

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a {type(self).__name__} is frozen: {name} cannot be set")

    def __repr__(self) -> str:
        return f"<{self}: {self.statement}>"


class Bound(_Stated, int):
    """An exact integer with its statement; everywhere else an ``int``.

    Integers too long to read (beyond 40 digits) print as ``4.54e+512``; ``int(bound)`` keeps every digit.

    Attributes:
        statement: the words that belong to the number; ``kind``, ``counts``, ``source`` and ``assumes``
            are read from it.

    Example:
        >>> from netfold.theory import bounds
        >>> bound = bounds.serra2018_upper(2, [10, 10, 10])
        >>> bound == 175616, bound + 1, bound.kind.name
        (True, 175617, 'GIVEN_NETWORK')
        >>> print(bounds.serra2018_upper(100, [1000] * 10))
        3.65e+1398
    """

    def __new__(cls, value: int, statement: Statement) -> Bound:
        self = super().__new__(cls, value)
        object.__setattr__(self, "statement", statement)
        return self

    def __reduce__(self) -> tuple[type[Bound], tuple[int, Statement]]:
        return type(self), (int(self), self.statement)

    @property
    def log10(self) -> float:
        """Logarithm to base 10, to float precision at every size; ``-inf`` for 0."""
        return math.log10(int(self)) if self else -math.inf

    def __str__(self) -> str:
        return readable(int(self))


class Expectation(_Stated, float):
    """A real number with its statement; everywhere else a ``float``.

    It is kept as its logarithm, so ``log10`` stays right where the float itself overflows to infinity.
    """

    def __new__(cls, log10: float, statement: Statement) -> Expectation:
        self = super().__new__(cls, 10**log10 if log10 < 308 else math.inf)
        object.__setattr__(self, "statement", statement)
        object.__setattr__(self, "_log10", log10)
        return self

    def __reduce__(self) -> tuple[type[Expectation], tuple[float, Statement]]:
        return type(self), (self.log10, self.statement)

    @property
    def log10(self) -> float:
        """Logarithm to base 10."""
        return self.__dict__["_log10"]

    def __str__(self) -> str:
        return f"{float(self):.6g}" if self.log10 < 300 else _scientific(self.log10)


def readable(value: int) -> str:
    """All digits of a short integer, the leading ones and the power of ten of a long one.

    >>> from netfold.theory.bounds import _bound
    >>> _bound.readable(175616), _bound.readable(7**2000)
    ('175616', '1.57e+1690')
    """
    return int.__repr__(value) if abs(value) < 10**40 else _scientific(math.log10(value))


def _scientific(log10: float) -> str:
    exponent = math.floor(log10)
    return f"{10 ** (log10 - exponent):.2f}e+{exponent}"
