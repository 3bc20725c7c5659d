"""Enclosures of what a smooth network reads on short stretches of a path, to first order.

On a stretch t = m + r u with u in [-1, 1] every value has three intervals (a `Jet`): at the middle one, one for its
derivative by u on the whole stretch, and one the value itself there, which is the better of interval
arithmetic and of the mean value form, middle + [-1, 1] times derivative (Moore, Kearfott and Cloud, "Introduction to
Interval Analysis", SIAM 2009, chapter 6). Products of intervals go by middles and radii (Rump, "Fast and Parallel
Interval Arithmetic", BIT 1999). A sum of n products is off by at most n 2^-52 of the same sum of sizes, by which bounds
are widened; exp, erf, tanh and powers are taken to be right to 16 units in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from netfold.capture.operations import SHAPES, by_name, op_name
from netfold.capture.program import Layer, Node, Program, Ref, Size
from netfold.exact.ranges.intervals import EPS, LOST, SLACK, Interval

MOVES = {
    *SHAPES,
    *("slice", "select", "narrow", "cat", "stack", "split", "split_with_sizes", "chunk", "unbind", "repeat"),
    *("repeat_interleave", "clone", "contiguous", "alias", "detach", "to", "_to_copy", "dropout"),
}
"""Operations that move entries and do not change them."""


def exactly(value: Any) -> Interval:
    """Numbers that do not depend on the path."""
    value = torch.as_tensor(value, dtype=torch.float64)
    return Interval(value, value)


def widened(found: Interval, error: Tensor | float = 0.0) -> Interval:
    """Bounds moved apart by an error and their own rounding; what is not a number is unbounded."""
    size = sum(x.abs().masked_fill(~x.isfinite(), 0.0) for x in found)
    error = SLACK * (error + 4 * EPS * size) + LOST
    return Interval(found.low - error, found.high + error).sound()


def product(f: Callable[[Tensor, Tensor], Tensor], a: Interval, b: Interval, terms: int = 1) -> Interval:
    """A bilinear operation that sums so many products, without coefficients of its own."""
    (am, ar), (bm, br) = a.parts, b.parts
    middle, sizes = f(am, bm), am.abs() + ar
    radius = f(ar, bm.abs() + br)
    if b.low is not b.high:
        radius = radius + f(am.abs(), br)
    error = (terms + 16) * EPS * f(sizes, bm.abs() + br)
    return widened(Interval(middle - SLACK * radius, middle + SLACK * radius), error)


def times(a: Interval, b: Interval) -> Interval:
    """Products of entries."""
    return product(torch.mul, a, b)


def plus(a: Interval, b: Interval, sign: float = 1.0) -> Interval:
    """Sums of entries, or differences."""
    return widened(Interval(a.low + b.low, a.high + b.high) if sign > 0 else Interval(a.low - b.high, a.high - b.low))


def total(a: Interval, dim: Any, keep: bool) -> Interval:
    """Sums along axes."""
    terms = a.low.sum(dim, keep).numel()
    error = (a.low.numel() // max(terms, 1)) * EPS * a.size.sum(dim, keep)
    return widened(a.map(lambda x: x.sum(dim, keep)), error)


@dataclass(frozen=True)
class Jet:
    """A value on stretches of a path: in the middle, its derivative by u in [-1, 1], and wherever it goes."""

    middle: Interval
    slope: Interval
    range: Interval

    @staticmethod
    def of(middle: Interval, slope: Interval, range_: Interval) -> Jet:
        """With the better of the range and of the mean value form."""
        far = slope.size
        mean = widened(Interval(middle.low - far, middle.high + far))
        return Jet(middle, slope, Interval(torch.fmax(range_.low, mean.low), torch.fmin(range_.high, mean.high)))

    @staticmethod
    def constant(value: Any) -> Jet:
        """What does not depend on the path."""
        it = exactly(value)
        return Jet(it, exactly(torch.zeros_like(it.low)), it)

    def linear(self, f: Callable[[Interval], Interval]) -> Jet:
        """A linear operation."""
        return Jet.of(f(self.middle), f(self.slope), f(self.range))

    def moved(self, f: Callable[[Tensor], Tensor]) -> Jet:
        """Entries moved about."""
        return self.linear(lambda x: x.map(f))

    def __add__(self, other: Jet) -> Jet:
        return Jet.of(plus(self.middle, other.middle), plus(self.slope, other.slope), plus(self.range, other.range))

    def __sub__(self, other: Jet) -> Jet:
        return self + other.scaled(-1.0)

    def scaled(self, factor: Any) -> Jet:
        """Times numbers."""
        by = exactly(factor)
        return self.linear(lambda x: times(x, by))

    def with_(self, other: Jet, f: Callable[[Tensor, Tensor], Tensor] = torch.mul, terms: int = 1) -> Jet:
        """A bilinear operation with another value."""
        slope = plus(product(f, self.slope, other.range, terms), product(f, self.range, other.slope, terms))
        return Jet.of(product(f, self.middle, other.middle, terms), slope, product(f, self.range, other.range, terms))

    def through(self, function: Function) -> Jet:
        """A function of each entry alone."""
        slope = times(function.slopes(self.range), self.slope)
        return Jet.of(function.values(self.middle), slope, function.values(self.range))


@dataclass(frozen=True)
class Function:
    """A function of one variable, where it turns, its derivative, and where that turns; perhaps for x > 0 only."""

    value: Callable[[Tensor], Tensor]
    turns: tuple[float, ...]
    slope: Callable[[Tensor], Tensor]
    bends: tuple[float, ...]
    positive: bool = False

    def values(self, x: Interval) -> Interval:
        """Its range on intervals."""
        return self._range(self.value, self.turns, x)

    def slopes(self, x: Interval) -> Interval:
        """The range of its derivative."""
        return self._range(self.slope, self.bends, x)

    def _range(self, f: Callable[[Tensor], Tensor], turns: tuple[float, ...], x: Interval) -> Interval:
        at = torch.stack([x.low, x.high, *(x.low.clamp(min=turn).minimum(x.high) for turn in turns)])
        found = f(at)
        error = 32 * EPS * (1 + found.abs() + at.abs()).amax(0).nan_to_num(math.inf)
        bad = found.isnan().any(0) | ((x.low <= 0) if self.positive else torch.zeros_like(x.low, dtype=torch.bool))
        low, high = found.amin(0).masked_fill(bad, -math.inf), found.amax(0).masked_fill(bad, math.inf)
        return widened(Interval(low, high), error.masked_fill(bad, 0.0))


def _power(n: float) -> Function:
    whole = n == int(n) and n >= 1
    turns = (0.0,) if whole else ()
    return Function(lambda x: x**n, turns, lambda x: n * x ** (n - 1), turns, not whole)


def _phi(x: Tensor) -> Tensor:
    return torch.special.ndtr(x)


def _density(x: Tensor) -> Tensor:
    return torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _silu_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s + x * s * (1 - s)


SIGMOID = Function(torch.sigmoid, (), lambda x: torch.sigmoid(x) * torch.sigmoid(-x), (0.0,))
TANH = Function(torch.tanh, (), lambda x: 1 - torch.tanh(x) ** 2, (0.0,))
GELU = Function(lambda x: x * _phi(x), (-0.7517915246935645,), lambda x: _phi(x) + x * _density(x), (-(2**0.5), 2**0.5))
SILU = Function(
    lambda x: x * torch.sigmoid(x), (-1.2784645427610738,), _silu_slope, (-2.399357280515468, 2.399357280515468)
)
CURVES = {
    "sigmoid": SIGMOID,
    "tanh": TANH,
    "silu": SILU,
    "erf": Function(torch.erf, (), lambda x: 2 / math.sqrt(math.pi) * torch.exp(-x * x), (0.0,)),
    "exp": Function(torch.exp, (), torch.exp, ()),
    "relu": Function(torch.relu, (), lambda x: (x > 0).to(x.dtype), ()),
    "rsqrt": _power(-0.5),
    "sqrt": _power(0.5),
    "reciprocal": _power(-1.0),
}


def gelu(x: Jet, approximate: str) -> Jet:
    """GELU, by the error function or by tanh."""
    if approximate != "tanh":
        return x.through(GELU)
    inner = (x + x.through(_power(3.0)).scaled(0.044715)).scaled(math.sqrt(2 / math.pi))
    return x.scaled(0.5).with_(inner.through(TANH) + Jet.constant(1.0))


def normalised(x: Jet, axes: int, eps: float, centred: bool) -> Jet:
    """Layer norm over the last axes, or RMS norm, without weights."""
    shape = x.range.low.shape
    flat = x.moved(lambda a: a.flatten(-axes))
    n = flat.range.low.shape[-1]
    if centred:
        away = exactly(torch.eye(n, dtype=torch.float64) - 1.0 / n)
        flat = flat.linear(lambda a: product(torch.matmul, a, away, n))
    spread = flat.through(_power(2.0)).linear(lambda a: total(a, -1, True)).scaled(1.0 / n)
    shrunk = (spread + Jet.constant(eps)).through(_power(-0.5))
    found = flat.with_(shrunk)
    most = math.sqrt(n) * (1 + 8 * EPS)
    y = Interval(found.range.low.clamp(-most, most), found.range.high.clamp(-most, most))
    # For y = u r with r = (mean of u^2 + eps)^(-1/2) the derivative is r (u' - y mean(y u')), where r stands once.
    along = times(total(times(y, flat.slope), -1, True), exactly(1.0 / n))
    slope = times(shrunk.range, plus(flat.slope, times(y, along), -1.0))
    best = Interval(torch.fmax(slope.low, found.slope.low), torch.fmin(slope.high, found.slope.high))
    return Jet.of(found.middle, best, y).moved(lambda a: a.reshape(shape))


def softmax(x: Jet, dim: int) -> Jet:
    """Softmax along an axis; its derivative is s (x' - sum of s x')."""

    def values(a: Interval) -> Interval:
        most = a.high.amax(dim, True)
        low, high = torch.exp(a.low - most), torch.exp(a.high - most)
        n = a.low.shape[dim]
        lose = (8 * n + 32) * EPS
        others_low = (low.sum(dim, True) - low - lose * low.sum(dim, True)).clamp(min=0.0)
        others_high = high.sum(dim, True) - high + lose * high.sum(dim, True)
        # Arguments of exp are off by a rounding of their size.
        off = 8 * EPS * (1 + torch.where(low > 0, (a.low - most).abs(), 0.0).amax(dim, True))
        found = Interval(low / (low + others_high), (high / (high + others_low)).clamp(max=1.0))
        return widened(found, lose + off)

    found = values(x.range)
    found = Interval(found.low.clamp(min=0.0), found.high)
    # Entries that a mask takes out have no weight, whatever their slope.
    out = x.range.high == -math.inf
    found = found.map(lambda a: a.masked_fill(out, 0.0))
    slope = x.slope.map(lambda a: a.masked_fill(out, 0.0))
    mean = total(times(found, slope), dim, True)
    return Jet.of(values(x.middle), times(found, plus(slope, mean, -1.0)), found)


def attention(
    query: Jet, key: Jet, value: Jet, attn_mask: Any = None, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False, **_: Any,
) -> Jet:  # fmt: skip
    """Scaled dot-product attention."""
    width, many = query.range.low.shape[-1], query.range.low.shape[-3] if enable_gqa else 0
    if many:
        key, value = (k.moved(lambda a: a.repeat_interleave(many // a.shape[-3], -3)) for k in (key, value))
    scores = query.with_(key.moved(lambda a: a.mT), torch.matmul, width).scaled(scale or width**-0.5)
    if is_causal:
        attn_mask = torch.ones(scores.range.low.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros(attn_mask.shape, dtype=torch.float64).masked_fill(~attn_mask, -math.inf)
        scores = scores + Jet.constant(attn_mask)
    return softmax(scores, -1).with_(value, torch.matmul, scores.range.low.shape[-1])


class UnknownOperationError(Exception):
    """No rule encloses an operation, which it names."""


def enclosed(program: Program, point: Jet, points: int) -> Iterator[tuple[int, Jet]]:
    """Walk the nonlinearities that read one value: the number of each, with the jet that it reads, a row a stretch.

    Raises:
        UnknownOperationError: the walk comes to an operation that has no rule.
    """
    values: dict[int, Any] = {0: program_point(program, point)}
    numbers = {layer.node.index: n for n, layer in enumerate(program.layers)}
    for node in program.nodes:
        if node.index in numbers and len(node.inputs) == 1:
            read = node.inputs[0]
            yield numbers[node.index], values[read].moved(lambda a, i=read: program._rows(i, a, points).flatten(1))
        try:
            values[node.index] = _applied(node, values, points)
        except UnknownOperationError:
            raise UnknownOperationError(node.describe()) from None


def program_point(program: Program, point: Jet) -> Jet:
    """The input as the program's operations take it."""
    return point.moved(lambda a: a.reshape(-1, *program.input_shape))


def gated(layer: Layer) -> bool:
    """Whether a layer is a gate of GELU, SiLU, SwiGLU or of the tanh and the sigmoids that they are written with."""
    return layer.rule is None and op_name(layer.node.schema) in {"gelu", "silu", "tanh", "sigmoid", "erf"}


def _applied(node: Node, values: dict[int, Any], points: int) -> Any:
    def fill(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return values[leaf.index]
        if isinstance(leaf, Size):
            return leaf.of_batch(points)
        return [fill(item) for item in leaf] if isinstance(leaf, list | tuple) else leaf

    given = {k: fill(v) for k, v in by_name(node.schema, node.args, node.kwargs).items()}
    if not any(isinstance(v, Jet) for value in given.values() for v in (value if isinstance(value, list) else [value])):
        return node(values, points)
    name = op_name(node.schema)
    if name in MOVES:
        return _moved(node, values, points)
    rule = RULES.get(name)
    if rule is None and name in CURVES:
        return given["self"].through(CURVES[name])
    if rule is None:
        raise UnknownOperationError(name)
    return rule(given)


def _moved(node: Node, values: dict[int, Any], points: int) -> Jet:
    """Entries moved about, numbers among them: those have no slope."""
    still = replace(node, args=_still(node.args))
    kinds = []
    for part in ("middle", "slope", "range"):
        run = still if part == "slope" else node
        ends = [{i: _end(values[i], part, end) for i in node.inputs} for end in (0, 1)]
        kinds.append(Interval(*(run(read, points) for read in ends)))
    return Jet(*kinds)


def _end(value: Any, part: str, end: int) -> Any:
    if isinstance(value, Jet):
        return getattr(value, part)[end]
    return _still(value) if part == "slope" else value


def _still(leaf: Any) -> Any:
    if isinstance(leaf, Tensor) and leaf.is_floating_point():
        return torch.zeros_like(leaf)
    return type(leaf)(_still(item) for item in leaf) if isinstance(leaf, list | tuple) else leaf


def _jet(value: Any) -> Jet:
    return value if isinstance(value, Jet) else Jet.constant(value)


def _sum(given: dict[str, Any], sign: float) -> Jet:
    return _jet(given["self"]) + _jet(given["other"]).scaled(sign * given.get("alpha", 1))


def _mul(a: Any, b: Any, f: Callable[[Tensor, Tensor], Tensor] = torch.mul, terms: int = 1) -> Jet:
    if isinstance(a, Jet) and isinstance(b, Jet):
        return a.with_(b, f, terms)
    if isinstance(a, Jet):
        return a.linear(lambda x: product(f, x, exactly(b), terms))
    return b.linear(lambda x: product(lambda y, z: f(z, y), x, exactly(a), terms))


def _matmul(a: Any, b: Any) -> Jet:
    terms = (a.range.low if isinstance(a, Jet) else a).shape[-1]
    return _mul(a, b, torch.matmul, terms)


def _linear(given: dict[str, Any]) -> Jet:
    if isinstance(given["weight"], Jet):
        raise UnknownOperationError("linear")
    found = _matmul(given["input"], given["weight"].T)
    return found if given.get("bias") is None else found + _jet(given["bias"])


def _convolved(given: dict[str, Any], f: Callable[..., Tensor]) -> Jet:
    weight, bias = given["weight"], given.get("bias")
    if isinstance(weight, Jet):
        raise UnknownOperationError("convolution")
    way = [given[name] for name in ("stride", "padding", "dilation", "groups")]
    by, terms = exactly(weight), weight[0].numel()
    found = given["input"].linear(lambda x: product(lambda a, w: f(a, w, None, *way), x, by, terms))
    return found if bias is None else found + _jet(bias.reshape(-1, *(1,) * (weight.ndim - 2)))


def _divided(given: dict[str, Any]) -> Jet:
    by = given["other"]
    if isinstance(by, Jet):
        return _mul(given["self"], by.through(_power(-1.0)))
    return _mul(given["self"], 1.0 / torch.as_tensor(by, dtype=torch.float64))


def _summed(given: dict[str, Any], mean: bool) -> Jet:
    x, dim, keep = given["self"], given.get("dim"), given.get("keepdim", False)
    if dim is None:
        raise UnknownOperationError("sum")
    found = x.linear(lambda a: total(a, dim, keep))
    return found.scaled(found.range.low.numel() / x.range.low.numel()) if mean else found


def _normed(given: dict[str, Any], centred: bool) -> Jet:
    eps = given.get("eps")
    found = normalised(given["input"], len(given["normalized_shape"]), EPS if eps is None else eps, centred)
    if given.get("weight") is not None:
        found = _mul(found, given["weight"])
    return found if given.get("bias") is None else found + _jet(given["bias"])


def _raised(given: dict[str, Any]) -> Jet:
    if not isinstance(given["self"], Jet) or isinstance(given["exponent"], Jet):
        raise UnknownOperationError("pow")
    return given["self"].through(_power(float(given["exponent"])))


RULES: dict[str, Callable[[dict[str, Any]], Jet]] = {
    "add": lambda given: _sum(given, 1.0),
    "sub": lambda given: _sum(given, -1.0),
    "neg": lambda given: given["self"].scaled(-1.0),
    "mul": lambda given: _mul(given["self"], given["other"]),
    "div": _divided,
    "linear": _linear,
    "conv1d": lambda given: _convolved(given, torch.conv1d),
    "conv2d": lambda given: _convolved(given, torch.conv2d),
    "addmm": lambda given: _matmul(given["mat1"], given["mat2"]) + _jet(given["self"]),
    "mm": lambda given: _matmul(given["self"], given["mat2"]),
    "bmm": lambda given: _matmul(given["self"], given["mat2"]),
    "matmul": lambda given: _matmul(given["self"], given["other"]),
    "mean": lambda given: _summed(given, True),
    "sum": lambda given: _summed(given, False),
    "pow": _raised,
    "gelu": lambda given: gelu(given["self"], given.get("approximate", "none")),
    "softmax": lambda given: softmax(given["self"], given["dim"]),
    "_softmax": lambda given: softmax(given["self"], given["dim"]),
    "layer_norm": lambda given: _normed(given, True),
    "rms_norm": lambda given: _normed(given, False),
    "scaled_dot_product_attention": lambda given: attention(**given),
}
"""How operations act on jets, given their arguments by name."""
