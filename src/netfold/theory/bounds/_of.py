"""The bounds of a given network, from its captured program."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netfold.arguments import PositiveInt, checked
from netfold.capture import Model, NodeKind, Program
from netfold.capture.capture import captured
from netfold.errors import InvalidInputError, NotPiecewiseLinearError
from netfold.results.base import above
from netfold.theory.architecture import Architecture, read_architecture
from netfold.theory.bounds._arora2018 import arora2018
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._montufar2014 import montufar2014, montufar2014_maxout
from netfold.theory.bounds._montufar2022 import montufar2022_maxout_lower, montufar2022_maxout_upper
from netfold.theory.bounds._network import (
    CountedUnits,
    all_convolutions,
    common_unit,
    convolutions,
    dense_relu_widths,
    maxout_rank,
    rank,
)
from netfold.theory.bounds._pascanu2013 import pascanu2013
from netfold.theory.bounds._serra2018 import next_images, serra2018_lower, serra2018_maxout
from netfold.theory.bounds._shape import positive, upper_kind
from netfold.theory.bounds._table import Row, TableRows
from netfold.theory.bounds._xiong2020 import xiong2020_lower, xiong2020_upper

LARGEST = 2_000_000_000
"""Above this sum over layers of squared dimensions, some seconds, a product of sums is not evaluated."""

LARGEST_TABLE = 100_000_000
"""Above this sum over layers of squared dimensions, a second, regions are not counted by dimension."""

RANDOM = (
    "it speaks of random weights, not of these: call bounds.hanin_rolnick2019(inputs, widths, sigma_w=..., "
    "sigma_b=...) with the law they are drawn from"
)


@dataclass(frozen=True, repr=False)
class NetworkBounds(TableRows):
    """What the theorems say about a given network; see `of`.

    Attributes:
        name: class of the model.
        inputs: input dimension.
        dimension: of the part of the input space in which regions are counted.
        layers: the units of every nonlinearity, in order.
        rows: one for each bound; those that do not apply say why.
    """

    name: str
    inputs: int
    dimension: int
    layers: tuple[CountedUnits, ...]
    rows: tuple[Row, ...]

    plot = above("netfold.plots.bounds:network")

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every nonlinearity."""
        return tuple(layer.count for layer in self.layers)

    @property
    def title(self) -> str:
        """The network in a line."""
        ops = dict.fromkeys(layer.op for layer in self.layers)
        widths = " ".join(map(str, self.widths[:12])) + (" ..." if len(self.layers) > 12 else "")
        where = "" if self.dimension == self.inputs else f" (regions in {self.dimension} dimensions)"
        where = " (regions on a line)" if self.dimension == 1 < self.inputs else where
        return f"{self.name}: {self.inputs} inputs{where}, {' and '.join(ops)} widths {widths}"

    def __repr__(self) -> str:
        return f"{self.title}\n{self.to_text()}"


@checked
def of(
    model: Model,
    point: Any = None,
    *,
    shape: Sequence[int] | None = None,
    dimension: PositiveInt | None = None,
    only: Sequence[str] | None = None,
) -> NetworkBounds:
    """The bounds that apply to a given network, and why the others do not.

    Inside a region of the layers before it, every pre-activation is an affine function of the m inputs,
    however the layers are wired: dense, convolutional, pooled or residual. So a layer of n units with p knots
    cuts each region into at most ``sum_{i <= m} p^i C(n, i)`` parts, and the product over layers bounds every
    piecewise-linear network (``raghu2017``). A maximum of k entries counts as k - 1 knots (Montúfar, Ren and
    Zhang 2022).

    - ``montufar2017`` puts the dimension of what is left in the place of m: the image of a region in *all*
      values that later layers read has no more dimensions than there are such values, here or anywhere
      before. In a chain these are the widths; skip connections keep theirs alive (derived here).
    - ``serra2018_upper`` (``hinz2019 (binomial)`` where not all units are ReLUs) also counts the units that
      are flat. It needs a chain: what a flat unit loses, a skip connection still carries. With ``(ranks)``
      the numerical ranks of this network's own matrices enter, normalisation and factors multiplied in.
    - ``xiong2020_upper`` counts the first layer by its windows where it is a convolution.
    - Lower bounds say what *some* network of this shape has; they need dense ReLU layers with biases, or
      convolutions (``xiong2020_lower``), or maxout units. This network may have far fewer.

    Args:
        model: a module in evaluation mode, or a captured program.
        point: one input, without batch axis; only its shape matters.
        shape: the shape of one input, instead of ``point``. Neither is needed where the first weights are those of
            a dense layer that reads the whole input.
        dimension: count regions in an affine part of the input space with that many dimensions: 1 bounds the
            regions that a straight line can cross.
        only: names of the rows to evaluate; all by default.

    Returns:
        A table. Counted are activation regions (lower bounds count linear ones, which are never more).

    Raises:
        NotPiecewiseLinearError: the network has no regions, because of an operation that the message names.
        InvalidInputError: no nonlinearity, a dimension that is not one of 1, ..., inputs, or a name that is none of
            this network's rows.
        CaptureError: the model cannot be captured.

    Source:
        The theorems that the rows name.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=10, depth=3, sigma_b=0.5)
        >>> found = nf.bounds.of(net)
        >>> int(found.upper), int(found.lower)
        (175616, 72576)
        >>> int(nf.bounds.of(net, dimension=1).upper)
        1331
    """
    program = captured(model, point, shape)
    _require_regions(program)
    network = read_architecture(program)
    taken = network.inputs if dimension is None else positive(dimension, "dimension")
    if taken > network.inputs:
        raise InvalidInputError(f"dimension: {program.name} has {network.inputs} inputs, got {dimension}")
    layers = tuple(CountedUnits.of(block, layer) for block, layer in zip(network.hidden, program.layers, strict=True))
    calls = dict(_calls(network, layers, taken))
    unknown = [name for name in only or () if name not in calls]
    if unknown:
        raise InvalidInputError(f"only: no bound {unknown[0]!r} for this network; there are {', '.join(calls)}")
    rows = tuple(_row(name, call) for name, call in calls.items() if only is None or name in only)
    return NetworkBounds(program.name, network.inputs, taken, layers, rows)


def _require_regions(program: Program) -> None:
    for node in program.nodes:
        if node.kind is NodeKind.OTHER:
            raise NotPiecewiseLinearError(
                f"{program.name} has no regions to bound: {node.describe()} is not piecewise linear; "
                "theory.mean_field and theory.length_growth speak of smooth networks"
            )
    if not program.layers:
        raise InvalidInputError(
            f"{program.name} has no nonlinearity: it is one affine function, with one region, so there is "
            "nothing to bound"
        )


def _calls(
    network: Architecture, layers: tuple[CountedUnits, ...], m: int
) -> Iterator[tuple[str, Callable[[], Bound]]]:
    unit, widths = common_unit(network), tuple(layer.count for layer in layers)
    kind = Kind.GIVEN_NETWORK if unit is None else upper_kind(m, widths, unit)
    yield "hinz2019 (naive)", lambda: _every_pattern(layers)
    yield "raghu2017", lambda: _full_dimension(layers, m, kind)
    yield "montufar2017", lambda: _what_is_left(network, layers, m, kind)
    sharpest, with_ranks = _sharpest(layers)
    if sharpest:
        yield sharpest, lambda: _thinning(network, layers, m, kind)
    yield with_ranks, lambda: _ranked(network, layers, m)
    if any(weight.conv is not None for block in network.blocks for weight in block.weights):
        yield "xiong2020_upper", lambda: _windows_first(network, layers, m)
        yield "xiong2020_lower", lambda: _folded_windows(network, m)
    if all(layer.selects for layer in layers):
        for bound in _MAXOUT:
            yield bound.__name__, lambda f=bound: f(m, widths, maxout_rank(network))
    else:
        for bound in (serra2018_lower, montufar2014, pascanu2013, arora2018):
            yield bound.__name__, lambda f=bound: f(m, dense_relu_widths(network))
    yield "hanin_rolnick2019", _about_random_weights


_MAXOUT = (serra2018_maxout, montufar2022_maxout_upper, montufar2022_maxout_lower, montufar2014_maxout)


def _row(name: str, call: Callable[[], Bound]) -> Row:
    try:
        return Row(name, call())
    except InvalidInputError as error:  # the network is captured: only a theorem's own condition is left
        return Row(name, None, str(error))


def _about_random_weights() -> Bound:
    raise InvalidInputError(RANDOM)


def _every_pattern(layers: tuple[CountedUnits, ...]) -> Bound:
    value = math.prod(layer.cells(layer.count) for layer in layers)
    return _upper(value, Kind.GIVEN_NETWORK, "every pattern of the units")


def _full_dimension(layers: tuple[CountedUnits, ...], m: int, kind: Kind) -> Bound:
    value = _product_bound(layers, [m] * len(layers))
    return _upper(value, kind, _source("Raghu et al. 2017, Theorem 1", layers))


def _what_is_left(network: Architecture, layers: tuple[CountedUnits, ...], m: int, kind: Kind) -> Bound:
    dimensions, left = [], m
    for layer in layers:
        dimensions.append(min(left, layer.entering))
        left = min(dimensions[-1], layer.leaving)
    source = _source("Montúfar 2017", layers)
    source += "" if network.chained else "; its argument taken over all values that later layers read"
    return _upper(_product_bound(layers, dimensions), kind, source)


def _product_bound(layers: Sequence[CountedUnits], dimensions: Sequence[int]) -> int:
    pairs = list(zip(layers, dimensions, strict=True))
    _require_affordable(sum(d * d for layer, d in pairs if d < layer.count), LARGEST)
    return math.prod(layer.cells(d) for layer, d in pairs)


def _sharpest(layers: tuple[CountedUnits, ...]) -> tuple[str, str]:
    """Names of the bound that counts flat units, and of the one that also knows ranks."""
    if not any(layer.collapses for layer in layers):
        return "", "montufar2017 (ranks)"
    if all(layer.collapses and layer.cuts == 1 for layer in layers):
        return "serra2018_upper", "serra2018_upper (ranks)"
    return "hinz2019 (binomial)", "hinz2019 (binomial, ranks)"


def _thinning(network: Architecture, layers: tuple[CountedUnits, ...], m: int, kind: Kind) -> Bound:
    if not any(layer.collapses for layer in layers):
        raise InvalidInputError("no layer has units that are flat on all pieces but one: none loses dimensions")
    value = _by_image(network, layers, m, [layer.entering for layer in layers])
    return _upper(value, kind, _thinning_source(layers))


def _ranked(network: Architecture, layers: tuple[CountedUnits, ...], m: int) -> Bound:
    _require_no_skips(network)
    ranks = [rank(network, number) for number in range(len(layers))]
    value = _by_image(network, layers, m, ranks)
    assumes = f"its matrices have at most the ranks {ranks} (numerical ones, where a matrix is small enough)"
    return _upper(value, Kind.GIVEN_NETWORK, _thinning_source(layers), assumes)


def _by_image(network: Architecture, layers: tuple[CountedUnits, ...], m: int, ranks: Sequence[int]) -> int:
    """Regions counted by the dimension of their images: Serra et al. and Hinz, for units of several kinds."""
    _require_no_skips(network)
    _require_affordable(sum(min(m, layer.count) ** 2 for layer in layers), LARGEST_TABLE)
    images = [0] * m + [1]
    for layer, limit in zip(layers, ranks, strict=True):
        if layer.collapses:
            images = next_images(images, layer.count, limit, layer.cuts)
        else:
            images = _keeping(images, layer, limit)
    return sum(images)


def _keeping(images: list[int], layer: CountedUnits, limit: int) -> list[int]:
    """Regions by image dimension after a layer in which no unit is sure to lose one."""
    top = min(len(images) - 1, limit)
    after = [0] * (top + 1)
    terms = itertools.accumulate(range(top), lambda c, j: c * layer.cuts * (layer.count - j) // (j + 1), initial=1)
    parts = [*itertools.accumulate(terms)]
    for d, regions in enumerate(images):
        after[min(d, top)] += regions * parts[min(d, top)]
    left = min(top, layer.leaving)
    return [*after[:left], sum(after[left:])]


def _thinning_source(layers: tuple[CountedUnits, ...]) -> str:
    relu = _sharpest(layers) == "serra2018_upper"
    return _source("Serra et al. 2018, Theorem 1" if relu else "Hinz & van de Geer 2019, main theorem", layers)


def _windows_first(network: Architecture, layers: tuple[CountedUnits, ...], m: int) -> Bound:
    """The count of the first layer by its windows, times the product bound of the others."""
    _require_whole(network, m)
    first = xiong2020_upper(*convolutions(network.hidden[:1]))
    value = int(first) * _product_bound(layers[1:], [m] * (len(layers) - 1))
    return _upper(value, Kind.GIVEN_NETWORK, _source("Xiong et al. 2020, Theorem 5", layers))


def _folded_windows(network: Architecture, m: int) -> Bound:
    _require_whole(network, m)
    return xiong2020_lower(*all_convolutions(network))


def _require_whole(network: Architecture, m: int) -> None:
    if m != network.inputs:
        raise InvalidInputError(f"it counts regions of the whole input space, not of {m} dimensions of it")


def _require_no_skips(network: Architecture) -> None:
    if network.skips:
        raise InvalidInputError(
            f"{network.skips}: a skip connection carries on what a flat unit or a matrix of low rank loses"
        )


def _require_affordable(cost: int, largest: int) -> None:
    if cost > largest:
        raise InvalidInputError(
            f"its exact integer takes too long to evaluate here (about 1e{len(str(cost)) - 1} steps); "
            "dimension=1 bounds the regions on a line"
        )


def _upper(value: int, kind: Kind, source: str, assumes: str = "") -> Bound:
    return Bound(value, Statement(kind, "activation regions", source, assumes))


def _source(paper: str, layers: tuple[CountedUnits, ...]) -> str:
    selecting = any(layer.selects for layer in layers)
    return f"{paper}; maxima by Montúfar, Ren & Zhang 2022" if selecting else paper
