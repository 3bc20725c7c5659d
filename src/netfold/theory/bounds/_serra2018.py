"""Regions counted by the dimension of their images: Serra, Tjandraatmadja and Ramalingam 2018."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

from netfold.arguments import checked
from netfold.errors import InvalidInputError
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import RELU, cells, positive, shape_of, upper_kind


@checked
def serra2018_upper(inputs: int, widths: Iterable[int], ranks: Iterable[int] | None = None) -> Bound:
    """Activation regions of a ReLU network, whatever the weights: the tightest of the classical bounds.

    ``sum_{(j_1, ..., j_L) in J} prod_l C(n_l, j_l)`` with
    ``J = {0 <= j_l <= min(n_0, n_1 - j_1, ..., n_{l-1} - j_{l-1}, rank W_l)}``: a region in which j_l
    units of layer l are off has an image of at most ``n_l - j_l`` dimensions, and stays that thin.

    The sum is taken over the dimension of the image instead of over J, ``n_0`` states a layer, so deep and
    wide networks take milliseconds to seconds, not ``|J|`` terms.

    Args:
        inputs: input dimension n_0.
        widths: units n_l of each hidden layer.
        ranks: of each hidden layer's weight matrix; without them ``n_l`` stands for ``rank W_l`` and the
            bound holds for all weights.

    Returns:
        An exact integer. Counted are activation regions; linear regions are never more. It is the maximum
        for one layer, and for one input with layers of at least three units (Theorem 7).

    Raises:
        InvalidInputError: a number is no positive integer, or the ranks do not match the layers.

    Source:
        Serra et al., Bounding and Counting Linear Regions of Deep Neural Networks (ICML 2018), Theorem 1
        and the remark on ranks that follows its proof.

    Example:
        >>> from netfold.theory import bounds
        >>> [int(bounds.serra2018_upper(*shape)) for shape in ((1, [3, 3, 3]), (2, [4, 4, 4]), (2, [12]))]
        [64, 1331, 79]
        >>> int(bounds.serra2018_upper(3, [4, 4])), int(bounds.serra2018_upper(3, [4, 4], ranks=[3, 1]))
        (161, 75)
    """
    n0, shape = shape_of(inputs, widths)
    limits = shape if ranks is None else _ranks(ranks, shape)
    images = [0] * n0 + [1]  # images[d]: regions whose image has d dimensions
    for n, rank in zip(shape, limits, strict=True):
        images = next_images(images, n, rank)
    kind = upper_kind(n0, shape, RELU) if ranks is None else Kind.GIVEN_NETWORK
    assumes = "" if ranks is None else f"weight matrices of ranks at most {list(limits)}"
    return Bound(sum(images), Statement(kind, "activation regions", "Serra et al. 2018, Theorem 1", assumes))


def _ranks(ranks: Iterable[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    given = tuple(positive(rank, f"ranks[{i}]", 0) for i, rank in enumerate(ranks))
    if len(given) != len(shape):
        raise InvalidInputError(f"ranks: expected one for each of {len(shape)} hidden layers, got {len(given)}")
    return tuple(min(rank, n) for rank, n in zip(given, shape, strict=True))


def next_images(images: list[int], n: int, rank: int, knots: int = 1) -> list[int]:
    """Regions by image dimension after a layer of n units with one sloped piece.

    A region of dimension d gives ``knots^j C(n, j)`` regions of dimension ``min(d, n - j)`` for each
    ``j <= min(d, rank)``: dimension e is kept by ``d = e`` with ``j <= n - e``, and reached from any larger
    ``d >= n - e`` with exactly ``j = n - e``.
    """
    top = min(len(images) - 1, n)
    terms = [*itertools.accumulate(range(top), lambda c, j: c * knots * (n - j) // (j + 1), initial=1)]
    sums = [*itertools.accumulate(terms)]  # sums[k]: all j <= k
    at_least = [*itertools.accumulate(reversed(images))][::-1]  # at_least[d]: dimension d or more
    after = []
    for e in range(top + 1):
        kept = images[e] * sums[min(e, n - e, rank)]
        start = max(e + 1, n - e)
        falls = n - e <= rank and start < len(images)
        after.append(kept + (terms[n - e] * at_least[start] if falls else 0))
    return after


@checked
def serra2018_lower(inputs: int, widths: Iterable[int]) -> Bound:
    """Linear regions that some ReLU network of this shape has.

    ``prod_{l < L} (floor(n_l / n_0) + 1)^n_0 * sum_{j <= n_0} C(n_L, j)``: in each input coordinate
    ``floor(n_l / n_0)`` units fold a segment into one piece more than there are units, one of them facing
    the other way so that no piece is flat; the last layer cuts the folded cube.

    Args:
        inputs: input dimension n_0.
        widths: units n_l of each hidden layer, each at least ``3 n_0``.

    Returns:
        An exact integer: a lower bound on the maximum over weights of the number of linear regions (hence
        of activation regions). It says nothing of a given network.

    Raises:
        InvalidInputError: a layer has fewer than ``3 n_0`` units, or a number is no positive integer.

    Source:
        Serra et al. 2018, Theorem 8 (Theorem 6 of the first preprint).

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.serra2018_lower(2, [10, 10, 10])), int(bounds.montufar2014(2, [10, 10, 10]))
        (72576, 35000)
    """
    n0, shape = shape_of(inputs, widths, per_input=3, why="Theorem 8 needs three units an input in every layer")
    folds = math.prod((n // n0 + 1) ** n0 for n in shape[:-1])
    value = folds * cells(shape[-1], n0)
    return Bound(value, Statement(Kind.MAXIMUM, "linear regions", "Serra et al. 2018, Theorem 8"))


@checked
def serra2018_maxout(inputs: int, widths: Iterable[int], rank: int) -> Bound:
    """Activation regions of a maxout network, whatever the weights, from its hyperplanes.

    ``prod_l sum_{j <= d_l} C(k (k - 1) n_l / 2, j)`` with ``d_l = min(n_0, ..., n_l)``: a unit of rank k
    changes its winner on one of ``k (k - 1) / 2`` hyperplanes. `montufar2022_maxout_upper` is never larger.

    Args:
        inputs: input dimension n_0.
        widths: maxout units n_l of each hidden layer.
        rank: affine functions k that each unit takes the maximum of.

    Returns:
        An exact integer. Counted are activation regions: the winner of every unit is the same.

    Raises:
        InvalidInputError: a number is no positive integer, or the rank is below 2.

    Source:
        Serra et al. 2018, Theorem 10 (Theorem 8 of the first preprint).

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.serra2018_maxout(2, [3], 3)), int(bounds.montufar2022_maxout_upper(2, [3], 3))
        (46, 19)
    """
    n0, shape = shape_of(inputs, widths)
    k = positive(rank, "rank", 2)
    planes = math.comb(k, 2)
    value = math.prod(cells(planes * n, min((n0, *shape[: i + 1]))) for i, n in enumerate(shape))
    return Bound(value, Statement(Kind.GIVEN_NETWORK, "activation regions", "Serra et al. 2018, Theorem 10"))
