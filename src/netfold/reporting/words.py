"""Sentences computed from the numbers of a report, for a reader who has not read the paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netfold.formats import number, power
from netfold.measures.many_lines import Lines, regions_of
from netfold.reporting.gather import ReportData
from netfold.reporting.phrases import interval
from netfold.reporting.theory_words import beside_theory
from netfold.results.base import counted
from netfold.results.intervals import estimate


@dataclass(frozen=True)
class Words:
    """What the page says.

    Attributes:
        network: the network in a phrase.
        answer: how expressive it is, in a sentence.
        most: which layer makes most transitions.
        length: how much longer the path gets, and where.
        training: what training changed; empty where there is nothing to compare with.
        theory: theory beside the measurement, or why there is none.
        path: what happens on the example path, and ``stretch`` where it changes least.
        stretch: where the example path changes least.
        pictures: what its images show.
        bound: the bound beside the regions found.
        questions: why bound and measurement differ so much.
        sampling: how many pairs, and what the intervals mean.
    """

    network: str
    answer: str
    most: str
    length: str
    training: str
    theory: str
    path: str
    stretch: str
    pictures: str
    bound: str
    questions: str
    sampling: str


def describe(data: ReportData) -> Words:
    """All sentences of a report."""
    return Words(
        network=_network(data),
        answer=_answer(data),
        most=_most(data),
        length=_length(data),
        training=_training(data),
        theory=beside_theory(data),
        path=_path(data),
        stretch=_stretch(data),
        pictures=_pictures(data),
        bound=_bound(data),
        questions=_questions(data),
        sampling=_sampling(data),
    )


def layer_name(data: ReportData, index: int) -> str:
    """A layer as the page calls it: its number and its name."""
    return f"layer {index + 1} ({data.trained[0].layers[index].label})"


def _network(data: ReportData) -> str:
    widths = [layer.units for layer in data.layers]
    ops = sorted({layer.op for layer in data.layers})
    kind = {"relu": "ReLU", "hardtanh": "hard-tanh"}.get(ops[0], ops[0]) if len(ops) == 1 else ""
    noun = f"{kind} layer" if kind else "nonlinear layer"
    sizes = f"of {widths[0]:,} units" if len(set(widths)) == 1 else f"with {sum(widths):,} units together"
    classes = "1 output" if data.outputs == 1 else f"{data.outputs:,} outputs"
    return f"{counted(len(widths), noun)} {sizes}, {classes}, {data.parameters:,} parameters"


def _answer(data: ReportData) -> str:
    regions = _regions(data.trained)
    line = f"The straight line between two {data.story.inputs}s crosses"
    rule = "in each region the network is one linear rule."
    if "sampled" in data.trained[0].method:
        rule = "where a unit changes its state the network bends the most, and in between it need not be linear."
    if data.estimated:
        return f"{line} {interval(regions, noun='regions on average')}, by estimates that are right on average; {rule}"
    if data.trained[0].method == "sampled":
        return f"{line} {interval(regions, noun='regions on average')}; {rule}"
    if regions.min() == regions.max():
        return f"{line} {counted(int(regions[0]), 'region')}; {rule}"
    return (
        f"{line} {interval(regions, noun='regions on average')}, between {regions.min():,.0f} and "
        f"{regions.max():,.0f} depending on the pair; {rule}"
    )


def _most(data: ReportData) -> str:
    transitions = data.trained.values("transitions")
    mean = transitions.mean(0)
    total = mean.sum()
    if total == 0:
        return "No unit changes its state on any of the paths: on them, the network is one linear rule."
    order = np.argsort(-mean, kind="stable")
    first = int(order[0])
    if len(order) == 1:
        return f"Its one nonlinear layer makes all transitions, {number(total)} a path."
    second = int(order[1])
    lead = estimate(transitions[:, first] - transitions[:, second])
    share = f"{number(mean[first])} of {number(total)} a path ({mean[first] / total:.0%})"
    if lead["low"] > 0:
        return f"The most transitions happen in {layer_name(data, first)}: {share}."
    return (
        f"No layer stands out: the most transitions happen in {layer_name(data, first)}, {share}, but "
        f"{layer_name(data, second)} with {number(mean[second])} is within the uncertainty."
    )


def _length(data: ReportData) -> str:
    last = len(data.layers)
    lengths = data.trained.values("length")
    total = interval(lengths[:, last] / lengths[:, 0], geometric=True, noun="times as long")
    growth = data.trained.values("growth")[:, :last]
    found = [estimate(growth[:, i], geometric=True) for i in range(last)]
    means = np.array([f["mean"] for f in found])
    if np.isnan(means).all():
        return "The paths shrink to points inside the network, so their growth is not defined."
    top = int(np.nanargmax(means))
    stretch, shrink = (means > 1).sum(), (means < 1).sum()
    if stretch == last:
        where = "every layer stretches it" if last > 1 else "its one layer stretches it"
    elif shrink == last:
        where = "every layer shortens it" if last > 1 else "its one layer shortens it"
    else:
        where = f"{counted(int(stretch), 'layer')} of {last} stretch{'es' if stretch == 1 else ''} it"
    most = f", {layer_name(data, top)} most (×{number(means[top])})" if stretch > 1 else ""
    least = f", {layer_name(data, top)} least (×{number(means[top])})" if stretch == 0 and last > 1 else ""
    return (
        "Inside the network the line bends and changes its length: after the last nonlinear layer it is "
        f"{total}, and {where}{most}{least}."
    )


def _training(data: ReportData) -> str:
    if data.initial is None:
        return ""
    last = len(data.layers)
    now, then = (t.values("length")[:, last] / t.values("length")[:, 0] for t in (data.trained, data.initial))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = estimate(now / then, geometric=True)
    change = estimate(_regions(data.trained) - _regions(data.initial))
    before, after = _regions(data.initial).mean(), _regions(data.trained).mean()
    lengths = (
        f"Before training the same lines came out {number(estimate(then, geometric=True)['mean'])} times as "
        f"long, so training multiplied their length by {interval(now / then, geometric=True)}"
    )
    if not (change["low"] > 0 or change["high"] < 0):
        counts = (
            f"the number of regions did not clearly change ({number(before)} before, {number(after)} after; "
            "the difference is within its uncertainty)"
        )
    else:
        direction = "rose" if change["mean"] > 0 else "fell"
        counts = f"the number of regions {direction} from {number(before)} to {number(after)}"
    grew = factor["low"] > 1
    joined = "while" if grew and change["mean"] <= 0 else "and"
    return f"{lengths}, {joined} {counts}."


def _path(data: ReportData) -> str:
    if data.example is None:
        return ""
    trace = data.example.trace
    classes = [_class(data, int(c)) for c in trace.output.classes]
    changes = trace.output.class_changes
    what = "class the network answers with" if data.outputs > 1 else "sign of the output"
    if len(changes) == 0:
        answers = f"the {what} stays {classes[0]} all the way"
    elif len(changes) == 1:
        answers = f"the {what} changes once, from {classes[0]} to {classes[1]}, at t = {changes[0]:.3f}"
    else:
        listed = ", ".join(classes[:8]) + (" and so on" if len(classes) > 8 else "")
        answers = f"the {what} changes {len(changes):,} times on the way: {listed}"
    return f"This line crosses {counted(trace.regions, 'region')}, about the median of all pairs, and {answers}."


def _stretch(data: ReportData) -> str:
    if data.example is None:
        return ""
    edges = np.concatenate([[0.0], data.example.trace.breakpoints, [1.0]])
    gaps = np.diff(edges)
    widest = int(np.argmax(gaps))
    shortest = power(float(np.log10(gaps.min())))
    if gaps[widest] < 1e-3:
        longest = power(float(np.log10(gaps[widest])))
        return f"The longest stretch without any change covers {longest} of the line, the shortest {shortest}."
    return (
        f"The longest stretch without any change covers {gaps[widest]:.1%} of the line (from t = "
        f"{edges[widest]:.3f} to {edges[widest + 1]:.3f}); the shortest, {shortest} of it."
    )


def _pictures(data: ReportData) -> str:
    if data.example is None:
        return ""
    shown = data.example.pictures
    least = min(picture.explained for picture in shown)
    return (
        "Each panel shows the line as a layer sees it, flattened to the two directions in which it varies "
        f"most; they hold at least {least:.1%} of its variance in every layer."
    )


def _class(data: ReportData, label: int) -> str:
    if data.outputs == 1:
        return "positive" if label else "negative"
    return data.story.classes[label] if label < len(data.story.classes) else str(label)


def _bound(data: ReportData) -> str:
    if data.bound is None:
        return ""
    found = _regions(data.trained).mean()
    everywhere = data.bound.over_all_inputs
    line = (
        f"the same theorem allows {power(data.bound.on_a_line)} on a line, and a line between two "
        f"{data.story.inputs}s crosses {number(found)}"
    )
    if everywhere is None:
        return f"The bound over all inputs is too large to evaluate here; {line}."
    return f"No weights could give a network of this shape more than {power(everywhere)} regions; {line}."


def _questions(data: ReportData) -> str:
    if data.bound is None:
        return ""
    bound, found = data.bound, float(np.log10(_regions(data.trained).mean()))
    sentences = [
        "These are answers to different questions: the bound is about all inputs at once, a space of "
        f"{counted(bound.inputs, 'dimension')}, and about the most favourable weights there are; the "
        "measurement is about one line and these weights."
    ]
    if bound.over_all_inputs is not None and bound.over_all_inputs - bound.on_a_line > bound.on_a_line - found:
        sentences.append(
            "Most of the gap is the number of dimensions, for on a line the bound itself is that much smaller."
        )
    per_unit = float(data.trained.values("transitions").sum(1).mean()) / data.units
    here = f"{number(per_unit)} transitions a unit"
    if per_unit <= 3:
        sentences.append(
            "The rest is usual: at common initialisations and in training, the transitions of ReLU networks "
            "on a line grow in proportion to the number of units, not exponentially (Hanin and Rolnick "
            f"2019); here there are {here}."
        )
    else:
        sentences.append(f"Still, there are {here}: deep layers fold the line again and again.")
    return " ".join(sentences)


def _sampling(data: ReportData) -> str:
    pairs = counted(len(data.pairs), "pair")
    independent = (
        "No input belongs to two pairs."
        if data.pairs.disjoint
        else "Some inputs belong to several pairs, so the intervals are somewhat too narrow."
    )
    few = ""
    if len(data.pairs) < data.asked and data.budget is not None:
        few = f"Of {data.asked:,} pairs that were asked for, {len(data.pairs):,} fitted in {data.budget:.3g} seconds. "
    if data.estimated:
        few += "The lines were not followed from end to end but estimated, each without bias. "
    return (
        f"{few}{pairs} of different {data.story.inputs}s, drawn at random (seed {data.seed}) from "
        f"{data.points:,}. {independent} Intervals are 95% Student-t intervals of the mean over pairs, for "
        "this one network: they do not say how much another training, or another draw of the weights, would "
        "differ."
    )


def _regions(traces: Lines) -> NDArray[np.float64]:
    return regions_of(traces)
