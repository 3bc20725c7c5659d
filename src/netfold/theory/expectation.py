"""What random weights would do along a path: growth and transitions, layer by layer, with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from netfold.errors import InvalidInputError
from netfold.paths import Polyline
from netfold.theory.activations import Activation, as_activation
from netfold.theory.crossings import crossing_rate
from netfold.theory.fixed_points import ActivationLike, check_gains
from netfold.theory.gaussian import Array
from netfold.theory.growth import Method, length_growth

if TYPE_CHECKING:
    from netfold.theory.diagnosis import Diagnosis


@dataclass(frozen=True, eq=False)
class Law:
    """The law that the weights of a chain of dense layers are drawn from.

    Attributes:
        activation: of all hidden layers; ``None`` where theory has none.
        sigma_w: of every layer, the readout last: standard deviation of a weight times the square root of its
            fan-in.
        sigma_b: of every layer, the readout last: standard deviation of a bias.
        reason: why theory does not speak of this network; empty where it does.
        caveat: what the numbers leave out, where they are given nevertheless.
    """

    activation: Activation | None
    sigma_w: Array
    sigma_b: Array
    reason: str = ""
    caveat: str = ""

    @classmethod
    def given(
        cls,
        activation: ActivationLike,
        sigma_w: float | Sequence[float],
        sigma_b: float | Sequence[float],
        layers: int,
    ) -> Law:
        """A law stated in numbers, one for all layers or one a layer.

        Raises:
            InvalidInputError: an unknown activation, gains out of range, or not as many as layers.

        Example:
            >>> Law.given("relu", 1.4, 0.0, layers=2).sigma_w.tolist()
            [1.4, 1.4]
        """
        scales = []
        for name, value in (("sigma_w", sigma_w), ("sigma_b", sigma_b)):
            listed = np.atleast_1d(np.asarray(value, np.float64))
            if listed.ndim != 1 or len(listed) not in (1, layers):
                raise InvalidInputError(
                    f"{name} must be one number, or one for each of {layers} layers with the readout, got {value!r}"
                )
            scales.append(np.broadcast_to(listed, (layers,)))
        for w, b in zip(*scales, strict=True):
            check_gains(float(w), float(b))
        return cls(as_activation(activation), *scales)

    @classmethod
    def of(cls, diagnosis: Diagnosis) -> Law:
        """The law that a network looks drawn from."""
        scales = [(layer.weights.sigma_w.value, layer.weights.sigma_b.value) for layer in diagnosis.layers]
        sigma_w, sigma_b = np.array(scales).reshape(-1, 2).T
        law = cls(diagnosis.activation, sigma_w, sigma_b, diagnosis.structure)
        odd = next((layer.note for layer in diagnosis.hidden if layer.function is None), "")
        if not law.reason and (odd or diagnosis.activation is None):
            law = replace(law, reason=odd or "its layers have no common activation")
        doubts = dict.fromkeys(d for layer in diagnosis.layers for d in layer.weights.doubts)
        if doubts:
            law = replace(law, caveat=f"for random weights of the same scale; {'; '.join(doubts)}")
        return law


@dataclass(frozen=True, eq=False)
class Expectation:
    """Means over random weights along one path; arrays hold one entry a layer.

    Attributes:
        growth: of the length, the readout last.
        growth_spread: standard deviation of one draw of the weights around it, at most; nan where unknown.
        growth_method: at what width that holds.
        transitions: state switches, summed over units; nan where there are no states.
        sign_transitions: crossings of 0, summed over units.
        first_spread: standard deviation of the sign transitions in the first layer; nan where unknown.
        no_growth: why there is no ``growth``, and ``no_transitions`` why there are no counts.
    """

    growth: Array
    growth_spread: Array
    growth_method: Method
    transitions: Array
    sign_transitions: Array
    first_spread: float
    no_growth: str = ""
    no_transitions: str = ""


def expect(law: Law, path: Any, widths: Sequence[int], outputs: int) -> Expectation:
    """What a network with these layers does to a path, on average over its weights.

    ReLU, leaky ReLU and linear layers of n units on k inputs stretch by ``sigma_w / sqrt(k) M(n)`` on average
    and by ``n sigma_w^2 / (2 k)`` in the mean square, at a point; averaging along the path can only narrow
    that, so the difference bounds the variance of one draw. Other activations: `length_growth` along this
    path, for infinite width, at the first layer's gain and the root mean square gain of the others. Transitions
    are those of `crossing_rate`
    along this path. On a straight line a unit of the first layer changes its sign at most once, so their number
    is binomial.

    Args:
        law: of the weights.
        path: a `netfold.Line`, `Polyline`, `Arc` or `Circle`.
        widths: hidden units of every layer.
        outputs: number of outputs.

    Example:
        >>> import netfold as nf
        >>> line = nf.Line([1.0, 0.0], [0.0, 1.0])
        >>> found = expect(Law.given("relu", 2**0.5, 0.0, layers=3), line, [10, 10], outputs=1)
        >>> found.growth.round(4).tolist(), found.sign_transitions.tolist()
        ([2.0921, 0.9356, 0.3568], [5.0, 5.0])
    """
    none = np.full(len(widths), np.nan)
    blank = Expectation(np.append(none, np.nan), np.append(none, np.nan), Method.INFINITE, none, none, np.nan)
    if law.reason or law.activation is None:
        return replace(blank, no_growth=law.reason, no_transitions=law.reason)
    if len(law.sigma_w) != len(widths) + 1:
        why = f"the law has {len(law.sigma_w)} layers with the readout, the trace {len(widths) + 1}"
        return replace(blank, no_growth=why, no_transitions=why)
    found = _growth(law, law.activation, path, widths, outputs, blank)
    return _transitions(law, law.activation, path, widths, found)


def _growth(
    law: Law, phi: Activation, path: Any, widths: Sequence[int], outputs: int, blank: Expectation
) -> Expectation:
    inputs = int(np.prod(path.shape, dtype=np.int64))
    if phi.homogeneous_gain is not None:
        unit = length_growth(phi, 1.0, width=widths, inputs=inputs, outputs=outputs)
        growth = law.sigma_w * unit.growth
        spread = np.sqrt(np.maximum(law.sigma_w**2 * unit.energy_growth - growth**2, 0))
        return replace(blank, growth=growth, growth_spread=spread, growth_method=unit.method)
    sigma_w, sigma_b, first = _pooled(law)
    try:
        curve = _scaled(path, first)
        found = length_growth(phi, sigma_w, sigma_b, widths, inputs=inputs, outputs=outputs, curve=curve)
    except InvalidInputError as error:
        return replace(blank, no_growth=str(error))
    growth = found.growth.copy()
    growth[0] *= first
    growth[-1] *= law.sigma_w[-1] / sigma_w
    return replace(blank, growth=growth, growth_method=found.method)


def _transitions(law: Law, phi: Activation, path: Any, widths: Sequence[int], found: Expectation) -> Expectation:
    sigma_w, sigma_b, first = _pooled(law)
    try:
        rates = crossing_rate(phi, sigma_w, sigma_b, len(widths), curve=_scaled(path, first))
    except InvalidInputError as error:
        return replace(found, no_transitions=str(error))
    once = float(rates.sign_transitions[0])
    straight = len(getattr(path, "vertices", ((),))[0]) == 2
    spread = np.sqrt(widths[0] * max(once * (1 - once), 0)) if straight else np.nan
    return replace(
        found,
        transitions=rates.transitions * widths,
        sign_transitions=rates.sign_transitions * widths,
        first_spread=float(spread),
        no_transitions="" if np.isfinite(rates.transitions).all() else "a smooth activation has no states to switch",
    )


def _pooled(law: Law) -> tuple[float, float, float]:
    """Root mean square gains of the hidden layers, and the first layer's gain over that of the others."""
    hidden = law.sigma_w[:-1]
    rest = hidden[1:] if len(hidden) > 1 else hidden
    sigma_w = float(np.sqrt((rest**2).mean()))
    return sigma_w, float(np.sqrt((law.sigma_b[:-1] ** 2).mean())), float(hidden[0] / sigma_w)


def _scaled(path: Any, factor: float) -> Any:
    """The path that the common gain takes to where the first layer's own gain takes the path."""
    if factor == 1:
        return path
    if hasattr(path, "vertices"):
        return Polyline(factor * path.vertices[1])
    if hasattr(path, "ellipse"):
        form = path.ellipse
        return replace(form, center=factor * form.center, u=factor * form.u, v=factor * form.v)
    return path
