"""What lies beyond a face of a region: the states of the units on the other side, exactly.

At a general point of a face the pre-activations on both sides agree, so only units that stand at a knot there can
change: those whose half-space is the face, and those that stand at a knot on the whole region. Where these belong to
one layer, all of them change. Where they belong to several, a later one may only touch its knot and turn back, like
the absolute value of an earlier one; its row beyond the face tells.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from netfold.capture.activations import Selection
from netfold.exact.matrices.coefficients import Pieces
from netfold.exact.matrices.skip import ExactRow
from netfold.exact.regions.faces import Sides, exact
from netfold.exact.regions.maps import RegionMaps

Unit = tuple[int, int]
"""Layer and unit."""


def beyond(maps: RegionMaps, sides: Sides, group: tuple[int, ...]) -> NDArray[np.int16]:
    """States of all units beyond a face.

    Args:
        maps: the network on the region.
        sides: its half-spaces, and ``group``: those that are the face.
    """
    units = [(int(sides.layers[i]), int(sides.units[i])) for i in group]
    simple = len({layer for layer, _ in units}) == 1 and len(set(units)) == len(units) and not len(sides.standing)
    states = [layer.copy() for layer in maps.states]
    if simple:
        for (layer, unit), i in zip(units, group, strict=True):
            states[layer][unit] = sides.rivals[i]
        return _joined(states)
    face = exact(maps, sides, group[0])
    touched = sorted({*units, *map(tuple, sides.standing.tolist())})
    there = RegionMaps(maps.form, _joined(states))
    # A row reads earlier layers only, whose states beyond the face are settled by then.
    for layer, unit in touched:
        there.states[layer][unit] = _settled(maps, there, face, (layer, unit))
    return _joined(there.states)


def _joined(states: list[NDArray[np.int64]]) -> NDArray[np.int16]:
    return np.concatenate(states).astype(np.int16) if states else np.zeros(0, np.int16)


def _settled(here: RegionMaps, there: RegionMaps, face: ExactRow, at: Unit) -> int:
    """The state of one unit beyond a face."""
    layer, unit = at
    rule, state = here.form.layers[layer].rule, int(here.states[layer][unit])
    if isinstance(rule, Selection):
        return _winner(here, there, face, at, rule)
    knots = Pieces.of(here.form.layers[layer]).knots
    own = knots[unit if len(knots) > 1 else 0].tolist()
    for k in (state - 1, state):
        if not 0 <= k < len(own):
            continue
        entries, constant = here.exact(layer, unit)
        if _multiple((entries, constant - own[k]), face) is not None:
            entries, constant = there.exact(layer, unit)
            factor = _multiple((entries, constant - own[k]), face)
            assert factor is not None, "a piecewise-linear network is continuous"
            return k + 1 if factor < 0 else k
    return state


def _winner(here: RegionMaps, there: RegionMaps, face: ExactRow, at: Unit, rule: Selection) -> int:
    """The entry that wins beyond a face, among those that are equal on it; the first where they stay equal."""
    layer, unit = at
    own = int(here.states[layer][unit])
    candidates = rule.candidates[unit].tolist()
    leads: list[tuple[Fraction, int]] = []
    for j, row in enumerate(candidates):
        if row < 0:
            continue
        if _multiple(_minus(here.exact(layer, row), here.exact(layer, candidates[own])), face) is not None:
            factor = _multiple(_minus(there.exact(layer, row), there.exact(layer, candidates[own])), face)
            assert factor is not None, "a piecewise-linear network is continuous"
            leads.append((factor if rule.largest else -factor, j))
    return min(leads)[1]


def _minus(a: ExactRow, b: ExactRow) -> ExactRow:
    total = {c: a[0].get(c, Fraction(0)) - b[0].get(c, Fraction(0)) for c in {*a[0], *b[0]}}
    return {c: v for c, v in total.items() if v}, a[1] - b[1]


def _multiple(row: ExactRow, face: ExactRow) -> Fraction | None:
    """The factor that makes a row of the face's; ``None`` where there is none."""
    first = next(iter(face[0]))
    factor = row[0].get(first, Fraction(0)) / face[0][first]
    same = row[1] == factor * face[1] and all(
        row[0].get(c, Fraction(0)) == factor * face[0].get(c, Fraction(0)) for c in {*row[0], *face[0]}
    )
    return factor if same else None
