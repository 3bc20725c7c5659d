"""Certificates for paths: breakpoints and transitions proven for the stored weights, not only computed.

The breakpoints that a float engine found are taken as claims and proven without it, in three steps. Values and error
bounds at the claimed breakpoints and between them prove most of them in float64 (`certificate.proof`). What float64
leaves undecided is tried again at the same parameters in double-double arithmetic. What is left then (ties, touches,
pieces narrower than float64 can tell) is traced in rational arithmetic between two parameters at which every state is
certain (`netfold.exact.certificate.rational`), and what that finds replaces the claims. Arcs of whole quarter turns are
traced in rational arithmetic as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import groupby
from random import Random

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Elementwise
from netfold.capture.program import Program
from netfold.exact.certificate.kinks import Jumps
from netfold.exact.certificate.proof import Stretches, judge
from netfold.exact.certificate.rational import OutOfBudgetError, RationalTrace, RationalTracer
from netfold.exact.certificate.rounding import Evaluation
from netfold.exact.certificate.route import Route
from netfold.exact.matrices.explicit import ROOT_BITS, ExplicitProgram
from netfold.exact.numerics.threads import beside, look
from netfold.paths import Ellipse

BUDGET = 3e9
"""Work in rational arithmetic for one path, in multiplications of long integers: some five minutes."""

MOST = 2**25
"""Coefficients of a network that are written out as matrices, for double-double and rational arithmetic: some 2 GB."""

CURVED = 12.0
"""How much longer rational arithmetic takes along an arc, where signs are those of numbers with square roots."""

FINE = 1e-10
"""How far from the true breakpoint a claimed one may be shown to be and stand, where it can be found better."""

ROW_BYTES = 2**22
"""Memory for one array of rows; some twenty are alive at once."""


@dataclass(frozen=True)
class Certificate:
    """What is proven of a path.

    Attributes:
        breakpoints: parameters, in order. Those found in rational arithmetic are correctly rounded, so that two that
            differ by less than float64 can tell are equal here; the others are as claimed.
        layers: the first layer in which a unit changes its state at each breakpoint.
        reach: how far each breakpoint can be from the true one; infinite where claims stand.
        transitions: state switches, one entry a layer.
        sign_transitions: crossings of 0 by a pre-activation, one entry a layer.
        saturation_passages: passages from one saturated state to the other, one entry a layer.
        patterns: distinct activation patterns.
        linear_pieces: affine pieces of the output; a vertex of the path parts two where a unit changes there.
        precise: places that float64 left undecided and double-double arithmetic decided; ``rational`` were left to
            rational arithmetic. What stands at the ``uncertain`` ones is not proven: there the network takes a
            square root, of which 400 binary digits were used, or the budget was spent and the claims stand.
        added: breakpoints found that were not claimed, and ``removed`` claims that are none.
        status: the same in words.
    """

    breakpoints: Floats
    layers: Ints
    reach: Floats
    transitions: Ints
    sign_transitions: Ints
    saturation_passages: Ints
    patterns: int
    linear_pieces: int
    precise: int
    rational: int
    uncertain: int
    added: int
    removed: int
    status: str

    @property
    def doubtful(self) -> int:
        """Places that float64 left undecided."""
        return self.precise + self.rational + self.uncertain

    @property
    def regions(self) -> int:
        """Activation regions crossed."""
        return len(self.breakpoints) + 1


@dataclass(frozen=True)
class _Found:
    """Breakpoints in one place of a route, and the changes of state at them.

    Attributes:
        t: parameters, ``layers`` the first layers, ``reach`` how far off they can be.
        changes: ``(breakpoint, layer, unit, old state, new state)``, in order; unit -1 where it is not known.
        signs: sign transitions, one entry a layer.
        kinks: breakpoints at which the output bends.
    """

    t: list[float]
    layers: list[int]
    reach: list[float]
    changes: list[tuple[int, int, int, int, int]]
    signs: Ints
    kinks: int


class Certifier:
    """Proves what paths meet in a program.

    Args:
        program: the captured network.
        budget: multiplications of long integers to spend on a path at most; what these do not reach stays uncertain.

    Raises:
        NotPiecewiseLinearError: the program is not piecewise linear.
        NotExplicitError: it holds an operation whose coefficients are not known.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=2, width=8, depth=2, sigma_b=0.5, seed=1)
        >>> path = nf.Line([-2.0, 0.0], [2.0, 1.0])
        >>> trace = nf.trace_path(net, path)
        >>> certifier = Certifier(nf.capture(net, shape=(2,)))
        >>> certificate = certifier.certify(*path.vertices, trace.breakpoints, trace.breakpoint_layers)
        >>> certificate.status
        'proven'
        >>> certificate.regions == trace.regions
        True
    """

    def __init__(self, program: Program, budget: float = BUDGET) -> None:
        self.program, self.budget = program, budget
        self.explicit = ExplicitProgram.of(program)
        self.plain, self.precise = Evaluation(self.explicit, False), Evaluation(self.explicit, True)
        self.coefficients = sum(step.size.size * step.roundings for steps in self.explicit.steps for step in steps)
        sizes = (step.size.size for steps in self.explicit.steps for step in steps)
        self.rows = int(np.clip(ROW_BYTES // (8 * max(math.prod(program.input_shape), *sizes, 1)), 8, 4096))

    @cached_property
    def tracer(self) -> RationalTracer:
        """The network in rational arithmetic, for the places that need it."""
        return RationalTracer(self.explicit)

    @beside
    def certify(self, t: Floats, points: Floats, breakpoints: Floats, layers: Ints) -> Certificate:
        """Prove what one path meets.

        Args:
            t: parameters of the path's vertices, increasing, and ``points`` the vertices, one a row.
            breakpoints: claimed parameters of breakpoints, in order, and ``layers`` their first layers.

        Returns:
            The certificate.
        """
        route = Route.of(t, points, breakpoints)
        cells = route.cells(len(self.program.layers))
        self._prove(self.plain, route, cells, np.arange(len(cells.left)))
        doubtful = _runs(cells.open)
        if self.coefficients <= MOST:
            self._prove(self.precise, route, cells, np.flatnonzero(cells.open))
        precise = sum(not cells.open[a:b].any() for a, b in doubtful)
        found, rational, uncertain = {}, 0, 0
        budget = self.budget if self.coefficients <= MOST else 0.0
        for first, last in sorted(_runs(cells.open), key=lambda run: run[1] - run[0]):
            try:
                if budget <= 0:
                    raise OutOfBudgetError
                part = route.between(int(cells.left[first]), int(cells.right[last - 1]))
                trace = self.tracer.run(*part, budget)
                budget -= trace.work
                rational += self.explicit.rational
                uncertain += not self.explicit.rational
                found[first, last] = _from_trace(trace, part[0][1:-1])
            except OutOfBudgetError:
                budget = 0.0
                uncertain += 1
                claims = _claims(route, cells, first, last)
                signs = cells.signs[first:last].sum(0)
                found[first, last] = _from_claims(breakpoints[claims], layers[claims], signs)
        return self._certificate(route, cells, found, (precise, rational, uncertain), breakpoints)

    @beside
    def certify_arc(self, ellipse: Ellipse, breakpoints: Floats, doubts: int) -> Certificate | None:
        """Prove what the quarter turns of an ellipse meet; ``None`` if its angle is no multiple, or beyond the budget.

        Args:
            ellipse: the path.
            breakpoints: claimed parameters, and ``doubts`` how many places float64 left open.
        """
        quarters = ellipse.quarters
        if quarters is None or self.coefficients > MOST:
            return None
        try:
            trace = self.tracer.run_arc(ellipse, quarters, self.budget / CURVED)
        except OutOfBudgetError:
            return None
        found = _from_trace(trace, [], quarters)
        rational = self.explicit.rational
        return Certificate(
            np.array(found.t), np.array(found.layers, np.int64), np.array(found.reach), np.array(trace.transitions),
            found.signs, self._passages(found, closed=quarters % 4 == 0), trace.patterns, trace.linear_pieces,
            0, doubts * rational, 0 if rational else max(doubts, 1), max(0, len(found.t) - len(breakpoints)),
            max(0, len(breakpoints) - len(found.t)), self._status(0 if rational else max(doubts, 1)),
        )  # fmt: skip

    def _prove(self, evaluation: Evaluation, route: Route, cells: Stretches, chosen: Ints) -> None:
        """Judge some cells by the network's values at their ends and at the claimed breakpoints in them."""
        for begin in range(0, len(chosen), max(1, self.rows // 2)):
            look()
            part = chosen[begin : begin + max(1, self.rows // 2)]
            left, middle, right = cells.left[part], cells.middle[part], cells.right[part]
            rows = np.unique(np.concatenate([left, middle[middle >= 0], right]))
            place = np.where(middle < 0, -1, np.searchsorted(rows, middle))
            local = Stretches.of(
                np.searchsorted(rows, left), place, np.searchsorted(rows, right), len(self.program.layers)
            )
            local.open[:] = ~(route.usable[left] & route.usable[right])
            jumps = Jumps(evaluation, local)
            for index, h in enumerate(evaluation.layers(route.values(rows, evaluation.precise))):
                jumps.pass_layer(index, judge(local, index, self.program.layers[index], h, route.t[rows]))
            local.kink, certain = jumps.kinks()
            local.open |= ~certain
            if self.coefficients <= MOST:
                local.open |= local.reach > FINE
            cells.put(part, local)

    def _certificate(
        self, route: Route, cells: Stretches, found: dict[tuple[int, int], _Found],
        counts: tuple[int, int, int], breakpoints: Floats,
    ) -> Certificate:  # fmt: skip
        """Put together what was proven cell by cell and what was found in other places."""
        layers = len(self.program.layers)
        parts = _from_cells(route, cells) | {first: part for (first, _), part in found.items()}
        merged = _Found([], [], [], [], np.zeros(layers, np.int64), 0)
        for _, part in sorted(parts.items()):
            merged.changes.extend((len(merged.t) + i, *change) for i, *change in part.changes)  # type: ignore[misc]
            merged.t.extend(part.t)
            merged.layers.extend(part.layers)
            merged.reach.extend(part.reach)
        claimed = {(a, b): _claims(route, cells, a, b).size for a, b in found}
        surplus = {place: len(f.t) - claimed[place] for place, f in found.items()}
        false = len(breakpoints) - (len(parts) - len(found)) - sum(claimed.values())
        signs = sum((f.signs for f in found.values()), cells.signs[~cells.open].sum(0))
        return Certificate(
            np.array(merged.t), np.array(merged.layers, np.int64), np.array(merged.reach),
            np.bincount(np.array([c[1] for c in merged.changes], np.int64), minlength=layers),
            signs, self._passages(merged), _patterns(merged), 1 + sum(part.kinks for part in parts.values()), *counts,
            sum(max(0, s) for s in surplus.values()), sum(max(0, -s) for s in surplus.values()) + false,
            self._status(counts[-1]),
        )  # fmt: skip

    def _passages(self, found: _Found, closed: bool = False) -> Ints:
        """Passages from one saturated state to the other, one entry a layer; a closed path comes back to its first."""
        rules = [layer.rule for layer in self.program.layers]
        ends = [(0, r.slopes.shape[1] - 1) if isinstance(r, Elementwise) and r.saturates else () for r in rules]
        passages, first, last = np.zeros(len(rules), np.int64), dict[tuple[int, int], int](), {}
        for _, layer, unit, *states in found.changes:
            for state in states:
                if state in ends[layer]:
                    first.setdefault((layer, unit), state)
                    passages[layer] += last.get((layer, unit), state) != state
                    last[layer, unit] = state
        for (layer, unit), state in first.items():
            passages[layer] += closed and last[layer, unit] != state
        return passages

    def _status(self, uncertain: int) -> str:
        if uncertain == 0:
            return "proven"
        places = "1 place" if uncertain == 1 else f"{uncertain:,} places"
        if self.coefficients > MOST:
            return f"proven but for {places}, for which {self.coefficients:.2g} coefficients had to be written out"
        if not self.explicit.rational:
            return f"proven but for {places}, where {self.explicit.why}, of which {ROOT_BITS} binary digits were used"
        return f"proven but for {places}, where {self.budget:.3g} multiplications of long integers were not enough"


def _runs(marked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Maximal runs of marked entries: where each begins, and where it has ended."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _claims(route: Route, cells: Stretches, first: int, last: int) -> Ints:
    """The claimed breakpoints in some cells."""
    claims = route.claim[cells.left[first] : cells.right[last - 1] + 1]
    return claims[claims >= 0]


def _from_cells(route: Route, cells: Stretches) -> dict[int, _Found]:
    """The breakpoints proven in cells, by cell; sign transitions are added up elsewhere."""
    closed = np.flatnonzero(~cells.open & (cells.layer >= 0))
    none = np.zeros(0, np.int64)
    parts = cells.layer, cells.unit, cells.origin, cells.target, cells.reach, cells.kink
    columns = [v[closed].tolist() for v in parts]
    found = {
        c: _Found([t], [layer], [reach], [(0, layer, unit, origin, target)], none, kink)
        for c, t, layer, unit, origin, target, reach, kink in zip(
            closed.tolist(), route.t[cells.middle[closed]].tolist(), *columns, strict=True
        )
    }
    for along in cells.along:
        for c, *change in zip(*(v.tolist() for v in along), strict=True):
            found[c].changes.append((0, *change))
    return found


def _from_trace(trace: RationalTrace, vertices: list[Fraction], quarters: int | None = None) -> _Found:
    """What rational arithmetic found on a stretch with some vertices of the path in it, or on an arc."""
    t = [float(b) / (quarters or 1) for b in trace.breakpoints]
    reach = (np.spacing(t) * (4 if quarters else 1)).tolist()
    together = enumerate(group for _, group in groupby(trace.events, key=lambda event: event.t))
    changes = [(i, e.layer, e.unit, e.origin, e.target) for i, group in together for e in group]
    known = set(trace.breakpoints) if vertices else ()
    kinks = trace.linear_pieces - 1 - sum(v not in known for v in vertices)
    return _Found(t, trace.breakpoint_layers, reach, changes, np.array(trace.sign_transitions), kinks)


def _from_claims(t: Floats, layers: Ints, signs: Ints) -> _Found:
    """Claims where nothing better is to be had: one transition each."""
    changes = [(i, layer, -1, 0, 1) for i, layer in enumerate(layers.tolist())]
    return _Found(t.tolist(), layers.tolist(), [math.inf] * len(t), changes, signs, len(t))


def _patterns(found: _Found) -> int:
    """Distinct patterns: each is the sum of the random 128-bit keys of its units' states, up to a constant."""
    draw, keys = Random(0), {}

    def key(*state: int) -> int:
        return keys.setdefault(state, draw.getrandbits(128))

    sums = [0] * (len(found.t) + 1)
    for i, layer, unit, origin, target in found.changes:
        sums[i + 1] ^= key(layer, unit, origin) ^ key(layer, unit, target)
    for i in range(len(found.t)):
        sums[i + 1] ^= sums[i]
    return len(set(sums))
