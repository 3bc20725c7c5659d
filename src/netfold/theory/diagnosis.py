"""Is a network ordered, critical or chaotic? Its gains, layer by layer, beside mean-field theory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.results.base import Tabular, above
from netfold.theory.activations import Activation
from netfold.theory.ensemble import Scale, WeightStatistics
from netfold.theory.fixed_points import Phase, Status
from netfold.theory.mean_field import MeanField

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LayerDiagnosis:
    """One weight operation of a network and what follows it.

    Attributes:
        name: module path of the weights.
        label: what tables and pictures call the layer: the weights that lead to it, and its name.
        activation: the operation that follows; empty for the readout.
        function: the activation function as theory takes it; ``None`` where there is none.
        units: how many units (or filters) the weights make, each from ``fan_in`` numbers.
        fan_in: inputs of one unit; for a convolution, channels times the extent of the kernel.
        weights: the scales sigma_w and sigma_b, and how random the weights look.
        q: mean square of the pre-activations that the signal gives here; nan where it cannot be followed.
        growth: by how much the length of a curve around 0 grows here, per root of units over fan-in, for
            infinite width; nan where the signal cannot be followed.
        chi_1: squared growth in an infinitely deep stack of such layers, and ``chi_1_error`` its standard error.
        phase: of that stack: critical where chi_1 is within three standard errors of 1; ``None`` without chi_1.
        note: why numbers are missing.
    """

    name: str
    label: str
    activation: str
    function: Activation | None
    units: int
    fan_in: int
    weights: WeightStatistics
    q: float
    growth: float
    chi_1: float
    chi_1_error: float
    phase: Phase | None
    note: str


@dataclass(frozen=True, repr=False)
class Diagnosis(Tabular):
    """Whether a network is ordered, critical or chaotic; see `diagnose`.

    Attributes:
        name: class of the model.
        inputs: input dimension, and ``q0`` the mean square of an input's coordinates.
        layers: its weight operations in order; the readout, without activation, last.
        activation: the common activation of its hidden layers; ``None`` where they differ.
        sigma_w: geometric mean over hidden layers, and ``sigma_b`` root mean square.
        field: mean-field theory at these gains; ``None`` where there is no common activation.
        chi_1: squared growth of a small displacement in one layer, and ``chi_1_error`` its standard error.
        phase: critical where chi_1 is within three standard errors of 1.
        depth: xi_c, layers in which the correlation of two signals comes closer to its limit by a factor e.
            Where signals grow without bound: 1 / ln chi_1, layers in which their mean square grows by e.
        depth_range: what three standard errors of the gains leave possible for ``depth``.
        critical_sigma_w: the gain that would make the network critical at this sigma_b; nan where none does.
        judged: what stands between the judgement of single layers and the network; empty for a chain of weights.
        structure: why exact theory of chains of dense layers does not speak of this network; empty where it does.
        warnings: where the theory behind these numbers does not hold, in sentences.
        left_out: layers that mix or rescale what they read, so that there is no phase; empty where there are none.
    """

    name: str
    inputs: int
    q0: float
    layers: tuple[LayerDiagnosis, ...]
    activation: Activation | None
    sigma_w: Scale
    sigma_b: Scale
    field: MeanField | None
    chi_1: float
    chi_1_error: float
    phase: Phase | None
    depth: float
    depth_range: tuple[float, float]
    critical_sigma_w: float
    judged: str
    structure: str
    warnings: tuple[str, ...]
    left_out: str = ""

    plot = above("netfold.plots.theory:diagnosis")

    @property
    def hidden(self) -> tuple[LayerDiagnosis, ...]:
        """The layers with an activation."""
        return tuple(layer for layer in self.layers if layer.activation)

    @property
    def random(self) -> bool:
        """Whether nothing speaks against independent weights of one scale in every layer."""
        return not any(layer.weights.doubts for layer in self.layers)

    @property
    def trainable_depth(self) -> float:
        """6 times ``depth``: about how deep such networks can be trained (Schoenholz et al. 2017)."""
        return 6 * self.depth

    @property
    def rescale(self) -> float:
        """The factor on the hidden weights that would make the network critical."""
        return self.critical_sigma_w / self.sigma_w.value

    def to_dataframe(self) -> pd.DataFrame:
        """One row a weight operation, the readout last."""
        import pandas as pd

        return pd.DataFrame([_record(number, layer) for number, layer in enumerate(self.layers, 1)])

    def to_dict(self) -> dict[str, Any]:
        """The verdict, its numbers and those of every layer, for JSON."""
        return {
            "model": self.name,
            "phase": str(self.phase) if self.phase is not None else None,
            "chi_1": self.chi_1,
            "chi_1_error": self.chi_1_error,
            "sigma_w": self.sigma_w.value,
            "sigma_w_error": self.sigma_w.error,
            "sigma_b": self.sigma_b.value,
            "sigma_b_error": self.sigma_b.error,
            "depth": self.depth,
            "depth_range": self.depth_range,
            "trainable_depth": self.trainable_depth,
            "critical_sigma_w": self.critical_sigma_w,
            "rescale": self.rescale,
            "judged": self.judged,
            "looks_random": self.random,
            "layers": self.to_dataframe().to_dict("records"),
            "verdict": self.verdict,
            "warnings": self.warnings,
        }

    def __repr__(self) -> str:
        frame = self.to_dataframe()
        shown = frame[["label", "activation", "fan_in"]].set_axis(["layer", "activation", "fan_in"], axis=1)
        shown["sigma_w"] = [str(layer.weights.sigma_w) for layer in self.layers]
        shown["sigma_b"] = [str(layer.weights.sigma_b) for layer in self.layers]
        shown["chi_1"] = [str(Scale(layer.chi_1, layer.chi_1_error)) for layer in self.layers]
        shown["phase"], shown["growth"] = frame["phase"].fillna("-"), frame["growth"].round(4)
        table = shown.to_string(index=False, na_rep="-").replace("nan ± nan", "        -")
        return "\n".join([*self.verdict, table, *(f"- {warning}" for warning in self.warnings)])

    @property
    def verdict(self) -> tuple[str, ...]:
        """The answer in sentences."""
        return tuple(verdict(self))


def _record(number: int, layer: LayerDiagnosis) -> dict[str, Any]:
    weights = layer.weights
    return {
        "number": number,
        "layer": layer.name,
        "label": layer.label,
        "activation": layer.activation or "(readout)",
        "units": layer.units,
        "fan_in": layer.fan_in,
        "sigma_w": weights.sigma_w.value,
        "sigma_w_error": weights.sigma_w.error,
        "sigma_b": weights.sigma_b.value,
        "sigma_b_error": weights.sigma_b.error,
        "q": layer.q,
        "chi_1": layer.chi_1,
        "chi_1_error": layer.chi_1_error,
        "phase": str(layer.phase) if layer.phase is not None else None,
        "growth": layer.growth,
        "kurtosis": weights.kurtosis,
        "edge": weights.edge,
        "note": layer.note or "; ".join(weights.doubts),
    }


def verdict(diagnosis: Diagnosis) -> Iterator[str]:
    """The answer in sentences: the phase, how deep signals reach, the critical gain."""
    if diagnosis.left_out:
        yield (
            f"{diagnosis.name}: no verdict, for {diagnosis.left_out} set the scale of the signal, which the gains of "
            "single layers leave out; the table has those gains"
        )
        return
    if diagnosis.phase is None:
        yield f"{diagnosis.name}: no phase, for mean-field theory has no number for any of its layers"
        return
    about = " within three standard errors" if diagnosis.phase is Phase.CRITICAL else ""
    numbers = (
        f"chi_1 = {Scale(diagnosis.chi_1, diagnosis.chi_1_error)}, with sigma_w = {diagnosis.sigma_w} "
        f"and sigma_b = {diagnosis.sigma_b}"
    )
    if diagnosis.random:
        judged = f", judged {diagnosis.judged}," if diagnosis.judged else ""
        yield f"{diagnosis.name}{judged} is {diagnosis.phase}{about}: {numbers}"
    else:
        yield (
            f"{diagnosis.name} has weights that are not independent ones of one scale, of which theory speaks; such "
            f"weights of its scale would make it {diagnosis.phase}{about}: {numbers}"
        )
    if not np.isnan(diagnosis.depth):
        yield _reach(diagnosis)
    if np.isnan(diagnosis.critical_sigma_w):
        return
    if diagnosis.phase is Phase.CRITICAL or diagnosis.judged or not diagnosis.random:
        yield f"the critical gain to initialise with at this sigma_b is sigma_w = {diagnosis.critical_sigma_w:.6g}"
    else:
        yield (
            f"sigma_w = {diagnosis.critical_sigma_w:.6g} would make it critical at this sigma_b: multiply the hidden "
            f"weights by {diagnosis.rescale:.4g}"
        )


def _reach(diagnosis: Diagnosis) -> str:
    low, high = diagnosis.depth_range
    here = f"this one has {len(diagnosis.hidden)}"
    if diagnosis.phase is Phase.CRITICAL:
        return f"signals survive at least xi_c = {low:.3g} layers, and any number as far as can be told; {here}"
    span = f" ({low:.3g} to {high:.3g} within three standard errors)"
    if diagnosis.field is not None and diagnosis.field.status is Status.DIVERGES:
        reach = f"{diagnosis.depth:.3g} layers{span}"
        return f"the mean square of signals and gradients grows by a factor e in {reach}; {here}"
    return (
        f"correlations of signals settle by a factor e in xi_c = {diagnosis.depth:.3g} layers{span}, and such networks "
        f"train down to about 6 xi_c = {diagnosis.trainable_depth:.3g}; {here}"
    )
