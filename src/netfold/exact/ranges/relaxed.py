"""Proven bounds of every pre-activation over a box.

Layer after layer, interval arithmetic comes first. Units that it leaves on several pieces get linear bounds: a
pre-activation is carried backwards through the network as a linear function of what each layer made, every
nonlinearity replaced by a line below or above it (Zhang et al., "Efficient Neural Network Robustness Certification
with General Activation Functions", NeurIPS 2018), until it is one of the input, whose least value on a box is at a
corner. Any slopes make a valid line, so those that bound best are looked for by gradients (Xu et al., "Fast and
Complete", ICLR 2021).

Whatever was found, bounds hold in real arithmetic for the stored weights: a coefficient that was rounded stands beside
the largest size of the value that it multiplies, and a sum of n products is off by at most n 2^-52 of the same sum of
sizes (Higham 2002, chapter 3); the bound is lowered by all of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from netfold.capture.activations import Elementwise, Selection
from netfold.capture.program import Layer, Stage
from netfold.exact.matrices.coefficients import Pieces, Step, Term, split
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.exact.numerics.threads import look
from netfold.exact.ranges.intervals import EPS, LOST, SLACK, TINIEST, Interval

ENTRIES = 2**22
"""Coefficients that are carried backwards at once, in one layer."""

RATE = 0.1
"""How far the gradient that looks for slopes goes at first, as a share of a slope of 1."""


@dataclass(frozen=True)
class Bent:
    """An elementwise nonlinearity on the ranges of its units, the same for all rows or of each.

    Attributes:
        ends: the places between which it is straight, ``(..., places, units)``: the range's ends, and knots inside.
        values: its values there, and ``rounded`` a bound on their errors.
        slopes: slopes of its pieces in the range, ``(..., pieces, units)``, that of a piece outside being the next's.
    """

    ends: Tensor
    values: Tensor
    rounded: Tensor
    slopes: Tensor

    @staticmethod
    def of(layer: Layer, read: Interval) -> Bent:
        """A layer's function on ranges of what it reads."""
        pieces = Pieces.of(layer)
        knots = torch.from_numpy(np.ascontiguousarray(pieces.knots.T.astype(np.float64)))
        (slopes, _), (offsets, _) = split(pieces.slopes), split(pieces.offsets)
        rule = Elementwise(knots.numpy().T, slopes, offsets, ())
        low, high = read.low[..., None, :], read.high[..., None, :]
        ends = torch.cat([low, torch.minimum(torch.maximum(knots, low), high), high], -2)
        slope, offset = rule.piece_at(ends.numpy())
        with np.errstate(invalid="ignore", over="ignore"):  # what is too large for float64 bounds nothing
            values = slope * ends.numpy() + offset
            rounded = 8 * EPS * (np.abs(slope * ends.numpy()) + np.abs(offset))
            rounded += TINIEST * ((slope != 0) & (ends.numpy() != 0))
        first, top = ((h.numpy()[..., None] > rule.knots).sum(-1) for h in (read.low, read.high))
        last, unit = np.maximum(first, top), np.arange(first.shape[-1]) if len(slopes) > 1 else 0
        chosen = [slopes[unit, np.clip(r, first, last)] for r in range(slopes.shape[1])]
        return Bent(ends, *map(torch.from_numpy, (values, rounded, np.stack(chosen, -2))))

    def image(self) -> Interval:
        """The range of its values: a piecewise linear function is largest and smallest where it bends, or ends."""
        return Interval((self.values - self.rounded).amin(-2), (self.values + self.rounded).amax(-2))

    def below(self, slope: Tensor) -> Tensor:
        """The highest line of a slope that is nowhere above the function: its constant, rounded down."""
        return self._gaps(slope, -1.0).amin(-2)

    def above(self, slope: Tensor) -> Tensor:
        """The lowest line of a slope that is nowhere below the function: its constant, rounded up."""
        return self._gaps(slope, 1.0).amax(-2)

    def _gaps(self, slope: Tensor, side: float) -> Tensor:
        products = slope[..., None, :] * self.ends
        error = self.rounded + 4 * EPS * (products.abs() + self.values.abs()) + TINIEST
        return self.values - products + side * error.detach()

    def usual(self) -> tuple[Tensor, Tensor]:
        """Slopes of a line below and of one above: of those of its pieces and its chord, the best in the middle."""
        (a, b), (ya, yb) = ((v[..., 0, :], v[..., -1, :]) for v in (self.ends, self.values))
        chord = torch.where(b > a, (yb - ya) / (b - a), self.slopes[..., 0, :]).nan_to_num()
        choices = [*self.slopes.unbind(-2), chord]
        low = torch.stack([slope * ((a + b) / 2) + self.below(slope) for slope in choices], -2).argmax(-2, True)
        high = torch.stack([slope * ((a + b) / 2) + self.above(slope) for slope in choices], -2).argmin(-2, True)
        every = torch.stack(choices, -2)
        return every.gather(-2, low)[..., 0, :], every.gather(-2, high)[..., 0, :]

    def spread(self, slope: Tensor) -> Tensor:
        """How far the function gets from lines of a slope, between the lowest above it and the highest below."""
        apart = self.values - slope[..., None, :] * self.ends
        return apart.amax(-2) - apart.amin(-2)


@dataclass(frozen=True)
class Lines:
    """What stands for nonlinearities where functions of a network's values are carried backwards, one a row.

    Attributes:
        bent: the nonlinearities on their ranges, by stage.
        slopes: slopes of a line below each, and of one above, ``(rows, units)``.
        limits: ranges of pre-activations on the part of the domain that a row is about, where a row is about a part.
        pulls: how much of what each limit says is added to a row: of lower and of upper limits, ``(rows, units)``, as
            shares of the coefficients ``met``.
        met: coefficients of what each layer made, as they first were.
    """

    bent: dict[int, Bent]
    slopes: dict[int, tuple[Tensor, Tensor]]
    limits: dict[int, Interval] = field(default_factory=dict)
    pulls: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    met: dict[int, Tensor] = field(default_factory=dict)

    @staticmethod
    def usual(bent: dict[int, Bent], rows: int) -> Lines:
        """Those that are best in the middle of each range."""
        both = {at: b.usual() for at, b in bent.items()}
        return Lines(
            bent, {at: (a.expand(rows, -1).clone(), b.expand(rows, -1).clone()) for at, (a, b) in both.items()}
        )

    def pull(self, at: int) -> tuple[Tensor, Tensor]:
        """What is added of lower and of upper limits."""
        size = self.met[at].abs()
        scale = size + size.mean(1, True)
        least, most = self.pulls[at]
        return least * scale, most * scale

    def free(self) -> list[Tensor]:
        """What a gradient may change."""
        return [
            part.requires_grad_() for pairs in (self.slopes, self.pulls) for pair in pairs.values() for part in pair
        ]

    @torch.no_grad()
    def clamp(self) -> None:
        """Back to what bounds something: steeper lines than all pieces do not, nor do limits that push away."""
        for at, pair in self.slopes.items():
            for slope in pair:
                slope.clamp_(self.bent[at].slopes.amin(-2), self.bent[at].slopes.amax(-2))
        for pair in self.pulls.values():
            for pull in pair:
                pull.clamp_(min=0.0)


class Relaxation:
    """Bounds of a network's pre-activations over a box, layer by layer, as far as it has been followed.

    Args:
        explicit: the network's matrices.
        low: lower limits of the box, finite, flattened; ``high`` upper limits.

    Attributes:
        reads: bounds of what each layer reads, its inputs joined.
        corners: points of the box that were met on the way, where bounds are attained if they are tight.
    """

    def __init__(self, explicit: ExplicitProgram, low: Tensor, high: Tensor) -> None:
        self.explicit, self.program = explicit, explicit.program
        self.stages = self.program.stages
        self.box = Interval(low, high)
        self.values = {0: self.box}
        self.reads: list[Interval] = []
        self.bent: dict[int, Bent] = {}
        self.corners: list[Tensor] = []
        self.shapes = {0: self.program.input_shape}

    def follow(self, steps: int) -> Iterator[Interval]:
        """Bounds of what each layer reads, in order, with so many steps of the gradient for units left open."""
        for index, stage in enumerate(self.stages):
            if stage.layer is None:
                return
            for step in self.explicit.steps[index]:
                self.values[step.node.index] = self._forward(step)
                self.shapes[step.node.index] = step.shape
            self.reads.append(self._tightened(index, self._joined(stage), steps))
            yield self.reads[-1]  # who takes it may narrow it
            self.values[stage.layer.node.index] = self._image(index, stage.layer)
            self.shapes[stage.layer.node.index] = stage.layer.shape

    def _joined(self, stage: Stage) -> Interval:
        parts = [self.values[i] for i in stage.inputs]
        return Interval(torch.cat([p.low for p in parts]), torch.cat([p.high for p in parts]))

    def _image(self, index: int, layer: Layer) -> Interval:
        read, rule = self.reads[index], layer.rule
        if isinstance(rule, Selection):
            there = torch.from_numpy(rule.candidates >= 0)
            places = torch.from_numpy(np.maximum(rule.candidates, 0))
            low, high, none = read.low[places], read.high[places], math.inf
            if rule.largest:
                return Interval(low.where(there, -none).amax(1), high.where(there, -none).amax(1))
            return Interval(low.where(there, none).amin(1), high.where(there, none).amin(1))
        self.bent[index] = Bent.of(layer, read)
        return self.bent[index].image()

    def _forward(self, step: Step) -> Interval:
        """Interval arithmetic with middles and radii."""
        size = math.prod(step.shape)
        constant = torch.from_numpy(np.broadcast_to(step.nearest[0], size).copy())
        middle, radius, sizes = constant, torch.zeros(size, dtype=torch.float64), torch.from_numpy(step.size.copy())
        moved = sizes.clone()
        for term in step.terms:
            center, around = self.values[term.source].parts
            middle = middle + _applied(_linear(term), center, term)
            radius = radius + _applied(term.magnitude, around, term)
            sizes = sizes + _applied(term.magnitude, center.abs(), term)
            moved = moved + _applied(term.magnitude, (center.abs() + around > 0).double(), term)
        radius = SLACK * (radius + (step.roundings + 8) * EPS * (radius + sizes))
        radius = radius + LOST * (moved > 0).double()  # a number would be float32, where this is 0
        return Interval(middle - radius, middle + radius).sound()

    def _tightened(self, index: int, read: Interval, steps: int) -> Interval:
        """Linear bounds for the units of a layer that intervals leave open."""
        layer = self.stages[index].layer
        assert layer is not None
        open_ = torch.from_numpy(left_open(layer, read.low.numpy(), read.high.numpy()))
        low, high = read.low.clone(), read.high.clone()
        most = max(1, ENTRIES // max(max(math.prod(s) for s in self.shapes.values()), 1))
        for part in torch.nonzero(open_).flatten().split(most) if open_.any() else ():
            look()
            for sign, ends, better in ((1.0, low, torch.maximum), (-1.0, high, torch.minimum)):
                lines = Lines.usual(self.bent, len(part))
                found = sign * self.best(index, part, sign, lines, steps)
                ends[part] = better(ends[part], found)
        return Interval(low, high).sound()

    def best(self, index: int, units: Tensor, sign: float, lines: Lines, steps: int) -> Tensor:
        """The best lower bounds of some pre-activations times a sign, with lines that so many steps have turned."""
        best = self._lowest(index, units, sign, lines)
        free = lines.free()
        if not free or steps == 0:
            return best.detach()
        climb = torch.optim.Adam(free, RATE, maximize=True)
        for step in range(steps):
            look()
            with torch.enable_grad():
                found = self._lowest(index, units, sign, lines)
                climb.zero_grad()
                found.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).sum().backward()
            climb.param_groups[0]["lr"] = RATE * (1 - step / steps)
            climb.step()
            lines.clamp()
            best = torch.maximum(best, found.detach())
        return best.detach()

    def _lowest(self, index: int, units: Tensor, sign: float, lines: Lines) -> Tensor:
        """A lower bound of some pre-activations of a layer, times a sign, for these lines."""
        inputs = self.stages[index].inputs
        wanted = torch.zeros(len(units), sum(math.prod(self.shapes[i]) for i in inputs), dtype=torch.float64)
        wanted[torch.arange(len(units)), units] = sign
        functional = _Functional(len(units))
        functional.add(wanted, inputs, self.shapes)
        for at in range(index, -1, -1):
            for step in reversed(self.explicit.steps[at]):
                self._through_step(functional, step)
            if at:
                layer = self.stages[at - 1].layer
                assert layer is not None
                self._through_layer(functional, at - 1, layer, lines)
        coefficients = functional.take(0, len(self.box.low))
        corner = torch.where(coefficients > 0, self.box.low, self.box.high)
        if not coefficients.requires_grad:
            self.corners.append(corner)
        functional.account((coefficients * corner).sum(1), coefficients.detach().abs() @ self.box.size, len(corner.T))
        return functional.low()

    def _through_step(self, functional: _Functional, step: Step) -> None:
        size = math.prod(step.shape)
        if step.node.index not in functional.parts:
            return
        c = functional.take(step.node.index, size)
        constant = torch.from_numpy(np.broadcast_to(step.nearest[0], size).copy())
        sizes = torch.from_numpy(np.broadcast_to(step.size, size).copy())
        functional.account(c @ constant, c.detach().abs() @ (constant.abs() + sizes), size)
        for term in step.terms:
            pulled = _transposed(_linear(term), term, c, step.shape)
            spread = _transposed(term.magnitude, term, c.detach().abs(), step.shape)
            rounded = (size + step.roundings + 16) * EPS
            met = self.values[term.source].size
            functional.slack = functional.slack + rounded * _product(spread, met) + LOST * met.amax()
            functional.add(pulled, (term.source,), self.shapes)

    def _through_layer(self, functional: _Functional, at: int, layer: Layer, lines: Lines) -> None:
        if layer.node.index not in functional.parts:
            return
        c = functional.take(layer.node.index, layer.units)
        up, down = c.clamp(min=0.0), c.clamp(max=0.0)
        inputs, read = self.stages[at].inputs, self.reads[at]
        if isinstance(layer.rule, Selection):
            functional.add(self._selected(functional, layer.rule, read, up, down), inputs, self.shapes)
            return
        low, high = lines.slopes[at]
        constants = up * lines.bent[at].below(low), down * lines.bent[at].above(high)
        made, sizes = up * low + down * high, (up * low).detach().abs() + (down * high).detach().abs()
        lines.met.setdefault(at, c.detach())
        if at in lines.limits:
            least, most = lines.pull(at)
            constants = *constants, least * lines.limits[at].low, -most * lines.limits[at].high
            made, sizes = made - least + most, sizes + (least + most).detach()
        together = torch.cat(constants, 1)
        functional.account(together.sum(1), together.detach().abs().sum(1), together.shape[1])
        functional.slack = functional.slack + 4 * EPS * _product(sizes, read.size) + LOST * read.size.amax()
        functional.add(made, inputs, self.shapes)

    def _selected(self, functional: _Functional, rule: Selection, read: Interval, up: Tensor, down: Tensor) -> Tensor:
        """A maximum is at least its most promising entry, and at most the entry that wins everywhere, or a number."""
        places = torch.from_numpy(np.maximum(rule.candidates, 0))
        there = torch.from_numpy(rule.candidates >= 0)
        sign = 1.0 if rule.largest else -1.0
        low, high = (read.low, read.high) if rule.largest else (-read.high, -read.low)
        low, high = low[places].where(there, -math.inf), high[places].where(there, -math.inf)
        best = low.argmax(1)
        others = high.scatter(1, best[:, None], -math.inf).amax(1)
        wins = low.gather(1, best[:, None])[:, 0] >= others
        entry = places.gather(1, best[:, None])[:, 0]
        below, above = (up, down) if rule.largest else (down, up)
        made = torch.zeros(len(up), len(read.low), dtype=torch.float64)
        made = made.index_add(1, entry, below + torch.where(wins, above, 0.0))
        top = sign * high.amax(1)
        rest = torch.where(wins, 0.0, above)
        functional.account(_product(rest, top), _product(rest.detach().abs(), top.abs()), len(top))
        spread = torch.zeros_like(made).index_add(1, entry, (below.abs() + above.abs()).detach())
        functional.slack = functional.slack + (up.shape[1] + 4) * EPS * _product(spread, read.size)
        return made


class _Functional:
    """Linear functions of a network's values that bound others from below, one a row.

    Attributes:
        parts: coefficients of values that are yet to be replaced by those before them.
        constant: what was added, ``sizes`` a bound on all sizes of it, and ``slack`` one on all that rounding did.
    """

    def __init__(self, rows: int) -> None:
        self.parts: dict[int, Tensor] = {}
        self.constant, self.sizes, self.slack = torch.zeros(3, rows, dtype=torch.float64)
        self.count = 0

    def add(self, coefficients: Tensor, sources: Sequence[int], shapes: dict[int, tuple[int, ...]]) -> None:
        """Coefficients of some values, joined."""
        for source, part in zip(sources, coefficients.split([math.prod(shapes[i]) for i in sources], 1), strict=True):
            self.parts[source] = self.parts[source] + part if source in self.parts else part

    def take(self, index: int, size: int) -> Tensor:
        """The coefficients of a value that is replaced now."""
        return self.parts.pop(index, torch.zeros(len(self.constant), size, dtype=torch.float64))

    def account(self, constant: Tensor, sizes: Tensor, terms: int) -> None:
        """Add a constant that is a sum of so many products, of these sizes."""
        self.constant = self.constant + constant
        self.sizes = self.sizes + sizes
        self.slack = self.slack + (terms + 8) * EPS * sizes
        self.count += 1

    def low(self) -> Tensor:
        """The bound."""
        slack = self.slack + 2 * self.count * EPS * self.sizes
        found = self.constant - (SLACK * slack + LOST)
        return (found - 2 * EPS * found.detach().abs()).nan_to_num(-math.inf, math.inf, -math.inf)


def left_open(layer: Layer, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which entries that a layer reads may be on several pieces; all, for a layer that selects."""
    if not isinstance(layer.rule, Elementwise):
        return np.ones(len(low), np.bool_)
    knots = layer.rule.knots
    return (knots <= low[:, None]).sum(1) < (knots < high[:, None]).sum(1)


def _linear(term: Term) -> Callable[[Tensor], Tensor]:
    if term.scales is None:
        return term.linear
    scales = torch.from_numpy(term.scales.astype(np.float64)).reshape(term.shape)
    return lambda value: value * scales


def _applied(linear: Callable[[Tensor], Tensor], value: Tensor, term: Term) -> Tensor:
    return linear(value.reshape(1, *term.shape)).reshape(-1)


def _transposed(linear: Callable[[Tensor], Tensor], term: Term, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows times the matrix of an operation. Sizes are taken at ones, where they have slopes."""
    with torch.enable_grad():
        at = torch.ones(len(rows), *term.shape, dtype=torch.float64, requires_grad=True)
        made = linear(at)
        (pulled,) = torch.autograd.grad(made, at, rows.reshape(made.shape), create_graph=rows.requires_grad)
    return pulled.reshape(len(rows), -1)


def _product(coefficients: Tensor, sizes: Tensor) -> Tensor:
    """Sums of products, where nothing times infinity is nothing."""
    return torch.where(coefficients != 0, coefficients * sizes, 0.0).sum(1)
