"""What the literature states about the growth of length, as printed or rederived."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from netfold.arguments import Gain, PositiveInt, Spread, Within, checked
from netfold.errors import InvalidInputError
from netfold.theory.activations import as_activation
from netfold.theory.chi import chi_mean


@checked
def raghu2017_growth(activation: str, width: PositiveInt, sigma_w: Gain, sigma_b: Spread = 0.0) -> float:
    """The base of Raghu et al.'s exponential growth theorem, as printed.

        ReLU:       sigma_w sqrt(k) / sqrt(k + 1)
        hard-tanh:  sigma_w sqrt(k) / sqrt(sigma_w^2 + sigma_b^2 + k sqrt(sigma_w^2 + sigma_b^2))

    The theorem reads E[length after d layers] >= O(base^d) times the length of the input. The O() hides a
    constant per layer, so **base^d is not a lower bound that a measurement must obey**: for hard-tanh with
    sigma_w^2 = 8 and k = 128 the base is 1.664, infinite width gives 1.572 and simulation 1.56; for ReLU with
    sigma_w^2 = 2 and k = 100 the base is 1.407 where the exact growth is 0.9937. For predictions use
    `length_growth`.

    An earlier version prints the hard-tanh base as sigma_w / (sigma_w^2 + sigma_b^2)^(1/4) sqrt(k) /
    sqrt(sqrt(sigma_w^2 + sigma_b^2) + k), the same number: with s^2 = sigma_w^2 + sigma_b^2 both denominators
    are sqrt(s^2 + k s).

    Assumptions: k units in every layer, weights N(0, sigma_w^2 / k), biases N(0, sigma_b^2), a curve whose
    direction has a component perpendicular to it everywhere (no line through 0).

    Args:
        activation: "relu" or "hardtanh"; the theorem has no other case.
        width: k.
        sigma_w: standard deviation of a weight times sqrt(k).
        sigma_b: standard deviation of a bias.

    Raises:
        InvalidInputError: another activation, a width below 1, bad gains.

    Source: Raghu et al. 2017, Theorem 3 (both cases); Theorem 1 of the ICLR 2017 submission (hard-tanh).

    Example:
        >>> round(raghu2017_growth("hardtanh", 128, math.sqrt(8)), 3)
        1.664
    """
    phi = as_activation(activation)
    if phi == as_activation("relu"):
        return sigma_w * math.sqrt(width) / math.sqrt(width + 1)
    if phi == as_activation("hardtanh"):
        total = sigma_w**2 + sigma_b**2
        return sigma_w * math.sqrt(width) / math.sqrt(total + width * math.sqrt(total))
    raise InvalidInputError(f"the theorem covers 'relu' and 'hardtanh', got {phi.name!r}: use length_growth")


@checked
def hanin2022(
    widths: Sequence[PositiveInt],
    inputs: PositiveInt,
    outputs: PositiveInt | None = None,
    *,
    readout_variance: Gain = 2.0,
) -> float:
    """Expected length distortion of a ReLU network at He initialisation, to first order in 1/width.

        E[length of the image] / length of the curve = f exp(-5/8 sum_l 1/n_l + O(sum_l 1/n_l^2)),

        f = sqrt(n_d / n_0)                                             after hidden layer d,
        f = sqrt(2 v / n_0) Gamma((n_out + 1) / 2) / Gamma(n_out / 2)   after the readout.

    With the usual variance 2 / fan_in, length does not grow with depth but shrinks slightly. `length_growth`
    has the product behind it without the expansion.

    Assumptions: weights N(0, 2 / fan_in), readout weights N(0, v / fan_in), any symmetric biases, any smooth
    curve.

    Args:
        widths: hidden widths n_1, ..., n_d.
        inputs: n_0.
        outputs: n_out, for the length in the output; None for the last hidden layer.
        readout_variance: v.

    Raises:
        InvalidInputError: sizes below 1, no hidden layer, a variance that is not positive.

    Source: Hanin, Jeong and Rolnick 2022 (Deep ReLU networks preserve expected length), the theorem on the
    mean; the constants are rederived here from the exact finite-width product.

    Example:
        >>> round(hanin2022([100] * 5, inputs=100), 5)
        0.96923
    """
    if not widths:
        raise InvalidInputError("widths must list at least one hidden layer, it is empty")
    shrink = math.exp(-0.625 * sum(1 / n for n in widths))
    if outputs is None:
        return math.sqrt(widths[-1] / inputs) * shrink
    return math.sqrt(readout_variance / inputs) * chi_mean(outputs) * shrink


@checked
def price_tanner2019(sigma_w: Gain, kept: Annotated[float, Within(1e-100, 1)] = 1.0) -> float:
    """A lower bound on the expected length growth per layer of a sparse random ReLU network.

        alpha sigma_w / sqrt(2 pi)

    where each weight is kept with probability alpha and is N(0, sigma_w^2 / k) if kept. It holds at every
    width with equally many inputs and units, for every curve: E|w . u| >= alpha sqrt(2 / pi) sigma_w /
    sqrt(k) ||u|| for one row w, a unit is on with probability 1/2 whatever its speed, and a norm is at least
    the sum of the entries' sizes over sqrt(k).

    Assumptions: biases with a symmetric law that has a density, so that no unit is exactly at 0.

    Args:
        sigma_w: standard deviation of a kept weight times sqrt(k).
        kept: alpha, in (0, 1].

    Raises:
        InvalidInputError: a gain that is not positive, ``kept`` outside (0, 1].

    Source: the method is Price and Tanner 2019 (Trajectory growth lower bounds for random sparse deep ReLU
    networks); this constant is derived here.

    Example:
        >>> round(price_tanner2019(sigma_w=math.sqrt(2), kept=0.5), 4)
        0.2821
    """
    return kept * sigma_w / math.sqrt(2 * math.pi)
