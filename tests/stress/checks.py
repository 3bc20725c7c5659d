"""What netfold says of a network, held against an oracle that shares none of its code: one case a kind and a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

import netfold as nf
from netfold.arrays import Floats
from tests.exact.arc import rational_circles
from tests.exact.cells.networks import module
from tests.exact.cells.reference import Cell, Layer, Tree, box
from tests.exact.line import rational_segments
from tests.exact.plane.rational_polygons import regions_after
from tests.stress.networks import KINDS, layers_of, points_of, redrawn
from tests.stress.ranges import ranges

NEAR = 1e-9
"""How far a breakpoint may be from the true one."""

LINES, ARCS, PLANES = 3, 8, 8
"""Through each network."""

SHARED = 10**9
"""Seeds from here on share architectures, `FAMILY` by `FAMILY`: most of a case's time is its capture, which a second
network of an architecture is spared."""

FAMILY = 16

SIMPLEX = 0.15
"""Share of networks with seven inputs, from which on another engine counts cells."""


@dataclass
class Verdict:
    """One answer beside the true one.

    Attributes:
        case: what was asked, as "trace" or "certified".
        wrong: what differs: "regions", "transitions", "layers", "breakpoints", "patterns", "linear pieces".
        doubted: whether the answer says that it may be wrong.
        refused: one of netfold's errors, and ``odd`` any other exception.
    """

    case: str
    wrong: list[str] = field(default_factory=list)
    doubted: bool = False
    refused: str = ""
    odd: str = ""
    note: str = ""

    @property
    def silent(self) -> bool:
        """Wrong without a word."""
        return bool(self.wrong) and not self.doubted


def network(group: str, kind: str, seed: int) -> tuple[list[Layer], np.random.Generator]:
    """The layers of a case, and what draws the rest of it."""
    known = seed // FAMILY if seed >= SHARED else seed
    rng, own = (np.random.default_rng([s, [*KINDS].index(kind), [*GROUPS].index(group)]) for s in (known, seed))
    inputs, units, depth = {  # every entry draws, whichever is taken: one more would make other networks of all seeds
        "lines": (int(rng.integers(1, 5)), 8, 4),
        "arcs": (int(rng.integers(2, 4)), 6, 3),
        "planes": (int(rng.integers(2, 4)), 5, 3),
        "units": (1 + seed % 3, 4, 3),
        "cells": (7, 2, 2) if rng.random() < SIMPLEX else (int(rng.integers(1, 4)), 4, 2),
    }[group]
    layers = layers_of(kind, rng, inputs, units, depth)
    return (layers, rng) if seed < SHARED else (redrawn(kind, own, layers), own)


def _asked(case: str, ask: Callable[[], Any], compare: Callable[[Any], Verdict]) -> Verdict:
    try:
        answer = ask()
    except nf.NetfoldError as error:
        return Verdict(case, refused=f"{type(error).__name__}: {error}")
    except (Exception, SystemExit) as error:
        return Verdict(case, odd=f"{type(error).__name__}: {error}"[:300])
    return compare(answer)


def lines(kind: str, seed: int) -> list[Verdict]:
    """A few lines through one network: the default trace and the certified one."""
    layers, rng = network("lines", kind, seed)
    paths = [nf.Line(*points_of(kind, rng, layers, 2)) for _ in range(LINES)]
    captured = _captured(layers)
    if isinstance(captured, Verdict):
        return [captured]
    verdicts = []
    for path in paths:
        true = rational_segments.met(layers, path.x0, path.x1)
        for case, certify in (("trace", False), ("certified", True)):
            verdicts.append(
                _asked(
                    case,
                    lambda path=path, certify=certify: nf.trace_path(captured, path, certify=certify),
                    lambda trace, case=case, true=true: _judge_line(case, trace, true),
                )
            )
    return verdicts


def _captured(layers: Sequence[Layer]) -> nf.Program | Verdict:
    model, shape = module(layers), layers[0].weights.shape[1:]
    found: list[nf.Program] = []
    verdict = _asked("capture", lambda: found.append(nf.capture(model, shape=shape)), lambda _: Verdict("capture"))
    return found[0] if found else verdict


def _judge_line(case: str, trace: nf.Trace, true: rational_segments.Met) -> Verdict:
    wrong = _differ(trace, true.transitions, true.breakpoints, true.first)
    if trace.patterns != len(true.breakpoints) + 1:
        wrong.append("patterns")
    if trace.linear_pieces != true.linear_pieces:
        wrong.append("linear pieces")
    note = f"{trace.regions} regions for {len(true.breakpoints) + 1}, {trace.linear_pieces} pieces for "
    note += f"{true.linear_pieces}, transitions {trace.transitions.tolist()} for {true.transitions}; "
    note += f"margin {trace.margin:.2g}; {trace.status}"
    return Verdict(case, wrong, _doubted(trace), note=note)


def _doubted(trace: nf.Trace) -> bool:
    return bool(trace.uncertain) or not trace.status.startswith("exact")


def _differ(trace: nf.Trace, transitions: list[int], breakpoints: Sequence[Any], first: list[int]) -> list[str]:
    wrong = []
    if trace.regions != len(breakpoints) + 1:
        wrong.append("regions")
    elif np.abs(trace.breakpoints - [float(t) for t in breakpoints]).max(initial=0.0) > NEAR:
        wrong.append("breakpoints")
    elif trace.breakpoint_layers.tolist() != first:
        wrong.append("layers")
    if trace.transitions.tolist() != transitions:
        wrong.append("transitions")
    return wrong


def arcs(kind: str, seed: int) -> list[Verdict]:
    """Some arcs and circles through one network."""
    layers, rng = network("arcs", kind, seed)
    drawn = [(points_of(kind, rng, layers, 3), int(rng.integers(3))) for _ in range(ARCS)]
    captured = _captured(layers)
    return [captured] if isinstance(captured, Verdict) else [_arc(captured, layers, *one) for one in drawn]


def _arc(program: nf.Program, layers: list[Layer], points: Floats, which: int) -> Verdict:
    u, v, center = points
    nowhere = np.zeros_like(u)
    case, path, center, quarters = [
        ("arc", nf.Arc(u, v), nowhere, 1), ("circle", nf.Circle(u, v), nowhere, 4),
        ("circle elsewhere", nf.Circle(u, v, center), center, 4),
    ][which]  # fmt: skip

    def compare(trace: nf.Trace) -> Verdict:
        true = rational_circles.met(layers, center, u, v, quarters)
        wrong = _differ(trace, true.transitions, true.breakpoints, true.first)
        note = f"{trace.regions} regions for {len(true.breakpoints) + 1}, transitions {trace.transitions.tolist()} for "
        note += f"{true.transitions}; margin {trace.margin:.2g}"
        return Verdict(case, wrong, _doubted(trace), note=note)

    return _asked(case, lambda: nf.trace_path(program, path), compare)


def _by_layer(layers: Sequence[Layer], cells: Sequence[Cell]) -> list[int]:
    """Distinct patterns of the network cut off after every layer."""
    until = np.cumsum([layer.units for layer in layers]).tolist()
    return [len({cell.pattern[:n] for cell in cells}) for n in until]


def planes(kind: str, seed: int) -> list[Verdict]:
    """Rectangles of some planes through one network."""
    layers, rng = network("planes", kind, seed)
    drawn = [(points_of(kind, rng, layers, 3), float(rng.choice([1.0, 2.0, 3.0]))) for _ in range(PLANES)]
    captured = _captured(layers)
    if isinstance(captured, Verdict):
        return [captured]
    return [verdict for one in drawn for verdict in _plane(captured, layers, *one)]


def _plane(program: nf.Program, layers: list[Layer], points: Floats, half: float) -> list[Verdict]:
    if np.linalg.matrix_rank(points[1:]) < 2:
        points[1:] = 0
        points[1, 0] = points[2, 1] = 1
    plane, bounds = nf.Plane(*points), (-half, half, -half, half)

    true = regions_after(layers, points, -half, half)

    def compare(case: str, found: nf.Partition | nf.CountResult, said: list[int]) -> Verdict:
        note = f"regions {said} for {true}; margin {found.margin:.2g}; {found.status}"
        return Verdict(case, ["regions"] if said != true else [], found.uncertain > 0, note=note)

    return [
        _asked("partition", lambda: nf.partition_plane(program, plane, bounds),
               lambda part: compare("partition", part, [layer.regions for layer in part.layers])),
        _asked("count", lambda: nf.count_regions(program, plane, bounds),
               lambda count: compare("count", count, list(count.by_layer))),
    ]  # fmt: skip


def cells(kind: str, seed: int) -> list[Verdict]:
    """All of R^m, a box, or a polytope that may have rows of zeros."""
    layers, rng = network("cells", kind, seed)
    model, inputs = module(layers), layers[0].weights.shape[1]
    domain, walls, case = None, [], ("simplex engine" if inputs >= 7 else "space")
    if rng.random() < 0.5:
        normals = rng.integers(-2, 3, (3, inputs)).astype(float) * (rng.random((3, 1)) < 0.8)
        offsets = rng.integers(0, 4, 3).astype(float)
        domain, walls, case = (
            nf.Polytope(normals, offsets),
            [*np.column_stack([-normals, offsets])],
            f"{case}, polytope",
        )

    def compare(count: nf.CountResult) -> Verdict:
        rows = [wall for wall in walls if wall[:-1].any()]
        found = Tree(layers, rows, exact=True).leaves()
        true = _by_layer(layers, found)
        said = list(count.by_layer) or [int(count)]
        note = f"regions {said} for {true}; {count.status}"
        return Verdict(case, ["regions"] if said != true[-len(said) :] else [], count.uncertain > 0, note=note)

    return [_asked(case, lambda: nf.count_regions(model, domain, progress=False), compare)]


def units(kind: str, seed: int) -> list[Verdict]:
    """Ranges and states of units over a box: exact ones, and proven bounds with and without parts of the domain."""
    layers, rng = network("units", kind, seed)
    inputs, width = layers[0].weights.shape[1], float(rng.choice([0.25, 1.0, 3.0]))
    low = points_of(kind, rng, layers, 2)[0]
    high = low + width
    captured = _captured(layers)
    if isinstance(captured, Verdict):
        return [captured]
    true = [
        (*ends, _state(layer, *ends))
        for layer, rows in zip(layers, ranges(layers, box(low, high)), strict=True)
        for ends in rows
        if layer.pool == 1
    ]

    def compare(case: str, found: nf.Units) -> Verdict:
        wrong, u = [], found.units
        for i, (least, most, state) in enumerate(true):
            if found.exact and (u.low[i], u.high[i]) != (float(least), float(most)):
                wrong.append("ranges")
            if not found.exact and (u.low[i] > least or u.high[i] < most):
                wrong.append("bounds")
            if u.met_low[i] < least - _off(least, most) or u.met_high[i] > most + _off(least, most):
                wrong.append("met")
            if u.proved[i] and u.state[i] != state:
                wrong.append("states")
        note = f"{found.to_dataframe()[['low', 'high', 'state', 'known']].values.tolist()} for {true}"
        return Verdict(case, [*dict.fromkeys(wrong)], note=note[:2000])

    domain = nf.Box(low, high) if inputs > 1 else nf.Box(float(low[0]), float(high[0]))
    ways: dict[str, dict[str, int]] = {"exact": {}, "bounds": {"regions": 0}, "parts": {"regions": 0, "splits": 16}}
    return [
        _asked(
            case, lambda more=more: nf.units(captured, domain, **more), lambda found, case=case: compare(case, found)
        )
        for case, more in ways.items()
    ]


def _off(least: Fraction, most: Fraction) -> Fraction:
    return (abs(least) + abs(most) + 1) / 2**30


def _state(layer: Layer, least: Fraction, most: Fraction) -> int:
    """0 to 3: dead, on, saturated, free."""
    first, last = sum(least >= k for k in layer.knots), sum(most > k for k in layer.knots)
    if first < last:
        return 3
    slope, offset = layer.slopes[last], layer.offsets[last]
    return 1 if slope else 2 if offset else 0


GROUPS: dict[str, Callable[[str, int], list[Verdict]]] = {
    "lines": lines, "arcs": arcs, "planes": planes, "cells": cells, "units": units,
}  # fmt: skip
