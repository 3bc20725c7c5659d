"""Theory beside the measurement, as the page shows it: the library's own comparison, ready to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netfold.capture import Program
from netfold.comparison.columns import NO_ERROR, ONE_DRAW
from netfold.errors import InvalidInputError
from netfold.measures.many_lines import Lines
from netfold.paths import Line
from netfold.results.trace_estimates import TraceEstimates
from netfold.theory import ComparedNumber, Comparison, Diagnosis, Law, diagnose
from netfold.theory.diagnose import typical
from netfold.theory.growth import Method


@dataclass(frozen=True)
class BesideTheory:
    """A network beside random weights of the same scale.

    Attributes:
        comparison: the numbers of `Traces.compare`.
        diagnosis: of the network, which the law of the weights is read from; ``None`` where it has no weights.
        initial: whether this is the network before training.
    """

    comparison: Comparison
    diagnosis: Diagnosis | None
    initial: bool

    @property
    def growth(self) -> NDArray[np.float64] | None:
        """Expected growth of every layer, without the output; ``None`` where theory has none."""
        return self._predicted("growth")

    @property
    def transitions(self) -> NDArray[np.float64] | None:
        """Expected transitions of every layer; ``None`` where theory has none."""
        return self._predicted("transitions")

    @property
    def lengths(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None] | None:
        """Expected length over that of the input after every layer and in the output, from 1.

        With it, at most, the standard deviation of one draw of the weights; ``None`` where that is unknown.
        """
        if self.growth is None:
            return None
        rows = self.comparison["growth"]
        theory = np.cumprod([1.0, *(row.predicted for row in rows)], dtype=np.float64)
        if any(row.error_of != ONE_DRAW for row in rows):
            return theory, None
        relative = [(row.error / row.predicted) ** 2 for row in rows]
        variance = np.cumprod([1.0, *(1 + r for r in relative)], dtype=np.float64) - 1
        return theory, theory * np.sqrt(variance)

    @property
    def exact(self) -> bool:
        """Whether growth is exact at the network's widths, or in the limit of wide layers."""
        return self.comparison["growth"][0].holds == Method.EXACT

    @property
    def reason(self) -> str:
        """Why there is no growth or no count; empty where there are both."""
        found = [self.comparison[name][0].note for name in ("growth", "transitions") if self._predicted(name) is None]
        return "; ".join(dict.fromkeys(found))

    @property
    def caveat(self) -> str:
        """What the numbers leave out."""
        return self.comparison.caveat

    @property
    def random(self) -> bool:
        """Whether nothing speaks against independent weights."""
        return self.diagnosis is not None and self.diagnosis.random

    def _predicted(self, measure: str) -> NDArray[np.float64] | None:
        rows = [row for row in self.comparison[measure] if row.name != "output"]
        found = np.array([row.predicted for row in rows])
        return found if np.isfinite(found).all() else None


def beside_theory(
    program: Program, traces: Lines, lines: Sequence[Line], points: NDArray[np.float64], *, initial: bool
) -> BesideTheory:
    """Compare a network's traces with theory for random weights of its scale.

    Args:
        program: the network.
        traces: of it, along ``lines``.
        lines: the paths.
        points: the data, whose mean square is that of the signal.
        initial: whether it is the network before training.

    Returns:
        The comparison; where theory does not apply it says why.
    """
    diagnosis = None
    try:
        diagnosis = diagnose(program, typical(points))
        law = Law.of(diagnosis)
    except InvalidInputError as error:
        law = Law(None, np.empty(0), np.empty(0), reason=str(error))
    if isinstance(traces, TraceEstimates):
        return BesideTheory(_alone(traces), diagnosis, initial)
    return BesideTheory(traces.compare(lines, law), diagnosis, initial)


def _alone(estimates: TraceEstimates) -> Comparison:
    """Estimates without predictions beside them."""
    nan, why = float("nan"), "theory is set beside lines that are followed from end to end, and these were estimated"
    names = [*((layer.name, layer.label) for layer in estimates[0].layers), ("output", "output")]
    rows = []
    for measure in ("growth", "transitions"):
        for i, mean in enumerate(estimates.values(measure).mean(0).tolist()):
            rows.append(ComparedNumber(measure, i + 1, *names[i], mean, nan, nan, nan, "", NO_ERROR, why))
    return Comparison(tuple(rows), len(estimates), "paths", why)
