"""A smaller network with the same outputs on a domain: units that are proved not to change their piece go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from netfold.arguments import NotNegativeInt, checked
from netfold.arrays import Floats
from netfold.capture import Model, Program
from netfold.capture.activations import Elementwise
from netfold.capture.program import Layer, Stage
from netfold.domains import Box, Polytope
from netfold.errors import InvalidInputError
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.measures.units import units
from netfold.results.units import DEAD, FREE, ON, SATURATED, STATES

MOST = 2**26
"""Numbers that a matrix of a simplified network may hold."""


class Beside(nn.Module):
    """An affine map and its nonlinearity, with the values that they read passed on beside them."""

    def __init__(self, linear: nn.Linear, activation: nn.Module) -> None:
        super().__init__()
        self.linear, self.activation = linear, activation

    def forward(self, x: Tensor) -> Tensor:
        """What the units make, then what they read."""
        return torch.cat([self.activation(self.linear(x)), x], -1)


class Simplified(nn.Sequential):
    """A smaller network; ``removed`` says which units of the first one are gone, and why.

    Attributes:
        removed: one row a unit: ``layer``, ``name``, ``unit``, ``reason``.
        units: numbers of units before and after.
        counts: numbers of weights before and after.
    """

    removed: pd.DataFrame
    units: tuple[int, int]
    counts: tuple[int, int]

    def __str__(self) -> str:
        before, after = self.units
        why = ", ".join(f"{n:,} {reason}" for reason, n in self.removed["reason"].value_counts().items())
        return (
            f"{after:,} of {before:,} units and {self.counts[1]:,} of {self.counts[0]:,} numbers remain"
            f"{f' ({why})' if why else ''}"
        )


@dataclass
class _Part:
    """An affine map and the nonlinearity after it; ``none`` after the last.

    Attributes:
        weight: its matrix, and ``bias``.
        activation: the nonlinearity.
        passes: whether the next part reads, after the units, what this one reads.
    """

    weight: Floats
    bias: Floats
    activation: nn.Module | None
    passes: bool = False


@checked
def simplify(
    model: Model, domain: Any, *, shape: Sequence[int] | None = None, regions: NotNegativeInt = 256
) -> Simplified:
    """Make a smaller network that computes the same on a domain, from units that are proved to stay on one piece.

    A unit that is *dead* for every input of the domain goes. What a *saturated* unit adds goes into the next bias.
    Units that are the same, or for ReLU positive multiples of each other, become one. A layer all of whose units are
    always *on* is merged into the next; where some are, they go too, and the next layer reads what they read, if
    that makes the network smaller. States are those that `units` proves. The model itself is left alone.

    In real arithmetic the outputs are equal on the domain, but for the rounding of weights that had to be added or
    multiplied: computed in float64, stored in the model's own number type. Outside the domain they may differ.

    Args:
        model: a module in evaluation mode, or a captured program: affine layers, batch norm among them, and
            elementwise piecewise-linear nonlinearities in a chain. Its matrices are written out densely.
        domain: a bounded `Box` or `Polytope`.
        shape: the shape of one input, where neither the domain nor the first layer tells it.
        regions: as in `units`.

    Returns:
        The network, an ``nn.Sequential`` that says what went: `Simplified`.

    Raises:
        InvalidInputError: the network is no such chain, or too wide to be written out; the domain is not bounded.
        NotPiecewiseLinearError: the network has an operation that is not piecewise linear.
        NotExplicitError: an operation has no matrix with known coefficients.
        CaptureError: the model cannot be captured.

    Example:
        >>> import torch, netfold as nf
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> _ = net[0].weight.data.copy_(torch.ones(3, 1)), net[0].bias.data.copy_(torch.tensor([-3.0, 0.0, 3.0]))
        >>> small = nf.simplify(net, nf.Box(-1.0, 2.0))
        >>> small.removed[["unit", "reason"]].values.tolist()
        [[0, 'dead'], [2, 'on']]
    """
    from netfold.measures.counts import program_on

    if not isinstance(domain, Box | Polytope):
        raise InvalidInputError(f"a network is simplified on a bounded Box or Polytope, got {type(domain).__name__}")
    program = program_on(model, domain, shape)
    program.require_piecewise_linear()
    parts = _chain(program)
    found = units(program, domain, regions=regions)
    before = sum(part.weight.size + part.bias.size for part in parts)
    gone: list[tuple[int, str, int, str]] = []
    for number, layer in enumerate(program.layers):
        mine = found.units.layer == number + 1
        state = np.where(found.units.proved[mine], found.units.state[mine], STATES.index(FREE))
        middle = found.units.low[mine] / 2 + found.units.high[mine] / 2
        gone += [(number + 1, layer.name, *why) for why in _thinned(parts, number, layer, state, middle)]
    small = Simplified(*_modules(_merged(parts), program))
    small.removed = pd.DataFrame(sorted(gone), columns=["layer", "name", "unit", "reason"])
    total = sum(layer.units for layer in program.layers)
    small.units = total, total - len(gone)
    small.counts = before, sum(p.numel() for p in small.parameters())
    return small.eval()


def _chain(program: Program) -> list[_Part]:
    """The affine maps and nonlinearities of a network that is a chain of them."""
    explicit = ExplicitProgram.of(program)
    parts, reads = [], 0
    for stage, steps in zip(program.stages, explicit.steps, strict=True):
        _require_chain(program, stage)
        size = math.prod(program.input_shape) if not parts else len(parts[-1].bias)
        weight, bias, at = None, np.zeros(size), reads
        for step in steps:
            if [term.source for term in step.terms] != [at]:
                raise InvalidInputError(
                    f"{_where(program)}: {step.node.describe()} reads more than the layer before it"
                )
            own = step.terms[0].coefficients.near
            if math.prod(step.shape) * size > MOST:
                raise InvalidInputError(
                    f"{_where(program)}: written out as matrices its layers hold more than {MOST:,} numbers"
                )
            weight = own.toarray() if weight is None else own @ weight
            bias, at = own @ bias + step.nearest[0], step.node.index
        if stage.inputs != (at,):
            raise InvalidInputError(f"{_where(program)}: its output reads more than the layer before it")
        activation = None if stage.layer is None else _activation(program, stage.layer)
        weight = np.eye(size) if weight is None else weight
        parts.append(_Part(weight, bias, activation))
        reads = stage.layer.node.index if stage.layer is not None else reads
    return parts


def _where(program: Program) -> str:
    return f"{program.name} is no chain of affine layers and elementwise nonlinearities that could be simplified"


def _require_chain(program: Program, stage: Stage) -> None:
    if stage.layer is not None and not isinstance(stage.layer.rule, Elementwise):
        raise InvalidInputError(f"{_where(program)}: layer '{stage.layer.name}' ({stage.layer.op}) selects")
    if stage.alive or len(stage.inputs) != 1:
        end = "the output" if stage.layer is None else f"layer '{stage.layer.name}'"
        raise InvalidInputError(f"{_where(program)}: a value goes past {end}, as skips do")


def _activation(program: Program, layer: Layer) -> nn.Module:
    """A module for the nonlinearity of a layer, the same for all of its units."""
    rule = layer.rule
    assert isinstance(rule, Elementwise)
    if len(rule.slopes) == 1:
        knots, slopes, offsets = (v[0].tolist() for v in (rule.knots, rule.slopes, rule.offsets))
        if layer.op == "hardsigmoid":
            return nn.Hardsigmoid()
        if slopes == [0.0, 1.0] and offsets == [0.0, 0.0]:
            return nn.ReLU()
        if len(slopes) == 2 and slopes[1] == 1.0 and offsets == [0.0, 0.0]:
            return nn.LeakyReLU(slopes[0])
        if slopes == [0.0, 1.0, 0.0] and offsets[1] == 0.0:
            return nn.Hardtanh(*knots)
    raise InvalidInputError(f"{_where(program)}: layer '{layer.name}' ({layer.op}) is none of ReLU, leaky ReLU, clamp")


def _thinned(parts: list[_Part], number: int, layer: Layer, state: np.ndarray, middle: Floats) -> list[tuple[int, str]]:
    """Take units that are not needed out of a layer: which they are, and why.

    Args:
        parts: the network, of which this layer's part and the next are changed.
        number: which part.
        layer: the layer in the first network.
        state: the proved states of its units, and ``middle``: a pre-activation on the piece of each.
    """
    part, after, rule = parts[number], parts[number + 1], layer.rule
    assert isinstance(rule, Elementwise)
    why: dict[int, str] = {}
    flat = np.isin(state, [STATES.index(DEAD), STATES.index(SATURATED)])
    if flat.any():
        after.bias = after.bias + after.weight[:, flat] @ rule(middle[None])[0][flat]
        why |= {int(i): STATES[state[i]] for i in np.flatnonzero(flat)}
    for i, j, factor in _same(part, np.flatnonzero(~flat), not rule.knots.any() and not rule.offsets.any()):
        after.weight[:, i] += factor * after.weight[:, j]
        why[j] = f"the same as unit {i}" if factor == 1 else f"{factor:g} times unit {i}"
    left = np.array([i not in why for i in range(len(state))], np.bool_)
    on = left & (state == STATES.index(ON))
    inputs = part.weight.shape[1]
    if on.any() and (on.sum() == left.sum() or inputs * len(after.bias) < on.sum() * (inputs + 1 + len(after.bias))):
        (slope,), (offset,) = rule.piece_at(middle[None])
        mixed = after.weight[:, on] * slope[on]
        after.weight = np.concatenate([after.weight, mixed @ part.weight[on]], 1)
        after.bias = after.bias + mixed @ part.bias[on] + after.weight[:, : len(on)][:, on] @ offset[on]
        part.passes = True
        why |= {int(i): ON for i in np.flatnonzero(on)}
        left &= ~on
    columns = np.concatenate([left, np.ones(after.weight.shape[1] - len(left), np.bool_)])
    part.weight, part.bias = part.weight[left], part.bias[left]
    after.weight = after.weight[:, columns]
    return list(why.items())


def _same(part: _Part, rows: np.ndarray, scaled: bool) -> list[tuple[int, int, float]]:
    """Rows that are, exactly, the same as an earlier one, or a positive multiple of it: (earlier, row, factor)."""
    whole = np.column_stack([part.weight, part.bias])[rows]
    sizes = np.abs(whole).max(1, initial=0.0) if scaled else np.ones(len(rows))
    groups: dict[bytes, list[int]] = {}
    for k, (row, size) in enumerate(zip(whole, sizes, strict=True)):
        if size > 0:
            groups.setdefault((np.round(row / size, 12) + 0.0).tobytes(), []).append(k)
    found = []
    for first, *others in groups.values():
        for k in others:
            at = int(np.abs(whole[first]).argmax())
            factor = Fraction(whole[k][at]) / Fraction(whole[first][at]) if whole[first][at] else Fraction(1)
            near = float(factor)
            exactly = all(factor * Fraction(a) == Fraction(b) for a, b in zip(whole[first], whole[k], strict=True))
            if exactly and factor > 0 and (scaled or factor == 1) and Fraction(near) == factor:
                found.append((int(rows[first]), int(rows[k]), near))
    return found


def _merged(parts: list[_Part]) -> list[_Part]:
    """The parts that have units, or make the output; the next reads what an empty one read."""
    kept = []
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if after is None or len(part.bias):
            kept.append(part)
        elif not part.passes:
            after.weight = np.zeros((len(after.bias), part.weight.shape[1]))
    return kept


def _modules(parts: list[_Part], program: Program) -> list[nn.Module]:
    """Modules of torch's own, one or two a part."""
    made: list[nn.Module] = [] if len(program.input_shape) == 1 else [nn.Flatten()]
    for part in parts:
        linear = nn.Linear(part.weight.shape[1], len(part.bias), dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(part.weight))
            linear.bias.copy_(torch.from_numpy(part.bias))
        linear = linear.to(program.device, program.dtype)
        if part.activation is None:
            made.append(linear)
        else:
            made += [Beside(linear, part.activation)] if part.passes else [linear, part.activation]
    if len(program.output_shape) != 1:
        made.append(nn.Unflatten(1, program.output_shape) if program.output_shape else nn.Flatten(0))
    return made
