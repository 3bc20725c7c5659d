"""What random weights would do along a path: growth and transitions, layer by layer, with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netfold.arguments import Depth, PositiveInt, checked, shown
from netfold.errors import InvalidInputError
from netfold.paths import Path
from netfold.theory.activations import Activation, as_activation
from netfold.theory.crossings import crossing_rate
from netfold.theory.diagnosis import Diagnosis
from netfold.theory.fixed_points import ActivationLike, gains_by_layer
from netfold.theory.gaussian import Array
from netfold.theory.growth import Method, length_growth


@dataclass(frozen=True, eq=False)
class Law:
    """The law that the weights of a chain of dense layers are drawn from.

    Attributes:
        activation: of all hidden layers; ``None`` where theory has none.
        sigma_w: of every layer, the readout last where there is one: standard deviation of a weight times the
            square root of its fan-in.
        sigma_b: likewise: standard deviation of a bias.
        gaussian: whether weights and biases are Gaussian; what is exact at finite width is so for these alone.
        reason: why theory does not speak of this network; empty where it does.
        caveat: what the numbers leave out, where they are given nevertheless.
    """

    activation: Activation | None
    sigma_w: Array
    sigma_b: Array
    gaussian: bool = True
    reason: str = ""
    caveat: str = ""

    @classmethod
    @checked
    def given(
        cls,
        activation: ActivationLike,
        sigma_w: float | Sequence[float],
        sigma_b: float | Sequence[float],
        layers: Depth,
    ) -> Law:
        """A law stated in numbers, one for all layers or one a layer; of Gaussian weights.

        Args:
            activation: as for `mean_field`.
            sigma_w: gains, and ``sigma_b`` standard deviations of the biases.
            sigma_b: standard deviations of the biases.
            layers: how many layers there are, with the readout.

        Raises:
            InvalidInputError: an unknown activation, gains out of range, or not as many as layers.

        Example:
            >>> Law.given("relu", 1.4, 0.0, layers=2).sigma_w.tolist()
            [1.4, 1.4]
        """
        return cls(as_activation(activation), *gains_by_layer(sigma_w, sigma_b, layers))

    @classmethod
    @checked
    def of(cls, diagnosis: Diagnosis) -> Law:
        """The law that a network looks drawn from.

        Args:
            diagnosis: of the network.
        """
        weights = [layer.weights for layer in diagnosis.layers]
        sigma_w, sigma_b = (np.array([getattr(w, name).value for w in weights]) for name in ("sigma_w", "sigma_b"))
        odd = next((layer.note for layer in diagnosis.hidden if layer.function is None), "")
        mixed = "its layers have no common activation" if diagnosis.activation is None else ""
        doubts = [f"in '{layer.name}' {doubt}" for layer in diagnosis.layers for doubt in layer.weights.doubts]
        more = f" (and {len(doubts) - 1} more: see nf.diagnose)" if len(doubts) > 1 else ""
        odd_tails = next((w for w in weights if not w.gaussian), None)
        caveat = f"for random weights of the same scale, which these are not: {doubts[0]}{more}" if doubts else ""
        if odd_tails is not None and not doubts:
            caveat = f"for wide layers, as its weights are not Gaussian (kurtosis {odd_tails.kurtosis:.2g}, not 3)"
        reason = diagnosis.structure or odd or mixed
        return cls(
            diagnosis.activation,
            sigma_w,
            sigma_b,
            odd_tails is None,
            reason,
            "" if reason else caveat,
        )


@dataclass(frozen=True, eq=False)
class Expectation:
    """Means over random weights along one path; arrays hold one entry a layer.

    Attributes:
        growth: of the length, the readout last.
        growth_spread: standard deviation of one draw of the weights around it, at most; nan where unknown.
        growth_method: at what width that holds.
        transitions: state switches, summed over units; nan where there are no states.
        sign_transitions: crossings of 0, summed over units.
        first_method: at what width the counts of the first layer hold; those of later ones are for infinite width.
        first_spread: standard deviation of the sign transitions in the first layer; nan where unknown.
        no_growth: why there is no ``growth``, and ``no_transitions`` why there are no counts.
        no_transitions: why there are no counts.
    """

    growth: Array
    growth_spread: Array
    growth_method: Method
    transitions: Array
    sign_transitions: Array
    first_method: Method
    first_spread: float
    no_growth: str = ""
    no_transitions: str = ""


@checked
def expect(law: Law, path: Any, widths: Sequence[PositiveInt], outputs: PositiveInt) -> Expectation:
    """What a network with these layers does to a path, on average over its weights.

    Growth is that of `length_growth` along this path, transitions those of `crossing_rate`, with the gains of
    every layer. ReLU, leaky ReLU and linear layers of n units on k inputs stretch by ``sigma_w / sqrt(k) M(n)``
    on average and by ``n sigma_w^2 g / k`` in the mean square at a point (g = 1/2 for ReLU); averaging along the
    path can only narrow that, so the difference bounds the variance of one draw. On a straight line, and without
    biases on up to half an ellipse around 0, a unit of the first layer changes its sign at most once, so their
    number is binomial; on a whole ellipse around 0 all of them change it twice.

    Args:
        law: of the weights.
        path: a `netfold.Line`, `Polyline`, `Arc` or `Circle`.
        widths: hidden units of every layer.
        outputs: number of outputs.

    Returns:
        The means, with why there are none where there are none.

    Raises:
        InvalidInputError: the law is of another number of layers.

    Example:
        >>> import netfold as nf
        >>> line = nf.Line([1.0, 0.0], [0.0, 1.0])
        >>> found = expect(Law.given("relu", 2**0.5, 0.0, layers=3), line, [10, 10], outputs=1)
        >>> found.growth.round(4).tolist(), found.sign_transitions.tolist()
        ([2.0921, 0.9356, 0.3568], [5.0, 5.0])
    """
    if not isinstance(path, Path):
        raise InvalidInputError(f"path must be a path, such as nf.Line, got {shown(path)}")
    none = np.full(len(widths), np.nan)
    holds = Method.EXACT if law.gaussian else Method.INFINITE
    blank = Expectation(np.append(none, np.nan), np.append(none, np.nan), holds, none, none, holds, np.nan)
    if law.reason or law.activation is None:
        return replace(blank, no_growth=law.reason, no_transitions=law.reason)
    if len(law.sigma_w) - len(widths) not in (0, 1):
        raise InvalidInputError(
            f"the law has {len(law.sigma_w)} layers with the readout, what was traced {len(widths) + 1}: give the "
            "law of the network that was traced"
        )
    found = _growth(law, law.activation, path, widths, outputs, blank)
    return _transitions(law, law.activation, path, widths, found)


def _growth(
    law: Law, phi: Activation, path: Any, widths: Sequence[int], outputs: int, blank: Expectation
) -> Expectation:
    inputs = int(np.prod(path.shape, dtype=np.int64))
    read_out = len(law.sigma_w) > len(widths)
    along = "circle" if phi.homogeneous_gain is not None else path  # homogeneous ones treat all curves alike
    try:
        found = length_growth(
            phi, law.sigma_w, law.sigma_b, widths, inputs=inputs, outputs=outputs if read_out else None, curve=along
        )
    except InvalidInputError as error:
        return replace(blank, no_growth=str(error))
    same = [] if read_out else [1.0]  # what no weights read stays as long as it is
    growth, energy = np.append(found.growth, same), np.append(found.energy_growth, same)
    exact = found.method is Method.EXACT
    spread = np.sqrt(np.maximum(energy - growth**2, 0)) if exact else blank.growth_spread
    method = found.method if law.gaussian else Method.INFINITE
    return replace(blank, growth=growth, growth_spread=spread, growth_method=method)


def _transitions(law: Law, phi: Activation, path: Any, widths: Sequence[int], expected: Expectation) -> Expectation:
    try:
        hidden = slice(len(widths))
        rates = crossing_rate(phi, law.sigma_w[hidden], law.sigma_b[hidden], len(widths), curve=path)
    except InvalidInputError as error:
        return replace(expected, no_transitions=str(error))
    return replace(
        expected,
        transitions=rates.transitions * widths,
        sign_transitions=rates.sign_transitions * widths,
        first_spread=_first_spread(path, float(rates.sign_transitions[0]), widths[0], bool(law.sigma_b[0] > 0)),
        no_transitions="" if np.isfinite(rates.transitions).all() else "a smooth activation has no states to switch",
    )


def _first_spread(path: Any, rate: float, units: int, biased: bool) -> float:
    """Standard deviation of the first layer's sign transitions, where their law is known; otherwise nan."""
    around = not biased and hasattr(path, "ellipse") and not np.any(path.ellipse.center)
    if around and np.isclose(path.ellipse.angle, 2 * np.pi):
        return 0.0
    if len(getattr(path, "vertices", ((),))[0]) == 2 or (around and path.ellipse.angle <= np.pi):
        return float(np.sqrt(units * max(rate * (1 - rate), 0)))
    return float("nan")
