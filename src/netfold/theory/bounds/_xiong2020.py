"""Convolutional layers: Xiong, Huang, Yu, Liu, Zhu and Shao 2020."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netfold.arguments import checked, require, sequence, shown
from netfold.arrays import require_room
from netfold.errors import InvalidInputError
from netfold.theory.bounds import _transversal
from netfold.theory.bounds._bound import Bound, Kind, Statement
from netfold.theory.bounds._shape import cells, positive

Size = int | Sequence[int]


@dataclass(frozen=True)
class Conv:
    """A convolutional layer with biases; a number stands for the same one along every axis.

    Attributes:
        filters: output channels.
        kernel: extent of a filter.
        stride: step between its positions.
        padding: zeros added on both sides of every axis.
    """

    filters: int
    kernel: Size
    stride: Size = 1
    padding: Size = 0


@dataclass(frozen=True)
class _Layer:
    """A convolution on an input of known size, one entry an axis."""

    size: tuple[int, ...]
    channels: int
    filters: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """Output positions along each axis."""
        axes = zip(self.size, self.kernel, self.stride, self.padding, strict=True)
        return tuple((n + 2 * p - f) // s + 1 for n, f, s, p in axes)

    @property
    def inputs(self) -> int:
        return math.prod(self.size) * self.channels

    @property
    def units(self) -> int:
        return math.prod(self.positions) * self.filters

    @property
    def overlapping_axes(self) -> list[int]:
        """Axes along which neighbouring windows share inputs."""
        axes = zip(self.positions, self.kernel, self.stride, strict=True)
        return [axis for axis, (count, f, s) in enumerate(axes) if count > 1 and f > s]

    def windows(self) -> list[frozenset[int]]:
        """The places of the input, all channels together, that each output position sees."""
        axes = zip(self.size, self.kernel, self.stride, self.padding, self.positions, strict=True)
        spans = [[range(max(0, i * s - p), min(n, i * s - p + f)) for i in range(count)] for n, f, s, p, count in axes]
        require_room("the input of a convolution", 8 * math.prod(self.size) * math.prod(self.kernel))
        places = np.arange(math.prod(self.size)).reshape(self.size)
        return [frozenset(places[np.ix_(*window)].ravel().tolist()) for window in itertools.product(*spans)]


@checked
def xiong2020(size: Size, channels: int, kernel: Size, stride: Size, filters: int, padding: Size = 0) -> Bound:
    """Linear regions of one convolutional ReLU layer.

    ``R = sum_{t in K} prod_i C(d_1, t_i)``, a term for each way to choose t_i of the d_1 filters at each
    output position i, where K holds the t with ``sum_{i in J} t_i <= |union_{i in J} S_i|`` for every set
    J of positions; S_i is what position i sees of the input, channels included. K says that the chosen
    hyperplanes can be matched to distinct inputs.

    Where windows overlap along one axis only (sequences; images with kernel 1 or stride >= kernel along
    the other axes), R is the maximum, and what almost all weights and biases give. Where they overlap along
    two axes R is an upper bound only. The paper states equality there too, but filters p and q that are
    shared by all positions obey ``p * q - q * p = 0``, a dependence that K does not see: two 2 x 2 filters
    on a 3 x 3 input have R = 256 and cut 255 regions, whatever the weights.

    With padding, windows shrink to the inputs they really see (an extension: the paper has no padding).

    Args:
        size: of the input: a length, or one number an axis, for example ``(28, 28)``.
        channels: of the input, d_0.
        kernel: extent of the filters.
        stride: step between their positions.
        filters: output channels, d_1.
        padding: zeros added on both sides of every axis.

    Returns:
        An exact integer; its kind tells a maximum from an upper bound. Counted are activation regions,
        which for one layer with generic weights are the linear regions.

    Raises:
        InvalidInputError: a number is no positive integer, the kernel does not fit, or windows overlap in
            so many ways that the exact sum is out of reach (two-dimensional inputs beyond a few kernels
            across); `xiong2020_upper` answers then.

    Source:
        Xiong et al., On the Number of Linear Regions of Convolutional Neural Networks (ICML 2020), Theorem 2.

    Example:
        >>> from netfold.theory import bounds
        >>> int(bounds.xiong2020(4, 1, 2, 1, 2)), int(bounds.xiong2020(3, 2, 2, 1, 3))
        (55, 64)
        >>> image = bounds.xiong2020((3, 3), 1, 2, 1, 2)
        >>> int(image), image.kind.name
        (256, 'GIVEN_NETWORK')
    """
    layer = _layer(_axes(size), positive(channels, "channels"), Conv(filters, kernel, stride, padding))
    value = _one_layer(layer)
    if value is None:
        raise _out_of_reach(layer)
    kind = Kind.EXACT_MAXIMUM if len(layer.overlapping_axes) < 2 else Kind.GIVEN_NETWORK
    return Bound(value, Statement(kind, "activation regions", "Xiong et al. 2020, Theorem 2"))


@checked
def xiong2020_upper(size: Size, channels: int, layers: Iterable[Conv]) -> Bound:
    """Activation regions of a convolutional ReLU network, whatever the weights.

    ``R_1 * prod_{l > 1} sum_{i <= n} C(u_l, i)`` with R_1 the count of the first layer alone (`xiong2020`),
    n the size of the input in all and u_l the units of layer l. Where R_1 is out of reach, the smaller of
    two bounds on it stands in: windows taken one by one, and all hyperplanes in general position.

    Args:
        size: of the input: a length, or one number an axis.
        channels: of the input.
        layers: the convolutions, in order; a ReLU follows each.

    Returns:
        An exact integer. Counted are activation regions; linear regions are never more.

    Raises:
        InvalidInputError: a number is no positive integer, a kernel does not fit, or there is no layer.

    Source:
        Xiong et al. 2020, Theorem 5, upper bound.

    Example:
        >>> from netfold.theory import bounds
        >>> layers = [bounds.Conv(filters=2, kernel=2), bounds.Conv(filters=2, kernel=2)]
        >>> int(bounds.xiong2020_upper(4, 1, layers)), bounds.xiong2020(4, 1, 2, 1, 2) * 2**4
        (880, 880)
    """
    stack = _stack(size, channels, layers)
    first = _one_layer(stack[0])
    if first is None:
        seen = [len(window) * stack[0].channels for window in stack[0].windows()]
        alone = math.prod(cells(stack[0].filters, n) for n in seen)
        first = min(alone, cells(stack[0].units, stack[0].inputs))
    value = first * math.prod(cells(layer.units, stack[0].inputs) for layer in stack[1:])
    return Bound(value, Statement(Kind.GIVEN_NETWORK, "activation regions", "Xiong et al. 2020, Theorem 5"))


@checked
def xiong2020_lower(size: Size, channels: int, layers: Iterable[Conv]) -> Bound:
    """Linear regions that some convolutional ReLU network of this shape has.

    ``R' * prod_{l < L} floor(d_l / d_0)^(p_l d_0)`` with p_l the output positions and d_l the filters of
    layer l, and R' the count (`xiong2020`) of the last layer on d_0 channels. Where that count is not
    known to be reached (windows that overlap along two axes), R' is the count with the filters thinned to
    a line along the axis that gives most; the paper takes the count itself.

    Args:
        size: of the input: a length, or one number an axis.
        channels: of the input, d_0.
        layers: the convolutions, in order; each but the last with at least d_0 filters.

    Returns:
        An exact integer: a lower bound on the maximum over weights of the number of linear regions. It
        says nothing of a given network.

    Raises:
        InvalidInputError: a layer but the last has fewer filters than the input has channels, padding is
            half a kernel or more, a number is no positive integer, a kernel does not fit, there is no
            layer, or R' is out of reach.

    Source:
        Xiong et al. 2020, Theorem 5, lower bound.

    Example:
        >>> from netfold.theory import bounds
        >>> layers = [bounds.Conv(filters=2, kernel=2), bounds.Conv(filters=2, kernel=2)]
        >>> int(bounds.xiong2020_lower(3, 1, layers))
        16
    """
    stack = _stack(size, channels, layers)
    d0, last = stack[0].channels, stack[-1]
    why = "Theorem 5 needs as many filters as the input has channels"
    for i, layer in enumerate(stack):
        positive(layer.filters, f"layers[{i}].filters", 1 if layer is last else d0, why)
        if any(f <= 2 * p for f, p in zip(layer.kernel, layer.padding, strict=True)):
            raise InvalidInputError(
                f"layers[{i}].padding: expected less than half the kernel {layer.kernel}, so that every "
                f"position can fold an input of its own, got {layer.padding}"
            )
    folds = math.prod((layer.filters // d0) ** (math.prod(layer.positions) * d0) for layer in stack[:-1])
    counts = [_one_layer(layer) for layer in _reached(replace(last, channels=d0))]
    if None in counts:
        raise _out_of_reach(last)
    value = folds * max(count for count in counts if count is not None)
    return Bound(value, Statement(Kind.MAXIMUM, "linear regions", "Xiong et al. 2020, Theorem 5"))


def _one_layer(layer: _Layer) -> int | None:
    """The sum over K; None where it is out of reach."""
    return _transversal.independent_choices(layer.windows(), layer.channels, layer.filters)


def _reached(layer: _Layer) -> list[_Layer]:
    """Layers whose count the given one reaches: itself, or its filters thinned to lines."""
    axes = layer.overlapping_axes
    if len(axes) < 2:
        return [layer]
    return [_thinned(layer, [other for other in axes if other != axis]) for axis in axes]


def _thinned(layer: _Layer, axes: list[int]) -> _Layer:
    """Kernel 1 along some axes: of each window the first input that no padding reaches."""
    kernel, padding, size = list(layer.kernel), list(layer.padding), list(layer.size)
    for axis in axes:
        kernel[axis], padding[axis] = 1, 0
        size[axis] = (layer.positions[axis] - 1) * layer.stride[axis] + 1
    return replace(layer, kernel=tuple(kernel), padding=tuple(padding), size=tuple(size))


def _out_of_reach(layer: _Layer) -> InvalidInputError:
    return InvalidInputError(
        f"size: the windows of a {layer.kernel} kernel on a {layer.size} input overlap in too many ways "
        "for the exact sum; for an upper bound call "
        "bounds.xiong2020_upper(size, channels, [bounds.Conv(filters, kernel, stride)])"
    )


def _stack(size: Size, channels: int, layers: Iterable[Conv]) -> list[_Layer]:
    stack: list[_Layer] = []
    axes, channels = _axes(size), positive(channels, "channels")
    for conv in require(tuple[Conv, ...], tuple(sequence(layers, "layers")), "layers"):
        stack.append(_layer(axes, channels, conv))
        axes, channels = stack[-1].positions, stack[-1].filters
    if not stack:
        raise InvalidInputError("layers: expected at least one bounds.Conv, got none")
    return stack


def _layer(size: tuple[int, ...], channels: int, conv: Conv) -> _Layer:
    kernel, stride = _axes(conv.kernel, len(size), "kernel"), _axes(conv.stride, len(size), "stride")
    padding = _axes(conv.padding, len(size), "padding", least=0)
    for n, f, p in zip(size, kernel, padding, strict=True):
        if f > n + 2 * p or p >= f:
            raise InvalidInputError(
                f"kernel: expected one that fits its input and is wider than the padding, got {f} "
                f"on {n} inputs with padding {p}"
            )
    return _Layer(size, channels, positive(conv.filters, "filters"), kernel, stride, padding)


def _axes(value: Size, axes: int | None = None, name: str = "size", least: int = 1) -> tuple[int, ...]:
    """One number an axis."""
    if not isinstance(value, Iterable):
        return (positive(value, name, least),) * (axes or 1)
    numbers = tuple(positive(number, name, least) for number in value)
    if not numbers or len(numbers) != (axes or len(numbers)):
        raise InvalidInputError(f"{name}: expected {axes or 'at least one'} numbers, one an axis, got {shown(value)}")
    return numbers
