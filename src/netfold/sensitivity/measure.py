"""`layer_sensitivity`: perturb one layer at a time and see what a metric does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from netfold.arguments import PositiveInt, Seed, checked
from netfold.arrays import numbers
from netfold.capture.reading import home, unwrapped
from netfold.capture.tape import refuse_bad
from netfold.capture.untouched import untouched
from netfold.errors import InvalidInputError
from netfold.progress import progress_bar
from netfold.renamed import renamed
from netfold.results.provenance import surroundings
from netfold.sensitivity.batches import Batches
from netfold.sensitivity.layers import WeightLayer, weight_layers
from netfold.sensitivity.metrics import Metric, MetricTally, metric_for
from netfold.sensitivity.perturbations import GaussianNoise, Perturbation
from netfold.sensitivity.result import Effect, PerturbedLayer, Sensitivity
from netfold.sensitivity.runners import Runner, runner_for

QUARTER = GaussianNoise(0.25)
"""The noise of the paper's figure 6, relative to the layer's weights."""

KEPT_BYTES = 256 * 2**20
"""Perturbed weights are kept from batch to batch up to this size, and drawn again (the same) beyond it."""

Replaced = dict[str, Any] | None
"""A layer's perturbed parameters by name, None where not one of them changed; or what changes its inputs, by path."""


@renamed(net="model")
@checked
def layer_sensitivity(
    model: nn.Module | ExportedProgram,
    data: Any,
    metric: str | Callable[[Tensor, Tensor], Any] | Metric | None = None,
    perturbation: Perturbation = QUARTER,
    repeats: PositiveInt = 10,
    seed: Seed = 0,
    *,
    strengths: Sequence[float] | None = None,
    layers: Sequence[str] | None = None,
    biases: bool | None = None,
    higher_is_better: bool = True,
    batch_size: PositiveInt = 512,
    progress: bool | None = None,
) -> Sensitivity:
    """Measure how a metric changes when the weights of one layer alone are perturbed, for every layer.

    For layer l and draw r: metric(network with W_l replaced by P_r(W_l)), all other layers as they are (Raghu et al.
    2017, figure 6; Zhang, Bengio and Singer 2019 for re-initialisation and re-randomisation). The network runs in
    evaluation mode in its own number type. What comes before the layer is computed once; only what follows it is run
    again, for several draws together. A model that cannot be captured is run as a whole: slower, the same numbers.

    The draws belong to (seed, layer, repeat): they do not depend on which layers are asked for, on the strength or on
    the batches. The model is left as it was, also after an error.

    Args:
        model: any module, or an exported program.
        data: ``(x, y)`` or ``x`` as arrays or tensors with one input a row, `netfold.capture.Data`, or a
            ``DataLoader`` of ``(x, y)``, ``x`` or mappings with ``labels``.
        metric: ``accuracy``, ``loss`` (cross-entropy; squared error for real labels), ``disagreement`` with the clean
            network's classes, ``squared_change`` of the output, or a function of (outputs, labels) of all inputs that
            gives a number (without labels it gets the clean outputs in their place). By default accuracy, loss or
            disagreement, as the labels suggest.
        perturbation: what to do to a layer.
        repeats: draws a layer, if it is random.
        seed: of the draws.
        strengths: repeat everything at these strengths, for curves.
        layers: module paths; by default every module with a weight matrix or kernel.
        biases: change the layer's biases too; by default only re-initialisation and re-randomisation do.
        higher_is_better: what a function as ``metric`` means.
        batch_size: inputs at a time, for data that is not batched already.
        progress: show a progress bar; by default only in a terminal.

    Returns:
        The metric by layer, strength and draw, with intervals, a ranking and a plot. A layer on which the perturbation
        had no effect says so in place of counting as robust.

    Raises:
        InvalidInputError: the data do not fit the model or the metric, an argument is out of range, the model has no
            weights, or holds weights that are not finite.
        CaptureError: an exported program cannot be followed.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=4, width=16, depth=2, outputs=3, seed=0)
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> found = layer_sensitivity(net, x, perturbation=nf.GaussianNoise(0.5), repeats=5)
        >>> found.metric, found.clean, found.values.shape
        ('disagreement', 0.0, (3, 1, 5))
        >>> bool((found.loss > 0).all())
        True
    """
    steps = _settings(perturbation, strengths)
    with_biases = perturbation.BIASES if biases is None else biases

    def plan(module: nn.Module) -> SensitivityPlan:
        runs = repeats if perturbation.RANDOM else 1
        return SensitivityPlan(module, weight_layers(module, layers), steps, runs, seed, with_biases)

    return measured(model, data, metric, plan, batch_size, higher_is_better, progress)[0]


def measured(
    model: nn.Module | ExportedProgram,
    data: Any,
    metric: Any,
    planned: Callable[[nn.Module], SensitivityPlan],
    batch_size: int,
    higher_is_better: bool = True,
    progress: bool | None = None,
) -> tuple[Sensitivity, Runner]:
    """Carry out what is planned for a model, which is left as it was; also what ran it, which knows layers' labels."""
    begin = time.perf_counter()
    inner = unwrapped(model) if isinstance(model, nn.Module) else model
    module = inner if isinstance(inner, nn.Module) else module_of(inner)
    with evaluating(module, data), torch.no_grad():
        plan = planned(module)
        dtype, device = home(module)
        job = SensitivityRun(plan, Batches(data, batch_size, dtype, device), higher_is_better, progress)
        runner = job.run(inner, metric)
    return job.result(model, runner, plan.settings[0], time.perf_counter() - begin), runner


def _settings(perturbation: Perturbation, strengths: Sequence[float] | None) -> list[Perturbation]:
    if strengths is None:
        return [perturbation]
    values = np.atleast_1d(numbers(strengths, "strengths"))
    if values.ndim != 1 or len(values) == 0 or len(set(values.tolist())) < len(values):
        raise InvalidInputError(f"strengths must be one or more different numbers, got {strengths!r}")
    return [perturbation.at(float(value)) for value in values]


def module_of(model: Any) -> nn.Module:
    """The module of an exported program.

    Raises:
        InvalidInputError: it is none.
    """
    if not isinstance(model, ExportedProgram):
        raise InvalidInputError(
            f"expected a torch.nn.Module or a torch.export.ExportedProgram, got {type(model).__name__} (a captured "
            "Program holds no parameters any more: give the module it came from)"
        )
    return model.module()


@contextmanager
def evaluating(module: nn.Module, data: Any) -> Iterator[None]:
    """The module in evaluation mode, and everything as before afterwards: also a loader's own random numbers."""
    generator = getattr(data, "generator", None)
    state = generator.get_state() if isinstance(generator, torch.Generator) else None
    for name, parameter in module.named_parameters():
        refuse_bad(type(module).__name__, name, parameter, infinite_too=True)
    try:
        with untouched(module):
            # ``model.eval()`` may be overridden or (in exported programs) refused; the flag is all that is needed.
            for part in module.modules():
                part.training = False
            yield
    finally:
        if isinstance(generator, torch.Generator) and state is not None:
            generator.set_state(state)


@dataclass(frozen=True)
class SensitivityPlan:
    """Which layers are perturbed, how, how often, with which random numbers."""

    model: nn.Module
    layers: tuple[WeightLayer, ...]
    settings: Sequence[Perturbation]
    repeats: int
    seed: int
    biases: bool

    def draw(self, layer: WeightLayer, setting: int, repeat: int) -> Replaced:
        """A layer's parameters, perturbed."""
        words = np.random.SeedSequence([self.seed, layer.number, repeat]).generate_state(2, np.uint32)
        generator = torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
        rule, chosen = self.settings[setting], layer.chosen(self.biases)
        if rule.INPUTS:
            return {layer.name: rule}
        new = {w.name: _checked(rule.changed(w, generator), w.value, rule, w.name) for w in chosen}
        return None if all(torch.equal(new[w.name], w.value) for w in chosen) else new

    @property
    def keep(self) -> bool:
        """Whether all perturbed weights together are small enough to be kept."""
        each = sum(w.value.numel() * w.value.element_size() for la in self.layers for w in la.chosen(self.biases))
        return each * len(self.settings) * self.repeats <= KEPT_BYTES


def _checked(new: Tensor, old: Tensor, rule: Perturbation, name: str) -> Tensor:
    if new.shape != old.shape or new.dtype != old.dtype or new is old:
        raise InvalidInputError(
            f"{type(rule).__name__}.changed must give a new tensor like '{name}': shape {tuple(old.shape)} in "
            f"{old.dtype}, got {tuple(new.shape)} in {new.dtype}"
        )
    return new.detach()


class SensitivityRun:
    """Goes through the data once, and through all layers for every batch."""

    def __init__(self, plan: SensitivityPlan, batches: Batches, higher_is_better: bool, progress: bool | None) -> None:
        self.plan, self.batches, self.higher_is_better = plan, batches, higher_is_better
        self.progress = progress
        self.shape = len(plan.layers), len(plan.settings)
        self.row = {layer.name: i for i, layer in enumerate(plan.layers)}
        self.moved, self.size = np.zeros(self.shape), 0.0
        self.changed, self.outputs_changed = np.zeros(self.shape, bool), np.zeros(self.shape, bool)
        self.used = np.ones(self.shape[0], bool)
        self._kept: dict[str, list[Replaced]] = {}

    def run(self, model: nn.Module | ExportedProgram, metric: Any) -> Runner:
        """Measure everything."""
        runner: Runner | None = None
        total = None if self.batches.total is None else self.batches.total * self.shape[0]
        with progress_bar(total, "perturbing layers", "layer", self.progress) as bar:
            for batch in self.batches:
                if runner is None:
                    runner = runner_for(
                        model, batch.inputs, self.batches.dtype, self.batches.device, self.plan.settings[0].INPUTS
                    )
                    self.used = np.array([runner.uses(layer) for layer in self.plan.layers])
                    chosen = metric_for(metric, batch.labels, self.higher_is_better)
                    self.tally = MetricTally(chosen, self.shape[0] * self.shape[1], self.plan.repeats)
                clean = _clean(runner, batch.inputs, len(batch))
                self.size += float(clean.double().square().sum())
                self.tally.start(clean, batch.labels)
                for layer, evaluate in runner.sweep(batch.inputs, self.plan.layers):
                    self._layer(layer, evaluate, clean)
                    bar.update()
                self.tally.end()
        assert runner is not None
        return runner

    def _layer(self, layer: WeightLayer, evaluate: Any, clean: Tensor) -> None:
        """One layer on one batch. Sets of weights that are as they were are not run: the outputs are the clean ones."""
        sets, repeats = self._sets(layer), self.plan.repeats
        outputs = evaluate([replaced for replaced in sets if replaced is not None])
        for number, replaced in enumerate(sets):
            setting, repeat = divmod(number, repeats)
            place = self.row[layer.name], setting
            found = clean if replaced is None else next(outputs)
            self.changed[place] |= replaced is not None
            if replaced is not None and not torch.equal(found, clean):
                self.outputs_changed[place] = True
                self.moved[place] += float((found.double() - clean.double()).square().sum())
            self.tally.add(place[0] * self.shape[1] + setting, repeat, found)

    def _sets(self, layer: WeightLayer) -> list[Replaced]:
        if layer.name in self._kept:
            return self._kept[layer.name]
        pairs = [(s, r) for s in range(self.shape[1]) for r in range(self.plan.repeats)]
        sets = [self.plan.draw(layer, s, r) for s, r in pairs]
        if self.plan.keep:
            self._kept[layer.name] = sets
        return sets

    def result(self, model: Any, runner: Runner, perturbation: Perturbation, seconds: float) -> Sensitivity:
        """What was measured."""
        tally, plan = self.tally, self.plan
        effect = np.where(self.outputs_changed, Effect.MEASURED, Effect.OUTPUT_UNCHANGED)
        effect = np.where(self.changed, effect, Effect.WEIGHTS_UNCHANGED)
        effect[~self.used] = Effect.UNUSED
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.sqrt(self.moved / plan.repeats / self.size)
        return Sensitivity(
            metric=tally.metric.name,
            higher_is_better=tally.metric.higher_is_better,
            perturbation=perturbation.describe(),
            stronger_upward=perturbation.STRONGER_UPWARD,
            clean=tally.value,
            clean_error=tally.error,
            layers=tuple(
                PerturbedLayer(la.name, la.kind, la.count, runner.label(la), la.shared_with) for la in plan.layers
            ),
            strengths=np.array([setting.strength for setting in plan.settings]),
            values=tally.values.reshape(*self.shape, plan.repeats),
            data_error=tally.errors.reshape(self.shape),
            output_change=np.where(self.outputs_changed, moved, 0.0),
            effect=effect.astype(np.int64),
            inputs=tally.rows,
            counting_rule=_rule(perturbation, plan, tally.metric),
            provenance={
                **surroundings(),
                "model": type(model).__name__,
                "computed_in": str(self.batches.dtype).removeprefix("torch."),
                "seed": plan.seed,
                "shares_prefix": runner.shares_prefix,
                "why_not": runner.why,
                "seconds": seconds,
            },
        )


def _clean(runner: Runner, inputs: Tensor | Mapping[str, Tensor], rows: int) -> Tensor:
    try:
        outputs = runner.clean(inputs)
    except InvalidInputError:
        raise
    except Exception as error:
        shape = {k: tuple(v.shape) for k, v in inputs.items()} if isinstance(inputs, Mapping) else tuple(inputs.shape)
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInputError(f"the model cannot be run on a batch of shape {shape}: {text}") from error
    if outputs.ndim == 0 or len(outputs) != rows:
        raise InvalidInputError(
            f"the model gives outputs of shape {tuple(outputs.shape)} for {rows} inputs; the first axis must be "
            "the batch"
        )
    if not outputs.is_floating_point():
        raise InvalidInputError(f"the model gives {outputs.dtype}, not real numbers")
    return outputs


def _rule(perturbation: Perturbation, plan: SensitivityPlan, metric: Metric) -> str:
    what = "weights and biases" if plan.biases else "weights, not biases"
    what = "what goes into it, not its weights" if perturbation.INPUTS else what
    draws = f"{plan.repeats} draws" if plan.repeats > 1 else "one draw"
    loss = "clean minus perturbed" if metric.higher_is_better else "perturbed minus clean"
    return (
        f"{metric.name} with one layer perturbed ({what}) and all others as they are, in evaluation mode; "
        f"{draws if perturbation.RANDOM else 'nothing random, one run'}; loss is {loss}; a layer counts only if "
        "an output changed"
    )
