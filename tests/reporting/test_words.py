"""Sentences say what the numbers say."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from netfold.formats import number, power
from netfold.plots.bound import BoundOfRegions
from netfold.reporting.gather import ReportData
from netfold.reporting.pairs import Pairs
from netfold.reporting.words import describe
from netfold.results.trace import Trace
from netfold.results.traces import Traces


def changed(traces: Traces, transitions: list[list[int]] | None = None, stretch: list[float] | None = None) -> Traces:
    """The traces with other transitions in each layer (one row a path), or other growth of each layer."""
    made = []
    for i, trace in enumerate(traces):
        counts = transitions[i % len(transitions)] if transitions else trace.transitions.tolist()
        growth = stretch or trace.growth.tolist()
        lengths = trace.input_length * np.cumprod(growth)
        layers = tuple(
            replace(layer, transitions=c, growth=g, length=float(length))
            for layer, c, g, length in zip(trace.layers, counts, growth, lengths, strict=True)
        )
        made.append(replace(trace, layers=layers))
    return Traces(made)


def with_regions(traces: Traces, regions: list[int]) -> Traces:
    return Traces([replace(trace, regions=r) for trace, r in zip(traces, regions, strict=False)])


def test_numbers_in_words() -> None:
    """Three digits that matter, thousands separated, a true minus, powers of ten written out."""
    assert [number(v) for v in (0.0, 1.0, 59.925, -0.4262, 12345.6)] == ["0", "1", "59.9", "−0.426", "12,346"]
    assert number(float("nan")) == "not defined"
    assert number(1.234e-5) == "1.2 × 10⁻⁵"
    assert number(-2e12) == "−2.0 × 10¹²"
    assert power(2.0) == "100"
    assert power(7.2517) == "1.8 × 10⁷"


def test_the_answer_gives_mean_interval_and_range(small: ReportData) -> None:
    """The first sentence holds the mean number of regions, its interval and the extremes."""
    regions = np.array([t.regions for t in small.trained])
    answer = describe(small).answer
    assert f"{number(regions.mean())} regions on average (95% interval" in answer
    assert f"between {regions.min()} and {regions.max()}" in answer
    same = replace(small, trained=with_regions(small.trained, [1] * 15))
    assert "crosses 1 region;" in describe(same).answer


def test_the_layer_with_most_transitions_is_named(small: ReportData) -> None:
    """Clearly first: named with its share. Within the uncertainty: said so. None at all: said so."""
    clear = changed(small.trained, [[1, 9, 2], [2, 10, 1], [1, 11, 2]])
    assert describe(replace(small, trained=clear)).most.startswith(
        "The most transitions happen in layer 2 (linear2 → act2): 10 of 13"
    )
    assert "(77%)" in describe(replace(small, trained=clear)).most
    close = changed(small.trained, [[5, 9, 1], [9, 5, 1], [7, 8, 1]])
    said = describe(replace(small, trained=close)).most
    assert said.startswith("No layer stands out")
    assert "layer 2 (linear2 → act2)" in said
    assert "layer 1 (linear1 → act1)" in said
    none = changed(small.trained, [[0, 0, 0]])
    assert "one linear rule" in describe(replace(small, trained=none)).most


@pytest.mark.parametrize(
    ("growth", "words"),
    [
        ([2.0, 1.5, 3.0], "9 times as long, and every layer stretches it, layer 3 (linear3 → act3) most (×3)."),
        ([0.5, 0.25, 0.9], "every layer shortens it, layer 3 (linear3 → act3) least (×0.9)"),
        ([2.0, 0.5, 0.5], "0.5 times as long, and 1 layer of 3 stretches it."),
        ([2.0, 3.0, 0.5], "2 layers of 3 stretch it, layer 2 (linear2 → act2) most (×3)"),
    ],
)
def test_growth_in_words(small: ReportData, growth: list[float], words: str) -> None:
    """Which layers stretch, which most, and by how much in all."""
    said = describe(replace(small, trained=changed(small.trained, stretch=growth))).length
    assert words in re.sub(r" \(95% interval [^)]*\)", "", said)


def test_training_is_compared_pair_by_pair(small: ReportData) -> None:
    """A change of regions is claimed only when the interval of the paired difference excludes 0."""
    base = [20 + 7 * (i % 5) for i in range(15)]
    up = replace(
        small,
        initial=with_regions(small.trained, base),
        trained=with_regions(small.trained, [b + 5 + i % 2 for i, b in enumerate(base)]),
    )
    assert "rose from" in describe(up).training
    down = replace(up, trained=up.initial, initial=up.trained)
    assert "fell from" in describe(down).training
    mixed = replace(up, trained=with_regions(small.trained, [b + (5 if i % 2 else -5) for i, b in enumerate(base)]))
    assert "did not clearly change" in describe(mixed).training
    assert describe(replace(small, initial=None)).training == ""


def test_class_changes_in_words(small: ReportData) -> None:
    """None, one with its place, many listed; names where there are names."""

    def said(classes: list[int], changes: list[float], names: tuple[str, ...] = ()) -> str:
        trace: Trace = small.example.trace
        output = replace(trace.output, classes=np.array(classes), class_changes=np.array(changes))
        shown = replace(small.example, trace=replace(trace, output=output))
        return describe(replace(small, example=shown, story=replace(small.story, classes=names))).path

    assert "stays 2 all the way" in said([2], [])
    assert "changes once, from cat to dog, at t = 0.250" in said([0, 1], [0.25], ("cat", "dog"))
    assert "changes 2 times on the way: 0, 1, 0" in said([0, 1, 0], [0.2, 0.4])


def test_the_bound_is_explained(small: ReportData) -> None:
    """Bound, bound on a line and count stand together; what is not known is said."""
    found = describe(replace(small, bound=BoundOfRegions(6, 48, 3.0, 77.06)))
    assert "1.1 × 10⁷⁷" in found.bound
    assert "allows 1,000 on a line" in found.bound
    assert "6 dimensions" in found.questions
    assert "number of dimensions" in found.questions
    assert "too large to evaluate" in describe(replace(small, bound=BoundOfRegions(6, 48, 3.0, None))).bound


def test_folding_networks_are_not_called_usual(small: ReportData) -> None:
    """The sentence about counts in proportion to units is left out where units switch many times each."""
    assert "in proportion" in describe(small).questions
    chaotic = replace(small, trained=changed(small.trained, [[500, 5000, 50000]]))
    assert "in proportion" not in describe(chaotic).questions
    assert "again and again" in describe(chaotic).questions


def test_shared_inputs_are_admitted(small: ReportData) -> None:
    """Intervals of pairs that share inputs are said to be too narrow."""
    assert "No input belongs to two pairs" in describe(small).sampling
    shared = replace(small, pairs=Pairs(np.array([[0, 1], [1, 2]]), False))
    assert "too narrow" in describe(shared).sampling
