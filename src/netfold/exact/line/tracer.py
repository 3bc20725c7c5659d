"""Exact tracing of straight paths: vertices are carried through the program and inserted where units change state.

Rows of a batch are vertices; a row's path number tells where one path ends and the next begins. Blocks of rows go
depth-first through the stages, in the order of the paths, so that memory does not grow with the number of regions
and every layer sees its vertices from left to right. Where a block grows large, runs of its rows are followed side by
side, one a thread, and joined in order: cutting a block in two changes no result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture.program import Program, Stage, Values, flatten
from netfold.exact.line.layers import LineLayer
from netfold.exact.line.passes import CROWDED, Met
from netfold.exact.line.tally import LayerTally
from netfold.exact.numerics.products import padded, reproducible
from netfold.exact.numerics.threads import side_by_side, single_threaded
from netfold.exact.paths.blocks import Block, advance, chunks, kept, stage_width, tensor
from netfold.exact.paths.output import OutputTally, PathOutput
from netfold.exact.paths.patterns import NO_LAYER
from netfold.exact.paths.records import Crossings, Totals
from netfold.exact.paths.refinement import KEYS, anchors, interpolate, switch_first
from netfold.exact.paths.spread import Spread, spread_map

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

BLOCK_BYTES = 4 * 2**20
"""Memory that one stage's rows may take in all threads; several such blocks are alive at once, one a layer."""

NARROW_BYTES = 2**20
"""Memory that is enough for the rows of narrow layers: more of them make nothing faster."""

DENSE_ROWS = 256
"""Rows of a block at least, where layers are not wider than ``DENSE_WIDTH``: a product of fewer rows with a large
matrix waits for the matrix."""

DENSE_WIDTH = 4096

FORK = 2**16
"""Entries of refined rows from which on runs of them go to threads."""

RUNS = 4
"""Runs for each thread: more of them balance the work better, and each takes a little more."""


class LineTracer:
    """Traces straight paths through a piecewise-linear program.

    Attributes:
        totals: what every layer does to the paths, after `run`.
        results: what each path does in the output, after `run`.
    """

    def __init__(self, program: Program, paths: int, block_bytes: int = BLOCK_BYTES, fork: int = FORK) -> None:
        self.paths = paths
        self.threads = torch.get_num_threads() if program.device.type == "cpu" else 1
        self.network = Network.of(program, block_bytes // self.threads, fork)
        self.totals: list[Totals] = []
        self.results: list[PathOutput] = []

    def run(self, t: Floats, path: Ints, points: torch.Tensor) -> None:
        """Trace paths given by their vertices, in order: parameters, path numbers, points."""
        keys = KEYS if np.bincount(path).max() > 2 else 0
        strand = Strand(self.network, self.paths, 0, self.threads, keys)
        with torch.no_grad(), single_threaded():
            strand.begin(t, path, points)
        self.totals = [tally.totals for tally in strand.tallies]
        self.results = strand.output.finish()


@dataclass(frozen=True)
class Network:
    """A program made ready to be traced.

    Attributes:
        program: the program, with products that round alike in every batch.
        layers: the compiled passes of its nonlinearities.
        spreads: how the next stage follows from a layer's crossings, where it is one product with its image.
        block_rows: rows of a block at most.
        fork: entries of refined rows from which on threads share them.
    """

    program: Program
    layers: list[LineLayer]
    spreads: list[Spread | None]
    block_rows: int
    fork: int

    @staticmethod
    def of(program: Program, block_bytes: int, fork: int) -> Network:
        """Bind a program's layers to their compiled passes."""
        program = reproducible(program)
        layers = [_bound(stage) for stage in program.stages if stage.layer]
        spreads = spread_maps(program)
        widest = max(int(np.prod(program.input_shape, dtype=np.int64)), *(stage_width(s) for s in program.stages))
        fewest = min(DENSE_ROWS, block_bytes // 2**13) if widest <= DENSE_WIDTH else 0
        most = min(max(NARROW_BYTES // (8 * widest), 512), 4096)
        block_rows = int(np.clip(block_bytes // (8 * widest), max(fewest, 8), most)) // 8 * 8
        return Network(program, layers, spreads, block_rows, fork)

    def advanced(self, index: int, t: Floats, path: Ints, flips: Keys, first: Ints, values: Values) -> Block:
        """A block at the end of a stage."""
        stage = self.program.stages[index]
        values = advance(self.program, stage, values)
        h = flatten([values[i] for i in stage.inputs])
        return Block(t, path, flips, first, h, {i: values[i] for i in stage.alive})


class Strand:
    """Follows consecutive blocks from one layer on, and adds up what they meet.

    Attributes:
        keys: words of the keys by which patterns are told apart: `KEYS`, or 0 where all paths are straight lines. The
            points of one pattern are a convex set, so that a line never comes back to it.
        tallies: one for each of the layers from ``start`` on.
        output: what is met in the output.
    """

    def __init__(self, network: Network, paths: int, start: int, threads: int, keys: int) -> None:
        self.network, self.paths, self.start, self.threads, self.keys = network, paths, start, threads, keys
        self.tallies = [LayerTally.of(paths, layer.units) for layer in network.layers[start:]]
        self.output = OutputTally(paths, int(np.prod(network.program.output_shape, dtype=np.int64)), keys)

    def begin(self, t: Floats, path: Ints, points: torch.Tensor) -> None:
        """Follow paths from their first vertices on."""
        program = self.network.program

        def blocks(begin: int, end: int) -> Iterator[Block]:
            for a, b in chunks(end - begin, self.network.block_rows):
                p = slice(begin + a, begin + b)
                flips, first = np.zeros((b - a, self.keys), np.uint64), np.full(b - a, NO_LAYER)
                yield self.network.advanced(0, t[p], path[p], flips, first, program.start(points[p]))

        self._follow(0, blocks, len(t))

    def _follow(self, index: int, blocks: Callable[[int, int], Iterator[Block]], count: int) -> None:
        """Follow ``count`` rows, made block by block, from layer ``index`` on."""
        units = self.network.layers[index].units if index < len(self.network.layers) else self.output.size
        if self.threads == 1 or count * max(units, 10) < self.network.fork:
            self._run(index, blocks, 0, count)
            return
        runs = min(RUNS * self.threads, count - 1)
        cuts = [(count - 1) * i // runs for i in range(runs + 1)]
        strands = [Strand(self.network, self.paths, index, 1, self.keys) for _ in range(runs)]
        side_by_side(
            [partial(s._run, index, blocks, a, b + 1) for s, (a, b) in zip(strands, pairwise(cuts), strict=True)],
            self.threads,
        )
        while strands:
            self._join(strands.pop(0))

    def _run(self, index: int, blocks: Callable[[int, int], Iterator[Block]], begin: int, end: int) -> None:
        for block in blocks(begin, end):
            self._descend(index, block)

    def _join(self, following: Strand) -> None:
        """Add what was met on the rows that follow."""
        head = following.output.head
        for i, theirs in enumerate(following.tallies):
            index = following.start + i
            changes = self.tallies[index - self.start].join(self.network.layers[index], theirs)
            if changes is not None and head is not None:
                switch_first(index, changes.unit, changes.origin, changes.target, head.flips, head.first)
        self.output.join(following.output)

    def _descend(self, index: int, block: Block) -> None:
        if index == len(self.network.layers):
            self.output.add(block.t, block.path, block.flips, block.first, block.h)
            return
        layer, tally = self.network.layers[index], self.tallies[index - self.start]
        spread = self.network.spreads[index] is not None
        met = layer.meet(index, block, tally.vertex_before(block), tally.totals, spread)
        if met.crowded:
            for part in self._thinned(block, met.found):
                self._descend(index, part)
            return
        for s in met.weak.tolist():
            measures = _measured_directly(layer, block.h, s, met.found, float(met.flat2[s]))
            tally.add_measures(int(block.path[s]), measures)
        tally.remember(block)
        self._follow(index + 1, self._children(index, block, met), len(met.refined.at))

    def _thinned(self, block: Block, found: Crossings) -> Iterator[Block]:
        """The block with plain vertices inserted between the crossings of crowded segments."""
        segment, at = anchors(found.start, found.at, CROWDED)
        plain = np.flatnonzero(at == 0.0)
        flips, first = np.zeros((len(at), self.keys), np.uint64), np.full(len(at), NO_LAYER)
        flips[plain], first[plain] = block.flips, block.first
        ahead = np.minimum(segment + 1, len(block.t) - 1)
        t = block.t[segment] + at * (block.t[ahead] - block.t[segment])
        for begin, end in chunks(len(at), self.network.block_rows):
            p = slice(begin, end)
            h = interpolate(block.h, segment[p], at[p])
            alive = kept(block.alive, segment[p], at[p])
            yield Block(t[p], block.path[segment[p]], flips[p], first[p], h, alive)

    def _children(self, index: int, block: Block, met: Met) -> Callable[[int, int], Iterator[Block]]:
        """How to make blocks of refined rows at the next stage's end; neighbouring ones share a row."""
        spread, layer = self.network.spreads[index], self.network.layers[index]
        if spread is None:
            make = partial(self._image, index, block, met)
        else:
            make = partial(_spread_rows, layer, spread, spread.products(met.opened, block.path), block, met)

        def blocks(begin: int, end: int) -> Iterator[Block]:
            for a, b in chunks(end - begin, self.network.block_rows):
                yield make(slice(begin + a, begin + b))

        return blocks

    def _image(self, index: int, block: Block, met: Met, p: slice) -> Block:
        """Some refined rows, the layer's image at them carried through the next stage."""
        program, layer, refined = self.network.program, self.network.program.stages[index].layer, met.refined
        assert layer is not None
        segment, at, cross = refined.segment[p], refined.at[p], refined.cross[p.start : p.stop + 1]
        image = self.network.layers[index].image(block.h, segment, at, cross, met.found)
        values = kept(block.alive, segment, at)
        values[layer.node.index] = tensor(image, (len(image), *layer.shape), program.device)
        ends = refined.t[p], refined.path[p], refined.flips[p], refined.first[p]
        return self.network.advanced(index + 1, *ends, values)


def _spread_rows(layer: LineLayer, spread: Spread, y: Floats, block: Block, met: Met, p: slice) -> Block:
    """Some refined rows at the next stage's end, from its values ``y`` at the block's vertices."""
    refined = met.refined
    segment, at = refined.segment[p], refined.at[p]
    h = spread.values(y, segment, at, met.found, block.path)
    if met.standing:
        # where the image stands still, values must come out equal to the last bit: a row gets its own product
        alone = np.flatnonzero(met.still[segment] & (at > 0.0))
        if len(alone):
            image = layer.image(block.h, segment, at, refined.cross[p.start : p.stop + 1], met.found)
            products = spread.products(padded(image[alone]), refined.path[p][alone])
            h[alone] = products[: len(alone), : spread.features]
    return Block(refined.t[p], refined.path[p], refined.flips[p], refined.first[p], h, {})


def _bound(stage: Stage) -> LineLayer:
    layer = stage.layer
    assert layer is not None
    assert layer.rule is not None
    return LineLayer.of(layer.rule, layer.units)


def spread_maps(program: Program) -> list[Spread | None]:
    """How the next stage follows from each layer's crossings, where it is one product with its image."""
    return [_spread(program, index) for index in range(len(program.layers))]


def _spread(program: Program, index: int) -> Spread | None:
    """How the next stage follows from a layer's crossings, where it is one product with the layer's image."""
    stage, following = program.stages[index], program.stages[index + 1]
    assert stage.layer is not None
    if stage.alive or program.device.type != "cpu":
        return None
    return spread_map(stage.layer, following)


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
