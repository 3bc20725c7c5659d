"""Exact tracing of arcs and circles: pieces on which every pre-activation is A cos s + B sin s + C.

A piece between two vertices is carried through the program by three points: its ends, which it shares with its
neighbours, and its control point, where the tangents at its ends meet. Affine operations act on points, so these
three go through them as they are, and at a nonlinearity every unit's harmonic function is known by its three values
(`arc.harmonic`). Rows of a batch alternate between vertices and control points; otherwise blocks go through
the stages as those of straight paths do (`line.tracer`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture.program import Program, Stage, Values, flatten
from netfold.errors import InvalidInputError
from netfold.exact.arc import measures, rows
from netfold.exact.arc.closing import Closing, Ends, close_passages, count_passages
from netfold.exact.arc.elliptic import piece_length
from netfold.exact.arc.layers import ArcCrossings, ArcLayer, Pieces, arc_layer
from netfold.exact.arc.output import ArcOutputTally
from netfold.exact.numerics.products import padded, reproducible
from netfold.exact.numerics.sums import add_counts, keep_smallest, sum_exactly
from netfold.exact.numerics.threads import over_rows
from netfold.exact.paths import patterns
from netfold.exact.paths.blocks import advance, chunks, stage_width, tensor
from netfold.exact.paths.output import PathOutput
from netfold.exact.paths.records import Refined, Totals
from netfold.exact.paths.refinement import refine
from netfold.exact.paths.spread import Dense, spread_map
from netfold.paths import Ellipse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

BLOCK_BYTES = 4 * 2**20
"""Memory that one stage's rows may take; several such blocks are alive at once, one a layer."""


@dataclass
class Block:
    """Some consecutive pieces of the paths, at the nonlinearity (or the output) that ends one stage.

    Attributes:
        t: parameters of the vertices on their paths.
        path: the path each vertex belongs to.
        flips: keys of the states that switch at the vertex (128 bits).
        first: the first layer in which a unit switches there.
        width: the angle of the piece that starts at each vertex, -1 between paths.
        h: what the nonlinearity reads at vertices and control points in turn, flattened.
        alive: the other values that later stages read, in the same rows.
    """

    t: Floats
    path: Ints
    flips: Keys
    first: Ints
    width: Floats
    h: Floats
    alive: Values


class Follower:
    """One layer's passes, what they add up, and what they remember of the block before.

    Attributes:
        totals: what the layer does to every path.
    """

    def __init__(self, layer: ArcLayer, columns: Dense | None, closed: NDArray[np.bool_]) -> None:
        self.layer, self.columns, self.closed = layer, columns, closed
        self.totals = Totals.of(len(closed), layer.units)
        self.before, self.into, self.path = np.empty((0, 0)), np.empty(0), -1
        self.saturated = np.full((2, layer.units), -1)
        self.current = np.full(1, -1)
        self.closing = Closing(closed, self._close)

    def pieces(self, block: Block) -> Pieces:
        """A block with the vertex and the control point before it."""
        before = self.before if self.path == block.path[0] else np.empty((0, block.h.shape[1]))
        return Pieces(block.h, block.path, block.width, before)

    def add(self, block: Block, pieces: Pieces, z: Floats, found: ArcCrossings, refined: Refined) -> NDArray[np.int8]:
        """Add a block's changes and lengths; returns how the image moves from every refined row."""
        totals, n = self.totals, len(refined.at)
        lengths, angles, bends, flat = np.empty(n), np.empty(n), np.empty(n), np.empty(n, np.int8)
        into = self.into if len(pieces.before) else np.empty(0)
        over_rows(measures.measure, n, 2 * self.layer.units, z, block.width, found.start, found.unit,
                  found.after, found.earlier, found.value, refined.segment, refined.at, refined.cross, into,
                  lengths, angles, bends, flat)  # fmt: skip
        for values, sums in ((lengths, totals.lengths), (angles, totals.angles), (bends, totals.bends)):
            sum_exactly(values, refined.path, sums)
        if self.layer.saturated_pieces:
            count_passages(block.path, found.start, found.unit, found.origin, found.target,
                           self.layer.saturated_pieces, self.closed, self.saturated[0], self.saturated[1],
                           self.current, totals.passages)  # fmt: skip
        self._remember(block, z, found)
        return flat

    def _remember(self, block: Block, z: Floats, found: ArcCrossings) -> None:
        def start(s: int) -> Floats:
            return measures.start_direction(z, s, found.start, found.unit, found.earlier)

        def end(s: int) -> Floats:
            return measures.end_direction(z, s, found.start, found.unit, found.after, found.earlier)

        joined = len(block.path) > 1 and block.path[-2] == block.path[-1]
        self.path = int(block.path[-1]) if joined else -1
        if joined:
            self.before, self.into = block.h[-3:-1].copy(), end(len(block.path) - 2)
        if self.closed.any():
            self.closing.follow(block.path, block.h, z, start, end)

    def finish(self) -> None:
        """Close the last path."""
        self.closing.finish()
        close_passages(self.closed, self.saturated[0], self.saturated[1], self.current, self.totals.passages)

    def _close(self, ends: Ends) -> None:
        """Count what changes where a closed path begins again."""
        (now, sign), (was, sign_before) = self.layer.states(ends.first), self.layer.states(ends.last[::-1])
        self.totals.transitions[ends.path] += int((now != was).sum())
        self.totals.signs[ends.path] += int((sign != sign_before).sum())
        bend, angle = measures.corner(ends.arriving, ends.leaving, ends.vertex)
        sum_exactly(np.array([bend]), np.array([ends.path]), self.totals.bends)
        sum_exactly(np.array([angle]), np.array([ends.path]), self.totals.angles)


class ArcTracer:
    """Traces arcs and circles through a piecewise-linear program.

    A closed path (whole turns) is cut at t = 0: that point is no breakpoint, and the first and the last of its
    ``breakpoints + 1`` regions are the same one unless a unit changes exactly there. Such a change counts among the
    transitions, and the image's turn there among its turning.

    Attributes:
        totals: one a layer.
        lengths: of the paths themselves.
        results: what each path does in the output, after `run`.
    """

    def __init__(self, program: Program, ellipses: Sequence[Ellipse], block_bytes: int = BLOCK_BYTES) -> None:
        program = reproducible(program)
        self.program, self.ellipses = program, ellipses
        self.angle = np.array([_checked(e.angle) for e in ellipses])
        turns = self.angle / (2 * np.pi)
        closed = turns == np.round(turns)
        self.followers = [
            Follower(_bound(stage), _columns(program, i), closed)
            for i, stage in enumerate(program.stages)
            if stage.layer
        ]
        self.totals = [follower.totals for follower in self.followers]
        self.output = ArcOutputTally(len(ellipses), int(np.prod(program.output_shape, dtype=np.int64)), closed)
        self.lengths = [ellipse_length(e) for e in ellipses]
        self.results: list[PathOutput] = []
        widest = max(int(np.prod(program.input_shape, dtype=np.int64)), *(stage_width(s) for s in program.stages))
        self.block_rows = int(np.clip(block_bytes // (16 * widest), 16, 4096)) // 8 * 8

    def run(self) -> None:
        """Trace the paths."""
        parts = [_rows(e) for e in self.ellipses]
        t = np.concatenate([at for at, _ in parts])
        path = np.repeat(np.arange(len(parts)), [len(at) for at, _ in parts])
        points = self.program.points(np.concatenate([p for _, p in parts])[:-1], "the path")
        with torch.no_grad():
            for begin, end in chunks(len(t), self.block_rows):
                p = slice(begin, end)
                flips, first = np.zeros((end - begin, 2), np.uint64), np.full(end - begin, patterns.NO_LAYER)
                values = self.program.start(points[2 * begin : 2 * end - 1])
                self._descend(0, self._advanced(0, t[p], path[p], flips, first, values))
        for follower in self.followers:
            follower.finish()
        self.results = self.output.finish()

    def _advanced(self, index: int, t: Floats, path: Ints, flips: Keys, first: Ints, values: Values) -> Block:
        stage = self.program.stages[index]
        values = advance(self.program, stage, values)
        h = flatten([values[i] for i in stage.inputs])
        return Block(t, path, flips, first, self._angles(t, path), h, {i: values[i] for i in stage.alive})

    def _angles(self, t: Floats, path: Ints) -> Floats:
        """Angle of the piece that starts at each vertex; -1 between paths and after the last vertex."""
        width = np.full(len(t), -1.0)
        joined = path[1:] == path[:-1]
        width[:-1][joined] = (self.angle[path[:-1]] * np.diff(t))[joined]
        return width

    def _descend(self, index: int, block: Block) -> None:
        if index == len(self.followers):
            self.output.add_pieces(block.t, block.path, block.flips, block.first, block.width, block.h)
            return
        follower = self.followers[index]
        layer, totals, counted = follower.layer, follower.totals, len(block.path) - 1
        pieces = follower.pieces(block)
        scan = layer.scan(pieces)
        found = layer.crossings(pieces, scan)
        add_counts(scan.counts[:counted], block.path, totals.transitions)
        add_counts(scan.signs[:counted], block.path, totals.signs)
        keep_smallest(scan.closest, block.path, totals.closest)
        z = layer.opened(pieces)
        refined = refine(index, block.t, block.path, block.flips, block.first, found.start, found.at, found.unit,
                         found.origin, found.target)  # fmt: skip
        flat = follower.add(block, pieces, z, found, refined)
        for child in self._children(index, block, z, found, refined, flat):
            self._descend(index + 1, child)

    def _children(
        self, index: int, block: Block, z: Floats, found: ArcCrossings, refined: Refined, flat: NDArray[np.int8]
    ) -> Iterator[Block]:
        """The block's rows with those at crossings, at the next stage's end, in parts that share a vertex."""
        columns = self.followers[index].columns
        y, kept = np.empty((0, 0)), {}
        if columns is not None:
            y = np.ascontiguousarray(columns.products(padded(z))[: len(z), : columns.features])
            kept = _exact_products(columns, z, block, found, refined, flat)
        for begin, end in chunks(len(refined.at), self.block_rows):
            p = slice(begin, end)
            part = Part(refined.segment[p], refined.at[p], refined.cross[begin : end + 1])
            ends = refined.t[p], refined.path[p], refined.flips[p], refined.first[p]
            if columns is None:
                yield self._advanced(index + 1, *ends, self._image(index, block, z, found, part))
                continue
            h = part.spread(y, block, found, columns.columns)
            for i, row in kept.items():
                stop = 3 if flat[i] == measures.STANDING else 1
                h[max(2 * (i - begin), 0) : max(2 * (i - begin) + stop, 0)] = row
            yield Block(*ends, self._angles(*ends[:2]), h, {})

    def _image(self, index: int, block: Block, z: Floats, found: ArcCrossings, part: Part) -> Values:
        """Everything that later stages read, at refined rows."""
        stage, device = self.program.stages[index], self.program.device
        assert stage.layer is not None
        image = part.image(z, block, found)
        values = {stage.layer.node.index: tensor(image, (len(image), *stage.layer.shape), device)}
        nothing = ArcCrossings.empty(np.zeros(len(block.path), np.int64))
        for i, value in block.alive.items():
            fine = part.image(flatten([value]), block, nothing)
            values[i] = tensor(fine, (len(fine), *value.shape[1:]), device)
        return values


@dataclass(frozen=True)
class Part:
    """Refined rows of a block, some of them: where they lie, and which crossings happen there."""

    segment: Ints
    at: Floats
    cross: Ints

    def image(self, z: Floats, block: Block, found: ArcCrossings) -> Floats:
        """The layer's image, or without crossings another value, at these vertices and control points."""
        out = np.empty((2 * len(self.at) - 1, z.shape[1]))
        cross = self.cross if len(found.at) else np.zeros_like(self.cross)
        over_rows(rows.image, len(self.at), 2 * z.shape[1], z, block.width, found.start, found.unit, found.after,
                  found.earlier, found.value, self.segment, self.at, cross, out)  # fmt: skip
        return out

    def spread(self, y: Floats, block: Block, found: ArcCrossings, columns: Floats) -> Floats:
        """An affine map of the layer's image at these vertices and control points."""
        out = np.empty((2 * len(self.at) - 1, y.shape[1]))
        over_rows(rows.spread, len(self.at), 2 * y.shape[1], y, block.width, found.start, found.unit,
                  found.change, columns, self.segment, self.at, self.cross, out)  # fmt: skip
        return out


def trace_ellipses(program: Program, ellipses: Sequence[Ellipse], block_bytes: int = BLOCK_BYTES) -> ArcTracer:
    """Trace elliptic arcs exactly, as one batch of work; the results stand in the tracer that is returned.

    Args:
        program: a piecewise-linear program.
        ellipses: the paths.
        block_bytes: memory that one stage's rows may take; it does not change any result.

    Returns:
        The tracer: ``totals`` (one a layer), ``results`` (one a path) and ``lengths`` of the paths.

    Raises:
        NotPiecewiseLinearError: the program is not piecewise linear.
        InvalidInputError: an angle is not positive, or a path does not fit the program.
    """
    tracer = ArcTracer(program, ellipses, block_bytes)
    tracer.run()
    return tracer


def ellipse_length(ellipse: Ellipse) -> float:
    """Euclidean length of an elliptic arc."""
    moved = Ellipse(np.zeros_like(ellipse.center), ellipse.u, ellipse.v, ellipse.angle)
    t, points = _rows(moved)
    flat = points.reshape(len(points), -1)
    p, q = flat[1:-1:2] - flat[:-2:2], flat[2::2] - flat[1:-1:2]
    g, width = q - p, ellipse.angle / (len(t) - 1)
    return sum(piece_length(a @ a, a @ b, b @ b, width) for a, b in zip(p, g, strict=False))


def _checked(angle: float) -> float:
    if not 0 < angle < np.inf:
        raise InvalidInputError(f"an elliptic arc needs a positive angle, got {angle}")
    return float(angle)


def _rows(ellipse: Ellipse) -> tuple[Floats, Floats]:
    """Parameters of the vertices, and vertices and control points in turn; the last row repeats the last vertex.

    Pieces are at most a quarter turn. At whole quarters sine and cosine are exact, so that a path through a knot
    goes through it exactly, and a closed path ends where it begins.
    """
    count = max(1, int(np.ceil(ellipse.angle / (np.pi / 2) * (1 - 1e-15))))
    s = ellipse.angle * np.arange(count + 1) / count
    cos, sin = _exact(np.cos(s), s), _exact(np.sin(s), s)
    square = 1.0 + _exact(np.cos(s[1:2]), s[1:2])
    shape = (-1,) + (1,) * ellipse.center.ndim
    vertices = ellipse.center + cos.reshape(shape) * ellipse.u + sin.reshape(shape) * ellipse.v
    x, y = ((f[1:] + f[:-1]) / square for f in (cos, sin))
    controls = ellipse.center + x.reshape(shape) * ellipse.u + y.reshape(shape) * ellipse.v
    points = np.empty((2 * count + 2, *ellipse.center.shape))
    points[::2], points[1:-1:2], points[-1] = vertices, controls, vertices[-1]
    return np.arange(count + 1) / count, points


def _exact(values: Floats, s: Floats) -> Floats:
    """Sines or cosines, whole numbers at whole quarter turns."""
    quarters = s / (np.pi / 2)
    return np.where(quarters == np.round(quarters), np.round(values), values)


def _bound(stage: Stage) -> ArcLayer:
    layer = stage.layer
    assert layer is not None
    assert layer.rule is not None
    return arc_layer(layer.rule, layer.units)


def _columns(program: Program, index: int) -> Dense | None:
    """The next stage as columns, where it is one dense product with a layer's image.

    A product with zeros may cancel exactly, and a sum of columns does not: such a stage is computed as it stands.
    """
    stage, following = program.stages[index], program.stages[index + 1]
    assert stage.layer is not None
    if stage.alive or program.device.type != "cpu":
        return None
    spread = spread_map(stage.layer, following)
    return spread if isinstance(spread, Dense) and np.all(spread.columns != 0) else None


def _exact_products(
    columns: Dense, z: Floats, block: Block, found: ArcCrossings, refined: Refined, flat: NDArray[np.int8]
) -> dict[int, Floats]:
    """The next stage where the image stands still or is exactly the origin, by refined row: a true product there.

    Sums of columns would leave rounding where every unit is flat, and a pre-activation that is constant must not
    seem to move, nor one that is zero to be off it.
    """
    special = np.flatnonzero(flat != measures.MOVING)
    if len(special) == 0:
        return {}
    vertices = []
    for i in special:
        part = Part(refined.segment[i : i + 2], refined.at[i : i + 2], refined.cross[i : i + 3])
        vertices.append(part.image(z, block, found)[0])
    products = columns.products(padded(np.array(vertices)))[: len(vertices), : columns.features]
    return dict(zip(special.tolist(), products, strict=True))
