"""Upper bounds from histograms of image dimensions: Hinz and van de Geer 2019."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from netfold.arguments import checked, shown
from netfold.errors import InvalidInputError
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import Unit, cells, shape_of, unit_of, upper_kind

Histogram = Callable[[int, int, int], Sequence[int]]
"""``(dimension, units, knots) -> counts``: at i, the regions of one layer with i units on their slope."""


def _naive(dimension: int, units: int, knots: int) -> list[int]:
    """Every pattern, all of full dimension."""
    return [0] * units + [(1 + knots) ** units]


def _zaslavsky(dimension: int, units: int, knots: int) -> list[int]:
    """As many regions as the hyperplanes can cut, all of full dimension."""
    return [0] * units + [cells(units, dimension, knots)]


def _binomial(dimension: int, units: int, knots: int) -> list[int]:
    """``knots^j C(units, j)`` regions with j units flat, for j up to the dimension."""
    fewest = units - min(dimension, units)
    return [0] * fewest + [knots ** (units - i) * math.comb(units, i) for i in range(fewest, units + 1)]


HISTOGRAMS: Mapping[str, Histogram] = MappingProxyType(
    {"naive": _naive, "zaslavsky": _zaslavsky, "binomial": _binomial}
)


@checked
def hinz2019(
    inputs: int,
    widths: Iterable[int],
    histogram: str | Histogram = "binomial",
    activation: str | Unit = "relu",
) -> Bound:
    """Activation regions of a network, whatever the weights, from a histogram bound for one layer.

    ``|| B_{n_L} M ... B_{n_1} M e_{n_0} ||_1``: a vector counts regions by the dimension of their image;
    a layer replaces a region of dimension d by the histogram ``gamma_{min(d, n), n}``, clipped at d. The
    choice of gamma gives the known bounds as special cases:

    - ``naive``: ``2^n`` regions, all of full dimension: the bound ``2^N`` for N units in all;
    - ``zaslavsky``: ``sum_{j <= d} C(n, j)``, all of full dimension: Montúfar 2017;
    - ``binomial``: ``C(n, j)`` with j units off, ``j <= d``: Serra et al. 2018.

    For units with p knots and one sloped piece (hard-tanh: p = 2) the terms are ``p^j C(n, j)``: adding
    one unit to a layer lets every region keep its unit on the slope, and each of the p hyperplanes adds at
    most the regions of the other units on it. This extension is not in the paper.

    Args:
        inputs: input dimension n_0.
        widths: units of each hidden layer.
        histogram: ``"naive"``, ``"zaslavsky"``, ``"binomial"``, or a function of (dimension, units, knots)
            that returns ``units + 1`` integers, entry i for i units on their slope. Its sums over
            ``i >= i_0`` have to bound those of every layer and to grow with the dimension; neither is
            checked.
        activation: its name (``bounds.UNITS``) or a `bounds.Unit`.

    Returns:
        An exact integer. Counted are activation regions; linear regions are never more.

    Raises:
        InvalidInputError: a number is no positive integer, a name is unknown, or a unit that keeps its
            slope (leaky ReLU) is combined with a histogram that counts flat units.

    Source:
        Hinz and van de Geer, A Framework for the Construction of Upper Bounds on the Number of Affine
        Linear Regions of ReLU Feed-Forward Neural Networks (IEEE Trans. Inf. Theory 65, 2019): the main
        theorem (product of matrices B and M) and its corollaries.

    Example:
        >>> from netfold.theory import bounds
        >>> [int(bounds.hinz2019(2, [4, 4, 4], choice)) for choice in ("naive", "zaslavsky", "binomial")]
        [4096, 1331, 1331]
        >>> [int(bounds.hinz2019(3, [4, 4], choice)) for choice in ("naive", "zaslavsky", "binomial")]
        [256, 225, 161]
        >>> int(bounds.hinz2019(3, [4, 4], activation="hardtanh"))
        1665
    """
    n0, shape = shape_of(inputs, widths)
    unit = unit_of(activation)
    gamma = _histogram(histogram)
    if not unit.collapses and histogram not in ("naive", "zaslavsky"):
        raise InvalidInputError(
            f"histogram: {unit.name} units keep their slope, so no region's image loses a dimension; "
            f"expected 'naive' or 'zaslavsky', got {shown(histogram)}"
        )
    images = [0] * n0 + [1]
    for n in shape:
        images = _next_layer(images, n, unit.knots, gamma)
    kind = upper_kind(n0, shape, unit) if histogram in ("zaslavsky", "binomial") else Kind.GIVEN_NETWORK
    return Bound(sum(images), Statement(kind, "activation regions", "Hinz & van de Geer 2019, main theorem"))


def _histogram(histogram: str | Histogram) -> Histogram:
    if callable(histogram):
        return histogram
    if histogram not in HISTOGRAMS:
        raise InvalidInputError(
            f"histogram: expected one of {', '.join(HISTOGRAMS)} or a function, got {shown(histogram)}"
        )
    return HISTOGRAMS[histogram]


def _next_layer(images: list[int], n: int, knots: int, gamma: Histogram) -> list[int]:
    after = [0] * (min(len(images) - 1, n) + 1)
    for d, regions in enumerate(images):
        if not regions:
            continue
        d = min(d, n)
        counts = gamma(d, n, knots)
        if not hasattr(counts, "__len__") or len(counts) != n + 1:
            raise InvalidInputError(f"histogram: expected {n + 1} counts for a layer of {n} units, got {shown(counts)}")
        for i, count in enumerate(itertools.chain(counts[:d], [sum(counts[d:])])):
            after[i] += regions * count
    return after
