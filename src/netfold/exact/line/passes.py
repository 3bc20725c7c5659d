"""A layer meets a block of vertices, as one compiled call: what changes, counts and lengths, the refined rows.

What a layer does follows the type of its rule (`paths.records`), so that the code is compiled for each kind
of layer from one source, and found again by the next process.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from netfold.arrays import Floats
from netfold.exact.line import elementwise, selection
from netfold.exact.numerics.compiled import ROUNDING, compiled
from netfold.exact.numerics.products import padding
from netfold.exact.numerics.sums import add_counts, keep_smallest, largest, sum_exactly
from netfold.exact.paths.records import Choice, Crossings, Refined
from netfold.exact.paths.refinement import anchors, refine
from netfold.exact.paths.segments import (
    ANGLE,
    BEND,
    FLAT2,
    LENGTH,
    MEASURES,
    RESOLVED2,
    SAME,
    SPEED2,
    TIE,
    TURN,
    count_passages,
    measure_segments,
    tame,
)

Flags = NDArray[np.bool_]

CROWDED = 32
"""Crossings in one segment above which plain vertices are inserted between them, so that a segment's image has few
bends (`netfold.exact.paths.spread`)."""


FAINT = 2.0**-52 / 1e-9
"""Speed, along a whole path and beside its layer's mean size, below which rounding moves a change by 1e-9 or more."""


class Met(NamedTuple):
    """What a layer did to a block.

    Attributes:
        crowded: whether vertices must be put into its segments first; then nothing was added up, and of the rest
            ``found`` alone holds.
        found: the changes of state.
        refined: the vertices with those at the changes.
        opened: the image at the vertices in a padded matrix, if asked for.
        still: segments whose image stands still or nearly so; ``standing`` says whether there are any.
        weak: whether a segment's length, angle and turning are still to be measured: sums lose too many digits.
        flat2: squared speed up to which rounding alone may move the image, a segment.
        near: rows at which rounding may have decided a state (`paths.records.Scan`).
        close: whether a change is so near to the next one in its segment that rounding may have put them in order, or
            a change of winner to a third entry that rounding may have hidden it, or is too slow to be placed well.
    """

    crowded: bool
    found: Crossings
    refined: Refined
    opened: Floats
    still: Flags
    standing: bool
    weak: Flags
    flat2: Floats
    near: Flags
    close: Flags


@compiled()
def scan(h, path, before, rule):
    """Count the changes of state a segment and describe its image; ``before`` is the vertex before, or empty."""
    return _scan(h, path, before, rule, np.empty((0, 0)))


@compiled()
def crossings(h, path, before, rule, scan):
    """List the changes of state that a scan counted."""
    return _crossings(h, path, before, rule, scan)


@compiled()
def image(h, segment, at, cross, found, rule, out):
    """The layer's values at refined rows: row ``i`` lies in ``segment[i]`` at position ``at[i]``."""
    _image(h, segment, at, cross, found, rule, out)


@compiled()
def meet(layer, t, path, flips, first, h, before, rule, units, saturated_pieces, totals, scales, spread):
    """Find a block's changes of state, add up its counts and lengths, and refine its rows.

    ``scales`` are those of the layer's terms on each path.
    ``spread`` says whether the image is asked for at the vertices alone: crowded segments are then refused. Values of
    ``h`` that overflowed are made finite, and their rows are in doubt.
    """
    n, wild = len(path), tame(h)
    opened = padding(n, units) if spread else np.empty((0, 0))
    scan = _scan(h, path, before, rule, opened)
    found = _crossings(h, path, before, rule, scan)
    still, flat2 = np.zeros(n, np.bool_), scan.sums[:, FLAT2].copy()
    if spread and largest(scan.counts) > 2 * CROWDED and len(anchors(found.start, found.at, CROWDED)[0]) > n:
        nothing = _refined(layer, t[:1], path, flips, first, found)
        return Met(True, found, nothing, opened, still, False, still, flat2, wild, still)
    weak = _add(path, scan, found, saturated_pieces, totals)
    standing = False
    for s in range(n - 1):
        still[s] = weak[s] or scan.sums[s, SPEED2] <= flat2[s]
        standing |= still[s]
    refined = _refined(layer, t, path, flips, first, found)
    close = _close(t, path, found, flat2, units, scales)
    _rivals(h, found, rule, close)
    return Met(False, found, refined, opened, still, standing, weak, flat2, scan.near | wild, close)


@compiled()
def _close(t, path, found, flat2, units, scales):
    """Which changes inside segments are so slow that float64 places them badly, or so near to the next one.

    Slow is beside the terms that make the layer's values anywhere on the path: what is left of them may be small
    here. Near is where the slower of the two units hardly moves in between.
    """
    close = np.zeros(len(found.at), np.bool_)
    for s in range(len(found.start) - 1):
        size = np.sqrt(flat2[s] / RESOLVED2) / units
        for c in range(found.start[s], found.start[s + 1]):
            speed = abs(found.slope_to[c] - found.slope_from[c])
            close[c] = 0.0 < speed < FAINT * max(size, scales[path[s]]) * (t[s + 1] - t[s])
            if c + 1 < found.start[s + 1]:
                gap = found.at[c + 1] - found.at[c]
                slower = min(speed, abs(found.slope_to[c + 1] - found.slope_from[c + 1]))
                close[c] |= not (gap * slower > TIE * size and gap > SAME)
            close[c] &= found.at[c] > 0.0
    return close


@compiled()
def _refined(layer, t, path, flips, first, found):
    start = found.start[: len(t)]
    return refine(layer, t, path, flips, first, start, found.at, found.unit, found.origin, found.target)


@compiled()
def _add(path, scan, found, saturated_pieces, totals):
    """Add a block's counts and lengths to its paths' totals, but those of segments that it returns as weak."""
    counted = len(path) - 1
    add_counts(scan.counts[:counted], path, totals.transitions)
    add_counts(scan.signs[:counted], path, totals.signs)
    keep_smallest(scan.closest, path, totals.closest)
    if saturated_pieces > 0:
        count_passages(path, found.start, found.unit, found.origin, found.target, saturated_pieces,
                       totals.saturated[0], totals.saturated[1], totals.saturated_paths, totals.passages)  # fmt: skip
    measures, weak = np.zeros((counted, MEASURES)), np.zeros(counted, np.bool_)
    measure_segments(path, scan.sums, found.start, found.at, found.slope_from, found.slope_to, found.value, measures,
                     weak)  # fmt: skip
    for s in range(counted):
        for k in range(MEASURES):
            measures[s, k] = 0.0 if weak[s] else measures[s, k]
    sum_exactly(measures[:, LENGTH], path, totals.lengths)
    sum_exactly(measures[:, ANGLE], path, totals.angles)
    sum_exactly(measures[:, BEND], path, totals.bends)
    sum_exactly(scan.sums[:counted, TURN], path, totals.bends)
    return weak


def _scan(h: Any, path: Any, before: Any, rule: Any, out: Any) -> Any: ...


def _crossings(h: Any, path: Any, before: Any, rule: Any, scan: Any) -> Any: ...


def _rivals(h: Any, found: Any, rule: Any, close: Any) -> Any: ...


def _image(h: Any, segment: Any, at: Any, cross: Any, found: Any, rule: Any, out: Any) -> Any: ...


@overload(_scan, jit_options=ROUNDING, inline="always")
def _scan_of(h, path, before, rule, out):
    if rule.instance_class is Choice:
        return lambda h, path, before, rule, out: selection.scan(h, path, before, rule.candidates, rule.sign, out)
    return lambda h, path, before, rule, out: elementwise.scan(h, path, before, rule.pieces, out)


@overload(_crossings, jit_options=ROUNDING, inline="always")
def _crossings_of(h, path, before, rule, scan):
    if rule.instance_class is Choice:
        return lambda h, path, before, rule, scan: selection.crossings(
            h, path, before, rule.candidates, rule.sign, scan
        )
    return lambda h, path, before, rule, scan: elementwise.crossings(h, path, before, rule.pieces, scan)


@overload(_rivals, jit_options=ROUNDING, inline="always")
def _rivals_of(h, found, rule, close):
    if rule.instance_class is Choice:
        return lambda h, found, rule, close: selection.rivals(h, found, rule.candidates, close)
    return lambda h, found, rule, close: None


@overload(_image, jit_options=ROUNDING, inline="always")
def _image_of(h, segment, at, cross, found, rule, out):
    if rule.instance_class is Choice:
        return lambda h, segment, at, cross, found, rule, out: selection.image(
            h, segment, at, rule.candidates, rule.sign, out
        )
    return lambda h, segment, at, cross, found, rule, out: elementwise.image(
        h, segment, at, rule.pieces, cross, found.unit, found.value, out
    )
