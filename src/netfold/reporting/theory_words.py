"""Sentences that put the numbers of a report beside theory, or say why there is none."""

from __future__ import annotations

import numpy as np

from netfold.formats import number
from netfold.measures.many_lines import Lines
from netfold.reporting.beside_theory import BesideTheory
from netfold.reporting.gather import ReportData
from netfold.theory import Phase


def beside_theory(data: ReportData) -> str:
    """The network's phase, its length and transitions beside theory, and what theory leaves out.

    Args:
        data: the numbers of the report.
    """
    theory = data.theory
    if theory.reason and theory.growth is None and theory.transitions is None:
        return f"Theory of random weights has no number here: {theory.reason}."
    sentences = [_phase(theory), _theory_of_length(data), _theory_of_transitions(data)]
    if theory.reason:
        sentences.append(f"For the rest it has no number here: {theory.reason}.")
    if theory.caveat:
        what = "These numbers are" if theory.random else "This is a yardstick, not a prediction: theory is"
        sentences.append(f"{what} {theory.caveat}.")
    if theory.initial:
        sentences.append(
            "For the trained weights there is no such line: theory averages over independent random weights, and "
            "training has fitted them to the data and to each other."
        )
    return " ".join(sentence for sentence in sentences if sentence)


def _phase(theory: BesideTheory) -> str:
    """Whether signals die out, survive or explode, where that is known."""
    if theory.diagnosis is None or theory.diagnosis.phase is None or not theory.random:
        return ""
    found = theory.diagnosis
    when = "before training" if theory.initial else "by the scale of its weights"
    means = {
        Phase.ORDERED: "nearby inputs merge and gradients shrink from layer to layer",
        Phase.CRITICAL: "signals and gradients keep their scale, as far as can be told",
        Phase.CHAOTIC: "nearby inputs part and gradients grow from layer to layer",
    }
    return (
        f"The network is {found.phase} {when}: a small displacement is multiplied by √χ₁ = {found.chi_1**0.5:.3g} in "
        f"each layer on average, so {means[found.phase or Phase.CRITICAL]}."
    )


def _theory_of_length(data: ReportData) -> str:
    lengths = data.theory.lengths
    if lengths is None:
        return ""
    last = len(data.layers)
    total, spread = float(lengths[0][last]), None if lengths[1] is None else float(lengths[1][last])
    traced = _compared(data).values("length")
    measured = float((traced[:, last] / traced[:, 0]).mean())
    draw = "the one draw of the weights that training started from" if data.theory.initial else "these weights"
    if spread is None:
        return (
            "For random weights of this scale and wide layers, theory expects the lines to come out "
            f"{number(total)} times as long; {draw} gave {number(measured)}."
        )
    return (
        f"For random weights of this scale, theory expects the lines to come out {number(total)} times as "
        f"long, averaged over draws of the weights, with a standard deviation of at most {number(spread)} "
        f"from draw to draw; {draw} gave {number(measured)}, {_deviations(measured, total, spread)}."
    )


def _deviations(measured: float, expected: float, spread: float) -> str:
    off = abs(measured - expected) / spread if spread > 0 else np.inf
    if off <= 1:
        return "within one standard deviation"
    return "within two standard deviations" if off <= 2 else f"{number(off)} standard deviations away"


def _theory_of_transitions(data: ReportData) -> str:
    if data.theory.transitions is None:
        return ""
    measured = _compared(data).values("transitions").mean(0).sum()
    whose = "the starting weights" if data.theory.initial else "these weights"
    return (
        f"It expects {number(float(data.theory.transitions.sum()))} transitions a path; {whose} made "
        f"{number(measured)}."
    )


def _compared(data: ReportData) -> Lines:
    """The traces that theory is beside."""
    return data.initial if data.theory.initial and data.initial is not None else data.trained
