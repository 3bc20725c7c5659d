"""Is a network ordered, critical or chaotic? Its gains, layer by layer, beside mean-field theory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.capture import Model, capture
from netfold.errors import InvalidInputError
from netfold.paths import point as as_point
from netfold.theory.activations import Activation
from netfold.theory.architecture import Architecture, Block, Weight, read_architecture
from netfold.theory.criticality import critical_sigma_w
from netfold.theory.ensemble import Scale, WeightStatistics, activation_of, same_activation, statistics
from netfold.theory.fixed_points import CRITICAL, Phase, phase_of, solve
from netfold.theory.mean_field import MeanField, mean_field
from netfold.theory.verdict import verdict, warnings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

CERTAIN = 3.0
"""How many standard errors chi_1 has to be from 1 to call a network ordered or chaotic."""


@dataclass(frozen=True)
class LayerDiagnosis:
    """One weight operation of a network and what follows it.

    Attributes:
        name: module path of the weights.
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
class Diagnosis:
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
        structure: why exact theory of chains of dense layers does not speak of this network; empty where it does.
        warnings: where the theory behind these numbers does not hold, in sentences.
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
    structure: str
    warnings: tuple[str, ...]

    @property
    def hidden(self) -> tuple[LayerDiagnosis, ...]:
        """The layers with an activation."""
        return tuple(layer for layer in self.layers if layer.activation)

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

    def plot(self, ax: Axes | None = None) -> Axes:
        """chi_1 of every hidden layer with three standard errors, and the line between order and chaos.

        Args:
            ax: axes to draw on; new ones by default.
        """
        from netfold.theory.drawing import draw_diagnosis

        return draw_diagnosis(self, ax)

    def __repr__(self) -> str:
        frame = self.to_dataframe()
        shown = frame[["layer", "activation", "fan_in"]].copy()
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


def diagnose(model: Model, point: Any = None, *, shape: Sequence[int] | None = None) -> Diagnosis:
    """Is a network, at initialisation, ordered, critical or chaotic?

    Read off layer by layer: sigma_w^2 = fan-in times the mean square of the weights (of a convolution: in
    channels times kernel) and sigma_b^2 = mean square of the biases, with standard errors from their fourth
    moments. Batch normalisation in evaluation mode and constant factors are multiplied in. With these gains
    and the activation, mean-field theory gives

        chi_1 = sigma_w^2 E phi'(sqrt(q*) z)^2,    growth = sqrt(chi_1),    xi_c = -1 / ln(slope at c*)

    and the phase: ordered (chi_1 < 1: nearby inputs merge, gradients vanish), chaotic (chi_1 > 1: they part,
    gradients explode), critical within three standard errors of 1. ``q`` and ``growth`` of a layer are those
    of the signal on its way there, from an input with mean square ``q0``, not at the fixed point.

    Assumptions: independent weights, wide layers, a chain. ``warnings`` says which of them this network does
    not meet: trained weights (a singular value beyond the random edge, heavy tails), orthogonal ones, batch
    normalisation, skip connections, pooling, different activations or gains, narrow layers. Training that
    leaves the weights almost independent is not noticed.

    Args:
        model: a module in evaluation mode, or a captured program.
        point: one input, without batch axis: q0 is the mean square of its coordinates (1 without it).
        shape: the shape of one input, instead of ``point``.

    Returns:
        The diagnosis: a table with a verdict.

    Raises:
        InvalidInputError: no nonlinearity, or no weights.
        CaptureError: the model cannot be captured.

    Source:
        Poole et al. 2016 (phases), Schoenholz et al. 2017 (depth scales, trainable to about 6 xi_c).

    Example:
        >>> import torch, netfold as nf
        >>> net = nf.random_network(100, 300, 3, activation="hardtanh", sigma_w=4.0)
        >>> found = nf.theory.diagnose(net, shape=(100,))
        >>> print(found.phase, round(found.critical_sigma_w, 3))
        chaotic 1.0
    """
    program = capture(model, point, shape=shape)
    network = read_architecture(program)
    if not program.layers:
        raise InvalidInputError(f"{program.name} has no nonlinearity, so it has no phase: it is affine")
    q0 = 1.0 if point is None else float(program.points(as_point(point, "point")[None], "point").square().mean())
    if q0 == 0:
        raise InvalidInputError("point is 0 everywhere: give a typical input, or its shape alone")
    layers = tuple(_layers(network, q0))
    if not layers:
        raise InvalidInputError(f"{program.name} has no dense or convolutional weights to read")
    return _summary(network, layers, q0)


def _layers(network: Architecture, q0: float) -> Iterator[LayerDiagnosis]:
    square = q0  # of the signal, per number; nan once it cannot be followed
    for block in network.blocks:
        function, why = _function(block)
        if block.wiring and not (block.layer is None and block.bare):
            square = np.nan
        for weight in block.weights:
            found = statistics(weight)
            q = found.sigma_w.value**2 * square + found.sigma_b.value**2
            yield _layer(block, weight, found, function, why, q, q0)
            square = np.nan if function is None else float(function.square(np.array([q]))[0])


def _function(block: Block) -> tuple[Activation | None, str]:
    if block.layer is None:
        return None, ""
    try:
        return activation_of(block.layer), ""
    except InvalidInputError as error:
        return None, str(error)


def _layer(
    block: Block,
    weight: Weight,
    found: WeightStatistics,
    function: Activation | None,
    why: str,
    q: float,
    q0: float,
) -> LayerDiagnosis:
    chi_1, error, growth = np.nan, np.nan, np.nan
    if found.sigma_w.value == 0:
        why = why or "its weights are all 0"
    elif function is not None:
        chi_1, error = _chi(function, found.sigma_w, found.sigma_b, q0)
        growth = found.sigma_w.value * float(np.sqrt(function.moments(np.array([q])).slope[0]))
    elif block.layer is None and np.isfinite(q):
        growth = found.sigma_w.value
    return LayerDiagnosis(
        weight.name,
        block.layer.op if block.layer is not None else "",
        function,
        len(weight.matrix),
        weight.fan_in,
        found,
        float(q),
        float(growth) if np.isfinite(q) else np.nan,
        chi_1,
        error,
        _phase(chi_1, error),
        why or (block.wiring if block.layer is not None else ""),
    )


def _chi(function: Activation, sigma_w: Scale, sigma_b: Scale, q0: float) -> tuple[float, float]:
    """chi_1 at the fixed point, and its standard error from those of the gains."""
    w, b = _around(sigma_w, sigma_b, 1.0)
    chi = solve(function, w, b, q0)["chi_1"]
    off = np.abs(chi[1:] - chi[0])
    return float(chi[0]), float(np.hypot(off[:2].max(), off[2:].max()))


def _around(sigma_w: Scale, sigma_b: Scale, errors: float) -> tuple[np.ndarray, np.ndarray]:
    """The gains, then each moved down and up by so many standard errors."""
    w, b = sigma_w.value, sigma_b.value
    dw, db = min(errors * sigma_w.error, 0.99 * w), errors * sigma_b.error
    return np.array([w, w - dw, w + dw, w, w]), np.array([b, b, b, max(b - db, 0.0), b + db])


def _phase(chi_1: float, error: float) -> Phase | None:
    if np.isnan(chi_1):
        return None
    near = abs(chi_1 - 1) <= max(CERTAIN * error, CRITICAL)
    return Phase.CRITICAL if near else phase_of(chi_1)


def _summary(network: Architecture, layers: tuple[LayerDiagnosis, ...], q0: float) -> Diagnosis:
    used = [layer for layer in layers if layer.function is not None and layer.weights.sigma_w.value > 0]
    functions = [layer.function for layer in used if layer.function is not None]
    common = functions[0] if functions and all(same_activation(functions[0], f) for f in functions) else None
    sigma_w, sigma_b = _pooled(used)
    field, gain, no_gain = None, np.nan, ""
    depth, depth_range = np.nan, (np.nan, np.nan)
    if common is not None:
        field = mean_field(common, sigma_w.value, sigma_b.value, q0=q0)
        chi_1, error = _chi(common, sigma_w, sigma_b, q0)
        depth, depth_range = _depth(common, sigma_w, sigma_b, q0)
        if _phase(chi_1, error) is Phase.CRITICAL:
            depth_range = (depth_range[0], np.inf)
        gain, no_gain = _critical_gain(common, sigma_b.value, q0)
    else:
        chi_1, error = _mean_chi(used)
    phase = _phase(chi_1, error)
    return Diagnosis(
        network.name,
        network.inputs,
        q0,
        layers,
        common,
        sigma_w,
        sigma_b,
        field,
        chi_1,
        error,
        phase,
        depth,
        depth_range,
        gain,
        _structure(network),
        tuple(warnings(network, layers, common, None if phase is Phase.CRITICAL else field, no_gain)),
    )


def _pooled(layers: list[LayerDiagnosis]) -> tuple[Scale, Scale]:
    """Geometric mean of sigma_w and root mean square of sigma_b, over layers."""
    if not layers:
        return Scale(np.nan, np.nan), Scale(np.nan, np.nan)
    w = np.array([[layer.weights.sigma_w.value, layer.weights.sigma_w.error] for layer in layers]).T
    b = np.array([[layer.weights.sigma_b.value, layer.weights.sigma_b.error] for layer in layers]).T
    mean = float(np.exp(np.log(w[0]).mean()))
    root = float(np.sqrt((b[0] ** 2).mean()))
    bias_error = float(np.linalg.norm(b[0] * b[1])) / (len(layers) * root) if root > 0 else 0.0
    return Scale(mean, mean * float(np.linalg.norm(w[1] / w[0])) / len(layers)), Scale(root, bias_error)


def _mean_chi(layers: list[LayerDiagnosis]) -> tuple[float, float]:
    """Geometric mean of chi_1 over layers with different activations."""
    chi = np.array([layer.chi_1 for layer in layers])
    if not len(chi) or not (chi > 0).all():
        return np.nan, np.nan
    errors = np.array([layer.chi_1_error for layer in layers])
    mean = float(np.exp(np.log(chi).mean()))
    return mean, mean * float(np.linalg.norm(errors / chi)) / len(chi)


def _depth(function: Activation, sigma_w: Scale, sigma_b: Scale, q0: float) -> tuple[float, tuple[float, float]]:
    """xi_c, and its range within three standard errors of the gains."""
    w, b = _around(sigma_w, sigma_b, CERTAIN)
    found = solve(function, w, b, q0)
    chi = found["chi_1"]
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = np.where(np.isinf(found["q"]) & (chi > 1 + CRITICAL), 1 / np.log(chi), found["xi_c"])
    high = np.inf if chi.min() <= 1 + CRITICAL and chi.max() >= 1 - CRITICAL else scales.max()
    return float(scales[0]), (float(scales.min()), float(high))


def _critical_gain(function: Activation, sigma_b: float, q0: float) -> tuple[float, str]:
    try:
        return critical_sigma_w(function, sigma_b, q0=q0), ""
    except InvalidInputError as error:
        return np.nan, str(error)


def _structure(network: Architecture) -> str:
    """Why a network is not a chain of dense layers."""
    for block in network.blocks:
        if block.norms:
            return f"{block.norms[0]} before {block.name} rescales the signal"
        if block.wiring and not (block.layer is None and block.bare):
            return f"before {block.name}, {block.wiring}"
        if block.weights and block.weights[0].conv is not None:
            return f"{block.weights[0].name} is a convolution"
        if block.weights and len(block.weights[0].matrix) != block.units:
            return f"{block.weights[0].name} is applied to several parts of its input"
    return ""


def _record(number: int, layer: LayerDiagnosis) -> dict[str, Any]:
    weights = layer.weights
    return {
        "number": number,
        "layer": layer.name,
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
