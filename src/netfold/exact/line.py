"""Exact tracing of straight paths: vertices are carried through the program and inserted where units change state.

Rows of a batch are vertices; a row's path number tells where one path ends and the next begins. Blocks of rows go
depth-first through the stages, in the order of the paths, so that memory does not grow with the number of regions
and every layer sees its vertices from left to right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture.program import Program, Stage, Values, flatten
from netfold.exact import rows
from netfold.exact.layers import Crossings, LineLayer, Scan, line_layer
from netfold.exact.output import OutputTally, PathOutput
from netfold.exact.products import reproducible
from netfold.exact.spread import Spread, spread_map
from netfold.exact.threads import over_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_BYTES = 4 * 2**20
"""Memory that one stage's rows may take; several such blocks are alive at once, one a layer."""

CROWDED = 32
"""Crossings in one segment above which plain vertices are inserted between them, so that a segment's image has few
bends (`netfold.exact.spread`)."""


@dataclass
class Block:
    """Some consecutive vertices of the paths, at the nonlinearity (or the output) that ends one stage.

    Attributes:
        t: parameters of the vertices on their paths.
        path: the path each vertex belongs to.
        flips: keys of the states that switch at the vertex (128 bits).
        first: the first layer in which a unit switches there.
        h: what the nonlinearity reads there, flattened.
        alive: the other values that later stages read.
    """

    t: Floats
    path: Ints
    flips: NDArray[np.uint64]
    first: Ints
    h: Floats
    alive: Values


@dataclass(frozen=True)
class Refined:
    """The vertices of a block with those at its crossings: where they lie, and what changes there."""

    segment: Ints
    at: Floats
    cross: Ints
    t: Floats
    path: Ints
    flips: NDArray[np.uint64]
    first: Ints


@dataclass
class LayerTally:
    """What one layer does to every path, added up block by block.

    Lengths, angles and bends are exact sums in three limbs (`rows.sum_exactly`), so block size cannot change them.
    """

    transitions: Ints
    signs: Ints
    passages: Ints
    lengths: NDArray[np.int64]
    angles: NDArray[np.int64]
    bends: NDArray[np.int64]
    closest: Floats
    before: Floats = field(default_factory=lambda: np.empty((0, 0)))
    before_path: int = -1
    saturated: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    saturated_path: Ints = field(default_factory=lambda: np.full(1, -1))

    @staticmethod
    def of(paths: int, units: int) -> LayerTally:
        """An empty tally."""
        transitions, signs, passages = (np.zeros(paths, np.int64) for _ in range(3))
        lengths, angles, bends = (np.zeros((paths, 3), np.int64) for _ in range(3))
        return LayerTally(
            transitions,
            signs,
            passages,
            lengths,
            angles,
            bends,
            np.full(paths, np.inf),
            saturated=np.full(units, -1),
        )

    def vertex_before(self, block: Block) -> Floats:
        """What the layer read at the vertex before a block's first row, or nothing at the start of a path."""
        return self.before if self.before_path == block.path[0] else np.empty((0, block.h.shape[1]))

    def remember(self, block: Block) -> None:
        """Keep the last vertex but one: the next block begins with the last."""
        joined = len(block.path) > 1 and block.path[-2] == block.path[-1]
        self.before_path = int(block.path[-1]) if joined else -1
        if joined:
            self.before = block.h[-2:-1].copy()


class LineTracer:
    """Traces straight paths through a piecewise-linear program.

    Attributes:
        tallies: one a layer.
        results: what each path does in the output, after `run`.
    """

    def __init__(self, program: Program, paths: int, block_bytes: int = BLOCK_BYTES) -> None:
        program = self.program = reproducible(program)
        self.layers: list[LineLayer] = [_bound(stage) for stage in program.stages if stage.layer]
        self.spreads: list[Spread | None] = [_spread(program, i) for i in range(len(self.layers))]
        self.tallies = [LayerTally.of(paths, layer.units) for layer in self.layers]
        self.output = OutputTally(paths, int(np.prod(program.output_shape, dtype=np.int64)))
        self.results: list[PathOutput] = []
        widest = max(int(np.prod(program.input_shape, dtype=np.int64)), *(_width(s) for s in program.stages))
        self.block_rows = int(np.clip(block_bytes // (8 * widest), 16, 4096)) // 8 * 8

    def run(self, t: Floats, path: Ints, points: torch.Tensor) -> None:
        """Trace paths given by their vertices, in order: parameters, path numbers, points."""
        with torch.no_grad():
            for begin, end in _chunks(len(t), self.block_rows):
                p = slice(begin, end)
                flips, first = np.zeros((end - begin, 2), np.uint64), np.full(end - begin, rows.NO_LAYER)
                values = self.program.start(points[p])
                self._descend(0, self._advanced(0, t[p], path[p], flips, first, values))
        self.results = self.output.finish()

    def _advanced(
        self, index: int, t: Floats, path: Ints, flips: NDArray[np.uint64], first: Ints, values: Values
    ) -> Block:
        stage = self.program.stages[index]
        values = _advance(self.program, stage, values)
        h = flatten([values[i] for i in stage.inputs])
        return Block(t, path, flips, first, h, {i: values[i] for i in stage.alive})

    def _descend(self, index: int, block: Block) -> None:
        if index == len(self.layers):
            self.output.add(block.t, block.path, block.flips, block.first, block.h)
            return
        layer, tally = self.layers[index], self.tallies[index]
        before = tally.vertex_before(block)
        scan = layer.scan(block.h, block.path, before)
        found = layer.crossings(block.h, block.path, before, scan)
        if self.spreads[index] is not None and scan.counts.max(initial=0) > 2 * CROWDED:
            segment, at = rows.anchors(found.start, found.at, CROWDED)
            if len(at) > len(block.t):
                for part in self._thinned(block, segment, at):
                    self._descend(index, part)
                return
        still = self._add(index, block, scan, found)
        tally.remember(block)
        for child in self._children(index, block, found, still):
            self._descend(index + 1, child)

    def _thinned(self, block: Block, segment: Ints, at: Floats) -> Iterator[Block]:
        """The block with plain vertices inserted between the crossings of crowded segments."""
        plain = np.flatnonzero(at == 0.0)
        flips, first = np.zeros((len(at), 2), np.uint64), np.full(len(at), rows.NO_LAYER)
        flips[plain], first[plain] = block.flips, block.first
        ahead = np.minimum(segment + 1, len(block.t) - 1)
        t = block.t[segment] + at * (block.t[ahead] - block.t[segment])
        for begin, end in _chunks(len(at), self.block_rows):
            p = slice(begin, end)
            h = _interpolated(block.h, segment[p], at[p])
            alive = _kept(block.alive, segment[p], at[p])
            yield Block(t[p], block.path[segment[p]], flips[p], first[p], h, alive)

    def _add(self, index: int, block: Block, scan: Scan, found: Crossings) -> NDArray[np.bool_]:
        """Add a block's counts and lengths to the layer's tally; returns the segments whose image stands still."""
        layer, tally, path = self.layers[index], self.tallies[index], block.path
        counted = len(path) - 1
        rows.add_counts(scan.counts[:counted], path, tally.transitions)
        rows.add_counts(scan.signs[:counted], path, tally.signs)
        rows.keep_smallest(scan.closest, path, tally.closest)
        if layer.saturated_pieces:
            rows.count_passages(
                path,
                found.start,
                found.unit,
                found.origin,
                found.target,
                layer.saturated_pieces,
                tally.saturated,
                tally.saturated_path,
                tally.passages,
            )
        measures, weak = self._measured(layer, block, scan, found)
        rows.sum_exactly(measures[:, rows.LENGTH], path, tally.lengths)
        rows.sum_exactly(measures[:, rows.ANGLE], path, tally.angles)
        rows.sum_exactly(measures[:, rows.BEND], path, tally.bends)
        return weak | (scan.sums[:-1, rows.SPEED2] <= scan.sums[:-1, rows.FLAT2])

    def _measured(
        self, layer: LineLayer, block: Block, scan: Scan, found: Crossings
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Length, angle and turning of every segment's image."""
        segments = len(block.path) - 1
        measures, weak = np.zeros((segments, rows.MEASURES)), np.zeros(segments, np.bool_)
        over_rows(
            rows.measure_segments,
            segments,
            64,
            block.path,
            scan.sums,
            found.start,
            found.at,
            found.slope_from,
            found.slope_to,
            found.value,
            measures,
            weak,
        )
        for s in np.flatnonzero(weak):
            measures[s] = _measured_directly(layer, block.h, int(s), found, float(scan.sums[s, rows.FLAT2]))
            measures[s, rows.BEND] += scan.sums[s, rows.TURN]
        return measures, weak

    def _children(self, index: int, block: Block, found: Crossings, still: NDArray[np.bool_]) -> Iterator[Block]:
        """The block's rows with those at crossings, at the next stage's end, in parts that share a row."""
        refined = _refine(index, block, found)
        spread = self.spreads[index]
        if spread is not None:
            yield from self._spread_children(index, spread, block, found, refined, still)
            return
        stage, layer = self.program.stages[index], self.layers[index]
        assert stage.layer is not None
        for begin, end in _chunks(len(refined.at), self.block_rows):
            p = slice(begin, end)
            segment, at = refined.segment[p], refined.at[p]
            image = layer.image(block.h, segment, at, refined.cross[begin : end + 1], found)
            values = _kept(block.alive, segment, at)
            values[stage.layer.node.index] = _tensor(image, (end - begin, *stage.layer.shape), self.program.device)
            yield self._advanced(index + 1, refined.t[p], refined.path[p], refined.flips[p], refined.first[p], values)

    def _spread_children(
        self, index: int, spread: Spread, block: Block, found: Crossings, refined: Refined, still: NDArray[np.bool_]
    ) -> Iterator[Block]:
        layer, n = self.layers[index], len(block.t)
        vertices = layer.image(block.h, np.arange(n), np.zeros(n), np.zeros(n + 1, np.int64), found)
        y = spread.products(vertices)
        own = np.append(still, False)[refined.segment] & (refined.at > 0.0)
        for begin, end in _chunks(len(refined.at), self.block_rows):
            p = slice(begin, end)
            segment, at = refined.segment[p], refined.at[p]
            h = spread.values(y, segment, at, found)
            # where the image stands still, values must come out equal to the last bit: a row gets its own product
            alone = np.flatnonzero(own[p])
            if len(alone):
                image = layer.image(block.h, segment, at, refined.cross[begin : end + 1], found)
                h[alone] = spread.products(image[alone])
            yield Block(refined.t[p], refined.path[p], refined.flips[p], refined.first[p], h, {})


def _refine(index: int, block: Block, found: Crossings) -> Refined:
    n = rows.count_rows(found.start, found.at)
    made = Refined(
        np.empty(n, np.int64),
        np.empty(n),
        np.empty(n + 1, np.int64),
        np.empty(n),
        np.empty(n, np.int64),
        np.empty((n, 2), np.uint64),
        np.empty(n, np.int64),
    )
    rows.refine_rows(
        index,
        block.t,
        block.path,
        block.flips,
        block.first,
        found.start,
        found.at,
        found.unit,
        found.origin,
        found.target,
        made.segment,
        made.at,
        made.t,
        made.path,
        made.flips,
        made.first,
        made.cross,
    )
    return made


def _bound(stage: Stage) -> LineLayer:
    layer = stage.layer
    assert layer is not None
    assert layer.rule is not None
    return line_layer(layer.rule, layer.units)


def _spread(program: Program, index: int) -> Spread | None:
    """How the next stage follows from a layer's crossings, where it is one product with the layer's image."""
    stage, following = program.stages[index], program.stages[index + 1]
    assert stage.layer is not None
    if stage.alive or program.device.type != "cpu":
        return None
    return spread_map(stage.layer, following)


def _width(stage: Stage) -> int:
    """The widest row that a stage's layer makes."""
    return stage.layer.units if stage.layer is not None else 1


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most ``size`` rows in which neighbours share one row."""
    begin = 0
    while begin + 1 < count:
        yield begin, min(begin + size, count)
        begin += size - 1


def _advance(program: Program, stage: Stage, values: Values) -> Values:
    """Run a stage's products on a multiple of eight rows.

    Matrix products round alike for every such number of rows, so results do not depend on the block size.
    """
    count = len(next(iter(values.values())))
    padded = -(-count // 8) * 8
    if not stage.nodes or padded == count:
        return program.advance(stage, values)
    filled = {i: torch.cat([v, v[-1:].expand(padded - count, *v.shape[1:])]) for i, v in values.items()}
    return {i: v[:count] for i, v in program.advance(stage, filled).items()}


def _kept(alive: Values, segment: Ints, at: Floats) -> Values:
    """Values at refined rows that are affine on every segment."""
    return {
        i: _tensor(_interpolated(flatten([v]), segment, at), (len(at), *v.shape[1:]), v.device)
        for i, v in alive.items()
    }


def _interpolated(values: Floats, segment: Ints, at: Floats) -> Floats:
    out = np.empty((len(at), values.shape[1]))
    over_rows(rows.interpolate, *out.shape, values, segment, at, out)
    return out


def _tensor(array: Floats, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).reshape(shape).to(device)


def _measured_directly(layer: LineLayer, h: Floats, s: int, found: Crossings, flat2: float) -> Floats:
    """Length, angle and inner turning of one segment's image from the differences of its vertices."""
    crossed = found.at[found.start[s] : found.start[s + 1]]
    at = np.unique(np.concatenate([[0.0, 1.0], crossed]))
    cross = found.start[s] + np.append(np.searchsorted(crossed, at), len(crossed))
    image = layer.image(h, np.full(len(at), s), at, cross, found)
    steps = np.diff(image, axis=0)
    turns = _angles(steps / np.diff(at)[:, None], flat2**0.5)
    return np.array([np.linalg.norm(steps, axis=1).sum(), _angles(image, 0.0).sum(), turns.sum()])


def _angles(vectors: Floats, smallest: float) -> Floats:
    """Angles between neighbouring vectors; 0 where one of them is no longer than ``smallest``."""
    norms = np.linalg.norm(vectors, axis=1)
    units = vectors / np.where(norms > 0, norms, 1.0)[:, None]
    gaps = np.linalg.norm(np.diff(units, axis=0), axis=1)
    defined = (norms[1:] > smallest) & (norms[:-1] > smallest)
    return np.where(defined, 2 * np.arcsin(np.minimum(1.0, gaps / 2)), 0.0)
