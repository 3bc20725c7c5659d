"""Exact tracing of straight paths: vertices are carried through the program and inserted where units change state.

Rows of a batch are vertices; a row's path number tells where one path ends and the next begins. `paths.driver` leads
blocks of them through the stages, in the order of the paths, so that every layer sees its vertices from left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np
import torch

from netfold.arrays import Floats, Ints
from netfold.capture.program import Program, Values, flatten
from netfold.exact.line.layers import LineLayer
from netfold.exact.line.passes import CROWDED, Met
from netfold.exact.line.tally import Doubts, LineTally
from netfold.exact.numerics.products import padded, reproducible
from netfold.exact.numerics.threads import aside, beside
from netfold.exact.paths import driver
from netfold.exact.paths.blocks import PathBlock, bound, tensor, widest
from netfold.exact.paths.domain import BLOCK_BYTES, PathDomain, PathTally
from netfold.exact.paths.driver import FORK, Ahead
from netfold.exact.paths.output import OutputTally, PathOutput
from netfold.exact.paths.records import Crossings, PathVertices, Totals
from netfold.exact.paths.refinement import KEYS, anchors, interpolate
from netfold.exact.paths.scale import path_scales
from netfold.exact.paths.spread import Spread, spread_maps
from netfold.exact.paths.stretches import follow
from netfold.paths import Line, Polyline
from netfold.progress import Budget

NARROW_BYTES = 2**20
"""Memory that is enough for the rows of narrow layers: more of them make nothing faster."""

DENSE_ROWS = 256
"""Rows of a block at least, where layers are not wider than ``DENSE_WIDTH``: a product of fewer rows with a large
matrix waits for the matrix."""

DENSE_WIDTH = 4096


class LineTracer:
    """Traces straight paths through a piecewise-linear program.

    Attributes:
        programs: the program of each path.
        totals: what every layer does to the paths, after `run`.
        results: what each path does in the output, after `run`.
        doubts: where rounding may have decided a state on each path, after `run`.
        vertices: parameters of all vertices and the outputs there, after `run`, where they are kept.
    """

    def __init__(
        self, program: Program, paths: int, block_bytes: int = BLOCK_BYTES, fork: int = FORK, keep: bool = False
    ) -> None:
        self.threads = torch.get_num_threads() if program.device.type == "cpu" else 1
        self.domain = replace(Points.of(program, paths, block_bytes // self.threads, fork), keep=keep)
        self.vertices: list[Floats] = []
        self.programs: Sequence[Program] = [program] * paths
        self.totals: list[Totals] = []
        self.results: list[PathOutput] = []
        self.doubts: list[Floats] = []
        self._met: Doubts

    @beside
    def run(self, t: Floats, path: Ints, points: torch.Tensor) -> None:
        """Trace paths given by their vertices, in order: parameters, path numbers, points."""
        domain = self._scaled(t, path, points)
        self._read(driver.run(domain, domain.start(t, path, points), self.threads))

    def follow(self, path: Line | Polyline, budget: Budget, told: Callable[[float], object]) -> float:
        """Trace one path within a budget; the parameter up to which that came, 1 where it is all of it.

        Ctrl-C ends it sooner, but not before there is something to tell.
        """
        corners, points = path.vertices
        vertices = self.domain.program.points(points, "the path")
        domain = self._scaled(corners, np.zeros(len(corners), np.int64), vertices)

        def ahead(begin: float, end: float) -> Ahead[PathBlock]:
            inside = (corners > begin) & (corners < end)
            t = np.concatenate([[begin], corners[inside], [end]])
            ends = [points[int(corners.searchsorted(s))] if s in corners else path(s) for s in (begin, end)]
            vertices = np.concatenate([ends[:1], points[inside], ends[1:]])
            return domain.start(t, np.zeros(len(t), np.int64), domain.program.points(vertices, "the path"))

        tally, at = follow(domain, domain.program, ahead, self.threads, budget, told)
        aside(self._read, tally)
        return at

    def _scaled(self, t: Floats, path: Ints, points: torch.Tensor) -> Points:
        """The domain with the scales of paths given by their vertices."""
        scales, met = self._scales(path, points)
        self._met = path[met], t[met]
        return replace(self.domain, keys=KEYS if np.bincount(path).max() > 2 else 0, scales=scales)

    def _scales(self, path: Ints, points: torch.Tensor) -> tuple[Floats, Ints]:
        return path_scales(self.domain.program, path, points, self.domain.paths)

    def _read(self, tally: PathTally) -> None:
        self.vertices = tally.output.rows.take() if tally.output.rows is not None else []
        self.totals, self.results = tally.totals, tally.output.finish()
        doubts = [doubts for layer in tally.layers for doubts in layer.all_doubts()]
        self.doubts = _by_path([self._met, *doubts], len(self.results))


def _by_path(doubts: list[Doubts], paths: int) -> list[Floats]:
    """The parameters of doubts on every path, each once."""
    path, t = (np.concatenate(part) for part in zip(*doubts, strict=True))
    order = np.argsort(path, kind="stable")
    return [np.unique(part) for part in np.split(t[order], np.searchsorted(path[order], np.arange(1, paths)))]


@dataclass(frozen=True)
class Points(PathDomain):
    """The vertices of straight paths.

    Attributes:
        layers: the compiled passes of the program's nonlinearities.
        spreads: how the next stage follows from a layer's crossings, where it is one product with its image.
        scales: of what each layer reads on each path, and of the output (`paths.scale.path_scales`).
        keep: whether outputs at all vertices are kept.
    """

    layers: list[LineLayer]
    spreads: list[Spread | None]
    scales: Floats
    keep: bool = field(default=False, kw_only=True)

    @classmethod
    def of(cls, program: Program, paths: int, block_bytes: int, fork: int) -> Self:
        """Bind a program's layers to their compiled passes."""
        program, width = reproducible(program), widest(program)
        fewest = min(DENSE_ROWS, block_bytes // 2**13) if width <= DENSE_WIDTH else 0
        most = min(max(NARROW_BYTES // (8 * width), 512), 4096)
        block_rows = int(np.clip(block_bytes // (8 * width), max(fewest, 8), most)) // 8 * 8
        layers, unknown = bound(program, LineLayer.of), np.zeros((len(program.stages), paths))
        return cls(program, block_rows, fork, paths, KEYS, layers, spread_maps(program), unknown)

    def tally(self, level: int) -> PathTally:
        """An empty tally for blocks from a level on."""
        pairs = zip(self.layers[level:], self.scales[level:], strict=False)  # the last scale is the output's
        layers = [LineTally.of(self.paths, layer, scales) for layer, scales in pairs]
        output = OutputTally(self.paths, self.outputs, self.keys, self.keep, self.scales[-1])
        return PathTally(level, layers, output)

    def meet(self, level: int, block: PathBlock, tally: PathTally) -> Ahead[PathBlock] | None:
        """Take a block through the layer at its level; crowded segments are first given plain vertices."""
        if level == len(self.layers):
            tally.output.add(block)
            return None
        layer, mine = self.layers[level], tally.layers[level - tally.level]
        spread = self.spreads[level] is not None
        met = layer.meet(level, block, mine.vertex_before(block), mine.totals, mine.scales, spread)
        if met.crowded:
            return self._thinned(level, block, met.found)
        for s in np.flatnonzero(met.weak).tolist():
            measures = _measured_directly(layer, block.h, s, met.found, float(met.flat2[s]))
            mine.add_measures(int(block.path[s]), measures)
        mine.doubt(block, met)
        mine.remember(block)
        return self.ahead(level + 1, len(met.refined.at), self._refined(level, block, met))

    def _thinned(self, level: int, block: PathBlock, crossings: Crossings) -> Ahead[PathBlock]:
        """The block with plain vertices inserted between the crossings of crowded segments."""
        segment, at = anchors(crossings.start, crossings.at, CROWDED)
        ahead = np.minimum(segment + 1, len(block.t) - 1)
        t = block.t[segment] + at * (block.t[ahead] - block.t[segment])
        vertices = PathVertices.plain(t, block.path[segment], self.keys)
        vertices.flips[at == 0.0], vertices.first[at == 0.0] = block.flips, block.first

        def make(p: slice) -> PathBlock:
            h, alive = interpolate(block.h, segment[p], at[p]), at_rows(block.alive, segment[p], at[p])
            return PathBlock(h, alive, *vertices.part(p))

        return self.ahead(level, len(at), make)

    def _refined(self, level: int, block: PathBlock, met: Met) -> partial[PathBlock]:
        """How to make blocks of refined rows at the next stage's end."""
        spread, layer = self.spreads[level], self.layers[level]
        if spread is None:
            return partial(self._image, level, block, met)
        return partial(_spread_rows, layer, spread, spread.products(met.opened, block.path), block, met)

    def _image(self, level: int, block: PathBlock, met: Met, p: slice) -> PathBlock:
        """Some refined rows, the layer's image at them carried through the next stage."""
        segment, at, cross = met.refined.segment[p], met.refined.at[p], met.refined.cross[p.start : p.stop + 1]
        image = self.layers[level].image(block.h, segment, at, cross, met.found)
        return self.after(level, met.refined.vertices(p), image, at_rows(block.alive, segment, at))


def _spread_rows(layer: LineLayer, spread: Spread, y: Floats, block: PathBlock, met: Met, p: slice) -> PathBlock:
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
    return PathBlock(h, {}, *refined.vertices(p))


def at_rows(alive: Values, segment: Ints, at: Floats) -> Values:
    """Values at refined rows that are affine on every segment."""
    return {i: tensor(interpolate(flatten([v]), segment, at), v.shape[1:], v.device) for i, v in alive.items()}


def _measured_directly(layer: LineLayer, h: Floats, s: int, crossings: Crossings, flat2: float) -> Floats:
    """Length, angle and inner turning of one segment's image from the differences of its vertices."""
    crossed = crossings.at[crossings.start[s] : crossings.start[s + 1]]
    at = np.unique(np.concatenate([[0.0, 1.0], crossed]))
    cross = crossings.start[s] + np.append(np.searchsorted(crossed, at), len(crossed))
    image = layer.image(h, np.full(len(at), s), at, cross, crossings)
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
