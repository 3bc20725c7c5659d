"""`bit_plan`: how many bits each layer's weights get, by measured losses, and what the whole plan then loses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated, Any

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.export import ExportedProgram

from netfold.arguments import NotNegative, Positive, PositiveInt, Seed, Within, checked
from netfold.arrays import Bools, Floats, Ints
from netfold.capture.reading import home, unwrapped
from netfold.errors import InvalidInputError
from netfold.progress import progress_bar
from netfold.sensitivity.allocation import allocate, never_rising, total
from netfold.sensitivity.batches import Batches
from netfold.sensitivity.curvature import CurvatureTally, scores
from netfold.sensitivity.layers import WeightLayer, weight_layers
from netfold.sensitivity.measure import SensitivityPlan, evaluating, measured, module_of
from netfold.sensitivity.metrics import Metric, one_hot
from netfold.sensitivity.perturbations import Perturbation, Quantise, Weight
from netfold.sensitivity.planned import BitPlan, PlannedLayer
from netfold.sensitivity.result import Sensitivity

FEWEST = 4
"""Fewer layers measured directly calibrate no score."""

Model = nn.Module | ExportedProgram


@checked
def bit_plan(
    model: nn.Module | ExportedProgram,
    data: Any,
    mean_bits: Annotated[float, Within(2, 32)] | None = None,
    *,
    loss: NotNegative | None = None,
    bits: Sequence[Annotated[int, Within(2, 32)]] = (2, 3, 4, 5, 6, 8),
    metric: str | Callable[[Tensor, Tensor], Any] | Metric | None = None,
    per_channel: bool = True,
    direct: Annotated[int, Within(FEWEST)] | None = None,
    seconds: Positive | None = None,
    layers: Sequence[str] | None = None,
    seed: Seed = 0,
    higher_is_better: bool = True,
    batch_size: PositiveInt = 512,
    progress: bool | None = None,
) -> BitPlan:
    """Choose how many bits each layer's weights are rounded to: the least loss at a size, or the least size at a loss.

    The loss of layer l at b bits is measured with that layer alone rounded (`nf.layer_sensitivity` with
    `nf.Quantise`); of all assignments within the limit the one with the smallest *sum* of these losses is taken, as if
    layers did not interact. The plan is then measured as a whole, beside the same number of bits everywhere: what the
    sum predicted, what was lost, and the difference, which is how much the layers interact.

    Beside it every layer has a score, 1/2 sum over weights of (diagonal of the Gauss-Newton matrix) (rounding error)^2,
    from one backward pass over the data for all layers and bits together; its rank correlation with the measured losses
    is in the result. Where a loss is no larger than its own 95% interval, so that chance would choose, it is read from
    the score, through the rising curve that fits the measured losses best. With ``direct`` or ``seconds`` only some
    layers are measured, and all losses of the others are read so. Nothing of the model is changed.

    Args:
        model: any module, or an exported program.
        data: as for `nf.layer_sensitivity`; gone through several times.
        mean_bits: bits a weight, on average over all weights of the layers: the limit on the size; or
        loss: how much worse the metric may get, by the sum of the single losses: the limit on the loss.
        bits: what a layer may get.
        metric: as for `nf.layer_sensitivity`; by default ``loss``, or ``squared_change`` where there are no labels.
        per_channel: scale every output channel by its own largest weight, in place of the whole layer's.
        direct: how many layers to measure, spread evenly over the ranks of their scores; all by default.
        seconds: begin no further layer after so long (at least four are measured, and the plan itself is on top).
        layers: module paths to plan for; the others stay as they are and count in no size.
        seed: of the labels drawn for the score.
        higher_is_better: what a function as ``metric`` means.
        batch_size: inputs at a time, for data that is not batched already.
        progress: show a progress bar; by default only in a terminal.

    Returns:
        Bits by layer with the predicted and the measured loss. Sizes are of weights alone: scales (one number a channel
        or layer) and biases are not counted, and are the same for every plan.

    Raises:
        InvalidInputError: not exactly one limit is given, no assignment is within it, or the data do not fit.
        CaptureError: an exported program cannot be followed.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=4, width=16, depth=2, outputs=3, seed=0)
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> plan = bit_plan(net, x, mean_bits=4)
        >>> list(plan.bits), plan.mean_bits <= 4, plan.uniform_bits
        (['linear1', 'linear2', 'readout'], True, 4)
    """
    begin = time.perf_counter()
    if (mean_bits is None) == (loss is None):
        raise InvalidInputError(
            "give one limit: mean_bits (the size, bits a weight) or loss (how much worse the metric may get)"
        )
    options = tuple(sorted(set(bits)))
    if not options:
        raise InvalidInputError("bits must hold at least one number of bits, it is empty")
    if mean_bits is not None and mean_bits < options[0]:
        raise InvalidInputError(f"mean_bits must be at least {options[0]}, the fewest in bits, got {mean_bits:g}")
    rows = list(data) if isinstance(data, Iterator) else data
    task = BitPlanTask(model, rows, options, metric, per_channel, layers, seed, higher_is_better, batch_size, progress)
    found = task.losses(direct, None if seconds is None else begin + seconds)
    counts = np.array([layer.count for layer in found.layers], np.int64)
    sizes = counts[:, None] * np.array(options)
    costs = never_rising(found.expected)
    if mean_bits is not None:
        chosen, best = allocate(costs + _ties(found.scores, costs), sizes, mean_bits * float(counts.sum()))
    else:
        assert loss is not None
        least = float(costs.min(1).sum())
        if least > loss:
            raise InvalidInputError(
                f"loss must be at least {least:.3g}, what the layers lose at {options[-1]} bits, got {loss:g}; or "
                "allow more bits"
            )
        chosen, best = allocate(sizes, costs, loss)
    mixed = np.array(options)[chosen]
    uniform = -int(-total(sizes, chosen) // counts.sum())
    joint, labels = task.together(found.layers, [mixed, np.full(len(counts), uniform)])
    return BitPlan(
        metric=joint.metric,
        clean=joint.clean,
        layers=tuple(
            PlannedLayer(la.name, la.kind, la.count, int(b), tuple(w.name for w in la.weights), bool(known), label)
            for la, b, known, label in zip(found.layers, mixed, found.direct, labels, strict=True)
        ),
        options=np.array(options, np.int64),
        losses=found.losses,
        expected=costs,
        scores=found.scores,
        predicted=total(costs, chosen),
        loss=float(joint.loss[0, 0]),
        interval=float(joint.interval[0, 0]),
        uniform_bits=uniform,
        uniform_loss=float(joint.loss[0, 1]),
        uniform_interval=float(joint.interval[0, 1]),
        asked_loss=float("nan") if loss is None else loss,
        rank_correlation=found.rank_correlation,
        best=best,
        per_channel=per_channel,
        inputs=joint.inputs,
        counting_rule=task.rule(joint.metric),
        provenance={**joint.provenance, "seed": seed, "seconds": time.perf_counter() - begin},
    )


@dataclass(frozen=True)
class _Losses:
    """What every layer loses at every number of bits, alone."""

    layers: tuple[WeightLayer, ...]
    losses: Floats
    expected: Floats
    scores: Floats
    direct: Bools
    rank_correlation: Floats


@dataclass(frozen=True)
class AssignedBits(Perturbation):
    """Round every parameter to bits of its own, by its name."""

    bits: Mapping[str, int]
    per_channel: bool

    RANDOM = False

    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """The parameter on its levels."""
        return Quantise(self.bits[weight.name], self.per_channel).changed(weight, generator)

    def describe(self) -> str:
        """What is done, in words."""
        return f"every layer at the bits of the plan, scaled per {'channel' if self.per_channel else 'layer'}"


@dataclass(eq=False)
class BitPlanTask:
    """What `bit_plan` was asked."""

    model: Model
    data: Any
    options: tuple[int, ...]
    metric: Any
    per_channel: bool
    layers: Sequence[str] | None
    seed: int
    higher_is_better: bool
    batch_size: int
    progress: bool | None

    def losses(self, direct: int | None, until: float | None) -> _Losses:
        """Measured where there is time, else from the calibrated score."""
        found, score, self.metric = self._scored(direct is not None or until is not None)
        count, measured_losses, sure = len(found), np.full(score.shape, np.nan), np.zeros(score.shape, bool)
        order = _spread(score[:, 0]) if np.isfinite(score).all() else np.arange(count)
        order = order[: count if direct is None else direct]
        with progress_bar(len(order), "measuring layers", "layer", self.progress) as bar:
            for group in self._groups(order, until):
                names = [found[i].name for i in group]
                told = self._measure(names)
                rows = {layer.name: i for i, layer in enumerate(told.layers)}
                places = [rows[name] for name in names]
                measured_losses[group] = told.loss[places]
                sure[group] = ~(np.abs(told.loss) <= told.interval)[places]
                bar.update(len(group))
        known = np.asarray(np.isfinite(measured_losses).all(1))
        if not known[order].all() and until is None:
            bad = ", ".join(found[i].name for i in order if not known[i])
            raise InvalidInputError(f"the metric is not finite with one of these layers rounded: {bad}")
        read = calibrated(score, measured_losses, known) if np.isfinite(score).all() else measured_losses
        expected = np.where(sure & known[:, None], measured_losses, read)
        ranks = _rank_correlations(score, measured_losses, known)
        return _Losses(found, measured_losses, expected, score, known, ranks)

    def _groups(self, order: Ints, until: float | None) -> Iterator[Ints]:
        """Layers to measure together: all, or with a limit of time as many as it seems to allow."""
        if until is None:
            yield order
            return
        done, size = 0, FEWEST
        while done < len(order):
            begin = time.perf_counter()
            yield order[done : done + size]
            done += size
            spent, left = time.perf_counter() - begin, until - time.perf_counter()
            size = min(2 * size, int(left * size / max(spent, 1e-9)))
            if size < 1:
                return

    def _scored(self, needed: bool) -> tuple[tuple[WeightLayer, ...], Floats, Any]:
        """The layers, their scores and the metric."""
        inner = unwrapped(self.model) if isinstance(self.model, nn.Module) else self.model
        module = inner if isinstance(inner, nn.Module) else module_of(inner)
        with evaluating(module, self.data):
            found, (dtype, device) = weight_layers(module, self.layers), home(module)
            batches = iter(Batches(self.data, self.batch_size, dtype, device))
            first = next(batches)
            labels = first.labels
            metric = self.metric or ("squared_change" if labels is None else "loss")
            numbered = labels is not None and (not labels.is_floating_point() or one_hot(labels))
            squared = metric == "squared_change" or (not numbered and metric not in ("disagreement", "accuracy"))
            tally = CurvatureTally(module, found, squared, self.seed)
            try:
                for batch in chain([first], batches):
                    tally.add(batch)
            except (RuntimeError, InvalidInputError):
                if needed:
                    raise
                return found, np.full((len(found), len(self.options)), np.nan), metric
            rules = [Quantise(b, self.per_channel) for b in self.options]
            changes = [partial(rule.changed, generator=tally.generator) for rule in rules]
            return found, scores(tally.curvature, found, changes), metric

    def _measure(self, names: list[str]) -> Sensitivity:
        settings = [Quantise(b, self.per_channel) for b in self.options]

        def plan(module: nn.Module) -> SensitivityPlan:
            return SensitivityPlan(module, weight_layers(module, names), settings, 1, self.seed, False)

        return measured(self.model, self.data, self.metric, plan, self.batch_size, self.higher_is_better, False)[0]

    def together(self, layers: Sequence[WeightLayer], assigned: Sequence[Ints]) -> tuple[Sensitivity, list[str]]:
        """All layers rounded at once: one setting an assignment; and the layers' labels."""

        def plan(module: nn.Module) -> SensitivityPlan:
            found = weight_layers(module, [layer.name for layer in layers])
            weights = tuple(weight for layer in found for weight in layer.weights)
            settings = [
                AssignedBits(
                    {w.name: int(b) for la, b in zip(found, bits, strict=True) for w in la.weights}, self.per_channel
                )
                for bits in assigned
            ]
            whole = WeightLayer("all layers", type(module).__name__, weights, (), 0)
            return SensitivityPlan(module, (whole,), settings, 1, self.seed, False)

        found, runner = measured(
            self.model, self.data, self.metric, plan, self.batch_size, self.higher_is_better, False
        )
        return found, [runner.label(layer) for layer in layers]

    def rule(self, metric: str) -> str:
        """What was measured, in words."""
        return (
            f"{metric} with weights (not biases) rounded to integers times one scale a "
            f"{'channel' if self.per_channel else 'layer'}, in evaluation mode, on the data given, which also chose "
            "the plan; predicted: sum of the layers' losses alone, measured where larger than their interval, else by "
            "the score's curve, 0 or more and never rising with bits; loss: all layers at once; interval over inputs, "
            "paired; sizes are of weights alone"
        )


def calibrated(score: Floats, losses: Floats, known: Bools) -> Floats:
    """Losses of all layers as the score tells them, by the rising curve that fits the measured ones best.

    The curve is the isotonic regression of measured losses on scores, from (0, 0) on and 0 or more; beyond the largest
    score that was measured it goes on in proportion.
    """
    order = np.argsort(score[known].ravel(), kind="stable")
    at = score[known].ravel()[order]
    curve = np.maximum(isotonic_regression(losses[known].ravel()[order]).x, 0.0)
    read = np.interp(score, np.append(0.0, at), np.append(0.0, curve))
    return read * (np.maximum(score / at[-1], 1.0) if at[-1] > 0 else 1.0)


def _ties(score: Floats, costs: Floats) -> Floats:
    """What decides between layers that are expected to lose nothing: their scores, far below any loss that counts."""
    if not np.isfinite(score).all() or not score.max() > 0:
        return np.zeros_like(costs)
    return score / score.max() * (1e-4 * costs.max() or 1.0)


def _rank_correlations(score: Floats, losses: Floats, known: Bools) -> Floats:
    """Spearman's, over the measured layers, at each number of bits; NaN where there is none."""
    found = np.full(score.shape[1], np.nan)
    for column in range(score.shape[1]):
        one, two = score[known, column], losses[known, column]
        if len(one) > 2 and np.ptp(one) > 0 and np.ptp(two) > 0:
            found[column] = spearmanr(one, two)[0]
    return found


def _spread(score: Floats) -> Ints:
    """All layers, in an order of which every beginning is spread over the ranks: the ends, the middle, quarters."""
    ranked = np.argsort(score, kind="stable")
    count = len(ranked)
    places = [0, count - 1]
    step = 2
    while step < 4 * count:
        places += [round(i * (count - 1) / step) for i in range(1, step, 2)]
        step *= 2
    places += range(count)
    return ranked[np.array(list(dict.fromkeys(places)))]
