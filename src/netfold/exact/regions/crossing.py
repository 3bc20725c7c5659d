"""What lies beyond a face of a region: the states of the units on the other side, exactly.

At a general point of a face the pre-activations on both sides agree, so only units that stand at a knot there can
change: those whose half-space is the face, and those that stand at a knot on the whole region. Where these belong to
one layer, all of them change. Where they belong to several, a later one may only touch its knot and turn back, like
the absolute value of an earlier one; its row beyond the face tells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netfold.capture.activations import Elementwise, Selection
from netfold.exact.matrices.forced import IntegerRow
from netfold.exact.regions.faces import Sides, exact
from netfold.exact.regions.maps import RegionMaps


def beyond(maps: RegionMaps, sides: Sides, group: tuple[int, ...]) -> NDArray[np.int16]:
    """States of all units beyond a face.

    Args:
        maps: the network on the region.
        sides: its half-spaces, and ``group``: those that are the face.
    """
    first = maps.forced.first
    units = [first[sides.layers[i]] + int(sides.units[i]) for i in group]
    simple = len(set(sides.layers[list(group)])) == 1 and len(set(units)) == len(units) and not len(sides.standing)
    there = RegionMaps(maps.form, _states(maps))
    if simple:
        there.flat[units] = sides.rivals[list(group)]
        return _states(there)
    face = exact(maps, sides, group[0])
    # A row reads earlier layers only, whose states beyond the face are settled by then.
    for u in sorted({*units, *(first[layer] + unit for layer, unit in sides.standing.tolist())}):
        there.flat[u] = _settled(maps, there, face, u)
    return _states(there)


def _states(maps: RegionMaps) -> NDArray[np.int16]:
    return maps.flat.astype(np.int16)


def _settled(here: RegionMaps, there: RegionMaps, face: IntegerRow, u: int) -> int:
    """The state of one unit beyond a face."""
    rule, state = here.form.layers[here.forced.layer_of(u)].rule, int(here.flat[u])
    if isinstance(rule, Selection):
        return _winner(here, there, face, u, rule)
    assert isinstance(rule, Elementwise)
    for k in (state - 1, state):
        if 0 <= k < rule.knots.shape[1] and here.forced.level(here.flat, u, k).multiple(face) is not None:
            factor = there.forced.level(there.flat, u, k).multiple(face)
            assert factor is not None, "a piecewise-linear network is continuous"
            return k + 1 if factor < 0 else k
    return state


def _winner(here: RegionMaps, there: RegionMaps, face: IntegerRow, u: int, rule: Selection) -> int:
    """The entry that wins beyond a face, among those that are equal on it; the first where they stay equal."""
    own, leads = int(here.flat[u]), []
    for j in np.flatnonzero(rule.candidates[u - here.forced.first[here.forced.layer_of(u)]] >= 0).tolist():
        if here.forced.difference(here.flat, u, j, own).multiple(face) is not None:
            factor = there.forced.difference(there.flat, u, j, own).multiple(face)
            assert factor is not None, "a piecewise-linear network is continuous"
            leads.append((factor if rule.largest else -factor, j))
    return min(leads)[1]
