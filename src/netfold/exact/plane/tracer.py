"""Exact partition of a plane's rectangle: polygons are carried through the program and cut where units change state.

Rows of a batch are the vertices of the polygons, shared between neighbours. `paths.driver` leads blocks of neighbouring
polygons through the stages; those cut from one polygon are neighbours in the order of the result.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.activations import Elementwise
from netfold.capture.program import Program, Values, flatten
from netfold.exact.numerics.products import reproducible
from netfold.exact.paths import driver
from netfold.exact.paths.blocks import Block, advance, bound, tensor
from netfold.exact.paths.driver import FORK, Ahead
from netfold.exact.paths.scale import plane_scales
from netfold.exact.plane.layers import Findings, PlaneLayer, SelectionPlane, plane_layer
from netfold.exact.plane.mesh import MeshSink
from netfold.exact.plane.splitting import Loops, take
from netfold.exact.plane.vertices import Edges, Vertices, extend
from netfold.paths import Plane

BLOCK_BYTES = 2**21
"""Memory for the vertices of a block before it is cut, in all threads; one block a layer is alive at once."""

ROOM = 4
"""How many times as many vertices a block may hold after it is cut; the rest of the work waits for its turn."""

TIE = 2.0**-42
"""Values closer to a knot than this share of the layer's scale (`netfold.exact.paths.scale`) count as on it."""


class PlaneTracer:
    """Partitions the rectangle of a plane for a piecewise-linear program.

    Args:
        program: the network.
        corners: the rectangle's corners in input space, ``(4, *input_shape)``, counter-clockwise, and
            ``xy`` their coordinates.
        keep: keep the polygons, cut by class too; otherwise count only.
        block_bytes: memory for the vertices of a block, and ``fork`` values from which on threads share them; neither
            changes any result.

    Attributes:
        program: the network.
        regions: after `run`, activation regions of the network cut off after each layer.
        findings: ties and margins, one a layer; ``scales`` what they are relative to.
        met: points looked at in advance where a unit may lie on a knot by rounding.
        sink: the finished polygons.
    """

    def __init__(
        self, program: Program, corners: torch.Tensor, xy: Floats, keep: bool = False, block_bytes: int = BLOCK_BYTES,
        fork: int = FORK,
    ) -> None:  # fmt: skip
        self.program, program = program, reproducible(program)
        with torch.no_grad():
            self.scales, self.met = plane_scales(program, corners)
        self.threads = torch.get_num_threads() if program.device.type == "cpu" else 1
        self.corners, self.xy = corners, xy
        self.faces = PlanePolygons.of(program, TIE * self.scales, keep, block_bytes // self.threads, fork)
        self.layers = self.faces.layers
        self._take(self.faces.tally(0))

    def run(self) -> None:
        """Cut the rectangle."""
        if self.layers:
            self._take(driver.run(self.faces, self.faces.start(self.corners, self.xy), self.threads))

    def _take(self, tally: PlaneTally) -> None:
        self.regions, self.sink = tally.regions[: len(self.faces.program.layers)], tally.sink
        self.findings = tally.findings[: len(self.regions)]


@dataclass
class PlaneBlock(Block):
    """Neighbouring polygons.

    Attributes:
        xy: coordinates of the vertices, ``key`` and ``made`` as in `Vertices`.
        polygons: the loops.
        ids: the number of each polygon's ancestor after every layer so far.
        states: bits of the states of all units so far.
    """

    xy: Floats
    key: NDArray[np.uint64]
    made: Ints
    polygons: Loops
    ids: Ints
    states: Ints


class PlaneTally:
    """What consecutive blocks of polygons add up.

    Attributes:
        level: the first layer that they come to.
        regions: pieces after each layer; their numbers go on from there.
        findings: one a layer.
        sink: the finished polygons.
    """

    def __init__(self, level: int, layers: int) -> None:
        self.level, self.regions, self.sink = level, np.zeros(layers, np.int64), MeshSink()
        self.findings = [Findings() for _ in range(layers)]

    def join(self, following: PlaneTally) -> None:
        """Add what was met by the blocks that follow; the numbers of their first ancestors are those given here."""
        offset = np.where(np.arange(len(self.regions)) < following.level, 0, self.regions)
        self.sink.join(following.sink, offset)
        for mine, theirs in zip(self.findings, following.findings, strict=True):
            mine.join(theirs)
        self.regions += following.regions


class Cut(NamedTuple):
    """A block after it was cut.

    Attributes:
        vertices: of which the first ``used`` are in use; ``alive`` what lives on at them.
        pieces: its polygons now.
        ids: the number of each piece's ancestor after every layer so far, and ``states`` its bits.
    """

    vertices: Vertices
    used: int
    alive: Values
    pieces: Loops
    ids: Ints
    states: Ints


class Room(NamedTuple):
    """Memory for a block's vertices, with new ones, and for the edges that are cut."""

    vertices: Vertices
    edges: Edges

    @staticmethod
    def of(size: int, width: int, sides: int) -> Room:
        """Room for ``size`` vertices of ``width`` values, with some words of sides."""
        vertices = Vertices(
            np.empty((size, width)), np.empty((size, 2)), np.empty(size, np.uint64), np.empty(size, np.int64),
            np.empty((size, sides), np.int64), np.empty((size, sides), np.int64), np.empty((size, 2), np.int64),
            np.empty(size), np.empty(size, np.bool_),
        )  # fmt: skip
        slots = 1 << int(np.ceil(np.log2(4 * size + 16)))
        return Room(vertices, Edges(*(np.empty(slots, np.int64) for _ in range(3))))

    def larger(self, count: int, times: int) -> Room:
        """More room for the first vertices."""
        h, above = self.vertices.h, self.vertices.above
        larger = Room.of(times * len(h), h.shape[1], above.shape[1])
        for into, source in zip(larger.vertices, self.vertices, strict=True):
            into[:count] = source[:count]
        return larger

    def subdivide(self, layer: PlaneLayer, count: int, polygons: Loops, findings: Findings) -> tuple[int, Loops, bool]:
        """Cut polygons as far as there is room: the number of vertices, the pieces, and whether all was cut."""
        self.edges.pair.fill(-1)
        used, pieces, finished = layer.subdivide(count, polygons, self.vertices, self.edges, findings)
        findings.note(self.vertices, used)
        return used, pieces, finished


class Rooms(threading.local):
    """Room for one block a level, used again for every block there; each thread has its own."""

    def __init__(self, levels: int) -> None:
        self.levels: list[Room | None] = [None] * levels


@dataclass(frozen=True)
class PlanePolygons:
    """The polygons of a plane.

    Attributes:
        program: the network, with products that round alike in every batch.
        layers: the compiled passes of its nonlinearities; where polygons are kept, the class is the last of them.
        keep: whether polygons are kept.
        block_rows: vertices of a block at most.
        fork: values at the polygons ahead from which on threads share them.
        rooms: memory for vertices.
    """

    program: Program
    layers: list[PlaneLayer]
    keep: bool
    block_rows: int
    fork: int
    rooms: Rooms

    @staticmethod
    def of(program: Program, tolerances: Floats, keep: bool, block_bytes: int, fork: int) -> PlanePolygons:
        """Bind a program's layers, with one tolerance each, to their compiled passes."""
        layers = [
            plane_layer(rule, units, i, tolerances[i])
            for i, (rule, units) in enumerate(bound(program, lambda rule, units: (rule, units)))
        ]
        outputs = int(np.prod(program.output_shape, dtype=np.int64))
        if keep:
            layers.append(_class_layer(outputs, len(layers), tolerances[-1]))
        widest = max([outputs, *(layer.units for layer in program.layers)])
        block_rows = int(np.clip(block_bytes // (8 * widest), 64, 4096)) // 8 * 8
        return PlanePolygons(program, layers, keep, block_rows, fork, Rooms(len(layers)))

    def start(self, corners: torch.Tensor, xy: Floats) -> Ahead[PlaneBlock]:
        """The rectangle."""
        loop = np.arange(4)
        polygons = Loops(np.array([0, 4]), loop, -1 - loop, np.zeros(1, np.int64))
        key, made, empty = np.arange(1, 5, dtype=np.uint64), np.full(4, -1), np.empty((1, 0), np.int64)

        def blocks(begin: int, end: int) -> Iterator[PlaneBlock]:
            values = advance(self.program, self.program.stages[0], self.program.start(corners))
            yield PlaneBlock(*values, xy, key, made, polygons, empty, empty)

        return Ahead(0, 1, 0, blocks)

    def tally(self, level: int) -> PlaneTally:
        """An empty tally for blocks from a level on."""
        return PlaneTally(level, len(self.layers))

    def meet(self, level: int, block: PlaneBlock, tally: PlaneTally) -> Ahead[PlaneBlock] | None:
        """Cut a block by the layer at its level; what there was no room for comes to the same level again."""
        layer, findings, last = self.layers[level], tally.findings[level], level == len(self.layers) - 1
        room, count = self._opened(level, block), len(block.h)
        layer.open(room.vertices, count, findings)
        if last and not self.keep and self._counted(layer, block, room, tally):
            return None
        used, pieces, finished = room.subdivide(layer, count, block.polygons, findings)
        while not finished and used < count + 2 and len(pieces.parent) == len(block.polygons.start) - 1:
            room = self.rooms.levels[level] = room.larger(count, 2)
            used, pieces, finished = room.subdivide(layer, count, block.polygons, findings)
        vertices = room.vertices
        if not finished:
            cut = Cut(vertices, used, self._extended(block, used, vertices), pieces,
                      block.ids[pieces.parent], block.states[pieces.parent])  # fmt: skip
            return self._again(level, cut)
        ids = states = np.empty((len(pieces.parent), 0), np.int64)
        if self.keep:
            ids = np.column_stack([block.ids[pieces.parent], tally.regions[level] + np.arange(len(pieces.parent))])
            states = np.hstack([block.states[pieces.parent], layer.states(pieces, vertices)])
        tally.regions[level] += len(pieces.parent)
        if last:
            if self.keep:
                tally.sink.add(used, pieces, vertices, ids, states)
            return None
        cut = Cut(vertices, used, self._extended(block, used, vertices), pieces, ids, states)
        return self._ahead(level, cut)

    def _ahead(self, level: int, cut: Cut) -> Ahead[PlaneBlock]:
        """The pieces of a block on their way to the next layer."""
        layer, count, units = self.program.layers[level], len(cut.pieces.parent), self.layers[level + 1].units

        def blocks(begin: int, end: int) -> Iterator[PlaneBlock]:
            for rows, rest in self._parts(cut, begin, end):
                values = {i: value[rows] for i, value in cut.alive.items()}
                image = self.layers[level].image(cut.vertices.h, rows)
                values[layer.node.index] = tensor(image, layer.shape, self.program.device)
                yield PlaneBlock(*advance(self.program, self.program.stages[level + 1], values), *rest)

        return Ahead(level + 1, count, count * units, blocks)

    def _again(self, level: int, cut: Cut) -> Ahead[PlaneBlock]:
        """The pieces of a block that ran out of room, for the same layer; they leave the room, which is used again."""
        parts = [
            PlaneBlock(cut.vertices.h[rows], {i: value[rows] for i, value in cut.alive.items()}, *rest)
            for rows, rest in self._parts(cut, 0, len(cut.pieces.parent))
        ]
        size = len(cut.pieces.parent) * self.layers[level].units
        return Ahead(level, len(parts), size, lambda begin, end: iter(parts[begin:end]))

    def _parts(self, cut: Cut, begin: int, end: int) -> Iterator[tuple[Ints, tuple[Any, ...]]]:
        """Consecutive polygons with few enough vertices: these, and the rest of a block."""
        pieces, vertices = cut.pieces, cut.vertices
        index, rows = np.full(cut.used, -1), np.empty(cut.used, np.int64)
        while begin < end:
            n, stop, loop = take(begin, end, pieces, self.block_rows, index, rows)
            chosen, first, used = slice(begin, stop), pieces.start[begin], rows[:n].copy()
            polygons = Loops(pieces.start[begin : stop + 1] - first, loop, pieces.label[first : first + len(loop)],
                             pieces.parent[chosen])  # fmt: skip
            yield used, (vertices.xy[used], vertices.key[used], vertices.made[used], polygons, cut.ids[chosen],
                         cut.states[chosen])  # fmt: skip
            begin = stop

    def _opened(self, level: int, block: PlaneBlock) -> Room:
        """A block's vertices, with room for new ones."""
        count, width = block.h.shape
        room = self.rooms.levels[level]
        if room is None or len(room.vertices.h) < 2 * count + 64:
            size = max(ROOM * self.block_rows, 2 * count + 64)
            room = self.rooms.levels[level] = Room.of(size, width, self.layers[level].sides)
        for into, rows in zip(room.vertices, (block.h, block.xy, block.key, block.made), strict=False):
            into[:count] = rows
        return room

    def _counted(self, layer: PlaneLayer, block: PlaneBlock, room: Room, tally: PlaneTally) -> bool:
        """Count the last layer's pieces without making them; polygons that need it are cut. False if all do."""
        counts, findings, count = layer.count(block.polygons, room.vertices), tally.findings[-1], len(block.h)
        if counts is None:
            return False
        findings.note(room.vertices, count)
        tally.regions[-1] += counts[counts > 0].sum()
        for p in np.flatnonzero(counts < 0):
            first, last = block.polygons.start[p], block.polygons.start[p + 1]
            one = Loops(np.array([0, last - first]), block.polygons.loop[first:last], block.polygons.label[first:last],
                        np.zeros(1, np.int64))  # fmt: skip
            wide, (_, pieces, finished) = room, room.subdivide(layer, count, one, findings)
            while not finished:
                wide = wide.larger(count, 16)
                _, pieces, finished = wide.subdivide(layer, count, one, findings)
            tally.regions[-1] += len(pieces.parent)
        return True

    def _extended(self, block: PlaneBlock, count: int, vertices: Vertices) -> Values:
        """The values that live on, also at new vertices."""
        extended: Values = {}
        for i, value in block.alive.items():
            wide = np.empty((count, value[0].numel()))
            wide[: len(value)] = flatten([value])
            extend(len(value), vertices.ends, vertices.at, wide)
            extended[i] = tensor(wide, value.shape[1:], value.device)
        return extended


def _class_layer(outputs: int, index: int, tolerance: float) -> PlaneLayer:
    """The class as a last layer: the largest output, or the sign of a single one."""
    if outputs == 1:
        sign = Elementwise(np.zeros((1, 1)), np.ones((1, 2)), np.zeros((1, 2)), (0, 1))
        return plane_layer(sign, 1, index, tolerance)
    return SelectionPlane(np.arange(outputs)[None], True, index, tolerance)


def corners_of(program: Program, plane: Plane, bounds: tuple[float, float, float, float]) -> tuple[torch.Tensor, Any]:
    """The rectangle's corners in input space, counter-clockwise, and their coordinates."""
    left, right, bottom, top = bounds
    xy: NDArray[np.float64] = np.array([[left, bottom], [right, bottom], [right, top], [left, top]])
    return program.points(plane(xy[:, 0], xy[:, 1]), "the plane's points"), xy


def margins(tracer: PlaneTracer) -> float:
    """The closest decision relative to its layer's scale."""
    scales = zip(tracer.findings, tracer.scales, strict=False)
    closest = [float(f.closest[0]) / scale for f, scale in scales if scale > 0]
    return float(min(closest, default=np.inf))
