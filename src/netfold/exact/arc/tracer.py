"""Exact tracing of arcs and circles: pieces on which every pre-activation is A cos s + B sin s + C.

A piece between two vertices is carried through the program by three points: its ends, which it shares with its
neighbours, and its control point, where the tangents at its ends meet. Affine operations act on points, so these
three go through them as they are, and at a nonlinearity every unit's harmonic function is known by its three values
(`arc.harmonic`). Rows of a batch alternate between vertices and control points; otherwise blocks go through
the stages as those of straight paths do (`paths.driver`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.program import Program, flatten
from netfold.errors import InvalidInputError
from netfold.exact.arc import measures, rows
from netfold.exact.arc.elliptic import piece_length
from netfold.exact.arc.layers import ArcCrossings, ArcLayer, ArcPieces, Part
from netfold.exact.arc.output import ArcOutputTally
from netfold.exact.arc.tally import ArcTally
from netfold.exact.numerics.products import padded, reproducible
from netfold.exact.numerics.threads import aside, beside
from netfold.exact.paths import driver
from netfold.exact.paths.blocks import PathBlock, bound, tensor, widest
from netfold.exact.paths.domain import BLOCK_BYTES, PathDomain, PathTally
from netfold.exact.paths.driver import FORK, Ahead
from netfold.exact.paths.output import PathOutput
from netfold.exact.paths.records import Refined, Totals
from netfold.exact.paths.refinement import KEYS, refine, switch_first
from netfold.exact.paths.scale import path_scales
from netfold.exact.paths.segments import tame
from netfold.exact.paths.spread import Dense, Spread, spread_maps
from netfold.exact.paths.stretches import follow
from netfold.paths import Ellipse
from netfold.progress import Budget

Flags = NDArray[np.bool_]


@dataclass
class ArcTraces:
    """What arcs do in a network.

    A closed path (whole turns) is cut at t = 0: that point is no breakpoint, and the first and the last of its
    ``breakpoints + 1`` regions are the same one unless a unit changes exactly there. Such a change counts among the
    transitions, and the image's turn there among its turning.

    Attributes:
        totals: one a layer.
        results: what each path does in the output.
        lengths: of the paths themselves.
        doubts: places on each path where rounding may have decided what changes, or in which order.
        rough: parts of each path's images whose angle on the unit sphere did not converge.
    """

    totals: list[Totals]
    results: list[PathOutput]
    lengths: list[float]
    doubts: Ints
    rough: Ints


@beside
def trace_ellipses(
    program: Program, ellipses: Sequence[Ellipse], block_bytes: int = BLOCK_BYTES, fork: int = FORK
) -> ArcTraces:
    """Trace elliptic arcs exactly, as one batch of work.

    Args:
        program: a piecewise-linear program.
        ellipses: the paths.
        block_bytes: memory that one stage's rows may take; it does not change any result.
        fork: values at the rows ahead from which on threads share them; nor does it.

    Raises:
        NotPiecewiseLinearError: the program is not piecewise linear.
        InvalidInputError: an angle is not positive, or a path does not fit the program.
    """
    threads = torch.get_num_threads() if program.device.type == "cpu" else 1
    domain, t, path, points = _started(program, ellipses, block_bytes // threads, fork)
    return _read(driver.run(domain, domain.start(t, path, points), threads), domain, ellipses)


def follow_ellipse(
    program: Program, ellipse: Ellipse, budget: Budget, told: Callable[[float], object]
) -> tuple[ArcTraces, float]:
    """Trace one elliptic arc within a budget; what was met, and the parameter up to which.

    Ctrl-C ends it sooner, but not before there is something to tell. A closed path that is not followed to its end is
    an open one.
    """
    threads = torch.get_num_threads() if program.device.type == "cpu" else 1
    domain, *_ = _started(program, [ellipse], BLOCK_BYTES // threads, FORK)

    def ahead(begin: float, end: float) -> Ahead[PathBlock]:
        t, points = _rows(ellipse, begin, end)
        return domain.start(t, np.zeros(len(t), np.int64), program.points(points[:-1], "the path"))

    tally, at = follow(domain, program, ahead, threads, budget, told)
    if at < 1.0:
        for seams in (tally.output.seams, *(layer.seams for layer in tally.layers)):
            seams.closed = np.zeros_like(seams.closed)
    return aside(_read, tally, domain, [ellipse if at == 1.0 else replace(ellipse, angle=ellipse.angle * at)]), at


def _started(
    program: Program, ellipses: Sequence[Ellipse], block_bytes: int, fork: int
) -> tuple[Harmonics, Floats, Ints, torch.Tensor]:
    """The domain of some arcs; parameters and paths of their vertices, and the rows that they begin with."""
    angles, parts = np.array([_checked(e.angle) for e in ellipses]), [_rows(e) for e in ellipses]
    t = np.concatenate([at for at, _ in parts])
    path = np.repeat(np.arange(len(parts)), [len(at) for at, _ in parts])
    points = program.points(np.concatenate([p for _, p in parts])[:-1], "the path")
    domain = Harmonics.of(program, angles, block_bytes, fork)
    scales, met = path_scales(domain.program, rows := np.repeat(path, 2)[:-1], points, len(ellipses))
    return replace(domain, scales=scales, met=np.bincount(rows[met], minlength=len(ellipses))), t, path, points


def _read(tally: PathTally, domain: Harmonics, ellipses: Sequence[Ellipse]) -> ArcTraces:
    for layer in tally.layers:
        layer.seams.finish()
    doubts = np.sum([domain.met, *(layer.doubts for layer in tally.layers)], axis=0)
    rough = np.sum([tally.output.rough, *(layer.rough for layer in tally.layers)], axis=0)
    return ArcTraces(tally.totals, tally.output.finish(), [ellipse_length(e) for e in ellipses], doubts, rough)


@dataclass(frozen=True)
class Harmonics(PathDomain):
    """The harmonic functions on the pieces of arcs: vertices and control points in turn.

    Attributes:
        layers: the compiled passes of the program's nonlinearities.
        columns: the next stage as columns, where it is one dense product with a layer's image. A product with zeros
            may cancel exactly, and a sum of columns does not: such a stage is computed as it stands.
        angles: of the paths.
        closed: which of them are whole turns.
        scales: as for straight paths, and ``met`` how many of the points looked at for that may lie on a knot of some
            unit by rounding, one entry a path.
    """

    STEP: ClassVar[int] = 2

    layers: list[ArcLayer]
    columns: list[Dense | None]
    angles: Floats
    closed: Flags
    scales: Floats
    met: Ints

    @staticmethod
    def of(program: Program, angles: Floats, block_bytes: int, fork: int) -> Harmonics:
        """Bind a program's layers to their compiled passes."""
        program, turns = reproducible(program), angles / (2 * np.pi)
        block_rows = int(np.clip(block_bytes // (16 * widest(program)), 16, 4096)) // 8 * 8
        layers, columns = bound(program, ArcLayer.of), [_columns(spread) for spread in spread_maps(program)]
        unknown, nothing = np.zeros((len(program.stages), len(angles))), np.zeros(len(angles), np.int64)
        return Harmonics(program, block_rows, fork, len(angles), KEYS, layers, columns, angles,
                         turns == np.round(turns), unknown, nothing)  # fmt: skip

    def tally(self, level: int) -> PathTally:
        """An empty tally for blocks from a level on."""
        layers = [ArcTally(layer, self.closed) for layer in self.layers[level:]]
        return PathTally(level, layers, ArcOutputTally(self.paths, self.outputs, self.closed))

    def meet(self, level: int, block: PathBlock, tally: PathTally) -> Ahead[PathBlock] | None:
        """Take a block through the layer at its level."""
        width = self._widths(block)
        if level == len(self.layers):
            tally.output.add_pieces(block, width)
            return None
        layer, mine = self.layers[level], tally.layers[level - tally.level]
        np.add.at(mine.doubts, block.path[np.flatnonzero(tame(block.h)) // 2], 1)
        pieces = ArcPieces(block.h, block.path, width, self.scales[level, block.path])
        scan = layer.scan(pieces)
        found, z = layer.crossings(pieces, scan), layer.opened(pieces)
        changes = mine.add(pieces, scan, found, z)
        flips, first = block.flips, block.first
        if changes is not None and len(changes.unit):
            flips, first = flips.copy(), first.copy()
            switch_first(level, changes.unit, changes.origin, changes.target, flips, first)
        refined = refine(level, block.t, block.path, flips, first, *found[:5])
        measured = np.zeros((measures.MEASURES, len(refined.at)))
        met = MetOnArc(block, width, z, found, refined, np.zeros(len(refined.at), np.int8))
        measures.measure(z, width, found, Part(*refined[:3]), measured, met.flat)
        measures.add_measures(measured, refined.at, refined.path, mine.totals)
        np.add.at(mine.rough, refined.path, measured[measures.ROUGH] > 0)
        return self.ahead(level + 1, len(refined.at), self._refined(level, met))

    def _widths(self, block: PathBlock) -> Floats:
        """Angle of the piece that starts at each vertex; -1 between paths and after the last vertex."""
        width, path = np.full(len(block.t), -1.0), block.path
        joined = path[1:] == path[:-1]
        width[:-1][joined] = (self.angles[path[:-1]] * np.diff(block.t))[joined]
        return width

    def _refined(self, level: int, met: MetOnArc) -> partial[PathBlock]:
        """How to make blocks of refined rows at the next stage's end."""
        columns = self.columns[level]
        if columns is None:
            return partial(self._image, level, met)
        y = np.ascontiguousarray(columns.products(padded(met.z))[: len(met.z), : columns.features])
        return partial(_spread_rows, columns, y, met.exact_products(columns), met)

    def _image(self, level: int, met: MetOnArc, p: slice) -> PathBlock:
        """Some refined rows, the layer's image at them carried through the next stage."""
        part, alive = met.part(p), met.block.alive
        nothing = ArcCrossings.room(np.zeros(len(met.block.path), np.int64))
        carried = {i: tensor(met.image(part._replace(cross=np.zeros_like(part.cross)), flatten([v]), nothing),
                             v.shape[1:], v.device) for i, v in alive.items()}  # fmt: skip
        return self.after(level, met.refined.vertices(p), met.image(part, met.z, met.found), carried)


@dataclass(frozen=True)
class MetOnArc:
    """What a layer did to a block.

    Attributes:
        block: the block, and ``width`` the angles of its pieces.
        z: the layer's image at its rows.
        found: the changes of state.
        refined: the vertices with those at the changes.
        flat: how the image starts from each of them (`arc.measures`).
    """

    block: PathBlock
    width: Floats
    z: Floats
    found: ArcCrossings
    refined: Refined
    flat: NDArray[np.int8]

    def part(self, p: slice) -> Part:
        """Some refined rows."""
        return Part(self.refined.segment[p], self.refined.at[p], self.refined.cross[p.start : p.stop + 1])

    def image(self, part: Part, z: Floats, crossings: ArcCrossings) -> Floats:
        """The layer's image, or without crossings another value, at some vertices and their control points."""
        out = np.empty((2 * len(part.at) - 1, z.shape[1]))
        rows.image(z, self.width, crossings, part, out)
        return out

    def exact_products(self, columns: Dense) -> dict[int, Floats]:
        """The next stage where the image stands still or is exactly the origin, by refined row: a true product there.

        Sums of columns would leave rounding where every unit is flat, and a pre-activation that is constant must not
        seem to move, nor one that is zero to be off it.
        """
        special = np.flatnonzero(self.flat != measures.MOVING).tolist()
        if not special:
            return {}
        vertices = [self.image(self.part(slice(i, i + 2)), self.z, self.found)[0] for i in special]
        products = columns.products(padded(np.array(vertices)))[: len(vertices), : columns.features]
        return dict(zip(special, products, strict=True))


def _spread_rows(columns: Dense, y: Floats, exact: dict[int, Floats], met: MetOnArc, p: slice) -> PathBlock:
    """Some refined rows at the next stage's end, from its values ``y`` at the block's rows."""
    part = met.part(p)
    h = np.empty((2 * len(part.at) - 1, y.shape[1]))
    rows.spread(y, met.width, met.found, columns.columns, part, h)
    for i, row in exact.items():
        stop = 3 if met.flat[i] == measures.STANDING else 1
        h[max(2 * (i - p.start), 0) : max(2 * (i - p.start) + stop, 0)] = row
    return PathBlock(h, {}, *met.refined.vertices(p))


def _columns(spread: Spread | None) -> Dense | None:
    return spread if isinstance(spread, Dense) and np.all(spread.columns != 0) else None


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


def _rows(ellipse: Ellipse, begin: float = 0.0, end: float = 1.0) -> tuple[Floats, Floats]:
    """Parameters of the vertices, and vertices and control points in turn; the last row repeats the last vertex.

    Pieces are at most a quarter turn. At whole quarters sine and cosine are exact, so that a path through a knot
    goes through it exactly, and a closed path ends where it begins.
    """
    whole = (begin, end) == (0.0, 1.0)
    count = max(1, int(np.ceil((end - begin) * ellipse.angle / (np.pi / 2) * (1 - 1e-15))))
    t = begin + (end - begin) * (np.arange(count + 1) / count)
    t[-1] = end
    s = ellipse.angle * np.arange(count + 1) / count if whole else ellipse.angle * t
    cos, sin = _exact(np.cos(s), s), _exact(np.sin(s), s)
    width = s[1:2] if whole else np.diff(s[:2])
    square = 1.0 + _exact(np.cos(width), width)
    shape = (-1,) + (1,) * ellipse.center.ndim
    vertices = ellipse.center + cos.reshape(shape) * ellipse.u + sin.reshape(shape) * ellipse.v
    x, y = ((f[1:] + f[:-1]) / square for f in (cos, sin))
    controls = ellipse.center + x.reshape(shape) * ellipse.u + y.reshape(shape) * ellipse.v
    points = np.empty((2 * count + 2, *ellipse.center.shape))
    points[::2], points[1:-1:2], points[-1] = vertices, controls, vertices[-1]
    return np.arange(count + 1) / count if whole else t, points


def _exact(values: Floats, s: Floats) -> Floats:
    """Sines or cosines, whole numbers at whole quarter turns."""
    quarters = s / (np.pi / 2)
    return np.where(quarters == np.round(quarters), np.round(values), values)
