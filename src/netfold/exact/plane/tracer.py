"""Exact partition of a plane's rectangle: polygons are carried through the program and cut where units change state.

Rows of a batch are the vertices of the polygons, shared between neighbours. Blocks of neighbouring polygons go
depth-first through the stages, so that memory does not grow with the number of regions; the polygons of one block
come out one after the other, so that those cut from one polygon are neighbours in the order of the result.
"""

from __future__ import annotations

import copy
import threading
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture.activations import Elementwise
from netfold.capture.program import Program, Stage, Values, flatten
from netfold.exact.numerics.products import reproducible
from netfold.exact.numerics.stealing import Team
from netfold.exact.numerics.threads import single_threaded
from netfold.exact.plane.blocks import Block, Blocks, Chunks, Made, Pieces
from netfold.exact.plane.layers import Findings, PlaneLayer, SelectionPlane, plane_layer
from netfold.exact.plane.scale import layer_scales
from netfold.exact.plane.splitting import Loops
from netfold.exact.plane.vertices import Edges, Vertices, extend
from netfold.paths import Plane

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_BYTES = 2**21
"""Memory for the vertices of a block before it is cut, in all threads; one block a layer is alive at once."""

ROOM = 4
"""How many times as many vertices a block may hold after it is cut; the rest of the work waits for its turn."""

FORK = 2**16
"""Values at the polygons that wait from which on some of them go to another thread."""

TIE = 2.0**-42
"""Values closer to a knot than this share of the layer's scale (`netfold.exact.plane.scale`) count as on it."""


class Sink(Protocol):
    """Takes the finished polygons, block by block in order."""

    def fresh(self) -> Any:
        """An empty one of the same kind."""
        ...

    def join(self, following: Any, offset: Ints) -> None:
        """Add the polygons that follow; the numbers of their ancestors after each layer lack an offset."""
        ...

    def add(self, block: Block, count: int, pieces: Loops, vertices: Vertices, ids: Ints, states: Ints) -> None:
        """Take the pieces of a block's polygons; ``count`` vertices are in use."""
        ...


class PlaneTracer:
    """Partitions the rectangle of a plane for a piecewise-linear program.

    Args:
        program: the network.
        corners: the rectangle's corners in input space, ``(4, *input_shape)``, counter-clockwise, and
            ``xy`` their coordinates.
        sink: takes the polygons, cut by class too; None to count only.

    Attributes:
        regions: after `run`, activation regions of the network cut off after each layer.
        findings: ties and margins, one a layer; ``scales`` what they are relative to.
    """

    def __init__(
        self,
        program: Program,
        corners: torch.Tensor,
        xy: Floats,
        sink: Sink | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        program = self.program = reproducible(program)
        self.corners, self.xy, self.sink = corners, xy, sink
        with torch.no_grad():
            self.scales = layer_scales(program, corners)
        self.layers = [_bound(stage, i, TIE * self.scales[i]) for i, stage in enumerate(program.stages) if stage.layer]
        if sink is not None:
            self.layers.append(_classes(program, TIE * self.scales[-1]))
        self.findings = [Findings() for _ in self.layers]
        self.regions = np.zeros(len(program.layers), np.int64)
        self.numbered = np.zeros(len(self.layers), np.int64)
        self.threads = torch.get_num_threads() if program.device.type == "cpu" else 1
        widest = max([*(_features(program, stage) for stage in program.stages), 1])
        self.block_rows = int(np.clip(block_bytes // (8 * widest * self.threads), 64, 4096)) // 8 * 8
        self.rooms: list[Vertices | None] = [None] * len(self.layers)
        self.lock = threading.RLock()
        self.waiting: list[Blocks | Pieces] = []
        self.victim: PlaneTracer | None = None
        self.level, self.offset = 0, np.zeros_like(self.numbered)

    def run(self) -> None:
        """Cut the rectangle."""
        if not self.layers:
            return
        loop = np.arange(4)
        polygons = Loops(np.array([0, 4]), loop, -1 - loop, np.zeros(1, np.int64))
        key, made = np.arange(1, 5, dtype=np.uint64), np.full(4, -1)
        empty = np.empty((1, 0), np.int64)
        with torch.no_grad(), single_threaded():
            h, alive = self._advanced(0, self.program.start(self.corners), 4)
            self._put_off(0, [Block(h, alive, self.xy, key, made, polygons, empty, empty)])
            strands = Team(self, self.threads, FORK).run()
        self._join(strands[1:])
        self.rooms = []

    def step(self) -> bool:
        """Cut the next block."""
        with self.lock:
            while self.waiting and not self.waiting[-1].left:
                self.waiting.pop()
            if not self.waiting:
                self.rooms = [None] * len(self.layers)
                return False
            level, make = self.waiting[-1].level, self.waiting[-1].next()
        self._descend(level, make())
        return True

    def spare(self) -> int:
        """The most values at polygons that wait in one place."""
        with self.lock:
            return max((w.values for w in self.waiting if w.left > 1), default=0)

    def part(self) -> Self:
        """A tracer for what comes last: half of the polygons in the fullest place, and all that waits for them."""
        with self.lock:
            place = max((w.values, -i) for i, w in enumerate(self.waiting) if w.left > 1)
            fullest = self.waiting[-place[1]]
            given = [*self.waiting[: -place[1]], fullest.halve()]
            strand = copy.copy(self)
            strand.lock, strand.waiting = threading.RLock(), given
            strand.sink = self.sink.fresh() if self.sink is not None else None
            strand.findings, strand.regions = [Findings() for _ in self.layers], np.zeros_like(self.regions)
            # this tracer cuts on in later layers only: the numbers of the layers before are the other's to go on with
            strand.victim, strand.level, strand.numbered = self, fullest.level, self.numbered.copy()
            strand.numbered[fullest.level :] = 0
            strand.rooms = [None] * len(self.layers)
            # what was given away may still be read there, and is not written over
            read = {w.level - 1 for w in given if isinstance(w, Pieces)}
            self.rooms = [None if i in read else room for i, room in enumerate(self.rooms)]
            self.waiting = self.waiting[-place[1] :]
        return strand

    def _descend(self, index: int, block: Block) -> None:
        layer, findings = self.layers[index], self.findings[index]
        vertices = self._opened(index, block)
        count = len(block.h)
        layer.open(vertices, count, findings)
        if self.sink is None and index == len(self.layers) - 1 and self._counted(index, block, vertices):
            return
        edges = _table(len(vertices.h))
        count, pieces, finished = layer.subdivide(count, block.polygons, vertices, edges, findings)
        findings.note(vertices, count)
        if not finished:
            stuck = count < len(block.h) + 2 and len(pieces.parent) == len(block.polygons.start) - 1
            if stuck:
                self.rooms[index] = _room(2 * len(vertices.h), block.h.shape[1], layer.sides)
                self._put_off(index, [block])
                return
            self._put_off(index, self._parts(block, count, pieces, vertices))
            return
        if index < len(self.regions):
            self.regions[index] += len(pieces.parent)
        self._onward(index, block, count, pieces, vertices)

    def _onward(self, index: int, block: Block, count: int, pieces: Loops, vertices: Vertices) -> None:
        """Hand the pieces of a block on: to the next stage, or to the sink."""
        layer = self.layers[index]
        if self.sink is None:
            if index == len(self.layers) - 1:
                return
            ids = states = np.empty((len(pieces.parent), 0), np.int64)
        else:
            numbers = self.numbered[index] + np.arange(len(pieces.parent))
            self.numbered[index] += len(numbers)
            ids = np.column_stack([block.ids[pieces.parent], numbers])
            states = np.hstack([block.states[pieces.parent], layer.states(pieces, vertices)])
            if index == len(self.layers) - 1:
                self.sink.add(block, count, pieces, vertices, ids, states)
                return
        made = Made(vertices, count, self._extended(block, count, vertices), ids, states)
        chunks = Chunks(pieces, count, self.block_rows)
        with self.lock:
            self.waiting.append(
                Pieces(index + 1, self.layers[index + 1].units, chunks, partial(self._child, index, made))
            )

    def _put_off(self, level: int, blocks: list[Block]) -> None:
        with self.lock:
            self.waiting.append(Blocks(level, blocks))

    def _join(self, strands: list[Self]) -> None:
        """Add what the others found on the polygons that follow."""
        before = self.numbered
        for strand in strands:
            assert strand.victim is not None
            strand.offset = before.copy()
            strand.offset[: strand.level] = strand.victim.offset[: strand.level]
            before = strand.offset + strand.numbered
            if self.sink is not None:
                self.sink.join(strand.sink, strand.offset)
            for mine, other in zip(self.findings, strand.findings, strict=True):
                mine.join(other)
            self.regions += strand.regions

    def _opened(self, index: int, block: Block) -> Vertices:
        """A block's vertices, with room for new ones; the room is used again for every block of a layer."""
        count, width = block.h.shape
        room = self.rooms[index]
        if room is None or len(room.h) < 2 * count + 64:
            size = max(ROOM * self.block_rows, 2 * count + 64)
            room = self.rooms[index] = _room(size, width, self.layers[index].sides)
        room.h[:count], room.xy[:count], room.key[:count], room.made[:count] = block.h, block.xy, block.key, block.made
        return room

    def _counted(self, index: int, block: Block, vertices: Vertices) -> bool:
        """Count the last layer's pieces without making them; polygons that need it are cut. False if all do."""
        counts = self.layers[index].count(block.polygons, vertices)
        if counts is None:
            return False
        self.findings[index].note(vertices, len(block.h))
        doubtful = np.flatnonzero(counts < 0)
        self.regions[index] += counts[counts > 0].sum()
        if len(doubtful):
            layer, findings, count = self.layers[index], self.findings[index], len(block.h)
            for p in doubtful:
                first, last = block.polygons.start[p], block.polygons.start[p + 1]
                one = Loops(np.array([0, last - first]), block.polygons.loop[first:last],
                            block.polygons.label[first:last], np.zeros(1, np.int64))  # fmt: skip
                used, pieces, finished = layer.subdivide(count, one, vertices, _table(len(vertices.h)), findings)
                findings.note(vertices, used)
                if finished:
                    self.regions[index] += len(pieces.parent)
                else:
                    self._cut_alone(index, block, one, vertices, count)
        return True

    def _cut_alone(self, index: int, block: Block, one: Loops, vertices: Vertices, count: int) -> None:
        """Count the pieces of a polygon that needs more room than the block has."""
        larger = _room(64 * len(vertices.h), block.h.shape[1], self.layers[index].sides)
        for into, source in zip(larger, vertices, strict=True):
            into[:count] = source[:count]
        while True:
            edges = _table(len(larger.h))
            used, pieces, finished = self.layers[index].subdivide(count, one, larger, edges, self.findings[index])
            self.findings[index].note(larger, used)
            if finished:
                self.regions[index] += len(pieces.parent)
                return
            wider = _room(4 * len(larger.h), block.h.shape[1], self.layers[index].sides)
            for into, source in zip(wider, larger, strict=True):
                into[:count] = source[:count]
            larger = wider

    def _parts(self, block: Block, count: int, pieces: Loops, vertices: Vertices) -> list[Block]:
        """The pieces of a block that ran out of room, in blocks for the same layer, whose room they leave."""
        alive = self._extended(block, count, vertices)
        parts, chunks = [], Chunks(pieces, count, self.block_rows)
        while chunks.left:
            chosen, rows, polygons = chunks.next()
            parents = pieces.parent[chosen]
            parts.append(Block(vertices.h[rows], {i: value[rows] for i, value in alive.items()}, vertices.xy[rows],
                               vertices.key[rows], vertices.made[rows], polygons, block.ids[parents],
                               block.states[parents]))  # fmt: skip
        return parts

    def _child(self, index: int, made: Made, chosen: slice, rows: Ints, polygons: Loops) -> Block:
        """Some pieces of a block, at the end of the next stage."""
        stage, layer, vertices = self.program.stages[index], self.layers[index], made.vertices
        assert stage.layer is not None
        padded = np.append(rows, np.repeat(rows[-1:], -len(rows) % 8))
        values = {i: value[padded] for i, value in made.alive.items()}
        image = torch.from_numpy(layer.image(vertices.h, padded)).to(self.program.device)
        values[stage.layer.node.index] = image.reshape(-1, *stage.layer.shape)
        h, kept = self._advanced(index + 1, values, len(rows))
        return Block(h, kept, vertices.xy[rows], vertices.key[rows], vertices.made[rows], polygons, made.ids[chosen],
                     made.states[chosen])  # fmt: skip

    def _advanced(self, index: int, values: Values, count: int) -> tuple[Floats, Values]:
        """Run a stage: what its end reads, and what lives on."""
        stage = self.program.stages[index]
        values = self.program.advance(stage, values)
        h = flatten([values[i][:count] for i in stage.inputs])
        return h, {i: values[i][:count] for i in stage.alive}

    def _extended(self, block: Block, count: int, vertices: Vertices) -> Values:
        """The values that live on, also at new vertices."""
        extended: Values = {}
        for i, value in block.alive.items():
            wide = np.empty((count, value[0].numel()))
            wide[: len(value)] = flatten([value])
            extend(len(value), vertices.ends, vertices.at, wide)
            extended[i] = torch.from_numpy(wide).to(value.device).reshape(count, *value.shape[1:])
        return extended


def _bound(stage: Stage, index: int, tolerance: float) -> PlaneLayer:
    assert stage.layer is not None
    assert stage.layer.rule is not None
    return plane_layer(stage.layer.rule, stage.layer.units, index, tolerance)


def _classes(program: Program, tolerance: float) -> PlaneLayer:
    """The class as a last layer: the largest output, or the sign of a single one."""
    outputs, index = int(np.prod(program.output_shape, dtype=np.int64)), len(program.layers)
    if outputs == 1:
        sign = Elementwise(np.zeros((1, 1)), np.ones((1, 2)), np.zeros((1, 2)), (0, 1))
        return plane_layer(sign, 1, index, tolerance)
    return SelectionPlane(np.arange(outputs)[None], True, index, tolerance)


def _features(program: Program, stage: Stage) -> int:
    """Values at one point when a stage's layer acts."""
    return stage.layer.units if stage.layer is not None else int(np.prod(program.output_shape, dtype=np.int64))


def _room(size: int, width: int, sides: int) -> Vertices:
    return Vertices(
        np.empty((size, width)),
        np.empty((size, 2)),
        np.empty(size, np.uint64),
        np.empty(size, np.int64),
        np.empty((size, sides), np.int64),
        np.empty((size, sides), np.int64),
        np.empty((size, 2), np.int64),
        np.empty(size),
        np.empty(size, np.bool_),
    )


def _table(rows: int) -> Edges:
    size = 1 << int(np.ceil(np.log2(4 * rows + 16)))
    return Edges(np.full(size, -1), np.empty(size, np.int64), np.empty(size, np.int64))


def corners_of(program: Program, plane: Plane, bounds: tuple[float, float, float, float]) -> tuple[torch.Tensor, Any]:
    """The rectangle's corners in input space, counter-clockwise, and their coordinates."""
    left, right, bottom, top = bounds
    xy: NDArray[np.float64] = np.array([[left, bottom], [right, bottom], [right, top], [left, top]])
    return program.points(plane(xy[:, 0], xy[:, 1]), "the plane's points"), xy


def margins(tracer: PlaneTracer) -> tuple[int, float]:
    """Vertices, layer by layer, where the tolerance or rounding decided; the closest decision relative to its scale."""
    findings = tracer.findings[: len(tracer.regions)]
    uncertain = sum(found.uncertain for found in findings)
    scales = zip(findings, tracer.scales, strict=False)
    closest = [float(f.closest[0]) / scale for f, scale in scales if scale > 0]
    return uncertain, float(min(closest, default=np.inf))
