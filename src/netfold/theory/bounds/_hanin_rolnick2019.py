"""Expected region counts at initialisation: Hanin and Rolnick 2019."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

from netfold.arguments import checked, shown
from netfold.errors import InvalidInputError
from netfold.theory.bounds._bound import Expectation, Kind, Statement
from netfold.theory.bounds._shape import choice, shape_of


class Cube(enum.Enum):
    """How the expected count in a cube is bounded."""

    THEOREM = "theorem"
    CORNER = "corner"


@checked
def hanin_rolnick2019(
    inputs: int,
    widths: Iterable[int],
    side: float = 1.0,
    sigma_w: float = math.sqrt(2.0),
    sigma_b: float = 1.0,
    gradient: float | None = None,
    form: Cube | str = Cube.THEOREM,
) -> Expectation:
    """Activation regions that a random ReLU network shows in a cube, on average at most.

    With N units, n inputs and a cube of side s:

    - ``theorem``, as printed: ``(T N)^n / n! * s^n`` with ``T = 2^5 C_grad C_bias``, for N at least n
      (``2^N`` otherwise) and for cubes larger than some s_0 that the theorem leaves open;
    - ``corner``, for every s: ``1 + sum_{1 <= k <= n} f_k C(N, k) (C_grad C_bias s)^k`` with ``f_n = 1`` and
      ``f_k = 2^(n - k - 1) C(n, k)``, half the faces of dimension k of the cube. Derived here from the same
      ingredients: each region in the cube has one lowest and one highest corner in a generic direction; a
      corner where k units meet inside a k-face is lowest for one region at most, and not also highest for
      one unless k = n; Kac-Rice bounds the expected number of such corners.

    Both grow with depth only through C_grad, and as ``N^n``, not exponentially.

    ``C_bias = 1 / (sigma_b sqrt(2 pi))`` is the largest density of a bias. ``C_grad`` bounds
    ``E[prod_{i in S} |grad z_i|]^(1/|S|)`` over sets S of at most n units. Without ``gradient`` it comes
    from Hölder's inequality and the exact moment ``E[|grad z|^n]^(1/n)`` at a point, largest over layers:
    ``|grad z|`` in layer l is a product of independent chi variables, ``sigma_w / sqrt(n_0) chi_{n_0}``
    times ``sigma_w / sqrt(n_j) chi_{K_j}`` with ``K_j ~ Binomial(n_j, 1/2)`` for each layer j < l.

    Args:
        inputs: input dimension n.
        widths: units of each hidden layer.
        side: of the cube.
        sigma_w: weights are N(0, sigma_w^2 / fan_in); the default is He initialisation.
        sigma_b: biases are N(0, sigma_b^2).
        gradient: C_grad, where another law of the weights is meant.
        form: a `Cube` or its name.

    Returns:
        A real number with ``log10`` (the float can overflow). It bounds an average over random weights: a
        given network can have more regions, and for many shapes the maximum is far larger.

    Raises:
        InvalidInputError: a number is not positive, or the form is unknown.

    Source:
        Hanin and Rolnick, Deep ReLU Networks Have Surprisingly Few Activation Patterns (NeurIPS 2019),
        Theorem 5; the Kac-Rice step is that of Complexity of Linear Regions in Deep Networks (ICML 2019).

    Example:
        >>> from netfold.theory import bounds
        >>> print(bounds.hanin_rolnick2019(2, [10, 10, 10], form="corner"))
        173.316
        >>> print(bounds.hanin_rolnick2019(2, [10, 10, 10]))
        146677
    """
    n, shape = shape_of(inputs, widths)
    for name, value in {"side": side, "sigma_w": sigma_w, "sigma_b": sigma_b, "gradient": gradient}.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InvalidInputError(f"{name}: expected a positive number, got {shown(value)}")
    log_gradient = math.log(gradient) if gradient else _log_gradient(n, shape, sigma_w)
    log_rate = log_gradient - math.log(sigma_b * math.sqrt(2 * math.pi)) + math.log(side)
    count = _theorem if choice(Cube, form, "form") is Cube.THEOREM else _corner
    log_count = count(n, sum(shape), log_rate)
    statement = Statement(
        Kind.EXPECTATION,
        f"activation regions in a cube of side {side:g}",
        "Hanin & Rolnick 2019, Theorem 5",
        f"random biases N(0, {sigma_b:g}^2), " + (f"C_grad = {gradient:g}" if gradient else _law(sigma_w)),
    )
    return Expectation(log_count / math.log(10), statement)


def _law(sigma_w: float) -> str:
    return f"weights N(0, {sigma_w:g}^2 / fan_in)"


def _theorem(n: int, units: int, log_rate: float) -> float:
    if units < n:
        return units * math.log(2)
    return n * (math.log(32 * units) + log_rate) - math.lgamma(n + 1)


def _corner(n: int, units: int, log_rate: float) -> float:
    terms = [0.0]
    for k in range(1, min(n, units) + 1):
        faces = _log_comb(n, k) + max(0, n - k - 1) * math.log(2)
        terms.append(faces + _log_comb(units, k) + k * log_rate)
    return _log_sum(terms)


def _log_sum(logarithms: list[float]) -> float:
    """Logarithm of a sum, from the logarithms of its terms."""
    largest = max(logarithms)
    return largest + math.log(sum(math.exp(term - largest) for term in logarithms))


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_gradient(n: int, shape: tuple[int, ...], sigma_w: float) -> float:
    """Largest over layers of ``log E[|grad z|^n]^(1/n)``."""
    log_moment = n * math.log(sigma_w / math.sqrt(n)) + _log_chi(n, n)
    largest = log_moment
    for width in shape[:-1]:
        active = range(1, width + 1)
        mixture = [_log_comb(width, k) - width * math.log(2) + _log_chi(k, n) for k in active]
        log_moment += n * math.log(sigma_w / math.sqrt(width)) + _log_sum(mixture)
        largest = max(largest, log_moment)
    return largest / n


def _log_chi(degrees: int, power: int) -> float:
    """``log E[chi^power]`` for a chi variable."""
    return power / 2 * math.log(2) + math.lgamma((degrees + power) / 2) - math.lgamma(degrees / 2)
