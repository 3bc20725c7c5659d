"""How far a number can be relied on: an enumeration, and the sentence in which a result says so."""

from __future__ import annotations

from enum import Enum


class Certainty(Enum):
    """How far the numbers of a result can be relied on, in words, and what to do about it."""

    EXACT = "exact", "rounding alone is left"
    TIES = "exact but for near ties", "certify=True decides them where netfold can read the network's coefficients"
    TOLERANCE = "exact up to the tolerance", "the ties may be real: weights in general position have none"
    ROOTS = "exact but for", "fold batch normalisation into the weights: its square roots are what stays open"
    RANGE = "exact where nothing underflows", "scale the weights: products of such numbers leave the range of float64"
    PROVEN = "exact; proven", "nothing is left open"
    PROVEN_BUT_FOR = "exact; proven but for", "what stands there is computed, not proven"
    CONVERGED = "converged", "the error estimates are within the tolerance"
    SHORT_OF_BUDGET = "not converged", "raise seconds=, evaluations= or tolerance="
    PARTIAL = "followed in part", "raise the budget for the rest"
    SAMPLED = "sampled", "a finer grid shows more"
    ESTIMATED = "estimated", "more effort makes the interval narrower"
    SHORT_OF_EFFORT = "not converged", "allow more effort"
    UNTOLD = "", "read the words: they are not netfold's own"

    @property
    def words(self) -> str:
        """What a status of this kind begins with."""
        return self.value[0]

    @property
    def advice(self) -> str:
        """What to do about it."""
        return self.value[1]

    @property
    def reached(self) -> bool:
        """Whether what was asked for was reached."""
        return self not in (Certainty.SHORT_OF_BUDGET, Certainty.SHORT_OF_EFFORT, Certainty.PARTIAL)

    def text(self, details: str = "") -> Standing:
        """The sentence: the words, numbers where there are any, and the advice where it is needed.

        Example:
            >>> Certainty.EXACT.text(), Certainty.SHORT_OF_EFFORT.text(": relative error 0.2, not 0.1")
            ('exact', 'not converged: relative error 0.2, not 0.1; allow more effort')
        """
        return Standing(f"{self.words}{details}" + ("" if self.reached else f"; {self.advice}"), self)


class Standing(str):
    """A sentence on how far a result can be relied on, everywhere else a ``str``; ``kind`` says it to programs.

    Example:
        >>> status = Certainty.TOLERANCE.text(", which decided in 2 places")
        >>> status == "exact up to the tolerance, which decided in 2 places", status.kind.name
        (True, 'TOLERANCE')
        >>> Standing.read(str(status)).kind is status.kind
        True
    """

    kind: Certainty

    def __new__(cls, text: str, kind: Certainty = Certainty.UNTOLD) -> Standing:
        """A sentence and its kind."""
        status = super().__new__(cls, text)
        status.kind = kind
        return status

    @classmethod
    def read(cls, text: str) -> Standing:
        """A status out of a file, which holds the sentence alone: the one member that could have made it."""
        makers = [
            kind
            for kind in Certainty
            if kind.words and text.startswith(kind.words) and (kind.reached or text.endswith(kind.advice))
        ]
        return cls(text, max(makers, key=lambda kind: len(kind.words), default=Certainty.UNTOLD))
