"""Adaptive panels along a path: split until every change of state stands alone, then until lengths are known.

One panel's nodes serve everything: the quadrature of all images' speeds, and the search for changes of state. First,
from left to right and depth first, panels are halved while changes may hide in them, and cut at the knots of the
first piecewise-linear layer that switches in them, so that what later layers read is smooth in every panel that is
kept. Then the panels that hold most of the error are halved, until all errors together are below the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.numerics.threads import over_rows
from netfold.progress import Budget
from netfold.sampled import measure
from netfold.sampled.brackets import FOR_A_ROOT, joined, roots
from netfold.sampled.flow import Flow, Moving
from netfold.sampled.panels import NARROWEST, NUDGE, Leaves, Panels
from netfold.sampled.rule import NODES
from netfold.sampled.seams import PanelSides, Seams
from netfold.sampled.watch import Sight, Watch

Mask = NDArray[np.bool_]

FIRST_PANELS = 8
"""Panels to begin with, at least; fewer where a budget does not reach for twice as many."""


@dataclass
class Refinement:
    """Splits a path into panels.

    Attributes:
        flow: the program along the path.
        watches: what is watched, in order of layers; then the signs of the outputs, then the class.
        tolerance: largest error of each length and angle, relative to it (angles below one radian: absolute).
        budget: after which nothing more is split.
        advance: called with the share of the path that is settled.
        starved: panels that would have been split further had the budget not run out.
        undecided: panels too narrow to split in which changes may still hide.
        closest: how near a unit came to a change without making it, relative to its layer's scale.
        first_class: the state of the last watch where the path begins.
    """

    flow: Flow
    watches: list[Watch]
    tolerance: float
    budget: Budget
    advance: Callable[[float], object]
    starved: int = 0
    undecided: int = 0
    closest: float = np.inf
    first_class: int = 0
    kept: list[Leaves] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.read = frozenset(w.stage for w in self.watches)
        self.seams = Seams(len(self.flow.stages) + 1, sum(w.units for w in self.watches))

    def run(self, corners: Floats) -> Leaves:
        """Refine the whole path, given the parameters between which it is smooth."""
        first = min(FIRST_PANELS, max(int(self._left / (2 * len(NODES))), 1))
        each = -(-first // (len(corners) - 1))
        share = np.arange(each) / each
        inner = (corners[:-1, None] + np.diff(corners)[:, None] * share).reshape(-1)
        pending = Panels.between(np.append(inner, 1.0))
        while len(pending):
            self._settle(pending)
            pending = self._inaccurate()
        return self.leaves

    @property
    def leaves(self) -> Leaves:
        """The panels kept so far."""
        self.kept = [Leaves.joined(self.kept)]
        return self.kept[0]

    @property
    def allowed(self) -> Floats:
        """The largest error allowed of each measure, ``(images, measures)``."""
        total, _ = self.leaves.totals
        floor = np.zeros(measure.MEASURES)
        floor[[measure.ANGLE, measure.TURN]] = 1.0
        rounding = np.finfo(np.float64).eps * total[:, measure.LENGTH].max()
        return np.maximum(self.tolerance * np.maximum(total, floor), rounding)

    def _inaccurate(self) -> Panels:
        """Halves of the panels that hold most of the error, which are given up; none if the rest is accurate."""
        leaves, allowed = self.leaves, self.allowed
        share = np.divide(leaves.errors, allowed, out=np.zeros_like(leaves.errors), where=allowed > 0)
        if (self.leaves.totals[1] <= allowed).all():
            return leaves.panels.take(slice(0))
        worst = np.where(leaves.errors > measure.rounding(leaves.values), share, 0.0).max((1, 2))
        worst[leaves.panels.width < NARROWEST] = 0.0
        order = np.argsort(-worst, kind="stable")
        left = share.sum(0) - np.cumsum(share[order], 0)
        count = int(np.argmax((left <= 0.5).all((1, 2)))) + 1
        room = max(self._left / (2 * len(NODES)), 0.0)
        count = int(min(count, (worst > 0).sum(), room))
        chosen = np.zeros(len(worst), np.bool_)
        chosen[order[:count]] = True
        if not count:
            return leaves.panels.take(slice(0))
        given_up = leaves.panels.take(np.flatnonzero(chosen))
        self.kept = [leaves.take(~chosen)]
        self.advance(-float(given_up.width.sum()))
        return given_up.closed().cut(0.5 * (given_up.a + given_up.b))

    def _settle(self, pending: Panels) -> None:
        """Split panels, from left to right, until each can be kept."""
        stack = [pending]
        block = max(1, self.flow.batch // len(NODES))
        while stack:
            top = stack.pop()
            if len(top) > block:
                stack.append(top.take(slice(block, None)))
                top = top.take(slice(block))
            split = self._look(top, sum(map(len, stack)))
            if len(split):
                stack.append(split)

    def _look(self, panels: Panels, waiting: int) -> Panels:
        """Sample a block of panels; keep those that are settled and return the parts of the others."""
        t = panels.nodes
        images, inputs = self.flow.images(t.reshape(-1), self.read)
        sights = [w.look(inputs[w.stage], t, panels.width) for w in self.watches]
        halved, cut = self._unsettled(panels, sights)
        brackets = joined([s.brackets.take(np.flatnonzero(cut[n, s.brackets.panel])) for n, s in enumerate(sights)])
        cut = cut.any(0)
        parts = waiting + 2 * int(halved.sum()) + int(cut.sum()) + len(brackets)
        points = np.empty(0)
        if len(NODES) * parts + FOR_A_ROOT * len(brackets) <= self._left:
            apart = _apart(brackets.panel, roots(self.flow, brackets), panels)
            parted = np.zeros(len(panels), np.bool_)
            parted[_owner(panels, apart)] = True
            halved |= cut & ~parted & np.any([s.doubtful for s in sights], 0)
            points = np.concatenate([(0.5 * (panels.a + panels.b))[halved], apart])
        else:
            self.starved += int((halved | cut).sum())
        split = np.zeros(len(panels), np.bool_)
        split[_owner(panels, points)] = True
        if not split.all():
            self.kept.append(self._leaves(panels, ~split, images, sights))
        return panels.take(np.flatnonzero(split)).cut(points)

    @property
    def _left(self) -> float:
        """Evaluations that are left, but for those in which the changes that were met are found; half at least."""
        budget = self.budget
        budget.spent = self.flow.evaluations
        left = 0.0 if budget.stopped else budget.left(budget.elapsed / budget.spent)
        return left - min(FOR_A_ROOT * sum(len(leaves.brackets) for leaves in self.kept), 0.5 * left)

    def _unsettled(self, panels: Panels, sights: list[Sight]) -> tuple[Mask, Mask]:
        """Panels to be halved, and for each watch the panels to be cut where its units switch."""
        none = len(sights)
        doubt, knot = np.full(len(panels), none), np.full(len(panels), none)
        for number in reversed(range(none)):
            doubt[sights[number].doubtful] = number
            if self.watches[number].breaks:
                knot[sights[number].crossed] = number
        wide = panels.width >= NARROWEST
        self.undecided += int((~wide & (doubt < none)).sum())
        halved = wide & (doubt < none) & (doubt <= knot)
        return halved, wide & (knot < doubt) & (knot == np.arange(none)[:, None])

    def _leaves(self, panels: Panels, chosen: Mask, images: list[Moving], sights: list[Sight]) -> Leaves:
        """Measure the chosen panels, and compare their ends with their neighbours'."""
        rows = np.flatnonzero(chosen)
        kept = panels.take(rows)
        values = np.empty((len(images), len(rows), measure.MEASURES))
        errors = np.empty_like(values)
        t = kept.nodes
        ends: list[list[tuple[Floats, Floats]]] = [[], []]
        for n, image in enumerate(images):
            z, v = (a.reshape(len(panels), len(NODES), -1) for a in (image.value, image.velocity))
            if len(rows) < len(panels):
                z, v = z[rows], v[rows]
            over_rows(measure.panels, len(rows), z[0].size, z, v, t, kept.width, values[n], errors[n])
            for node, end in zip((0, -1), ends, strict=True):
                end.append((z[:, node], v[:, node]))
        first, last = (
            np.concatenate([s.states[rows, node] for s in sights] + [s.signs[rows, node] for s in sights], 1)
            for node in (0, -1)
        )
        self.seams.add(kept, PanelSides(t[:, 0], first, ends[0]), PanelSides(t[:, -1], last, ends[1]))
        if kept.a[0] == 0.0:
            self.first_class = int(sights[-1].states[rows[0], 0, 0])
        self.closest = min([self.closest, *(float(s.closest[rows].min()) for s in sights)])
        inside = [s.brackets.take(np.flatnonzero(chosen[s.brackets.panel])) for s in [*sights[:-2], sights[-1]]]
        brackets = joined(inside)
        place = np.cumsum(chosen) - 1
        changes = [s.sign_changes[rows] for s in sights]
        self.advance(float(kept.width.sum()))
        return Leaves(
            kept,
            values.swapaxes(0, 1),
            errors.swapaxes(0, 1),
            np.stack([c.sum(1) for c in changes], 1),
            changes[-2].astype(np.uint8),
            replace(brackets, panel=place[brackets.panel]),
        )


def _owner(panels: Panels, points: Floats) -> Ints:
    """Which panel each point is in."""
    return np.searchsorted(panels.a, points, "right") - 1


def _apart(panel: Ints, t: Floats, panels: Panels) -> Floats:
    """Points that lie apart from each other and from the ends of their panels, in order."""
    order = np.lexsort((t, panel))
    panel, t = panel[order], t[order]
    inside = (t - panels.a[panel] > NUDGE) & (panels.b[panel] - t > NUDGE)
    panel, t = panel[inside], t[inside]
    apart = np.ones(len(t), np.bool_)
    last = 0
    for i in range(1, len(t)):
        apart[i] = panel[i] != panel[last] or t[i] - t[last] > NUDGE
        last = i if apart[i] else last
    return t[apart]
