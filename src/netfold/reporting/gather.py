"""From a network and inputs to the numbers of a report: `gather` measures, `ReportData` holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from netfold.capture import Data, Model, Program, capture
from netfold.capture.data import without_labels
from netfold.capture.splitting import exact_part
from netfold.errors import InvalidInputError, NotPiecewiseLinearError
from netfold.measures.many_lines import Lines, measured, pace_of
from netfold.paths import Line
from netfold.plots.bound import BoundOfRegions
from netfold.reporting.beside_theory import BesideTheory, beside_theory
from netfold.reporting.example import Example, example
from netfold.reporting.pairs import Pairs, choose_pairs
from netfold.reporting.planes import Slice, slice_through
from netfold.reporting.sensitivity import disturbed
from netfold.reporting.states import seen
from netfold.results.complexity import WatchedLayer
from netfold.results.provenance import provenance
from netfold.results.trace_estimates import TraceEstimates
from netfold.results.units import Units
from netfold.sensitivity import Sensitivity
from netfold.theory import bounds
from netfold.training.loop import accuracy

LINES, PLANE, LAYERS, ACCURACY = 0.5, 0.1, 0.3, 0.05
"""Parts of a budget that go to lines, to the plane, to layers that are disturbed, and to the accuracy."""

FEWEST = 32
"""Inputs on which the accuracy is measured whatever the budget."""

TOO_LONG = "the lines are too long to follow from end to end in the time that was given, and were estimated"


@dataclass(frozen=True)
class Story:
    """Where the network and the inputs come from, in words that the report repeats.

    Attributes:
        network: for example ``model.pt2``, and ``data`` for example ``inputs.npz``.
        inputs: what one input is, in the singular, for example ``test digit``.
        recipe: how the network was trained, where that is known.
        classes: what the outputs stand for; their numbers by default.
        image_shape: how to show an input as a picture, where its own shape does not say.
    """

    network: str = "the network"
    data: str = "the data"
    inputs: str = "input"
    recipe: str = ""
    classes: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ReportData:
    """Everything a report says, as numbers: no model, no figure.

    Attributes:
        story: where network and inputs come from.
        layers: every nonlinearity.
        input_shape: shape of one input; ``outputs`` and ``parameters`` are numbers of the network.
        outputs: numbers the network returns.
        parameters: trainable numbers.
        points: how many inputs the data holds.
        pairs: the rows of the inputs walked between, and ``asked`` how many pairs were asked for.
        trained: traces through the network, or estimates where it would take too long to follow the lines, and
            ``initial`` through the network before training.
        initial: the same before training, or ``None``.
        accuracy: share of inputs classified right, where labels are given; ``initial_accuracy`` before
            training.
        initial_accuracy: before training.
        classified: inputs on which they were measured: fewer than the data holds where there was no time for more.
        theory: the network before training beside theory; the network itself where that is not given.
        bound: the bound on regions; ``None`` where there is none.
        example: one pair looked at closely; ``None`` where lines were too long to follow.
        seed: of the choice of pairs.
        seconds: what each step took.
        provenance: versions, machine and time.
        sensitivity: what noise on one layer at a time costs, where the network holds parameters.
        not_made: sections that could not be made, and why.
        slice: the plane through three inputs.
        states: what the units are on a part of the data, where that is known.
        asked: pairs that were asked for.
        budget: seconds that it might take, or ``None``.
    """

    story: Story
    layers: tuple[WatchedLayer, ...]
    input_shape: tuple[int, ...]
    outputs: int
    parameters: int
    points: int
    pairs: Pairs
    trained: Lines
    initial: Lines | None
    accuracy: float | None
    initial_accuracy: float | None
    theory: BesideTheory
    bound: BoundOfRegions | None
    example: Example | None
    seed: int
    seconds: dict[str, float]
    provenance: dict[str, Any]
    sensitivity: Sensitivity | None = None
    not_made: Mapping[str, str] = field(default_factory=dict)
    slice: Slice | None = None
    states: Units | None = None
    asked: int = 0
    classified: int = 0
    budget: float | None = None

    @property
    def estimated(self) -> bool:
        """Whether lines were too long to follow."""
        return isinstance(self.trained, TraceEstimates)

    @property
    def units(self) -> int:
        """Units in all layers together."""
        return sum(layer.units for layer in self.layers)


def gather(
    model: Model,
    data: ArrayLike | torch.Tensor,
    *,
    initial: Model | None = None,
    labels: ArrayLike | torch.Tensor | None = None,
    pairs: int = 40,
    seed: int = 0,
    story: Story | None = None,
    seconds: float | None = None,
    progress: bool = False,
) -> ReportData:
    """Measure a network on straight lines between pairs of inputs.

    Args:
        model: a network in evaluation mode.
        data: inputs, first axis the rows; or ``(x, y)`` with their labels.
        initial: the network with the weights it was initialised with, to set beside it.
        labels: the class of every input, for the accuracy.
        pairs: how many pairs of inputs to walk between.
        seed: of the choice of pairs.
        story: where network and inputs come from.
        seconds: how long it may take, about; there is always a part that is made.
        progress: show progress bars on stderr where that is a terminal.

    Returns:
        The numbers.

    Raises:
        InvalidInputError: the data is unusable, or ``initial`` is another architecture.
        CaptureError: the network cannot be captured.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=5, width=8, depth=2, outputs=3, activation="relu", seed=0)
        >>> found = gather(net, np.eye(5), pairs=2)
        >>> len(found.trained), found.units
        (2, 16)
    """
    begin = time.perf_counter()
    if labels is None and (inputs := without_labels(data)) is not data:
        data, labels = inputs, data.labels if isinstance(data, Data) else data[1]  # type: ignore[index]
    points = _points(data)
    chosen = choose_pairs(points, pairs, seed)
    program = capture(model, shape=points.shape[1:])
    before = capture(initial, shape=points.shape[1:]) if initial is not None else None
    _require_comparable(program, before)
    answers = _labels(labels, len(points))
    captured = time.perf_counter()
    lines = [Line(points[a], points[b]) for a, b in chosen.rows]
    shares = None if seconds is None else max(seconds - (captured - begin), 1.0)
    for_lines = None if shares is None else LINES * shares / (1 if before is None else 2)
    trained = measured(program, lines, "tracing the network", progress, for_lines)
    untrained = None
    if before is not None:
        untrained = measured(before, lines[: len(trained)], "tracing it untrained", progress, for_lines)
    count = min(len(trained), len(trained) if untrained is None else len(untrained))
    if count < len(chosen):
        rows = chosen.rows[:count]
        chosen = replace(chosen, rows=rows, disjoint=len(np.unique(rows)) == rows.size)
    lines, trained = lines[:count], trained[:count]
    untrained = None if untrained is None else untrained[:count]
    traced = time.perf_counter()
    story = story or Story()
    looked_at: Example | str = TOO_LONG
    if not isinstance(trained, TraceEstimates) and not isinstance(untrained, TraceEstimates):
        looked_at = example(program, trained, before, untrained, points, chosen, story.image_shape)
    looked = time.perf_counter()
    groups = [trained] if untrained is None else [trained, untrained]
    plane = slice_through(program, before, points, answers, groups, seed, None if shares is None else PLANE * shares)
    cut = time.perf_counter()
    pace = 0.0 if shares is None else pace_of(program, lines[0])
    # what the sections before have left of their shares goes to this one
    left = None if shares is None else max(LAYERS * shares, shares - (cut - captured) - 2 * ACCURACY * shares)
    layers_disturbed = disturbed(model, points, answers, seed, left)
    disturbing = time.perf_counter()
    states = seen(program, points, shares, pace)
    looking = time.perf_counter()
    most = len(points)
    if shares is not None and answers is not None:
        most = max(FEWEST, int(ACCURACY * shares / (pace * len(groups))))
    asked = np.unique(np.linspace(0, len(points) - 1, min(most, len(points))).astype(np.int64))
    tried = {
        "What does one path between two inputs look like?": looked_at,
        "How does that compare with the most there could be?": (bounded := _bound(program)),
        "What does a plane between three inputs look like?": plane,
        "Which units never change?": states,
        "Which layers must not be touched?": layers_disturbed,
    }
    return ReportData(
        story=story,
        layers=tuple(WatchedLayer(la.name, la.op, la.units, la.label) for la in program.layers),
        input_shape=program.input_shape,
        outputs=int(np.prod(program.output_shape)),
        parameters=program.parameters,
        points=len(points),
        pairs=chosen,
        trained=trained,
        initial=untrained,
        accuracy=_accuracy(program, points, answers, asked),
        initial_accuracy=_accuracy(before, points, answers, asked) if before is not None else None,
        classified=len(asked),
        theory=beside_theory(before or program, untrained or trained, lines, points, initial=before is not None),
        bound=None if isinstance(bounded, str) else bounded,
        example=None if isinstance(looked_at, str) else looked_at,
        asked=pairs,
        budget=seconds,
        seed=seed,
        seconds={
            "capture": captured - begin,
            "tracing": traced - captured,
            "example": looked - traced,
            "cutting a plane": cut - looked,
            "disturbing layers": disturbing - cut,
            "looking at units": looking - disturbing,
            "theory and accuracy": time.perf_counter() - looking,
        },
        provenance=provenance(program),
        sensitivity=None if isinstance(layers_disturbed, str) else layers_disturbed,
        not_made={title: why for title, why in tried.items() if isinstance(why, str)},
        slice=None if isinstance(plane, str) else plane,
        states=None if isinstance(states, str) else states,
    )


def _bound(program: Program) -> BoundOfRegions | str:
    """The bound, of the exact part of a network; or why there is none."""
    try:
        return bound_of(exact_part(program))
    except NotPiecewiseLinearError as error:
        return " ".join(str(error).split())


def bound_of(program: Program) -> BoundOfRegions:
    """The bound for a network, by `netfold.bounds.of`.

    Args:
        program: the network.

    Returns:
        The bound, on a line and over all inputs.
    """
    line, everywhere = (bounds.of(program, dimension=m, only=["raghu2017"]) for m in (1, None))
    wide = everywhere.rows[0].bound
    return BoundOfRegions(line.inputs, sum(line.widths), line.upper.log10, None if wide is None else wide.log10)


def _points(data: ArrayLike | torch.Tensor) -> NDArray[np.float64]:
    array = data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else data
    try:
        points = np.asarray(array, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"data must be an array of numbers, got {type(data).__name__}") from error
    if points.ndim < 2:
        raise InvalidInputError(
            f"data must hold inputs row by row, so at least two axes, got an array of shape {points.shape}"
        )
    bad = int((~np.isfinite(points)).sum())
    if bad:
        raise InvalidInputError(f"data must be finite, got {bad} values that are NaN or infinite")
    return points


def _labels(labels: ArrayLike | torch.Tensor | None, rows: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    found = np.asarray(labels)
    if found.shape != (rows,):
        raise InvalidInputError(f"labels must hold one class a row of the data, {rows}, got shape {found.shape}")
    return found.astype(np.int64)


def _require_comparable(program: Program, before: Program | None) -> None:
    if not program.layers:
        raise InvalidInputError(
            f"{program.name} has no nonlinearity: it is one affine function, so every path crosses one "
            "region and there is nothing to report"
        )
    if before is None:
        return
    now, then = ([(layer.name, layer.op, layer.units) for layer in p.layers] for p in (program, before))
    if now != then or program.output_shape != before.output_shape:
        raise InvalidInputError(
            "initial must be the same architecture with other weights, but its layers or outputs differ: "
            f"{len(then)} layers {[name for name, _, _ in then][:4]} against {len(now)} "
            f"{[n for n, _, _ in now][:4]}"
        )


def _accuracy(
    program: Program, points: NDArray[np.float64], labels: NDArray[np.int64] | None, rows: NDArray[np.int64]
) -> float | None:
    if labels is None:
        return None

    def outputs(some: torch.Tensor) -> torch.Tensor:
        return program(program.points(some.numpy(), "data")).reshape(-1, *program.output_shape).cpu()

    return accuracy(outputs, (torch.tensor(points[rows]), torch.from_numpy(labels[rows])))
