"""What is watched along the path in each layer: the units' states, and the signs of their pre-activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Elementwise, Selection
from netfold.capture.operations import op_name
from netfold.capture.program import Layer, Program
from netfold.capture.smooth import alone, knots
from netfold.exact.numerics.threads import over_rows
from netfold.sampled import scan
from netfold.sampled.brackets import Brackets, joined
from netfold.sampled.flow import Moving
from netfold.sampled.rule import NODES

States = NDArray[np.int32]


@dataclass(frozen=True)
class Sight:
    """What is seen of one layer in some panels.

    Attributes:
        states: state of every unit at every node, ``(panels, nodes, units)``; signs likewise (1: positive).
        doubtful: panels in which changes of state or sign may hide between nodes.
        closest: how near a unit comes to a change without making it, as a share of the layer's scale.
        brackets: where units change their state, in order of panels.
    """

    states: States
    signs: States
    doubtful: NDArray[np.bool_]
    closest: Floats
    brackets: Brackets

    @property
    def crossed(self) -> NDArray[np.bool_]:
        """Panels in which a unit changes its state."""
        found = np.zeros(len(self.doubtful), np.bool_)
        found[self.brackets.panel] = True
        return found

    @property
    def sign_changes(self) -> Ints:
        """Changes of sign inside each panel, one column a unit."""
        return (self.signs[:, 1:] != self.signs[:, :-1]).sum(1)


class Watch(Protocol):
    """Looks at what one layer (or the output) reads.

    Attributes:
        stage: number of the layer; the output follows the last one.
        units: how many units are watched.
        breaks: whether velocities may jump where a unit changes its state.
    """

    stage: int
    units: int
    breaks: bool

    def look(self, read: Moving, t: Floats, width: Floats) -> Sight:
        """See panels: values and velocities at nodes ``t`` of shape ``(panels, nodes)``."""
        ...


class Levels:
    """Units whose state is the number of levels below their pre-activation."""

    def __init__(self, stage: int, units: int, levels: Floats, breaks: bool) -> None:
        self.stage, self.units, self.breaks = stage, units, breaks
        self.levels = [np.ascontiguousarray(np.broadcast_to(row, units)) for row in levels]
        zero = [k for k, level in enumerate(self.levels) if not level.any()]
        self.sign = zero[0] if zero else len(self.levels)
        self.watched = self.levels if zero else [*self.levels, np.zeros(units)]

    def look(self, read: Moving, t: Floats, width: Floats) -> Sight:
        """See panels."""
        panels = len(t)
        h, d = (a.reshape(panels, len(NODES), -1) for a in (read.value, read.velocity))
        doubtful, closest = np.zeros(panels, np.bool_), np.full(panels, np.inf)
        sides = np.zeros((len(self.watched), panels, len(NODES), self.units), np.bool_)
        for level, side in zip(self.watched, sides, strict=True):
            over_rows(scan.levels, panels, h[0].size, h, d, width, level, side, doubtful, closest)
        found = [self._brackets(k, h, d, t, sides[k]) for k in range(len(self.levels))]
        states = sides[: len(self.levels)].sum(0, dtype=np.int32)
        return Sight(states, sides[self.sign].astype(np.int32), doubtful, closest, _in_order(found))

    def _brackets(self, k: int, h: Floats, d: Floats, t: Floats, side: NDArray[np.bool_]) -> Brackets:
        p, i, u = np.nonzero(side[:, 1:] != side[:, :-1])
        up, level = side[p, i + 1, u], self.levels[k][u]
        return Brackets(
            p, np.full(len(p), self.stage), u, np.where(up, k, k + 1), np.where(up, k + 1, k),
            entry=u, other=np.full(len(p), -1), level=level,
            low=t[p, i], a=h[p, i, u] - level, da=d[p, i, u],
            high=t[p, i + 1], b=h[p, i + 1, u] - level, db=d[p, i + 1, u], up=up,
        )  # fmt: skip


class Winners:
    """Units that take the largest of a few entries; the state is the place of the entry that wins."""

    def __init__(self, stage: int, rule: Selection, breaks: bool) -> None:
        self.stage, self.units, self.breaks = stage, len(rule.candidates), breaks
        self.candidates = np.ascontiguousarray(rule.candidates)
        self.factor = 1.0 if rule.largest else -1.0

    def look(self, read: Moving, t: Floats, width: Floats) -> Sight:
        """See panels."""
        panels = len(t)
        h, d = (self.factor * a.reshape(panels, len(NODES), -1) for a in (read.value, read.velocity))
        doubtful, closest = np.zeros(panels, np.bool_), np.full(panels, np.inf)
        won = np.zeros((panels, len(NODES), self.units), np.int32)
        over_rows(scan.winners, panels, h[0].size, h, d, width, self.candidates, won, doubtful, closest)
        return Sight(won, np.zeros_like(won), doubtful, closest, self._brackets(h, d, t, won))

    def _brackets(self, h: Floats, d: Floats, t: Floats, won: States) -> Brackets:
        p, i, u = np.nonzero(won[:, 1:] != won[:, :-1])
        origin, target = won[p, i, u], won[p, i + 1, u]
        x, y = self.candidates[u, origin], self.candidates[u, target]
        gap = [self.factor * (v[p, n, y] - v[p, n, x]) for n in (i, i + 1) for v in (h, d)]
        return Brackets(
            p, np.full(len(p), self.stage), u, origin.astype(np.int64), target.astype(np.int64),
            entry=y, other=x, level=np.zeros(len(p)),
            low=t[p, i], a=gap[0], da=gap[1], high=t[p, i + 1], b=gap[2], db=gap[3],
            up=np.full(len(p), self.factor > 0),
        )  # fmt: skip


def _in_order(parts: list[Brackets]) -> Brackets:
    """Brackets of several levels, in order of panels."""
    if len(parts) == 1:
        return parts[0]
    found = joined(parts)
    return found.take(np.argsort(found.panel, kind="stable"))


BREAK = {"hardswish", "elu", "selu"}
"""Operations whose slopes may jump at their knots."""


def watch(stage: int, layer: Layer, features: int) -> Watch | None:
    """What to watch in a layer: knots where it has some, 0 where it acts on each unit alone.

    Operations on several values at once (normalisation, softmax, attention, products) have no pre-activation whose
    sign could be watched.
    """
    if isinstance(layer.rule, Elementwise):
        return Levels(stage, layer.units, layer.rule.knots.T, breaks=True)
    if isinstance(layer.rule, Selection):
        return Winners(stage, layer.rule, breaks=True)
    if not alone(layer, features):
        return None
    return Levels(stage, layer.units, knots(layer).T, breaks=op_name(layer.node.schema) in BREAK)


def watch_signs(program: Program) -> Watch:
    """The signs of the outputs."""
    return Levels(len(program.layers), _outputs(program), np.zeros((1, 1)), breaks=False)


def watch_classes(program: Program) -> Watch:
    """Which output is largest; of one output, its sign."""
    outputs = _outputs(program)
    if outputs == 1:
        return watch_signs(program)
    return Winners(len(program.layers), Selection(np.arange(outputs)[None, :], True), breaks=False)


def _outputs(program: Program) -> int:
    return int(np.prod(program.output_shape, dtype=np.int64))
