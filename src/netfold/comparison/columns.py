"""One measured number of every trace beside its predictions, and the error that it can be judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from netfold.comparison.expectation import Expectation, Law
from netfold.results import base
from netfold.theory.gaussian import Array
from netfold.theory.growth import Method

if TYPE_CHECKING:
    from netfold.results.trace import Trace

Draws = Literal["paths", "networks"]

MEASURES = ("growth", "transitions", "sign_transitions", "sign_transitions_from_angle")
"""What is compared, layer by layer."""

NARROW = 12
"""Layers with fewer units often have all of them off."""

MANY = 8
"""From so many outputs on, their scatter gives a standard error."""

ONE_DRAW = "spread of one draw of the weights, at most"
OVER_OUTPUTS = "standard error over outputs"
NO_ERROR = "unknown: trace several networks of the ensemble"


class ComparedNumber(base.Record):
    """One measured number beside its prediction."""

    measure: str = base.measured("what is compared: growth, transitions, sign transitions, these from the angle")
    layer: int = base.measured("number of the layer, from 1; the output last")
    name: str = base.measured("its module path")
    label: str = base.measured("what tables and pictures call it: the weights that lead to it, and its name")
    measured: float = base.measured("the mean over paths or networks")
    predicted: float = base.measured("the mean of its predictions; NaN where theory does not apply")
    error: float = base.measured("standard error of the difference, as error_of says; NaN where unknown")
    gap: float = base.measured(
        "the difference in standard errors; NaN where the error leaves out that the weights are one draw"
    )
    holds: str = base.measured("at what width the prediction holds")
    error_of: str = base.measured("what the error is")
    note: str = base.measured("why theory does not apply, or what the prediction leaves out")


@dataclass(frozen=True)
class Column:
    """One number of every trace, as measured and as predicted.

    Attributes:
        measure: one of `MEASURES`; ``index``, ``name`` and ``label`` are those of the layer.
        measured: one entry a trace.
        predicted: likewise.
        holds: at what width the prediction holds.
        note: what it leaves out, or why there is none.
        spread: standard deviation over draws of the weights, known without drawing; ``spread_of`` says of what.
    """

    measure: str
    index: int
    name: str
    label: str
    measured: Array
    predicted: Array
    holds: str
    note: str
    spread: float = np.nan
    spread_of: str = ONE_DRAW

    def number(self, draws: Draws) -> ComparedNumber:
        """The means, how far apart they are and in what error."""
        there = np.isfinite(self.measured)  # growth from a length of 0 is no number
        measured, predicted = self.measured[there], self.predicted[there]
        if not len(measured):
            why = "nothing is left of the path to measure"
            nan = float("nan")
            return ComparedNumber(*self._layer, nan, nan, nan, nan, "", NO_ERROR, why)
        mean, theory = float(measured.mean()), float(predicted.mean())
        error, error_of, judged = self._error(measured - predicted, draws)
        gap = 0.0 if mean == theory else (mean - theory) / error if judged and error > 0 else np.nan
        holds = self.holds if np.isfinite(theory) else ""
        return ComparedNumber(*self._layer, mean, theory, error, gap, holds, error_of, self.note)

    @property
    def _layer(self) -> tuple[str, int, str, str]:
        return self.measure, self.index + 1, self.name, self.label

    def _error(self, differences: Array, draws: Draws) -> tuple[float, str, bool]:
        """A standard error, what it is of, and whether the prediction can be judged by it."""
        count = len(differences)
        over = float(differences.std(ddof=1) / np.sqrt(count)) if count > 1 else np.nan
        if draws == "networks" and count > 1:
            return over, f"standard error over {count} networks", True
        if np.isfinite(self.spread):
            return self.spread, self.spread_of, True
        if count > 1:
            return over, f"standard error over {count} paths alone, the weights being one draw", False
        return np.nan, NO_ERROR, False


def growth_columns(traces: Sequence[Trace], expected: Sequence[Expectation], law: Law) -> Iterator[Column]:
    """Growth of the length in every layer and in the output."""
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = np.array([trace.lengths[1:] / trace.lengths[:-1] for trace in traces])
    predicted = np.array([e.growth for e in expected])
    spread = np.mean([e.growth_spread for e in expected], axis=0)
    note = next((e.no_growth for e in expected if e.no_growth), law.caveat)
    for i, name in enumerate(_names(traces[0])):
        holds = str(expected[0].growth_method)
        yield Column("growth", i, *name, measured[:, i], predicted[:, i], holds, note, float(spread[i]))


def count_columns(traces: Sequence[Trace], expected: Sequence[Expectation], law: Law) -> Iterator[Column]:
    """Transitions, then sign transitions, of every layer."""
    why = next((e.no_transitions for e in expected if e.no_transitions), law.caveat)
    first = float(np.mean([e.first_spread for e in expected]))
    at_zero = law.activation is not None and set(law.activation.kinks) == {0.0}
    for measure in ("transitions", "sign_transitions"):
        measured = np.array([getattr(trace, measure) for trace in traces], np.float64)
        predicted = np.array([getattr(e, measure) for e in expected])
        for i, name in enumerate(_names(traces[0])[:-1]):
            known = i == 0 and (measure == "sign_transitions" or at_zero)
            holds = expected[0].first_method if i == 0 else Method.INFINITE
            note = why if np.isnan(predicted[:, i]).any() else law.caveat
            spread = first if known else np.nan
            yield Column(measure, i, *name, measured[:, i], predicted[:, i], str(holds), note, spread)


def angle_columns(traces: Sequence[Trace], law: Law) -> Iterator[Column]:
    """Sign transitions of every layer after the first, and of the output, from the image before it."""
    angles = np.array([[layer.angular_length for layer in trace.layers] for trace in traces])
    units = [*(layer.units for layer in traces[0].layers[1:]), traces[0].output.size]
    counts = [[*trace.sign_transitions[1:], trace.output.sign_changes.sum()] for trace in traces]
    measured, predicted = np.array(counts, np.float64), angles * units / np.pi
    holds = str(Method.EXACT if law.gaussian else Method.INFINITE)
    for i, name in enumerate(_names(traces[0])[1:]):
        why = law.reason
        if not why and i + 1 == len(law.sigma_b):
            why = "no weights read the last layer"
        elif not why and law.sigma_b[i + 1] > 0:
            why = "a bias adds a coordinate to the sphere: theory.angular_length(points, bias) knows it, a trace not"
        given = np.full(len(traces), np.nan) if why else predicted[:, i]
        if not why and traces[0].layers[i].units < NARROW:
            why = "the image in a narrow layer can pass 0, and then has no angle there"
        scatter = _over_outputs(traces) if i + 1 == len(traces[0].layers) and np.isfinite(given).all() else np.nan
        note = why or law.caveat
        yield Column(MEASURES[3], i + 1, *name, measured[:, i], given, holds, note, scatter, OVER_OUTPUTS)


def _over_outputs(traces: Sequence[Trace]) -> float:
    """Standard error of the sign changes of all outputs, which are independent given the image they read."""
    each = np.mean([trace.output.sign_changes for trace in traces], axis=0)
    return float(each.std(ddof=1) * np.sqrt(len(each))) if len(each) >= MANY else np.nan


def _names(trace: Trace) -> list[tuple[str, str]]:
    """Name and label of every layer and of the output."""
    return [*((layer.name, layer.label) for layer in trace.layers), ("output", trace.output_label)]
